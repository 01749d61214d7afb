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

/// Lower case, without punctuation but for apostrophes within a word and points and colons within a number; a hyphen parts words.
pub(crate) fn words(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.to_lowercase().chars().map(|letter| if letter == '\u{2019}' { '\'' } else { letter }).collect();
    let mut clean = String::with_capacity(letters.len());
    for (index, &letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map_or(' ', |index| letters[index]);
        let after = letters.get(index + 1).copied().unwrap_or(' ');
        let keep = match letter {
            '\'' => before.is_alphanumeric() && after.is_alphanumeric(),
            '.' | ':' => before.is_numeric() && after.is_numeric(),
            letter => letter.is_alphanumeric(),
        };
        match letter {
            letter if keep => clean.push(letter),
            // Thousands are written with and without it.
            ',' if before.is_numeric() && after.is_numeric() => {}
            '\'' => {}
            _ => clean.push(' '),
        }
    }
    clean.split_whitespace().map(str::to_owned).collect()
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
            ("$42.50 at 10:30. 1,250", "42.50 at 10:30 1250"),
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
