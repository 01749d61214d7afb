//! Ephemeral keys over HTTP: `POST /v1/realtime/client_secrets`, and the beta dialect's `/v1/realtime/sessions` and
//! `/v1/realtime/transcription_sessions`, which answer with the session and the key in it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use router::limit::KeyId;
use serde_json::{Map, Value, json};

use super::Shared;
use crate::secrets::Secrets;
use crate::wire::Field;
use crate::{ApiError, Dialect};

/// Largest body, bytes: a session with many tools has some ten thousand.
const MOST_BYTES: usize = 512 * 1024;
/// How long a key is good, seconds: the least, the most, and what OpenAI gives where nobody asks.
const SECONDS: (u64, u64, u64) = (10, 7_200, 600);
/// How long a beta key is good.
const BETA_SECONDS: u64 = 60;

/// The endpoints.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/realtime/client_secrets", post(create))
        .route("/v1/realtime/sessions", post(create_session))
        .route("/v1/realtime/transcription_sessions", post(create_transcription))
}

type Minting = (Option<Extension<KeyId>>, Option<Extension<Secrets>>);

async fn create(State(shared): State<Arc<Shared>>, minting: Minting, request: Request) -> Result<Response, ApiError> {
    let mut body = Field::root(read(request).await?).object()?;
    let mut seconds = SECONDS.2;
    if let Some(expires_after) = body.take("expires_after") {
        let mut expires_after = expires_after.object()?;
        expires_after.take("anchor").map(|anchor| anchor.one_of(&[("created_at", ())])).transpose()?;
        if let Some(field) = expires_after.take("seconds") {
            seconds = field.whole(SECONDS.0, SECONDS.1)?;
        }
        expires_after.nothing_else(&["anchor", "seconds"])?;
    }
    let session = body.take("session").map_or_else(|| json!({ "type": "realtime" }), Field::into_value);
    body.nothing_else(&["expires_after", "session"])?;
    let mut realtime = shared.realtime(None);
    realtime.configure(session.clone())?;
    let (value, expires_at) = mint(minting, session, seconds)?;
    Ok(Json(json!({ "value": value, "expires_at": expires_at, "session": realtime.session_json() })).into_response())
}

async fn create_session(State(shared): State<Arc<Shared>>, minting: Minting, request: Request) -> Result<Response, ApiError> {
    beta(&shared, minting, read(request).await?, "realtime")
}

async fn create_transcription(State(shared): State<Arc<Shared>>, minting: Minting, request: Request) -> Result<Response, ApiError> {
    beta(&shared, minting, read(request).await?, "transcription")
}

/// The session is the body itself, without a type; the key is in the answer's session.
fn beta(shared: &Shared, minting: Minting, body: Value, kind: &str) -> Result<Response, ApiError> {
    let mut fields = Field::root(body).object()?;
    let mut seconds = BETA_SECONDS;
    if let Some(secret) = fields.take("client_secret") {
        let expires_after = secret.object()?.take("expires_after").or(fields.take("expires_after"));
        if let Some(field) = expires_after.map(Field::object).transpose()?.and_then(|mut after| after.take("seconds")) {
            seconds = field.whole(SECONDS.0, SECONDS.1)?;
        }
    }
    let mut session = Map::from_iter([("type".to_owned(), json!(kind))]);
    session.extend(fields.rest());
    let session = Value::Object(session);
    let mut realtime = shared.realtime(None).speaking(Dialect::Beta);
    realtime.configure(session.clone())?;
    let (value, expires_at) = mint(minting, session, seconds)?;
    let mut answer = realtime.session_json();
    answer["client_secret"] = json!({ "value": value, "expires_at": expires_at });
    Ok(Json(answer).into_response())
}

fn mint((key, secrets): Minting, session: Value, seconds: u64) -> Result<(String, u64), ApiError> {
    let key = key.map_or(KeyId::ANYBODY, |Extension(key)| key);
    let Some(Extension(secrets)) = secrets else {
        return Err(ApiError::new(501, "not_available", "This server makes no ephemeral keys."));
    };
    secrets.mint(key, session, Duration::from_secs(seconds))
}

/// The body; none at all is an empty object.
async fn read(request: Request) -> Result<Value, ApiError> {
    let bytes = to_bytes(request.into_body(), MOST_BYTES).await.map_err(|_| {
        ApiError::new(413, "request_too_large", format!("The body must have at most {MOST_BYTES} bytes, and must arrive whole."))
    })?;
    if bytes.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(&bytes).map_err(|error| ApiError::new(400, "invalid_json", format!("The body is not JSON: {error}.")))
}
