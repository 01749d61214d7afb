//! How targets do: a circuit breaker, and running means of latency, throughput and errors, each target its own.
//!
//! The core ([`Registry`]) takes `now` and does no I/O; [`Health`] is a handle to one that a process shares. Nodes that want to share
//! theirs listen to the changes of breakers and apply those of others. Nothing probes by itself: a target whose time is up gets one real
//! request, and what becomes of that decides.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use models::{ErrorKind, ModelError};

/// Failures in a row that open a breaker. Providers have bad seconds; five requests in a row are more than one.
const FAILURES: u32 = 5;
/// Share of failures that opens a breaker although some requests succeed, and the least weight of evidence for it.
const ERROR_RATE: f64 = 0.5;
const EVIDENCE: f64 = 10.0;
/// How long a breaker stays open at first; each failed probe doubles it up to the longest.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(120);
/// Longest `retry-after` that closes a target off: longer ones are quotas of a day, and we ask again sooner than that.
const LONGEST_COOLING: Duration = Duration::from_secs(600);
/// A probe that nobody reported on in this time is forgotten: as long as the longest attempt.
const PROBE: Duration = Duration::from_secs(15 * 60);
/// In this time half of what is known is forgotten. Providers' latency changes within minutes.
const HALF_LIFE: Duration = Duration::from_secs(60);
/// Below this weight a mean says nothing any more: five half-lives after a single sample.
const FADED: f64 = 1.0 / 32.0;
/// Most targets remembered, because callers may name any model of a provider; the one unused for longest is forgotten.
const MOST: usize = 4_096;

/// Whether a target takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Breaker {
    /// It does.
    #[default]
    Closed,
    /// It does not for now.
    Open,
    /// It takes one request at a time, to see whether it is well again.
    HalfOpen,
}

/// A change of a breaker, for other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `provider/model`.
    pub target: String,
    /// What happened.
    pub to: Turn,
}

/// What a breaker turned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It opened for this long.
    Opened(Duration),
    /// It closed.
    Closed,
}

/// Whether a target may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is well.
    Admitted,
    /// It may be well again: this request shows.
    Probe,
    /// It is not.
    Refused,
}

/// What is known of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Condition {
    /// Whether it takes requests.
    pub breaker: Breaker,
    /// Mean time to its first content; `None` where nothing recent is known.
    pub first_content: Option<Duration>,
    /// Mean tokens per second once content flows.
    pub tokens_per_second: Option<f64>,
    /// Share of attempts that failed, 0 to 1.
    pub error_rate: Option<f64>,
    /// Attempts reported since it was first asked.
    pub attempts: u64,
    /// Of these, failures.
    pub failures: u64,
}

/// What became of an attempt, as far as the target's health goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It answered.
    Well {
        /// Time to its first content.
        first_content: Option<Duration>,
        /// Tokens per second after it.
        tokens_per_second: Option<f64>,
    },
    /// It failed by its own fault.
    Ill {
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// It ended for reasons not its own: the caller left, or asked for something wrong. `waited`: how long it had then been silent.
    Unknown {
        /// Silence before its first content.
        waited: Option<Duration>,
    },
}

impl Verdict {
    /// What a failure says of the target.
    pub fn of(error: &ModelError) -> Verdict {
        match error.kind {
            ErrorKind::Timeout
            | ErrorKind::Overloaded
            | ErrorKind::Failed
            | ErrorKind::Unauthorized
            | ErrorKind::Protocol
            | ErrorKind::Closed => Verdict::Ill { retry_after: error.retry_after },
            ErrorKind::Refused | ErrorKind::BadRequest => Verdict::Unknown { waited: None },
        }
    }
}

/// A mean in which old samples count less and less.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn fade(&mut self, factor: f64) {
        self.sum *= factor;
        self.weight *= factor;
    }

    fn add(&mut self, sample: f64) {
        self.sum += sample;
        self.weight += 1.0;
    }

    fn value(self) -> Option<f64> {
        (self.weight >= FADED).then(|| self.sum / self.weight)
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, next: Duration },
    HalfOpen { probing: Option<Instant>, next: Duration },
}

#[derive(Clone, Debug)]
struct Patient {
    state: State,
    first_content: Mean,
    rate: Mean,
    errors: Mean,
    attempts: u64,
    failures: u64,
    /// When the means were last faded.
    at: Instant,
}

