//! Work beside the answers of one request: what is heard, spoken and embedded, priced and on the books like any attempt.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use models::{Attention, Heads, Heard, Hint, ModelError, Sound, Spoken, Synthesizer, Transcriber, Usage, Voice};
use tokio::time::Instant;

use crate::attempt::{AttemptId, Work};
use crate::{Amount, Attempt, AttemptLog, Counted, Outcome, Price};

/// Who hears and who speaks, under the names by which their work is recorded, and what it costs.
#[derive(Clone)]
pub struct Speakers {
    /// Speech to text.
    pub transcriber: Arc<dyn Transcriber>,
    /// `provider/model` of it.
    pub hears: String,
    /// What tells emotions from the tone of voices.
    pub emotion: Arc<Heads>,
    /// Text to speech.
    pub synthesizer: Arc<dyn Synthesizer>,
    /// `provider/model` of it.
    pub speaks: String,
    /// What they, and embeddings, cost; `None`: nobody knows.
    pub price: Option<Price>,
}

/// The work of one request. Clones share it.
#[derive(Clone, Default)]
pub struct Works {
    log: AttemptLog,
    price: Option<Price>,
}

impl Works {
    /// None yet, at these prices.
    pub fn new(price: Option<Price>) -> Works {
        Works { log: AttemptLog::default(), price }
    }

    /// The work so far.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.log.attempts()
    }

    /// Adds what was done elsewhere for the same request.
    pub fn add(&self, others: &Works) {
        for attempt in others.attempts() {
            self.log.begin(attempt);
        }
    }

    /// The transcriber, its work on the books.
    pub fn transcriber(&self, speakers: &Speakers) -> impl Transcriber + use<> {
        Metered { works: self.clone(), target: speakers.hears.clone(), inner: speakers.transcriber.clone() }
    }

    /// The synthesizer, its work on the books.
    pub fn synthesizer(&self, speakers: &Speakers) -> impl Synthesizer + use<> {
        Metered { works: self.clone(), target: speakers.speaks.clone(), inner: speakers.synthesizer.clone() }
    }

    /// Notes a transcription that is over, of so much sound, and how long it took.
    pub fn heard(&self, speakers: &Speakers, sound: Duration, took: Duration) {
        let mut working = self.begin(Work::Transcription, &speakers.hears);
        working.used = Used::Heard(sound);
        working.since -= took;
        working.outcome = Outcome::Answered(None);
    }

    pub(crate) fn begin(&self, work: Work, target: &str) -> Working {
        let id = self.log.begin(Attempt { work, ..Attempt::new(target) });
        let target = target.to_owned();
        Working { works: self.clone(), target, id, since: Instant::now(), first: None, used: Used::Nothing, outcome: Outcome::Cancelled }
    }
}

/// An engine whose work is on the books.
struct Metered<E> {
    works: Works,
    target: String,
    inner: E,
}

