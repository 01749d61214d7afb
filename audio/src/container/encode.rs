//! Mono PCM to any container, piece by piece or at once.

use std::fmt;

use super::flac::FlacEncoder;
use super::mp3::Mp3Encoder;
use super::ogg::OggEncoder;
use super::{Container, wav};
use crate::Rate;
use crate::codec::pcm;

/// Why sound was not encoded: a sentence for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError(pub String);

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EncodeError {}

/// Writes one file while its sound still comes.
pub struct Encoder {
    /// The bytes before the sound, until they are handed out.
    head: Vec<u8>,
    inner: Inner,
}

enum Inner {
    Pcm16,
    Flac(Box<FlacEncoder>),
    Mp3(Box<Mp3Encoder>),
    Opus(Box<OggEncoder>),
}

impl Encoder {
    /// An encoder of sound at `rate` whose length is not known yet.
    pub fn new(container: Container, rate: Rate) -> Result<Encoder, EncodeError> {
        Encoder::open(container, rate, None)
    }

    fn open(container: Container, rate: Rate, samples: Option<usize>) -> Result<Encoder, EncodeError> {
        let mut head = Vec::new();
        let inner = match container {
            Container::Pcm16 => Inner::Pcm16,
            Container::Wav => {
                head.extend_from_slice(&wav::header(rate, samples));
                Inner::Pcm16
            }
            Container::Flac => Inner::Flac(Box::new(FlacEncoder::new(rate, samples, &mut head)?)),
            Container::Mp3 => Inner::Mp3(Box::new(Mp3Encoder::new(rate)?)),
            Container::Opus => Inner::Opus(Box::new(OggEncoder::new(rate, &mut head)?)),
        };
        Ok(Encoder { head, inner })
    }

    /// Appends the bytes that `pcm` completes to `out`; the first call gives the file's head as well.
    pub fn push(&mut self, pcm: &[f32], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.append(&mut self.head);
        match &mut self.inner {
            Inner::Pcm16 => {
                pcm::encode(pcm, out);
                Ok(())
            }
            Inner::Flac(encoder) => encoder.push(pcm, out),
            Inner::Mp3(encoder) => encoder.push(pcm, out),
            Inner::Opus(encoder) => encoder.push(pcm, out),
        }
    }

    /// Appends the last bytes.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.append(&mut self.head);
        match &mut self.inner {
            Inner::Pcm16 => Ok(()),
            Inner::Flac(encoder) => encoder.finish(out),
            Inner::Mp3(encoder) => encoder.finish(out),
            Inner::Opus(encoder) => encoder.finish(out),
        }
    }
}

/// A whole file.
pub fn encode(container: Container, pcm: &[f32], rate: Rate) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    let mut encoder = Encoder::open(container, rate, Some(pcm.len()))?;
    encoder.push(pcm, &mut out)?;
    encoder.finish(&mut out)?;
    Ok(out)
}
