//! How halting somebody speaks: silent pauses, filled pauses found in the sound, drawn-out words, repetitions, words broken off, and how
//! long they took to begin.

mod fillers;
mod said;
#[cfg(feature = "embedded")]
pub mod train;

use audio::features::Pause;

pub use fillers::{FillerHead, spans};
pub(crate) use said::Said;

/// A break in the flow of speech, and where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disfluency {
    /// What it is.
    pub kind: DisfluencyKind,
    /// From when to when, seconds from the beginning of the utterance (before it, they are below nought); `None` where the words have
    /// no times.
    pub at: Option<(f32, f32)>,
}

/// What breaks the flow of speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisfluencyKind {
    /// The silence before the first word, where it is longer than people usually take to answer.
    SlowStart,
    /// A quarter of a second and more in which nothing is said.
    SilentPause,
    /// "um", "uh", "hm", or a vowel in their place.
    FilledPause,
    /// Words that are said once more at once: "I would I would like". It is the first time that breaks the flow.
    Repetition,
    /// A word that is not said to its end: "ta- table".
    CutOff,
}

impl DisfluencyKind {
    /// All of them.
    pub const ALL: [DisfluencyKind; 5] = [
        DisfluencyKind::SlowStart,
        DisfluencyKind::SilentPause,
        DisfluencyKind::FilledPause,
        DisfluencyKind::Repetition,
        DisfluencyKind::CutOff,
    ];

    /// The name that clients see.
    pub fn name(self) -> &'static str {
        match self {
            DisfluencyKind::SlowStart => "slow_start",
            DisfluencyKind::SilentPause => "silent_pause",
            DisfluencyKind::FilledPause => "filled_pause",
            DisfluencyKind::Repetition => "repetition",
            DisfluencyKind::CutOff => "cut_off",
        }
    }
}

/// Who takes longer than this to begin an answer is slow, seconds: people take 0.2 s (Stivers et al. 2009), callers of machines a second.
const SLOW: f32 = 1.5;

/// All that breaks the flow of an utterance, in the order of time: what was heard, what the words tell, and what they waited before it,
/// seconds. Where a filled pause lies in a silent one, it is told beside it; what has no time comes last.
pub(crate) fn disfluencies(silent: &[Pause], filled: &[Pause], said: &Said, waited: Option<f32>) -> Vec<Disfluency> {
    let seconds = |pause: &Pause| (pause.start.as_secs_f32(), (pause.start + pause.length).as_secs_f32());
    let of = |kind| move |pause: &Pause| Disfluency { kind, at: Some(seconds(pause)) };
    let slow =
        waited.filter(|waited| *waited > SLOW).map(|waited| Disfluency { kind: DisfluencyKind::SlowStart, at: Some((-waited, 0.0)) });
    let mut all: Vec<Disfluency> = slow.into_iter().collect();
    all.extend(silent.iter().map(of(DisfluencyKind::SilentPause)));
    all.extend(filled.iter().map(of(DisfluencyKind::FilledPause)));
    // Some are written, most are only heard, and none is counted twice.
    all.extend(said.filled().skip(filled.len()).map(|at| Disfluency { kind: DisfluencyKind::FilledPause, at }));
    all.extend(said.repeated().map(|at| Disfluency { kind: DisfluencyKind::Repetition, at }));
    all.extend(said.cut_off().map(|at| Disfluency { kind: DisfluencyKind::CutOff, at }));
    let start = |disfluency: &Disfluency| disfluency.at.map_or(f32::INFINITY, |(start, _)| start);
    all.sort_by(|a, b| start(a).total_cmp(&start(b)));
    all
}

/// What is weighed.
pub(crate) struct Weighed<'a> {
    pub(crate) disfluencies: &'a [Disfluency],
    /// Words said.
    pub(crate) words: usize,
    /// From the first sound to the last, seconds.
    pub(crate) span: f32,
    /// Steady vowels of a third of a second and longer, filled pauses among them.
    pub(crate) drawn_out: usize,
}

impl Weighed<'_> {
    /// One score of all, 0 fluent to 1 halting. The weights are set by hand: one filled pause in ten words gives about 0.3, a halt of a
    /// second in three about 0.4, an answer that is begun after four seconds about 0.3.
    pub(crate) fn score(&self) -> f32 {
        let of = |kind| self.disfluencies.iter().filter(move |disfluency| disfluency.kind == kind);
        let (filled, broken) =
            (of(DisfluencyKind::FilledPause).count(), of(DisfluencyKind::Repetition).chain(of(DisfluencyKind::CutOff)).count());
        let length = |disfluency: &Disfluency| disfluency.at.map_or(0.0, |(start, end)| end - start);
        let of_words = |count: usize| count as f32 / self.words.max(5) as f32;
        let span = self.span.max(0.5);
        // Up to a tenth of fluent speech is pauses between clauses.
        let silent = (of(DisfluencyKind::SilentPause).map(length).sum::<f32>() / span - 0.1).max(0.0);
        // A filled pause is drawn out as well.
        let heard = of(DisfluencyKind::FilledPause).filter(|disfluency| disfluency.at.is_some()).count();
        let drawn_out = self.drawn_out.saturating_sub(heard) as f32 / span;
        let late = of(DisfluencyKind::SlowStart).map(|slow| (length(slow) - SLOW).min(5.0)).sum::<f32>();
        1.0 - (-(3.5 * of_words(filled) + 3.0 * of_words(broken) + 2.0 * silent + 0.5 * drawn_out + 0.15 * late)).exp()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Utterance;

    fn pause(start: u64, length: u64) -> Pause {
        Pause { start: Duration::from_millis(start), length: Duration::from_millis(length) }
    }

    #[test]
    fn all_that_breaks_the_flow_is_told_in_the_order_of_time() {
        let utterance = Utterance { text: "I um I would like it".to_owned(), ..Utterance::default() };
        let said = Said::new(&utterance);
        let told = |filled: &[Pause], waited| {
            let all = disfluencies(&[pause(2_000, 500)], filled, &said, waited);
            all.iter().map(|found| format!("{} {:?}", found.kind.name(), found.at)).collect::<Vec<_>>()
        };
        let heard = [pause(250, 250), pause(2_100, 250)];
        let expected = [
            "slow_start Some((-2.0, 0.0))",
            "filled_pause Some((0.25, 0.5))",
            "silent_pause Some((2.0, 2.5))",
            "filled_pause Some((2.1, 2.35))",
        ];
        assert_eq!(told(&heard, Some(2.0)), expected, "the written one is one of those that were heard");
        assert_eq!(told(&[], Some(1.0)), ["silent_pause Some((2.0, 2.5))", "filled_pause None"], "nobody is slow within a second");
    }
}
