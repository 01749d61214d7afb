//! The caller's sound on its way to whoever listens: decoded, resampled, cleaned, cut into windows, judged for voice, and given to the
//! transcriber while the caller speaks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use audio::codec::{CodecDecoder, CodecError};
use audio::{Activity, ActivityEvent, ActivityRules, Frame, Probability, Rate, Resampler, Samples};
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt, channel::mpsc};
use models::{Heard, Hint, ModelError, Sound};
use web::call::{EchoCancellation, SessionConfig};

use super::echo::Echo;
use crate::engines::{Cleaner, Engines, VoiceJudge};

/// A detector's window: 32 ms at 16 kHz.
pub(super) const WINDOW: usize = 512;
/// Sound kept from before an onset, at most: one second at 16 kHz.
const RECENT: usize = Rate::MODEL.hz() as usize;
/// Sound of an utterance kept for the signals: its last half minute.
const KEPT: usize = Rate::MODEL.hz() as usize * 30;
/// Frames between us and the transcriber: two seconds. When it is full the transcriber is too slow and the utterance loses sound.
const AHEAD: usize = 2_000 / 32;

/// The caller's side of a call.
pub(super) struct Hearing {
    decoder: CodecDecoder,
    resampler: Resampler,
    echo: Option<Echo>,
    cleaner: Option<Cleaner>,
    judge: VoiceJudge,
    pub(super) activity: Activity,
    decoded: Vec<f32>,
    /// 16 kHz sound not yet cut into windows.
    pending: VecDeque<f32>,
    /// The last second of windows.
    recent: VecDeque<f32>,
    /// End of the last window, on the audio clock.
    now: Samples,
    /// What the caller is saying.
    pub(super) utterance: Option<Listening>,
}

/// An utterance being said.
pub(super) struct Listening {
    /// Its item.
    pub item: String,
    /// Whether the client was told of it.
    pub announced: bool,
    /// Its sound, the last half minute of it.
    pub pcm: Vec<f32>,
    /// Where it starts.
    pub from: Samples,
    sound: mpsc::Sender<Sound>,
    /// What the transcriber says.
    pub heard: BoxStream<'static, Result<Heard, ModelError>>,
    /// Silence after a pause was asked about, kept back: if it is the end, the draft of the pause is the transcript.
    held: Option<Vec<Frame>>,
    /// Draft text that the client has.
    pub told: String,
    /// Sound that the transcriber was given.
    given: Samples,
    /// Sound lost because the transcriber was too slow.
    pub lost: Samples,
}

impl Hearing {
    pub(super) fn new(engines: &Engines, config: &SessionConfig) -> Result<Hearing, CodecError> {
        Ok(Hearing {
            decoder: CodecDecoder::new(config.input)?,
            resampler: Resampler::new(config.input.rate(), Rate::MODEL),
            echo: cancels(config).then(|| Echo::new(config.output)).transpose()?,
            cleaner: config.noise_reduction.then(|| engines.cleaner()).flatten(),
            judge: engines.voice_judge(),
            activity: Activity::new(ActivityRules { silence: Samples(u64::MAX), ..ActivityRules::default() }),
            decoded: Vec::new(),
            pending: VecDeque::new(),
            recent: VecDeque::with_capacity(RECENT + WINDOW),
            now: Samples(0),
            utterance: None,
        })
    }

    /// Other codecs or cleaning from now on, where they differ; the clock goes on.
    pub(super) fn recode(&mut self, engines: &Engines, from: &SessionConfig, to: &SessionConfig) -> Result<(), CodecError> {
        match &mut self.echo {
            Some(echo) if cancels(to) => echo.recode(to.output)?,
            echo => *echo = cancels(to).then(|| Echo::new(to.output)).transpose()?,
        }
        if from.input == to.input && from.noise_reduction == to.noise_reduction {
            return Ok(());
        }
        self.decoder = CodecDecoder::new(to.input)?;
        self.resampler = Resampler::new(to.input.rate(), Rate::MODEL);
        if to.noise_reduction != self.cleaner.is_some() {
            self.cleaner = to.noise_reduction.then(|| engines.cleaner()).flatten();
        }
        Ok(())
    }

