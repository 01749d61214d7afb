//! Realtime calls over WebRTC: `POST /v1/realtime/calls` answers an SDP offer, and the call is carried over UDP from then on.
//!
//! One task owns a call: its connection (ICE, DTLS, SRTP and SCTP of the crate `rtc`, which does no I/O), its place at the one UDP port, and
//! its session. Events travel over the data channel, sound over RTP as Opus; one clock of 20 ms paces both directions, so that what was sent
//! is what was heard. The server is an ICE-lite agent (RFC 8445 section 2.5): it has addresses that clients can reach, and only answers.
//! Not here: TURN, ICE over TCP, and restarts.

mod connection;
mod intake;
mod offer;
mod peer;
mod playout;
mod port;

use std::sync::{Arc, Mutex, PoisonError};

use audio::Rate;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use router::limit::KeyId;
use serde::Deserialize;
use tokio::task::JoinSet;
use tracing::info;

use crate::ApiError;
use crate::line::Line;
use crate::secrets::Secret;
use crate::ws::Shared;

use peer::Peer;
pub use port::Port;

/// Rate of the sound between a call and its session: what OpenAI's sessions are said to have, and what speech is made in.
const RATE: Rate = Rate::SPEECH;

/// What the endpoint stands on.
struct Calls {
    shared: Arc<Shared>,
    port: Arc<Port>,
    /// The calls in progress: they end with the server.
    tasks: Mutex<JoinSet<()>>,
}

/// The endpoint. It asks for no key, as [`routes`](crate::ws::routes) does not.
pub(crate) fn routes(shared: Arc<Shared>, port: Port) -> Router {
    let calls = Calls { shared, port: Arc::new(port), tasks: Mutex::default() };
    // The beta dialect posted its offers where it opened its WebSockets.
    Router::new().route("/v1/realtime/calls", post(create)).route("/v1/realtime", post(create)).with_state(Arc::new(calls))
}

/// The endpoint of a server that has no port for it: it says so.
pub(crate) fn absent() -> Router {
    let message = "This server takes no WebRTC calls: set [webrtc] listen, or connect a WebSocket to /v1/realtime.";
    Router::new().route("/v1/realtime/calls", post(move || async move { ApiError::new(501, "not_available", message) }))
}

/// What stands in the address.
#[derive(Deserialize)]
struct Asked {
    model: Option<String>,
}

async fn create(
    State(calls): State<Arc<Calls>>,
    key: Option<Extension<KeyId>>,
    secret: Option<Extension<Arc<Secret>>>,
    asked: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Response {
    let key = key.map_or(KeyId::ANYBODY, |Extension(key)| key);
    match call(&calls, (key, secret.as_ref().map(|Extension(secret)| &**secret)), asked, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn call(
    calls: &Calls,
    (key, secret): (KeyId, Option<&Secret>),
    asked: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Query(asked) = asked.map_err(|error| ApiError::new(400, "invalid_value", format!("The address is wrong: {error}.")))?;
    let place = calls.shared.place()?;
    let mut realtime = calls.shared.realtime_for(request.headers(), asked.model, secret)?;
    let offer = offer::read(request).await?;
    if let Some(session) = offer.session {
        realtime.configure(session)?;
    }
    let (answer, connected) = connection::connect(&offer.sdp, &calls.port)?;
    let session = realtime.id().to_owned();
    let id = session.replacen("sess", "rtc", 1);
    info!(call = %session, model = %realtime.config().model, transport = "webrtc", "Call began.");
    let config = connection::carried(realtime.config().clone());
    let realtimes = &calls.shared.realtimes;
    let line = Line::new(realtime, config, calls.shared.books(key), &realtimes.answer);
    let peer = Peer::new(connected, calls.port.clone(), line, realtimes.limits.clone())
        .map_err(|error| ApiError::new(500, "server_error", format!("The call cannot begin: {error}.")))?;
    let mut tasks = calls.tasks.lock().unwrap_or_else(PoisonError::into_inner);
    while tasks.try_join_next().is_some() {}
    tasks.spawn(async move {
        let end = peer.run().await;
        info!(call = %session, %end, "Call ended.");
        drop(place);
    });
    let mut response = (StatusCode::CREATED, [(CONTENT_TYPE, "application/sdp")], answer).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/realtime/calls/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}
