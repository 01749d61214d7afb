//! What a call sends, for the canceller that takes its echo out of what the call hears.
//!
//! The two directions meet on the sample clocks of the caller's device, which plays and records at one pace: what is sent is played without a
//! gap while more of it comes, and each sample that is heard stands for one that was played meanwhile. Where nothing was heard for some time,
//! as of a caller who is muted, the playhead tells how much was played unheard.

use std::time::Duration;

use audio::codec::{Codec, CodecDecoder, CodecError};
use audio::{EchoCanceller, Rate, Resampler};

use super::playhead::Playhead;

/// How far what was heard may be behind what was played before it is taken for a gap: more than networks hold back sound.
const BEHIND: Duration = Duration::from_millis(300);

/// The sent side of a call, and the canceller.
pub(super) struct Echo {
    /// It takes memory: there is none before anything is sent.
    canceller: Option<EchoCanceller>,
    codec: Codec,
    decoder: CodecDecoder,
    resampler: Resampler,
    decoded: Vec<f32>,
    sent: Vec<f32>,
    playhead: Playhead,
    /// Whether the transport plays answers itself, and stops when it is told to.
    obeys: bool,
    held: bool,
}

impl Echo {
    /// For a call that sends sound in `codec`.
    pub(super) fn new(codec: Codec) -> Result<Echo, CodecError> {
        Ok(Echo {
            canceller: None,
            codec,
            decoder: CodecDecoder::new(codec)?,
            resampler: Resampler::new(codec.rate(), Rate::MODEL),
            decoded: Vec::new(),
            sent: Vec::new(),
            playhead: Playhead::new(),
            obeys: false,
            held: false,
        })
    }

    /// Sound is sent in `codec` from now on; what is known of the room stays.
    pub(super) fn recode(&mut self, codec: Codec) -> Result<(), CodecError> {
        if codec != self.codec {
            self.decoder = CodecDecoder::new(codec)?;
            self.resampler = Resampler::new(codec.rate(), Rate::MODEL);
            self.codec = codec;
        }
        Ok(())
    }

    /// This is sent.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.decoded.clear();
        self.sent.clear();
        // What the session encoded itself can be decoded; what could not would not be played either.
        if self.decoder.decode(bytes, &mut self.decoded).is_ok() {
            self.resampler.push(&self.decoded, &mut self.sent);
            self.canceller.get_or_insert_default().played(&self.sent);
            self.playhead.send(audio::Samples(self.decoded.len() as u64).duration(self.codec.rate()));
        }
    }

    /// The transport says where it is: it plays answers itself.
    pub(super) fn obeys(&mut self) {
        self.obeys = true;
    }

    /// What is sent is to wait, or to go on. A client that plays by itself goes on playing what it has.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held && self.obeys;
        self.playhead.hold(self.held);
    }

    /// What was sent and not played yet is thrown away.
    pub(super) fn silence(&mut self) {
        self.canceller.iter_mut().for_each(EchoCanceller::silence);
        self.held = false;
        self.playhead = Playhead::new();
    }

    /// Takes the echo out of what was heard, at [`Rate::MODEL`].
    pub(super) fn clean(&mut self, near: &mut [f32]) {
        let Some(canceller) = &mut self.canceller else { return };
        let [unplayed, behind] = [self.playhead.unheard(), BEHIND].map(|time| Rate::MODEL.samples_in_ms(time.as_millis() as u64));
        // After a gap the pairing begins anew where the player is: an echo cannot come before what it is one of.
        if canceller.waiting() > unplayed + behind {
            canceller.forget(canceller.waiting() - unplayed);
        }
        match self.held {
            false => canceller.clean(near),
            true => canceller.clean_meanwhile(near),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 320;
    const PIECE_LENGTH: Duration = Duration::from_millis(20);

    impl Echo {
        fn waiting(&self) -> u64 {
            self.canceller.as_ref().map_or(0, |canceller| canceller.waiting().0)
        }
    }

    fn noise(samples: usize) -> Vec<f32> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            0.3 * ((state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0)
        };
        (0..samples).map(|_| next()).collect()
    }

    fn bytes(pcm: &[f32]) -> Vec<u8> {
        pcm.iter().flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()).collect()
    }

    fn level(pcm: &[f32]) -> f32 {
        10.0 * (pcm.iter().map(|sample| sample * sample).sum::<f32>() / pcm.len() as f32 + 1e-12).log10()
    }

    /// Plays `answer` at a client that sends back what it plays, `delay` pieces later; it is sent half a second ahead. The client hears
    /// nothing while it is `muted`. What is left of the echo, dB, in the last second.
    async fn left(answer: &[f32], delay: usize, muted: std::ops::Range<usize>) -> f32 {
        let mut echo = Echo::new(Codec::Pcm16(Rate::MODEL)).expect("PCM");
        let (mut sent, mut heard, mut cleaned) = (answer.chunks(PIECE), Vec::new(), Vec::new());
        for _ in 0..25 {
            echo.send(&bytes(sent.next().unwrap_or_default()));
        }
        for step in 0..answer.len() / PIECE {
            echo.send(&bytes(sent.next().unwrap_or_default()));
            tokio::time::advance(PIECE_LENGTH).await;
            let at = step.saturating_sub(delay) * PIECE;
            let mut near: Vec<f32> =
                if step < delay { vec![0.0; PIECE] } else { answer[at..at + PIECE].iter().map(|far| far * 0.5).collect() };
            if !muted.contains(&step) {
                heard.extend(&near);
                echo.clean(&mut near);
                cleaned.extend(near);
            }
        }
        let last = cleaned.len() - Rate::MODEL.hz() as usize;
        level(&cleaned[last..]) - level(&heard[last..])
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_is_found_in_what_is_heard() {
        let answer = noise(16_000 * 8);
        for (delay, muted) in [(2, 0..0), (25, 0..0), (10, 40..200)] {
            let left = left(&answer, delay, muted.clone()).await;
            assert!(left < -20.0, "{delay} pieces late, muted {muted:?}: {left} dB");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_played_does_not_wait() {
        let mut echo = Echo::new(Codec::Pcm16(Rate::MODEL)).expect("PCM");
        echo.send(&bytes(&noise(16_000)));
        echo.hold(true);
        echo.clean(&mut [0.0; 1_600]);
        assert!(echo.waiting() < 16_000, "a client that plays by itself goes on");
        echo.silence();
        assert_eq!(echo.waiting(), 0);
        echo.obeys();
        echo.send(&bytes(&noise(16_000)));
        echo.hold(true);
        echo.clean(&mut [0.0; 1_600]);
        assert!(echo.waiting() > 15_900, "a transport that obeys waits");
    }
}
