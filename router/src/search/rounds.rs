//! The rounds of an answer that searches: ask, search, ask again with what was found.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use models::search::{Found, OWN_ID};
use models::{Completion, Delta, ErrorKind, Finish, Message, ModelError, Part, Role, ToolCall, Usage, WebSearch};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::calls::Calls;
use super::sources::{self, Sources};
use super::{AT_ONCE, Hidden, Plan, Question, Searcher};
use crate::attempt::{self, Work};
use crate::route::{Limits, Target};
use crate::{Attempt, AttemptLog, Cost, Executor, Outcome, Priced, RouteError, hash, race};

/// What an answer needs.
pub(super) struct Rounds {
    pub(super) executor: Executor,
    pub(super) targets: Vec<Target>,
    pub(super) limits: Limits,
    pub(super) log: AttemptLog,
    /// The dialogue as the caller wrote it.
    pub(super) asked: Vec<Message>,
    /// What is asked next.
    pub(super) question: Question,
}

type Deltas = BoxStream<'static, Result<Delta, RouteError>>;

/// One search that is over: the call, the query and what came of it.
struct Searched {
    call: ToolCall,
    query: String,
    results: Result<Vec<Found>, ModelError>,
}

enum State {
    /// The model is asked, or has not been yet.
    Asking(Option<Deltas>),
    /// Our tool is at work.
    Searching(BoxFuture<'static, Vec<Searched>>),
    /// Nothing more comes.
    Over,
}

struct Running {
    rounds: Rounds,
    state: State,
    /// Rounds of searching so far.
    round: usize,
    /// Searches so far.
    searches: usize,
    /// What the model said in this round.
    said: Completion,
    calls: Calls,
    sources: Sources,
    /// Whether words of an earlier round stand before those to come.
    joint: bool,
    /// Tokens of the rounds before.
    spent: Usage,
    /// Messages of the rounds before.
    hidden: Hidden,
    ready: VecDeque<Delta>,
}

impl Rounds {
    pub(super) fn stream(self) -> Deltas {
        let name = self.question.plan.as_ref().map_or(super::NAME, |plan| plan.name);
        let running = Running {
            rounds: self,
            state: State::Asking(None),
            round: 0,
            searches: 0,
            said: Completion::default(),
            calls: Calls::new(name, 0),
            sources: Sources::default(),
            joint: false,
            spent: Usage::default(),
            hidden: Vec::new(),
            ready: VecDeque::new(),
        };
        stream::unfold(Box::new(running), |mut running| async move { running.next().await.map(|item| (item, running)) }).boxed()
    }

    fn ask(&self) -> Deltas {
        let question = Question { prompt: self.question.prompt.clone(), plan: self.question.plan.clone() };
        race::run(self.executor.clone(), self.targets.clone(), self.limits, question, self.log.clone())
    }
}

impl Running {
    async fn next(&mut self) -> Option<Result<Delta, RouteError>> {
        loop {
            if let Some(delta) = self.ready.pop_front() {
                return Some(Ok(delta));
            }
            match &mut self.state {
                State::Asking(deltas) => match deltas.get_or_insert_with(|| self.rounds.ask()).next().await {
                    Some(Ok(delta)) => self.heed(delta),
                    Some(Err(error)) => {
                        self.state = State::Over;
                        return Some(Err(error));
                    }
                    None => self.end_round(),
                },
                State::Searching(searching) => {
                    let searched = searching.await;
                    self.go_on(searched);
                }
                State::Over => return None,
            }
        }
    }

    /// Passes on what is the caller's of what the model says.
    fn heed(&mut self, delta: Delta) {
        if !matches!(delta, Delta::Usage(_)) {
            self.said.push(delta.clone());
        }
        match delta {
            Delta::Text(text) => {
                let apart = std::mem::take(&mut self.joint) && !text.starts_with(char::is_whitespace);
                let text = if apart { format!("\n\n{text}") } else { text };
                let annotations = self.sources.cited_in(&text);
                self.ready.push_back(Delta::Text(text));
                self.ready.extend(beside("annotations", annotations));
            }
            Delta::Usage(usage) => {
                self.said.usage = Some(usage);
                self.ready.push_back(Delta::Usage(attempt::sum(self.spent, usage)));
            }
            call @ Delta::ToolCall { .. } => self.ready.extend(self.calls.push(call)),
            // Another round may follow.
            Delta::Finish(_) => {}
            other => self.ready.push_back(other),
        }
    }

