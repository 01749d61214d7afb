//! What all answers share: the health of targets and their prices.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use models::{Prompt, Usage};

use crate::cost::Priced;
use crate::health::Breaker;
use crate::route::{Limits, Target};
use crate::{Answer, AttemptLog, Decision, Health, TargetFact, TargetFacts, race};

/// What an attempt at a target (`provider/model`) cost; `None` where its price is not known.
pub type Price = Arc<dyn Fn(&str, &Usage) -> Option<Priced> + Send + Sync>;

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

/// What was seen of targets lately, beside what others know of them.
#[derive(Debug)]
pub(crate) struct Lately {
    pub(crate) health: Health,
    pub(crate) others: Option<Arc<dyn TargetFacts>>,
}

impl TargetFacts for Lately {
    fn of(&self, target: &str) -> TargetFact {
        let known = self.others.as_ref().map(|others| others.of(target)).unwrap_or_default();
        let condition = self.health.condition(target, Instant::now());
        TargetFact {
            latency: known.latency.or(condition.first_content),
            throughput: known.throughput.or(condition.tokens_per_second),
            healthy: known.healthy.or((condition.attempts > 0).then_some(condition.breaker == Breaker::Closed)),
            ..known
        }
    }
}
