//! `POST /v1/completions`: the dialect from before there were messages.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::StreamExt;
use models::{Completion, Delta, Finish};

use super::account::Account;
use super::question::{Question, Telling, Writer, stream_answer};
use super::{App, body, events, now};
use crate::ApiError;
use crate::wire::chat::ChatRequest;
use crate::wire::completion::finish_of;
use crate::wire::legacy_completion::{self, TextEnvelope};

pub(super) async fn complete(
    State(app): State<Arc<App>>,
    Extension(account): Extension<Account>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = body::json(request, &app.services.limits).await?;
    let ChatRequest { prompt, metadata, user, stream, heard, recalled, signals, .. } = legacy_completion::read(body)?;
    let mut question = Question { prompt, metadata, user, heard, recalled, signals, stream: stream.is_some() };
    let signals = app.hear(&mut question, &account).await?;
    let (mut answer, telling) = app.ask(question, signals, &account).await?;
    if let Some(options) = stream {
        let with_usage = options.include_usage;
        let begin = move || Stream { envelope: envelope(&telling), telling, with_usage, completion: Completion::default() };
        return stream_answer(answer, events::comments(), begin).await;
    }
    app.within(async {
        let mut completion = Completion::default();
        while let Some(delta) = answer.next().await {
            completion.push(delta?);
        }
        let finish = finish_of(&completion);
        Ok(Json(envelope(&telling).whole(&completion.text, finish, completion.usage, telling.fields())).into_response())
    })
    .await
}

fn envelope(telling: &Telling) -> TextEnvelope {
    TextEnvelope { id: telling.id("cmpl-"), created: now(), model: telling.model() }
}

struct Stream {
    envelope: TextEnvelope,
    telling: Telling,
    with_usage: bool,
    completion: Completion,
}

impl Writer for Stream {
    fn opening(&mut self) -> Vec<Event> {
        Vec::new()
    }

    fn push(&mut self, delta: Delta) -> Vec<Event> {
        let event = match &delta {
            Delta::Text(text) => vec![events::json(&self.envelope.text(text, None))],
            _ => Vec::new(),
        };
        // Only why it ended and what it took are wanted of the rest.
        if matches!(delta, Delta::Usage(_) | Delta::Finish(_)) {
            self.completion.push(delta);
        }
        event
    }

    fn end(self) -> Vec<Event> {
        let finish = self.completion.finish.unwrap_or(Finish::Stop);
        let mut last = vec![events::json(&self.envelope.whole("", finish, None, self.telling.fields()))];
        if self.with_usage {
            last.push(events::json(&self.envelope.usage(self.completion.usage.unwrap_or_default())));
        }
        last.push(events::done());
        last
    }

    fn fail(self, error: ApiError) -> Vec<Event> {
        vec![events::json(&error.to_json())]
    }
}
