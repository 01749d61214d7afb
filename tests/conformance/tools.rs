//! Group C: calls of tools and their results, between the dialects.

use serde_json::{Map, Value, json};

use crate::support::provider::{self, call_block, chat, delta, finish, message, says, stream, text_block};
use crate::support::server::gateway;
use crate::support::{Asked, Provider, Server, Step, post};

async fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> (Provider, Server) {
    let provider = Provider::start(script).await;
    let server = Server::start(&gateway(provider.address, "")).await;
    (provider, server)
}

/// A tool of each dialect.
fn weather(path: &str) -> Value {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    match path {
        "/v1/messages" => json!([{ "name": "weather", "input_schema": schema }]),
        "/v1/responses" => json!([{ "type": "function", "name": "weather", "parameters": schema, "strict": false }]),
        _ => json!([{ "type": "function", "function": { "name": "weather", "parameters": schema } }]),
    }
}

fn request(path: &str, model: &str, extra: Value) -> Value {
    let said = json!([{ "role": "user", "content": "hi" }]);
    let mut body = match path {
        "/v1/messages" => json!({ "model": model, "max_tokens": 99, "messages": said }),
        "/v1/responses" => json!({ "model": model, "input": "hi" }),
        _ => json!({ "model": model, "messages": said }),
    };
    body["tools"] = weather(path);
    body.as_object_mut().expect("an object").extend(extra.as_object().cloned().unwrap_or_default());
    body
}

/// The calls of an answer, as `id name arguments`, whole or put together from its events as an SDK does it.
async fn calls(server: &Server, path: &str, model: &str) -> Vec<String> {
    let whole = post(server.address, path, &request(path, model, json!({}))).await.json();
    let items = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |id: &Value, name: &Value, arguments: String| format!("{} {} {arguments}", text(id), text(name));
    let told: Vec<String> = match path {
        "/v1/messages" => {
            let content = items(&whole["content"]);
            let input = |block: &Value| block["input"].as_str().map_or_else(|| block["input"].to_string(), str::to_owned);
            content
                .iter()
                .filter(|block| block["type"] == "tool_use")
                .map(|block| line(&block["id"], &block["name"], input(block)))
                .collect()
        }
        "/v1/responses" => items(&whole["output"])
            .iter()
            .filter(|item| item["type"] == "function_call")
            .map(|item| line(&item["call_id"], &item["name"], text(&item["arguments"])))
            .collect(),
        _ => items(&whole["choices"][0]["message"]["tool_calls"])
            .iter()
            .inspect(|call| assert!(call.get("index").is_none() && call["type"] == "function", "{call}"))
            .map(|call| line(&call["id"], &call["function"]["name"], text(&call["function"]["arguments"])))
            .collect(),
    };
    let events = post(server.address, path, &request(path, model, json!({ "stream": true }))).await.events();
    let mut streamed: Vec<(String, String, String)> = Vec::new();
    let mut open = None;
    for (name, data) in &events {
        match name.as_str() {
            "content_block_start" => {
                assert_eq!(open.replace(data["index"].clone()), None, "two blocks are open");
                let block = &data["content_block"];
                if block["type"] == "tool_use" {
                    assert_eq!(block["input"], json!({}));
                    streamed.push((text(&block["id"]), text(&block["name"]), String::new()));
                }
            }
            "content_block_delta" if data["delta"]["type"] == "input_json_delta" => {
                assert_eq!(open.as_ref(), Some(&data["index"]));
                streamed.last_mut().expect("a call").2 += data["delta"]["partial_json"].as_str().expect("text");
            }
            "content_block_stop" => assert_eq!(open.take().as_ref(), Some(&data["index"])),
            "response.output_item.added" if data["item"]["type"] == "function_call" => {
                streamed.push((text(&data["item"]["call_id"]), text(&data["item"]["name"]), String::new()));
            }
            "response.function_call_arguments.delta" => streamed.last_mut().expect("a call").2 += data["delta"].as_str().expect("text"),
            _ => {
                for call in items(&data["choices"][0]["delta"]["tool_calls"]) {
                    // As the SDKs do: every text is added to what came before.
                    let index = usize::try_from(call["index"].as_u64().expect("an index")).expect("a small one");
                    assert!(index <= streamed.len(), "index {index} after {} calls", streamed.len());
                    if index == streamed.len() {
                        streamed.push(Default::default());
                    }
                    let (id, name, arguments) = &mut streamed[index];
                    *id += call["id"].as_str().unwrap_or_default();
                    *name += call["function"]["name"].as_str().unwrap_or_default();
                    *arguments += call["function"]["arguments"].as_str().unwrap_or_default();
                }
            }
        }
    }
    let streamed: Vec<String> = streamed
        .into_iter()
        .map(|(id, name, arguments)| {
            let arguments = if path == "/v1/messages" && arguments.is_empty() { "{}".to_owned() } else { arguments };
            format!("{id} {name} {arguments}")
        })
        .collect();
    assert_eq!(streamed, told, "{path}: a stream says what a whole answer says");
    told
}

