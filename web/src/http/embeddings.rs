//! `POST /v1/embeddings`: texts to vectors.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::{Extension, Json};
use router::cost::text_tokens;
use serde_json::Value;

use super::account::Account;
use super::{App, body};
use crate::ApiError;
use crate::wire::embeddings;

pub(super) async fn embed(
    State(app): State<Arc<App>>,
    Extension(account): Extension<Account>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = body::json(request, &app.services.limits).await?;
    let (request, encoding) = embeddings::read(body)?;
    let tokens = request.texts.iter().map(|text| text_tokens(text)).sum();
    account.ask_engine(&request.model, request.extra.get("user").and_then(Value::as_str), tokens).await?;
    let works = account.works(&app.services.speakers);
    let embeddings = app.within(async { Ok(app.services.router.embed(request.clone(), &works).await?) }).await?;
    if embeddings.vectors.len() != request.texts.len() {
        let (got, wanted) = (embeddings.vectors.len(), request.texts.len());
        return Err(ApiError::new(502, "upstream_protocol", format!("The model made {got} vectors of {wanted} texts.")));
    }
    Ok(Json(embeddings::write(&embeddings, &request, encoding)))
}
