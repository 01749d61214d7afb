//! `GET /v1/voices`: who can speak.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::App;

pub(super) async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    let default = &app.services.default_voice;
    let voices = app.services.speakers.synthesizer.voices();
    let voices: Vec<Value> =
        voices.iter().map(|voice| json!({ "id": voice, "object": "voice", "name": voice, "default": voice == default })).collect();
    Json(json!({ "object": "list", "data": voices }))
}
