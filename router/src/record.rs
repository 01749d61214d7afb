//! What is left of a request when it is over: one structured record.
//!
//! It says who asked for what in which dialect, which rule chose and why, every attempt with its cost, and how long it took. It holds no
//! secret, and no words of a message unless [`Record::texts`] is filled in on purpose.

use std::time::Duration;

use models::{ErrorKind, Finish, ModelError, Service, Usage};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::{Attempt, CacheStatus, Decision, Outcome, Shadowed};

/// One request, or one response of a call, from its arrival to its last byte. Durations are written in milliseconds, costs in billionths of
/// a US dollar.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Record {
    /// The request's id, as in `x-request-id`.
    pub id: String,
    /// When it came, milliseconds since 1970.
    #[serde(rename = "time_ms")]
    pub time: u64,
    /// An id of the caller's key, from which the key cannot be found; `None` where no key is needed.
    pub key: Option<String>,
    /// `user` of the request.
    pub user: Option<String>,
    /// The caller's dialect: `chat`, `responses`, `messages`, `realtime`, ...; `shadow` of a request that was mirrored, `mcp` of a tool that
    /// a response of a call called.
    pub dialect: &'static str,
    /// The path that was called.
    pub endpoint: String,
    /// The model, as it was asked for; of a tool `server/tool`.
    pub model: String,
    /// The router that decided; `None` where the request named its target.
    pub router: Option<String>,
    /// The version of that router: 0 for one of the configuration.
    pub version: Option<u64>,
    /// The route chosen.
    pub route: Option<String>,
    /// The variant chosen.
    pub variant: Option<String>,
    /// Which rule matched.
    pub reason: Option<String>,
    /// Every try at a target, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// Tokens of the answer, as the caller was told them.
    #[serde(serialize_with = "usage")]
    pub usage: Option<Usage>,
    /// What all attempts cost together.
    pub cost_nano_usd: Option<u64>,
    /// Whether any of that was estimated, because the provider did not say.
    pub estimated: bool,
    /// What the cache had to do with it: `off`, `miss`, `exact`, `shared`, `semantic`.
    pub cache: &'static str,
    /// HTTP status of the answer's head; what goes wrong in a stream after that is in `error`.
    pub status: u16,
    /// The code of the error that the caller was told.
    pub error: Option<String>,
    /// Whether it was streamed.
    pub stream: bool,
    /// Why the answer ended.
    #[serde(serialize_with = "finish")]
    pub finish: Option<Finish>,
    /// From its arrival to the first content that the caller could see.
    #[serde(rename = "first_content_ms", serialize_with = "milliseconds")]
    pub first_content: Option<Duration>,
    /// From its arrival (in a call: from the end of what the caller said) to the transcript, where somebody was heard.
    #[serde(rename = "transcript_ms", serialize_with = "milliseconds", skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Duration>,
    /// From the same to the first sound, where the answer was spoken.
    #[serde(rename = "first_audio_ms", serialize_with = "milliseconds", skip_serializing_if = "Option::is_none")]
    pub first_audio: Option<Duration>,
    /// From its arrival to the last byte.
    #[serde(rename = "total_ms", serialize_with = "milliseconds")]
    pub total: Option<Duration>,
    /// What became of an answer that was begun in a pause, before the caller's turn was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepared: Option<Preparation>,
    /// Names of the signals that were measured; not what they said.
    pub signals: Vec<&'static str>,
    /// What was said, only where the configuration asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub texts: Option<Texts>,
}

/// What became of an answer that was begun before anybody asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preparation {
    /// It was asked for.
    Taken {
        /// So long after it was begun, milliseconds.
        ahead_ms: u64,
    },
    /// It was not, and nobody heard it.
    ThrownAway,
}

/// What was said in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Texts {
    /// The words of the last message.
    pub prompt: String,
    /// The words of the answer.
    pub answer: String,
}