const DIALECTS: [&str; 3] = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];

/// A piece of a call; null stands for a field that is not there.
fn call(index: Value, id: Value, name: Value, arguments: Value) -> Value {
    let object = |fields: [(&str, Value); 2]| -> Map<String, Value> {
        fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value)).collect()
    };
    let mut call = object([("index", index), ("id", id)]);
    call.insert("function".to_owned(), Value::Object(object([("name", name), ("arguments", arguments)])));
    json!({ "tool_calls": [call] })
}

#[tokio::test]
async fn parallel_calls_are_numbered_from_0_however_the_provider_counts_them() {
    let (_provider, server) = start(|asked| {
        let none = Value::Null;
        let pieces = match asked.model() {
            // Mixed, with gaps between the indexes.
            "mixed" => vec![
                call(json!(2), json!("a"), json!("weather"), json!("")),
                call(json!(5), json!("b"), json!("weather"), json!("{\"city\"")),
                call(json!(2), none.clone(), none.clone(), json!("{\"city\":\"Rome\"}")),
                call(json!(5), none.clone(), none, json!(":\"Oslo\"}")),
            ],
            // Id and name with every piece.
            "again" => vec![
                call(json!(0), json!("a"), json!("weather"), json!("{\"city\"")),
                call(json!(0), json!("a"), json!("weather"), json!(":\"Rome\"}")),
                call(json!(1), json!("b"), json!("weather"), json!("{\"city\":")),
                call(json!(1), json!("b"), json!("weather"), json!("\"Oslo\"}")),
            ],
            // All of them called 0, told apart by their ids.
            "zero" => vec![
                call(json!(0), json!("a"), json!("weather"), json!("{\"city\":\"Rome\"}")),
                call(json!(0), json!("b"), json!("weather"), json!("{\"city\":\"Oslo\"}")),
            ],
            // No index at all, both in one chunk, arguments as an object.
            _ => {
                let one = |id: &str, city: &str| json!({ "id": id, "type": "function", "function": { "name": "weather", "arguments": { "city": city } } });
                vec![json!({ "tool_calls": [one("a", "Rome"), one("b", "Oslo")] })]
            }
        };
        if asked.path.ends_with("/messages") {
            let blocks = [text_block(0, "Looking."), call_block(1, "a", "weather", &["{\"city\":", "\"Rome\"}"]), call_block(2, "b", "weather", &["{\"city\":\"Oslo\"}"])];
            return message(&blocks.concat(), "tool_use", json!({ "input_tokens": 1 }), json!({ "output_tokens": 1 }));
        }
        chat(&pieces, "tool_calls")
    })
    .await;
    for path in DIALECTS {
        for model in ["up/mixed", "up/again", "up/zero", "up/bare", "claude/text-first"] {
            let told = calls(&server, path, model).await;
            assert_eq!(told, ["a weather {\"city\":\"Rome\"}", "b weather {\"city\":\"Oslo\"}"], "{path} {model}");
        }
    }
    let body = post(server.address, DIALECTS[0], &request(DIALECTS[0], "up/zero", json!({}))).await.json();
    assert_eq!((&body["choices"][0]["message"]["content"], &body["choices"][0]["finish_reason"]), (&Value::Null, &json!("tool_calls")));
}

