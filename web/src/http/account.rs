//! What becomes of a request: it is counted, paid for and recorded once its last byte has gone, or its caller has.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use models::mcp::McpError;
use models::{Delta, Message, Prompt, Role, Usage};
use router::cost::prompt_tokens;
use router::limit::{KeyId, Policy, Use};
use router::{
    Answer, Attempt, AttemptLog, CacheControl, CacheReport, Cost, Decision, Ledger, Lookup, Preparation, Record, RouteError, Router, Scope,
    Speakers, Texts, Work, Works,
};
use tokio::time::Instant;

use super::App;
use super::limit::Ticket;
use crate::wire::router::scored_by;
use crate::{ApiError, LiveCalls, RecordSink};

/// Tokens that an answer is taken to have where nobody bounds it, until it is known.
const USUAL_ANSWER: u64 = 512;
/// Status of an answer that nobody asked for in the end: nginx's for a client that has gone.
const UNHEARD: u16 = 499;
/// Longest text of a record, bytes; what is longer is cut.
const LONGEST_TEXT: usize = 64 * 1_024;

/// Whose call it is, and where its books are kept.
#[derive(Clone)]
pub struct Books {
    /// The caller's key.
    pub key: KeyId,
    /// What each key may use.
    pub ledger: Ledger,
    /// Takes the records of responses.
    pub sink: Option<RecordSink>,
    /// Where calls are found while they last.
    pub live: LiveCalls,
}

impl Default for Books {
    /// Nobody's: nothing is limited, and nothing recorded.
    fn default() -> Books {
        Books { key: KeyId::ANYBODY, ledger: Ledger::new(Policy::default()), sink: None, live: LiveCalls::default() }
    }
}

impl Books {
    /// Notes a tool of an MCP server that a response of a call called, and what became of it. Nothing of it is counted against limits.
    pub fn tool_called(&self, response: &str, tool: String, took: Duration, failed: Option<&McpError>) {
        let Some(sink) = &self.sink else { return };
        (sink.take)(Record {
            id: response.to_owned(),
            time: super::now_ms().saturating_sub(took.as_millis() as u64),
            key: (self.key != KeyId::ANYBODY).then(|| self.key.to_string()),
            dialect: "mcp",
            endpoint: "/v1/realtime".to_owned(),
            model: tool,
            cache: "off",
            status: failed.map_or(200, McpError::status),
            error: failed.map(|error| error.code().to_owned()),
            total: Some(took),
            ..Record::default()
        });
    }
}

/// One request, or one response of a call, on the books. All that work on it hold one; it is closed when the last lets go.
#[derive(Clone)]
pub struct Account(Arc<Open>);

struct Open {
    began: Instant,
    sink: Option<RecordSink>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    record: Record,
    name: String,
    key: Option<KeyId>,
    ticket: Ticket,
    cache_control: Option<String>,
    log: Option<AttemptLog>,
    works: Option<Works>,
    report: Option<CacheReport>,
}

impl Account {
    /// Opens one for a request that came now. Its caller may have given it any `id`; its `name` is no other request's.
    pub(super) fn open(sink: Option<RecordSink>, id: &str, name: String, path: &str, headers: &HeaderMap) -> Account {
        let control = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let dialect = dialect(path);
        let sink = sink.filter(|_| dialect.is_some());
        let time = super::now_ms();
        let record = Record {
            id: id.to_owned(),
            time,
            dialect: dialect.unwrap_or_default(),
            endpoint: path.to_owned(),
            cache: "off",
            ..Record::default()
        };
        let state = State { record, name, cache_control: control, ..State::default() };
        Account(Arc::new(Open { began: Instant::now(), sink, state: Mutex::new(state) }))
    }

    /// Opens one for a response of a call, with the work that led to it. It began when the caller stopped to speak, or asked for it. Its
    /// caller must have room for it at once: who speaks does not wait in a queue.
    pub fn of_response(books: &Books, id: &str, began: Instant, works: Works) -> Result<Account, ApiError> {
        let ticket = admitted(books);
        let account = Account::of_answer(books, id, began, works);
        account.belongs_to(books.key, ticket.as_ref().cloned().unwrap_or_default());
        ticket.map(|_| account.clone()).inspect_err(|error| account.answered(error.status, error.code.map(str::to_owned)))
    }