impl Patient {
    fn new(now: Instant) -> Patient {
        let (first_content, rate, errors) = Default::default();
        Patient { state: State::Closed { failures: 0 }, first_content, rate, errors, attempts: 0, failures: 0, at: now }
    }

    fn fade(&mut self, now: Instant) {
        let factor = 0.5_f64.powf(now.saturating_duration_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64());
        for mean in [&mut self.first_content, &mut self.rate, &mut self.errors] {
            mean.fade(factor);
        }
        self.at = self.at.max(now);
    }

    fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Admitted,
            State::Open { until, next } if now >= until => {
                self.state = State::HalfOpen { probing: Some(now), next };
                Admission::Probe
            }
            State::HalfOpen { probing, next } if probing.is_none_or(|since| now.saturating_duration_since(since) > PROBE) => {
                self.state = State::HalfOpen { probing: Some(now), next };
                Admission::Probe
            }
            State::Open { .. } | State::HalfOpen { .. } => Admission::Refused,
        }
    }

    fn report(&mut self, verdict: &Verdict, now: Instant) -> Option<Turn> {
        self.fade(now);
        self.attempts += 1;
        match verdict {
            Verdict::Well { first_content, tokens_per_second } => {
                self.errors.add(0.0);
                if let Some(first_content) = first_content {
                    self.first_content.add(first_content.as_secs_f64());
                }
                if let Some(rate) = tokens_per_second {
                    self.rate.add(*rate);
                }
                let turned = !matches!(self.state, State::Closed { .. });
                self.state = State::Closed { failures: 0 };
                turned.then_some(Turn::Closed)
            }
            Verdict::Ill { retry_after } => {
                self.failures += 1;
                self.errors.add(1.0);
                let asked = retry_after.filter(|wait| !wait.is_zero()).map(|wait| wait.min(LONGEST_COOLING));
                let open = match self.state {
                    State::Closed { failures } => {
                        let failures = failures + 1;
                        let often = self.errors.weight >= EVIDENCE && self.errors.value().is_some_and(|rate| rate > ERROR_RATE);
                        self.state = State::Closed { failures };
                        (asked.is_some() || failures >= FAILURES || often).then_some(SHORTEST)
                    }
                    State::HalfOpen { next, .. } => Some(next),
                    // A request that was under way when it opened: only a longer wait asked for is news.
                    State::Open { until, next } => {
                        if let Some(wait) = asked.filter(|wait| now + *wait > until) {
                            self.state = State::Open { until: now + wait, next };
                            return Some(Turn::Opened(wait));
                        }
                        None
                    }
                };
                open.map(|own| {
                    let wait = asked.unwrap_or(own);
                    self.state = State::Open { until: now + wait, next: (own * 2).min(LONGEST) };
                    Turn::Opened(wait)
                })
            }
            Verdict::Unknown { waited } => {
                // It would have taken at least so long.
                if let Some(waited) = waited {
                    self.first_content.add(waited.as_secs_f64());
                }
                if let State::HalfOpen { next, .. } = self.state {
                    self.state = State::HalfOpen { probing: None, next };
                }
                None
            }
        }
    }

    fn condition(&self, now: Instant) -> Condition {
        let mut faded = self.clone();
        faded.fade(now);
        let breaker = match faded.state {
            State::Closed { .. } => Breaker::Closed,
            State::Open { until, .. } if now < until => Breaker::Open,
            State::Open { .. } | State::HalfOpen { .. } => Breaker::HalfOpen,
        };
        Condition {
            breaker,
            first_content: faded.first_content.value().map(Duration::from_secs_f64),
            tokens_per_second: faded.rate.value(),
            error_rate: faded.errors.value(),
            attempts: faded.attempts,
            failures: faded.failures,
        }
    }
}

/// The health of all targets: values in, values out, no clock.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    targets: HashMap<String, Patient>,
}

impl Registry {
    /// Whether a target may be asked. A [`Admission::Probe`] is taken by asking: every admission is reported on.
    pub fn admit(&mut self, target: &str, now: Instant) -> Admission {
        self.targets.get_mut(target).map_or(Admission::Admitted, |patient| patient.admit(now))
    }

    /// Whether a target would be refused, without taking a probe.
    pub fn refuses(&self, target: &str, now: Instant) -> bool {
        self.targets.get(target).is_some_and(|patient| patient.clone().admit(now) == Admission::Refused)
    }

