//! What is known of targets while the server runs: prices, speed, health.
//!
//! The router asks by a target's id and keeps nothing itself: whoever measures and whoever knows the prices answer.

use std::fmt;
use std::time::Duration;

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
    /// Whether it answers.
    pub healthy: Option<bool>,
}

/// Who knows the targets.
pub trait TargetFacts: fmt::Debug + Send + Sync {
    /// What is known of the target `provider/model`. Called while a request is routed: it must answer at once.
    fn of(&self, target: &str) -> TargetFact;
}
