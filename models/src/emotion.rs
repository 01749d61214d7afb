//! How a caller seems to feel, from the tone of their voice and from their words.
//!
//! An encoder turns sound into a [`Tone`], linear [`Heads`] turn the tone into logits, and a [`Baseline`] holds them against the caller's
//! earlier turns. It does not say what anybody feels: `docs/emotion.md` says what was measured, and what it must not be used for.

mod baseline;
mod heads;
#[cfg(feature = "moonshine")]
mod reader;
mod tone;
#[cfg(feature = "embedded")]
pub mod train;
#[cfg(all(feature = "moonshine", feature = "whisper", feature = "embedded"))]
mod whisper;
mod words;

pub use baseline::{Baseline, Likelihoods};
pub use heads::{Heads, HeadsCard, Linear, Scores};
#[cfg(feature = "moonshine")]
pub use reader::{EmotionEngine, MoonshineTone, ToneReader, tone_reader};
pub use tone::{Grid, Tone};
pub(crate) use words::words;
