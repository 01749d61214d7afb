//! Requests as clients of the Responses API send them, right and wrong.

use models::Part;
use proptest::prelude::*;

use super::*;

fn with(extra: Value) -> Value {
    let mut body = json!({ "model": "m", "input": "hi" });
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

#[test]
fn what_a_coding_agent_sends_becomes_a_prompt() {
    let request = read(with(json!({
        "instructions": "You are a coding agent.",
        "input": [
            { "type": "message", "role": "developer", "content": [{ "type": "input_text", "text": "sandboxed" }] },
            { "role": "user", "content": "list files" },
            { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "look" }], "content": null,
              "encrypted_content": "timbre-signature:sig" },
            { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "Looking." }] },
            { "type": "function_call", "call_id": "c1", "name": "shell", "arguments": "{\"command\":[\"ls\"]}" },
            { "type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "*** Begin" },
            { "type": "function_call", "call_id": "c3", "name": "find", "namespace": "files", "arguments": "" },
            { "type": "function_call_output", "call_id": "c1", "output": "a.rs" },
            { "type": "custom_tool_call_output", "call_id": "c2", "output": [{ "type": "input_text", "text": "done" }] },
            { "type": "function_call_output", "call_id": "c3", "output": "none" },
            { "type": "web_search_call", "id": "ws_1", "status": "completed" },
            { "type": "reasoning", "summary": [], "encrypted_content": "gAAAA" },
        ],
        "tools": [
            { "type": "function", "name": "shell", "description": "d", "strict": false, "parameters": { "type": "object" } },
            { "type": "custom", "name": "apply_patch", "description": "Patch.", "format": { "type": "grammar", "syntax": "lark", "definition": "start: x" } },
            { "type": "web_search", "external_web_access": false },
            { "type": "namespace", "name": "files", "tools": [{ "type": "function", "name": "find", "parameters": { "type": "object" } }] },
            { "type": "image_generation", "output_format": "png" },
        ],
        "tool_choice": "auto", "parallel_tool_calls": false, "reasoning": { "effort": "high", "summary": "auto" }, "store": false,
        "stream": true, "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k",
        "text": { "verbosity": "low", "format": { "type": "json_schema", "name": "out", "strict": true, "schema": { "type": "object" } } },
    })))
    .expect("a request");
    let messages = &request.prompt.messages;
    let roles: Vec<_> = messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::System, Role::User, Role::Assistant, Role::Tool, Role::Tool, Role::Tool]);
    let thought = Part::Reasoning { text: "look".to_owned(), signature: Some("sig".to_owned()), redacted: None };
    assert_eq!(messages[3].parts, [thought, Part::Text("Looking.".to_owned())]);
    let calls: Vec<_> = messages[3].tool_calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
    assert_eq!(calls, [("shell", r#"{"command":["ls"]}"#), ("apply_patch", r#"{"input":"*** Begin"}"#), ("files__find", "")]);
    assert_eq!((messages[5].tool_call_id.as_deref(), messages[5].words().as_str()), (Some("c2"), "done"));
    let names: Vec<_> = request.prompt.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["shell", "apply_patch", "files__find"]);
    assert!(request.prompt.tools[1].description.as_deref().is_some_and(|words| words.ends_with("start: x")));
    assert_eq!((request.tools.form("apply_patch"), request.tools.form("shell")), (&Form::Custom, &Form::Function));
    let extra = Value::Object(request.prompt.extra.clone());
    assert_eq!(
        extra,
        json!({
            "web_search_options": {}, "verbosity": "low", "reasoning_effort": "high", "parallel_tool_calls": false, "prompt_cache_key": "k",
            "response_format": { "type": "json_schema", "json_schema": { "name": "out", "strict": true, "schema": { "type": "object" } } },
        })
    );
    assert_eq!((request.store, request.stream, request.encrypted, request.history_at), (false, true, true, 1));
    assert_eq!(request.ignored.len(), 2, "{:?}", request.ignored);
    assert_eq!((&request.echo["truncation"], &request.echo["parallel_tool_calls"]), (&json!("disabled"), &json!(false)));
}

#[test]
fn what_is_wrong_is_named() {
    for (extra, param) in [
        (json!({ "model": null }), "model"),
        (json!({ "input": null }), "input"),
        (json!({ "input": [] }), "input"),
        (json!({ "input": [{ "type": "message", "role": "robot", "content": "x" }] }), "input[0].role"),
        (json!({ "input": [{ "type": "spell", "words": "x" }] }), "input[0].type"),
        (json!({ "input": [{ "type": "function_call", "name": "f" }] }), "input[0].call_id"),
        (json!({ "input": [{ "role": "user", "content": [{ "type": "input_image", "file_id": "f" }] }] }), "input[0].content[0].image_url"),
        (json!({ "conversation": "conv_1" }), "conversation"),
        (json!({ "background": true }), "background"),
        (json!({ "tools": [{ "type": "function" }] }), "tools[0].name"),
        (json!({ "tool_choice": "perhaps" }), "tool_choice"),
        (json!({ "text": { "format": { "type": "json_schema", "name": "x" } } }), "text.format.schema"),
        (json!({ "reasoning": { "effort": 3 } }), "reasoning.effort"),
        (json!({ "max_output_tokens": 0 }), "max_output_tokens"),
    ] {
        let error = read(with(extra.clone())).expect_err("it is wrong");
        assert_eq!((error.status, error.param.as_deref()), (400, Some(param)), "{extra}: {}", error.message);
    }
}

proptest! {
    #[test]
    fn anything_at_all_is_read_or_refused_by_name(body in crate::wire::arbitrary::request(&[
        "model", "input", "instructions", "type", "message", "role", "user", "assistant", "content", "input_text", "text", "input_audio", "data",
        "function_call", "function_call_output", "call_id", "name", "output", "reasoning", "summary", "encrypted_content", "tools", "custom",
        "function", "namespace", "format", "tool_choice", "include",
    ])) {
        match read(body.clone()) {
            Err(error) => {
                prop_assert_eq!(error.status, 400);
                prop_assert!(error.param.is_some() || !body.is_object());
            }
            // Each recording has a place that waits for its words.
            Ok(request) => for heard in &request.heard {
                let part = request.prompt.messages.get(heard.message).and_then(|message| message.parts.get(heard.part));
                prop_assert_eq!(part, Some(&Part::Text(String::new())));
            },
        }
    }
}
