//! When each word was said. Some heads of the decoder look at the sound that they write just then; the cheapest way through what one
//! looks at, which never goes back, says where each token begins (dynamic time warping, as Whisper's own tools do it). Each head is early by
//! an amount of its own; three of them are asked, and the middle answer counts.

use std::time::Duration;

use audio::{Probability, Rate};

use super::written;
use crate::Word;
use crate::stt::silence::out_of_silence;

/// Layer, head, and how many steps it is early: of all 48 those three that together come nearest to the words of a synthetic voice
/// (eSpeak, six sentences: half within 34 ms, nine tenths within 140 ms; 2026-11).
pub(super) const HEADS: [(usize, usize, usize); 3] = [(5, 4, 0), (3, 3, 6), (4, 6, 5)];
/// A step of the encoder: 384 samples at 16 kHz.
const STEP: Duration = Duration::from_millis(24);

/// The step at which each of `rows` begins, by what a head looks at: how much it looks at each step, one row after the other.
pub(super) fn starts(seen: &[f32], rows: usize) -> Vec<usize> {
    let steps = seen.len().checked_div(rows).unwrap_or(0);
    if steps == 0 {
        return vec![0; rows];
    }
    // What the best way to each place has seen, and where it came from.
    let mut best = vec![0.0_f32; rows * steps];
    let mut came = vec![Came::Before; rows * steps];
    for row in 0..rows {
        for step in 0..steps {
            let at = row * steps + step;
            let from = [
                (row > 0 && step > 0).then(|| (best[at - steps - 1], Came::Both)),
                (row > 0).then(|| (best[at - steps], Came::Above)),
                (step > 0).then(|| (best[at - 1], Came::Before)),
            ];
            let from = from.into_iter().flatten().reduce(|one, other| if other.0 > one.0 { other } else { one });
            let (before, way) = from.unwrap_or((0.0, Came::Before));
            (best[at], came[at]) = (before + seen[at], way);
        }
    }
    let mut starts = vec![0; rows];
    let (mut row, mut step) = (rows - 1, steps - 1);
    loop {
        starts[row] = step;
        match came[row * steps + step] {
            Came::Both => (row, step) = (row - 1, step - 1),
            Came::Above => row -= 1,
            Came::Before if step > 0 => step -= 1,
            Came::Before => return starts,
        }
    }
}

/// The middle of what three heads say, which never goes back, each put right by how early it is.
pub(super) fn middle(heads: &[Vec<usize>; HEADS.len()]) -> Vec<usize> {
    let mut latest = 0;
    let rows = heads.iter().map(Vec::len).min().unwrap_or(0);
    let middle = |row: usize| {
        let mut said: [usize; HEADS.len()] = std::array::from_fn(|head| heads[head][row] + HEADS[head].2);
        said.sort_unstable();
        latest = latest.max(said[said.len() / 2]);
        latest
    };
    (0..rows).map(middle).collect()
}

#[derive(Clone, Copy)]
enum Came {
    Before,
    Above,
    Both,
}

/// The words of `tokens`, each with its punctuation: `logs` are the tokens' log probabilities, `starts` the steps at which they begin
/// in `pcm` and, one more, at which the last one ends.
pub(super) fn words(pieces: &[Vec<u8>], tokens: &[i64], logs: &[f32], starts: &[usize], pcm: &[f32]) -> Vec<Word> {
    let piece = |token: i64| written(pieces, &[token]);
    let is_said = |token: i64| piece(token).chars().any(|letter| letter.is_alphanumeric() || letter == '\u{fffd}');
    let begins = |at: usize| at == 0 || piece(tokens[at]).starts_with(' ');
    let length = Duration::from_secs_f64(pcm.len() as f64 / f64::from(Rate::MODEL.hz()));
    let time = |step: usize| (STEP * step as u32).min(length);
    let mut words = Vec::new();
    let mut from = 0;
    for to in 1..=tokens.len() {
        if to < tokens.len() && !begins(to) {
            continue;
        }
        let text = written(pieces, &tokens[from..to]).trim().to_owned();
        // Nobody speaks a comma: what comes after the last letter is not the word.
        let said = (from..to).rev().find(|at| is_said(tokens[*at])).unwrap_or(from) + 1;
        if let (false, Some(logs), Some(start), Some(end)) = (text.is_empty(), logs.get(from..to), starts.get(from), starts.get(said)) {
            let mean = logs.iter().sum::<f32>() / logs.len() as f32;
            let (start, end) = (time(*start), time(*end));
            words.push(Word { text, start, end, confidence: Some(Probability::new(mean.exp())) });
        }
        from = to;
    }
    out_of_silence(&mut words, pcm);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_goes_along_with_what_is_looked_at_and_never_back() {
        let head = [
            0.9, 0.8, 0.0, 0.0, 0.0, 0.0, // the first token: steps 0 and 1
            0.0, 0.0, 0.9, 0.9, 0.0, 0.0, // the second: 2 and 3
            0.9, 0.0, 0.0, 0.0, 0.9, 0.9, // the third: 4 and 5, and a look back
        ];
        assert_eq!(starts(&head, 3), [0, 2, 4]);
        assert_eq!(starts(&[1.0, 1.0, 1.0], 3), [0, 0, 0], "more tokens than steps");
        assert_eq!(starts(&[], 2), [0, 0], "no sound");
        assert_eq!(starts(&[], 0), [0; 0]);
    }

    #[test]
    fn the_middle_of_three_counts() {
        let early = HEADS.map(|(_, _, early)| early);
        let heads = [[10, 20, 30], [12, 90, 25], [2, 24, 26]];
        let heads: [Vec<usize>; 3] = std::array::from_fn(|head| heads[head].iter().map(|step| step + 10 - early[head]).collect());
        assert_eq!(middle(&heads), [20, 34, 36]);
        let back = std::array::from_fn(|head| vec![50 - early[head], 40 - early[head]]);
        assert_eq!(middle(&back), [50, 50], "no word begins before the one before it");
    }

    #[test]
    fn tokens_make_words_with_their_punctuation() {
        let pieces: Vec<Vec<u8>> =
            ["<s>", "\u{2581}he", "llo", ",", "\u{2581}you", "."].iter().map(|piece| piece.as_bytes().to_vec()).collect();
        let steps = [0, 10, 20, 25, 40, 50];
        let words = words(&pieces, &[1, 2, 3, 4, 5], &[0.0, -1.0, -0.5, 0.0, 0.0], &steps, &vec![0.1; 32_000]);
        let told: Vec<_> = words.iter().map(|word| (word.text.as_str(), word.start.as_millis(), word.end.as_millis())).collect();
        assert_eq!(told, [("hello,", 0, 480), ("you.", 600, 960)]);
        let sure = words[0].confidence.map_or(0.0, Probability::get);
        assert!((sure - (-0.5_f32).exp()).abs() < 1e-6, "{sure}");
    }
}
