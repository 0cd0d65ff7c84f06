//! The picture itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use althing_types::{Duration, Instant, NodeId};

use super::rows::{Arrow, Row, rows};
use super::{Column, Recording, Standing, What, short, since_start};
use crate::scenario::text::Text;

/// Characters for the time.
const TIME: usize = 11;
/// Characters that the margin gets at the least.
const MARGIN: usize = 34;
/// A column is as wide as it can be, but not wider.
const MAX_COLUMN: usize = 18;
/// A column is never narrower: then the margin gives way.
const MIN_COLUMN: usize = 6;
/// The names of the columns are repeated after so many rows.
const HEADER_EVERY: usize = 40;
/// Where nothing happens for so long, the line says so.
const GAP: Duration = Duration::from_millis(25);
/// In a window that is longer, heartbeats are left out.
const BEATS_WITHIN: Duration = Duration::from_millis(150);

/// How large the picture may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Characters of a line.
    pub width: usize,
    /// Rows; of more than that the last ones are shown.
    pub rows: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self { width: 120, rows: 400 }
    }
}

/// Draws a recording.
#[must_use]
pub fn draw(recording: &Recording, size: Size) -> String {
    let with_beats = recording.window.most.saturating_sub(recording.window.least) <= BEATS_WITHIN;
    let (rows, hidden) = rows(recording, with_beats);
    let mut pen = Pen::new(recording, size);
    let skipped = rows.len().saturating_sub(size.rows);
    for row in &rows[..skipped] {
        pen.now.extend(row.stands.iter().copied());
        pen.last = Some(row.at);
    }
    pen.text = head(recording, skipped, hidden);
    for (number, row) in rows[skipped..].iter().enumerate() {
        if number % HEADER_EVERY == 0 {
            pen.header();
        }
        pen.row(row);
    }
    pen.text
}

fn head(recording: &Recording, skipped: usize, hidden: usize) -> String {
    let moment = |since: Duration| time(Instant::ZERO + since).trim_start().to_owned();
    let (from, to) = (moment(recording.window.least), moment(recording.window.most));
    let mut text = format!("simulated time from {from} to {to} s\n");
    text.push_str(
        "┃ leads  │ follows  ┊ stands for election  ┆ learns  ▒ stands still  · starts or has left  (gap) is down\n",
    );
    text.push_str("a frame is drawn where it arrives: • sender, ◀ ▶ ◆ receiver; ○ a client speaks to the node; ✗ fault, ✓ its end\n");
    if skipped > 0 {
        let _ = writeln!(text, "{skipped} rows before these are not shown; a shorter window shows them");
    }
    if hidden > 0 {
        let _ = writeln!(text, "{hidden} heartbeats are not shown; a window of {} does", BEATS_WITHIN.write());
    }
    text
}

struct Pen {
    text: String,
    size: Size,
    nodes: Vec<NodeId>,
    column: usize,
    now: BTreeMap<NodeId, Column>,
    last: Option<Instant>,
}

impl Pen {
    fn new(recording: &Recording, size: Size) -> Self {
        let in_steps = recording.steps.iter().filter_map(|step| match &step.what {
            What::Stands { node, .. } => Some(*node),
            _ => None,
        });
        let nodes: BTreeSet<NodeId> = recording.first.keys().copied().chain(in_steps).collect();
        let room = size.width.saturating_sub(TIME + MARGIN) / nodes.len().max(1);
        let column = room.clamp(MIN_COLUMN, MAX_COLUMN);
        let now = recording.first.clone();
        Self { text: String::new(), size, nodes: nodes.into_iter().collect(), column, now, last: None }
    }

    /// Where a node's line is.
    fn x(&self, node: NodeId) -> Option<usize> {
        let place = self.nodes.iter().position(|other| *other == node)?;
        Some(TIME + place * self.column + self.column / 2)
    }

    fn margin_at(&self) -> usize {
        TIME + self.nodes.len() * self.column + 1
    }

    fn standing(&self, node: NodeId) -> Column {
        self.now.get(&node).copied().unwrap_or_default()
    }

    fn header(&mut self) {
        let (mut names, mut states) = (self.blank(), self.blank());
        put(&mut names, 4, "time s");
        for node in &self.nodes {
            let Some(x) = self.x(*node) else { continue };
            let name = format!("node {}", short(*node));
            centred(&mut names, x, &cut(&name, self.column - 1));
            centred(&mut states, x, &cut(&state_words(self.standing(*node)), self.column - 1));
        }
        put(&mut names, self.margin_at(), "clients and faults");
        self.text.push('\n');
        self.line(&names);
        self.line(&states);
    }

    fn row(&mut self, row: &Row) {
        self.gap(row.at);
        if let Some(words) = &row.banner {
            return self.banner(row.at, words);
        }
        let mut line = self.lifelines();
        put(&mut line, 0, &time(row.at));
        for node in &row.marks {
            self.mark(&mut line, *node, '○');
        }
        if let Some(arrow) = &row.arrow {
            self.arrow(&mut line, arrow);
        }
        for (node, column) in &row.stands {
            let before = self.now.insert(*node, *column).unwrap_or_default();
            self.mark(&mut line, *node, glyph(column.standing));
            if let Some(x) = self.x(*node) {
                let words = change_words(before, *column);
                put(&mut line, x + 1, &cut(&words, self.column - 1));
            }
        }
        let margin = self.margin_at();
        put(&mut line, margin, &cut(&row.margin, self.size.width.saturating_sub(margin)));
        self.line(&line);
    }

