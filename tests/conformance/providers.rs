//! Providers that write HTTP, events and chunks in every way that is met with, and in some that is not.

use serde_json::{Value, json};

use crate::support::client::words;
use crate::support::provider::{
    self, STREAM, call_block, chunk, data, delta, finish, message, named, says, stream, text_block, usage, whole,
};
use crate::support::server::{gateway, router};
use crate::support::{Asked, Provider, Server, Step, post};

const DIALECTS: [&str; 3] = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];

fn asked(path: &str, model: &str, stream: bool) -> Value {
    match path {
        "/v1/responses" => json!({ "model": model, "stream": stream, "input": "hi" }),
        _ => json!({ "model": model, "stream": stream, "max_tokens": 99, "messages": [{ "role": "user", "content": "hi" }] }),
    }
}

async fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static, more: &str) -> (Provider, Server) {
    let provider = Provider::start(script).await;
    let server = Server::start(&gateway(provider.address, more)).await;
    (provider, server)
}

/// Text, why it ended, and tokens in all of an answer in the chat dialect: whole, and the same streamed.
async fn told(server: &Server, model: &str) -> (String, String, u64) {
    let path = DIALECTS[0];
    let answer = post(server.address, path, &asked(path, model, false)).await.json();
    let choice = &answer["choices"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let whole =
        (text(&choice["message"]["content"]), text(&choice["finish_reason"]), answer["usage"]["total_tokens"].as_u64().unwrap_or(0));
    let mut body = asked(path, model, true);
    body["stream_options"] = json!({ "include_usage": true });
    let answer = post(server.address, path, &body).await;
    let events = answer.events();
    let find = |path: &str| events.iter().rev().find_map(|(_, data)| data.pointer(path).filter(|value| !value.is_null()).cloned());
    let finish = find("/choices/0/finish_reason").unwrap_or_default();
    let streamed = (words(&events), text(&finish), find("/usage/total_tokens").and_then(|count| count.as_u64()).unwrap_or(0));
    assert_eq!(streamed, whole, "{model}: {}", answer.text());
    assert_eq!(events.last().map(|(_, data)| data), Some(&json!("[DONE]")), "{model}: {}", answer.text());
    whole
}

#[tokio::test]
async fn answers_are_read_in_every_form_that_http_allows() {
    let body = |model: &str| -> String {
        let count = json!({ "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10 });
        let events = data(&[delta(json!({ "content": "Hello " })), delta(json!({ "content": "there." })), finish("stop"), usage(count)]);
        if model == "doneless" { events.concat() } else { events.concat() + "data: [DONE]\n\n" }
    };
    let (_provider, server) = start(
        move |asked| {
            let body = body(asked.model());
            let write = |text: String| Step::Write(text.into_bytes());
            let type_ = "content-type: text/event-stream\r\n";
            match asked.model() {
                "interim" => {
                    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
                    vec![write(format!("{early}HTTP/1.1 200 OK\r\n{type_}content-length: {}\r\n\r\n{body}", body.len()))]
                }
                "1.0" => vec![write(format!("HTTP/1.0 200 OK\r\n{type_}\r\n{body}")), Step::Close],
                "closing" => vec![write(format!("HTTP/1.1 200 OK\r\n{type_}connection: close\r\n\r\n{body}")), Step::Close],
                // Says nothing of closing, and closes.
                "rude" => vec![write(format!("HTTP/1.1 200 OK\r\n{type_}content-length: {}\r\n\r\n{body}", body.len())), Step::Close],
                "trailers" => {
                    let head = format!("HTTP/1.1 200 OK\r\n{type_}transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n");
                    vec![write(head), chunk(body), write("0\r\nx-sum: 1\r\n\r\n".to_owned())]
                }
                "bytes" => {
                    let mut steps = vec![Step::Write(STREAM.to_vec())];
                    steps.extend(body.as_bytes().chunks(1).map(chunk));
                    steps.push(write("0\r\n\r\n".to_owned()));
                    steps
                }
                "typeless" => vec![write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))],
                // The end of the answer is known before that of the body, which never comes.
                "endless" => vec![Step::Write(STREAM.to_vec()), chunk(body), Step::Hang],
                _ => stream([body]),
            }
        },
        "",
    )
    .await;
    for model in ["interim", "1.0", "closing", "rude", "trailers", "bytes", "typeless", "endless", "doneless"] {
        for _ in 0..5 {
            assert_eq!(told(&server, &format!("up/{model}")).await, ("Hello there.".to_owned(), "stop".to_owned(), 10), "{model}");
        }
    }
}

#[tokio::test]
async fn chunks_are_read_however_servers_write_them() {
    let counted = || json!({ "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10 });
    let (_provider, server) = start(
        move |asked| {
            let said = |text: &str| delta(json!({ "content": text }));
            let with = |mut event: Value, pointer: &str, value: Value| {
                *event.pointer_mut(pointer).expect("a place") = value;
                event
            };
            let beside = |mut event: Value, key: &str, value: Value| {
                event[key] = value;
                event
            };
            let in_choice = |mut event: Value, key: &str, value: Value| {
                event["choices"][0][key] = value;
                event
            };
            let (one, two, end) = (said("Hello "), said("there."), finish("stop"));
            let events = match asked.model() {
                // The count of tokens: with the end, before it, in the choice, in every chunk.
                "usage-with-end" => vec![one, two, beside(end, "usage", counted())],
                "usage-first" => vec![usage(counted()), one, two, end],
                "usage-in-choice" => vec![one, two, in_choice(end, "usage", counted())],
                "usage-always" => {
                    let sofar = json!({ "prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8 });
                    vec![beside(one, "usage", sofar), beside(two, "usage", counted()), beside(end, "usage", counted())]
                }
                "null-choices" => {
                    vec![with(one.clone(), "/choices", Value::Null), one, two, end, with(usage(counted()), "/choices", Value::Null)]
                }
                "no-choices" => vec![json!({ "choices": [], "prompt_filter_results": [] }), one, two, end, usage(counted())],
                "null-delta" => vec![
                    with(one.clone(), "/choices/0/delta", Value::Null),
                    one,
                    two,
                    with(end, "/choices/0/delta", Value::Null),
                    usage(counted()),
                ],
                "null-content" => {
                    vec![said("").clone(), delta(json!({ "role": "assistant", "content": null })), one, two, end, usage(counted())]
                }
                "empty-delta" => vec![delta(json!({})), one, delta(json!({})), two, delta(json!({})), end, usage(counted())],
                // An empty reason, until there is one.
                "empty-reason" => {
                    vec![in_choice(one, "finish_reason", json!("")), in_choice(two, "finish_reason", json!("")), end, usage(counted())]
                }
                "reason-with-words" => vec![one, in_choice(two, "finish_reason", json!("stop")), usage(counted())],
                "two-ends" => vec![one, two, end.clone(), end, usage(counted())],
                "other-choice" => vec![in_choice(said("No. "), "index", json!(1)), one, two, end, usage(counted())],
                "no-index" => {
                    let bare = |text: &str| json!({ "choices": [{ "delta": { "content": text } }] });
                    vec![bare("Hello "), bare("there."), json!({ "choices": [{ "finish_reason": "stop" }] }), usage(counted())]
                }
                "parts" => vec![delta(json!({ "content": [{ "type": "text", "text": "Hello " }] })), two, end, usage(counted())],
                "null-error" => vec![beside(one, "error", Value::Null), two, end, usage(counted())],
                "unknown-fields" => {
                    vec![json!({ "object": "ping" }), json!({}), json!([]), beside(one, "x", json!([[[]]])), two, end, usage(counted())]
                }
                "string-counts" => vec![one, two, end, usage(json!({ "prompt_tokens": "7", "completion_tokens": "3" })), usage(counted())],
                "long" => vec![one, two, in_choice(end, "padding", json!("x".repeat(1_000_000))), usage(counted())],
                // It does not stream, although it was asked to.
                "whole" => {
                    let choice =
                        json!({ "index": 0, "message": { "role": "assistant", "content": "Hello there." }, "finish_reason": "stop" });
                    return whole(200, "", &json!({ "object": "chat.completion", "choices": [choice], "usage": counted() }));
                }
                _ => vec![one, two, end, usage(counted())],
            };
            stream(data(&events))
        },
        "",
    )
    .await;
    for model in [
        "usage-with-end",
        "usage-first",
        "usage-in-choice",
        "usage-always",
        "null-choices",
        "no-choices",
        "null-delta",
        "null-content",
        "empty-delta",
        "empty-reason",
        "reason-with-words",
        "two-ends",
        "other-choice",
        "no-index",
        "parts",
        "null-error",
        "unknown-fields",
        "string-counts",
        "long",
        "whole",
    ] {
        assert_eq!(told(&server, &format!("up/{model}")).await, ("Hello there.".to_owned(), "stop".to_owned(), 10), "{model}");
    }
}

#[tokio::test]
async fn an_end_that_was_not_said_is_no_end() {
    let (_provider, server) = start(
        |asked| {
            let one = delta(json!({ "content": "Half" }));
            let mut early = one.clone();
            early["choices"][0]["finish_reason"] = json!("");
            match asked.model() {
                // An empty reason is none.
                "empty-reason" => stream(data(&[early])),
                "gzip" => {
                    let zipped = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\n";
                    vec![Step::Write([head.as_bytes(), &zipped].concat())]
                }
                "short" => vec![Step::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\ndata: {}\n\n".to_vec()), Step::Close],
                "endless-line" => {
                    let megabyte = vec![b'x'; 1_024 * 1_024];
                    let mut steps = vec![Step::Write(STREAM.to_vec()), chunk("data: ")];
                    steps.extend((0..6).map(|_| chunk(&megabyte)));
                    steps.push(Step::Hang);
                    steps
                }
                "endless-body" => {
                    let mut steps = vec![Step::Write(STREAM.to_vec()), chunk("{\"x\": \"")];
                    steps.extend((0..6).map(|_| chunk(vec![b'x'; 1_024 * 1_024])));
                    steps.push(Step::Hang);
                    steps
                }
                "deep" => stream([format!("data: {}{}\n\n", "[".repeat(200_000), "]".repeat(200_000))]),
                "headers" => vec![Step::Write(format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-y: z\r\n".repeat(100_000)).into_bytes())],
                "html" => vec![Step::Write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 25\r\n\r\n<html>Please log in</html>".to_vec(),
                )],
                "redirect" => whole(302, "location: /login\r\n", &json!({})),
                "nothing" => vec![Step::Write(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())],
                _ => whole(200, "", &json!({ "error": { "message": "Out of cheese.", "type": "server_error" } })),
            }
        },
        "",
    )
    .await;
    for model in
        ["empty-reason", "gzip", "short", "endless-line", "endless-body", "deep", "headers", "html", "redirect", "nothing", "whole-error"]
    {
        for path in DIALECTS {
            for stream in [true, false] {
                let answer = post(server.address, path, &asked(path, &format!("up/{model}"), stream)).await;
                let text = answer.text();
                assert!(text.contains("\"error\":{") && (answer.status == 502 || model == "empty-reason"), "{path} {model}: {text}");
                assert!(!["[DONE]", "message_stop", "\"completed\""].iter().any(|happy| text.contains(happy)), "{path} {model}: {text}");
                assert!(text.len() < 20_000, "{path} {model}: an error is short");
                assert!(model != "whole-error" || text.contains("Out of cheese."), "{path}: the provider's words are told: {text}");
            }
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_provider_closes_between_requests_costs_no_answer() {
    let (provider, server) = start(
        |_| {
            let mut steps = says("Hello there.");
            steps.push(Step::Close);
            steps
        },
        "",
    )
    .await;
    let path = DIALECTS[0];
    for n in 0..200 {
        let answer = post(server.address, path, &asked(path, "up/ok", n % 2 == 0)).await;
        assert!(answer.status == 200 && answer.text().contains("Hello there."), "{n}: {}", answer.text());
    }
    assert_eq!(provider.asked().len(), 200, "nothing was asked twice");
}

#[tokio::test]
async fn messages_are_read_however_servers_write_them() {
    let (_provider, server) = start(
        |asked| {
            let (input, output) = (json!({ "input_tokens": 7, "output_tokens": 1 }), json!({ "output_tokens": 3 }));
            let start = json!({ "type": "message_start", "message": { "id": "m", "content": [], "usage": input } });
            let end = json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": output });
            let [open, more, close] = <[Value; 3]>::try_from(text_block(0, "Hello there.")).expect("three");
            let stop = json!({ "type": "message_stop" });
            let ping = json!({ "type": "ping" });
            match asked.model() {
                "pings" => {
                    stream(named(&[ping.clone(), start, ping.clone(), open, ping.clone(), more, ping.clone(), close, ping, end, stop]))
                }
                "nameless" => stream(data(&[start, open, more, close, end, stop])),
                "stopless" => stream(named(&[start, open, more, close, end])),
                "closeless" => stream(named(&[start, open, more, end, stop])),
                "new-events" => stream(named(&[start, json!({ "type": "novelty", "x": 1 }), open, more, close, end, stop])),
                "new-blocks" => {
                    let block = json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "novelty", "x": 1 } });
                    let closed = json!({ "type": "content_block_stop", "index": 0 });
                    let text = text_block(1, "Hello there.");
                    stream(named(&[&[start, block, closed][..], &text, &[end, stop]].concat()))
                }
                "stray-delta" => {
                    let stray = json!({ "type": "content_block_delta", "index": 9, "delta": { "type": "text_delta", "text": "No." } });
                    stream(named(&[start, stray, open, more, close, end, stop]))
                }
                "null-usage" => {
                    let null = json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": null });
                    let counted = json!({ "type": "message_delta", "delta": {}, "usage": { "output_tokens": 3 } });
                    stream(named(&[start, open, more, close, null, counted, stop]))
                }
                _ => message(&text_block(0, "Hello there."), "end_turn", input, output),
            }
        },
        "",
    )
    .await;
    for model in ["pings", "nameless", "stopless", "closeless", "new-events", "new-blocks", "stray-delta", "null-usage", "plain"] {
        assert_eq!(told(&server, &format!("claude/{model}")).await, ("Hello there.".to_owned(), "stop".to_owned(), 10), "{model}");
    }
}

#[tokio::test]
async fn a_call_is_never_gone_on_with_by_another_target() {
    let (provider, server) = start(
        |asked| match asked.model() {
            "half" => {
                let blocks = call_block(0, "a", "weather", &["{\"city\":"]);
                let events = [&[json!({ "type": "message_start", "message": { "usage": {} } })][..], &blocks[..2]].concat();
                let mut steps = vec![Step::Write(STREAM.to_vec())];
                steps.extend(named(&events).into_iter().map(chunk));
                steps.push(Step::Close);
                steps
            }
            _ => says("Hello there."),
        },
        &router("chain", "claude/half", &["up/ok"], ""),
    )
    .await;
    for path in DIALECTS {
        let text = post(server.address, path, &asked(path, "timbre/chain", true)).await.text();
        assert!(text.contains("weather") && text.contains("\"error\":{") && !text.contains("Hello there."), "{path}: {text}");
        assert!(!["[DONE]", "message_stop", "response.completed"].iter().any(|happy| text.contains(happy)), "{path}: {text}");
    }
    assert_eq!(provider.count("ok"), 0);
}

#[tokio::test]
async fn the_wait_is_understood_in_seconds_and_in_milliseconds() {
    let (_provider, server) = start(
        |asked| {
            let header = match asked.model() {
                "far" => "retry-after: Wed, 21 Oct 2099 07:28:00 GMT\r\n",
                "ms" => "retry-after-ms: 1500\r\n",
                "fraction" => "retry-after: 0.5\r\n",
                _ => "retry-after: -3\r\n",
            };
            provider::error(429, header)
        },
        "",
    )
    .await;
    for (model, expected) in [("ms", "2"), ("fraction", "1"), ("negative", ""), ("far", "")] {
        let answer = post(server.address, DIALECTS[0], &asked("", &format!("up/{model}"), false)).await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, expected), "{model}");
    }
}
