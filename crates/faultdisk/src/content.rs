//! The bytes of one file: what reads see, and what a crash may leave of it.
//!
//! `live` is what every read sees. For each 512-byte sector that was written since the last sync, `unsynced` keeps all
//! contents that the sector had since then, the synced one first: any of them may be what the medium holds. A sector in
//! `doomed` was dirty when a sync failed: the system has forgotten that it must be written, so that even a later
//! successful sync does not save it. Only writing it again does.

use std::collections::BTreeMap;

use althing_env::disk::SECTOR_BYTES;

use crate::Fate;

type Sector = [u8; SECTOR_BYTES];

#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    live: Vec<u8>,
    synced_len: usize,
    unsynced: BTreeMap<usize, Vec<Sector>>,
    doomed: BTreeMap<usize, Sector>,
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.live.len());
        let count = buffer.len().min(self.live.len() - start);
        buffer[..count].copy_from_slice(&self.live[start..start + count]);
        count
    }

    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let end = offset + data.len();
        self.remember(offset.min(self.live.len()), end);
        if end > self.live.len() {
            self.live.resize(end, 0);
        }
        self.live[offset..end].copy_from_slice(data);
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        self.remember(len.min(self.live.len()), len.max(self.live.len()));
        self.live.resize(len, 0);
    }

    /// Keeps what the sectors of a range hold, before they change.
    fn remember(&mut self, start: usize, end: usize) {
        for sector in start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let now = self.sector(sector);
            let versions = self.unsynced.entry(sector).or_default();
            if let Some(lost) = self.doomed.remove(&sector) {
                versions.push(lost);
            }
            if versions.last() != Some(&now) {
                versions.push(now);
            }
        }
    }

    /// A sector as reads see it; zero beyond the end.
    fn sector(&self, sector: usize) -> Sector {
        let mut bytes = [0; SECTOR_BYTES];
        self.read((sector * SECTOR_BYTES) as u64, &mut bytes);
        bytes
    }

    pub(crate) fn sync(&mut self) {
        self.unsynced.clear();
        self.synced_len = self.live.len();
    }

    /// A sync that failed: the system has dropped its dirty marks and goes on showing what was written.
    pub(crate) fn fail_sync(&mut self) {
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            if let Some(first) = versions.first() {
                self.doomed.insert(sector, *first);
            }
        }
    }

    pub(crate) fn unsynced_sectors(&self) -> usize {
        self.unsynced.len() + self.doomed.len()
    }

    /// Loses, keeps or tears each unsynced sector, and the length likewise.
    pub(crate) fn crash(&mut self, random: &mut fastrand::Rng, fate: &mut dyn FnMut(&mut fastrand::Rng) -> Fate) {
        for (sector, lost) in std::mem::take(&mut self.doomed) {
            self.place(sector, &lost);
        }
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            let new = self.sector(sector);
            let old = versions[random.usize(..versions.len())];
            match fate(random) {
                Fate::Kept => {}
                Fate::Lost => self.place(sector, &old),
                Fate::Torn => {
                    let cut = random.usize(1..SECTOR_BYTES);
                    let (head, tail) = if random.bool() { (&new, &old) } else { (&old, &new) };
                    let mut torn = *tail;
                    torn[..cut].copy_from_slice(&head[..cut]);
                    self.place(sector, &torn);
                }
            }
        }
        let len = match fate(random) {
            Fate::Kept => self.live.len(),
            Fate::Lost => self.synced_len,
            Fate::Torn => {
                let (low, high) = (self.synced_len.min(self.live.len()), self.synced_len.max(self.live.len()));
                random.usize(low..=high)
            }
        };
        self.live.resize(len, 0);
        self.synced_len = len;
    }

    fn place(&mut self, sector: usize, bytes: &Sector) {
        let start = (sector * SECTOR_BYTES).min(self.live.len());
        let end = (start + SECTOR_BYTES).min(self.live.len());
        self.live[start..end].copy_from_slice(&bytes[..end - start]);
    }

    /// Rot: the bit is wrong on the medium and in every read.
    pub(crate) fn flip_bit(&mut self, offset: usize, bit: u8) -> bool {
        let Some(byte) = self.live.get_mut(offset) else { return false };
        *byte ^= 1 << (bit % 8);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crashed(content: &Content, fate: Fate) -> Vec<u8> {
        let mut copy = content.clone();
        copy.crash(&mut fastrand::Rng::with_seed(1), &mut |_| fate);
        copy.live
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_decides_over_the_rest() {
        let mut content = Content::default();
        content.write(0, &[1; 600]);
        content.sync();
        content.write(550, &[2; 1000]);
        assert_eq!(crashed(&content, Fate::Kept), content.live);
        assert_eq!(crashed(&content, Fate::Lost), [1; 600]);
        assert_eq!(crashed(&content, Fate::Torn)[..512], [1; 512]);
    }

    #[test]
    fn a_sector_that_was_written_twice_may_come_back_in_any_of_its_states() {
        let mut content = Content::default();
        content.write(0, &[1; 512]);
        content.sync();
        content.write(0, &[2; 512]);
        content.write(0, &[3; 512]);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut copy = content.clone();
            copy.crash(&mut fastrand::Rng::with_seed(seed), &mut |_| Fate::Lost);
            seen.insert(copy.live[0]);
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_later_sync_does_not_save_what_a_failed_one_gave_up() {
        let mut content = Content::default();
        content.write(0, &[1; 1024]);
        content.sync();
        content.write(0, &[2; 1024]);
        content.fail_sync();
        content.write(512, &[3; 512]);
        content.sync();
        let left = crashed(&content, Fate::Kept);
        assert_eq!((left[0], left[512]), (1, 3));
    }
}
