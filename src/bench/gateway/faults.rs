//! What a caller gets when providers fail: each fault in each dialect, streamed and whole, with a healthy provider to fall back on.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use models::sse;
use serde_json::{Value, json};

use super::exchange::{self, Exchange};
use crate::bench::report::Row;
use crate::bench::upstream::ANSWER;

/// The models of the mock providers that fail, and what a person calls that.
pub const FAULTS: [(&str, &str); 7] = [
    ("e429", "429"),
    ("e500", "500"),
    ("slow-first", "first token after 6 s"),
    ("cut3", "cut after 3 tokens"),
    ("inband3", "in-band error after 3"),
    ("broken3", "one broken event after 3"),
    ("stall3", "stall after 3"),
];

/// What a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/messages`.
    Messages,
    /// `/v1/responses`.
    Responses,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Dialect; 3] = [Dialect::Chat, Dialect::Messages, Dialect::Responses];

    /// Its endpoint.
    pub fn path(self) -> &'static str {
        match self {
            Dialect::Chat => "/v1/chat/completions",
            Dialect::Messages => "/v1/messages",
            Dialect::Responses => "/v1/responses",
        }
    }

    /// A request for `model`.
    pub fn request(self, model: &str, stream: bool) -> Value {
        let said = "Count from one to sixteen, in words.";
        match self {
            Dialect::Chat => json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": said}]}),
            Dialect::Messages => {
                json!({"model": model, "stream": stream, "max_tokens": 200, "messages": [{"role": "user", "content": said}]})
            }
            Dialect::Responses => json!({"model": model, "stream": stream, "input": said}),
        }
    }
}

/// What a caller got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// Every token once, and an end that says so.
    Full,
    /// So many tokens, all right, then an error in the caller's dialect and no end.
    Error {
        /// HTTP status.
        status: u16,
        /// Tokens before it.
        tokens: usize,
    },
    /// The endpoint does not exist.
    NoEndpoint,
    /// Anything else: lost or repeated words, a silent end, an end after an error.
    Broken(String),
}

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Got::Full => f.write_str("full answer"),
            Got::Error { status: 200, tokens } => write!(f, "clean error after {tokens} tokens"),
            Got::Error { status, .. } => write!(f, "clean error {status}"),
            Got::NoEndpoint => f.write_str("no such endpoint"),
            Got::Broken(how) => write!(f, "broken: {how}"),
        }
    }
}

/// Posts `body`; status and body of the answer.
pub async fn post(addr: SocketAddr, path: &str, key: &str, body: &Value) -> anyhow::Result<(u16, Vec<u8>)> {
    let mut exchange = Exchange::open(addr).await?;
    let answered = exchange.ask(&exchange::post(path, key, body)).await?;
    Ok((answered.status, exchange::body(exchange.answer())))
}

/// Asks `model` and judges the answer.
pub async fn ask(addr: SocketAddr, key: &str, dialect: Dialect, model: &str, stream: bool) -> anyhow::Result<(Got, Duration)> {
    let mut exchange = Exchange::open(addr).await?;
    let answered = exchange.ask(&exchange::post(dialect.path(), key, &dialect.request(model, stream))).await?;
    let body = exchange::body(exchange.answer());
    Ok((judge(dialect, answered.status, stream, &body), answered.total))
}

/// One row a fault and dialect: streamed, then whole.
pub(super) async fn rows(addr: SocketAddr, key: &str) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for dialect in Dialect::ALL {
        for (fault, name) in FAULTS {
            let mut cells = Vec::new();
            for (stream, how) in [(true, "streamed"), (false, "whole")] {
                let cell = match ask(addr, key, dialect, &format!("timbre/{fault}"), stream).await {
                    Ok((got, time)) => format!("{how}: {got}, {:.1} s", time.as_secs_f64()),
                    Err(error) => format!("{how}: broken: {error:#}"),
                };
                cells.push(cell);
            }
            rows.push(Row::new(format!("{}: {name}", dialect.path()), "full answer where streamed", cells.join("; ")));
        }
    }
    Ok(rows)
}