    /// The same for an answer that nobody has asked for yet; unless it is taken, it is thrown away unheard. Nothing is noted where there is
    /// no room for it.
    pub fn of_prepared(books: &Books, id: &str, began: Instant, works: Works) -> Result<Account, ApiError> {
        let ticket = admitted(books)?;
        let account = Account::of_answer(books, id, began, works);
        account.belongs_to(books.key, ticket);
        let record = &mut account.lock().record;
        (record.prepared, record.status) = (Some(Preparation::ThrownAway), UNHEARD);
        Ok(account.clone())
    }

    fn of_answer(books: &Books, id: &str, began: Instant, works: Works) -> Account {
        let record = Record {
            id: id.to_owned(),
            time: super::now_ms().saturating_sub(began.elapsed().as_millis() as u64),
            dialect: "realtime",
            endpoint: "/v1/realtime".to_owned(),
            cache: "off",
            status: 200,
            ..Record::default()
        };
        let state = State { record, works: Some(works), ..State::default() };
        Account(Arc::new(Open { began, sink: books.sink.clone(), state: Mutex::new(state) }))
    }

    /// As `reserve`, without a queue.
    pub fn reserve_at_once(&self, router: &Router, decision: &Decision, estimate: Option<Usage>) -> Result<(), ApiError> {
        let Some(usage) = estimate else { return Ok(()) };
        at_once(self.reserve(router, decision, &usage)).inspect_err(|error| self.answered(error.status, error.code.map(str::to_owned)))
    }

    /// What is heard, spoken and embedded for it.
    pub fn works(&self, speakers: &Speakers) -> Works {
        self.lock().works.get_or_insert_with(|| Works::new(speakers.price.clone())).clone()
    }

    /// Everything that was tried for it: what was heard first, then the answers, then the rest.
    pub fn attempts(&self) -> Vec<Attempt> {
        let (works, log) = {
            let state = self.lock();
            (state.works.clone(), state.log.clone())
        };
        attempts(works.as_ref(), log.as_ref())
    }

    /// What the caller said is known.
    pub fn transcribed(&self) {
        let took = self.0.began.elapsed();
        self.lock().record.transcript = Some(took);
    }

    /// The first sound of the answer goes out.
    pub fn speaks(&self) {
        let took = self.0.began.elapsed();
        self.lock().record.first_audio.get_or_insert(took);
    }

    /// Somebody asked for what was prepared, `ahead` after it was begun: what was heard for it is on its books.
    pub fn takes(&self, heard: &Works, ahead: Duration, signals: Vec<&'static str>) {
        let took = self.0.began.elapsed();
        let mut state = self.lock();
        state.works.get_or_insert_default().add(heard);
        let record = &mut state.record;
        (record.prepared, record.status) = (Some(Preparation::Taken { ahead_ms: ahead.as_millis() as u64 }), 200);
        (record.signals, record.transcript) = (signals, Some(took));
        // Nobody could see it before.
        record.first_content = record.first_content.map(|_| took);
    }

    /// Whose it is, and their place among those that run.
    pub(super) fn belongs_to(&self, key: KeyId, ticket: Ticket) {
        let mut state = self.lock();
        state.record.key = (key != KeyId::ANYBODY).then(|| key.to_string());
        (state.key, state.ticket) = (Some(key), ticket);
    }

    /// The request's id, as its caller knows it.
    pub(super) fn id(&self) -> String {
        self.lock().record.id.clone()
    }

    /// What the ids of its answer end with.
    pub(super) fn name(&self) -> String {
        self.lock().name.clone()
    }

    /// What is asked, and what it is taken to use; `None` where nothing is limited.
    pub fn ask(&self, prompt: &Prompt, user: Option<&str>, stream: bool, signals: Vec<&'static str>) -> Option<Usage> {
        let wants_texts = self.0.sink.as_ref().is_some_and(|sink| sink.texts);
        let mut state = self.lock();
        let record = &mut state.record;
        record.texts = wants_texts.then(|| {
            let last = prompt.messages.iter().rfind(|message| message.role == Role::User);
            let mut texts = Texts::default();
            append(&mut texts.prompt, &last.map(Message::words).unwrap_or_default());
            texts
        });
        (record.model, record.user) = (prompt.model.clone(), user.map(str::to_owned));
        (record.stream, record.signals) = (stream, signals);
        let output_tokens = prompt.sampling.max_tokens.map_or(USUAL_ANSWER, u64::from);
        (!state.ticket.is_free()).then(|| Usage { input_tokens: prompt_tokens(prompt), output_tokens, ..Usage::default() })
    }

