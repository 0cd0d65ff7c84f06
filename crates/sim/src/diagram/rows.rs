//! From steps to rows: what may share a line without telling a lie.
//!
//! A leader's appends to four followers are one thought and four arrivals. Frames of one label, from one node or to one
//! node, share a row if they arrive within [`TOGETHER`] and nothing that lies between concerns the same nodes: each node
//! still sees its own events in their order.

use althing_types::{Duration, Instant, NodeId};

use super::{Column, Recording, Step, What, short};
use crate::faults::Fault;
use crate::scenario::fault_words;

/// Frames further apart never share a row.
const TOGETHER: Duration = Duration::from_millis(2);
/// How many rows a frame may move up.
const REACH: usize = 8;
/// Words of a client stand beside what happened so shortly before.
const BESIDE: Duration = Duration::from_micros(300);

/// Frames of one label with one node in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Arrow {
    pub label: String,
    pub from: Vec<NodeId>,
    pub to: Vec<NodeId>,
}

/// One line of the picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub at: Instant,
    pub arrow: Option<Arrow>,
    /// Nodes that a client speaks to.
    pub marks: Vec<NodeId>,
    /// Nodes that are something else from here on.
    pub stands: Vec<(NodeId, Column)>,
    /// What stands beside the columns.
    pub margin: String,
    /// What goes through all of them.
    pub banner: Option<String>,
}

impl Row {
    fn new(at: Instant) -> Self {
        Self { at, arrow: None, marks: Vec::new(), stands: Vec::new(), margin: String::new(), banner: None }
    }

    fn concerns(&self, node: NodeId) -> bool {
        let in_arrow = self.arrow.as_ref().is_some_and(|arrow| arrow.from.contains(&node) || arrow.to.contains(&node));
        in_arrow || self.marks.contains(&node) || self.stands.iter().any(|(other, _)| *other == node)
    }

    /// Nothing that happens later may be shown before it.
    fn is_barrier(&self) -> bool {
        self.banner.is_some() || self.margin.starts_with(['✗', '✓'])
    }

    /// Takes a frame into its arrow, if that is the same thought.
    fn joins(&mut self, at: Instant, from: NodeId, to: NodeId, label: &str) -> bool {
        let Some(arrow) = self.arrow.as_mut().filter(|arrow| arrow.label == label) else { return false };
        if at.since(self.at) > TOGETHER {
            return false;
        }
        if arrow.from == [from] && !arrow.to.contains(&to) {
            arrow.to.push(to);
            return true;
        }
        if arrow.to == [to] && !arrow.from.contains(&from) {
            arrow.from.push(from);
            return true;
        }
        false
    }
}

/// Rows, and how many heartbeats were left out of them.
pub(super) fn rows(recording: &Recording, with_beats: bool) -> (Vec<Row>, usize) {
    let mut rows: Vec<Row> = Vec::new();
    let mut hidden = 0;
    for Step { at, what } in &recording.steps {
        match what {
            What::Frame { label, .. } if !with_beats && is_beat(label) => hidden += 1,
            What::Frame { from, to, label } => frame(&mut rows, *at, *from, *to, label),
            What::Stands { node, column } => stands(&mut rows, *at, *node, *column),
            What::Asked { client, node, words } => {
                let row = beside(&mut rows, *at);
                row.marks.push(*node);
                row.margin = format!("c{client} → {} {words}", short(*node));
            }
            What::Told { client, words } => beside(&mut rows, *at).margin = format!("c{client} ← {words}"),
            What::Fault(fault) => margin(&mut rows, *at, fault_line(fault)),
            What::Phase(name) => rows.push(Row { banner: Some(format!("phase: {name}")), ..Row::new(*at) }),
            What::Finding(words) => rows.push(Row { banner: Some(format!("BROKEN: {words}")), ..Row::new(*at) }),
        }
    }
    (rows, hidden)
}

fn is_beat(label: &str) -> bool {
    label.split('+').all(|word| matches!(word, "beat" | "beat ok" | "hello"))
}

