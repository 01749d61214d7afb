//! Requests and streams of the dialect, our own and recorded ones.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::llm::streamed::replay;
use crate::{Completion, ErrorKind, Finish, Message, Part, Role, Sampling, Service, Tool, ToolCall, Usage};

fn prompt(model: &str, messages: Vec<Message>) -> Prompt {
    Prompt { model: model.into(), messages, ..Prompt::default() }
}

fn extra(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.into(), name: name.into(), arguments: arguments.into(), ..ToolCall::default() }
}

fn calling(calls: Vec<ToolCall>) -> Message {
    Message { parts: Vec::new(), tool_calls: calls, ..Message::text(Role::Assistant, "") }
}

fn answered(id: &str, text: &str) -> Message {
    Message { tool_call_id: Some(id.into()), ..Message::text(Role::Tool, text) }
}

fn tool(name: &str) -> Tool {
    let parameters = Some(json!({"type": "object", "properties": {"a": {"type": "string"}}}));
    Tool { name: name.into(), description: None, parameters, extra: Map::new() }
}

fn user() -> Message {
    Message::text(Role::User, "Hi")
}

/// Checks fields of a request by their JSON pointers; `null` stands for absence.
fn check(prompt: &Prompt, expected: &[(&str, Value)]) {
    let body = request(prompt);
    for (pointer, value) in expected {
        assert_eq!(body.pointer(pointer).unwrap_or(&Value::Null), value, "{pointer} of {body:#}");
    }
}

