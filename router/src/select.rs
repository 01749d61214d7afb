//! Which targets are asked, and in which order: sorting by price, speed and ranks, ignoring, preferred providers.
//!
//! Pure: the same candidates, wishes and facts give the same order. Targets that are known not to answer come last whatever the keys
//! say, and after them those that lack what the request needs; a target without the number that a key asks for comes after those that have
//! it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::time::Duration;

use models::Prompt;
use serde_json::Value;

use crate::needs::Needs;
use crate::object::{SelectionObject, SortObject};
use crate::rank::Ranks;
use crate::route::{Limits, Target};
use crate::schema::{self, Kind};
use crate::{Lack, RouteError, RouterError, TargetFact, TargetFacts, duration};

/// Most targets that one request may try where candidates were sorted: failing through more takes longer than any caller waits.
const MOST_SORTED: usize = 8;
/// One of so many requests sorted by a live number first tries a candidate that has none, or it would never get one.
const EXPLORED: u64 = 50;

/// What candidates are sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// US dollars for a million tokens, three read for each one written.
    Price,
    PriceInput,
    PriceOutput,
    /// Time to first content, lately.
    Latency,
    /// Tokens a second, lately.
    Throughput,
    /// Most tokens of prompt and answer.
    Context,
    /// A metric of the ranks.
    Rank(String),
}

/// One key to sort by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SortKey {
    pub(crate) metric: Metric,
    pub(crate) descending: bool,
}

impl SortKey {
    /// Reads a key; the error names what can be sorted by.
    pub(crate) fn read(object: &SortObject, ranks: &Ranks) -> Result<SortKey, String> {
        let name = object.metric.trim().to_ascii_lowercase();
        let metric = match name.strip_prefix("sort_metric_").unwrap_or(&name) {
            "price" | "cost" => Metric::Price,
            "price_input" => Metric::PriceInput,
            "price_output" => Metric::PriceOutput,
            "latency" | "ttft" => Metric::Latency,
            "throughput" => Metric::Throughput,
            "context" => Metric::Context,
            rank if ranks.metrics().contains(&rank) => Metric::Rank(rank.to_owned()),
            other => {
                let mut known = vec!["price", "price_input", "price_output", "latency", "throughput", "context"];
                known.extend(ranks.metrics());
                return Err(format!("there is no metric {other:?} to sort by; known are {}", known.join(", ")));
            }
        };
        let smaller_is_better = matches!(metric, Metric::Price | Metric::PriceInput | Metric::PriceOutput | Metric::Latency);
        let direction = object.direction.as_deref().unwrap_or_default().trim().to_ascii_lowercase();
        let descending = match direction.strip_prefix("sort_direction_").unwrap_or(&direction) {
            "" | "unspecified" => !smaller_is_better,
            "asc" | "ascending" => false,
            "desc" | "descending" => true,
            other => return Err(format!("{other:?} is no direction; allowed are asc and desc")),
        };
        Ok(SortKey { metric, descending })
    }

    fn value(&self, target: &Target, fact: &TargetFact, ranks: &Ranks) -> Option<f64> {
        match &self.metric {
            Metric::Price => Some((3.0 * fact.price_input? + fact.price_output?) / 4.0),
            Metric::PriceInput => fact.price_input,
            Metric::PriceOutput => fact.price_output,
            Metric::Latency => fact.latency.map(|latency| latency.as_secs_f64() * 1_000.0),
            Metric::Throughput => fact.throughput,
            Metric::Context => fact.context.map(|tokens| tokens as f64),
            Metric::Rank(metric) => ranks.score(metric, &target.name),
        }
    }

    fn is_live(&self) -> bool {
        matches!(self.metric, Metric::Latency | Metric::Throughput)
    }

    fn name(&self) -> String {
        let name = match &self.metric {
            Metric::Price => "price",
            Metric::PriceInput => "price_input",
            Metric::PriceOutput => "price_output",
            Metric::Latency => "latency",
            Metric::Throughput => "throughput",
            Metric::Context => "context",
            Metric::Rank(metric) => metric,
        };
        format!("{name} {}", if self.descending { "desc" } else { "asc" })
    }
}

/// How a variant's candidates are ordered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Order {
    pub(crate) sort: Vec<SortKey>,
    pub(crate) ignore: Vec<String>,
    /// Providers, first choice first.
    providers: Vec<String>,
    /// Whether only `providers` may be asked.
    only: bool,
}

