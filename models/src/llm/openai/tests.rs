//! Requests and streams of the dialect, and answers of a server that misbehaves.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use futures::StreamExt;

use super::super::quirks::Search;
use super::*;
use crate::llm::streamed::replay;
use crate::remote::Secret;
use crate::{Completion, Sampling};

/// What becomes of a stream of bytes, and how it ends.
fn read(pieces: &[&[u8]]) -> (Completion, Option<ErrorKind>) {
    let (completion, error) = replay::completion(Chunks::new("p/m"), pieces);
    (completion, error.map(|error| error.kind))
}

#[test]
fn streams_are_read_however_they_are_written() {
    const HI: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"Hi é"}}]}"#;
    const STOP: &str = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    for (stream, text, error) in [
        (format!("{HI}\n\n{STOP}\n\ndata: [DONE]\n\n"), "Hi é", None),
        (format!(": hello\r\n\r\n{HI}\r\n\r\n{STOP}\r\n\r\n"), "Hi é", None),
        (format!("{HI}\n\ndata: [DONE]\n\n{HI}\n\n"), "Hi é", None),
        (format!("{HI}\n\n"), "Hi é", Some(ErrorKind::Closed)),
        (format!("{HI}\n\ndata: {{\"choices\":[\n\n"), "Hi é", Some(ErrorKind::Protocol)),
        (
            "data: {\"choices\":[{\"delta\":\ndata: {\"content\":\"two lines\"},\"finish_reason\":\"stop\"}]}\n\n".to_owned(),
            "two lines",
            None,
        ),
        ("data: {\"error\":{\"message\":\"busy\",\"code\":429}}\n\n".to_owned(), "", Some(ErrorKind::Overloaded)),
        ("data: {\"error\":{\"message\":\"busy\",\"type\":\"overloaded_error\"}}\n\n".to_owned(), "", Some(ErrorKind::Overloaded)),
        ("event: error\ndata: {\"message\":\"oh\"}\n\n".to_owned(), "", Some(ErrorKind::Failed)),
        ("data: {\"error\":null,\"choices\":[{\"delta\":{\"content\":\"ok\"},\"finish_reason\":\"stop\"}]}\n\n".to_owned(), "ok", None),
        ("data: {\"choices\":[{\"message\":{\"content\":\"whole\"},\"finish_reason\":\"stop\"}]}\n\n".to_owned(), "whole", None),
        ("data: 7\n\ndata: []\n\ndata: {\"choices\":3}\n\ndata: [DONE]\n\n".to_owned(), "", None),
        (String::new(), "", Some(ErrorKind::Closed)),
    ] {
        let (completion, failed) = read(&[stream.as_bytes()]);
        assert_eq!((completion.text.as_str(), failed), (text, error), "{stream}");
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        let (completion, failed) = read(&bytes);
        assert_eq!((completion.text.as_str(), failed), (text, error), "byte by byte: {stream}");
    }
}

#[test]
fn reasoning_tool_calls_usage_and_finish_are_kept() {
    let stream = concat!(
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"hm\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\"\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}},{\"index\":1,\"id\":\"c2\",\"function\":{\"name\":\"g\",\"arguments\":{}}}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":2},\"completion_tokens_details\":{\"reasoning_tokens\":3}}}\n\n",
        "data: [DONE]\n\n"
    );
    let (completion, error) = read(&[stream.as_bytes()]);
    assert_eq!((completion.reasoning.as_str(), error), ("hm", None));
    let call = |id: &str, name: &str, arguments: &str| ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
        ..ToolCall::default()
    };
    assert_eq!(completion.tool_calls, [call("c1", "f", "{\"a\":1}"), call("c2", "g", "{}")]);
    assert_eq!(completion.finish, Some(Finish::ToolCalls));
    assert_eq!(
        completion.usage,
        Some(Usage { input_tokens: 5, cached_tokens: 2, output_tokens: 7, reasoning_tokens: 3, ..Usage::default() })
    );
}

