//! What one key or one user may use: so much in a minute, an hour or a day, and so many requests at once.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::{Cost, duration, hash};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meter {
    /// Requests.
    Requests,
    /// Tokens, read and written.
    Tokens,
    /// Money, nano-USD.
    Money,
}

/// Over how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// 60 s.
    Minute,
    /// 60 min.
    Hour,
    /// 24 h; days begin at midnight UTC.
    Day,
}

impl Window {
    /// Its length.
    pub const fn length(self) -> Duration {
        match self {
            Window::Minute => Duration::from_secs(60),
            Window::Hour => Duration::from_secs(3_600),
            Window::Day => Duration::from_secs(86_400),
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Window::Minute => "minute",
            Window::Hour => "hour",
            Window::Day => "day",
        }
    }
}

/// The most of one thing in one stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// What is counted.
    pub meter: Meter,
    /// Over how long.
    pub window: Window,
    /// The most: requests, tokens, or nano-USD.
    pub most: u64,
}

impl fmt::Display for Limit {
    /// `60 requests per minute`, `$5.00 per day`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.meter {
            Meter::Requests => write!(f, "{} requests", self.most)?,
            Meter::Tokens => write!(f, "{} tokens", self.most)?,
            Meter::Money => write!(f, "{}", Cost::from_nano_usd(self.most))?,
        }
        write!(f, " per {}", self.window.name())
    }
}

/// Requests at once, and those that may wait for one to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Most at once.
    pub at_once: usize,
    /// Most that wait; one more is refused at once.
    pub queue: usize,
    /// How long one waits before it is refused.
    pub wait: Duration,
}

/// What one key or one user may use. Nothing in it: as much as they like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Each holds by itself.
    pub limits: Vec<Limit>,
    /// At once.
    pub concurrency: Option<Concurrency>,
}

impl Allowance {
    /// Whether nothing is limited.
    pub fn is_free(&self) -> bool {
        self.limits.is_empty() && self.concurrency.is_none()
    }
}

/// What everybody may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Each key that has no allowance of its own; also all who call without one, together.
    pub key: Allowance,
    /// Keys with an allowance of their own.
    pub keys: HashMap<KeyId, Allowance>,
    /// Each user of each key, as named by the request's `user`.
    pub user: Allowance,
}

impl Policy {
    /// Whether nothing is limited.
    pub fn is_free(&self) -> bool {
        self.key.is_free() && self.user.is_free() && self.keys.values().all(Allowance::is_free)
    }

    pub(crate) fn of_key(&self, key: KeyId) -> &Allowance {
        self.keys.get(&key).unwrap_or(&self.key)
    }
}

/// Which key a caller has: the same number on every node, and no way back to the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(u64);

impl KeyId {
    /// Those who call without a key, where none is needed.
    pub const ANYBODY: KeyId = KeyId(0);

    /// Of a key that was found to be valid.
    pub fn of(key: &str) -> KeyId {
        KeyId(hash::stable(&["key", key]))
    }
}

impl fmt::Display for KeyId {
    /// For records: it tells keys apart, and nobody what they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key_{:016x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyId(***)")
    }
}

/// Whose allowance it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A key's.
    Key(KeyId),
    /// A user's of that key.
    User(KeyId, UserId),
}

/// Which user of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserId(u64);

impl UserId {
    /// As the request names them.
    pub fn of(user: &str) -> UserId {
        UserId(hash::stable(&["user", user]))
    }
}

/// What a request uses: a guess before, the truth after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Requests: 1, or 0 of what was counted already.
    pub requests: u64,
    /// Tokens, read and written.
    pub tokens: u64,
    /// Money.
    pub cost: Cost,
}

impl Use {
    /// One request, of nothing yet.
    pub const REQUEST: Use = Use { requests: 1, tokens: 0, cost: Cost::ZERO };

    pub(crate) fn of(&self, meter: Meter) -> u64 {
        match meter {
            Meter::Requests => self.requests,
            Meter::Tokens => self.tokens,
            Meter::Money => self.cost.nano_usd(),
        }
    }
}

/// How much of a limit is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The most.
    pub most: u64,
    /// What is left now.
    pub left: u64,
    /// Until all of it is there again, if nothing more is used.
    pub reset: Duration,
}

/// The limits that a caller is nearest to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standings {
    /// Of requests.
    pub requests: Option<Standing>,
    /// Of tokens.
    pub tokens: Option<Standing>,
}

impl Standings {
    pub(crate) fn add(&mut self, meter: Meter, standing: Standing) {
        let nearest = match meter {
            Meter::Requests => &mut self.requests,
            Meter::Tokens => &mut self.tokens,
            // No client knows a header for it.
            Meter::Money => return,
        };
        let nearer = |known: Standing| (standing.left, standing.most) < (known.left, known.most);
        if nearest.is_none_or(nearer) {
            *nearest = Some(standing);
        }
    }

    /// OpenAI's headers, `x-ratelimit-limit-requests` and so on, with their values.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let requests = ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
        let tokens = ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];
        [(requests, self.requests), (tokens, self.tokens)].into_iter().filter_map(|(names, standing)| Some((names, standing?))).flat_map(
            |(names, standing)| names.into_iter().zip([standing.most.to_string(), standing.left.to_string(), clock(standing.reset)]),
        )
    }
}