impl Order {
    /// Checks what is written; `at` says where.
    pub(crate) fn check(object: &SelectionObject, at: &str, ranks: &Ranks) -> Result<Order, RouterError> {
        let sort = object
            .sort
            .iter()
            .enumerate()
            .map(|(n, key)| SortKey::read(key, ranks).map_err(|detail| RouterError::new(format!("{at}.sort[{n}]"), detail)));
        let provider = object.provider.clone().unwrap_or_default();
        Ok(Order {
            sort: sort.collect::<Result<_, _>>()?,
            ignore: object.ignore.clone(),
            only: provider.allow_fallbacks == Some(false) && !provider.order.is_empty(),
            providers: provider.order,
        })
    }

    /// In words, for the reason of a decision.
    pub(crate) fn describe(&self) -> String {
        let keys: Vec<String> = self.sort.iter().map(SortKey::name).collect();
        format!("sorted by {}", keys.join(", then "))
    }

    /// Takes out what is ignored, then sorts: preferred providers first, then by the keys; equals keep their places. `fixed` candidates
    /// at the front keep theirs, unless they lack what the request needs. `dealt` is the number of the request, to explore by.
    pub(crate) fn apply<'t>(&self, mut targets: Vec<&'t Target>, fixed: usize, dealt: u64, seen: &Seen<'_>) -> Ordered<'t> {
        let kept =
            |target: &Target| !self.ignore.iter().any(|ignored| target.is(ignored)) && (!self.only || self.provider(target).is_some());
        let fixed = targets.iter().take(fixed).filter(|target| kept(target)).count();
        targets.retain(|target| kept(target));
        if targets.len() < 2 {
            // There is no other to ask first.
            return Ordered { targets, unfit: 0 };
        }
        if !self.sort.is_empty() || !self.providers.is_empty() {
            targets = self.sorted(targets, fixed, dealt, seen);
        }
        let fits: Vec<bool> = targets.iter().map(|target| seen.lacking(target).next().is_none()).collect();
        let unfit = fits.iter().filter(|fits| !**fits).count();
        if unfit > 0 {
            let (those, others): (Vec<_>, Vec<_>) = targets.into_iter().zip(fits).partition(|(_, fits)| *fits);
            targets = those.into_iter().chain(others).map(|(target, _)| target).collect();
        }
        let before = targets.len();
        if !self.sort.is_empty() {
            targets.truncate(MOST_SORTED);
        }
        Ordered { unfit: unfit.saturating_sub(before - targets.len()), targets }
    }

    fn sorted<'t>(&self, mut targets: Vec<&'t Target>, fixed: usize, dealt: u64, seen: &Seen<'_>) -> Vec<&'t Target> {
        let mut sorted: Vec<Ranked<'t>> = targets.drain(fixed..).map(|target| self.rank(target, seen)).collect();
        sorted.sort_by(|a, b| self.compare(a, b));
        let unknown = match self.sort.first() {
            Some(key) if key.is_live() && fixed == 0 && dealt % EXPLORED == EXPLORED - 1 => {
                sorted.iter().position(|ranked| ranked.healthy && ranked.values.first().is_some_and(Option::is_none))
            }
            _ => None,
        };
        if let Some(unknown) = unknown {
            let explored = sorted.remove(unknown);
            sorted.insert(0, explored);
        }
        targets.extend(sorted.into_iter().map(|ranked| ranked.target));
        targets
    }

    /// What the keys say of a target, for a person.
    pub(crate) fn values(&self, target: &Target, seen: &Seen<'_>) -> Vec<(String, Option<f64>)> {
        let fact = seen.facts.of(&target.id);
        self.sort.iter().map(|key| (key.name(), key.value(target, &fact, seen.ranks))).collect()
    }

    fn provider(&self, target: &Target) -> Option<usize> {
        self.providers.iter().position(|provider| *provider == target.provider())
    }

    fn rank<'t>(&self, target: &'t Target, seen: &Seen<'_>) -> Ranked<'t> {
        let fact = seen.facts.of(&target.id);
        Ranked {
            healthy: fact.healthy != Some(false),
            provider: self.provider(target).unwrap_or(usize::MAX),
            values: self.sort.iter().map(|key| key.value(target, &fact, seen.ranks)).collect(),
            target,
        }
    }

    fn compare(&self, a: &Ranked<'_>, b: &Ranked<'_>) -> Ordering {
        let mut order = b.healthy.cmp(&a.healthy).then(a.provider.cmp(&b.provider));
        for (key, (a, b)) in self.sort.iter().zip(a.values.iter().zip(&b.values)) {
            order = order.then_with(|| match (a, b) {
                (Some(a), Some(b)) if key.descending => b.total_cmp(a),
                (Some(a), Some(b)) => a.total_cmp(b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => Ordering::Equal,
            });
        }
        order
    }
}

struct Ranked<'t> {
    target: &'t Target,
    healthy: bool,
    provider: usize,
    values: Vec<Option<f64>>,
}