#[test]
fn the_one_call_of_older_servers_is_a_call_like_any_other() {
    let piece = |call: &str, finish: &str| {
        format!("data: {{\"choices\":[{{\"delta\":{{\"function_call\":{call}}},\"finish_reason\":{finish}}}]}}\n\n")
    };
    let stream = [
        piece(r#"{"name":"f","arguments":""}"#, "null"),
        piece(r#"{"arguments":"{\"a\""}"#, "null"),
        piece(r#"{"arguments":":1}"}"#, "null"),
        piece("null", "\"function_call\""),
    ];
    let (completion, error) = read(&[stream.concat().as_bytes()]);
    let [call] = completion.tool_calls.as_slice() else { panic!("{completion:?}") };
    assert_eq!((call.name.as_str(), call.arguments.as_str(), error), ("f", "{\"a\":1}", None));
    assert!(call.id.starts_with("call_") && call.id.len() > 10, "{}", call.id);
    assert_eq!(completion.finish, Some(Finish::ToolCalls));
}

#[test]
fn searches_are_counted_where_each_is_paid_for() {
    let body = |usage: Value| json!({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage});
    for (model, quirks, usage, searches) in [
        ("gpt-4o-search-preview", Quirks::NONE, json!({"prompt_tokens": 1}), 1),
        ("gpt-4o", Quirks::NONE, json!({"prompt_tokens": 1}), 0),
        ("sonar", Quirks { search: Search::Perplexity, ..Quirks::NONE }, json!({"prompt_tokens": 1}), 1),
        (
            "sonar-deep-research",
            Quirks { search: Search::Perplexity, ..Quirks::NONE },
            json!({"prompt_tokens": 1, "num_search_queries": 21}),
            21,
        ),
        ("grok-4", Quirks::NONE, json!({"prompt_tokens": 1, "num_sources_used": 4}), 4),
    ] {
        let mut chunks = Chunks { searches: quirks.search.always(model), ..Chunks::new("p/m") };
        let deltas = chunks.whole(&body(usage)).expect("an answer");
        let counted = deltas.iter().find_map(|delta| if let Delta::Usage(usage) = delta { Some(usage.searches) } else { None });
        assert_eq!(counted, Some(searches), "{model}");
    }
}

#[test]
fn a_request_keeps_what_it_does_not_know() {
    let mut user = Message::text(Role::User, "Hi");
    user.parts.push(Part::Other(json!({"type": "image_url", "image_url": {"url": "data:,"}})));
    user.extra.insert("name".into(), json!("ann"));
    let mut assistant = Message { parts: Vec::new(), ..Message::text(Role::Assistant, "") };
    assistant.tool_calls.push(ToolCall { id: "c1".into(), name: "f".into(), arguments: "{}".into(), ..ToolCall::default() });
    let prompt = Prompt {
        model: "m".into(),
        messages: vec![user, assistant],
        sampling: Sampling { max_tokens: Some(9), temperature: Some(0.7), stop: vec!["x".into()], ..Sampling::default() },
        extra: [("logit_bias".to_owned(), json!({"1": 2})), ("stream_options".to_owned(), json!({"obfuscate": false}))]
            .into_iter()
            .collect(),
        ..Prompt::default()
    };
    let expected = json!({"logit_bias": {"1": 2}, "stream_options": {"obfuscate": false, "include_usage": true}, "model": "m",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "data:,"}}], "name": "ann"},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}],
        "max_tokens": 9, "temperature": 0.7, "stop": ["x"], "stream": true});
    assert_eq!(request(&prompt, Quirks::NONE), expected);
}

