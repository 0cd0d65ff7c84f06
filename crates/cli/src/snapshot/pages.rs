//! The pages within a snapshot file, one at a time: a file may be larger than memory.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use althing_codec::checksum::{crc32c, extend};
use althing_gateway_etcd::sealed::{self, SealError};
use althing_node::{SNAPSHOT_MAGIC, SNAPSHOT_VERSION, SnapshotFileError};
use bytes::Bytes;

/// Why a snapshot file is refused.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// Its seal is broken.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Its pages are not whole.
    #[error(transparent)]
    Pages(#[from] SnapshotFileError),
}

/// The longest page that is believed: pages are made of about `SNAPSHOT_CHUNK_BYTES`, and one key and its value may be
/// larger.
const MAX_PAGE_BYTES: usize = 64 * 1024 * 1024;

/// Reads the pages of a snapshot, in order, checking each and the whole.
pub struct Pages<R> {
    input: R,
    position: u64,
    /// Checksum over the pages' checksums so far.
    chain: u32,
    ended: bool,
}

impl Pages<io::Take<BufReader<File>>> {
    /// Opens a snapshot file after its seal has been found whole. Returns the checksum of the seal's bytes as well, which
    /// names the snapshot.
    pub fn open(path: &Path) -> Result<Self, PageError> {
        let mut file = BufReader::new(File::open(path)?);
        let payload_bytes = sealed::verify(&mut file)?;
        file.rewind()?;
        Self::new(file.take(payload_bytes))
    }
}

impl<R: Read> Pages<R> {
    /// Reads pages off `input`.
    pub fn new(mut input: R) -> Result<Self, PageError> {
        let mut head = [0; 12];
        match input.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(SnapshotFileError::Magic.into()),
            Err(error) => return Err(error.into()),
        }
        if head[..8] != SNAPSHOT_MAGIC[..] {
            return Err(SnapshotFileError::Magic.into());
        }
        let version = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotFileError::Version(version).into());
        }
        Ok(Self { input, position: 12, chain: 0, ended: false })
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), PageError> {
        match self.input.read_exact(buffer) {
            Ok(()) => {
                self.position += buffer.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(SnapshotFileError::Truncated(self.position).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn number(&mut self) -> Result<u32, PageError> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// The next page; `None` after the last, once the whole was found complete.
    pub fn next_page(&mut self) -> Result<Option<Bytes>, PageError> {
        if self.ended {
            return Ok(None);
        }
        let start = self.position;
        let damaged = || PageError::from(SnapshotFileError::Checksum(start));
        let (len, crc) = (self.number()? as usize, self.number()?);
        if len == 0 {
            self.ended = true;
            return if crc == self.chain { Ok(None) } else { Err(damaged()) };
        }
        if len > MAX_PAGE_BYTES {
            return Err(damaged());
        }
        let mut page = vec![0; len];
        self.fill(&mut page)?;
        if crc32c(&page) != crc {
            return Err(damaged());
        }
        self.chain = extend(self.chain, &crc.to_le_bytes());
        Ok(Some(page.into()))
    }

    /// The checksum over all pages, once the last has been read: the name of this snapshot among others.
    #[must_use]
    pub const fn chain(&self) -> u32 {
        self.chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(pages: &[&[u8]]) -> Vec<u8> {
        let mut file = [&SNAPSHOT_MAGIC[..], &SNAPSHOT_VERSION.to_le_bytes()].concat();
        let mut chain = 0;
        for page in pages {
            let crc = crc32c(page);
            chain = extend(chain, &crc.to_le_bytes());
            file.extend([&(page.len() as u32).to_le_bytes()[..], &crc.to_le_bytes(), page].concat());
        }
        file.extend([0_u32.to_le_bytes(), chain.to_le_bytes()].concat());
        file
    }

    fn read(file: &[u8]) -> Result<Vec<Bytes>, PageError> {
        let mut pages = Pages::new(file)?;
        let mut found = Vec::new();
        while let Some(page) = pages.next_page()? {
            found.push(page);
        }
        Ok(found)
    }

    #[test]
    fn pages_are_read_as_the_node_frames_them() {
        let file = file(&[b"one", b"second"]);
        assert_eq!(read(&file).unwrap(), [&b"one"[..], b"second"]);
        assert_eq!(read(&file).unwrap(), althing_node::snapshot_pages(file.into()).unwrap());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let good = file(&[b"one", b"second"]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bad).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(read(&good[..len]).is_err(), "cut at {len}");
        }
    }
}
