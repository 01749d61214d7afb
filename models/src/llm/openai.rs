//! Chat completions of any OpenAI-compatible base URL.
//!
//! Pure translation, a prompt to a request and chunks to deltas, plus the lines that send it. Fields that no type here models go through
//! as they came, in both directions where they have a place. Nothing is retried here: that is the router's.

mod plain;

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reqwest::Response;
use serde_json::{Map, Value, json};

use super::chat_fields::decimal;
use super::effort::Effort;
use super::quirks::{CountOfTokens, Foreign, MostTokens, Quirks};
use super::streamed::{self, Reader};
use crate::remote::{self, Endpoint};
use crate::sse::Event;
use crate::{
    Continuation, Delta, ErrorKind, Finish, LanguageModel, Message, ModelError, Part, Prompt, Role, Service, Tool, ToolCall, Usage,
    WebSearch,
};

/// Longest wait for an answer in one piece.
const WHOLE: Duration = Duration::from_secs(15 * 60);
/// Longest answer in one piece, bytes: what a model writes is far shorter, pictures and sound may be as long.
const LONGEST: usize = 64 * 1_024 * 1_024;

/// A provider that speaks the dialect at `endpoint`, and ignores what it does not know.
pub fn provider(endpoint: Endpoint) -> Arc<dyn LanguageModel> {
    provider_with(endpoint, Quirks::NONE)
}

/// A provider that speaks the dialect at `endpoint`, but for these differences.
pub fn provider_with(endpoint: Endpoint, quirks: Quirks) -> Arc<dyn LanguageModel> {
    Arc::new(Provider { endpoint, quirks })
}

struct Provider {
    endpoint: Endpoint,
    quirks: Quirks,
}

impl LanguageModel for Provider {
    fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        let (endpoint, quirks) = (self.endpoint.clone(), self.quirks);
        let target = format!("{}/{}", endpoint.name, prompt.model);
        let chunks = Chunks { searches: quirks.search.always(&prompt.model), ..Chunks::new(&target) };
        let whole = prompt.whole;
        let within = if whole { WHOLE } else { remote::HEAD };
        let sent = async move {
            let post = endpoint.ask("chat/completions", &prompt, &request(&prompt, quirks))?;
            endpoint.send_within(within, post, &target).await
        };
        if whole { answer_whole(sent, chunks) } else { streamed::answer(sent, chunks) }
    }

    fn continuation(&self, model: &str) -> Continuation {
        self.quirks.begun.of(model)
    }

    fn answers_whole(&self) -> bool {
        true
    }

    fn searches(&self, model: &str, wish: &WebSearch, _tools: &[Tool]) -> bool {
        self.quirks.search.by(model, wish)
    }
}

/// An answer that was not asked for as a stream.
fn answer_whole(
    sent: impl Future<Output = Result<Response, ModelError>> + Send + 'static,
    mut chunks: Chunks,
) -> BoxStream<'static, Result<Delta, ModelError>> {
    let opened = async move {
        let response = sent.await?;
        // Some servers only stream, and some do not say what they send.
        if !remote::is_json(&response) {
            return Ok(streamed::read(response, chunks));
        }
        let body = remote::json(response, LONGEST, WHOLE, &chunks.target).await?;
        Ok(stream::iter(chunks.whole(&body)?.into_iter().map(Ok)).boxed())
    };
    stream::once(opened).try_flatten().boxed()
}

/// Reads the chunks of one streamed completion.
#[derive(Debug)]
pub(crate) struct Chunks {
    target: String,
    calls: Vec<Call>,
    finished: bool,
    /// `[DONE]` came.
    done: bool,
    /// How it is served.
    service: Service,
    /// It searches for each answer, whether it says so or not.
    searches: bool,
}

/// A call so far. Its id and name are told once, however often the server repeats them: clients add texts to what came before.
#[derive(Debug, Default)]
struct Call {
    /// The server's number of it.
    index: u64,
    /// Empty while it is not known; so is the name.
    id: String,
    name: String,
}

impl Chunks {
    /// For an answer of `target`, `provider/model`.
    pub(crate) fn new(target: &str) -> Chunks {
        Chunks { target: target.to_owned(), calls: Vec::new(), finished: false, done: false, service: Service::Standard, searches: false }
    }

