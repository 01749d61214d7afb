//! What is asked of a call in progress over HTTP: `POST /v1/realtime/calls/{id}/hangup`, and what OpenAI's calls over SIP know besides.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Extension, Router};
use router::limit::KeyId;

use super::Shared;
use crate::ApiError;

/// The endpoints.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/realtime/calls/{id}/hangup", post(hang_up))
        .route("/v1/realtime/calls/{id}/accept", post(accept))
        .route("/v1/realtime/calls/{id}/reject", post(reject))
        .route("/v1/realtime/calls/{id}/refer", post(refer))
}

type Caller = Option<Extension<KeyId>>;

fn key(caller: Caller) -> KeyId {
    caller.map_or(KeyId::ANYBODY, |Extension(key)| key)
}

async fn hang_up(State(shared): State<Arc<Shared>>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    shared.realtimes.books.live.hang_up(&id, key(caller)).map(|()| StatusCode::OK)
}

async fn accept(State(shared): State<Arc<Shared>>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    begun(&shared, caller, &id, "Its session can be changed by `session.update` over /v1/realtime?call_id=.")
}

async fn reject(State(shared): State<Arc<Shared>>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    begun(&shared, caller, &id, "POST to its /hangup to end it.")
}

/// Calls do not ring here: whoever reaches the server is in a call, or was refused.
fn begun(shared: &Shared, caller: Caller, id: &str, instead: &str) -> Result<StatusCode, ApiError> {
    shared.realtimes.books.live.look(id, key(caller))?;
    Err(ApiError::new(409, "call_already_accepted", format!("The call is in progress: calls are accepted here when they come. {instead}")))
}

async fn refer(State(shared): State<Arc<Shared>>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    shared.realtimes.books.live.look(&id, key(caller))?;
    let message = "The call cannot be handed on from here: it is no SIP call of this server's. Hand it on where it came in, at the \
                   carrier or the PBX, and POST to its /hangup.";
    Err(ApiError::new(400, "refer_not_supported", message))
}
