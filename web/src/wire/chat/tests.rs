//! Requests as clients send them, right and wrong.

use serde_json::json;

use super::*;

fn with(extra: Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

#[test]
fn what_is_not_modelled_is_kept_as_it_came() {
    let request = read(with(json!({
        "logit_bias": { "1": 2 }, "n": 1, "stop": "END", "max_tokens": 5, "max_completion_tokens": 7, "temperature": 0.5, "seed": -1,
        "tools": [{ "type": "function", "function": { "name": "f", "strict": true, "parameters": { "type": "object" } } }],
        "tool_choice": "auto", "metadata": { "tier": "gold" }, "user": "u", "top_p": null, "reasoning_effort": "low",
        "messages": [
            { "role": "developer", "content": "be brief", "name": "boss" },
            { "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "data:x" } }, { "type": "text", "text": "what?" }] },
            { "role": "assistant", "content": null, "tool_calls": [{ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "c1", "content": "42" },
        ],
    })))
    .expect("a request");
    let prompt = request.prompt;
    assert_eq!(prompt.extra.keys().collect::<Vec<_>>(), ["logit_bias", "reasoning_effort", "user", "max_completion_tokens"]);
    assert_eq!(prompt.sampling.stop, ["END"]);
    assert_eq!((prompt.sampling.max_tokens, prompt.sampling.temperature, prompt.sampling.seed), (Some(7), Some(0.5), Some(u64::MAX)));
    assert_eq!((prompt.tools[0].name.as_str(), prompt.tools[0].extra.get("strict")), ("f", Some(&json!(true))));
    assert_eq!(prompt.tool_choice, Some(json!("auto")));
    assert_eq!((request.metadata.get("tier"), request.user.as_deref()), (Some(&json!("gold")), Some("u")));
    assert_eq!(prompt.messages.iter().map(|m| m.role).collect::<Vec<_>>(), [Role::System, Role::User, Role::Assistant, Role::Tool]);
    assert_eq!(prompt.messages[0].extra.get("name"), Some(&json!("boss")));
    assert!(matches!(&prompt.messages[1].parts[0], Part::Other(part) if part["type"] == "image_url"));
    assert_eq!(prompt.messages[2].tool_calls[0].id, "c1");
    assert_eq!(prompt.messages[3].tool_call_id.as_deref(), Some("c1"));
    assert!(request.stream.is_none() && request.spoken.is_none());
}

#[test]
fn sound_leaves_a_place_for_its_words() {
    let request = read(with(json!({ "messages": [
        { "role": "user", "content": [
            { "type": "text", "text": "listen:" }, { "type": "input_audio", "input_audio": { "data": "QUJD", "format": "wav" } },
        ] },
        { "role": "assistant", "audio": { "id": "audio_1" } },
    ] })))
    .expect("a request");
    let heard = InputAudio { message: 0, part: 1, path: "messages[0].content[1].input_audio.data".to_owned(), data: "QUJD".to_owned() };
    assert_eq!(request.heard, [heard]);
    assert_eq!(request.prompt.messages[0].parts[1], Part::Text(String::new()));
    let recalled = RecalledAudio { message: 1, path: "messages[1].audio.id".to_owned(), id: "audio_1".to_owned() };
    assert_eq!(request.recalled, [recalled]);
}

#[test]
fn a_reply_is_spoken_when_it_is_asked_for() {
    let spoken = |voice: &str, format| Ok(Some(SpokenReply { voice: voice.to_owned(), format }));
    for (extra, expected) in [
        (json!({ "audio": { "voice": "alloy", "format": "mp3" }, "modalities": ["text", "audio"] }), spoken("alloy", Container::Mp3)),
        (json!({ "audio": { "voice": { "id": "v" } }, "modalities": ["audio"] }), spoken("v", Container::Wav)),
        (json!({ "audio": { "voice": "v" }, "stream": true }), spoken("v", Container::Pcm16)),
        (json!({ "audio": { "voice": "v", "format": "wav" }, "modalities": ["text"] }), Ok(None)),
        (json!({ "modalities": ["text", "audio"] }), Err("audio")),
        (json!({ "modalities": ["video"] }), Err("modalities[0]")),
        (json!({ "audio": { "voice": "v", "format": "wav" }, "stream": true }), Err("audio.format")),
        (json!({ "audio": { "voice": "v", "format": "aac" } }), Err("audio.format")),
        (json!({ "audio": { "voice": 7, "format": "wav" } }), Err("audio.voice")),
    ] {
        let got = read(with(extra.clone())).map(|request| request.spoken);
        assert_eq!(got.map_err(|error| error.param.unwrap_or_default()), expected.map_err(str::to_owned), "{extra}");
    }
}

#[test]
fn a_wrong_shape_names_its_field() {
    for (body, param) in [
        (json!([]), ""),
        (json!({}), "model"),
        (json!({ "model": 1 }), "model"),
        (json!({ "model": "" }), "model"),
        (json!({ "model": "m" }), "messages"),
        (with(json!({ "messages": "hi" })), "messages"),
        (with(json!({ "messages": [] })), "messages"),
        (with(json!({ "messages": [1] })), "messages[0]"),
        (with(json!({ "messages": [{ "content": "x" }] })), "messages[0].role"),
        (with(json!({ "messages": [{ "role": "king", "content": "x" }] })), "messages[0].role"),
        (with(json!({ "messages": [{ "role": "user" }] })), "messages[0].content"),
        (with(json!({ "messages": [{ "role": "user", "content": [] }] })), "messages[0].content"),
        (with(json!({ "messages": [{ "role": "user", "content": 5 }] })), "messages[0].content"),
        (with(json!({ "messages": [{ "role": "user", "content": [{}] }] })), "messages[0].content[0].type"),
        (with(json!({ "messages": [{ "role": "user", "content": [{ "type": "text" }] }] })), "messages[0].content[0].text"),
        (
            with(json!({ "messages": [{ "role": "user", "content": [{ "type": "input_audio", "input_audio": {} }] }] })),
            "messages[0].content[0].input_audio.data",
        ),
        (with(json!({ "messages": [{ "role": "assistant", "tool_calls": [{ "id": "1" }] }] })), "messages[0].tool_calls[0].function"),
        (with(json!({ "n": 2 })), "n"),
        (with(json!({ "stream": "yes" })), "stream"),
        (with(json!({ "stream_options": { "include_usage": 1 } })), "stream_options.include_usage"),
        (with(json!({ "temperature": 3 })), "temperature"),
        (with(json!({ "max_tokens": 0 })), "max_tokens"),
        (with(json!({ "stop": [1] })), "stop[0]"),
        (with(json!({ "seed": 0.5 })), "seed"),
        (with(json!({ "metadata": [] })), "metadata"),
        (with(json!({ "user": 1 })), "user"),
        (with(json!({ "tools": [{ "type": 7 }] })), "tools[0].type"),
        (with(json!({ "tools": [{ "type": "function", "function": {} }] })), "tools[0].function.name"),
        (with(json!({ "timbre": { "signals": ["mood"] } })), "timbre.signals[0]"),
    ] {
        let error = read(body.clone()).err().unwrap_or_else(|| panic!("refused: {body}"));
        assert_eq!((error.status, error.param.as_deref().unwrap_or_default()), (400, param), "{body}: {}", error.message);
    }
}