    /// Takes in what became of an attempt; a change of its breaker comes out.
    pub fn report(&mut self, target: &str, verdict: &Verdict, now: Instant) -> Option<Change> {
        let to = match self.targets.get_mut(target) {
            Some(patient) => patient.report(verdict, now),
            None => self.meet(target, now).report(verdict, now),
        };
        to.map(|to| Change { target: target.to_owned(), to })
    }

    /// Takes in a change that another node saw.
    pub fn apply(&mut self, change: &Change, now: Instant) {
        let patient = self.meet(&change.target, now);
        patient.state = match change.to {
            Turn::Opened(wait) => State::Open { until: now + wait.min(LONGEST_COOLING), next: SHORTEST * 2 },
            Turn::Closed => State::Closed { failures: 0 },
        };
    }

    /// What is known of a target; of one never asked, nothing.
    pub fn condition(&self, target: &str, now: Instant) -> Condition {
        self.targets.get(target).map_or_else(Condition::default, |patient| patient.condition(now))
    }

    /// What is known of all targets, in no order.
    pub fn conditions(&self, now: Instant) -> Vec<(String, Condition)> {
        self.targets.iter().map(|(target, patient)| (target.clone(), patient.condition(now))).collect()
    }

    fn meet(&mut self, target: &str, now: Instant) -> &mut Patient {
        if self.targets.len() >= MOST
            && !self.targets.contains_key(target)
            && let Some(oldest) = self.targets.iter().min_by_key(|(_, patient)| patient.at).map(|(target, _)| target.clone())
        {
            self.targets.remove(&oldest);
        }
        self.targets.entry(target.to_owned()).or_insert_with(|| Patient::new(now))
    }
}

type Listener = Box<dyn Fn(&Change) + Send + Sync>;

/// A handle to the health of all targets. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub struct Health(Arc<Shared>);

#[derive(Default)]
struct Shared {
    registry: Mutex<Registry>,
    listener: OnceLock<Listener>,
}

impl Health {
    /// Hands every change of a breaker to `listener`, which must not block; to be set once, a second call does nothing.
    pub fn listen(&self, listener: impl Fn(&Change) + Send + Sync + 'static) {
        // A second listener would split the news between two: the first one stays.
        let _ = self.0.listener.set(Box::new(listener));
    }

    /// As [`Registry::admit`].
    pub fn admit(&self, target: &str, now: Instant) -> Admission {
        self.lock().admit(target, now)
    }

    /// As [`Registry::refuses`].
    pub fn refuses(&self, target: &str, now: Instant) -> bool {
        self.lock().refuses(target, now)
    }

    /// As [`Registry::report`]; the listener hears of a change.
    pub fn report(&self, target: &str, verdict: &Verdict, now: Instant) {
        let change = self.lock().report(target, verdict, now);
        if let (Some(change), Some(listener)) = (change, self.0.listener.get()) {
            listener(&change);
        }
    }

    /// As [`Registry::apply`]; the listener does not hear of it.
    pub fn apply(&self, change: &Change, now: Instant) {
        self.lock().apply(change, now);
    }

    /// As [`Registry::condition`].
    pub fn condition(&self, target: &str, now: Instant) -> Condition {
        self.lock().condition(target, now)
    }

