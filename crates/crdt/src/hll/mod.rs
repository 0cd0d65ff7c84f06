//! HyperLogLog: how many distinct elements there were, in some kilobytes, to within a percent.
//!
//! Flajolet, Fusy, Gandouet, Meunier, *HyperLogLog*, 2007: of each element's hash 14 bits choose one of 16,384 registers, which
//! keeps the greatest rank (place of the first one-bit) of the other 50. Registers join by the greater, so sketches of
//! overlapping sets join to the sketch of their union. With 64 bits of hash there is no correction for large numbers; small
//! sketches are kept sparse (Heule, Nunkesser, Hall, *HyperLogLog in Practice*, 2013, §5.3).
//!
//! A register needs six bits, and has them in the byte form. In memory it has eight, so that a join is a maximum of bytes,
//! which processors do many at a time.

use althing_clock::Coded;
use althing_clock::coded::ascending;
use althing_codec::{DecodeError, Reader, Writer};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::join::{Merge, plain};
use crate::stability::{Stability, Stable};
use crate::store::DotFun;

mod estimate;

/// A sketch that can be removed like any value: see [`DotFun::grow`].
pub type HllKey = DotFun<Hll>;

/// Bits of the hash that choose a register.
const PRECISION: u32 = 14;
/// How many registers there are.
pub const REGISTERS: usize = 1 << PRECISION;
/// The greatest rank: of 50 bits none is one.
pub const MAX_RANK: u8 = (64 - PRECISION + 1) as u8;
/// Registers above zero at which a sketch becomes dense: so many take a third of a dense one's bytes, in memory and
/// written down, and joining them begins to be slower.
pub const MAX_SPARSE: usize = 1_024;
/// Bytes of all registers with six bits each.
const PACKED_BYTES: usize = REGISTERS * 6 / 8;
/// The seed of the hash. It is a part of the format: sketches of different hashes must not be joined.
const SEED: u64 = u64::from_le_bytes(*b"ALTHHLL1");

const SPARSE: u8 = 0;
const DENSE: u8 = 1;

/// How the registers are kept. A sketch has one form only, by how many of them are above zero.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Registers {
    /// Those above zero and their ranks, by number.
    Sparse(Vec<(u16, u8)>),
    /// All of them.
    Dense(Box<[u8; REGISTERS]>),
}

/// A sketch of a set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hll(Registers);

impl Hll {
    /// The sketch of one element: the delta of adding it.
    #[must_use]
    pub fn of(element: &[u8]) -> Self {
        Self(Registers::Sparse(vec![place_of(element)]))
    }

    /// Adds an element, and says whether the sketch has changed.
    pub fn add(&mut self, element: &[u8]) -> Change {
        let (number, rank) = place_of(element);
        if self.rank(number) >= rank {
            return Change::None;
        }
        self.raise(number, rank);
        Change::Some
    }

    /// How many distinct elements there were, about: the standard error is 0.81 percent.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        let mut histogram = [0_u32; MAX_RANK as usize + 1];
        match &self.0 {
            Registers::Sparse(entries) => {
                histogram[0] = (REGISTERS - entries.len()) as u32;
                entries.iter().for_each(|(_, rank)| histogram[usize::from(*rank)] += 1);
            }
            Registers::Dense(ranks) => ranks.iter().for_each(|rank| histogram[usize::from(*rank)] += 1),
        }
        estimate::estimate(&histogram)
    }

    fn rank(&self, number: u16) -> u8 {
        match &self.0 {
            Registers::Sparse(entries) => {
                entries.binary_search_by_key(&number, |entry| entry.0).map_or(0, |place| entries[place].1)
            }
            Registers::Dense(ranks) => ranks[usize::from(number)],
        }
    }

    fn raise(&mut self, number: u16, rank: u8) {
        match &mut self.0 {
            Registers::Sparse(entries) => match entries.binary_search_by_key(&number, |entry| entry.0) {
                Ok(place) => entries[place].1 = entries[place].1.max(rank),
                Err(place) => entries.insert(place, (number, rank)),
            },
            Registers::Dense(ranks) => {
                let held = &mut ranks[usize::from(number)];
                *held = rank.max(*held);
            }
        }
        self.settle_form();
    }

    /// Goes from sparse to dense when it is time. There is no way back: registers only rise.
    fn settle_form(&mut self) {
        if let Registers::Sparse(entries) = &self.0
            && entries.len() > MAX_SPARSE
        {
            let mut ranks = Box::new([0; REGISTERS]);
            entries.iter().for_each(|(number, rank)| ranks[usize::from(*number)] = *rank);
            self.0 = Registers::Dense(ranks);
        }
    }
}

/// Whether something is different from before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is as it was.
    None,
    /// It is not.
    Some,
}

/// The register of an element, and its rank there.
fn place_of(element: &[u8]) -> (u16, u8) {
    let hash = xxh3_64_with_seed(element, SEED);
    let number = (hash & (REGISTERS as u64 - 1)) as u16;
    let rest = hash >> PRECISION | 1 << (64 - PRECISION);
    (number, rest.trailing_zeros() as u8 + 1)
}

