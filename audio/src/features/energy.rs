//! Level over time, in dB of full scale.

use crate::Rate;

/// Milliseconds from one level to the next.
pub const HOP_MS: u64 = 10;
/// Level of digital silence: below the last bit of 16.
const SILENCE_DB: f32 = -100.0;

/// A mean square as dBFS.
pub fn db(mean_square: f32) -> f32 {
    (10.0 * mean_square.log10()).max(SILENCE_DB)
}

/// Writes the level of each whole 10 ms of `pcm` into `out`, dBFS; what was there is gone.
pub fn levels(pcm: &[f32], rate: Rate, out: &mut Vec<f32>) {
    let hop = rate.samples_in_ms(HOP_MS).0 as usize;
    out.clear();
    out.extend(pcm.chunks_exact(hop).map(|frame| db(frame.iter().map(|x| x * x).sum::<f32>() / hop as f32)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_of_full_scale() {
        let mut out = Vec::new();
        for (amplitude, expected) in [(1.0, 0.0), (0.1, -20.0), (0.0, SILENCE_DB)] {
            levels(&[amplitude; 320], Rate::MODEL, &mut out);
            assert_eq!(out.len(), 2);
            assert!((out[0] - expected).abs() < 0.01, "{amplitude}: {}", out[0]);
        }
    }
}
