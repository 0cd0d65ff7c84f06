//! Frames between nodes: how bytes become messages on a stream.
//!
//! ```text
//!  0        4        8
//! +--------+--------+----------- - -
//! | length | crc32c | payload
//! +--------+--------+----------- - -
//!   u32 LE   u32 LE   `length` bytes
//! ```
//!
//! `crc32c` is over the length's four bytes and the payload. TCP's own checksum is weak and ends at the network card; a
//! frame that fails ours ends the connection, and Raft sends again over the next one.

use althing_codec::checksum;
use althing_types::limits::MAX_FRAME_BYTES;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 8;
/// Bytes of a buffer that is read into.
const READ_BYTES: usize = 64 * 1024;
/// Room in it below which it is not read into any more.
const MIN_READ_BYTES: usize = 16 * 1024;

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is above the limit: an enemy, or rot in the length.
    #[error("a frame of {bytes} bytes is longer than {limit}")]
    TooLong {
        /// What the header says.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The checksum does not fit the bytes.
    #[error("a frame of {bytes} bytes is corrupt: checksum {found:08x}, expected {expected:08x}")]
    Corrupt {
        /// Its length.
        bytes: usize,
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// The stream ended within a frame.
    #[error("the stream ended within a frame")]
    Truncated,
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// The header of a frame with this payload.
///
/// # Panics
/// If the payload is longer than [`MAX_FRAME_BYTES`]: whoever makes frames keeps to the limit.
#[must_use]
pub fn header(payload: &[u8]) -> [u8; HEADER_BYTES] {
    assert!(payload.len() <= MAX_FRAME_BYTES, "a frame of {} bytes", payload.len());
    let length = (payload.len() as u32).to_le_bytes();
    let crc = checksum::extend(checksum::crc32c(&length), payload);
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&length);
    header[4..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub struct FrameReader {
    buffer: BytesMut,
    limit: usize,
}

impl FrameReader {
    /// A reader that refuses frames longer than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }

    /// Changes the limit: before the handshake it is small, so that a stranger cannot make us hold megabytes.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The next whole frame among the bytes that are there.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
        let bytes = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if bytes > self.limit {
            return Err(FrameError::TooLong { bytes, limit: self.limit });
        }
        if rest.len() < bytes {
            self.buffer.reserve(bytes - rest.len());
            return Ok(None);
        }
        let expected = u32::from_le_bytes([c0, c1, c2, c3]);
        let found = checksum::extend(checksum::crc32c(&header[..4]), &rest[..bytes]);
        if found != expected {
            return Err(FrameError::Corrupt { bytes, expected, found });
        }
        self.buffer.advance(HEADER_BYTES);
        Ok(Some(self.buffer.split_to(bytes).freeze()))
    }

    /// Reads until there is a whole frame; `None` when the stream ends between frames.
    pub async fn read<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.next_frame()? {
                return Ok(Some(frame));
            }
            // Frames are slices of the buffer. Reserving finds it unshared as a rule, and uses it again; what keeps a part
            // of a frame for longer than a turn copies it.
            if self.buffer.capacity() - self.buffer.len() < MIN_READ_BYTES {
                self.buffer.reserve(READ_BYTES);
            }
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::Truncated) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(payload: &[u8]) -> Vec<u8> {
        [&header(payload)[..], payload].concat()
    }

    async fn read_all(limit: usize, stream: &[u8]) -> Result<Vec<Bytes>, FrameError> {
        let (mut reader, mut source) = (FrameReader::new(limit), stream);
        let mut frames = Vec::new();
        while let Some(frame) = reader.read(&mut source).await? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let stream = [encode(b"one"), encode(b""), encode(&[7; 200_000])].concat();
        let frames = block_on(read_all(MAX_FRAME_BYTES, &stream)).unwrap();
        assert_eq!(frames.len(), 3);
        assert_eq!((&frames[0][..], frames[1].len(), frames[2].len()), (&b"one"[..], 0, 200_000));
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_is_an_error() {
        let stream = encode(b"whole");
        for cut in 1..stream.len() {
            let error = block_on(read_all(MAX_FRAME_BYTES, &stream[..cut])).unwrap_err();
            assert!(matches!(error, FrameError::Truncated), "cut at {cut}: {error}");
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_any_byte_is_held() {
        let error = block_on(read_all(16, &encode(&[0; 17]))).unwrap_err();
        assert!(matches!(error, FrameError::TooLong { bytes: 17, limit: 16 }), "{error}");
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_found(payload: Vec<u8>, position: prop::sample::Index, bit in 0..8_u32) {
            let mut stream = encode(&payload);
            let at = position.index(stream.len());
            stream[at] ^= 1 << bit;
            prop_assert!(block_on(read_all(MAX_FRAME_BYTES, &stream)).is_err());
        }
    }
}
