//! Chooses the recogniser by the language: English goes to the fast one, everything else to the one that knows it.
//!
//! English is recognised for free: the fast engine is sure of its words on English and unsure on anything else. Where that does not settle
//! it, the language is told from the sound, while the caller still speaks. Both are evidence for what is believed of the caller, who may
//! have said something before: so a session follows a caller who changes the language, and is not put off by one odd turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::by_utterance::PREPARED;
use super::{Identifier, Recogniser};
use crate::{Belief, Hint, Language, Measured, ModelError, Utterance, Waited};

/// Sound that the language is told from, at most: six seconds at 16 kHz.
const LISTENED: usize = 96_000;
/// Sound from which on what it is like is worth all of it: a second. What there is less of is worth the less.
const ENOUGH: usize = 16_000;
/// Sound that is not worth the look, which costs as much as ten seconds of words do: what is said in it is half a second at most.
const TOO_SHORT: usize = 12_800;
/// Utterances whose identification is remembered while they are said.
const MOST_IDENTIFIED: usize = 256;
/// Belief in a language above which nobody listens for another.
const SURE: f32 = 0.9;
/// How sure of its words (mean token probability) the fast engine is where English is as likely as not, and how the odds grow from there:
/// on two seconds of English it is 0.45 to 0.9 sure, on eleven other languages 0.1 to 0.6 (2026-11).
const HALF_ENGLISH: f32 = 0.52;
const FLUENCY: f32 = 16.0;
/// Who takes the time has what the fast engine was less sure of than this heard by the other one, too, and keeps the surer of the two;
/// the other one is given so much for being right more often. Word errors of 50 readings (2026-11): 12.2 % become 10.6 %.
const DOUBTFUL: f32 = 0.9;
const FAVOUR: f32 = 0.05;
/// Its sureness by itself is worth no more than this, as logarithms of odds: less against English, which is halting and noisy, too.
const FLUENT: std::ops::RangeInclusive<f32> = -3.0..=4.0;

/// English by `fast`, every other language by `wide`, which also tells which language it is.
pub struct Auto<F, W> {
    fast: F,
    wide: Arc<Wide<W>>,
}

/// What the threads share: the wide engine, and what the beginnings of utterances sound like that are still being said, by their hash.
pub struct Wide<W> {
    engine: Mutex<W>,
    identified: Mutex<HashMap<u64, Identified>>,
}

/// How an utterance sounds that is still being said.
#[derive(Clone)]
struct Identified {
    sound: Belief,
    /// Of its first so many samples.
    samples: usize,
}

impl<W> Wide<W> {
    /// A shared engine.
    pub fn new(engine: W) -> Wide<W> {
        Wide { engine: Mutex::new(engine), identified: Mutex::new(HashMap::new()) }
    }

    fn engine(&self) -> MutexGuard<'_, W> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Identifier> Wide<W> {
    fn known(&self, pcm: &[f32]) -> Option<Identified> {
        let key = key(pcm)?;
        self.identified.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// What the sound adds to what the words tell: nothing where they leave no doubt, else as much of it as is needed to be sure.
    fn listen(&self, pcm: &[f32], by_words: Told, waited: &Waited) -> Result<Told, ModelError> {
        let pcm = &pcm[..pcm.len().min(LISTENED)];
        let known = self.known(pcm);
        if let Some(known) = &known {
            let told = by_words.clone().sounds(&known.sound, known.samples);
            // Half as much again tells more; less than that is not worth another pass.
            if told.is_sure() || pcm.len() < known.samples * 3 / 2 {
                return Ok(told);
            }
        } else if by_words.is_sure() || pcm.len() < TOO_SHORT {
            return Ok(by_words);
        }
        let sound = self.engine().identify(pcm, waited)?;
        let told = by_words.sounds(&sound, pcm.len());
        if let Some(key) = key(pcm) {
            let mut all = self.identified.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= MOST_IDENTIFIED {
                all.clear();
            }
            all.insert(key, Identified { sound, samples: pcm.len() });
        }
        Ok(told)
    }
}

/// Names an utterance by its first two seconds, FNV-1a over the bits of the samples; a shorter one has no name. Less would not do: many
/// callers begin with the same silence, and one must not be taken for another.
fn key(pcm: &[f32]) -> Option<u64> {
    let beginning = pcm.get(..PREPARED)?;
    Some(beginning.iter().fold(0xcbf2_9ce4_8422_2325, |hash, s| (hash ^ u64::from(s.to_bits())).wrapping_mul(0x0100_0000_01b3)))
}

/// What is believed of an utterance, and from what.
#[derive(Clone)]
struct Told {
    belief: Belief,
    source: &'static str,
}

impl Told {
    fn language(&self) -> Option<Measured<Language>> {
        self.belief.likeliest().map(|(language, likely)| Measured::new(language, likely, self.source))
    }

