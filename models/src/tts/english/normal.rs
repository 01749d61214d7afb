//! Writes out what is not a word: times, dates, money, units, abbreviations, signs.
//!
//! Each rule rewrites the whole text, in the order of [`RULES`]. Plain numbers stay digits: the lexicon reads them. Every character
//! keeps the position it came from, so that spoken words can be timed against the words that were written.

mod cursor;
mod dates;
mod roman;

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::{ModelError, numbers, read_json};
use cursor::{Cursor, Text};
use dates::{date, day_and_month, iso_date, month_and_day, slashed_date, time};
use roman::{roman_number, roman_ordinal};

/// The word lists, as in the model's file.
#[derive(Deserialize)]
pub(super) struct Normal {
    months: HashMap<String, String>,
    titles: HashMap<String, String>,
    abbreviations: HashMap<String, String>,
    units: HashMap<String, [String; 2]>,
    symbols: HashMap<char, String>,
    currency: HashMap<String, [String; 2]>,
    roman_cardinal: Vec<String>,
    roman_ordinal: Vec<String>,
    /// Everything above that begins a match, the longest first.
    #[serde(skip)]
    sorted: Sorted,
}

#[derive(Default)]
struct Sorted {
    months: Vec<String>,
    titles: Vec<String>,
    abbreviations: Vec<String>,
    units: Vec<String>,
}

fn longest_first<'a>(words: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut words: Vec<String> = words.cloned().collect();
    words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    words
}

const FRACTIONS: [&str; 9] = ["half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];

type Rule = fn(&Normal, &mut Cursor) -> Option<String>;

const RULES: &[Rule] = &[
    time,
    iso_date,
    slashed_date,
    large_amount,
    cents,
    amount,
    degrees,
    unit,
    month_and_day,
    day_and_month,
    title,
    abbreviation,
    numero,
    hash,
    roman_number,
    roman_ordinal,
    telephone,
    fraction,
    range,
    plus,
    relation,
    symbol,
];

impl Normal {
    pub(super) fn open(path: &Path) -> Result<Normal, ModelError> {
        let mut normal: Normal = read_json(path)?;
        let short = normal.months.keys().map(|month| capitalised(month));
        let months: Vec<String> = normal.months.values().cloned().chain(short).chain(["Sept".to_owned()]).collect();
        normal.sorted = Sorted {
            months: longest_first(months.iter()),
            titles: longest_first(normal.titles.keys()),
            abbreviations: longest_first(normal.abbreviations.keys()),
            units: longest_first(normal.units.keys()),
        };
        normal.roman_cardinal = longest_first(normal.roman_cardinal.iter());
        normal.roman_ordinal = longest_first(normal.roman_ordinal.iter());
        Ok(normal)
    }

    /// The text as it is read aloud: signs, numbers, dates, money and titles in words.
    pub(super) fn apply(&self, text: &str) -> Text {
        let mut text = tidy(&plain_signs(&Text::new(text)));
        for rule in RULES {
            text = self.rewrite(&text, *rule);
        }
        tidy(&text)
    }

    fn rewrite(&self, text: &Text, rule: Rule) -> Text {
        let mut out = Text { chars: Vec::with_capacity(text.chars.len()), from: Vec::with_capacity(text.chars.len()) };
        let mut at = 0;
        while at < text.chars.len() {
            let mut cursor = Cursor { text: &text.chars, at };
            match rule(self, &mut cursor).filter(|_| cursor.at > at) {
                Some(new) => {
                    out.replace(text, at..cursor.at, &new);
                    at = cursor.at;
                }
                None => {
                    out.push(text.chars[at], text.from[at]);
                    at += 1;
                }
            }
        }
        out
    }

    fn month(&self, name: &str) -> Option<&str> {
        self.months.get(name.get(..3)?.to_lowercase().as_str()).map(String::as_str)
    }

    fn currency_word(&self, sign: &str, number: &str) -> Option<&str> {
        self.currency.get(sign).map(|words| plural(number, words))
    }
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn plural<'a>(number: &str, [one, many]: &'a [String; 2]) -> &'a str {
    if matches!(number.replace(',', "").as_str(), "1" | "1.0" | "-1") { one } else { many }
}

