//! A prompt as a request of `generateContent`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::schema::subset;
use super::since;
use crate::llm::chat_fields::{self, Choice, Format, arguments, data_url, decimal};
use crate::llm::effort::Effort;
use crate::{Message, Part, Prompt, Role, Tool, ToolCall};

/// What Google documents for calls whose signature was lost or never existed (Gemini API, "Thought signatures").
const NO_SIGNATURE: &str = "skip_thought_signature_validator";
/// Most stop texts that are taken.
const MOST_STOPS: usize = 5;
/// Fields of Anthropic's dialect that mean nothing here.
const ONLY_ANTHROPIC: [&str; 9] =
    ["betas", "cache_control", "container", "context_management", "mcp_servers", "output_config", "service_tier", "thinking", "top_k"];
/// Fields that are read and set below; `extra_body` is what Google's own OpenAI dialect wraps its fields in.
const READ: [&str; 5] = ["cached_content", "extra_body", "generationConfig", "generation_config", "safety_settings"];

/// The body of the request.
pub fn request(prompt: &Prompt) -> Value {
    let mut body = chat_fields::rest(prompt);
    body.retain(|key, _| !ONLY_ANTHROPIC.contains(&key.as_str()) && !READ.contains(&key.as_str()));
    for (key, name) in [("cached_content", "cachedContent"), ("safety_settings", "safetySettings")] {
        if let Some(value) = field(prompt, key) {
            body.insert(name.into(), value.clone());
        }
    }
    let system: Vec<Value> = prompt
        .messages
        .iter()
        .filter(|message| message.role == Role::System && !message.words().trim().is_empty())
        .map(|message| json!({"text": message.words()}))
        .collect();
    if !system.is_empty() {
        body.insert("systemInstruction".into(), json!({"parts": system}));
    }
    body.insert("contents".into(), contents(prompt));
    tools(prompt, &mut body);
    let config = generation_config(prompt);
    if !config.is_empty() {
        body.insert("generationConfig".into(), Value::Object(config));
    }
    Value::Object(body)
}

/// A field of Gemini's own, as callers of Google's OpenAI dialect write it: plain, or within `extra_body.google`.
fn field<'a>(prompt: &'a Prompt, key: &str) -> Option<&'a Value> {
    let wrapped = || prompt.extra.get("extra_body")?.get("google")?.get(key);
    prompt.extra.get(key).or_else(wrapped)
}

/// The turns, neighbours of one side merged; results stand in a turn of their own, in the order of the calls.
fn contents(prompt: &Prompt) -> Value {
    let mut contents: Vec<Value> = Vec::new();
    let mut calls: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut results: Vec<(usize, Value)> = Vec::new();
    for message in &prompt.messages {
        if message.role == Role::Tool {
            let id = message.tool_call_id.as_deref().unwrap_or_default();
            let (place, name) = calls.get(id).copied().unwrap_or((usize::MAX, id));
            results.push((place, response(message, name, id, prompt)));
            continue;
        }
        answered(&mut contents, &mut results);
        match message.role {
            Role::Assistant => {
                for (place, call) in message.tool_calls.iter().enumerate() {
                    calls.insert(call.id.as_str(), (place, call.name.as_str()));
                }
                add(&mut contents, "model", said(message, prompt));
            }
            Role::User => add(&mut contents, "user", message.parts.iter().filter_map(part).collect()),
            Role::System | Role::Tool => {}
        }
    }
    answered(&mut contents, &mut results);
    Value::Array(contents)
}

fn answered(contents: &mut Vec<Value>, results: &mut Vec<(usize, Value)>) {
    if results.is_empty() {
        return;
    }
    // Calls of one name are told apart by their order where there are no ids.
    results.sort_by_key(|(place, _)| *place);
    let parts: Vec<Value> = results.drain(..).map(|(_, result)| result).collect();
    contents.push(json!({"role": "user", "parts": parts}));
}

fn add(contents: &mut Vec<Value>, role: &str, mut parts: Vec<Value>) {
    if parts.is_empty() {
        return;
    }
    // The turn after a call holds the results and nothing else.
    let open = |content: &Value| content["role"] == role && content["parts"][0].get("functionResponse").is_none();
    match contents.last_mut().filter(|content| open(content)).and_then(|content| content["parts"].as_array_mut()) {
        Some(before) => before.append(&mut parts),
        None => contents.push(json!({"role": role, "parts": parts})),
    }
}

/// The parts of an earlier answer, with the signatures that came with it.
fn said(message: &Message, prompt: &Prompt) -> Vec<Value> {
    let mut parts: Vec<Value> = message.parts.iter().filter_map(part).collect();
    if let (Some(signature), Some(last)) = (signature(&message.extra), parts.last_mut()) {
        last["thoughtSignature"] = signature.clone();
    }
    parts.extend(message.tool_calls.iter().enumerate().map(|(place, call)| called(call, place, prompt)));
    parts
}