#[tokio::test]
async fn a_call_without_arguments_is_an_empty_object_where_the_dialect_says_object() {
    let (provider, server) = start(|asked| match asked.path.as_str() {
        "/v1/messages" => message(&call_block(0, "a", "weather", &[]), "tool_use", json!({}), json!({})),
        _ => chat(&[call(json!(0), json!("a"), json!("weather"), json!(""))], "tool_calls"),
    })
    .await;
    assert_eq!(calls(&server, "/v1/chat/completions", "claude/x").await, ["a weather {}"]);
    assert_eq!(calls(&server, "/v1/messages", "up/x").await, ["a weather {}"]);
    // And on the way back.
    let called = json!([{ "id": "a", "type": "function", "function": { "name": "weather", "arguments": "" } }]);
    let dialogue = json!([
        { "role": "user", "content": "hi" }, { "role": "assistant", "content": null, "tool_calls": called },
        { "role": "tool", "tool_call_id": "a", "content": "sun" },
    ]);
    post(server.address, "/v1/chat/completions", &request("", "claude/x", json!({ "messages": dialogue }))).await;
    assert_eq!(provider.last()["messages"][1]["content"][0]["input"], json!({}));
}

#[tokio::test]
async fn results_stand_in_one_turn_before_the_words_that_follow() {
    let (provider, server) = start(|asked| match asked.path.as_str() {
        "/v1/messages" => message(&text_block(0, "ok"), "end_turn", json!({}), json!({})),
        _ => says("ok"),
    })
    .await;
    let one = |id: &str| json!({ "id": id, "type": "function", "function": { "name": "weather", "arguments": "{}" } });
    let dialogue = json!([
        { "role": "user", "content": "hi" }, { "role": "assistant", "content": null, "tool_calls": [one("a"), one("b")] },
        { "role": "tool", "tool_call_id": "a", "content": "sun" }, { "role": "tool", "tool_call_id": "b", "content": "rain" },
        { "role": "user", "content": "and?" },
    ]);
    post(server.address, "/v1/chat/completions", &request("", "claude/x", json!({ "messages": dialogue }))).await;
    let told = provider.last();
    assert_eq!(told["messages"].as_array().map(Vec::len), Some(3), "{told}");
    let kinds: Vec<_> = told["messages"][2]["content"].as_array().expect("blocks").iter().map(|block| block["type"].clone()).collect();
    assert_eq!(kinds, ["tool_result", "tool_result", "text"]);
    // The other way round each result is a message of its own, still before the words.
    let used = |id: &str| json!({ "type": "tool_use", "id": id, "name": "weather", "input": {} });
    let result = |id: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": "sun" });
    let dialogue = json!([
        { "role": "user", "content": "hi" }, { "role": "assistant", "content": [used("a"), used("b")] },
        { "role": "user", "content": [{ "type": "text", "text": "and?" }, result("a"), result("b")] },
    ]);
    post(server.address, "/v1/messages", &request("/v1/messages", "up/x", json!({ "messages": dialogue }))).await;
    let told = provider.last();
    let roles: Vec<_> = told["messages"].as_array().expect("messages").iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool", "user"]);
}

