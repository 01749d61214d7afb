//! The caller's turn: its pauses are judged, its end is told, its last words are awaited, and what was measured of it is sent.

use std::sync::{Arc, PoisonError};

use audio::features::tail;
use audio::{Probability, Rate, Samples};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use models::{Attention, Dynamics, Heard, Language, Measured, ModelError, Partial, SignalKind, Signals, Utterance};
use tokio::time::Instant;
use tracing::{debug, warn};
use web::call::{Content, Event, Item, ItemContent, Status, TurnDetection};

use super::{Session, Told, expected};
use crate::conversation::Input;

/// Where the transcriber has others to hear, it is asked for the words only if the sound makes the end of the turn this likely.
const LIKELY: f32 = 0.5;
/// A language less likely than this is not acted on.
const BELIEVED: f32 = 0.5;
/// Where it is busy, a pause that sounded less final than this is not asked about again.
const HARDLY: f32 = 0.1;
/// What is taken of a pause whose sound nobody judges: most that are long enough to be asked about end a turn.
const UNJUDGED: Probability = Probability::new(0.85);
/// Sound before a pause that is judged, and by which the room is known: eight seconds at 16 kHz.
const JUDGED: usize = 8 * Rate::MODEL.hz() as usize;

/// A pause being judged: by its sound and by its words, both at once where the transcriber has time.
pub(super) struct Judging {
    pub sound: Option<BoxFuture<'static, Result<Probability, ModelError>>>,
    over: Option<Probability>,
    words: Words,
    /// How far into the pause its sound still stood out of the room.
    tail: Samples,
}

/// What is known of the words before a pause.
enum Words {
    /// The transcriber cannot say before the end.
    Never,
    /// It is busy, and is asked only if the sound says that the turn may be over.
    IfLikely,
    /// It was asked.
    Awaited,
    Known(String),
}

/// A turn whose last words are on their way.
pub(super) struct Finishing {
    pub item: String,
    pub pcm: Vec<f32>,
    /// How likely the turn was over when it was ended, where a pause was judged.
    pub over: Option<Probability>,
    pub heard: BoxStream<'static, Result<Heard, ModelError>>,
    pub told: String,
    /// How it lies in the call.
    pub dynamics: Option<Dynamics>,
    /// Whether it is answered.
    pub respond: bool,
    /// When the caller stopped to speak.
    pub ended: Instant,
    /// When the last words were asked for.
    pub asked: Instant,
}

impl Session {
    /// Asks for the words of somebody who speaks into an answer. A transcriber with others to hear is not asked: the voice must do.
    pub(super) async fn listen(&mut self) -> Told {
        if self.engines.speakers.transcriber.attention() != Attention::Idle {
            return self.decide(Input::Words(None)).await;
        }
        if let Some(utterance) = &mut self.hearing.utterance {
            utterance.glance();
        }
        Ok(())
    }

    /// Asks for the words before a pause that may become one, where the transcriber has nothing else to do.
    pub(super) fn draft_pause(&mut self) {
        if self.engines.speakers.transcriber.attention() == Attention::Idle
            && let Some(utterance) = &mut self.hearing.utterance
        {
            utterance.pause();
            self.judging = Some(Judging { sound: None, over: None, words: Words::Awaited, tail: Samples(0) });
        }
    }

