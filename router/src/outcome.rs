//! What became of the requests that each variant answered: errors, speed, cost and what people thought of it, with confidence
//! intervals, so that a winner is called only where there is one.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::ops::Add;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::stream;

use crate::answer::{Answer, Decision};
use crate::interval::{Estimate, Mean, share};
use crate::{AttemptLog, Outcome};

/// Requests that can still be scored: those of the last hours of a busy server, at about 100 bytes each.
const REMEMBERED: usize = 20_000;
/// A winner is not called on fewer observations.
const FEWEST: u64 = 30;

/// A variant of a route of a router.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariantKey {
    /// The router's id.
    pub router: String,
    /// The route's id.
    pub route: String,
    /// The variant's id.
    pub variant: String,
}

/// What became of a variant's requests since it was last changed.
#[derive(Clone, Debug, PartialEq)]
pub struct VariantOutcome {
    /// Which.
    pub key: VariantKey,
    /// Requests that were answered, failed or were given up.
    pub requests: u64,
    /// Those that the caller gave up; they count neither as errors nor as answers.
    pub cancelled: u64,
    /// Share of errors.
    pub errors: Option<Estimate>,
    /// Seconds from the start to the first content, failed attempts included.
    pub first_content_seconds: Option<Estimate>,
    /// Seconds from the start to the end.
    pub total_seconds: Option<Estimate>,
    /// US dollars a request, all of its attempts together.
    pub cost: Option<Estimate>,
    /// Scores: the share of good ones where each is 0 or 1, else their mean.
    pub score: Option<Estimate>,
}

/// A measure in which one variant of a route is better than each other, for sure.
#[derive(Clone, Debug, PartialEq)]
pub struct Winner {
    /// The route's id.
    pub route: String,
    /// `errors`, `first_content_seconds`, `cost` or `score`.
    pub measure: &'static str,
    /// The variant's id.
    pub variant: String,
}

/// A score that somebody gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feedback {
    /// The request that is scored, by the id of its answer.
    pub request: Option<String>,
    /// Or the last request of this user,
    pub user: Option<String>,
    /// perhaps of this router;
    pub router: Option<String>,
    /// or a variant by name: of this route,
    pub route: Option<String>,
    /// this variant.
    pub variant: Option<String>,
    /// More is better; 0 and 1 where there is only bad and good.
    pub score: f64,
}

/// A handle to what became of every variant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcomes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    kept: Mutex<Kept>,
    /// Of ids and users: 64 bits of each are kept, with keys of this process, so that nobody can make two of them meet.
    hashes: RandomState,
}

#[derive(Debug, Default)]
struct Kept {
    variants: BTreeMap<VariantKey, Tally>,
    /// By the hash of their ids.
    requests: HashMap<u64, Remembered>,
    /// Those hashes, oldest first.
    order: VecDeque<u64>,
    /// The last request of each user, hash by hash.
    users: HashMap<u64, u64>,
    /// The variants of `requests`: each is kept once.
    keys: HashSet<Arc<VariantKey>>,
}

#[derive(Debug)]
struct Remembered {
    key: Arc<VariantKey>,
    user: Option<u64>,
    score: Option<f64>,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    answered: u64,
    failed: u64,
    cancelled: u64,
    first: Mean,
    total: Mean,
    cost: Mean,
    score: Mean,
}

impl Outcomes {
    /// The answer, whose end is counted for its variant.
    pub(crate) fn watch(&self, answer: Answer) -> Answer {
        let Some(key) = key_of(&answer.decision) else { return answer };
        let guard = Guard { outcomes: self.clone(), key, log: answer.log.clone() };
        // The guard goes with the stream: it is dropped when the answer ends, is given up or is cut off.
        let deltas = stream::unfold((answer.deltas, guard), |(mut deltas, guard)| async move {
            let item = deltas.next().await?;
            Some((item, (deltas, guard)))
        });
        Answer { deltas: deltas.boxed(), ..answer }
    }

