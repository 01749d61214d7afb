//! Cuts a text into words and signs, by the rules of spaCy's English (which the tagger learnt from).
//!
//! Exceptions ("don't", "10am", "Mr.") are looked up; else signs come off both ends of a word, and hyphens and slashes split the rest.

use std::collections::HashMap;
use std::path::Path;

use super::{ModelError, read_json};

const SIGNS: &str = "…,:;!?¿¡()[]{}<>_#*&。？！，、；：～·";
const QUOTES: &str = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉";
const ICONS: &str = "™®©°§¶†‡•";
const CURRENCIES: &str = "$£€¥฿₽₹₩₪₺₴₦₫₱₲₵₸₼₾₿";
const UNITS: [&str; 51] = [
    "km", "km²", "km³", "m", "m²", "m³", "dm", "dm²", "dm³", "cm", "cm²", "cm³", "mm", "mm²", "mm³", "ha", "µm", "nm", "yd", "in", "ft",
    "kg", "g", "mg", "µg", "t", "lb", "oz", "m/s", "km/h", "kmh", "mph", "hPa", "Pa", "mbar", "mb", "MB", "kb", "KB", "gb", "GB", "tb",
    "TB", "T", "G", "M", "K", "%", "US$", "C$", "A$",
];
const DOMAINS: [&str; 18] =
    ["com", "org", "net", "edu", "gov", "io", "co", "uk", "de", "fr", "info", "biz", "us", "ca", "au", "tv", "me", "ly"];

/// A piece of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Position of its first character.
    pub(super) at: usize,
    /// Whether white space follows.
    pub(super) spaced: bool,
}

/// The exceptions to the rules.
pub(super) struct Words {
    exceptions: HashMap<String, Vec<String>>,
}

impl Words {
    pub(super) fn open(path: &Path) -> Result<Words, ModelError> {
        Ok(Words { exceptions: read_json(path)? })
    }

    /// The words and signs of a text.
    pub(super) fn split(&self, text: &[char]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let end = text[at..].iter().position(|c| c.is_whitespace()).map_or(text.len(), |length| at + length);
            if end > at {
                let mut start = at;
                for part in self.chunk(&text[at..end]) {
                    let length = part.chars().count();
                    pieces.push(Piece { text: part, at: start, spaced: false });
                    start += length;
                }
                if let Some(last) = pieces.last_mut() {
                    last.spaced = end < text.len();
                }
            }
            at = end + 1;
        }
        pieces
    }

    fn exception(&self, chunk: &[char]) -> Option<&Vec<String>> {
        self.exceptions.get(&chunk.iter().collect::<String>())
    }

    /// The pieces of one stretch without white space.
    fn chunk(&self, chunk: &[char]) -> Vec<String> {
        if let Some(parts) = self.exception(chunk) {
            return parts.clone();
        }
        let (mut start, mut end) = (0, chunk.len());
        let mut before: Vec<String> = Vec::new();
        let mut after: Vec<String> = Vec::new();
        let text = |from: usize, to: usize| chunk[from..to].iter().collect::<String>();
        while start < end && self.exception(&chunk[start..end]).is_none() {
            let prefix = prefix(&chunk[start..end]);
            if prefix > 0 && start + prefix < end && self.exception(&chunk[start + prefix..end]).is_some() {
                before.push(text(start, start + prefix));
                start += prefix;
                break;
            }
            let suffix = suffix(&chunk[start + prefix..end]);
            if suffix > 0 && start < end - suffix && self.exception(&chunk[start..end - suffix]).is_some() {
                after.push(text(end - suffix, end));
                end -= suffix;
                break;
            }
            if prefix + suffix == 0 {
                break;
            }
            if prefix > 0 {
                before.push(text(start, start + prefix));
                start += prefix;
            }
            if suffix > 0 {
                after.push(text(end - suffix, end));
                end -= suffix;
            }
        }
        let mut parts = before;
        if start < end {
            match self.exception(&chunk[start..end]) {
                Some(pieces) => parts.extend(pieces.iter().cloned()),
                None if is_address(&text(start, end)) => parts.push(text(start, end)),
                None => parts.extend(inside(&chunk[start..end])),
            }
        }
        parts.extend(after.into_iter().rev());
        self.rejoin(parts)
    }

    /// Neighbours that spell an exception together are one again: "Sept" and ".".
    fn rejoin(&self, parts: Vec<String>) -> Vec<String> {
        let mut joined = Vec::with_capacity(parts.len());
        let mut at = 0;
        while at < parts.len() {
            let found = [3, 2].into_iter().find_map(|length| {
                let parts = parts.get(at..at + length)?;
                Some((length, self.exceptions.get(&parts.concat())?))
            });
            match found {
                Some((length, pieces)) => {
                    joined.extend(pieces.iter().cloned());
                    at += length;
                }
                None => {
                    joined.push(parts[at].clone());
                    at += 1;
                }
            }
        }
        joined
    }
}