    /// A stretch in which nothing happened.
    fn gap(&mut self, at: Instant) {
        let quiet = self.last.map(|last| at.since(last)).filter(|quiet| *quiet >= GAP);
        self.last = Some(at);
        let Some(quiet) = quiet else { return };
        let mut line = self.lifelines();
        put(&mut line, 2, &cut(&format!("⋮ {} ms", quiet.as_millis()), TIME - 2));
        self.line(&line);
    }

    /// Words through all columns, in as many lines as they need.
    fn banner(&mut self, at: Instant, words: &str) {
        let room = self.size.width - TIME - 3;
        for (number, part) in wrapped(words, room).into_iter().enumerate() {
            let time = if number == 0 { time(at) } else { " ".repeat(TIME - 1) };
            let _ = writeln!(self.text, "{time} ━━ {part}");
        }
    }

    fn arrow(&self, line: &mut [char], arrow: &Arrow) {
        let places = |nodes: &[NodeId]| nodes.iter().filter_map(|node| self.x(*node)).collect::<Vec<usize>>();
        let (from, to) = (places(&arrow.from), places(&arrow.to));
        // The node that all of the frames have in common.
        let Some(hub) = if from.len() == 1 { from.first() } else { to.first() }.copied() else { return };
        let others = || if arrow.from.len() == 1 { &to } else { &from }.iter().copied();
        if let Some(far) = others().filter(|x| *x < hub).min() {
            self.shaft(line, far, hub);
            self.label(line, hub - self.column, hub, &arrow.label);
        }
        if let Some(far) = others().filter(|x| *x > hub).max() {
            self.shaft(line, hub, far);
            self.label(line, hub, hub + self.column, &arrow.label);
        }
        for x in &from {
            line[*x] = '•';
        }
        for x in to.iter().copied() {
            let is_left = if x == hub { others().all(|other| other > x) } else { x < hub };
            let is_right = if x == hub { others().all(|other| other < x) } else { x > hub };
            line[x] = match (is_left, is_right) {
                (true, _) => '◀',
                (false, true) => '▶',
                (false, false) => '◆',
            };
        }
    }

    fn shaft(&self, line: &mut [char], left: usize, right: usize) {
        for place in line.iter_mut().take(right).skip(left + 1) {
            *place = if *place == ' ' { '─' } else { '┼' };
        }
    }

    fn label(&self, line: &mut [char], left: usize, right: usize, label: &str) {
        let words = cut(label, (right - left).saturating_sub(3));
        let start = left + 1 + (right - left - 1).saturating_sub(words.chars().count()) / 2;
        put(line, start, &words);
    }

    fn mark(&self, line: &mut [char], node: NodeId, sign: char) {
        if let Some(x) = self.x(node) {
            line[x] = sign;
        }
    }

    fn lifelines(&self) -> Vec<char> {
        let mut line = self.blank();
        for node in &self.nodes {
            self.mark(&mut line, *node, glyph(self.standing(*node).standing));
        }
        line
    }

    fn blank(&self) -> Vec<char> {
        vec![' '; self.size.width.max(self.margin_at())]
    }

    fn line(&mut self, line: &[char]) {
        let line: String = line.iter().collect();
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}

fn glyph(standing: Standing) -> char {
    match standing {
        Standing::Down => ' ',
        Standing::Paused => '▒',
        Standing::Recovering | Standing::Removed => '·',
        Standing::Follower => '│',
        Standing::Learner => '┆',
        Standing::PreCandidate | Standing::Candidate => '┊',
        Standing::Leader => '┃',
    }
}

fn name(standing: Standing) -> &'static str {
    match standing {
        Standing::Down => "down",
        Standing::Paused => "stands still",
        Standing::Recovering => "starts",
        Standing::Follower => "follows",
        Standing::Learner => "learns",
        Standing::PreCandidate => "may I?",
        Standing::Candidate => "elect me",
        Standing::Leader => "LEADS",
        Standing::Removed => "removed",
    }
}

fn state_words(Column { standing, term }: Column) -> String {
    match standing {
        Standing::Down | Standing::Recovering | Standing::Removed => name(standing).to_owned(),
        Standing::Paused
        | Standing::Follower
        | Standing::Learner
        | Standing::PreCandidate
        | Standing::Candidate
        | Standing::Leader => format!("{} t{term}", name(standing)),
    }
}

/// What has changed: mostly only the term has.
fn change_words(before: Column, after: Column) -> String {
    if before.standing == after.standing { format!("t{}", after.term) } else { state_words(after) }
}

fn time(at: Instant) -> String {
    let micros = since_start(at).as_micros();
    format!("{:>3}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn put(line: &mut [char], at: usize, words: &str) {
    for (place, character) in line.iter_mut().skip(at).zip(words.chars()) {
        *place = character;
    }
}

fn centred(line: &mut [char], middle: usize, words: &str) {
    put(line, middle.saturating_sub(words.chars().count() / 2), words);
}

/// Words in so many characters; what is cut off is shown.
fn cut(words: &str, room: usize) -> String {
    if words.chars().count() <= room {
        return words.to_owned();
    }
    let mut short: String = words.chars().take(room.saturating_sub(1)).collect();
    if room > 0 {
        short.push('…');
    }
    short
}

/// Words in lines of so many characters, broken at spaces where there are any.
fn wrapped(words: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words.split_whitespace() {
        for piece in word.chars().collect::<Vec<_>>().chunks(room) {
            let piece: String = piece.iter().collect();
            let line = lines.last_mut().expect("there is always one");
            if line.is_empty() {
                *line = piece;
            } else if line.chars().count() + 1 + piece.chars().count() <= room {
                line.push(' ');
                line.push_str(&piece);
            } else {
                lines.push(piece);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests;