#[tokio::test]
async fn the_four_ways_to_choose_a_tool_have_their_twins() {
    let (provider, server) = start(|asked| match asked.path.as_str() {
        "/v1/messages" => message(&text_block(0, "ok"), "end_turn", json!({}), json!({})),
        _ => says("ok"),
    })
    .await;
    let named = json!({ "type": "function", "function": { "name": "weather" } });
    for (openai, flat, anthropic) in [
        (json!("auto"), json!("auto"), json!({ "type": "auto" })),
        (json!("none"), json!("none"), json!({ "type": "none" })),
        (json!("required"), json!("required"), json!({ "type": "any" })),
        (named, json!({ "type": "function", "name": "weather" }), json!({ "type": "tool", "name": "weather" })),
    ] {
        for (path, choice) in DIALECTS.into_iter().zip([&openai, &anthropic, &flat]) {
            for (model, expected) in [("up/x", &openai), ("claude/x", &anthropic)] {
                post(server.address, path, &request(path, model, json!({ "tool_choice": choice }))).await;
                assert_eq!(&provider.last()["tool_choice"], expected, "{path} {model} {choice}");
            }
        }
    }
}

#[tokio::test]
async fn one_call_at_a_time_is_asked_for_in_both_dialects() {
    let (provider, server) = start(|asked| match asked.path.as_str() {
        "/v1/messages" => message(&text_block(0, "ok"), "end_turn", json!({}), json!({})),
        _ => says("ok"),
    })
    .await;
    for (path, extra) in [
        ("/v1/chat/completions", json!({ "parallel_tool_calls": false })),
        ("/v1/responses", json!({ "parallel_tool_calls": false })),
        ("/v1/messages", json!({ "tool_choice": { "type": "auto", "disable_parallel_tool_use": true } })),
    ] {
        post(server.address, path, &request(path, "claude/x", extra.clone())).await;
        assert_eq!(provider.last()["tool_choice"], json!({ "type": "auto", "disable_parallel_tool_use": true }), "{path}");
        assert_eq!(provider.last().get("parallel_tool_calls"), None, "{path}");
        post(server.address, path, &request(path, "up/x", extra)).await;
        assert_eq!(provider.last()["parallel_tool_calls"], false, "{path}");
    }
}

#[tokio::test]
async fn a_failed_tool_is_marked_or_said_to_have_failed() {
    let (provider, server) = start(|asked| match asked.path.as_str() {
        "/v1/messages" => message(&text_block(0, "ok"), "end_turn", json!({}), json!({})),
        _ => says("ok"),
    })
    .await;
    let dialogue = json!([
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "a", "name": "weather", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "a", "content": "no such city", "is_error": true }] },
    ]);
    let asked = |model| request("/v1/messages", model, json!({ "messages": dialogue, "metadata": { "user_id": "u1" } }));
    post(server.address, "/v1/messages", &asked("claude/x")).await;
    let told = provider.last();
    assert_eq!((&told["messages"][2]["content"][0]["is_error"], &told["metadata"]["user_id"]), (&json!(true), &json!("u1")));
    post(server.address, "/v1/messages", &asked("up/x")).await;
    let told = provider.last();
    assert_eq!((&told["messages"][2]["content"], &told["user"]), (&json!("Error: no such city"), &json!("u1")));
}

#[tokio::test]
async fn arguments_that_come_before_id_and_name_are_kept_for_their_call() {
    let (_provider, server) = start(|_| {
        let none = || Value::Null;
        chat(
            &[
                call(json!(0), none(), none(), json!("{\"city\":")),
                call(json!(0), none(), none(), json!("\"Rome\"")),
                call(json!(0), json!("a"), none(), none()),
                call(json!(0), none(), json!("weather"), json!("}")),
            ],
            "tool_calls",
        )
    })
    .await;
    for path in DIALECTS {
        assert_eq!(calls(&server, path, "up/late").await, ["a weather {\"city\":\"Rome\"}"], "{path}");
    }
}

#[tokio::test]
async fn arguments_that_are_no_json_go_on_as_they_came() {
    let (_provider, server) = start(|_| {
        stream(provider::data(&[delta(call(json!(0), json!("a"), json!("weather"), json!("{\"city\": Rome"))), finish("tool_calls")]))
    })
    .await;
    for path in DIALECTS {
        assert_eq!(calls(&server, path, "up/wild").await, ["a weather {\"city\": Rome"], "{path}");
    }
}
