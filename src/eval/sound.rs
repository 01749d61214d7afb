//! What lines and rooms do to a voice, computed: other levels, telephones, noise. The same in every run.

use std::f32::consts::TAU;

use audio::codec::g711::{Law, decode, encode};
use audio::{Rate, resample};

use super::manifest::Entry;

/// Windows in which the level of speech is taken, samples: 60 ms.
const WINDOW: usize = 960;
/// Windows this far under the loudest are pauses, as a ratio of powers: 30 dB.
const PAUSE: f32 = 1e-3;

/// Numbers that look random (xorshift64*, Vigna 2016), the same for the same name.
pub struct Chance(u64);

impl Chance {
    /// For `name`.
    pub fn of(name: &str) -> Chance {
        Chance(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Between two values.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.next() >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// One of `count`.
    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }

    /// About normal: the sum of twelve.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.between(-0.5, 0.5)).sum()
    }
}

/// Mean power of the speech in `pcm`, pauses left out.
fn power(pcm: &[f32]) -> f32 {
    let powers: Vec<f32> = pcm.chunks(WINDOW).map(|chunk| chunk.iter().map(|s| s * s).sum::<f32>() / chunk.len() as f32).collect();
    let loudest = powers.iter().copied().fold(0.0, f32::max);
    let speech: Vec<f32> = powers.into_iter().filter(|power| *power > loudest * PAUSE).collect();
    speech.iter().sum::<f32>() / speech.len().max(1) as f32 + 1e-12
}

/// The voice at another level, dBFS of its speech.
pub fn at_level(pcm: &[f32], db: f32) -> Vec<f32> {
    let gain = (10_f32.powf(db / 10.0) / power(pcm)).sqrt();
    pcm.iter().map(|s| (s * gain).clamp(-1.0, 1.0)).collect()
}

/// `noise` under the voice, so many dB; repeated where it is too short.
pub fn with_noise(pcm: &[f32], noise: &[f32], snr_db: f32) -> Vec<f32> {
    let of_noise = noise.iter().map(|s| s * s).sum::<f32>() / noise.len().max(1) as f32 + 1e-12;
    let gain = (power(pcm) / of_noise / 10_f32.powf(snr_db / 10.0)).sqrt();
    pcm.iter().zip(noise.iter().cycle()).map(|(s, noise)| (s + gain * noise).clamp(-1.0, 1.0)).collect()
}

/// Noise made here: white, or dark below a random pitch; sometimes swelling, sometimes with the hum of the mains.
pub fn made_noise(samples: usize, chance: &mut Chance) -> Vec<f32> {
    let rate = Rate::MODEL.hz() as f32;
    let dark = (chance.below(3) > 0).then(|| 1.0 - (-TAU * chance.between(150.0, 3_000.0) / rate).exp());
    let swell = (chance.below(2) == 0).then(|| (chance.between(0.3, 4.0), chance.between(0.0, TAU)));
    let hum = (chance.below(3) == 0).then(|| [50.0, 60.0, 100.0, 120.0][chance.below(4)]);
    let (mut state, mut noise) = (0.0, Vec::with_capacity(samples));
    for at in 0..samples {
        let time = at as f32 / rate;
        let white = chance.normal();
        state += dark.unwrap_or(1.0) * (white - state);
        let loud = swell.map_or(1.0, |(hz, phase)| (0.7 * (TAU * hz * time + phase).sin()).exp());
        // A dark noise is faint; the hum should be beside it, not over it.
        let hum = hum.map_or(0.0, |hz| (1..6).map(|k| (TAU * hz * k as f32 * time).sin() / k as f32).sum::<f32>());
        noise.push(loud * state + 0.5 * dark.unwrap_or(1.0).sqrt() * hum);
    }
    noise
}

/// Recorded noise where the list has some, else noise made here.
pub(crate) fn noises(entries: &[Entry]) -> anyhow::Result<Vec<Vec<f32>>> {
    let recorded: Vec<&Entry> = entries.iter().filter(|entry| entry.file.starts_with("nonspeech/")).collect();
    if recorded.is_empty() {
        return Ok((0..5).map(|at| made_noise(160_000, &mut Chance::of(&format!("noise {at}")))).collect());
    }
    recorded.into_iter().map(Entry::sound).collect()
}

