//! Places on the earth as numbers: geohashes. Pure.
//!
//! The map is halved again and again, west and east in turn with south and north; which half a place lies in is a bit each
//! time. Bits of the longitude and of the latitude alternate (Morton, "A computer oriented geodetic data base", 1966), so that
//! what has the same first bits lies together, and a square of the map is a range of numbers. With 26 bits of each a place
//! is a number of 52 bits, which a score holds exactly: a sorted set of such scores is an index of places. Places to either side of
//! a line of the map may have numbers far apart, so who looks for neighbours looks into several squares
//! ([`area`](super::area)).
//!
//! The map is that of the web's tiles, cut at the latitude where it is square, and so are scores made; the text of a geohash
//! (Niemeyer, 2008) is made of a map that goes to the poles.

/// Degrees of longitude to either side of Greenwich.
pub const MAX_LONGITUDE: f64 = 180.0;
/// Degrees of latitude to either side of the equator that scores reach: where the Mercator map of the earth is square.
pub const MAX_LATITUDE: f64 = 85.051_128_78;
/// Degrees of latitude that the text of a geohash reaches.
const POLE: f64 = 90.0;
/// How often a score has halved the map each way: what 52 bits hold.
pub const MAX_STEP: u32 = 26;
/// The letters of the text of a geohash: digits and letters without a, i, l and o.
const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
/// Letters that 52 bits are enough for; an eleventh is always the first letter.
const TEXT_LETTERS: u32 = 10;

/// A place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Position {
    /// Degrees, east of Greenwich.
    pub longitude: f64,
    /// Degrees, north of the equator.
    pub latitude: f64,
}

impl Position {
    /// A place that scores reach; `None` for others.
    #[must_use]
    pub fn new(longitude: f64, latitude: f64) -> Option<Self> {
        let is_on_map = longitude.abs() <= MAX_LONGITUDE && latitude.abs() <= MAX_LATITUDE;
        is_on_map.then_some(Self { longitude, latitude })
    }

    /// The score that stands for it.
    #[must_use]
    pub fn score(self) -> f64 {
        interleaved(self, MAX_LATITUDE) as f64
    }

    /// The middle of the square that a score stands for. Every score has one, though it was never made of a place.
    #[must_use]
    pub fn of_score(score: f64) -> Self {
        // The sign and the fraction of what is no geohash do not matter, only that the same place comes out each time.
        let bits = score as u64;
        let bounds = Cell { column: gather(bits >> 1), row: gather(bits), step: MAX_STEP }.bounds();
        Self {
            longitude: bounds.west.midpoint(bounds.east).clamp(-MAX_LONGITUDE, MAX_LONGITUDE),
            latitude: bounds.south.midpoint(bounds.north).clamp(-MAX_LATITUDE, MAX_LATITUDE),
        }
    }

    /// The text of its geohash, as other programs read it.
    #[must_use]
    pub fn text(self) -> String {
        let bits = interleaved(self, POLE);
        let letter = |place: u32| match place {
            0..TEXT_LETTERS => (bits >> (2 * MAX_STEP - 5 * (place + 1)) & 31) as usize,
            TEXT_LETTERS.. => 0,
        };
        (0..=TEXT_LETTERS).map(|place| char::from(LETTERS[letter(place)])).collect()
    }
}

/// A square of the map after some halvings each way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    /// From the west.
    column: u32,
    /// From the south.
    row: u32,
    step: u32,
}

/// Degrees that something lies within.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bounds {
    /// The least longitude.
    pub west: f64,
    /// The greatest longitude.
    pub east: f64,
    /// The least latitude.
    pub south: f64,
    /// The greatest latitude.
    pub north: f64,
}

/// Scores from one to another.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scores {
    /// The least.
    pub first: f64,
    /// The least behind them.
    pub end: f64,
}

/// The scores of places on the eastern and on the northern edge itself, which are in no square: rounding down gives them the
/// index behind the last, so that a bit above the 52 is set.
pub const EDGE: Scores = Scores { first: 4_503_599_627_370_496.0, end: 18_014_398_509_481_984.0 };

