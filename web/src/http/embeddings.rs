//! `POST /v1/embeddings`: texts to vectors.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde_json::Value;

use super::{App, body};
use crate::ApiError;
use crate::wire::embeddings;

pub(super) async fn embed(State(app): State<Arc<App>>, request: Request) -> Result<Json<Value>, ApiError> {
    let body = body::json(request, &app.services.limits).await?;
    let (request, encoding) = embeddings::read(body)?;
    let embeddings = app.within(async { Ok(app.services.router.embed(request.clone()).await?) }).await?;
    if embeddings.vectors.len() != request.texts.len() {
        let (got, wanted) = (embeddings.vectors.len(), request.texts.len());
        return Err(ApiError::new(502, "upstream_protocol", format!("The model made {got} vectors of {wanted} texts.")));
    }
    Ok(Json(embeddings::write(&embeddings, &request, encoding)))
}
