//! The caller's packets on their way to the session: put in order, decoded, and gaps filled, at the pace of one clock.
//!
//! It has no clock and no socket: packets are pushed as they come, and every 20 ms one packet's time is taken out.

use audio::codec::opus::{OpusDecoder, PACKET_MS};
use audio::codec::pcm;
use audio::{CodecError, Jitter, Playout, Rate, Samples};
use bytes::Bytes;

/// Delay of the jitter buffer, ms: three packets, which rides out the jitter of most wireless networks (ITU-T G.114 leaves 150 ms in all).
const DELAY_MS: u32 = 60;
/// More packets than this in the buffer mean that the sender's clock is ahead of ours, or that a stall is over: 160 ms.
const MOST_HELD: usize = 8;
/// Lost packets in a row that are made up; what follows is silence, for a guess from older sound only hums.
const MOST_MADE_UP: u32 = 5;
/// Longest that one packet brings beyond the clock, ms: an Opus packet has at most 120 ms (RFC 6716 section 3.2.5).
const LONGEST_LEAD_MS: u64 = 100;

/// Packets in, PCM16 out.
pub(super) struct Intake {
    jitter: Jitter<Bytes>,
    decoder: OpusDecoder,
    rate: Rate,
    decoded: Vec<f32>,
    /// Sound that packets longer than 20 ms brought beyond the clock.
    ahead: Samples,
    /// Packets lost one after the other.
    lost: u32,
    began: bool,
}

impl Intake {
    /// Decodes to `rate`: one that Opus knows.
    pub(super) fn new(rate: Rate) -> Result<Intake, CodecError> {
        Ok(Intake {
            jitter: Jitter::new(DELAY_MS, PACKET_MS as u32),
            decoder: OpusDecoder::new(rate)?,
            rate,
            decoded: Vec::new(),
            ahead: Samples(0),
            lost: 0,
            began: false,
        })
    }

    /// The packets that come from now on are numbered anew.
    pub(super) fn restart(&mut self) {
        self.jitter.clear();
        self.lost = 0;
    }

    /// Takes a packet as it comes.
    pub(super) fn push(&mut self, number: u16, packet: Bytes) {
        // Empty ones keep a connection open; libopus would take them for lost ones.
        if !packet.is_empty() {
            self.began = true;
            self.jitter.push(number, packet);
        }
    }

    /// Appends what another 20 ms bring: nothing before the first packet, silence where nothing comes, so that pauses are heard as such.
    pub(super) fn tick(&mut self, pcm16: &mut Vec<u8>) {
        if !self.began {
            return;
        }
        let step = self.rate.samples_in_ms(PACKET_MS);
        self.decoded.clear();
        let due = self.ahead < step;
        if due {
            self.next();
            if self.decoded.is_empty() {
                self.decoded.resize(step.0 as usize, 0.0);
            }
        } else {
            self.ahead = self.ahead - step;
        }
        // The session takes sound faster than it is spoken: nothing is lost by catching up.
        while self.jitter.held() > MOST_HELD {
            self.next();
        }
        pcm::encode(&self.decoded, pcm16);
    }

    /// Decodes one packet's place. A packet that is no Opus is like a lost one.
    fn next(&mut self) {
        let (before, step) = (self.decoded.len(), self.rate.samples_in_ms(PACKET_MS));
        let made = match self.jitter.pop() {
            Playout::Waiting => return,
            Playout::Packet(packet) => {
                self.lost = 0;
                self.decoder.decode(&packet, &mut self.decoded)
            }
            Playout::Lost => {
                self.lost += 1;
                match self.jitter.peek() {
                    Some(next) => self.decoder.recover(next, &mut self.decoded),
                    None if self.lost <= MOST_MADE_UP => self.decoder.conceal(&mut self.decoded),
                    None => Ok(()),
                }
            }
        };
        if made.is_err() {
            self.decoded.resize(before + step.0 as usize, 0.0);
        }
        let long = Samples((self.decoded.len() - before) as u64).saturating_sub(step);
        self.ahead = (self.ahead + long).min(self.rate.samples_in_ms(LONGEST_LEAD_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio::codec::opus::OpusEncoder;

    fn packets(count: usize) -> Vec<Bytes> {
        let mut encoder = OpusEncoder::new(Rate::SPEECH).expect("encoder");
        let tone = |i: usize| 0.5 * (std::f32::consts::TAU * 440.0 * i as f32 / 24_000.0).sin();
        let sound: Vec<f32> = (0..480 * count).map(tone).collect();
        sound.chunks(480).map(|piece| Bytes::copy_from_slice(encoder.encode(piece).expect("encodes"))).collect()
    }

    /// A script of packets (numbers) and of `.`, one tick each; what each tick brings: `s` sound, `0` silence, `-` nothing at all, and how
    /// many 20 ms of it where more than one.
    fn check(script: &str, expected: &str) {
        let packets = packets(40);
        let mut intake = Intake::new(Rate::SPEECH).expect("intake");
        let mut brought = Vec::new();
        for step in script.split_whitespace() {
            if let Ok(number) = step.parse::<u16>() {
                intake.push(number, packets[usize::from(number) % packets.len()].clone());
                continue;
            }
            let mut bytes = Vec::new();
            intake.tick(&mut bytes);
            assert_eq!(bytes.len() % 960, 0);
            let sound = bytes.iter().any(|&byte| byte != 0);
            brought.push(match bytes.len() / 960 {
                0 => "-".to_owned(),
                1 => if sound { "s" } else { "0" }.to_owned(),
                many => format!("{many}"),
            });
        }
        assert_eq!(brought.join(" "), expected, "{script}");
    }

    #[test]
    fn every_tick_brings_its_sound() {
        check(". .", "- -");
        check("1 . 2 . 3 . 4 . 5 .", "0 0 s s s");
        // One lost, with the next there; and a sender that falls silent, which is silence.
        check("1 2 4 . . . . . .", "s s s s 0 0");
        // A stall that is over is caught up with, once.
        check("1 2 3 4 5 6 7 8 9 10 11 12 . . 13 . 14 . . .", "4 s s s s s");
    }

    #[test]
    fn what_is_no_opus_is_silence() {
        let mut intake = Intake::new(Rate::SPEECH).expect("intake");
        for number in 0..3 {
            intake.push(number, Bytes::from_static(&[0xff; 3]));
        }
        intake.push(3, Bytes::new());
        let mut bytes = Vec::new();
        intake.tick(&mut bytes);
        assert_eq!(bytes.len(), 960);
    }
}
