//! `timbre talk FILE`: plays a recording into the pipeline as a caller would speak it, and shows the turn as a timeline.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use audio::codec::{Codec, pcm};
use audio::container::{self, Container};
use audio::{Rate, Samples};
use models::{Measured, Signals};
use tokio::sync::mpsc;
use web::call::{Call, Command, Ending, Event, Request};

use crate::config::Config;
use crate::{serve, session};

/// Longest recording: ten minutes.
const LONGEST: Duration = Duration::from_secs(600);
/// Sound of one step, as a browser sends it.
const STEP_MS: u64 = 20;
/// Silence after the recording: the caller waits for an answer.
const LISTENS: Duration = Duration::from_secs(30);

/// What is played, and to whom.
pub struct Talk {
    /// The recording.
    pub file: PathBuf,
    /// Where the answer's speech goes; `reply.wav` if nowhere else.
    pub out: Option<PathBuf>,
    /// The model or router that answers.
    pub model: Option<String>,
    /// How much of the recording's beginning is played, seconds; all of it if `None`.
    pub seconds: Option<f64>,
}

/// Plays a recording and writes the answer's speech.
pub async fn run(config: Config, talk: Talk) -> Result<()> {
    if !serve::holds_calls(&config) {
        bail!("the configuration has no voice: set models.local = true, voice.transcriber and voice.synthesizer");
    }
    let Talk { file, out, model, seconds } = talk;
    let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let recording = container::decode(&bytes, LONGEST).with_context(|| format!("cannot decode {}", file.display()))?;
    let mut pcm = audio::resample(&recording.pcm, recording.rate, Rate::MODEL);
    if let Some(seconds) = seconds {
        pcm.truncate((seconds.max(0.0) * f64::from(Rate::MODEL.hz())) as usize);
    }
    let loading = Instant::now();
    let defaults = serve::session_defaults(&config);
    let engines = Arc::new(tokio::task::spawn_blocking(move || serve::engines(&config)).await??);
    println!("{:>7} ms  models loaded", loading.elapsed().as_millis());

    let (commands, to_session) = mpsc::channel(64);
    let (events, mut from_session) = mpsc::channel(256);
    let session_config = web::call::SessionConfig { input: Codec::Pcm16(Rate::MODEL), model: model.unwrap_or_default(), ..defaults };
    let books = web::Books::default();
    let call = Call { id: "call_talk".to_owned(), books, config: session_config, commands: to_session, events };
    let session = tokio::spawn(session::serve(call, engines));
    let began = Instant::now();
    let speech_ends = end_of_speech(&pcm);
    let caller = tokio::spawn(speak(pcm, commands, began));

    let mut turn = Turn { began, speech_ends, reply: Vec::new(), words: String::new(), first_word: false, first_audio: false };
    println!("{:>7} ms  the caller speaks: {}", 0, file.display());
    let mut answered = false;
    while let Some(event) = from_session.recv().await {
        if turn.show(event)? {
            answered = true;
            break;
        }
    }
    caller.abort();
    session.abort();
    if !answered {
        bail!("the caller was not answered within {} s", LISTENS.as_secs());
    }
    let out = out.unwrap_or_else(|| PathBuf::from("reply.wav"));
    let wav = container::encode(Container::Wav, &turn.reply, Rate::SPEECH).context("cannot encode the answer")?;
    std::fs::write(&out, wav).with_context(|| format!("cannot write {}", out.display()))?;
    println!("            wrote {} ({:.1} s of speech)", out.display(), turn.reply.len() as f64 / f64::from(Rate::SPEECH.hz()));
    Ok(())
}

/// Sends the recording, and the silence of a caller who listens, as fast as it would be spoken.
async fn speak(pcm: Vec<f32>, commands: mpsc::Sender<Request>, began: Instant) {
    let step = Rate::MODEL.samples_in_ms(STEP_MS).0 as usize;
    let silence = (LISTENS.as_millis() as u64 / STEP_MS) as usize;
    let quiet = vec![0.0; step];
    for (index, chunk) in pcm.chunks(step).chain(std::iter::repeat_n(&quiet[..], silence)).enumerate() {
        tokio::time::sleep_until((began + Duration::from_millis(STEP_MS * (index as u64 + 1))).into()).await;
        let mut bytes = Vec::with_capacity(2 * step);
        pcm::encode(chunk, &mut bytes);
        let request = Request { event_id: None, command: Command::Append(bytes.into()) };
        if commands.send(request).await.is_err() {
            return;
        }
    }
}