/// How many characters come off the front.
fn prefix(chunk: &[char]) -> usize {
    let Some(first) = chunk.first() else { return 0 };
    let dots = chunk.iter().take_while(|c| **c == '.').count();
    match first {
        '%' | '=' | '—' | '–' => 1,
        '+' => usize::from(!chunk.get(1).is_some_and(char::is_ascii_digit)),
        '.' if dots >= 2 => dots,
        c if [SIGNS, QUOTES, ICONS, CURRENCIES].iter().any(|set| set.contains(*c)) => 1,
        'U' if chunk.starts_with(&['U', 'S', '$']) => 3,
        'C' | 'A' if chunk.get(1) == Some(&'$') => 2,
        _ => 0,
    }
}

/// How many characters come off the end: the longest ending that is one.
fn suffix(chunk: &[char]) -> usize {
    (0..chunk.len()).find(|start| is_suffix(&chunk[..*start], &chunk[*start..])).map_or(0, |start| chunk.len() - start)
}

fn is_suffix(before: &[char], tail: &[char]) -> bool {
    let last = before.last().copied();
    let digit_before = last.is_some_and(|c| c.is_ascii_digit());
    if let [one] = tail
        && ([SIGNS, QUOTES, ICONS, "—–"].iter().any(|set| set.contains(*one))
            || (digit_before && (*one == '+' || CURRENCIES.contains(*one)))
            || (*one == '.' && dot_comes_off(before)))
    {
        return true;
    }
    let text = || tail.iter().collect::<String>();
    (tail.len() >= 2 && tail.iter().all(|c| *c == '.'))
        || matches!(tail, ['…', '…'] | ['\'' | '’', 's' | 'S'])
        || (digit_before && tail.len() <= 4 && UNITS.contains(&text().as_str()))
}

fn is_small(c: char) -> bool {
    matches!(c, 'a'..='z' | 'ß'..='ö' | 'ø'..='ÿ')
}

fn is_capital(c: char) -> bool {
    matches!(c, 'A'..='Z' | 'À'..='Ö' | 'Ø'..='Þ')
}

/// Whether a full stop after `before` is one, rather than part of an abbreviation.
fn dot_comes_off(before: &[char]) -> bool {
    match before {
        [.., '°', 'F' | 'f' | 'C' | 'c' | 'K' | 'k'] => true,
        [.., a, b] if is_capital(*a) && is_capital(*b) => true,
        [.., c] => c.is_ascii_digit() || is_small(*c) || "%²-+".contains(*c) || SIGNS.contains(*c) || QUOTES.contains(*c),
        [] => false,
    }
}

/// Splits at hyphens, slashes and dots between letters.
fn inside(chunk: &[char]) -> Vec<String> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < chunk.len() {
        let length = infix(chunk, at);
        if length == 0 || at == 0 {
            at += length.max(1);
            continue;
        }
        if at > start {
            parts.push(chunk[start..at].iter().collect());
        }
        parts.push(chunk[at..at + length].iter().collect());
        at += length;
        start = at;
    }
    if start < chunk.len() {
        parts.push(chunk[start..].iter().collect());
    }
    parts
}

/// The length of the sign at `at` that splits a word, or 0.
fn infix(chunk: &[char], at: usize) -> usize {
    let before = at.checked_sub(1).map(|index| chunk[index]);
    let after = |length: usize| chunk.get(at + length).copied();
    let letter_after = |length: usize| after(length).is_some_and(char::is_alphabetic);
    let word_before = before.is_some_and(char::is_alphanumeric);
    let run = |sign: char| chunk[at..].iter().take_while(|c| **c == sign).count();
    match chunk[at] {
        '.' if run('.') >= 2 => run('.'),
        '…' => 1,
        c if ICONS.contains(c) => 1,
        '+' | '-' | '*' | '^' if before.is_some_and(|c| c.is_ascii_digit()) && after(1).is_some_and(|c| c.is_ascii_digit() || c == '-') => {
            1
        }
        '.' => {
            let left = before.is_some_and(|c| is_small(c) || QUOTES.contains(c));
            usize::from(left && after(1).is_some_and(|c| is_capital(c) || QUOTES.contains(c)))
        }
        ',' => usize::from(before.is_some_and(char::is_alphabetic) && letter_after(1)),
        '-' if word_before => (1..=run('-').min(3)).find(|length| letter_after(*length)).unwrap_or(0),
        '—' if word_before => (1..=run('—').min(2)).find(|length| letter_after(*length)).unwrap_or(0),
        '–' | '~' | ':' | '<' | '>' | '=' | '/' => usize::from(word_before && letter_after(1)),
        _ => 0,
    }
}

