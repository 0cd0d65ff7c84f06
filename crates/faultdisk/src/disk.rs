//! The contract of `env::disk`, with a question to the knobs before every change.

use std::path::{Path, PathBuf};

use althing_env::{Disk, DiskError, DiskErrorKind, DiskFile, OpenMode};

use crate::content::Content;
use crate::names::{FileId, parent};
use crate::{FaultDisk, State, Syncs};

/// What the power does during a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Power {
    On,
    /// This change is done, and nobody will hear of it.
    GoesOff,
    Off,
}

impl State {
    fn change(&mut self) -> Power {
        self.counters.changes += 1;
        match &mut self.knobs.power_off_in {
            None => Power::On,
            Some(u64::MAX) => Power::Off,
            Some(0) => {
                self.knobs.power_off_in = Some(u64::MAX);
                Power::GoesOff
            }
            Some(left) => {
                *left -= 1;
                Power::On
            }
        }
    }

    /// Does a change of names, unless the power is off.
    fn change_names(
        &mut self,
        operation: &'static str,
        path: &Path,
        step: impl FnOnce(&mut Self),
    ) -> Result<(), DiskError> {
        match self.change() {
            Power::Off => Err(power_is_off(operation, path)),
            Power::GoesOff => {
                step(self);
                Err(power_is_off(operation, path))
            }
            Power::On => {
                step(self);
                Ok(())
            }
        }
    }

    fn content(
        &mut self,
        file: FileId,
        run: u64,
        operation: &'static str,
        path: &Path,
    ) -> Result<&mut Content, DiskError> {
        if run != self.run {
            return Err(error(DiskErrorKind::Io, operation, path, "the file was opened before a crash"));
        }
        self.image.files.get_mut(&file).ok_or_else(|| error(DiskErrorKind::Io, operation, path, "the file is gone"))
    }

    /// Turns the bit that is to be read wrongly, if it was read.
    fn misread(&mut self, path: &Path, offset: u64, read: &mut [u8]) {
        let Some((_, at, bit)) = self.misread.as_ref().filter(|(wrong, ..)| wrong == path) else { return };
        let (at, bit) = (*at, *bit);
        let place = at.checked_sub(offset).and_then(|place| usize::try_from(place).ok());
        if let Some(byte) = place.and_then(|place| read.get_mut(place)) {
            *byte ^= 1 << bit;
            self.misread = None;
            self.counters.misreads += 1;
        }
    }

    /// Bytes by which a file may grow.
    fn room(&self) -> u64 {
        self.knobs.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used_bytes()))
    }
}

