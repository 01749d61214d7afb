//! The caller's packets on their way to the session: put in order, decoded, and gaps filled.
//!
//! What comes goes on at once, for the session needs no steady pace; a clock is needed only for what does not come. It has no clock
//! and no socket: packets are pushed as they come, and every 20 ms it is told so.

use audio::codec::opus::{OpusDecoder, PACKET_MS};
use audio::codec::pcm;
use audio::{Arrival, CodecError, Jitter, Playout, Rate};
use bytes::Bytes;

/// For how long a missing packet is waited for when later ones are there, ms: packets overtake each other by little, and most that are
/// missing are lost.
const PATIENCE_MS: u32 = 60;
/// A sender of whom nothing came for so long is silent, ms. Most stalls of wireless networks are shorter; they end no turn, for the
/// sound goes on where it was.
const STALL_MS: u64 = 200;
/// Packets up to this size say that their sender stops sending while it hears nothing (discontinuous transmission, RFC 6716 section 2.1.9).
const DISCONTINUOUS: usize = 2;
/// Lost packets in a row that are made up; what follows is silence, for a guess from older sound only hums.
const MOST_MADE_UP: u32 = 5;

/// Packets in, PCM16 out.
pub(super) struct Intake {
    jitter: Jitter<Bytes>,
    decoder: OpusDecoder,
    rate: Rate,
    decoded: Vec<f32>,
    /// Packets lost one after the other.
    lost: u32,
    /// `None` before the first packet.
    quiet: Option<Quiet>,
}

/// The time in which nothing came.
#[derive(Clone, Copy, Default)]
struct Quiet {
    /// Since the last packet's sound ended; less than nothing while a long one still sounds.
    ms: i64,
    /// Of it, given to the session as silence.
    filled_ms: i64,
    /// What the pause before the last packet was given: packets lost in it have had their time.
    before_ms: i64,
    /// The sender said that it stops.
    told: bool,
}

impl Intake {
    /// Decodes to `rate`: one that Opus knows.
    pub(super) fn new(rate: Rate) -> Result<Intake, CodecError> {
        Ok(Intake {
            jitter: Jitter::new(PATIENCE_MS, PACKET_MS as u32),
            decoder: OpusDecoder::new(rate)?,
            rate,
            decoded: Vec::new(),
            lost: 0,
            quiet: None,
        })
    }

    /// The packets that come from now on are numbered anew.
    pub(super) fn restart(&mut self) {
        self.jitter.clear();
        self.lost = 0;
    }

    /// Takes a packet as it comes, and appends the sound that is in order now.
    pub(super) fn push(&mut self, number: u16, packet: Bytes, pcm16: &mut Vec<u8>) {
        // Empty ones keep a connection open; libopus would take them for lost ones.
        if packet.is_empty() {
            return;
        }
        let told = packet.len() <= DISCONTINUOUS;
        if let Arrival::Kept | Arrival::Restart = self.jitter.push(number, packet) {
            let before_ms = self.quiet.map_or(0, |quiet| quiet.filled_ms);
            self.quiet = Some(Quiet { before_ms, told, ..Quiet::default() });
        }
        self.drain(pcm16);
    }

    /// Another 20 ms have passed: appends what is not waited for any longer, and silence where nothing comes, so that pauses are heard as such.
    pub(super) fn tick(&mut self, pcm16: &mut Vec<u8>) {
        self.jitter.tick();
        self.drain(pcm16);
        let Some(quiet) = &mut self.quiet else { return };
        quiet.ms += PACKET_MS as i64;
        if quiet.told || quiet.ms >= STALL_MS as i64 {
            let due = u64::try_from(quiet.ms - quiet.filled_ms).unwrap_or(0);
            quiet.filled_ms += due as i64;
            pcm16.resize(pcm16.len() + 2 * self.rate.samples_in_ms(due).0 as usize, 0);
        }
    }

    fn drain(&mut self, pcm16: &mut Vec<u8>) {
        self.decoded.clear();
        while self.next() {}
        pcm::encode(&self.decoded, pcm16);
    }

