//! Speech to text: one recogniser a file.

#[cfg(feature = "whisper")]
pub(crate) mod whisper;

use crate::{Hint, ModelError, Utterance, Waited};

/// A recogniser that hears an utterance whole: the engines that run here all do.
pub trait Recogniser: Send {
    /// Transcribes `pcm`: one utterance, mono at [`audio::Rate::MODEL`], in [-1, 1].
    fn recognise(&mut self, pcm: &[f32], hint: &Hint, waited: &Waited) -> Result<Utterance, ModelError>;
}
