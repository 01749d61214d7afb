//! Codecs: between mono f32 and the payloads that transports carry. Conversion happens once, at the edge.

pub mod g711;
pub mod opus;
pub mod pcm;

use std::fmt;

use crate::{Framer, Rate};
use g711::Law;
use opus::{OpusDecoder, OpusEncoder};
use pcm::PcmDecoder;

/// How a transport carries sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// 16-bit little-endian PCM at this rate.
    Pcm16(Rate),
    /// G.711, always at 8 kHz.
    G711(Law),
    /// Opus packets; the rate is ours, the wire's clock is always 48 kHz (RFC 7587 section 4.1).
    Opus(Rate),
}

impl Codec {
    /// The rate of the sound that goes in and comes out.
    pub fn rate(self) -> Rate {
        match self {
            Codec::Pcm16(rate) | Codec::Opus(rate) => rate,
            Codec::G711(_) => Rate::TELEPHONE,
        }
    }

    /// Its media subtype, as in RTP maps (RFC 3551, RFC 7587).
    pub fn name(self) -> &'static str {
        match self {
            Codec::Pcm16(_) => "L16",
            Codec::G711(Law::Mu) => "PCMU",
            Codec::G711(Law::A) => "PCMA",
            Codec::Opus(_) => "opus",
        }
    }
}

/// Why a payload was not coded: a sentence for whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecError(pub String);

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

/// Payloads to sound.
pub enum CodecDecoder {
    /// PCM, whose payloads may end in the middle of a sample.
    Pcm16(PcmDecoder),
    /// G.711.
    G711(Law),
    /// Opus.
    Opus(Box<OpusDecoder>),
}

impl CodecDecoder {
    /// A decoder of `codec`.
    pub fn new(codec: Codec) -> Result<CodecDecoder, CodecError> {
        Ok(match codec {
            Codec::Pcm16(_) => CodecDecoder::Pcm16(PcmDecoder::new()),
            Codec::G711(law) => CodecDecoder::G711(law),
            Codec::Opus(rate) => CodecDecoder::Opus(Box::new(OpusDecoder::new(rate)?)),
        })
    }

    /// Appends the sound of one payload to `pcm`.
    pub fn decode(&mut self, payload: &[u8], pcm: &mut Vec<f32>) -> Result<(), CodecError> {
        match self {
            CodecDecoder::Pcm16(decoder) => decoder.decode(payload, pcm),
            CodecDecoder::G711(law) => g711::decode(*law, payload, pcm),
            CodecDecoder::Opus(decoder) => decoder.decode(payload, pcm)?,
        }
        Ok(())
    }
}

/// Sound to payloads.
pub enum CodecEncoder {
    /// PCM, and the buffer of its payload.
    Pcm16(Vec<u8>),
    /// G.711, and the buffer of its payload.
    G711(Law, Vec<u8>),
    /// Opus, and what waits for a whole packet.
    Opus(Box<OpusEncoder>, Framer),
}

impl CodecEncoder {
    /// An encoder of `codec`.
    pub fn new(codec: Codec) -> Result<CodecEncoder, CodecError> {
        Ok(match codec {
            Codec::Pcm16(_) => CodecEncoder::Pcm16(Vec::new()),
            Codec::G711(law) => CodecEncoder::G711(law, Vec::new()),
            Codec::Opus(rate) => {
                let encoder = OpusEncoder::new(rate)?;
                let framer = Framer::new(encoder.frame());
                CodecEncoder::Opus(Box::new(encoder), framer)
            }
        })
    }

    /// Hands each payload that `pcm` completes to `emit`: one for PCM and G.711, one a packet of 20 ms for Opus.
    pub fn encode(&mut self, pcm: &[f32], mut emit: impl FnMut(&[u8])) -> Result<(), CodecError> {
        match self {
            CodecEncoder::Pcm16(payload) => {
                payload.clear();
                pcm::encode(pcm, payload);
                emit(payload);
            }
            CodecEncoder::G711(law, payload) => {
                payload.clear();
                g711::encode(*law, pcm, payload);
                emit(payload);
            }
            CodecEncoder::Opus(encoder, framer) => {
                let mut result = Ok(());
                framer.push(pcm, |frame| match encoder.encode(frame) {
                    Ok(packet) => emit(packet),
                    Err(error) => result = Err(error),
                });
                result?;
            }
        }
        Ok(())
    }

    /// Hands out what still waits for a whole packet, filled up with silence.
    pub fn finish(&mut self, mut emit: impl FnMut(&[u8])) -> Result<(), CodecError> {
        if let CodecEncoder::Opus(encoder, framer) = self {
            let mut result = Ok(());
            framer.finish(|frame| match encoder.encode(frame) {
                Ok(packet) => emit(packet),
                Err(error) => result = Err(error),
            });
            result?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_carries_every_sample() {
        for codec in [Codec::Pcm16(Rate::SPEECH), Codec::G711(Law::Mu), Codec::G711(Law::A), Codec::Opus(Rate::MODEL)] {
            let mut encoder = CodecEncoder::new(codec).expect("encoder");
            let mut decoder = CodecDecoder::new(codec).expect("decoder");
            let mut heard = Vec::new();
            let mut take = |payload: &[u8]| decoder.decode(payload, &mut heard).expect("decodes");
            for piece in vec![0.1f32; 1_000].chunks(77) {
                encoder.encode(piece, &mut take).expect("encodes");
            }
            encoder.finish(&mut take).expect("finishes");
            let expected = if matches!(codec, Codec::Opus(_)) { 1_280 } else { 1_000 };
            assert_eq!(heard.len(), expected, "{}", codec.name());
        }
    }
}
