//! What can go wrong between us and a model, and whether another try may help.

use std::fmt;
use std::time::Duration;

/// Why a model did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No answer within the deadline.
    Timeout,
    /// Too much asked of it at once (HTTP 429, a full queue).
    Overloaded,
    /// It failed on its own account (HTTP 5xx, an engine that could not run).
    Failed,
    /// It will not do this (content filter, HTTP 403).
    Refused,
    /// Our key is missing or wrong (HTTP 401).
    Unauthorized,
    /// The request itself is wrong, for every target alike (HTTP 400, 404, 422).
    BadRequest,
    /// It answered in a shape that its dialect does not allow.
    Protocol,
    /// It could not be reached, or the connection closed before the end.
    Closed,
}

/// A model's failure: whose, what, and the words to show.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// Engine or provider, `name/model` where a model is known.
    pub target: String,
    /// For a person: what happened and what to do. Never a secret.
    pub detail: String,
    /// HTTP status of an upstream, where there was one.
    pub status: Option<u16>,
    /// How long the upstream asked us to wait.
    pub retry_after: Option<Duration>,
}

impl ModelError {
    /// An error with no HTTP facts.
    pub fn new(kind: ErrorKind, target: impl Into<String>, detail: impl Into<String>) -> ModelError {
        ModelError { kind, target: target.into(), detail: detail.into(), status: None, retry_after: None }
    }

    /// Whether the same request may succeed elsewhere or later.
    pub fn retryable(&self) -> bool {
        match self.kind {
            ErrorKind::Timeout | ErrorKind::Overloaded | ErrorKind::Failed | ErrorKind::Protocol | ErrorKind::Closed => true,
            // A wrong key is one provider's trouble; another provider has another key.
            ErrorKind::Unauthorized => true,
            ErrorKind::Refused | ErrorKind::BadRequest => false,
        }
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.target, self.detail)
    }
}

impl std::error::Error for ModelError {}