/// Which of the columns or rows `degrees` are in, of which there are 2^step from `-max` to `max`; `max` itself is behind the last.
fn index(degrees: f64, max: f64, step: u32) -> u32 {
    ((degrees + max) / (2.0 * max) * f64::from(1_u32 << step)) as u32
}

/// The bits of a place on a map that reaches to `max_latitude`.
fn interleaved(position: Position, max_latitude: f64) -> u64 {
    let column = index(position.longitude, MAX_LONGITUDE, MAX_STEP);
    spread(column) << 1 | spread(index(position.latitude, max_latitude, MAX_STEP))
}

impl Cell {
    /// The square around a place; on the edge of the map the one inside.
    #[must_use]
    pub fn at(position: Position, step: u32) -> Self {
        let inside = |degrees: f64, max: f64| index(degrees, max, step).min((1 << step) - 1);
        Self { column: inside(position.longitude, MAX_LONGITUDE), row: inside(position.latitude, MAX_LATITUDE), step }
    }

    /// How often the map was halved each way.
    #[must_use]
    pub const fn step(self) -> u32 {
        self.step
    }

    /// The scores of the places within.
    #[must_use]
    pub fn scores(self) -> Scores {
        let (bits, shift) = (spread(self.column) << 1 | spread(self.row), 2 * (MAX_STEP - self.step));
        Scores { first: (bits << shift) as f64, end: ((bits + 1) << shift) as f64 }
    }

    /// What it covers.
    #[must_use]
    pub fn bounds(self) -> Bounds {
        let side = f64::from(1_u32 << self.step);
        let line = |index: f64, max: f64| -max + index / side * (2.0 * max);
        let (column, row) = (f64::from(self.column), f64::from(self.row));
        Bounds {
            west: line(column, MAX_LONGITUDE),
            east: line(column + 1.0, MAX_LONGITUDE),
            south: line(row, MAX_LATITUDE),
            north: line(row + 1.0, MAX_LATITUDE),
        }
    }

    /// The square next to it. The map is round in either direction: what is north of the north is the south, and nobody is
    /// misled by it, since members are measured, too.
    #[must_use]
    pub const fn beside(self, east: Towards, north: Towards) -> Self {
        Self { column: east.from(self.column, self.step), row: north.from(self.row, self.step), step: self.step }
    }
}

/// Where a neighbour lies in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Towards {
    /// Before it: west or south.
    Before,
    /// In line with it.
    Level,
    /// After it: east or north.
    After,
}

impl Towards {
    const fn from(self, index: u32, step: u32) -> u32 {
        let mask = (1 << step) - 1;
        match self {
            Self::Before => index.wrapping_sub(1) & mask,
            Self::Level => index,
            Self::After => index.wrapping_add(1) & mask,
        }
    }
}

/// By how much bits that lie together are drawn apart, and which places they have then; the last has every other one.
const APART: [(u32, u64); 6] = [
    (32, 0x0000_0000_ffff_ffff),
    (16, 0x0000_ffff_0000_ffff),
    (8, 0x00ff_00ff_00ff_00ff),
    (4, 0x0f0f_0f0f_0f0f_0f0f),
    (2, 0x3333_3333_3333_3333),
    (1, 0x5555_5555_5555_5555),
];

/// The bits of a number at the even places of another.
fn spread(number: u32) -> u64 {
    APART[1..].iter().fold(u64::from(number), |bits, &(shift, mask)| (bits | bits << shift) & mask)
}

