//! The bytes of the log; `docs/formats/wal.md` draws them. All numbers are little-endian.
//!
//! A segment is a header of one sector and then batches, each beginning at a sector. The checksum of each record goes on
//! from the one before it, the first from its batch header's, and the batch header holds the last checksum of
//! what precedes the batch. So every record's checksum depends on all that came before it in the log.

use althing_codec::checksum;
use althing_env::disk::SECTOR_BYTES;
use althing_probe::Mutant;
use althing_types::{ClusterId, GroupId, NodeId};
use bytes::Bytes;

use super::{Damage, Identity, Position, Record, RecordKind};

/// The version that this program writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Bytes of a segment's header.
pub(super) const SEGMENT_HEADER_BYTES: usize = SECTOR_BYTES;
/// Bytes of a batch's header.
pub(super) const BATCH_HEADER_BYTES: usize = 48;
/// Bytes of a record's header.
pub(super) const RECORD_HEADER_BYTES: usize = 25;

const SEGMENT_MAGIC: [u8; 8] = *b"ALTHWAL\0";
const BATCH_MAGIC: [u8; 4] = *b"AWB\x01";

/// Rounds up to whole sectors.
pub(super) const fn sectors(bytes: usize) -> usize {
    bytes.next_multiple_of(SECTOR_BYTES)
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(*bytes[offset..].first_chunk().expect("the caller has checked the length"))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(*bytes[offset..].first_chunk().expect("the caller has checked the length"))
}

/// What the first sector of a segment says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentHeader {
    pub identity: Identity,
    /// The number in the file's name.
    pub sequence: u64,
    /// The position of the file's first byte: where the segment before it ends. All before it is synced.
    pub base: u64,
    /// The epoch that the segment was made in.
    pub epoch: u64,
    /// The last checksum of the segment before it.
    pub chain: u32,
    /// Where the carry ends, which was synced together with this header.
    pub durable_to: u64,
}

/// Why a segment header cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HeaderError {
    Damaged(Damage),
    Version(u32),
}

impl SegmentHeader {
    /// The header's bytes, and its checksum, which the first batch chains to.
    pub(super) fn encode(&self) -> ([u8; SEGMENT_HEADER_BYTES], u32) {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.identity.cluster.get().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.identity.node.get().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.base.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.chain.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.durable_to.to_le_bytes());
        let sum = segment_checksum(&bytes);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        (bytes, sum)
    }

    /// Magic, version and checksum stand at the same place in every version, so that a newer one is told from damage.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, u32), HeaderError> {
        if bytes.len() < SEGMENT_HEADER_BYTES || bytes[..8] != SEGMENT_MAGIC {
            return Err(HeaderError::Damaged(Damage::SegmentMagic));
        }
        let bytes = &bytes[..SEGMENT_HEADER_BYTES];
        let sum = u32_at(bytes, 12);
        if segment_checksum(bytes) != sum {
            return Err(HeaderError::Damaged(Damage::SegmentHeader));
        }
        match u32_at(bytes, 8) {
            FORMAT_VERSION => {}
            version => return Err(HeaderError::Version(version)),
        }
        let identity = Identity { cluster: ClusterId(u64_at(bytes, 16)), node: NodeId(u64_at(bytes, 24)) };
        let header = Self {
            identity,
            sequence: u64_at(bytes, 32),
            base: u64_at(bytes, 40),
            epoch: u64_at(bytes, 48),
            chain: u32_at(bytes, 56),
            durable_to: u64_at(bytes, 64),
        };
        Ok((header, sum))
    }
}

/// The checksum of a segment header: of all its bytes but its own.
fn segment_checksum(bytes: &[u8]) -> u32 {
    checksum::extend(checksum::crc32c(&bytes[..12]), &bytes[16..SEGMENT_HEADER_BYTES])
}

/// How a batch came into the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// The host appended it.
    Appended,
    /// The log copied the latest small records of all groups to the beginning of a segment.
    Carried,
}

/// What precedes the records of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BatchHeader {
    /// Of the header's own first byte.
    pub position: u64,
    pub epoch: u64,
    /// All before this was synced when the batch was written.
    pub durable_to: u64,
    /// The last checksum before the batch.
    pub chain: u32,
    /// Bytes of the records, without padding.
    pub body_bytes: u32,
    pub records: u32,
    pub origin: Origin,
}

impl BatchHeader {
    fn encode(&self) -> ([u8; BATCH_HEADER_BYTES], u32) {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        bytes[..4].copy_from_slice(&BATCH_MAGIC);
        bytes[8..16].copy_from_slice(&self.position.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable_to.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.chain.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.records.to_le_bytes());
        bytes[44] = match self.origin {
            Origin::Appended => 0,
            Origin::Carried => 1,
        };
        let sum = checksum::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        (bytes, sum)
    }

