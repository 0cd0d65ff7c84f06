//! What no source file may say, and how long it may be.

use std::path::{Path, PathBuf};

use crate::repository::{assert_none, root};

/// A file of more lines is about two things.
const MAX_LINES: usize = 800;

/// Notes to oneself. What is not done is said in the documents, with its reason. (Cut in two, so as not to find itself.)
const MARKERS: [&str; 5] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("TO", "DO"),
];

/// The world outside, which the pure crates are told of and never ask.
const WORLD: [&str; 9] = [
    "std::net",
    "std::fs",
    "std::time::",
    "std::thread",
    "std::process::",
    "SystemTime",
    "Instant::now",
    "thread_rng",
    "tokio",
];

/// What crates must not say outside their tests, benches and examples.
const FORBIDDEN: [(&str, &[&str]); 27] = [
    ("types", &WORLD),
    ("codec", &WORLD),
    ("clock", &WORLD),
    ("quorum", &WORLD),
    ("consensus", &WORLD),
    ("convergent", &WORLD),
    ("crdt", &WORLD),
    ("datatypes", &WORLD),
    ("manifest", &WORLD),
    ("merkle", &WORLD),
    ("meta", &WORLD),
    ("paxos", &WORLD),
    ("placement", &WORLD),
    ("gossip", &WORLD),
    ("resilience", &WORLD),
    ("env", &WORLD),
    ("api", &WORLD),
    ("faultdisk", &WORLD),
    ("storage", &WORLD),
    ("strong", &WORLD),
    ("node", &WORLD),
    ("sim", &WORLD),
    ("etcd-proto", &["std::net", "std::fs", "std::thread", "SystemTime", "Instant::now"]),
    ("gateway-etcd", &["std::net", "std::fs", "std::thread", "SystemTime", "Instant::now"]),
    ("gateway-http", &["std::net", "std::fs", "std::thread", "SystemTime", "Instant::now"]),
    ("gateway-redis", &["std::net", "std::fs", "std::thread", "SystemTime", "Instant::now"]),
    ("runtime", &["thread::sleep"]),
];

/// Files that may say a word all the same, by the beginning of their path, and why.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    ("storage/src/engine/lsm/", "std::fs", "this engine does its own file IO"),
    ("storage/src/engine/redb.rs", "std::fs", "this engine does its own file IO"),
    ("sim/src/cli/", "std::fs", "the simulator's command line reads scenarios and keeps what is known of failures"),
    ("sim/src/cli/", "std::thread", "seeds run side by side, each on one thread"),
];

/// One source file below `crates/`.
struct Source {
    /// Its path from there, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn is_outside_the_crate(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "benches" | "examples" | "tests.rs" | "build.rs"))
    }

    /// The lines before the file's tests, without comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().enumerate();
        lines.map(|(number, line)| (number + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > MAX_LINES).then(|| format!("{}: {lines} lines; more than {MAX_LINES} are two things", source.path))
}

fn markers(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    lines
        .filter_map(|(number, line)| {
            let marker = MARKERS.iter().find(|marker| line.contains(**marker))?;
            Some(format!("{}:{}: {marker}: do it, or say in the documents why not", source.path, number + 1))
        })
        .collect()
}

fn forbidden(source: &Source) -> Vec<String> {
    let owner = source.path.split('/').next().unwrap_or_default();
    let Some((_, words)) = FORBIDDEN.iter().find(|(name, _)| *name == owner) else { return Vec::new() };
    if source.is_outside_the_crate() {
        return Vec::new();
    }
    let allowed =
        |word: &str| EXCEPTIONS.iter().any(|(path, allowed, _)| source.path.starts_with(path) && *allowed == word);
    source
        .code()
        .filter_map(|(number, line)| {
            let word = words.iter().find(|word| line.contains(**word) && !allowed(word))?;
            Some(format!("{}:{number}: {owner} must not know {word}", source.path))
        })
        .collect()
}

fn sources() -> Vec<Source> {
    let crates = root().join("crates");
    let mut paths = Vec::new();
    walk(&crates, &mut paths);
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a source file is UTF-8");
            let relative = path.strip_prefix(&crates).expect("it was found there");
            Source { path: relative.to_string_lossy().replace('\\', "/"), text }
        })
        .collect()
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory of the repository can be read") {
        let entry = entry.expect("so can its entries");
        let path = entry.path();
        let is_output = entry.file_name().to_string_lossy().starts_with("target");
        if path.is_dir() && !is_output {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_file_is_too_long() {
    assert_none(&sources().iter().filter_map(too_long).collect::<Vec<_>>());
}

#[test]
fn no_note_to_oneself_is_left() {
    assert_none(&sources().iter().flat_map(markers).collect::<Vec<_>>());
}

#[test]
fn pure_crates_do_not_ask_the_world() {
    assert_none(&sources().iter().flat_map(forbidden).collect::<Vec<_>>());
}

#[test]
fn the_repository_is_found_at_all() {
    let sources = sources();
    for wanted in ["tidy/src/lib.rs", "node/src/lib.rs", "strong/src/watch/hub.rs"] {
        assert!(sources.iter().any(|source| source.path == wanted), "{wanted}");
    }
}

#[test]
fn exceptions_are_still_needed() {
    let sources = sources();
    let unused = EXCEPTIONS.iter().filter(|(path, word, _)| {
        let mut mine = sources.iter().filter(|source| source.path.starts_with(path));
        !mine.any(|source| source.code().any(|(_, line)| line.contains(word)))
    });
    assert_none(&unused.map(|(path, word, _)| format!("{path} does not say {word} any more")).collect::<Vec<_>>());
}

#[test]
fn what_must_not_be_said_is_found() {
    let wrong = |path: &str, text: &str| {
        let source = Source { path: path.into(), text: text.into() };
        forbidden(&source).len() + markers(&source).len() + usize::from(too_long(&source).is_some())
    };
    assert_eq!(wrong("node/src/lib.rs", "use std::collections::BTreeMap;"), 0);
    assert_eq!(wrong("node/src/lib.rs", "// not std::net"), 0);
    assert_eq!(wrong("node/src/lib.rs", "use std::net::TcpStream;"), 1);
    assert_eq!(wrong("node/src/a/b.rs", "let now = std::time::Instant::now();"), 1);
    assert_eq!(wrong("node/tests/a.rs", "use std::net::TcpStream;"), 0);
    assert_eq!(wrong("node/src/lib.rs", "x\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}"), 0);
    assert_eq!(wrong("server/src/main.rs", "use std::net::TcpStream;"), 0);
    assert_eq!(wrong("storage/src/engine/lsm/a.rs", "use std::fs::File;"), 0);
    assert_eq!(wrong("storage/src/wal/a.rs", "use std::fs::File;"), 1);
    assert_eq!(wrong("server/src/main.rs", &format!("// {}: later", MARKERS[4])), 1);
    assert_eq!(wrong("server/tests/a.rs", &format!("{})", MARKERS[0])), 1);
    assert_eq!(wrong("server/src/main.rs", &"\n".repeat(801)), 1);
    assert_eq!(wrong("server/src/main.rs", &"\n".repeat(800)), 0);
}
