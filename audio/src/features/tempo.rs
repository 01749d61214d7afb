//! How many syllables there are: peaks of the level with dips between them, where there is voice.

use super::energy::HOP_MS;
use super::pitch::PITCH_HOP_MS;

/// A dip this deep parts two syllables (de Jong and Wempe 2009 found 2 dB best).
const DIP_DB: f32 = 2.0;
/// Levels are smoothed over this many, 50 ms: shorter ripples are pitch periods.
const SMOOTH: usize = 5;

/// How many syllable nuclei there are, from levels each 10 ms, pitches each 20 ms and the level from which a frame is speech.
pub fn nuclei(levels: &[f32], pitches: &[f32], threshold_db: f32) -> usize {
    let smoothed = |at: usize| {
        let around = &levels[at.saturating_sub(SMOOTH / 2)..(at + SMOOTH / 2 + 1).min(levels.len())];
        around.iter().sum::<f32>() / around.len() as f32
    };
    let (mut count, mut top, mut bottom) = (0, (f32::MIN, 0), f32::MAX);
    for at in 0..levels.len() {
        let level = smoothed(at);
        if level > top.0 && (top.0 > f32::MIN || level - bottom.min(level) >= DIP_DB) {
            top = (level, at);
        }
        bottom = bottom.min(level);
        if top.0 > f32::MIN && level <= top.0 - DIP_DB {
            let voiced = pitches.get(top.1 * HOP_MS as usize / PITCH_HOP_MS as usize).is_some_and(|&hz| hz > 0.0);
            count += usize::from(top.0 >= threshold_db && voiced);
            (top, bottom) = ((f32::MIN, at), level);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn humps_are_counted_where_there_is_voice() {
        let levels: Vec<f32> = (0..100).map(|i| -30.0 + 10.0 * (std::f32::consts::TAU * i as f32 / 20.0 - 1.5).sin()).collect();
        assert_eq!(nuclei(&levels, &[120.0; 50], -40.0), 5);
        assert_eq!(nuclei(&levels, &[0.0; 50], -40.0), 0);
        assert_eq!(nuclei(&[], &[], -40.0), 0);
    }
}
