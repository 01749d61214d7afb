//! Scores of guesses: how many are right, how well they rank, and whether their sureness is earned.

/// Bins of sureness (Naeini et al. 2015).
const BINS: usize = 10;

/// Guesses against the truth, by classes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Confusion {
    /// Rows: what it is. Columns: what was guessed.
    pub(crate) counts: Vec<Vec<usize>>,
}

impl Confusion {
    pub(crate) fn of(classes: usize, guesses: impl IntoIterator<Item = (usize, usize)>) -> Confusion {
        let mut counts = vec![vec![0; classes]; classes];
        for (truth, guess) in guesses {
            counts[truth][guess] += 1;
        }
        Confusion { counts }
    }

    /// Mean of the classes' recalls: the unweighted average recall.
    pub(crate) fn recall(&self) -> f64 {
        let rows = self.counts.iter().enumerate().filter(|(_, row)| row.iter().sum::<usize>() > 0);
        let recalls: Vec<f64> = rows.map(|(class, row)| row[class] as f64 / row.iter().sum::<usize>() as f64).collect();
        recalls.iter().sum::<f64>() / recalls.len().max(1) as f64
    }
}

/// The likeliest of several, and how likely.
pub(crate) fn best(likely: &[f32]) -> (usize, f32) {
    likely.iter().copied().enumerate().fold((0, f32::MIN), |best, (at, p)| if p > best.1 { (at, p) } else { best })
}

/// Expected calibration error: how far sureness is from being right, over ten bins of sureness.
pub(crate) fn calibration_error(guesses: &[(f32, bool)]) -> f64 {
    let mut bins = [(0.0_f64, 0.0_f64, 0_usize); BINS];
    for (sure, right) in guesses {
        let bin = &mut bins[((sure * BINS as f32) as usize).min(BINS - 1)];
        *bin = (bin.0 + f64::from(*sure), bin.1 + f64::from(u8::from(*right)), bin.2 + 1);
    }
    bins.iter().map(|(sure, right, _)| (sure - right).abs()).sum::<f64>() / guesses.len().max(1) as f64
}

/// How often one of those that are is over one of those that are not: the area under the ROC curve.
pub(crate) fn area(guesses: &[(f32, bool)]) -> f64 {
    let mut sorted: Vec<(f32, bool)> = guesses.to_vec();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins, mut at) = (0.0_f64, 0.0_f64, 0);
    while at < sorted.len() {
        let same = sorted[at..].iter().take_while(|(value, _)| *value == sorted[at].0).count();
        let are = sorted[at..at + same].iter().filter(|(_, is)| *is).count();
        let not = (same - are) as f64;
        wins += are as f64 * (below + not / 2.0);
        below += not;
        at += same;
    }
    let are = sorted.iter().filter(|(_, is)| *is).count() as f64;
    wins / (are * below).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_as_defined() {
        let confusion = Confusion::of(2, [(0, 0), (0, 0), (0, 0), (0, 1), (1, 1), (1, 0)]);
        assert_eq!(confusion.counts, [[3, 1], [1, 1]]);
        assert!((confusion.recall() - 0.625).abs() < 1e-9);
        assert_eq!(best(&[0.2, 0.7, 0.1]), (1, 0.7));
        assert!((calibration_error(&[(0.75, true), (0.75, false), (1.0, true)]) - 0.5 / 3.0).abs() < 1e-6);
        for (guesses, expected) in [
            (vec![(0.1, false), (0.9, true)], 1.0),
            (vec![(0.9, false), (0.1, true)], 0.0),
            (vec![(0.5, false), (0.5, true)], 0.5),
            (vec![(0.2, false), (0.4, true), (0.6, false), (0.8, true)], 0.75),
        ] {
            assert!((area(&guesses) - expected).abs() < 1e-9, "{guesses:?}");
        }
    }
}
