//! Requests as clients of Anthropic's API send them, right and wrong.

use proptest::prelude::*;

use super::*;

fn with(extra: Value) -> Value {
    let mut body = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

#[test]
fn everything_has_its_place_in_the_prompt() {
    let mark = json!({ "type": "ephemeral" });
    let request = read(with(json!({
        "system": [{ "type": "text", "text": "be brief", "cache_control": mark }],
        "metadata": { "user_id": "u", "tier": "gold" },
        "tools": [
            { "name": "f", "description": "d", "input_schema": { "type": "object" }, "cache_control": mark },
            { "type": "web_search_20250305", "name": "web_search", "max_uses": 3 },
        ],
        "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
        "stop_sequences": ["END"], "temperature": 0.5, "top_k": 4, "thinking": { "type": "enabled", "budget_tokens": 1024 }, "stream": true,
        "output_config": { "effort": "low", "format": { "type": "json_schema", "schema": { "type": "object" } } },
        "messages": [
            { "role": "user", "content": [
                { "type": "text", "text": "look" },
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } },
                { "type": "document", "title": "a.pdf", "source": { "type": "base64", "media_type": "application/pdf", "data": "AA==" } },
                { "type": "document", "source": { "type": "text", "media_type": "text/plain", "data": "words" } },
                { "type": "audio", "source": { "type": "base64", "media_type": "audio/wav", "data": "UklG" } },
            ] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": "sig" },
                { "type": "redacted_thinking", "data": "xx" },
                { "type": "text", "text": "so" },
                { "type": "tool_use", "id": "c1", "name": "f", "input": { "a": 1 } },
                { "type": "tool_use", "id": "c2", "name": "f", "input": {} },
            ] },
            { "role": "user", "content": [
                { "type": "text", "text": "and now?" },
                { "type": "tool_result", "tool_use_id": "c1", "content": "41", "is_error": true, "cache_control": mark },
                { "type": "tool_result", "tool_use_id": "c2", "content": [{ "type": "text", "text": "42" }] },
            ] },
        ],
    })))
    .expect("a request");
    let prompt = &request.prompt;
    let roles: Vec<_> = prompt.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Tool, Role::User]);
    assert_eq!(prompt.messages[0].parts, [Part::Cached { text: "be brief".to_owned(), cache_control: mark.clone() }]);
    assert_eq!(
        prompt.messages[1].parts[1],
        Part::Other(json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } }))
    );
    let Part::Other(file) = &prompt.messages[1].parts[2] else { panic!("a file") };
    assert_eq!(file["file"], json!({ "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA==" }));
    let Part::Other(document) = &prompt.messages[1].parts[3] else { panic!("a document") };
    assert_eq!(document["type"], "document");
    assert_eq!(
        request.heard,
        [InputAudio { message: 1, part: 4, path: "messages[0].content[4].source.data".to_owned(), data: "UklG".to_owned() }]
    );
    let assistant = &prompt.messages[2];
    assert_eq!(assistant.parts[0], Part::Reasoning { text: "hm".to_owned(), signature: Some("sig".to_owned()), redacted: None });
    assert_eq!(assistant.parts[1], Part::Reasoning { text: String::new(), signature: None, redacted: Some("xx".to_owned()) });
    let calls: Vec<_> = assistant.tool_calls.iter().map(|call| (call.id.as_str(), call.arguments.as_str())).collect();
    assert_eq!(calls, [("c1", r#"{"a":1}"#), ("c2", "{}")]);
    assert_eq!(Value::Object(prompt.messages[3].extra.clone()), json!({ "is_error": true, "cache_control": mark }));
    assert_eq!((prompt.messages[4].tool_call_id.as_deref(), prompt.messages[4].words().as_str()), (Some("c2"), "42"));
    assert_eq!(prompt.messages[5].words(), "and now?");
    assert_eq!(prompt.tools[1].extra.get("type"), Some(&json!("web_search_20250305")));
    assert_eq!(prompt.tool_choice, Some(json!("required")));
    assert_eq!((prompt.sampling.max_tokens, prompt.sampling.stop.as_slice()), (Some(9), &["END".to_owned()][..]));
    let extra: Vec<_> = prompt.extra.keys().map(String::as_str).collect();
    assert_eq!(extra, ["parallel_tool_calls", "reasoning_effort", "response_format", "user", "top_k", "thinking"]);
    assert_eq!((request.user.as_deref(), request.metadata["tier"].as_str(), request.stream), (Some("u"), Some("gold"), true));
}

#[test]
fn what_is_wrong_is_named() {
    for (extra, param) in [
        (json!({ "model": 1 }), "model"),
        (json!({ "max_tokens": 0 }), "max_tokens"),
        (json!({ "messages": [] }), "messages"),
        (json!({ "messages": [{ "role": "tool", "content": "x" }] }), "messages[0].role"),
        (json!({ "messages": [{ "role": "user", "content": [] }] }), "messages[0].content"),
        (json!({ "messages": [{ "role": "user", "content": [{ "text": "x" }] }] }), "messages[0].content[0].type"),
        (json!({ "messages": [{ "role": "user", "content": [{ "type": "image" }] }] }), "messages[0].content[0].source"),
        (json!({ "messages": [{ "role": "user", "content": [{ "type": "tool_result" }] }] }), "messages[0].content[0].tool_use_id"),
        (json!({ "system": 3 }), "system"),
        (json!({ "tools": [{}] }), "tools[0].name"),
        (json!({ "tool_choice": { "type": "maybe" } }), "tool_choice.type"),
        (json!({ "metadata": { "user_id": 3 } }), "metadata.user_id"),
        (json!({ "output_config": { "format": { "type": "xml" } } }), "output_config.format.type"),
        (json!({ "stop_sequences": "END" }), "stop_sequences"),
    ] {
        let error = read(with(extra.clone())).expect_err("it is wrong");
        assert_eq!((error.status, error.param.as_deref()), (400, Some(param)), "{extra}: {}", error.message);
    }
}

proptest! {
    #[test]
    fn anything_at_all_is_read_or_refused_by_name(body in crate::wire::arbitrary::request(&[
        "model", "messages", "role", "user", "content", "type", "text", "tool_result", "tool_use", "id", "name", "input", "source", "image",
        "system", "tools", "thinking", "tool_choice", "metadata", "user_id", "output_config", "format", "audio", "data", "document",
    ])) {
        if let Err(error) = read(body.clone()) {
            prop_assert_eq!(error.status, 400);
            prop_assert!(error.param.is_some() || !body.is_object());
        }
    }
}
