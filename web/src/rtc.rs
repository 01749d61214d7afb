//! Realtime calls over WebRTC: `POST /v1/realtime/calls` answers an SDP offer, and the call is carried over UDP from then on.
//!
//! One task owns a call: its connection (ICE, DTLS, SRTP and SCTP of the crate `rtc`, which does no I/O), its place at the one UDP port, and
//! its session. Events travel over the data channel, sound over RTP as Opus; one clock of 20 ms paces both directions, so that what was sent
//! is what was heard. The server is an ICE-lite agent (RFC 8445 section 2.5): it has addresses that clients can reach, by UDP and TCP, and
//! only answers. A client that moves to another network, or lost its connection, goes on with its call by another offer.
//! Not here: a TURN server; clients are told of others' ([`ice_servers`]).

mod connection;
mod end;
mod ice;
mod ice_servers;
mod intake;
mod offer;
mod peer;
mod playout;
mod port;
mod renewal;
mod sdp;
mod stand_in;
mod voice;
mod way;

use std::sync::{Arc, Mutex, PoisonError};

use audio::Rate;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Extension, Router};
use router::limit::KeyId;
use serde::Deserialize;
use tokio::task::JoinSet;
use tracing::info;

use crate::ApiError;
use crate::line::Line;
use crate::secrets::Secret;
use crate::ws::{Place, Shared};

use connection::Connection;
pub use ice_servers::{IceServers, TurnSecret};
use peer::{Begun, Peer};
pub use port::{Listen, Port};
use renewal::{Renewals, Renewed};

/// Rate of the sound between a call and its session: what OpenAI's sessions are said to have, and what speech is made in.
const RATE: Rate = Rate::SPEECH;

/// What the endpoint stands on.
struct Calls {
    shared: Arc<Shared>,
    port: Arc<Port>,
    ice_servers: IceServers,
    renewals: Renewals,
    /// The calls in progress: they end with the server.
    tasks: Mutex<JoinSet<()>>,
}

/// The endpoints. They ask for no key, as [`routes`](crate::ws::routes) does not.
pub(crate) fn routes(shared: Arc<Shared>, port: Port, ice_servers: IceServers) -> Router {
    let calls = Calls { shared, port: Arc::new(port), ice_servers, renewals: Renewals::default(), tasks: Mutex::default() };
    Router::new()
        // The beta dialect posted its offers where it opened its WebSockets.
        .route("/v1/realtime", post(create))
        .route("/v1/realtime/calls", post(create))
        .route("/v1/realtime/calls/{id}", patch(renew))
        .route("/v1/realtime/ice-servers", get(servers))
        .with_state(Arc::new(calls))
}

/// The endpoints of a server that has no port for them: they say so.
pub(crate) fn absent() -> Router {
    let message = "This server takes no WebRTC calls: set [webrtc] listen, or connect a WebSocket to /v1/realtime.";
    let refuse = move || async move { ApiError::new(501, "not_available", message) };
    Router::new()
        .route("/v1/realtime/calls", post(refuse))
        .route("/v1/realtime/calls/{id}", patch(refuse))
        .route("/v1/realtime/ice-servers", get(refuse))
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
    let Place { permit, stop } = calls.shared.place()?;
    let mut realtime = calls.shared.realtime_for(request.headers(), asked.model, secret)?;
    let offer = offer::read(request).await?;
    if let Some(session) = offer.session {
        realtime.configure(session)?;
    }
    let (answer, connection) = Connection::answer(&offer.sdp, &calls.port)?;
    let session = realtime.id().to_owned();
    let id = session.replacen("sess", "rtc", 1);
    info!(call = %session, model = %realtime.config().model, transport = "webrtc", "Call began.");
    let config = connection::carried(realtime.config().clone());
    let realtimes = &calls.shared.realtimes;
    let line = Line::new(realtime, config, calls.shared.books(key), &realtimes.answer);
    let begun = Begun { connection, port: calls.port.clone(), renewals: calls.renewals.enter(&id, key), stop };
    let peer = Peer::new(begun, line, realtimes.limits.clone())
        .map_err(|error| ApiError::new(500, "server_error", format!("The call cannot begin: {error}.")))?;
    let mut tasks = calls.tasks.lock().unwrap_or_else(PoisonError::into_inner);
    while tasks.try_join_next().is_some() {}
    tasks.spawn(async move {
        let end = peer.run().await;
        info!(call = %session, %end, "Call ended.");
        drop(permit);
    });
    let mut response = (StatusCode::CREATED, [(CONTENT_TYPE, "application/sdp")], answer).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/realtime/calls/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Another offer to a call in progress, or a part of one.
async fn renew(
    State(calls): State<Arc<Calls>>,
    Path(id): Path<String>,
    key: Option<Extension<KeyId>>,
    request: Request,
) -> Result<Response, ApiError> {
    let key = key.map_or(KeyId::ANYBODY, |Extension(key)| key);
    let asked = offer::read_renewal(request).await?;
    let response = match calls.renewals.ask(&id, key, asked).await? {
        Renewed::Answer(answer) => ([(CONTENT_TYPE, "application/sdp")], answer).into_response(),
        Renewed::Part(part) => ([(CONTENT_TYPE, offer::PART)], part).into_response(),
        Renewed::Same => StatusCode::NO_CONTENT.into_response(),
    };
    Ok(response)
}

/// The STUN and TURN servers that clients may use, with credentials for a while.
async fn servers(State(calls): State<Arc<Calls>>, key: Option<Extension<KeyId>>) -> Response {
    let key = key.map_or(KeyId::ANYBODY, |Extension(key)| key);
    calls.ice_servers.answer(key)
}
