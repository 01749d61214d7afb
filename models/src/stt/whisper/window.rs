//! Long sound in windows that fit Whisper's 30 s, cut where nobody speaks.

use std::ops::Range;

use super::{FULL_CONTEXT, MARGIN_POSITIONS, POSITION, RATE};

/// The margin has to fit into the 30 s, too.
const LONGEST: usize = (FULL_CONTEXT - MARGIN_POSITIONS) * POSITION;
/// Where the search for a quiet place begins: 20 s.
const SHORTEST: usize = 20 * RATE;
/// The stretch whose level is measured: 100 ms, the length of a closed consonant and the shortest pause.
const STRETCH: usize = RATE / 10;
/// Level under which a stretch is silence for sure: -66 dBFS. Quiet speech on a bad line is 25 dB above it.
const SILENCE_RMS: f32 = 0.0005;

/// Whether no stretch is louder than silence.
pub(super) fn is_silent(pcm: &[f32]) -> bool {
    pcm.chunks(STRETCH).all(|stretch| rms(stretch) < SILENCE_RMS)
}

/// Samples before the first stretch louder than silence; all of them where none is.
pub(super) fn leading_silence(pcm: &[f32]) -> usize {
    let silent = pcm.chunks(STRETCH).take_while(|stretch| rms(stretch) < SILENCE_RMS);
    silent.map(<[f32]>::len).sum()
}

/// The windows of `pcm`, in order and without gaps.
pub(super) fn windows(pcm: &[f32]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = &pcm[start..];
        if rest.is_empty() {
            return None;
        }
        let length = if rest.len() <= LONGEST { rest.len() } else { quietest(&rest[SHORTEST..LONGEST]) + SHORTEST };
        let window = start..start + length;
        start = window.end;
        Some(window)
    })
}

/// The middle of the quietest stretch.
fn quietest(pcm: &[f32]) -> usize {
    let levels = pcm.chunks_exact(STRETCH).map(rms).enumerate();
    let (index, _) = levels.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default();
    index * STRETCH + STRETCH / 2
}

fn rms(pcm: &[f32]) -> f32 {
    (pcm.iter().map(|sample| sample * sample).sum::<f32>() / pcm.len().max(1) as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sound_is_cut_where_it_is_quiet() {
        let mut pcm = vec![0.1; 70 * RATE];
        pcm[25 * RATE..25 * RATE + 2 * STRETCH].fill(0.0);
        let cut: Vec<_> = windows(&pcm).collect();
        assert!(cut[0].end > 25 * RATE && cut[0].end < 25 * RATE + 2 * STRETCH, "{cut:?}");
        assert!(cut.iter().all(|window| !window.is_empty() && window.len() <= LONGEST), "{cut:?}");
        assert!(cut.windows(2).all(|pair| pair[0].end == pair[1].start) && cut.last().is_some_and(|last| last.end == pcm.len()));
    }

    #[test]
    fn short_and_empty_sound() {
        assert_eq!(windows(&[]).count(), 0);
        assert_eq!(windows(&[0.1; 5]).collect::<Vec<_>>(), vec![0..5]);
        assert!(is_silent(&[]) && is_silent(&[0.0001; 1_000]));
        assert!(!is_silent(&[0.01; 1_000]));
        assert_eq!(leading_silence(&[0.0; 1_000]), 1_000);
        let late = [[0.0; 2 * STRETCH], [0.1; 2 * STRETCH]].concat();
        assert_eq!(leading_silence(&late), 2 * STRETCH);
    }
}
