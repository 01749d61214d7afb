//! How regular a voice is from one cycle of the vocal folds to the next: jitter and shimmer, by waveform matching (Boersma 2009, "Should
//! jitter be measured by peak picking or by waveform matching?", Folia Phoniatrica et Logopaedica 61).

use super::PITCH_HOP_MS;
use crate::Rate;

/// A voice shorter than this is no vowel, estimates of the pitch (80 ms).
const SHORTEST_RUN: usize = 4;
/// Where the next cycle is looked for, as shares of the expected length.
const SEARCHED: (f32, f32) = (0.8, 1.25);
/// Cycles less alike than this do not follow on each other.
const ALIKE: f32 = 0.7;
/// Neighbours further apart than this, in length and in height, are no neighbours (the limits that Praat has).
const LENGTHS_APART: f32 = 1.3;
const HEIGHTS_APART: f32 = 1.6;
/// Fewer pairs say nothing of a voice.
const FEWEST: u32 = 20;

/// The regularity of a voice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cycles {
    /// Mean difference between the lengths of neighbouring cycles, as a share of their mean ("local jitter"): 0.01 is usual.
    pub jitter: f32,
    /// The same of their heights from trough to peak ("local shimmer"): 0.03 to 0.1 is usual in speech.
    pub shimmer: f32,
}

/// Sums over pairs of neighbours.
#[derive(Default)]
struct Sums {
    apart: f32,
    of: f32,
    pairs: u32,
}

impl Sums {
    fn add(&mut self, one: f32, other: f32, most: f32) {
        if one.max(other) <= most * one.min(other) {
            self.apart += (one - other).abs();
            self.of += (one + other) / 2.0;
            self.pairs += 1;
        }
    }

    fn share(&self) -> Option<f32> {
        (self.pairs >= FEWEST && self.of > 0.0).then(|| self.apart / self.of)
    }
}

impl Cycles {
    /// Of sound and of its pitch each [`PITCH_HOP_MS`], Hz, nought where there is no voice. `None` where too little of it is voiced.
    pub fn measure(pcm: &[f32], rate: Rate, pitches: &[f32]) -> Option<Cycles> {
        let hop = rate.hz() as usize * PITCH_HOP_MS as usize / 1_000;
        let (mut lengths, mut heights) = (Sums::default(), Sums::default());
        let mut from = 0;
        for run in pitches.chunk_by(|a, b| (*a > 0.0) == (*b > 0.0)) {
            if run.len() >= SHORTEST_RUN && run[0] > 0.0 {
                let end = ((from + run.len()) * hop).min(pcm.len());
                follow(
                    pcm,
                    (from * hop, end),
                    |at| rate.hz() as f32 / pitches[(at / hop).min(from + run.len() - 1)],
                    &mut lengths,
                    &mut heights,
                );
            }
            from += run.len();
        }
        Some(Cycles { jitter: lengths.share()?, shimmer: heights.share()? })
    }
}

/// Goes from cycle to cycle through a voiced stretch; `expected`: about how long one is at a place, samples.
fn follow(pcm: &[f32], (start, end): (usize, usize), expected: impl Fn(usize) -> f32, lengths: &mut Sums, heights: &mut Sums) {
    let mut at = start as f32;
    let mut before: Option<(f32, f32)> = None;
    loop {
        let here = at as usize;
        let long = expected(here.min(end.saturating_sub(1)));
        let window = long as usize;
        let farthest = (long * SEARCHED.1) as usize + 1;
        if window < 4 || here + farthest + window + 1 > end {
            return;
        }
        let cycle = &pcm[here..here + window];
        match next(cycle, &pcm[here..here + farthest + window + 1], ((long * SEARCHED.0) as usize, farthest)) {
            Some(length) => {
                let (low, high) = cycle.iter().fold((f32::MAX, f32::MIN), |(low, high), sample| (low.min(*sample), high.max(*sample)));
                let height = high - low;
                if let Some((length_before, height_before)) = before {
                    lengths.add(length_before, length, LENGTHS_APART);
                    heights.add(height_before, height, HEIGHTS_APART);
                }
                before = Some((length, height));
                at += length;
            }
            None => {
                before = None;
                at += long;
            }
        }
    }
}

