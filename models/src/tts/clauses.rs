//! Cuts a text into clauses while it is written.
//!
//! The first clause goes out as early as it can, for it is what the listener waits for; later ones may be longer, which sounds better.
//! A cut depends on the text alone, never on the pieces it came in.

use super::Plain;

/// The first clause may end at a comma from this many characters on: "Well, I think" waits for more, for a lone "Well" sounds clipped.
const FIRST_COMMA_CHARS: usize = 12;
/// Later ones from this many on.
const COMMA_CHARS: usize = 60;
/// A sentence shorter than this is joined to the next, once speech has begun.
const SENTENCE_CHARS: usize = 20;
/// The first clause is cut at a space when it has grown to this many characters without a stop.
const FIRST_LONGEST_CHARS: usize = 100;
/// And later ones at this many: some fifteen seconds of speech.
const LONGEST_CHARS: usize = 220;

/// Words whose full stop ends no sentence.
const ABBREVIATIONS: [&str; 44] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "mt", "ft", "gen", "gov", "sen", "rep", "capt", "lt", "col", "sgt", "rev", "hon", "pres", "jr",
    "sr", "vs", "approx", "est", "vol", "fig", "no", "nos", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov",
    "dec", "ave", "blvd", "dept", "inc",
];

/// The clauses of one text.
pub struct Clauses {
    plain: Plain,
    clause: String,
    first: bool,
}

impl Default for Clauses {
    fn default() -> Clauses {
        Clauses::new()
    }
}

impl Clauses {
    /// Of a new text.
    pub fn new() -> Clauses {
        Clauses { plain: Plain::new(), clause: String::new(), first: true }
    }

    /// More of the text; returns the clauses that are now whole.
    pub fn push(&mut self, delta: &str) -> Vec<String> {
        let plain = self.plain.push(delta);
        self.add(&plain)
    }

    /// The end of the text; returns what is left of it.
    pub fn finish(&mut self) -> Vec<String> {
        let plain = self.plain.finish();
        let mut clauses = self.add(&plain);
        clauses.extend(self.take(self.clause.len()));
        clauses
    }

    fn add(&mut self, plain: &str) -> Vec<String> {
        let mut clauses = Vec::new();
        for c in plain.chars() {
            if self.clause.is_empty() && c.is_whitespace() {
                continue;
            }
            let ends = match c {
                '\n' => true,
                ' ' => self.ends_before_space(),
                _ => false,
            };
            if ends {
                clauses.extend(self.take(self.clause.len()));
                continue;
            }
            self.clause.push(c);
            if self.ends_after(c) {
                clauses.extend(self.take(self.clause.len()));
            } else if let Some(cut) = self.too_long() {
                clauses.extend(self.take(cut));
            }
        }
        clauses
    }

    /// Whether the clause ends where a space follows it.
    fn ends_before_space(&self) -> bool {
        let text = self.clause.trim_end_matches(['"', '\'', ')', '”', '’', '»', '*']);
        let length = text.chars().count();
        match text.chars().last() {
            Some('.') if !text.ends_with("..") => self.long_enough(length) && !is_abbreviated(text),
            Some('!' | '?' | '.' | '…') => self.long_enough(length),
            Some(',' | ';' | ':' | '—' | '–') => length >= if self.first { FIRST_COMMA_CHARS } else { COMMA_CHARS },
            // A dash between spaces.
            Some('-') if text.ends_with(" -") => length >= if self.first { FIRST_COMMA_CHARS } else { COMMA_CHARS },
            Some(_) | None => false,
        }
    }

    /// Whether the clause ends after `c` whatever follows: stops of scripts that write no spaces.
    fn ends_after(&self, c: char) -> bool {
        // A wide character says as much as two or three narrow ones.
        let length = self.clause.chars().count() * 2;
        match c {
            '。' | '！' | '？' => self.long_enough(length),
            '，' | '、' | '；' | '：' => length >= if self.first { FIRST_COMMA_CHARS } else { COMMA_CHARS },
            _ => false,
        }
    }

    fn long_enough(&self, sentence: usize) -> bool {
        self.first || sentence >= SENTENCE_CHARS
    }

