//! Realtime calls over WebSocket: `GET /v1/realtime`.
//!
//! One task owns a call: it reads the socket, writes it, and drives the session; when the task goes, so does all of it. What waits is
//! bounded: a session that is behind holds back the client's socket, a client that does not read holds back the session, and after
//! [`Limits::write`] ends its own call. The task knows no wire format but through [`Realtime`], and decides nothing about the conversation.

mod client_secrets;
mod connection;
mod orders;
mod sideband;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures::future::BoxFuture;
use router::limit::KeyId;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::info;

use crate::call::{Call, SessionConfig};
use crate::secrets::Secret;
use crate::stopping::{Stop, Stopping};
use crate::{ApiError, Books, Dialect, Realtime, rtc};

use connection::Connection;

/// Who answers calls. The call is over when the future is, and the other way round: a call that is over drops it.
pub type Answer = Arc<dyn Fn(Call) -> BoxFuture<'static, ()> + Send + Sync>;

/// How much a realtime client may ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Largest message, bytes. A larger one closes the call.
    pub message_bytes: usize,
    /// Most calls at once. One more is refused.
    pub sessions: usize,
    /// Longest call.
    pub session: Duration,
    /// How long a client may read nothing while something waits for it.
    pub write: Duration,
    /// How often a silent client is pinged. One that is silent for three times as long is gone.
    pub ping: Duration,
}

impl Default for Limits {
    /// The 15 MiB of sound that one event may carry are 20 MiB of base64; an hour is OpenAI's own longest session.
    fn default() -> Limits {
        Limits {
            message_bytes: 20 * 1024 * 1024 + 64 * 1024,
            sessions: 256,
            session: Duration::from_secs(60 * 60),
            write: Duration::from_secs(10),
            ping: Duration::from_secs(20),
        }
    }
}

/// What the endpoint stands on.
#[derive(Clone)]
pub struct Realtimes {
    /// Who answers.
    pub answer: Answer,
    /// What a client's session starts from.
    pub defaults: SessionConfig,
    /// How much.
    pub limits: Limits,
    /// Where the books of calls are kept; the key is each caller's own.
    pub books: Books,
    /// Tells calls when the server stops.
    pub stopping: Stopping,
}

/// What calls of all transports have in common: who answers, and one limit.
pub struct Shared {
    pub(crate) realtimes: Realtimes,
    places: Arc<Semaphore>,
}

/// What a call holds as long as it lasts.
pub(crate) struct Place {
    pub(crate) permit: OwnedSemaphorePermit,
    /// When it has to end, because the server does.
    pub(crate) stop: Stop,
}

impl Shared {
    /// For calls of these.
    pub fn new(realtimes: Realtimes) -> Arc<Shared> {
        let places = Arc::new(Semaphore::new(realtimes.limits.sessions.min(Semaphore::MAX_PERMITS)));
        Arc::new(Shared { realtimes, places })
    }

    /// A place for one more call.
    pub(crate) fn place(&self) -> Result<Place, ApiError> {
        let stopping = || ApiError::new(503, "server_stopping", "The server stops: call another one.");
        let stop = self.realtimes.stopping.call().ok_or_else(stopping)?;
        let permit = self.places.clone().try_acquire_owned().map_err(|_| {
            let message = format!("All {} realtime sessions are taken; try again later.", self.realtimes.limits.sessions);
            ApiError { retry_after: Some(Duration::from_secs(5)), ..ApiError::new(429, "too_many_sessions", message) }
        })?;
        Ok(Place { permit, stop })
    }

    /// Where the calls of whoever has `key` are booked.
    pub(crate) fn books(&self, key: KeyId) -> Books {
        Books { key, ..self.realtimes.books.clone() }
    }

    /// A new session for whoever sent `headers`, with what their ephemeral key stands for.
    pub(crate) fn realtime_for(&self, headers: &HeaderMap, model: Option<String>, secret: Option<&Secret>) -> Result<Realtime, ApiError> {
        let mut realtime = self.realtime(model);
        if speaks_beta(headers) {
            realtime = realtime.speaking(Dialect::Beta);
        }
        if is_strict(headers) {
            realtime = realtime.strictly();
        }
        if let Some(secret) = secret {
            realtime.configure(secret.session.clone())?;
        }
        Ok(realtime)
    }

    /// A new session that asks for `model`, or for the default one.
    pub(crate) fn realtime(&self, model: Option<String>) -> Realtime {
        let defaults = self.realtimes.defaults.clone();
        let model = model.filter(|model| !model.is_empty()).unwrap_or_else(|| defaults.model.clone());
        self.session(SessionConfig { model, ..defaults })
    }

    /// A new session with this configuration.
    pub(crate) fn session(&self, config: SessionConfig) -> Realtime {
        let limit = self.realtimes.limits.session.as_secs();
        let expires = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) + limit;
        Realtime::new(&fresh_id(), config.model.clone(), config).expiring_at(expires)
    }
}