/// Typographer's signs and full-width letters as their plain forms.
fn plain_signs(text: &Text) -> Text {
    let mut out = Text::default();
    for (c, from) in text.chars.iter().zip(&text.from) {
        match c {
            '’' => out.push('\'', *from),
            '‒' => out.push('-', *from),
            '―' => out.push('—', *from),
            'ﬁ' | 'ﬂ' => {
                out.push('f', *from);
                out.push(if *c == 'ﬁ' { 'i' } else { 'l' }, *from);
            }
            '\u{200b}'..='\u{200d}' | '\u{feff}' | '\u{00ad}' => {}
            '！'..='～' => out.push(char::from_u32(*c as u32 - 0xFEE0).unwrap_or(*c), *from),
            c => out.push(*c, *from),
        }
    }
    out
}

/// Single spaces, none at the ends and none before a stop.
fn tidy(text: &Text) -> Text {
    let mut out = Text::default();
    for (c, from) in text.chars.iter().zip(&text.from) {
        if c.is_whitespace() {
            if out.chars.last().is_some_and(|last| *last != ' ') {
                out.push(' ', *from);
            }
            continue;
        }
        if ",.;:!?".contains(*c) && out.chars.last() == Some(&' ') {
            out.chars.pop();
            out.from.pop();
        }
        out.push(*c, *from);
    }
    if out.chars.last() == Some(&' ') {
        out.chars.pop();
        out.from.pop();
    }
    out
}

fn small(digits: &str) -> u128 {
    digits.parse().unwrap_or(u128::MAX)
}

/// "$3.5 million".
fn large_amount(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let sign = at.eat_one_of("$£€")?;
    let number = at.number()?;
    at.eat(" ");
    let magnitude = at.magnitude()?;
    Some(format!("{number} {magnitude} {}", normal.currency_word(&sign.to_string(), "2")?))
}

/// "50¢".
fn cents(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.after_none_of(".");
    let number = at.number().filter(|_| starts)?;
    at.eat(" ");
    at.eat("¢").then(|| Some(format!("{number} {}", normal.currency_word("¢", &number)?)))?
}

/// Currencies that the lexicon does not read: "¥500", "USD 20".
fn amount(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.at_word_start();
    let sign = ["¥", "₹", "₩", "Rs", "USD", "EUR", "GBP"].into_iter().find(|sign| at.eat(sign)).filter(|_| starts)?;
    if sign == "Rs" {
        at.eat(".");
    }
    at.eat(" ");
    let number = at.number()?;
    let mut ahead = *at;
    ahead.eat(" ");
    match ahead.magnitude() {
        Some(magnitude) => {
            *at = ahead;
            Some(format!("{number} {magnitude} {}", normal.currency_word(sign, "2")?))
        }
        None => Some(format!("{number} {}", normal.currency_word(sign, &number)?)),
    }
}

/// "20 °C".
fn degrees(_: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.after_none_of(".");
    let number = at.signed_number().filter(|_| starts)?;
    at.eat(" ");
    if !at.eat("°") {
        return None;
    }
    let words = ["degree".to_owned(), "degrees".to_owned()];
    let words = format!("{number} {}", plural(&number, &words));
    let mut ahead = *at;
    ahead.eat(" ");
    let scale = match ahead.eat_one_of("CF").filter(|_| ahead.before_none_of("")) {
        Some('C') => " Celsius",
        Some(_) => " Fahrenheit",
        None => return Some(words).filter(|_| at.before_none_of("")),
    };
    *at = ahead;
    Some(words + scale)
}

/// "5 km".
fn unit(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.after_none_of(".");
    let number = at.signed_number().filter(|_| starts)?;
    at.eat(" ");
    let unit = at.word(&normal.sorted.units)?;
    Some(format!("{number} {}", plural(&number, normal.units.get(unit)?)))
}

