//! Every model of the server, wired by name: what a session needs to hear, judge, answer and speak.

use std::sync::Arc;

use audio::Probability;
use futures::stream::{self, BoxStream, StreamExt};
use models::denoise::{Denoiser, Denoising};
use models::mcp::McpConnector;
use models::vad::{VoiceDetector, VoiceState};
use models::{ErrorKind, Heard, Hint, ModelError, Sound, Spoken, Synthesizer, Transcriber, TurnDetector, Voice};
use router::{Router, Speakers};

/// Says of each window of a caller's sound, in order, how likely it holds speech.
pub type VoiceJudge = Box<dyn FnMut(&[f32; 512]) -> Result<Probability, ModelError> + Send>;
/// Cleans a caller's sound: 16 kHz in, 16 kHz added to the end of the buffer.
pub type Cleaner = Box<dyn FnMut(&[f32], &mut Vec<f32>) -> Result<(), ModelError> + Send>;

/// Tells speech from other sound.
pub enum VoiceActivity {
    /// Silero.
    Silero(Arc<VoiceDetector>),
    /// Whatever is louder than this level is speech (mean square): for tests, where no model is loaded.
    Level(f32),
}

/// Stands where no engine was set up: it says so.
pub struct Nobody;

impl Nobody {
    fn absent(key: &str) -> ModelError {
        let detail = format!("this server was set up without one; {key} in its configuration can name a provider's or a local one");
        ModelError { status: Some(501), ..ModelError::new(ErrorKind::BadRequest, key, detail) }
    }
}

impl Transcriber for Nobody {
    fn transcribe(&self, _: BoxStream<'static, Sound>, _: Hint) -> BoxStream<'static, Result<Heard, ModelError>> {
        stream::iter([Err(Nobody::absent("voice.transcriber"))]).boxed()
    }
}

impl Synthesizer for Nobody {
    fn speak(&self, _: BoxStream<'static, String>, _: Voice) -> BoxStream<'static, Result<Spoken, ModelError>> {
        stream::iter([Err(Nobody::absent("voice.synthesizer"))]).boxed()
    }

    fn voices(&self) -> Vec<String> {
        Vec::new()
    }
}

/// All engines of a server.
pub struct Engines {
    /// Who answers.
    pub router: Router,
    /// Who hears and who speaks.
    pub speakers: Speakers,
    /// Tells speech from other sound.
    pub voice_activity: VoiceActivity,
    /// Judges pauses; without it every pause is judged by its length and the words.
    pub turn: Option<Arc<dyn TurnDetector>>,
    /// Reaches the MCP servers that callers name.
    pub mcp: Arc<dyn McpConnector>,
    /// Suppresses noise.
    pub denoiser: Option<Arc<Denoiser>>,
    /// The voice that speaks where the client names none that the synthesizer has.
    pub default_voice: String,
}

impl Engines {
    /// A judge for one caller.
    pub fn voice_judge(&self) -> VoiceJudge {
        match &self.voice_activity {
            VoiceActivity::Silero(detector) => {
                let (detector, mut state) = (detector.clone(), VoiceState::default());
                Box::new(move |window| detector.voice(&mut state, window))
            }
            VoiceActivity::Level(level) => {
                let level = *level;
                Box::new(move |window| {
                    let power = window.iter().map(|s| s * s).sum::<f32>() / window.len() as f32;
                    Ok(if power > level { Probability::ONE } else { Probability::ZERO })
                })
            }
        }
    }

    /// A cleaner for one caller, where there is a model for it.
    pub fn cleaner(&self) -> Option<Cleaner> {
        let denoiser = self.denoiser.clone()?;
        let mut state = Denoising::default();
        Some(Box::new(move |pcm, out| denoiser.clean(&mut state, pcm, out)))
    }

    /// The voice that speaks for a wish: the named one where the synthesizer has it, else the default at the wished speed.
    pub fn voice(&self, wish: Option<&Voice>) -> Voice {
        let Some(wish) = wish else { return Voice::new(self.default_voice.clone()) };
        let known = self.speakers.synthesizer.voices().contains(&wish.name);
        Voice { name: if known { wish.name.clone() } else { self.default_voice.clone() }, ..wish.clone() }
    }
}