/// The number whose bits stand at the even places of this one.
fn gather(bits: u64) -> u32 {
    let last = bits & APART[5].1;
    let number = APART.windows(2).rev().fold(last, |bits, pair| (bits | bits >> pair[1].0) & pair[0].1);
    u32::try_from(number).expect("the last mask has 32 bits")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Places within the map.
    fn inside() -> impl Strategy<Value = Position> {
        (-MAX_LONGITUDE..MAX_LONGITUDE, -MAX_LATITUDE..MAX_LATITUDE)
            .prop_map(|(longitude, latitude)| Position { longitude, latitude })
    }

    /// Places within the map and on its edges.
    pub fn positions() -> impl Strategy<Value = Position> {
        let edge = |max: f64| prop_oneof![Just(None), Just(None), Just(Some(-max)), Just(Some(max))];
        (inside(), edge(MAX_LONGITUDE), edge(MAX_LATITUDE)).prop_map(|(inside, longitude, latitude)| Position {
            longitude: longitude.unwrap_or(inside.longitude),
            latitude: latitude.unwrap_or(inside.latitude),
        })
    }

    pub fn hold(scores: Scores, score: f64) -> bool {
        (scores.first..scores.end).contains(&score)
    }

    fn at(longitude: f64, latitude: f64) -> Position {
        Position::new(longitude, latitude).unwrap()
    }

    #[test]
    fn known_places_have_the_scores_and_texts_that_redis_gives_them() {
        for (position, score, text) in [
            (at(13.361_389, 38.115_556), 3_479_099_956_230_698.0, "sqc8b49rny0"),
            (at(15.087_269, 37.502_669), 3_479_447_370_796_909.0, "sqdtr74hyu0"),
        ] {
            assert_eq!(position.score(), score);
            assert_eq!(Position::of_score(score).text(), text);
        }
    }

    #[test]
    fn what_is_beyond_the_map_is_no_place() {
        for (longitude, latitude) in [(180.1, 0.0), (-181.0, 0.0), (0.0, 85.06), (0.0, -90.0), (f64::NAN, 0.0)] {
            assert_eq!(Position::new(longitude, latitude), None);
        }
        assert!(Position::new(180.0, MAX_LATITUDE).is_some());
    }

    #[test]
    fn the_edge_of_the_map_comes_back_as_the_edge() {
        assert_eq!(Position::of_score(at(180.0, 0.0).score()).longitude, 180.0);
        assert_eq!(Position::of_score(at(0.0, MAX_LATITUDE).score()).latitude, MAX_LATITUDE);
    }

    #[test]
    fn neighbours_go_round_the_map() {
        let corner = Cell::at(at(-180.0, -MAX_LATITUDE), 3);
        let far = corner.beside(Towards::Before, Towards::Before);
        assert_eq!((far.bounds().east, far.bounds().north), (MAX_LONGITUDE, MAX_LATITUDE));
        assert_eq!(far.beside(Towards::After, Towards::After), corner);
    }

    proptest! {
        #[test]
        fn bits_that_were_drawn_apart_are_gathered(number: u32) {
            prop_assert_eq!(gather(spread(number)), number);
            prop_assert_eq!(gather(spread(number) << 1), 0);
        }

        #[test]
        fn a_place_comes_back_within_half_a_square_and_then_stays(position in inside()) {
            let found = Position::of_score(position.score());
            let half = 0.5 / f64::from(1_u32 << MAX_STEP) * 1.000_001;
            prop_assert!((found.longitude - position.longitude).abs() <= 2.0 * MAX_LONGITUDE * half);
            prop_assert!((found.latitude - position.latitude).abs() <= 2.0 * MAX_LATITUDE * half);
            prop_assert_eq!(Position::of_score(found.score()), found);
        }

        #[test]
        fn a_square_holds_the_scores_of_its_places_and_no_others(one in inside(), other in inside(), step in 1..=MAX_STEP) {
            let cell = Cell::at(one, step);
            prop_assert!(hold(cell.scores(), one.score()));
            prop_assert_eq!(hold(cell.scores(), other.score()), Cell::at(other, step) == cell);
        }

        #[test]
        fn a_place_on_the_edge_has_a_score_of_its_own(position in positions()) {
            let is_on_edge = position.longitude == MAX_LONGITUDE || position.latitude == MAX_LATITUDE;
            prop_assert_eq!(hold(EDGE, position.score()), is_on_edge);
            // A float has 53 bits: on the eastern edge the last of the latitude is rounded.
            let square = 2.0 * MAX_LATITUDE / f64::from(1_u32 << MAX_STEP);
            let found = Position::of_score(position.score());
            prop_assert!((found.latitude - position.latitude).abs() <= 1.6 * square);
            prop_assert!(position.longitude < MAX_LONGITUDE || found.longitude == MAX_LONGITUDE);
        }

        #[test]
        fn any_score_is_some_place(score in any::<f64>()) {
            let found = Position::of_score(score);
            prop_assert!(Position::new(found.longitude, found.latitude).is_some());
        }
    }
}
