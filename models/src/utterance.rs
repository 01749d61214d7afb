//! What was said: words, drafts of them, and the finished utterance.

use std::time::Duration;

use audio::Probability;

use crate::emotion::Tone;
use crate::{Belief, Language, Measured};

/// One word with its place in time, counted from the start of the sound it was heard in or spoken as.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// As written, with its punctuation.
    pub text: String,
    /// Where it starts.
    pub start: Duration,
    /// Where it ends.
    pub end: Duration,
    /// How sure the recogniser is of it: mean token probability. Of a word that was spoken by us nothing is asked.
    pub confidence: Option<Probability>,
}

/// A draft: what seems to have been said so far. It never enters the history.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Partial {
    /// The whole draft, not a difference to the last one.
    pub text: String,
    /// How much sound it covers, from the start of the utterance.
    pub covers: Duration,
    /// How much of the text will probably stay, bytes from its start; it ends at the end of a word.
    pub settled: usize,
}

impl Partial {
    /// The text that will probably stay.
    pub fn settled(&self) -> &str {
        self.text.get(..self.settled).unwrap_or_default()
    }
}

/// One uninterrupted stretch of one speaker, transcribed.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Utterance {
    /// The text, with the engine's case and punctuation.
    pub text: String,
    /// Words with times; empty where the engine gives none.
    pub words: Vec<Word>,
    /// Stretches of text with times (sentences or pauses); empty where the engine gives none.
    pub segments: Vec<Segment>,
    /// Length of the sound.
    pub duration: Duration,
    /// The language spoken, where it was identified or given.
    pub language: Option<Measured<Language>>,
    /// What is believed of the language once it was heard, earlier turns counted; empty where the engine believes nothing.
    pub belief: Belief,
    /// How sure the recogniser is of the words: mean token probability.
    pub confidence: Option<Probability>,
    /// How it sounds, where that was wanted.
    pub tone: Option<Box<Tone>>,
    /// Name of the engine that heard it.
    pub engine: String,
}

/// A stretch of a transcript.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// What was said in it.
    pub text: String,
    /// Where it starts, from the start of the sound.
    pub start: Duration,
    /// Where it ends.
    pub end: Duration,
    /// Mean log probability of its tokens, where known.
    pub avg_logprob: Option<f32>,
    /// How likely there was no speech in it, where known.
    pub no_speech: Option<Probability>,
}
