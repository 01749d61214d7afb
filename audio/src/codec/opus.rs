//! Opus (RFC 6716), one channel: what browsers and RTP carry (RFC 7587), in packets of 20 ms.

use opus::{Application, Bitrate, Channels};

use super::CodecError;
use crate::{Rate, Samples};

/// Milliseconds of sound in each packet that we write: the codec's own default (RFC 6716 section 2.1.4).
pub const PACKET_MS: u64 = 20;
/// Longest packet that a decoder must take, in ms (RFC 6716 section 3.2.5).
const LONGEST_PACKET_MS: u64 = 120;
/// Bytes that the packet of one frame may take (RFC 6716 section 3.2.1), its first byte included.
const LARGEST_PACKET_BYTES: usize = 1_276;
/// Bits a second: wide-band to full-band speech, mono, by the table in RFC 6716 section 2.1.1.
const BITS_PER_SECOND: i32 = 32_000;

/// The rates libopus works at besides its own 48 kHz; it resamples inside.
fn check(rate: Rate) -> Result<Rate, CodecError> {
    match rate.hz() {
        8_000 | 12_000 | 16_000 | 24_000 | 48_000 => Ok(rate),
        other => Err(CodecError(format!("Opus takes 8000, 12000, 16000, 24000 or 48000 Hz, not {other}"))),
    }
}

fn error(error: opus::Error) -> CodecError {
    CodecError(format!("Opus: {}", error.description()))
}

/// Writes packets of 20 ms.
pub struct OpusEncoder {
    inner: opus::Encoder,
    rate: Rate,
    packet: [u8; LARGEST_PACKET_BYTES],
}

impl OpusEncoder {
    /// An encoder of speech at `rate`: 8, 12, 16, 24 or 48 kHz.
    pub fn new(rate: Rate) -> Result<OpusEncoder, CodecError> {
        let mut inner = opus::Encoder::new(check(rate)?.hz(), Channels::Mono, Application::Voip).map_err(error)?;
        inner.set_bitrate(Bitrate::Bits(BITS_PER_SECOND)).map_err(error)?;
        inner.set_inband_fec(true).map_err(error)?;
        Ok(OpusEncoder { inner, rate, packet: [0; LARGEST_PACKET_BYTES] })
    }

    /// Tells how many packets of a hundred get lost, so that each carries a copy of the one before it.
    pub fn expect_loss(&mut self, percent: u8) -> Result<(), CodecError> {
        self.inner.set_packet_loss_perc(i32::from(percent.min(100))).map_err(error)
    }

    /// Makes packets of `bits` a second from now on, as far as Opus can: 6000 to 510000.
    pub fn set_bits(&mut self, bits: u32) -> Result<(), CodecError> {
        self.inner.set_bitrate(Bitrate::Bits(bits.clamp(6_000, 510_000) as i32)).map_err(error)
    }

    /// How many samples a packet takes: 20 ms of them.
    pub fn frame(&self) -> Samples {
        self.rate.samples_in_ms(PACKET_MS)
    }

    /// How many samples at the encoder's rate the decoded sound lags behind.
    pub fn lookahead(&mut self) -> Result<Samples, CodecError> {
        Ok(Samples(self.inner.get_lookahead().map_err(error)?.max(0) as u64))
    }

    /// The packet of exactly one [`OpusEncoder::frame`] of sound.
    pub fn encode(&mut self, pcm: &[f32]) -> Result<&[u8], CodecError> {
        if pcm.len() as u64 != self.frame().0 {
            return Err(CodecError(format!("an Opus packet takes {} samples, not {}", self.frame().0, pcm.len())));
        }
        let length = self.inner.encode_float(pcm, &mut self.packet).map_err(error)?;
        Ok(&self.packet[..length])
    }
}

/// Reads packets; two channels are mixed to one.
pub struct OpusDecoder {
    inner: opus::Decoder,
    rate: Rate,
}

impl OpusDecoder {
    /// A decoder to `rate`: 8, 12, 16, 24 or 48 kHz.
    pub fn new(rate: Rate) -> Result<OpusDecoder, CodecError> {
        Ok(OpusDecoder { inner: opus::Decoder::new(check(rate)?.hz(), Channels::Mono).map_err(error)?, rate })
    }

    /// Appends the sound of one packet to `pcm`. A packet that is no Opus leaves `pcm` as it was.
    pub fn decode(&mut self, packet: &[u8], pcm: &mut Vec<f32>) -> Result<(), CodecError> {
        // libopus takes an empty packet as a lost one and would make up as much sound as fits.
        if packet.is_empty() {
            return Err(CodecError("Opus: an empty packet".to_owned()));
        }
        self.fill(packet, LONGEST_PACKET_MS, false, pcm)
    }

    /// Appends the 20 ms of a lost packet, out of the copy that `next`, the packet after it, may carry (in-band FEC, RFC 6716 section
    /// 2.1.7); a guess where it carries none.
    pub fn recover(&mut self, next: &[u8], pcm: &mut Vec<f32>) -> Result<(), CodecError> {
        self.fill(next, PACKET_MS, true, pcm)
    }

