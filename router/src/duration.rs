//! Durations as people write them in configuration: `300ms`, `2s`, `60m`, `1h`.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// The units, largest first, with their length in milliseconds.
const UNITS: [(&str, f64); 4] = [("ms", 1.0), ("s", 1_000.0), ("m", 60_000.0), ("h", 3_600_000.0)];

/// The longest duration taken: a day, in milliseconds. Longer is a slip of the pen.
const LONGEST_MS: f64 = 86_400_000.0;

/// Reads a number with a unit (`ms`, `s`, `m`, `h`); the number may have decimals.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write a number with ms, s, m or h, for instance \"300ms\" or \"2s\"");
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = trimmed.split_at(split);
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let (_, length) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let ms = number * length;
    if !(0.0..=LONGEST_MS).contains(&ms) {
        return Err(format!("{text:?} is out of range; a duration is between 0 and 24h"));
    }
    Ok(Duration::from_micros((ms * 1_000.0).round() as u64))
}

/// Writes it in the largest unit that needs no decimals.
pub fn format(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1_000.0;
    for (name, length) in UNITS.iter().rev() {
        let number = ms / length;
        if number >= 1.0 && (number - number.round()).abs() < 1e-9 {
            return format!("{}{name}", number.round());
        }
    }
    format!("{ms}ms")
}

/// For `#[serde(with = "router::duration")]`.
pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format(*duration))
}

/// For `#[serde(with = "router::duration")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// The same for an optional duration.
pub mod option {
    use super::{Deserialize, Deserializer, Duration, Error, Serializer};

    /// For `#[serde(with = "router::duration::option")]`.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, to),
            None => to.serialize_none(),
        }
    }

    /// For `#[serde(default, with = "router::duration::option")]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Option::<String>::deserialize(from)?.map(|text| super::parse(&text)).transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write_back() {
        for (text, ms) in
            [("2s", 2_000), ("300ms", 300), ("60m", 3_600_000), ("1.5s", 1_500), ("1h", 3_600_000), (" 10 s ", 10_000), ("0s", 0)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(parse(&format(Duration::from_millis(ms))), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(format(Duration::from_secs(3_600)), "1h");
        assert_eq!(format(Duration::from_millis(1_500)), "1500ms");
    }

    #[test]
    fn anything_else_says_what_is_allowed() {
        for text in ["", "2", "s", "2 parsecs", "-1s", "nan s", "inf s", "25h", "1e400s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
