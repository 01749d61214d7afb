//! Web search behind the whole server: who is asked for it, what a caller gets in each dialect, and backends that misbehave.

#[expect(unreachable_pub, reason = "shared by several tests")]
mod mock;

use std::time::Duration;

use mock::{Asked, Mock, Said, post, served};
use serde_json::{Value, json};
use timbre::serve::Running;

/// A model that searches once where it is given the tool, and then repeats what it was told of the search.
fn model(asked: &Asked) -> Said {
    let body = &asked.body;
    let chunk = |delta: Value, finish: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}});
    let last = body["messages"].as_array().and_then(|messages| messages.last()).cloned().unwrap_or_default();
    let can = body["tools"].as_array().is_some_and(|tools| tools.iter().any(|tool| tool["function"]["name"] == "web_search"));
    if last["role"] == "tool" {
        let told = last["content"].as_str().unwrap_or_default();
        let text = if told.contains("https://news.example/1") { "It is so [1]." } else { "I could not look it up." };
        return Said::events(&[chunk(json!({"content": text}), Value::Null), chunk(json!({}), json!("stop")), usage]);
    }
    if !can {
        return Said::events(&[chunk(json!({"content": "No tool."}), Value::Null), chunk(json!({}), json!("stop")), usage]);
    }
    let call = json!({"index": 0, "id": "c1", "function": {"name": "web_search", "arguments": "{\"query\":\"what is new\"}"}});
    Said::events(&[chunk(json!({"tool_calls": [call]}), Value::Null), chunk(json!({}), json!("tool_calls")), usage])
}

fn found(_: &Asked) -> Said {
    found_now()
}

async fn server(upstream: &Mock, backend: &Mock) -> Running {
    let config = format!(
        r#"
        default_model = "up/any"
        [models]
        local = false
        [record]
        file = ""
        [search]
        backend = "searxng"
        base_url = "http://{}"
        timeout = "300ms"
        usd_per_thousand = 5
        [[provider]]
        name = "up"
        base_url = "http://{}/v1"
        "#,
        backend.addr, upstream.addr
    );
    served(&config, &[]).await
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dialect_gets_an_answer_with_its_sources() {
    let (upstream, backend) = (Mock::start(model).await, Mock::start(found).await);
    let running = server(&upstream, &backend).await;
    let citation = json!({"url": "https://news.example/1", "title": "News", "start_index": 9, "end_index": 12});
    let message = json!([{"role": "user", "content": "What is new?"}]);

    let (status, chat) = post(&running, "/v1/chat/completions", &json!({"model": "up/m", "messages": message, "web_search": true})).await;
    let chat = parsed(&chat);
    assert_eq!((status, &chat["choices"][0]["message"]["content"]), (200, &json!("It is so [1].")));
    assert_eq!(chat["choices"][0]["message"]["annotations"][0]["url_citation"], citation);
    let work: Vec<&Value> = chat["metadata"]["attempts"].as_array().into_iter().flatten().map(|attempt| &attempt["work"]).collect();
    assert_eq!(work, [&Value::Null, &json!("search"), &Value::Null]);
    assert_eq!((&chat["metadata"]["attempts"][1]["costUsd"], &chat["usage"]["total_tokens"]), (&json!(0.005), &json!(30)));
    assert_eq!(chat["model"], "up/m");

    let options = json!({"model": "up/m", "messages": message, "web_search_options": {}, "stream": true});
    let (_, stream) = post(&running, "/v1/chat/completions", &options).await;
    assert!(stream.contains("url_citation") && stream.ends_with("data: [DONE]\n\n"), "{stream}");

    let tool = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 3});
    let body = json!({"model": "up/m", "max_tokens": 99, "messages": message, "tools": [tool]});
    let (_, answer) = post(&running, "/v1/messages", &body).await;
    let content = parsed(&answer)["content"].clone();
    assert_eq!((&content[0]["type"], &content[0]["input"]["query"]), (&json!("server_tool_use"), &json!("what is new")), "{content}");
    assert_eq!((&content[1]["type"], &content[1]["tool_use_id"]), (&json!("web_search_tool_result"), &content[0]["id"]), "{content}");
    assert_eq!(content[1]["content"][0]["url"], "https://news.example/1");
    assert_eq!((&content[2]["text"], &content[2]["citations"][0]["title"]), (&json!("It is so [1]."), &json!("News")), "{content}");

    let body = json!({"model": "up/m", "input": "What is new?", "tools": [{"type": "web_search"}]});
    let (_, answer) = post(&running, "/v1/responses", &body).await;
    let output = parsed(&answer)["output"].clone();
    assert_eq!((&output[0]["type"], &output[0]["action"]["query"]), (&json!("web_search_call"), &json!("what is new")), "{output}");
    assert_eq!(output[1]["content"][0]["annotations"][0]["end_index"], 12, "{output}");

    assert!(backend.asked().iter().all(|asked| asked.path == "/search?q=what%20is%20new&format=json"), "{:?}", backend.asked());
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn models_that_search_are_asked_to_in_their_own_form() {
    let (upstream, backend) = (Mock::start(model).await, Mock::start(found).await);
    let running = server(&upstream, &backend).await;
    let ask = json!({"model": "up/gpt-4o-search-preview", "messages": [{"role": "user", "content": "What is new?"}],
        "web_search": {"search_context_size": "low", "max_results": 2}});
    let (_, answer) = post(&running, "/v1/chat/completions", &ask).await;
    assert_eq!(parsed(&answer)["choices"][0]["message"]["content"], "No tool.");
    let asked = upstream.asked();
    assert_eq!(
        (&asked[0].body["web_search_options"], &asked[0].body["web_search"]),
        (&json!({"search_context_size": "low"}), &Value::Null)
    );
    assert!(backend.asked().is_empty());
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_fails_is_told_to_the_model_and_nothing_hangs() {
    let huge = || {
        let entry = json!({"url": "https://news.example/2", "title": "x", "content": "y".repeat(3_000_000)});
        Said::json(json!({"results": [entry]}))
    };
    type Behaviour = (&'static str, fn(Said) -> Said);
    let behaviours: [Behaviour; 6] = [
        ("busy", |said| Said { status: 429, ..said }),
        ("broken", |said| Said { status: 500, body: b"<html>".to_vec(), ..said }),
        ("slow", |said| Said { wait: Duration::from_secs(20), ..said }),
        ("not JSON", |said| Said { body: b"{\"results\": [".to_vec(), ..said }),
        ("no list", |said| Said { body: b"{}".to_vec(), ..said }),
        ("nothing", |said| Said { body: b"{\"results\": []}".to_vec(), ..said }),
    ];
    for (name, behaviour) in behaviours.into_iter().chain([("huge", (|said| said) as fn(Said) -> Said)]) {
        let (upstream, backend) =
            (Mock::start(model).await, Mock::start(move |_| behaviour(if name == "huge" { huge() } else { found_now() })).await);
        let running = server(&upstream, &backend).await;
        let ask = json!({"model": "up/m", "messages": [{"role": "user", "content": "What is new?"}], "web_search": true});
        let (status, answer) = post(&running, "/v1/chat/completions", &ask).await;
        assert_eq!((status, &parsed(&answer)["choices"][0]["message"]["content"]), (200, &json!("I could not look it up.")), "{name}");
        running.stop();
    }
}

fn found_now() -> Said {
    Said::json(json!({"results": [{"url": "https://news.example/1", "title": "News", "content": "It is new."}]}))
}
