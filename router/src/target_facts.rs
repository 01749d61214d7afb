//! What is known of targets while the server runs: prices, sizes, abilities, speed, health.
//!
//! The router asks by a target's id and keeps nothing itself: whoever measures and whoever knows the prices answer.

use std::fmt;
use std::time::Duration;

use crate::catalogue::Abilities;

/// What is known of one target. `None`: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TargetFact {
    /// From the start of an attempt to its first content, lately.
    pub latency: Option<Duration>,
    /// Tokens a second once content flows, lately.
    pub throughput: Option<f64>,
    /// US dollars for a million tokens read.
    pub price_input: Option<f64>,
    /// US dollars for a million tokens written.
    pub price_output: Option<f64>,
    /// Most tokens of prompt and answer together.
    pub context: Option<u64>,
    /// What it takes beside words, and what it can do.
    pub abilities: Option<Abilities>,
    /// Whether it answers prompts; a model that embeds or speaks does not.
    pub dialogue: Option<bool>,
    /// Whether it answers.
    pub healthy: Option<bool>,
}

/// Who knows the targets.
pub trait TargetFacts: fmt::Debug + Send + Sync {
    /// What is known of the target `provider/model`. Called while a request is routed: it must answer at once.
    fn of(&self, target: &str) -> TargetFact;
}

/// Something that a request needs and a target is known to lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It answers no prompts.
    Dialogue,
    /// The prompt is longer than it can read.
    Context,
    /// It takes no images.
    Images,
    /// It takes no sound.
    Audio,
    /// It takes no documents.
    Files,
    /// It calls no functions.
    Tools,
}

impl Lack {
    /// All of them.
    pub const ALL: [Lack; 6] = [Lack::Dialogue, Lack::Context, Lack::Images, Lack::Audio, Lack::Files, Lack::Tools];

    /// Its name in explanations.
    pub fn name(self) -> &'static str {
        match self {
            Lack::Dialogue => "dialogue",
            Lack::Context => "context",
            Lack::Images => "images",
            Lack::Audio => "audio",
            Lack::Files => "files",
            Lack::Tools => "tools",
        }
    }
}