#[test]
fn instructions_from_anywhere_are_hoisted_and_joined() {
    let system = |text: &str| Message::text(Role::System, text);
    let plain = prompt("claude-sonnet-4-5", vec![system("One."), user(), system("Two.")]);
    check(&plain, &[("/system", json!("One.\n\nTwo.")), ("/messages/1", Value::Null), ("/messages/0/content/0/text", json!("Hi"))]);
    let mut cached = system("");
    cached.parts = vec![Part::Cached { text: "Long.".into(), cache_control: json!({"type": "ephemeral"}) }];
    check(
        &prompt("claude-sonnet-4-5", vec![cached, system("Two."), user()]),
        &[
            ("/system/0", json!({"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}})),
            ("/system/1/text", json!("Two.")),
        ],
    );
}

#[test]
fn results_of_parallel_calls_come_first_in_one_user_turn() {
    let mut failed = answered("c 2", "boom");
    failed.extra = extra(json!({"is_error": true, "cache_control": {"type": "ephemeral"}}));
    let calls = vec![call("c1", "f", ""), call("c 2", "g", "{\"a\":1}"), call("c3", "h", "not JSON")];
    let prompt =
        prompt("claude-sonnet-4-5", vec![user(), calling(calls), answered("c1", "fine"), failed, Message::text(Role::User, "And?")]);
    check(
        &prompt,
        &[
            ("/messages/1/content/0", json!({"type": "tool_use", "id": "c1", "name": "f", "input": {}})),
            ("/messages/1/content/1", json!({"type": "tool_use", "id": "c_2", "name": "g", "input": {"a": 1}})),
            ("/messages/1/content/2/input", json!({"arguments": "not JSON"})),
            ("/messages/2/role", json!("user")),
            (
                "/messages/2/content",
                json!([
                    {"type": "tool_result", "tool_use_id": "c1", "content": "fine"},
                    {"type": "tool_result", "tool_use_id": "c_2", "content": "boom", "is_error": true, "cache_control": {"type": "ephemeral"}},
                    {"type": "text", "text": "And?"}]),
            ),
            ("/messages/3", Value::Null),
            // The calls of the dialogue need their tools although none is offered any more.
            ("/tools/2/name", json!("h")),
            ("/tool_choice/type", json!("none")),
        ],
    );
}

#[test]
fn the_four_ways_to_choose_a_tool_and_one_at_a_time() {
    let cases = [
        (json!("auto"), true, json!({"type": "auto"})),
        (json!("none"), true, json!({"type": "none"})),
        (json!("required"), true, json!({"type": "any"})),
        (json!({"type": "function", "function": {"name": "f"}}), true, json!({"type": "tool", "name": "f"})),
        (json!({"type": "tool", "name": "f"}), true, json!({"type": "tool", "name": "f"})),
        (Value::Null, true, Value::Null),
        (Value::Null, false, json!({"type": "auto", "disable_parallel_tool_use": true})),
        (json!("required"), false, json!({"type": "any", "disable_parallel_tool_use": true})),
        (json!("none"), false, json!({"type": "none"})),
        (json!({"type": "any", "disable_parallel_tool_use": true}), true, json!({"type": "any", "disable_parallel_tool_use": true})),
    ];
    for (choice, parallel, expected) in cases {
        let mut prompt = prompt("claude-sonnet-4-5", vec![user()]);
        prompt.tools = vec![tool("f")];
        prompt.tool_choice = (!choice.is_null()).then_some(choice);
        if !parallel {
            prompt.extra = extra(json!({"parallel_tool_calls": false}));
        }
        check(&prompt, &[("/tool_choice", expected), ("/parallel_tool_calls", Value::Null)]);
    }
}

#[test]
fn tools_keep_their_marks_and_tools_of_the_provider_their_type() {
    let mut prompt = prompt("claude-3-haiku-20240307", vec![user()]);
    let marked = Tool { extra: extra(json!({"cache_control": {"type": "ephemeral"}, "strict": true})), parameters: None, ..tool("f") };
    let search = Tool { extra: extra(json!({"type": "web_search_20250305", "max_uses": 2})), parameters: None, ..tool("web_search") };
    prompt.tools = vec![marked, search];
    let empty = json!({"type": "object", "properties": {}});
    check(
        &prompt,
        &[
            ("/tools/0", json!({"name": "f", "input_schema": empty, "cache_control": {"type": "ephemeral"}})),
            ("/tools/1", json!({"name": "web_search", "type": "web_search_20250305", "max_uses": 2})),
        ],
    );
}

#[test]
fn a_wish_for_a_search_is_the_providers_tool_and_searches_of_ours_stay_here() {
    let own = |id: &str| json!({"type": "server_tool_use", "id": id, "name": "web_search", "input": {}});
    let mut assistant = Message::text(Role::Assistant, "Yes.");
    assistant.extra = extra(json!({"anthropic_content": [own("srvtoolu_timbre1"), own("srvtoolu_01")]}));
    let mut prompt = prompt("claude-sonnet-4-6", vec![user(), assistant, user()]);
    let place = json!({"country": "FR"}).as_object().cloned().unwrap_or_default();
    prompt.web_search = Some(WebSearch { uses: Some(2), allowed: vec!["a.org".into()], place, ..WebSearch::default() });
    let expected = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 2, "allowed_domains": ["a.org"],
        "user_location": {"type": "approximate", "country": "FR"}});
    check(
        &prompt,
        &[("/tools/0", expected), ("/messages/1/content/0/id", json!("srvtoolu_01")), ("/messages/1/content/1/text", json!("Yes."))],
    );
    let tool = Tool { extra: extra(json!({"type": "web_search_20260209"})), parameters: None, ..tool("web_search") };
    prompt.web_search = Some(WebSearch { tool: Some(tool), ..WebSearch::default() });
    check(&prompt, &[("/tools/0", json!({"type": "web_search_20260209", "name": "web_search"}))]);
}

#[test]
fn sampling_user_and_rare_fields_find_their_names() {
    let mut prompt = prompt("claude-3-5-haiku-latest", vec![user()]);
    prompt.sampling =
        Sampling { max_tokens: None, temperature: Some(1.7), top_p: Some(0.9), stop: vec![" ".into(), "END".into()], seed: Some(7) };
    prompt.extra = extra(json!({"user": "ann", "top_k": 5, "seed": 7, "logit_bias": {}, "n": 1, "service_tier": "flex", "betas": ["x-1"],
        "container": "c"}));
    check(
        &prompt,
        &[
            ("/max_tokens", json!(8_192)),
            ("/temperature", json!(1.0)),
            ("/top_p", json!(0.9)),
            ("/stop_sequences", json!(["END"])),
            ("/metadata", json!({"user_id": "ann"})),
            ("/top_k", json!(5)),
            ("/container", json!("c")),
            ("/stream", json!(true)),
            ("/seed", Value::Null),
            ("/logit_bias", Value::Null),
            ("/n", Value::Null),
            ("/service_tier", Value::Null),
            ("/betas", Value::Null),
            ("/tools", Value::Null),
        ],
    );
    assert_eq!(super::request::betas(&prompt), ["x-1"]);
    prompt.model = "claude-sonnet-4-5".into();
    check(&prompt, &[("/temperature", json!(1.0)), ("/top_p", Value::Null)]);
    prompt.model = "claude-opus-4-7".into();
    check(&prompt, &[("/temperature", Value::Null), ("/top_p", Value::Null), ("/top_k", Value::Null)]);
}

#[test]
fn images_and_documents_become_blocks() {
    let mut message = user();
    message.parts = vec![
        Part::Other(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"}})),
        Part::Other(json!({"type": "image_url", "image_url": "https://a/b.jpg", "cache_control": {"type": "ephemeral"}})),
        Part::Other(json!({"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD", "filename": "a.pdf"}})),
        Part::Other(json!({"type": "file", "file": {"file_data": "data:text/plain;base64,SMOp"}})),
        Part::Other(json!({"type": "file", "file": {"file_id": "file_1"}})),
        Part::Other(json!({"type": "search_result", "source": "x"})),
        Part::Text(" ".into()),
    ];
    let expected = json!([
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
        {"type": "image", "source": {"type": "url", "url": "https://a/b.jpg"}, "cache_control": {"type": "ephemeral"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD"}, "title": "a.pdf"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hé"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "search_result", "source": "x"}]);
    check(&prompt("claude-sonnet-4-5", vec![message]), &[("/messages/0/content", expected)]);
}

#[test]
fn thoughts_round_trip_signed_and_redacted_and_nobody_elses() {
    let mut assistant = calling(vec![call("c1", "f", "{}")]);
    let thought = |text: &str, signature: Option<&str>, redacted: Option<&str>| Part::Reasoning {
        text: text.into(),
        signature: signature.map(str::to_owned),
        redacted: redacted.map(str::to_owned),
    };
    assistant.parts = vec![thought("hm", Some("sig"), None), thought("", None, Some("enc")), thought("lost", None, None)];
    assistant.parts.push(Part::Text("So. ".into()));
    assistant.extra = extra(json!({"anthropic_content": [{"type": "server_tool_use", "id": "s"}]}));
    let expected = json!([
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "enc"},
        {"type": "server_tool_use", "id": "s"},
        {"type": "text", "text": "So. "},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {}}]);
    check(&prompt("claude-sonnet-4-5", vec![user(), assistant, answered("c1", "")]), &[("/messages/1/content", expected)]);
}