    /// Lets a request be scored under the id of its answer, and as the last one of its user.
    pub(crate) fn remember(&self, id: &str, user: Option<&str>, decision: &Decision) {
        let Some(key) = key_of(decision) else { return };
        let (id, user) = (self.hash(id), user.map(|user| self.hash(user)));
        let mut kept = self.lock();
        let key = match kept.keys.get(&key) {
            Some(known) => known.clone(),
            None => {
                let key = Arc::new(key);
                kept.keys.insert(key.clone());
                key
            }
        };
        if let Some(user) = user {
            kept.users.insert(user, id);
        }
        if kept.requests.insert(id, Remembered { key, user, score: None }).is_none() {
            kept.order.push_back(id);
        }
        if kept.order.len() > REMEMBERED
            && let Some(oldest) = kept.order.pop_front()
            && let Some(Remembered { user: Some(user), .. }) = kept.requests.remove(&oldest)
            && kept.users.get(&user) == Some(&oldest)
        {
            kept.users.remove(&user);
        }
    }

    /// Counts a score; the error tells what is missing. `exists` says whether there is such a variant.
    pub(crate) fn score(&self, feedback: &Feedback, exists: impl Fn(&VariantKey) -> bool) -> Result<VariantKey, String> {
        if !feedback.score.is_finite() {
            return Err("`score` must be a number".to_owned());
        }
        let mut kept = self.lock();
        let id =
            match (&feedback.request, &feedback.user) {
                (Some(id), _) => Some(self.hash(id)),
                (None, Some(user)) => {
                    let of = kept.users.get(&self.hash(user)).filter(|id| {
                        let router = kept.requests.get(id).map(|remembered| &remembered.key.router);
                        feedback.router.is_none() || router == feedback.router.as_ref()
                    });
                    Some(of.copied().ok_or_else(|| {
                        format!("no request of the user {user:?} is remembered; send the id of the answer as `request_id`")
                    })?)
                }
                (None, None) => None,
            };
        let Some(id) = id else {
            let (Some(router), Some(variant)) = (&feedback.router, &feedback.variant) else {
                return Err(
                    "say what is scored: `request_id`, or `user`, or `router` with `variant` (and `route`, else \"default\")".to_owned()
                );
            };
            let route = feedback.route.clone().unwrap_or_else(|| "default".to_owned());
            let key = VariantKey { router: router.clone(), route, variant: variant.clone() };
            if !exists(&key) {
                return Err(format!("there is no variant {:?} in route {:?} of router {:?}", key.variant, key.route, key.router));
            }
            kept.variants.entry(key.clone()).or_default().score.add(feedback.score);
            return Ok(key);
        };
        let remembered = kept.requests.get_mut(&id);
        let Some(Remembered { key, score, .. }) = remembered else {
            let id = feedback.request.as_deref().unwrap_or_default();
            return Err(format!("no request {id:?} is remembered; the last {REMEMBERED} that a router decided are"));
        };
        // The last word counts: who scores again has thought again.
        let (key, before) = (VariantKey::clone(key), score.replace(feedback.score));
        let tally = kept.variants.entry(key.clone()).or_default();
        if let Some(before) = before {
            tally.score.remove(before);
        }
        tally.score.add(feedback.score);
        Ok(key)
    }

    /// Forgets variants that were changed or removed: what they were is no longer what they are.
    pub(crate) fn forget(&self, changed: impl Fn(&VariantKey) -> bool) {
        let mut kept = self.lock();
        kept.variants.retain(|key, _| !changed(key));
        // What no remembered request has any more is let go; the set holds one of each.
        kept.keys.retain(|key| Arc::strong_count(key) > 1);
    }

    /// What became of a router's variants.
    pub(crate) fn of(&self, router: &str) -> Vec<VariantOutcome> {
        let kept = self.lock();
        let mine = kept.variants.iter().filter(|(key, _)| key.router == router);
        mine.map(|(key, tally)| tally.outcome(key.clone())).collect()
    }