impl Transcriber for Metered<Arc<dyn Transcriber>> {
    fn transcribe(&self, sound: BoxStream<'static, Sound>, hint: Hint) -> BoxStream<'static, Result<Heard, ModelError>> {
        let mut working = self.works.begin(Work::Transcription, &self.target);
        let heard = self.inner.transcribe(sound, hint);
        heard.inspect(move |heard| working.note_heard(heard)).boxed()
    }

    fn attention(&self) -> Attention {
        self.inner.attention()
    }
}

impl Synthesizer for Metered<Arc<dyn Synthesizer>> {
    fn speak(&self, text: BoxStream<'static, String>, voice: Voice) -> BoxStream<'static, Result<Spoken, ModelError>> {
        let working = Arc::new(std::sync::Mutex::new(self.works.begin(Work::Speech, &self.target)));
        let counting = working.clone();
        let with = |working: &std::sync::Mutex<Working>, f: &mut dyn FnMut(&mut Working)| {
            f(&mut working.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        };
        let text = text.inspect(move |text| with(&counting, &mut |working| working.note_text(text)));
        let spoken = self.inner.speak(text.boxed(), voice);
        let noting = working.clone();
        let spoken = spoken.inspect(move |spoken| with(&noting, &mut |working| working.note_spoken(spoken)));
        let end = stream::once(async move {
            with(&working, &mut |working| working.note_end());
            None
        });
        spoken.map(Some).chain(end).filter_map(std::future::ready).boxed()
    }

    fn voices(&self) -> Vec<String> {
        self.inner.voices()
    }
}

/// A piece of work that runs; what became of it is written down when it is dropped.
pub(crate) struct Working {
    works: Works,
    target: String,
    id: AttemptId,
    since: Instant,
    first: Option<Duration>,
    used: Used,
    outcome: Outcome,
}

/// What a piece of work used.
enum Used {
    Nothing,
    Tokens(Counted),
    Heard(Duration),
    Spoken { characters: u64, sound: Duration },
}

impl Working {
    /// It is done, and took these tokens.
    pub(crate) fn embedded(mut self, counted: Counted) {
        self.used = Used::Tokens(counted);
        self.outcome = Outcome::Answered(None);
    }

    /// It failed.
    pub(crate) fn failed(&mut self, error: &ModelError) {
        self.outcome = Outcome::Failed(error.clone());
    }

    fn note_heard(&mut self, heard: &Result<Heard, ModelError>) {
        match heard {
            Ok(Heard::Utterance(utterance)) => {
                self.used = Used::Heard(utterance.duration);
                self.outcome = Outcome::Answered(None);
            }
            Ok(Heard::Partial(_) | Heard::Paused(_) | Heard::Glanced(_) | Heard::Language(_)) => {}
            Err(error) => self.failed(error),
        }
        self.first.get_or_insert_with(|| self.since.elapsed());
    }

    fn note_text(&mut self, text: &str) {
        let more = text.chars().count() as u64;
        match &mut self.used {
            Used::Spoken { characters, .. } => *characters += more,
            used => *used = Used::Spoken { characters: more, sound: Duration::ZERO },
        }
    }

    fn note_spoken(&mut self, spoken: &Result<Spoken, ModelError>) {
        match spoken {
            Ok(Spoken { frame, .. }) => {
                self.first.get_or_insert_with(|| self.since.elapsed());
                if let Used::Spoken { sound, .. } = &mut self.used {
                    *sound += audio::Samples(frame.pcm.len() as u64).duration(frame.rate);
                }
            }
            Err(error) => self.failed(error),
        }
    }

    fn note_end(&mut self) {
        if self.outcome == Outcome::Cancelled {
            self.outcome = Outcome::Answered(None);
        }
    }

    /// What it cost. Who fails before the first sound is not paid.
    fn priced(&self) -> Option<crate::cost::Priced> {
        if matches!(self.outcome, Outcome::Failed(_)) && self.first.is_none() {
            return None;
        }
        let amount = match &self.used {
            Used::Nothing => return None,
            Used::Tokens(counted) => Amount::Tokens(&counted.usage()),
            Used::Heard(sound) => Amount::Heard(*sound),
            Used::Spoken { characters, sound } => Amount::Spoken { characters: *characters, sound: *sound },
        };
        self.works.price.as_ref()?(&self.target, amount)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let priced = self.priced();
        self.works.log.update(self.id, |attempt| {
            attempt.total = self.since.elapsed();
            attempt.first_token = self.first;
            attempt.usage = match &self.used {
                Used::Tokens(counted) => Some(*counted),
                Used::Nothing | Used::Heard(_) | Used::Spoken { .. } => None,
            };
            attempt.cost = priced;
            if let Outcome::Failed(error) = &self.outcome {
                attempt.status = error.status;
            }
            attempt.outcome = self.outcome.clone();
        });
    }
}

/// The tokens of texts that were embedded, where nobody counted them.
pub(crate) fn tokens_of(texts: &[String]) -> Counted {
    let input_tokens = texts.iter().map(|text| crate::cost::text_tokens(text)).sum();
    Counted::Estimated(Usage { input_tokens, ..Usage::default() })
}

#[cfg(test)]
mod tests {
    use audio::{Frame, Rate, Samples};
    use models::{ErrorKind, Utterance};

    use super::*;
    use crate::Catalogue;

    /// Hears two seconds; speaks a tenth of a second a text, and fails at `!`.
    struct Engine;

    impl Transcriber for Engine {
        fn transcribe(&self, _: BoxStream<'static, Sound>, _: Hint) -> BoxStream<'static, Result<Heard, ModelError>> {
            let utterance = Utterance { duration: Duration::from_secs(2), ..Utterance::default() };
            stream::iter([Ok(Heard::Utterance(utterance))]).boxed()
        }
    }

    impl Synthesizer for Engine {
        fn speak(&self, text: BoxStream<'static, String>, _: Voice) -> BoxStream<'static, Result<Spoken, ModelError>> {
            let spoken = text.map(|text| match text.as_str() {
                "!" => Err(ModelError::new(ErrorKind::Overloaded, "t", "no")),
                _ => Ok(Spoken { frame: Frame::new(vec![0.0; 2_400], Rate::SPEECH, Samples(0)), words: Vec::new() }),
            });
            spoken.boxed()
        }

        fn voices(&self) -> Vec<String> {
            Vec::new()
        }
    }

    fn speakers(hears: &str, speaks: &str) -> Speakers {
        let catalogue = Catalogue::default();
        let price: Price = Arc::new(move |target, amount| catalogue.price(target, amount));
        let (hears, speaks) = (hears.to_owned(), speaks.to_owned());
        Speakers {
            transcriber: Arc::new(Engine),
            hears,
            emotion: Heads::moonshine(),
            synthesizer: Arc::new(Engine),
            speaks,
            price: Some(price),
        }
    }

    #[tokio::test]
    async fn sound_is_paid_by_its_length_and_speech_by_characters_or_by_its_length() {
        // Dollars: 0.36 an hour heard; 15 a million characters, 0.9 an hour spoken.
        for (hears, speaks, texts, taken, expected) in [
            (
                "openai/whisper-1",
                "openai/tts-1",
                &["Hé.", "Hi."][..],
                9,
                vec![("answered", Some(200_000), false), ("answered", Some(90_000), false)],
            ),
            (
                "openai/gpt-4o-transcribe",
                "openai/gpt-4o-mini-tts",
                &["Hi."],
                9,
                vec![("answered", Some(200_000), true), ("answered", Some(25_000), true)],
            ),
            (
                "openai/whisper-1",
                "openai/tts-1",
                &["Hi.", "Hello."],
                1,
                vec![("answered", Some(200_000), false), ("cancelled", Some(45_000), false)],
            ),
            ("openai/whisper-1", "openai/tts-1", &["!"], 9, vec![("answered", Some(200_000), false), ("failed", None, false)]),
            ("own/ears", "own/mouth", &["Hi."], 9, vec![("answered", None, false), ("answered", None, false)]),
        ] {
            let speakers = speakers(hears, speaks);
            let works = Works::new(speakers.price.clone());
            let heard = works.transcriber(&speakers).transcribe(stream::empty().boxed(), Hint::default());
            assert_eq!(heard.count().await, 1);
            let texts = stream::iter(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
            let mut spoken = works.synthesizer(&speakers).speak(texts.boxed(), Voice::new("v"));
            for _ in 0..taken {
                spoken.next().await;
            }
            drop(spoken);
            let records: Vec<crate::AttemptRecord> = works.attempts().iter().map(Into::into).collect();
            let told: Vec<_> = records.iter().map(|record| (record.outcome, record.cost_nano_usd, record.estimated)).collect();
            assert_eq!(told, expected, "{hears} {speaks}");
        }
    }
}