#[test]
fn effort_becomes_thinking_that_leaves_room_for_the_answer() {
    let ask = |model: &str, effort: &str, most: Option<u32>| {
        let mut prompt = prompt(model, vec![user()]);
        prompt.extra = extra(json!({"reasoning_effort": effort}));
        prompt.sampling = Sampling { max_tokens: most, temperature: Some(0.2), ..Sampling::default() };
        prompt
    };
    let budget = |tokens: u32| json!({"type": "enabled", "budget_tokens": tokens});
    for (model, effort, most, thinking, max_tokens, temperature) in [
        ("claude-sonnet-4-5", "low", None, budget(2_048), 64_000, Value::Null),
        ("claude-sonnet-4-5", "high", Some(4_000), budget(3_200), 4_000, Value::Null),
        ("claude-sonnet-4-5", "high", Some(500), Value::Null, 500, json!(0.2)),
        ("claude-sonnet-4-5", "none", None, Value::Null, 64_000, json!(0.2)),
        ("claude-3-5-haiku-latest", "high", None, Value::Null, 8_192, json!(0.2)),
        ("claude-opus-4-6", "high", None, json!({"type": "adaptive"}), 64_000, Value::Null),
        ("kimi-k2", "medium", None, budget(8_192), 12_288, Value::Null),
    ] {
        check(&ask(model, effort, most), &[("/thinking", thinking), ("/max_tokens", json!(max_tokens)), ("/temperature", temperature)]);
    }
    check(&ask("claude-opus-4-6", "minimal", None), &[("/output_config/effort", json!("low"))]);
    // A forced call and thinking exclude each other.
    let mut forced = ask("claude-sonnet-4-5", "high", None);
    (forced.tools, forced.tool_choice) = (vec![tool("f")], Some(json!("required")));
    check(&forced, &[("/thinking", Value::Null)]);
    // So do thinking and a call that lost its thoughts on the way.
    let mut lost = ask("claude-sonnet-4-5", "high", None);
    lost.messages.extend([calling(vec![call("c", "f", "{}")]), answered("c", "1")]);
    check(&lost, &[("/thinking", Value::Null)]);
    // Who speaks the dialect is passed on.
    let mut own = prompt("claude-sonnet-4-5", vec![user()]);
    own.extra = extra(json!({"thinking": {"type": "enabled", "budget_tokens": 70_000}}));
    check(&own, &[("/thinking/budget_tokens", json!(70_000)), ("/max_tokens", json!(74_096))]);
}

