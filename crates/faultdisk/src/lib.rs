//! A disk in memory that does all that a real one may do to a log, and does it the same way for the same seed.
//!
//! * [`FaultDisk::crash`] loses, keeps or tears each unsynced 512-byte sector, each unsynced length and each unsynced
//!   name on its own. A sector that was written several times since its last sync may come back in any of its states.
//! * A sync that fails forgets what was dirty, as Linux does: reads go on showing it, and no later sync saves it.
//! * Knobs fail the n-th write or sync, switch the power off after n changes, fill the disk, and flip bits: for good, or in
//!   one read only.
//! * A disk may answer syncs and keep nothing ([`FaultDisk::lose_syncs`]), as one with a volatile cache does.
//! * [`FaultDisk::snapshot`] and [`FaultDisk::restore`] copy everything, so that one history can crash in many ways.
//!
//! The disk is shared by its clones. A file that was opened before a crash answers every call with an error afterwards.
//! Directories are durable at once; the names of files are not.

mod content;
mod disk;
mod names;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use content::Content;
use names::{FileId, Names};

/// What a crash does to one unsynced sector, length or name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is as if it had never been written.
    Lost,
    /// It is on the medium.
    Kept,
    /// A part of it is on the medium. A name cannot be torn: it is kept or lost by chance.
    Torn,
}

/// What was done to a disk since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Calls of `write_at`.
    pub writes: u64,
    /// Bytes in them.
    pub bytes_written: u64,
    /// Calls of `sync`.
    pub syncs: u64,
    /// Calls of `sync_dir`.
    pub directory_syncs: u64,
    /// All calls that change something: writes, lengths, syncs and names.
    pub changes: u64,
    /// Reads that gave a bit wrongly.
    pub misreads: u64,
    /// Syncs that were answered and kept nothing.
    pub lies: u64,
}

/// Everything on a disk, synced and unsynced, as it was at one moment.
#[derive(Clone, Debug)]
pub struct Image {
    names: Names,
    files: BTreeMap<FileId, Content>,
    next_file: FileId,
}

/// Faults that wait for their turn. Counts are of calls from now on: zero is the next one.
#[derive(Clone, Copy, Debug, Default)]
struct Knobs {
    fail_write_in: Option<u64>,
    fail_sync_in: Option<u64>,
    power_off_in: Option<u64>,
    capacity: Option<u64>,
}

/// Whether a sync that succeeds makes anything durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Syncs {
    /// It does.
    #[default]
    Honest,
    /// What it should make durable stays in the disk's volatile memory.
    Lost,
}

#[derive(Debug)]
struct State {
    image: Image,
    knobs: Knobs,
    syncs: Syncs,
    /// A bit that the next read of its byte gives wrongly: file, offset and bit.
    misread: Option<(PathBuf, u64, u8)>,
    counters: Counters,
    /// Grows with every crash and restart; older open files are dead.
    run: u64,
}

/// A disk in memory with faults. Clones share it.
#[derive(Clone, Debug)]
pub struct FaultDisk(Arc<Mutex<State>>);

