//! Requests and streams of the dialect.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::llm::streamed::replay;
use crate::{Completion, ErrorKind, Finish, Message, Part, Role, Sampling, Tool, ToolCall, Usage, WebSearch};

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
fn instructions_roles_and_sampling_find_their_places() {
    let mut prompt = prompt(
        "gemini-2.5-flash",
        vec![
            Message::text(Role::System, "One."),
            user(),
            Message::text(Role::System, "Two."),
            user(),
            Message::text(Role::Assistant, "Yes"),
        ],
    );
    prompt.sampling = Sampling { max_tokens: Some(9), temperature: Some(1.5), top_p: Some(0.9), stop: vec!["END".into()], seed: Some(7) };
    prompt.extra = extra(json!({"user": "ann", "logit_bias": {}, "top_k": 5, "presence_penalty": 0.5, "thinking": {"type": "disabled"},
        "safetySettings": [1], "extra_body": {"google": {"cached_content": "cachedContents/1"}}}));
    let hi = json!({"text": "Hi"});
    check(
        &prompt,
        &[
            ("/systemInstruction", json!({"parts": [{"text": "One."}, {"text": "Two."}]})),
            ("/contents/0", json!({"role": "user", "parts": [hi, hi]})),
            ("/contents/1", json!({"role": "model", "parts": [{"text": "Yes"}]})),
            (
                "/generationConfig",
                json!({"maxOutputTokens": 9, "temperature": 1.5, "topP": 0.9, "seed": 7, "stopSequences": ["END"], "topK": 5, "presencePenalty": 0.5}),
            ),
            ("/cachedContent", json!("cachedContents/1")),
            ("/safetySettings", json!([1])),
            ("/user", Value::Null),
            ("/logit_bias", Value::Null),
            ("/thinking", Value::Null),
            ("/extra_body", Value::Null),
        ],
    );
}