    fn is_sure(&self) -> bool {
        self.belief.likeliest().is_some_and(|(_, likely)| likely >= SURE)
    }

    /// With what so many samples of the sound are like by themselves; silence is like nothing.
    fn sounds(self, sound: &Belief, samples: usize) -> Told {
        if sound.is_empty() {
            return self;
        }
        Told { belief: self.belief.heard(|language| sound.of(language).powf(worth(samples))), source: "whisper" }
    }
}

impl<F, W> Auto<F, W> {
    /// Engines of one thread; the wide one is shared with the other threads.
    pub fn new(fast: F, wide: Arc<Wide<W>>) -> Auto<F, W> {
        Auto { fast, wide }
    }
}

impl<F, W: Recogniser> Auto<F, W> {
    /// English that the fast engine heard, or what the other one makes of it where that is surer.
    fn once_more(&self, pcm: &[f32], heard: Utterance, hint: &Hint, waited: &Waited) -> Result<Utterance, ModelError> {
        let sure = |heard: &Utterance| heard.confidence.map_or(0.0, audio::Probability::get);
        if heard.text.is_empty() || sure(&heard) >= DOUBTFUL {
            return Ok(heard);
        }
        let hint = Hint { language: Some(Language::ENGLISH), ..hint.clone() };
        let other = self.wide.engine().recognise(pcm, &hint, waited)?;
        let surer = !other.text.is_empty() && sure(&other) + FAVOUR > sure(&heard);
        Ok(if surer { Utterance { tone: heard.tone, ..other } } else { heard })
    }
}

/// What so many samples are worth as evidence: short sound is like many languages, which no engine knows of itself.
fn worth(samples: usize) -> f32 {
    (samples as f32 / ENOUGH as f32).min(1.0)
}

/// What the words of the fast engine tell, heard in so many samples.
fn by_words(hint: &Hint, heard: &Utterance, samples: usize) -> Told {
    let sure = heard.confidence.map_or(HALF_ENGLISH, audio::Probability::get);
    let odds = (FLUENCY * (sure - HALF_ENGLISH)).clamp(*FLUENT.start(), *FLUENT.end()) * worth(samples);
    let odds = odds.exp();
    let belief = hint.before().heard(|language| if language == Language::ENGLISH { odds } else { 1.0 });
    Told { belief, source: "transcriber" }
}

impl<F: Recogniser, W: Recogniser + Identifier> Recogniser for Auto<F, W> {
    const THOROUGH: bool = true;

    fn recognise(&mut self, pcm: &[f32], hint: &Hint, waited: &Waited) -> Result<Utterance, ModelError> {
        if hint.language.is_some_and(|language| language != Language::ENGLISH) {
            return self.wide.engine().recognise(pcm, hint, waited);
        }
        let mut heard = self.fast.recognise(pcm, hint, waited)?;
        if hint.language.is_some() {
            let heard = if hint.thorough { self.once_more(pcm, heard, hint, waited)? } else { heard };
            return Ok(Utterance { language: Some(Measured::new(Language::ENGLISH, 1.0, "hint")), ..heard });
        }
        let mut told = by_words(hint, &heard, pcm.len());
        if !heard.text.is_empty() {
            told = self.wide.listen(pcm, told, waited)?;
        }
        let language = told.language();
        if let Some(other) = language.as_ref().map(|language| language.value).filter(|language| *language != Language::ENGLISH)
            && !heard.text.is_empty()
        {
            let tone = heard.tone.take();
            heard = self.wide.engine().recognise(pcm, &Hint { language: Some(other), ..hint.clone() }, waited)?;
            heard.tone = tone;
        } else if hint.thorough {
            heard = self.once_more(pcm, heard, hint, waited)?;
        }
        Ok(Utterance { language, belief: told.belief, ..heard })
    }

