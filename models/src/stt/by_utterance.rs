//! Makes a streaming transcriber of a recogniser that hears an utterance whole, as every engine that runs here does.
//!
//! Drafts and answers to pauses are passes over all the sound so far. Drafts are made ever more rarely as the sound grows, so that
//! together they cost no more than the final pass, and only while the engine would otherwise idle.

use std::sync::Arc;

use audio::{Rate, Samples};
use futures::future::{BoxFuture, Either, select};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};

use crate::{Attention, Heard, Hint, Language, Measured, ModelError, Partial, Sound, Transcriber, Utterance, Waited, Workers};

/// A recogniser that hears an utterance whole.
pub trait Recogniser: Send {
    /// Whether it hears more where it is given time ([`Hint::thorough`]).
    const THOROUGH: bool = false;

    /// Transcribes one utterance, mono at [`Rate::MODEL`]. Silence gives an empty text.
    fn recognise(&mut self, pcm: &[f32], hint: &Hint, waited: &Waited) -> Result<Utterance, ModelError>;

    /// The words of an utterance that has just begun, to know whether there are any: the quickest way, whatever the language.
    fn glance(&mut self, pcm: &[f32], hint: &Hint, waited: &Waited) -> Result<String, ModelError> {
        self.recognise(pcm, hint, waited).map(|utterance| utterance.text)
    }

    /// Learns what it can of an utterance that is still being said, so that less is to be done in its pauses, and says which language it
    /// seems to be. Called on its first two seconds, and again on its first four.
    fn prepare(&mut self, _pcm: &[f32], _hint: &Hint, _waited: &Waited) -> Option<Measured<Language>> {
        None
    }
}

/// Preparation starts with this much sound: two seconds.
pub(super) const PREPARED: usize = Rate::MODEL.hz() as usize * 2;

