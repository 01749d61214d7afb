//! One clause, said: sound and the times of its words.

use std::ops::Range;

use audio::{Rate, Samples};

/// The sound of a clause as an engine gives it, with its silences.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Mono PCM in [-1, 1].
    pub(crate) pcm: Vec<f32>,
    /// Its rate.
    pub(crate) rate: Rate,
    /// When each word of the clause is heard: its number, counted from 0, and samples of `pcm`. In order; silent words are missing.
    pub(crate) words: Vec<(usize, Range<Samples>)>,
}

impl Said {
    /// Nothing yet.
    pub(crate) fn new(rate: Rate) -> Said {
        Said { pcm: Vec::new(), rate, words: Vec::new() }
    }

    /// A word was heard in `span`.
    pub(crate) fn word(&mut self, number: usize, span: Range<Samples>) {
        match self.words.last_mut().filter(|(last, _)| *last == number) {
            Some((_, heard)) => heard.end = span.end,
            None => self.words.push((number, span)),
        }
    }
}
