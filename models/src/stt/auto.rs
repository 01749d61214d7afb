//! Chooses the recogniser by the language: English goes to the fast one, everything else to the one that knows it.
//!
//! English is recognised for free: the fast engine is sure of its words on English and unsure on anything else (measured on clips of
//! twelve languages: mean token probability 0.86 on English, 0.38 on the others). Only when it is unsure is the caller's language
//! identified, while they still speak; the answer goes out with the utterance, so a session asks once a call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::by_utterance::PREPARED;
use super::{Identifier, Recogniser};
use crate::{Hint, Language, Measured, ModelError, Utterance, Waited};

/// Above this mean token probability the fast engine's words are English.
const SURELY_ENGLISH: f32 = 0.85;
/// Below this, in the first seconds of a call, the language is identified while the caller still speaks.
const LIKELY_ENGLISH: f32 = 0.75;
/// Below this, speech whose language nobody identified yet is not taken for English.
const PERHAPS_ENGLISH: f32 = 0.6;
/// Below this, speech that was taken for English is checked again although the caller spoke English before.
const DOUBTFUL: f32 = 0.4;
/// An identification less sure than this does not overrule the hint.
const IDENTIFIED: f32 = 0.75;
/// Sound that the language is told from: four seconds at 16 kHz.
const LISTENED: usize = 64_000;
/// Utterances whose identification is remembered while they are said.
const MOST_IDENTIFIED: usize = 256;

/// English by `fast`, every other language by `wide`, which also tells which language it is.
pub struct Auto<F, W> {
    fast: F,
    wide: Arc<Wide<W>>,
}

/// What the threads share: the wide engine, and the languages of utterances that are still being said, by the hash of their beginning.
pub struct Wide<W> {
    engine: Mutex<W>,
    identified: Mutex<HashMap<u64, Measured<Language>>>,
}

impl<W: Recogniser + Identifier> Wide<W> {
    /// A shared engine.
    pub fn new(engine: W) -> Wide<W> {
        Wide { engine: Mutex::new(engine), identified: Mutex::new(HashMap::new()) }
    }

    fn engine(&self) -> MutexGuard<'_, W> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, pcm: &[f32]) -> Option<Measured<Language>> {
        let key = key(pcm)?;
        self.identified.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    fn identify(&self, pcm: &[f32], waited: &Waited) -> Result<Measured<Language>, ModelError> {
        if let Some(known) = self.known(pcm) {
            return Ok(known);
        }
        let identified = self.engine().identify(&pcm[..pcm.len().min(LISTENED)], waited)?;
        if let Some(key) = key(pcm) {
            let mut all = self.identified.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= MOST_IDENTIFIED {
                all.clear();
            }
            all.insert(key, identified.clone());
        }
        Ok(identified)
    }
}

/// Names an utterance by its first two seconds, FNV-1a over the bits of the samples; a shorter one has no name. Less would not do: many
/// callers begin with the same silence, and one must not be taken for another.
fn key(pcm: &[f32]) -> Option<u64> {
    let beginning = pcm.get(..PREPARED)?;
    Some(beginning.iter().fold(0xcbf2_9ce4_8422_2325, |hash, s| (hash ^ u64::from(s.to_bits())).wrapping_mul(0x0100_0000_01b3)))
}

impl<F, W> Auto<F, W> {
    /// Engines of one thread; the wide one is shared with the other threads.
    pub fn new(fast: F, wide: Arc<Wide<W>>) -> Auto<F, W> {
        Auto { fast, wide }
    }
}

impl<F: Recogniser, W: Recogniser + Identifier> Recogniser for Auto<F, W> {
    fn recognise(&mut self, pcm: &[f32], hint: &Hint, waited: &Waited) -> Result<Utterance, ModelError> {
        let english = hint.language == Some(Language::ENGLISH);
        if hint.language.is_some() && !english || hint.word_times {
            return self.wide.engine().recognise(pcm, hint, waited);
        }
        let mut heard = self.fast.recognise(pcm, hint, waited)?;
        let confidence = heard.confidence.map_or(1.0, audio::Probability::get);
        let known = self.wide.known(pcm);
        let enough = match (&known, english) {
            (Some(_), _) => SURELY_ENGLISH,
            (None, true) => DOUBTFUL,
            (None, false) => PERHAPS_ENGLISH,
        };
        if heard.text.is_empty() || confidence >= enough {
            heard.language = Some(Measured::new(Language::ENGLISH, confidence, "transcriber"));
            return Ok(heard);
        }
        let identified = match known {
            Some(known) => known,
            None => self.wide.identify(pcm, waited)?,
        };
        if identified.value == Language::ENGLISH || identified.confidence.get() < IDENTIFIED {
            let taken = Measured::new(Language::ENGLISH, confidence, "transcriber");
            heard.language = Some(if identified.value == Language::ENGLISH { identified } else { taken });
            return Ok(heard);
        }
        let hint = Hint { language: Some(identified.value), ..hint.clone() };
        let tone = heard.tone.take();
        let mut heard = self.wide.engine().recognise(pcm, &hint, waited)?;
        (heard.language, heard.tone) = (Some(identified), tone);
        Ok(heard)
    }

