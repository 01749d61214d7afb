//! Group A: the endpoints, whole and streamed, and what goes through them unseen.

use serde_json::{Value, json};

use crate::support::client::{self, words};
use crate::support::provider::{self, message, says, text_block};
use crate::support::server::gateway;
use crate::support::{Asked, Provider, Server, Step, post};

/// Answers every dialect; `refuse` is a 400, `busy` a 429.
fn script(asked: &Asked) -> Vec<Step> {
    match asked.model() {
        "refuse" => provider::error(400, ""),
        "busy" => provider::error(429, "retry-after: 7\r\n"),
        _ if asked.path.ends_with("/embeddings") => {
            let vector = match asked.body["encoding_format"].as_str() {
                Some("base64") => json!("AACAPwAAAEA="),
                _ => json!([1.0, 2.0]),
            };
            let data = json!([{ "object": "embedding", "index": 0, "embedding": vector }]);
            provider::whole(200, "", &json!({ "object": "list", "data": data, "usage": { "prompt_tokens": 2, "total_tokens": 2 } }))
        }
        _ if asked.path.ends_with("/messages") => message(
            &text_block(0, "Hello there."),
            "end_turn",
            json!({ "input_tokens": 7, "output_tokens": 1 }),
            json!({ "output_tokens": 3 }),
        ),
        _ => says("Hello there."),
    }
}

async fn start() -> (Provider, Server) {
    let provider = Provider::start(script).await;
    let server = Server::start(&gateway(provider.address, "")).await;
    (provider, server)
}

fn chat(extra: Value) -> Value {
    with(json!({ "model": "up/ok", "messages": [{ "role": "user", "content": "hi" }] }), extra)
}

fn messages(extra: Value) -> Value {
    with(json!({ "model": "up/ok", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] }), extra)
}

fn responses(extra: Value) -> Value {
    with(json!({ "model": "up/ok", "input": "hi" }), extra)
}

fn with(mut body: Value, extra: Value) -> Value {
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

#[tokio::test]
async fn a_chat_is_answered() {
    let (provider, server) = start().await;
    let answer = post(server.address, "/v1/chat/completions", &chat(json!({}))).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["object"]), (200, &json!("chat.completion")));
    assert_eq!(body["choices"][0]["message"]["content"], "Hello there.");
    assert_eq!((&body["choices"][0]["finish_reason"], &body["usage"]["total_tokens"]), (&json!("stop"), &json!(10)));
    assert_eq!(provider.asked()[0].path, "/v1/chat/completions");
    assert_eq!(provider.last()["model"], "ok");
}

#[tokio::test]
async fn a_chat_is_streamed() {
    let (_provider, server) = start().await;
    let answer = post(server.address, "/v1/chat/completions", &chat(json!({ "stream": true }))).await;
    let events = answer.events();
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(events[0].1["choices"][0]["delta"]["role"], "assistant");
    assert_eq!((words(&events).as_str(), &events.last().expect("events").1), ("Hello there.", &json!("[DONE]")));
}

#[tokio::test]
async fn a_response_is_answered_and_streamed() {
    let (_provider, server) = start().await;
    let body = post(server.address, "/v1/responses", &responses(json!({}))).await.json();
    assert_eq!((&body["object"], &body["status"]), (&json!("response"), &json!("completed")));
    assert_eq!(body["output"][0]["content"][0]["text"], "Hello there.");
    let events = post(server.address, "/v1/responses", &responses(json!({ "stream": true }))).await.events();
    assert_eq!(words(&events), "Hello there.");
    let (first, last) = (&events[0], events.last().expect("events"));
    assert_eq!((first.0.as_str(), last.0.as_str()), ("response.created", "response.completed"));
    assert_eq!(last.1["response"]["usage"]["total_tokens"], 10);
}

#[tokio::test]
async fn a_message_is_answered_and_streamed() {
    let (_provider, server) = start().await;
    for model in ["up/ok", "claude/ok"] {
        let body = post(server.address, "/v1/messages", &messages(json!({ "model": model }))).await.json();
        assert_eq!((&body["type"], &body["stop_reason"]), (&json!("message"), &json!("end_turn")), "{model}");
        assert_eq!((&body["content"][0]["text"], &body["usage"]["output_tokens"]), (&json!("Hello there."), &json!(3)));
        let asked = messages(json!({ "model": model, "stream": true }));
        let events = post(server.address, "/v1/messages", &asked).await.events();
        let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "ping").collect();
        let (first, last) = (names.first().expect("events"), names.last().expect("events"));
        assert_eq!((words(&events).as_str(), *first, *last), ("Hello there.", "message_start", "message_stop"));
    }
}

#[tokio::test]
async fn tokens_are_counted_without_asking_anybody() {
    let (provider, server) = start().await;
    let asked = json!({ "model": "claude/ok", "system": "Be brief.", "messages": [{ "role": "user", "content": "hi" }] });
    let answer = post(server.address, "/v1/messages/count_tokens", &asked).await;
    assert!(answer.status == 200 && answer.json()["input_tokens"].as_u64().is_some_and(|tokens| (3..40).contains(&tokens)));
    assert!(provider.asked().is_empty());
}

#[tokio::test]
async fn texts_become_vectors_as_numbers_and_as_base64() {
    let (_provider, server) = start().await;
    for (format, expected) in
        [(json!("float"), json!([1.0, 2.0])), (json!("base64"), json!("AACAPwAAAEA=")), (Value::Null, json!([1.0, 2.0]))]
    {
        let asked = json!({ "model": "up/letters", "input": "hi", "encoding_format": format });
        let body = post(server.address, "/v1/embeddings", &asked).await.json();
        assert_eq!((&body["data"][0]["embedding"], &body["usage"]["total_tokens"]), (&expected, &json!(2)), "{format}");
    }
}

