//! What all answers share: the health of targets and their prices.

use std::fmt;
use std::sync::Arc;

use models::{Prompt, Usage};

use crate::route::{Limits, Target};
use crate::{Answer, AttemptLog, Decision, Health, race};

/// What an attempt at a target (`provider/model`) cost in nano-USD; `None` where its price is not known.
pub type Price = Arc<dyn Fn(&str, &Usage) -> Option<u64> + Send + Sync>;

/// Asks targets. Cheap to clone; clones share what they learn.
#[derive(Clone, Default)]
pub struct Executor {
    /// How the targets do.
    pub health: Health,
    /// What attempts cost.
    pub price: Option<Price>,
}

impl Executor {
    /// An answer of the first of `targets` that gives one. Nothing happens until it is polled, inside a tokio runtime.
    pub(crate) fn answer(&self, decision: Decision, targets: Vec<Target>, limits: Limits, prompt: Prompt) -> Answer {
        let log = AttemptLog::default();
        Answer { decision, deltas: race::run(self.clone(), targets, limits, prompt, log.clone()), log }
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("health", &self.health).field("priced", &self.price.is_some()).finish()
    }
}
