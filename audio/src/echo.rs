//! Takes the echo of what a listener is played out of what their microphone hears.
//!
//! The canceller is AEC3, that of WebRTC, in its Rust port: it finds the delay of the echo, follows the room with an adaptive filter in the
//! frequency domain, and suppresses what the filter leaves; of whoever speaks over the echo, less than AEC3 would by itself. It runs only
//! while there is something that could echo: of all other sound not a bit changes.

mod coupling;
mod presence;

use std::collections::VecDeque;
use std::fmt;

use sonora_aec3::block::Block;
use sonora_aec3::block_processor::BlockProcessor;
use sonora_aec3::config::EchoCanceller3Config;

use crate::{Rate, Samples};
use coupling::Coupling;
use presence::Presence;

/// Samples that AEC3 takes at a time: 4 ms at 16 kHz.
const BLOCK: usize = 64;
/// AEC3's samples are those of 16-bit sound.
const FULL_SCALE: f32 = 32_768.0;
/// From here on a sample is taken for clipped.
const CLIPPED: f32 = 0.99;
/// Filters that look for the delay: each covers 128 ms and overlaps the one before by 32 ms, so these reach to 0.99 s.
const DELAY_FILTERS: usize = 10;
/// How long sound may echo: the longest delay, and half a second of reverberation. In blocks.
const ECHOES: usize = 1_500 / 4;
/// Far-end sound that may wait to be heard, samples: 8 s. Of more than that the oldest is forgotten.
const WAITS: usize = 8 * Rate::MODEL.hz() as usize;

/// An echo canceller for one microphone at [`Rate::MODEL`]. What it gives is 8 ms behind what it takes.
///
/// It knows no clock. It takes sound that was played, and sound that was heard, and pairs one sample with one sample: what is played first is
/// heard in the very sound that is cleaned next, or up to a second later.
pub struct EchoCanceller {
    processor: BlockProcessor,
    /// What is played, and not paired yet.
    far: VecDeque<f32>,
    far_block: Block,
    near_block: Block,
    /// What the filter alone leaves.
    linear_block: Block,
    presence: Presence,
    coupling: Coupling,
    /// The block that is being filled: what was heard, and how much of it is there.
    heard: [f32; BLOCK],
    filled: usize,
    /// The block before it as it was heard.
    before: [f32; BLOCK],
    /// What is given out while the block is being filled.
    cleaned: [f32; BLOCK],
    /// Blocks since anything was played.
    quiet: usize,
}

impl Default for EchoCanceller {
    fn default() -> EchoCanceller {
        EchoCanceller::new()
    }
}

impl fmt::Debug for EchoCanceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EchoCanceller").field("waiting", &self.waiting()).field("active", &self.is_active()).finish_non_exhaustive()
    }
}

impl EchoCanceller {
    /// A canceller that knows nothing of the room yet.
    pub fn new() -> EchoCanceller {
        let mut config = EchoCanceller3Config::default();
        config.delay.num_filters = DELAY_FILTERS;
        // The suppressor sees sooner that somebody speaks, and takes less of them; what that leaves of the echo hardly counts.
        let suppressor = &mut config.suppressor;
        suppressor.dominant_nearend_detection.trigger_threshold = 6;
        suppressor.dominant_nearend_detection.enr_threshold = 0.5;
        let (low, high) = (&mut suppressor.nearend_tuning.mask_lf, &mut suppressor.nearend_tuning.mask_hf);
        (low.enr_transparent, low.enr_suppress) = (3.0, 4.0);
        (high.enr_transparent, high.enr_suppress) = (1.0, 2.0);
        EchoCanceller {
            processor: BlockProcessor::new(&config, Rate::MODEL.hz() as usize, 1, 1),
            far: VecDeque::new(),
            far_block: Block::new(1, 1),
            near_block: Block::new(1, 1),
            linear_block: Block::new(1, 1),
            presence: Presence::new(),
            coupling: Coupling::new(),
            heard: [0.0; BLOCK],
            filled: 0,
            before: [0.0; BLOCK],
            cleaned: [0.0; BLOCK],
            quiet: ECHOES,
        }
    }

