//! The fundamental frequency of a voice, by normalised cross-correlation at 8 kHz.

use crate::Rate;

/// Milliseconds from one estimate to the next.
pub const PITCH_HOP_MS: u64 = 20;
/// Human speech: a low male creak to a child's cry.
const LOWEST_HZ: usize = 60;
const HIGHEST_HZ: usize = 500;
/// The correlation is computed at about this rate; harmonics above it say nothing more about the pitch.
const WORKING_HZ: u32 = 8_000;
/// How much of each sample is taken from the next one: low harmonics, loud by themselves in vowels and over telephones, would be taken for
/// the voice (against Praat, over a telephone, a tenth of all frames is an octave off; without this, a sixth).
const EMPHASIS: f32 = 0.8;
/// Correlation that a voice must exceed, the more so the more often it would begin and end.
const VOICED: f32 = 0.45;
/// What an octave upwards is worth, as correlation: a period fits twice as well as once, so the shortest one is the voice's.
const OCTAVE: f32 = 0.02;
/// What it costs from one estimate to the next to leap an octave, and to begin or end a voice, as correlation.
const LEAP: f32 = 0.35;
const TURN: f32 = 0.1;
/// Lags on either side that an estimate between two of them is made of.
const REACH: usize = 6;
/// Periods of a frame that are considered; a weaker correlation than this is none.
const CANDIDATES: usize = 8;
const WEAKEST: f32 = 0.3;
/// Frames under this mean square (-66 dBFS) are silence, and such as are this far under the loudest (35 dB).
const QUIET: f32 = 2.5e-7;
const UNDER: f32 = 3.2e-4;

/// Tracks pitch: of the periods that fit each frame, those that make the smoothest voice (Boersma 1993). Its buffers are reused.
#[derive(Clone, Debug, Default)]
pub struct Pitch {
    low: Vec<f32>,
    scores: Vec<f32>,
    /// Of all frames, one after the other.
    candidates: Vec<Candidate>,
    /// Where in `candidates` each frame begins.
    frames: Vec<usize>,
}

/// What a frame may be.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Octaves over 1 Hz; `None`: no voice.
    octaves: Option<f32>,
    /// By itself, then with all that came before it at best.
    worth: f32,
    /// Which one of the frame before is that best.
    before: usize,
}

impl Pitch {
    /// A tracker.
    pub fn new() -> Pitch {
        Pitch::default()
    }

    /// Writes the pitch each 20 ms into `out`, in Hz, nought where there is no voice; what was there is gone. Sound under 8 kHz has none.
    pub fn track(&mut self, pcm: &[f32], rate: Rate, out: &mut Vec<f32>) {
        out.clear();
        let step = (rate.hz() / WORKING_HZ) as usize;
        if step == 0 {
            return;
        }
        self.low.clear();
        // The mean of neighbours is low-pass enough here.
        let low = pcm.chunks_exact(step).map(|frame| frame.iter().sum::<f32>() / step as f32);
        self.low.extend(low.scan(0.0, |last, sample| Some(sample - EMPHASIS * std::mem::replace(last, sample))));
        let hz = rate.hz() as f32 / step as f32;
        let (shortest, longest) = (hz as usize / HIGHEST_HZ, hz as usize / LOWEST_HZ);
        // Two periods of 80 Hz.
        let window = hz as usize / 40;
        let hop = hz as usize * PITCH_HOP_MS as usize / 1_000;
        let loudest = self.low.chunks(window).map(|frame| frame.iter().map(|x| x * x).sum()).fold(0.0, f32::max);
        let quiet = (loudest * UNDER).max(QUIET * window as f32);
        self.candidates.clear();
        self.frames.clear();
        let mut at = 0;
        while at + window + longest < self.low.len() {
            let frame = &self.low[at..at + window + longest + 1];
            self.frames.push(self.candidates.len());
            self.candidates.push(Candidate { octaves: None, worth: VOICED, before: 0 });
            correlate(frame, window, shortest, quiet, &mut self.scores);
            peaks(&self.scores, shortest, hz, &mut self.candidates);
            at += hop;
        }
        self.join();
        self.trace(out);
    }

    /// Adds to the worth of every candidate that of the best way to it.
    fn join(&mut self) {
        for (frame, &from) in self.frames.iter().enumerate().skip(1) {
            let (earlier, now) = self.candidates.split_at_mut(from);
            let earlier = &earlier[self.frames[frame - 1]..];
            let to = self.frames.get(frame + 1).map_or(now.len(), |next| next - from);
            for candidate in &mut now[..to] {
                let cost = |before: &Candidate| match (before.octaves, candidate.octaves) {
                    (Some(one), Some(other)) => LEAP * (one - other).abs(),
                    (None, None) => 0.0,
                    _ => TURN,
                };
                let ways = earlier.iter().map(|before| before.worth - cost(before)).enumerate();
                if let Some((before, worth)) = ways.max_by(|a, b| a.1.total_cmp(&b.1)) {
                    candidate.worth += worth;
                    candidate.before = before;
                }
            }
        }
    }

    /// The best way of all, from its end on.
    fn trace(&self, out: &mut Vec<f32>) {
        let last = self.frames.last().map_or(0, |from| *from);
        let end = self.candidates[last..].iter().enumerate().max_by(|a, b| a.1.worth.total_cmp(&b.1.worth));
        let mut chosen = end.map_or(0, |(at, _)| at);
        for from in self.frames.iter().rev() {
            let candidate = self.candidates[from + chosen];
            out.push(candidate.octaves.map_or(0.0, f32::exp2));
            chosen = candidate.before;
        }
        out.reverse();
    }
}

