//! Who speaks, and what they said aloud.

use audio::Frame;

use crate::{Language, Word};

/// How a text is to be spoken.
#[derive(Clone, Debug, PartialEq)]
pub struct Voice {
    /// The voice's name, as the synthesizer knows it.
    pub name: String,
    /// 1 is the voice's own speed; 0.25 to 4.
    pub speed: f32,
    /// Language of the text; `None`: the voice's own.
    pub language: Option<Language>,
}

impl Voice {
    /// The named voice at its own speed.
    pub fn new(name: impl Into<String>) -> Voice {
        Voice { name: name.into(), speed: 1.0, language: None }
    }
}

/// A piece of speech.
#[derive(Clone, Debug, PartialEq)]
pub struct Spoken {
    /// The sound; its `at` counts from the start of the whole speech, without gaps.
    pub frame: Frame,
    /// The words that begin in this piece, timed from the start of the whole speech.
    pub words: Vec<Word>,
}
