//! Phonemes as a network takes them, and their lengths as it gives them.

use std::collections::HashMap;

use audio::Samples;

use super::Said;
use super::english::{Phoneme, is_pause, is_punctuation};
use crate::{ErrorKind, ModelError, Weights};

/// The most phonemes said at once; the networks were trained on at most 510.
const MOST: usize = 400;

/// The number of each phoneme, the same for hibari and Kokoro.
pub(super) fn ids(weights: &Weights) -> Result<HashMap<char, i64>, ModelError> {
    let path = weights.file("hibari", "vocab.json")?;
    let broken = |error: &dyn std::fmt::Display| ModelError::new(ErrorKind::Failed, "hibari", format!("{}: {error}", path.display()));
    let bytes = std::fs::read(&path).map_err(|error| broken(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| broken(&error))
}

/// Cuts at a pause, else at a space, where there are more phonemes than can be said at once.
pub(super) fn parts(phonemes: &[Phoneme]) -> Vec<&[Phoneme]> {
    let mut parts = Vec::new();
    let mut rest = phonemes;
    while rest.len() > MOST {
        let cut = rest[..MOST].iter().rposition(|p| is_pause(p.symbol)).or_else(|| rest[..MOST].iter().rposition(|p| p.symbol == ' '));
        let (part, after) = rest.split_at(cut.map_or(MOST, |at| at + 1));
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

/// The phonemes that have a number, and their numbers between the two zeros that the networks expect.
pub(super) fn numbered(phonemes: &[Phoneme], ids: &HashMap<char, i64>) -> (Vec<Phoneme>, Vec<i64>) {
    let known: Vec<Phoneme> = phonemes.iter().filter(|phoneme| ids.contains_key(&phoneme.symbol)).copied().collect();
    let numbers = known.iter().filter_map(|phoneme| ids.get(&phoneme.symbol).copied());
    let numbers = [0].into_iter().chain(numbers).chain([0]).collect();
    (known, numbers)
}

/// Adds the sound of `phonemes`; `lengths` has one more at both ends, for the zeros.
pub(super) fn add(said: &mut Said, pcm: &[f32], phonemes: &[Phoneme], lengths: &[Samples]) {
    let start = Samples(said.pcm.len() as u64);
    let mut at = start + lengths.first().copied().unwrap_or_default();
    for (phoneme, length) in phonemes.iter().zip(lengths.iter().skip(1)) {
        if !is_punctuation(phoneme.symbol) {
            said.word(phoneme.word, at..at + *length);
        }
        at += *length;
    }
    said.pcm.extend_from_slice(pcm);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phonemes(text: &str) -> Vec<Phoneme> {
        text.split_inclusive(' ').enumerate().flat_map(|(word, text)| text.chars().map(move |symbol| Phoneme { symbol, word })).collect()
    }

    #[test]
    fn long_texts_are_cut_at_pauses_then_at_spaces() {
        for (text, expected) in [
            ("ab cd.".to_owned(), vec![6]),
            (format!("{}, {}", "a".repeat(300), "b".repeat(300)), vec![301, 301]),
            (format!("{} {}", "a".repeat(300), "b".repeat(300)), vec![301, 300]),
            ("a".repeat(900), vec![400, 400, 100]),
        ] {
            let all = phonemes(&text);
            let lengths: Vec<usize> = parts(&all).iter().map(|part| part.len()).collect();
            assert_eq!(lengths, expected);
        }
    }

    #[test]
    fn words_are_timed_by_the_lengths_of_their_phonemes() {
        let mut said = Said::new(audio::Rate::SPEECH);
        let lengths: Vec<Samples> = [9, 1, 2, 3, 4, 5].map(Samples).to_vec();
        add(&mut said, &[0.0; 24], &phonemes("a bc"), &lengths);
        assert_eq!(said.words, [(0, Samples(9)..Samples(10)), (1, Samples(12)..Samples(19))]);
    }
}
