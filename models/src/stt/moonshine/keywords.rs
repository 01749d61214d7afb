//! Words that a caller is likely to say, favoured while the decoder spells: shallow fusion of its scores with a score for how much of a
//! keyword is written (Zhao et al. 2019, "Shallow-Fusion End-to-End Contextual Biasing").
//!
//! It looks at letters, not at tokens, so it needs no tokenizer: however the decoder cuts a keyword into pieces, each piece that spells it
//! further gains, and one that leaves it in the middle loses what was gained.

/// What a letter of a keyword adds to the logit of the token that writes it, and all its letters together at most.
const LETTER: f32 = 1.0;
const MOST: f32 = 5.0;
/// A token this much less likely than the likeliest is not considered, keyword or not.
const REACH: f32 = 8.0;
/// More keywords than this are not looked at: each costs time at every token.
const MOST_KEYWORDS: usize = 200;

/// The keywords of an utterance.
pub(super) struct Keywords {
    /// In lower case, each after a space: a keyword begins where a word does.
    spelled: Vec<String>,
}

impl Keywords {
    /// Of these words and phrases; what has no letter is none.
    pub(super) fn new(keywords: &[String]) -> Keywords {
        let spelled = keywords.iter().take(MOST_KEYWORDS).map(|keyword| spelled(keyword));
        Keywords { spelled: spelled.filter(|keyword| keyword.chars().any(char::is_alphanumeric)).collect() }
    }

    /// None at all.
    pub(super) fn none() -> Keywords {
        Keywords { spelled: Vec::new() }
    }

    /// How many of them a text has.
    pub(super) fn found(&self, text: &str) -> usize {
        let text = spelled(text) + " ";
        self.spelled.iter().filter(|keyword| text.contains(&format!("{keyword} "))).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spelled.is_empty()
    }

    /// Names them, so that what was heard with others is not taken for what would be heard with these.
    pub(super) fn hash(&self) -> u64 {
        let bytes = self.spelled.iter().flat_map(|keyword| keyword.bytes());
        bytes.fold(0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// The token of `logits` to go on with after `written`, where `piece` is what a token writes.
    pub(super) fn choose(&self, logits: &[f32], likeliest: i64, written: &str, piece: impl Fn(i64) -> String) -> i64 {
        let Some(highest) = usize::try_from(likeliest).ok().and_then(|token| logits.get(token)) else { return likeliest };
        let written = written.to_lowercase();
        let gained = self.gain(&written, true);
        let candidates = logits.iter().enumerate().filter(|(_, logit)| **logit > highest - REACH);
        let scored = candidates.map(|(token, logit)| {
            let longer = written.clone() + &piece(token as i64).to_lowercase();
            (token as i64, logit + self.gain(&longer, false) - gained)
        });
        scored.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(likeliest, |(token, _)| token)
    }

    /// What is gained by the keyword that `text` ends in the middle of; `before` a further token, one that is whole is gained for good.
    fn gain(&self, text: &str, before: bool) -> f32 {
        let letters = |keyword: &String| {
            let begun = |end: &usize| keyword.is_char_boundary(*end) && text.ends_with(&keyword[..*end]);
            let longest = (2..=keyword.len()).rev().find(begun).unwrap_or(0);
            if before && longest == keyword.len() { 0 } else { keyword[..longest].chars().skip(1).count() }
        };
        let most = self.spelled.iter().map(letters).max().unwrap_or(0);
        (most as f32 * LETTER).min(MOST)
    }
}

/// In lower case and without punctuation, each word after a blank.
fn spelled(text: &str) -> String {
    let letters = text.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace() || matches!(c, '\'' | '-'));
    letters.collect::<String>().split_whitespace().fold(String::new(), |text, word| text + " " + &word.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECES: [&str; 9] = [" Hel", "st", "on", " Hell", "s", "stone", ".", " is", " York"];

    fn keywords(words: &[&str]) -> Keywords {
        Keywords::new(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    fn choose(keywords: &Keywords, written: &str, logits: [f32; 9]) -> &'static str {
        let mut likeliest = 0;
        (0..9).for_each(|at| likeliest = if logits[at] > logits[likeliest] { at } else { likeliest });
        PIECES[keywords.choose(&logits, likeliest as i64, written, |token| PIECES[token as usize].to_owned()) as usize]
    }

    #[test]
    fn a_keyword_is_spelled_where_it_is_nearly_as_likely() {
        let helston = keywords(&["Helston"]);
        let cases = [
            // What is written, logits of the pieces, the piece that is chosen.
            (" At", [4.0, 0.0, 0.0, 4.5, 0.0, 0.0, 0.0, 0.0, 0.0], " Hel"),
            (" At", [0.0, 0.0, 0.0, 4.5, 0.0, 0.0, 0.0, 0.0, 0.0], " Hell"),
            (" At Hel", [0.0, 4.0, 0.0, 0.0, 4.4, 0.0, 0.0, 0.0, 0.0], "st"),
            (" At Helst", [0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 4.5, 0.0, 0.0], "on"),
            // Whole, it asks for nothing more.
            (" At Helston", [4.4, 0.0, 0.0, 0.0, 0.0, 0.0, 4.5, 0.0, 0.0], " Hel"),
            (" At Helston", [0.0, 0.0, 0.0, 0.0, 4.4, 0.0, 4.5, 0.0, 0.0], "."),
            // A keyword begins where a word does.
            (" Miche", [0.0, 4.0, 0.0, 0.0, 4.5, 0.0, 0.0, 0.0, 0.0], "s"),
        ];
        for (written, logits, expected) in cases {
            assert_eq!(choose(&helston, written, logits), expected, "{written}");
        }
    }

    #[test]
    fn keywords_are_found_whole() {
        let some = keywords(&["Helston", "New York"]);
        for (text, found) in [(" In Helston, in New York.", 2), (" Helstones are new", 0), (" helston", 1), ("", 0)] {
            assert_eq!(some.found(text), found, "{text}");
        }
        assert_eq!(Keywords::none().found(" Helston"), 0);
    }

    #[test]
    fn phrases_are_keywords_too_and_noise_is_none() {
        let new_york = keywords(&["  New  York! "]);
        assert_eq!(new_york.spelled, [" new york"]);
        assert_eq!(choose(&new_york, " in new", [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.5, 0.0, 4.0]), " York");
        assert!(keywords(&["", " ?! "]).is_empty());
        assert_eq!(choose(&keywords(&[]), "", [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.5, 0.0, 4.0]), ".");
        assert_eq!(keywords(&vec!["a"; 10_000]).spelled.len(), MOST_KEYWORDS);
        assert_ne!(keywords(&["a"]).hash(), keywords(&["b"]).hash());
        // Letters of more than a byte.
        assert!(keywords(&["Jürgen"]).gain(" herr jür", false) > 1.0);
    }
}