impl Default for FaultDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl FaultDisk {
    /// An empty disk without faults or limits.
    #[must_use]
    pub fn new() -> Self {
        let image = Image { names: Names::default(), files: BTreeMap::new(), next_file: 0 };
        Self(Arc::new(Mutex::new(State {
            image,
            knobs: Knobs::default(),
            syncs: Syncs::Honest,
            misread: None,
            counters: Counters::default(),
            run: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Power fails: everything unsynced is lost, kept or torn by chance. The power is back on and all faults but the
    /// capacity are gone when this returns.
    pub fn crash(&self, seed: u64) {
        self.crash_with(seed, |random| match random.u8(..3) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            _ => Fate::Torn,
        });
    }

    /// Power fails, and everything unsynced meets the same fate.
    pub fn crash_all(&self, fate: Fate) {
        self.crash_with(0, |_| fate);
    }

    fn crash_with(&self, seed: u64, mut fate: impl FnMut(&mut fastrand::Rng) -> Fate) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut state = self.state();
        state.image.names.crash(|| match fate(&mut random) {
            Fate::Lost => false,
            Fate::Kept => true,
            Fate::Torn => random.bool(),
        });
        for content in state.image.files.values_mut() {
            content.crash(&mut random, &mut fate);
        }
        state.forget_nameless_files();
        state.begin_run();
    }

    /// The process dies and comes back; the system, and what it has not written yet, live on.
    pub fn restart(&self) {
        self.state().begin_run();
    }

    /// Fails one write with an I/O error after having written it: the n-th from now, zero being the next.
    pub fn fail_write(&self, nth: u64) {
        self.state().knobs.fail_write_in = Some(nth);
    }

    /// Fails one sync with an I/O error: the n-th from now, zero being the next. What was dirty is forgotten.
    pub fn fail_sync(&self, nth: u64) {
        self.state().knobs.fail_sync_in = Some(nth);
    }

    /// Lets `changes` more changes pass, then fails every one until the next crash or restart. The change at which the
    /// power goes is done but not synced.
    pub fn power_off_after(&self, changes: u64) {
        self.state().knobs.power_off_in = Some(changes);
    }

    /// Limits the bytes of all files together. `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().knobs.capacity = bytes;
    }

    /// Flips one bit of a file, on the medium and in every read. `false` if there is no such byte.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> bool {
        let mut state = self.state();
        let Some(file) = state.image.names.get(path) else { return false };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        state.image.files.get_mut(&file).is_some_and(|content| content.flip_bit(offset, bit))
    }

    /// Flips one bit in the next read of its byte under this name, once, however many crashes and restarts come before.
    /// `false` if there is no such byte.
    pub fn misread(&self, path: &Path, offset: u64, bit: u8) -> bool {
        let mut state = self.state();
        let Some(file) = state.image.names.get(path) else { return false };
        let exists = offset < state.image.files[&file].len() as u64;
        if exists {
            state.misread = Some((path.to_path_buf(), offset, bit % 8));
        }
        exists
    }

    /// No read is wrong from now on.
    pub fn read_rightly(&self) {
        self.state().misread = None;
    }

    /// From now on syncs are answered and keep nothing: a crash may lose whatever was written since.
    pub fn lose_syncs(&self) {
        self.state().syncs = Syncs::Lost;
    }

    /// All that syncs should have kept is kept, and they keep what they should again.
    pub fn keep_syncs(&self) {
        let mut state = self.state();
        if std::mem::take(&mut state.syncs) == Syncs::Lost {
            state.image.files.values_mut().for_each(Content::sync);
            state.image.names.sync_all();
        }
    }

    /// Removes a file behind the back of whoever uses it, durably. `false` if there is none.
    pub fn lose_file(&self, path: &Path) -> bool {
        let mut state = self.state();
        let Some(file) = state.image.names.get(path) else { return false };
        state.image.names.remove(path, file);
        state.image.names.sync(&names::parent(path));
        true
    }

    /// A copy of everything.
    #[must_use]
    pub fn snapshot(&self) -> Image {
        self.state().image.clone()
    }

    /// Puts a copy back. Files that are open are dead afterwards, faults but the capacity are gone.
    pub fn restore(&self, image: &Image) {
        let mut state = self.state();
        state.image = image.clone();
        state.misread = None;
        state.begin_run();
    }

    /// What was done since the disk was made.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.state().counters
    }

    /// All files and their lengths in bytes, in order.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.state();
        state.image.names.files().map(|(path, file)| (path.clone(), state.image.files[&file].len() as u64)).collect()
    }

    /// Sectors that a crash could still lose.
    #[must_use]
    pub fn unsynced_sectors(&self) -> usize {
        self.state().image.files.values().map(Content::unsynced_sectors).sum()
    }
}

impl State {
    fn begin_run(&mut self) {
        self.run += 1;
        self.knobs = Knobs { capacity: self.knobs.capacity, ..Knobs::default() };
    }

    fn forget_nameless_files(&mut self) {
        let referenced = self.image.names.referenced();
        self.image.files.retain(|file, _| referenced.contains(file));
    }

    fn used_bytes(&self) -> u64 {
        self.image.names.files().map(|(_, file)| self.image.files[&file].len() as u64).sum()
    }
}
