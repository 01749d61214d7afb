//! FLAC (RFC 9639): read by symphonia, written by flacenc.

use std::io::Cursor;
use std::time::Duration;

use flacenc::bitsink::ByteSink;
use flacenc::component::{BitRepr, Stream};
use flacenc::config;
use flacenc::error::{Verified, Verify};
use flacenc::source::{Fill, FrameBuf};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::default::{codecs::FlacDecoder, formats::FlacReader};

use super::decode::{Mixer, rate};
use super::{Container, DecodeError, EncodeError, Recording};
use crate::Rate;
use crate::codec::pcm;

/// Samples in a frame: what flacenc and the reference encoder choose.
const BLOCK: usize = 4_096;
/// flacenc writes no shorter frame; a shorter end is filled up with silence.
const SHORTEST_BLOCK: usize = 64;

pub(super) fn decode(bytes: &[u8], limit: Duration) -> Result<Recording, DecodeError> {
    let malformed = |error: Error| DecodeError::Malformed { container: Container::Flac, detail: error.to_string() };
    let source = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let mut reader = FlacReader::try_new(source, FormatOptions::default()).map_err(malformed)?;
    let missing = || DecodeError::Malformed { container: Container::Flac, detail: "there is no stream information".to_owned() };
    let track = reader.default_track(TrackType::Audio).ok_or_else(missing)?;
    let announced = track.num_frames;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio()).ok_or_else(missing)?;
    let rate = rate(parameters.sample_rate.unwrap_or(0), Container::Flac)?;
    let mut decoder = FlacDecoder::try_new(parameters, &AudioDecoderOptions::default()).map_err(malformed)?;
    let (mut mixer, mut block) = (Mixer::new(rate, limit), Vec::<f32>::new());
    loop {
        match reader.next_packet() {
            Ok(Some(packet)) => {
                let sound = decoder.decode(&packet).map_err(malformed)?;
                sound.copy_to_vec_interleaved(&mut block);
                mixer.push(&block, sound.spec().channels().count())?;
            }
            Ok(None) => break,
            Err(Error::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(malformed(error)),
        }
    }
    if announced.is_some_and(|announced| (mixer.pcm.len() as u64) < announced) {
        return Err(DecodeError::Truncated { container: Container::Flac });
    }
    Ok(Recording { pcm: mixer.pcm, rate, container: Container::Flac })
}

pub(super) struct FlacEncoder {
    config: Verified<config::Encoder>,
    stream: Stream,
    /// Samples of 16 bits, less than a block.
    waiting: Vec<i32>,
    frames: usize,
}

impl FlacEncoder {
    /// An encoder, and the bytes before the first frame; `samples` is `None` where the length is not known yet.
    pub(super) fn new(rate: Rate, samples: Option<usize>, out: &mut Vec<u8>) -> Result<FlacEncoder, EncodeError> {
        let config = config::Encoder::default().into_verified().map_err(|(_, error)| EncodeError(format!("FLAC: {error}")))?;
        let mut stream = Stream::new(rate.hz() as usize, 1, 16).map_err(|error| EncodeError(format!("FLAC: {error}")))?;
        stream.stream_info_mut().set_block_sizes(BLOCK, BLOCK).map_err(|error| EncodeError(format!("FLAC: {error}")))?;
        if let Some(samples) = samples {
            let last = samples % BLOCK;
            stream.stream_info_mut().set_total_samples(samples - last + if last == 0 { 0 } else { last.max(SHORTEST_BLOCK) });
        }
        append(&stream, out)?;
        Ok(FlacEncoder { config, stream, waiting: Vec::with_capacity(BLOCK), frames: 0 })
    }

    pub(super) fn push(&mut self, pcm: &[f32], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        for &sample in pcm {
            self.waiting.push(i32::from(pcm::word(sample)));
            if self.waiting.len() == BLOCK {
                self.frame(out)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.waiting.resize(self.waiting.len().max(SHORTEST_BLOCK), 0);
        self.frame(out)
    }

    fn frame(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut block = FrameBuf::with_size(1, self.waiting.len()).map_err(|error| EncodeError(format!("FLAC: {error}")))?;
        block.fill_interleaved(&self.waiting).map_err(|error| EncodeError(format!("FLAC: {error}")))?;
        let frame = flacenc::encode_fixed_size_frame(&self.config, &block, self.frames, self.stream.stream_info())
            .map_err(|error| EncodeError(format!("FLAC: {error}")))?;
        self.frames += 1;
        self.waiting.clear();
        append(&frame, out)
    }
}

fn append(part: &impl BitRepr, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut sink = ByteSink::new();
    part.write(&mut sink).map_err(|error| EncodeError(format!("FLAC: {error}")))?;
    out.extend_from_slice(sink.as_slice());
    Ok(())
}