/// The voice over a telephone: 300 to 3400 Hz, 8 kHz, G.711 mu-law.
pub fn telephone(pcm: &[f32]) -> Vec<f32> {
    let rate = Rate::MODEL.hz() as f32;
    let mut band = pcm.to_vec();
    // Two poles twice: a Butterworth of the fourth order each (quality of its two halves).
    for quality in [0.541, 1.307] {
        Biquad::high_pass(300.0 / rate, quality).filter(&mut band);
        Biquad::low_pass(3_400.0 / rate, quality).filter(&mut band);
    }
    let (mut codes, mut heard) = (Vec::new(), Vec::new());
    encode(Law::Mu, &resample(&band, Rate::MODEL, Rate::TELEPHONE), &mut codes);
    decode(Law::Mu, &codes, &mut heard);
    resample(&heard, Rate::TELEPHONE, Rate::MODEL)
}

/// A filter of the second order (Bristow-Johnson's cookbook).
struct Biquad {
    forward: [f32; 3],
    back: [f32; 2],
}

impl Biquad {
    fn new(turns: f32, quality: f32, forward: impl Fn(f32) -> [f32; 3]) -> Biquad {
        let (sin, cos) = (TAU * turns).sin_cos();
        let alpha = sin / (2.0 * quality);
        let whole = 1.0 + alpha;
        Biquad { forward: forward(cos).map(|b| b / whole), back: [-2.0 * cos / whole, (1.0 - alpha) / whole] }
    }

    fn low_pass(turns: f32, quality: f32) -> Biquad {
        Biquad::new(turns, quality, |cos| [(1.0 - cos) / 2.0, 1.0 - cos, (1.0 - cos) / 2.0])
    }

    fn high_pass(turns: f32, quality: f32) -> Biquad {
        Biquad::new(turns, quality, |cos| [(1.0 + cos) / 2.0, -1.0 - cos, (1.0 + cos) / 2.0])
    }

    fn filter(&self, pcm: &mut [f32]) {
        let (mut x, mut y) = ([0.0; 2], [0.0; 2]);
        for sample in pcm {
            let [b0, b1, b2] = self.forward;
            let out = b0 * *sample + b1 * x[0] + b2 * x[1] - self.back[0] * y[0] - self.back[1] * y[1];
            (x, y) = ([*sample, x[0]], [out, y[0]]);
            *sample = out;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32) -> Vec<f32> {
        (0..16_000).map(|at| 0.3 * (TAU * hz * at as f32 / 16_000.0).sin()).collect()
    }

    fn db(pcm: &[f32]) -> f32 {
        10.0 * power(pcm).log10()
    }

    #[test]
    fn levels_and_noise_are_as_asked() {
        assert!((db(&at_level(&tone(400.0), -30.0)) + 30.0).abs() < 0.1);
        let noise = made_noise(16_000, &mut Chance::of("a"));
        assert_eq!(noise, made_noise(16_000, &mut Chance::of("a")));
        let silent = vec![1e-6; 16_000];
        let loud = with_noise(&tone(400.0), &noise, 10.0);
        let left: Vec<f32> = loud.iter().zip(tone(400.0)).map(|(a, b)| a - b).collect();
        let snr = 10.0 * (tone(400.0).iter().map(|s| s * s).sum::<f32>() / left.iter().map(|s| s * s).sum::<f32>()).log10();
        assert!((snr - 10.0).abs() < 1.0, "{snr}");
        assert!(with_noise(&silent, &[], 10.0).is_empty());
    }

    #[test]
    fn a_telephone_passes_its_band_only() {
        for (hz, passes) in [(60.0, false), (1_000.0, true), (2_500.0, true), (6_000.0, false)] {
            let loss = db(&tone(hz)) - db(&telephone(&tone(hz))[800..15_000]);
            assert_eq!(loss < 3.0, passes, "{hz} Hz: {loss} dB");
        }
    }
}
