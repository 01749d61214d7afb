//! The attempts at one answer: the only place that decides whether a failure is replaced, continued, or ends the answer.
//!
//! Until a target's first content (words or a tool call) nothing of it is released, and a failure that another target may not share hands
//! over to the next; where the first is slow a second may be asked beside it, and the first content wins. Reasoning is not content: it is
//! held back with the rest, unless no other target is left that could take over. After the first content nothing is asked again from the
//! start: the next target goes on from the words released (`survive.rs`), or the answer ends with an error.

mod contender;

use std::collections::VecDeque;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use models::{Continuation, Delta, ErrorKind, ModelError, Prompt, Usage};
use tokio::time::Instant;

use contender::{Contender, GoingOn, Step, first_of};

use crate::attempt::{self, Seen};
use crate::health::{Admission, Verdict};
use crate::route::{Limits, Target};
use crate::search::Question;
use crate::survive::{self, Sent};
use crate::{Amount, Attempt, AttemptLog, Counted, Executor, Outcome, RouteError};

type Deltas = BoxStream<'static, Result<Delta, ModelError>>;
type Item = Option<Result<Delta, ModelError>>;

/// Asks `targets` in order.
pub(crate) fn run(
    executor: Executor,
    targets: Vec<Target>,
    limits: Limits,
    question: Question,
    log: AttemptLog,
) -> BoxStream<'static, Result<Delta, RouteError>> {
    let (mut limits, mut question) = (limits, question);
    // A stream shows early that a target fails. Where nobody could take over, and nobody set a patience, it would help no one.
    question.prompt.whole &= targets.len() == 1 && limits.are_usual() && targets.iter().all(|target| target.model.answers_whole());
    if question.prompt.whole {
        limits.first_content = limits.total;
    }
    let race = Race {
        sent: (limits.survive && targets.len() > 1).then(Sent::default),
        chain: Chain::new(targets),
        executor,
        limits,
        question,
        log,
        state: State::Opening(Vec::new()),
        broken: None,
        spent: None,
        ready: VecDeque::new(),
    };
    // Boxed: it is moved for each item.
    stream::unfold(Box::new(race), |mut race| async move { race.next().await.map(|item| (item, race)) }).boxed()
}

struct Race {
    executor: Executor,
    chain: Chain,
    limits: Limits,
    question: Question,
    log: AttemptLog,
    state: State,
    /// What was released, where another target could go on from it.
    sent: Option<Sent>,
    /// Why an attempt broke off after content of it was released; the first such failure.
    broken: Option<ModelError>,
    /// Tokens of the attempts before, whose content was released.
    spent: Option<Usage>,
    /// Released, not taken yet.
    ready: VecDeque<Delta>,
}

/// A target to be asked; `how` where it is not to go on in the way that it says it can.
struct Next {
    target: Target,
    how: Option<Continuation>,
}

/// The targets not asked yet.
struct Chain {
    next: VecDeque<Next>,
    /// Those whose breaker was open.
    skipped: VecDeque<Next>,
    /// Breakers are not heeded: all are open, or only they are left to go on with an answer.
    is_desperate: bool,
    /// Nobody was asked yet.
    is_fresh: bool,
}

enum State {
    /// Nothing of these is released yet: they may be replaced. Empty: the next target is to be asked.
    Opening(Vec<Contender>),
    /// Content of it is released: it goes on, is continued by another, or ends.
    Flowing(Box<Contender>),
    /// Nothing more comes.
    Over,
}

impl Race {
    async fn next(&mut self) -> Option<Result<Delta, RouteError>> {
        loop {
            if let Some(delta) = self.ready.pop_front() {
                if let Some(sent) = &mut self.sent {
                    sent.note(&delta);
                }
                return Some(Ok(delta));
            }
            // Contenders stay in the state while they are awaited upon: a caller that goes away drops them with it, which cancels them.
            let failed = match &mut self.state {
                State::Opening(contenders) if contenders.is_empty() => (!self.begin()).then(|| self.fail()),
                State::Opening(contenders) => {
                    let hedge = self.limits.hedge.filter(|_| contenders.len() == 1 && !self.chain.next.is_empty());
                    match first_of(contenders, &self.limits, hedge).await {
                        Some((n, item)) => self.open(n, item),
                        None => {
                            // The breakers of all others may be open: then the one that runs has all the time.
                            if !self.begin() {
                                self.limits.hedge = None;
                            }
                            None
                        }
                    }
                }
                State::Flowing(contender) => {
                    let item = contender.next(&self.limits).await;
                    self.flow(item)
                }
                State::Over => return None,
            };
            if let Some(error) = failed {
                return Some(Err(error));
            }
        }
    }

