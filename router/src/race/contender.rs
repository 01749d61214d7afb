//! One attempt that runs: what comes of it, and when it is too late.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt;
use models::{Continuation, Delta, ErrorKind, Finish, ModelError, Prompt};
use tokio::time::{Instant, timeout_at};

use super::{Deltas, Item};
use crate::attempt::{AttemptId, Seen};
use crate::duration;
use crate::route::{Limits, Target};
use crate::survive::Stitch;

/// One attempt that runs.
pub(super) struct Contender {
    pub(super) target: Target,
    pub(super) id: AttemptId,
    pub(super) deltas: Deltas,
    pub(super) since: Instant,
    /// It was asked for its answer in one piece.
    pub(super) whole: bool,
    /// When its first content came, where that says anything.
    pub(super) first: Option<Instant>,
    pub(super) seen: Seen,
    pub(super) finish: Option<Finish>,
    /// What came before its first content.
    pub(super) held: Vec<Delta>,
    /// Where it goes on with the answer of another.
    pub(super) going_on: Option<Box<GoingOn>>,
}

pub(super) struct GoingOn {
    pub(super) how: Continuation,
    /// What it was asked instead of the caller's prompt.
    pub(super) prompt: Prompt,
    pub(super) stitch: Stitch,
}

/// What comes of a contender's next item.
pub(super) enum Step {
    /// Nothing yet, or nothing but what is released at once because no other target could replace it.
    Wait(Vec<Delta>),
    /// It has content: this is released.
    Won(Vec<Delta>),
    /// It answered to the end: this is released.
    Ended(Vec<Delta>),
    /// It failed.
    Failed(ModelError),
}

impl Contender {
    pub(super) fn note(&mut self, delta: &Delta) {
        self.seen.note(delta);
        if let Delta::Finish(finish) = delta {
            self.finish = Some(*finish);
        }
    }

    pub(super) fn step(&mut self, item: Item, is_last: bool) -> Step {
        let item = believed(item);
        if let Some(Ok(delta)) = &item {
            self.note(delta);
            // The first of one piece is the last.
            if is_content(delta) && !self.whole {
                self.first.get_or_insert_with(Instant::now);
            }
        }
        if self.going_on.is_some() {
            return self.join(item);
        }
        match item {
            Some(Ok(delta)) => {
                let is_first = is_content(&delta);
                self.held.push(delta);
                if is_first {
                    return Step::Won(std::mem::take(&mut self.held));
                }
                // With no target left to take over there is nothing to hold it back for.
                Step::Wait(if is_last { std::mem::take(&mut self.held) } else { Vec::new() })
            }
            // An empty answer is an answer.
            None | Some(Err(_)) if self.finish.is_some() => Step::Ended(std::mem::take(&mut self.held)),
            None => Step::Failed(ModelError::new(ErrorKind::Closed, &self.target.id, "the answer ended before it began")),
            Some(Err(error)) => Step::Failed(error),
        }
    }

    /// The same where it goes on with words already released.
    fn join(&mut self, item: Item) -> Step {
        let Some(going_on) = &mut self.going_on else { return Step::Wait(Vec::new()) };
        let joined = match &item {
            Some(Ok(Delta::Text(text))) => going_on.stitch.push(text),
            Some(Ok(Delta::ToolCall { .. } | Delta::Finish(_))) | None => going_on.stitch.end().map(Some),
            Some(Ok(Delta::Usage(_))) => {
                self.held.extend(item.and_then(Result::ok));
                return Step::Wait(Vec::new());
            }
            // Its thoughts, and what it says of words that may not be released.
            Some(Ok(Delta::Reasoning(_) | Delta::Signature(_) | Delta::Redacted(_) | Delta::Extra(_))) => return Step::Wait(Vec::new()),
            Some(Err(error)) => return Step::Failed(error.clone()),
        };
        let text = match joined {
            Ok(None) => return Step::Wait(Vec::new()),
            Ok(Some(text)) => text,
            Err(unjoined) => return Step::Failed(ModelError::new(ErrorKind::Refused, &self.target.id, unjoined.detail())),
        };
        let mut released = std::mem::take(&mut self.held);
        if !text.is_empty() {
            released.push(Delta::Text(text));
        }
        match item {
            None if self.first.is_none() => {
                Step::Failed(ModelError::new(ErrorKind::Closed, &self.target.id, "the answer ended before it began"))
            }
            None => Step::Ended(released),
            Some(Ok(Delta::Text(_))) | Some(Err(_)) => Step::Won(released),
            Some(Ok(delta)) => {
                released.push(delta);
                Step::Won(released)
            }
        }
    }

    /// Its next item, or the error of one that is too late.
    pub(super) async fn next(&mut self, limits: &Limits) -> Item {
        // Most items are there already, and need neither clock nor timer.
        if let Poll::Ready(item) = poll_fn(|context| Poll::Ready(self.deltas.poll_next_unpin(context))).await {
            return item;
        }
        match timeout_at(self.deadline(limits), self.deltas.next()).await {
            Ok(item) => item,
            Err(_) => Some(Err(self.late(limits))),
        }
    }

    /// When it is too late, if nothing comes until then.
    pub(super) fn deadline(&self, limits: &Limits) -> Instant {
        let next = match self.first {
            None => self.since + limits.first_content,
            Some(_) => Instant::now() + limits.stall,
        };
        next.min(self.since + limits.total)
    }

    /// The error of one that is too late.
    pub(super) fn late(&self, limits: &Limits) -> ModelError {
        let (what, waited) = match self.first {
            _ if self.since.elapsed() >= limits.total => ("not done", limits.total),
            None => ("no content", limits.first_content),
            Some(_) => ("no more content", limits.stall),
        };
        ModelError::new(ErrorKind::Timeout, &self.target.id, format!("{what} within {}", duration::format(waited)))
    }
}

/// What the first contender that has something has; `None` where it is time to ask another beside it. What is there already is taken even
/// if the caller came late: a deadline is the target's, not the caller's.
pub(super) async fn first_of(contenders: &mut [Contender], limits: &Limits, hedge: Option<Duration>) -> Option<(usize, Item)> {
    let (slowest, deadline) =
        contenders.iter().enumerate().map(|(n, contender)| (n, contender.deadline(limits))).min_by_key(|(_, deadline)| *deadline)?;
    let hedge = hedge.and_then(|hedge| contenders.first().filter(|only| only.first.is_none()).map(|only| only.since + hedge));
    let polled = poll_fn(|context| {
        for (n, contender) in contenders.iter_mut().enumerate() {
            if let Poll::Ready(item) = contender.deltas.poll_next_unpin(context) {
                return Poll::Ready((n, item));
            }
        }
        Poll::Pending
    });
    let wake = hedge.map_or(deadline, |hedge| hedge.min(deadline));
    match timeout_at(wake, polled).await {
        Ok(got) => Some(got),
        Err(_) if wake < deadline => None,
        Err(_) => Some((slowest, Some(Err(contenders[slowest].late(limits))))),
    }
}

/// An item whose counts may be added to others.
pub(super) fn believed(item: Item) -> Item {
    match item {
        Some(Ok(Delta::Usage(usage))) => Some(Ok(Delta::Usage(usage.bounded()))),
        item => item,
    }
}

fn is_content(delta: &Delta) -> bool {
    match delta {
        Delta::Text(text) => !text.is_empty(),
        Delta::ToolCall { .. } => true,
        Delta::Reasoning(_) | Delta::Signature(_) | Delta::Redacted(_) | Delta::Extra(_) | Delta::Usage(_) | Delta::Finish(_) => false,
    }
}
