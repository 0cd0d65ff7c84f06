//! What a search was asked for, read off its words.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::refusal::Refusal;
use crate::run::geo::area::Shape;
use crate::run::geo::cell::Position;
use crate::run::geo::{Unit, position};
use crate::run::words::{Options, at, float, int};

/// Which command it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `GEOSEARCH`
    Search,
    /// `GEOSEARCHSTORE`
    SearchStore,
    /// `GEORADIUS`
    Radius(Stores),
    /// `GEORADIUSBYMEMBER`
    RadiusByMember(Stores),
}

/// Whether an older command may store what it finds: not in its `_RO` form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stores {
    /// It may.
    Maybe,
    /// It only reads.
    Never,
}

/// What a search goes around.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Center<'a> {
    /// A place.
    Place(Position),
    /// A member, wherever it is.
    Member(&'a Bytes),
}

/// In which order members are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// In that of the squares that they lie in.
    Unsorted,
    /// `ASC`
    Nearest,
    /// `DESC`
    Farthest,
}

/// How many are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    /// All.
    All,
    /// `COUNT`: so many of the nearest, or of the farthest with `DESC`.
    Best(usize),
    /// `COUNT` with `ANY`: so many that are found first.
    First(usize),
}

/// What is told of each member besides itself, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Detail {
    /// `WITHDIST`
    Distance,
    /// `WITHHASH`
    Hash,
    /// `WITHCOORD`
    Coordinates,
}

/// What a stored member's score is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// The place.
    Hash,
    /// `STOREDIST`: the distance from the middle.
    Distance,
}

/// A search.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan<'a> {
    /// Which command it is.
    pub form: Form,
    /// The key that is searched.
    pub source: &'a Bytes,
    /// The middle.
    pub center: Center<'a>,
    /// What is around it, in metres.
    pub shape: Shape,
    /// What distances are told in.
    pub unit: Unit,
    /// The order.
    pub direction: Direction,
    /// How many.
    pub take: Take,
    /// What is told.
    pub details: BTreeSet<Detail>,
    /// Where it is stored instead, and how.
    pub store: Option<(&'a Bytes, Written)>,
}

impl Form {
    /// The command's name, for the refusals of the data types.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Search => "geosearch",
            Self::SearchStore => "geosearchstore",
            Self::Radius(Stores::Maybe) => "georadius",
            Self::Radius(Stores::Never) => "georadius_ro",
            Self::RadiusByMember(Stores::Maybe) => "georadiusbymember",
            Self::RadiusByMember(Stores::Never) => "georadiusbymember_ro",
        }
    }

    /// What stores in the refusal of details that are not told then.
    const fn storing(self) -> &'static str {
        match self {
            Self::Search | Self::SearchStore => "GEOSEARCHSTORE",
            Self::Radius(_) | Self::RadiusByMember(_) => "STORE option in GEORADIUS",
        }
    }

    /// Whether the middle and the shape are options.
    const fn is_search(self) -> bool {
        match self {
            Self::Search | Self::SearchStore => true,
            Self::Radius(_) | Self::RadiusByMember(_) => false,
        }
    }

    const fn may_store_by_option(self) -> bool {
        match self {
            Self::Radius(Stores::Maybe) | Self::RadiusByMember(Stores::Maybe) => true,
            Self::Radius(Stores::Never) | Self::RadiusByMember(Stores::Never) | Self::Search | Self::SearchStore => {
                false
            }
        }
    }
}

/// What has been read so far.
struct Draft<'a> {
    form: Form,
    source: &'a Bytes,
    center: Option<Center<'a>>,
    shape: Option<(Shape, Unit)>,
    direction: Option<Direction>,
    count: Option<usize>,
    is_any: bool,
    details: BTreeSet<Detail>,
    store: Option<(&'a Bytes, Written)>,
}

/// A length that `mistake` refuses if it is no number.
fn length(word: &[u8], mistake: &'static str) -> Result<f64, Refusal> {
    float(word).map_err(|_| Refusal::of(mistake))
}

/// `radius unit`
fn circle(options: &mut Options<'_>) -> Result<(Shape, Unit), Refusal> {
    let (radius, unit) = (options.value()?, options.value()?);
    let radius = length(radius, "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(Refusal::of("ERR radius cannot be negative"));
    }
    let unit = Unit::read(unit)?;
    Ok((Shape::Circle { radius: radius * unit.metres() }, unit))
}