#[test]
fn a_strict_server_gets_nothing_it_refuses() {
    let mut system = Message::text(Role::System, "");
    system.parts = vec![Part::Cached { text: "Long.".into(), cache_control: json!({"type": "ephemeral"}) }];
    let mut assistant = Message::text(Role::Assistant, "Hm.");
    assistant.parts.insert(0, Part::Reasoning { text: "thought".into(), signature: Some("s".into()), redacted: None });
    let google = json!({"extra_content": {"google": {"thought_signature": "s"}}});
    let call = ToolCall { id: "c".into(), name: "f".into(), extra: google.as_object().cloned().unwrap_or_default(), ..ToolCall::default() };
    assistant.tool_calls.push(call);
    let mut failed = Message { tool_call_id: Some("c".into()), ..Message::text(Role::Tool, "boom") };
    failed.extra = [("is_error".to_owned(), json!(true)), ("cache_control".to_owned(), json!({}))].into_iter().collect();
    failed.extra.insert("name".into(), json!("f"));
    let extra = json!({"thinking": {"type": "enabled", "budget_tokens": 4_096}, "top_k": 5, "user": "ann", "stream_options": {}});
    let prompt = Prompt {
        model: "m".into(),
        messages: vec![system, assistant, failed],
        sampling: Sampling { max_tokens: Some(9), seed: Some(1), ..Sampling::default() },
        extra: extra.as_object().cloned().unwrap_or_default(),
        ..Prompt::default()
    };
    let quirks = crate::llm::presets::find("mistral").map(|preset| preset.quirks).unwrap_or_default();
    let expected = json!({"model": "m", "messages": [
            {"role": "system", "content": "Long."},
            {"role": "assistant", "content": "Hm.",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]},
            {"role": "tool", "content": "Error: boom", "tool_call_id": "c"}],
        "max_tokens": 9, "random_seed": 1, "stream": true, "reasoning_effort": "medium"});
    assert_eq!(request(&prompt, quirks), expected);
    let quirks = crate::llm::presets::find("openai").map(|preset| preset.quirks).unwrap_or_default();
    let body = request(&prompt, quirks);
    assert_eq!((&body["max_completion_tokens"], &body["max_tokens"], &body["user"]), (&json!(9), &Value::Null, &json!("ann")));
    // A server that ignores what it does not know gets all of it.
    let body = request(&prompt, Quirks::NONE);
    assert_eq!(body["messages"][0]["content"][0]["cache_control"], json!({"type": "ephemeral"}));
    assert_eq!((&body["messages"][1]["reasoning_content"], &body["top_k"]), (&json!("thought"), &json!(5)));
}

#[test]
fn what_servers_do_otherwise_is_understood() {
    let stream = concat!(
        "data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"hm\"}]},{\"type\":\"text\",\"text\":\"Hi\"}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"oops\"}}]}}]}\n\n",
        "data: {\"search_results\":[{\"url\":\"https://a\",\"title\":\"A\"}],\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],",
        "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7,\"total_tokens\":15,\"prompt_cache_hit_tokens\":4,\"completion_tokens_details\":{\"reasoning_tokens\":3}}}\n\n",
    );
    let (completion, error) = read(&[stream.as_bytes()]);
    assert_eq!((completion.text.as_str(), completion.reasoning.as_str(), error), ("Hi", "hm", None));
    let calls: Vec<(&str, &str)> = completion.tool_calls.iter().map(|call| (call.id.as_str(), call.arguments.as_str())).collect();
    // Text that is no JSON goes on as the model wrote it.
    assert_eq!((calls, completion.finish), (vec![("a", "{}"), ("b", "{oops")], Some(Finish::ToolCalls)));
    let usage = Usage { input_tokens: 5, cached_tokens: 4, output_tokens: 10, reasoning_tokens: 3, ..Usage::default() };
    assert_eq!(completion.usage, Some(usage));
    assert_eq!(completion.extra["message"]["annotations"][0]["url_citation"]["url"], json!("https://a"));
}