    /// This is sent, to be played at the caller.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        self.echo.iter_mut().for_each(|echo| echo.send(bytes));
    }

    /// What was sent is to wait, or to go on.
    pub(super) fn hold(&mut self, held: bool) {
        self.echo.iter_mut().for_each(|echo| echo.hold(held));
    }

    /// What was sent and not played yet is thrown away.
    pub(super) fn silence(&mut self) {
        self.echo.iter_mut().for_each(Echo::silence);
    }

    /// The transport plays answers itself.
    pub(super) fn obeyed(&mut self) {
        self.echo.iter_mut().for_each(Echo::obeys);
    }

    /// The detector's thresholds from now on. The end of a turn is not its business.
    pub(super) fn follow(&mut self, threshold: f32, padding: Samples) {
        self.activity.follow(ActivityRules {
            start: Probability::new(threshold),
            stop: Probability::new(threshold - 0.15),
            padding,
            silence: Samples(u64::MAX),
            ..ActivityRules::default()
        });
    }

    /// Takes encoded sound.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.decoded.clear();
        self.decoder.decode(bytes, &mut self.decoded).map_err(|error| error.to_string())?;
        let mut pcm = Vec::with_capacity(self.decoded.len());
        self.resampler.push(&self.decoded, &mut pcm);
        self.echo.iter_mut().for_each(|echo| echo.clean(&mut pcm));
        match &mut self.cleaner {
            None => self.pending.extend(pcm),
            Some(cleaner) => {
                let mut cleaned = Vec::with_capacity(pcm.len());
                cleaner(&pcm, &mut cleaned).map_err(|error| error.to_string())?;
                self.pending.extend(cleaned);
            }
        }
        Ok(())
    }

    /// Whether a whole window waits.
    pub(super) fn has_window(&self) -> bool {
        self.pending.len() >= WINDOW
    }

    /// Position at the end of the last window.
    pub(super) fn now(&self) -> Samples {
        self.now
    }

    /// Takes the next window: how likely it is speech, if that was asked, and what is decided of it.
    pub(super) fn window(&mut self, detect: bool) -> Result<(Probability, Option<ActivityEvent>), ModelError> {
        let mut window = [0.0; WINDOW];
        for (to, from) in window.iter_mut().zip(self.pending.drain(..WINDOW)) {
            *to = from;
        }
        let at = self.now;
        self.now += Samples(WINDOW as u64);
        if self.recent.len() >= RECENT {
            self.recent.drain(..WINDOW);
        }
        self.recent.extend(window);
        if let Some(listening) = &mut self.utterance {
            listening.push(Frame::new(&window[..], Rate::MODEL, at));
        }
        if !detect {
            self.activity.pass();
            return Ok((Probability::ZERO, None));
        }
        let speech = (self.judge)(&window)?;
        Ok((speech, self.activity.push(speech)))
    }

    /// Forgets what the detector thinks is being said.
    pub(super) fn quiet(&mut self) {
        self.activity.end();
    }

    /// Starts to transcribe from `from` on.
    pub(super) fn hear(&mut self, engines: &Arc<Engines>, from: Samples, item: String, hint: Hint) {
        let oldest = self.now.saturating_sub(Samples(self.recent.len() as u64));
        let from = from.max(oldest);
        let skipped = (from - oldest).0 as usize;
        let pcm: Vec<f32> = self.recent.iter().skip(skipped).copied().collect();
        let (sound, receiver) = mpsc::channel(AHEAD);
        let heard = engines.speakers.transcriber.transcribe(receiver.boxed(), hint);
        let mut listening = Listening {
            item,
            announced: false,
            pcm: Vec::new(),
            from,
            sound,
            heard,
            held: None,
            told: String::new(),
            given: Samples(0),
            lost: Samples(0),
        };
        listening.push(Frame::new(pcm, Rate::MODEL, from));
        self.utterance = Some(listening);
    }
}

/// Whether echoes are taken out; a transport whose clients do it has settled `Auto` before.
fn cancels(config: &SessionConfig) -> bool {
    config.echo != EchoCancellation::Off
}

impl Listening {
    fn push(&mut self, frame: Frame) {
        self.pcm.extend_from_slice(&frame.pcm);
        if self.pcm.len() > 2 * KEPT {
            self.pcm.drain(..self.pcm.len() - KEPT);
        }
        match &mut self.held {
            Some(held) => held.push(frame),
            None => self.send(frame),
        }
    }

    fn send(&mut self, frame: Frame) {
        let length = frame.len();
        match self.sound.try_send(Sound::Frame(frame)) {
            Ok(()) => self.given += length,
            Err(_) => self.lost += length,
        }
    }

    /// Asks for the words so far; what follows is kept back.
    pub(super) fn pause(&mut self) {
        if self.held.is_none() && self.sound.try_send(Sound::Pause).is_ok() {
            self.held = Some(Vec::new());
        }
    }

    /// Asks whether there are words so far.
    pub(super) fn glance(&mut self) {
        if self.held.is_none() {
            // Where the queue is full the transcriber is behind: it is asked again, or the pause is.
            let _ = self.sound.try_send(Sound::Glance);
        }
    }

    /// Whether a draft is that of the pause now asked about: it covers all that the transcriber was given.
    pub(super) fn paused_at(&self, covers: Duration) -> bool {
        self.held.is_some() && covers == self.given.duration(Rate::MODEL)
    }

    /// The pause was none.
    pub(super) fn resume(&mut self) {
        for frame in self.held.take().unwrap_or_default() {
            self.send(frame);
        }
    }

    /// No more sound comes: what is left of the transcriber's words, and all the sound kept.
    pub(super) fn finish(mut self) -> (BoxStream<'static, Result<Heard, ModelError>>, Vec<f32>) {
        self.sound.close_channel();
        (self.heard, self.pcm)
    }
}

/// Gives a recording to a transcriber whole.
pub(super) fn recording(engines: &Engines, pcm: Vec<f32>, hint: Hint) -> BoxStream<'static, Result<Heard, ModelError>> {
    let (mut sound, receiver) = mpsc::channel(1);
    let heard = engines.speakers.transcriber.transcribe(receiver.boxed(), hint);
    let send = async move {
        let _ = sound.send(Sound::Frame(Frame::new(pcm, Rate::MODEL, Samples(0)))).await;
    };
    futures::stream::select(futures::stream::once(send).filter_map(|()| async { None }), heard).boxed()
}