/// "Dr. Smith".
fn title(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.at_word_start();
    normal.sorted.titles.iter().filter(|_| starts).find_map(|title| {
        let mut ahead = *at;
        if !ahead.eat(title) {
            return None;
        }
        ahead.eat(".");
        (ahead.eat(" ") && ahead.peek().is_some_and(|c| c.is_ascii_uppercase())).then(|| *at = ahead)?;
        Some(format!("{} ", normal.titles.get(title)?))
    })
}

/// "approx.".
fn abbreviation(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.after_none_of(".");
    let short = at.word(&normal.sorted.abbreviations).filter(|_| starts)?;
    let ends = at.peek().is_none() && short.ends_with('.');
    Some(format!("{}{}", normal.abbreviations.get(short)?, if ends { "." } else { "" }))
}

/// "No. 5".
fn numero(_: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.at_word_start();
    let word = if at.eat("Nos.") {
        "Numbers "
    } else if at.eat("No.") {
        "Number "
    } else {
        return None;
    };
    at.eat(" ");
    (starts && at.peek().is_some_and(|c| c.is_ascii_digit())).then(|| word.to_owned())
}

/// "#5".
fn hash(_: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.after_none_of("&");
    (at.eat("#") && starts && at.peek().is_some_and(|c| c.is_ascii_digit())).then(|| "number ".to_owned())
}

/// "555-1234", figure by figure.
fn telephone(_: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.after_none_of(".-");
    let start = at.at;
    at.digits(3, 3).filter(|_| starts)?;
    if !at.eat("-") {
        return None;
    }
    let mut ahead = *at;
    if ahead.digits(3, 3).is_some() && ahead.eat("-") {
        *at = ahead;
    }
    at.digits(4, 4)?;
    let figures: Vec<String> = at.text[start..at.at].iter().map(|c| if *c == '-' { ",".to_owned() } else { c.to_string() }).collect();
    at.before_none_of(".-").then(|| figures.join(" "))
}

/// "3/4".
fn fraction(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.after_none_of("./");
    let over = at.digits(1, 2).filter(|_| starts)?;
    let under = Some(at.eat("/")).filter(|slash| *slash).and_then(|_| at.digits(1, 2)).filter(|_| at.before_none_of("./"))?;
    let (a, b) = (small(&over), small(&under));
    if 0 < a && a < b && b <= 10 {
        let unit = FRACTIONS[b as usize - 2];
        return Some(match (unit, a) {
            ("half", _) => "one half".to_owned(),
            (unit, 1) => format!("{a} {unit}"),
            (unit, _) => format!("{a} {unit}s"),
        });
    }
    date(normal, None, a, b).or_else(|| Some(format!("{a} slash {b}")))
}

/// "10-15".
fn range(_: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.after_none_of(".-");
    let low = at.digits(1, 4).filter(|_| starts)?;
    at.eat(" ");
    at.eat_one_of("-–")?;
    at.eat(" ");
    let high = at.digits(1, 4).filter(|_| at.before_none_of(".-%"))?;
    Some(format!("{low} to {high}"))
}

/// "+5".
fn plus(_: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.after_none_of("+");
    (at.eat("+") && starts && at.peek().is_some_and(|c| c.is_ascii_digit())).then(|| "plus ".to_owned())
}

/// "a = b": only between two things.
fn relation(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let after = at.before().is_some_and(|c| !c.is_whitespace());
    at.eat(" ");
    let sign = at.eat_one_of("=<>~")?;
    at.eat(" ");
    let between = after && at.peek().is_some_and(|c| !c.is_whitespace());
    normal.symbols.get(&sign).filter(|_| between).map(|word| format!(" {word} "))
}

fn symbol(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let sign = at.peek().filter(|c| !"=<>~".contains(*c))?;
    let word = normal.symbols.get(&sign)?;
    at.at += 1;
    Some(if word.is_empty() { " ".to_owned() } else { format!(" {word} ") })
}