/// One try at one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// `provider/model`.
    pub target: String,
    /// What it was asked to do: `answer`, `search`, `transcription`, `speech`, `embedding`.
    pub work: &'static str,
    /// `answered`, `failed`, `outrun`, `cancelled` or `running`.
    pub outcome: &'static str,
    /// HTTP status of the upstream, where it refused.
    pub status: Option<u16>,
    /// What kind of failure. The provider's own words are left out: some repeat the prompt, or part of a key.
    pub error: Option<&'static str>,
    /// From the start of the try to its first content.
    #[serde(rename = "first_content_ms", serialize_with = "milliseconds")]
    pub first_content: Option<Duration>,
    /// How long it took.
    #[serde(rename = "total_ms", serialize_with = "milliseconds")]
    pub total: Option<Duration>,
    /// Tokens that its provider counted, or that were estimated.
    #[serde(serialize_with = "usage")]
    pub usage: Option<Usage>,
    /// What it cost.
    pub cost_nano_usd: Option<u64>,
    /// Whether tokens or cost were estimated.
    pub estimated: bool,
}

impl Record {
    /// Fills in who was chosen, and why.
    pub fn decided(&mut self, decision: &Decision) {
        self.router = decision.router.clone();
        self.version = decision.version;
        self.route = Some(decision.route.clone());
        self.variant = decision.variant.clone();
        self.reason = Some(decision.reason.clone());
    }

    /// Fills in who was tried, and what all of that cost.
    pub fn tried(&mut self, attempts: &[Attempt]) {
        self.attempts = attempts.iter().map(AttemptRecord::from).collect();
        self.cost_nano_usd = self.attempts.iter().filter_map(|attempt| attempt.cost_nano_usd).reduce(u64::saturating_add);
        self.estimated = self.attempts.iter().any(|attempt| attempt.estimated);
    }

    /// Fills in what the cache did. An answer from the cache costs nothing.
    pub fn cached(&mut self, status: CacheStatus) {
        self.cache = status.hit().unwrap_or(status.name());
        if status.hit().is_some() {
            self.cost_nano_usd = Some(0);
            self.estimated = false;
        }
    }
}

impl From<Shadowed> for Record {
    /// A record of its own, under the id of the request that was mirrored; its dialect is `shadow`.
    fn from(shadowed: Shadowed) -> Record {
        let Shadowed { id, time, decision, target, answer, attempts, total } = shadowed;
        let mut record = Record { id, time, dialect: "shadow", model: target, cache: "off", total: Some(total), ..Record::default() };
        record.decided(&decision);
        record.tried(&attempts);
        record.first_content = attempts.last().and_then(|attempt| attempt.first_token);
        match answer {
            Ok(completion) => (record.status, record.usage, record.finish) = (200, completion.usage, completion.finish),
            Err(error) => (record.status, record.error) = (error.status(), Some(error.code().to_owned())),
        }
        record
    }
}

impl From<&Attempt> for AttemptRecord {
    fn from(attempt: &Attempt) -> AttemptRecord {
        let (outcome, error): (_, Option<&ModelError>) = match &attempt.outcome {
            Outcome::Running => ("running", None),
            Outcome::Answered(_) => ("answered", None),
            Outcome::Failed(error) => ("failed", Some(error)),
            Outcome::Outrun => ("outrun", None),
            Outcome::Cancelled => ("cancelled", None),
        };
        AttemptRecord {
            target: attempt.target.clone(),
            work: attempt.work.name(),
            outcome,
            status: attempt.status,
            error: error.map(|error| name(error.kind)),
            first_content: attempt.first_token,
            total: Some(attempt.total),
            usage: attempt.usage.map(|counted| counted.usage()),
            cost_nano_usd: attempt.cost.map(|priced| priced.cost.nano_usd()),
            estimated: attempt.is_estimated(),
        }
    }
}

fn name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Timeout => "timeout",
        ErrorKind::Overloaded => "overloaded",
        ErrorKind::Failed => "failed",
        ErrorKind::Refused => "refused",
        ErrorKind::Unauthorized => "unauthorized",
        ErrorKind::BadRequest => "bad_request",
        ErrorKind::Protocol => "protocol",
        ErrorKind::Closed => "closed",
    }
}