#[test]
fn a_calls_id_and_name_are_told_once() {
    let piece = |call: Value| format!("data: {}\n\n", json!({"choices": [{"delta": {"tool_calls": [call]}}]}));
    for (again, why) in [
        (json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "}"}}), "both with every piece"),
        (json!({"index": 0, "id": "b", "function": {"arguments": "}"}}), "another id, but no name: no other call"),
        (json!({"index": 0, "id": "", "function": {"name": "", "arguments": "}"}}), "both empty"),
    ] {
        let first = piece(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}));
        let (deltas, _) = replay::deltas(Chunks::new("up/m"), &[first.as_bytes(), piece(again).as_bytes()]);
        let told: Vec<_> = deltas
            .iter()
            .filter_map(|delta| match delta {
                Delta::ToolCall { index, id, name, arguments, .. } => Some((*index, id.as_deref(), name.as_deref(), arguments.as_str())),
                _ => None,
            })
            .collect();
        assert_eq!(told, [(0, Some("a"), Some("f"), "{"), (0, None, None, "}")], "{why}");
    }
}

#[test]
fn recorded_streams_of_real_providers_are_read_whole() {
    for file in replay::recorded("openai_http", ".chunks.txt").into_iter().filter(|path| path.to_string_lossy().contains("src__chat__")) {
        let (completion, error) = read(&[replay::lines(&file).as_bytes()]);
        assert!(error.is_none() && !completion.text.is_empty() && completion.finish == Some(Finish::Stop), "{}", file.display());
        assert!(completion.usage.is_some_and(|usage| usage.output_tokens > 0), "{}", file.display());
    }
}

/// A server that answers each connection with the same pieces, then closes or keeps still.
async fn server(pieces: &[&str], then_close: bool) -> Endpoint {
    let pieces: Vec<String> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = Vec::new();
            let mut buffer = [0; 4_096];
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                match socket.read(&mut buffer).await {
                    Ok(n) if n > 0 => request.extend_from_slice(&buffer[..n]),
                    _ => break,
                }
            }
            for piece in &pieces {
                let _ = socket.write_all(piece.as_bytes()).await;
                let _ = socket.flush().await;
            }
            if then_close {
                let _ = socket.shutdown().await;
            } else {
                std::future::pending::<()>().await;
            }
        }
    });
    Endpoint::new("p", format!("http://{address}/v1"), Some(Secret::new("sk-1")))
}

async fn ask(endpoint: Endpoint) -> (String, Option<ModelError>) {
    ask_for(endpoint, false).await
}