    /// Appends a guess at 20 ms of sound whose packet is lost.
    pub fn conceal(&mut self, pcm: &mut Vec<f32>) -> Result<(), CodecError> {
        self.fill(&[], PACKET_MS, false, pcm)
    }

    fn fill(&mut self, packet: &[u8], room_ms: u64, copy: bool, pcm: &mut Vec<f32>) -> Result<(), CodecError> {
        let before = pcm.len();
        pcm.resize(before + self.rate.samples_in_ms(room_ms).0 as usize, 0.0);
        let decoded = self.inner.decode_float(packet, &mut pcm[before..], copy).map_err(error);
        pcm.truncate(before + decoded.as_ref().map_or(0, |&samples| samples));
        decoded.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(rate: Rate, samples: usize) -> Vec<f32> {
        (0..samples).map(|i| 0.5 * (std::f32::consts::TAU * 440.0 * i as f32 / rate.hz() as f32).sin()).collect()
    }

    #[test]
    fn a_tone_survives_at_every_rate() {
        for hz in [8_000, 16_000, 24_000, 48_000] {
            let rate = Rate::new(hz).expect("a rate");
            let (mut encoder, mut decoder) = (OpusEncoder::new(rate).expect("encoder"), OpusDecoder::new(rate).expect("decoder"));
            let frame = encoder.frame().0 as usize;
            let lag = encoder.lookahead().expect("lookahead").0 as usize;
            let (sound, mut heard) = (tone(rate, frame * 25), Vec::new());
            for piece in sound.chunks(frame) {
                decoder.decode(encoder.encode(piece).expect("encodes"), &mut heard).expect("decodes");
            }
            assert_eq!(heard.len(), sound.len());
            let (mut cross, mut power) = (0.0f64, 0.0f64);
            for i in frame * 5..sound.len() - lag {
                cross += f64::from(sound[i] * heard[i + lag]);
                power += f64::from(sound[i] * sound[i]);
            }
            assert!((0.9..1.1).contains(&(cross / power)), "{hz}: {}", cross / power);
        }
    }

    #[test]
    fn wrong_sizes_and_rates_are_refused() {
        assert!(OpusEncoder::new(Rate::new(44_100).expect("a rate")).is_err());
        let mut encoder = OpusEncoder::new(Rate::SPEECH).expect("encoder");
        assert!(encoder.encode(&[0.0; 100]).is_err());
        let mut pcm = Vec::new();
        assert!(OpusDecoder::new(Rate::OPUS).expect("decoder").decode(&[], &mut pcm).is_err());
        assert!(pcm.is_empty());
    }

    #[test]
    fn a_lost_packet_is_filled() {
        let mut pcm = Vec::new();
        OpusDecoder::new(Rate::OPUS).expect("decoder").conceal(&mut pcm).expect("conceals");
        assert_eq!(pcm.len(), 960);
    }

    #[test]
    fn a_lost_packet_is_recovered_from_the_next_one() {
        let mut encoder = OpusEncoder::new(Rate::SPEECH).expect("encoder");
        encoder.expect_loss(20).expect("a percentage");
        // Vowels of a kind: a tone alone is not coded as speech, and only speech is repeated.
        let sound: Vec<f32> = (0..480 * 50)
            .map(|i| {
                let t = i as f32 / 24_000.0;
                (1..20).map(|n| (std::f32::consts::TAU * 140.0 * n as f32 * t).sin() / n as f32).sum::<f32>() * 0.2 * (t * 9.0).sin().abs()
            })
            .collect();
        let packets: Vec<Vec<u8>> = sound.chunks(480).map(|piece| encoder.encode(piece).expect("encodes").to_vec()).collect();
        let play = |lost: usize, copy: bool| {
            let (mut decoder, mut heard) = (OpusDecoder::new(Rate::SPEECH).expect("decoder"), Vec::new());
            for (at, packet) in packets.iter().enumerate() {
                match (at == lost, copy) {
                    (true, true) => decoder.recover(&packets[at + 1], &mut heard).expect("recovers"),
                    (true, false) => decoder.conceal(&mut heard).expect("conceals"),
                    (false, _) => decoder.decode(packet, &mut heard).expect("decodes"),
                }
            }
            heard
        };
        let whole = play(usize::MAX, false);
        let off = |heard: &[f32]| whole.iter().zip(heard).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        let (mut recovered, mut concealed) = (0.0, 0.0);
        for lost in 20..40 {
            recovered += off(&play(lost, true));
            concealed += off(&play(lost, false));
        }
        assert!(recovered < 0.8 * concealed, "{recovered} of {concealed}");
    }

    proptest! {
        #[test]
        fn any_packet_is_sound_or_an_error(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5)) {
            let mut decoder = OpusDecoder::new(Rate::MODEL).expect("decoder");
            for packet in packets {
                let mut pcm = Vec::new();
                let decoded = decoder.decode(&packet, &mut pcm);
                prop_assert!(pcm.len() <= 16 * 120);
                prop_assert_eq!(decoded.is_err(), pcm.is_empty());
            }
        }
    }
}
