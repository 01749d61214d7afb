//! The attempts at one answer: the only place that decides whether a failure is replaced, or ends the answer.
//!
//! Targets are tried one after the other. Until a target's first content (words or a tool call) nothing of it is released, and a failure
//! that another target may not share hands over to the next. After the first content nothing is tried again: repeating words is worse
//! than stopping, so the answer ends with an error.

use std::collections::VecDeque;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use models::{Delta, ErrorKind, Finish, ModelError, Prompt};
use tokio::time::{Instant, timeout_at};

use crate::route::{Limits, Target};
use crate::{AttemptLog, Outcome, RouteError, duration};

type Deltas = BoxStream<'static, Result<Delta, ModelError>>;

/// Tries `targets` in order.
pub(crate) fn run(targets: Vec<Target>, limits: Limits, prompt: Prompt, log: AttemptLog) -> BoxStream<'static, Result<Delta, RouteError>> {
    let race = Race { targets: targets.into(), limits, prompt, log, state: State::Between, ready: VecDeque::new() };
    stream::unfold(race, |mut race| async move { race.next().await.map(|item| (item, race)) }).boxed()
}

struct Race {
    /// Those not tried yet.
    targets: VecDeque<Target>,
    limits: Limits,
    prompt: Prompt,
    log: AttemptLog,
    state: State,
    /// Released, not taken yet.
    ready: VecDeque<Delta>,
}

enum State {
    /// No attempt runs; the next target is to be tried.
    Between,
    /// Nothing released yet: the attempt may be replaced.
    Opening(Attempting, Vec<Delta>),
    /// Content released: the attempt can only go on or end.
    Flowing(Attempting, Option<Finish>),
    /// Nothing more comes.
    Over,
}

struct Attempting {
    target: String,
    deltas: Deltas,
    since: Instant,
}

impl Race {
    async fn next(&mut self) -> Option<Result<Delta, RouteError>> {
        loop {
            if let Some(delta) = self.ready.pop_front() {
                return Some(Ok(delta));
            }
            // Taken out while it is awaited upon: an error path that returns early then leaves it dropped, which cancels the target.
            match &mut self.state {
                State::Between => match self.targets.pop_front() {
                    Some(target) => self.begin(target),
                    None => self.state = State::Over,
                },
                State::Opening(attempt, _) => {
                    let item = attempt.next(attempt.since + self.limits.first_content, "no content").await;
                    if let Some(error) = self.open(item) {
                        return Some(Err(error));
                    }
                }
                State::Flowing(attempt, _) => {
                    let stall = Instant::now() + self.limits.stall;
                    let deadline = stall.min(attempt.since + self.limits.total);
                    let item = attempt.next(deadline, "no more content").await;
                    if let Some(error) = self.flow(item) {
                        return Some(Err(error));
                    }
                }
                State::Over => return None,
            }
        }
    }

    fn begin(&mut self, target: Target) {
        self.log.begin(&target.id);
        let prompt = Prompt { model: target.name, ..self.prompt.clone() };
        let attempt = Attempting { target: target.id, deltas: target.model.complete(prompt), since: Instant::now() };
        self.state = State::Opening(attempt, Vec::new());
    }

    fn open(&mut self, item: Option<Result<Delta, ModelError>>) -> Option<RouteError> {
        let State::Opening(attempt, held) = &mut self.state else { return None };
        match item {
            Some(Ok(delta)) if is_content(&delta) => {
                let first = attempt.since.elapsed();
                self.log.update(|attempt| attempt.first_token = Some(first));
                self.ready.extend(held.drain(..));
                self.ready.push_back(delta);
                if let State::Opening(attempt, _) = std::mem::replace(&mut self.state, State::Over) {
                    self.state = State::Flowing(attempt, None);
                }
            }
            // With no target left to take over there is nothing to hold it back for.
            Some(Ok(delta @ Delta::Reasoning(_))) if self.targets.is_empty() => self.ready.push_back(delta),
            Some(Ok(delta)) => held.push(delta),
            None => {
                let finish = held.iter().find_map(finish);
                if finish.is_none() {
                    let error = ModelError::new(ErrorKind::Closed, &attempt.target, "the answer ended before it began");
                    return self.replace(error);
                }
                // An empty answer is an answer.
                self.ready.extend(held.drain(..));
                self.end(Outcome::Answered(finish));
            }
            Some(Err(error)) => return self.replace(error),
        }
        None
    }

    /// A failure before the first content: the next target, or the end.
    fn replace(&mut self, error: ModelError) -> Option<RouteError> {
        let another = error.retryable() && !self.targets.is_empty();
        self.end(Outcome::Failed(error));
        if another {
            self.state = State::Between;
            return None;
        }
        Some(RouteError::Exhausted { attempts: self.log.attempts() })
    }

    fn flow(&mut self, item: Option<Result<Delta, ModelError>>) -> Option<RouteError> {
        let State::Flowing(_, finished) = &mut self.state else { return None };
        match item {
            Some(Ok(delta)) => {
                *finished = finish(&delta).or(*finished);
                self.ready.push_back(delta);
            }
            None => {
                let finished = *finished;
                self.end(Outcome::Answered(finished));
            }
            // Complete but for its usage: the words are all there.
            Some(Err(_)) if finished.is_some() => {
                let finished = *finished;
                self.end(Outcome::Answered(finished));
            }
            Some(Err(error)) => {
                self.end(Outcome::Failed(error.clone()));
                return Some(RouteError::Interrupted { error, attempts: self.log.attempts() });
            }
        }
        None
    }

    /// Ends the running attempt and drops its stream.
    fn end(&mut self, outcome: Outcome) {
        if let State::Opening(attempt, _) | State::Flowing(attempt, _) = std::mem::replace(&mut self.state, State::Over) {
            let total = attempt.since.elapsed();
            self.log.update(|attempt| {
                attempt.outcome = outcome;
                attempt.total = total;
            });
        }
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
    }
}

impl Attempting {
    async fn next(&mut self, deadline: Instant, what: &str) -> Option<Result<Delta, ModelError>> {
        // What is there already is taken even if the caller came late: the deadline is the target's, not the caller's.
        if let Some(item) = self.deltas.next().now_or_never() {
            return item;
        }
        let begun = Instant::now();
        match timeout_at(deadline, self.deltas.next()).await {
            Ok(item) => item,
            Err(_) => {
                let waited = deadline.saturating_duration_since(begun.min(self.since)).max(Duration::from_millis(1));
                let detail = format!("{what} within {}", duration::format(waited));
                Some(Err(ModelError::new(ErrorKind::Timeout, &self.target, detail)))
            }
        }
    }
}

fn is_content(delta: &Delta) -> bool {
    match delta {
        Delta::Text(text) => !text.is_empty(),
        Delta::ToolCall { .. } => true,
        Delta::Reasoning(_) | Delta::Signature(_) | Delta::Redacted(_) | Delta::Extra(_) | Delta::Usage(_) | Delta::Finish(_) => false,
    }
}

fn finish(delta: &Delta) -> Option<Finish> {
    match delta {
        Delta::Finish(finish) => Some(*finish),
        _ => None,
    }
}
