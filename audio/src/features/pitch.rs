//! The fundamental frequency of a voice, by normalised cross-correlation at 8 kHz.

use crate::Rate;

/// Milliseconds from one estimate to the next.
pub const PITCH_HOP_MS: u64 = 20;
/// Human speech: a low male creak to a child's cry.
const LOWEST_HZ: usize = 60;
const HIGHEST_HZ: usize = 500;
/// The correlation is computed at about this rate; harmonics above it say nothing more about the pitch.
const WORKING_HZ: u32 = 8_000;
/// Correlation from which a frame is voiced.
const VOICED: f32 = 0.6;
/// A shorter period wins unless a longer one correlates this much better: guards against octave errors downwards.
const OCTAVE: f32 = 0.9;
/// Frames under this mean square (-66 dBFS) are silence.
const QUIET: f32 = 2.5e-7;

/// Tracks pitch; its buffers are reused.
#[derive(Clone, Debug, Default)]
pub struct Pitch {
    low: Vec<f32>,
    scores: Vec<f32>,
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
        self.low.extend(pcm.chunks_exact(step).map(|frame| frame.iter().sum::<f32>() / step as f32));
        let hz = rate.hz() as f32 / step as f32;
        let (shortest, longest) = (hz as usize / HIGHEST_HZ, hz as usize / LOWEST_HZ);
        // Two periods of 80 Hz.
        let window = hz as usize / 40;
        let hop = hz as usize * PITCH_HOP_MS as usize / 1_000;
        let mut at = 0;
        while at + window + longest < self.low.len() {
            let frame = &self.low[at..at + window + longest + 1];
            out.push(estimate(frame, window, shortest, &mut self.scores, hz));
            at += hop;
        }
    }
}

/// The pitch of `frame`, whose length is the window, the longest lag and one; nought if unvoiced.
fn estimate(frame: &[f32], window: usize, shortest: usize, scores: &mut Vec<f32>, hz: f32) -> f32 {
    let head = &frame[..window];
    let energy: f32 = head.iter().map(|x| x * x).sum();
    if energy / (window as f32) < QUIET {
        return 0.0;
    }
    scores.clear();
    let mut shifted: f32 = frame[shortest..shortest + window].iter().map(|x| x * x).sum();
    for lag in shortest..=frame.len() - window - 1 {
        let product: f32 = head.iter().zip(&frame[lag..lag + window]).map(|(a, b)| a * b).sum();
        scores.push(product / (energy * shifted.max(QUIET)).sqrt());
        shifted += frame[lag + window] * frame[lag + window] - frame[lag] * frame[lag];
    }
    let best = scores.iter().copied().fold(0.0, f32::max);
    if best < VOICED {
        return 0.0;
    }
    let peak = (1..scores.len().saturating_sub(1))
        .find(|&i| scores[i] >= best * OCTAVE && scores[i] >= scores[i - 1] && scores[i] >= scores[i + 1]);
    let Some(i) = peak else { return 0.0 };
    // The top of the parabola through three points.
    let (before, top, after) = (scores[i - 1], scores[i], scores[i + 1]);
    let bend = before - 2.0 * top + after;
    let shift = if bend < 0.0 { 0.5 * (before - after) / bend } else { 0.0 };
    hz / (shortest as f32 + i as f32 + shift)
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
}
