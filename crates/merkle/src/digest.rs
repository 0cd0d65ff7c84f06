//! The secret of a table, and what it makes of keys and versions: positions and digests.
//!
//! BLAKE3 in its keyed mode is a pseudorandom function (O'Connor et al., *BLAKE3*, 2020, section 4). Each use has a key of its
//! own, derived from the secret, so that a digest seen in one use says nothing in another.

use std::fmt;

/// What the replicas of a table know and its clients do not.
#[derive(Clone)]
pub struct Secret {
    position: [u8; 32],
    entry: [u8; 32],
    proof: [u8; 32],
    fingerprint: u64,
}

/// A key in one version, as the tree sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Entry {
    /// Where the key lies, from 0 to 2⁶⁴-1: a function of the secret and the key.
    pub position: u64,
    /// A digest of key and version.
    pub digest: u128,
}

impl Secret {
    /// The secret made of 32 bytes that are hard to guess.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        let fingerprint = blake3::derive_key("althing merkle 1 fingerprint", &bytes);
        Self {
            position: blake3::derive_key("althing merkle 1 position", &bytes),
            entry: blake3::derive_key("althing merkle 1 entry", &bytes),
            proof: blake3::derive_key("althing merkle 1 proof", &bytes),
            fingerprint: u64::from_le_bytes(first(&fingerprint)),
        }
    }

    /// What two replicas compare to see that they have the same secret. It does not give it away.
    #[must_use]
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Where a key lies. Two keys may share a position; both are then repaired together.
    #[must_use]
    pub fn position(&self, key: &[u8]) -> u64 {
        u64::from_le_bytes(first(blake3::keyed_hash(&self.position, key).as_bytes()))
    }

    /// The entry of a key whose state is `version`: bytes that are equal exactly if the states are, such as the state itself, its
    /// live dots, or a hash of it.
    #[must_use]
    pub fn entry(&self, key: &[u8], version: &[u8]) -> Entry {
        Entry { position: self.position(key), digest: self.digest(key, version) }
    }

    /// The digest of an entry alone, for whoever knows its position.
    #[must_use]
    pub fn digest(&self, key: &[u8], version: &[u8]) -> u128 {
        // The length keeps the two apart: no other key and version are the same bytes.
        let mut hasher = blake3::Hasher::new_keyed(&self.entry);
        hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(version);
        u128::from_le_bytes(first(hasher.finalize().as_bytes()))
    }

    /// A hash for commitments.
    pub(crate) fn commit(&self, bytes: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.proof, bytes).as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:016x})", self.fingerprint)
    }
}

/// The first bytes of a hash.
fn first<const N: usize>(hash: &[u8; 32]) -> [u8; N] {
    *hash.first_chunk().expect("a hash is longer than what is taken of it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_its_version_cannot_be_shifted_into_each_other() {
        let secret = Secret::new([1; 32]);
        assert_ne!(secret.entry(b"ab", b"c").digest, secret.entry(b"a", b"bc").digest);
        assert_eq!(secret.entry(b"ab", b"c").position, secret.entry(b"ab", b"d").position);
    }

    #[test]
    fn another_secret_makes_another_tree() {
        let (one, two) = (Secret::new([1; 32]), Secret::new([2; 32]));
        assert_ne!(one.fingerprint(), two.fingerprint());
        assert_ne!(one.position(b"key"), two.position(b"key"));
        assert_ne!(one.entry(b"key", b"1").digest, two.entry(b"key", b"1").digest);
    }

    #[test]
    fn the_digests_of_version_one_are_what_they_were() {
        let entry = Secret::new([0; 32]).entry(b"key", b"version");
        assert_eq!(format!("{:016x} {:032x}", entry.position, entry.digest), GOLDEN);
    }

    const GOLDEN: &str = "ec52b7d1fcd7801e d3f387718895c1f6eeabecd32c5d1478";
}
