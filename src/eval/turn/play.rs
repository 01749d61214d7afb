//! A clip heard by the models, and what becomes of its turn by one way of ending turns, in the time of its sound.
//!
//! No clock is read but to measure what a question costs: sound comes every 20 ms, as from a microphone, and an answer is there so long
//! after it was asked for. What a model says of a stretch of sound is asked for once and kept for the next way.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use audio::features::tail;
use audio::{Activity, ActivityEvent, ActivityRules, Frame, Probability, Rate, Samples};
use futures::{StreamExt, stream};
use models::turn::SmartTurn;
use models::vad::{VoiceDetector, VoiceState, WINDOW};
use models::{Heard, Hint, Language, Sound, Transcriber, TurnDetector, Weights};
use tokio::runtime::Handle;

use super::super::manifest::Entry;
use crate::bench::{Quantiles, quiet, speech};
use crate::conversation::{Conversation, Input, Output};

/// Quiet before a clip: the detector has to notice the onset.
const LEAD_IN: Samples = Rate::MODEL.samples_in_ms(300);
/// Quiet behind it: every way has ended the turn by then.
const LEAD_OUT: Samples = Rate::MODEL.samples_in_ms(4_000);
/// Sound comes in pieces of this.
const CHUNK: Samples = Rate::MODEL.samples_in_ms(20);
/// Where Smart Turn alone takes a pause for no end, this much silence is one all the same (the default of its authors).
const GIVES_UP: Samples = Rate::MODEL.samples_in_ms(3_000);
/// What Smart Turn hears.
const LISTENED: usize = models::turn::WINDOW;

/// The models, and what they took.
pub(super) struct Ears {
    detector: VoiceDetector,
    turn: SmartTurn,
    transcriber: Arc<dyn Transcriber>,
    runtime: Handle,
    /// Seconds of each question to Smart Turn.
    judging: RefCell<Vec<f64>>,
    /// Seconds of each pass over words, for a second of speech.
    hearing: RefCell<Vec<f64>>,
}

/// What the answers to questions take, in the time of the sound.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// A question to Smart Turn.
    pub(super) judging: Samples,
    /// A pass over the words, as a share of the speech in it.
    pub(super) hearing: f64,
}

impl Pace {
    /// Answers that are there at once.
    pub(super) const INSTANT: Pace = Pace { judging: Samples(0), hearing: 0.0 };
}

impl Ears {
    pub(super) fn load(weights: &Weights) -> anyhow::Result<Ears> {
        let engine = models::stt::ENGINES.iter().find(|engine| engine.name == "moonshine").context("there is no Moonshine here")?;
        Ok(Ears {
            detector: VoiceDetector::load(weights)?,
            turn: SmartTurn::load(weights, 1)?,
            transcriber: (engine.build)(weights, 1)?,
            runtime: Handle::try_current().context("turns are evaluated where there is a runtime")?,
            judging: RefCell::default(),
            hearing: RefCell::default(),
        })
    }

    /// What questions take on a machine that has nothing else to do: a tenth of those so far took less.
    pub(super) fn pace(&self) -> Pace {
        let quick = |took: &RefCell<Vec<f64>>| Quantiles::new(took.borrow().iter().copied()).at(0.1).unwrap_or_default();
        Pace { judging: Samples((quick(&self.judging) * f64::from(Rate::MODEL.hz())) as u64), hearing: quick(&self.hearing) }
    }

    fn over(&self, pcm: &[f32]) -> anyhow::Result<Probability> {
        let began = Instant::now();
        let over = self.runtime.block_on(self.turn.end_of_turn(pcm.to_vec()))?;
        self.judging.borrow_mut().push(began.elapsed().as_secs_f64());
        Ok(over)
    }