    /// Decodes one packet's place, if its time has come. A packet that is no Opus is like a lost one.
    fn next(&mut self) -> bool {
        let (before, step) = (self.decoded.len(), self.rate.samples_in_ms(PACKET_MS).0 as usize);
        let Some(quiet) = &mut self.quiet else { return false };
        let made = match self.jitter.pop() {
            Playout::Waiting => return false,
            Playout::Packet(packet) => {
                (self.lost, quiet.before_ms) = (0, 0);
                self.decoder.decode(&packet, &mut self.decoded)
            }
            Playout::Lost if quiet.before_ms > 0 => {
                quiet.before_ms -= PACKET_MS as i64;
                return true;
            }
            Playout::Lost => {
                self.lost += 1;
                match self.jitter.peek() {
                    Some(next) => self.decoder.recover(next, &mut self.decoded),
                    None if self.lost <= MOST_MADE_UP => self.decoder.conceal(&mut self.decoded),
                    None => {
                        self.decoded.resize(before + step, 0.0);
                        Ok(())
                    }
                }
            }
        };
        if made.is_err() {
            self.decoded.resize(before + step, 0.0);
        }
        // Packets may be longer than 20 ms (RFC 6716 section 3.2.5).
        let longer = (self.decoded.len() - before).saturating_sub(step) as u64;
        quiet.ms -= (longer * 1_000 / u64::from(self.rate.hz())) as i64;
        true
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

    /// A script of packets (numbers, `d` for one that says that no more come) and of `.`, one tick each; what each brings: `s` sound, `0` silence, `-` nothing at all, and
    /// how many 20 ms of it where more than one.
    fn check(script: &str, expected: &str) {
        let packets = packets(40);
        let mut intake = Intake::new(Rate::SPEECH).expect("intake");
        let mut brought = Vec::new();
        for step in script.split_whitespace() {
            let mut bytes = Vec::new();
            match step.strip_suffix('d').unwrap_or(step).parse::<u16>() {
                Ok(number) if step.ends_with('d') => intake.push(number, packets[0].slice(..1), &mut bytes),
                Ok(number) => intake.push(number, packets[usize::from(number) % packets.len()].clone(), &mut bytes),
                Err(_) => intake.tick(&mut bytes),
            }
            assert_eq!(bytes.len() % 960, 0);
            let kind = if bytes.iter().any(|&byte| byte != 0) { "s" } else { "0" };
            brought.push(match bytes.len() / 960 {
                0 => "-".to_owned(),
                1 => kind.to_owned(),
                many => format!("{many}{kind}"),
            });
        }
        assert_eq!(brought.join(" "), expected, "{script}");
    }

    #[test]
    fn what_comes_goes_on_at_once() {
        check(". . 1 . 2 . 3 4 5", "- - s - s - s s s");
        // Packets that overtook each other, and one that is lost, with what the next carries of it.
        check("1 . 3 . 2 .", "s - - - 2s -");
        check("1 . 3 . 4 . .", "s - - - - - 3s");
    }

    #[test]
    fn a_sender_that_falls_silent_is_heard_so() {
        check("1 . . . . . . . . . . . .", "s - - - - - - - - - 100 0 0");
        // One that says so is believed at once.
        check("1 2d . . . 3 . 4d .", "s s 0 0 0 s - s 0");
        // A stall that is over is caught up with.
        check("1 . . . . . 2 3 4 5 6 .", "s - - - - - s s s s s -");
    }

    #[test]
    fn what_is_lost_in_a_stall_is_not_made_up_after_its_silence() {
        check("1 . . . . . . . . . . 12 . . . 13", "s - - - - - - - - - 100 - - - s s");
        check("1 . . . . . . . . . . 2 4 . . .", "s - - - - - - - - - 100 s - - - 2s");
    }

    #[test]
    fn what_is_no_opus_is_silence() {
        let mut intake = Intake::new(Rate::SPEECH).expect("intake");
        let mut bytes = Vec::new();
        for number in 0..3 {
            intake.push(number, Bytes::from_static(&[0xff; 3]), &mut bytes);
        }
        intake.push(3, Bytes::new(), &mut bytes);
        assert_eq!(bytes, [0; 3 * 960]);
    }
}