    /// Asks whether the pause is the end of the turn.
    pub(super) async fn ask(&mut self) -> Told {
        // A machine too slow to answer one question before the next would else answer none.
        if self.judging.as_ref().is_some_and(|judging| judging.sound.is_some()) {
            return Ok(());
        }
        let semantic = matches!(self.config.turns, TurnDetection::Semantic { .. });
        let Some(utterance) = &mut self.hearing.utterance else { return Ok(()) };
        let attention = self.engines.speakers.transcriber.attention();
        let over = self.judging.as_ref().and_then(|judging| judging.over);
        // Under load those that did not sound like an end are not asked about again.
        if over.is_some_and(|over| over.get() < HARDLY) && semantic && attention == Attention::Busy && utterance.announced {
            return Ok(());
        }
        let latest = &utterance.pcm[utterance.pcm.len().saturating_sub(JUDGED)..];
        let tail = self.hearing.activity.silence().map_or(Samples(0), |silence| tail(latest, Rate::MODEL, silence));
        let sound = self.engines.turn.as_ref().filter(|_| semantic).map(|turn| turn.end_of_turn(latest.to_vec()));
        let words = match self.judging.take().map(|judging| judging.words) {
            // Nothing was said since they were asked for.
            Some(words @ (Words::Known(_) | Words::Awaited)) => words,
            _ => match attention {
                Attention::Never => Words::Never,
                // Who spoke into an answer is waited for: was it more than "mm-hm"?
                Attention::Busy if sound.is_some() && utterance.announced => Words::IfLikely,
                Attention::Busy | Attention::Idle => Words::Awaited,
            },
        };
        if matches!(words, Words::Awaited) {
            utterance.pause();
        }
        // Without a judge by sound, the length of the pause and the words decide.
        let over = sound.is_none().then_some(UNJUDGED);
        self.judging = Some(Judging { sound, over, words, tail });
        // Where nobody is waited for, the answer is there already.
        Box::pin(self.judged()).await
    }

    /// Begins an answer to the words before the pause, which probably ends the turn.
    pub(super) fn prepare_for(&mut self, at: Samples) {
        if let Some(Judging { words: Words::Known(words), .. }) = &self.judging {
            let words = words.clone();
            self.prepare(at, &words);
        }
    }

    pub(super) async fn judged_by_sound(&mut self, over: Result<Probability, ModelError>) -> Told {
        let over = over.unwrap_or_else(|error| {
            warn!(call = %self.id, %error, "A pause could not be judged by its sound.");
            UNJUDGED
        });
        if let Some(judging) = &mut self.judging {
            judging.sound = None;
            judging.over = Some(over);
            if matches!(judging.words, Words::IfLikely)
                && over.get() >= LIKELY
                && let Some(utterance) = &mut self.hearing.utterance
            {
                judging.words = Words::Awaited;
                utterance.pause();
            }
        }
        self.judged().await
    }

    /// Tells the conversation once both the sound and the words have spoken.
    async fn judged(&mut self) -> Told {
        let Some(Judging { over: Some(over), words, tail, .. }) = &self.judging else { return Ok(()) };
        let words = match words {
            Words::Awaited => return Ok(()),
            Words::Never | Words::IfLikely => None,
            Words::Known(words) => Some(words.clone()),
        };
        let (over, tail) = (*over, *tail);
        debug!(call = %self.id, over = over.get(), words = words.as_deref(), at_ms = self.hearing.now().ms(Rate::MODEL), "A pause was judged.");
        self.decide(Input::Judged { over, words, tail }).await
    }

    /// The transcriber said something of what is still being said.
    pub(super) async fn heard(&mut self, heard: Option<Result<Heard, ModelError>>) -> Told {
        match heard {
            Some(Ok(Heard::Partial(partial))) => self.draft(&partial).await,
            Some(Ok(Heard::Glanced(words))) => self.decide(Input::Words(Some(words))).await,
            Some(Ok(Heard::Language(language))) => self.tell_language(language).await,
            Some(Ok(Heard::Paused(partial))) => {
                self.draft(&partial).await?;
                let current = self.hearing.utterance.as_ref().is_some_and(|utterance| utterance.paused_at(partial.covers));
                if let Some(judging) = self.judging.as_mut().filter(|_| current) {
                    judging.words = Words::Known(partial.text);
                }
                self.judged().await
            }
            Some(Ok(Heard::Utterance(utterance))) => {
                // It heard as much as it can of one utterance: the turn ends here.
                let item = self.hearing.utterance.as_ref().map(|u| u.item.clone()).unwrap_or_default();
                self.end_turn(self.hearing.now(), true).await?;
                if let Some(finishing) = self.finishing.iter_mut().find(|f| f.item == item) {
                    finishing.heard = futures::stream::once(async move { Ok(Heard::Utterance(utterance)) }).boxed();
                }
                Ok(())
            }
            Some(Err(error)) => {
                warn!(call = %self.id, %error, "The transcriber failed; the turn is lost.");
                let utterance = self.hearing.utterance.take();
                self.judging = None;
                self.hearing.quiet();
                self.decide(Input::Cleared).await?;
                match utterance {
                    Some(utterance) => self.tell(Event::TranscriptFailed { item: utterance.item, message: error.to_string() }).await,
                    None => Ok(()),
                }
            }
            None => {
                self.hearing.utterance = None;
                Ok(())
            }
        }
    }

