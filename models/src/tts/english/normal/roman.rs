//! Roman numerals after the words that have them.

use super::cursor::{Cursor, is_word};
use super::{Normal, numbers};

pub(super) fn roman_number(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let (word, number) = roman(&normal.roman_cardinal, at)?;
    Some(format!("{word} {number}"))
}

pub(super) fn roman_ordinal(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let (word, number) = roman(&normal.roman_ordinal, at)?;
    Some(format!("{word} the {}", numbers::ordinal(number)))
}

/// One of `words`, then a Roman numeral.
fn roman<'w>(words: &'w [String], at: &mut Cursor) -> Option<(&'w str, u128)> {
    let starts = at.at_word_start();
    let word = at.word(words).filter(|_| starts)?;
    if !at.eat(" ") {
        return None;
    }
    let start = at.at;
    while at.eat_one_of("MDCLXVI").is_some() {}
    let numeral: String = at.text[start..at.at].iter().collect();
    let value = roman_value(&numeral)?;
    let mut ahead = *at;
    let goes_on = ahead.eat_one_of(".'’").is_some() && ahead.peek().is_some_and(is_word);
    (numeral.starts_with(['I', 'V', 'X', 'L', 'C']) && at.before_none_of("") && !goes_on).then_some((word, value))
}

fn roman_value(numeral: &str) -> Option<u128> {
    const STEPS: [(&str, u128); 13] = [
        ("M", 1000),
        ("CM", 900),
        ("D", 500),
        ("CD", 400),
        ("C", 100),
        ("XC", 90),
        ("L", 50),
        ("XL", 40),
        ("X", 10),
        ("IX", 9),
        ("V", 5),
        ("IV", 4),
        ("I", 1),
    ];
    let mut rest = numeral;
    let mut value = 0;
    for (step, worth) in STEPS {
        let most = if step.len() == 1 && !"VLD".contains(step) { 3 } else { 1 };
        for _ in 0..most {
            if let Some(after) = rest.strip_prefix(step) {
                value += worth;
                rest = after;
            }
        }
    }
    (rest.is_empty() && value > 0).then_some(value)
}