/// Candidates in the order in which they are asked.
pub(crate) struct Ordered<'t> {
    pub(crate) targets: Vec<&'t Target>,
    /// How many at the end lack what the request needs.
    pub(crate) unfit: usize,
}

/// What a decision's reason says of those that come last because they lack something; nothing where none does.
pub(crate) fn unfit_last(targets: &[&Target], unfit: usize) -> String {
    let names: Vec<&str> = targets[targets.len() - unfit..].iter().map(|target| target.id.as_str()).collect();
    if names.is_empty() { String::new() } else { format!("; last, for lack of what the request needs: {}", names.join(", ")) }
}

/// What sorting looks at.
pub(crate) struct Seen<'a> {
    pub(crate) facts: &'a dyn TargetFacts,
    pub(crate) ranks: &'a Ranks,
    pub(crate) needs: Needs<'a>,
}

impl Seen<'_> {
    /// What the request needs and the target is known to lack.
    pub(crate) fn lacking(&self, target: &Target) -> impl Iterator<Item = Lack> {
        self.needs.lacking(self.facts.of(&target.id))
    }
}

/// What a request itself says of targets, taken out of its extra fields: an upstream would not understand it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wishes {
    /// Further targets, after those of the model asked for.
    pub(crate) models: Vec<String>,
    pub(crate) sort: Vec<SortKey>,
    pub(crate) ignore: Vec<String>,
    /// How long each target has to its first content.
    pub(crate) first_content: Option<Duration>,
}

/// The shortest time to first content that a request may set: what the peers document.
const SHORTEST_WAIT: Duration = Duration::from_millis(300);

impl Wishes {
    /// Takes `models`, `sort`, `ignore` and `fallback.ttft_timeout` out of a request.
    pub(crate) fn take(prompt: &mut Prompt, ranks: &Ranks) -> Result<Wishes, RouteError> {
        let mut taken = |field: &'static str| prompt.extra.shift_remove(field).filter(|value| !value.is_null());
        let texts = |field: &'static str, value: Option<Value>| -> Result<Vec<String>, RouteError> {
            let Some(value) = value else { return Ok(Vec::new()) };
            let wrong = || RouteError::BadField { field, detail: format!("`{field}` must be a list of names") };
            let Value::Array(items) = value else { return Err(wrong()) };
            items.into_iter().map(|item| if let Value::String(name) = item { Ok(name) } else { Err(wrong()) }).collect()
        };
        let models = texts("models", taken("models"))?;
        let ignore = texts("ignore", taken("ignore"))?;
        let mut sort = Vec::new();
        if let Some(value) = taken("sort") {
            let value = if value.is_array() { value } else { Value::Array(vec![value]) };
            let bad = |detail: String| RouteError::BadField { field: "sort", detail };
            let keys = schema::read(value, &Kind::List(&Kind::SortKey), "sort").map_err(|error| bad(error.to_string()))?;
            let keys: Vec<SortObject> = serde_json::from_value(keys).map_err(|error| bad(error.to_string()))?;
            sort = keys.iter().map(|key| SortKey::read(key, ranks).map_err(bad)).collect::<Result<_, _>>()?;
        }
        let mut first_content = None;
        if let Some(fallback) = taken("fallback") {
            let bad = |detail: String| RouteError::BadField { field: "fallback", detail };
            if let Some(text) = fallback.get("ttft_timeout").and_then(Value::as_str) {
                let wait = duration::parse(text).map_err(bad)?;
                if wait < SHORTEST_WAIT {
                    return Err(bad("`fallback.ttft_timeout` must be at least \"300ms\"".to_owned()));
                }
                first_content = Some(wait);
            }
        }
        Ok(Wishes { models, sort, ignore, first_content })
    }

    /// A variant's order with the request's wishes over it.
    pub(crate) fn over<'o>(&self, order: &'o Order) -> Cow<'o, Order> {
        if !self.reorders() {
            return Cow::Borrowed(order);
        }
        let mut merged = order.clone();
        merged.ignore.extend(self.ignore.iter().cloned());
        if !self.sort.is_empty() {
            merged.sort.clone_from(&self.sort);
        }
        Cow::Owned(merged)
    }

    /// A variant's limits with the request's wish over them.
    pub(crate) fn limits(&self, limits: Limits) -> Limits {
        Limits { first_content: self.first_content.unwrap_or(limits.first_content), ..limits }
    }

    /// Whether anything is said about order.
    pub(crate) fn reorders(&self) -> bool {
        !self.sort.is_empty() || !self.ignore.is_empty()
    }
}