    fn glance(&mut self, pcm: &[f32], hint: &Hint, waited: &Waited) -> Result<String, ModelError> {
        // It writes nonsense of what is not English, but hardly ever nothing.
        self.fast.glance(pcm, hint, waited)
    }

    fn prepare(&mut self, pcm: &[f32], hint: &Hint, waited: &Waited) -> Option<Measured<Language>> {
        if hint.language.is_some() {
            return None;
        }
        // If anything fails, whoever needs the language later finds it, or says why not.
        let told = by_words(hint, &self.fast.recognise(pcm, hint, waited).ok()?, pcm.len());
        self.wide.listen(pcm, told, waited).ok()?.language()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio::Probability;

    struct Fast(f32);
    /// What it says, how likely that language is, and how sure it is of its words.
    struct Polyglot(&'static str, f32, f32);

    impl Recogniser for Fast {
        fn recognise(&mut self, _: &[f32], _: &Hint, _: &Waited) -> Result<Utterance, ModelError> {
            Ok(Utterance { text: "fast".into(), confidence: Some(Probability::new(self.0)), ..Utterance::default() })
        }
    }

    impl Recogniser for Polyglot {
        fn recognise(&mut self, _: &[f32], hint: &Hint, _: &Waited) -> Result<Utterance, ModelError> {
            let language = hint.language.map_or("?".to_owned(), |language| language.to_string());
            let said = hint.language.map(|language| Measured::new(language, 1.0, "wide"));
            let confidence = Some(Probability::new(self.2));
            Ok(Utterance { text: format!("wide {language}"), language: said, confidence, ..Utterance::default() })
        }
    }

    impl Identifier for Polyglot {
        fn identify(&mut self, _: &[f32], _: &Waited) -> Result<Belief, ModelError> {
            let rest = ["en", "de", "fr", "es"].map(|code| (code, (1.0 - self.1) / 3.0));
            let all = rest.map(|(code, rest)| (language(code), if code == self.0 { self.1 } else { rest }));
            Ok(Belief::new(all))
        }
    }

    fn language(code: &str) -> Language {
        Language::new(code).expect("a code")
    }

    fn auto(confidence: f32, sounds: (&'static str, f32)) -> Auto<Fast, Polyglot> {
        Auto::new(Fast(confidence), Arc::new(Wide::new(Polyglot(sounds.0, sounds.1, 0.7))))
    }

    /// Words in what is silent to the other engine: the turn was lost with an error once.
    #[test]
    fn a_turn_that_is_silent_to_the_wide_engine_is_heard_by_the_fast_one() {
        struct Deaf;
        impl Recogniser for Deaf {
            fn recognise(&mut self, _: &[f32], _: &Hint, _: &Waited) -> Result<Utterance, ModelError> {
                Ok(Utterance::default())
            }
        }
        impl Identifier for Deaf {
            fn identify(&mut self, _: &[f32], _: &Waited) -> Result<Belief, ModelError> {
                Ok(Belief::default())
            }
        }
        let mut auto = Auto::new(Fast(0.45), Arc::new(Wide::new(Deaf)));
        let heard = auto.recognise(&[0.0; ENOUGH], &Hint::default(), &Waited::by(&|| false)).expect("it hears");
        assert_eq!((heard.text.as_str(), heard.language.map(|told| told.value)), ("fast", Some(Language::ENGLISH)));
    }

    #[test]
    fn callers_who_begin_with_the_same_silence_are_not_taken_for_one_another() {
        let mut auto = auto(0.6, ("de", 0.99));
        let waited = Waited::by(&|| false);
        let caller = |level: f32| [vec![0.0; 16_000], vec![level; 24_000]].concat();
        auto.prepare(&caller(0.1), &Hint::default(), &waited);
        assert!(auto.wide.known(&caller(0.1)).is_some());
        assert!(auto.wide.known(&caller(0.2)).is_none(), "nobody listened to this caller yet");
    }

    #[test]
    fn the_language_is_told_while_the_caller_speaks_and_known_in_the_pause() {
        let waited = Waited::by(&|| false);
        for (confidence, sounds, told, words) in [
            (0.3, ("de", 0.9), Some("de"), "wide de"),
            (0.6, ("en", 0.9), Some("en"), "fast"),
            // English beyond doubt is not listened to twice.
            (0.9, ("de", 0.99), Some("en"), "fast"),
        ] {
            let mut auto = auto(confidence, sounds);
            let heard = auto.prepare(&[0.1; 32_000], &Hint::default(), &waited);
            assert_eq!(heard.map(|heard| heard.value), told.map(language), "{confidence} {sounds:?}");
            let heard = auto.recognise(&[0.1; 40_000], &Hint::default(), &waited).expect("it hears");
            assert_eq!(heard.text, words);
        }
        let fixed = Hint { language: Some(language("fr")), ..Hint::default() };
        assert_eq!(auto(0.3, ("de", 0.9)).prepare(&[0.1; 32_000], &fixed, &waited), None);
    }

    #[test]
    fn doubtful_english_is_heard_once_more_by_whoever_takes_the_time() {
        let english = Some(Language::ENGLISH);
        for (confidence, thorough, said, expected) in [
            (0.6, false, english, "fast"),
            (0.6, true, english, "wide en"),
            (0.6, true, None, "wide en"),
            (0.74, true, None, "wide en"),
            (0.76, true, None, "fast"),
            (0.95, true, None, "fast"),
        ] {
            let hint = Hint { thorough, language: said, ..Hint::default() };
            let heard = auto(confidence, ("en", 0.9)).recognise(&[0.0; ENOUGH], &hint, &Waited::by(&|| false)).expect("it hears");
            assert_eq!(
                (heard.text.as_str(), heard.language.map(|told| told.value)),
                (expected, english),
                "{confidence} {thorough} {said:?}"
            );
        }
    }

    /// Single digits in English were told for Welsh and Korean.
    #[test]
    fn a_short_sound_is_no_proof_of_another_language() {
        for (samples, expected) in [(ENOUGH / 5, "fast"), (ENOUGH, "wide de")] {
            let heard = auto(0.5, ("de", 0.9)).recognise(&vec![0.0; samples], &Hint::default(), &Waited::by(&|| false)).expect("it hears");
            assert_eq!(heard.text, expected, "{samples} samples");
        }
    }

    #[test]
    fn the_language_chooses_the_engine() {
        let some = |codes: &[&str]| Belief::among(&codes.iter().map(|code| language(code)).collect::<Vec<_>>());
        let was = |code: &str| Belief::new(["en", "de", "es"].map(|other| (language(other), if other == code { 0.97 } else { 0.015 })));
        let cases = [
            // language said, belief before, confidence of the fast engine, what it sounds like and how surely, who is heard in the end
            (None, Belief::default(), 0.9, ("de", 0.9), "fast"),
            (None, Belief::default(), 0.5, ("de", 0.9), "wide de"),
            (None, Belief::default(), 0.3, ("en", 0.9), "fast"),
            (None, Belief::default(), 0.1, ("en", 0.9), "fast"),
            // Only what is expected is told.
            (None, some(&["en", "fr"]), 0.6, ("de", 0.9), "fast"),
            (None, some(&["de", "fr"]), 0.9, ("en", 0.9), "wide fr"),
            // Who spoke German goes on speaking it, unless it is quite another language.
            (None, was("de"), 0.5, ("en", 0.6), "wide de"),
            (None, was("de"), 0.85, ("en", 0.9), "fast"),
            (None, was("en"), 0.3, ("de", 0.4), "fast"),
            // What a client says is not doubted.
            (Some("en"), Belief::default(), 0.1, ("fr", 0.9), "fast"),
            (Some("fr"), Belief::default(), 0.9, ("en", 0.9), "wide fr"),
        ];
        for (said, belief, confidence, sounds, expected) in cases {
            let hint = Hint { language: said.map(language), belief: belief.clone(), ..Hint::default() };
            let heard = auto(confidence, sounds).recognise(&[0.0; ENOUGH], &hint, &Waited::by(&|| false)).expect("it hears");
            assert_eq!(heard.text, expected, "{said:?} {belief:?} {confidence} {sounds:?}");
            let told = heard.language.map(|told| told.value);
            assert_eq!(told, Some(language(expected.strip_prefix("wide ").unwrap_or("en"))), "{said:?} {belief:?}");
        }
    }
}
