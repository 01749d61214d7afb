//! From what hibari's network predicts to sound.
//!
//! The network says, for each frame of 12.5 ms, how strong and in what phase each frequency of the voice is, how strong the breath, and
//! what is left over. The voice is a train of pulses at the pitch, filtered by the first; the breath is noise, filtered by the second:
//! `S = exp(lh) e^(i pi tanh theta) STFT(pulses(f0)) + exp(ln) noise + exp(lr) e^(i phi)`, then one inverse STFT.

use std::f32::consts::{PI, TAU};
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// Length of the transform in samples at 24 kHz: 50 ms.
const WINDOW: usize = 1200;
/// From one frame to the next: 12.5 ms.
pub(super) const HOP: usize = 300;
/// Frequencies of a frame.
pub(super) const BINS: usize = WINDOW / 2 + 1;
/// Hz.
const RATE: f32 = 24_000.0;
/// Below this pitch, in Hz, a frame has no voice.
const UNVOICED_HZ: f32 = 40.0;
/// The highest harmonic of the pulses, in Hz.
const HIGHEST_HZ: f32 = 11_000.0;
/// Frames worked on together, so that the rows of the network's output are read in whole cache lines (16 f32).
const BLOCK: usize = 16;
/// Noise made once and read from changing places: drawing 50,000 normal numbers for each second of speech took a third of the time.
const NOISE: usize = 1 << 14;

/// The network's output for one text: each slice is (601, frames), frequency by frequency; `f0` is (frames), in Hz.
pub(super) struct Spectrum<'a> {
    pub(super) harmonic: &'a [f32],
    pub(super) phase: &'a [f32],
    pub(super) noise: &'a [f32],
    pub(super) rest: &'a [f32],
    pub(super) rest_phase: &'a [f32],
    pub(super) f0: &'a [f32],
}

/// The transforms, and room to work in.
pub(super) struct Vocoder {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    hann: Vec<f32>,
    noise: Vec<Complex<f32>>,
}

impl Vocoder {
    pub(super) fn new() -> Vocoder {
        let mut planner = RealFftPlanner::new();
        Vocoder {
            forward: planner.plan_fft_forward(WINDOW),
            inverse: planner.plan_fft_inverse(WINDOW),
            hann: (0..WINDOW).map(|n| 0.5 - 0.5 * (TAU * n as f32 / WINDOW as f32).cos()).collect(),
            noise: normal_noise(),
        }
    }

    /// Mono PCM at 24 kHz, [`HOP`] samples a frame. The same spectrum always gives the same sound.
    pub(super) fn sound(&self, spectrum: &Spectrum) -> Vec<f32> {
        let frames = spectrum.f0.len();
        let margin = WINDOW / 2;
        let source = mirrored(&pulses(spectrum.f0), margin);
        let mut sum = vec![0.0_f32; frames * HOP + WINDOW];
        let mut weight = vec![0.0_f32; sum.len()];

        let mut window = self.forward.make_input_vec();
        let mut bins = vec![self.forward.make_output_vec(); BLOCK];
        let mut random = Random(0x9E37_79B9);
        for start in (0..frames).step_by(BLOCK) {
            let block = &mut bins[..BLOCK.min(frames - start)];
            let mut seeds = [0; BLOCK];
            for (index, bins) in block.iter_mut().enumerate() {
                let from = (start + index) * HOP;
                // A unit cosine is to have magnitude 1 in its bin: the window's sum is half its length.
                let scale = 4.0 / WINDOW as f32;
                for ((to, sample), hann) in window.iter_mut().zip(&source[from..from + WINDOW]).zip(&self.hann) {
                    *to = sample * hann * scale;
                }
                self.forward.process(&mut window, bins).expect("the buffers are the planner's own");
                seeds[index] = random.next() as usize;
            }
            for bin in 0..BINS {
                for (index, bins) in block.iter_mut().enumerate() {
                    let at = bin * frames + start + index;
                    let voice = Complex::from_polar(magnitude(spectrum.harmonic[at]), PI * spectrum.phase[at].tanh());
                    let rest = Complex::from_polar(magnitude(spectrum.rest[at]), spectrum.rest_phase[at]);
                    let noise = self.noise[(seeds[index] + bin) % NOISE] * magnitude(spectrum.noise[at]);
                    bins[bin] = bins[bin] * voice + noise + rest;
                }
            }
            for (index, bins) in block.iter_mut().enumerate() {
                // A real signal has no phase at 0 Hz and at half the rate.
                bins[0].im = 0.0;
                bins[BINS - 1].im = 0.0;
                self.inverse.process(bins, &mut window).expect("the buffers are the planner's own");
                let from = (start + index) * HOP;
                for (n, hann) in self.hann.iter().enumerate() {
                    sum[from + n] += window[n] * hann / WINDOW as f32;
                    weight[from + n] += hann * hann;
                }
            }
        }
        sum[margin..margin + frames * HOP].iter().zip(&weight[margin..]).map(|(sum, weight)| sum / weight.max(1e-11)).collect()
    }
}

