//! What Prometheus is told: counters and histograms over requests, in its text format (version 0.0.4).
//!
//! Everything is counted from the record of a request, once, when it is over; a gauge falls when its guard is dropped. Labels have few
//! values by construction: targets beyond the first thousand are counted together, because callers may invent model names.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use router::health::{Breaker, Condition};
use router::{Preparation, Record, ReplicaState, RuleCount, ShadowCount, counts};

/// Buckets of a histogram, without the last, which has no bound.
const BOUNDS: usize = 12;
/// Upper bounds of the time a request takes as a whole, seconds.
const TOTAL: [f64; BOUNDS] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];
/// Upper bounds of the time to the first content, seconds: finer, because it is what a caller waits for.
const FIRST: [f64; BOUNDS] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Most targets counted by name.
const TARGETS: usize = 1_000;
/// What the rest are counted as.
const OTHERS: &str = "other";

/// The counters. Cheap to clone.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tables: Mutex<Tables>,
    sessions: AtomicU64,
}

#[derive(Default)]
struct Tables {
    /// By dialect and status.
    requests: BTreeMap<(&'static str, u16), u64>,
    /// By dialect.
    total: BTreeMap<&'static str, Histogram>,
    first: BTreeMap<&'static str, Histogram>,
    /// By kind.
    tokens: BTreeMap<&'static str, u64>,
    /// Billionths of a US dollar.
    cost: u64,
    /// By target, then by outcome.
    attempts: HashMap<String, BTreeMap<&'static str, u64>>,
    /// By kind of hit.
    hits: BTreeMap<&'static str, u64>,
    /// Looked for and not there.
    misses: u64,
    prepared: PreparedCount,
}

/// Answers that were begun in a pause.
#[derive(Clone, Copy, Default)]
struct PreparedCount {
    taken: u64,
    /// How much sooner those were begun, together.
    ahead_ms: u64,
    thrown_away: u64,
    /// What those cost, billionths of a US dollar.
    cost: u64,
}

#[derive(Clone, Copy, Default)]
struct Histogram {
    buckets: [u64; BOUNDS],
    count: u64,
    seconds: f64,
}

impl Histogram {
    fn observe(&mut self, bounds: &[f64; BOUNDS], duration: Duration) {
        let seconds = duration.as_secs_f64();
        if let Some(bucket) = bounds.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.seconds += seconds;
    }
}

/// One session under way; the gauge falls when this is dropped.
pub struct Session(Arc<Inner>);

impl Drop for Session {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Relaxed);
    }
}

/// What others count, read when Prometheus asks.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// Records that could not be kept.
    pub records_dropped: u64,
    /// Answers in the cache, and the bytes they take up.
    pub cache: router::CacheUsage,
    /// How often each rule held, did not, or failed.
    pub rules: Vec<RuleCount>,
    /// How each target does.
    pub targets: Vec<(String, Condition)>,
    /// What the replicas of each provider did.
    pub replicas: Vec<(String, Vec<ReplicaState>)>,
    /// Requests that were mirrored.
    pub shadows: ShadowCount,
}

impl Metrics {
    /// Counts a request that is over.
    pub fn observe(&self, record: &Record) {
        let mut tables = self.tables();
        let tables = &mut *tables;
        *tables.requests.entry((record.dialect, record.status)).or_default() += 1;
        if let Some(total) = record.total {
            tables.total.entry(record.dialect).or_default().observe(&TOTAL, total);
        }
        if let Some(first) = record.first_content {
            tables.first.entry(record.dialect).or_default().observe(&FIRST, first);
        }
        let asked: Vec<_> = record.attempts.iter().filter_map(|attempt| attempt.usage.as_ref()).collect();
        // Attempts know what was really paid for; an answer from the cache has none and used no tokens.
        for usage in asked {
            for (kind, count) in counts(usage) {
                if count > 0 {
                    *tables.tokens.entry(kind).or_default() += count;
                }
            }
        }
        tables.cost += record.cost_nano_usd.unwrap_or(0);
        for attempt in &record.attempts {
            let outcome = attempt.error.unwrap_or(attempt.outcome);
            let name =
                if tables.attempts.contains_key(&attempt.target) || tables.attempts.len() < TARGETS { &attempt.target } else { OTHERS };
            let outcomes = match tables.attempts.get_mut(name) {
                Some(outcomes) => outcomes,
                None => tables.attempts.entry(name.to_owned()).or_default(),
            };
            *outcomes.entry(outcome).or_default() += 1;
        }
        let prepared = &mut tables.prepared;
        match record.prepared {
            None => {}
            Some(Preparation::Taken { ahead_ms }) => {
                (prepared.taken, prepared.ahead_ms) = (prepared.taken + 1, prepared.ahead_ms + ahead_ms)
            }
            Some(Preparation::ThrownAway) => {
                prepared.thrown_away += 1;
                prepared.cost += record.cost_nano_usd.unwrap_or(0);
            }
        }
        match record.cache {
            "" | "off" => {}
            "miss" => tables.misses += 1,
            hit => *tables.hits.entry(hit).or_default() += 1,
        }
    }