/// Counts a knob down; `true` when its turn has come.
fn strikes(knob: &mut Option<u64>) -> bool {
    match knob {
        Some(0) => {
            *knob = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

fn error(kind: DiskErrorKind, operation: &'static str, path: &Path, message: &str) -> DiskError {
    DiskError { kind, operation, path: path.to_path_buf(), message: message.to_owned() }
}

fn power_is_off(operation: &'static str, path: &Path) -> DiskError {
    error(DiskErrorKind::Io, operation, path, "the power is off")
}

fn not_found(operation: &'static str, path: &Path) -> DiskError {
    error(DiskErrorKind::NotFound, operation, path, "no such file or directory")
}

fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a file in memory is smaller than the address space")
}

struct OpenFile {
    disk: FaultDisk,
    path: PathBuf,
    file: FileId,
    run: u64,
    mode: OpenMode,
}

impl OpenFile {
    fn check_writable(&self, operation: &'static str) -> Result<(), DiskError> {
        match self.mode {
            OpenMode::ReadWrite | OpenMode::CreateNew => Ok(()),
            OpenMode::Read => Err(error(DiskErrorKind::Io, operation, &self.path, "the file was opened for reading")),
        }
    }
}

impl DiskFile for OpenFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let mut state = self.disk.state();
        let read = state.content(self.file, self.run, "read", &self.path)?.read(offset, buffer);
        state.misread(&self.path, offset, &mut buffer[..read]);
        Ok(read)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.check_writable("write")?;
        let mut state = self.disk.state();
        let power = state.change();
        let room = state.room();
        let fails = strikes(&mut state.knobs.fail_write_in);
        let content = state.content(self.file, self.run, "write", &self.path)?;
        if power == Power::Off {
            return Err(power_is_off("write", &self.path));
        }
        let limit = (content.len() as u64).saturating_add(room);
        let fits = in_memory(limit.saturating_sub(offset).min(data.len() as u64));
        content.write(in_memory(offset), &data[..fits]);
        state.counters.writes += 1;
        state.counters.bytes_written += fits as u64;
        if power == Power::GoesOff {
            return Err(power_is_off("write", &self.path));
        }
        if fails {
            return Err(error(DiskErrorKind::Io, "write", &self.path, "input/output error"));
        }
        if fits < data.len() {
            return Err(error(DiskErrorKind::Full, "write", &self.path, "no space left on device"));
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), DiskError> {
        let mut state = self.disk.state();
        let power = state.change();
        let fails = strikes(&mut state.knobs.fail_sync_in);
        let lost = state.syncs;
        state.counters.syncs += 1;
        let content = state.content(self.file, self.run, "sync", &self.path)?;
        if power != Power::On {
            return Err(power_is_off("sync", &self.path));
        }
        if fails {
            content.fail_sync();
            return Err(error(DiskErrorKind::Io, "sync", &self.path, "input/output error"));
        }
        match lost {
            Syncs::Honest => content.sync(),
            Syncs::Lost => state.counters.lies += 1,
        }
        Ok(())
    }

    fn len(&self) -> Result<u64, DiskError> {
        let mut state = self.disk.state();
        Ok(state.content(self.file, self.run, "measure", &self.path)?.len() as u64)
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.check_writable("set the length of")?;
        let mut state = self.disk.state();
        let power = state.change();
        let room = state.room();
        let content = state.content(self.file, self.run, "set the length of", &self.path)?;
        if power == Power::Off {
            return Err(power_is_off("set the length of", &self.path));
        }
        if len.saturating_sub(content.len() as u64) > room {
            return Err(error(DiskErrorKind::Full, "set the length of", &self.path, "no space left on device"));
        }
        content.set_len(in_memory(len));
        match power {
            Power::On => Ok(()),
            Power::GoesOff | Power::Off => Err(power_is_off("set the length of", &self.path)),
        }
    }
}

impl Disk for FaultDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Box<dyn DiskFile>, DiskError> {
        let mut state = self.state();
        let found = state.image.names.get(path);
        let file = match (mode, found) {
            (OpenMode::Read | OpenMode::ReadWrite, Some(file)) => file,
            (OpenMode::Read | OpenMode::ReadWrite, None) => return Err(not_found("open", path)),
            (OpenMode::CreateNew, Some(_)) => {
                return Err(error(DiskErrorKind::AlreadyExists, "create", path, "the file exists"));
            }
            (OpenMode::CreateNew, None) => {
                if !state.image.names.has_directory(&parent(path)) {
                    return Err(not_found("create", path));
                }
                let file = state.image.next_file;
                state.change_names("create", path, |state| {
                    state.image.next_file += 1;
                    state.image.files.insert(file, Content::default());
                    state.image.names.create(path, file);
                })?;
                file
            }
        };
        Ok(Box::new(OpenFile { disk: self.clone(), path: path.to_path_buf(), file, run: state.run, mode }))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        let state = self.state();
        if !state.image.names.has_directory(dir) {
            return Err(not_found("list", dir));
        }
        Ok(state.image.names.list(dir))
    }

    fn create_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.state().change_names("create", dir, |state| state.image.names.create_directory(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let mut state = self.state();
        let file = state.image.names.get(from).ok_or_else(|| not_found("rename", from))?;
        if !state.image.names.has_directory(&parent(to)) {
            return Err(not_found("rename", to));
        }
        state.change_names("rename", from, |state| state.image.names.rename(from, to, file))
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        let mut state = self.state();
        let file = state.image.names.get(path).ok_or_else(|| not_found("remove", path))?;
        state.change_names("remove", path, |state| state.image.names.remove(path, file))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        let mut state = self.state();
        state.counters.directory_syncs += 1;
        if state.change() != Power::On {
            return Err(power_is_off("sync", dir));
        }
        if !state.image.names.has_directory(dir) {
            return Err(not_found("sync", dir));
        }
        match state.syncs {
            Syncs::Honest => state.image.names.sync(dir),
            Syncs::Lost => state.counters.lies += 1,
        }
        Ok(())
    }

    fn available_bytes(&self) -> Result<u64, DiskError> {
        Ok(self.state().room())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fate;

    fn create(disk: &FaultDisk, name: &str) -> Box<dyn DiskFile> {
        disk.open(Path::new(name), OpenMode::CreateNew).unwrap()
    }

    fn read(disk: &FaultDisk, name: &str) -> Vec<u8> {
        let file = disk.open(Path::new(name), OpenMode::Read).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
        bytes
    }

    #[test]
    fn synced_bytes_under_a_synced_name_survive_every_crash() {
        for seed in 0..50 {
            let disk = FaultDisk::new();
            let file = create(&disk, "a");
            file.write_at(0, &[7; 2000]).unwrap();
            file.sync().unwrap();
            disk.sync_dir(Path::new("")).unwrap();
            file.write_at(1500, &[8; 2000]).unwrap();
            disk.crash(seed);
            assert_eq!(read(&disk, "a")[..1024], [7; 1024]);
            assert!(file.write_at(0, &[1]).is_err(), "a file of before the crash is dead");
        }
    }

    #[test]
    fn the_same_seed_crashes_the_same_way() {
        let disk = FaultDisk::new();
        create(&disk, "a").write_at(0, &(0..100_000).map(|i| i as u8).collect::<Vec<_>>()).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        let image = disk.snapshot();
        let mut seen = std::collections::BTreeSet::new();
        for seed in [1, 2, 1] {
            disk.restore(&image);
            disk.crash(seed);
            seen.insert(read(&disk, "a"));
        }
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn the_nth_write_and_the_nth_sync_fail_once() {
        let disk = FaultDisk::new();
        let file = create(&disk, "a");
        disk.fail_write(1);
        disk.fail_sync(1);
        assert_eq!([0, 1, 2].map(|_| file.write_at(0, &[1]).is_ok()), [true, false, true]);
        assert_eq!([0, 1, 2].map(|_| file.sync().is_ok()), [true, false, true]);
    }

    #[test]
    fn nothing_changes_after_the_power_went_off() {
        let disk = FaultDisk::new();
        let file = create(&disk, "a");
        disk.sync_dir(Path::new("")).unwrap();
        disk.power_off_after(1);
        file.write_at(0, &[1; 512]).unwrap();
        assert!(file.write_at(512, &[2; 512]).is_err());
        assert!(file.write_at(1024, &[3; 512]).is_err());
        assert!(file.sync().is_err());
        disk.crash_all(Fate::Kept);
        assert_eq!(read(&disk, "a").len(), 1024);
    }

    #[test]
    fn a_full_disk_takes_what_fits_and_overwrites_freely() {
        let disk = FaultDisk::new();
        disk.set_capacity(Some(1000));
        let file = create(&disk, "a");
        let refused = file.write_at(0, &[1; 1500]).unwrap_err();
        assert_eq!(refused.kind, DiskErrorKind::Full);
        assert_eq!(file.len().unwrap(), 1000);
        assert_eq!(disk.available_bytes().unwrap(), 0);
        file.write_at(0, &[2; 1000]).unwrap();
        disk.remove(Path::new("a")).unwrap();
        assert_eq!(disk.available_bytes().unwrap(), 1000);
    }

    #[test]
    fn a_bit_is_read_wrongly_once() {
        let disk = FaultDisk::new();
        create(&disk, "a").write_at(0, &[0; 1000]).unwrap();
        assert!(disk.misread(Path::new("a"), 700, 3) && !disk.misread(Path::new("a"), 1000, 3));
        disk.restart();
        let file = disk.open(Path::new("a"), OpenMode::Read).unwrap();
        let mut head = [0; 700];
        file.read_at(0, &mut head).unwrap();
        assert_eq!((head, disk.counters().misreads), ([0; 700], 0));
        assert_eq!(read(&disk, "a")[700], 8);
        assert_eq!((read(&disk, "a"), disk.counters().misreads), (vec![0; 1000], 1));
    }

    #[test]
    fn a_sync_that_is_lost_is_noticed_only_by_a_crash() {
        let disk = FaultDisk::new();
        let file = create(&disk, "a");
        file.write_at(0, &[1; 512]).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        disk.lose_syncs();
        file.write_at(0, &[2; 512]).unwrap();
        file.sync().unwrap();
        let image = disk.snapshot();
        disk.restart();
        assert_eq!(read(&disk, "a"), [2; 512], "the process alone does not notice");
        disk.crash_all(Fate::Lost);
        assert_eq!(read(&disk, "a"), [1; 512]);
        disk.restore(&image);
        disk.keep_syncs();
        disk.crash_all(Fate::Lost);
        assert_eq!(read(&disk, "a"), [2; 512], "what was brought to the medium in time is kept");
    }

    #[test]
    fn names_are_listed_in_order_and_never_created_twice() {
        let disk = FaultDisk::new();
        disk.create_dir(Path::new("d/e")).unwrap();
        create(&disk, "d/b");
        create(&disk, "d/a");
        assert_eq!(disk.list(Path::new("d")).unwrap(), ["a", "b", "e"]);
        let refused = disk.open(Path::new("d/a"), OpenMode::CreateNew).err().unwrap();
        assert_eq!(refused.kind, DiskErrorKind::AlreadyExists);
        assert_eq!(disk.list(Path::new("x")).unwrap_err().kind, DiskErrorKind::NotFound);
    }
}
