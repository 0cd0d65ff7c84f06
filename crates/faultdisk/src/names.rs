//! Which name means which file: as every lookup sees it, and as a crash may leave it.
//!
//! A change of a name is a step that waits until the directories it touches are synced. A crash keeps or loses each
//! waiting step on its own; a rename is never half done. Directories themselves are durable at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file, whatever its name is at the moment.
pub(crate) type FileId = u64;

#[derive(Clone, Debug)]
enum Change {
    Create { path: PathBuf, file: FileId },
    Rename { from: PathBuf, to: PathBuf, file: FileId },
    Remove { path: PathBuf, file: FileId },
}

#[derive(Clone, Debug)]
struct Step {
    change: Change,
    /// Directories that still have to be synced.
    waits_for: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    live: BTreeMap<PathBuf, FileId>,
    durable: BTreeMap<PathBuf, FileId>,
    steps: Vec<Step>,
    directories: BTreeSet<PathBuf>,
}

/// The directory of a path; the root is the empty path.
pub(crate) fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

impl Names {
    pub(crate) fn get(&self, path: &Path) -> Option<FileId> {
        self.live.get(path).copied()
    }

    pub(crate) fn has_directory(&self, dir: &Path) -> bool {
        dir.as_os_str().is_empty() || self.directories.contains(dir)
    }

    pub(crate) fn create_directory(&mut self, dir: &Path) {
        for ancestor in dir.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            self.directories.insert(ancestor.to_path_buf());
        }
    }

    /// All files that some name means or may come to mean after a crash.
    pub(crate) fn referenced(&self) -> BTreeSet<FileId> {
        let waiting = self.steps.iter().map(|step| match &step.change {
            Change::Create { file, .. } | Change::Rename { file, .. } | Change::Remove { file, .. } => *file,
        });
        self.live.values().chain(self.durable.values()).copied().chain(waiting).collect()
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&PathBuf, FileId)> {
        self.live.iter().map(|(path, file)| (path, *file))
    }

    pub(crate) fn list(&self, dir: &Path) -> Vec<String> {
        let files = self.live.keys();
        let inside = files.chain(&self.directories).filter(|path| parent(path) == dir);
        let names: BTreeSet<String> =
            inside.filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()).collect();
        names.into_iter().collect()
    }

    pub(crate) fn create(&mut self, path: &Path, file: FileId) {
        self.push(Change::Create { path: path.to_path_buf(), file }, [parent(path)]);
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path, file: FileId) {
        let change = Change::Rename { from: from.to_path_buf(), to: to.to_path_buf(), file };
        self.push(change, [parent(from), parent(to)]);
    }

    pub(crate) fn remove(&mut self, path: &Path, file: FileId) {
        self.push(Change::Remove { path: path.to_path_buf(), file }, [parent(path)]);
    }

    fn push(&mut self, change: Change, waits_for: impl IntoIterator<Item = PathBuf>) {
        apply(&mut self.live, &change);
        self.steps.push(Step { change, waits_for: waits_for.into_iter().collect() });
    }

    pub(crate) fn sync(&mut self, dir: &Path) {
        let durable = &mut self.durable;
        self.steps.retain_mut(|step| {
            step.waits_for.remove(dir);
            if step.waits_for.is_empty() {
                apply(durable, &step.change);
            }
            !step.waits_for.is_empty()
        });
    }

    /// Makes every change durable.
    pub(crate) fn sync_all(&mut self) {
        self.steps.clear();
        self.durable = self.live.clone();
    }

    /// Keeps each waiting step for which `keep` answers so.
    pub(crate) fn crash(&mut self, mut keep: impl FnMut() -> bool) {
        for step in std::mem::take(&mut self.steps) {
            if keep() {
                apply(&mut self.durable, &step.change);
            }
        }
        self.live = self.durable.clone();
    }
}

/// Takes one step; what it starts from may be missing, since steps before it may have been lost.
fn apply(names: &mut BTreeMap<PathBuf, FileId>, change: &Change) {
    match change {
        Change::Create { path, file } => {
            names.insert(path.clone(), *file);
        }
        Change::Rename { from, to, file } => {
            if names.get(from) == Some(file) {
                names.remove(from);
            }
            names.insert(to.clone(), *file);
        }
        Change::Remove { path, file } => {
            if names.get(path) == Some(file) {
                names.remove(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_durable_only_after_its_directory_was_synced() {
        let mut names = Names::default();
        names.create(Path::new("d/a"), 1);
        let mut lost = names.clone();
        lost.crash(|| false);
        assert_eq!(lost.get(Path::new("d/a")), None);
        names.sync(Path::new("d"));
        names.crash(|| false);
        assert_eq!(names.get(Path::new("d/a")), Some(1));
    }

    #[test]
    fn a_lost_rename_leaves_the_old_name_and_its_target() {
        let mut names = Names::default();
        names.create(Path::new("a"), 1);
        names.create(Path::new("b"), 2);
        names.sync(Path::new(""));
        names.rename(Path::new("a"), Path::new("b"), 1);
        assert_eq!((names.get(Path::new("a")), names.get(Path::new("b"))), (None, Some(1)));
        names.crash(|| false);
        assert_eq!((names.get(Path::new("a")), names.get(Path::new("b"))), (Some(1), Some(2)));
    }
}
