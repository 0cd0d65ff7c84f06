//! Circles and boxes on the earth: what lies within one, and which squares of the map hold all of it. Pure.
//!
//! The earth is taken as a sphere, and distances are those along it (the haversine formula; Sinnott, "Virtues of the haversine",
//! 1984). A shape of some metres is first turned into squares: the one around its middle, as large as the shape or a little
//! larger, and the eight beside it; what lies in them is then measured, member by member. The order of the squares is Redis's, since
//! members that nobody asked to be sorted come in it.

use super::cell::{Bounds, Cell, EDGE, MAX_LATITUDE, MAX_LONGITUDE, MAX_STEP, Position, Scores, Towards};

/// The radius of the sphere, in metres: Redis's.
pub const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
/// Half the side of the Mercator map, in metres: half the equator of the earth that the map is of.
const HALF_MAP_M: f64 = 20_037_726.37;
/// Degrees of latitude from which a square of the map is too narrow for its step, and from which it is so once more: meridians
/// meet at the poles.
const NARROW_LATITUDES: [f64; 2] = [66.0, 80.0];
/// Degrees of latitude of the poles.
const POLE: f64 = 90.0;

/// Metres from one place to another.
#[must_use]
pub fn distance(one: Position, other: Position) -> f64 {
    let radians = |position: Position| (position.longitude.to_radians(), position.latitude.to_radians());
    let ((one_longitude, one_latitude), (longitude, latitude)) = (radians(one), radians(other));
    let across = ((longitude - one_longitude) / 2.0).sin();
    if across == 0.0 {
        // On one meridian nothing is lost by rounding.
        return EARTH_RADIUS_M * (latitude - one_latitude).abs();
    }
    let along = ((latitude - one_latitude) / 2.0).sin();
    let haversine = along * along + one_latitude.cos() * latitude.cos() * across * across;
    2.0 * EARTH_RADIUS_M * haversine.sqrt().asin()
}

/// What is looked for around a place. In metres, not negative.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Shape {
    /// What is not farther than its radius.
    Circle {
        /// The radius.
        radius: f64,
    },
    /// What is not farther than half its width to the west or east, along its own circle of latitude's places, and half
    /// its height to the south or north.
    Box {
        /// From west to east.
        width: f64,
        /// From south to north.
        height: f64,
    },
}

/// A shape and its middle.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Area {
    /// The middle.
    pub center: Position,
    /// What is around it.
    pub shape: Shape,
}

impl Area {
    /// Metres from the middle to a place, if it lies within.
    #[must_use]
    pub fn measure(&self, position: Position) -> Option<f64> {
        let is_within = match self.shape {
            Shape::Circle { radius } => distance(self.center, position) <= radius,
            Shape::Box { width, height } => {
                let level = Position { longitude: self.center.longitude, latitude: position.latitude };
                distance(self.center, level) <= height / 2.0 && distance(level, position) <= width / 2.0
            }
        };
        is_within.then(|| distance(self.center, position))
    }