    /// Reserves what the request is taken to use, at the price of the target that is asked first. Its caller must have room for it.
    pub(super) async fn reserve(&self, router: &Router, decision: &Decision, usage: &Usage) -> Result<(), ApiError> {
        let (ticket, user) = {
            let state = self.lock();
            (state.ticket.clone(), state.record.user.clone())
        };
        let priced = decision.targets.first().and_then(|target| router.price(target, usage));
        let cost = priced.map_or(Cost::ZERO, |priced| priced.cost);
        ticket.reserve(user.as_deref(), Use { requests: 1, tokens: usage.input_tokens + usage.output_tokens, cost }).await
    }

    /// The same of an engine that gives no answer in words, and of the tokens that it will take.
    pub(super) async fn ask_engine(&self, model: &str, user: Option<&str>, tokens: u64) -> Result<(), ApiError> {
        let ticket = {
            let mut state = self.lock();
            (state.record.model, state.record.user) = (model.to_owned(), user.map(str::to_owned));
            state.ticket.clone()
        };
        ticket.reserve(user, Use { requests: 1, tokens, cost: Cost::ZERO }).await
    }

    /// What the caller says about caching; takes it out of the prompt.
    pub(super) fn cache_control(&self, prompt: &mut Prompt) -> Result<CacheControl, ApiError> {
        let header = self.lock().cache_control.take();
        CacheControl::take(&mut prompt.extra, header.as_deref()).map_err(|detail| ApiError::invalid("cache", format!("{detail}.")))
    }

    /// The answer, from the cache where it is there, and on the books.
    pub(super) fn follow(&self, app: &App, prompt: Option<&Prompt>, control: &CacheControl, answer: Answer) -> Answer {
        let decision = answer.decision().clone();
        self.decided(&answer);
        let tenant = {
            let state = self.lock();
            let (id, user, router) = (scored_by(&state.record.id), state.record.user.as_deref(), &app.services.router);
            router.remember(id, user, &decision);
            if id != state.name {
                router.remember(&state.name, user, &decision);
            }
            state.key.unwrap_or(KeyId::ANYBODY).to_string()
        };
        // What is found on the web is kept only for who asks for it; a variant may search without the request saying so.
        let may_keep = !answer.is_live() || control.object.mode.or(decision.cache.mode).is_some();
        answer.through(|deltas| {
            let deltas = match (&app.services.cache, prompt.filter(|_| may_keep)) {
                (Some(cache), Some(prompt)) => {
                    let scope = scope(&tenant, prompt, &decision);
                    // Whoever asked first pays. Others may ride on that answer after its caller has gone: the books stay open until it ends.
                    let paid = stream::unfold((deltas, self.clone()), |(mut deltas, account)| async move {
                        let item = deltas.next().await?;
                        Some((item, (deltas, account)))
                    });
                    let served = cache.serve(Lookup { scope, prompt, control, route: &decision.cache }, move || paid.boxed());
                    self.lock().report = Some(served.report);
                    served.deltas
                }
                _ => deltas,
            };
            Followed { deltas, account: self.clone() }.boxed()
        })
    }

    /// The answer, on the books.
    #[must_use]
    pub fn watch(&self, answer: Answer) -> Answer {
        self.decided(&answer);
        answer.through(|deltas| Followed { deltas, account: self.clone() }.boxed())
    }

    /// Writes down who answers.
    fn decided(&self, answer: &Answer) {
        let mut state = self.lock();
        state.record.decided(answer.decision());
        state.log = Some(answer.log());
    }

    /// The head of the answer is on its way, or what came instead of one.
    pub fn answered(&self, status: u16, error: Option<String>) {
        let mut state = self.lock();
        state.record.status = status;
        if error.is_some() {
            state.record.error = error;
        }
    }

    /// How near its caller is to their limits.
    pub fn standings(&self) -> router::limit::Standings {
        self.lock().ticket.standings()
    }

