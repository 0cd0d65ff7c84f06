//! The bytes of a proof (`docs/formats/merkle.md`).

use althing_codec::{DecodeError, Reader, Writer};
use bytes::Bytes;

use super::{Item, MAX_ENTRIES, Path, Proof};
use crate::place::{FAN_OUT, MAX_DEPTH};
use crate::tree::Summary;
use crate::tree::bytes::read_sum;

/// The format of a proof.
const VERSION: u8 = 1;

impl Proof {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.u64(self.items.len() as u64);
        for item in &self.items {
            writer.bytes(&item.key);
            writer.bytes(&item.version);
        }
        writer.u8(self.path.depth());
        if let Path::Above { beside, hashes } = &self.path {
            for summary in beside.iter() {
                writer.raw(&summary.sum.to_le_bytes());
                writer.u64(summary.count);
            }
            hashes.iter().flatten().for_each(|hash| writer.raw(hash));
        }
        writer.finish()
    }

    /// The proof of these bytes.
    ///
    /// # Errors
    ///
    /// Bytes that no proof is written as, or more than [`MAX_ENTRIES`].
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let version = reader.u8("a proof's version")?;
        if version != VERSION {
            return Err(DecodeError::Version { what: "a proof", found: version.into(), known: VERSION.into() });
        }
        let count = reader.count("a proof's items")?;
        if count > MAX_ENTRIES {
            return Err(DecodeError::Unknown { field: "a proof's items", value: count as u64 });
        }
        let item = |_| Ok(Item { key: reader.bytes("a key")?, version: reader.bytes("a version")? });
        let items = (0..count).map(item).collect::<Result<_, DecodeError>>()?;
        let path = match reader.u8("a proof's depth")? {
            0 => Path::Bucket,
            depth @ 1..=MAX_DEPTH => read_path(&mut reader, depth)?,
            value => return Err(DecodeError::Unknown { field: "a proof's depth", value: value.into() }),
        };
        reader.finish()?;
        Ok(Self { items, path })
    }
}

fn read_path(reader: &mut Reader, depth: u8) -> Result<Path, DecodeError> {
    let mut beside = Box::new([Summary::default(); FAN_OUT - 1]);
    for summary in beside.iter_mut() {
        summary.sum = read_sum(reader, "a bucket's sum")?;
        summary.count = reader.u64("a bucket's count")?;
    }
    let mut hashes = vec![[[0_u8; 32]; FAN_OUT - 1]; usize::from(depth) - 1];
    for byte in hashes.iter_mut().flatten().flatten() {
        *byte = reader.u8("a hash")?;
    }
    Ok(Path::Above { beside, hashes })
}
