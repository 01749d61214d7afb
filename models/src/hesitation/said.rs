//! What the words themselves tell of a halting speaker: filled pauses that were written, words said twice, words broken off.

use crate::Utterance;
use crate::emotion::words;

/// Filled pauses of English, German, French, Spanish and Dutch, as recognisers write them.
const FILLERS: &[&str] = &[
    "um", "umm", "uh", "uhh", "uhm", "er", "erm", "eh", "ehm", "hm", "hmm", "hmmm", "mm", "mmm", "ah", "äh", "ähm", "öh", "euh", "heu",
    "este",
];
/// Words that fluent speakers double on purpose: for stress, in greetings, in grammar, in numbers that are read out.
const DOUBLED: &[&str] = &[
    "very", "really", "no", "yes", "yeah", "so", "bye", "had", "that", "ha", "okay", "knock", "zero", "oh", "one", "two", "three", "four",
    "five", "six", "seven", "eight", "nine",
];
/// Most words that are said again together.
const LONGEST: usize = 3;

/// The words of an utterance, in small letters without their punctuation, and when each was said, seconds, where that is known.
pub(crate) struct Said {
    words: Vec<String>,
    times: Vec<Option<(f32, f32)>>,
}

impl Said {
    pub(crate) fn new(utterance: &Utterance) -> Said {
        if utterance.words.is_empty() {
            let words = words(&utterance.text);
            return Said { times: vec![None; words.len()], words };
        }
        let timed = utterance.words.iter().flat_map(|word| {
            let at = Some((word.start.as_secs_f32(), word.end.as_secs_f32()));
            words(&word.text).into_iter().map(move |text| (text, at))
        });
        let (words, times) = timed.unzip();
        Said { words, times }
    }

    /// As text.
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// The filled pauses among them.
    pub(super) fn filled(&self) -> impl Iterator<Item = Option<(f32, f32)>> {
        self.each(|word| FILLERS.contains(&word))
    }

    /// Words broken off.
    pub(super) fn cut_off(&self) -> impl Iterator<Item = Option<(f32, f32)>> {
        self.each(|word| word.len() > 1 && word.ends_with('-'))
    }

    fn each(&self, is: impl Fn(&str) -> bool) -> impl Iterator<Item = Option<(f32, f32)>> {
        self.words.iter().zip(&self.times).filter(move |(word, _)| is(word)).map(|(_, at)| *at)
    }

    /// Words that are said again at once; each time but the last counts.
    pub(super) fn repeated(&self) -> impl Iterator<Item = Option<(f32, f32)>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < self.words.len() {
                let found = (1..=LONGEST).rev().find(|length| self.is_repeated(at, *length));
                let from = at;
                at += found.unwrap_or(1);
                if let Some(length) = found {
                    let (first, last) = (self.times[from], self.times[from + length - 1]);
                    return Some(first.zip(last).map(|(first, last)| (first.0, last.1)));
                }
            }
            None
        })
    }

    fn is_repeated(&self, at: usize, length: usize) -> bool {
        let Some(twice) = self.words.get(at..at + 2 * length) else { return false };
        let (once, again) = twice.split_at(length);
        let on_purpose = |word: &String| DOUBLED.contains(&word.as_str()) || word.chars().all(char::is_numeric);
        once == again && !once.iter().all(on_purpose)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Word;

    /// Words of half a second each: which are repeated, cut off and filled pauses.
    fn told(text: &str) -> [Vec<(f32, f32)>; 3] {
        let half = |count: usize| Duration::from_millis(500 * count as u64);
        let word = |(at, text): (usize, &str)| Word { text: text.to_owned(), start: half(at), end: half(at + 1), confidence: None };
        let words = text.split_whitespace().enumerate().map(word).collect();
        let said = Said::new(&Utterance { text: text.to_owned(), words, ..Utterance::default() });
        [said.repeated().flatten().collect(), said.cut_off().flatten().collect(), said.filled().flatten().collect()]
    }

    #[test]
    fn what_was_said_twice_or_not_to_its_end_is_found() {
        let none = Vec::new;
        let cases = [
            ("I would like a table.", [none(), none(), none()]),
            ("I I would like", [vec![(0.0, 0.5)], none(), none()]),
            ("I would I would like", [vec![(0.0, 1.0)], none(), none()]),
            ("Can you, can you, can you help", [vec![(0.0, 1.0), (1.0, 2.0)], none(), none()]),
            ("the the the end", [vec![(0.0, 0.5), (0.5, 1.0)], none(), none()]),
            // On purpose.
            ("very very good", [none(), none(), none()]),
            ("No, no, no, no.", [none(), none(), none()]),
            ("It is five five five, 0 0 7.", [none(), none(), none()]),
            ("a ta- table, um, please", [none(), vec![(0.5, 1.0)], vec![(1.5, 2.0)]]),
        ];
        for (text, expected) in cases {
            assert_eq!(told(text), expected, "{text}");
        }
    }

    #[test]
    fn words_without_times_are_counted() {
        let said = Said::new(&Utterance { text: "I I um".to_owned(), ..Utterance::default() });
        assert_eq!((said.repeated().collect::<Vec<_>>(), said.filled().collect::<Vec<_>>()), (vec![None], vec![None]));
        assert_eq!(said.words(), ["i", "i", "um"]);
    }
}