    /// What the cache did, once the first piece is there.
    pub(super) fn cache(&self) -> Option<CacheReport> {
        self.lock().report.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The endpoints whose requests are recorded, and the names of their dialects.
fn dialect(path: &str) -> Option<&'static str> {
    Some(match path {
        "/v1/chat/completions" => "chat",
        "/v1/completions" => "completions",
        "/v1/responses" => "responses",
        "/v1/messages" => "messages",
        "/v1/embeddings" => "embeddings",
        "/v1/audio/speech" => "speech",
        "/v1/audio/transcriptions" => "transcriptions",
        _ => return None,
    })
}

/// What was heard, then the answers, then what else was done.
fn attempts(works: Option<&Works>, log: Option<&AttemptLog>) -> Vec<Attempt> {
    let answers = log.map(AttemptLog::attempts).unwrap_or_default();
    let Some(works) = works else { return answers };
    let (mut attempts, rest): (Vec<Attempt>, Vec<Attempt>) =
        works.attempts().into_iter().partition(|attempt| attempt.work == Work::Transcription);
    attempts.extend(answers);
    attempts.extend(rest);
    attempts
}

/// A place for one more answer of a call.
fn admitted(books: &Books) -> Result<Ticket, ApiError> {
    match books.ledger.is_free() {
        true => Ok(Ticket::default()),
        false => at_once(async { Ok(Ticket::of(books.ledger.admit(super::limit::now(), books.key).await?)) }),
    }
}

/// What needs no waiting; a refusal where it does.
fn at_once<T>(entering: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    let busy = || ApiError::new(429, "concurrency_limit", "As many of your requests run as may run at once; wait for one of them to end.");
    entering.now_or_never().unwrap_or_else(|| Err(busy()))
}

fn scope<'a>(tenant: &'a str, prompt: &'a Prompt, decision: &'a Decision) -> Scope<'a> {
    Scope {
        tenant,
        model: &prompt.model,
        router: decision.router.as_deref().zip(decision.version),
        route: &decision.route,
        variant: decision.variant.as_deref(),
    }
}

/// Adds to a recorded text as far as there is room.
fn append(text: &mut String, more: &str) {
    let room = LONGEST_TEXT.saturating_sub(text.len());
    text.push_str(&more[..more.floor_char_boundary(room)]);
}

/// Pieces of an answer on their way, and noted. The pieces are let go first, so that their attempts are over when the books are closed.
struct Followed {
    deltas: BoxStream<'static, Result<Delta, RouteError>>,
    account: Account,
}

impl Stream for Followed {
    type Item = Result<Delta, RouteError>;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Option<Self::Item>> {
        let polled = self.deltas.poll_next_unpin(context);
        if let std::task::Poll::Ready(Some(item)) = &polled {
            let account = &self.account;
            match item {
                Ok(Delta::Usage(usage)) => account.lock().record.usage = Some(*usage),
                Ok(Delta::Finish(finish)) => account.lock().record.finish = Some(*finish),
                Ok(content @ (Delta::Text(_) | Delta::ToolCall { .. } | Delta::Reasoning(_))) => {
                    let began = account.0.began;
                    let record = &mut account.lock().record;
                    record.first_content.get_or_insert_with(|| began.elapsed());
                    if let (Some(texts), Delta::Text(text)) = (&mut record.texts, content) {
                        append(&mut texts.answer, text);
                    }
                }
                Ok(Delta::Signature(_) | Delta::Redacted(_) | Delta::Extra(_)) => {}
                Err(error) => account.lock().record.error = Some(error.code().to_owned()),
            }
        }
        polled
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let State { mut record, ticket, log, works, report, .. } =
            std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        record.tried(&attempts(works.as_ref(), log.as_ref()));
        if let Some(report) = report {
            let paid = record.cost_nano_usd.filter(|_| report.status().hit().is_some());
            record.cached(report.status());
            // The answer costs nothing; what was heard and spoken for it does all the same.
            record.cost_nano_usd = paid.or(record.cost_nano_usd);
        }
        let used = record.attempts.iter().filter_map(|attempt| attempt.usage).map(|usage| usage.input_tokens + usage.output_tokens);
        let cost = Cost::from_nano_usd(record.cost_nano_usd.unwrap_or(0));
        // What nobody asked for is no request of theirs.
        let requests = u64::from(record.prepared != Some(Preparation::ThrownAway));
        ticket.settle(Use { requests, tokens: used.sum(), cost });
        if let Some(sink) = &self.sink {
            record.total = Some(self.began.elapsed());
            (sink.take)(record);
        }
    }
}
