//! English text to phonemes, in the alphabet that the hibari and Kokoro voices were trained on.
//!
//! Written signs become words ([`normal`]), words get a part of speech ([`tagger`]), the [`lexicon`] says most of them and a small
//! network the rest. Each phoneme knows which written word it belongs to. The data is that of the hibari package (Apache-2.0).

mod lexicon;
mod normal;
mod numbers;
mod stress;
mod strings;
mod tagger;
mod token;
mod unknown;
mod words;

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::written::word_numbers;
use crate::{ErrorKind, ModelError, Weights};
use lexicon::{After, Lexicon, is_currency};
use normal::Normal;
use stress::{PRIMARY, Stress};
use tagger::Tagger;
use token::{Token, merge};
pub(crate) use unknown::Unknown;
use words::Words;

/// The folder of the data among the models.
const MODEL: &str = "hibari";

/// How English is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Accent {
    /// Of the United States.
    American,
    /// Of Great Britain.
    #[cfg_attr(not(feature = "kokoro"), expect(dead_code, reason = "only Kokoro has British voices"))]
    British,
}

impl Accent {
    fn code(self) -> &'static str {
        match self {
            Accent::American => "us",
            Accent::British => "gb",
        }
    }

    /// The vowel of "-es" and "-ed".
    fn weak_i(self) -> char {
        match self {
            Accent::American => 'ᵻ',
            Accent::British => 'ɪ',
        }
    }
}

/// A phoneme, a stop or a space, and the written word it comes from, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Phoneme {
    pub(crate) symbol: char,
    pub(crate) word: usize,
}

/// All that is needed to read English aloud, but for unknown words; shared by every engine and thread.
pub(crate) struct English {
    normal: Normal,
    words: Words,
    tagger: Tagger,
    lexicon: Lexicon,
}

impl English {
    /// Loads the dictionaries of one accent.
    pub(crate) fn open(weights: &Weights, accent: Accent) -> Result<English, ModelError> {
        let file = |name: &str| weights.file(MODEL, name);
        let dictionary = |kind: &str| file(&format!("lexicon_{}_{kind}.json.gz", accent.code()));
        let (gold, silver, tagger) = (dictionary("gold")?, dictionary("silver")?, file("tagger.json.gz")?);
        let (normal, words) = (file("normalize.json")?, file("tokenizer_exceptions.json")?);
        std::thread::scope(|scope| {
            let tagger = scope.spawn(move || Tagger::open(&tagger));
            Ok(English {
                lexicon: Lexicon::open(&gold, &silver, accent)?,
                normal: Normal::open(&normal)?,
                words: Words::open(&words)?,
                tagger: tagger.join().expect("reading the tagger does not panic")?,
            })
        })
    }

    /// The network for unknown words, one for each thread that reads.
    pub(crate) fn unknown(weights: &Weights, accent: Accent) -> Result<Unknown, ModelError> {
        let stem = match accent {
            Accent::American => "oov",
            Accent::British => "oov_gb",
        };
        let file = |ending: &str| weights.file(MODEL, &format!("{stem}.{ending}"));
        Unknown::open(weights, &file("onnx")?, &file("json")?)
    }

    /// How a text is said. Words are what white space sets apart.
    pub(crate) fn read(&self, text: &str, unknown: &mut Unknown) -> Result<Vec<Phoneme>, ModelError> {
        let normal = self.normal.apply(text);
        let pieces = self.words.split(&normal.chars);
        let texts: Vec<&str> = pieces.iter().map(|piece| piece.text.as_str()).collect();
        let tags = self.tagger.tag(&texts);
        let mut groups = group(&pieces, &tags);
        let mut after = After::default();
        for group in groups.iter_mut().rev() {
            after = self.say(group, after, unknown)?;
        }

        let word_of = word_numbers(text);
        let mut phonemes = Vec::new();
        for token in groups.iter().flatten() {
            let word = normal.from.get(token.at).and_then(|from| word_of.get(*from)).copied().unwrap_or_default();
            let said = token.phonemes.as_deref().unwrap_or_default();
            // A voice has one sound for the flap and none for the stop in the throat.
            let sounds = said.chars().map(|c| match c {
                'ɾ' => 'T',
                'ʔ' => 't',
                c => c,
            });
            let apart = token.apart && !said.is_empty() && phonemes.last().is_some_and(|last: &Phoneme| last.symbol != ' ');
            phonemes.extend(apart.then_some(' ').into_iter().chain(sounds).map(|symbol| Phoneme { symbol, word }));
            if token.spaced {
                phonemes.push(Phoneme { symbol: ' ', word });
            }
        }
        while phonemes.last().is_some_and(|last| last.symbol == ' ') {
            phonemes.pop();
        }
        let silent = phonemes.iter().take_while(|first| first.symbol == ' ').count();
        phonemes.drain(..silent);
        Ok(phonemes)
    }

