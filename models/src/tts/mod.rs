//! Text to speech: one synthesizer a file.

#[cfg(feature = "remote")]
pub mod remote;