/// How alike `frame` is to itself at each lag from `shortest` on; its length is the window, the longest lag and one. Nothing of frames with
/// less energy than `quiet`.
fn correlate(frame: &[f32], window: usize, shortest: usize, quiet: f32, scores: &mut Vec<f32>) {
    scores.clear();
    let head = &frame[..window];
    let energy: f32 = head.iter().map(|x| x * x).sum();
    if energy < quiet {
        return;
    }
    let mut shifted: f32 = frame[shortest..shortest + window].iter().map(|x| x * x).sum();
    for lag in shortest..=frame.len() - window - 1 {
        let product: f32 = head.iter().zip(&frame[lag..lag + window]).map(|(a, b)| a * b).sum();
        scores.push(product / (energy * shifted.max(QUIET)).sqrt());
        shifted += frame[lag + window] * frame[lag + window] - frame[lag] * frame[lag];
    }
}

/// What `scores` are at `at` and so much of a step beside it, at most half of one: high harmonics turn so fast that their peaks lie between
/// two lags, and the one of two periods may be met better than that of one (a windowed sinc, as Praat does it).
fn between(scores: &[f32], at: usize, shift: f32) -> f32 {
    if shift.abs() < 1e-3 {
        return scores[at];
    }
    let sine = (std::f32::consts::PI * shift).sin();
    let around = at.saturating_sub(REACH)..(at + REACH + 1).min(scores.len());
    around.clone().zip(&scores[around]).fold(0.0, |sum, (lag, score)| {
        let away = std::f32::consts::PI * (shift - (lag as f32 - at as f32));
        let sign = if lag.abs_diff(at) % 2 == 0 { 1.0 } else { -1.0 };
        sum + score * sign * sine / away * (0.5 + 0.5 * (away / (REACH as f32 + 1.0)).cos())
    })
}

/// Adds the highest peaks of `scores`.
fn peaks(scores: &[f32], shortest: usize, hz: f32, candidates: &mut Vec<Candidate>) {
    let first = candidates.len();
    for (at, around) in scores.windows(3).enumerate() {
        let (before, top, after) = (around[0], around[1], around[2]);
        if top < WEAKEST || top < before || top < after {
            continue;
        }
        // The top of the parabola through three points.
        let bend = before - 2.0 * top + after;
        let shift = if bend < 0.0 { 0.5 * (before - after) / bend } else { 0.0 };
        let octaves = (hz / ((shortest + at + 1) as f32 + shift)).log2();
        let worth = between(scores, at + 1, shift) + OCTAVE * (octaves - (LOWEST_HZ as f32).log2());
        let candidate = Candidate { octaves: Some(octaves), worth, before: 0 };
        let weakest = candidates[first..].iter().enumerate().min_by(|a, b| a.1.worth.total_cmp(&b.1.worth));
        match weakest {
            Some((at, weakest)) if candidates.len() - first == CANDIDATES => {
                if weakest.worth < worth {
                    candidates[first + at] = candidate;
                }
            }
            _ => candidates.push(candidate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buzz_has_its_pitch_and_noise_has_none() {
        let (mut pitch, mut out) = (Pitch::new(), Vec::new());
        for rate in [Rate::TELEPHONE, Rate::MODEL, Rate::SPEECH, Rate::OPUS] {
            for hz in [80.0f32, 120.0, 210.0, 400.0] {
                let buzz: Vec<f32> = (0..rate.hz() as usize / 2)
                    .map(|i| {
                        (1..6).map(|k| (std::f32::consts::TAU * hz * k as f32 * i as f32 / rate.hz() as f32).sin() / k as f32).sum::<f32>()
                            * 0.1
                    })
                    .collect();
                pitch.track(&buzz, rate, &mut out);
                assert!(out.len() > 15);
                for estimate in &out {
                    assert!((estimate / hz - 1.0).abs() < 0.02, "{hz} Hz at {}: {estimate}", rate.hz());
                }
            }
        }
        let mut seed = 1u32;
        let noise: Vec<f32> = (0..16_000)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 8) as f32 / 16_777_216.0 - 0.5
            })
            .collect();
        pitch.track(&noise, Rate::MODEL, &mut out);
        assert!(out.iter().all(|&hz| hz == 0.0));
        pitch.track(&[0.0; 8_000], Rate::MODEL, &mut out);
        assert!(out.iter().all(|&hz| hz == 0.0));
    }

    /// Over a telephone the lowest harmonics are gone, and vowels make one of those that are left the loudest by far.
    #[test]
    fn a_loud_harmonic_is_not_the_voice() {
        let (mut pitch, mut out) = (Pitch::new(), Vec::new());
        for hz in [95.0_f32, 130.0, 190.0, 240.0] {
            let loudest = (500.0 / hz).round();
            let harmonics = (1..20).map(|k| k as f32).filter(|k| (300.0..3_400.0).contains(&(k * hz)));
            let harmonics: Vec<(f32, f32)> = harmonics.map(|k| (k, if k == loudest { 1.0 } else { 0.25 })).collect();
            let voice: Vec<f32> = (0..8_000)
                .map(|i| {
                    harmonics.iter().map(|(k, loud)| loud * (std::f32::consts::TAU * hz * k * i as f32 / 16_000.0).sin()).sum::<f32>() * 0.1
                })
                .collect();
            pitch.track(&voice, Rate::MODEL, &mut out);
            assert!(out.len() > 15 && out.iter().all(|found| (found / hz - 1.0).abs() < 0.03), "{hz} Hz: {out:?}");
        }
    }
}