#[test]
fn results_of_parallel_calls_stand_in_one_turn_in_the_order_of_the_calls() {
    let mut failed = answered("b", "boom");
    failed.extra = extra(json!({"is_error": true}));
    let mut signed = call("a", "f", "{\"x\":1}");
    signed.extra = extra(json!({"extra_content": {"google": {"thought_signature": "sig"}}}));
    let messages =
        vec![user(), calling(vec![signed, call("b", "f", "")]), failed, answered("a", "{\"ok\":1}"), Message::text(Role::User, "And?")];
    check(
        &prompt("gemini-2.5-pro", messages.clone()),
        &[
            ("/contents/1/parts/0", json!({"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "sig"})),
            ("/contents/1/parts/1", json!({"functionCall": {"name": "f", "args": {}}})),
            (
                "/contents/2",
                json!({"role": "user", "parts": [
                    {"functionResponse": {"name": "f", "response": {"ok": 1}}},
                    {"functionResponse": {"name": "f", "response": {"error": "boom"}}}]}),
            ),
            ("/contents/3", json!({"role": "user", "parts": [{"text": "And?"}]})),
        ],
    );
    check(
        &prompt("gemini-3-pro-preview", messages),
        &[("/contents/1/parts/0/functionCall/id", json!("a")), ("/contents/2/parts/1/functionResponse/id", json!("b"))],
    );
}

#[test]
fn a_lost_signature_is_replaced_on_the_first_call_of_a_step_only() {
    let messages = vec![user(), calling(vec![call("a", "f", "oops"), call("b", "g", "{}")])];
    check(
        &prompt("gemini-3.1-pro", messages.clone()),
        &[
            ("/contents/1/parts/0/thoughtSignature", json!("skip_thought_signature_validator")),
            ("/contents/1/parts/0/functionCall/args", json!({"arguments": "oops"})),
            ("/contents/1/parts/1/thoughtSignature", Value::Null),
        ],
    );
    check(&prompt("gemini-2.5-pro", messages), &[("/contents/1/parts/0/thoughtSignature", Value::Null)]);
    let mut said = Message::text(Role::Assistant, "Yes");
    said.extra = extra(json!({"extra_content": {"google": {"thought_signature": "sig"}}}));
    check(&prompt("gemini-3-flash", vec![user(), said]), &[("/contents/1/parts/0", json!({"text": "Yes", "thoughtSignature": "sig"}))]);
}

#[test]
fn functions_stand_in_one_tool_with_the_schema_of_the_models_generation() {
    let schema = json!({"type": "object", "properties": {"a": {"const": "x"}}, "additionalProperties": false});
    let tool =
        |name: &str, parameters: Value| Tool { name: name.into(), description: None, parameters: Some(parameters), extra: Map::new() };
    for (choice, mode) in [
        (json!("auto"), json!({"mode": "AUTO"})),
        (json!("none"), json!({"mode": "NONE"})),
        (json!("required"), json!({"mode": "ANY"})),
        (json!({"type": "function", "function": {"name": "f"}}), json!({"mode": "ANY", "allowedFunctionNames": ["f"]})),
    ] {
        let mut prompt = prompt("gemini-2.5-pro", vec![user()]);
        prompt.tools = vec![tool("f", schema.clone()), tool("g", json!({"type": "object", "properties": {}}))];
        prompt.tool_choice = Some(choice);
        prompt.web_search = Some(WebSearch::default());
        let functions = json!([{"name": "f", "parametersJsonSchema": schema}, {"name": "g"}]);
        check(
            &prompt,
            &[
                ("/tools/0/functionDeclarations", functions),
                ("/tools/1", json!({"googleSearch": {}})),
                ("/toolConfig/functionCallingConfig", mode),
            ],
        );
        prompt.model = "gemini-2.0-flash".into();
        let older = json!({"type": "object", "properties": {"a": {"enum": ["x"]}}});
        check(&prompt, &[("/tools/0/functionDeclarations/0/parameters", older)]);
    }
}

#[test]
fn schemas_effort_and_media_are_translated() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let mut prompt = prompt("gemini-2.5-flash", vec![user()]);
    prompt.extra = extra(
        json!({"reasoning_effort": "medium", "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}),
    );
    prompt.messages[0].parts = vec![
        Part::Other(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}})),
        Part::Other(json!({"type": "image_url", "image_url": {"url": "https://a/b.webp?x=1"}})),
        Part::Other(json!({"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}})),
        Part::Other(json!({"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD", "filename": "a.pdf"}})),
    ];
    check(
        &prompt,
        &[
            ("/generationConfig/responseJsonSchema", schema.clone()),
            ("/generationConfig/responseMimeType", json!("application/json")),
            ("/generationConfig/thinkingConfig", json!({"thinkingBudget": 8_192, "includeThoughts": true})),
            (
                "/contents/0/parts",
                json!([
                    {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
                    {"fileData": {"mimeType": "image/webp", "fileUri": "https://a/b.webp?x=1"}},
                    {"inlineData": {"mimeType": "audio/mp3", "data": "QUJD"}},
                    {"inlineData": {"mimeType": "application/pdf", "data": "QUJD"}}]),
            ),
        ],
    );
    let thinking = |model: &str, effort: &str| {
        let mut prompt = prompt.clone();
        prompt.model = model.into();
        prompt.extra.insert("reasoning_effort".into(), json!(effort));
        request(&prompt)["generationConfig"]["thinkingConfig"].clone()
    };
    for (model, effort, expected) in [
        ("gemini-2.5-flash", "none", json!({"thinkingBudget": 0, "includeThoughts": false})),
        ("gemini-2.5-pro", "none", json!({"thinkingBudget": 128, "includeThoughts": false})),
        ("gemini-2.5-pro", "xhigh", json!({"thinkingBudget": 24_576, "includeThoughts": true})),
        ("gemini-3-flash", "minimal", json!({"thinkingLevel": "minimal", "includeThoughts": true})),
        ("gemini-3-pro", "medium", json!({"thinkingLevel": "high", "includeThoughts": true})),
        ("gemini-3.1-pro", "medium", json!({"thinkingLevel": "medium", "includeThoughts": true})),
        ("gemini-2.0-flash", "high", Value::Null),
        ("gemma-3-27b-it", "high", Value::Null),
    ] {
        assert_eq!(thinking(model, effort), expected, "{model} {effort}");
    }
}

#[test]
fn a_models_name_cannot_lead_elsewhere() {
    for (model, expected) in [
        ("gemini-2.5-pro", "models/gemini-2.5-pro"),
        ("models/gemini-2.5-pro", "models/gemini-2.5-pro"),
        ("tunedModels/mine", "tunedModels/mine"),
        ("../files?key=1", "models/..%2Ffiles%3Fkey%3D1"),
        ("models/..", "models/__"),
    ] {
        assert_eq!(path(model), expected);
    }
}

fn read(chunks: &[Value]) -> (Completion, Option<ErrorKind>) {
    let stream: String = chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect();
    let (completion, error) = replay::completion(Chunks::new("p/m"), &[stream.as_bytes()]);
    let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
    let (again, _) = replay::completion(Chunks::new("p/m"), &bytes);
    assert_eq!((&again.text, again.finish), (&completion.text, completion.finish), "byte by byte");
    (completion, error.map(|error| error.kind))
}

fn chunk(parts: Value, reason: Option<&str>) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": reason}],
        "usageMetadata": {"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 3,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}, {"modality": "AUDIO", "tokenCount": 6}]}})
}

#[test]
fn thoughts_words_calls_and_signatures_are_told_apart() {
    let stream = [
        chunk(json!([{"text": "hm", "thought": true}]), None),
        chunk(json!([{"text": "Hé"}]), Some("STOP")),
        chunk(
            json!([{"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "sig"}, {"functionCall": {"name": "g"}}]),
            Some("STOP"),
        ),
        chunk(json!([{"text": "", "thoughtSignature": "last"}]), Some("STOP")),
    ];
    let (completion, error) = read(&stream);
    assert_eq!((completion.text.as_str(), completion.reasoning.as_str(), error), ("Hé", "hm", None));
    assert_eq!(completion.finish, Some(Finish::ToolCalls));
    let calls: Vec<(&str, &str)> = completion.tool_calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
    assert_eq!(calls, [("f", "{\"a\":1}"), ("g", "{}")]);
    assert_eq!(completion.tool_calls[0].extra["extra_content"]["google"]["thought_signature"], json!("sig"));
    assert_eq!(completion.extra["message"]["extra_content"]["google"]["thought_signature"], json!("last"));
    let usage =
        Usage { input_tokens: 10, cached_tokens: 4, audio_input_tokens: 6, output_tokens: 8, reasoning_tokens: 3, ..Usage::default() };
    assert_eq!(completion.usage, Some(usage));
}

#[test]
fn ids_of_calls_are_unique_in_a_conversation() {
    let stream = [chunk(json!([{"functionCall": {"name": "f"}}, {"functionCall": {"name": "f"}}]), Some("STOP"))];
    let ids = |completion: Completion| completion.tool_calls.into_iter().map(|call| call.id).collect::<Vec<String>>();
    let mut all = ids(read(&stream).0);
    all.extend(ids(read(&stream).0));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4);
    let own = [chunk(json!([{"functionCall": {"id": "own", "name": "f"}}]), Some("STOP"))];
    assert_eq!(ids(read(&own).0), ["own"]);
}

#[test]
fn the_ways_to_end_keep_their_meaning_and_a_broken_call_is_no_end() {
    for (reason, finish, error) in [
        ("STOP", Some(Finish::Stop), None),
        ("MAX_TOKENS", Some(Finish::Length), None),
        ("SAFETY", Some(Finish::ContentFilter), None),
        ("BLOCKLIST", Some(Finish::ContentFilter), None),
        ("PROHIBITED_CONTENT", Some(Finish::ContentFilter), None),
        ("SPII", Some(Finish::ContentFilter), None),
        ("RECITATION", Some(Finish::ContentFilter), None),
        ("OTHER", Some(Finish::Stop), None),
        ("MALFORMED_FUNCTION_CALL", None, Some(ErrorKind::Failed)),
        ("MISSING_THOUGHT_SIGNATURE", None, Some(ErrorKind::BadRequest)),
    ] {
        let (completion, failed) = read(&[chunk(json!([{"text": "Hi"}]), Some(reason))]);
        assert_eq!((completion.finish, failed), (finish, error), "{reason}");
    }
    let (completion, error) = read(&[json!({"promptFeedback": {"blockReason": "SAFETY"}})]);
    assert_eq!((completion.finish, error), (Some(Finish::ContentFilter), None));
    assert_eq!(completion.extra["native_finish_reason"], json!("SAFETY"));
}

#[test]
fn what_breaks_is_an_error_of_the_right_kind() {
    let hi = format!("data: {}\n\n", chunk(json!([{"text": "Hi"}]), None));
    for (rest, kind) in [
        ("", ErrorKind::Closed),
        ("data: {\"candidates\":[\n\n", ErrorKind::Protocol),
        ("data: {\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}\n\n", ErrorKind::Overloaded),
        ("data: [{\"error\":{\"code\":429,\"message\":\"slow\"}}]\n\n", ErrorKind::Overloaded),
        ("data: {\"error\":{\"status\":\"INVALID_ARGUMENT\",\"message\":\"no\"}}\n\n", ErrorKind::BadRequest),
        ("data: {\"error\":{\"code\":500,\"message\":\"oh\"}}\n\n", ErrorKind::Failed),
    ] {
        let stream = format!("{hi}{rest}");
        let (completion, error) = replay::completion(Chunks::new("p/m"), &[stream.as_bytes()]);
        assert_eq!((completion.text.as_str(), error.map(|error| error.kind)), ("Hi", Some(kind)), "{rest}");
    }
    // A chunk over several lines of data.
    let (completion, error) = replay::completion(
        Chunks::new("p/m"),
        &[b"data: {\"candidates\":[{\"content\":{\"parts\":\ndata: [{\"text\":\"two\"}]},\"finishReason\":\"STOP\"}]}\n\n"],
    );
    assert_eq!((completion.text.as_str(), error), ("two", None));
}

proptest! {
    #[test]
    fn any_bytes_cut_anywhere_are_read_without_a_panic(
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "(data: )?\\{\"candidates\":\\[\\{\"content\":(\\{\"parts\":\\[(\\{\"text\":\"é\"\\}|\\{\"functionCall\":[0-9]\\}|null)\\]\\}|7),\"finishReason\":(\"STOP\"|\"SAFETY\"|null|3)\\}\\]\\}(\r\n\r\n|\n\n|\r)".prop_map(String::into_bytes),
            ],
            0..12,
        ),
        cut in 1_usize..7,
    ) {
        let bytes = pieces.concat();
        let cut: Vec<&[u8]> = bytes.chunks(cut).collect();
        let whole = replay::deltas(Chunks::new("p/m"), &[&bytes]);
        prop_assert_eq!(replay::deltas(Chunks::new("p/m"), &cut), whole);
    }
}
