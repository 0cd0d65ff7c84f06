//! Datagrams between nodes: bounded, marked with their cluster, and authenticated.
//!
//! ```text
//!  0       4         5            13                     length-32
//! +-------+---------+------------+----------------------+---------------------------+
//! | ALTG  | version | cluster id | payload              | tag                       |
//! +-------+---------+------------+----------------------+---------------------------+
//!  4 bytes  1 byte    8 bytes LE   to the tag             32 bytes: HMAC-SHA256 of all before it
//! ```
//!
//! The key follows from the cluster's secret and the cluster id: HMAC-SHA256 under the secret of `althing gossip 1` and the
//! id. A cluster without a secret has a key that anybody can work out: the tag is then a checksum, and datagrams are told
//! apart by cluster only. Nothing is encrypted: who is a member of a cluster is no secret on its own network.
//!
//! A datagram that was recorded and is sent again passes. SWIM bears it: an old suspicion has an old incarnation, an old
//! state an old version, and a node that was wrongly declared down renews itself. It can delay the detection of a crash by
//! one probe.

use althing_types::ClusterId;
use bytes::{BufMut, Bytes, BytesMut};
use ring::hmac;

/// What every datagram begins with.
const MAGIC: &[u8; 4] = b"ALTG";
/// The version of the format that this program speaks.
pub const FORMAT_VERSION: u8 = 1;
/// Bytes before the payload.
const HEADER_BYTES: usize = 4 + 1 + 8;
/// Bytes of the tag.
const TAG_BYTES: usize = 32;
/// Bytes of a whole datagram: one packet on any network that is not ancient.
pub const MAX_DATAGRAM_BYTES: usize = 1400;
/// Bytes of payload that fit into a datagram.
pub const MAX_PAYLOAD_BYTES: usize = MAX_DATAGRAM_BYTES - HEADER_BYTES - TAG_BYTES;

/// Why a datagram was dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Dropped {
    /// It is longer than [`MAX_DATAGRAM_BYTES`].
    Oversized,
    /// It is too short to be one.
    Truncated,
    /// It does not begin as one.
    Stranger,
    /// It has another format version.
    Version,
    /// It belongs to another cluster.
    ForeignCluster,
    /// Its tag does not fit: another key, or it was tampered with.
    Forged,
    /// The tag fits, but what it says does not parse.
    Malformed,
    /// It claims to come from this node itself.
    Myself,
    /// It speaks of more nodes than a cluster may have.
    Crowded,
}

impl Dropped {
    /// All reasons, in the order of [`Dropped::index`].
    pub const ALL: [Self; 9] = [
        Self::Oversized,
        Self::Truncated,
        Self::Stranger,
        Self::Version,
        Self::ForeignCluster,
        Self::Forged,
        Self::Malformed,
        Self::Myself,
        Self::Crowded,
    ];

    /// A name for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Truncated => "truncated",
            Self::Stranger => "stranger",
            Self::Version => "version",
            Self::ForeignCluster => "foreign_cluster",
            Self::Forged => "forged",
            Self::Malformed => "malformed",
            Self::Myself => "myself",
            Self::Crowded => "crowded",
        }
    }

    /// Its place in [`Dropped::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Closes datagrams of one cluster and opens them.
#[derive(Clone, Debug)]
pub struct Seal {
    cluster: ClusterId,
    key: hmac::Key,
}

