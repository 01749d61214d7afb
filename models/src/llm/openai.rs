//! Chat completions of any OpenAI-compatible base URL.
//!
//! Pure translation, a prompt to a request and chunks to deltas, plus the lines that send it. Fields that no type here models go through
//! as they came, in both directions where they have a place. Nothing is retried here: that is the router's.

mod plain;

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::{Map, Value, json};

use crate::remote::{self, Endpoint};
use crate::sse::{Event, Parser};
use crate::{Delta, ErrorKind, Finish, LanguageModel, Message, ModelError, Part, Prompt, Role, Tool, ToolCall, Usage};

/// A provider that speaks the dialect at `endpoint`.
pub fn provider(endpoint: Endpoint) -> Arc<dyn LanguageModel> {
    Arc::new(Provider { endpoint })
}

struct Provider {
    endpoint: Endpoint,
}

impl LanguageModel for Provider {
    fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        let endpoint = self.endpoint.clone();
        let opened = async move {
            let target = format!("{}/{}", endpoint.name, prompt.model);
            match open(&endpoint, &prompt, &target).await {
                Ok(deltas) => deltas,
                Err(error) => stream::once(async move { Err(error) }).boxed(),
            }
        };
        stream::once(opened).flatten().boxed()
    }
}

async fn open(endpoint: &Endpoint, prompt: &Prompt, target: &str) -> Result<BoxStream<'static, Result<Delta, ModelError>>, ModelError> {
    let response = endpoint.send(endpoint.post("chat/completions")?.json(&request(prompt)), target).await?;
    let reading = Reading { chunks: Chunks::new(target), events: Parser::default(), ready: VecDeque::new(), over: false };
    let state = (response.bytes_stream().boxed(), reading, target.to_owned());
    let deltas = stream::unfold(state, |(mut bytes, mut reading, target)| async move {
        loop {
            if let Some(item) = reading.ready.pop_front() {
                return Some((item, (bytes, reading, target)));
            }
            if reading.over {
                return None;
            }
            match bytes.next().await {
                Some(Ok(more)) => reading.push(&more),
                Some(Err(error)) => reading.end(Some(remote::broken(&target, &error))),
                None => reading.end(None),
            }
        }
    });
    Ok(deltas.boxed())
}

/// Bytes to deltas.
struct Reading {
    events: Parser,
    chunks: Chunks,
    ready: VecDeque<Result<Delta, ModelError>>,
    over: bool,
}

impl Reading {
    fn push(&mut self, bytes: &[u8]) {
        let events = match self.events.push(bytes) {
            Ok(events) => events,
            Err(_) => return self.end(Some(self.chunks.error(ErrorKind::Protocol, "sent an event without end"))),
        };
        for event in events {
            match self.chunks.event(&event) {
                Ok(deltas) => self.ready.extend(deltas.into_iter().map(Ok)),
                Err(error) => return self.end(Some(error)),
            }
            if self.chunks.done {
                return self.end(None);
            }
        }
    }

    fn end(&mut self, error: Option<ModelError>) {
        self.over = true;
        // What comes after the finish reason is at most a count of tokens: an answer that is whole does not fail for it.
        if self.chunks.complete() {
            return;
        }
        let cut = || self.chunks.error(ErrorKind::Closed, "the stream ended before the answer did");
        self.ready.push_back(Err(error.unwrap_or_else(cut)));
    }
}

/// Reads the chunks of one streamed completion.
#[derive(Debug)]
pub struct Chunks {
    target: String,
    finished: bool,
    /// `[DONE]` came.
    done: bool,
}

impl Chunks {
    /// For an answer of `target`, `provider/model`.
    pub fn new(target: &str) -> Chunks {
        Chunks { target: target.to_owned(), finished: false, done: false }
    }

    /// Whether the answer is whole: a finish reason or `[DONE]` came.
    pub fn complete(&self) -> bool {
        self.finished || self.done
    }

