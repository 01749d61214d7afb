//! Parts of OpenAI's chat shape that a provider of another dialect has to read.

use serde_json::{Map, Value};

use crate::Prompt;

/// Fields of a request that only OpenAI's dialect has. Another dialect's upstream refuses what it does not know: these are translated
/// where it has a twin and left out where it has none.
const ONLY_OPENAI: [&str; 33] = [
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "include_reasoning",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "min_p",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "reasoning_effort",
    "repetition_penalty",
    "response_format",
    "safety_identifier",
    "seed",
    "stop",
    "store",
    "stream",
    "stream_options",
    "tool_choice",
    "top_logprobs",
    "user",
    "verbosity",
    "web_search_options",
];

/// What is left of a prompt's `extra` for a provider of another dialect.
pub(crate) fn rest(prompt: &Prompt) -> Map<String, Value> {
    let foreign = prompt.extra.iter().filter(|(key, value)| !ONLY_OPENAI.contains(&key.as_str()) && !value.is_null());
    foreign.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What shape the answer has to have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Format<'a> {
    /// Any.
    Text,
    /// A JSON object.
    Json,
    /// JSON that fits a schema.
    Schema(&'a Value),
}

impl Format<'_> {
    /// `response_format` of the prompt.
    pub(crate) fn of(prompt: &Prompt) -> Format<'_> {
        let Some(format) = prompt.extra.get("response_format") else { return Format::Text };
        match format["type"].as_str() {
            Some("json_schema") => format["json_schema"].get("schema").map_or(Format::Json, Format::Schema),
            Some("json_object") => Format::Json,
            _ => Format::Text,
        }
    }
}

/// Which tools may or must be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    /// As the model likes.
    Auto,
    /// None.
    None,
    /// One at least, whichever.
    Required,
    /// This one.
    Tool(&'a str),
}

impl Choice<'_> {
    /// `tool_choice` of the prompt, in OpenAI's shape or in Anthropic's; `None` where nothing is said.
    pub(crate) fn of(prompt: &Prompt) -> Option<Choice<'_>> {
        let choice = prompt.tool_choice.as_ref()?;
        let name = choice["function"]["name"].as_str().or_else(|| choice["name"].as_str());
        match choice.as_str().or_else(|| choice["type"].as_str())? {
            "none" => Some(Choice::None),
            "required" | "any" => Some(Choice::Required),
            "function" | "tool" => Some(name.map_or(Choice::Required, Choice::Tool)),
            "allowed_tools" if choice["allowed_tools"]["mode"] == "required" => Some(Choice::Required),
            _ => Some(Choice::Auto),
        }
    }

    /// Names of the only tools that may be called, where the choice names some of many.
    pub(crate) fn allowed(prompt: &Prompt) -> Option<Vec<&str>> {
        let tools = prompt.tool_choice.as_ref()?["allowed_tools"]["tools"].as_array()?;
        Some(tools.iter().filter_map(|tool| tool["function"]["name"].as_str()).collect())
    }
}

/// The media type and the base64 text of a data URL (RFC 2397); `None` for any other URL.
pub(crate) fn data_url(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let kind = head.strip_suffix(";base64")?;
    Some((kind.split(';').next().unwrap_or(kind), data))
}

/// The arguments of a call as an object, which is the only thing that other dialects have for them. No text is no argument; text that is
/// no object is kept under `arguments`, so that the model sees what it wrote.
pub(crate) fn arguments(text: &str) -> Value {
    if text.trim().is_empty() {
        return Value::Object(Map::new());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Value::Object(object),
        Ok(other) => serde_json::json!({"arguments": other}),
        Err(_) => serde_json::json!({"arguments": text}),
    }
}

/// 0.7 and not 0.699999988079071.
pub(crate) fn decimal(value: f32) -> Value {
    serde_json::json!((f64::from(value) * 1e6).round() / 1e6)
}
