//! Group E: who is asked next, and what the caller sees of it. What befalls an answer in its middle is in tests/gateway.rs.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::client::words;
use crate::support::provider::{self, chunk, data, delta, finish, says, stream};
use crate::support::server::{gateway, router};
use crate::support::{Asked, Folder, Provider, Server, Step, post};

const DIALECTS: [&str; 3] = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];

fn asked(path: &str, model: &str, stream: bool) -> Value {
    match path {
        "/v1/responses" => json!({ "model": model, "stream": stream, "input": "hi" }),
        _ => json!({ "model": model, "stream": stream, "max_tokens": 99, "messages": [{ "role": "user", "content": "hi" }] }),
    }
}

/// The words of an answer in any dialect.
async fn answer(address: SocketAddr, path: &str, model: &str, stream: bool) -> String {
    let answer = post(address, path, &asked(path, model, stream)).await;
    if stream {
        return words(&answer.events());
    }
    let body = answer.json();
    let text = match path {
        "/v1/messages" => &body["content"][0]["text"],
        "/v1/responses" => &body["output"][0]["content"][0]["text"],
        _ => &body["choices"][0]["message"]["content"],
    };
    text.as_str().map_or_else(|| body.to_string(), str::to_owned)
}

/// Faults before the first content, by the name of the model.
fn faulty(asked: &Asked) -> Vec<Step> {
    let head = Step::Write(provider::STREAM.to_vec());
    let event = |event: Value| chunk(format!("data: {event}\n\n"));
    let role = event(delta(json!({ "role": "assistant", "content": "" })));
    match asked.model() {
        "e429" => provider::error(429, "retry-after: 7\r\n"),
        "e500" | "e502" | "e503" | "e529" => provider::error(asked.model()[1..].parse().expect("a status"), ""),
        "e401" => provider::error(401, ""),
        "e400" => provider::error(400, ""),
        "e307" => provider::whole(307, "location: http://127.0.0.1:1/\r\n", &json!({})),
        "html" => vec![Step::Write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>".to_vec())],
        "filter" => provider::whole(400, "", &json!({ "error": { "message": "Not this.", "code": "content_filter" } })),
        "garbage" => vec![Step::Write(b"220 mail.example.org ESMTP\r\n".to_vec()), Step::Close],
        "hangup" => vec![Step::Close],
        "mute" => vec![Step::Hang],
        "head-only" => vec![head, Step::Hang],
        // Alive, but without a word: the role, comments, empty pieces, a thought.
        "wordless" => {
            let thought = event(delta(json!({ "reasoning_content": "Hm." })));
            vec![head, role, chunk(": waiting\n\n"), event(delta(json!({ "content": "" }))), thought, Step::Hang]
        }
        "error-first" => {
            stream([json!({ "error": { "message": "quota", "type": "insufficient_quota" } })].map(|event| format!("data: {event}\n\n")))
        }
        "error-after-role" => {
            vec![head, role, event(json!({ "error": { "message": "no", "code": 500 } })), Step::Write(b"0\r\n\r\n".to_vec())]
        }
        "whole-error" => provider::whole(200, "", &json!({ "error": { "message": "no" } })),
        "empty" => stream(["data: [DONE]\n\n"; 0]),
        _ => says("From the other."),
    }
}

#[tokio::test]
async fn another_target_takes_over_before_the_first_content() {
    let provider = Provider::start(faulty).await;
    let faults = ["e429", "e500", "e502", "e503", "e529", "e307", "html", "garbage", "hangup", "mute", "head-only", "empty", "whole-error"];
    // Port 1 is nobody's.
    let closed = "[[provider]]\nname = \"closed\"\nbase_url = \"http://127.0.0.1:1/v1\"\n".to_owned();
    let mut more = closed + &router("closed", "closed/any", &["up/ok"], "");
    for fault in faults {
        more += &router(fault, &format!("up/{fault}"), &["up/ok"], ", ttft_timeout = \"80ms\"");
    }
    let server = Server::start(&gateway(provider.address, &more)).await;
    for path in DIALECTS {
        for name in faults.iter().chain(&["closed"]) {
            for stream in [true, false] {
                assert_eq!(answer(server.address, path, &format!("timbre/{name}"), stream).await, "From the other.", "{path} {name}");
            }
        }
    }
}

#[tokio::test]
async fn the_wait_a_provider_asks_for_is_told_and_kept() {
    let provider = Provider::start(faulty).await;
    let server = Server::start(&gateway(provider.address, &router("chain", "up/e429", &["up/ok"], ""))).await;
    for path in DIALECTS {
        let refused = post(server.address, path, &asked(path, "up/e429", true)).await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, "7"), "{path}");
    }
    // Whoever asked for seven seconds is not asked again meanwhile.
    let before = provider.count("e429");
    for path in DIALECTS {
        assert_eq!(answer(server.address, path, "timbre/chain", false).await, "From the other.");
    }
    assert_eq!(provider.count("e429"), before);
}

#[tokio::test]
async fn signs_of_life_without_a_word_do_not_stop_the_clock() {
    let provider = Provider::start(faulty).await;
    let chain = router("chain", "up/wordless", &["up/ok"], ", ttft_timeout = \"80ms\"");
    let server = Server::start(&gateway(provider.address, &chain)).await;
    for path in DIALECTS {
        for stream in [true, false] {
            assert_eq!(answer(server.address, path, "timbre/chain", stream).await, "From the other.", "{path}");
        }
    }
}

