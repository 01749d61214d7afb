//! What can go wrong, whose fault it is, and what a caller may do about it.

use std::fmt;
use std::time::Duration;

use models::{ErrorKind, ModelError};

use crate::{Attempt, Outcome};

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub struct RouterError {
    /// Where in the configuration, `router.support.routes[0]`.
    pub at: String,
    /// What is wrong and what is allowed.
    pub detail: String,
}

impl RouterError {
    pub(crate) fn new(at: impl Into<String>, detail: impl Into<String>) -> RouterError {
        RouterError { at: at.into(), detail: detail.into() }
    }
}

impl fmt::Display for RouterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.detail)
    }
}

impl std::error::Error for RouterError {}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request must change.
    Caller,
    /// The server's configuration must change.
    Server,
    /// A model or its provider failed; another try may help.
    Upstream,
}

/// Why a request got no answer, or not all of it.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteError {
    /// No such model, router or provider.
    UnknownModel {
        /// As it was asked for.
        model: String,
        /// What may be asked for.
        known: Vec<String>,
    },
    /// No rule of the router matched and it has no default route.
    NoRoute {
        /// Its name.
        router: String,
    },
    /// The request's metadata are too large to route by.
    TooManyFacts {
        /// What is allowed.
        detail: String,
    },
    /// A field of the request about targets (`models`, `sort`, `ignore`, `fallback`) cannot be used.
    BadField {
        /// Which.
        field: &'static str,
        /// What is wrong and what is allowed.
        detail: String,
    },
    /// The router was kept by an earlier start and cannot be used with what is configured now.
    Unusable {
        /// Its id.
        router: String,
        /// What must change.
        detail: String,
    },
    /// Every target failed before its first content.
    Exhausted {
        /// All of them, oldest first; at least one.
        attempts: Vec<Attempt>,
    },
    /// A target failed after content had been released, and none could go on from there.
    Interrupted {
        /// What happened.
        error: ModelError,
        /// All attempts, oldest first.
        attempts: Vec<Attempt>,
    },
}

impl RouteError {
    /// The failure of the model that decided the matter, where there was one.
    pub fn model_error(&self) -> Option<&ModelError> {
        match self {
            RouteError::UnknownModel { .. }
            | RouteError::NoRoute { .. }
            | RouteError::TooManyFacts { .. }
            | RouteError::BadField { .. }
            | RouteError::Unusable { .. } => None,
            RouteError::Exhausted { attempts } => attempts.iter().rev().find_map(|attempt| match &attempt.outcome {
                Outcome::Failed(error) => Some(error),
                Outcome::Running | Outcome::Answered(_) | Outcome::Outrun | Outcome::Cancelled => None,
            }),
            RouteError::Interrupted { error, .. } => Some(error),
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            RouteError::UnknownModel { .. }
            | RouteError::TooManyFacts { .. }
            | RouteError::NoRoute { .. }
            | RouteError::BadField { .. } => Fault::Caller,
            RouteError::Unusable { .. } => Fault::Server,
            RouteError::Exhausted { .. } | RouteError::Interrupted { .. } => match self.model_error().map(|e| e.kind) {
                Some(ErrorKind::BadRequest | ErrorKind::Refused) => Fault::Caller,
                Some(ErrorKind::Unauthorized) => Fault::Server,
                _ => Fault::Upstream,
            },
        }
    }

    /// The HTTP status that says the same.
    pub fn status(&self) -> u16 {
        match self {
            RouteError::UnknownModel { .. } => 404,
            RouteError::NoRoute { .. } | RouteError::TooManyFacts { .. } | RouteError::BadField { .. } => 400,
            RouteError::Unusable { .. } => 503,
            RouteError::Exhausted { .. } | RouteError::Interrupted { .. } => match self.model_error() {
                None => 502,
                Some(error) => match error.kind {
                    ErrorKind::Timeout => 504,
                    ErrorKind::Overloaded => 429,
                    ErrorKind::BadRequest => error.status.filter(|status| (400..500).contains(status)).unwrap_or(400),
                    ErrorKind::Refused => error.status.filter(|status| (400..500).contains(status)).unwrap_or(403),
                    // The upstream's 401 is about our key, not the caller's.
                    ErrorKind::Unauthorized | ErrorKind::Failed | ErrorKind::Protocol | ErrorKind::Closed => 502,
                },
            },
        }
    }

