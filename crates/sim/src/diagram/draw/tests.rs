use super::*;
use crate::diagram::Step;
use crate::faults::Fault;
use crate::scenario::text::Span;

const FOLLOWS: Column = Column { standing: Standing::Follower, term: 2 };

fn leads(term: u64) -> Column {
    Column { standing: Standing::Leader, term }
}

fn step(micros: u64, what: What) -> Step {
    Step { at: Instant::ZERO + Duration::from_micros(micros), what }
}

fn frame(from: u64, to: u64, label: &str) -> What {
    What::Frame { from: NodeId(from), to: NodeId(to), label: label.into() }
}

fn stands(node: u64, standing: Standing, term: u64) -> What {
    What::Stands { node: NodeId(node), column: Column { standing, term } }
}

fn told(client: u64, words: &str) -> What {
    What::Told { client, words: words.into() }
}

/// A leader that writes, loses its power, and is followed by another: the whole vocabulary in one picture.
fn story() -> Recording {
    let first = BTreeMap::from([(NodeId(1), FOLLOWS), (NodeId(2), leads(2)), (NodeId(3), FOLLOWS)]);
    let steps = vec![
        step(3_200_000, What::Asked { client: 4, node: NodeId(2), words: "put r/1".into() }),
        step(3_200_400, frame(2, 1, "append")),
        step(3_200_500, frame(2, 3, "append")),
        step(3_201_100, frame(1, 2, "ack")),
        step(3_201_300, frame(3, 2, "ack")),
        step(3_201_500, told(4, "put at rev 9")),
        step(3_202_000, What::Fault(Fault::Crash(NodeId(2)))),
        step(3_202_000, stands(2, Standing::Down, 0)),
        step(3_202_100, told(6, "✗ Timeout")),
        step(3_380_000, stands(3, Standing::PreCandidate, 2)),
        step(3_380_300, frame(3, 1, "prevote t3?")),
        step(3_380_800, frame(1, 3, "prevote t3")),
        step(3_381_000, stands(3, Standing::Candidate, 3)),
        step(3_381_300, frame(3, 1, "vote t3?")),
        step(3_381_400, stands(1, Standing::Follower, 3)),
        step(3_381_900, frame(1, 3, "vote t3")),
        step(3_382_000, stands(3, Standing::Leader, 3)),
        step(3_390_000, What::Fault(Fault::Restart(NodeId(2)))),
        step(3_390_000, stands(2, Standing::Follower, 2)),
        step(3_391_000, What::Finding("ledger: entry 7 is of term 2 on node 1, but of term 3 on node 3".into())),
    ];
    let window = Span { least: Duration::from_millis(3200), most: Duration::from_millis(3400) };
    Recording { window, first, steps }
}

#[test]
fn a_story_is_drawn_as_in_the_golden_file() {
    let drawn = draw(&story(), Size { width: 100, ..Size::default() });
    let golden = include_str!("golden.txt");
    assert!(drawn == golden, "the picture is now:\n{drawn}");
}

#[test]
fn no_line_is_wider_than_the_page_with_few_nodes_and_with_many() {
    for nodes in [1, 3, 5, 9] {
        let first = (1..=nodes).map(|node| (NodeId(node), FOLLOWS)).collect();
        let steps = vec![
            step(1, frame(1, nodes, "append+commit+beat+read ok")),
            step(2, told(1, &"long words ".repeat(40))),
            step(3, What::Finding("x".repeat(500))),
        ];
        let drawn = draw(&Recording { first, steps, ..story() }, Size::default());
        assert!(drawn.lines().all(|line| line.chars().count() <= 120), "{nodes} nodes:\n{drawn}");
    }
}

#[test]
fn of_too_many_rows_the_last_are_shown_with_the_nodes_as_they_are_by_then() {
    let drawn = draw(&story(), Size { width: 100, rows: 2 });
    assert!(drawn.contains("rows before these are not shown") && drawn.contains("BROKEN"), "{drawn}");
    assert!(drawn.contains("LEADS t3"), "{drawn}");
}
