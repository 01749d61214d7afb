//! `POST /v1/responses`: OpenAI's Responses API in front of every model, and what earlier responses said.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::StreamExt;
use models::{Delta, Message};
use serde_json::{Map, Value, json};

use super::account::Account;
use super::question::{Question, Telling, Writer, stream_answer};
use super::{App, body, events, now};
use crate::ApiError;
use crate::history::Exchange;
use crate::wire::response::{ResponseHead, ResponseWriter};
use crate::wire::responses::{self, ResponsesRequest};
use router::cost::prompt_tokens;
use router::limit::KeyId;

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<KeyId>,
    Extension(account): Extension<Account>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = body::json(request, &app.services.limits).await?;
    let ResponsesRequest { prompt, history_at, previous, store, stream, metadata, user, heard, signals, tools, encrypted, echo, ignored } =
        responses::read(body)?;
    let mut question = Question { prompt, metadata, user, heard, recalled: Vec::new(), signals, stream };
    let signals = app.hear(&mut question, &account).await?;
    let keep = store.then(|| Keep { caller, previous: previous.clone(), input: question.prompt.messages[history_at..].to_vec() });
    if let Some(id) = &previous {
        let earlier = app.history.dialogue(id, caller).ok_or_else(|| no_such_response("previous_response_id", id))?;
        question.prompt.messages.splice(history_at..history_at, earlier);
    }
    let estimate = prompt_tokens(&question.prompt);
    let (mut answer, telling) = app.ask(question, signals, &account).await?;
    let shared = app.clone();
    let begin = move |telling: Telling| {
        let (id, created, model) = (telling.id("resp_"), now(), telling.model());
        let head = ResponseHead { id: id.clone(), created, model, echo, tools, encrypted, estimate };
        Answering { app: shared, writer: ResponseWriter::new(head), telling, ignored, keep, id }
    };
    if stream {
        return stream_answer(answer, events::comments(), move || begin(telling)).await;
    }
    app.within(async {
        let mut deltas = Vec::new();
        while let Some(delta) = answer.next().await {
            deltas.push(delta?);
        }
        let mut answering = begin(telling);
        deltas.into_iter().for_each(|delta| drop(answering.writer.push(delta)));
        let (_, response) = answering.finish();
        Ok(Json(response).into_response())
    })
    .await
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<KeyId>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    app.history.response(&id, caller).map(Json).ok_or_else(|| ApiError { status: 404, ..no_such_response("response_id", &id) })
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<KeyId>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    if app.history.delete(&id, caller) {
        return Ok(Json(json!({ "id": id, "object": "response", "deleted": true })));
    }
    Err(ApiError { status: 404, ..no_such_response("response_id", &id) })
}

fn no_such_response(param: &str, id: &str) -> ApiError {
    let id: String = id.chars().take(80).collect();
    let message =
        format!("There is no response `{id}` here: it was not stored, is forgotten, or is another key's; send the items themselves.");
    ApiError { code: Some("previous_response_not_found"), ..ApiError::invalid(param, message) }
}

/// What is remembered of the request until it is answered.
struct Keep {
    caller: KeyId,
    previous: Option<String>,
    input: Vec<Message>,
}

struct Answering {
    app: Arc<App>,
    writer: ResponseWriter,
    telling: Telling,
    ignored: Vec<String>,
    keep: Option<Keep>,
    id: String,
}

impl Answering {
    /// `timbre` with the attempts in it, and what of the request was left out.
    fn ours(&self) -> Map<String, Value> {
        let mut fields = self.telling.fields();
        let attempts = fields.get_mut("metadata").map(|metadata| metadata["attempts"].take());
        let Some(Value::Object(mut timbre)) = fields.remove("timbre") else { return Map::new() };
        timbre.insert("attempts".to_owned(), attempts.unwrap_or_default());
        if !self.ignored.is_empty() {
            timbre.insert("ignored".to_owned(), json!(self.ignored));
        }
        timbre
    }

    fn finish(mut self) -> (Vec<Value>, Value) {
        let (events, response) = self.writer.end(self.ours());
        if let Some(Keep { caller, previous, input: mut messages }) = self.keep {
            messages.push(self.writer.message());
            self.app.history.put(&self.id, Exchange { caller, previous, messages, response: response.clone() });
        }
        (events, response)
    }
}

impl Writer for Answering {
    fn opening(&mut self) -> Vec<Event> {
        self.writer.opening().iter().map(events::named).collect()
    }

    fn push(&mut self, delta: Delta) -> Vec<Event> {
        self.writer.push(delta).iter().map(events::named).collect()
    }

    fn end(self) -> Vec<Event> {
        self.finish().0.iter().map(events::named).collect()
    }

    fn fail(mut self, error: ApiError) -> Vec<Event> {
        let ours = self.ours();
        self.writer.fail(&error, ours).iter().map(events::named).collect()
    }
}
