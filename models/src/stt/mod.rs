//! Speech to text: one engine a file.

mod auto;
mod by_utterance;
#[cfg(feature = "moonshine")]
mod moonshine;
#[cfg(feature = "remote")]
pub mod remote;
#[cfg(any(feature = "moonshine", feature = "whisper"))]
mod silence;
#[cfg(feature = "moonshine")]
mod toned;
#[cfg(feature = "whisper")]
pub(crate) mod whisper;

use std::sync::Arc;

pub use auto::Auto;
pub use by_utterance::{ByUtterance, Recogniser};
#[cfg(feature = "moonshine")]
pub(crate) use moonshine::Encoder;
#[cfg(feature = "moonshine")]
pub use moonshine::Moonshine;
#[cfg(feature = "moonshine")]
pub use toned::Toned;
#[cfg(feature = "whisper")]
pub use whisper::Whisper;

use crate::{Belief, ModelError, Transcriber, Waited, Weights};

/// Tells which language is spoken.
pub trait Identifier: Send {
    /// How likely `pcm` (mono at [`audio::Rate::MODEL`]) is in each language, by its sound alone. Of silence nothing is known.
    fn identify(&mut self, pcm: &[f32], waited: &Waited) -> Result<Belief, ModelError>;
}

/// Loads a transcriber for so many threads.
pub type Build = fn(&Weights, threads: usize) -> Result<Arc<dyn Transcriber>, ModelError>;

/// A transcriber that runs here.
pub struct Engine {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Loads it for so many threads.
    pub build: Build,
}

/// Every transcriber that runs here, the default first.
pub const ENGINES: &[Engine] = &[
    #[cfg(all(feature = "moonshine", feature = "whisper"))]
    Engine { name: "auto", build: auto },
    #[cfg(feature = "moonshine")]
    Engine { name: "moonshine", build: |weights, threads| Ok(Arc::new(ByUtterance::new("moonshine", Moonshine::load(weights, threads)?))) },
    #[cfg(feature = "whisper")]
    Engine { name: "whisper", build: whisper },
];

#[cfg(all(feature = "moonshine", feature = "whisper"))]
fn auto(weights: &Weights, threads: usize) -> Result<Arc<dyn Transcriber>, ModelError> {
    // One Whisper for all threads: it is needed for the caller's first words at most, or by callers who speak another language.
    let wide = Arc::new(auto::Wide::new(Whisper::load(weights)?));
    let engines = Moonshine::load(weights, threads)?.into_iter().map(|fast| Auto::new(fast, wide.clone())).collect();
    Ok(Arc::new(ByUtterance::new("auto", engines)))
}

#[cfg(feature = "whisper")]
fn whisper(weights: &Weights, threads: usize) -> Result<Arc<dyn Transcriber>, ModelError> {
    let mut engines = vec![Whisper::load(weights)?];
    while engines.len() < threads {
        engines.push(engines[0].sibling()?);
    }
    Ok(Arc::new(ByUtterance::new("whisper", engines)))
}

#[cfg(feature = "whisper")]
impl Identifier for Whisper {
    fn identify(&mut self, pcm: &[f32], _: &Waited) -> Result<Belief, ModelError> {
        self.detect(pcm)
    }
}
