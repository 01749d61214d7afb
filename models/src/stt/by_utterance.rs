//! Makes a streaming transcriber of a recogniser that hears an utterance whole, as every engine that runs here does.
//!
//! Drafts and answers to pauses are passes over all the sound so far. Drafts are made ever more rarely as the sound grows, so that
//! together they cost no more than twice the final pass, and only while the engine would otherwise idle.

use std::sync::Arc;
use std::time::Duration;

use audio::Rate;
use futures::future::{BoxFuture, Either, select};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};

use crate::{Heard, Hint, ModelError, Partial, Sound, Transcriber, Utterance, Waited, Workers};

/// A recogniser that hears an utterance whole.
pub trait Recogniser: Send {
    /// Transcribes one utterance, mono at [`Rate::MODEL`]. Silence gives an empty text.
    fn recognise(&mut self, pcm: &[f32], hint: &Hint, waited: &Waited) -> Result<Utterance, ModelError>;

    /// Learns what it can of an utterance that is still being said, so that less is to be done in its pauses. Called once, on its first
    /// seconds.
    fn prepare(&mut self, _pcm: &[f32], _hint: &Hint, _waited: &Waited) {}
}

/// Preparation starts with this much sound: two seconds.
pub(super) const PREPARED: usize = Rate::MODEL.hz() as usize * 2;

/// The first draft comes after this much sound.
const FIRST_DRAFT: usize = Rate::MODEL.hz() as usize * 8 / 10;
/// The next draft waits until the sound has grown by this share.
const DRAFT_GROWTH: f32 = 1.5;
/// Most sound of one utterance: five minutes. What is longer is transcribed up to here.
const LONGEST: usize = Rate::MODEL.hz() as usize * 300;

/// A transcriber over the threads of a recogniser.
pub struct ByUtterance<R> {
    workers: Workers<R>,
}

impl<R: Recogniser + 'static> ByUtterance<R> {
    /// One thread for each recogniser.
    pub fn new(name: &'static str, recognisers: Vec<R>) -> ByUtterance<R> {
        // A queue of four decodes a thread is about a second of work; more would only be answered too late.
        let queue = recognisers.len() * 4 + 60;
        ByUtterance { workers: Workers::start(name, recognisers, queue) }
    }
}

impl<R: Recogniser + 'static> Transcriber for ByUtterance<R> {
    fn transcribe(&self, sound: BoxStream<'static, Sound>, hint: Hint) -> BoxStream<'static, Result<Heard, ModelError>> {
        let listener = Listener {
            workers: self.workers.clone(),
            sound,
            hint: Arc::new(hint),
            pcm: Vec::new(),
            next_draft: FIRST_DRAFT,
            drafting: None,
            preparing: None,
            prepared: false,
            last: None,
            stage: Stage::Listening,
        };
        stream::unfold(listener, |mut listener| async move { listener.next().await.map(|heard| (heard, listener)) }).boxed()
    }
}

type Pass = BoxFuture<'static, Result<Utterance, ModelError>>;

struct Listener<R> {
    workers: Workers<R>,
    sound: BoxStream<'static, Sound>,
    hint: Arc<Hint>,
    /// All the sound so far, 16 kHz.
    pcm: Vec<f32>,
    /// Samples at which the next draft is due.
    next_draft: usize,
    drafting: Option<(Pass, Duration)>,
    preparing: Option<BoxFuture<'static, ()>>,
    prepared: bool,
    /// The newest pass and how many samples it covered: where nothing was added it is the final one.
    last: Option<(Utterance, usize)>,
    stage: Stage,
}

#[derive(PartialEq)]
enum Stage {
    Listening,
    Done,
}

