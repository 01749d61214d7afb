//! The callers' dialects over a real socket: what each says of an answer, of a failure, and of a caller it does not know.

#[allow(unreachable_pub)]
mod fakes;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fakes::{Server, client, start};
use serde_json::{Value, json};
use web::{Keys, Limits};

/// A dialect: its path, a request in it, and the field whose text grows.
struct Dialect {
    path: &'static str,
    ask: fn(&str, Value) -> Value,
}

const MESSAGES: Dialect = Dialect {
    path: "/v1/messages",
    ask: |model, extra| with(json!({ "model": model, "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] }), extra),
};
const RESPONSES: Dialect = Dialect { path: "/v1/responses", ask: |model, extra| with(json!({ "model": model, "input": "hi" }), extra) };
const CHAT: Dialect = Dialect {
    path: "/v1/chat/completions",
    ask: |model, extra| with(json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }] }), extra),
};
const COMPLETIONS: Dialect =
    Dialect { path: "/v1/completions", ask: |model, extra| with(json!({ "model": model, "prompt": "hi" }), extra) };

fn with(mut body: Value, extra: Value) -> Value {
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

async fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let response = client().post(format!("{}{path}", server.url)).json(body).send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

/// The events of a stream: their names, empty where they have none, and data; `[DONE]` is a string.
async fn events(server: &Server, dialect: &Dialect, model: &str) -> Vec<(String, Value)> {
    let body = (dialect.ask)(model, json!({ "stream": true }));
    let response = client().post(format!("{}{}", server.url, dialect.path)).json(&body).send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.headers()["content-type"].as_bytes()), (200, &b"text/event-stream"[..]));
    let text = response.text().await.expect("text");
    let blocks = text.split("\n\n").filter(|block| !block.is_empty());
    let field = |block: &str, name: &str| block.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap_or_default();
    blocks
        .map(|block| {
            let data = field(block, "data: ");
            (field(block, "event: "), serde_json::from_str(&data).unwrap_or_else(|_| json!(data)))
        })
        .collect()
}