fn called(call: &ToolCall, place: usize, prompt: &Prompt) -> Value {
    let mut part = json!({"functionCall": {"name": call.name, "args": arguments(&call.arguments)}});
    if since(&prompt.model, 3, 0) && !call.id.is_empty() {
        part["functionCall"]["id"] = json!(call.id);
    }
    match signature(&call.extra) {
        Some(signature) => part["thoughtSignature"] = signature.clone(),
        // The first call of each step has to be signed.
        None if place == 0 && since(&prompt.model, 3, 0) => part["thoughtSignature"] = json!(NO_SIGNATURE),
        None => {}
    }
    part
}

fn signature(extra: &Map<String, Value>) -> Option<&Value> {
    extra.get("extra_content")?.get("google")?.get("thought_signature")
}

fn response(message: &Message, name: &str, id: &str, prompt: &Prompt) -> Value {
    let words = message.words();
    let failed = message.extra.get("is_error") == Some(&Value::Bool(true));
    let response = match serde_json::from_str::<Value>(&words) {
        _ if failed => json!({"error": words}),
        Ok(Value::Object(object)) => Value::Object(object),
        Ok(other) => json!({"result": other}),
        Err(_) => json!({"result": words}),
    };
    let mut part = json!({"functionResponse": {"name": name, "response": response}});
    if since(&prompt.model, 3, 0) && !id.is_empty() {
        part["functionResponse"]["id"] = json!(id);
    }
    part
}

/// A part; `None` where nothing is left of it. Thoughts are the provider's own affair: only their signatures go back.
fn part(part: &Part) -> Option<Value> {
    match part {
        Part::Text(text) | Part::Cached { text, .. } => (!text.is_empty()).then(|| json!({"text": text})),
        Part::Reasoning { .. } => None,
        Part::Other(part) => Some(other(part)),
    }
}

/// A part in OpenAI's shape. What has no twin goes upstream as it is, whose refusal names it better than we could.
fn other(part: &Value) -> Value {
    let media = match part["type"].as_str() {
        Some(kind @ ("image_url" | "video_url")) => part[kind]["url"]
            .as_str()
            .or_else(|| part[kind].as_str())
            .map(|url| media(url, if kind == "image_url" { "image/jpeg" } else { "video/mp4" })),
        Some("input_audio") => part["input_audio"]["data"].as_str().map(|data| {
            let format = part["input_audio"]["format"].as_str().unwrap_or("wav");
            json!({"inlineData": {"mimeType": format!("audio/{format}"), "data": data}})
        }),
        Some("file") => {
            let file = &part["file"];
            let named = file["file_data"].as_str().or_else(|| file["file_id"].as_str());
            named.map(|url| media(url, "application/pdf"))
        }
        Some("refusal") => part["refusal"].as_str().map(|text| json!({"text": text})),
        _ => None,
    };
    media.unwrap_or_else(|| part.clone())
}

/// Data itself, or a reference to it, whose media type is told by its ending or else the usual one.
fn media(url: &str, usual: &str) -> Value {
    if let Some((media, data)) = data_url(url) {
        return json!({"inlineData": {"mimeType": media, "data": data}});
    }
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let kind = match path.rsplit('.').next().map(str::to_ascii_lowercase).as_deref() {
        Some("png") => "image/png",
        Some("webp") => "image/webp",
        Some("gif") => "image/gif",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("pdf") => "application/pdf",
        Some("mp4") => "video/mp4",
        Some("webm") => "video/webm",
        _ => usual,
    };
    json!({"fileData": {"mimeType": kind, "fileUri": url}})
}

fn tools(prompt: &Prompt, body: &mut Map<String, Value>) {
    let mut tools: Vec<Value> = body.remove("tools").and_then(|own| own.as_array().cloned()).unwrap_or_default();
    let functions: Vec<Value> =
        prompt.tools.iter().filter(|tool| !tool.name.is_empty()).map(|tool| function(tool, &prompt.model)).collect();
    let choice = Choice::of(prompt).filter(|_| !functions.is_empty());
    if !functions.is_empty() {
        tools.push(json!({"functionDeclarations": functions}));
    }
    if prompt.web_search.is_some() {
        tools.push(json!({"googleSearch": {}}));
    }
    if !tools.is_empty() {
        body.insert("tools".into(), Value::Array(tools));
    }
    let mut config = match choice {
        None => return,
        Some(Choice::Auto) => json!({"mode": "AUTO"}),
        Some(Choice::None) => json!({"mode": "NONE"}),
        Some(Choice::Required) => json!({"mode": "ANY"}),
        Some(Choice::Tool(name)) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
    };
    if let Some(allowed) = Choice::allowed(prompt) {
        // Names may be given with this mode only; with `auto` it becomes the one that may also answer in words.
        config["mode"] = json!(if config["mode"] == "ANY" { "ANY" } else { "VALIDATED" });
        config["allowedFunctionNames"] = json!(allowed);
    }
    body.insert("toolConfig".into(), json!({"functionCallingConfig": config}));
}