/// `width height unit`
fn rectangle(options: &mut Options<'_>) -> Result<(Shape, Unit), Refusal> {
    let (width, height, unit) = (options.value()?, options.value()?, options.value()?);
    let (width, height) = (length(width, "ERR need numeric width")?, length(height, "ERR need numeric height")?);
    if width < 0.0 || height < 0.0 {
        return Err(Refusal::of("ERR height or width cannot be negative"));
    }
    let unit = Unit::read(unit)?;
    Ok((Shape::Box { width: width * unit.metres(), height: height * unit.metres() }, unit))
}

impl<'a> Draft<'a> {
    /// What stands at fixed places, and the options behind it.
    fn begin(words: &'a [Bytes], form: Form) -> Result<(Self, Options<'a>), Refusal> {
        let (source, mut options) = match form {
            Form::SearchStore => (at(words, 2)?, Options::from(words, 3)),
            Form::Search | Form::Radius(_) | Form::RadiusByMember(_) => (at(words, 1)?, Options::from(words, 2)),
        };
        let mut draft = Draft {
            form,
            source,
            center: None,
            shape: None,
            direction: None,
            count: None,
            is_any: false,
            details: BTreeSet::new(),
            store: None,
        };
        match form {
            Form::Search => {}
            Form::SearchStore => draft.store = Some((at(words, 1)?, Written::Hash)),
            Form::Radius(_) => draft.center = Some(Center::Place(position(options.value()?, options.value()?)?)),
            Form::RadiusByMember(_) => draft.center = Some(Center::Member(options.value()?)),
        }
        if !form.is_search() {
            draft.shape = Some(circle(&mut options)?);
        }
        Ok((draft, options))
    }

    /// Reads one option of any form.
    fn option(&mut self, option: &[u8], options: &mut Options<'a>) -> Result<(), Refusal> {
        match option {
            b"withdist" => _ = self.details.insert(Detail::Distance),
            b"withhash" => _ = self.details.insert(Detail::Hash),
            b"withcoord" => _ = self.details.insert(Detail::Coordinates),
            b"any" => self.is_any = true,
            b"asc" => self.direction = Some(Direction::Nearest),
            b"desc" => self.direction = Some(Direction::Farthest),
            b"count" => {
                let count = int(options.value()?)?;
                let count = usize::try_from(count).ok().filter(|&count| count > 0);
                self.count = Some(count.ok_or(Refusal::of("ERR COUNT must be > 0"))?);
            }
            b"store" if self.form.may_store_by_option() => self.store = Some((options.value()?, Written::Hash)),
            b"storedist" if self.form.may_store_by_option() => self.store = Some((options.value()?, Written::Distance)),
            _ if self.form.is_search() => return self.search_option(option, options),
            _ => return Err(Refusal::SYNTAX),
        }
        Ok(())
    }

    /// Reads an option that only the newer commands have.
    fn search_option(&mut self, option: &[u8], options: &mut Options<'a>) -> Result<(), Refusal> {
        match option {
            b"frommember" if !matches!(self.center, Some(Center::Place(_))) => {
                self.center = Some(Center::Member(options.value()?));
            }
            b"fromlonlat" if !matches!(self.center, Some(Center::Member(_))) => {
                self.center = Some(Center::Place(position(options.value()?, options.value()?)?));
            }
            b"byradius" if !matches!(self.shape, Some((Shape::Box { .. }, _))) => self.shape = Some(circle(options)?),
            b"bybox" if !matches!(self.shape, Some((Shape::Circle { .. }, _))) => {
                self.shape = Some(rectangle(options)?);
            }
            b"storedist" if self.form == Form::SearchStore => {
                self.store = self.store.map(|(key, _)| (key, Written::Distance));
            }
            _ => return Err(Refusal::SYNTAX),
        }
        Ok(())
    }