    /// As [`Registry::conditions`].
    pub fn conditions(&self, now: Instant) -> Vec<(String, Condition)> {
        self.lock().conditions(now)
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `script`, lines of `<second> <word>`, on one target; gives what came of each, joined.
    fn check(script: &str, expected: &str) {
        let start = Instant::now();
        let mut registry = Registry::default();
        let mut seen = Vec::new();
        for line in script.split(", ") {
            let (second, word) = line.split_once(' ').expect("a second and a word");
            let now = start + Duration::from_secs(second.parse().expect("a second"));
            let mut report = |verdict| match registry.report("p/m", &verdict, now).map(|change| change.to) {
                None => "-".to_owned(),
                Some(Turn::Closed) => "closed".to_owned(),
                Some(Turn::Opened(wait)) => format!("open{}", wait.as_secs()),
            };
            seen.push(match word {
                "ask" => match registry.admit("p/m", now) {
                    Admission::Admitted => "yes".to_owned(),
                    Admission::Probe => "probe".to_owned(),
                    Admission::Refused => "no".to_owned(),
                },
                "well" => report(Verdict::Well { first_content: None, tokens_per_second: None }),
                "ill" => report(Verdict::Ill { retry_after: None }),
                "left" => report(Verdict::Unknown { waited: None }),
                wait => report(Verdict::Ill { retry_after: wait.parse().ok().map(Duration::from_secs) }),
            });
        }
        assert_eq!(seen.join(" "), expected, "{script}");
    }

    #[test]
    fn breakers_open_cool_down_and_are_probed() {
        for (script, expected) in [
            ("0 ask, 0 ill, 0 ill, 0 ill, 0 ill, 0 ask", "yes - - - - yes"),
            ("0 ill, 0 ill, 0 ill, 0 ill, 0 ill, 1 ask, 4 ask, 5 ask, 5 ask", "- - - - open5 no no probe no"),
            ("0 ill, 0 ill, 0 ill, 0 ill, 0 well, 0 ill, 0 ask", "- - - - - - yes"),
            // A probe that fails doubles the wait, one that succeeds closes, one whose caller left frees its place.
            ("0 9, 8 ask, 9 ask, 9 ill, 13 ask, 19 ask, 19 ill, 29 ask, 39 ask", "open9 no probe open10 no probe open20 no probe"),
            ("0 9, 9 ask, 9 well, 9 ask, 9 ask", "open9 probe closed yes yes"),
            ("0 9, 9 ask, 9 left, 9 ask", "open9 probe - probe"),
            // A longer wait asked for by a request under way extends it, a shorter one does not.
            ("0 9, 1 20, 10 ask, 21 ask", "open9 open20 no probe"),
            ("0 9, 1 2, 8 ask, 9 ask", "open9 - no probe"),
            ("0 100000, 599 ask, 600 ask", "open600 no probe"),
            // Nobody reported on the probe.
            ("0 9, 9 ask, 909 ask, 910 ask", "open9 probe no probe"),
            // More than half fail although none five times in a row.
            ("0 ill, 0 ill, 0 well, 0 ill, 0 ill, 0 well, 0 ill, 0 ill, 0 well, 0 ill, 0 ask", "- - - - - - - - - open5 no"),
        ] {
            check(script, expected);
        }
    }

    #[test]
    fn means_follow_what_is_recent_and_fade() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let well = |ms| Verdict::Well { first_content: Some(Duration::from_millis(ms)), tokens_per_second: Some(50.0) };
        let mut registry = Registry::default();
        assert_eq!(registry.condition("p/m", start), Condition::default());
        registry.report("p/m", &well(100), at(0));
        registry.report("p/m", &well(400), at(60));
        // The older sample counts half: (50 + 400) / 1.5.
        let condition = registry.condition("p/m", at(60));
        assert_eq!(condition.first_content, Some(Duration::from_millis(300)));
        assert_eq!((condition.tokens_per_second, condition.error_rate, condition.attempts), (Some(50.0), Some(0.0), 2));
        // Without news the mean stays, until it is too old to say anything.
        assert_eq!(registry.condition("p/m", at(120)).first_content, Some(Duration::from_millis(300)));
        assert_eq!(registry.condition("p/m", at(60 + 400)).first_content, None);
    }

    #[test]
    fn what_one_node_sees_another_can_be_told() {
        let (here, there) = (Health::default(), Health::default());
        let now = Instant::now();
        let told = there.clone();
        here.listen(move |change| told.apply(change, now));
        here.report("p/m", &Verdict::Ill { retry_after: Some(Duration::from_secs(9)) }, now);
        assert_eq!(there.admit("p/m", now), Admission::Refused);
        assert_eq!(there.condition("p/m", now).breaker, Breaker::Open);
        assert_eq!(there.admit("p/m", now + Duration::from_secs(9)), Admission::Probe);
        here.report("p/m", &Verdict::Well { first_content: None, tokens_per_second: None }, now);
        assert_eq!(there.admit("p/m", now), Admission::Admitted);
    }

    #[test]
    fn the_memory_is_bounded() {
        let start = Instant::now();
        let mut registry = Registry::default();
        for n in 0..(MOST as u64 + 10) {
            registry.report(&format!("p/{n}"), &Verdict::Unknown { waited: None }, start + Duration::from_millis(n));
        }
        assert_eq!(registry.conditions(start).len(), MOST);
        assert_eq!(registry.condition("p/0", start).attempts, 0);
        assert_eq!(registry.condition("p/10", start).attempts, 1);
    }
}