    fn words(&self, pcm: &[f32]) -> anyhow::Result<String> {
        let sound = [Sound::Frame(Frame::new(pcm.to_vec(), Rate::MODEL, Samples(0))), Sound::Pause];
        let sound = stream::iter(sound).chain(stream::pending()).boxed();
        let hint = Hint { language: Some(Language::ENGLISH), ..Hint::default() };
        let mut heard = self.transcriber.transcribe(sound, hint);
        let began = Instant::now();
        let heard = self.runtime.block_on(heard.next()).context("the transcriber left")??;
        self.hearing.borrow_mut().push(began.elapsed().as_secs_f64() * f64::from(Rate::MODEL.hz()) / pcm.len() as f64);
        match heard {
            Heard::Glanced(text) => Ok(text),
            // It comes from sound that is still being said; this is asked about whole.
            Heard::Language(_) => Ok(String::new()),
            Heard::Partial(partial) | Heard::Paused(partial) => Ok(partial.text),
            Heard::Utterance(utterance) => Ok(utterance.text),
        }
    }
}

/// What became of a turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    /// It was ended while the caller still spoke.
    Cut,
    /// It was ended; seconds after the end of the speech.
    Ended(f64),
    /// It was not.
    Open,
}

/// A clip as a microphone would send it, and what the models hear in it.
pub(super) struct Clip<'a> {
    pub(super) speaker: String,
    ears: &'a Ears,
    pcm: Vec<f32>,
    /// Where the speech ends, by its energy.
    end: Samples,
    /// How likely each window holds speech.
    voice: Vec<Probability>,
    sound: RefCell<HashMap<(Samples, Samples), Probability>>,
    words: RefCell<HashMap<(Samples, Samples), String>>,
}

