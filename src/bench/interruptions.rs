//! Sound over an answer: is it meant? Recorded speech and other recorded sound goes to the decisions of a call while an answer speaks, on
//! the clock of the sound, in this process; the recogniser takes the time that it takes.

use std::time::{Duration, Instant};

use anyhow::Context;
use audio::{Activity, ActivityRules, Frame, Probability, Rate, Samples};
use futures::{StreamExt, stream};
use models::vad::{VoiceDetector, VoiceState};
use models::{Heard, Hint, Sound, Transcriber, Weights};

use super::clips;
use super::quantiles::Quantiles;
use super::report::Row;
use crate::conversation::{Conversation, Ends, Input, Output, ReplyId, Rules};

/// Folders of sound that is meant, and how many of their clips: one, then so many are passed over.
pub(crate) const SPEECH: &[(&str, usize)] =
    &[("stt/en/librispeech_other", 1), ("lid/", 1), ("noisy/", 1), ("emotion/ravdess", 24), ("emotion/emodb", 12), ("tel/asterisk", 4)];
/// Folders of sound that is not: noises, music, and voices without words (laughs, sighs, cries).
pub(crate) const OTHER: &[(&str, usize)] = &[("nonspeech/", 1), ("emotion/emogator", 58)];
/// The decision should be there within this.
const SOON: Duration = Duration::from_millis(500);
/// Sound before each clip.
const LEAD_IN: usize = Rate::MODEL.hz() as usize;
/// Sound after which no more decision is awaited.
const LONGEST: usize = Rate::MODEL.hz() as usize * 10;
/// A detector's window.
const WINDOW: usize = 512;

/// What became of an answer that a clip was played into.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// The sound was not noticed.
    Unheard,
    /// It paused, and went on.
    Resumed,
    /// It was given up.
    Interrupted {
        /// Time since the onset.
        after: Duration,
        /// Since the clip began.
        at: Duration,
    },
}

impl Fate {
    /// Whether it was given up so soon after the onset.
    pub(crate) fn ended_within(&self, time: Duration) -> bool {
        matches!(self, Fate::Interrupted { after, .. } if *after <= time)
    }
}

/// The lines of the table.
pub(crate) async fn rows() -> anyhow::Result<Vec<Row>> {
    let weights = Weights::new(Weights::default_folder());
    let ears = Ears::load(&weights)?;
    let speech = ears.play(SPEECH).await?;
    let other = ears.play(OTHER).await?;
    let interrupted = |fates: &[Fate], within: Duration| fates.iter().filter(|fate| fate.ended_within(within)).count();
    let (true_ones, false_ones) = (interrupted(&speech, SOON), interrupted(&other, SOON));
    let precision = true_ones as f64 / (true_ones + false_ones).max(1) as f64;
    let recall = true_ones as f64 / speech.len().max(1) as f64;
    let waits = Quantiles::new(speech.iter().filter_map(|fate| match fate {
        Fate::Interrupted { after, .. } => Some(after.as_secs_f64()),
        Fate::Unheard | Fate::Resumed => None,
    }));
    let resumed = other.iter().filter(|fate| matches!(fate, Fate::Resumed)).count();
    let unheard = other.iter().filter(|fate| matches!(fate, Fate::Unheard)).count();
    let (ever, falsely) = (interrupted(&speech, Duration::MAX), interrupted(&other, Duration::MAX));
    Ok(vec![
        Row::new(
            format!(
                "false barge-ins, decided 500 ms after the onset: precision / recall ({} clips of speech, {} of other sound)",
                speech.len(),
                other.len()
            ),
            "0.9 / 0.98",
            format!("{precision:.2} / {recall:.2}"),
        ),
        Row::new(
            "the same: speech that interrupted sooner or later, p50 / p95 after the onset",
            "",
            format!("{ever} of {}, {}", speech.len(), waits.seconds()),
        ),
        Row::new(
            "the same: other sound that was not noticed / paused the answer / ended it",
            "",
            format!("{unheard} / {resumed} / {falsely} of {}", other.len()),
        ),
    ])
}

/// Who hears a call.
pub(crate) struct Ears {
    /// Its recogniser.
    pub(crate) transcriber: std::sync::Arc<dyn Transcriber>,
    detector: VoiceDetector,
}

impl Ears {
    /// The default recogniser and detector.
    pub(crate) fn load(weights: &Weights) -> anyhow::Result<Ears> {
        let engine = models::stt::ENGINES.iter().find(|engine| engine.name == "auto").context("there is no transcriber `auto`")?;
        Ok(Ears { transcriber: (engine.build)(weights, 1)?, detector: VoiceDetector::load(weights)? })
    }

