//! Silence belongs to no word, however an engine shares out the time: words end and begin where it does.

use std::time::Duration;

use audio::Rate;
use audio::features::{HOP_MS, Noise, levels};

use crate::Word;

/// A shorter silence is the closure of a stop.
const SILENCE: Duration = Duration::from_millis(120);

/// Keeps `words` out of the silences of `pcm` (mono, [`Rate::MODEL`]), in which they were heard.
pub(super) fn out_of_silence(words: &mut [Word], pcm: &[f32]) {
    if words.is_empty() {
        return;
    }
    let mut loud = Vec::new();
    levels(pcm, Rate::MODEL, &mut loud);
    if let Some(noise) = Noise::measure(&loud) {
        silences(&loud, noise.threshold_db).for_each(|silence| part(words, silence));
    }
}

/// From when to when nothing is louder than `threshold`, dB.
fn silences(loud: &[f32], threshold: f32) -> impl Iterator<Item = (Duration, Duration)> {
    let mut from = 0;
    loud.chunk_by(move |a, b| (*a < threshold) == (*b < threshold)).filter_map(move |run| {
        let start = from;
        from += run.len();
        let at = |frame: usize| Duration::from_millis(frame as u64 * HOP_MS);
        let (start, end) = (at(start), at(from));
        (run[0] < threshold && end - start >= SILENCE).then_some((start, end))
    })
}

/// Keeps the words out of a silence.
fn part(words: &mut [Word], (from, to): (Duration, Duration)) {
    for at in 0..words.len() {
        let Word { start, end, .. } = words[at];
        if end <= from || start >= to || (start >= from && end <= to) {
            continue;
        }
        let (before, after) = (from.saturating_sub(start), end.saturating_sub(to));
        if after >= before {
            // What lies before the silence ends the word before.
            if let Some(earlier) = at.checked_sub(1).map(|at| &mut words[at])
                && earlier.end == start
                && before > Duration::ZERO
            {
                earlier.end = from;
            }
            words[at].start = to;
        } else {
            if let Some(later) = words.get_mut(at + 1)
                && later.start == end
                && after > Duration::ZERO
            {
                later.start = to;
            }
            words[at].end = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Words that follow on each other, by their ends, and what becomes of them: start and end in ms.
    fn parted(ends: &[u64], silence: (u64, u64)) -> Vec<(u128, u128)> {
        let mut start = 0;
        let mut words: Vec<Word> = ends
            .iter()
            .map(|end| {
                let word = Word { text: "a".into(), start: ms(start), end: ms(*end), confidence: None };
                start = *end;
                word
            })
            .collect();
        part(&mut words, (ms(silence.0), ms(silence.1)));
        words.iter().map(|word| (word.start.as_millis(), word.end.as_millis())).collect()
    }

    #[test]
    fn silence_belongs_to_no_word() {
        let cases = [
            // Before the first word and after the last one.
            (vec![500, 900], (0, 300), vec![(300, 500), (500, 900)]),
            (vec![500, 900], (700, 1_000), vec![(0, 500), (500, 700)]),
            // In a word whose longer part is behind it: the rest is the end of the word before.
            (vec![500, 1_500], (600, 1_000), vec![(0, 600), (1_000, 1_500)]),
            // In a word whose longer part is before it.
            (vec![900, 1_500], (500, 850), vec![(0, 500), (850, 1_500)]),
            // Over the border of two.
            (vec![500, 900], (400, 600), vec![(0, 400), (600, 900)]),
            // A whisper of a word is left where it is.
            (vec![500, 600, 900], (450, 650), vec![(0, 450), (500, 600), (650, 900)]),
        ];
        for (ends, silence, expected) in cases {
            assert_eq!(parted(&ends, silence), expected, "{ends:?} {silence:?}");
        }
    }
}