    /// The deltas of an answer that came in one piece.
    fn whole(&mut self, body: &Value) -> Result<Vec<Delta>, ModelError> {
        if body.get("error").is_some_and(|error| !error.is_null()) {
            return Err(self.in_band(body));
        }
        if body["choices"][0]["message"].is_null() {
            return Err(self.error(ErrorKind::Protocol, "sent an answer without a message"));
        }
        let mut deltas = self.deltas(body);
        if !self.finished {
            deltas.push(Delta::Finish(if self.calls.is_empty() { Finish::Stop } else { Finish::ToolCalls }));
        }
        Ok(deltas)
    }

    fn deltas(&mut self, chunk: &Value) -> Vec<Delta> {
        let (mut deltas, mut counted) = (Vec::new(), usage(&chunk["usage"]));
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
            deltas.extend(delta["content"].as_array().into_iter().flatten().filter_map(piece));
            for (place, call) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
                deltas.push(self.call(call, place));
            }
            // A server from before there were several calls.
            if let Some(function) = delta.get("function_call").filter(|function| function.is_object()) {
                let id = function["name"].is_string().then(|| format!("call_{:016x}", RandomState::new().hash_one(&self.target)));
                deltas.push(self.call(&json!({"index": 0, "id": id, "function": function}), 0));
            }
            // Moonshot counts here.
            counted = counted.or_else(|| usage(&choice["usage"]));
            let mut extra = unknown(choice, &["index", "delta", "message", "finish_reason", "usage"]);
            let known = ["role", "content", "refusal", "reasoning_content", "reasoning", "tool_calls", "function_call"];
            let message = unknown(delta, &known);
            if !message.is_empty() {
                extra.insert("message".to_owned(), Value::Object(message));
            }
            if !extra.is_empty() {
                deltas.push(Delta::Extra(extra));
            }
            // Some servers write an empty one until there is one.
            if let Some(reason) = choice["finish_reason"].as_str().filter(|reason| !reason.is_empty()) {
                self.finished = true;
                deltas.extend(sources(&chunk["search_results"]));
                let finish = match finish(reason) {
                    // Some servers call it a stop although they wait for results.
                    Finish::Stop if !self.calls.is_empty() => Finish::ToolCalls,
                    finish => finish,
                };
                deltas.push(Delta::Finish(finish));
            }
        }
        if let Some(service) = chunk["service_tier"].as_str() {
            self.service = Service::of(service);
        }
        let searches = |usage: &Usage| if self.searches { usage.searches.max(1) } else { usage.searches };
        deltas.extend(counted.map(|usage| Delta::Usage(Usage { service: self.service, searches: searches(&usage), ..usage })));
        deltas
    }

    /// A piece of a call. Some servers give every call the index 0, or none: another id with a name is another call.
    fn call(&mut self, piece: &Value, place: usize) -> Delta {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let function = &piece["function"];
        let index = piece["index"].as_u64().unwrap_or(place as u64);
        let (id, name) = (text(&piece["id"]), text(&function["name"]));
        let known = self.calls.iter().rposition(|call| call.index == index);
        let known = known.filter(|at| {
            let before = &self.calls[*at].id;
            id.is_empty() || name.is_empty() || before.is_empty() || *before == id
        });
        let at = known.unwrap_or_else(|| {
            self.calls.push(Call { index, ..Call::default() });
            self.calls.len() - 1
        });
        let call = &mut self.calls[at];
        let news = |text: &str, known: &mut String| {
            let is_new = !text.is_empty() && known.is_empty();
            is_new.then(|| text.clone_into(known)).map(|()| text.to_owned())
        };
        let (id, name) = (news(&id, &mut call.id), news(&name, &mut call.name));
        // Some servers send arguments as an object although the dialect says text.
        let arguments = match &function["arguments"] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        Delta::ToolCall { index: at, id, name, arguments, extra: unknown(piece, &["index", "id", "type", "function"]) }
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
}

impl Reader for Chunks {
    fn event(&mut self, event: &Event) -> Result<Vec<Delta>, ModelError> {
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
        let chunk = self.json(data)?;
        if event.event == "error" || chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Err(self.in_band(&chunk));
        }
        Ok(self.deltas(&chunk))
    }

    fn over(&self) -> bool {
        self.done
    }

    fn complete(&self) -> bool {
        self.finished || self.done
    }

    fn target(&self) -> &str {
        &self.target
    }
}

fn index(value: &Value) -> u64 {
    value["index"].as_u64().unwrap_or(0)
}

/// Content in pieces, as Mistral's reasoning models send it.
fn piece(piece: &Value) -> Option<Delta> {
    let text = |piece: &Value| piece["text"].as_str().unwrap_or_default().to_owned();
    let delta = match piece["type"].as_str() {
        Some("text") => Delta::Text(text(piece)),
        Some("thinking") => Delta::Reasoning(piece["thinking"].as_array().into_iter().flatten().map(text).collect()),
        _ => return None,
    };
    (!matches!(&delta, Delta::Text(text) | Delta::Reasoning(text) if text.is_empty())).then_some(delta)
}

