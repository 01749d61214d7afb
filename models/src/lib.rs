//! The seams to every model, and the engines behind them, one a file.
//!
//! A model is a function from a stream to a stream; dropping the outermost stream cancels every stage inside it. The types here are
//! always there; each engine is a cargo feature, so that what stands to the right builds and tests without any.

mod completion;
mod continuation;
#[cfg(feature = "fetch")]
mod convert;
#[cfg(feature = "gtcrn")]
pub mod denoise;
#[cfg(feature = "minilm")]
pub mod embed;
pub mod embedding;
pub mod emotion;
mod error;
#[cfg(feature = "fetch")]
mod fetch;
pub mod hesitation;
mod language;
pub mod llm;
#[cfg(feature = "fetch")]
mod manifest;
pub mod mcp;
mod measure;
#[cfg(any(feature = "smart-turn", feature = "whisper"))]
mod mel;
mod prompt;
#[cfg(feature = "remote")]
pub mod remote;
mod reply;
pub mod search;
mod secret;
mod signals;
pub mod sse;
pub mod stt;
mod tensors;
#[cfg(any(feature = "hibari", feature = "espeak", feature = "remote"))]
pub mod tts;
#[cfg(feature = "smart-turn")]
pub mod turn;
mod utterance;
#[cfg(feature = "silero")]
pub mod vad;
mod voice;
mod weights;
mod workers;

#[cfg(feature = "onnx")]
mod onnx;

use audio::{Frame, Probability};
use futures::future::BoxFuture;
use futures::stream::BoxStream;

pub use completion::{Completion, Delta, Finish, Service, Usage};
pub use continuation::Continuation;
#[cfg(feature = "fetch")]
pub use convert::ConvertError;
pub use embedding::{Embedder, EmbeddingRequest, Embeddings};
pub use emotion::{Baseline, Heads};
pub use error::{ErrorKind, ModelError};
#[cfg(feature = "fetch")]
pub use fetch::{FetchError, Indexes, Installed, Progress, Pulled, Store};
pub use language::{Belief, Language};
#[cfg(feature = "fetch")]
pub use manifest::{Conversion, FileEntry, Manifest, ManifestError, ModelEntry, Package, Source, SourceKind, Take};
pub use measure::measure;
pub use prompt::{Message, Part, Prompt, Role, Sampling, Tool, ToolCall};
pub use reply::{Piece, read_aloud};
pub use search::{SearchBackend, WebSearch};
pub use secret::Secret;
pub use signals::{Dynamics, Emotion, EmotionLabel, Measured, Reading, Register, SignalKind, SignalSet, Signals, Trend};
pub use utterance::{Partial, Segment, Utterance, Word};
pub use voice::{Spoken, Voice};
pub use weights::Weights;
pub use workers::{Waited, Workers};

/// What a transcriber is given.
#[derive(Clone, Debug)]
pub enum Sound {
    /// More of the utterance: mono at [`audio::Rate::MODEL`].
    Frame(Frame),
    /// The speaker paused: say now what was heard so far. More may follow.
    Pause,
    /// Are there words in it? A rough draft will do, in whatever language is the quickest. More follows.
    Glance,
}

/// What a transcriber says. The stream ends after the one `Utterance`, which comes when the sound has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A draft while the speaker speaks; may be skipped under load.
    Partial(Partial),
    /// The answer to a [`Sound::Pause`]: the draft of everything before it. It does not come where more sound came first.
    Paused(Partial),
    /// The answer to a [`Sound::Glance`]. It does not come where a pause or the end came first.
    Glanced(String),
    /// Which language it seems to be, while the speaker speaks.
    Language(Measured<Language>),
    /// The final transcript.
    Utterance(Utterance),
}

/// What is known of an utterance before it is heard.
#[derive(Clone, Debug, Default)]
pub struct Hint {
    /// Its language, where somebody said which: no other is considered.
    pub language: Option<Language>,
    /// What is believed of its language before it is heard, where nobody said; empty: as of a stranger.
    pub belief: Belief,
    /// The text before, or one that is written as this should be.
    pub prompt: Option<String>,
    /// Words and phrases to expect: names, products, spellings.
    pub keywords: Vec<String>,
    /// Whether words are to have times.
    pub word_times: WordTimes,
    /// Whether the right words are worth waiting for: what was heard with doubt is heard once more by another engine, where there is one.
    pub thorough: bool,
    /// Whether somebody looks at drafts.
    pub partials: bool,
    /// Whether somebody wants to know how it sounds: [`Utterance::tone`].
    pub tone: bool,
}

/// Whether the words of an utterance are to have times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WordTimes {
    /// Nobody wants to know.
    #[default]
    Unwanted,
    /// Where the recogniser runs here. Providers have transcribers that refuse to be asked.
    Here,
    /// From whoever hears it.
    Needed,
}

impl WordTimes {
    /// Whether a recogniser that runs here gives them.
    pub(crate) fn here(self) -> bool {
        self != WordTimes::Unwanted
    }
}

impl Hint {
    /// What is believed of the language before anything is heard.
    pub(crate) fn before(&self) -> Belief {
        if self.belief.is_empty() { Belief::usual() } else { self.belief.clone() }
    }

    /// The text before and the words to expect, for recognisers that take both as one.
    pub(crate) fn context(&self) -> Option<String> {
        let all: Vec<&str> = self.prompt.iter().chain(&self.keywords).map(String::as_str).filter(|text| !text.is_empty()).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// How soon a transcriber answers a [`Sound::Pause`] or a [`Sound::Glance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// It does not: it speaks at the end only.
    Never,
    /// Others are heard first: ask only if it matters.
    Busy,
    /// At once.
    Idle,
}

/// Speech to text.
pub trait Transcriber: Send + Sync {
    /// Transcribes one utterance. Dropping the stream stops the work.
    fn transcribe(&self, sound: BoxStream<'static, Sound>, hint: Hint) -> BoxStream<'static, Result<Heard, ModelError>>;

    /// Whether it answers a [`Sound::Pause`] and a [`Sound::Glance`], and how soon.
    fn attention(&self) -> Attention {
        Attention::Never
    }
}

/// Text to text.
pub trait LanguageModel: Send + Sync {
    /// Answers a prompt. Dropping the stream stops the work.
    fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>>;

    /// How `model`, by the name its provider knows, goes on with an answer that broke off elsewhere.
    fn continuation(&self, _model: &str) -> Continuation {
        Continuation::Asked
    }

    /// Whether `model`, by the name its provider knows, searches the web by itself as this wish says, beside these tools.
    fn searches(&self, _model: &str, _wish: &WebSearch, _tools: &[Tool]) -> bool {
        false
    }

    /// Whether it sends an answer in one piece where the prompt lets it: that is cheaper for all, but tells nothing until the end.
    fn answers_whole(&self) -> bool {
        false
    }
}

/// Text to speech.
pub trait Synthesizer: Send + Sync {
    /// Speaks a text while it is still being written, clause by clause. Dropping the stream stops the work.
    fn speak(&self, text: BoxStream<'static, String>, voice: Voice) -> BoxStream<'static, Result<Spoken, ModelError>>;

    /// Names of its voices, the default first.
    fn voices(&self) -> Vec<String>;
}

/// Whether a pause is the end of the speaker's turn.
pub trait TurnDetector: Send + Sync {
    /// How likely the turn is over, judged from its last seconds: mono PCM at [`audio::Rate::MODEL`], ending in the pause.
    fn end_of_turn(&self, pcm: Vec<f32>) -> BoxFuture<'static, Result<Probability, ModelError>>;
}
