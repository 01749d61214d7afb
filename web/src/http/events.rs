//! Server-sent events (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde_json::Value;

/// How often a comment is sent while there is nothing to say: proxies cut a connection that is silent for long, 30 s at the least.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// An event that is a JSON text.
pub(super) fn json(value: &Value) -> Event {
    Event::default().data(value.to_string())
}

/// An event that is a JSON text already.
pub(super) fn written(json: String) -> Event {
    Event::default().data(json)
}

/// The event that says that an answer in OpenAI's chat API is whole.
pub(super) fn done() -> Event {
    Event::default().data("[DONE]")
}

/// An event that is a JSON object, named after its `type`.
pub(super) fn named(value: &Value) -> Event {
    Event::default().event(value["type"].as_str().unwrap_or("message")).data(value.to_string())
}

/// Comments that keep a connection alive; clients do not see them.
pub(super) fn comments() -> KeepAlive {
    KeepAlive::new().interval(KEEP_ALIVE).text("waiting")
}

/// A response of events, kept alive by comments.
pub(super) fn respond(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    respond_kept(events, comments())
}

/// A response of events.
pub(super) fn respond_kept(events: impl Stream<Item = Event> + Send + 'static, keep_alive: KeepAlive) -> Response {
    let events = futures::StreamExt::map(events, Ok::<_, Infallible>);
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    // Proxies that gather a response before they pass it on make a stream useless.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    response
}
