//! Places: sorted sets whose scores are geohashes, so that a place converges as a score does. [`cell`] and [`area`] are the
//! mathematics, [`search`] looks around a place.

pub mod area;
pub mod cell;
pub mod search;

use althing_datatypes::op::{Existence, ScoreIf, ScoreWrite, SortedOp, ZaddAnswer};
use althing_datatypes::{Op, Reply};
use bytes::Bytes;

use crate::refusal::Refusal;
use crate::run::sorted::sorted;
use crate::run::words::{Options, at, float};
use crate::run::{Keyed, plain};
use crate::wire::Value;
use area::distance;
use cell::Position;

type Parsed = Result<Keyed, Refusal>;

/// What distances are told in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// `m`
    Metres,
    /// `km`
    Kilometres,
    /// `ft`
    Feet,
    /// `mi`
    Miles,
}

impl Unit {
    /// The unit of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(word: &[u8]) -> Result<Self, Refusal> {
        match word.to_ascii_lowercase().as_slice() {
            b"m" => Ok(Self::Metres),
            b"km" => Ok(Self::Kilometres),
            b"ft" => Ok(Self::Feet),
            b"mi" => Ok(Self::Miles),
            _ => Err(Refusal::of("ERR unsupported unit provided. please use M, KM, FT, MI")),
        }
    }

    /// How long one of it is. Redis's mile is a little short.
    #[must_use]
    pub const fn metres(self) -> f64 {
        match self {
            Self::Metres => 1.0,
            Self::Kilometres => 1_000.0,
            Self::Feet => 0.3048,
            Self::Miles => 1_609.34,
        }
    }
}

/// The place that a longitude and a latitude say.
fn position(longitude: &[u8], latitude: &[u8]) -> Result<Position, Refusal> {
    let (longitude, latitude) = (float(longitude)?, float(latitude)?);
    Position::new(longitude, latitude)
        .ok_or_else(|| Refusal::new(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
}

/// A distance as it is told: text in either protocol, with four digits after the point.
fn told(metres: f64, unit: Unit) -> Value {
    Value::text(format!("{:.4}", metres / unit.metres()))
}

/// A place as it is told.
fn coordinates(position: Position) -> Value {
    Value::Array(vec![Value::Decimal(position.longitude), Value::Decimal(position.latitude)])
}

/// `GEOADD key [NX | XX] [CH] longitude latitude member ...`
pub fn geoadd(words: &[Bytes]) -> Parsed {
    let mut options = Options::from(words, 2);
    let (mut existence, mut answer) = (Existence::Any, ZaddAnswer::Added);
    loop {
        let (wanted, other) = if options.take("nx") {
            (Existence::Absent, Existence::Present)
        } else if options.take("xx") {
            (Existence::Present, Existence::Absent)
        } else if options.take("ch") {
            answer = ZaddAnswer::Changed;
            continue;
        } else {
            break;
        };
        if existence == other {
            return Err(Refusal::SYNTAX);
        }
        existence = wanted;
    }
    let triples = options.rest();
    if triples.is_empty() || !triples.len().is_multiple_of(3) {
        return Err(Refusal::SYNTAX);
    }
    let scores =
        triples.chunks_exact(3).map(|triple| Ok((position(&triple[0], &triple[1])?.score(), triple[2].clone())));
    let members = scores.collect::<Result<_, Refusal>>()?;
    let write = ScoreWrite { existence, score: ScoreIf::Any };
    sorted(words, SortedOp::Add { members, write, answer })
}

/// What a command tells of each member that it names.
fn each(words: &[Bytes], say: fn(Reply) -> Value) -> Parsed {
    Ok(Keyed::new(at(words, 1)?, Op::Sorted(SortedOp::Scores(words[2..].to_vec())), say))
}

/// Says something of the place of each score, and something else where there is none.
fn say_each(reply: Reply, none: &Value, say: fn(Position) -> Value) -> Value {
    match reply {
        Reply::Floats(scores) => {
            let say = |score: Option<f64>| score.map_or_else(|| none.clone(), |score| say(Position::of_score(score)));
            Value::Array(scores.into_iter().map(say).collect())
        }
        other => plain(other),
    }
}

/// `GEOPOS key member...`
pub fn geopos(words: &[Bytes]) -> Parsed {
    each(words, |reply| say_each(reply, &Value::NilArray, coordinates))
}

/// `GEOHASH key member...`
pub fn geohash(words: &[Bytes]) -> Parsed {
    each(words, |reply| say_each(reply, &Value::Nil, |position| Value::text(position.text())))
}

/// `GEODIST key member member [M | KM | FT | MI]`
pub fn geodist(words: &[Bytes]) -> Parsed {
    let unit = match &words[4..] {
        [] => Unit::Metres,
        [unit] => Unit::read(unit)?,
        [_, _, ..] => return Err(Refusal::SYNTAX),
    };
    let members = vec![at(words, 2)?.clone(), at(words, 3)?.clone()];
    let say: fn(Reply) -> Value = match unit {
        Unit::Metres => |reply| say_distance(reply, Unit::Metres),
        Unit::Kilometres => |reply| say_distance(reply, Unit::Kilometres),
        Unit::Feet => |reply| say_distance(reply, Unit::Feet),
        Unit::Miles => |reply| say_distance(reply, Unit::Miles),
    };
    Ok(Keyed::new(at(words, 1)?, Op::Sorted(SortedOp::Scores(members)), say))
}

fn say_distance(reply: Reply, unit: Unit) -> Value {
    match reply {
        Reply::Floats(scores) => match scores.as_slice() {
            [Some(one), Some(other)] => told(distance(Position::of_score(*one), Position::of_score(*other)), unit),
            _ => Value::Nil,
        },
        other => plain(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn mistakes_in_places_are_told_in_rediss_words() {
        for (line, text) in [
            ("geoadd k nx xx 1 2 a", "ERR syntax error"),
            ("geoadd k nx ch xx", "ERR syntax error"),
            ("geoadd k 1 2 a 3", "ERR syntax error"),
            ("geoadd k x 2 a", "ERR value is not a valid float"),
            ("geoadd k 1 86 a", "ERR invalid longitude,latitude pair 1.000000,86.000000"),
            ("geoadd k inf 1 a", "ERR invalid longitude,latitude pair inf,1.000000"),
        ] {
            assert_eq!(geoadd(&words(line)).unwrap_err().text(), text, "{line}");
        }
        let unknown = "ERR unsupported unit provided. please use M, KM, FT, MI";
        assert_eq!(geodist(&words("geodist k a b parsec")).unwrap_err().text(), unknown);
        assert_eq!(geodist(&words("geodist k a b m m")).unwrap_err().text(), "ERR syntax error");
    }
}
