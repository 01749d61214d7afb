//! The record of each try at a target.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use models::{Finish, ModelError};

/// One try at one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// `provider/model`.
    pub target: String,
    /// What became of it.
    pub outcome: Outcome,
    /// From the start of the try to its first content.
    pub first_token: Option<Duration>,
    /// How long it took, or has taken when it was last heard of.
    pub total: Duration,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It still runs.
    Running,
    /// It answered to the end.
    Answered(Option<Finish>),
    /// It failed; where another attempt follows, that one took over.
    Failed(ModelError),
    /// The caller went away first.
    Cancelled,
}

/// A handle to the attempts of one answer, readable while and after it streams.
#[derive(Clone, Debug, Default)]
pub struct AttemptLog(Arc<Mutex<Vec<Attempt>>>);

impl AttemptLog {
    /// The attempts so far, oldest first.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.lock().clone()
    }

    pub(crate) fn begin(&self, target: &str) {
        let attempt = Attempt { target: target.to_owned(), outcome: Outcome::Running, first_token: None, total: Duration::ZERO };
        self.lock().push(attempt);
    }

    /// Changes the attempt that was begun last.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Attempt)) {
        if let Some(last) = self.lock().last_mut() {
            change(last);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