    /// This is played, after all that was played before.
    pub fn played(&mut self, far: &[f32]) {
        self.far.extend(far);
        self.forget(Samples(self.far.len().saturating_sub(WAITS) as u64));
    }

    /// What is played and was not paired with heard sound yet.
    pub fn waiting(&self) -> Samples {
        Samples(self.far.len() as u64)
    }

    /// So much of what waits was played while nothing was heard.
    pub fn forget(&mut self, oldest: Samples) {
        self.far.drain(..self.far.len().min(oldest.0 as usize));
    }

    /// What waits is not played.
    pub fn silence(&mut self) {
        self.far.clear();
    }

    /// Whether something may echo; if not, sound passes as it is.
    pub fn is_active(&self) -> bool {
        self.quiet < ECHOES
    }

    /// Takes the echo out of what was heard while what waits was played.
    pub fn clean(&mut self, near: &mut [f32]) {
        self.take(near, true);
    }

    /// The same where what waits was not played meanwhile, but goes on waiting.
    pub fn clean_meanwhile(&mut self, near: &mut [f32]) {
        self.take(near, false);
    }

    fn take(&mut self, near: &mut [f32], playing: bool) {
        for sample in near {
            self.heard[self.filled] = *sample;
            *sample = self.cleaned[self.filled];
            self.filled += 1;
            if self.filled == BLOCK {
                self.filled = 0;
                self.block(playing);
            }
        }
    }

    /// Cleans the block that is full.
    fn block(&mut self, playing: bool) {
        let far = self.far_block.view_mut(0, 0);
        far.fill(0.0);
        let played = if playing { self.far.len().min(BLOCK) } else { 0 };
        for (to, from) in far.iter_mut().zip(self.far.drain(..played)) {
            *to = from * FULL_SCALE;
        }
        let sounds = far.iter().any(|sample| *sample != 0.0);
        let slept = !self.is_active();
        self.coupling.hear(power(&self.heard));
        self.quiet = if sounds { 0 } else { self.quiet.saturating_add(1) };
        match self.is_active() {
            false => self.cleaned = self.before,
            true => {
                if slept {
                    // AEC3 is a block behind: what it gives next is the end of what passed by it last.
                    self.processor.buffer_render(&Block::new(1, 1));
                    let before = self.before;
                    self.process(&before);
                }
                self.processor.buffer_render(&self.far_block);
                let heard = self.heard;
                self.process(&heard);
                match self.coupling.is_coupled() {
                    false => self.cleaned = self.before,
                    true => self.cleaned.iter_mut().zip(self.near_block.view(0, 0)).for_each(|(to, from)| *to = from / FULL_SCALE),
                }
            }
        }
        self.before = self.heard;
    }

    fn process(&mut self, heard: &[f32; BLOCK]) {
        for (to, from) in self.near_block.view_mut(0, 0).iter_mut().zip(heard) {
            *to = from * FULL_SCALE;
        }
        let clipped = heard.iter().any(|sample| sample.abs() >= CLIPPED);
        self.processor.process_capture(false, clipped, Some(&mut self.linear_block), &mut self.near_block);
        let [played, left] = [&self.far_block, &self.linear_block].map(|block| power(block.view(0, 0)) / FULL_SCALE.powi(2));
        self.coupling.observe(played, left);
        self.presence.mix(self.near_block.view_mut(0, 0), self.linear_block.view(0, 0));
    }
}

