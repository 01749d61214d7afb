//! eSpeak NG: a hundred languages, tiny and quick, and plainly a machine.
//!
//! Its library is under the GPL, version 3: it is no part of this program, is loaded at run time, and only by whoever asks for this
//! engine or for a voice that reads through it. What it does not do: whisper variants, MBROLA voices, SSML.

mod library;

use std::sync::Arc;

use audio::{Rate, Samples};

use super::written::word_numbers;
use super::{ByClause, Said, Voicebox, edges};
use crate::{ErrorKind, Language, ModelError, Synthesizer, Voice, Weights};

/// The name in errors.
const NAME: &str = "espeak";
/// The voice to begin with.
const VOICE: &str = "en-us";
/// Words a minute at speed 1, and the library's limits: a speed below 0.46 or above 2.57 is said at the limit (`speak_lib.h`).
const WORDS_A_MINUTE: f32 = 175.0;
const SLOWEST: f32 = 80.0;
const FASTEST: f32 = 450.0;

/// Opens the library. It has one thread however many texts are spoken: a clause takes it a millisecond.
pub fn espeak(_: &Weights, _: usize) -> Result<Arc<dyn Synthesizer>, ModelError> {
    let (mut voices, rate) = library::with(|library| {
        let codes: Vec<String> = library.voices().iter().map(|voice| voice.code.clone()).collect();
        (codes, library.rate())
    })?;
    voices.sort_unstable_by_key(|code| (code != VOICE, code.clone()));
    let engine = Espeak { rate, voices: voices.clone() };
    Ok(Arc::new(ByClause::start(NAME, vec![engine], voices)))
}

/// How `text` is said in the language `code`: IPA, words set apart by spaces, the letters of one sound tied by `^`, without stops.
#[cfg(feature = "kokoro")]
pub(super) fn phonemes(text: &str, code: &'static str) -> Result<String, ModelError> {
    let text = text.to_owned();
    library::with(move |library| library.phonemes(&text, code))?
}

/// Whether the library is installed and knows the language `code`.
#[cfg(feature = "kokoro")]
pub(super) fn reads(code: &'static str) -> bool {
    library::with(move |library| library.voices().iter().any(|voice| voice.code == code)).unwrap_or(false)
}

/// The engine's end of the library.
struct Espeak {
    rate: Rate,
    voices: Vec<String>,
}

impl Voicebox for Espeak {
    fn say(&mut self, clause: &str, voice: &Voice) -> Result<Said, ModelError> {
        let pace = (WORDS_A_MINUTE * voice.speed).clamp(SLOWEST, FASTEST) as i32;
        let (text, code) = (clause.to_owned(), speaker(&self.voices, voice).to_owned());
        let spoken = library::with(move |library| library.speak(&text, &code, pace))??;
        Ok(said(clause, self.rate, spoken))
    }
}

/// The voice that speaks: the one asked for, unless the text is known to be in a language that it does not speak and another does.
fn speaker<'a>(voices: &'a [String], voice: &'a Voice) -> &'a str {
    let spoken = Language::new(&voice.name);
    let other = voice.language.filter(|language| spoken != Some(*language));
    let of = |language: Language| {
        voices
            .iter()
            .find(|code| code.as_str() == language.code())
            .or_else(|| voices.iter().find(|code| Language::new(code) == Some(language)))
    };
    other.and_then(of).unwrap_or(&voice.name)
}

/// A clause as the library said it: a word lasts from its start to its last audible sound before the next.
fn said(clause: &str, rate: Rate, spoken: library::Spoken) -> Said {
    let library::Spoken { pcm, words } = spoken;
    let numbers = word_numbers(clause);
    let end = pcm.len();
    let mut said = Said::new(rate);
    for (index, (place, start)) in words.iter().enumerate() {
        let Some(number) = numbers.get(*place) else { continue };
        let start = (start.0 as usize).min(end);
        let next = words.get(index + 1).map_or(end, |(_, next)| next.0 as usize).clamp(start, end);
        let heard = edges::audible(&pcm[start..next], rate);
        if !heard.is_empty() {
            said.word(*number, Samples((start + heard.start) as u64)..Samples((start + heard.end) as u64));
        }
    }
    said.pcm = pcm;
    said
}

/// The library's failure as ours.
fn failed(detail: impl Into<String>) -> ModelError {
    ModelError::new(ErrorKind::Failed, NAME, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_another_language_is_said_by_its_own_voice() {
        let voices = ["en-us", "en-gb", "es", "es-419", "pt", "pt-br"].map(str::to_owned);
        for (name, language, expected) in [
            ("en-us", None, "en-us"),
            ("en-gb", Some("en"), "en-gb"),
            ("en-us", Some("es"), "es"),
            ("pt-br", Some("pt"), "pt-br"),
            ("es", Some("en"), "en-us"),
            ("es", Some("xx"), "es"),
        ] {
            let voice = Voice { language: language.and_then(Language::new), ..Voice::new(name) };
            assert_eq!(speaker(&voices, &voice), expected, "{name} {language:?}");
        }
    }

    #[test]
    fn words_last_from_their_event_to_their_last_sound() {
        let rate = Rate::MODEL;
        let mut pcm = vec![0.0; 16_000];
        pcm[0..4_000].fill(0.5);
        pcm[8_000..15_000].fill(0.5);
        let words = vec![(0, Samples(0)), (4, Samples(8_000)), (8, Samples(12_000)), (99, Samples(13_000))];
        let said = said("one two-three", rate, library::Spoken { pcm, words });
        assert_eq!(said.words, [(0, Samples(0)..Samples(4_640)), (1, Samples(8_000)..Samples(13_000))]);
    }

    #[test]
    fn an_unknown_voice_is_an_error() {
        let Ok(said) = library::with(|library| library.speak("Hello.", "xx-none", 175).map(|_| ())) else {
            eprintln!("skipped: eSpeak NG is not installed");
            return;
        };
        assert_eq!(said.map_err(|error| error.kind), Err(ErrorKind::Failed));
    }
}