    /// The model has said what it had to say: it wants to search, or the answer is whole.
    fn end_round(&mut self) {
        self.state = State::Over;
        let Some(plan) = self.rounds.question.plan.clone() else { return };
        let (ours, theirs): (Vec<ToolCall>, Vec<ToolCall>) = self.said.tool_calls.iter().cloned().partition(|call| call.name == plan.name);
        match &plan.searcher {
            Some(searcher) if !ours.is_empty() && self.round < searcher.bounds.rounds => {
                let searching = ours.into_iter().enumerate().map(|(n, call)| {
                    let may = n < AT_ONCE && self.searches + n < plan.uses();
                    search(self.rounds.log.clone(), searcher.clone(), plan.clone(), call, may)
                });
                self.state = State::Searching(join_all(searching.collect::<Vec<_>>()).boxed());
            }
            _ => {
                // Calls of ours that may not be made any more are nobody's.
                let finish = if ours.is_empty() || !theirs.is_empty() { self.said.finish } else { None };
                self.finish(finish.unwrap_or(Finish::Stop));
            }
        }
    }

    fn finish(&mut self, finish: Finish) {
        // An answer without words, which only calls, cites nothing.
        let uncited = if self.said.text.is_empty() { Vec::new() } else { self.sources.uncited() };
        self.ready.extend(beside("annotations", uncited));
        self.ready.push_back(Delta::Finish(finish));
    }

    /// What was found goes into the dialogue; the model is asked again, unless it waits for the caller's tools as well.
    fn go_on(&mut self, searched: Vec<Searched>) {
        self.state = State::Over;
        let Some(plan) = self.rounds.question.plan.clone() else { return };
        let said = std::mem::take(&mut self.said);
        let theirs: Vec<String> = said.tool_calls.iter().filter(|call| call.name != plan.name).map(|call| call.id.clone()).collect();
        self.joint = self.joint || !said.text.is_empty() && !said.text.ends_with(char::is_whitespace);
        self.spent = said.usage.map_or(self.spent, |usage| attempt::sum(self.spent, usage));
        let finish = said.finish;
        let mut fresh = vec![spoken(said)];
        let mut shown = Vec::new();
        for Searched { call, query, results } in searched {
            self.searches += 1;
            shown.push(self.show(&query, &results));
            let result = match &results {
                Ok(results) => {
                    let numbers = self.sources.number(results);
                    Message::text(Role::Tool, sources::told(&query, results, &numbers))
                }
                Err(error) => {
                    let failed = Map::from_iter([("is_error".to_owned(), json!(true))]);
                    Message { extra: failed, ..Message::text(Role::Tool, refusal(error)) }
                }
            };
            fresh.push(Message { tool_call_id: Some(call.id), ..result });
        }
        self.ready.extend(beside("web_searches", shown));
        self.round += 1;
        self.hidden.extend(fresh.iter().cloned());
        if theirs.is_empty() {
            return self.ask_again(&plan, fresh);
        }
        if let Some(searcher) = &plan.searcher {
            searcher.memory.keep(&self.rounds.asked, &theirs, std::mem::take(&mut self.hidden));
        }
        self.finish(finish.unwrap_or(Finish::ToolCalls));
    }

    /// Asks again with these messages at the end of the dialogue.
    fn ask_again(&mut self, plan: &Plan, fresh: Vec<Message>) {
        let question = &mut self.rounds.question;
        let prompt = &mut question.prompt;
        prompt.messages.extend(fresh);
        // Who had to call a tool has done so.
        let named = |choice: &Value| choice["function"]["name"] == plan.name || choice["name"] == plan.name;
        if prompt.tools.is_empty() || prompt.tool_choice.as_ref().is_some_and(named) {
            prompt.tool_choice = None;
        }
        let most = plan.searcher.as_ref().map_or(0, |searcher| searcher.bounds.rounds);
        if self.round >= most || self.searches >= plan.uses() {
            // The last round: the model is left nothing to search with.
            let wish = WebSearch { fields: Map::new(), ..plan.wish.clone() };
            question.plan = Some(Arc::new(Plan { searcher: None, wish, name: plan.name }));
        }
        self.calls = Calls::new(plan.name, self.calls.next());
        self.state = State::Asking(None);
    }

