//! Group D: tokens between the dialects, and what attempts cost however they end.

use serde_json::{Value, json};

use crate::support::provider::{self, chunk, data, delta, finish, message, stream, text_block, usage};
use crate::support::server::{gateway, router};
use crate::support::{Asked, Connection, Folder, Provider, Server, Step, post};

async fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static, more: &str) -> (Provider, Server, Folder) {
    let provider = Provider::start(script).await;
    let folder = Folder::new();
    // A dollar for a million tokens read, two for written: a token read costs 1,000 nano-dollars.
    let prices = ["bad", "cut", "ok", "endless", "uncounted"].map(|model| format!("\"up/{model}\" = {{ input = 1.0, output = 2.0 }}\n"));
    std::fs::write(folder.file("prices.toml"), prices.concat()).expect("a file");
    let record = format!("[record]\nfile = {:?}\n", folder.file("requests.ndjson"));
    let catalogue = format!("local = false\ncatalogue = {:?}", folder.file("prices.toml"));
    let config = gateway(provider.address, &format!("{more}{record}")).replace("local = false", &catalogue);
    let server = Server::start(&config).await;
    (provider, server, folder)
}

/// The records of all requests; the server has stopped.
async fn records(server: Server, folder: &Folder) -> Vec<Value> {
    server.stop().await;
    let text = std::fs::read_to_string(folder.file("requests.ndjson")).expect("records");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn asked(path: &str, model: &str, stream: bool) -> Value {
    match path {
        "/v1/responses" => json!({ "model": model, "stream": stream, "input": "hi" }),
        _ => json!({ "model": model, "stream": stream, "max_tokens": 99, "messages": [{ "role": "user", "content": "hi" }] }),
    }
}

#[tokio::test]
async fn what_was_read_from_and_written_to_the_cache_is_part_of_the_input_or_beside_it() {
    let (_provider, server, _folder) = start(
        |asked| match asked.path.as_str() {
            "/v1/messages" => {
                let input =
                    json!({ "input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 1000, "output_tokens": 1 });
                message(&text_block(0, "ok"), "end_turn", input, json!({ "output_tokens": 5 }))
            }
            _ => {
                let details = json!({ "cached_tokens": 100, "cache_write_tokens": 1000 });
                let counted =
                    usage(json!({ "prompt_tokens": 1110, "completion_tokens": 5, "total_tokens": 1115, "prompt_tokens_details": details }));
                stream(data(&[delta(json!({ "content": "ok" })), finish("stop"), counted]))
            }
        },
        "",
    )
    .await;
    for model in ["up/x", "claude/x"] {
        let told = post(server.address, "/v1/chat/completions", &asked("", model, false)).await.json();
        let details = &told["usage"]["prompt_tokens_details"];
        assert_eq!((&told["usage"]["prompt_tokens"], &told["usage"]["total_tokens"]), (&json!(1110), &json!(1115)), "{model}");
        assert_eq!((&details["cached_tokens"], &details["cache_write_tokens"]), (&json!(100), &json!(1000)), "{model}");
        let told = post(server.address, "/v1/responses", &asked("/v1/responses", model, false)).await.json();
        assert_eq!((&told["usage"]["input_tokens"], &told["usage"]["input_tokens_details"]["cached_tokens"]), (&json!(1110), &json!(100)));
        let told = post(server.address, "/v1/messages", &asked("", model, false)).await.json();
        let counts = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"];
        assert_eq!(counts.map(|name| told["usage"][name].clone()), [json!(10), json!(100), json!(1000), json!(5)], "{model}");
        let events = post(server.address, "/v1/messages", &asked("", model, true)).await.events();
        let last = &events.iter().find(|(name, _)| name == "message_delta").expect("an end").1;
        assert_eq!(counts.map(|name| last["usage"][name].clone()), [json!(10), json!(100), json!(1000), json!(5)], "{model}");
        assert!(events[0].1["message"]["usage"]["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "clients show it at the start");
    }
}

#[tokio::test]
async fn tokens_of_reasoning_are_part_of_the_output_and_told() {
    let (_provider, server, _folder) = start(
        |asked| match asked.path.as_str() {
            "/v1/messages" => {
                let output = json!({ "output_tokens": 50, "output_tokens_details": { "thinking_tokens": 40 } });
                message(&text_block(0, "ok"), "end_turn", json!({ "input_tokens": 7 }), output)
            }
            path if path.contains("generateContent") || path.contains("streamGenerateContent") => {
                let counted = json!({ "promptTokenCount": 7, "candidatesTokenCount": 10, "thoughtsTokenCount": 40, "totalTokenCount": 57 });
                let part = json!({ "content": { "role": "model", "parts": [{ "text": "ok" }] }, "finishReason": "STOP" });
                stream(data(&[json!({ "candidates": [part], "usageMetadata": counted })]))
            }
            _ => {
                let details = json!({ "reasoning_tokens": 40 });
                let counted = usage(json!({ "prompt_tokens": 7, "completion_tokens": 50, "completion_tokens_details": details }));
                stream(data(&[delta(json!({ "reasoning_content": "Hm." })), delta(json!({ "content": "ok" })), finish("stop"), counted]))
            }
        },
        "",
    )
    .await;
    for model in ["up/x", "claude/x", "gem/gemini-2.5-pro"] {
        let told = post(server.address, "/v1/chat/completions", &asked("", model, false)).await.json();
        let details = &told["usage"]["completion_tokens_details"];
        assert_eq!((&told["usage"]["completion_tokens"], &details["reasoning_tokens"]), (&json!(50), &json!(40)), "{model}: {told}");
        let told = post(server.address, "/v1/responses", &asked("/v1/responses", model, false)).await.json();
        let details = &told["usage"]["output_tokens_details"];
        assert_eq!((&told["usage"]["output_tokens"], &details["reasoning_tokens"]), (&json!(50), &json!(40)), "{model}");
    }
}

#[tokio::test]
async fn failed_attempts_and_streams_that_nobody_read_to_the_end_cost_what_they_used() {
    let counted = || usage(json!({ "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10 }));
    let (provider, server, folder) = start(
        move |asked| match asked.model() {
            "bad" => provider::error(500, ""),
            "cut" => {
                let said = format!("data: {}\n\n", delta(json!({ "content": "Half of " })));
                vec![Step::Write(provider::STREAM.to_vec()), chunk(said), Step::Close]
            }
            "endless" => {
                let said = format!("data: {}\n\n", delta(json!({ "content": "On and on" })));
                vec![Step::Write(provider::STREAM.to_vec()), chunk(said), Step::Hang]
            }
            _ => stream(data(&[delta(json!({ "content": "the answer." })), finish("stop"), counted()])),
        },
        &router("chain", "up/bad", &["up/cut", "up/ok"], ""),
    )
    .await;
    let told = post(server.address, "/v1/chat/completions", &asked("", "timbre/chain", false)).await.json();
    assert_eq!(told["choices"][0]["message"]["content"], "Half of the answer.", "{told}");
    let mut left = Connection::stream(server.address, "/v1/chat/completions", &asked("", "up/endless", true)).await;
    left.until("On and on").await;
    drop(left);
    provider.gone().await;
    let records = records(server, &folder).await;
    let [chain, left] = &records[..] else { panic!("two records: {records:?}") };
    let attempts = chain["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.iter().map(|attempt| attempt["outcome"].clone()).collect::<Vec<_>>(), ["failed", "failed", "answered"]);
    let cost = |attempt: &Value| attempt["cost_nano_usd"].as_u64().unwrap_or(0);
    // The first refused before it began: nobody is charged for that.
    assert!(cost(&attempts[0]) == 0 && cost(&attempts[1]) > 0 && attempts[1]["estimated"] == true, "{chain}");
    assert_eq!(cost(&attempts[2]), 7 * 1_000 + 3 * 2_000);
    assert_eq!(chain["cost_nano_usd"], attempts.iter().map(cost).sum::<u64>());
    assert_eq!((&left["attempts"][0]["outcome"], &left["estimated"]), (&json!("cancelled"), &json!(true)), "{left}");
    assert!(left["cost_nano_usd"].as_u64().is_some_and(|cost| cost > 0), "{left}");
}

#[tokio::test]
async fn what_the_provider_did_not_count_is_estimated_and_flagged() {
    let (_provider, server, folder) =
        start(|_| stream(data(&[delta(json!({ "content": "Four words are here." })), finish("stop")])), "").await;
    let mut body = asked("", "up/uncounted", true);
    body["stream_options"] = json!({ "include_usage": true });
    let events = post(server.address, "/v1/chat/completions", &body).await.events();
    let counted = &events[events.len() - 2].1;
    assert!(counted["usage"]["completion_tokens"].as_u64().is_some_and(|tokens| (3..9).contains(&tokens)), "{counted}");
    assert!(events.iter().any(|(_, data)| data["timbre"]["usageEstimated"] == true), "{events:?}");
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses"] {
        let told = post(server.address, path, &asked(path, "up/uncounted", false)).await.json();
        assert_eq!(told["timbre"]["usageEstimated"], true, "{path}: {told}");
    }
    let records = records(server, &folder).await;
    assert!(records.len() == 4 && records.iter().all(|record| record["estimated"] == true && record["usage"].is_object()), "{records:?}");
}