/// What a searching model read (Perplexity's `search_results`), as OpenAI's annotations; where in the answer is not said.
fn sources(results: &Value) -> Option<Delta> {
    let source = |result: &Value| json!({"type": "url_citation", "url_citation": {"url": result["url"], "title": result["title"], "start_index": 0, "end_index": 0}});
    let annotations: Vec<Value> = results.as_array()?.iter().filter(|result| result["url"].is_string()).map(source).collect();
    let mut extra = Map::new();
    extra.insert("message".into(), json!({"annotations": annotations}));
    (!annotations.is_empty()).then_some(Delta::Extra(extra))
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
    let input = usage["prompt_tokens"].as_u64()?;
    let count = |details: &str, key: &str| usage[details][key].as_u64();
    let reasoning = count("completion_tokens_details", "reasoning_tokens").unwrap_or(0);
    let mut output = usage["completion_tokens"].as_u64().unwrap_or(0);
    // xAI counts reasoning beside the answer: only the total shows it.
    if reasoning > 0 && usage["total_tokens"].as_u64() == Some(input.saturating_add(output).saturating_add(reasoning)) {
        output = output.saturating_add(reasoning);
    }
    // DeepSeek has a name of its own.
    let cached = count("prompt_tokens_details", "cached_tokens").or_else(|| usage["prompt_cache_hit_tokens"].as_u64());
    Some(Usage {
        input_tokens: input,
        cached_tokens: cached.unwrap_or(0),
        output_tokens: output,
        reasoning_tokens: reasoning,
        cache_write_tokens: count("prompt_tokens_details", "cache_write_tokens").unwrap_or(0),
        audio_input_tokens: count("prompt_tokens_details", "audio_tokens").unwrap_or(0),
        audio_output_tokens: count("completion_tokens_details", "audio_tokens").unwrap_or(0),
        // Perplexity's research models; xAI is paid by the source.
        searches: ["num_search_queries", "num_sources_used"].iter().find_map(|key| usage[*key].as_u64()).unwrap_or(0),
        ..Usage::default()
    })
}

/// Fields of a request that only Anthropic's dialect has.
const FOREIGN: [&str; 10] = [
    "betas",
    "cache_control",
    "container",
    "context_management",
    "extra_body",
    "mcp_servers",
    "output_config",
    "output_format",
    "thinking",
    "top_k",
];
/// Fields of a message or a call that only other dialects have.
const FOREIGN_IN_MESSAGES: [&str; 5] = ["anthropic_content", "cache_control", "extra_content", "reasoning_details", "web_searches"];

/// The body of the request, with a count of tokens.
pub fn request(prompt: &Prompt, quirks: Quirks) -> Value {
    // What the caller sent and no type models comes first; what is modelled has the last word.
    let mut body = prompt.extra.clone();
    body.insert("model".into(), json!(prompt.model));
    body.insert("messages".into(), prompt.messages.iter().map(|m| message(m, quirks)).collect());
    if !prompt.tools.is_empty() {
        body.insert("tools".into(), prompt.tools.iter().map(|t| tool(t, quirks)).collect());
    }
    if let Some(choice) = &prompt.tool_choice {
        body.insert("tool_choice".into(), choice.clone());
    }
    let sampling = &prompt.sampling;
    if let Some(most) = sampling.max_tokens {
        // OpenAI's reasoning models refuse the old name, most other servers know only the old one: the caller's name is kept.
        let new = match quirks.most_tokens {
            MostTokens::AsAsked => prompt.extra.contains_key("max_completion_tokens"),
            MostTokens::Old => false,
            MostTokens::New => true,
        };
        body.shift_remove("max_completion_tokens");
        body.insert(if new { "max_completion_tokens" } else { "max_tokens" }.into(), json!(most));
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
        body.insert(quirks.seed.into(), json!(seed));
    }
    body.insert("stream".into(), json!(!prompt.whole));
    match (if prompt.whole { CountOfTokens::Given } else { quirks.usage }, body.get_mut("stream_options").and_then(Value::as_object_mut)) {
        (CountOfTokens::Given, _) => drop(body.shift_remove("stream_options")),
        (CountOfTokens::Asked, Some(options)) => drop(options.insert("include_usage".into(), json!(true))),
        (CountOfTokens::Asked, None) => drop(body.insert("stream_options".into(), json!({"include_usage": true}))),
    }
    if let Some(wish) = &prompt.web_search {
        quirks.search.write(wish, &mut body);
    }
    if quirks.foreign == Foreign::Dropped {
        let budget = prompt.extra.get("thinking").and_then(|thinking| thinking["budget_tokens"].as_u64());
        if let (Some(tokens), false) = (budget, prompt.extra.contains_key("reasoning_effort")) {
            body.insert("reasoning_effort".into(), json!(Effort::of_budget(tokens).name()));
        }
        body.retain(|key, _| !FOREIGN.contains(&key.as_str()));
    }
    if !quirks.refused.is_empty() {
        body.retain(|key, _| !quirks.refused.contains(&key.as_str()));
    }
    Value::Object(body)
}

