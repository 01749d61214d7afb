//! Writes out what is not a word: times, dates, money, units, abbreviations, signs.
//!
//! Each rule rewrites the whole text, in the order of [`RULES`]. Plain numbers stay digits: the lexicon reads them. Every character
//! keeps the position it came from, so that spoken words can be timed against the words that were written.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::{ModelError, numbers, read_json};

/// A text, each character with the index of the written character that it stands for.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    pub(super) chars: Vec<char>,
    pub(super) from: Vec<usize>,
}

impl Text {
    pub(super) fn new(text: &str) -> Text {
        let chars: Vec<char> = text.chars().collect();
        Text { from: (0..chars.len()).collect(), chars }
    }

    /// Adds `new` in the place of `old` in `text`. What begins or ends alike keeps its place; the rest is spread evenly over the old,
    /// and what falls on a space belongs to the word after it.
    fn replace(&mut self, text: &Text, old: std::ops::Range<usize>, new: &str) {
        let new: Vec<char> = new.chars().collect();
        let was = &text.chars[old.clone()];
        let head = new.iter().zip(was).take_while(|(a, b)| a == b).count();
        let tail = new[head..].iter().rev().zip(was[head..].iter().rev()).take_while(|(a, b)| a == b).count();
        let (middle, length) = (new.len() - head - tail, was.len() - head - tail);
        for (index, c) in new.iter().enumerate() {
            let at = if index < head {
                index
            } else if index < head + middle {
                head + (index - head) * length / middle
            } else {
                was.len() - (new.len() - index)
            };
            let at = at.min(was.len() - 1);
            let at = if was[at] == ' ' && *c != ' ' { (at + 1).min(was.len() - 1) } else { at };
            self.push(*c, text.from[old.start + at]);
        }
    }

    fn push(&mut self, c: char, from: usize) {
        self.chars.push(c);
        self.from.push(from);
    }
}

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

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const FRACTIONS: [&str; 9] = ["half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];

/// A place in a text where a rule may match.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    text: &'a [char],
    at: usize,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl Cursor<'_> {
    fn before(&self) -> Option<char> {
        self.at.checked_sub(1).map(|at| self.text[at])
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    /// Whether no word character comes before.
    fn at_word_start(&self) -> bool {
        !self.before().is_some_and(is_word)
    }

    /// Whether neither a word character nor one of `more` comes before.
    fn after_none_of(&self, more: &str) -> bool {
        !self.before().is_some_and(|c| is_word(c) || more.contains(c))
    }

    /// Whether neither a word character nor one of `more` comes next.
    fn before_none_of(&self, more: &str) -> bool {
        !self.peek().is_some_and(|c| is_word(c) || more.contains(c))
    }

    fn eat(&mut self, text: &str) -> bool {
        let length = text.chars().count();
        let found = self.text.len() >= self.at + length && text.chars().eq(self.text[self.at..self.at + length].iter().copied());
        if found {
            self.at += length;
        }
        found
    }

    fn eat_one_of(&mut self, set: &str) -> Option<char> {
        let c = self.peek().filter(|c| set.contains(*c))?;
        self.at += 1;
        Some(c)
    }

    /// The first of `words` that is here and ends where a word may end.
    fn word<'w>(&mut self, words: &'w [String]) -> Option<&'w str> {
        words.iter().find_map(|word| {
            let mut ahead = *self;
            (ahead.eat(word) && ahead.before_none_of("")).then(|| {
                *self = ahead;
                word.as_str()
            })
        })
    }

    /// At least `least` and at most `most` digits.
    fn digits(&mut self, least: usize, most: usize) -> Option<String> {
        let count = self.text[self.at..].iter().take(most).take_while(|c| c.is_ascii_digit()).count();
        (count >= least).then(|| {
            self.at += count;
            self.text[self.at - count..self.at].iter().collect()
        })
    }

    /// Digits with commas between thousands and a fraction.
    fn number(&mut self) -> Option<String> {
        let start = self.at;
        self.digits(1, usize::MAX)?;
        loop {
            let mut ahead = *self;
            if !(ahead.eat(",") && ahead.digits(3, 3).is_some()) {
                break;
            }
            *self = ahead;
        }
        let mut ahead = *self;
        if ahead.eat(".") && ahead.digits(1, usize::MAX).is_some() {
            *self = ahead;
        }
        Some(self.text[start..self.at].iter().collect())
    }

    fn signed_number(&mut self) -> Option<String> {
        let minus = if self.eat("-") { "-" } else { "" };
        Some(format!("{minus}{}", self.number()?))
    }

    /// "million", or a letter for it.
    fn magnitude(&mut self) -> Option<&'static str> {
        const WORDS: [&str; 5] = ["hundred", "thousand", "million", "billion", "trillion"];
        if let Some(word) = WORDS.into_iter().find(|word| self.eat(word)) {
            return Some(word);
        }
        let mut ahead = *self;
        let word = match ahead.eat_one_of("kKmMbB")? {
            'k' | 'K' => "thousand",
            'm' | 'M' => "million",
            _ => "billion",
        };
        ahead.before_none_of("").then(|| {
            *self = ahead;
            word
        })
    }
}

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

/// "10:30 pm" is "ten thirty P.M.".
fn time(_: &Normal, at: &mut Cursor) -> Option<String> {
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
fn date(normal: &Normal, year: Option<&str>, month: u128, day: u128) -> Option<String> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let month = normal.month(MONTHS[month as usize - 1])?;
    let year = year.map(|year| format!(", {year}")).unwrap_or_default();
    Some(format!("{month} {}{year}", numbers::ordinal(day)))
}

/// "2024-06-03".
fn iso_date(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let starts = at.at_word_start();
    let year = at.digits(4, 4).filter(|_| starts)?;
    let month = Some(at.eat("-")).filter(|dash| *dash).and_then(|_| at.digits(2, 2))?;
    let day = Some(at.eat("-")).filter(|dash| *dash).and_then(|_| at.digits(2, 2))?;
    date(normal, Some(&year), small(&month), small(&day)).filter(|_| at.before_none_of(""))
}

/// "6/3/2024", month first unless it cannot be.
fn slashed_date(normal: &Normal, at: &mut Cursor) -> Option<String> {
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

/// "Jan. 5, 2024".
fn month_and_day(normal: &Normal, at: &mut Cursor) -> Option<String> {
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
fn day_and_month(normal: &Normal, at: &mut Cursor) -> Option<String> {
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

fn roman_number(normal: &Normal, at: &mut Cursor) -> Option<String> {
    let (word, number) = roman(&normal.roman_cardinal, at)?;
    Some(format!("{word} {number}"))
}

fn roman_ordinal(normal: &Normal, at: &mut Cursor) -> Option<String> {
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
