//! Whether a request may be answered from the cache, and its answer kept: what the caller, the route and the server say.

use std::time::Duration;

use models::Prompt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::duration;

/// Similarity below which no setting lets two questions share an answer: measured pairs that mean different things reach it often.
const LOWEST_THRESHOLD: f32 = 0.5;

/// How far an answer may be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheMode {
    /// Not at all.
    Off,
    /// With identical requests.
    Exact,
    /// Also with questions in other words, where every guard agrees that they ask the same.
    Semantic,
}

/// Which requests are cached where neither they nor their route say anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Implicit {
    /// None.
    Never,
    /// Those that ask for the same answer each time: `temperature` 0, or a `seed`.
    #[default]
    Deterministic,
    /// All: a caller who wants another answer to the same question has to say so.
    Always,
}

/// What a route or a request says about caching, as it is written: `{"mode": "semantic", "ttl": "10m", "threshold": 0.9}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheObject {
    /// How far the answer may be shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<CacheMode>,
    /// How long it may be used.
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// Least similarity of two questions that share an answer, 0.5 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
}

impl CacheObject {
    /// Reads `true`, `false`, a mode's name, or the object.
    pub fn read(value: &Value) -> Result<CacheObject, String> {
        let mode = |mode| CacheObject { mode: Some(mode), ..CacheObject::default() };
        let object = match value {
            Value::Null => CacheObject::default(),
            Value::Bool(true) => mode(CacheMode::Exact),
            Value::Bool(false) => mode(CacheMode::Off),
            Value::String(name) => mode(match name.as_str() {
                "off" => CacheMode::Off,
                "exact" => CacheMode::Exact,
                "semantic" => CacheMode::Semantic,
                other => return Err(format!("cache: {other:?} is not known; allowed are off, exact, semantic")),
            }),
            Value::Object(_) => serde_json::from_value(value.clone()).map_err(|error| format!("cache: {error}"))?,
            _ => return Err("cache: write true, false, \"exact\", \"semantic\" or an object with mode, ttl and threshold".to_owned()),
        };
        object.check()?;
        Ok(object)
    }

    /// Checks the numbers.
    pub fn check(&self) -> Result<(), String> {
        match self.threshold {
            Some(threshold) if !(LOWEST_THRESHOLD..=1.0).contains(&threshold) => {
                Err(format!("cache.threshold: {threshold} is out of range; it is between {LOWEST_THRESHOLD} and 1"))
            }
            _ => Ok(()),
        }
    }

    /// Both, with what `self` says going first.
    fn over(&self, other: &CacheObject) -> CacheObject {
        CacheObject { mode: self.mode.or(other.mode), ttl: self.ttl.or(other.ttl), threshold: self.threshold.or(other.threshold) }
    }
}

/// What one request says about caching.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheControl {
    /// Its `cache` field.
    pub object: CacheObject,
    /// `no-store`: nothing is kept, and nothing kept is used.
    pub no_store: bool,
    /// `no-cache`: a fresh answer, which is kept.
    pub no_cache: bool,
    /// `max-age`: an answer at most this old.
    pub max_age: Option<Duration>,
}

impl CacheControl {
    /// Takes the `cache` field out of a request's other fields (no upstream knows it) and reads it, with the `cache-control` header
    /// (RFC 9111 section 5.2.1) beside it.
    pub fn take(extra: &mut Map<String, Value>, header: Option<&str>) -> Result<CacheControl, String> {
        let object = extra.shift_remove("cache").map(|value| CacheObject::read(&value)).transpose()?.unwrap_or_default();
        let mut control = CacheControl { object, ..CacheControl::default() };
        for directive in header.unwrap_or_default().split(',').map(|directive| directive.trim().to_ascii_lowercase()) {
            match directive.as_str() {
                "no-store" => control.no_store = true,
                "no-cache" => control.no_cache = true,
                // Others are for caches on the way, or not for requests.
                other => {
                    let age = other.strip_prefix("max-age=").and_then(|seconds| seconds.parse().ok());
                    control.max_age = age.map(Duration::from_secs).or(control.max_age);
                }
            }
        }
        Ok(control)
    }
}

/// What is to be done for a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    /// Answers older than this are not used; `None`: the cache is not read.
    pub read: Option<Duration>,
    /// How long the answer may be kept.
    pub ttl: Duration,
    /// Least similarity, where a question in other words may share an answer.
    pub threshold: Option<f32>,
}

/// What the server says where nobody else does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Defaults {
    pub implicit: Implicit,
    pub ttl: Duration,
    pub threshold: f32,
}