    /// A search as the caller is shown it.
    fn show(&self, query: &str, results: &Result<Vec<Found>, ModelError>) -> Value {
        let id = format!("{OWN_ID}{:016x}", hash::mix(hash::stable(&[query]) ^ self.searches as u64));
        let status = if results.is_ok() { "completed" } else { "failed" };
        let results = results.iter().flatten().map(|found| json!({ "url": found.url, "title": found.title, "date": found.date }));
        json!({ "id": id, "status": status, "query": query, "results": results.collect::<Vec<_>>() })
    }
}

/// One call of our tool, executed; what may not be is refused.
async fn search(log: AttemptLog, searcher: Searcher, plan: Arc<Plan>, call: ToolCall, may: bool) -> Searched {
    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
    let query = arguments["query"].as_str().unwrap_or_default().trim().to_owned();
    let target = format!("search/{}", searcher.backend.name());
    if !may || query.is_empty() {
        let detail = if may { "the call has no query" } else { "too many searches" };
        return Searched { call, query, results: Err(ModelError::new(ErrorKind::BadRequest, target, detail)) };
    }
    let began = Instant::now();
    let attempt = log.begin(Attempt { work: Work::Search, ..Attempt::new(target) });
    let results = searcher.backend.search(plan.query(&query, &searcher)).await;
    log.update(attempt, |attempt| {
        attempt.total = began.elapsed();
        // A search that fails is not billed by any of the backends.
        attempt.cost = Some(Priced { cost: results.as_ref().map_or(Cost::ZERO, |_| searcher.bounds.price), estimated: false });
        attempt.outcome = match &results {
            Ok(_) => Outcome::Answered(None),
            Err(error) => {
                attempt.status = error.status;
                Outcome::Failed(error.clone())
            }
        };
    });
    Searched { call, query, results }
}

/// What a model is told of a search that failed. The backend's own words are left out: they are for whoever runs the server.
fn refusal(error: &ModelError) -> String {
    let why = match error.kind {
        ErrorKind::BadRequest => return format!("The search was refused: {}. Answer from what you have.", error.detail),
        ErrorKind::Timeout => "it took too long",
        ErrorKind::Overloaded => "the search engine is busy",
        ErrorKind::Unauthorized | ErrorKind::Refused => "the search engine refuses it",
        ErrorKind::Failed | ErrorKind::Protocol | ErrorKind::Closed => "the search engine does not work",
    };
    format!("The web search failed: {why}. Answer from what you know, and say that you could not look it up.")
}

/// What was said in a round, as a message of the dialogue.
fn spoken(said: Completion) -> Message {
    let Completion { text, reasoning, signature, redacted, tool_calls, mut extra, .. } = said;
    let mut parts = Vec::new();
    if !reasoning.is_empty() || signature.is_some() {
        parts.push(Part::Reasoning { text: reasoning, signature, redacted: None });
    }
    parts.extend(redacted.into_iter().map(|data| Part::Reasoning { text: String::new(), signature: None, redacted: Some(data) }));
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    let mut extra = match extra.remove("message") {
        Some(Value::Object(extra)) => extra,
        _ => Map::new(),
    };
    extra.shift_remove("annotations");
    Message { role: Role::Assistant, parts, tool_calls, tool_call_id: None, extra }
}

/// A list that stands beside the words of an answer; none where it is empty.
fn beside(name: &str, list: Vec<Value>) -> Option<Delta> {
    (!list.is_empty()).then(|| Delta::Extra(Map::from_iter([("message".to_owned(), json!({ name: list }))])))
}

#[cfg(test)]
mod tests;