    async fn play(&self, folders: &[(&str, usize)]) -> anyhow::Result<Vec<Fate>> {
        let mut fates = Vec::new();
        for (folder, step) in folders {
            for (name, pcm) in clips::sounds(folder, *step)? {
                let fate = self.over_an_answer(&pcm).await?;
                let told = match fate {
                    Fate::Unheard => "unheard".to_owned(),
                    Fate::Resumed => "resumed".to_owned(),
                    Fate::Interrupted { after, .. } => format!("interrupted after {} ms", after.as_millis()),
                };
                eprintln!("{name}: {told}");
                fates.push(fate);
            }
        }
        Ok(fates)
    }

    /// What becomes of an answer into which `clip` is heard.
    pub(crate) async fn over_an_answer(&self, clip: &[f32]) -> anyhow::Result<Fate> {
        let mut pcm = super::noise::noise(LEAD_IN);
        pcm.extend(&clip[..clip.len().min(LONGEST)]);
        pcm.extend(super::noise::noise(LEAD_IN));
        let ms = |ms| Rate::MODEL.samples_in_ms(ms);
        let mut conversation = Conversation::new(Rules { ends: Ends::MEDIUM, respond: true, interrupt: true });
        let id = ReplyId(std::num::NonZeroU32::MIN);
        for input in [Input::ReplyBegan(id), Input::ReplySpeaks(id)] {
            let _ = conversation.handle(Samples(0), input);
        }
        let mut activity = Activity::new(ActivityRules { silence: Samples(u64::MAX), ..ActivityRules::default() });
        let (mut voice, mut from, mut onset, mut held) = (VoiceState::default(), Samples(0), Samples(0), false);
        // An answer of the recogniser's on its way: when it is there.
        let mut underway: Option<(Samples, Input)> = None;
        for (index, window) in pcm.as_chunks::<WINDOW>().0.iter().enumerate() {
            let now = Samples((index + 1) as u64 * WINDOW as u64);
            let speech = self.detector.voice(&mut voice, window)?;
            let mut inputs: Vec<Input> = activity.push(speech).map(Input::Voice).into_iter().collect();
            inputs.push(Input::Window(speech));
            inputs.extend(underway.take_if(|(at, _)| *at <= now).map(|(_, input)| input));
            for input in inputs {
                if let Input::Voice(audio::ActivityEvent::Started { at, .. }) = input {
                    onset = at;
                }
                for output in conversation.handle(now, input) {
                    match output {
                        Output::Hear { from: at } => from = at,
                        Output::Hold(_) => held = true,
                        Output::Interrupt(_) => {
                            let after = (now - onset).duration(Rate::MODEL);
                            let at = now.saturating_sub(Samples(LEAD_IN as u64)).duration(Rate::MODEL);
                            return Ok(Fate::Interrupted { after, at });
                        }
                        Output::Listen | Output::Ask => {
                            let glance = matches!(output, Output::Listen);
                            let (words, took) = self.words(&pcm[from.0 as usize..now.0 as usize], glance).await?;
                            let input = match output {
                                Output::Listen => Input::Words(Some(words)),
                                _ => Input::Judged { over: Probability::new(0.5), words: Some(words), tail: Samples(0) },
                            };
                            underway = Some((now + ms(took.as_millis() as u64), input));
                        }
                        Output::Forget => {
                            activity.end();
                            underway = None;
                        }
                        Output::GoOn => underway = None,
                        Output::Announce { .. }
                        | Output::Prepare { .. }
                        | Output::Draft
                        | Output::EndTurn { .. }
                        | Output::Answer
                        | Output::Release(_) => {}
                    }
                }
            }
        }
        Ok(if held { Fate::Resumed } else { Fate::Unheard })
    }

    async fn words(&self, pcm: &[f32], glance: bool) -> anyhow::Result<(String, Duration)> {
        let frame = Frame::new(pcm.to_vec(), Rate::MODEL, Samples(0));
        let begins = Instant::now();
        let sound = stream::iter([Sound::Frame(frame), if glance { Sound::Glance } else { Sound::Pause }]).chain(stream::pending());
        let heard = self.transcriber.transcribe(sound.boxed(), Hint::default()).next().await;
        let words = match heard.context("the transcriber left")?? {
            Heard::Glanced(words) => words,
            Heard::Partial(partial) | Heard::Paused(partial) => partial.text,
            Heard::Language(_) => String::new(),
            Heard::Utterance(utterance) => utterance.text,
        };
        Ok((words, begins.elapsed()))
    }
}