    /// Counts a session until the guard is dropped.
    #[must_use]
    pub fn session(&self) -> Session {
        self.0.sessions.fetch_add(1, Relaxed);
        Session(self.0.clone())
    }

    /// Everything, as Prometheus reads it.
    pub fn text(&self, elsewhere: &Elsewhere) -> String {
        let mut page = Page(String::with_capacity(8 * 1_024));
        let tables = self.tables();
        page.counter("requests_total", "Requests answered, by the caller's dialect and the HTTP status.");
        for ((dialect, status), count) in &tables.requests {
            page.line("requests_total", &[("dialect", dialect), ("status", &status.to_string())], *count as f64);
        }
        page.histograms("request_seconds", "From the arrival of a request to its last byte.", &TOTAL, &tables.total);
        page.histograms("first_content_seconds", "From the arrival of a request to its first content.", &FIRST, &tables.first);
        page.counter("tokens_total", "Tokens that attempts used, by kind; cached, audio and reasoning ones are part of input or output.");
        for (kind, count) in &tables.tokens {
            page.line("tokens_total", &[("kind", kind)], *count as f64);
        }
        page.counter("cost_usd_total", "What all attempts cost, US dollars.");
        page.line("cost_usd_total", &[], tables.cost as f64 / 1e9);
        page.counter("attempts_total", "Tries at targets, by what became of them.");
        let mut targets: Vec<_> = tables.attempts.iter().collect();
        targets.sort_unstable_by_key(|(target, _)| *target);
        for (target, outcomes) in targets {
            for (outcome, count) in outcomes {
                page.line("attempts_total", &[("target", target), ("outcome", outcome)], *count as f64);
            }
        }
        page.counter("cache_hits_total", "Answers that came from the cache, by kind.");
        for (kind, count) in &tables.hits {
            page.line("cache_hits_total", &[("kind", kind)], *count as f64);
        }
        page.counter("cache_misses_total", "Answers that were looked for in the cache and not there.");
        page.line("cache_misses_total", &[], tables.misses as f64);
        let prepared = tables.prepared;
        drop(tables);
        page.counter(
            "prepared_total",
            "Answers begun in a pause: taken when the turn was over, or thrown away because the caller went on.",
        );
        for (outcome, count) in [("taken", prepared.taken), ("thrown_away", prepared.thrown_away)] {
            page.line("prepared_total", &[("outcome", outcome)], count as f64);
        }
        page.counter("prepared_ahead_seconds_total", "How much sooner those that were taken had begun, together.");
        page.line("prepared_ahead_seconds_total", &[], prepared.ahead_ms as f64 / 1e3);
        page.counter("prepared_cost_usd_total", "What those that were thrown away cost, US dollars.");
        page.line("prepared_cost_usd_total", &[], prepared.cost as f64 / 1e9);
        page.counter("cache_evictions_total", "Answers that left the cache before their time because others needed the room.");
        page.line("cache_evictions_total", &[], elsewhere.cache.evicted as f64);
        page.gauge("cache_entries", "Answers in the cache.");
        page.line("cache_entries", &[], elsewhere.cache.entries as f64);
        page.gauge("cache_bytes", "Memory of the answers in the cache.");
        page.line("cache_bytes", &[], elsewhere.cache.bytes as f64);
        page.counter("records_dropped_total", "Records of requests that could not be kept.");
        page.line("records_dropped_total", &[], elsewhere.records_dropped as f64);
        page.counter("rules_total", "Evaluations of rules, by what came of them.");
        for rule in &elsewhere.rules {
            for (outcome, count) in [("matched", rule.matched), ("missed", rule.missed), ("failed", rule.failed)] {
                page.line("rules_total", &[("router", &rule.router), ("route", &rule.route), ("outcome", outcome)], count as f64);
            }
        }
        page.counter("shadows_total", "Requests that were to be mirrored: taken, or dropped because too many waited.");
        for (outcome, count) in [("taken", elsewhere.shadows.taken), ("dropped", elsewhere.shadows.dropped)] {
            page.line("shadows_total", &[("outcome", outcome)], count as f64);
        }
        page.targets(&elsewhere.targets);
        page.replicas(&elsewhere.replicas);
        page.gauge("sessions", "Realtime sessions under way.");
        page.line("sessions", &[], self.0.sessions.load(Relaxed) as f64);
        page.0
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A page in the text format.
struct Page(String);

impl Page {
    fn counter(&mut self, name: &str, help: &str) {
        self.head(name, help, "counter");
    }

    fn gauge(&mut self, name: &str, help: &str) {
        self.head(name, help, "gauge");
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (n, (label, value)) in labels.iter().enumerate() {
            self.0.push_str(if n == 0 { "{" } else { "," });
            self.0.push_str(label);
            self.0.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// The health of targets, of the first thousand by name: callers may invent names.
    fn targets(&mut self, targets: &[(String, Condition)]) {
        let mut targets: Vec<_> = targets.iter().collect();
        targets.sort_unstable_by_key(|(target, _)| target);
        targets.truncate(TARGETS);
        self.gauge(
            "target_breaker",
            "Whether a target takes requests: 0 it does, 1 one at a time to see whether it is well again, 2 not now.",
        );
        for (target, condition) in &targets {
            self.line("target_breaker", &[("target", target)], breaker(condition));
        }
        self.gauge("target_error_rate", "Share of attempts at a target that failed lately, 0 to 1.");
        for (target, condition) in &targets {
            self.known("target_error_rate", target, condition.error_rate);
        }
        self.gauge("target_first_content_seconds", "Mean time of a target to its first content, lately.");
        for (target, condition) in &targets {
            self.known("target_first_content_seconds", target, condition.first_content.map(|first| first.as_secs_f64()));
        }
        self.gauge("target_tokens_per_second", "Mean rate of a target once content flows, lately.");
        for (target, condition) in &targets {
            self.known("target_tokens_per_second", target, condition.tokens_per_second);
        }
    }

    fn known(&mut self, name: &str, target: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.line(name, &[("target", target)], value);
        }
    }

    fn replicas(&mut self, replicas: &[(String, Vec<ReplicaState>)]) {
        type Of = fn(&ReplicaState) -> Option<f64>;
        let series: [(&str, &str, &str, Of); 8] = [
            ("replica_up", "gauge", "Whether a replica was there when it was last asked: 1 or 0.", |r| Some(f64::from(u8::from(r.is_up)))),
            ("replica_breaker", "gauge", "Whether a replica takes requests, as target_breaker.", |r| Some(breaker(&r.condition))),
            ("replica_running", "gauge", "Requests that run on a replica.", |r| Some(r.running as f64)),
            ("replica_requests_total", "counter", "Requests that a replica was asked.", |r| Some(r.requests as f64)),
            ("replica_home_requests_total", "counter", "Of these, those whose conversations belong to it.", |r| Some(r.at_home as f64)),
            ("replica_input_tokens_total", "counter", "Tokens of prompts, as a replica counted them.", |r| Some(r.input_tokens as f64)),
            ("replica_cached_tokens_total", "counter", "Of these, tokens that it had in its cache.", |r| Some(r.cached_tokens as f64)),
            ("replica_cache_hit_share", "gauge", "Share of prompt tokens that a replica had in its cache.", ReplicaState::cache_hit_share),
        ];
        for (name, kind, help, of) in series {
            self.head(name, help, kind);
            for (provider, states) in replicas {
                for state in states {
                    if let Some(value) = of(state) {
                        self.line(name, &[("provider", provider), ("replica", &state.name)], value);
                    }
                }
            }
        }
    }

    fn histograms(&mut self, name: &str, help: &str, bounds: &[f64; BOUNDS], by_dialect: &BTreeMap<&'static str, Histogram>) {
        self.head(name, help, "histogram");
        for (dialect, histogram) in by_dialect {
            let mut below = 0;
            for (bound, count) in bounds.iter().zip(histogram.buckets) {
                below += count;
                self.line(&format!("{name}_bucket"), &[("dialect", dialect), ("le", &bound.to_string())], below as f64);
            }
            self.line(&format!("{name}_bucket"), &[("dialect", dialect), ("le", "+Inf")], histogram.count as f64);
            self.line(&format!("{name}_sum"), &[("dialect", dialect)], histogram.seconds);
            self.line(&format!("{name}_count"), &[("dialect", dialect)], histogram.count as f64);
        }
    }
}

/// A breaker as a number.
fn breaker(condition: &Condition) -> f64 {
    match condition.breaker {
        Breaker::Closed => 0.0,
        Breaker::HalfOpen => 1.0,
        Breaker::Open => 2.0,
    }
}

#[cfg(test)]
mod tests {
    use models::Usage;
    use router::AttemptRecord;

    use super::*;

    fn attempt(target: &str, outcome: &'static str, error: Option<&'static str>, tokens: u64) -> AttemptRecord {
        let usage = (tokens > 0).then(|| Usage { input_tokens: tokens, ..Usage::default() });
        AttemptRecord { target: target.to_owned(), outcome, error, usage, ..AttemptRecord::default() }
    }

    #[test]
    fn records_add_up() {
        let metrics = Metrics::default();
        let record = Record {
            dialect: "chat",
            status: 200,
            cache: "miss",
            total: Some(Duration::from_millis(30)),
            first_content: Some(Duration::from_millis(10)),
            cost_nano_usd: Some(1_500_000),
            attempts: vec![attempt("a/x", "failed", Some("timeout"), 2), attempt("b/\"y\"", "answered", None, 5)],
            ..Record::default()
        };
        metrics.observe(&record);
        metrics.observe(&record);
        metrics.observe(&Record { cache: "exact", status: 429, attempts: Vec::new(), cost_nano_usd: Some(0), total: None, ..record });
        let first = metrics.session();
        let second = metrics.session();
        drop(first);
        let rules = vec![RuleCount { router: "r".into(), route: "sad".into(), matched: 3, missed: 4, failed: 0 }];
        let ill = Condition { breaker: Breaker::Open, error_rate: Some(0.75), ..Condition::default() };
        let replica = ReplicaState {
            name: "http://a/v1".into(),
            running: 2,
            requests: 10,
            at_home: 9,
            input_tokens: 100,
            cached_tokens: 80,
            is_up: true,
            condition: Condition { breaker: Breaker::HalfOpen, ..Condition::default() },
        };
        let text = metrics.text(&Elsewhere {
            records_dropped: 9,
            rules,
            targets: vec![("a/x".into(), ill), ("b/y".into(), Condition::default())],
            replicas: vec![("gpu".into(), vec![replica])],
            shadows: ShadowCount { taken: 5, dropped: 1 },
            ..Elsewhere::default()
        });
        for line in [
            "requests_total{dialect=\"chat\",status=\"200\"} 2",
            "requests_total{dialect=\"chat\",status=\"429\"} 1",
            "request_seconds_bucket{dialect=\"chat\",le=\"0.025\"} 0",
            "request_seconds_bucket{dialect=\"chat\",le=\"0.05\"} 2",
            "request_seconds_bucket{dialect=\"chat\",le=\"+Inf\"} 2",
            "request_seconds_sum{dialect=\"chat\"} 0.06",
            "first_content_seconds_bucket{dialect=\"chat\",le=\"0.01\"} 3",
            "first_content_seconds_count{dialect=\"chat\"} 3",
            "tokens_total{kind=\"input_tokens\"} 14",
            "cost_usd_total 0.003",
            "attempts_total{target=\"a/x\",outcome=\"timeout\"} 2",
            "attempts_total{target=\"b/\\\"y\\\"\",outcome=\"answered\"} 2",
            "cache_hits_total{kind=\"exact\"} 1",
            "cache_misses_total 2",
            "records_dropped_total 9",
            "rules_total{router=\"r\",route=\"sad\",outcome=\"missed\"} 4",
            "sessions 1",
            "shadows_total{outcome=\"taken\"} 5",
            "shadows_total{outcome=\"dropped\"} 1",
            "target_breaker{target=\"a/x\"} 2",
            "target_breaker{target=\"b/y\"} 0",
            "target_error_rate{target=\"a/x\"} 0.75",
            "replica_up{provider=\"gpu\",replica=\"http://a/v1\"} 1",
            "replica_breaker{provider=\"gpu\",replica=\"http://a/v1\"} 1",
            "replica_running{provider=\"gpu\",replica=\"http://a/v1\"} 2",
            "replica_home_requests_total{provider=\"gpu\",replica=\"http://a/v1\"} 9",
            "replica_cache_hit_share{provider=\"gpu\",replica=\"http://a/v1\"} 0.8",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        drop(second);
        assert!(metrics.text(&Elsewhere::default()).ends_with("\nsessions 0\n"));
    }

    #[test]
    fn every_series_has_its_type_before_it() {
        let text = Metrics::default().text(&Elsewhere::default());
        let mut known = Vec::new();
        for line in text.lines() {
            match line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                Some((name, _)) => known.push(name),
                None if line.starts_with('#') => {}
                None => assert!(known.iter().any(|name| line.starts_with(name)), "{line}"),
            }
        }
    }

    #[test]
    fn invented_targets_do_not_grow_the_page() {
        let metrics = Metrics::default();
        for n in 0..TARGETS + 50 {
            let attempts = vec![attempt(&format!("up/{n}"), "failed", Some("bad_request"), 0)];
            metrics.observe(&Record { dialect: "chat", attempts, ..Record::default() });
        }
        assert!(metrics.tables().attempts.len() <= TARGETS + 1);
        let text = metrics.text(&Elsewhere::default());
        assert!(text.contains("attempts_total{target=\"other\",outcome=\"bad_request\"} 50"), "{text}");
    }
}