/// It is done again with twice as much, up to this much.
const PREPARED_LAST: usize = PREPARED * 2;
/// The first draft comes after this much sound.
const FIRST_DRAFT: usize = Rate::MODEL.hz() as usize * 8 / 10;
/// The next draft waits until the sound has grown by this factor.
const DRAFT_GROWTH: f32 = 2.0;
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
    fn attention(&self) -> Attention {
        if self.workers.idle() { Attention::Idle } else { Attention::Busy }
    }

    fn transcribe(&self, sound: BoxStream<'static, Sound>, hint: Hint) -> BoxStream<'static, Result<Heard, ModelError>> {
        let listener = Listener {
            workers: self.workers.clone(),
            sound,
            hint: Arc::new(hint),
            pcm: Vec::new(),
            next_draft: FIRST_DRAFT,
            passing: None,
            preparing: None,
            next_preparation: PREPARED,
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
    /// The pass in progress.
    passing: Option<Passing>,
    preparing: Option<BoxFuture<'static, Option<Measured<Language>>>>,
    /// Samples at which it is prepared, or prepared again.
    next_preparation: usize,
    /// The newest pass and how many samples it covered: where nothing was added it is the final one.
    last: Option<(Utterance, usize)>,
    stage: Stage,
}

/// A pass over the first `samples`.
struct Passing {
    pass: Pass,
    samples: usize,
    aim: Aim,
}

/// What a pass is for.
#[derive(Clone, Copy, PartialEq)]
enum Aim {
    Draft,
    Glance,
    Pause,
}

#[derive(PartialEq)]
enum Stage {
    Listening,
    Done,
}

impl<R: Recogniser + 'static> Listener<R> {
    /// `thorough`: if that was asked for. Only the last pass is: the others are to be quick.
    fn pass(&self, thorough: bool) -> Pass {
        let (workers, pcm) = (self.workers.clone(), self.pcm.clone());
        let hint = Hint { thorough: thorough && self.hint.thorough, ..(*self.hint).clone() };
        Box::pin(async move { workers.run(move |recogniser, waited| recogniser.recognise(&pcm, &hint, waited)).await })
    }

    fn glance(&self) -> Pass {
        let (workers, hint, pcm) = (self.workers.clone(), self.hint.clone(), self.pcm.clone());
        let glance = move |recogniser: &mut R, waited: &Waited| {
            let text = recogniser.glance(&pcm, &hint, waited)?;
            Ok(Utterance { text, ..Utterance::default() })
        };
        Box::pin(async move { workers.run(glance).await })
    }

    fn begin(&mut self, aim: Aim) {
        let pass = if aim == Aim::Glance { self.glance() } else { self.pass(false) };
        self.passing = Some(Passing { pass, samples: self.pcm.len(), aim });
    }

    /// It goes on by itself once it was polled, which every window of sound does.
    fn preparation(&self) -> BoxFuture<'static, Option<Measured<Language>>> {
        let (workers, hint, pcm) = (self.workers.clone(), self.hint.clone(), self.pcm.clone());
        let prepare = move |recogniser: &mut R, waited: &Waited| Ok(recogniser.prepare(&pcm, &hint, waited));
        Box::pin(async move { workers.run(prepare).await.unwrap_or_default() })
    }

    /// The pass in progress is through.
    fn passed(&mut self, heard: Result<Utterance, ModelError>) -> Option<Result<Heard, ModelError>> {
        let Passing { samples, aim, .. } = self.passing.take()?;
        let covers = Samples(samples as u64).duration(Rate::MODEL);
        match heard {
            Ok(utterance) if aim == Aim::Glance => Some(Ok(Heard::Glanced(utterance.text))),
            Ok(utterance) => {
                let before = self.last.as_ref().map_or("", |(utterance, _)| &utterance.text);
                let settled = agreed(before, &utterance.text);
                let partial = Partial { text: utterance.text.clone(), covers, settled };
                self.last = Some((utterance, samples));
                Some(Ok(if aim == Aim::Pause { Heard::Paused(partial) } else { Heard::Partial(partial) }))
            }
            Err(error) if aim == Aim::Pause => {
                self.stage = Stage::Done;
                Some(Err(error))
            }
            // A draft that failed is not worth a word; the final pass will say what is wrong.
            Err(_) => None,
        }
    }

    async fn next(&mut self) -> Option<Result<Heard, ModelError>> {
        if self.stage == Stage::Done {
            return None;
        }
        loop {
            if let Some(preparing) = &mut self.preparing
                && let Some(language) = preparing.now_or_never()
            {
                self.preparing = None;
                if let Some(language) = language {
                    return Some(Ok(Heard::Language(language)));
                }
            }
            let sound = match &mut self.passing {
                None => self.sound.next().await,
                Some(passing) => match select(self.sound.next(), &mut passing.pass).await {
                    Either::Left((sound, _)) => sound,
                    Either::Right((heard, _)) => match self.passed(heard) {
                        Some(heard) => return Some(heard),
                        None => continue,
                    },
                },
            };
            match sound {
                Some(Sound::Frame(frame)) => {
                    let room = LONGEST.saturating_sub(self.pcm.len());
                    self.pcm.extend_from_slice(&frame.pcm[..frame.pcm.len().min(room)]);
                    // A caller in a pause is heard first, so it waits until nobody else does.
                    let due = self.pcm.len() >= self.next_preparation && self.next_preparation <= PREPARED_LAST;
                    if due && self.preparing.is_none() && self.workers.idle() {
                        self.next_preparation *= 2;
                        self.preparing = Some(self.preparation());
                    }
                    // More sound: the pause was none, and what is being drafted of it is of no use any more.
                    if self.passing.as_ref().is_some_and(|passing| passing.aim == Aim::Pause) {
                        self.passing = None;
                    }
                    let due = self.hint.partials && self.passing.is_none() && self.pcm.len() >= self.next_draft;
                    if due && Workers::<R>::all_idle() {
                        self.next_draft = (self.pcm.len() as f32 * DRAFT_GROWTH) as usize;
                        self.begin(Aim::Draft);
                    }
                }
                Some(Sound::Pause) => self.begin(Aim::Pause),
                Some(Sound::Glance) => self.begin(Aim::Glance),
                None => {
                    self.stage = Stage::Done;
                    let all = self.pcm.len();
                    let known = self.last.take().filter(|(_, samples)| *samples == all).map(|(utterance, _)| utterance);
                    let heard = match (known, self.passing.take().filter(|passing| passing.samples == all && passing.aim != Aim::Glance)) {
                        _ if self.hint.thorough && R::THOROUGH => self.pass(true).await,
                        (Some(utterance), _) => Ok(utterance),
                        (None, Some(passing)) => passing.pass.await,
                        (None, None) => self.pass(true).await,
                    };
                    return Some(heard.map(Heard::Utterance));
                }
            }
        }
    }
}