/// Mean square of a block.
fn power(block: &[f32]) -> f32 {
    block.iter().map(|sample| sample * sample).sum::<f32>() / BLOCK as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: usize = Rate::MODEL.hz() as usize;

    /// The same noise in every run, up to `amplitude`, in syllables; those of another seed come at another pace.
    fn noise(seconds: usize, amplitude: f32, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        };
        let syllable = (SECOND / 4) as f32 * (1.0 + seed as f32 / 10.0);
        let loud = |at: usize| amplitude * (std::f32::consts::PI * at as f32 / syllable).sin().abs();
        (0..seconds * SECOND).map(|at| loud(at) * next()).collect()
    }

    /// What a microphone hears of `far` after `delay_ms`, in a room that falls silent by 60 dB in 0.2 s, at -6 dB; read at `pace` samples for
    /// each that was played.
    fn echo(far: &[f32], delay_ms: usize, pace: f64) -> Vec<f32> {
        let mut room = noise(1, 1.0, 7);
        room.truncate(SECOND / 10);
        for (at, tap) in room.iter_mut().enumerate() {
            *tap *= (-6.9 * at as f32 / (SECOND / 5) as f32).exp();
        }
        let power: f32 = room.iter().map(|tap| tap * tap).sum();
        room.iter_mut().for_each(|tap| *tap *= 0.5 / power.sqrt());
        let at = |index: usize| -> f32 {
            let from = index.saturating_sub(delay_ms * 16);
            room.iter().take(from).enumerate().map(|(tap, weight)| weight * far.get(from - tap).copied().unwrap_or(0.0)).sum()
        };
        let whole: Vec<f32> = (0..far.len()).map(at).collect();
        (0..far.len())
            .map(|index| {
                let place = index as f64 * pace;
                let (left, part) = (place as usize, place.fract() as f32);
                let of = |index: usize| whole.get(index).copied().unwrap_or(0.0);
                of(left) * (1.0 - part) + of(left + 1) * part
            })
            .collect()
    }

    /// Plays `far` and cleans `near` in pieces of 20 ms; what it gives, put back by the 8 ms of its delay.
    fn cleaned(canceller: &mut EchoCanceller, far: &[f32], near: &[f32]) -> Vec<f32> {
        let mut out = near.to_vec();
        out.extend([0.0; 2 * BLOCK]);
        for (index, piece) in out.chunks_mut(SECOND / 50).enumerate() {
            canceller.played(far.chunks(SECOND / 50).nth(index).unwrap_or_default());
            canceller.clean(piece);
        }
        out.split_off(2 * BLOCK)
    }

    /// Mean level, dB.
    fn level(pcm: &[f32]) -> f32 {
        10.0 * (pcm.iter().map(|sample| sample * sample).sum::<f32>() / pcm.len().max(1) as f32 + 1e-12).log10()
    }

    #[test]
    fn echoes_are_found_and_taken_out() {
        for (delay_ms, pace) in [(10, 1.0), (40, 1.0), (200, 1.0), (500, 1.0), (800, 1.0), (200, 1.000_1), (200, 0.999_9)] {
            let far = noise(8, 0.3, 1);
            let near = echo(&far, delay_ms, pace);
            let out = cleaned(&mut EchoCanceller::new(), &far, &near);
            let less = level(&near[3 * SECOND..]) - level(&out[3 * SECOND..]);
            assert!(less > 14.0, "an echo after {delay_ms} ms, read at {pace}: {less} dB less");
        }
    }

    #[test]
    fn whoever_speaks_over_it_is_heard() {
        let far = noise(12, 0.3, 1);
        let mut near = echo(&far, 120, 1.0);
        let mut speech = noise(12, 0.3, 5);
        speech[..5 * SECOND].fill(0.0);
        speech[8 * SECOND..].fill(0.0);
        near.iter_mut().zip(&speech).for_each(|(near, speech)| *near += speech);
        let out = cleaned(&mut EchoCanceller::new(), &far, &near);
        let over = 5 * SECOND..8 * SECOND;
        let lost = level(&speech[over.clone()]) - level(&out[over]);
        assert!(lost < 3.0, "{lost} dB of the speech went with the echo");
        let after = 9 * SECOND..12 * SECOND;
        let less = level(&near[after.clone()]) - level(&out[after]);
        assert!(less > 20.0, "after both had spoken: {less} dB less");
    }

    #[test]
    fn what_cannot_be_echo_passes_as_it_is() {
        let near = noise(4, 0.3, 1);
        let mut canceller = EchoCanceller::new();
        assert_eq!(cleaned(&mut canceller, &[], &near), near);
        assert!(!canceller.is_active());
        // Two seconds behind something that was played, too.
        let far = noise(1, 0.3, 2);
        let heard = [echo(&far, 40, 1.0), near.clone()].concat();
        let out = cleaned(&mut EchoCanceller::new(), &far, &heard);
        assert_eq!(out[3 * SECOND..], heard[3 * SECOND..]);
        // Silence is played in silence.
        assert_eq!(cleaned(&mut EchoCanceller::new(), &vec![0.0; SECOND], &vec![0.0; SECOND]), vec![0.0; SECOND]);
    }

    #[test]
    fn speech_passes_while_an_answer_sounds_that_does_not_echo() {
        // The answer begins first, as answers do; whoever wears a headset speaks into it.
        let (far, mut near) = (noise(8, 0.3, 1), noise(8, 0.2, 3));
        near[..2 * SECOND].fill(0.0);
        let out = cleaned(&mut EchoCanceller::new(), &far, &near);
        let lost = level(&near[2 * SECOND..]) - level(&out[2 * SECOND..]);
        assert!(lost.abs() < 6.0, "{lost} dB of speech lost");
    }

    #[test]
    fn it_begins_and_ends_without_a_click() {
        let mut far = noise(1, 0.1, 1);
        far.extend(vec![0.0; 3 * SECOND]);
        let near: Vec<f32> = (0..4 * SECOND).map(|at| 0.3 * (at as f32 * 0.05).sin()).collect();
        let played = [vec![0.0; SECOND], far].concat();
        let near = [near.clone(), near[..SECOND].to_vec()].concat();
        let out = cleaned(&mut EchoCanceller::new(), &played, &near);
        let steepest = |pcm: &[f32]| pcm.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        // The answer sounds from 1 s to 2 s, and may echo until 3.5 s.
        for at in [SECOND, 7 * SECOND / 2] {
            let around = at - 4 * BLOCK..at + 4 * BLOCK;
            let (is, was) = (steepest(&out[around.clone()]), steepest(&near[around]));
            assert!(is < 2.0 * was, "at sample {at}: a step of {is}, {was} before");
        }
    }

    #[test]
    fn what_waits_is_bounded_and_can_be_taken_back() {
        let mut canceller = EchoCanceller::new();
        canceller.played(&vec![0.1; WAITS]);
        canceller.played(&[0.1; 100]);
        assert_eq!(canceller.waiting(), Samples(WAITS as u64));
        canceller.forget(Samples(60));
        assert_eq!(canceller.waiting(), Samples(WAITS as u64 - 60));
        canceller.silence();
        canceller.clean(&mut [0.2; 640]);
        assert!(!canceller.is_active());
    }

    #[test]
    fn nothing_that_comes_breaks_it() {
        // Full scale, constant, alternating and odd pieces, delays that change at once: it must go on, with sound that is finite.
        let mut canceller = EchoCanceller::new();
        let far = noise(3, 1.0, 1);
        for (round, delay) in [0, 700, 40, 900, 10].into_iter().enumerate() {
            let mut near = echo(&far, delay, 1.0);
            match round {
                1 => near.iter_mut().for_each(|sample| *sample *= 40.0),
                2 => near.fill(1.0),
                3 => near.iter_mut().enumerate().for_each(|(at, sample)| *sample = if at % 2 == 0 { 1.0 } else { -1.0 }),
                _ => {}
            }
            let size = 1 + 97 * round;
            for (piece, far) in near.chunks_mut(size).zip(far.chunks(size)) {
                canceller.played(far);
                canceller.clean(piece);
            }
            assert!(near.iter().all(|sample| sample.is_finite()), "round {round}");
        }
    }
}