    /// Asks the next target; false where there is none.
    fn begin(&mut self) -> bool {
        let now = Instant::now();
        self.chain.is_desperate |= self.broken.is_some();
        let Some(Next { target, how }) = self.chain.pick(&self.executor, now) else { return false };
        let mut attempt = Attempt::new(&target.id);
        let going_on = self.broken.is_some().then(|| {
            let sent = self.sent.as_ref().map_or("", Sent::text);
            attempt.resumed_at = Some(sent.chars().count() as u64);
            let how = survive::way(&self.question.prompt, how.unwrap_or_else(|| target.model.continuation(&target.name)));
            let (prompt, stitch) = survive::go_on(&self.question.prompt, sent, how);
            Box::new(GoingOn { how, prompt, stitch })
        });
        let prompt = going_on.as_ref().map_or(&self.question.prompt, |going_on| &going_on.prompt).clone();
        let prompt = self.question.put(prompt, &target);
        let id = self.log.begin(attempt);
        let contender = Contender {
            id,
            deltas: target.model.complete(Prompt { id: id.of(&prompt.id), model: target.name.clone(), ..prompt }),
            target,
            since: now,
            whole: self.question.prompt.whole,
            first: None,
            seen: Seen::default(),
            finish: None,
            held: Vec::new(),
            going_on,
        };
        if let State::Opening(contenders) = &mut self.state {
            contenders.push(contender);
        }
        true
    }

    /// No target is left.
    fn fail(&mut self) -> RouteError {
        self.state = State::Over;
        let attempts = self.log.attempts();
        match self.broken.take() {
            Some(error) => RouteError::Interrupted { error, attempts },
            None => RouteError::Exhausted { attempts },
        }
    }

    fn open(&mut self, n: usize, item: Item) -> Option<RouteError> {
        let State::Opening(contenders) = &mut self.state else { return None };
        let is_last = contenders.len() == 1 && self.chain.is_empty();
        match contenders[n].step(item, is_last) {
            Step::Wait(deltas) => self.release(deltas),
            Step::Won(deltas) => {
                let winner = self.win(n)?;
                let first = winner.first.map(|first| first - winner.since);
                self.log.update(winner.id, |attempt| attempt.first_token = first);
                self.state = State::Flowing(Box::new(winner));
                self.release(deltas);
            }
            Step::Ended(deltas) => {
                let winner = self.win(n)?;
                self.release(deltas);
                self.end(winner);
            }
            Step::Failed(error) => {
                let failed = contenders.swap_remove(n);
                self.chain.heed(&error, &failed, self.broken.is_some());
                self.conclude(failed, Outcome::Failed(error));
            }
        }
        None
    }

    /// Takes the winner out; the others are dropped, which cancels them.
    fn win(&mut self, n: usize) -> Option<Contender> {
        let State::Opening(mut contenders) = std::mem::replace(&mut self.state, State::Over) else { return None };
        let winner = contenders.swap_remove(n);
        for outrun in contenders {
            self.conclude(outrun, Outcome::Outrun);
        }
        Some(winner)
    }

    fn flow(&mut self, item: Item) -> Option<RouteError> {
        let State::Flowing(contender) = &mut self.state else { return None };
        match contender::believed(item) {
            Some(Ok(delta)) => {
                contender.note(&delta);
                // A second train of thought in the middle of an answer is none of the caller's.
                let is_thought = matches!(delta, Delta::Reasoning(_) | Delta::Signature(_) | Delta::Redacted(_));
                if contender.going_on.is_none() || !is_thought {
                    self.release([delta]);
                }
                return None;
            }
            Some(Err(error)) if contender.finish.is_none() => return self.break_off(error),
            // Complete but for its usage, at most: the words are all there.
            Some(Err(_)) | None => {}
        }
        if let State::Flowing(contender) = std::mem::replace(&mut self.state, State::Over) {
            self.end(*contender);
        }
        None
    }

    /// A failure after content was released: another target goes on, or the answer ends.
    fn break_off(&mut self, error: ModelError) -> Option<RouteError> {
        let State::Flowing(contender) = std::mem::replace(&mut self.state, State::Over) else { return None };
        let another = error.retryable() && self.sent.as_ref().is_some_and(Sent::can_go_on) && self.chain.has_any();
        self.chain.heed(&error, &contender, true);
        let counted = self.conclude(*contender, Outcome::Failed(error.clone()));
        self.spent = add(self.spent, counted);
        self.broken.get_or_insert(error);
        if another {
            self.state = State::Opening(Vec::new());
            return None;
        }
        Some(self.fail())
    }

    /// The answer is whole.
    fn end(&mut self, contender: Contender) {
        let finish = contender.finish;
        let counted = self.conclude(contender, Outcome::Answered(finish));
        if let Some(Counted::Estimated(_)) = counted {
            self.ready.extend(add(self.spent, counted).map(Delta::Usage));
        }
    }

    fn release(&mut self, deltas: impl IntoIterator<Item = Delta>) {
        let spent = self.spent;
        self.ready.extend(deltas.into_iter().map(|delta| match (delta, spent) {
            (Delta::Usage(usage), Some(spent)) => Delta::Usage(attempt::sum(spent, usage)),
            (delta, _) => delta,
        }));
    }