fn kinds(events: &[(String, Value)]) -> String {
    events.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn events_of_a_message_come_in_order() {
    let server = start(Limits::default(), Keys::default()).await;
    let events = events(&server, &MESSAGES, "fake/two-tools").await;
    assert_eq!(
        kinds(&events),
        "message_start ping \
         content_block_start content_block_delta content_block_stop \
         content_block_start content_block_delta content_block_stop \
         content_block_start content_block_delta content_block_delta content_block_stop message_delta message_stop"
    );
    assert!(events.iter().all(|(name, data)| data["type"] == *name));
    let started: Vec<_> = events.iter().filter(|(name, _)| name == "content_block_start").map(|(_, data)| data["index"].clone()).collect();
    assert_eq!(started, [json!(0), json!(1), json!(2)]);
    assert!(events[0].1["message"]["usage"]["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0));
    let (_, delta) = &events[events.len() - 2];
    assert_eq!((&delta["delta"]["stop_reason"], &delta["timbre"]["route"]), (&json!("tool_use"), &json!("direct")));
    assert_eq!((&delta["timbre"]["usageEstimated"], &delta["metadata"]["attempts"][0]["status"]), (&json!(true), &json!("success")));
}

#[tokio::test]
async fn a_broken_answer_ends_in_an_error_of_the_dialect_and_never_in_success() {
    let server = start(Limits::default(), Keys::default()).await;
    for (dialect, last) in [(&MESSAGES, "error"), (&RESPONSES, "response.failed"), (&CHAT, ""), (&COMPLETIONS, "")] {
        let events = events(&server, dialect, "fake/broken").await;
        let (name, data) = events.last().expect("events");
        assert_eq!(name, last, "{}", dialect.path);
        let error = if name == "response.failed" { &data["response"]["error"] } else { &data["error"] };
        assert!(error["message"].as_str().is_some_and(|message| message.contains("broke off")), "{data}");
        let happy = ["message_stop", "response.completed"];
        assert!(events.iter().all(|(name, data)| !happy.contains(&name.as_str()) && data != "[DONE]"), "{}", dialect.path);
    }
}

#[tokio::test]
async fn what_fails_before_content_is_an_http_error_of_the_dialect() {
    let server = start(Limits::default(), Keys::default()).await;
    for (dialect, kind) in [(&MESSAGES, "rate_limit_error"), (&RESPONSES, "rate_limit_error"), (&COMPLETIONS, "rate_limit_error")] {
        for stream in [false, true] {
            let body = (dialect.ask)("fake/busy", json!({ "stream": stream }));
            let response = client().post(format!("{}{}", server.url, dialect.path)).json(&body).send().await.expect("an answer");
            assert_eq!((response.status().as_u16(), response.headers()["retry-after"].as_bytes()), (429, &b"7"[..]));
            let body: Value = response.json().await.expect("JSON");
            assert_eq!((&body["error"]["type"], &body["metadata"]["attempts"][0]["status"]), (&json!(kind), &json!("failed")));
            assert_eq!(body["type"] == "error", dialect.path == "/v1/messages");
        }
        let (status, body) = post(&server, dialect.path, &(dialect.ask)("nobody/nothing", json!({}))).await;
        assert_eq!(status, 404, "{body}");
    }
}

#[tokio::test]
async fn keys_pass_in_every_form_and_refusals_speak_the_dialect() {
    let server = start(Limits::default(), Keys::new(["sk-1".to_owned()])).await;
    let body = (MESSAGES.ask)("fake/echo", json!({}));
    for (name, value, status) in [
        ("authorization", "Bearer sk-1", 200),
        ("authorization", "Basic c2stMTo=", 200),
        ("x-api-key", "sk-1", 200),
        ("x-api-key", "sk-2", 401),
        ("x-other", "sk-1", 401),
    ] {
        let request = client().post(format!("{}/v1/messages", server.url)).header(name, value).header("x-request-id", "mine");
        let response = request.json(&body).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), status, "{name}: {value}");
        assert_eq!(
            (&response.headers()["request-id"], &response.headers()["x-request-id"]),
            (&"mine".parse().expect("a value"), &"mine".parse().expect("a value"))
        );
        let body: Value = response.json().await.expect("JSON");
        if status == 401 {
            assert_eq!((&body["error"]["type"], &body["request_id"]), (&json!("authentication_error"), &json!("mine")));
        }
    }
    let lost = client().get(format!("{}/v1/messages/batches", server.url)).header("x-api-key", "sk-1").send().await.expect("an answer");
    assert_eq!(lost.status(), 404);
    assert_eq!(lost.json::<Value>().await.expect("JSON")["error"]["type"], "not_found_error");
}

#[tokio::test]
async fn a_response_is_its_own_keys_alone() {
    let server = start(Limits::default(), Keys::new(["sk-1".to_owned(), "sk-2".to_owned()])).await;
    let url = format!("{}/v1/responses", server.url);
    let ask = (RESPONSES.ask)("fake/echo", json!({}));
    let first: Value = client().post(&url).bearer_auth("sk-1").json(&ask).send().await.expect("an answer").json().await.expect("JSON");
    let id = first["id"].as_str().expect("an id");
    for (key, seen, answered) in [("sk-1", 200, 200), ("sk-2", 404, 400)] {
        let shown = client().get(format!("{url}/{id}")).bearer_auth(key).send().await.expect("an answer");
        assert_eq!(shown.status(), seen);
        let body = (RESPONSES.ask)("fake/echo", json!({ "previous_response_id": id, "store": false }));
        let response = client().post(&url).bearer_auth(key).json(&body).send().await.expect("an answer");
        assert_eq!(response.status(), answered);
    }
}

#[tokio::test]
async fn sound_is_heard_in_every_dialect() {
    let server = start(Limits::default(), Keys::default()).await;
    let pcm: Vec<f32> = (0..16_000).map(|n| (n as f32 * 0.05).sin() * 0.2).collect();
    let wav = STANDARD.encode(audio::container::encode(audio::Container::Wav, &pcm, audio::Rate::MODEL).expect("a file"));
    let source = json!({ "type": "base64", "media_type": "audio/wav", "data": wav });
    let block = json!([{ "role": "user", "content": [{ "type": "text", "text": "Say: " }, { "type": "audio", "source": source }] }]);
    let (_, body) = post(&server, "/v1/messages", &(MESSAGES.ask)("fake/echo", json!({ "messages": block }))).await;
    assert_eq!(body["content"][0]["text"], "You said: Say: hello there.", "{body}");
    let part = json!([{ "role": "user", "content": [{ "type": "input_audio", "input_audio": { "data": wav, "format": "wav" } }] }]);
    let asked = (RESPONSES.ask)("fake/echo", json!({ "input": part, "timbre": { "signals": ["loudness"] } }));
    let (_, body) = post(&server, "/v1/responses", &asked).await;
    assert_eq!(body["output"][0]["content"][0]["text"], "You said: hello there.", "{body}");
    assert!(body["timbre"]["signals"].is_object(), "{body}");
}

#[tokio::test]
async fn a_client_that_goes_away_stops_the_model_in_every_dialect() {
    let server = start(Limits::default(), Keys::default()).await;
    for dialect in [MESSAGES, RESPONSES, COMPLETIONS] {
        let before = server.dropped.load(SeqCst);
        let body = (dialect.ask)("fake/endless", json!({ "stream": true }));
        let mut response = client().post(format!("{}{}", server.url, dialect.path)).json(&body).send().await.expect("an answer");
        response.chunk().await.expect("the first events");
        drop(response);
        let noticed = async {
            while server.dropped.load(SeqCst) == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), noticed).await.expect("the model is told");
    }
}

#[tokio::test]
async fn usage_is_told_in_a_chat_stream_only_if_asked() {
    let server = start(Limits::default(), Keys::default()).await;
    let events = events(&server, &CHAT, "fake/echo").await;
    assert!(events.iter().all(|(_, data)| data.get("usage").is_none()));
    assert_eq!(events.last().map(|(_, data)| data), Some(&json!("[DONE]")));
    let ids: std::collections::HashSet<_> = events.iter().filter_map(|(_, data)| data["id"].as_str()).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn texts_become_vectors() {
    let server = start(Limits::default(), Keys::default()).await;
    let (_, body) = post(&server, "/v1/embeddings", &json!({ "model": "fake/letters", "input": ["abc", "b"] })).await;
    assert_eq!((&body["data"][0]["embedding"], &body["usage"]["total_tokens"]), (&json!([97.0, 98.0, 99.0]), &json!(2)));
    let (status, body) = post(&server, "/v1/embeddings", &json!({ "model": "fake/letters", "input": [1, 2] })).await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!("input")));
}