    /// Says the tokens of one word, knowing what comes after it; tells what comes after the word before it.
    fn say(&self, tokens: &mut [Token], after: After, unknown: &mut Unknown) -> Result<After, ModelError> {
        if let [token] = tokens {
            if token.phonemes.is_none() {
                token.phonemes = match self.lexicon.say(token, after) {
                    Some(said) => Some(said),
                    None => Some(self.spell_out(&token.text, unknown)?),
                };
            }
            return Ok(after.before(token, token.phonemes.as_deref().unwrap_or_default()));
        }
        let mut after = after;
        let (mut left, mut right) = (0, tokens.len());
        while left < right {
            let whole = tokens[left..right].iter().all(Token::open).then(|| merge(&tokens[left..right]));
            let said = whole.as_ref().and_then(|whole| self.lexicon.say(whole, after));
            if let (Some(whole), Some(said)) = (whole, said) {
                after = after.before(&whole, &said);
                tokens[left].phonemes = Some(said);
                tokens[left + 1..right].iter_mut().for_each(|token| token.phonemes = Some(String::new()));
                right = left;
                left = 0;
            } else if left + 1 < right {
                left += 1;
            } else {
                right -= 1;
                left = 0;
                let token = &mut tokens[right];
                if token.phonemes.is_none() {
                    if token.text.chars().all(is_junk) {
                        token.phonemes = Some(String::new());
                    } else {
                        let said = self.spell_out(&merge(tokens).text, unknown)?;
                        tokens.iter_mut().for_each(|token| token.phonemes = Some(String::new()));
                        tokens[0].phonemes = Some(said);
                        return Ok(after);
                    }
                }
            }
        }
        join(tokens);
        Ok(after)
    }

    /// An unknown word: letters by the network, digits by the lexicon, signs by name.
    fn spell_out(&self, text: &str, unknown: &mut Unknown) -> Result<String, ModelError> {
        let chars: Vec<char> = text.chars().collect();
        let mut said: Vec<String> = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let run = |belongs: &dyn Fn(usize) -> bool| (at..chars.len()).take_while(|index| belongs(*index)).count();
            let next = |index: usize| chars.get(index + 1).copied();
            let letters = run(&|index| {
                let inner = index > at && matches!(chars[index], '\'' | '’') && next(index).is_some_and(char::is_alphabetic);
                chars[index].is_alphabetic() || inner
            });
            let digits = run(&|index| {
                let inner = index > at && matches!(chars[index], ',' | '.') && next(index).is_some_and(|c| c.is_ascii_digit());
                chars[index].is_ascii_digit() || inner
            });
            let piece = |length: usize| chars[at..at + length].iter().collect::<String>();
            if letters > 0 {
                said.extend(unknown.say(&piece(letters))?);
            } else if digits > 0 {
                let mut token = Token::new(piece(digits), "CD", 0);
                token.head = false;
                said.extend(self.lexicon.say(&token, After::default()));
            } else {
                said.push(sign(chars[at]).to_owned());
            }
            at += letters.max(digits).max(1);
        }
        said.retain(|said| !said.is_empty());
        Ok(said.join(" "))
    }
}

/// What a sign is called where it stands in an unknown word.
fn sign(sign: char) -> &'static str {
    match sign {
        '/' => "slˈæʃ",
        '=' => "ˈikwᵊlz",
        '+' => "plˈʌs",
        '&' => "ænd",
        '@' => "æt",
        '%' => "pəɹsˈɛnt",
        '#' => "hˈæʃ",
        '*' => "ˈæstəɹˌɪsk",
        '~' => "tˈɪldə",
        '^' => "kˈɛɹət",
        '<' => "lˈɛs ðən",
        '>' => "ɡɹˈATəɹ ðən",
        '—' => "—",
        _ => "",
    }
}

/// Signs that are silent inside a word.
fn is_junk(c: char) -> bool {
    "',-._‘’/".contains(c)
}

/// Whether a phoneme is a stop that the voice pauses at.
pub(crate) fn is_pause(phoneme: char) -> bool {
    ";:,.!?—…".contains(phoneme)
}

/// Whether a phoneme is punctuation of any kind.
pub(crate) fn is_punctuation(phoneme: char) -> bool {
    is_pause(phoneme) || "\"“”() ".contains(phoneme)
}