/// The endpoints: the WebSocket's, and with a `port` WebRTC's, both within the same limits. They ask for no key: that is for the layer
/// around them, as with [`Services::realtime`](crate::Services::realtime).
pub fn routes(shared: Arc<Shared>, port: Option<(rtc::Port, rtc::IceServers)>) -> Router {
    let calls = port.map_or_else(rtc::absent, |(port, servers)| rtc::routes(shared.clone(), port, servers));
    let own = Router::new().route("/v1/realtime", get(upgrade)).merge(client_secrets::routes()).merge(orders::routes());
    own.with_state(shared).merge(calls)
}

/// The endpoint of a server that holds no calls: it says so.
pub fn absent() -> Router {
    let message = "This server holds no realtime sessions: it was set up without a voice.";
    Router::new().route("/v1/realtime", get(move || async move { ApiError::new(501, "not_available", message) })).merge(rtc::absent())
}

/// What stands in the address.
#[derive(Deserialize)]
struct Asked {
    model: Option<String>,
    intent: Option<String>,
    call_id: Option<String>,
}

/// Who asks: their key, what it stands for if it is an ephemeral one, and how they speak.
type Caller = (Option<Extension<KeyId>>, Option<Extension<Arc<Secret>>>, HeaderMap);

/// Whether a client speaks the beta dialect: it says so in a header, or in a browser by a subprotocol.
fn speaks_beta(headers: &HeaderMap) -> bool {
    lists(headers, "openai-beta", |name| name == "realtime=v1")
        || lists(headers, "sec-websocket-protocol", |name| name == "openai-beta.realtime-v1")
}

/// Whether a client complains of events that it does not know: OpenAI's agents SDKs, which name themselves in one of these ways.
fn is_strict(headers: &HeaderMap) -> bool {
    headers.contains_key("x-openai-agents-sdk")
        || lists(headers, "sec-websocket-protocol", |name| name.starts_with("openai-agents-sdk."))
        || lists(headers, "user-agent", |name| name.starts_with("Agents/"))
}

/// Whether a header, a list or not, has such a member.
fn lists(headers: &HeaderMap, header: &str, is: impl Fn(&str) -> bool) -> bool {
    let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|member| is(member.trim()))
}

async fn upgrade(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    asked: Result<Query<Asked>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match accept(&shared, caller, asked, upgrade) {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

fn accept(
    shared: &Arc<Shared>,
    (key, secret, headers): Caller,
    asked: Result<Query<Asked>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let Query(asked) = asked.map_err(|error| ApiError::new(400, "invalid_value", format!("The address is wrong: {error}.")))?;
    let Realtimes { answer, limits, books, .. } = &shared.realtimes;
    let key = key.map_or(KeyId::ANYBODY, |Extension(key)| key);
    let transcribes = match asked.intent.as_deref() {
        None | Some("" | "realtime") => false,
        Some("transcription") => true,
        Some(_) => return Err(ApiError::invalid("intent", "`intent` must be `transcription`, or absent.")),
    };
    if asked.call_id.is_some() && secret.is_some() {
        let message = "An ephemeral key begins calls of its own; attach to a call with the key that the call's was made with.";
        return Err(ApiError::new(403, "key_not_allowed", message));
    }
    let upgrade = upgrade.map_err(|error| {
        let message = format!("This endpoint speaks WebSocket only: {error}.");
        ApiError::new(error.into_response().status().as_u16(), "websocket_required", message)
    })?;
    // Twice the limit is read, so that a message a little too large gets a proper goodbye instead of a reset connection.
    let most = limits.message_bytes.saturating_mul(2);
    let upgrade = upgrade.protocols(["realtime"]).max_message_size(most).max_frame_size(most);
    if let Some(id) = asked.call_id {
        let (attached, limits) = (books.live.attach(&id, key)?, limits.clone());
        return Ok(upgrade.on_upgrade(move |socket| sideband::serve(socket, id, attached, limits)));
    }
    let Place { permit, stop } = shared.place()?;
    let mut realtime = shared.realtime_for(&headers, asked.model, secret.as_ref().map(|Extension(secret)| &**secret))?;
    if transcribes {
        realtime = realtime.transcribing();
    }
    let (answer, limits, books) = (answer.clone(), limits.clone(), shared.books(key));
    Ok(upgrade.on_upgrade(move |socket| async move {
        let id = realtime.id().to_owned();
        info!(call = %id, model = %realtime.config().model, "Call began.");
        let end = Connection::new(socket, realtime, books, &answer, &limits).run(stop).await;
        info!(call = %id, %end, "Call ended.");
        drop(permit);
    }))
}

/// An id that no other session has; not a secret.
fn fresh_id() -> String {
    // Each `RandomState` has other keys, so hashing a constant gives another number each time.
    let [high, low] = [0, 1].map(|word| RandomState::new().hash_one(word));
    format!("sess_{high:016x}{low:016x}")
}