    /// Sends what is new of a draft and settled, where it only grew.
    async fn draft(&mut self, partial: &Partial) -> Told {
        if !self.config.transcripts {
            return Ok(());
        }
        let Some(utterance) = self.hearing.utterance.as_mut().filter(|utterance| utterance.announced) else { return Ok(()) };
        let Some(delta) = partial.settled().strip_prefix(utterance.told.as_str()).filter(|delta| !delta.is_empty()).map(str::to_owned)
        else {
            return Ok(());
        };
        utterance.told.push_str(&delta);
        let item = utterance.item.clone();
        self.tell(Event::TranscriptDelta { item, delta }).await
    }

    /// The caller seems to speak another language than was told last: the client need not wait for the end of the turn to know.
    async fn tell_language(&mut self, language: Measured<Language>) -> Told {
        if self.language == Some(language.value) || language.confidence.get() < BELIEVED {
            return Ok(());
        }
        self.language = Some(language.value);
        let wanted = self.config.signals.contains(SignalKind::Language);
        let Some(utterance) = self.hearing.utterance.as_ref().filter(|utterance| utterance.announced && wanted) else { return Ok(()) };
        let item = utterance.item.clone();
        self.tell(Event::Signals { item, signals: Box::new(Signals { language: Some(language), ..Signals::default() }) }).await
    }

    /// The caller's turn is over: its sound becomes an item; its last words are on their way.
    pub(super) async fn end_turn(&mut self, at: Samples, respond: bool) -> Told {
        let over = self.judging.take().and_then(|judging| judging.over);
        self.hearing.quiet();
        let Some(utterance) = self.hearing.utterance.take() else { return Ok(()) };
        self.turns += 1;
        let dynamics = self.floor.turn_ended(at);
        let (item, told) = (utterance.item.clone(), utterance.told.clone());
        if utterance.lost > Samples(0) {
            warn!(call = %self.id, lost_ms = utterance.lost.ms(Rate::MODEL), "The transcriber was too slow and lost sound.");
        }
        let announced = utterance.announced;
        let (heard, pcm) = utterance.finish();
        if announced {
            self.tell(Event::SpeechStopped { at_ms: at.ms(Rate::MODEL), item: item.clone() }).await?;
        }
        let parts = vec![Content::Audio { transcript: None, pcm: None }];
        let added = Item { id: item.clone(), content: ItemContent::Message { role: models::Role::User, parts }, status: Status::Completed };
        let after = self.dialogue.add(added.clone(), None).flatten();
        self.tell(Event::Committed { after: after.clone(), item: item.clone() }).await?;
        self.tell(Event::ItemAdded { after: after.clone(), item: added.clone() }).await?;
        self.tell(Event::ItemDone { after, item: added }).await?;
        let asked = Instant::now();
        // The silence that ended the turn has passed already.
        let silence = Samples(self.hearing.now().0.saturating_sub(at.0)).duration(Rate::MODEL);
        let ended = asked.checked_sub(silence).unwrap_or(asked);
        self.finishing.push_back(Finishing { item, pcm, over, dynamics, heard, told, respond, ended, asked });
        Ok(())
    }

    /// Answers a turn that had to wait for the answer before.
    pub(super) async fn answer_at_last(&mut self) -> Told {
        match self.finishing.back_mut() {
            Some(finishing) => {
                finishing.respond = true;
                Ok(())
            }
            None => self.respond(None, Box::default()).await,
        }
    }

    /// The transcriber said something of a turn that is over.
    pub(super) async fn finished(&mut self, heard: Option<Result<Heard, ModelError>>) -> Told {
        let heard = match heard {
            Some(Ok(Heard::Partial(_) | Heard::Paused(_) | Heard::Glanced(_) | Heard::Language(_))) => return Ok(()),
            Some(Ok(Heard::Utterance(utterance))) => Ok(utterance),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the transcriber ended without a transcript".to_owned()),
        };
        let Some(finishing) = self.finishing.pop_front() else { return Ok(()) };
        match heard {
            Ok(utterance) => self.transcribed(finishing, utterance).await,
            Err(message) => {
                warn!(call = %self.id, item = %finishing.item, %message, "A turn could not be transcribed.");
                self.prepared = None;
                self.tell(Event::TranscriptFailed { item: finishing.item, message }).await
            }
        }
    }