    /// The header, and its checksum, which the first record's goes on from.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, u32), Damage> {
        if bytes.len() < BATCH_HEADER_BYTES || bytes[..4] != BATCH_MAGIC {
            return Err(Damage::BatchMagic);
        }
        let bytes = &bytes[..BATCH_HEADER_BYTES];
        let sum = u32_at(bytes, 4);
        if checksum::crc32c(&bytes[8..]) != sum && !althing_probe::is(Mutant::IgnoreChecksums) {
            return Err(Damage::BatchHeader);
        }
        let origin = match bytes[44] {
            0 => Origin::Appended,
            1 => Origin::Carried,
            _ => return Err(Damage::BatchHeader),
        };
        let header = Self {
            position: u64_at(bytes, 8),
            epoch: u64_at(bytes, 16),
            durable_to: u64_at(bytes, 24),
            chain: u32_at(bytes, 32),
            body_bytes: u32_at(bytes, 36),
            records: u32_at(bytes, 40),
            origin,
        };
        Ok((header, sum))
    }

    /// Bytes in the file, with header and padding.
    pub(super) fn file_bytes(&self) -> u64 {
        sectors(BATCH_HEADER_BYTES + self.body_bytes as usize) as u64
    }
}

/// Bytes of a record in a batch.
pub(super) fn record_bytes(record: &Record) -> usize {
    RECORD_HEADER_BYTES + record.payload.len()
}

/// Fills `buffer` with one batch and returns its last checksum. The header's `body_bytes` and `records` are set here.
pub(super) fn encode_batch<'a>(
    buffer: &mut Vec<u8>,
    mut header: BatchHeader,
    records: impl Iterator<Item = &'a Record> + Clone,
) -> u32 {
    let body: usize = records.clone().map(record_bytes).sum();
    header.body_bytes = u32::try_from(body).expect("a batch is bounded by the options to far below 4 GiB");
    header.records = u32::try_from(records.clone().count()).expect("each record takes some bytes of the body");
    buffer.clear();
    buffer.reserve(sectors(BATCH_HEADER_BYTES + body));
    let (bytes, mut sum) = header.encode();
    buffer.extend_from_slice(&bytes);
    for record in records {
        sum = encode_record(buffer, sum, record);
    }
    buffer.resize(sectors(buffer.len()), 0);
    sum
}

fn encode_record(buffer: &mut Vec<u8>, before: u32, record: &Record) -> u32 {
    let start = buffer.len();
    let len = u32::try_from(record.payload.len()).expect("a batch is bounded by the options to far below 4 GiB");
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&len.to_le_bytes());
    buffer.push(record.kind as u8);
    buffer.extend_from_slice(&record.group.get().to_le_bytes());
    buffer.extend_from_slice(&record.index.to_le_bytes());
    buffer.extend_from_slice(&record.payload);
    let sum = checksum::extend(before, &buffer[start + 4..]);
    buffer[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    sum
}

/// A record that was read, and where in its segment it begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ReadRecord {
    pub offset: u64,
    pub record: Record,
}

/// Damage at an offset of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct DamageAt {
    pub offset: u64,
    pub damage: Damage,
}

/// Reads the records of the batch whose header is at `offset` of its file and whose bytes, padding included, are
/// `bytes`. All records before the damage are pushed too; the caller decides whether they count.
pub(super) fn decode_body(
    header: &BatchHeader,
    header_checksum: u32,
    bytes: &Bytes,
    offset: u64,
    records: &mut Vec<ReadRecord>,
) -> Result<u32, DamageAt> {
    let end = BATCH_HEADER_BYTES + header.body_bytes as usize;
    let mut sum = header_checksum;
    let mut at = BATCH_HEADER_BYTES;
    for _ in 0..header.records {
        let damaged = |damage| DamageAt { offset: offset + at as u64, damage };
        let (record, next, record_sum) = decode_record(bytes, at, end, sum).map_err(damaged)?;
        records.push(ReadRecord { offset: offset + at as u64, record });
        (at, sum) = (next, record_sum);
    }
    if at != end {
        return Err(DamageAt { offset: offset + at as u64, damage: Damage::Record });
    }
    match bytes[end..].iter().position(|byte| *byte != 0) {
        None => Ok(sum),
        Some(stray) => Err(DamageAt { offset: offset + (end + stray) as u64, damage: Damage::Padding }),
    }
}

/// The record at `at`, where the next one begins, and the checksum.
fn decode_record(bytes: &Bytes, at: usize, end: usize, before: u32) -> Result<(Record, usize, u32), Damage> {
    if end - at < RECORD_HEADER_BYTES {
        return Err(Damage::Record);
    }
    let payload_bytes = u32_at(bytes, at + 4) as usize;
    if payload_bytes > end - at - RECORD_HEADER_BYTES {
        return Err(Damage::Record);
    }
    let next = at + RECORD_HEADER_BYTES + payload_bytes;
    let sum = checksum::extend(before, &bytes[at + 4..next]);
    if sum != u32_at(bytes, at) && !althing_probe::is(Mutant::IgnoreChecksums) {
        return Err(Damage::Record);
    }
    let kind = RecordKind::from_ordinal(bytes[at + 8]).ok_or(Damage::RecordKind)?;
    let group = GroupId(u64_at(bytes, at + 9));
    let payload = bytes.slice(at + RECORD_HEADER_BYTES..next);
    Ok((Record { group, kind, index: u64_at(bytes, at + 17), payload }, next, sum))
}

