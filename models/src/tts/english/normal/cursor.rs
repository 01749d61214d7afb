//! A text under rewriting, and a place in it where a rule may match.

/// A text, each character with the index of the written character that it stands for.
#[derive(Clone, Debug, Default)]
pub(in crate::tts::english) struct Text {
    pub(in crate::tts::english) chars: Vec<char>,
    pub(in crate::tts::english) from: Vec<usize>,
}

impl Text {
    pub(in crate::tts::english) fn new(text: &str) -> Text {
        let chars: Vec<char> = text.chars().collect();
        Text { from: (0..chars.len()).collect(), chars }
    }

    /// Adds `new` in the place of `old` in `text`. What begins or ends alike keeps its place; the rest is spread evenly over the old,
    /// and what falls on a space belongs to the word after it.
    pub(super) fn replace(&mut self, text: &Text, old: std::ops::Range<usize>, new: &str) {
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

    pub(super) fn push(&mut self, c: char, from: usize) {
        self.chars.push(c);
        self.from.push(from);
    }
}

/// A place in a text where a rule may match.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a [char],
    pub(super) at: usize,
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl Cursor<'_> {
    pub(super) fn before(&self) -> Option<char> {
        self.at.checked_sub(1).map(|at| self.text[at])
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    /// Whether no word character comes before.
    pub(super) fn at_word_start(&self) -> bool {
        !self.before().is_some_and(is_word)
    }

    /// Whether neither a word character nor one of `more` comes before.
    pub(super) fn after_none_of(&self, more: &str) -> bool {
        !self.before().is_some_and(|c| is_word(c) || more.contains(c))
    }

    /// Whether neither a word character nor one of `more` comes next.
    pub(super) fn before_none_of(&self, more: &str) -> bool {
        !self.peek().is_some_and(|c| is_word(c) || more.contains(c))
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let length = text.chars().count();
        let found = self.text.len() >= self.at + length && text.chars().eq(self.text[self.at..self.at + length].iter().copied());
        if found {
            self.at += length;
        }
        found
    }

    pub(super) fn eat_one_of(&mut self, set: &str) -> Option<char> {
        let c = self.peek().filter(|c| set.contains(*c))?;
        self.at += 1;
        Some(c)
    }

    /// The first of `words` that is here and ends where a word may end.
    pub(super) fn word<'w>(&mut self, words: &'w [String]) -> Option<&'w str> {
        words.iter().find_map(|word| {
            let mut ahead = *self;
            (ahead.eat(word) && ahead.before_none_of("")).then(|| {
                *self = ahead;
                word.as_str()
            })
        })
    }

    /// At least `least` and at most `most` digits.
    pub(super) fn digits(&mut self, least: usize, most: usize) -> Option<String> {
        let count = self.text[self.at..].iter().take(most).take_while(|c| c.is_ascii_digit()).count();
        (count >= least).then(|| {
            self.at += count;
            self.text[self.at - count..self.at].iter().collect()
        })
    }

    /// Digits with commas between thousands and a fraction.
    pub(super) fn number(&mut self) -> Option<String> {
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

    pub(super) fn signed_number(&mut self) -> Option<String> {
        let minus = if self.eat("-") { "-" } else { "" };
        Some(format!("{minus}{}", self.number()?))
    }

    /// "million", or a letter for it.
    pub(super) fn magnitude(&mut self) -> Option<&'static str> {
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
