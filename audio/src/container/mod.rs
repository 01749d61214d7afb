//! Containers: whole files as they are uploaded, and the formats that replies are written in.

mod decode;
mod encode;
mod flac;
mod mp3;
mod ogg;
mod wav;

use std::fmt;

pub use decode::{DecodeError, Recording, decode};
pub use encode::{EncodeError, Encoder, encode};

/// A format of sound files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// RIFF WAVE.
    Wav,
    /// FLAC (RFC 9639).
    Flac,
    /// MPEG audio layer 3.
    Mp3,
    /// Opus in Ogg (RFC 7845).
    Opus,
    /// Bare 16-bit little-endian PCM.
    Pcm16,
}

impl Container {
    /// All of them.
    pub const ALL: [Container; 5] = [Container::Wav, Container::Flac, Container::Mp3, Container::Opus, Container::Pcm16];

    /// The name that requests use.
    pub fn name(self) -> &'static str {
        match self {
            Container::Wav => "wav",
            Container::Flac => "flac",
            Container::Mp3 => "mp3",
            Container::Opus => "opus",
            Container::Pcm16 => "pcm16",
        }
    }

    /// The container of that name; `pcm` is `pcm16`.
    pub fn parse(name: &str) -> Option<Container> {
        if name == "pcm" { Some(Container::Pcm16) } else { Container::ALL.into_iter().find(|container| container.name() == name) }
    }

    /// Its media type for `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Container::Wav => "audio/wav",
            Container::Flac => "audio/flac",
            Container::Mp3 => "audio/mpeg",
            Container::Opus => "audio/ogg",
            Container::Pcm16 => "audio/pcm",
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
