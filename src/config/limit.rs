//! `[limits]`: what each key and each user may use.

use std::time::Duration;

use router::Cost;
use router::limit::{Concurrency, KeyId, Limit, Meter, Policy, Window};
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `[limits]`; whatever is absent is not limited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Each key; where no key is needed, all callers together.
    pub key: Allowance,
    /// Each user of a key, as the request's `user` names them.
    pub user: Allowance,
    /// Keys with an allowance of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyAllowance>,
}

/// `[[limits.keys]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAllowance {
    /// One of `auth.keys`.
    pub key: String,
    /// What it may use, instead of what `limits.key` says.
    pub allowance: Allowance,
}

/// `[limits.key]`, `[limits.user]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allowance {
    /// Requests in any 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// Requests in any hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_hour: Option<u64>,
    /// Requests in any day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u64>,
    /// Tokens, read and written, in any 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Tokens in any hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_hour: Option<u64>,
    /// Tokens in any day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// US dollars in any 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_minute: Option<f64>,
    /// US dollars in any hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_hour: Option<f64>,
    /// US dollars in any day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_day: Option<f64>,
    /// Requests at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<usize>,
    /// Requests that may wait where as many run at once as may.
    pub queue: usize,
    /// How long one waits before it is refused.
    #[serde(with = "router::duration")]
    pub wait: Duration,
}

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance {
            requests_per_minute: None,
            requests_per_hour: None,
            requests_per_day: None,
            tokens_per_minute: None,
            tokens_per_hour: None,
            tokens_per_day: None,
            usd_per_minute: None,
            usd_per_hour: None,
            usd_per_day: None,
            concurrent: None,
            // A burst passes; a client that asks without end is told soon.
            queue: 32,
            wait: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Checks everything; `keys` are those of `[auth]`.
    pub(super) fn check(&self, keys: &[String]) -> Result<Policy, ConfigError> {
        let mut policy = Policy { key: self.key.check("limits.key")?, user: self.user.check("limits.user")?, ..Policy::default() };
        for (n, KeyAllowance { key, allowance }) in self.keys.iter().enumerate() {
            let at = format!("limits.keys[{n}]");
            if !keys.contains(key) {
                return Err(ConfigError::new(format!("{at}.key: it is not one of auth.keys; write it there as well")));
            }
            if policy.keys.insert(KeyId::of(key), allowance.check(&format!("{at}.allowance"))?).is_some() {
                return Err(ConfigError::new(format!("{at}.key: another entry has the same key; join the two")));
            }
        }
        Ok(policy)
    }
}

impl Allowance {
    fn check(&self, at: &str) -> Result<router::limit::Allowance, ConfigError> {
        let mut limits = Vec::new();
        for (name, meter, window, most) in [
            ("requests_per_minute", Meter::Requests, Window::Minute, self.requests_per_minute),
            ("requests_per_hour", Meter::Requests, Window::Hour, self.requests_per_hour),
            ("requests_per_day", Meter::Requests, Window::Day, self.requests_per_day),
            ("tokens_per_minute", Meter::Tokens, Window::Minute, self.tokens_per_minute),
            ("tokens_per_hour", Meter::Tokens, Window::Hour, self.tokens_per_hour),
            ("tokens_per_day", Meter::Tokens, Window::Day, self.tokens_per_day),
            ("usd_per_minute", Meter::Money, Window::Minute, usd(at, "usd_per_minute", self.usd_per_minute)?),
            ("usd_per_hour", Meter::Money, Window::Hour, usd(at, "usd_per_hour", self.usd_per_hour)?),
            ("usd_per_day", Meter::Money, Window::Day, usd(at, "usd_per_day", self.usd_per_day)?),
        ] {
            match most {
                Some(0) => return Err(ConfigError::new(format!("{at}.{name}: 0 lets nothing in; leave it out for no limit"))),
                Some(most) => limits.push(Limit { meter, window, most }),
                None => {}
            }
        }
        if self.concurrent == Some(0) {
            return Err(ConfigError::new(format!("{at}.concurrent: 0 lets nothing in; leave it out for no limit")));
        }
        let concurrency = self.concurrent.map(|at_once| Concurrency { at_once, queue: self.queue, wait: self.wait });
        Ok(router::limit::Allowance { limits, concurrency })
    }
}

/// In nano-USD.
fn usd(at: &str, name: &str, amount: Option<f64>) -> Result<Option<u64>, ConfigError> {
    let Some(amount) = amount else { return Ok(None) };
    match Cost::from_usd(amount) {
        Some(cost) => Ok(Some(cost.nano_usd())),
        None => Err(ConfigError::new(format!("{at}.{name}: {amount} is no amount; write US dollars, above 0 and at most 1000000"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Policy, ConfigError> {
        let limits: Limits = toml::from_str(text).map_err(|error| ConfigError::new(error.to_string()))?;
        limits.check(&["sk-one".to_owned(), "sk-two".to_owned()])
    }

    #[test]
    fn limits_are_read_in_their_units() {
        let text = r#"
            key = { requests_per_minute = 60, usd_per_day = 2.5, concurrent = 4, wait = "2s" }
            user = { tokens_per_hour = 100000 }
            keys = [{ key = "sk-two", allowance = { concurrent = 1, queue = 0 } }]
        "#;
        let policy = checked(text).expect("they are valid");
        assert_eq!(policy.key.limits.iter().map(ToString::to_string).collect::<Vec<_>>(), ["60 requests per minute", "$2.50 per day"]);
        assert_eq!(policy.key.concurrency, Some(Concurrency { at_once: 4, queue: 32, wait: Duration::from_secs(2) }));
        assert_eq!(policy.user.limits[0].to_string(), "100000 tokens per hour");
        assert_eq!(policy.keys[&KeyId::of("sk-two")].concurrency.map(|own| (own.at_once, own.queue)), Some((1, 0)));
        assert!(checked("").expect("nothing is limited").is_free());
    }

    #[test]
    fn a_limit_that_cannot_be_says_where() {
        for (text, expected) in [
            ("key = { requests_per_day = 0 }", "limits.key.requests_per_day: 0"),
            ("user = { concurrent = 0 }", "limits.user.concurrent: 0"),
            ("user = { usd_per_day = -1.0 }", "limits.user.usd_per_day: -1"),
            ("key = { request_per_day = 1 }", "requests_per_day"),
            ("keys = [{ key = \"sk-three\", allowance = {} }]", "limits.keys[0].key: it is not one of auth.keys"),
            ("keys = [{ key = \"sk-one\", allowance = {} }, { key = \"sk-one\", allowance = {} }]", "limits.keys[1].key: another"),
        ] {
            let error = checked(text).expect_err(text).to_string();
            assert!(error.contains(expected) && !error.contains("sk-three"), "{text}: {error}");
        }
    }
}
