use super::*;
use proptest::prelude::*;

fn sketch(elements: impl IntoIterator<Item = u64>) -> Hll {
    let mut sketch = Hll::default();
    elements.into_iter().for_each(|element| _ = sketch.add(&element.to_le_bytes()));
    sketch
}

fn error(sketch: &Hll, truth: u64) -> f64 {
    sketch.estimate() as f64 / truth as f64 - 1.0
}

#[test]
fn nothing_counts_for_nothing_and_few_elements_are_counted_exactly() {
    assert_eq!(Hll::default().estimate(), 0);
    for count in 1..=100 {
        assert_eq!(sketch(0..count).estimate(), count);
    }
}

#[test]
fn adding_says_whether_anything_changed() {
    let mut sketch = Hll::of(b"a");
    assert_eq!(sketch.add(b"a"), Change::None);
    assert_eq!(sketch.add(b"b"), Change::Some);
    assert_eq!(sketch.estimate(), 2);
}

#[test]
fn the_root_mean_square_error_is_what_the_paper_says_at_every_size() {
    for truth in [1_000, 10_000, 40_000, 200_000] {
        const SETS: u64 = 24;
        let squares = (0..SETS).map(|set| error(&sketch((0..truth).map(|n| set << 32 | n)), truth).powi(2));
        let error = (squares.sum::<f64>() / SETS as f64).sqrt();
        assert!(error < 0.0081 * 1.4, "{truth}: {error}");
    }
}

#[test]
fn sketches_of_overlapping_sets_join_to_that_of_their_union() {
    for (left, right) in [(0..500, 300..900), (0..900, 500..9_000), (0..20_000, 10..40), (0..9_000, 5_000..30_000)] {
        let union = sketch(left.clone().chain(right.clone()));
        let mut joined = sketch(left.clone());
        joined.merge(sketch(right.clone()));
        assert_eq!(joined, union);
        let mut converse = sketch(right);
        converse.merge(sketch(left));
        assert_eq!(converse, union);
    }
}

#[test]
fn the_hash_is_a_part_of_the_format() {
    let places: Vec<(u16, u8)> = [b"".as_slice(), b"a", b"user/17"].into_iter().map(place_of).collect();
    assert_eq!(places, GOLDEN);
}

const GOLDEN: [(u16, u8); 3] = [(14_704, 1), (3_580, 5), (6_354, 1)];

#[test]
fn a_dense_sketch_has_six_bits_for_each_register() {
    let sketch = sketch(0..5_000);
    let bytes = sketch.encode();
    assert_eq!(bytes.len(), 2 + PACKED_BYTES);
    assert_eq!(Hll::decode(bytes.clone()).unwrap(), sketch);
    let mut sparse_as_dense = vec![0; bytes.len()];
    sparse_as_dense[..2].copy_from_slice(&bytes[..2]);
    assert!(Hll::decode(sparse_as_dense.into()).is_err(), "a sketch has one form only");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn bytes_come_back_as_they_were(count in 0_u64..3_000) {
        let sketch = sketch(0..count);
        prop_assert_eq!(Hll::decode(sketch.encode()).unwrap(), sketch);
    }
}