    fn glance(&mut self, pcm: &[f32], hint: &Hint, waited: &Waited) -> Result<String, ModelError> {
        // It writes nonsense of what is not English, but hardly ever nothing.
        self.fast.glance(pcm, hint, waited)
    }

    fn prepare(&mut self, pcm: &[f32], hint: &Hint, waited: &Waited) {
        if hint.language.is_some() {
            return;
        }
        let heard = self.fast.recognise(pcm, hint, waited);
        let sure = heard.is_ok_and(|heard| heard.confidence.is_none_or(|confidence| confidence.get() >= LIKELY_ENGLISH));
        if !sure {
            // Whoever needs the language later finds it; if this fails, they try again and say why.
            let _ = self.wide.identify(pcm, waited);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio::Probability;

    struct Fast(f32);
    struct Polyglot(&'static str, f32);

    impl Recogniser for Fast {
        fn recognise(&mut self, _: &[f32], _: &Hint, _: &Waited) -> Result<Utterance, ModelError> {
            Ok(Utterance { text: "fast".into(), confidence: Some(Probability::new(self.0)), ..Utterance::default() })
        }
    }

    impl Recogniser for Polyglot {
        fn recognise(&mut self, _: &[f32], hint: &Hint, _: &Waited) -> Result<Utterance, ModelError> {
            let language = hint.language.map_or("?".to_owned(), |language| language.to_string());
            Ok(Utterance { text: format!("wide {language}"), ..Utterance::default() })
        }
    }

    impl Identifier for Polyglot {
        fn identify(&mut self, _: &[f32], _: &Waited) -> Result<Measured<Language>, ModelError> {
            Ok(Measured::new(Language::new(self.0).expect("a code"), self.1, "wide"))
        }
    }

    #[test]
    fn callers_who_begin_with_the_same_silence_are_not_taken_for_one_another() {
        let mut auto = Auto::new(Fast(0.7), Arc::new(Wide::new(Polyglot("de", 0.9))));
        let waited = Waited::by(&|| false);
        let caller = |level: f32| [vec![0.0; 16_000], vec![level; 24_000]].concat();
        auto.prepare(&caller(0.1), &Hint::default(), &waited);
        let heard = auto.recognise(&caller(0.2), &Hint::default(), &waited).expect("it hears");
        assert_eq!(heard.text, "fast", "nobody identified this caller's language yet");
    }

    #[test]
    fn what_is_learnt_while_the_caller_speaks_is_known_in_the_pause() {
        let mut auto = Auto::new(Fast(0.7), Arc::new(Wide::new(Polyglot("de", 0.9))));
        let waited = Waited::by(&|| false);
        auto.prepare(&[0.1; 32_000], &Hint::default(), &waited);
        let heard = auto.recognise(&[0.1; 40_000], &Hint::default(), &waited).expect("it hears");
        assert_eq!(heard.text, "wide de");
    }

    #[test]
    fn the_language_chooses_the_engine() {
        let cases = [
            // hint, confidence of the fast engine, language identified and how surely, who is heard in the end
            (None, 0.9, ("de", 0.9), "fast"),
            (None, 0.5, ("de", 0.9), "wide de"),
            (None, 0.7, ("de", 0.9), "fast"),
            (None, 0.5, ("en", 0.9), "fast"),
            (None, 0.5, ("de", 0.2), "fast"),
            (Some("en"), 0.6, ("de", 0.9), "fast"),
            (Some("en"), 0.3, ("fr", 0.9), "wide fr"),
            (Some("fr"), 0.9, ("en", 0.9), "wide fr"),
        ];
        for (hint, confidence, (language, sure), expected) in cases {
            let mut auto = Auto::new(Fast(confidence), Arc::new(Wide::new(Polyglot(language, sure))));
            let hint = Hint { language: hint.and_then(Language::new), ..Hint::default() };
            let heard = auto.recognise(&[0.0; 16], &hint, &Waited::by(&|| false)).expect("it hears");
            assert_eq!(heard.text, expected, "{hint:?} {confidence} {language} {sure}");
        }
    }
}
