//! The file `ENGINE`: whose directory this is, how many trees it has, and which spaces are dead (docs/formats/engine.md).
//!
//! It is small and always written whole: to `ENGINE.new`, synced, renamed, and the directory synced. Its last four bytes
//! are the CRC32C of all before, in every version of the format, so that damage is never taken for a newer version.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use althing_codec::checksum::crc32c;
use althing_codec::{DecodeError, Reader, Writer};
use althing_types::{ClusterId, NodeId, SpaceId};
use bytes::Bytes;

use super::super::EngineError;
use super::error::{corrupt, of_io};

const MAGIC: &[u8; 8] = b"ALTHENGN";
/// The format that this program writes, and the newest that it reads.
const VERSION: u32 = 1;
const FILE: &str = "ENGINE";
const NEW_FILE: &str = "ENGINE.new";

/// What the file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct EngineFile {
    /// The cluster whose data this is.
    pub(super) cluster: ClusterId,
    /// The node whose data this is.
    pub(super) node: NodeId,
    /// How many trees the spaces are spread over. Fixed for the life of the directory.
    pub(super) trees: u32,
    /// Dropped spaces of which keys may still be on disk.
    pub(super) dead: BTreeSet<SpaceId>,
}

/// Where the file is.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

impl EngineFile {
    /// Reads the file; `None` if there is none.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, EngineError> {
        let path = path(dir);
        match fs::read(&path) {
            Ok(bytes) => Self::decode(&path, Bytes::from(bytes)).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(of_io(&path, &error)),
        }
    }

    /// Replaces the file, durably and at once.
    pub(super) fn write(&self, dir: &Path) -> Result<(), EngineError> {
        let new = dir.join(NEW_FILE);
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&self.encode())?;
            file.sync_all()?;
            fs::rename(&new, path(dir))?;
            File::open(dir)?.sync_all()
        };
        write().map_err(|error| of_io(&new, &error))
    }

    fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.raw(MAGIC);
        writer.fixed_u32(VERSION);
        writer.fixed_u64(self.cluster.get());
        writer.fixed_u64(self.node.get());
        writer.fixed_u32(self.trees);
        writer.u64(self.dead.len() as u64);
        for space in &self.dead {
            writer.u64(space.get());
        }
        let body = writer.finish();
        let mut writer = Writer::with_capacity(body.len() + 4);
        writer.raw(&body);
        writer.fixed_u32(crc32c(&body));
        writer.finish()
    }

    fn decode(path: &Path, bytes: Bytes) -> Result<Self, EngineError> {
        let checked = bytes.len().checked_sub(4).map(|end| (bytes.slice(..end), bytes.slice(end..)));
        let (body, crc) = checked.ok_or_else(|| corrupt(path, format!("it has only {} bytes", bytes.len())))?;
        let found = crc32c(&body);
        if found.to_le_bytes() != crc[..] {
            return Err(corrupt(path, format!("its checksum is {found:08x} and should be {crc:x}")));
        }
        let body = body.strip_prefix(MAGIC).ok_or_else(|| corrupt(path, "it is no ENGINE file".to_owned()))?;
        let mut reader = Reader::new(bytes.slice_ref(body));
        let parse_error = |error: DecodeError| corrupt(path, error.to_string());
        let version = reader.fixed_u32("version").map_err(parse_error)?;
        if version != VERSION {
            return Err(EngineError::Version { file: path.to_owned(), found: version, known: VERSION });
        }
        Self::decode_body(reader).map_err(parse_error)
    }

    fn decode_body(mut reader: Reader) -> Result<Self, DecodeError> {
        let cluster = ClusterId(reader.fixed_u64("cluster")?);
        let node = NodeId(reader.fixed_u64("node")?);
        let trees = reader.fixed_u32("trees")?;
        let mut dead = BTreeSet::new();
        for _ in 0..reader.count("dead spaces")? {
            dead.insert(SpaceId(reader.u64("dead space")?));
        }
        reader.finish()?;
        Ok(Self { cluster, node, trees, dead })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> EngineFile {
        EngineFile {
            cluster: ClusterId(1),
            node: NodeId(2),
            trees: 4,
            dead: [SpaceId(7), SpaceId(u64::MAX - 1)].into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(EngineFile::read(dir.path()), Ok(None));
        example().write(dir.path()).unwrap();
        assert_eq!(EngineFile::read(dir.path()), Ok(Some(example())));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found_and_names_the_file() {
        let path = Path::new("somewhere/ENGINE");
        let bytes = example().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = EngineFile::decode(path, flipped.into()).unwrap_err();
            assert!(matches!(error, EngineError::Corrupt { file, .. } if file == path));
        }
        for len in 0..bytes.len() {
            assert!(EngineFile::decode(path, bytes.slice(..len)).is_err());
        }
    }

    #[test]
    fn a_format_that_is_not_known_exactly_is_refused_by_its_number() {
        for version in [0, 2, 9] {
            let mut other = example().encode()[..].to_vec();
            other[8] = version;
            let end = other.len() - 4;
            let crc = crc32c(&other[..end]).to_le_bytes();
            other[end..].copy_from_slice(&crc);
            let error = EngineFile::decode(Path::new("ENGINE"), other.into()).unwrap_err();
            assert_eq!(error, EngineError::Version { file: "ENGINE".into(), found: version.into(), known: VERSION });
        }
    }
}