/// How far from `cycle`, with which `sound` begins, the next one like it begins, samples.
fn next(cycle: &[f32], sound: &[f32], (nearest, farthest): (usize, usize)) -> Option<f32> {
    let energy: f32 = cycle.iter().map(|x| x * x).sum();
    let alike = |lag: usize| {
        let other = &sound[lag..lag + cycle.len()];
        let (product, shifted) = cycle.iter().zip(other).fold((0.0, 0.0), |(product, shifted), (a, b)| (product + a * b, shifted + b * b));
        product / (energy * shifted).sqrt().max(1e-9)
    };
    let (best, likeness) =
        (nearest..=farthest).map(|lag| (lag, alike(lag))).max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, likeness)| *likeness >= ALIKE)?;
    if best == nearest || best == farthest {
        return None;
    }
    // The top of the parabola through three points.
    let (left, right) = (alike(best - 1), alike(best + 1));
    let bend = left - 2.0 * likeness + right;
    let shift = if bend < 0.0 { 0.5 * (left - right) / bend } else { 0.0 };
    Some(best as f32 + shift)
}

#[cfg(test)]
mod tests {
    use super::super::Pitch;
    use super::*;

    /// Pulses through a resonance of 700 Hz, their distances and heights off by at most these shares, every other way.
    fn voice(hz: f32, jitter: f32, shimmer: f32) -> Vec<f32> {
        let rate = Rate::MODEL.hz() as f32;
        let mut pcm = vec![0.0; Rate::MODEL.hz() as usize];
        let (mut at, mut seed) = (0.0_f32, 7_u32);
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / 8_388_608.0 - 1.0
        };
        while (at as usize) < pcm.len() {
            let height = 0.3 * (1.0 + shimmer * random());
            for sample in at.ceil() as usize..(at as usize + 160).min(pcm.len()) {
                let since = (sample as f32 - at) / rate;
                pcm[sample] += height * (-since * 600.0).exp() * (std::f32::consts::TAU * 700.0 * since).sin();
            }
            at += rate / hz * (1.0 + jitter * random());
        }
        pcm
    }

    fn measured(pcm: &[f32]) -> Option<Cycles> {
        let mut pitches = Vec::new();
        Pitch::new().track(pcm, Rate::MODEL, &mut pitches);
        Cycles::measure(pcm, Rate::MODEL, &pitches)
    }

    #[test]
    fn irregular_voices_are_told_from_regular_ones() {
        for hz in [90.0, 130.0, 220.0, 300.0] {
            let found = |jitter, shimmer| measured(&voice(hz, jitter, shimmer)).expect("a voice");
            let regular = found(0.0, 0.0);
            assert!(regular.jitter < 0.003 && regular.shimmer < 0.02, "{hz} Hz: {regular:?}");
            // The mean difference of two numbers that are even over -1 to 1 is two thirds.
            let rough = found(0.02, 0.0);
            assert!((rough.jitter / (0.02 * 2.0 / 3.0) - 1.0).abs() < 0.3, "{hz} Hz: {rough:?}");
            let uneven = found(0.0, 0.15);
            assert!((uneven.shimmer / (0.15 * 2.0 / 3.0) - 1.0).abs() < 0.3 && uneven.jitter < 0.006, "{hz} Hz: {uneven:?}");
        }
    }

    #[test]
    fn what_has_no_voice_has_no_cycles() {
        assert_eq!(measured(&[0.0; 16_000]), None);
        assert_eq!(measured(&[]), None);
        assert_eq!(measured(&voice(120.0, 0.0, 0.0)[..1_600]), None, "too short");
    }
}
