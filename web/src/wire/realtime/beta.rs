//! What the server tells, in the older beta dialect: other names of events, one flat session object, `text` and `audio` for parts.
//!
//! The other direction is `session/beta.rs`. Both are translations of the one model that the GA dialect shows.

use serde_json::{Map, Value, json};

/// Names of events that changed: GA, beta.
const EVENTS: [(&str, &str); 7] = [
    ("conversation.item.added", "conversation.item.created"),
    ("response.output_audio.delta", "response.audio.delta"),
    ("response.output_audio.done", "response.audio.done"),
    ("response.output_audio_transcript.delta", "response.audio_transcript.delta"),
    ("response.output_audio_transcript.done", "response.audio_transcript.done"),
    ("response.output_text.delta", "response.text.delta"),
    ("response.output_text.done", "response.text.done"),
];

/// The temperature that beta sessions are said to have where none is set: OpenAI's default.
const TEMPERATURE: f64 = 0.8;

/// An event by its beta name, and its fields as that had them.
pub(super) fn told(kind: &str, mut fields: Value) -> (String, Value) {
    let transcribes = fields.get("session").is_some_and(is_transcription);
    for (name, translate) in [("session", session_json as fn(&Value) -> Value), ("item", item_json), ("response", response_json)] {
        if let Some(value) = fields.get_mut(name) {
            *value = translate(value);
        }
    }
    let kind = match EVENTS.iter().find(|(now, _)| *now == kind) {
        Some((_, then)) => (*then).to_owned(),
        None if transcribes => format!("transcription_{kind}"),
        None => kind.to_owned(),
    };
    (kind, fields)
}

fn is_transcription(session: &Value) -> bool {
    session["type"] == "transcription"
}

/// The session object.
pub(super) fn session_json(session: &Value) -> Value {
    let (input, output) = (&session["audio"]["input"], &session["audio"]["output"]);
    let mut heard = json!({
        "input_audio_format": format_name(&input["format"]),
        "input_audio_transcription": input["transcription"],
        "input_audio_noise_reduction": input["noise_reduction"],
        "turn_detection": input["turn_detection"],
    });
    let mut json = json!({ "id": session["id"], "object": session["object"], "expires_at": session["expires_at"] });
    if is_transcription(session) {
        heard["include"] = session["include"].clone();
        heard["modalities"] = json!(["text"]);
    } else {
        for (name, value) in [
            ("model", session["model"].clone()),
            ("modalities", modalities(&session["output_modalities"])),
            ("instructions", session["instructions"].clone()),
            ("voice", output["voice"].clone()),
            ("speed", output["speed"].clone()),
            ("output_audio_format", format_name(&output["format"])),
            ("tools", session["tools"].clone()),
            ("tool_choice", session["tool_choice"].clone()),
            ("temperature", session.get("temperature").filter(|value| !value.is_null()).cloned().unwrap_or(json!(TEMPERATURE))),
            ("max_response_output_tokens", session["max_output_tokens"].clone()),
            ("tracing", session["tracing"].clone()),
        ] {
            json[name] = value;
        }
    }
    if let (Value::Object(json), Value::Object(heard)) = (&mut json, heard) {
        json.extend(heard);
    }
    json
}

/// Beta sessions that speak also write: the text is the transcript.
fn modalities(now: &Value) -> Value {
    let spoken = now.as_array().is_some_and(|now| now.contains(&json!("audio")));
    if spoken { json!(["audio", "text"]) } else { json!(["text"]) }
}

fn format_name(format: &Value) -> Value {
    match format["type"].as_str() {
        Some("audio/pcmu") => json!("g711_ulaw"),
        Some("audio/pcma") => json!("g711_alaw"),
        _ => json!("pcm16"),
    }
}

fn item_json(item: &Value) -> Value {
    let mut item = item.clone();
    item["object"] = json!("realtime.item");
    for part in item["content"].as_array_mut().into_iter().flatten() {
        match part["type"].as_str() {
            Some("output_text") => part["type"] = json!("text"),
            Some("output_audio") => part["type"] = json!("audio"),
            _ => {}
        }
    }
    item
}

fn response_json(response: &Value) -> Value {
    let mut json: Map<String, Value> = response.as_object().cloned().unwrap_or_default();
    if let Some(output) = json.get_mut("output").and_then(Value::as_array_mut) {
        output.iter_mut().for_each(|item| *item = item_json(item));
    }
    let spoken = json.shift_remove("output_modalities").unwrap_or_default();
    let audio = json.shift_remove("audio").unwrap_or_default();
    json.insert("modalities".to_owned(), modalities(&spoken));
    json.insert("voice".to_owned(), audio["output"]["voice"].clone());
    json.insert("output_audio_format".to_owned(), format_name(&audio["output"]["format"]));
    json.insert("temperature".to_owned(), json!(TEMPERATURE));
    Value::Object(json)
}