/// Tokens cut into parts and put together again by word.
fn group<'a>(pieces: &[words::Piece], tags: &[&'a str]) -> Vec<Vec<Token<'a>>> {
    let mut groups: Vec<Vec<Token>> = Vec::new();
    // Whether the last group may go on.
    let mut open = false;
    let mut currency = None;
    for (index, (piece, tag)) in pieces.iter().zip(tags).enumerate() {
        let chars: Vec<char> = piece.text.chars().collect();
        let parts = words::parts(&chars);
        let count = parts.len();
        for (number, (offset, text)) in parts.iter().enumerate() {
            let mut token = Token::new(text.clone(), tag, piece.at + offset);
            let last = number + 1 == count;
            token.spaced = last && piece.spaced;
            if *tag == "$"
                && let Some(sign) = is_currency(text)
            {
                currency = Some(sign);
                token.phonemes = Some(String::new());
            } else if *tag == ":" && matches!(text.as_str(), "-" | "–") {
                token.phonemes = Some("—".to_owned());
            } else if let Some(said) = punctuation(tag, text) {
                token.phonemes = Some(said);
            } else if currency.is_some() {
                if *tag != "CD" {
                    currency = None;
                } else if last && tags.get(index + 1) != Some(&"CD") {
                    token.currency = currency;
                }
            } else if text == "2" && number > 0 && !last {
                let beside = |part: &(usize, String), back: bool| {
                    let mut chars = part.1.chars();
                    if back { chars.next_back() } else { chars.next() }.is_some_and(char::is_alphabetic)
                };
                if beside(&parts[number - 1], true) && beside(&parts[number + 1], false) {
                    token.alias = Some("to");
                }
            }
            if !token.open() {
                groups.push(vec![token]);
                open = false;
                continue;
            }
            match groups.last_mut().filter(|_| open) {
                Some(group) => {
                    token.head = false;
                    open = !token.spaced;
                    group.push(token);
                }
                None => {
                    open = !token.spaced;
                    groups.push(vec![token]);
                }
            }
        }
    }
    groups
}

/// How a sign with a tag of punctuation is said; `None` if it is no punctuation.
fn punctuation(tag: &str, text: &str) -> Option<String> {
    const TAGS: [&str; 11] = [".", ",", "-LRB-", "-RRB-", "``", "\"\"", "''", ":", "$", "#", "NFP"];
    if !TAGS.contains(&tag) || text.chars().all(|c| c.is_ascii_alphabetic()) {
        return None;
    }
    Some(match tag {
        "-LRB-" => "(".to_owned(),
        "-RRB-" => ")".to_owned(),
        "``" => "“".to_owned(),
        "\"\"" | "''" => "”".to_owned(),
        _ => text.chars().filter(|c| is_pause(*c) || "\"“”".contains(*c)).collect(),
    })
}

/// Puts the parts of one word together: where spaces go, and which parts lose their stress.
fn join(tokens: &mut [Token]) {
    let whole = merge(tokens).text;
    let kinds = |c: char| if c.is_alphabetic() { 0 } else { 1 + u8::from(!c.is_ascii_digit()) };
    let mut seen: Vec<u8> = whole.chars().filter(|c| !is_junk(*c)).map(kinds).collect();
    seen.sort_unstable();
    seen.dedup();
    let apart = whole.contains([' ', '/']) || seen.len() > 1;
    let last = tokens.len() - 1;
    for (index, token) in tokens.iter_mut().enumerate() {
        match &token.phonemes {
            None if index == last && token.text.chars().all(is_pause) => token.phonemes = Some(token.text.clone()),
            None if token.text.chars().all(is_junk) => token.phonemes = Some(String::new()),
            None => {}
            Some(_) => token.apart = index > 0 && apart,
        }
    }
    if apart {
        return;
    }
    let mut said: Vec<(bool, usize, usize)> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if let Some(phonemes) = token.phonemes.as_deref().filter(|phonemes| !phonemes.is_empty()) {
            said.push((phonemes.contains(PRIMARY), stress::weight(phonemes), index));
        }
    }
    let stressed = said.iter().filter(|(primary, _, _)| *primary).count();
    let weaken: Vec<usize> = if said.len() == 2 && tokens[said[0].2].text.chars().count() == 1 {
        vec![said[1].2]
    } else if said.len() < 2 || stressed <= said.len().div_ceil(2) {
        Vec::new()
    } else {
        said.sort_unstable();
        said[..said.len() / 2].iter().map(|(_, _, index)| *index).collect()
    };
    for index in weaken {
        let token = &mut tokens[index];
        token.phonemes = token.phonemes.as_deref().map(|phonemes| stress::apply(phonemes, Stress::Weaker));
    }
}

#[cfg(test)]
mod tests;

/// Reads a file of JSON, packed with gzip if its name says so.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let broken = |detail: String| {
        ModelError::new(ErrorKind::Failed, MODEL, format!("{}: {detail}; fetch it again with `timbre models pull {MODEL}`", path.display()))
    };
    let mut bytes = std::fs::read(path).map_err(|error| broken(error.to_string()))?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).map_err(|error| broken(error.to_string()))?;
        bytes = unpacked;
    }
    serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))
}
