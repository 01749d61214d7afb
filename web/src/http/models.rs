//! `GET /v1/models`: what may be asked for.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use router::ModelInfo;
use serde_json::{Value, json};

use super::App;
use crate::ApiError;

pub(super) async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    let models: Vec<_> = app.services.router.models().iter().map(to_json).collect();
    let end = |model: Option<&Value>| model.map(|model| model["id"].clone());
    let (first, last) = (end(models.first()), end(models.last()));
    // Clients of OpenAI's API read `object` and `data`, those of Anthropic's the rest.
    Json(json!({ "object": "list", "data": models, "has_more": false, "first_id": first, "last_id": last }))
}

pub(super) async fn show(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let models = app.services.router.models();
    let found = models.iter().find(|model| model.id == id);
    found.map(|model| Json(to_json(model))).ok_or_else(|| ApiError::no_such_model(&id))
}

/// In the shape of both APIs. A model has no date here; 0, and the day it stands for, are what clients can read.
fn to_json(model: &ModelInfo) -> Value {
    json!({
        "id": model.id, "object": "model", "created": 0, "owned_by": model.owned_by,
        "type": "model", "display_name": model.id, "created_at": "1970-01-01T00:00:00Z",
    })
}
