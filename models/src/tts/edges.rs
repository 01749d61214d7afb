//! Takes the silence off both ends of a clause.
//!
//! Voices open with up to 0.3 s of near-silence and close with 0.4 s: heard as latency before the first word and as holes between
//! clauses. What is taken off the end is put back, by punctuation, before the next clause.

use audio::{Rate, Samples};

/// A stretch is heard if its level is above this share of the loudest stretch: -46 dB, below any spoken sound.
const AUDIBLE_SHARE: f32 = 0.005;
/// And above this level in any case: -66 dBFS, the noise of a quiet recording.
const AUDIBLE_LEVEL: f32 = 0.0005;
/// Length of the stretches whose level is taken.
const STRETCH_MS: u64 = 5;
/// Kept before the first audible stretch, so that a soft onset is whole.
const BEFORE_MS: u64 = 10;
/// Kept after the last audible stretch, so that the sound dies away.
const AFTER_MS: u64 = 40;
/// The cut ends are faded over this long, against clicks.
const FADE_MS: u64 = 4;

/// The samples to keep of `pcm`; empty if nothing is to be heard.
pub(super) fn audible(pcm: &[f32], rate: Rate) -> std::ops::Range<usize> {
    let samples = |ms: u64| rate.samples_in_ms(ms).0 as usize;
    let stretch = samples(STRETCH_MS);
    let level = |stretch: &[f32]| (stretch.iter().map(|s| s * s).sum::<f32>() / stretch.len() as f32).sqrt();
    let levels: Vec<f32> = pcm.chunks(stretch).map(level).collect();
    let loudest = levels.iter().copied().fold(0.0, f32::max);
    let least = (loudest * AUDIBLE_SHARE).max(AUDIBLE_LEVEL);
    let heard = |level: &f32| *level > least;
    let (Some(first), Some(last)) = (levels.iter().position(heard), levels.iter().rposition(heard)) else { return 0..0 };
    let start = (first * stretch).saturating_sub(samples(BEFORE_MS));
    let end = ((last + 1) * stretch + samples(AFTER_MS)).min(pcm.len());
    start..end
}

/// Fades the ends of a cut piece in and out.
pub(super) fn fade(pcm: &mut [f32], rate: Rate) {
    let length = (rate.samples_in_ms(FADE_MS).0 as usize).min(pcm.len() / 2);
    let count = pcm.len();
    for n in 0..length {
        let gain = n as f32 / length as f32;
        pcm[n] *= gain;
        pcm[count - 1 - n] *= gain;
    }
}

/// The silence after a clause, from its last sound to the next clause's first, by the stop that ends it.
pub(super) fn gap(clause: &str, speed: f32, rate: Rate) -> Samples {
    let last = clause.trim_end_matches(['"', '\'', ')', ']', '”', '’', '»', ' ']).chars().last();
    let ms = match last {
        Some('.' | '!' | '?' | '。' | '！' | '？') => 250,
        Some('…') => 300,
        Some(':' | ';' | '：' | '；') => 180,
        Some('—' | '–') => 150,
        Some(',' | '、' | '，') => 120,
        // A line without a stop, or a clause cut at its greatest length.
        Some(_) | None => 80,
    };
    let kept = AFTER_MS + BEFORE_MS;
    rate.samples_in_ms(((ms as f32 / speed) as u64).saturating_sub(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_comes_off_both_ends() {
        let mut pcm = vec![0.0; 24_000];
        pcm[7_200..12_000].iter_mut().enumerate().for_each(|(n, s)| *s = 0.3 * (n as f32 * 0.1).sin());
        assert_eq!(audible(&pcm, Rate::SPEECH), 6_960..12_960);
        assert_eq!(audible(&[0.0; 500], Rate::SPEECH), 0..0);
        assert_eq!(audible(&[], Rate::SPEECH), 0..0);
    }

    #[test]
    fn a_stop_is_longer_than_a_comma_and_both_shrink_with_speed() {
        let ms = |clause: &str, speed: f32| gap(clause, speed, Rate::SPEECH).ms(Rate::SPEECH);
        for (clause, expected) in [("Yes.", 200), ("\"Yes.\"", 200), ("Well,", 70), ("so far", 30), ("好。", 200), ("", 30)] {
            assert_eq!(ms(clause, 1.0), expected, "{clause}");
        }
        assert_eq!(ms("Yes.", 2.0), 75);
        assert_eq!(ms("Yes.", 4.0), 12);
    }
}