#[tokio::test]
async fn models_are_listed_in_the_shapes_of_both_apis_and_found_by_any_spelling_of_their_path() {
    let (_provider, server) = start().await;
    let get = |path: &str| client::request("GET", path, &[], b"");
    let list = client::ask(server.address, &get("/v1/models")).await.json();
    assert_eq!((&list["object"], &list["data"][0]["id"], &list["data"][0]["type"]), (&json!("list"), &json!("up/ok"), &json!("model")));
    for path in ["/v1/models/up/ok", "/v1/models/up%2Fok", "/v1/models/up%2fok"] {
        assert_eq!(client::ask(server.address, &get(path)).await.json()["id"], "up/ok", "{path}");
    }
}

#[tokio::test]
async fn unknown_and_rare_parameters_reach_the_provider_from_every_dialect() {
    let (provider, server) = start().await;
    let rare = json!({ "rare": { "deep": [1, null] }, "logit_bias": { "5": 1 }, "service_tier": "flex", "user": "u1", "seed": 7 });
    let tool = json!({ "type": "builtin_function", "function": { "name": "$web_search" } });
    let asked =
        chat(with(rare.clone(), json!({ "tools": [tool], "stream": true, "stream_options": { "include_usage": false, "rarer": 1 } })));
    assert_eq!(post(server.address, "/v1/chat/completions", &asked).await.status, 200);
    let told = provider.last();
    for (name, value) in rare.as_object().expect("an object") {
        assert_eq!(&told[name], value, "{name}");
    }
    assert_eq!(told["tools"], json!([tool]), "a tool of another type goes on as it came");
    assert_eq!(told["stream_options"], json!({ "include_usage": true, "rarer": 1 }));
    post(server.address, "/v1/responses", &responses(json!({ "rare": 7, "prompt_cache_key": "k" }))).await;
    assert_eq!((&provider.last()["rare"], &provider.last()["prompt_cache_key"]), (&json!(7), &json!("k")));
    post(server.address, "/v1/messages", &messages(json!({ "model": "claude/ok", "rare": 7, "top_k": 5 }))).await;
    assert_eq!((&provider.last()["rare"], &provider.last()["top_k"]), (&json!(7), &json!(5)));
}

#[tokio::test]
async fn errors_speak_the_callers_dialect_with_the_right_status() {
    let (_provider, server) = start().await;
    let send = |path: &str, body: &str| client::request("POST", path, &[("content-type", "application/json")], body.as_bytes());
    for (path, ask) in [("/v1/chat/completions", chat as fn(Value) -> Value), ("/v1/responses", responses), ("/v1/messages", messages)] {
        let anthropic = path == "/v1/messages";
        for (body, status, kind, words) in [
            (ask(json!({ "model": "nobody/nothing" })).to_string(), 404, "invalid_request_error", "nobody/nothing"),
            ("{\"model\": ".to_owned(), 400, "invalid_request_error", "not valid JSON"),
            ("[]".to_owned(), 400, "invalid_request_error", "must be an object"),
            ("[".repeat(100_000), 400, "invalid_request_error", "not valid JSON"),
            (ask(json!({ "temperature": "0.7" })).to_string(), 400, "invalid_request_error", "temperature"),
            (ask(json!({ "model": "up/refuse" })).to_string(), 400, "invalid_request_error", "No, on purpose."),
            (ask(json!({ "model": "up/busy" })).to_string(), 429, "rate_limit_error", "No, on purpose."),
            (ask(json!({ "model": "up/busy", "stream": true })).to_string(), 429, "rate_limit_error", "No, on purpose."),
        ] {
            let answer = client::ask(server.address, &send(path, &body)).await;
            let kind = if anthropic && status == 404 { "not_found_error" } else { kind };
            let told = answer.json();
            assert_eq!((answer.status, &told["error"]["type"]), (status, &json!(kind)), "{path}: {told}");
            assert!(told["error"]["message"].as_str().is_some_and(|message| message.contains(words)), "{path}: {told}");
            assert_eq!((told["type"] == "error", told["request_id"].is_string()), (anthropic, anthropic), "{path}: {told}");
            assert_eq!(answer.header("content-type"), "application/json");
            assert_eq!(answer.header("retry-after"), if status == 429 { "7" } else { "" });
        }
    }
    for (method, path, status) in [("GET", "/v1/chat/completions", 405), ("POST", "/v1/nothing", 404), ("DELETE", "/v1/messages", 405)] {
        let answer = client::ask(server.address, &client::request(method, path, &[], b"")).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(answer.json()["error"]["message"].as_str().is_some_and(|message| message.contains(path)));
    }
}

#[tokio::test]
async fn a_request_has_its_callers_id_or_gets_one() {
    let (provider, server) = start().await;
    for (path, body) in [("/v1/chat/completions", chat(json!({ "stream": true }))), ("/v1/messages", messages(json!({ "model": "no/no" })))]
    {
        let answer = client::post_with(server.address, path, &[("x-request-id", "mine-7")], &body).await;
        assert_eq!(answer.header("x-request-id"), "mine-7");
        let (one, other) = (post(server.address, path, &body).await, post(server.address, path, &body).await);
        assert!(one.header("x-request-id").starts_with("req_"));
        assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    }
    let told = provider.asked().into_iter().flat_map(|asked| asked.headers).filter(|(name, _)| name == "x-request-id");
    let told: Vec<String> = told.map(|(_, value)| value).collect();
    assert!(told.len() == 3 && told[0] == "mine-7" && told[1].starts_with("req_"), "{told:?}");
}