/// A duration as OpenAI writes it in headers, which is as Go does: `20ms`, `1.5s`, `6m0s`, `1h0m12s`.
fn clock(duration: Duration) -> String {
    let ms = duration.as_nanos().div_ceil(1_000_000);
    if ms == 0 {
        return "0s".to_owned();
    }
    if ms < 1_000 {
        return format!("{ms}ms");
    }
    let (hours, minutes, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
    let mut seconds = format!("{}.{:03}", ms / 1_000, ms % 1_000);
    seconds.truncate(seconds.trim_end_matches('0').trim_end_matches('.').len());
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Why a request is not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whose allowance is used up.
    pub subject: Subject,
    /// What of it.
    pub reason: Reason,
    /// When another try can succeed; `None` where this request never can.
    pub retry_after: Option<Duration>,
    /// How the caller stands.
    pub standings: Box<Standings>,
}

/// What of an allowance is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A limit over time.
    Limit(Limit),
    /// This request alone asks for more than the limit.
    TooLarge {
        /// The limit.
        limit: Limit,
        /// What the request was taken to need, in the limit's unit.
        needs: u64,
    },
    /// As many run at once as may, and as many wait.
    QueueFull(Concurrency),
    /// None of those that run ended while this one waited.
    Waited(Concurrency),
}

impl Refusal {
    /// A short name for programs, as `code` in OpenAI's errors.
    pub fn code(&self) -> &'static str {
        match self.reason {
            Reason::Limit(Limit { meter: Meter::Money, .. }) | Reason::TooLarge { limit: Limit { meter: Meter::Money, .. }, .. } => {
                "insufficient_quota"
            }
            Reason::Limit(_) | Reason::TooLarge { .. } | Reason::QueueFull(_) | Reason::Waited(_) => "rate_limit_exceeded",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.subject {
            Subject::Key(_) => "this key",
            Subject::User(..) => "this user",
        };
        match self.reason {
            Reason::Limit(limit) => write!(f, "The limit of {whose} is reached: {limit}.")?,
            Reason::TooLarge { limit, needs } => {
                let needs = match limit.meter {
                    Meter::Requests => format!("{needs} requests"),
                    Meter::Tokens => format!("{needs} tokens"),
                    Meter::Money => Cost::from_nano_usd(needs).to_string(),
                };
                write!(
                    f,
                    "The request may need {needs}, more than {whose} is ever allowed ({limit}); shorten it, or ask for fewer max_tokens."
                )?;
            }
            Reason::QueueFull(Concurrency { at_once, queue, .. }) => {
                write!(f, "{at_once} requests of {whose} run at once and {queue} wait, which is as many as may.")?;
            }
            Reason::Waited(Concurrency { at_once, wait, .. }) => {
                write!(
                    f,
                    "{at_once} requests of {whose} run at once, which is as many as may, and none ended within {}.",
                    duration::format(wait)
                )?;
            }
        }
        match self.retry_after {
            Some(wait) => write!(f, " Try again in {}.", clock(wait)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_in_openais_headers() {
        for (us, text) in [
            (0, "0s"),
            (1, "1ms"),
            (20_000, "20ms"),
            (999_001, "1s"),
            (8_640_000, "8.64s"),
            (60_000_000, "1m0s"),
            (72_345_000, "1m12.345s"),
            (3_612_000_000, "1h0m12s"),
            (86_400_000_000, "24h0m0s"),
        ] {
            assert_eq!(clock(Duration::from_micros(us)), text);
        }
    }

    #[test]
    fn limits_and_refusals_are_said_in_words() {
        let limit = Limit { meter: Meter::Money, window: Window::Day, most: 5_000_000_000 };
        let refusal =
            |reason, retry_after| Refusal { subject: Subject::Key(KeyId::ANYBODY), reason, retry_after, standings: Box::default() };
        let concurrency = Concurrency { at_once: 2, queue: 3, wait: Duration::from_secs(2) };
        for (refusal, code, text) in [
            (
                refusal(Reason::Limit(limit), Some(Duration::from_millis(1_500))),
                "insufficient_quota",
                "The limit of this key is reached: $5.00 per day. Try again in 1.5s.",
            ),
            (
                refusal(Reason::TooLarge { limit: Limit { meter: Meter::Tokens, window: Window::Minute, most: 100 }, needs: 200 }, None),
                "rate_limit_exceeded",
                "The request may need 200 tokens, more than this key is ever allowed (100 tokens per minute); shorten it, or ask for fewer max_tokens.",
            ),
            (
                refusal(Reason::Waited(concurrency), Some(Duration::from_secs(1))),
                "rate_limit_exceeded",
                "2 requests of this key run at once, which is as many as may, and none ended within 2s. Try again in 1s.",
            ),
        ] {
            assert_eq!((refusal.code(), refusal.to_string().as_str()), (code, text));
        }
        assert!(!format!("{:?}", KeyId::of("sk-secret")).contains("secret"));
    }

    #[test]
    fn headers_tell_of_the_nearest_limit() {
        let mut standings = Standings::default();
        for (most, left) in [(100, 40), (1_000, 12), (60, 59)] {
            standings.add(Meter::Requests, Standing { most, left, reset: Duration::from_secs(1) });
        }
        standings.add(Meter::Money, Standing { most: 1, left: 0, reset: Duration::ZERO });
        let headers: Vec<String> = standings.headers().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(headers, ["x-ratelimit-limit-requests: 1000", "x-ratelimit-remaining-requests: 12", "x-ratelimit-reset-requests: 1s"]);
    }
}
