//! How a segment begins: its header, and a copy of the latest small records of all groups.

use super::format::{BATCH_HEADER_BYTES, BatchHeader, Origin, SegmentHeader, encode_batch, record_bytes, sectors};
use super::{Identity, Record};

/// The first bytes of a segment, and the checksum that the first batch after them chains to.
pub(super) struct Head {
    pub bytes: Vec<u8>,
    pub chain: u32,
}

/// Where a segment stands in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub identity: Identity,
    pub sequence: u64,
    /// Where the segment before it ends, synced.
    pub base: u64,
    pub epoch: u64,
    /// The last checksum before it.
    pub chain: u32,
}

/// How many of `records` fit into one batch: at least one.
pub(super) fn batch_len<'a>(records: impl Iterator<Item = &'a Record>, max_batch_bytes: usize) -> usize {
    let mut bytes = BATCH_HEADER_BYTES;
    let fitting = records.take_while(|record| {
        bytes += record_bytes(record);
        bytes <= max_batch_bytes
    });
    fitting.count().max(1)
}

/// Bytes of a batch of these records in the file.
pub(super) fn batch_bytes(records: &[impl std::borrow::Borrow<Record>]) -> u64 {
    let body: usize = records.iter().map(|record| record_bytes(record.borrow())).sum();
    sectors(BATCH_HEADER_BYTES + body) as u64
}

/// Builds the beginning of a segment at `place` that carries `latest`.
pub(super) fn build(place: Place, latest: &[&Record], max_batch_bytes: usize) -> Head {
    let batches = split(latest, max_batch_bytes);
    let header_bytes = super::format::SEGMENT_HEADER_BYTES as u64;
    let carry_bytes: u64 = batches.iter().map(|batch| batch_bytes(batch)).sum();
    let Place { identity, sequence, base, epoch, chain } = place;
    let durable_to = base + header_bytes + carry_bytes;
    let (header, mut chain) = SegmentHeader { identity, sequence, base, epoch, chain, durable_to }.encode();
    let mut bytes = header.to_vec();
    let mut buffer = Vec::new();
    for batch in batches {
        let position = base + bytes.len() as u64;
        let origin = Origin::Carried;
        let header = BatchHeader { position, epoch, durable_to: base, chain, body_bytes: 0, records: 0, origin };
        chain = encode_batch(&mut buffer, header, batch.iter().copied());
        bytes.extend_from_slice(&buffer);
    }
    Head { bytes, chain }
}

fn split<'a, 'b>(mut records: &'a [&'b Record], max_batch_bytes: usize) -> Vec<&'a [&'b Record]> {
    let mut batches = Vec::new();
    while !records.is_empty() {
        let (batch, rest) = records.split_at(batch_len(records.iter().copied(), max_batch_bytes));
        batches.push(batch);
        records = rest;
    }
    batches
}