    async fn transcribed(&mut self, finishing: Finishing, utterance: Utterance) -> Told {
        let Finishing { item, pcm, over, dynamics, told, respond, ended, asked, heard: _ } = finishing;
        self.works.heard(&self.engines.speakers, utterance.duration, asked.elapsed());
        self.spoke = respond.then_some(ended);
        self.dialogue.transcribe(&item, &utterance.text);
        if !utterance.belief.is_empty() {
            self.belief = utterance.belief.next_turn(&expected(&self.config));
        }
        if let Some(language) = &utterance.language
            && language.confidence.get() >= BELIEVED
        {
            self.language = Some(language.value);
        }
        // Rules are answered before the route is chosen; the rest is measured while the model thinks.
        let for_rules = !self.engines.router.wanted_by(&self.model()).is_empty();
        let words = utterance.text.clone();
        let needs = respond && !words.is_empty() && for_rules;
        let measuring = self.measure(item.clone(), pcm, utterance.clone(), (over, dynamics));
        if needs {
            let (_, signals) = measuring.await;
            self.signals = Some(Arc::new(signals.clone()));
            self.respond_to_turn(respond, &words).await?;
            self.tell_signals(item.clone(), signals).await?;
            return self.tell_transcript(&item, &told, &utterance).await;
        }
        self.signals = Some(Arc::new(Signals { language: utterance.language.clone(), ..Signals::default() }));
        if !self.wanted().is_empty() {
            self.measuring.push(Box::pin(measuring));
        }
        self.respond_to_turn(respond, &words).await?;
        self.tell_transcript(&item, &told, &utterance).await
    }

    /// Measures how the turn was spoken, on a thread where computing harms nobody. The speaker's usual voice is learnt turn by turn.
    fn measure(
        &self,
        item: String,
        pcm: Vec<f32>,
        utterance: Utterance,
        (over, dynamics): (Option<Probability>, Option<Dynamics>),
    ) -> impl Future<Output = (String, Signals)> + Send + use<> {
        let (baseline, wanted) = (self.baseline.clone(), self.wanted());
        async move {
            let measure = move || {
                let mut baseline = baseline.lock().unwrap_or_else(PoisonError::into_inner);
                models::measure(&pcm, &utterance, dynamics, &mut baseline, wanted)
            };
            let signals = tokio::task::spawn_blocking(measure).await.unwrap_or_default();
            let end_of_turn = over.map(|over| Measured::new(over, over.get().max(1.0 - over.get()), "smart-turn"));
            (item, Signals { end_of_turn, ..signals })
        }
    }

    /// Tells what was measured, where the client wants to know.
    pub(super) async fn tell_signals(&mut self, item: String, signals: Signals) -> Told {
        if self.config.signals.is_empty() {
            return Ok(());
        }
        self.tell(Event::Signals { item, signals: Box::new(signals) }).await
    }

    async fn respond_to_turn(&mut self, respond: bool, words: &str) -> Told {
        // Sound without words is nothing to answer.
        if !respond || words.is_empty() {
            self.prepared = None;
            return Ok(());
        }
        match self.take_prepared() {
            Some((reply, writing)) => self.begin_answer(reply, writing).await,
            None => self.respond(None, Box::default()).await,
        }
    }

    async fn tell_transcript(&mut self, item: &str, told: &str, utterance: &Utterance) -> Told {
        if !self.config.transcripts {
            return Ok(());
        }
        if let Some(delta) = utterance.text.strip_prefix(told).filter(|delta| !delta.is_empty()) {
            self.tell(Event::TranscriptDelta { item: item.to_owned(), delta: delta.to_owned() }).await?;
        }
        self.tell(Event::TranscriptDone {
            item: item.to_owned(),
            text: utterance.text.clone(),
            language: utterance.language.as_ref().map(|language| language.value.to_string()),
            seconds: utterance.duration.as_secs_f64(),
        })
        .await
    }
}
