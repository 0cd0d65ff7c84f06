use serde::{Deserialize, Serialize};

/// What can be asked of a string's bits. Bit 0 is the highest of the first byte. BITOP is composed of reads,
/// [`crate::combine::bits`] and a write.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum BitsOp {
    /// GETBIT: `Int` 1 or 0.
    Get {
        /// Which bit; gateways refuse more than 2^32 - 1.
        offset: u64,
    },
    /// SETBIT: `Int`, the bit that was there.
    Set {
        /// Which bit; one that would make the string too long is [`crate::OpError::BitOffset`].
        offset: u64,
        /// What it becomes.
        bit: Bit,
    },
    /// BITCOUNT: `Int`, how many bits are one.
    Count(Option<BitRange>),
    /// BITPOS: `Int`, the place of the first bit of this kind, or -1.
    Position {
        /// Which is looked for.
        bit: Bit,
        /// Where the search begins: from the end if negative.
        start: Option<i64>,
        /// Where it ends, inclusive: from the end if negative. Without it a zero is found beyond the end.
        end: Option<i64>,
        /// What both are counted in.
        unit: Unit,
    },
    /// BITFIELD, BITFIELD_RO: `Ints`, one for each step.
    Field(Vec<FieldOp>),
}

/// One bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Bit {
    /// 0
    Zero,
    /// 1
    One,
}

/// A part of a string, both ends inclusive and from the end if negative.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BitRange {
    /// The first.
    pub start: i64,
    /// The last.
    pub end: i64,
    /// What both are counted in.
    pub unit: Unit,
}

/// What places in a string are counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Unit {
    /// BYTE, the default.
    Byte,
    /// BIT.
    Bit,
}

/// One step of BITFIELD. Offsets are in bits: gateways multiply those with `#` by the field's width.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FieldOp {
    /// GET: the number there.
    Get {
        /// How the number is written.
        field: FieldType,
        /// Its first bit.
        offset: u64,
    },
    /// SET: the number that was there, or nothing if the new one does not fit and [`Overflow::Fail`] is said.
    Set {
        /// How the number is written.
        field: FieldType,
        /// Its first bit.
        offset: u64,
        /// The new number.
        value: i64,
        /// What becomes of one that does not fit.
        overflow: Overflow,
    },
    /// INCRBY: the new number, or nothing if it does not fit and [`Overflow::Fail`] is said.
    Increment {
        /// How the number is written.
        field: FieldType,
        /// Its first bit.
        offset: u64,
        /// What is added.
        by: i64,
        /// What becomes of a sum that does not fit.
        overflow: Overflow,
    },
}

/// How a number is written into bits: i1 to i64, or u1 to u63.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "(bool, u8)", into = "(bool, u8)")]
pub enum FieldType {
    /// Two's complement, of this many bits.
    Signed(Width<64>),
    /// Of this many bits.
    Unsigned(Width<63>),
}

/// How many bits a field has: from 1 to `MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Width<const MAX: u8>(u8);

/// A field is wider than 64 bits (63 if unsigned), or has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a field of {0} bits; there are i1 to i64 and u1 to u63")]
pub struct FieldWidthError(pub u8);

impl<const MAX: u8> Width<MAX> {
    /// This many bits.
    ///
    /// # Errors
    /// [`FieldWidthError`]
    pub const fn new(bits: u8) -> Result<Self, FieldWidthError> {
        if bits >= 1 && bits <= MAX { Ok(Self(bits)) } else { Err(FieldWidthError(bits)) }
    }

    /// How many.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl FieldType {
    /// How many bits the field has.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Signed(width) => width.get(),
            Self::Unsigned(width) => width.get(),
        }
    }
}

impl TryFrom<(bool, u8)> for FieldType {
    type Error = FieldWidthError;

    fn try_from((is_signed, bits): (bool, u8)) -> Result<Self, FieldWidthError> {
        if is_signed { Width::new(bits).map(Self::Signed) } else { Width::new(bits).map(Self::Unsigned) }
    }
}

impl From<FieldType> for (bool, u8) {
    fn from(field: FieldType) -> Self {
        (matches!(field, FieldType::Signed(_)), field.bits())
    }
}

/// What becomes of a number that does not fit into its field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Overflow {
    /// Its upper bits are lost: the default.
    Wrap,
    /// It becomes the greatest or the least that fits.
    Saturate,
    /// Nothing is done.
    Fail,
}

impl FieldOp {
    /// Whether it leaves the bits as they are.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        match self {
            Self::Get { .. } => true,
            Self::Set { .. } | Self::Increment { .. } => false,
        }
    }
}