    /// The search, if all that it needs has been said. `command` is its name as the client wrote it.
    fn finish(self, command: &[u8]) -> Result<Plan<'a>, Refusal> {
        if self.store.is_some() && !self.details.is_empty() {
            return Err(Refusal::new(format!(
                "ERR {} is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                self.form.storing()
            )));
        }
        let missing = |what: &str| {
            let command = String::from_utf8_lossy(command);
            Refusal::new(format!("ERR exactly one of {what} specified for {command}"))
        };
        let center = self.center.ok_or_else(|| missing("FROMMEMBER or FROMLONLAT can be"))?;
        let (shape, unit) = self.shape.ok_or_else(|| missing("BYRADIUS and BYBOX can be"))?;
        let (take, usual) = match (self.count, self.is_any) {
            (None, true) => return Err(Refusal::of("ERR the ANY argument requires COUNT argument")),
            (None, false) => (Take::All, Direction::Unsorted),
            (Some(count), true) => (Take::First(count), Direction::Unsorted),
            (Some(count), false) => (Take::Best(count), Direction::Nearest),
        };
        Ok(Plan {
            form: self.form,
            source: self.source,
            center,
            shape,
            unit,
            direction: self.direction.unwrap_or(usual),
            take,
            details: self.details,
            store: self.store,
        })
    }
}

impl<'a> Plan<'a> {
    /// Reads the words of a command.
    ///
    /// # Errors
    /// In Redis's words.
    pub fn read(words: &'a [Bytes], form: Form) -> Result<Self, Refusal> {
        let (mut draft, mut options) = Draft::begin(words, form)?;
        while let Some(option) = options.pull() {
            draft.option(&option.to_ascii_lowercase(), &mut options)?;
        }
        draft.finish(at(words, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn refusal(line: &str, form: Form) -> String {
        Plan::read(&words(line), form).unwrap_err().text().to_owned()
    }

    #[test]
    fn mistakes_of_a_search_are_told_in_rediss_words() {
        const PLACE: &str = "GeoSearch k fromlonlat 1 2";
        const ALL: &str = "geosearch k fromlonlat 1 2 byradius 1 m";
        for (line, text) in [
            ("GeoSearch k byradius 1 m asc", "exactly one of FROMMEMBER or FROMLONLAT can be specified for GeoSearch"),
            (&format!("{PLACE} asc"), "exactly one of BYRADIUS and BYBOX can be specified for GeoSearch"),
            (&format!("{PLACE} byradius x m"), "need numeric radius"),
            (&format!("{PLACE} byradius -1 x"), "radius cannot be negative"),
            (&format!("{PLACE} byradius 1 x"), "unsupported unit provided. please use M, KM, FT, MI"),
            (&format!("{PLACE} bybox x 1 m"), "need numeric width"),
            (&format!("{PLACE} bybox 1 x m"), "need numeric height"),
            (&format!("{PLACE} bybox 1 -1 m"), "height or width cannot be negative"),
            (&format!("{ALL} bybox 1 1 m"), "syntax error"),
            (&format!("{ALL} frommember a"), "syntax error"),
            (&format!("{ALL} storedist"), "syntax error"),
            (&format!("{ALL} count"), "syntax error"),
            (&format!("{ALL} count 0"), "COUNT must be > 0"),
            (&format!("{ALL} count x"), "value is not an integer or out of range"),
            (&format!("{ALL} any"), "the ANY argument requires COUNT argument"),
        ] {
            assert_eq!(refusal(line, Form::Search), format!("ERR {text}"), "{line}");
        }
    }

    #[test]
    fn what_is_stored_is_not_told_in_detail() {
        let line = "geosearchstore d k fromlonlat 1 2 byradius 1 m withdist";
        let text = "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
        assert_eq!(refusal(line, Form::SearchStore), text);
        let line = "georadius k 1 2 3 m withhash store d";
        let text = "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
        assert_eq!(refusal(line, Form::Radius(Stores::Maybe)), text);
        assert_eq!(refusal("georadius_ro k 1 2 3 m store d", Form::Radius(Stores::Never)), "ERR syntax error");
    }

    #[test]
    fn a_count_sorts_unless_any_will_do() {
        for (options, direction, take) in [
            ("asc", Direction::Nearest, Take::All),
            ("count 2", Direction::Nearest, Take::Best(2)),
            ("count 2 desc", Direction::Farthest, Take::Best(2)),
            ("count 2 any", Direction::Unsorted, Take::First(2)),
            ("any count 2 asc", Direction::Nearest, Take::First(2)),
        ] {
            let words = words(&format!("georadiusbymember k a 1 km {options}"));
            let plan = Plan::read(&words, Form::RadiusByMember(Stores::Maybe)).unwrap();
            assert_eq!((plan.direction, plan.take), (direction, take), "{options}");
            assert_eq!((plan.shape, plan.unit), (Shape::Circle { radius: 1_000.0 }, Unit::Kilometres));
        }
    }
}
