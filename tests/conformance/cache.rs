//! Group F: answers that are given again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};

use crate::support::client::{self, Answer, Connection, post_with, words};
use crate::support::provider::{self, Gate, call_block, chunk, delta, says};
use crate::support::server::{gateway, router};
use crate::support::{Asked, Folder, Provider, Server, Step};

const CHAT: &str = "/v1/chat/completions";
const KEYS: &str = "[auth]\nkeys = [\"sk-one\", \"sk-two\"]\n[cache]\nimplicit = \"always\"\n";

async fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static, more: &str) -> (Provider, Server) {
    let provider = Provider::start(script).await;
    let server = Server::start(&gateway(provider.address, &format!("{KEYS}{more}"))).await;
    (provider, server)
}

async fn send(server: &Server, key: &str, path: &str, body: &Value) -> Answer {
    post_with(server.address, path, &[("authorization", &format!("Bearer {key}"))], body).await
}

fn asked(extra: Value) -> Value {
    let mut body = json!({ "model": "up/ok", "messages": [{ "role": "user", "content": "hi" }], "temperature": 0.5 });
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

#[tokio::test]
async fn whatever_changes_the_answer_makes_another_question() {
    let (provider, server) = start(|_| says("ok"), &router("r", "up/routed", &[], "")).await;
    let tool = |name: &str| json!([{ "type": "function", "function": { "name": name, "parameters": { "type": "object" } } }]);
    let shape = |name: &str| json!({ "type": "json_schema", "json_schema": { "name": name, "schema": { "type": "object" } } });
    for (n, extra) in [
        json!({}),
        json!({ "model": "up/other" }),
        json!({ "messages": [{ "role": "user", "content": "hi!" }] }),
        json!({ "messages": [{ "role": "system", "content": "hi" }] }),
        json!({ "tools": tool("a") }),
        json!({ "tools": tool("b") }),
        json!({ "tools": tool("a"), "tool_choice": "none" }),
        json!({ "response_format": shape("a") }),
        json!({ "response_format": shape("b") }),
        json!({ "temperature": 0.6 }),
        json!({ "top_p": 0.5 }),
        json!({ "seed": 1 }),
        json!({ "max_tokens": 5 }),
        json!({ "stop": "x" }),
        json!({ "reasoning_effort": "low" }),
        json!({ "rare": 1 }),
        json!({ "model": "timbre/r" }),
    ]
    .into_iter()
    .enumerate()
    {
        for (key, expected) in [("sk-one", "miss"), ("sk-one", "hit"), ("sk-two", "miss")] {
            let answer = send(&server, key, CHAT, &asked(extra.clone())).await;
            assert_eq!((answer.status, answer.header("x-cache")), (200, expected), "{n} {key}: {extra}");
        }
    }
    assert_eq!(provider.asked().len(), 17 * 2);
}

#[tokio::test]
async fn an_answer_is_charged_to_who_asked_first_even_if_they_leave_it_to_another() {
    let gate = Gate::default();
    let held = gate.clone();
    let script = move |_: &Asked| {
        let usage = json!({ "choices": [], "usage": { "prompt_tokens": 60_000, "completion_tokens": 1 } });
        let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
        let mut steps = provider::stream([format!("data: {}\n\n", delta(json!({ "content": "On" })))]);
        let last = steps.pop().expect("an end");
        steps.extend([Step::Gate(held.clone()), chunk(format!("data: {end}\n\ndata: {usage}\n\ndata: [DONE]\n\n")), last]);
        steps
    };
    let (provider, server) = start(script, "[limits.key]\ntokens_per_day = 100000\n").await;
    let headers = [("authorization", "Bearer sk-one"), ("content-type", "application/json")];
    let body = asked(json!({ "stream": true, "max_tokens": 5 })).to_string();
    let request = client::request("POST", CHAT, &headers, body.as_bytes());
    let mut callers = Vec::new();
    for _ in 0..2 {
        let mut caller = Connection::open(server.address).await;
        caller.send(&request).await;
        caller.head().await;
        caller.until("On").await;
        callers.push(caller);
    }
    let mut second = callers.pop().expect("two");
    drop(callers);
    // Its leaving is noticed before the answer goes on.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    gate.open();
    second.until("[DONE]").await;
    second.rest().await;
    let rare = asked(json!({ "max_tokens": 5, "stream": true, "n": 1, "rare": 1 }));
    let after = send(&server, "sk-one", CHAT, &rare);
    gate.open();
    let left: u64 = after.await.header("x-ratelimit-remaining-tokens").parse().expect("a number");
    assert_eq!(provider.asked().len(), 2);
    assert!(left < 40_000, "{left} tokens are left of 100000, although 60001 were used");
}

#[tokio::test]
async fn a_changed_router_starts_afresh() {
    let (_provider, server) = start(|_| says("ok"), "").await;
    let route = |model: &str| json!({ "variants": [{ "variant": { "model_id": model }, "weight": 100 }] });
    let headers = [("authorization", "Bearer sk-one"), ("content-type", "application/json")];
    let change = |method: &str, path: &str, body: Value| client::request(method, path, &headers, body.to_string().as_bytes());
    let made = change("POST", "/router/v1/routers", json!({ "name": "r", "default_route": route("up/a") }));
    assert_eq!(client::ask(server.address, &made).await.status, 200);
    let body = asked(json!({ "model": "timbre/r" }));
    for expected in ["miss", "hit"] {
        assert_eq!(send(&server, "sk-one", CHAT, &body).await.header("x-cache"), expected);
    }
    let changed = change("PATCH", "/router/v1/routers/r?update_mask=displayName", json!({ "display_name": "New" }));
    assert_eq!(client::ask(server.address, &changed).await.status, 200);
    assert_eq!(send(&server, "sk-one", CHAT, &body).await.header("x-cache"), "miss");
}

#[tokio::test]
async fn only_whole_answers_are_given_again() {
    let times = Arc::new(AtomicUsize::new(0));
    let counted = times.clone();
    let (_provider, server) = start(
        move |asked| {
            let half = |step| {
                vec![Step::Write(provider::STREAM.to_vec()), chunk(format!("data: {}\n\n", delta(json!({ "content": "Half" })))), step]
            };
            match (asked.model(), counted.fetch_add(1, SeqCst)) {
                (_, n) if n % 2 == 1 => says("Whole."),
                ("refused", _) => provider::error(400, ""),
                ("failed", _) => provider::error(500, ""),
                ("cut", _) => half(Step::Close),
                ("in-band", _) => half(chunk("data: {\"error\":{\"message\":\"no\"}}\n\n")),
                _ => provider::whole(200, "", &json!({ "error": { "message": "no" } })),
            }
        },
        "",
    )
    .await;
    for (n, model) in ["refused", "failed", "cut", "in-band", "whole-error"].into_iter().enumerate() {
        times.store(0, SeqCst);
        let body = asked(json!({ "model": format!("up/{model}"), "stream": n % 2 == 0 }));
        let failed = send(&server, "sk-one", CHAT, &body).await;
        assert!(failed.text().contains("\"error\""), "{model}: {}", failed.text());
        for expected in ["miss", "hit"] {
            let answer = send(&server, "sk-one", CHAT, &body).await;
            assert!(answer.status == 200 && answer.text().contains("Whole."), "{model}: {}", answer.text());
            assert_eq!(answer.header("x-cache"), expected, "{model}");
        }
    }
}

#[tokio::test]
async fn an_answer_given_again_is_a_proper_stream_and_says_so() {
    let (provider, server) = start(
        |asked| match asked.model() {
            "tools" => {
                let blocks = [provider::text_block(0, "Looking."), call_block(1, "a", "weather", &["{\"city\":", "\"Rome\"}"])].concat();
                provider::message(&blocks, "tool_use", json!({ "input_tokens": 7 }), json!({ "output_tokens": 3 }))
            }
            _ => says("Hello there."),
        },
        "",
    )
    .await;
    // Asked once, whole; given again as a stream, and the other way round.
    for first in [false, true] {
        let body = |stream: bool| {
            asked(json!({ "stream": stream, "stream_options": { "include_usage": true }, "seed": u8::from(first), "model": "up/ok" }))
        };
        let fresh = send(&server, "sk-one", CHAT, &body(first)).await;
        assert_eq!(fresh.header("x-cache"), "miss");
        let again = send(&server, "sk-one", CHAT, &body(!first)).await;
        assert_eq!((again.header("x-cache"), again.header("x-cache-key")), ("hit", fresh.header("x-cache-key")));
        let (streamed, whole) = if first { (&fresh, &again) } else { (&again, &fresh) };
        let events = streamed.events();
        assert_eq!(words(&events), "Hello there.");
        assert_eq!(events[0].1["choices"][0]["delta"]["role"], "assistant");
        let [.., (_, finish), (_, counted), (_, done)] = &events[..] else { panic!("an end: {events:?}") };
        assert_eq!((&finish["choices"][0]["finish_reason"], done), (&json!("stop"), &json!("[DONE]")));
        assert_eq!((&counted["choices"], &counted["usage"]["total_tokens"]), (&json!([]), &json!(10)));
        assert_eq!(whole.json()["choices"][0]["message"]["content"], "Hello there.");
    }
    assert_eq!(provider.asked().len(), 2);
    for stream in [false, true, true] {
        let body = json!({ "model": "claude/tools", "max_tokens": 9, "stream": stream, "messages": [{ "role": "user", "content": "hi" }] });
        let answer = send(&server, "sk-one", "/v1/messages", &body).await;
        assert!(answer.text().contains("weather") && answer.text().contains("Rome"), "{}", answer.text());
        if stream {
            let names: Vec<_> = answer
                .events()
                .into_iter()
                .map(|(name, _)| name)
                .filter(|name| name.ends_with("start") || name.ends_with("stop"))
                .collect();
            assert_eq!(answer.header("x-cache"), "hit");
            assert_eq!(
                names.join(" "),
                "message_start content_block_start content_block_stop content_block_start content_block_stop message_stop"
            );
        }
    }
}

#[tokio::test]
async fn one_answer_is_forgotten_by_its_key_and_by_its_owner_only() {
    let (_provider, server) = start(|_| says("ok"), "").await;
    let (one, other) = (asked(json!({})), asked(json!({ "seed": 1 })));
    let key = send(&server, "sk-one", CHAT, &one).await.header("x-cache-key").to_owned();
    send(&server, "sk-one", CHAT, &other).await;
    let path = format!("/v1/cache/{key}");
    for (owner, status) in [("sk-two", 404), ("sk-one", 204), ("sk-one", 404)] {
        let request = client::request("DELETE", &path, &[("authorization", &format!("Bearer {owner}"))], b"");
        assert_eq!(client::ask(server.address, &request).await.status, status, "{owner}");
    }
    assert_eq!(send(&server, "sk-one", CHAT, &other).await.header("x-cache"), "hit", "others are still there");
    assert_eq!(send(&server, "sk-one", CHAT, &one).await.header("x-cache"), "miss");
}

#[tokio::test]
async fn an_answer_given_again_costs_nothing_on_record() {
    let folder = Folder::new();
    let provider = Provider::start(|_| says("ok")).await;
    std::fs::write(folder.file("prices.toml"), "\"up/ok\" = { input = 1.0, output = 2.0 }\n").expect("a file");
    let catalogue = format!("local = false\ncatalogue = {:?}", folder.file("prices.toml"));
    let more = format!("{KEYS}[record]\nfile = {:?}\n", folder.file("requests.ndjson"));
    let server = Server::start(&gateway(provider.address, &more).replace("local = false", &catalogue)).await;
    for _ in 0..2 {
        send(&server, "sk-one", CHAT, &asked(json!({}))).await;
    }
    server.stop().await;
    let text = std::fs::read_to_string(folder.file("requests.ndjson")).expect("records");
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<_> = records.iter().map(|record| json!([record["cache"], record["cost_nano_usd"]])).collect();
    assert_eq!(json!(told), json!([["miss", 13_000], ["exact", 0]]));
}