    /// The deltas of one event.
    pub fn event(&mut self, event: &Event) -> Result<Vec<Delta>, ModelError> {
        let data = event.data.trim();
        if data == "[DONE]" {
            self.done = true;
            return Ok(Vec::new());
        }
        if data.is_empty() {
            return Ok(Vec::new());
        }
        if event.event != "error"
            && let Some(words) = plain::words(data)
        {
            return Ok(if words.is_empty() { Vec::new() } else { vec![Delta::Text(words.into_owned())] });
        }
        let chunk: Value = serde_json::from_str(data).map_err(|error| {
            let start: String = data.chars().take(80).collect();
            self.error(ErrorKind::Protocol, format!("sent a chunk that is not JSON ({error}): {start}"))
        })?;
        if event.event == "error" || chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Err(self.in_band(&chunk));
        }
        Ok(self.deltas(&chunk))
    }

    fn deltas(&mut self, chunk: &Value) -> Vec<Delta> {
        let mut deltas = Vec::new();
        // Only the first choice is asked for; `n` above 1 has no place in a stream of one answer.
        if let Some(choice) = chunk["choices"].as_array().and_then(|choices| choices.iter().find(|choice| index(choice) == 0)) {
            // A provider that ignores `stream` sends whole messages.
            let delta = choice.get("delta").or_else(|| choice.get("message")).unwrap_or(&Value::Null);
            let reasoning = ["reasoning_content", "reasoning"].iter().find_map(|key| delta[*key].as_str());
            deltas.extend(reasoning.filter(|text| !text.is_empty()).map(|text| Delta::Reasoning(text.to_owned())));
            for key in ["content", "refusal"] {
                let text = delta[key].as_str().filter(|text| !text.is_empty());
                deltas.extend(text.map(|text| Delta::Text(text.to_owned())));
            }
            for (place, call) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
                deltas.push(tool_call(call, place));
            }
            let mut extra = unknown(choice, &["index", "delta", "message", "finish_reason"]);
            let known = ["role", "content", "refusal", "reasoning_content", "reasoning", "tool_calls", "function_call"];
            let message = unknown(delta, &known);
            if !message.is_empty() {
                extra.insert("message".to_owned(), Value::Object(message));
            }
            if !extra.is_empty() {
                deltas.push(Delta::Extra(extra));
            }
            if let Some(reason) = choice["finish_reason"].as_str() {
                self.finished = true;
                deltas.push(Delta::Finish(finish(reason)));
            }
        }
        deltas.extend(usage(&chunk["usage"]).map(Delta::Usage));
        deltas
    }

    fn in_band(&self, chunk: &Value) -> ModelError {
        let error = chunk.get("error").unwrap_or(chunk);
        let code = [&error["code"], &error["status"]].into_iter().find_map(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let names: Vec<&str> = [&error["code"], &error["type"]].into_iter().filter_map(Value::as_str).collect();
        let named = |part: &str| names.iter().any(|name| name.contains(part));
        let kind = match code.and_then(|code| reqwest::StatusCode::from_u16(code).ok()) {
            Some(status) if status.as_u16() >= 400 => remote::kind(status),
            _ if named("rate_limit") || named("overloaded") || named("insufficient_quota") => ErrorKind::Overloaded,
            _ if named("content_filter") || named("content_policy") => ErrorKind::Refused,
            _ if named("invalid_request") || named("context_length") => ErrorKind::BadRequest,
            _ if named("auth") => ErrorKind::Unauthorized,
            _ => ErrorKind::Failed,
        };
        ModelError { status: code, ..self.error(kind, remote::message(chunk).unwrap_or_else(|| error.to_string())) }
    }

    fn error(&self, kind: ErrorKind, detail: impl Into<String>) -> ModelError {
        ModelError::new(kind, &self.target, detail)
    }
}

fn index(value: &Value) -> u64 {
    value["index"].as_u64().unwrap_or(0)
}

