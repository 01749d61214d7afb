//! Chooses the recogniser by the language: English goes to the fast one, everything else to the one that knows it.
//!
//! English is recognised for free: the fast engine is sure of its words on English and unsure on anything else (measured on clips of
//! twelve languages: mean token probability 0.86 on English, 0.38 on the others). Only when it is unsure is the caller's language
//! identified, from the sound so far; the answer goes out with the utterance, so a session asks once a call.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Identifier, Recogniser};
use crate::{Hint, Language, Measured, ModelError, Utterance, Waited};

/// Above this mean token probability the fast engine's words are English.
const SURELY_ENGLISH: f32 = 0.85;
/// Below this, speech that was taken for English is checked again although the caller spoke English before.
const DOUBTFUL: f32 = 0.45;
/// An identification less sure than this does not overrule the hint.
const IDENTIFIED: f32 = 0.5;

/// English by `fast`, every other language by `wide`, which also tells which language it is.
pub struct Auto<F, W> {
    fast: F,
    wide: Arc<Mutex<W>>,
}

impl<F, W> Auto<F, W> {
    /// Engines of one thread; the wide one may be shared with the other threads.
    pub fn new(fast: F, wide: Arc<Mutex<W>>) -> Auto<F, W> {
        Auto { fast, wide }
    }
}

impl<F: Recogniser, W: Recogniser + Identifier> Recogniser for Auto<F, W> {
    fn recognise(&mut self, pcm: &[f32], hint: &Hint, waited: &Waited) -> Result<Utterance, ModelError> {
        let english = hint.language == Some(Language::ENGLISH);
        let wide = || self.wide.lock().unwrap_or_else(PoisonError::into_inner);
        if hint.language.is_some() && !english || hint.word_times {
            return wide().recognise(pcm, hint, waited);
        }
        let mut heard = self.fast.recognise(pcm, hint, waited)?;
        let confidence = heard.confidence.map_or(1.0, audio::Probability::get);
        let enough = if english { DOUBTFUL } else { SURELY_ENGLISH };
        if heard.text.is_empty() || confidence >= enough {
            heard.language = Some(Measured::new(Language::ENGLISH, confidence, heard_by(&heard)));
            return Ok(heard);
        }
        let mut wide = wide();
        let identified = wide.identify(pcm, waited)?;
        if identified.value == Language::ENGLISH || identified.confidence.get() < IDENTIFIED {
            heard.language = Some(if identified.value == Language::ENGLISH {
                identified
            } else {
                Measured::new(Language::ENGLISH, confidence, heard_by(&heard))
            });
            return Ok(heard);
        }
        let hint = Hint { language: Some(identified.value), ..hint.clone() };
        let mut heard = wide.recognise(pcm, &hint, waited)?;
        heard.language = Some(identified);
        Ok(heard)
    }
}

fn heard_by(heard: &Utterance) -> &'static str {
    if heard.engine == "moonshine" { "moonshine" } else { "transcriber" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio::Probability;

    struct Fast(f32);
    struct Wide(&'static str, f32);

    impl Recogniser for Fast {
        fn recognise(&mut self, _: &[f32], _: &Hint, _: &Waited) -> Result<Utterance, ModelError> {
            Ok(Utterance { text: "fast".into(), confidence: Some(Probability::new(self.0)), ..Utterance::default() })
        }
    }

    impl Recogniser for Wide {
        fn recognise(&mut self, _: &[f32], hint: &Hint, _: &Waited) -> Result<Utterance, ModelError> {
            let language = hint.language.map_or("?".to_owned(), |language| language.to_string());
            Ok(Utterance { text: format!("wide {language}"), ..Utterance::default() })
        }
    }

    impl Identifier for Wide {
        fn identify(&mut self, _: &[f32], _: &Waited) -> Result<Measured<Language>, ModelError> {
            Ok(Measured::new(Language::new(self.0).expect("a code"), self.1, "wide"))
        }
    }

    #[test]
    fn the_language_chooses_the_engine() {
        let cases = [
            // hint, confidence of the fast engine, language identified and how surely, who is heard in the end
            (None, 0.9, ("de", 0.9), "fast"),
            (None, 0.5, ("de", 0.9), "wide de"),
            (None, 0.5, ("en", 0.9), "fast"),
            (None, 0.5, ("de", 0.2), "fast"),
            (Some("en"), 0.6, ("de", 0.9), "fast"),
            (Some("en"), 0.3, ("fr", 0.9), "wide fr"),
            (Some("fr"), 0.9, ("en", 0.9), "wide fr"),
        ];
        for (hint, confidence, (language, sure), expected) in cases {
            let mut auto = Auto::new(Fast(confidence), Arc::new(Mutex::new(Wide(language, sure))));
            let hint = Hint { language: hint.and_then(Language::new), ..Hint::default() };
            let heard = auto.recognise(&[0.0; 16], &hint, &Waited::by(&|| false)).expect("it hears");
            assert_eq!(heard.text, expected, "{hint:?} {confidence} {language} {sure}");
        }
    }
}