/// What the next batch of a walk has to fit to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub position: Position,
    pub epoch: u64,
    pub chain: u32,
}

impl Link {
    /// Whether a batch with this header follows. An epoch may begin with any batch; none ever comes back.
    pub(super) fn check(&self, header: &BatchHeader) -> Result<(), Damage> {
        if header.position != self.position.get() {
            return Err(Damage::Position);
        }
        if header.epoch < self.epoch {
            return Err(Damage::Epoch);
        }
        if header.chain != self.chain || header.durable_to > header.position {
            return Err(Damage::Chain);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        let origin = Origin::Appended;
        BatchHeader { position: 512, epoch: 3, durable_to: 512, chain: 9, body_bytes: 0, records: 0, origin }
    }

    fn records() -> Vec<Record> {
        let record = |group, kind, index, payload: &'static [u8]| Record {
            group: GroupId(group),
            kind,
            index,
            payload: Bytes::from_static(payload),
        };
        vec![
            record(7, RecordKind::Entries, 12, &[0xab; 700]),
            record(8, RecordKind::HardState, 0, b""),
            record(7, RecordKind::GroupDropped, 0, b"x"),
        ]
    }

    fn decode(bytes: &Bytes, records: &mut Vec<ReadRecord>) -> Result<u32, DamageAt> {
        let (header, sum) = BatchHeader::decode(bytes).map_err(|damage| DamageAt { offset: 0, damage })?;
        if header.file_bytes() != bytes.len() as u64 {
            return Err(DamageAt { offset: 0, damage: Damage::BeyondEnd });
        }
        decode_body(&header, sum, bytes, 0, records)
    }

    #[test]
    fn a_batch_that_is_written_is_read() {
        let mut buffer = Vec::new();
        let sum = encode_batch(&mut buffer, header(), records().iter());
        let mut read = Vec::new();
        assert_eq!(decode(&Bytes::from(buffer), &mut read), Ok(sum));
        assert_eq!(read.into_iter().map(|read| read.record).collect::<Vec<_>>(), records());
    }

    #[test]
    fn every_flipped_bit_of_a_batch_is_found() {
        let mut buffer = Vec::new();
        encode_batch(&mut buffer, header(), records().iter());
        for offset in 0..buffer.len() {
            for bit in 0..8 {
                let mut damaged = buffer.clone();
                damaged[offset] ^= 1 << bit;
                assert!(decode(&Bytes::from(damaged), &mut Vec::new()).is_err(), "bit {bit} of byte {offset}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_segment_header_is_found() {
        let identity = Identity { cluster: ClusterId(1), node: NodeId(2) };
        let header = SegmentHeader { identity, sequence: 3, base: 4096, epoch: 5, chain: 6, durable_to: 9 };
        let (bytes, sum) = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok((header, sum)));
        for offset in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes;
                damaged[offset] ^= 1 << bit;
                let refused = SegmentHeader::decode(&damaged);
                assert!(matches!(refused, Err(HeaderError::Damaged(_))), "bit {bit} of byte {offset}: {refused:?}");
            }
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let identity = Identity { cluster: ClusterId(1), node: NodeId(2) };
        let (mut bytes, _) =
            SegmentHeader { identity, sequence: 3, base: 0, epoch: 5, chain: 6, durable_to: 9 }.encode();
        bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
        let sum = segment_checksum(&bytes);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::Version(2)));
    }

    #[test]
    fn a_batch_follows_only_in_its_place_and_time_and_behind_its_own_past() {
        let link = Link { position: Position::at(512), epoch: 3, chain: 9 };
        assert_eq!(link.check(&header()), Ok(()));
        assert_eq!(link.check(&BatchHeader { epoch: 4, ..header() }), Ok(()));
        assert_eq!(link.check(&BatchHeader { position: 1024, ..header() }), Err(Damage::Position));
        assert_eq!(link.check(&BatchHeader { epoch: 2, ..header() }), Err(Damage::Epoch));
        assert_eq!(link.check(&BatchHeader { chain: 8, ..header() }), Err(Damage::Chain));
        assert_eq!(link.check(&BatchHeader { durable_to: 513, ..header() }), Err(Damage::Chain));
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let mut buffer = Vec::new();
            encode_batch(&mut buffer, header(), records().iter());
            // A header that is fine by itself and lies about its body.
            let mut lie = header();
            lie.body_bytes = random.u32(..900);
            lie.records = random.u32(..5);
            let (bytes, sum) = lie.encode();
            buffer[..BATCH_HEADER_BYTES].copy_from_slice(&bytes);
            buffer.truncate(usize::try_from(lie.file_bytes()).unwrap());
            let mut read = Vec::new();
            let end = decode_body(&lie, sum, &Bytes::from(buffer), 0, &mut read);
            let true_by_chance = (lie.body_bytes, lie.records) == (776, 3);
            assert!(end.is_err() || lie.body_bytes == 0 || true_by_chance, "{lie:?}");
        }
    }
}