impl Default for Hll {
    fn default() -> Self {
        Self(Registers::Sparse(Vec::new()))
    }
}

impl Merge for Hll {
    fn merge(&mut self, other: Self) {
        match (&mut self.0, other.0) {
            (Registers::Dense(mine), Registers::Dense(theirs)) => {
                mine.iter_mut().zip(theirs.iter()).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
            }
            (Registers::Dense(mine), Registers::Sparse(theirs)) => raise_all(mine, &theirs),
            (Registers::Sparse(mine), Registers::Dense(mut theirs)) => {
                raise_all(&mut theirs, mine);
                self.0 = Registers::Dense(theirs);
            }
            (Registers::Sparse(mine), Registers::Sparse(theirs)) => {
                *mine = union(mine, &theirs);
                self.settle_form();
            }
        }
    }
}

/// The entries of both, by number; of those with the same number the greater rank.
fn union(left: &[(u16, u8)], right: &[(u16, u8)]) -> Vec<(u16, u8)> {
    let mut all = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().copied().peekable(), right.iter().copied().peekable());
    while let (Some(mine), Some(theirs)) = (left.peek(), right.peek()) {
        let order = mine.0.cmp(&theirs.0);
        let first = if order.is_le() { left.next() } else { None };
        let second = if order.is_ge() { right.next() } else { None };
        // The ranks of one number order as the pairs do; of two numbers only the lesser one was taken.
        all.extend(first.max(second));
    }
    all.extend(left.chain(right));
    all
}

fn raise_all(ranks: &mut [u8; REGISTERS], entries: &[(u16, u8)]) {
    for (number, rank) in entries {
        let held = &mut ranks[usize::from(*number)];
        *held = (*held).max(*rank);
    }
}

plain!(impl[] Hll);

impl Stability for Hll {
    fn settle(&mut self, _: &Stable) {}
}

impl Coded for Hll {
    const NAME: &'static str = "a HyperLogLog";

    fn write(&self, writer: &mut Writer) {
        match &self.0 {
            Registers::Sparse(entries) => {
                writer.u8(SPARSE);
                writer.u64(entries.len() as u64);
                let mut next = 0;
                for (number, rank) in entries {
                    writer.u64(u64::from(number - next));
                    writer.u8(*rank);
                    next = number + 1;
                }
            }
            Registers::Dense(ranks) => {
                writer.u8(DENSE);
                for four in ranks.as_chunks::<4>().0 {
                    let bits = four.iter().rev().fold(0_u32, |bits, rank| bits << 6 | u32::from(*rank));
                    writer.raw(&bits.to_le_bytes()[..3]);
                }
            }
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.u8("a sketch's form")? {
            SPARSE => read_sparse(reader),
            DENSE => read_dense(reader),
            other => Err(DecodeError::Unknown { field: "a sketch's form", value: u64::from(other) }),
        }
    }
}

fn read_rank(rank: u8, least: u8) -> Result<u8, DecodeError> {
    let is_known = (least..=MAX_RANK).contains(&rank);
    if is_known { Ok(rank) } else { Err(DecodeError::Unknown { field: "a register's rank", value: u64::from(rank) }) }
}

fn read_sparse(reader: &mut Reader) -> Result<Hll, DecodeError> {
    let count = reader.count("a sketch's registers")?;
    if count > MAX_SPARSE {
        return Err(DecodeError::Unknown { field: "a sketch's registers", value: count as u64 });
    }
    let mut entries: Vec<(u16, u8)> = Vec::with_capacity(count);
    let mut next = 0_u64;
    for _ in 0..count {
        let number = next.saturating_add(reader.u64("a register's number")?);
        if number >= REGISTERS as u64 {
            return Err(DecodeError::Unknown { field: "a register's number", value: number });
        }
        entries.push((number as u16, read_rank(reader.u8("a register's rank")?, 1)?));
        next = number + 1;
    }
    Ok(Hll(Registers::Sparse(entries)))
}

fn read_dense(reader: &mut Reader) -> Result<Hll, DecodeError> {
    if reader.remaining() < PACKED_BYTES {
        return Err(DecodeError::Truncated("a sketch's registers"));
    }
    let mut ranks = Box::new([0; REGISTERS]);
    for four in ranks.as_chunks_mut::<4>().0 {
        let mut bytes = [0; 4];
        for byte in &mut bytes[..3] {
            *byte = reader.u8("a sketch's registers")?;
        }
        let bits = u32::from_le_bytes(bytes);
        for (place, rank) in four.iter_mut().enumerate() {
            *rank = read_rank((bits >> (6 * place) & 0x3f) as u8, 0)?;
        }
    }
    let used = ranks.iter().filter(|rank| **rank > 0).count();
    ascending(Some(&MAX_SPARSE), &used, used, "a dense sketch's registers")?;
    Ok(Hll(Registers::Dense(ranks)))
}

#[cfg(test)]
mod tests;
