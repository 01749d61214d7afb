//! Opus in Ogg (RFC 7845).

use std::io::Cursor;
use std::time::Duration;

use ogg::reading::OggReadError;
use ogg::{PacketReader, PacketWriteEndInfo, PacketWriter};

use super::decode::Mixer;
use super::{Container, DecodeError, EncodeError, Recording};
use crate::codec::opus::{OpusDecoder, OpusEncoder};
use crate::{Framer, Rate, Resampler};

/// Packets of 20 ms in a page that we write: 100 ms, 5 bytes of page header a packet.
const PACKETS_IN_PAGE: u64 = 5;
/// The clock of positions, whatever the rate inside (RFC 7845 section 4).
const CLOCK: u64 = 48_000;
/// A pre-skip is a count of 16 bits at 48 kHz.
const LONGEST_SKIP: Duration = Duration::from_millis(65_536 / 48);
/// Any number names our one logical stream.
const SERIAL: u32 = 1;

fn malformed(detail: impl ToString) -> DecodeError {
    DecodeError::Malformed { container: Container::Opus, detail: detail.to_string() }
}

/// What the identification header says (RFC 7845 section 5.1).
struct Head {
    serial: u32,
    pre_skip: usize,
    gain: f32,
}

fn head(packet: &ogg::Packet) -> Result<Head, DecodeError> {
    let unsupported = |detail: &str| DecodeError::Unsupported { container: Container::Opus, detail: detail.to_owned() };
    let [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', version, channels, skip0, skip1, _, _, _, _, gain0, gain1, family, ..] =
        packet.data[..]
    else {
        return Err(unsupported("there is no Opus in this Ogg file, and nothing else in Ogg is allowed"));
    };
    if version >= 16 || family != 0 || !(1..=2).contains(&channels) {
        return Err(unsupported("Opus of one or two channels is allowed (mapping family 0)"));
    }
    // The gain is of 1/256 dB (section 5.1, "Output Gain").
    let gain = 10f32.powf(f32::from(i16::from_le_bytes([gain0, gain1])) / 256.0 / 20.0);
    Ok(Head { serial: packet.stream_serial(), pre_skip: usize::from(u16::from_le_bytes([skip0, skip1])), gain })
}

pub(super) fn decode(bytes: &[u8], limit: Duration) -> Result<Recording, DecodeError> {
    let mut reader = PacketReader::new(Cursor::new(bytes));
    let mut next = || match reader.read_packet() {
        Err(OggReadError::ReadError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(DecodeError::Truncated { container: Container::Opus })
        }
        other => other.map_err(malformed),
    };
    let head = head(&next()?.ok_or(DecodeError::Empty)?)?;
    let mut decoder = OpusDecoder::new(Rate::OPUS).map_err(malformed)?;
    // The pre-skip counts as sound until it is taken off.
    let mut mixer = Mixer::new(Rate::OPUS, limit + LONGEST_SKIP);
    let (mut block, mut end, mut tags) = (Vec::new(), None, false);
    while let Some(packet) = next()? {
        if packet.stream_serial() != head.serial {
            continue;
        }
        if !tags {
            tags = true;
            continue;
        }
        block.clear();
        decoder.decode(&packet.data, &mut block).map_err(malformed)?;
        mixer.push(&block, 1)?;
        if packet.last_in_stream() {
            end = usize::try_from(packet.absgp_page()).ok();
        }
    }
    let mut pcm = mixer.pcm;
    // The last position cuts off the padding of the last packet (section 4.4).
    pcm.truncate(end.unwrap_or(usize::MAX));
    pcm.drain(..head.pre_skip.min(pcm.len()));
    if pcm.len() as u64 > Rate::OPUS.samples(limit).0 {
        return Err(DecodeError::TooLong { limit });
    }
    if head.gain != 1.0 {
        pcm.iter_mut().for_each(|sample| *sample = (*sample * head.gain).clamp(-1.0, 1.0));
    }
    Ok(Recording { pcm, rate: Rate::OPUS, container: Container::Opus })
}

pub(super) struct OggEncoder {
    writer: PacketWriter<'static, Vec<u8>>,
    resampler: Resampler,
    opus: OpusEncoder,
    framer: Framer,
    resampled: Vec<f32>,
    /// The last packet must carry the mark of the end, so one is always held back.
    held: Option<Vec<u8>>,
    packets: u64,
    /// Samples at the encoder's rate that were given to it.
    taken: u64,
    pre_skip: u64,
}

impl OggEncoder {
    pub(super) fn new(rate: Rate, out: &mut Vec<u8>) -> Result<OggEncoder, EncodeError> {
        let inside = if matches!(rate.hz(), 8_000 | 12_000 | 16_000 | 24_000 | 48_000) { rate } else { Rate::OPUS };
        let mut opus = OpusEncoder::new(inside).map_err(|error| EncodeError(error.0))?;
        let lag = opus.lookahead().map_err(|error| EncodeError(error.0))?.convert(inside, Rate::OPUS).0;
        let mut encoder = OggEncoder {
            writer: PacketWriter::new(Vec::new()),
            resampler: Resampler::new(rate, inside),
            framer: Framer::new(opus.frame()),
            opus,
            resampled: Vec::new(),
            held: None,
            packets: 0,
            taken: 0,
            pre_skip: lag,
        };
        let mut head = b"OpusHead\x01\x01".to_vec();
        head.extend_from_slice(&(lag as u16).to_le_bytes());
        head.extend_from_slice(&rate.hz().to_le_bytes());
        head.extend_from_slice(&[0, 0, 0]);
        let vendor = b"timbre";
        let mut tags = b"OpusTags".to_vec();
        tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
        tags.extend_from_slice(vendor);
        tags.extend_from_slice(&0u32.to_le_bytes());
        encoder.write(head, PacketWriteEndInfo::EndPage, 0)?;
        encoder.write(tags, PacketWriteEndInfo::EndPage, 0)?;
        encoder.take(out);
        Ok(encoder)
    }

    fn write(&mut self, packet: Vec<u8>, end: PacketWriteEndInfo, position: u64) -> Result<(), EncodeError> {
        self.writer.write_packet(packet, SERIAL, end, position).map_err(|error| EncodeError(format!("Ogg: {error}")))
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        out.append(self.writer.inner_mut());
    }

    pub(super) fn push(&mut self, pcm: &[f32], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut resampled = std::mem::take(&mut self.resampled);
        resampled.clear();
        self.resampler.push(pcm, &mut resampled);
        self.taken += resampled.len() as u64;
        let result = self.encode(&resampled);
        self.resampled = resampled;
        self.take(out);
        result
    }

    fn encode(&mut self, pcm: &[f32]) -> Result<(), EncodeError> {
        let mut packets = Vec::new();
        let mut result = Ok(());
        self.framer.push(pcm, |frame| match self.opus.encode(frame) {
            Ok(packet) => packets.push(packet.to_vec()),
            Err(error) => result = Err(EncodeError(error.0)),
        });
        for packet in packets {
            if let Some(held) = self.held.replace(packet) {
                self.packets += 1;
                let end = if self.packets.is_multiple_of(PACKETS_IN_PAGE) {
                    PacketWriteEndInfo::EndPage
                } else {
                    PacketWriteEndInfo::NormalPacket
                };
                self.write(held, end, self.packets * CLOCK / 50)?;
            }
        }
        result
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut rest = Vec::new();
        self.resampler.finish(&mut rest);
        self.taken += rest.len() as u64;
        let inside = self.resampler.to();
        let end = self.pre_skip + self.taken * CLOCK / u64::from(inside.hz());
        // The sound comes out of the encoder late by its lookahead: silence pushes it through, up to a whole packet.
        rest.resize(rest.len() + self.opus.lookahead().map_err(|error| EncodeError(error.0))?.0 as usize, 0.0);
        self.encode(&rest)?;
        let missing = self.opus.frame().0 as usize - self.framer.waiting().len();
        self.encode(&vec![0.0; missing])?;
        if let Some(last) = self.held.take() {
            self.write(last, PacketWriteEndInfo::EndStream, end)?;
        }
        self.take(out);
        Ok(())
    }
}
