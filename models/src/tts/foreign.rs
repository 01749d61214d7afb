//! Texts in other languages than English to phonemes, read by eSpeak NG and respelled in the alphabet that Kokoro was trained on.
//!
//! Spanish, French, Italian, Portuguese and Hindi. Not Japanese and Chinese: Kokoro learned those from readers that cut a text into
//! words and choose each sign's sound by dictionary, and eSpeak NG's phonemes for them are of another kind, so the voices would babble.

use super::english::{Phoneme, is_pause};
use super::espeak;
use super::written::word_numbers;
use crate::ModelError;

/// Sounds of two letters for which Kokoro has one (the table of the `misaki` reader, Apache-2.0).
const JOINED: [(&str, &str); 11] = [
    ("a^ɪ", "I"),
    ("a^ʊ", "W"),
    ("d^z", "ʣ"),
    ("d^ʒ", "ʤ"),
    ("e^ɪ", "A"),
    ("o^ʊ", "O"),
    ("ə^ʊ", "Q"),
    ("s^s", "S"),
    ("t^s", "ʦ"),
    ("t^ʃ", "ʧ"),
    ("ɔ^ɪ", "Y"),
];

/// eSpeak NG's code for the language of a Kokoro voice, which begins with the language's letter.
pub(super) fn language(voice: &str) -> Option<&'static str> {
    match voice.chars().next()? {
        'e' => Some("es"),
        'f' => Some("fr-fr"),
        'h' => Some("hi"),
        'i' => Some("it"),
        'p' => Some("pt-br"),
        _ => None,
    }
}

/// How a text is said. eSpeak NG drops the stops, so it reads what stands between them.
pub(super) fn read(text: &str, language: &'static str) -> Result<Vec<Phoneme>, ModelError> {
    phrases(text).into_iter().try_fold(Vec::new(), |mut phonemes, phrase| {
        let said = espeak::phonemes(&phrase.text, language)?;
        let groups: Vec<String> = said.split_whitespace().map(respelled).filter(|group| !group.is_empty()).collect();
        let owners = owners(&phrase.text, groups.len());
        for (group, owner) in groups.iter().zip(owners) {
            let word = phrase.first + owner;
            if !phonemes.is_empty() {
                phonemes.push(Phoneme { symbol: ' ', word });
            }
            phonemes.extend(group.chars().map(|symbol| Phoneme { symbol, word }));
        }
        let last = phonemes.last().map(|phoneme: &Phoneme| phoneme.word);
        phonemes.extend(phrase.stop.zip(last).map(|(symbol, word)| Phoneme { symbol, word }));
        Ok(phonemes)
    })
}

/// Words up to a stop.
#[derive(Debug, PartialEq)]
struct Phrase {
    text: String,
    /// Number of its first word.
    first: usize,
    stop: Option<char>,
}

fn phrases(text: &str) -> Vec<Phrase> {
    let mut phrases: Vec<Phrase> = Vec::new();
    for (number, word) in text.split_whitespace().enumerate() {
        // The danda ends a sentence in Hindi.
        let stop = word.trim_end_matches(['"', '\'', ')', '”', '’', '»']).chars().last().map(|c| if c == '।' { '.' } else { c });
        let stop = stop.filter(|c| is_pause(*c));
        match phrases.last_mut().filter(|phrase| phrase.stop.is_none()) {
            Some(phrase) => {
                phrase.text.push(' ');
                phrase.text.push_str(word);
                phrase.stop = stop;
            }
            None => phrases.push(Phrase { text: word.to_owned(), first: number, stop }),
        }
    }
    phrases
}

/// Phonemes in Kokoro's spelling; a switch of language, such as `(en)`, is no sound.
fn respelled(ipa: &str) -> String {
    let mut ipa = ipa.to_owned();
    while let Some((open, close)) = ipa.find('(').and_then(|open| Some((open, open + ipa[open..].find(')')?))) {
        ipa.replace_range(open..=close, "");
    }
    let joined = JOINED.iter().fold(ipa, |ipa, (apart, one)| ipa.replace(apart, one));
    joined.replace(['^', '-'], "")
}

/// The written word of each of `count` spoken ones. Where they are not as many (a number is several words, "de la" may be one), each
/// goes to the word that lies at its share of the letters.
fn owners(text: &str, count: usize) -> Vec<usize> {
    let numbers = word_numbers(text);
    let words = numbers.last().map_or(0, |last| last + 1);
    if words == count {
        return (0..count).collect();
    }
    (0..count).map(|at| numbers.get((2 * at + 1) * numbers.len() / (2 * count)).copied().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_end_at_stops() {
        let phrase = |text: &str, first, stop| Phrase { text: text.to_owned(), first, stop };
        assert_eq!(
            phrases("Sí, claro. ¿Y tú?"),
            [phrase("Sí,", 0, Some(',')), phrase("claro.", 1, Some('.')), phrase("¿Y tú?", 2, Some('?'))]
        );
        assert_eq!(phrases("नमस्ते।"), [phrase("नमस्ते।", 0, Some('.'))]);
        assert_eq!(phrases("a 3.14 b"), [phrase("a 3.14 b", 0, None)]);
        assert_eq!(phrases(" "), []);
    }

    #[test]
    fn tied_letters_become_one_and_marks_of_language_go() {
        for (ipa, expected) in [("t^ʃˈao", "ʧˈao"), ("(en)wˈɪndoʊ(fr)", "wˈɪndoʊ"), ("ʒə-", "ʒə"), ("p^fa", "pfa"), ("(", "(")]
        {
            assert_eq!(respelled(ipa), expected);
        }
    }

    #[test]
    fn spoken_words_belong_to_written_ones() {
        for (text, count, expected) in [("uno dos", 2, &[0, 1][..]), ("1999", 4, &[0, 0, 0, 0]), ("de la casa", 2, &[0, 2]), ("", 0, &[])] {
            assert_eq!(owners(text, count), expected, "{text}");
        }
    }
}
