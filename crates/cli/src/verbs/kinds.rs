//! Objects named on the command line: `table orders`, `tables`, `table/orders node/n1`.

use althing_manifest::Kind;

use crate::error::CliError;

/// Which objects are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Meant {
    /// All of these kinds.
    Kinds(Vec<Kind>),
    /// These.
    Objects(Vec<(Kind, String)>),
}

/// The kind that a word means, or an error with the nearest.
pub fn kind(word: &str) -> Result<Kind, CliError> {
    Kind::named(word).ok_or_else(|| {
        let known: Vec<&str> = Kind::ALL.into_iter().map(Kind::plural).collect();
        CliError::usage(format!("there is no kind `{word}`{}", althing_sim::nearest::hint(word, &known, "kinds")))
    })
}

/// What the words mean: a kind, or several with commas between them, and names; or `KIND/NAME` each.
pub fn parse(words: &[String]) -> Result<Meant, CliError> {
    let Some((first, names)) = words.split_first() else {
        let kinds: Vec<&str> = Kind::ALL.into_iter().map(Kind::plural).collect();
        return Err(CliError::usage(format!("say which kind: {}", kinds.join(", "))));
    };
    if words.iter().any(|word| word.contains('/')) {
        return words.iter().map(|word| with_kind(word)).collect::<Result<_, _>>().map(Meant::Objects);
    }
    let kinds = first.split(',').map(kind).collect::<Result<Vec<_>, _>>()?;
    match (kinds.as_slice(), names) {
        (_, []) => Ok(Meant::Kinds(kinds)),
        ([one], names) => Ok(Meant::Objects(names.iter().map(|name| (*one, name.clone())).collect())),
        (_, _) => Err(CliError::usage("names go with one kind; of several kinds write KIND/NAME")),
    }
}

fn with_kind(word: &str) -> Result<(Kind, String), CliError> {
    match word.split_once('/') {
        Some((kind_word, name)) if !name.is_empty() => Ok((kind(kind_word)?, name.to_owned())),
        Some(_) | None => Err(CliError::usage(format!("{word:?} is not KIND/NAME, such as table/orders"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Meant, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn a_kind_its_objects_or_objects_of_several_kinds_are_meant() {
        assert_eq!(read(&["tables,no"]), Ok(Meant::Kinds(vec![Kind::Table, Kind::Node])));
        let objects = vec![(Kind::Table, "a".to_owned()), (Kind::Table, "b".to_owned())];
        assert_eq!(read(&["table", "a", "b"]), Ok(Meant::Objects(objects)));
        let objects = vec![(Kind::Table, "a".to_owned()), (Kind::Node, "n1".to_owned())];
        assert_eq!(read(&["table/a", "node/n1"]), Ok(Meant::Objects(objects)));
    }

    #[test]
    fn a_word_that_means_nothing_is_answered_with_the_nearest() {
        assert_eq!(read(&["tabels"]).unwrap_err(), "there is no kind `tabels`; did you mean `tables`?");
        assert_eq!(
            read(&["users"]).unwrap_err(),
            "there is no kind `users`; the kinds are clusters, nodes, tables, shards"
        );
        assert_eq!(read(&["table/a", "b"]).unwrap_err(), "\"b\" is not KIND/NAME, such as table/orders");
        assert_eq!(
            read(&["nodes,tables", "a"]).unwrap_err(),
            "names go with one kind; of several kinds write KIND/NAME"
        );
        assert_eq!(read(&[]).unwrap_err(), "say which kind: clusters, nodes, tables, shards");
    }
}