    /// Where to cut a clause that has no stop in sight.
    fn too_long(&self) -> Option<usize> {
        let longest = if self.first { FIRST_LONGEST_CHARS } else { LONGEST_CHARS };
        if self.clause.chars().count() < longest {
            return None;
        }
        let after = |stops: &[char]| {
            let at = self.clause.rfind(' ').filter(|_| stops.is_empty());
            at.or_else(|| self.clause.match_indices(' ').rev().map(|(at, _)| at).find(|at| self.clause[..*at].ends_with(stops)))
        };
        Some(after(&[',', ';', ':', '—']).filter(|at| *at >= longest / 2).or_else(|| after(&[])).unwrap_or(self.clause.len()))
    }

    /// The clause up to the byte `end`, if there is anything in it to say.
    fn take(&mut self, end: usize) -> Option<String> {
        let rest = self.clause.split_off(end);
        let clause = std::mem::replace(&mut self.clause, rest.trim_start().to_owned());
        let clause = clause.trim();
        let clause = clause.contains(char::is_alphanumeric).then(|| clause.split_whitespace().collect::<Vec<_>>().join(" "))?;
        self.first = false;
        Some(clause)
    }
}

/// Whether the full stop at the end of `text` belongs to its last word: "Dr.", "J.", "U.S.", "e.g.", or the number of an item.
fn is_abbreviated(text: &str) -> bool {
    let word = text.rsplit(char::is_whitespace).next().unwrap_or(text);
    let alone = word.len() == text.len();
    let word = word.trim_start_matches(['(', '"', '\'', '“', '‘']).trim_end_matches('.');
    let initial = word.rsplit('.').next().is_some_and(|last| {
        let mut chars = last.chars();
        chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
    });
    (initial && word != "I") || (alone && word.bytes().all(|b| b.is_ascii_digit())) || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(pieces: &[&str]) -> Vec<String> {
        let mut clauses = Clauses::new();
        let mut all: Vec<String> = pieces.iter().flat_map(|piece| clauses.push(piece)).collect();
        all.extend(clauses.finish());
        all
    }

    #[test]
    fn texts_are_cut_where_a_reader_breathes() {
        for (text, expected) in [
            ("Hello there. How are you?", "Hello there.|How are you?"),
            ("Yes. No. Maybe. That is all I know about it.", "Yes.|No. Maybe. That is all I know about it."),
            ("Sure, let me look that up, and I will tell you.", "Sure, let me look that up,|and I will tell you."),
            ("Dr. Smith lives at 3.14 Pi St. in Rome. He left.", "Dr. Smith lives at 3.14 Pi St. in Rome.|He left."),
            ("The U.S. economy grew. It fell at 10:30 today.", "The U.S. economy grew.|It fell at 10:30 today."),
            ("It costs $1,250.50 or so, I believe.", "It costs $1,250.50 or so,|I believe."),
            ("Wait... what did you say?", "Wait...|what did you say?"),
            ("He said \"Stop it.\" Then he went away.", "He said \"Stop it.\"|Then he went away."),
            ("1. Wash it\n2. Dry it", "1. Wash it|2. Dry it"),
            ("你好。今天天气很好，我们去公园走走吧。", "你好。|今天天气很好，我们去公园走走吧。"),
            ("See example.com/a.b for more.", "See example.com/a.b for more."),
            ("  \n ** \n", ""),
            ("Plan A works — if we hurry.", "Plan A works —|if we hurry."),
        ] {
            assert_eq!(split(&[text]).join("|"), expected);
        }
    }

    #[test]
    fn a_clause_goes_out_as_soon_as_the_space_after_it_came() {
        let mut clauses = Clauses::new();
        assert!(clauses.push("I can do that.").is_empty());
        assert_eq!(clauses.push(" "), ["I can do that."]);
    }

    #[test]
    fn no_clause_grows_without_end() {
        let words = "word ".repeat(200);
        for clause in split(&[&words, &"x".repeat(1000)]) {
            assert!(clause.chars().count() <= LONGEST_CHARS, "{clause}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[a-d1 .,;:!?—\n\"'*。，-]{0,300}", seed in 1_usize..7) {
            let chars: Vec<char> = text.chars().collect();
            let pieces: Vec<String> = chars.chunks(seed).map(|piece| piece.iter().collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            prop_assert_eq!(split(&pieces), split(&[&text]));
        }
    }
}
