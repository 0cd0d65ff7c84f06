use althing_crdt::hll::Change;
use althing_crdt::{Hll, Merge};
use bytes::Bytes;

use super::{Key, Outcome, answer, int, yes_or_no};
use crate::op::SketchOp;
use crate::{Edit, Kind, OpError, Reply, View};

pub fn execute(op: SketchOp, key: &Key<'_, impl View>) -> Outcome {
    let view = match key.kind() {
        Some(Kind::String) => return Err(OpError::NotASketch),
        None | Some(Kind::Sketch | Kind::Hash | Kind::Set | Kind::Sorted) => key.of(Kind::Sketch)?,
    };
    let sketch = view.and_then(View::sketch);
    match op {
        SketchOp::Add(elements) => Ok(add(sketch.as_deref(), &elements)),
        SketchOp::Count => answer(int(sketch.map_or(0, |sketch| sketch.estimate()))),
        SketchOp::Read => answer(sketch.map_or(Reply::Nil, |sketch| Reply::Sketch(sketch.into_owned()))),
        SketchOp::Merge(other) => {
            let is_same = sketch.is_some_and(|sketch| merged(&sketch, other.clone()) == *sketch);
            Ok((Reply::Ok, if is_same { Vec::new() } else { vec![Edit::SketchMerge(other)] }))
        }
    }
}

fn merged(sketch: &Hll, other: Hll) -> Hll {
    let mut both = sketch.clone();
    both.merge(other);
    both
}

/// The edit is a sketch of those elements alone that change something.
fn add(sketch: Option<&Hll>, elements: &[Bytes]) -> (Reply, Vec<Edit>) {
    let mut all = sketch.cloned().unwrap_or_default();
    let mut news = Hll::default();
    let changing = elements.iter().filter(|element| all.add(element) == Change::Some);
    let changes = changing.map(|element| news.add(element)).count();
    let has_changed = changes > 0 || sketch.is_none();
    (yes_or_no(has_changed), has_changed.then_some(Edit::SketchMerge(news)).into_iter().collect())
}
