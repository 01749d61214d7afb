//! The HTTP endpoints: thin shells that read a request, ask the models, and write the answer.

pub(crate) mod account;
mod aloud;
mod body;
mod chat;
mod completions;
mod embeddings;
mod events;
pub(crate) mod limit;
mod messages;
mod models;
mod question;
mod responses;
mod routers;
mod speech;
mod transcriptions;
mod voices;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;
use tracing::{debug, warn};

use crate::history::History;
use crate::operations::cache_headers;
use crate::spoken::Transcripts;
use crate::{ApiError, RecordSink, Services};
use account::Account;
use limit::Held;

/// What every endpoint sees.
struct App {
    services: Services,
    transcripts: Transcripts,
    history: History,
}

pub(crate) fn app(mut services: Services) -> Router {
    let realtime = services.realtime.take().unwrap_or_default();
    let phone = services.phone.take().unwrap_or_default();
    let body_bytes = services.limits.body_bytes;
    let sink = services.record.clone();
    let app = Arc::new(App { services, transcripts: Transcripts::default(), history: History::default() });
    let api = Router::new()
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/completions", post(completions::complete))
        .route("/v1/responses", post(responses::create))
        .route("/v1/responses/{id}", get(responses::show).delete(responses::delete))
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/v1/messages", post(messages::create))
        .route("/v1/messages/count_tokens", post(messages::count_tokens))
        .route("/v1/audio/speech", post(speech::speak))
        .route("/v1/audio/transcriptions", post(transcriptions::transcribe))
        .route("/v1/voices", get(voices::list))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::show))
        .merge(routers::routes())
        .with_state(app.clone())
        .merge(realtime)
        .route_layer(middleware::from_fn_with_state(app.services.ledger.clone(), limit::limit))
        .route_layer(middleware::from_fn_with_state(app.clone(), check_key));
    let health = Router::new().route("/readyz", get(ready)).with_state(app);
    api.merge(health)
        .merge(crate::demo::routes())
        .merge(phone)
        .route("/healthz", get(|| async { Json(serde_json::json!({ "status": "ok" })) }))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(body_bytes))
        .layer(middleware::from_fn_with_state(sink, label))
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    match (app.services.ready)() {
        Ok(()) => Json(serde_json::json!({ "status": "ready" })).into_response(),
        Err(missing) => ApiError::new(503, "not_ready", missing).into_response(),
    }
}

/// What clients ask for most, to be found again in a path that is nearly right.
const PATHS: [&str; 8] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/models",
];

/// The path that was meant, where the base URL has a slash or a `/v1` too many or too few.
fn meant(path: &str) -> Option<&'static str> {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != "v1").collect::<Vec<_>>().join("/");
    PATHS.into_iter().find(|known| known.strip_prefix("/v1/") == Some(parts.as_str()) && *known != path)
}

async fn no_such_path(request: Request) -> ApiError {
    let path = request.uri().path();
    let hint = match meant(path) {
        Some(meant) => format!("did you mean {meant}? Look at the base URL that your client is given."),
        None => "the API starts at /v1/ and /router/v1/.".to_owned(),
    };
    let message = format!("There is no {} {path} here; {hint}", request.method());
    ApiError::new(404, "unknown_url", message)
}

async fn no_such_method(request: Request) -> ApiError {
    let message = format!("{} is not allowed for {}.", request.method(), request.uri().path());
    ApiError::new(405, "method_not_allowed", message)
}

async fn check_key(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let keys = &app.services.keys;
    match keys.admit(request.headers(), request.uri().path()) {
        Ok((key, secret)) => {
            request.extensions_mut().insert(key);
            if request.uri().path().starts_with("/v1/realtime") {
                request.extensions_mut().insert(keys.ephemeral().clone());
                secret.map(|secret| request.extensions_mut().insert(secret));
            }
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// The id of a request: the caller's own if it sent a usable one.
#[derive(Clone, Debug)]
struct RequestId(String);

/// Longest id that is taken from a caller, bytes.
const LONGEST_ID: usize = 128;

/// Gives each request an id, writes errors in its dialect, and logs what became of it.
async fn label(State(sink): State<Option<RecordSink>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let given = request.headers().get("x-request-id").and_then(|id| id.to_str().ok());
    let given = given.filter(|id| !id.is_empty() && id.len() <= LONGEST_ID).map(str::to_owned);
    let name = fresh_id("");
    let id = given.unwrap_or_else(|| format!("req_{name}"));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // Only Anthropic's clients send it, on every path.
    let is_anthropic = path.starts_with("/v1/messages") || request.headers().contains_key("anthropic-version");
    request.extensions_mut().insert(RequestId(id.clone()));
    let account = Account::open(sink, &id, name, &path, request.headers());
    request.extensions_mut().insert(account.clone());
    let mut response = next.run(request).await;
    let error = response.extensions_mut().remove::<ApiError>();
    account.answered(response.status().as_u16(), error.as_ref().and_then(|error| error.code).map(str::to_owned));
    if is_anthropic && let Some(error) = error {
        let standing = std::mem::take(response.headers_mut());
        response = respond_with(&error, error.to_anthropic(&id));
        for (name, value) in standing.iter().filter(|(name, _)| name.as_str().starts_with("x-ratelimit-") || *name == header::ALLOW) {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    for (name, value) in account.cache().iter().flat_map(cache_headers) {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response = response.map(|body| Body::new(Held { body, _guard: account }));
    let ms = began.elapsed().as_millis() as u64;
    // The record of requests has them all; a line of log for each would cost more than the routing.
    match response.status().as_u16() {
        status @ 500.. => warn!(request = %id, %method, path, status, ms, "Failed."),
        status => debug!(request = %id, %method, path, status, ms, "Answered."),
    }
    // What came in a header can go out in one; what was made here is hexadecimal digits.
    if let Ok(value) = HeaderValue::try_from(id) {
        if is_anthropic {
            response.headers_mut().insert("request-id", value.clone());
        }
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

/// An id that no other request has; not a secret.
fn fresh_id(prefix: &str) -> String {
    // Each `RandomState` has other keys, so hashing a constant gives another number each time.
    let [high, low] = [0, 1].map(|word| RandomState::new().hash_one(word));
    format!("{prefix}{high:016x}{low:016x}")
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = respond_with(&self, self.to_json());
        // For `label`, which knows the caller's dialect.
        response.extensions_mut().insert(self);
        response
    }
}

fn respond_with(error: &ApiError, body: Value) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(body)).into_response();
    if let Some(wait) = error.retry_after {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
