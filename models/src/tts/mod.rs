//! Text to speech: the engines, and what they share.
//!
//! A [`Voicebox`] says one clause on its own thread; [`ByClause`] makes a [`Synthesizer`] of it: the text, still being written, is
//! freed of its markup, cut into clauses, and each is said while the one before is heard.

mod by_clause;
mod clauses;
mod edges;
#[cfg(feature = "hibari")]
mod english;
#[cfg(feature = "espeak")]
mod espeak;
#[cfg(all(feature = "kokoro", feature = "espeak"))]
mod foreign;
#[cfg(feature = "hibari")]
mod hibari;
#[cfg(feature = "kokoro")]
mod kokoro;
#[cfg(feature = "hibari")]
mod phonemes;
mod plain;
#[cfg(feature = "remote")]
pub mod remote;
mod said;
#[cfg(feature = "hibari")]
mod vocoder;
mod written;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{ModelError, Synthesizer, Voice, Weights};
use by_clause::ByClause;
pub use clauses::Clauses;
#[cfg(feature = "espeak")]
pub use espeak::espeak;
#[cfg(feature = "hibari")]
pub use hibari::hibari;
#[cfg(feature = "kokoro")]
pub use kokoro::kokoro;
pub use plain::Plain;
use said::Said;

/// Loads an engine to speak so many texts at a time.
pub type Build = fn(&Weights, usize) -> Result<Arc<dyn Synthesizer>, ModelError>;

/// An engine that configuration can name.
pub struct Engine {
    /// Its name.
    pub name: &'static str,
    /// Loads it.
    pub build: Build,
}

/// The engines in this build, the default first.
pub const ENGINES: &[Engine] = &[
    #[cfg(feature = "hibari")]
    Engine { name: "hibari", build: hibari },
    #[cfg(feature = "kokoro")]
    Engine { name: "kokoro", build: kokoro },
    #[cfg(feature = "espeak")]
    Engine { name: "espeak", build: espeak },
];

/// What says one clause. It belongs to one thread.
pub(crate) trait Voicebox: Send + 'static {
    /// Says a clause: plain text with its punctuation.
    fn say(&mut self, clause: &str, voice: &Voice) -> Result<Said, ModelError>;
}
