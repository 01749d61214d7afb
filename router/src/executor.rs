//! What all answers share: the health of targets and their prices.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use models::{Prompt, Usage};

use crate::cost::Priced;
use crate::health::Breaker;
use crate::route::{Limits, Target};
use crate::search::{self, Plan, Question};
use crate::{Answer, AttemptLog, Decision, Health, Searcher, TargetFact, TargetFacts, race};

/// What is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount<'a> {
    /// Tokens read and written.
    Tokens(&'a Usage),
    /// Sound that was heard.
    Heard(Duration),
    /// Speech: the characters that were spoken, and how long it is.
    Spoken {
        /// The characters.
        characters: u64,
        /// The length.
        sound: Duration,
    },
}

/// What a target (`provider/model`) is paid for an amount; `None` where its price is not known.
pub type Price = Arc<dyn Fn(&str, Amount<'_>) -> Option<Priced> + Send + Sync>;

/// Asks targets. Cheap to clone; clones share what they learn.
#[derive(Clone, Default)]
pub struct Executor {
    /// How the targets do.
    pub health: Health,
    /// What attempts cost.
    pub price: Option<Price>,
    /// How the web is searched for models that cannot; `None`: it is not.
    pub searcher: Option<Searcher>,
}

impl Executor {
    /// An answer of the first of `targets` that gives one. Nothing happens until it is polled, inside a tokio runtime.
    pub(crate) fn answer(&self, mut decision: Decision, targets: Vec<Target>, limits: Limits, mut prompt: Prompt) -> Answer {
        let log = AttemptLog::default();
        let plan = Plan::take(&mut prompt, self.searcher.as_ref());
        let is_live = plan.is_some();
        let deltas = match plan {
            Some(plan) => {
                if plan.is_void(&targets, &prompt.tools) {
                    decision.reason.push_str("; the web is not searched: the models cannot, and [search] names nobody who does");
                }
                let question = Question { prompt, plan: Some(Arc::new(plan)) };
                search::run(self.clone(), targets, limits, question, log.clone())
            }
            None => race::run(self.clone(), targets, limits, prompt.into(), log.clone()),
        };
        Answer { decision, deltas, log, is_live }
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
