//! Whisper's spectrogram (Radford et al. 2022, section 2.2), which more than one model reads.

use std::sync::Arc;

use audio::Rate;
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// Window, hop and number of mel bands.
const FFT: usize = 400;
pub(crate) const HOP: usize = 160;
pub(crate) const MELS: usize = 80;

/// Whisper's log-mel spectrogram, as the feature extractor of Hugging Face Transformers computes it.
pub(crate) struct LogMel {
    fft: Arc<dyn RealToComplex<f32>>,
    hann: Vec<f32>,
    /// For each band the first bin and the weights from there on.
    filters: Vec<(usize, Vec<f32>)>,
}

impl LogMel {
    pub(crate) fn new() -> LogMel {
        let hann = (0..FFT).map(|n| 0.5 - 0.5 * (std::f32::consts::TAU * n as f32 / FFT as f32).cos()).collect();
        LogMel { fft: RealFftPlanner::new().plan_fft_forward(FFT), hann, filters: slaney_filters() }
    }

    /// (80, n) features, band by band, one for every 10 ms of `pcm`.
    pub(crate) fn compute(&self, pcm: &[f32]) -> Vec<f32> {
        let frames = pcm.len() / HOP;
        let mut frame = vec![0.0; FFT];
        let mut spectrum = vec![Complex::default(); FFT / 2 + 1];
        let mut scratch = self.fft.make_scratch_vec();
        let mut features = vec![0.0; MELS * frames];
        let mut loudest = f32::NEG_INFINITY;
        for index in 0..frames {
            // Frames are centred; what reaches past the ends is mirrored.
            let start = (index * HOP) as isize - (FFT / 2) as isize;
            for (offset, (to, hann)) in frame.iter_mut().zip(&self.hann).enumerate() {
                let at = start + offset as isize;
                let at = at.unsigned_abs();
                let at = if at < pcm.len() { at } else { (2 * (pcm.len() - 1)).saturating_sub(at) };
                *to = pcm[at] * hann;
            }
            self.fft
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .expect("the buffers have the lengths that the plan asks for");
            for (band, (first, weights)) in self.filters.iter().enumerate() {
                let power: f32 = spectrum[*first..].iter().zip(weights).map(|(bin, weight)| bin.norm_sqr() * weight).sum();
                let log = power.max(1e-10).log10();
                loudest = loudest.max(log);
                features[band * frames + index] = log;
            }
        }
        features.iter_mut().for_each(|log| *log = (log.max(loudest - 8.0) + 4.0) / 4.0);
        features
    }
}

/// Triangular filters on Slaney's mel scale (Auditory Toolbox, 1998), each of unit area: linear below 1 kHz, logarithmic above.
fn slaney_filters() -> Vec<(usize, Vec<f32>)> {
    let step = 6.4_f64.ln() / 27.0;
    let to_mel = |hz: f64| if hz < 1_000.0 { hz * 3.0 / 200.0 } else { 15.0 + (hz / 1_000.0).ln() / step };
    let to_hz = |mel: f64| if mel < 15.0 { mel * 200.0 / 3.0 } else { 1_000.0 * ((mel - 15.0) * step).exp() };
    let nyquist = f64::from(Rate::MODEL.hz()) / 2.0;
    let edge = |index: usize| to_hz(to_mel(nyquist) * index as f64 / (MELS + 1) as f64);
    let bins = FFT / 2 + 1;
    (0..MELS)
        .map(|band| {
            let (low, middle, high) = (edge(band), edge(band + 1), edge(band + 2));
            let weight = |bin: usize| {
                let hz = nyquist * bin as f64 / (bins - 1) as f64;
                let slope = ((hz - low) / (middle - low)).min((high - hz) / (high - middle)).max(0.0);
                (slope * 2.0 / (high - low)) as f32
            };
            let first = (0..bins).find(|bin| weight(*bin) > 0.0).unwrap_or(0);
            (first, (first..bins).map(weight).take_while(|w| *w > 0.0).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_band_hears_something_and_has_unit_area() {
        let filters = slaney_filters();
        assert_eq!(filters.len(), MELS);
        let bin_hz = 40.0;
        for (band, (first, weights)) in filters.iter().enumerate() {
            assert!(!weights.is_empty(), "band {band}");
            assert!(first + weights.len() <= FFT / 2 + 1);
            // The narrow low bands cover a bin or two, so their sampled area is coarse.
            if band > 30 {
                let area = weights.iter().sum::<f32>() * bin_hz;
                assert!((area - 1.0).abs() < 0.15, "band {band}: {area}");
            }
        }
    }

    #[test]
    fn a_tone_shows_in_its_band_at_its_time() {
        let tone: Vec<f32> = (0..16_000).map(|n| (std::f32::consts::TAU * 1_000.0 * n as f32 / 16_000.0).sin()).collect();
        let tone = [vec![0.0; 16_000], tone].concat();
        let frames = 200;
        let features = LogMel::new().compute(&tone);
        assert_eq!(features.len(), MELS * frames);
        let loudest_band = |frame: usize| (0..MELS).max_by(|a, b| features[a * frames + frame].total_cmp(&features[b * frames + frame]));
        let band = loudest_band(frames - 20).expect("there are bands");
        // 1 kHz is mel 15 of 45.2, band 26 of 80.
        assert!((25..=27).contains(&band), "{band}");
        assert!(features[band * frames + frames - 20] > features[band * frames + 50] + 1.0, "the silence before the tone is quiet");
    }
}