/// How much of a draft two passes in a row agree on, bytes: whole words, the last of them without its punctuation, which depends on what
/// comes after it (local agreement: Macháček et al. 2023, "Turning Whisper into Real-Time Transcription System").
fn agreed(before: &str, now: &str) -> usize {
    let bare = |word: &str| word.trim_end().trim_end_matches(|letter: char| !letter.is_alphanumeric()).len();
    let (mut end, mut settled) = (0, 0);
    for (old, new) in before.split_inclusive(' ').zip(now.split_inclusive(' ')) {
        if old[..bare(old)] != new[..bare(new)] {
            break;
        }
        settled = end + bare(new);
        end += new.len();
        // The next word is settled only with what stands before it.
        if old.trim_end() != new.trim_end() {
            break;
        }
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio::Frame;
    use futures::SinkExt;
    use futures::channel::mpsc;

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

    /// Gives a transcriber `sound`, each piece once the one before was answered where it is a pause.
    async fn check(sound: Vec<Sound>, expected: &[&str]) {
        let transcriber = ByUtterance::new("counting", vec![Counting { passes: 0 }]);
        let (mut give, receiver) = mpsc::channel(8);
        let mut hearing = transcriber.transcribe(receiver.boxed(), Hint::default());
        let mut heard = Vec::new();
        for piece in sound {
            let pause = matches!(piece, Sound::Pause | Sound::Glance);
            give.send(piece).await.expect("the transcriber listens");
            if pause {
                heard.extend(hearing.next().await);
            }
        }
        drop(give);
        heard.extend(hearing.collect::<Vec<_>>().await);
        let heard: Vec<String> = heard.into_iter().map(told).collect();
        assert_eq!(heard, expected);
    }

    fn told(heard: Result<Heard, ModelError>) -> String {
        match heard {
            Ok(Heard::Partial(partial)) => format!("partial {}", partial.text),
            Ok(Heard::Paused(partial)) => format!("paused {}", partial.text),
            Ok(Heard::Glanced(text)) => format!("glanced {text}"),
            Ok(Heard::Language(language)) => format!("language {}", language.value),
            Ok(Heard::Utterance(utterance)) => format!("final {}", utterance.text),
            Err(error) => format!("error {error}"),
        }
    }

    #[tokio::test]
    async fn the_pass_of_a_pause_is_the_final_one_unless_more_was_said() {
        check(vec![frame(500), Sound::Pause], &["paused 500 ms in pass 1", "final 500 ms in pass 1"]).await;
        check(vec![frame(500), Sound::Pause, frame(100)], &["paused 500 ms in pass 1", "final 600 ms in pass 2"]).await;
        check(vec![frame(500), Sound::Glance], &["glanced 500 ms in pass 1", "final 500 ms in pass 2"]).await;
        check(vec![frame(20)], &["final 20 ms in pass 1"]).await;
        check(vec![], &["final 0 ms in pass 1"]).await;
    }

    #[tokio::test]
    async fn a_pause_that_was_none_is_not_answered() {
        let transcriber = ByUtterance::new("counting", vec![Counting { passes: 0 }]);
        let sound = stream::iter([frame(500), Sound::Pause, frame(100)]);
        let heard: Vec<String> = transcriber.transcribe(sound.boxed(), Hint::default()).map(told).collect().await;
        assert!(matches!(&heard[..], [only] if only.starts_with("final 600 ms")), "{heard:?}");
    }

    #[tokio::test]
    async fn the_end_takes_over_the_pass_that_the_pause_began() {
        let transcriber = ByUtterance::new("counting", vec![Counting { passes: 0 }]);
        let sound = stream::iter([frame(500), Sound::Pause]);
        let heard: Vec<String> = transcriber.transcribe(sound.boxed(), Hint::default()).map(told).collect().await;
        assert_eq!(heard, ["final 500 ms in pass 1"]);
    }

    #[test]
    fn what_two_drafts_agree_on_is_settled() {
        let cases = [
            ("", "There", ""),
            ("There's I", "There's iron, they", "There's"),
            ("There's iron.", "There's iron, they say", "There's iron"),
            ("There's iron, they", "There's iron they say", "There's iron"),
            ("He shop", "He shopped", "He"),
            ("He shops", "He shops", "He shops"),
            ("He shops.", "He shops.", "He shops"),
            ("Él está", "Él está aquí", "Él está"),
            ("He shops again", "He", "He"),
        ];
        for (before, now, settled) in cases {
            assert_eq!(&now[..agreed(before, now)], settled, "{before} {now}");
        }
    }

    #[tokio::test]
    async fn sound_without_end_is_cut_off() {
        let minutes = vec![frame(60_000); 6];
        check(minutes, &["final 300000 ms in pass 1"]).await;
    }
}