fn frame(rows: &mut Vec<Row>, at: Instant, from: NodeId, to: NodeId, label: &str) {
    for place in (rows.len().saturating_sub(REACH)..rows.len()).rev() {
        if rows[place].joins(at, from, to, label) {
            return;
        }
        if rows[place].is_barrier() || rows[place].concerns(from) || rows[place].concerns(to) {
            break;
        }
    }
    let arrow = Arrow { label: label.to_owned(), from: vec![from], to: vec![to] };
    rows.push(Row { arrow: Some(arrow), ..Row::new(at) });
}

fn stands(rows: &mut Vec<Row>, at: Instant, node: NodeId, column: Column) {
    if let Some(last) = rows.last_mut().filter(|last| last.at == at && last.arrow.is_none() && !last.concerns(node)) {
        last.stands.push((node, column));
        return;
    }
    rows.push(Row { stands: vec![(node, column)], ..Row::new(at) });
}

/// The last row, if it has room in its margin and is as good as now; else a new one.
fn beside(rows: &mut Vec<Row>, at: Instant) -> &mut Row {
    let has_room = |row: &Row| row.margin.is_empty() && row.banner.is_none() && at.since(row.at) <= BESIDE;
    if !rows.last().is_some_and(has_room) {
        rows.push(Row::new(at));
    }
    rows.last_mut().expect("there is one now")
}

fn margin(rows: &mut Vec<Row>, at: Instant, words: String) {
    rows.push(Row { margin: words, ..Row::new(at) });
}

fn fault_line(fault: &Fault) -> String {
    let sign = if fault.is_harm() { '✗' } else { '✓' };
    format!("{sign} {}", fault_words(fault))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::diagram::Standing;
    use crate::scenario::text::Span;

    const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn step(micros: u64, what: What) -> Step {
        Step { at: Instant::ZERO + Duration::from_micros(micros), what }
    }

    fn frame(from: usize, to: usize, label: &str) -> What {
        What::Frame { from: NODES[from - 1], to: NODES[to - 1], label: label.into() }
    }

    fn rows_of(steps: Vec<Step>) -> Vec<Row> {
        let recording = Recording { window: Span::default(), first: BTreeMap::new(), steps };
        rows(&recording, false).0
    }

    #[test]
    fn a_broadcast_and_the_answers_to_it_are_two_rows() {
        let rows = rows_of(vec![
            step(0, frame(2, 1, "append")),
            step(100, frame(2, 3, "append")),
            step(200, frame(1, 2, "ack")),
            step(300, frame(3, 2, "ack")),
        ]);
        let arrows: Vec<Arrow> = rows.into_iter().filter_map(|row| row.arrow).collect();
        assert_eq!(arrows[0], Arrow { label: "append".into(), from: vec![NODES[1]], to: vec![NODES[0], NODES[2]] });
        assert_eq!(arrows[1], Arrow { label: "ack".into(), from: vec![NODES[0], NODES[2]], to: vec![NODES[1]] });
        assert_eq!(arrows.len(), 2);
    }

    /// Node 1 has answered before node 3 was reached: the frame to node 3 may move up, that to node 1 may not.
    #[test]
    fn a_frame_moves_up_past_what_does_not_concern_its_nodes_only() {
        let between =
            |what| rows_of(vec![step(0, frame(2, 1, "append")), step(50, what), step(100, frame(2, 3, "append"))]);
        let asked = |node| What::Asked { client: 1, node, words: "get".into() };
        assert_eq!(between(asked(NODES[0])).len(), 1, "a client's word stands beside it");
        let crash = Column { standing: Standing::Down, term: 0 };
        assert_eq!(between(What::Stands { node: NODES[0], column: crash }).len(), 2);
        assert_eq!(between(What::Stands { node: NODES[2], column: crash }).len(), 3);
        assert_eq!(between(What::Fault(Fault::Heal)).len(), 3, "a fault is a barrier");
    }

    #[test]
    fn heartbeats_are_left_out_and_counted() {
        let steps =
            vec![step(0, frame(2, 1, "beat")), step(9, frame(1, 2, "beat ok")), step(10, frame(2, 1, "beat+append"))];
        let recording = Recording { window: Span::default(), first: BTreeMap::new(), steps };
        let (rows, hidden) = rows(&recording, false);
        assert_eq!((rows.len(), hidden), (1, 2));
    }
}
