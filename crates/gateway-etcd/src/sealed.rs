//! What a snapshot file is wrapped in, so that etcd's clients accept it and a damaged one is recognised.
//!
//! etcdctl takes a snapshot for whole if its size is a multiple of 512 and 32 bytes (etcd's pages and a SHA-256). So the
//! stream of a snapshot ends with a trailer:
//!
//! ```text
//!   payload │ zeros │ payload length, u64 little-endian │ SHA-256 of everything before
//!           └───────┴── to a multiple of 512 ───────────┘
//! ```

use std::io::Read;

use bytes::{BufMut, Bytes, BytesMut};
use ring::digest;

const PAGE_BYTES: u64 = 512;
const LENGTH_BYTES: u64 = 8;
/// Bytes of the hash at the end.
pub const HASH_BYTES: usize = digest::SHA256_OUTPUT_LEN;

/// Seals a payload as it goes by.
#[derive(Clone)]
pub struct Seal {
    hash: digest::Context,
    payload_bytes: u64,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").field("payload_bytes", &self.payload_bytes).finish_non_exhaustive()
    }
}

impl Default for Seal {
    fn default() -> Self {
        Self::new()
    }
}

impl Seal {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { hash: digest::Context::new(&digest::SHA256), payload_bytes: 0 }
    }

    /// The next bytes of the payload.
    pub fn update(&mut self, payload: &[u8]) {
        self.hash.update(payload);
        self.payload_bytes += payload.len() as u64;
    }

    /// Bytes that have gone by.
    #[must_use]
    pub const fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// The trailer to send after the payload.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        let zeros = padding(self.payload_bytes);
        let mut trailer = BytesMut::zeroed(usize::try_from(zeros).expect("a padding is less than a page"));
        trailer.put_u64_le(self.payload_bytes);
        self.hash.update(&trailer);
        trailer.extend_from_slice(self.hash.finish().as_ref());
        trailer.freeze()
    }
}

/// Zeros after a payload.
const fn padding(payload_bytes: u64) -> u64 {
    (PAGE_BYTES - (payload_bytes + LENGTH_BYTES) % PAGE_BYTES) % PAGE_BYTES
}

/// Bytes of the trailer that follows a payload.
#[must_use]
pub const fn trailer_bytes(payload_bytes: u64) -> u64 {
    padding(payload_bytes) + LENGTH_BYTES + HASH_BYTES as u64
}

/// Why a snapshot file is refused.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It could not be read.
    #[error("the snapshot cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Its size is not one that a sealed file can have: it was cut, or is something else.
    #[error("the snapshot has {0} bytes, which no whole snapshot has; it was cut or is no snapshot")]
    Size(u64),
    /// The hash at its end is not the hash of its content.
    #[error("the snapshot's content does not match the SHA-256 at its end; take it again")]
    Hash,
    /// It is whole, but not one of Althing's.
    #[error("the snapshot is whole but was not made by Althing")]
    Foreign,
}

/// Reads a whole snapshot file and says how long the payload at its beginning is.
///
/// # Errors
/// If it cannot be read, was cut or damaged, or comes from another program.
pub fn verify(file: &mut impl Read) -> Result<u64, SealError> {
    const TAIL: usize = LENGTH_BYTES as usize + HASH_BYTES;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut tail = Vec::with_capacity(TAIL + BUFFER_BYTES);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut total = 0u64;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        total += read as u64;
        tail.extend_from_slice(&buffer[..read]);
        let settled = tail.len().saturating_sub(TAIL);
        hash.update(&tail[..settled]);
        tail.drain(..settled);
    }
    if total % PAGE_BYTES != HASH_BYTES as u64 {
        return Err(SealError::Size(total));
    }
    let (length, expected) = tail.split_first_chunk::<{ LENGTH_BYTES as usize }>().ok_or(SealError::Size(total))?;
    hash.update(length);
    if hash.finish().as_ref() != expected {
        return Err(SealError::Hash);
    }
    let payload_bytes = u64::from_le_bytes(*length);
    match payload_bytes.checked_add(trailer_bytes(payload_bytes % PAGE_BYTES)) {
        Some(sealed) if sealed == total => Ok(payload_bytes),
        _ => Err(SealError::Foreign),
    }
}

const BUFFER_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(payload: &[u8]) -> Vec<u8> {
        let mut seal = Seal::new();
        for piece in payload.chunks(100) {
            seal.update(piece);
        }
        [payload, &seal.finish()].concat()
    }

    #[test]
    fn a_sealed_payload_has_the_size_that_etcdctl_wants_and_gives_its_length_back() {
        for length in [0, 1, 503, 504, 505, 511, 512, 513, 200_000] {
            let file = sealed(&vec![7; length]);
            assert_eq!(file.len() % 512, 32, "{length}");
            assert_eq!(file.len() as u64, length as u64 + trailer_bytes(length as u64));
            assert_eq!(verify(&mut file.as_slice()).unwrap(), length as u64);
        }
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let file = sealed(&[7; 700]);
        for place in 0..file.len() {
            let mut damaged = file.clone();
            damaged[place] ^= 0x40;
            assert!(matches!(verify(&mut damaged.as_slice()), Err(SealError::Hash)), "{place}");
        }
    }

    #[test]
    fn a_cut_file_is_refused() {
        let file = sealed(&[7; 700]);
        for length in 0..file.len() {
            assert!(verify(&mut &file[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_whole_file_of_another_program_is_refused() {
        let page = [9u8; 512];
        let file = [page.as_slice(), digest::digest(&digest::SHA256, &page).as_ref()].concat();
        assert!(matches!(verify(&mut file.as_slice()), Err(SealError::Foreign)));
    }
}
