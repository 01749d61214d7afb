//! How halting somebody speaks: silent pauses, filled pauses found in the sound, drawn-out words, repetitions and words broken off.

mod fillers;
#[cfg(feature = "embedded")]
pub mod train;

use audio::features::Pause;

pub use fillers::{FillerHead, spans};

/// A break in the flow of speech, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disfluency {
    /// What it is.
    pub kind: DisfluencyKind,
    /// From the beginning of the utterance.
    pub at: Pause,
}

/// What breaks the flow of speech, where it can be placed in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisfluencyKind {
    /// A quarter of a second and more in which nothing is said.
    SilentPause,
    /// "um", "uh", "hm", or a vowel in their place.
    FilledPause,
}

impl DisfluencyKind {
    /// The name that clients see.
    pub fn name(self) -> &'static str {
        match self {
            DisfluencyKind::SilentPause => "silent_pause",
            DisfluencyKind::FilledPause => "filled_pause",
        }
    }
}

/// The pauses of both kinds in the order of time. Where a filled pause lies in a silent one, it is told beside it.
pub(crate) fn in_order(silent: &[Pause], filled: &[Pause]) -> Vec<Disfluency> {
    let of = |kind| move |at: &Pause| Disfluency { kind, at: *at };
    let silent = silent.iter().map(of(DisfluencyKind::SilentPause));
    let mut all: Vec<Disfluency> = silent.chain(filled.iter().map(of(DisfluencyKind::FilledPause))).collect();
    all.sort_by_key(|disfluency| disfluency.at.start);
    all
}
