//! Every rare path that has a name is taken by one of the runs of the CI set.

use althing_probe::{Hits, Mark};
use althing_sim::{ci, run};

#[test]
fn every_mark_is_hit_within_the_ci_seeds() {
    let mut hits = Hits::default();
    let mut first = vec![None; Mark::ALL.len()];
    let runs = ci::SEEDS.map(|seed| (seed, ci::options(seed)));
    for (seed, options) in runs.chain(ci::TABLE_SEEDS.map(|seed| (seed, ci::table_options(seed)))) {
        let report = run(options);
        for (place, (_, count)) in first.iter_mut().zip(report.marks.iter()) {
            if count > 0 {
                place.get_or_insert(seed);
            }
        }
        hits += &report.marks;
    }
    for ((mark, count), seed) in hits.iter().zip(&first) {
        println!("{:28} {count:>8}  first at seed {seed:?}", mark.name());
    }
    let missing: Vec<_> = hits.missing().map(Mark::name).collect();
    assert!(missing.is_empty(), "no run of the CI set comes along {missing:?}");
}