impl Plan {
    /// `None`: the cache has no part in this request.
    pub(super) fn of(control: &CacheControl, route: &CacheObject, defaults: Defaults, prompt: &Prompt) -> Option<Plan> {
        let said = control.object.over(route);
        let mode = said.mode.unwrap_or(if defaults.covers(prompt) { CacheMode::Exact } else { CacheMode::Off });
        // Several answers at once are not one answer.
        let several = prompt.extra.get("n").and_then(Value::as_u64).is_some_and(|n| n > 1);
        let ttl = said.ttl.unwrap_or(defaults.ttl);
        if mode == CacheMode::Off || control.no_store || several || ttl.is_zero() {
            return None;
        }
        let age = control.max_age.unwrap_or(ttl).min(ttl);
        let threshold = (mode == CacheMode::Semantic).then(|| said.threshold.unwrap_or(defaults.threshold));
        Some(Plan { read: (!control.no_cache).then_some(age), ttl, threshold })
    }
}

impl Defaults {
    fn covers(&self, prompt: &Prompt) -> bool {
        // What is found on the web today is not what was found yesterday.
        let live = prompt.extra.get("web_search").or_else(|| prompt.extra.get("web_search_options"));
        let live = live.is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)));
        let deterministic = prompt.sampling.temperature == Some(0.0) || prompt.sampling.seed.is_some();
        match self.implicit {
            Implicit::Never => false,
            Implicit::Deterministic => deterministic && !live,
            Implicit::Always => !live,
        }
    }
}

#[cfg(test)]
mod tests {
    use models::Sampling;
    use serde_json::json;

    use super::*;

    const DEFAULTS: Defaults = Defaults { implicit: Implicit::Deterministic, ttl: Duration::from_secs(60), threshold: 0.8 };

    fn plan(request: Value, header: &str, route: CacheObject, defaults: Defaults) -> Option<Plan> {
        let Value::Object(mut extra) = request else { panic!("an object") };
        let control = CacheControl::take(&mut extra, Some(header)).expect("it is allowed");
        assert!(!extra.contains_key("cache"));
        let temperature = extra.shift_remove("temperature").and_then(|t| t.as_f64()).map(|t| t as f32);
        let prompt = Prompt { sampling: Sampling { temperature, ..Sampling::default() }, extra, ..Prompt::default() };
        Plan::of(&control, &route, defaults, &prompt)
    }

    #[test]
    fn request_goes_over_route_goes_over_server() {
        let at = |seconds| Some(Duration::from_secs(seconds));
        let route = |mode| CacheObject { mode: Some(mode), ttl: at(30), threshold: None };
        let (none, exact, semantic) = (CacheObject::default(), route(CacheMode::Exact), route(CacheMode::Semantic));
        // What is read, how long it is kept, from which similarity.
        for (request, header, route, expected) in [
            (json!({}), "", &none, None),
            (json!({"temperature": 1.0}), "", &none, None),
            (json!({"temperature": 0.0}), "", &none, Some((at(60), 60, None))),
            (json!({"temperature": 0.0, "web_search": true}), "", &none, None),
            (json!({"temperature": 0.0, "n": 2}), "", &none, None),
            (json!({"temperature": 0.0}), "no-store", &none, None),
            (json!({"temperature": 0.0}), "max-age=5, no-cache", &none, Some((None, 60, None))),
            (json!({"temperature": 0.0}), "Max-Age=5", &none, Some((at(5), 60, None))),
            (json!({"temperature": 0.0}), "max-age=500", &none, Some((at(60), 60, None))),
            (json!({"cache": false, "temperature": 0.0}), "", &exact, None),
            (json!({"cache": true}), "", &none, Some((at(60), 60, None))),
            (json!({"cache": {"ttl": "5s"}}), "", &exact, Some((at(5), 5, None))),
            (json!({"cache": {"ttl": "0s"}}), "", &exact, None),
            (json!({}), "", &semantic, Some((at(30), 30, Some(0.8)))),
            (json!({"cache": "exact"}), "", &semantic, Some((at(30), 30, None))),
            (json!({"cache": {"mode": "semantic", "threshold": 0.9}}), "", &none, Some((at(60), 60, Some(0.9)))),
        ] {
            let shown = format!("{request} {header}");
            let plan = plan(request, header, route.clone(), DEFAULTS).map(|plan| (plan.read, plan.ttl.as_secs(), plan.threshold));
            assert_eq!(plan, expected, "{shown}");
        }
        let always = Defaults { implicit: Implicit::Always, ..DEFAULTS };
        assert!(plan(json!({"temperature": 1.0}), "", none.clone(), always).is_some());
        assert!(plan(json!({"temperature": 0.0}), "", none, Defaults { implicit: Implicit::Never, ..DEFAULTS }).is_none());
    }

    #[test]
    fn what_is_not_allowed_says_what_is() {
        for value in
            [json!(1), json!("always"), json!({"mode": "fuzzy"}), json!({"ttl": "soon"}), json!({"threshold": 0.1}), json!({"x": 1})]
        {
            assert!(CacheObject::read(&value).is_err(), "{value}");
        }
    }
}
