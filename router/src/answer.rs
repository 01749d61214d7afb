//! An answer on its way, and how it was decided who gives it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::BoxStream;
use models::Delta;

use crate::{Attempt, AttemptLog, CacheObject, RouteError};

/// Who answers, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The router that decided; `None` where the request named its target.
    pub router: Option<String>,
    /// The version of that router: 0 for one of the configuration.
    pub version: Option<u64>,
    /// The route's id; `direct` where the request named its target.
    pub route: String,
    /// The variant's id.
    pub variant: Option<String>,
    /// For a person: which rule matched, and its text.
    pub reason: String,
    /// The chain of targets, `provider/model`, first choice first.
    pub targets: Vec<String>,
    /// A target that is asked the same without anybody waiting for it.
    pub shadow: Option<String>,
    /// What the route says about giving the answer again.
    pub cache: CacheObject,
}

type Deltas = BoxStream<'static, Result<Delta, RouteError>>;

/// A stream of deltas. Dropping it cancels the model.
pub struct Answer {
    pub(crate) decision: Decision,
    pub(crate) log: AttemptLog,
    pub(crate) deltas: Deltas,
    pub(crate) is_live: bool,
}

impl Answer {
    /// Who answers, and why.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Whether it is asked to look at the web of today: what it says tomorrow may be another thing.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// The attempts so far.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.log.attempts()
    }

    /// The same answer with its pieces led through `f`, which must not begin before it is polled.
    #[must_use]
    pub fn through(self, f: impl FnOnce(Deltas) -> Deltas) -> Answer {
        Answer { deltas: f(self.deltas), ..self }
    }

    /// A handle to the attempts that outlives the stream.
    pub fn log(&self) -> AttemptLog {
        self.log.clone()
    }
}

impl Stream for Answer {
    type Item = Result<Delta, RouteError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.deltas.as_mut().poll_next(context)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("decision", &self.decision).field("attempts", &self.attempts()).finish_non_exhaustive()
    }
}