impl Seal {
    /// The seal of a cluster. Without a secret, anybody who knows the cluster's id can make it.
    #[must_use]
    pub fn new(cluster: ClusterId, secret: Option<&[u8]>) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.unwrap_or_default());
        let label = [b"althing gossip 1".as_slice(), &cluster.get().to_le_bytes()].concat();
        let derived = hmac::sign(&secret, &label);
        Self { cluster, key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) }
    }

    /// A datagram around a payload.
    ///
    /// # Panics
    /// If the payload is longer than [`MAX_PAYLOAD_BYTES`]: whoever makes payloads keeps to it.
    #[must_use]
    pub fn close(&self, payload: &[u8]) -> Bytes {
        assert!(payload.len() <= MAX_PAYLOAD_BYTES, "a payload of {} bytes", payload.len());
        let mut datagram = BytesMut::with_capacity(HEADER_BYTES + payload.len() + TAG_BYTES);
        datagram.put_slice(MAGIC);
        datagram.put_u8(FORMAT_VERSION);
        datagram.put_u64_le(self.cluster.get());
        datagram.put_slice(payload);
        let tag = hmac::sign(&self.key, &datagram);
        datagram.put_slice(tag.as_ref());
        datagram.freeze()
    }

    /// The payload of a datagram, or why it is dropped.
    pub fn open(&self, datagram: &Bytes) -> Result<Bytes, Dropped> {
        if datagram.len() > MAX_DATAGRAM_BYTES {
            return Err(Dropped::Oversized);
        }
        if datagram.len() < HEADER_BYTES + TAG_BYTES {
            return Err(Dropped::Truncated);
        }
        if datagram[..4] != MAGIC[..] {
            return Err(Dropped::Stranger);
        }
        if datagram[4] != FORMAT_VERSION {
            return Err(Dropped::Version);
        }
        if datagram[5..HEADER_BYTES] != self.cluster.get().to_le_bytes() {
            return Err(Dropped::ForeignCluster);
        }
        let (signed, tag) = datagram.split_at(datagram.len() - TAG_BYTES);
        hmac::verify(&self.key, signed, tag).map_err(|_| Dropped::Forged)?;
        Ok(datagram.slice(HEADER_BYTES..signed.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seal(cluster: u64, secret: Option<&[u8]>) -> Seal {
        Seal::new(ClusterId(cluster), secret)
    }

    #[test]
    fn what_is_closed_is_opened_by_the_same_cluster_and_key_only() {
        let datagram = seal(1, Some(b"s")).close(b"payload");
        assert_eq!(seal(1, Some(b"s")).open(&datagram), Ok(Bytes::from_static(b"payload")));
        assert_eq!(seal(1, Some(b"t")).open(&datagram), Err(Dropped::Forged));
        assert_eq!(seal(1, None).open(&datagram), Err(Dropped::Forged));
        assert_eq!(seal(2, Some(b"s")).open(&datagram), Err(Dropped::ForeignCluster));
    }

    #[test]
    fn what_is_no_datagram_is_dropped_for_its_reason() {
        let (seal, payload) = (seal(1, None), [7; MAX_PAYLOAD_BYTES]);
        let full = seal.close(&payload);
        assert_eq!(full.len(), MAX_DATAGRAM_BYTES);
        let mut long = full.to_vec();
        long.push(0);
        assert_eq!(seal.open(&long.into()), Err(Dropped::Oversized));
        assert_eq!(seal.open(&full.slice(..44)), Err(Dropped::Truncated));
        assert_eq!(seal.open(&full.slice(..1399)), Err(Dropped::Forged));
        assert_eq!(seal.open(&Bytes::from(vec![0; 99])), Err(Dropped::Stranger));
        let mut newer = full.to_vec();
        newer[4] = 2;
        assert_eq!(seal.open(&newer.into()), Err(Dropped::Version));
    }

    #[test]
    fn every_reason_has_its_place_and_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Dropped::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Dropped::ALL.len());
        assert!(Dropped::ALL.iter().enumerate().all(|(at, reason)| reason.index() == at));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_found(payload in prop::collection::vec(any::<u8>(), 0..100), at: prop::sample::Index, bit in 0..8_u32) {
            let seal = seal(1, Some(b"s"));
            let mut datagram = seal.close(&payload).to_vec();
            let at = at.index(datagram.len());
            datagram[at] ^= 1 << bit;
            prop_assert!(seal.open(&datagram.into()).is_err());
        }
    }
}