#[test]
fn a_schema_is_held_to_by_the_model_or_by_a_forced_tool() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let mut prompt = prompt("claude-sonnet-4-5", vec![user()]);
    prompt.extra = extra(json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}));
    check(
        &prompt,
        &[
            ("/output_config/format/type", json!("json_schema")),
            ("/output_config/format/schema/additionalProperties", json!(false)),
            ("/response_format", Value::Null),
            ("/tools", Value::Null),
        ],
    );
    prompt.model = "claude-3-haiku-20240307".into();
    let choice = json!({"type": "tool", "name": "json"});
    check(&prompt, &[("/tools/0/input_schema", schema), ("/tool_choice", choice), ("/output_config", Value::Null)]);
    assert_eq!(super::request::answer_tool(&prompt), Some("json"));
    prompt.extra = extra(json!({"response_format": {"type": "json_object"}}));
    assert!(request(&prompt)["system"].as_str().is_some_and(|system| system.contains("JSON")));
}

#[test]
fn a_dialogue_begins_with_the_user_and_ends_without_white_space() {
    let begun = Message::text(Role::Assistant, "Once upon \n");
    check(
        &prompt(
            "claude-3-haiku-20240307",
            vec![Message::text(Role::Assistant, "Hello!"), user(), begun, Message::text(Role::Assistant, " ")],
        ),
        &[
            ("/messages/0/role", json!("user")),
            ("/messages/1/content/0/text", json!("Hello!")),
            ("/messages/3/content/0/text", json!("Once upon")),
            ("/messages/3/content/1", Value::Null),
        ],
    );
    check(&prompt("claude-3-haiku-20240307", vec![Message::text(Role::System, "Go.")]), &[("/messages/0/role", json!("user"))]);
}

fn read(stream: &str, answer: Option<&'static str>) -> (Completion, Option<ErrorKind>) {
    let whole = replay::completion(Events::new("p/m", answer), &[stream.as_bytes()]);
    // Byte by byte, so that characters of several bytes are cut too.
    let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
    assert_eq!(replay::completion(Events::new("p/m", answer), &bytes), whole, "{stream}");
    (whole.0, whole.1.map(|error| error.kind))
}

fn events(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\r\ndata: {event}\r\n\r\n", event["type"].as_str().unwrap_or_default())).collect()
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"usage": {"input_tokens": 10, "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 1_000, "cache_creation": {"ephemeral_5m_input_tokens": 700, "ephemeral_1h_input_tokens": 300},
        "service_tier": "priority", "output_tokens": 1}}})
}