async fn ask_for(endpoint: Endpoint, whole: bool) -> (String, Option<ModelError>) {
    let prompt = Prompt { model: "m".into(), messages: vec![Message::text(Role::User, "Hi")], whole, ..Prompt::default() };
    let mut deltas = provider(endpoint).complete(prompt);
    let mut completion = Completion::default();
    while let Some(item) = deltas.next().await {
        match item {
            Ok(delta) => completion.push(delta),
            Err(error) => return (completion.text, Some(error)),
        }
    }
    (completion.text, None)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_server_that_misbehaves_is_an_error_of_the_right_kind() {
    let hi = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    let busy = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 28\r\n\r\n{\"error\":{\"message\":\"slow\"}}";
    for (pieces, text, kind) in [
        (&[busy][..], "", Some(ErrorKind::Overloaded)),
        (&["HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"], "", Some(ErrorKind::Failed)),
        (&["HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"], "", Some(ErrorKind::Unauthorized)),
        (&["HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"], "", Some(ErrorKind::Protocol)),
        (&["not HTTP at all\r\n\r\n"], "", Some(ErrorKind::Closed)),
        (&[], "", Some(ErrorKind::Closed)),
        (&[OK, hi], "Hi", Some(ErrorKind::Closed)),
        (&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "5\r\ndata:\r\n"], "", Some(ErrorKind::Closed)),
        (&[OK, hi, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"], "Hi", None),
    ] {
        let (said, error) = ask(server(pieces, true).await).await;
        assert_eq!((said.as_str(), error.as_ref().map(|e| e.kind)), (text, kind), "{pieces:?} {error:?}");
        let shown = format!("{error:?}");
        assert!(!shown.contains("sk-1"), "{shown}");
    }
    let (_, error) = ask(server(&[busy], true).await).await;
    let error = error.expect("it is refused");
    assert_eq!((error.status, error.retry_after), (Some(429), Some(Duration::from_secs(7))));
    assert!(error.detail.contains("slow"));
}

#[tokio::test]
async fn done_ends_the_answer_though_the_connection_stays() {
    let (said, error) = ask(server(&[OK, "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n"], false).await).await;
    assert_eq!((said.as_str(), error), ("Hi", None));
}

#[tokio::test]
async fn nobody_listening_says_so_without_the_url() {
    let endpoint = Endpoint::new("p", "http://user:pass@127.0.0.1:1/v1", None);
    let (_, error) = ask(endpoint).await;
    let error = error.expect("nobody listens");
    assert_eq!(error.kind, ErrorKind::Closed);
    assert!(error.detail.contains("could not connect") && !error.detail.contains("pass"), "{}", error.detail);
}

#[test]
fn the_service_that_was_given_is_told_with_the_tokens() {
    for (said, service) in
        [("flex", Service::Flex), ("priority", Service::Priority), ("default", Service::Standard), ("new", Service::Standard)]
    {
        let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":1}"#;
        let stream = format!(
            "data: {{\"service_tier\":\"{said}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"Hi\"}},\"finish_reason\":\"stop\"}}]}}\n\ndata: {{\"choices\":[],{usage}}}\n\n"
        );
        let (completion, _) = read(&[stream.as_bytes()]);
        assert_eq!(completion.usage.map(|usage| usage.service), Some(service), "{said}");
    }
}

#[test]
fn a_wish_for_a_search_is_put_in_each_servers_own_words() {
    let place = json!({"country": "FR"}).as_object().cloned().unwrap_or_default();
    let wish = WebSearch { results: Some(3), place, allowed: vec!["a.org".into()], blocked: vec!["b.org".into()], ..WebSearch::default() };
    let prompt = Prompt { web_search: Some(wish), ..Prompt::default() };
    let body = |search| request(&prompt, Quirks { search, ..Quirks::NONE });
    let around = json!({"type": "approximate", "approximate": {"country": "FR"}});
    assert_eq!(body(Search::Named)["web_search_options"]["user_location"], around);
    let perplexity = body(Search::Perplexity);
    assert_eq!(perplexity["web_search_options"]["user_location"], json!({"country": "FR"}));
    assert_eq!(perplexity["search_domain_filter"], json!(["a.org", "-b.org"]));
    let plugin = json!([{"id": "web", "max_results": 3, "include_domains": ["a.org"], "exclude_domains": ["b.org"]}]);
    assert_eq!(body(Search::Plugin)["plugins"], plugin);
}

#[tokio::test]
async fn an_answer_in_one_piece_is_read_whatever_comes() {
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n";
    for (head, body, text, error) in [
        (json, r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#, "Hi", None),
        (json, r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":null}]}"#, "Hi", None),
        (json, r#"{"error":{"message":"busy","code":429}}"#, "", Some(ErrorKind::Overloaded)),
        (json, r#"{"choices":[]}"#, "", Some(ErrorKind::Protocol)),
        (json, r#"{"choices":[{"mess"#, "", Some(ErrorKind::Protocol)),
        (events, "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\n", "Hi", None),
    ] {
        let (said, failed) = ask_for(server(&[head, body], true).await, true).await;
        assert_eq!((said.as_str(), failed.map(|failed| failed.kind)), (text, error), "{body}");
    }
    let prompt = |whole| Prompt { extra: Map::from_iter([("stream_options".to_owned(), json!({}))]), whole, ..Prompt::default() };
    let asked = |whole| request(&prompt(whole), Quirks::NONE);
    assert_eq!((&asked(true)["stream"], asked(true).get("stream_options")), (&json!(false), None));
    assert_eq!((&asked(false)["stream"], &asked(false)["stream_options"]), (&json!(true), &json!({"include_usage": true})));
}