fn message(message: &Message, quirks: Quirks) -> Value {
    let mut body = Map::new();
    body.insert("role".into(), json!(message.role.name()));
    let (mut parts, mut reasoning) = (Vec::new(), String::new());
    for part in &message.parts {
        match part {
            Part::Reasoning { text, .. } => reasoning.push_str(text),
            part => parts.push(part),
        }
    }
    let plain = |part: &&Part| match part {
        Part::Text(_) => true,
        Part::Cached { .. } => quirks.foreign == Foreign::Dropped,
        Part::Reasoning { .. } | Part::Other(_) => false,
    };
    let failed = message.role == Role::Tool && message.extra.get("is_error") == Some(&Value::Bool(true));
    let content = match parts.as_slice() {
        // An assistant that only calls tools says nothing.
        [] if message.role == Role::Assistant => Value::Null,
        // A failed tool has no mark of its own in this dialect: its words say it.
        parts if parts.iter().all(plain) && failed => json!(format!("Error: {}", message.words())),
        parts if parts.iter().all(plain) => json!(message.words()),
        parts => {
            let mark = failed.then(|| json!({"type": "text", "text": "Error:"}));
            mark.into_iter().chain(parts.iter().map(|p| part(p, quirks))).collect()
        }
    };
    body.insert("content".into(), content);
    if let Some(field) = quirks.reasoning.filter(|_| !reasoning.is_empty()) {
        body.insert(field.into(), json!(reasoning));
    }
    if !message.tool_calls.is_empty() {
        body.insert("tool_calls".into(), message.tool_calls.iter().map(|call| called(call, quirks)).collect());
    }
    if let Some(id) = &message.tool_call_id {
        body.insert("tool_call_id".into(), json!(id));
    }
    for (key, value) in &message.extra {
        let refused = key == "is_error" || foreign(key, quirks) || quirks.refused_in_messages.contains(&key.as_str());
        if !refused {
            body.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    Value::Object(body)
}

/// Whether a message's or a call's field is left out as another dialect's.
fn foreign(key: &str, quirks: Quirks) -> bool {
    quirks.foreign == Foreign::Dropped && FOREIGN_IN_MESSAGES.contains(&key)
}

fn part(part: &Part, quirks: Quirks) -> Value {
    match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Cached { text, .. } if quirks.foreign == Foreign::Dropped => json!({"type": "text", "text": text}),
        Part::Cached { text, cache_control } => json!({"type": "text", "text": text, "cache_control": cache_control}),
        Part::Other(value) => {
            let mut value = value.clone();
            if let Some(object) = value.as_object_mut().filter(|_| quirks.foreign == Foreign::Dropped) {
                object.shift_remove("cache_control");
            }
            value
        }
        // It has no place among the parts: it stands beside them.
        Part::Reasoning { .. } => Value::Null,
    }
}

fn called(call: &ToolCall, quirks: Quirks) -> Value {
    let mut body = json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}});
    if let Some(body) = body.as_object_mut() {
        body.extend(call.extra.iter().filter(|(key, _)| !foreign(key, quirks)).map(|(key, value)| (key.clone(), value.clone())));
    }
    body
}

fn tool(tool: &Tool, quirks: Quirks) -> Value {
    if tool.name.is_empty() {
        return Value::Object(tool.extra.clone());
    }
    let mut function = Map::new();
    function.insert("name".into(), json!(tool.name));
    if let Some(description) = &tool.description {
        function.insert("description".into(), json!(description));
    }
    if let Some(parameters) = &tool.parameters {
        function.insert("parameters".into(), parameters.clone());
    }
    for (key, value) in tool.extra.iter().filter(|(key, _)| !foreign(key, quirks)) {
        function.entry(key.clone()).or_insert_with(|| value.clone());
    }
    json!({"type": "function", "function": function})
}

#[cfg(test)]
mod tests;