impl<R: Recogniser + 'static> Listener<R> {
    fn pass(&self) -> Pass {
        let (workers, hint, pcm) = (self.workers.clone(), self.hint.clone(), self.pcm.clone());
        Box::pin(async move { workers.run(move |recogniser, waited| recogniser.recognise(&pcm, &hint, waited)).await })
    }

    /// It goes on by itself once it was polled, which every window of sound does.
    fn preparation(&self) -> BoxFuture<'static, ()> {
        let (workers, hint, pcm) = (self.workers.clone(), self.hint.clone(), self.pcm.clone());
        let prepare = move |recogniser: &mut R, waited: &Waited| {
            recogniser.prepare(&pcm, &hint, waited);
            Ok(())
        };
        Box::pin(async move { workers.run(prepare).await.unwrap_or_default() })
    }

    fn covered(&self) -> Duration {
        Duration::from_secs_f64(self.pcm.len() as f64 / f64::from(Rate::MODEL.hz()))
    }

    async fn next(&mut self) -> Option<Result<Heard, ModelError>> {
        if self.stage == Stage::Done {
            return None;
        }
        loop {
            if let Some(preparing) = &mut self.preparing
                && preparing.now_or_never().is_some()
            {
                self.preparing = None;
            }
            let sound = match &mut self.drafting {
                None => self.sound.next().await,
                Some((pass, covers)) => {
                    let covers = *covers;
                    match select(self.sound.next(), pass).await {
                        Either::Left((sound, _)) => sound,
                        Either::Right((drafted, _)) => {
                            self.drafting = None;
                            // A draft that failed is not worth a word; the final pass will say what is wrong.
                            if let Ok(utterance) = drafted {
                                return Some(Ok(Heard::Partial(Partial { text: utterance.text, covers })));
                            }
                            continue;
                        }
                    }
                }
            };
            match sound {
                Some(Sound::Frame(frame)) => {
                    let room = LONGEST.saturating_sub(self.pcm.len());
                    self.pcm.extend_from_slice(&frame.pcm[..frame.pcm.len().min(room)]);
                    if !self.prepared && self.pcm.len() >= PREPARED {
                        self.prepared = true;
                        self.preparing = Some(self.preparation());
                    }
                    let due = self.hint.partials && self.drafting.is_none() && self.pcm.len() >= self.next_draft;
                    if due && self.workers.idle() {
                        self.next_draft = (self.pcm.len() as f32 * DRAFT_GROWTH) as usize;
                        self.drafting = Some((self.pass(), self.covered()));
                    }
                }
                Some(Sound::Pause) => {
                    self.drafting = None;
                    let (covers, samples) = (self.covered(), self.pcm.len());
                    match self.pass().await {
                        Ok(utterance) => {
                            let text = utterance.text.clone();
                            self.last = Some((utterance, samples));
                            return Some(Ok(Heard::Paused(Partial { text, covers })));
                        }
                        Err(error) => {
                            self.stage = Stage::Done;
                            return Some(Err(error));
                        }
                    }
                }
                None => {
                    self.drafting = None;
                    self.stage = Stage::Done;
                    let known = self.last.take().filter(|(_, samples)| *samples == self.pcm.len()).map(|(utterance, _)| utterance);
                    let heard = match known {
                        Some(utterance) => Ok(utterance),
                        None => self.pass().await,
                    };
                    return Some(heard.map(Heard::Utterance));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio::{Frame, Samples};

    /// Says how much sound it was given, and counts its passes.
    struct Counting {
        passes: usize,
    }

    impl Recogniser for Counting {
        fn recognise(&mut self, pcm: &[f32], _: &Hint, _: &Waited) -> Result<Utterance, ModelError> {
            self.passes += 1;
            Ok(Utterance { text: format!("{} ms in pass {}", pcm.len() / 16, self.passes), ..Utterance::default() })
        }
    }

    fn frame(ms: usize) -> Sound {
        Sound::Frame(Frame::new(vec![0.1; ms * 16], Rate::MODEL, Samples(0)))
    }

    async fn check(sound: Vec<Sound>, expected: &[&str]) {
        let transcriber = ByUtterance::new("counting", vec![Counting { passes: 0 }]);
        let heard: Vec<String> = transcriber
            .transcribe(stream::iter(sound).boxed(), Hint::default())
            .map(|heard| match heard {
                Ok(Heard::Partial(partial)) => format!("partial {}", partial.text),
                Ok(Heard::Paused(partial)) => format!("paused {}", partial.text),
                Ok(Heard::Utterance(utterance)) => format!("final {}", utterance.text),
                Err(error) => format!("error {error}"),
            })
            .collect()
            .await;
        assert_eq!(heard, expected);
    }

    #[tokio::test]
    async fn the_pass_of_a_pause_is_the_final_one_unless_more_was_said() {
        check(vec![frame(500), Sound::Pause], &["paused 500 ms in pass 1", "final 500 ms in pass 1"]).await;
        check(vec![frame(500), Sound::Pause, frame(100)], &["paused 500 ms in pass 1", "final 600 ms in pass 2"]).await;
        check(vec![frame(20)], &["final 20 ms in pass 1"]).await;
        check(vec![], &["final 0 ms in pass 1"]).await;
    }

    #[tokio::test]
    async fn sound_without_end_is_cut_off() {
        let minutes = vec![frame(60_000); 6];
        check(minutes, &["final 300000 ms in pass 1"]).await;
    }
}