fn opened(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn more(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn closed(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn ended(reason: &str) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": 20}})
}

#[test]
fn calls_are_counted_by_themselves_and_empty_arguments_are_an_object() {
    let stream = events(&[
        start(),
        json!({"type": "ping"}),
        opened(0, json!({"type": "text", "text": ""})),
        more(0, json!({"type": "text_delta", "text": "Hé"})),
        closed(0),
        opened(1, json!({"type": "tool_use", "id": "t1", "name": "f", "input": {}})),
        more(1, json!({"type": "input_json_delta", "partial_json": ""})),
        closed(1),
        opened(2, json!({"type": "tool_use", "id": "t2", "name": "g", "input": {}})),
        more(2, json!({"type": "input_json_delta", "partial_json": "{\"a\":"})),
        more(2, json!({"type": "input_json_delta", "partial_json": "oops"})),
        closed(2),
        opened(3, json!({"type": "tool_use", "id": "t3", "name": "h", "input": {"b": 2}})),
        closed(3),
        ended("tool_use"),
        json!({"type": "message_stop"}),
    ]);
    let (completion, error) = read(&stream, None);
    assert_eq!((completion.text.as_str(), completion.finish, error), ("Hé", Some(Finish::ToolCalls), None));
    // What is no JSON goes on as the model wrote it.
    assert_eq!(completion.tool_calls, [call("t1", "f", "{}"), call("t2", "g", "{\"a\":oops"), call("t3", "h", "{\"b\":2}")]);
    let usage = Usage {
        input_tokens: 1_110,
        cached_tokens: 100,
        cache_write_tokens: 1_000,
        cache_write_hour_tokens: 300,
        output_tokens: 20,
        service: Service::Priority,
        ..Usage::default()
    };
    assert_eq!(completion.usage, Some(usage));
}

#[test]
fn the_ways_to_end_keep_their_meaning() {
    for (reason, finish, native) in [
        ("end_turn", Finish::Stop, false),
        ("stop_sequence", Finish::Stop, true),
        ("pause_turn", Finish::Stop, true),
        ("max_tokens", Finish::Length, false),
        ("model_context_window_exceeded", Finish::Length, true),
        ("refusal", Finish::ContentFilter, true),
        ("something_new", Finish::Stop, true),
    ] {
        let (completion, error) = read(&events(&[start(), ended(reason)]), None);
        assert_eq!((completion.finish, error), (Some(finish), None), "{reason}");
        assert_eq!(completion.extra.get("native_finish_reason").is_some(), native, "{reason}");
    }
}

#[test]
fn thoughts_citations_and_the_providers_own_tools_are_kept() {
    let citation = json!({"type": "web_search_result_location", "url": "https://a", "title": "A", "cited_text": "x"});
    let stream = events(&[
        start(),
        opened(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        more(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        more(0, json!({"type": "signature_delta", "signature": "sig"})),
        closed(0),
        opened(1, json!({"type": "redacted_thinking", "data": "enc"})),
        closed(1),
        opened(2, json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})),
        more(2, json!({"type": "input_json_delta", "partial_json": "{\"query\":\"q\"}"})),
        closed(2),
        opened(3, json!({"type": "text", "text": "", "citations": []})),
        more(3, json!({"type": "text_delta", "text": "Yes."})),
        more(3, json!({"type": "citations_delta", "citation": citation})),
        closed(3),
        ended("end_turn"),
    ]);
    let (completion, error) = read(&stream, None);
    assert_eq!((completion.reasoning.as_str(), completion.signature.as_deref(), error), ("hm", Some("sig"), None));
    assert_eq!(completion.redacted, ["enc"]);
    let message = &completion.extra["message"];
    assert_eq!(message["anthropic_content"][0]["input"], json!({"query": "q"}));
    assert_eq!(
        message["annotations"],
        json!([{"type": "url_citation", "url_citation": {"url": "https://a", "title": "A", "start_index": 0, "end_index": 4}}])
    );
}

#[test]
fn what_breaks_is_an_error_of_the_right_kind() {
    let failure = |kind: &str| json!({"type": "error", "error": {"type": kind, "message": "no"}});
    let text = [opened(0, json!({"type": "text", "text": ""})), more(0, json!({"type": "text_delta", "text": "Hi"}))];
    for (last, kind) in [
        (failure("overloaded_error").to_string(), ErrorKind::Overloaded),
        (failure("rate_limit_error").to_string(), ErrorKind::Overloaded),
        (failure("invalid_request_error").to_string(), ErrorKind::BadRequest),
        (failure("authentication_error").to_string(), ErrorKind::Unauthorized),
        (failure("permission_error").to_string(), ErrorKind::Refused),
        (failure("timeout_error").to_string(), ErrorKind::Timeout),
        (failure("api_error").to_string(), ErrorKind::Failed),
        ("{\"type\":".to_owned(), ErrorKind::Protocol),
        (start().to_string(), ErrorKind::Protocol),
        (json!({"type": "message_stop"}).to_string(), ErrorKind::Closed),
        (json!({"type": "ping"}).to_string(), ErrorKind::Closed),
    ] {
        let stream = format!("{}{}data: {last}\n\n", events(&[start()]), events(&text));
        let (completion, error) = read(&stream, None);
        assert_eq!((completion.text.as_str(), error), ("Hi", Some(kind)), "{last}");
    }
}

#[test]
fn arguments_of_the_answer_tool_are_the_answer() {
    let stream = events(&[
        start(),
        opened(0, json!({"type": "tool_use", "id": "t", "name": "json", "input": {}})),
        more(0, json!({"type": "input_json_delta", "partial_json": "{\"a\":1}"})),
        closed(0),
        ended("tool_use"),
    ]);
    let (completion, _) = read(&stream, Some("json"));
    assert_eq!((completion.text.as_str(), completion.finish), ("{\"a\":1}", Some(Finish::Stop)));
    assert!(completion.tool_calls.is_empty());
}

#[test]
fn recorded_streams_of_the_real_provider_are_read_whole() {
    for path in replay::recorded("anthropic_http", ".chunks.txt") {
        let name = path.to_string_lossy().into_owned();
        let answer = name.contains("json-tool").then_some("json");
        let (completion, error) = read(&replay::lines(&path), answer);
        if name.contains("spliced-message-start") {
            assert_eq!(error, Some(ErrorKind::Protocol), "{name}");
            continue;
        }
        assert_eq!(error, None, "{name}");
        assert!(completion.finish.is_some() && completion.usage.is_some_and(|usage| usage.output_tokens > 0), "{name}");
        for call in &completion.tool_calls {
            assert!(!call.id.is_empty() && serde_json::from_str::<Value>(&call.arguments).is_ok_and(|v| v.is_object()), "{name} {call:?}");
        }
        if name.contains("json-tool") || name.contains("json-output") {
            assert!(serde_json::from_str::<Value>(&completion.text).is_ok(), "{name} {}", completion.text);
        }
        let expected = [
            ("refusal", Finish::ContentFilter),
            ("no-args", Finish::ToolCalls),
            ("anthropic-text", Finish::Stop),
            ("clear-thinking", Finish::Stop),
        ];
        for (part, finish) in expected.into_iter().filter(|(part, _)| name.contains(part)) {
            assert_eq!(completion.finish, Some(finish), "{name} {part}");
        }
        if name.contains("clear-thinking") {
            assert!(completion.signature.is_some() && completion.reasoning.contains("925"), "{name}");
        }
    }
    for path in replay::recorded("anthropic_vcr", "_stream.yaml") {
        let text = std::fs::read_to_string(&path).expect("it is text");
        // The first answer recorded, without the indentation of the file around it.
        let lines = text.lines().map(str::trim_start).skip_while(|line| !line.starts_with("event: message_start"));
        let mut stream = String::new();
        for line in lines {
            stream.push_str(line);
            stream.push('\n');
            if line.starts_with("data: {\"type\":\"message_stop\"") {
                break;
            }
        }
        if stream.is_empty() {
            continue;
        }
        stream.push('\n');
        let (completion, error) = read(&stream, None);
        assert_eq!(error, None, "{}", path.display());
        assert!(completion.finish.is_some(), "{}", path.display());
        if path.to_string_lossy().contains("redacted") {
            assert!(!completion.redacted.is_empty(), "{}", path.display());
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_cut_anywhere_are_read_without_a_panic(
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "(data: )?\\{\"type\":\"(message_start|content_block_(start|delta|stop)|message_delta|error)\",\"index\":[0-9]{1,20},\"(content_block|delta|message|error)\":(\\{\"type\":\"(tool_use|text|thinking_delta|input_json_delta)\",\"text\":\"é\"\\}|[0-9]|null|\\[\\])\\}(\r\n\r\n|\n\n|\r)".prop_map(String::into_bytes),
            ],
            0..12,
        ),
        cut in 1_usize..7,
    ) {
        let bytes = pieces.concat();
        let cut: Vec<&[u8]> = bytes.chunks(cut).collect();
        let whole = replay::deltas(Events::new("p/m", Some("json")), &[&bytes]);
        prop_assert_eq!(replay::deltas(Events::new("p/m", Some("json")), &cut), whole);
    }
}