fn milliseconds<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => to.serialize_f64(duration.as_micros() as f64 / 1_000.0),
        None => to.serialize_none(),
    }
}

fn finish<S: Serializer>(finish: &Option<Finish>, to: S) -> Result<S::Ok, S::Error> {
    finish.map(Finish::name).serialize(to)
}

fn usage<S: Serializer>(usage: &Option<Usage>, to: S) -> Result<S::Ok, S::Error> {
    let Some(usage) = usage else { return to.serialize_none() };
    let mut map = to.serialize_map(None)?;
    for (name, count) in counts(usage) {
        if count > 0 {
            map.serialize_entry(name, &count)?;
        }
    }
    if usage.service != Service::Standard {
        map.serialize_entry("service", usage.service.name())?;
    }
    map.end()
}

/// The counts of a usage by their names.
pub fn counts(usage: &Usage) -> [(&'static str, u64); 9] {
    let Usage { input_tokens, cached_tokens, cache_write_tokens, cache_write_hour_tokens, .. } = *usage;
    let Usage { audio_input_tokens, output_tokens, reasoning_tokens, audio_output_tokens, searches, .. } = *usage;
    [
        ("input_tokens", input_tokens),
        ("cached_tokens", cached_tokens),
        ("cache_write_tokens", cache_write_tokens),
        ("cache_write_hour_tokens", cache_write_hour_tokens),
        ("audio_input_tokens", audio_input_tokens),
        ("output_tokens", output_tokens),
        ("reasoning_tokens", reasoning_tokens),
        ("audio_output_tokens", audio_output_tokens),
        ("searches", searches),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_record_is_one_object_without_words_or_secrets() {
        let failed = ModelError { status: Some(401), ..ModelError::new(ErrorKind::Unauthorized, "up/big", "wrong key sk-123 for: hello") };
        let attempt =
            Attempt { outcome: Outcome::Failed(failed), status: Some(401), total: Duration::from_micros(12_345), ..Attempt::new("up/big") };
        let decision = Decision {
            router: Some("support".into()),
            version: Some(3),
            route: "sad".into(),
            variant: Some("v1".into()),
            reason: "emotion == \"sad\"".into(),
            targets: vec!["up/big".into()],
            ..Decision::default()
        };
        let mut record = Record {
            id: "req_1".into(),
            dialect: "chat",
            attempts: vec![AttemptRecord::from(&attempt)],
            usage: Some(Usage { input_tokens: 3, ..Usage::default() }),
            cost_nano_usd: Some(7),
            finish: Some(Finish::Stop),
            first_content: Some(Duration::from_millis(2)),
            signals: vec!["emotion"],
            ..Record::default()
        };
        record.decided(&decision);
        record.cached(CacheStatus::Exact);
        let written = serde_json::to_value(&record).expect("it can be written");
        let said = |pointer: &str| written.pointer(pointer).cloned().unwrap_or(Value::Null);
        for (pointer, expected) in [
            ("/router", json!("support")),
            ("/version", json!(3)),
            ("/reason", json!("emotion == \"sad\"")),
            ("/attempts/0/error", json!("unauthorized")),
            ("/attempts/0/status", json!(401)),
            ("/attempts/0/total_ms", json!(12.345)),
            ("/usage", json!({"input_tokens": 3})),
            ("/cost_nano_usd", json!(0)),
            ("/cache", json!("exact")),
            ("/finish", json!("stop")),
            ("/first_content_ms", json!(2.0)),
            ("/signals", json!(["emotion"])),
            ("/texts", Value::Null),
        ] {
            assert_eq!(said(pointer), expected, "{pointer}");
        }
        let line = written.to_string();
        assert!(!line.contains("sk-123") && !line.contains("hello") && !line.contains('\n'), "{line}");
    }
}
