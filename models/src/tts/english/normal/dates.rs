//! Times and dates.

use super::cursor::Cursor;
use super::{Normal, numbers, small};

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// "10:30 pm" is "ten thirty P.M.".
pub(super) fn time(_: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.at_word_start();
    let hour = at.digits(1, 2).filter(|_| starts)?;
    let minute = Some(at.eat(":")).filter(|colon| *colon).and_then(|_| at.digits(2, 2))?;
    let mut seconds = None;
    let mut ahead = *at;
    if ahead.eat(":")
        && let Some(digits) = ahead.digits(2, 2)
    {
        seconds = Some(digits);
        *at = ahead;
    }
    let mut ahead = *at;
    ahead.eat(" ");
    let mut half = None;
    if let Some(letter) = ahead.eat_one_of("AaPp") {
        ahead.eat(".");
        if ahead.eat_one_of("Mm").is_some() {
            // The dot is the abbreviation's own.
            ahead.eat(".");
            if !ahead.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
                half = Some(letter.to_ascii_uppercase());
                *at = ahead;
            }
        }
    }
    if at.peek().is_some_and(|c| c.is_ascii_digit()) {
        return None;
    }
    let (hour, minute, second) = (small(&hour), small(&minute), seconds.as_deref().map(small));
    if hour > 24 || minute > 59 || second.is_some_and(|second| second > 59) {
        return None;
    }
    let mut words = numbers::cardinal(hour);
    match minute {
        0 if half.is_none() && second.is_none() => words.push_str(" o'clock"),
        0 => {}
        1..10 => words.push_str(&format!(" oh {}", numbers::cardinal(minute))),
        _ => words.push_str(&format!(" {}", numbers::cardinal(minute))),
    }
    if let Some(second) = second {
        words.push_str(&format!(" and {} {}", numbers::cardinal(second), if second == 1 { "second" } else { "seconds" }));
    }
    if let Some(half) = half {
        let dot = if at.peek() == Some('.') { "" } else { "." };
        words.push_str(&format!(" {half}.M{dot}"));
    }
    Some(words)
}

/// "June third, 2024"; `None` if there is no such day.
pub(super) fn date(normal: &Normal, year: Option<&str>, month: u128, day: u128) -> Option<String> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let month = normal.month(MONTHS[month as usize - 1])?;
    let year = year.map(|year| format!(", {year}")).unwrap_or_default();
    Some(format!("{month} {}{year}", numbers::ordinal(day)))
}

/// "2024-06-03".
pub(super) fn iso_date(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.at_word_start();
    let year = at.digits(4, 4).filter(|_| starts)?;
    let month = Some(at.eat("-")).filter(|dash| *dash).and_then(|_| at.digits(2, 2))?;
    let day = Some(at.eat("-")).filter(|dash| *dash).and_then(|_| at.digits(2, 2))?;
    date(normal, Some(&year), small(&month), small(&day)).filter(|_| at.before_none_of(""))
}

/// "6/3/2024", month first unless it cannot be.
pub(super) fn slashed_date(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.at_word_start();
    let first = at.digits(1, 2).filter(|_| starts)?;
    let second = Some(at.eat("/")).filter(|slash| *slash).and_then(|_| at.digits(1, 2))?;
    let year = Some(at.eat("/")).filter(|slash| *slash).and_then(|_| at.digits(2, 4)).filter(|year| year.len() != 3)?;
    let year = match year.len() {
        2 if small(&year) > 30 => format!("19{year}"),
        2 => format!("20{year}"),
        _ => year,
    };
    let (first, second) = (small(&first), small(&second));
    let (month, day) = if first <= 12 { (first, second) } else { (second, first) };
    date(normal, Some(&year), month, day).filter(|_| at.before_none_of(""))
}

/// "Jan. 5, 2024".
pub(super) fn month_and_day(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.at_word_start();
    let month = normal.sorted.months.iter().filter(|_| starts).find_map(|name| {
        let mut ahead = *at;
        if !ahead.eat(name) {
            return None;
        }
        ahead.eat(".");
        ahead.eat(" ").then(|| *at = ahead)?;
        normal.month(name)
    })?;
    let day = at.digits(1, 2)?;
    ["st", "nd", "rd", "th"].into_iter().any(|ending| at.eat(ending));
    if !at.before_none_of(":%") || !(1..=31).contains(&small(&day)) {
        return None;
    }
    let mut words = format!("{month} {}", numbers::ordinal(small(&day)));
    let mut ahead = *at;
    let comma = if ahead.eat(",") { "," } else { "" };
    if ahead.eat(" ")
        && let Some(year) = ahead.digits(4, 4)
        && ahead.before_none_of("")
    {
        *at = ahead;
        words.push_str(&format!("{comma} {year}"));
    }
    Some(words)
}

/// "5 January".
pub(super) fn day_and_month(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.at_word_start();
    at.eat("the ");
    let day = at.digits(1, 2).filter(|_| starts)?;
    if !at.eat(" ") {
        return None;
    }
    at.eat("of ");
    let month = at.word(&normal.sorted.months)?;
    at.eat(".");
    (1..=31).contains(&small(&day)).then(|| Some(format!("the {} of {}", numbers::ordinal(small(&day)), normal.month(month)?)))?
}
