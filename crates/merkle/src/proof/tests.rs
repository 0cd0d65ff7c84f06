//! Proofs that hold, and proofs that were bent.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;

use super::*;

fn item(number: u32, version: u8) -> Item {
    Item { key: Bytes::from(format!("key {number}")), version: Bytes::from(vec![version; 9]) }
}

struct Store {
    secret: Secret,
    tree: Tree,
    items: Vec<Item>,
}

impl Store {
    fn new(keys: u32, depth: u8) -> Self {
        let secret = Secret::new([5; 32]);
        let mut tree = Tree::with_depth(depth);
        let items: Vec<Item> = (0..keys).map(|number| item(number, 1)).collect();
        items.iter().for_each(|item| tree.insert(secret.entry(&item.key, &item.version)).unwrap());
        Self { secret, tree, items }
    }

    fn prove(&self, key: &[u8]) -> Proof {
        let bucket = self.tree.bucket(self.secret.position(key));
        let is_inside = |item: &&Item| bucket.range().contains(self.secret.position(&item.key));
        let items = self.items.iter().filter(is_inside).cloned().collect();
        Proof::new(&self.tree, &self.secret, key, items).unwrap()
    }

    fn verify(&self, proof: &Proof, asked: &Item) -> Result<Membership, ProofError> {
        proof.verify(&self.secret, &self.tree.commitment(&self.secret), &asked.key, &asked.version)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_there_and_what_is_not_is_proven(keys in 0_u32..300, depth in 0_u8..4, asked in 0_u32..400) {
        let store = Store::new(keys, depth);
        let right = item(asked, 1);
        let proof = Proof::decode(store.prove(&right.key).encode()).unwrap();
        let expected = if asked < keys { Membership::Present } else { Membership::Absent };
        prop_assert_eq!(store.verify(&proof, &right), Ok(expected));
        let expected = if asked < keys { Membership::OtherVersion(right.version) } else { Membership::Absent };
        prop_assert_eq!(store.verify(&proof, &item(asked, 2)), Ok(expected));
    }

    #[test]
    fn a_proof_that_was_bent_or_cut_shows_nothing(
        keys in 1_u32..200, depth in 0_u8..4, asked in 0_u32..250, at: prop::sample::Index, bit in 0_u8..8, cut: bool,
    ) {
        let store = Store::new(keys, depth);
        let asked = item(asked, 1);
        let mut bytes = store.prove(&asked.key).encode().to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        if let Ok(proof) = Proof::decode(bytes.into()) {
            prop_assert!(store.verify(&proof, &asked).is_err());
        }
    }

    #[test]
    fn hostile_proofs_are_refused(mut input: Vec<u8>) {
        let _ = Proof::decode(input.clone().into());
        input.splice(0..0, [VERSION, 0]);
        let _ = Proof::decode(input.into());
    }
}

const VERSION: u8 = 1;

#[test]
fn a_key_cannot_be_hidden_by_moving_its_bucket_into_a_neighbour() {
    let store = Store::new(200, 2);
    let asked = item(7, 1);
    let mut proof = store.prove(&asked.key);
    let hidden =
        Summary::of(&proof.items.iter().map(|item| store.secret.entry(&item.key, &item.version)).collect::<Vec<_>>());
    proof.items.clear();
    let Path::Above { beside, .. } = &mut proof.path else { panic!("the tree is deeper") };
    beside[0].sum = beside[0].sum.wrapping_add(hidden.sum);
    beside[0].count += hidden.count;
    assert_eq!(store.verify(&proof, &asked), Err(ProofError::OtherRoot));
}

#[test]
fn a_proof_is_of_one_bucket_and_one_state() {
    let mut store = Store::new(200, 2);
    let (one, other) = (item(7, 1), item(8, 1));
    let proof = store.prove(&one.key);
    assert_eq!(store.verify(&proof, &other), Err(ProofError::OtherBucket));
    let late = item(999, 1);
    store.tree.insert(store.secret.entry(&late.key, &late.version)).unwrap();
    assert_eq!(store.verify(&proof, &one), Err(ProofError::OtherRoot));
    let stale = store.items.iter().filter(|_| false).cloned().collect();
    let drift = Proof::new(&store.tree, &store.secret, &one.key, stale);
    assert_eq!(drift, Err(TreeError::Drift(store.tree.bucket(store.secret.position(&one.key)))));
}
