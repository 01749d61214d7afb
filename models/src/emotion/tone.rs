//! How a stretch of speech sounds, as numbers: what the first blocks of an encoder make of it, over the time that somebody speaks.

use std::time::Duration;

use audio::features::Pause;

/// Steps this far under the loudest one are pauses: 30 dB, as a ratio of powers.
const PAUSE: f32 = 1e-3;
/// Power of what counts as silence, -100 dBFS.
const SILENCE: f32 = 1e-10;

/// Means and spreads of an encoder's values over the steps of speech. Those of two stretches of one utterance add up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tone {
    /// Steps of speech.
    steps: f64,
    /// Sum of each value, block after block.
    sums: Vec<f64>,
    /// Sum of its squares.
    squares: Vec<f64>,
    /// Values of one step of one block.
    width: usize,
    /// The filled pauses in it, from its beginning on.
    pub fillers: Vec<Pause>,
}

/// How an encoder's steps lie over the samples.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Values of one step.
    pub width: usize,
    /// Samples from one step to the next.
    pub step: usize,
    /// Samples that one step looks at.
    pub look: usize,
}

impl Grid {
    /// In which steps of `pcm` somebody speaks.
    pub fn speech(&self, pcm: &[f32]) -> Vec<bool> {
        let powers: Vec<f32> = (0..(pcm.len() / self.step).max(1))
            .map(|index| {
                let from = (index * self.step).min(pcm.len());
                let heard = &pcm[from..(from + self.look).min(pcm.len())];
                heard.iter().map(|s| s * s).sum::<f32>() / heard.len().max(1) as f32 + SILENCE
            })
            .collect();
        let pause = powers.iter().copied().fold(0.0, f32::max) * PAUSE;
        powers.into_iter().map(|power| power > pause).collect()
    }
}

impl Tone {
    /// Of the `blocks` of an encoder, (time, width) each, that heard `pcm`.
    pub fn of_blocks(blocks: &[&[f32]], pcm: &[f32], grid: Grid) -> Tone {
        let speech = grid.speech(pcm);
        let values = blocks.len() * grid.width;
        let mut tone = Tone { steps: 0.0, sums: vec![0.0; values], squares: vec![0.0; values], width: grid.width, fillers: Vec::new() };
        for (index, _) in speech.iter().enumerate().filter(|(_, speech)| **speech) {
            let rows: Option<Vec<&[f32]>> = blocks.iter().map(|block| block.get(index * grid.width..(index + 1) * grid.width)).collect();
            // The encoder's last steps would look beyond the end.
            let Some(rows) = rows else { break };
            tone.steps += 1.0;
            for (at, value) in rows.into_iter().flatten().enumerate() {
                let value = f64::from(*value);
                tone.sums[at] += value;
                tone.squares[at] += value * value;
            }
        }
        tone
    }

    /// A tone that is `numbers` and nothing else, as an encoder of its own gives it.
    pub fn of_numbers(numbers: &[f32]) -> Tone {
        let sums: Vec<f64> = numbers.iter().map(|number| f64::from(*number)).collect();
        Tone { steps: 1.0, squares: Vec::new(), width: sums.len(), sums, fillers: Vec::new() }
    }

    /// Adds that of another stretch, which begins at `start`.
    pub(crate) fn add(&mut self, other: &Tone, start: Duration) {
        self.fillers.extend(other.fillers.iter().map(|filler| Pause { start: start + filler.start, ..*filler }));
        if self.sums.is_empty() {
            let fillers = std::mem::take(&mut self.fillers);
            *self = Tone { fillers, ..other.clone() };
            return;
        }
        self.steps += other.steps;
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += more);
        self.squares.iter_mut().zip(&other.squares).for_each(|(sum, more)| *sum += more);
    }

    /// Whether somebody spoke at all.
    pub fn is_empty(&self) -> bool {
        self.steps == 0.0
    }

    /// The numbers: of each block the means, then the standard deviations.
    pub fn numbers(&self) -> Vec<f32> {
        let mean = |sum: &f64| sum / self.steps.max(1.0);
        if self.squares.is_empty() {
            return self.sums.iter().map(|sum| mean(sum) as f32).collect();
        }
        let mut numbers = Vec::with_capacity(2 * self.sums.len());
        for (sums, squares) in self.sums.chunks(self.width.max(1)).zip(self.squares.chunks(self.width.max(1))) {
            numbers.extend(sums.iter().map(|sum| mean(sum) as f32));
            let spread = |(sum, square): (&f64, &f64)| (mean(square) - mean(sum) * mean(sum)).max(0.0).sqrt() as f32;
            numbers.extend(sums.iter().zip(squares).map(spread));
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { width: 2, step: 4, look: 4 };

    #[test]
    fn pauses_do_not_count_and_stretches_add_up() {
        let pcm = [[0.5; 4], [0.001; 4], [0.5; 4]].concat();
        let (first, second) = ([1.0, 2.0, 100.0, 100.0, 3.0, 2.0], [0.0, 1.0, 100.0, 100.0, 0.0, 5.0]);
        let tone = Tone::of_blocks(&[&first, &second], &pcm, GRID);
        assert_eq!(tone.numbers(), [2.0, 2.0, 1.0, 0.0, 0.0, 3.0, 0.0, 2.0]);
        let mut twice = Tone::default();
        assert!(twice.is_empty());
        twice.add(&tone, Duration::ZERO);
        twice.add(&tone, Duration::from_secs(1));
        assert_eq!(twice.numbers(), tone.numbers());
        // An encoder that gives fewer steps than there is sound.
        assert_eq!(Tone::of_blocks(&[&first[..2]], &pcm, GRID).numbers(), [1.0, 2.0, 0.0, 0.0]);
        assert_eq!(Tone::of_numbers(&[1.0, -2.0]).numbers(), [1.0, -2.0]);
    }
}
