//! Any uploaded file to mono PCM: the real format is read from the bytes, whatever the name says.

use std::fmt;
use std::time::Duration;

use super::{Container, flac, mp3, ogg, wav};
use crate::Rate;

/// A decoded file: its channels mixed to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Mono, in [-1, 1].
    pub pcm: Vec<f32>,
    /// Its rate.
    pub rate: Rate,
    /// What the file was.
    pub container: Container,
}

/// Why a file was not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// There are no bytes, or there is no sound in them.
    Empty,
    /// The bytes are none of the formats here.
    Unknown,
    /// The format is known, but not this kind of it.
    Unsupported {
        /// The format.
        container: Container,
        /// What is in it and what may be.
        detail: String,
    },
    /// The bytes break the rules of the format.
    Malformed {
        /// The format.
        container: Container,
        /// Where.
        detail: String,
    },
    /// The file ends before the sound that its header announces.
    Truncated {
        /// The format.
        container: Container,
    },
    /// More sound than is allowed.
    TooLong {
        /// How much is allowed.
        limit: Duration,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Empty => f.write_str("the audio is empty; send a wav, flac, mp3 or Ogg-Opus file with sound in it"),
            DecodeError::Unknown => f.write_str("the audio is in no known format; allowed are wav, flac, mp3 and Ogg-Opus"),
            DecodeError::Unsupported { container, detail } => write!(f, "this kind of {container} is not supported: {detail}"),
            DecodeError::Malformed { container, detail } => write!(f, "the {container} audio is damaged: {detail}; send the file again"),
            DecodeError::Truncated { container } => {
                write!(f, "the {container} audio ends before the length its header gives; send the whole file")
            }
            DecodeError::TooLong { limit } => write!(f, "the audio is too long; at most {} s are allowed", limit.as_secs()),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Decodes a file of at most `limit` of sound.
pub fn decode(bytes: &[u8], limit: Duration) -> Result<Recording, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let recording = match bytes {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => wav::decode(bytes, limit),
        [b'f', b'L', b'a', b'C', ..] => flac::decode(bytes, limit),
        [b'O', b'g', b'g', b'S', ..] => ogg::decode(bytes, limit),
        [b'I', b'D', b'3', ..] | [0xff, 0xe0..=0xff, ..] => mp3::decode(bytes, limit),
        _ => Err(DecodeError::Unknown),
    }?;
    if recording.pcm.is_empty() { Err(DecodeError::Empty) } else { Ok(recording) }
}

/// Collects interleaved sound as mono, up to a limit.
pub(super) struct Mixer {
    pub(super) pcm: Vec<f32>,
    most: usize,
    limit: Duration,
}

impl Mixer {
    pub(super) fn new(rate: Rate, limit: Duration) -> Mixer {
        Mixer { pcm: Vec::new(), most: usize::try_from(rate.samples(limit).0).unwrap_or(usize::MAX), limit }
    }

    /// Takes `interleaved` sound of so many channels, one at least.
    pub(super) fn push(&mut self, interleaved: &[f32], channels: usize) -> Result<(), DecodeError> {
        let channels = channels.max(1);
        if self.pcm.len() + interleaved.len() / channels > self.most {
            return Err(DecodeError::TooLong { limit: self.limit });
        }
        let scale = 1.0 / channels as f32;
        // A float format can hold NaN and infinities; neither is sound.
        self.pcm.extend(interleaved.chunks_exact(channels).map(|frame| {
            let mixed = frame.iter().sum::<f32>() * scale;
            if mixed.is_nan() { 0.0 } else { mixed.clamp(-1.0, 1.0) }
        }));
        Ok(())
    }
}

/// The rate that a header gives, if it is one of sound.
pub(super) fn rate(hz: u32, container: Container) -> Result<Rate, DecodeError> {
    Rate::new(hz)
        .ok_or_else(|| DecodeError::Unsupported { container, detail: format!("its rate is {hz} Hz, allowed are 4000 to 192000 Hz") })
}