fn judge(dialect: Dialect, status: u16, stream: bool, body: &[u8]) -> Got {
    let whole: Value = serde_json::from_slice(body).unwrap_or_default();
    if status != 200 {
        return match error_of(&whole) {
            Some(_) if status == 404 && whole["error"]["code"] == "unknown_url" => Got::NoEndpoint,
            Some(_) => Got::Error { status, tokens: 0 },
            None => Got::Broken(format!("HTTP {status} without an error object")),
        };
    }
    if !stream {
        return told(&whole_text(dialect, &whole), !whole.is_null(), false);
    }
    let Ok(events) = sse::Parser::default().push(body) else { return Got::Broken("an event without end".to_owned()) };
    let (mut text, mut ended, mut failed) = (String::new(), false, false);
    for event in events {
        if event.data == "[DONE]" {
            ended |= dialect == Dialect::Chat;
            continue;
        }
        let Ok(data) = serde_json::from_str::<Value>(&event.data) else {
            return Got::Broken("an event that is not JSON".to_owned());
        };
        failed |= event.event == "error" || error_of(&data).is_some() || data["type"] == "response.failed";
        ended |= data["type"] == "message_stop" || data["type"] == "response.completed";
        text += match dialect {
            Dialect::Chat => data["choices"][0]["delta"]["content"].as_str(),
            Dialect::Messages => data["delta"]["text"].as_str(),
            Dialect::Responses if data["type"] == "response.output_text.delta" => data["delta"].as_str(),
            Dialect::Responses => None,
        }
        .unwrap_or_default();
    }
    told(&text, ended, failed)
}

fn told(text: &str, ended: bool, failed: bool) -> Got {
    let tokens = text.split_whitespace().count();
    match (ended, failed) {
        (true, false) if text == ANSWER => Got::Full,
        (false, true) if ANSWER.starts_with(text) => Got::Error { status: 200, tokens },
        (true, true) => Got::Broken(format!("{tokens} tokens, an error, and an end as if it were whole")),
        (false, false) => Got::Broken(format!("{tokens} tokens and a silent end")),
        (_, _) => Got::Broken(format!("{tokens} tokens, not those of the answer: {text:?}")),
    }
}

fn error_of(body: &Value) -> Option<&Value> {
    body.get("error").filter(|error| error.is_object())
}

fn whole_text(dialect: Dialect, body: &Value) -> String {
    let texts = |parts: &Value| -> String { parts.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str()).collect() };
    match dialect {
        Dialect::Chat => body["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned(),
        Dialect::Messages => texts(&body["content"]),
        Dialect::Responses => body["output"].as_array().into_iter().flatten().map(|item| texts(&item["content"])).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_by_their_words_and_their_end() {
        let token = |text: &str| format!("data: {}\n\n", json!({"choices": [{"delta": {"content": text}}]}));
        let (done, error) = ("data: [DONE]\n\n", "data: {\"error\":{\"message\":\"no\"}}\n\n");
        for (stream, expected) in [
            (token(ANSWER) + done, "full answer"),
            (token("one two") + error, "clean error after 2 tokens"),
            (token("one two") + error + done, "broken: 2 tokens, an error, and an end as if it were whole"),
            (token("one two"), "broken: 2 tokens and a silent end"),
            (token("one one two") + done, "broken: 3 tokens, not those of the answer: \"one one two\""),
            (token("one") + "data: {\"choi\n\n", "broken: an event that is not JSON"),
        ] {
            assert_eq!(judge(Dialect::Chat, 200, true, stream.as_bytes()).to_string(), expected);
        }
        for (status, body, expected) in [
            (500, r#"{"error":{"message":"no"}}"#, "clean error 500"),
            (404, r#"{"error":{"message":"no","code":"unknown_url"}}"#, "no such endpoint"),
            (500, "<html>", "broken: HTTP 500 without an error object"),
        ] {
            assert_eq!(judge(Dialect::Messages, status, true, body.as_bytes()).to_string(), expected);
        }
        let whole = json!({"content": [{"type": "text", "text": ANSWER}]}).to_string();
        assert_eq!(judge(Dialect::Messages, 200, false, whole.as_bytes()), Got::Full);
    }
}