impl Clip<'_> {
    /// `None` where nobody speaks in the recording.
    pub(super) fn of<'a>(ears: &'a Ears, entry: &Entry) -> anyhow::Result<Option<Clip<'a>>> {
        let pcm = &entry.sound()?;
        let Some((_, end)) = speech(pcm, Rate::MODEL) else { return Ok(None) };
        let mut all = quiet(LEAD_IN.0 as usize);
        all.extend_from_slice(pcm);
        all.extend(quiet(LEAD_OUT.0 as usize));
        let mut state = VoiceState::default();
        let voice = all.as_chunks::<WINDOW>().0.iter().map(|window| ears.detector.voice(&mut state, window)).collect::<Result<_, _>>()?;
        Ok(Some(Clip {
            speaker: entry.speaker.clone(),
            ears,
            pcm: all,
            end: LEAD_IN + Samples(end as u64),
            voice,
            sound: RefCell::default(),
            words: RefCell::default(),
        }))
    }

    /// The sound of the utterance before `now` that a pause is judged by.
    fn latest(&self, from: Samples, now: Samples) -> &[f32] {
        &self.pcm[(from.0 as usize).max((now.0 as usize).saturating_sub(LISTENED))..now.0 as usize]
    }

    fn over(&self, from: Samples, now: Samples) -> anyhow::Result<Probability> {
        if let Some(over) = self.sound.borrow().get(&(from, now)) {
            return Ok(*over);
        }
        let over = self.ears.over(self.latest(from, now))?;
        self.sound.borrow_mut().insert((from, now), over);
        Ok(over)
    }

    fn words(&self, from: Samples, now: Samples) -> anyhow::Result<String> {
        if let Some(words) = self.words.borrow().get(&(from, now)) {
            return Ok(words.clone());
        }
        let words = self.ears.words(&self.pcm[from.0 as usize..now.0 as usize])?;
        self.words.borrow_mut().insert((from, now), words.clone());
        Ok(words)
    }

    fn fate(&self, decided: Samples) -> Fate {
        if decided < self.end { Fate::Cut } else { Fate::Ended((decided - self.end).duration(Rate::MODEL).as_secs_f64()) }
    }

    /// What becomes of the turn in a call whose decisions are made by `conversation`.
    pub(super) fn held(&self, conversation: &mut Conversation, pace: Pace) -> anyhow::Result<Fate> {
        let _ = conversation.handle(Samples(0), Input::Cleared);
        let mut activity = Activity::new(ActivityRules { silence: Samples(u64::MAX), ..ActivityRules::default() });
        let (mut from, mut fate) = (Samples(0), Fate::Open);
        // Up to where the words were asked for and when they are there; the judgement on its way and when it is there.
        let mut draft: Option<(Samples, Samples)> = None;
        let mut due: Option<(Samples, Input)> = None;
        // When the answer of Smart Turn's is there that was last asked for: until then it is not asked again.
        let (mut last, mut answered) = (Samples(0), Samples(0));
        for (index, speech) in self.voice.iter().enumerate() {
            let now = Samples((index + 1) as u64 * WINDOW as u64);
            let arrived = arrival(now);
            let judged = due.take_if(|(at, _)| *at <= arrived).map(|(at, input)| (at, last, input));
            let voice = activity.push(*speech).map(Input::Voice).into_iter().chain([Input::Window(*speech)]);
            for (at, now, input) in judged.into_iter().chain(voice.map(|input| (arrived, now, input))) {
                for output in conversation.handle(now, input) {
                    match output {
                        Output::Hear { from: at } => from = at,
                        Output::Draft => draft = Some((now, at + self.hearing(from, now, pace))),
                        Output::Ask if at < answered => {}
                        Output::Ask => {
                            answered = at + pace.judging;
                            let (until, ready) = *draft.get_or_insert((now, at + self.hearing(from, now, pace)));
                            let silence = activity.silence().unwrap_or_default();
                            let tail = tail(self.latest(from, now), Rate::MODEL, silence);
                            let input = Input::Judged { over: self.over(from, now)?, words: Some(self.words(from, until)?), tail };
                            due = Some((ready.max(answered), input));
                        }
                        Output::GoOn => (draft, due, answered) = (None, None, Samples(0)),
                        Output::EndTurn { .. } => {
                            activity.end();
                            (draft, due) = (None, None);
                            if fate == Fate::Open {
                                fate = self.fate(at);
                            }
                        }
                        Output::Announce { .. }
                        | Output::Listen
                        | Output::Prepare { .. }
                        | Output::Answer
                        | Output::Forget
                        | Output::Hold(_)
                        | Output::Release(_)
                        | Output::Interrupt(_) => {}
                    }
                }
            }
            last = now;
        }
        Ok(fate)
    }

    fn hearing(&self, from: Samples, until: Samples, pace: Pace) -> Samples {
        Samples(((until - from).0 as f64 * pace.hearing) as u64)
    }

    /// What becomes of it where so much silence ends a turn, whatever it sounds like.
    pub(super) fn silenced(&self, silence: Samples) -> Fate {
        let mut activity = Activity::new(ActivityRules { silence: Samples(u64::MAX), ..ActivityRules::default() });
        let ends = |(index, speech): (usize, &Probability)| {
            let _ = activity.push(*speech);
            let now = Samples((index + 1) as u64 * WINDOW as u64);
            activity.silence().filter(|pause| *pause >= silence).map(|_| self.fate(arrival(now)))
        };
        self.voice.iter().enumerate().find_map(ends).unwrap_or(Fate::Open)
    }

    /// What becomes of it where Smart Turn alone decides, once in each pause.
    pub(super) fn judged(&self, silence: Samples, pace: Pace) -> anyhow::Result<Fate> {
        let mut activity = Activity::new(ActivityRules { silence: Samples(u64::MAX), ..ActivityRules::default() });
        let (mut from, mut asked, mut due) = (Samples(0), false, None);
        for (index, speech) in self.voice.iter().enumerate() {
            let now = Samples((index + 1) as u64 * WINDOW as u64);
            let arrived = arrival(now);
            if let Some(at) = due.filter(|at| *at <= arrived) {
                return Ok(self.fate(at));
            }
            match activity.push(*speech) {
                Some(ActivityEvent::Started { from: at, .. }) => from = at,
                Some(ActivityEvent::Resumed { .. }) => (asked, due) = (false, None),
                Some(ActivityEvent::Paused { .. } | ActivityEvent::Ended { .. }) | None => {}
            }
            match activity.silence() {
                Some(pause) if pause >= GIVES_UP => return Ok(self.fate(arrived)),
                Some(pause) if pause >= silence && !asked => {
                    asked = true;
                    due = (self.over(from, now)?.get() >= 0.5).then_some(arrived + pace.judging);
                }
                Some(_) | None => {}
            }
        }
        Ok(Fate::Open)
    }
}

/// When a stretch of sound that ends at `now` is here.
fn arrival(now: Samples) -> Samples {
    Samples(now.0.div_ceil(CHUNK.0) * CHUNK.0)
}
