//! What becomes of a request: it is counted, paid for and recorded once its last byte has gone, or its caller has.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use models::{Delta, Prompt, Usage};
use router::cost::prompt_tokens;
use router::limit::{KeyId, Use};
use router::{Answer, AttemptLog, CacheControl, CacheReport, Cost, Decision, Lookup, Record, RouteError, Scope};

use super::App;
use super::limit::Ticket;
use crate::wire::router::scored_by;
use crate::{ApiError, RecordSink};

/// Tokens that an answer is taken to have where nobody bounds it, until it is known.
const USUAL_ANSWER: u64 = 512;

/// One request on the books. All that work on it hold one; it is closed when the last lets go.
#[derive(Clone)]
pub(super) struct Account(Arc<Open>);

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
    pub(super) fn ask(&self, prompt: &Prompt, user: Option<&str>, stream: bool, signals: Vec<&'static str>) -> Option<Usage> {
        let mut state = self.lock();
        let record = &mut state.record;
        (record.model, record.user) = (prompt.model.clone(), user.map(str::to_owned));
        (record.stream, record.signals) = (stream, signals);
        let output_tokens = prompt.sampling.max_tokens.map_or(USUAL_ANSWER, u64::from);
        (!state.ticket.is_free()).then(|| Usage { input_tokens: prompt_tokens(prompt), output_tokens, ..Usage::default() })
    }

    /// Reserves what the request is taken to use, at the price of the target that is asked first. Its caller must have room for it.
    pub(super) async fn reserve(&self, app: &App, decision: &Decision, usage: &Usage) -> Result<(), ApiError> {
        let (ticket, user) = {
            let state = self.lock();
            (state.ticket.clone(), state.record.user.clone())
        };
        let priced = decision.targets.first().and_then(|target| app.services.router.price(target, usage));
        let cost = priced.map_or(Cost::ZERO, |priced| priced.cost);
        ticket.reserve(user.as_deref(), Use { requests: 1, tokens: usage.input_tokens + usage.output_tokens, cost }).await
    }

    /// What the caller says about caching; takes it out of the prompt.
    pub(super) fn cache_control(&self, prompt: &mut Prompt) -> Result<CacheControl, ApiError> {
        let header = self.lock().cache_control.take();
        CacheControl::take(&mut prompt.extra, header.as_deref()).map_err(|detail| ApiError::invalid("cache", format!("{detail}.")))
    }

    /// The answer, from the cache where it is there, and on the books.
    pub(super) fn follow(&self, app: &App, prompt: Option<&Prompt>, control: &CacheControl, answer: Answer) -> Answer {
        let decision = answer.decision().clone();
        let tenant = {
            let mut state = self.lock();
            state.record.decided(&decision);
            state.log = Some(answer.log());
            let (id, user, router) = (scored_by(&state.record.id), state.record.user.as_deref(), &app.services.router);
            router.remember(id, user, &decision);
            if id != state.name {
                router.remember(&state.name, user, &decision);
            }
            state.key.unwrap_or(KeyId::ANYBODY).to_string()
        };
        answer.through(|deltas| {
            let deltas = match (&app.services.cache, prompt) {
                (Some(cache), Some(prompt)) => {
                    let scope = scope(&tenant, prompt, &decision);
                    let served = cache.serve(Lookup { scope, prompt, control, route: &decision.cache }, move || deltas);
                    self.lock().report = Some(served.report);
                    served.deltas
                }
                _ => deltas,
            };
            Followed { deltas, account: self.clone() }.boxed()
        })
    }

    /// The head of the answer is on its way.
    pub(super) fn answered(&self, status: u16, error: Option<String>) {
        let mut state = self.lock();
        state.record.status = status;
        if error.is_some() {
            state.record.error = error;
        }
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

fn scope<'a>(tenant: &'a str, prompt: &'a Prompt, decision: &'a Decision) -> Scope<'a> {
    Scope {
        tenant,
        model: &prompt.model,
        router: decision.router.as_deref().zip(decision.version),
        route: &decision.route,
        variant: decision.variant.as_deref(),
    }
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
                Ok(Delta::Text(_) | Delta::ToolCall { .. } | Delta::Reasoning(_)) => {
                    let began = account.0.began;
                    account.lock().record.first_content.get_or_insert_with(|| began.elapsed());
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
        let State { mut record, ticket, log, report, .. } = std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        record.tried(&log.as_ref().map(AttemptLog::attempts).unwrap_or_default());
        if let Some(report) = report {
            record.cached(report.status());
        }
        let used = record.attempts.iter().filter_map(|attempt| attempt.usage).map(|usage| usage.input_tokens + usage.output_tokens);
        let cost = Cost::from_nano_usd(record.cost_nano_usd.unwrap_or(0));
        ticket.settle(Use { requests: 1, tokens: used.sum(), cost });
        if let Some(sink) = &self.sink {
            record.total = Some(self.began.elapsed());
            sink(record);
        }
    }
}