/// A predicted logarithm as a magnitude, within reason.
fn magnitude(log: f32) -> f32 {
    log.min(7.0).exp()
}

/// Pulses at the pitch `f0`: all harmonics below 11 kHz, each of amplitude 1; nothing where there is no voice.
fn pulses(f0: &[f32]) -> Vec<f32> {
    let mut phase = 0.0_f64;
    let mut pulses = Vec::with_capacity(f0.len() * HOP);
    for frame in 0..f0.len() {
        let (before, here) = (f0[frame.saturating_sub(1)], f0[frame]);
        let after = f0[(frame + 1).min(f0.len() - 1)];
        for n in 0..HOP {
            // The pitch is that of the frame in its middle and glides to its neighbours'.
            let place = (n as f32 + 0.5) / HOP as f32 - 0.5;
            let pitch = if place < 0.0 { here + (here - before) * place } else { here + (after - here) * place };
            let voiced = pitch > UNVOICED_HZ;
            let pitch = pitch.max(UNVOICED_HZ);
            phase = (phase + f64::from(pitch / RATE)).fract();
            let angle = phase as f32 * TAU;
            // sum of cos(h t) for h = 1..=H is sin((H + 1/2) t) / (2 sin(t/2)) - 1/2.
            let count = (HIGHEST_HZ / pitch).floor() + 0.5;
            let below = 2.0 * (angle * 0.5).sin();
            let pulse = if below.abs() <= 2e-3 { count } else { (count * angle).sin() / below };
            pulses.push(if voiced { pulse - 0.5 } else { 0.0 });
        }
    }
    pulses
}

/// `samples` with `margin` more on both ends, mirrored.
fn mirrored(samples: &[f32], margin: usize) -> Vec<f32> {
    let last = samples.len().saturating_sub(1);
    let at = |index: usize| samples.get(index.min(last)).copied().unwrap_or(0.0);
    let before = (1..=margin).rev().map(at);
    let after = (1..=margin).map(|distance| at(last.saturating_sub(distance)));
    before.chain(samples.iter().copied()).chain(after).collect()
}

/// Marsaglia's xorshift: good enough for breath.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// In (0, 1].
    fn fraction(&mut self) -> f32 {
        (self.next() as f32 + 1.0) / (u32::MAX as f32 + 1.0)
    }
}

/// Complex numbers, each part normally distributed (Box and Muller).
fn normal_noise() -> Vec<Complex<f32>> {
    let mut random = Random(0x2545_F491);
    (0..NOISE).map(|_| Complex::from_polar((-2.0 * random.fraction().ln()).sqrt(), TAU * random.fraction())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_spectrum_at_a_pitch_repeats_at_that_pitch() {
        let frames = 80;
        let (flat, none, zero) = (vec![-4.0; BINS * frames], vec![-40.0; BINS * frames], vec![0.0; BINS * frames]);
        let f0 = vec![200.0; frames];
        let spectrum = Spectrum { harmonic: &flat, phase: &zero, noise: &none, rest: &none, rest_phase: &zero, f0: &f0 };
        let sound = Vocoder::new().sound(&spectrum);
        assert_eq!(sound.len(), frames * HOP);
        let period = (RATE / 200.0) as usize;
        let middle = &sound[5000..15_000];
        let (mut same, mut power) = (0.0, 0.0);
        for n in period..middle.len() {
            same += middle[n] * middle[n - period];
            power += middle[n] * middle[n];
        }
        assert!(power > 0.0 && same / power > 0.95, "{same} of {power}");
    }

    #[test]
    fn no_pitch_and_no_noise_is_silence() {
        let (none, zero) = (vec![-40.0; BINS * 4], vec![0.0; BINS * 4]);
        let spectrum = Spectrum { harmonic: &zero, phase: &zero, noise: &none, rest: &none, rest_phase: &zero, f0: &[0.0; 4] };
        assert!(Vocoder::new().sound(&spectrum).iter().all(|sample| sample.abs() < 1e-6));
    }
}
