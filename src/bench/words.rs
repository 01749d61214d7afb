//! Word error rate: how far what was heard is from what was said.

/// Errors over a number of reference words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WordErrors {
    /// Words put in, left out or replaced.
    pub(crate) errors: usize,
    /// Words that were said.
    pub(crate) words: usize,
}

impl WordErrors {
    /// The fewest edits from `said` to `heard`, both normalised by [`words`].
    pub(crate) fn between(said: &str, heard: &str) -> WordErrors {
        let (said, heard) = (words(said), words(heard));
        WordErrors { errors: edits(&said, &heard), words: said.len() }
    }

    /// Errors a word; 0 where nothing was said.
    pub(crate) fn rate(self) -> f64 {
        self.errors as f64 / self.words.max(1) as f64
    }
}

impl std::iter::Sum for WordErrors {
    fn sum<I: Iterator<Item = WordErrors>>(all: I) -> WordErrors {
        all.fold(WordErrors::default(), |a, b| WordErrors { errors: a.errors + b.errors, words: a.words + b.words })
    }
}

/// Lower case, without punctuation but for apostrophes within a word, a hyphen parting words, and what can be written in two ways in one
/// of them: titles in full, numbers in figures.
pub(crate) fn words(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.to_lowercase().chars().map(|letter| if letter == '\u{2019}' { '\'' } else { letter }).collect();
    let mut clean = String::with_capacity(letters.len());
    for (index, &letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map_or(' ', |index| letters[index]);
        let after = letters.get(index + 1).copied().unwrap_or(' ');
        let keep = match letter {
            '\'' => before.is_alphanumeric() && after.is_alphanumeric(),
            letter => letter.is_alphanumeric(),
        };
        match letter {
            letter if keep => clean.push(letter),
            // Within a number, thousands and times are written with and without them.
            ',' | '.' | ':' if before.is_numeric() && after.is_numeric() => {}
            // "a.m." is "am".
            '.' if before.is_alphabetic() && (after.is_alphabetic() || index >= 2 && letters[index - 2] == '.') => {}
            '\'' => {}
            _ => clean.push(' '),
        }
    }
    let full = clean.split_whitespace().map(|word| match word {
        "mr" => "mister",
        "mrs" => "missus",
        "dr" => "doctor",
        word => word,
    });
    figures(full)
}

/// The figures of numbers that are written in words; those that follow one another are read as one, as in "ten thirty" for 10:30.
fn figures<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut written: Vec<String> = Vec::new();
    let mut number: Option<Number> = None;
    for word in words {
        let Some((value, ending)) = value(word) else {
            written.extend(number.take().map(|number| number.figures("")));
            written.push(word.to_owned());
            continue;
        };
        let read = number.get_or_insert_default();
        read.push(value);
        if !ending.is_empty() {
            written.extend(number.take().map(|number| number.figures(ending)));
        }
    }
    written.extend(number.map(|number| number.figures("")));
    written
}

/// A number being read.
#[derive(Default)]
struct Number {
    /// Figures of the numbers before it.
    before: String,
    value: u64,
    /// What follows is added to it where it is smaller than this: 10 after "twenty", 100 after "hundred".
    room: u64,
}

impl Number {
    fn push(&mut self, value: u64) {
        match value {
            100 | 1_000 if self.value > 0 => {
                let small = self.value % 1_000;
                self.value = self.value - small + small * value;
                self.room = value;
                return;
            }
            value if value < self.room => self.value += value,
            value => {
                if self.value > 0 {
                    self.before.push_str(&self.value.to_string());
                }
                self.value = value;
            }
        }
        self.room = if value >= 20 && value.is_multiple_of(10) { 10 } else { 0 };
    }

    fn figures(self, ending: &str) -> String {
        format!("{}{}{ending}", self.before, self.value)
    }
}

/// A word that is a number, and the ending of an ordinal.
fn value(word: &str) -> Option<(u64, &'static str)> {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    let cardinal = |word: &str| match word {
        "hundred" => Some(100),
        "thousand" => Some(1_000),
        word => {
            let small = SMALL.iter().position(|small| *small == word);
            small.or_else(|| TENS.iter().position(|ten| *ten == word).map(|at| at * 10 + 20)).map(|value| value as u64)
        }
    };
    if let Some(value) = cardinal(word) {
        return Some((value, ""));
    }
    match word {
        "first" => return Some((1, "st")),
        "second" => return Some((2, "nd")),
        "third" => return Some((3, "rd")),
        "fifth" => return Some((5, "th")),
        "eighth" => return Some((8, "th")),
        "ninth" => return Some((9, "th")),
        "twelfth" => return Some((12, "th")),
        _ => {}
    }
    let stem = word.strip_suffix("ieth").map(|stem| format!("{stem}y")).or_else(|| word.strip_suffix("th").map(str::to_owned))?;
    cardinal(&stem).map(|value| (value, "th"))
}

/// Levenshtein distance in words.
fn edits(said: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in said.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in heard.iter().enumerate() {
            let replaced = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[heard.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_normalised() {
        for (text, expected) in [
            ("Hello, World!", "hello world"),
            ("don\u{2019}t 'quote' it", "don't quote it"),
            ("well-known \u{2014} yes", "well known yes"),
            ("$42.50 at 10:30. 1,250", "4250 at 1030 1250"),
            ("Mr. Hale and Mrs. Dale", "mister hale and missus dale"),
            ("at ten thirty a.m. on the twenty-first", "at 1030 am on the 21st"),
            ("Henry the eighth had six wives", "henry the 8th had 6 wives"),
            ("one thousand two hundred five pounds", "1205 pounds"),
            ("at four fifteen, from ten to sixty five", "at 415 from 10 to 65"),
            ("the thirtieth, 30th", "the 30th 30th"),
            ("\u{c9}T\u{c9}", "\u{e9}t\u{e9}"),
            ("...", ""),
        ] {
            assert_eq!(words(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn errors_are_the_fewest_edits() {
        for (said, heard, errors, of) in [
            ("a b c", "a b c", 0, 3),
            ("a b c", "a x c", 1, 3),
            ("a b c", "a c", 1, 3),
            ("a b c", "a b b c", 1, 3),
            ("a b c", "", 3, 3),
            ("", "a", 1, 0),
            ("when is a lobster", "lobster when is", 3, 4),
        ] {
            assert_eq!(WordErrors::between(said, heard), WordErrors { errors, words: of }, "{said} / {heard}");
        }
        let sum: WordErrors = [WordErrors { errors: 1, words: 3 }, WordErrors { errors: 1, words: 5 }].into_iter().sum();
        assert_eq!(sum.rate(), 0.25);
    }
}