    /// Writes down what became of an attempt, and drops its stream.
    fn conclude(&mut self, contender: Contender, outcome: Outcome) -> Option<Counted> {
        let Contender { target, id, since, first, seen, going_on, deltas, .. } = contender;
        drop(deltas);
        let now = Instant::now();
        let prompt = going_on.as_ref().map_or(&self.question.prompt, |going_on| &going_on.prompt);
        let counted = match &outcome {
            Outcome::Answered(_) => Some(seen.count(prompt, true)),
            // It never read the prompt, or never said so: nobody is charged for that.
            Outcome::Failed(error) if !seen.has_begun() && (error.kind != ErrorKind::Timeout || error.status.is_some()) => None,
            Outcome::Failed(_) | Outcome::Outrun | Outcome::Cancelled | Outcome::Running => Some(seen.count(prompt, false)),
        };
        let first_content = first.map(|first| first - since);
        let verdict = match &outcome {
            Outcome::Failed(error) => Verdict::of(error),
            Outcome::Outrun => Verdict::Unknown { waited: first.is_none().then(|| now - since) },
            Outcome::Cancelled | Outcome::Running if first.is_none() => Verdict::Unknown { waited: None },
            Outcome::Answered(_) | Outcome::Cancelled | Outcome::Running => {
                let seconds = first.map_or(0.0, |first| (now - first).as_secs_f64());
                let written = counted.map_or(0, |counted| counted.usage().output_tokens);
                Verdict::Well { first_content, tokens_per_second: (seconds > 0.0 && written > 1).then(|| written as f64 / seconds) }
            }
        };
        self.executor.health.report(&target.id, &verdict, now.into_std());
        let cost = counted.and_then(|counted| {
            let priced = self.executor.price.as_ref()?(&target.id, Amount::Tokens(&counted.usage()))?;
            Some(if matches!(counted, Counted::Estimated(_)) { priced.guessed() } else { priced })
        });
        self.log.update(id, |attempt| {
            if let Outcome::Failed(error) = &outcome {
                attempt.status = error.status;
            }
            attempt.outcome = outcome;
            attempt.first_token = first_content;
            attempt.total = now - since;
            attempt.usage = counted;
            attempt.cost = cost;
        });
        counted
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Opening(contenders) => {
                for contender in contenders {
                    self.conclude(contender, Outcome::Cancelled);
                }
            }
            State::Flowing(contender) => {
                // A caller may stop at the finish reason: the answer was whole then.
                let outcome = contender.finish.map_or(Outcome::Cancelled, |finish| Outcome::Answered(Some(finish)));
                self.conclude(*contender, outcome);
            }
            State::Over => {}
        }
    }
}

impl Chain {
    fn new(targets: Vec<Target>) -> Chain {
        let next = targets.into_iter().map(|target| Next { target, how: None }).collect();
        Chain { next, skipped: VecDeque::new(), is_desperate: false, is_fresh: true }
    }

    /// The next target that is well. Where none is and none was asked yet, they are asked all the same.
    fn pick(&mut self, executor: &Executor, now: Instant) -> Option<Next> {
        let is_first = std::mem::take(&mut self.is_fresh);
        while let Some(next) = self.next.pop_front() {
            if executor.health.admit(&next.target.id, now.into_std()) != Admission::Refused || self.is_desperate {
                return Some(next);
            }
            self.skipped.push_back(next);
        }
        self.is_desperate |= is_first;
        if !self.is_desperate {
            return None;
        }
        self.next = std::mem::take(&mut self.skipped);
        self.next.pop_front()
    }

    /// Leaves out, or adds, what a failure says of targets not asked yet.
    fn heed(&mut self, error: &ModelError, failed: &Contender, is_released: bool) {
        match (error.kind, &failed.going_on) {
            // The key is the provider's, not the model's.
            (ErrorKind::Unauthorized, _) => {
                let provider = |target: &Target| target.id.split_once('/').map(|(provider, _)| provider.to_owned());
                let theirs = provider(&failed.target);
                self.next.retain(|next| provider(&next.target) != theirs);
                self.skipped.retain(|next| provider(&next.target) != theirs);
            }
            // It may be the trailing message that it does not take: it is asked again, in words.
            (ErrorKind::BadRequest, Some(going_on)) if going_on.how != Continuation::Asked => {
                self.next.push_front(Next { target: failed.target.clone(), how: Some(Continuation::Asked) });
            }
            // Nobody else would do it either. An answer that was begun is another matter: what one refuses to go on with is often our prompt.
            _ if !error.retryable() && !is_released => {
                self.next.clear();
                self.skipped.clear();
            }
            _ => {}
        }
    }

    /// Whether no target is left to replace one that runs.
    fn is_empty(&self) -> bool {
        self.next.is_empty() && (self.skipped.is_empty() || !self.is_desperate)
    }

    /// Whether any target is left to go on with an answer.
    fn has_any(&self) -> bool {
        !self.next.is_empty() || !self.skipped.is_empty()
    }
}

fn add(spent: Option<Usage>, counted: Option<Counted>) -> Option<Usage> {
    match (spent, counted.map(|counted| counted.usage())) {
        (Some(spent), Some(more)) => Some(attempt::sum(spent, more)),
        (spent, more) => spent.or(more),
    }
}

#[cfg(test)]
mod tests;