    /// A short name for programs, as `code` in OpenAI's errors.
    pub fn code(&self) -> &'static str {
        match self {
            RouteError::UnknownModel { .. } => "model_not_found",
            RouteError::NoRoute { .. } => "no_route",
            RouteError::TooManyFacts { .. } => "metadata_too_large",
            RouteError::BadField { .. } => "invalid_value",
            RouteError::Unusable { .. } => "router_unusable",
            RouteError::Interrupted { .. } => "upstream_interrupted",
            RouteError::Exhausted { .. } => match self.model_error().map(|e| e.kind) {
                Some(ErrorKind::Timeout) => "upstream_timeout",
                Some(ErrorKind::Overloaded) => "rate_limit_exceeded",
                Some(ErrorKind::BadRequest) => "invalid_request",
                Some(ErrorKind::Refused) => "refused",
                Some(ErrorKind::Unauthorized) => "upstream_unauthorized",
                Some(ErrorKind::Failed | ErrorKind::Protocol | ErrorKind::Closed) | None => "upstream_failed",
            },
        }
    }

    /// The field of the request that is to blame, as `param` in OpenAI's errors.
    pub fn param(&self) -> Option<&'static str> {
        match self {
            RouteError::UnknownModel { .. } => Some("model"),
            RouteError::NoRoute { .. } | RouteError::TooManyFacts { .. } => Some("metadata"),
            RouteError::BadField { field, .. } => Some(field),
            RouteError::Unusable { .. } | RouteError::Exhausted { .. } | RouteError::Interrupted { .. } => None,
        }
    }

    /// How long to wait before another try: the shortest that a target asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            RouteError::UnknownModel { .. }
            | RouteError::NoRoute { .. }
            | RouteError::TooManyFacts { .. }
            | RouteError::BadField { .. }
            | RouteError::Unusable { .. } => None,
            RouteError::Exhausted { attempts } | RouteError::Interrupted { attempts, .. } => attempts
                .iter()
                .filter_map(|attempt| match &attempt.outcome {
                    Outcome::Failed(error) => error.retry_after,
                    Outcome::Running | Outcome::Answered(_) | Outcome::Outrun | Outcome::Cancelled => None,
                })
                .min(),
        }
    }

    /// The attempts made.
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            RouteError::UnknownModel { .. }
            | RouteError::NoRoute { .. }
            | RouteError::TooManyFacts { .. }
            | RouteError::BadField { .. }
            | RouteError::Unusable { .. } => &[],
            RouteError::Exhausted { attempts } | RouteError::Interrupted { attempts, .. } => attempts,
        }
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteError::UnknownModel { model, known } => {
                write!(f, "there is no model {model:?} here; ask for one of: {}", known.join(", "))
            }
            RouteError::NoRoute { router } => {
                write!(f, "No route matched in router {router:?}. Configure a default route or adjust conditions.")
            }
            RouteError::TooManyFacts { detail } | RouteError::BadField { detail, .. } => f.write_str(detail),
            RouteError::Unusable { router, detail } => write!(f, "the router {router:?} cannot be used: {detail}"),
            RouteError::Exhausted { attempts } => {
                f.write_str(if attempts.len() == 1 { "the model did not answer" } else { "no model answered" })?;
                for (n, attempt) in attempts.iter().enumerate() {
                    f.write_str(if n == 0 { ": " } else { "; " })?;
                    match &attempt.outcome {
                        Outcome::Failed(error) => write!(f, "{}: {}", attempt.target, error.detail)?,
                        Outcome::Running | Outcome::Answered(_) | Outcome::Outrun | Outcome::Cancelled => f.write_str(&attempt.target)?,
                    }
                }
                Ok(())
            }
            RouteError::Interrupted { error, .. } => write!(f, "the answer broke off: {error}"),
        }
    }
}

impl std::error::Error for RouteError {}