fn function(tool: &Tool, model: &str) -> Value {
    let mut function = json!({"name": tool.name});
    if let Some(description) = &tool.description {
        function["description"] = json!(description);
    }
    // An object without members is refused: a function without arguments has no schema.
    let members =
        |schema: &&Value| schema["properties"].as_object().is_some_and(|members| !members.is_empty()) || schema.get("$ref").is_some();
    if let Some(schema) = tool.parameters.as_ref().filter(members) {
        if since(model, 2, 5) {
            function["parametersJsonSchema"] = schema.clone();
        } else {
            function["parameters"] = subset(schema);
        }
    }
    function
}

fn generation_config(prompt: &Prompt) -> Map<String, Value> {
    let own = field(prompt, "generationConfig").or_else(|| field(prompt, "generation_config"));
    let mut config = own.and_then(Value::as_object).cloned().unwrap_or_default();
    let sampling = &prompt.sampling;
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(key.into(), value);
        }
    };
    set("maxOutputTokens", sampling.max_tokens.map(|most| json!(most)));
    set("temperature", sampling.temperature.map(decimal));
    set("topP", sampling.top_p.map(decimal));
    set("seed", sampling.seed.map(|seed| json!(seed & 0x7fff_ffff)));
    let stop: Vec<&String> = sampling.stop.iter().filter(|text| !text.is_empty()).take(MOST_STOPS).collect();
    set("stopSequences", (!stop.is_empty()).then(|| json!(stop)));
    for (key, name) in [("top_k", "topK"), ("presence_penalty", "presencePenalty"), ("frequency_penalty", "frequencyPenalty")] {
        set(name, prompt.extra.get(key).filter(|value| value.is_number()).cloned());
    }
    if prompt.extra.get("logprobs") == Some(&Value::Bool(true)) {
        set("responseLogprobs", Some(json!(true)));
        set("logprobs", prompt.extra.get("top_logprobs").cloned());
    }
    match Format::of(prompt) {
        Format::Text => {}
        Format::Json => set("responseMimeType", Some(json!("application/json"))),
        Format::Schema(schema) => {
            set("responseMimeType", Some(json!("application/json")));
            if since(&prompt.model, 2, 5) {
                set("responseJsonSchema", Some(schema.clone()));
            } else {
                set("responseSchema", Some(subset(schema)));
            }
        }
    }
    if let Some(modalities) = prompt.extra.get("modalities").and_then(Value::as_array) {
        let names = modalities.iter().filter_map(Value::as_str).map(str::to_uppercase);
        set("responseModalities", Some(names.collect()));
    }
    set("thinkingConfig", field(prompt, "thinking_config").cloned().or_else(|| thinking(prompt)));
    config
}

fn thinking(prompt: &Prompt) -> Option<Value> {
    let model = prompt.model.as_str();
    if !since(model, 2, 5) {
        return None;
    }
    let budget = || {
        let own = prompt.extra.get("thinking").filter(|thinking| thinking["type"] == "enabled").map(|thinking| &thinking["budget_tokens"]);
        own.or_else(|| prompt.extra.get("reasoning")?.get("max_tokens"))?.as_u64()
    };
    let (effort, budget) = match Effort::of(prompt) {
        Some(effort) => (effort, None),
        None => {
            let budget = budget()?;
            (Effort::of_budget(budget), Some(budget))
        }
    };
    let shown = effort != Effort::None;
    if since(model, 3, 0) {
        let level = match effort {
            // Only the small ones can do with hardly any thought.
            Effort::None | Effort::Minimal if model.contains("flash") => "minimal",
            Effort::None | Effort::Minimal | Effort::Low => "low",
            Effort::Medium if !model.contains("gemini-3-pro") => "medium",
            Effort::Medium | Effort::High | Effort::Most => "high",
        };
        return Some(json!({"thinkingLevel": level, "includeThoughts": shown}));
    }
    // 2.5: Pro thinks 128 tokens at least, and 24,576 are the most that Flash takes.
    let least = if model.contains("pro") { 128 } else { 0 };
    let tokens = budget.unwrap_or(u64::from(effort.budget())).clamp(least, 24_576);
    Some(json!({"thinkingBudget": tokens, "includeThoughts": shown}))
}
