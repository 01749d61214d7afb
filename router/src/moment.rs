//! A moment as rules see it: the calendar and the clock of one place, without a calendar crate.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment on the clock of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Seconds since 1970, UTC.
    unix: i64,
    /// Seconds that the place's clock is ahead of UTC.
    offset: i64,
}

/// The fields of a moment, by the names that rules use.
pub(crate) const FIELDS: [&str; 7] = ["hour", "minute", "weekday", "day", "month", "year", "unix"];

/// Seconds of a day.
const DAY: i64 = 86_400;

impl Moment {
    /// The moment `now` on the clock that is `offset` seconds ahead of UTC.
    pub(crate) fn new(now: SystemTime, offset: i32) -> Moment {
        let unix = now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX / 2));
        Moment { unix, offset: i64::from(offset) }
    }

    /// The same moment in UTC.
    pub(crate) fn utc(self) -> Moment {
        Moment { offset: 0, ..self }
    }

    /// A field by its name: `weekday` is 1 for Monday to 7 for Sunday (ISO 8601).
    pub(crate) fn field(self, name: &str) -> Option<i64> {
        let local = self.unix + self.offset;
        let (days, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        Some(match name {
            "hour" => second / 3_600,
            "minute" => second / 60 % 60,
            // Day 0 was a Thursday.
            "weekday" => (days + 3).rem_euclid(7) + 1,
            "day" => date(days).2,
            "month" => date(days).1,
            "year" => date(days).0,
            "unix" => self.unix,
            _ => return None,
        })
    }
}

/// Year, month and day of the proleptic Gregorian calendar, `days` after 1970-01-01. The year is counted from March, so that the leap day
/// is its last; 146,097 days are 400 years (Hinnant, "chrono-Compatible Low-Level Date Algorithms", 2013).
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Seconds since 1970 as `2026-11-02T01:59:59Z` (RFC 3339).
pub fn rfc3339(unix: u64) -> String {
    let unix = i64::try_from(unix).unwrap_or(i64::MAX / 2);
    let (year, month, day) = date(unix.div_euclid(DAY));
    let second = unix.rem_euclid(DAY);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

/// Reads `+02:00`, `-0330`, `Z` or `UTC`: seconds ahead of UTC.
pub(crate) fn offset(text: &str) -> Result<i32, String> {
    let wrong = || format!("{text:?} is no offset from UTC; write it as \"+02:00\"");
    let trimmed = text.trim();
    if trimmed == "Z" || trimmed == "UTC" {
        return Ok(0);
    }
    let (sign, rest) = match trimmed.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(wrong()),
    };
    let digits: String = rest.chars().filter(|letter| *letter != ':').collect();
    if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: i32 = digits.parse().map_err(|_| wrong())?;
    let (hours, minutes) = (number / 100, number % 100);
    // The clocks of the world stand between -12:00 and +14:00.
    if hours > 14 || minutes > 59 { Err(wrong()) } else { Ok(sign * (hours * 3_600 + minutes * 60)) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_has_the_date_of_its_place() {
        for (unix, offset, expected) in [
            (0, "Z", [0, 0, 4, 1, 1, 1970, 0]),
            (951_782_400, "UTC", [0, 0, 2, 29, 2, 2000, 951_782_400]),
            (951_782_400, "-00:30", [23, 30, 1, 28, 2, 2000, 951_782_400]),
            (1_793_577_599, "+02:00", [1, 59, 1, 2, 11, 2026, 1_793_577_599]),
            (1_798_761_599, "+0000", [23, 59, 4, 31, 12, 2026, 1_798_761_599]),
        ] {
            let moment = Moment::new(UNIX_EPOCH + Duration::from_secs(unix), super::offset(offset).expect(offset));
            assert_eq!(FIELDS.map(|name| moment.field(name).unwrap_or(-1)), expected, "{unix} {offset}");
        }
        assert_eq!(Moment::new(UNIX_EPOCH, 0).field("second"), None);
        assert_eq!(rfc3339(1_798_761_599), "2026-12-31T23:59:59Z");
    }

    #[test]
    fn offsets_are_written_with_a_sign() {
        for text in ["", "2", "+2", "02:00", "+25:00", "+02:61", "é0200", "+0é00"] {
            assert!(offset(text).is_err(), "{text}");
        }
        assert_eq!((offset("-03:30"), offset("+14:00")), (Ok(-12_600), Ok(50_400)));
    }
}