    /// Degrees that it lies within; longitudes may go beyond the edge of the map, and are infinite where a pole may lie within.
    fn bounds(&self) -> Bounds {
        let (across, along) = match self.shape {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let Position { longitude, latitude } = self.center;
        let north = (along / EARTH_RADIUS_M).to_degrees();
        // Meridians are nearest to each other where the shape is nearest to a pole.
        let outmost = latitude.abs() + north;
        let east = if outmost >= POLE { f64::INFINITY } else { self.reach(across / EARTH_RADIUS_M, outmost) };
        Bounds { west: longitude - east, east: longitude + east, south: latitude - north, north: latitude + north }
    }

    /// Degrees of longitude that `across` (radians of a great circle) can come to up to a latitude of `outmost` degrees.
    fn reach(&self, across: f64, outmost: f64) -> f64 {
        let narrowing = outmost.to_radians().cos();
        let usual = (across / narrowing).to_degrees();
        match self.shape {
            Shape::Circle { .. } => usual,
            // The great circle between two places of one latitude bends to the pole and is shorter than the circle of latitude.
            Shape::Box { .. } => {
                let half = (across / 2.0).sin() / narrowing;
                if across >= std::f64::consts::PI || half >= 1.0 {
                    f64::INFINITY
                } else {
                    usual.max((2.0 * half.asin()).to_degrees())
                }
            }
        }
    }

    /// Metres from the middle to what is farthest.
    fn radius(&self) -> f64 {
        match self.shape {
            Shape::Circle { radius } => radius,
            Shape::Box { width, height } => (width / 2.0).hypot(height / 2.0),
        }
    }

    /// How often the map may be halved until a square is about as large as the shape.
    fn estimated_step(&self) -> u32 {
        let mut side = self.radius();
        if side == 0.0 {
            return MAX_STEP;
        }
        let mut halvings = 1;
        while side < HALF_MAP_M {
            side *= 2.0;
            halvings += 1;
        }
        // Two less, so that the square beside the middle one holds the rest of the shape, and more where squares are narrow.
        let narrow = NARROW_LATITUDES.iter().filter(|&&narrow| self.center.latitude.abs() > narrow).count();
        let less = 2 + u32::try_from(narrow).expect("there are two of them");
        u32::clamp(halvings.max(less) - less, 1, MAX_STEP)
    }

    /// The square in the middle: of the estimated size, or larger if with the eight beside it it does not hold the whole shape.
    fn middle(&self, bounds: &Bounds) -> Cell {
        let estimated = Cell::at(self.center, self.estimated_step());
        let mut step = estimated.step();
        if step > 1 && !seems_enough(estimated, bounds) {
            step -= 1;
        }
        while step > 1 && !is_enough(Cell::at(self.center, step), bounds) {
            step -= 1;
        }
        Cell::at(self.center, step)
    }

    /// The scores of the places that may lie within: none twice.
    #[must_use]
    pub fn scores(&self) -> Vec<Scores> {
        let bounds = self.bounds();
        let touches_edge =
            bounds.north >= MAX_LATITUDE || bounds.east >= MAX_LONGITUDE || bounds.west <= -MAX_LONGITUDE;
        self.cells(&bounds).into_iter().map(Cell::scores).chain(touches_edge.then_some(EDGE)).collect()
    }

    /// The squares that hold all of it, each once.
    fn cells(&self, bounds: &Bounds) -> Vec<Cell> {
        use Towards::{After, Before, Level};
        const AROUND: [(Towards, Towards); 9] = [
            (Level, Level),
            (Level, After),
            (Level, Before),
            (After, Level),
            (Before, Level),
            (After, After),
            (Before, After),
            (After, Before),
            (Before, Before),
        ];
        let middle = self.middle(bounds);
        let covered = middle.bounds();
        let is_needed = |east: Towards, north: Towards| {
            let across = match east {
                Before => covered.west >= bounds.west,
                Level => true,
                After => covered.east <= bounds.east,
            };
            let along = match north {
                Before => covered.south >= bounds.south,
                Level => true,
                After => covered.north <= bounds.north,
            };
            across && along
        };
        let mut cells = Vec::with_capacity(AROUND.len());
        for (east, north) in AROUND {
            // Of four squares all are wanted: they may be on either side of each other.
            let cell = middle.beside(east, north);
            if (middle.step() < 2 || is_needed(east, north)) && !cells.contains(&cell) {
                cells.push(cell);
            }
        }
        cells
    }
}

/// Whether the squares beside `cell` reach as far as the bounds, as Redis judges it: at the edge of the map, where they go on
/// at the other side, they never seem to.
fn seems_enough(cell: Cell, bounds: &Bounds) -> bool {
    use Towards::{After, Before, Level};
    cell.beside(Level, After).bounds().north >= bounds.north
        && cell.beside(Level, Before).bounds().south <= bounds.south
        && cell.beside(After, Level).bounds().east >= bounds.east
        && cell.beside(Before, Level).bounds().west <= bounds.west
}

/// Whether they do: over the edge of the map to its other side, and not beyond its north and south, where no places are.
fn is_enough(cell: Cell, bounds: &Bounds) -> bool {
    let own = cell.bounds();
    let (width, height) = (own.east - own.west, own.north - own.south);
    own.west - width <= bounds.west
        && own.east + width >= bounds.east
        && own.south - height <= bounds.south.max(-MAX_LATITUDE)
        && own.north + height >= bounds.north.min(MAX_LATITUDE)
}

#[cfg(test)]
mod tests {
    use super::super::cell::tests::{hold, positions};
    use super::*;
    use proptest::prelude::*;

