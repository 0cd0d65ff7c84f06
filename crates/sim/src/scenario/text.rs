//! Values as people write them: `250ms`, `3%`, `50us..4ms, 1% to 400ms`, `0..20`.
//!
//! Whatever is written by [`Text::write`] is read back by [`Text::read`] as the same value, to the nanosecond.

use std::ops::Range;

use althing_types::Duration;

use crate::random::{Chance, Latency, nanos};

/// A value that has a form in one line of text.
pub trait Text: Sized {
    /// What is expected, with an example, for those who wrote something else.
    const EXPECTED: &str;
    /// Reads it.
    fn read(text: &str) -> Option<Self>;
    /// Writes it.
    fn write(&self) -> String;
}

/// Between two times, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// The shorter.
    pub least: Duration,
    /// The longer.
    pub most: Duration,
}

/// Units of time with their nanoseconds, the longest first.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Text for Duration {
    const EXPECTED: &str = "a time, as \"250ms\" (units: ns, us, ms, s, m, h)";

    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, unit) = text.split_at(digits);
        let (_, unit) = UNITS.into_iter().find(|(name, _)| *name == unit.trim())?;
        decimal(number, unit).map(Self::from_nanos)
    }

    fn write(&self) -> String {
        let nanos = nanos(*self);
        if nanos == 0 {
            return "0s".to_owned();
        }
        let fits = |(_, unit): &(&str, u64)| nanos.is_multiple_of(*unit);
        let (name, unit) = UNITS.into_iter().find(fits).expect("every number of nanoseconds is a multiple of one");
        format!("{}{name}", nanos / unit)
    }
}

impl Text for Span {
    const EXPECTED: &str = "a time or a range of times, as \"200ms..4s\"";

    fn read(text: &str) -> Option<Self> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let span = Self { least: Duration::read(least)?, most: Duration::read(most)? };
        (span.least <= span.most).then_some(span)
    }

    fn write(&self) -> String {
        let Self { least, most } = self;
        if least == most { least.write() } else { format!("{}..{}", least.write(), most.write()) }
    }
}

impl Text for Chance {
    const EXPECTED: &str = "a chance, as \"3%\" or \"0.5%\"";

    fn read(text: &str) -> Option<Self> {
        let parts_per_million = decimal(text.trim().strip_suffix('%')?.trim(), 10_000)?;
        (parts_per_million <= 1_000_000).then(|| Self(u32::try_from(parts_per_million).unwrap_or(u32::MAX)))
    }

    fn write(&self) -> String {
        let (percent, rest) = (self.0 / 10_000, self.0 % 10_000);
        let fraction = format!(".{rest:04}");
        format!("{percent}{}%", fraction.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Text for Latency {
    const EXPECTED: &str = "a range of times and, if there are any, its spikes, as \"50us..4ms, 1% to 400ms\"";

    fn read(text: &str) -> Option<Self> {
        let (usual, spikes) = match text.split_once(',') {
            Some((usual, spikes)) => (usual, Some(spikes)),
            None => (text, None),
        };
        let Span { least, most } = Span::read(usual)?;
        let mut latency = Self::even(least, most - least);
        if let Some(spikes) = spikes {
            let (chance, longest) = spikes.split_once(" to ")?;
            latency.spike_chance = Chance::read(chance)?;
            latency.spike = Duration::read(longest)?.checked_sub(least)?;
        }
        Some(latency)
    }

    fn write(&self) -> String {
        let usual = Span { least: self.least, most: self.least + self.spread }.write();
        if (self.spike_chance, self.spike) == (Chance::NEVER, Duration::ZERO) {
            return usual;
        }
        format!("{usual}, {} to {}", self.spike_chance.write(), (self.least + self.spike).write())
    }
}

impl Text for Range<u64> {
    const EXPECTED: &str = "a range of seeds, the last one excluded, as \"0..20\"";

    fn read(text: &str) -> Option<Self> {
        let (from, to) = text.split_once("..")?;
        let range = from.trim().parse().ok()?..to.trim().parse().ok()?;
        (!range.is_empty()).then_some(range)
    }

    fn write(&self) -> String {
        format!("{}..{}", self.start, self.end)
    }
}

/// A decimal number times `unit`, if that is a whole number that fits.
fn decimal(text: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let number = |digits: &str| digits.parse::<u64>().ok().map(u128::from);
    let scaled = (number(whole)?.checked_mul(scale)? + number(fraction)?).checked_mul(u128::from(unit))?;
    if scaled.is_multiple_of(scale) { u64::try_from(scaled / scale).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(Duration::read("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(Duration::read("1.5 s"), Some(Duration::from_millis(1500)));
        assert_eq!(Duration::read("10m"), Some(Duration::from_secs(600)));
        for wrong in ["", "ten", "3 weeks", "5", "-1s", "1.2.3s", "0.5ns", "ms"] {
            assert_eq!(Duration::read(wrong), None, "{wrong}");
        }
        assert_eq!(Duration::from_secs(86_400).write(), "24h");
        assert_eq!(Duration::from_micros(1_500).write(), "1500us");
    }

    #[test]
    fn chances_are_percentages() {
        assert_eq!(Chance::read("3%"), Some(Chance::percent(3)));
        assert_eq!(Chance::read("0.05%"), Some(Chance(500)));
        for wrong in ["3", "101%", "x%", "0.00001%"] {
            assert_eq!(Chance::read(wrong), None, "{wrong}");
        }
        assert_eq!(Chance(12_500).write(), "1.25%");
    }

    #[test]
    fn latencies_have_a_range_and_spikes() {
        let (us, ms) = (Duration::from_micros, Duration::from_millis);
        let calm = Latency::even(us(50), us(200));
        assert_eq!(Latency::read("50us..250us"), Some(calm));
        let spiky = Latency { spike_chance: Chance::percent(1), spike: ms(400), ..calm };
        assert_eq!(Latency::read("50us..250us, 1% to 400050us"), Some(spiky));
        for wrong in ["4ms..1ms", "1ms..4ms, 1%", "1ms..4ms, 1% to 1us", "1ms..4ms, to 9ms"] {
            assert_eq!(Latency::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ranges_hold_at_least_one_seed() {
        assert_eq!(<Range<u64>>::read("3..7"), Some(3..7));
        assert_eq!(<Range<u64>>::read("7..3"), None);
        assert_eq!(<Range<u64>>::read("7"), None);
    }

    fn times() -> impl Strategy<Value = Duration> {
        (0..90_000_u64, prop::sample::select(UNITS.to_vec())).prop_map(|(n, (_, unit))| Duration::from_nanos(n * unit))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(least in times(), spread in times(), ppm in 0..=1_000_000_u32, spike in times()) {
            prop_assert_eq!(Duration::read(&least.write()), Some(least));
            let span = Span { least, most: least + spread };
            prop_assert_eq!(Span::read(&span.write()), Some(span));
            prop_assert_eq!(Chance::read(&Chance(ppm).write()), Some(Chance(ppm)));
            let latency = Latency { least, spread, spike_chance: Chance(ppm), spike };
            prop_assert_eq!(Latency::read(&latency.write()), Some(latency));
        }
    }
}