/// The end of the last 10 ms that are less than 40 dB below the loudest 10 ms.
fn end_of_speech(pcm: &[f32]) -> Duration {
    let step = Rate::MODEL.samples_in_ms(10).0 as usize;
    let powers: Vec<f32> = pcm.chunks(step).map(|chunk| chunk.iter().map(|s| s * s).sum::<f32>()).collect();
    let loudest = powers.iter().copied().fold(0.0, f32::max);
    let last = powers.iter().rposition(|power| *power > loudest * 1e-4).map_or(0, |index| index + 1);
    Samples((last * step) as u64).duration(Rate::MODEL)
}

/// What is shown of a turn.
struct Turn {
    began: Instant,
    speech_ends: Duration,
    reply: Vec<f32>,
    words: String,
    first_word: bool,
    first_audio: bool,
}

impl Turn {
    fn line(&self, what: &str) {
        let now = self.began.elapsed();
        let after = now.as_millis() as i64 - self.speech_ends.as_millis() as i64;
        println!("{:>7} ms  {after:>+6} ms after the speech  {what}", now.as_millis());
    }

    /// Shows one event; whether it was the last.
    fn show(&mut self, event: Event) -> Result<bool> {
        match event {
            Event::SpeechStarted { at_ms, .. } => self.line(&format!("speech began (at {at_ms} ms of the sound)")),
            Event::SpeechStopped { at_ms, .. } => self.line(&format!("turn over (speech ended at {at_ms} ms of the sound)")),
            Event::TranscriptDone { text, language, .. } => {
                self.line(&format!("transcript [{}]: {text}", language.as_deref().unwrap_or("?")));
            }
            Event::Signals { signals, .. } => self.line(&format!("signals: {}", describe(&signals))),
            Event::Routed { decision, .. } => {
                (self.first_word, self.first_audio) = (false, false);
                self.words.clear();
                self.line(&format!("route {}: {} -> {}", decision.route, decision.reason, decision.targets.join(", ")));
            }
            Event::TextDelta { delta, .. } => {
                if !self.first_word {
                    self.first_word = true;
                    self.line(&format!("first token: {delta:?}"));
                }
                self.words.push_str(&delta);
            }
            Event::AudioDelta { audio, .. } => {
                if !self.first_audio {
                    self.first_audio = true;
                    self.line("first audio");
                }
                pcm::decode(&audio, &mut self.reply);
            }
            Event::ResponseDone(response) => {
                for attempt in response.routed.iter().flat_map(|routed| &routed.attempts) {
                    self.line(&format!("attempt {}: {:?}", attempt.target, attempt.outcome));
                }
                self.line(&format!("done: {}", self.words.trim()));
                if let Some(Ending::Failed(why)) = response.ending {
                    bail!("the answer failed: {why}");
                }
                return Ok(response.ending == Some(Ending::Whole) || response.ending == Some(Ending::MaxTokens));
            }
            Event::Error(error) => bail!("{}", error.message),
            _ => {}
        }
        Ok(false)
    }
}

fn describe(signals: &Signals) -> String {
    let mut said = Vec::new();
    if let Some(language) = &signals.language {
        said.push(format!("language {} ({:.2})", language.value, language.confidence.get()));
    }
    if let Some(emotion) = &signals.emotion {
        said.push(format!("emotion {} ({:.2})", emotion.value.label.name(), emotion.confidence.get()));
    }
    let numbers = [
        ("hesitation", &signals.hesitation, ""),
        ("pace", &signals.pace, " syllables/s"),
        ("pitch", &signals.pitch.as_ref().map(|pitch| Measured::new(pitch.value.hz, pitch.confidence.get(), pitch.source)), " Hz"),
        ("loudness", &signals.loudness, " dBFS"),
        ("signal to noise", &signals.noise, " dB"),
    ];
    for (name, measured, unit) in numbers {
        if let Some(measured) = measured {
            said.push(format!("{name} {:.2}{unit}", measured.value));
        }
    }
    said.join(", ")
}