fn tool_call(call: &Value, place: usize) -> Delta {
    let function = &call["function"];
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    // Some servers send arguments as an object although the dialect says text.
    let arguments = match &function["arguments"] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let index = call["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(place);
    let extra = unknown(call, &["index", "id", "type", "function"]);
    Delta::ToolCall { index, id: text(&call["id"]), name: text(&function["name"]), arguments, extra }
}

/// The fields of an object that are not among `known`, those without a value left out.
fn unknown(object: &Value, known: &[&str]) -> Map<String, Value> {
    let fields = object.as_object().into_iter().flatten();
    fields
        .filter(|(key, value)| !known.contains(&key.as_str()) && !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn finish(reason: &str) -> Finish {
    match reason {
        "length" | "max_tokens" => Finish::Length,
        "tool_calls" | "function_call" => Finish::ToolCalls,
        "content_filter" => Finish::ContentFilter,
        _ => Finish::Stop,
    }
}

fn usage(usage: &Value) -> Option<Usage> {
    Some(Usage {
        input_tokens: usage["prompt_tokens"].as_u64()?,
        cached_tokens: usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or(0),
        output_tokens: usage["completion_tokens"].as_u64().unwrap_or(0),
        reasoning_tokens: usage["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap_or(0),
        cache_write_tokens: usage["prompt_tokens_details"]["cache_write_tokens"].as_u64().unwrap_or(0),
        audio_input_tokens: usage["prompt_tokens_details"]["audio_tokens"].as_u64().unwrap_or(0),
        audio_output_tokens: usage["completion_tokens_details"]["audio_tokens"].as_u64().unwrap_or(0),
    })
}

/// The body of the request, always streamed and with a count of tokens.
pub fn request(prompt: &Prompt) -> Value {
    // What the caller sent and no type models comes first; what is modelled has the last word.
    let mut body = prompt.extra.clone();
    body.insert("model".into(), json!(prompt.model));
    body.insert("messages".into(), prompt.messages.iter().map(message).collect());
    if !prompt.tools.is_empty() {
        body.insert("tools".into(), prompt.tools.iter().map(tool).collect());
    }
    if let Some(choice) = &prompt.tool_choice {
        body.insert("tool_choice".into(), choice.clone());
    }
    let sampling = &prompt.sampling;
    if let Some(most) = sampling.max_tokens {
        // OpenAI's reasoning models refuse the old name, most other servers know only the old one: the caller's name is kept.
        let key = if prompt.extra.contains_key("max_completion_tokens") { "max_completion_tokens" } else { "max_tokens" };
        body.insert(key.into(), json!(most));
    }
    if let Some(temperature) = sampling.temperature {
        body.insert("temperature".into(), decimal(temperature));
    }
    if let Some(top_p) = sampling.top_p {
        body.insert("top_p".into(), decimal(top_p));
    }
    if !sampling.stop.is_empty() {
        body.insert("stop".into(), json!(sampling.stop));
    }
    if let Some(seed) = sampling.seed {
        body.insert("seed".into(), json!(seed));
    }
    body.insert("stream".into(), json!(true));
    match body.get_mut("stream_options").and_then(Value::as_object_mut) {
        Some(options) => {
            options.insert("include_usage".into(), json!(true));
        }
        None => {
            body.insert("stream_options".into(), json!({"include_usage": true}));
        }
    }
    Value::Object(body)
}

/// 0.7 and not 0.699999988079071.
fn decimal(value: f32) -> Value {
    json!((f64::from(value) * 1e6).round() / 1e6)
}

fn message(message: &Message) -> Value {
    let mut body = Map::new();
    body.insert("role".into(), json!(message.role.name()));
    let (mut parts, mut reasoning) = (Vec::new(), String::new());
    for part in &message.parts {
        match part {
            Part::Reasoning { text, .. } => reasoning.push_str(text),
            part => parts.push(part),
        }
    }
    let content = match parts.as_slice() {
        // An assistant that only calls tools says nothing.
        [] if message.role == Role::Assistant => Value::Null,
        parts if parts.iter().all(|part| matches!(part, Part::Text(_))) => json!(message.words()),
        parts => parts.iter().map(|p| part(p)).collect(),
    };
    body.insert("content".into(), content);
    if !reasoning.is_empty() {
        body.insert("reasoning_content".into(), json!(reasoning));
    }
    if !message.tool_calls.is_empty() {
        body.insert("tool_calls".into(), message.tool_calls.iter().map(called).collect());
    }
    if let Some(id) = &message.tool_call_id {
        body.insert("tool_call_id".into(), json!(id));
    }
    for (key, value) in &message.extra {
        body.entry(key.clone()).or_insert_with(|| value.clone());
    }
    Value::Object(body)
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Cached { text, cache_control } => json!({"type": "text", "text": text, "cache_control": cache_control}),
        Part::Other(value) => value.clone(),
        // It has no place among the parts: it stands beside them.
        Part::Reasoning { .. } => Value::Null,
    }
}

fn called(call: &ToolCall) -> Value {
    let mut body = json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}});
    if let Some(body) = body.as_object_mut() {
        body.extend(call.extra.clone());
    }
    body
}

fn tool(tool: &Tool) -> Value {
    let mut function = Map::new();
    function.insert("name".into(), json!(tool.name));
    if let Some(description) = &tool.description {
        function.insert("description".into(), json!(description));
    }
    if let Some(parameters) = &tool.parameters {
        function.insert("parameters".into(), parameters.clone());
    }
    for (key, value) in &tool.extra {
        function.entry(key.clone()).or_insert_with(|| value.clone());
    }
    json!({"type": "function", "function": function})
}

#[cfg(test)]
mod tests;