/// Whether a word is an address: of a page, or of a person's mail.
fn is_address(word: &str) -> bool {
    let lower = word.to_lowercase();
    let name = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if ["http://", "https://", "ftp://", "www."].iter().any(|start| lower.len() > start.len() && lower.starts_with(start)) {
        return true;
    }
    if let Some((user, host)) = lower.split_once('@') {
        let user = !user.is_empty() && user.chars().all(|c| c.is_alphanumeric() || "_.+-".contains(c));
        return user && host.contains('.') && host.split('.').all(name);
    }
    let host = lower.split('/').next().unwrap_or_default();
    host.rsplit_once('.').is_some_and(|(site, domain)| (DOMAINS.contains(&domain) || domain == "ai") && site.split('.').all(name))
}

/// The parts of a token by case, digits and apostrophes: "iPhone15" is "i", "Phone", "15".
pub(super) fn parts(token: &[char]) -> Vec<(usize, String)> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < token.len() {
        let length = part(token, at);
        if length > 0 {
            parts.push((at, token[at..at + length].iter().collect()));
        }
        at += length.max(1);
    }
    parts
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '‘' | '’')
}

/// The length of the part that begins at `at`, or 0.
fn part(token: &[char], at: usize) -> usize {
    let rest = &token[at..];
    let apostrophes = rest.iter().take_while(|c| is_apostrophe(**c)).count();
    if apostrophes > 0 {
        return if at == 0 || apostrophes >= 2 || apostrophes == rest.len() { apostrophes } else { 0 };
    }
    if let [a, b, c, ..] = rest
        && is_capital(*a)
        && is_capital(*b)
        && is_small(*c)
    {
        return 1;
    }
    let minus = usize::from(at == 0 && rest[0] == '-');
    let digits = digits(&rest[minus..]);
    if digits > 0 {
        return minus + digits;
    }
    let dashes = rest.iter().take_while(|c| matches!(c, '-' | '_')).count();
    if dashes > 0 {
        return dashes;
    }
    if rest[0].is_alphabetic() {
        return small_before_capital(rest).unwrap_or_else(|| {
            let letters = rest.iter().take_while(|c| c.is_alphabetic()).count();
            letters + 2 * contractions(&rest[letters..])
        });
    }
    usize::from(!rest[0].is_alphanumeric())
}

/// How many digits, points and commas between them begin `rest`.
fn digits(rest: &[char]) -> usize {
    let mut length = 0;
    loop {
        match rest[length..] {
            [d, ..] if d.is_ascii_digit() => length += 1,
            [',' | '.', d, ..] if d.is_ascii_digit() => length += 2,
            _ => return length,
        }
    }
}

/// How many times an apostrophe and a letter begin `rest`.
fn contractions(rest: &[char]) -> usize {
    rest.chunks_exact(2).take_while(|pair| is_apostrophe(pair[0]) && pair[1].is_alphabetic()).count()
}

/// The length of the letters up to the first small one that a capital follows.
fn small_before_capital(rest: &[char]) -> Option<usize> {
    let turns = |at: usize| rest.get(at).copied().is_some_and(is_small) && rest.get(at + 1).copied().is_some_and(is_capital);
    let letters = rest.iter().take_while(|c| c.is_alphabetic()).count();
    (0..=letters)
        .flat_map(|letters| (0..=contractions(&rest[letters..])).map(move |pairs| letters + 2 * pairs))
        .find(|at| turns(*at))
        .map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let words = Words { exceptions: HashMap::from([("don't".to_owned(), vec!["do".to_owned(), "n't".to_owned()])]) };
        let chars: Vec<char> = text.chars().collect();
        let pieces: Vec<String> = words.split(&chars).into_iter().map(|piece| piece.text).collect();
        assert_eq!(pieces.join("|"), expected);
        assert_eq!(pieces.concat(), text.replace(' ', ""), "nothing is lost");
    }

    #[test]
    fn words_and_signs_come_apart() {
        for (text, expected) in [
            ("Hello, world!", "Hello|,|world|!"),
            ("I don't.", "I|do|n't|."),
            ("(well-known)", "(|well|-|known|)"),
            ("$5.50 each", "$|5.50|each"),
            ("10km/h", "10|km/h"),
            ("Anna's book", "Anna|'s|book"),
            ("and/or", "and|/|or"),
            ("Wait...", "Wait|..."),
            ("mail a.b@c.org now", "mail|a.b@c.org|now"),
            ("the end.Then", "the|end|.|Then"),
            ("NASA. USA.", "NASA|.|USA|."),
            ("3*4", "3|*|4"),
            ("", ""),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn tokens_come_apart_by_case_and_digits() {
        for (token, expected) in [
            ("iPhone15", "i|Phone|15"),
            ("AClass", "A|Class"),
            ("don't", "don't"),
            ("1,234.5", "1,234.5"),
            ("-5", "-5"),
            ("x-5", "x|-|5"),
            ("'tis", "'|tis"),
            ("%", "%"),
        ] {
            let chars: Vec<char> = token.chars().collect();
            let texts: Vec<String> = parts(&chars).into_iter().map(|(_, text)| text).collect();
            assert_eq!(texts.join("|"), expected, "{token}");
        }
    }
}