    fn at(longitude: f64, latitude: f64) -> Position {
        Position { longitude, latitude }
    }

    /// From millimetres to the whole earth, each size as likely.
    fn metres() -> impl Strategy<Value = f64> {
        prop_oneof![1 => Just(0.0), 20 => (-3.0..7.5f64).prop_map(|exponent| 10_f64.powf(exponent))]
    }

    fn shapes() -> impl Strategy<Value = Shape> {
        prop_oneof![
            metres().prop_map(|radius| Shape::Circle { radius }),
            (metres(), metres()).prop_map(|(width, height)| Shape::Box { width, height }),
        ]
    }

    /// Places anywhere, and places about as far from the middle as the shape reaches.
    fn member(area: &Area, (anywhere, near, east, north): (Position, bool, f64, f64)) -> Position {
        if !near {
            return anywhere;
        }
        let degrees = (area.radius() / EARTH_RADIUS_M).to_degrees();
        let across = degrees / area.center.latitude.to_radians().cos();
        let longitude = (area.center.longitude + east * across + 540.0).rem_euclid(360.0) - 180.0;
        at(longitude, (area.center.latitude + north * degrees).clamp(-MAX_LATITUDE, MAX_LATITUDE))
    }

    #[test]
    fn distances_are_those_that_redis_gives() {
        let (palermo, catania) = (at(13.361_389, 38.115_556), at(15.087_269, 37.502_669));
        let stored = |position: Position| Position::of_score(position.score());
        assert_eq!(format!("{:.4}", distance(stored(palermo), stored(catania))), "166274.1516");
        assert_eq!(distance(palermo, palermo), 0.0);
    }

    #[test]
    fn a_point_is_one_square_and_a_circle_over_a_pole_goes_round_it() {
        let point = Area { center: at(15.0, 37.0), shape: Shape::Circle { radius: 0.0 } };
        assert_eq!(point.scores(), [Cell::at(point.center, MAX_STEP).scores()]);
        let polar = Area { center: at(0.0, 85.0), shape: Shape::Circle { radius: 600_000.0 } };
        let behind = at(180.0, 84.9);
        assert!(polar.measure(at(179.0, 84.9)).is_none() && polar.measure(at(90.0, 85.05)).is_none());
        let wide = Area { shape: Shape::Circle { radius: 1_200_000.0 }, ..polar };
        assert!(wide.measure(behind).is_some());
        assert!(wide.scores().into_iter().any(|scores| hold(scores, behind.score())));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_scores_hold_all_that_brute_force_finds_and_none_twice(
            center in positions(),
            shape in shapes(),
            members in proptest::collection::vec((positions(), any::<bool>(), -1.2..1.2f64, -1.2..1.2f64), 20),
        ) {
            let area = Area { center, shape };
            let ranges = area.scores();
            for drawn in members {
                let score = member(&area, drawn).score();
                // As it is stored: the middle of its square.
                let stored = Position::of_score(score);
                let held = ranges.iter().filter(|&&scores| hold(scores, score)).count();
                let expected = usize::from(area.measure(stored).is_some());
                prop_assert!(held <= 1 && held >= expected, "{held} ranges hold {stored:?}");
            }
        }

        #[test]
        fn distance_is_the_same_both_ways_and_never_more_than_half_round(one in positions(), other in positions()) {
            prop_assert_eq!(distance(one, other), distance(other, one));
            prop_assert!((0.0..=EARTH_RADIUS_M * std::f64::consts::PI).contains(&distance(one, other)));
        }
    }
}