#[tokio::test]
async fn an_error_event_before_content_is_as_good_as_a_refusal() {
    let provider = Provider::start(faulty).await;
    let chains = ["error-first", "error-after-role"].map(|fault| router(fault, &format!("up/{fault}"), &["up/ok"], ""));
    let server = Server::start(&gateway(provider.address, &chains.concat())).await;
    for path in DIALECTS {
        for name in ["timbre/error-first", "timbre/error-after-role"] {
            for stream in [true, false] {
                assert_eq!(answer(server.address, path, name, stream).await, "From the other.", "{path} {name}");
            }
        }
    }
}

#[tokio::test]
async fn every_attempt_is_told_in_the_answer_and_written_down() {
    let provider = Provider::start(faulty).await;
    let folder = Folder::new();
    let more = router("chain", "up/e500", &["up/mute", "up/ok"], ", ttft_timeout = \"80ms\"");
    let more = format!("{more}[record]\nfile = {:?}\n", folder.file("requests.ndjson"));
    for path in DIALECTS {
        // A server that has not learnt yet which targets are ill.
        let server = Server::start(&gateway(provider.address, &more)).await;
        for stream in [true, false] {
            let answer = post(server.address, path, &asked(path, "timbre/chain", stream)).await;
            let told = if stream {
                let events = answer.events().into_iter().map(|(_, data)| data);
                let mut told = events.filter(|data| data.get("timbre").is_some() || data["response"].get("timbre").is_some());
                told.next_back().expect("it is told")
            } else {
                answer.json()
            };
            let ours = if told.get("response").is_some() { &told["response"] } else { &told };
            let attempts = ours.pointer("/metadata/attempts").or_else(|| ours.pointer("/timbre/attempts")).and_then(Value::as_array);
            let seen: Vec<_> =
                attempts.expect("attempts").iter().map(|one| json!([one["provider"], one["model"], one["status"]])).collect();
            assert_eq!(json!(seen), json!([["up", "e500", "failed"], ["up", "mute", "failed"], ["up", "ok", "success"]]), "{path}");
            assert_eq!(attempts.expect("attempts")[0]["httpStatus"], 500);
        }
        server.stop().await;
    }
    let records = std::fs::read_to_string(folder.file("requests.ndjson")).expect("records");
    let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(records.len(), 6);
    for record in &records {
        let seen: Vec<_> =
            record["attempts"].as_array().expect("attempts").iter().map(|one| json!([one["target"], one["outcome"]])).collect();
        assert_eq!(json!(seen), json!([["up/e500", "failed"], ["up/mute", "failed"], ["up/ok", "answered"]]));
    }
}

/// A wrong key is the provider's matter, not the request's: nothing else is asked there, and another provider, with another key, may be.
#[tokio::test]
async fn what_would_fail_everywhere_is_asked_only_once() {
    let provider = Provider::start(faulty).await;
    let other = Provider::start(faulty).await;
    let chains = ["e400", "filter"].map(|fault| router(fault, &format!("up/{fault}"), &["up/ok", "other/ok"], ""));
    let keys = router("e401", "up/e401", &["up/ok"], "") + &router("e401-then", "up/e401", &["up/ok", "other/ok"], "");
    let more = format!("{}{keys}[[provider]]\nname = \"other\"\nbase_url = \"http://{}/v1\"\n", chains.concat(), other.address);
    for path in DIALECTS {
        // A server that has not learnt yet which targets are ill.
        let server = Server::start(&gateway(provider.address, &more)).await;
        for (name, status) in [("e400", 400), ("filter", 400), ("e401", 502)] {
            for stream in [true, false] {
                let refused = post(server.address, path, &asked(path, &format!("timbre/{name}"), stream)).await;
                assert_eq!(refused.status, status, "{path} {name}: {}", refused.text());
            }
        }
    }
    assert_eq!((provider.count("ok"), other.count("ok")), (0, 0), "nobody else was asked");
    let server = Server::start(&gateway(provider.address, &more)).await;
    assert_eq!(answer(server.address, DIALECTS[0], "timbre/e401-then", false).await, "From the other.");
    assert_eq!((provider.count("ok"), other.count("ok")), (0, 1));
}

#[tokio::test]
async fn a_caller_keeps_their_variant_through_a_failover() {
    let provider = Provider::start(|asked: &Asked| match asked.model() {
        "a1" | "b1" => provider::error(500, ""),
        model => {
            let said = model.to_owned();
            stream(data(&[delta(json!({ "content": said })), finish("stop")]))
        }
    })
    .await;
    let variant = |name: &str| {
        format!("{{ variant = {{ variant_id = \"{name}\", model_id = \"up/{name}1\", models = [\"up/{name}2\"] }}, weight = 50 }}")
    };
    let more = format!("[[router]]\nname = \"split\"\n[router.default_route]\nvariants = [ {}, {} ]\n", variant("a"), variant("b"));
    let server = Server::start(&gateway(provider.address, &more)).await;
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..12 {
        let mut body = asked("", "timbre/split", false);
        body["user"] = json!(format!("user-{user}"));
        let mut variants = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let told = post(server.address, "/v1/chat/completions", &body).await.json();
            let variant = told["timbre"]["variant"].as_str().expect("a variant").to_owned();
            assert_eq!(told["choices"][0]["message"]["content"], format!("{variant}2"), "the fallback is the variant's own");
            variants.insert(variant);
        }
        assert_eq!(variants.len(), 1, "user-{user}");
        seen.extend(variants);
    }
    assert_eq!(seen.len(), 2, "both variants have callers");
}
