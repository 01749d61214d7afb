//! RIFF WAVE (Microsoft, "Multimedia Programming Interface and Data Specifications 1.0", 1991; RFC 2361 for the format codes).

use std::time::Duration;

use super::decode::{Mixer, rate};
use super::{Container, DecodeError, Recording};
use crate::Rate;
use crate::codec::g711::{self, Law};

/// A size that a writer puts who does not know it: the sound goes on to the end.
const UNKNOWN_SIZE: u32 = u32::MAX;
const PCM: u16 = 1;
const FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
/// The real format code is the first field of the sub-format that follows (WAVEFORMATEXTENSIBLE).
const EXTENSIBLE: u16 = 0xfffe;
/// Channels that a mix to one still makes sense of.
const MOST_CHANNELS: u16 = 32;
/// Frames decoded at once.
const BLOCK: usize = 4_096;

#[derive(Clone, Copy)]
enum Sample {
    U8,
    I16,
    I24,
    I32,
    F32,
    F64,
    G711(Law),
}

impl Sample {
    fn bytes(self) -> usize {
        match self {
            Sample::U8 | Sample::G711(_) => 1,
            Sample::I16 => 2,
            Sample::I24 => 3,
            Sample::I32 | Sample::F32 => 4,
            Sample::F64 => 8,
        }
    }

    fn decode(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Sample::U8 => out.extend(bytes.iter().map(|&b| (f32::from(b) - 128.0) / 128.0)),
            Sample::G711(law) => g711::decode(law, bytes, out),
            Sample::I16 => out.extend(bytes.as_chunks::<2>().0.iter().map(|&b| f32::from(i16::from_le_bytes(b)) / 32_768.0)),
            // Three bytes become the upper three of four.
            Sample::I24 => {
                out.extend(bytes.as_chunks::<3>().0.iter().map(|&[a, b, c]| i32::from_le_bytes([0, a, b, c]) as f32 / 2_147_483_648.0))
            }
            Sample::I32 => out.extend(bytes.as_chunks::<4>().0.iter().map(|&b| i32::from_le_bytes(b) as f32 / 2_147_483_648.0)),
            Sample::F32 => out.extend(bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b))),
            Sample::F64 => out.extend(bytes.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b) as f32)),
        }
    }
}

struct Format {
    rate: Rate,
    channels: u16,
    sample: Sample,
}

fn malformed(detail: &str) -> DecodeError {
    DecodeError::Malformed { container: Container::Wav, detail: detail.to_owned() }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, DecodeError> {
    bytes.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]])).ok_or_else(|| malformed("the fmt chunk is too short"))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, DecodeError> {
    Ok(u32::from(u16_at(bytes, at)?) | u32::from(u16_at(bytes, at + 2)?) << 16)
}

fn format(chunk: &[u8]) -> Result<Format, DecodeError> {
    let (mut code, channels, hz, bits) = (u16_at(chunk, 0)?, u16_at(chunk, 2)?, u32_at(chunk, 4)?, u16_at(chunk, 14)?);
    if code == EXTENSIBLE {
        code = u16_at(chunk, 24)?;
    }
    let unsupported = |detail: String| DecodeError::Unsupported { container: Container::Wav, detail };
    if channels == 0 || channels > MOST_CHANNELS {
        return Err(unsupported(format!("it has {channels} channels, allowed are 1 to {MOST_CHANNELS}")));
    }
    let sample = match (code, bits) {
        (PCM, 8) => Sample::U8,
        (PCM, 16) => Sample::I16,
        (PCM, 24) => Sample::I24,
        (PCM, 32) => Sample::I32,
        (FLOAT, 32) => Sample::F32,
        (FLOAT, 64) => Sample::F64,
        (MU_LAW, 8) => Sample::G711(Law::Mu),
        (A_LAW, 8) => Sample::G711(Law::A),
        _ => {
            return Err(unsupported(format!(
                "its samples are of format {code} with {bits} bits, allowed are PCM of 8, 16, 24 or 32 bits, float of 32 or 64, mu-law and A-law"
            )));
        }
    };
    Ok(Format { rate: rate(hz, Container::Wav)?, channels, sample })
}

pub(super) fn decode(bytes: &[u8], limit: Duration) -> Result<Recording, DecodeError> {
    let mut rest = bytes.get(12..).unwrap_or_default();
    let mut known = None;
    while let [a, b, c, d, s0, s1, s2, s3, body @ ..] = rest {
        let size = u32::from_le_bytes([*s0, *s1, *s2, *s3]);
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        match &[*a, *b, *c, *d] {
            b"fmt " => known = Some(format(body.get(..length).ok_or_else(|| malformed("the fmt chunk is cut off"))?)?),
            b"data" => {
                let format = known.ok_or_else(|| malformed("there is no fmt chunk before the data"))?;
                // Writers that stream leave the size open, as all ones or as nought.
                let data = match size {
                    UNKNOWN_SIZE | 0 => body,
                    _ => body.get(..length).ok_or(DecodeError::Truncated { container: Container::Wav })?,
                };
                return samples(data, &format, limit);
            }
            _ => {}
        }
        // Chunks start at even places.
        rest = body.get(length.saturating_add(length & 1)..).unwrap_or_default();
    }
    Err(malformed("there is no data chunk"))
}

fn samples(data: &[u8], format: &Format, limit: Duration) -> Result<Recording, DecodeError> {
    let channels = usize::from(format.channels);
    let mut mixer = Mixer::new(format.rate, limit);
    let mut block = Vec::with_capacity(BLOCK * channels);
    for bytes in data.chunks(BLOCK * channels * format.sample.bytes()) {
        block.clear();
        format.sample.decode(bytes, &mut block);
        mixer.push(&block, channels)?;
    }
    Ok(Recording { pcm: mixer.pcm, rate: format.rate, container: Container::Wav })
}

/// The 44 bytes before mono 16-bit PCM; `samples` is `None` where the length is not known yet.
pub(super) fn header(rate: Rate, samples: Option<usize>) -> [u8; 44] {
    let data = samples.and_then(|samples| u32::try_from(samples * 2).ok()).filter(|&size| size < UNKNOWN_SIZE - 36);
    let mut header = [0; 44];
    let fields: [(usize, &[u8]); 13] = [
        (0, b"RIFF"),
        (4, &data.map_or(UNKNOWN_SIZE, |size| size + 36).to_le_bytes()),
        (8, b"WAVE"),
        (12, b"fmt "),
        (16, &16u32.to_le_bytes()),
        (20, &PCM.to_le_bytes()),
        (22, &1u16.to_le_bytes()),
        (24, &rate.hz().to_le_bytes()),
        (28, &(rate.hz() * 2).to_le_bytes()),
        (32, &2u16.to_le_bytes()),
        (34, &16u16.to_le_bytes()),
        (36, b"data"),
        (40, &data.unwrap_or(UNKNOWN_SIZE).to_le_bytes()),
    ];
    for (at, field) in fields {
        header[at..at + field.len()].copy_from_slice(field);
    }
    header
}
