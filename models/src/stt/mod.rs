//! Speech to text: one engine a file.

mod auto;
mod by_utterance;
#[cfg(feature = "moonshine")]
pub mod moonshine;

pub use auto::Auto;
pub use by_utterance::{ByUtterance, Recogniser};

use crate::{Language, Measured, ModelError, Waited};

/// Tells which language is spoken.
pub trait Identifier: Send {
    /// The likeliest language of `pcm`, mono at [`audio::Rate::MODEL`].
    fn identify(&mut self, pcm: &[f32], waited: &Waited) -> Result<Measured<Language>, ModelError>;
}