    fn count(&self, key: &VariantKey, log: &AttemptLog) {
        let attempts = log.attempts();
        // One that was outrun took no time of its own: it ran beside another.
        let ours = || attempts.iter().filter(|attempt| attempt.outcome != Outcome::Outrun);
        let Some(last) = ours().next_back() else { return };
        let (mut first, mut total) = (None, 0.0);
        for attempt in ours() {
            first = first.or(attempt.first_token.map(|first| total + first.as_secs_f64()));
            total += attempt.total.as_secs_f64();
        }
        // What was given up and what was outrun was paid for, too.
        let cost = attempts.iter().filter_map(|attempt| attempt.cost).map(|priced| priced.cost).reduce(Add::add);
        let mut kept = self.lock();
        let tally = kept.variants.entry(key.clone()).or_default();
        if let Some(cost) = cost {
            tally.cost.add(cost.usd());
        }
        match last.outcome {
            Outcome::Answered(_) => tally.answered += 1,
            Outcome::Failed(_) => tally.failed += 1,
            Outcome::Cancelled | Outcome::Running | Outcome::Outrun => {
                tally.cancelled += 1;
                return;
            }
        }
        if let Some(first) = first {
            tally.first.add(first);
        }
        tally.total.add(total);
    }

    fn hash(&self, text: &str) -> u64 {
        self.0.hashes.hash_one(text)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn outcome(&self, key: VariantKey) -> VariantOutcome {
        let ended = self.answered + self.failed;
        VariantOutcome {
            key,
            requests: ended + self.cancelled,
            cancelled: self.cancelled,
            errors: (ended > 0).then(|| share(self.failed, ended)),
            first_content_seconds: self.first.estimate(),
            total_seconds: self.total.estimate(),
            cost: self.cost.estimate(),
            score: self.score.estimate(),
        }
    }
}

/// The measures in which one variant of a route has an interval that none of the others touches. Intervals that part are a stricter test
/// than the difference would need: what is called here holds.
pub fn winners(outcomes: &[VariantOutcome]) -> Vec<Winner> {
    type Measure = (&'static str, bool, fn(&VariantOutcome) -> Option<Estimate>);
    let measures: [Measure; 4] = [
        ("errors", false, |outcome| outcome.errors),
        ("first_content_seconds", false, |outcome| outcome.first_content_seconds),
        ("cost", false, |outcome| outcome.cost),
        ("score", true, |outcome| outcome.score),
    ];
    let mut routes: Vec<&str> = outcomes.iter().map(|outcome| outcome.key.route.as_str()).collect();
    routes.dedup();
    let mut winners = Vec::new();
    for route in routes {
        let rivals: Vec<&VariantOutcome> = outcomes.iter().filter(|outcome| outcome.key.route == route).collect();
        for (measure, more_is_better, of) in measures {
            let sure = |outcome: &VariantOutcome| of(outcome).filter(|estimate| estimate.n >= FEWEST);
            let beats = |a: &Estimate, b: &Estimate| if more_is_better { a.low > b.high } else { a.high < b.low };
            let all = |winner: &Estimate, me: &VariantOutcome| {
                rivals.iter().filter(|other| other.key != me.key).all(|other| sure(other).is_some_and(|other| beats(winner, &other)))
            };
            let winner = rivals.iter().find(|outcome| rivals.len() > 1 && sure(outcome).is_some_and(|estimate| all(&estimate, outcome)));
            winners.extend(winner.map(|outcome| Winner { route: route.to_owned(), measure, variant: outcome.key.variant.clone() }));
        }
    }
    winners
}

fn key_of(decision: &Decision) -> Option<VariantKey> {
    Some(VariantKey { router: decision.router.clone()?, route: decision.route.clone(), variant: decision.variant.clone()? })
}

/// Counts an answer when its stream is dropped.
struct Guard {
    outcomes: Outcomes,
    key: VariantKey,
    log: AttemptLog,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.outcomes.count(&self.key, &self.log);
    }
}
