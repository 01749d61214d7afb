//! `POST /v1/messages` and `POST /v1/messages/count_tokens`: Anthropic's API in front of every model.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::StreamExt;
use models::Delta;
use serde_json::json;

use super::account::Account;
use super::events::{self, KEEP_ALIVE};
use super::question::{Question, Telling, Writer, stream_answer};
use super::{App, RequestId, body};
use crate::ApiError;
use crate::wire::message::{MessageWriter, ping};
use crate::wire::messages::{self, MessagesRequest};
use router::cost::prompt_tokens;

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    Extension(account): Extension<Account>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = body::json(request, &app.services.limits).await?;
    let MessagesRequest { prompt, metadata, user, stream, heard, signals } = messages::read(body)?;
    let mut question = Question { prompt, metadata, user, heard, recalled: Vec::new(), signals, stream };
    let signals = app.hear(&mut question, &account).await?;
    let estimate = prompt_tokens(&question.prompt);
    let (mut answer, telling) = app.ask(question, signals, &account).await?;
    if stream {
        // Anthropic's own way to keep a stream alive.
        let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).event(events::named(&ping()));
        return stream_answer(answer, keep_alive, || Stream { writer: writer(&telling, estimate), telling, id }).await;
    }
    app.within(async {
        let mut deltas = Vec::new();
        while let Some(delta) = answer.next().await {
            deltas.push(delta?);
        }
        let mut writer = writer(&telling, estimate);
        deltas.into_iter().for_each(|delta| drop(writer.push(delta)));
        Ok(Json(writer.whole(telling.fields())).into_response())
    })
    .await
}

/// An estimate: the model's own count is known only once it has been asked, and may be of another model by then.
pub(super) async fn count_tokens(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let body = body::json(request, &app.services.limits).await?;
    let MessagesRequest { prompt, .. } = messages::read(body)?;
    if app.services.router.resolve(&prompt.model).is_none() {
        return Err(ApiError::no_such_model(&prompt.model));
    }
    Ok(Json(json!({ "input_tokens": prompt_tokens(&prompt) })).into_response())
}

fn writer(telling: &Telling, estimate: u64) -> MessageWriter {
    MessageWriter::new(telling.id("msg_"), telling.model(), estimate)
}

struct Stream {
    writer: MessageWriter,
    telling: Telling,
    id: RequestId,
}

impl Writer for Stream {
    fn opening(&mut self) -> Vec<Event> {
        self.writer.opening().iter().map(events::named).collect()
    }

    fn push(&mut self, delta: Delta) -> Vec<Event> {
        self.writer.push(delta).iter().map(events::named).collect()
    }

    fn end(mut self) -> Vec<Event> {
        self.writer.end(self.telling.fields()).iter().map(events::named).collect()
    }

    fn fail(self, error: ApiError) -> Vec<Event> {
        vec![events::named(&error.to_anthropic(&self.id.0))]
    }
}
