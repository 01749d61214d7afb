//! A prompt as a request of the Messages API.

use serde_json::{Map, Value, json};

use super::schema::closed;
use super::version::{Chance, Thinks, Version, chance, holds_to_schema, most_tokens, thinks};
use crate::llm::chat_fields::{self, Choice, Format, arguments, data_url, decimal};
use crate::llm::effort::Effort;
use crate::search::OWN_ID;
use crate::{Message, Part, Prompt, Role, Tool, WebSearch};

/// The tool whose arguments are the answer, for models that cannot hold to a schema otherwise.
pub(super) const ANSWER_TOOL: &str = "json";
/// The tool that Anthropic runs itself.
pub(super) const WEB_SEARCH: &str = "web_search";
/// Least budget of thinking that is taken, tokens.
const LEAST_BUDGET: u32 = 1_024;
/// What is left for the answer beside a budget of thinking where the caller bounds neither, tokens.
const ANSWER_TOKENS: u32 = 4_096;
/// Stands for a caller who has said nothing yet: a dialogue has to begin with the user.
const SILENCE: &str = "(The conversation begins.)";

/// The body of the request, always streamed.
pub fn request(prompt: &Prompt) -> Value {
    let mut body = chat_fields::rest(prompt);
    body.remove("betas");
    body.insert("model".into(), json!(prompt.model));
    let (system, messages) = dialogue(prompt);
    if !system.is_empty() {
        body.insert("system".into(), joined(system));
    }
    body.insert("messages".into(), messages);
    let forced = tools(prompt, &mut body);
    if let Some(Format::Schema(schema)) = Some(Format::of(prompt)).filter(|_| holds_to_schema(&prompt.model)) {
        output_config(&mut body, "format", json!({"type": "json_schema", "schema": closed(schema)}));
    }
    length_and_thinking(prompt, forced, &mut body);
    sampling(prompt, &mut body);
    let user = prompt.extra.get("user").or_else(|| prompt.extra.get("metadata")?.get("user_id"));
    if let Some(user) = user.filter(|user| user.is_string()) {
        body.insert("metadata".into(), json!({"user_id": user}));
    }
    // Other values are OpenAI's.
    if !matches!(prompt.extra.get("service_tier").and_then(Value::as_str), None | Some("auto" | "standard_only")) {
        body.remove("service_tier");
    }
    body.insert("stream".into(), json!(true));
    Value::Object(body)
}

/// Beta features that the caller asks for (`betas`, as the SDKs call them), which go into a header.
pub(super) fn betas(prompt: &Prompt) -> Vec<String> {
    let betas = prompt.extra.get("betas").and_then(Value::as_array).into_iter().flatten();
    // What cannot stand in a header is no name of a feature.
    let named = |beta: &&str| !beta.is_empty() && beta.bytes().all(|byte| byte.is_ascii_graphic());
    betas.filter_map(Value::as_str).filter(named).map(str::to_owned).collect()
}

/// The name of the tool whose arguments are the answer; `None` where the answer is plain.
pub(super) fn answer_tool(prompt: &Prompt) -> Option<&'static str> {
    let wanted = matches!(Format::of(prompt), Format::Schema(_)) && !holds_to_schema(&prompt.model);
    (wanted && !prompt.tools.iter().any(|tool| tool.name == ANSWER_TOOL)).then_some(ANSWER_TOOL)
}

fn output_config(body: &mut Map<String, Value>, key: &str, value: Value) {
    if let Some(config) = body.entry("output_config").or_insert_with(|| json!({})).as_object_mut() {
        config.entry(key).or_insert(value);
    }
}

/// One turn of the dialogue as Anthropic sees it: tool results belong to the user.
#[derive(Default)]
struct Turn {
    assistant: bool,
    /// Come first: they answer the calls of the turn before.
    results: Vec<Value>,
    rest: Vec<Value>,
}

/// Standing instructions from anywhere, and the turns, neighbours of one side merged.
fn dialogue(prompt: &Prompt) -> (Vec<Value>, Value) {
    let mut system = Vec::new();
    let mut turns: Vec<Turn> = Vec::new();
    for message in &prompt.messages {
        let mut blocks: Vec<Value> = message.parts.iter().filter_map(block).collect();
        if message.role == Role::System {
            mark(&mut blocks, message);
            system.append(&mut blocks);
            continue;
        }
        let assistant = message.role == Role::Assistant;
        if turns.last().is_none_or(|turn| turn.assistant != assistant) {
            turns.push(Turn { assistant, ..Turn::default() });
        }
        let Some(turn) = turns.last_mut() else { continue };
        if message.role == Role::Tool {
            let mut result = vec![result(message, blocks)];
            mark(&mut result, message);
            turn.results.append(&mut result);
            continue;
        }
        if assistant {
            // Blocks of tools that ran at the provider came before its words.
            let mut own = message.extra.get("anthropic_content").and_then(Value::as_array).cloned().unwrap_or_default();
            // But for searches that ran here: their results bear no seal of Anthropic's, and without one they are refused.
            let is_ours = |value: &Value| value.as_str().is_some_and(|id| id.starts_with(OWN_ID));
            own.retain(|block| !is_ours(&block["id"]) && !is_ours(&block["tool_use_id"]));
            let thoughts = blocks.iter().take_while(|block| is_thought(block)).count();
            blocks.splice(thoughts..thoughts, own);
            blocks.extend(
                message.tool_calls.iter().map(
                    |call| json!({"type": "tool_use", "id": tool_id(&call.id), "name": call.name, "input": arguments(&call.arguments)}),
                ),
            );
        }
        mark(&mut blocks, message);
        turn.rest.append(&mut blocks);
    }
    if format_is_told(prompt) {
        system.push(json!({"type": "text", "text": "Answer with one JSON object and nothing else, without a code fence."}));
    }
    (system, finished(turns))
}

/// Whether nothing but words can make the answer JSON.
fn format_is_told(prompt: &Prompt) -> bool {
    match Format::of(prompt) {
        Format::Text => false,
        Format::Json => true,
        Format::Schema(_) => !holds_to_schema(&prompt.model) && answer_tool(prompt).is_none(),
    }
}

fn finished(mut turns: Vec<Turn>) -> Value {
    if let Some(Turn { assistant: true, rest, .. }) = turns.last_mut() {
        // A begun answer that ends in white space is refused.
        while let Some(text) = rest.last().filter(|block| block["type"] == "text").and_then(|block| block["text"].as_str()) {
            let trimmed = text.trim_end().to_owned();
            if trimmed.is_empty() {
                rest.pop();
            } else {
                if let Some(block) = rest.last_mut() {
                    block["text"] = json!(trimmed);
                }
                break;
            }
        }
    }
    turns.retain(|turn| !turn.results.is_empty() || !turn.rest.is_empty());
    if turns.first().is_none_or(|turn| turn.assistant) {
        turns.insert(0, Turn { rest: vec![json!({"type": "text", "text": SILENCE})], ..Turn::default() });
    }
    let turn = |turn: Turn| {
        let content: Vec<Value> = turn.results.into_iter().chain(turn.rest).collect();
        json!({"role": if turn.assistant { "assistant" } else { "user" }, "content": content})
    };
    turns.into_iter().map(turn).collect()
}

/// Instructions without cache marks are one text; with them, the blocks stay apart.
fn joined(system: Vec<Value>) -> Value {
    if system.iter().any(|block| block.get("cache_control").is_some() || block["type"] != "text") {
        return Value::Array(system);
    }
    let texts: Vec<&str> = system.iter().filter_map(|block| block["text"].as_str()).collect();
    json!(texts.join("\n\n"))
}

/// Puts a whole message's cache mark on its last block.
fn mark(blocks: &mut [Value], message: &Message) {
    if let (Some(control), Some(last)) = (message.extra.get("cache_control"), blocks.last_mut().and_then(Value::as_object_mut)) {
        last.entry("cache_control").or_insert_with(|| control.clone());
    }
}

fn is_thought(block: &Value) -> bool {
    matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking"))
}

fn result(message: &Message, content: Vec<Value>) -> Value {
    let id = tool_id(message.tool_call_id.as_deref().unwrap_or_default());
    let mut result = json!({"type": "tool_result", "tool_use_id": id});
    match content.as_slice() {
        [] => {}
        [only] if only["type"] == "text" && only.get("cache_control").is_none() => result["content"] = only["text"].clone(),
        _ => result["content"] = Value::Array(content),
    }
    if message.extra.get("is_error") == Some(&Value::Bool(true)) {
        result["is_error"] = json!(true);
    }
    result
}

/// Other providers' ids have signs that are refused here; call and result are changed alike.
fn tool_id(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect()
}

/// A part as a block; `None` where nothing is left of it: blank text is refused, and so are thoughts that nobody signed.
fn block(part: &Part) -> Option<Value> {
    match part {
        Part::Text(text) | Part::Cached { text, .. } if text.trim().is_empty() => None,
        Part::Text(text) => Some(json!({"type": "text", "text": text})),
        Part::Cached { text, cache_control } => Some(json!({"type": "text", "text": text, "cache_control": cache_control})),
        Part::Reasoning { redacted: Some(data), .. } => Some(json!({"type": "redacted_thinking", "data": data})),
        Part::Reasoning { text, signature: Some(signature), .. } => {
            Some(json!({"type": "thinking", "thinking": text, "signature": signature}))
        }
        Part::Reasoning { signature: None, .. } => None,
        Part::Other(part) => {
            let mut block = other(part);
            if let (Some(control), Some(block)) = (part.get("cache_control"), block.as_object_mut()) {
                block.entry("cache_control").or_insert_with(|| control.clone());
            }
            Some(block)
        }
    }
}

/// A part in OpenAI's shape. What has no twin goes upstream as it is, whose refusal names it better than we could.
fn other(part: &Value) -> Value {
    match part["type"].as_str() {
        Some("image_url") => {
            let url = part["image_url"]["url"].as_str().or_else(|| part["image_url"].as_str());
            url.map_or_else(|| part.clone(), |url| json!({"type": "image", "source": source(url)}))
        }
        Some("file") => document(&part["file"]).unwrap_or_else(|| part.clone()),
        Some("refusal") => json!({"type": "text", "text": part["refusal"]}),
        _ => part.clone(),
    }
}

fn source(url: &str) -> Value {
    match data_url(url) {
        Some((media, data)) => json!({"type": "base64", "media_type": media, "data": data}),
        None => json!({"type": "url", "url": url}),
    }
}

fn document(file: &Value) -> Option<Value> {
    let mut document = match (file["file_data"].as_str(), file["file_id"].as_str()) {
        (Some(data), _) => match data_url(data) {
            Some((media, _)) if media.starts_with("image/") => return Some(json!({"type": "image", "source": source(data)})),
            Some((media, text)) if media.starts_with("text/") => {
                use base64::Engine;
                let text = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
                let text = String::from_utf8_lossy(&text).into_owned();
                json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}})
            }
            // OpenAI takes the base64 text of a PDF without the URL around it too.
            None if !data.contains(':') => {
                json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}})
            }
            _ => json!({"type": "document", "source": source(data)}),
        },
        (None, Some(id)) => json!({"type": "document", "source": {"type": "file", "file_id": id}}),
        (None, None) => return None,
    };
    if let Some(title) = file["filename"].as_str() {
        document["title"] = json!(title);
    }
    Some(document)
}

/// Writes `tools` and `tool_choice`; tells whether a call is forced.
fn tools(prompt: &Prompt, body: &mut Map<String, Value>) -> bool {
    let allowed = Choice::allowed(prompt);
    let kept = |tool: &&Tool| allowed.as_ref().is_none_or(|names| names.contains(&tool.name.as_str()));
    let mut tools: Vec<Value> = prompt.tools.iter().filter(kept).map(|t| tool(t, &prompt.model)).collect();
    tools.extend(prompt.web_search.as_ref().map(|wish| search(wish, &prompt.model)));
    let mut choice = Choice::of(prompt).map(|choice| match choice {
        Choice::Auto => json!({"type": "auto"}),
        Choice::None => json!({"type": "none"}),
        Choice::Required => json!({"type": "any"}),
        Choice::Tool(name) => json!({"type": "tool", "name": name}),
    });
    if let (Some(name), Format::Schema(schema)) = (answer_tool(prompt), Format::of(prompt)) {
        // With other tools at hand the model calls these, or gives the answer.
        choice = Some(if tools.is_empty() { json!({"type": "tool", "name": name}) } else { json!({"type": "any"}) });
        tools.push(json!({"name": name, "description": "Gives the answer, in this form.", "input_schema": schema}));
    } else if tools.is_empty() {
        // Calls in the dialogue are refused without their tools; nothing is to be called again.
        tools = called_before(prompt);
        choice = Some(json!({"type": "none"}));
    }
    if tools.is_empty() {
        return false;
    }
    if prompt.extra.get("parallel_tool_calls") == Some(&Value::Bool(false)) {
        let choice = choice.get_or_insert_with(|| json!({"type": "auto"}));
        if choice["type"] != "none" {
            choice["disable_parallel_tool_use"] = json!(true);
        }
    } else if let Some(choice) = &mut choice
        && let Some(one) = prompt.tool_choice.as_ref().and_then(|asked| asked.get("disable_parallel_tool_use"))
    {
        choice["disable_parallel_tool_use"] = one.clone();
    }
    body.insert("tools".into(), Value::Array(tools));
    let forced = choice.as_ref().is_some_and(|choice| choice["type"] == "any" || choice["type"] == "tool");
    if let Some(choice) = choice {
        body.insert("tool_choice".into(), choice);
    }
    forced
}

/// The tool by which a model searches the web: the caller's own where it came in this dialect.
fn search(wish: &WebSearch, model: &str) -> Value {
    if let Some(own) = &wish.tool {
        return tool(own, model);
    }
    let mut body = json!({"type": "web_search_20250305", "name": WEB_SEARCH});
    if let Some(uses) = wish.uses {
        body["max_uses"] = json!(uses);
    }
    // One of the two lists is taken, never both.
    if !wish.allowed.is_empty() {
        body["allowed_domains"] = json!(wish.allowed);
    } else if !wish.blocked.is_empty() {
        body["blocked_domains"] = json!(wish.blocked);
    }
    if !wish.place.is_empty() {
        let mut place = wish.place.clone();
        place.insert("type".into(), json!("approximate"));
        body["user_location"] = Value::Object(place);
    }
    body
}

fn tool(tool: &Tool, model: &str) -> Value {
    let mut body = Map::new();
    if !tool.name.is_empty() {
        body.insert("name".into(), json!(tool.name));
    }
    let provided = tool.extra.get("type").and_then(Value::as_str).is_some_and(|kind| kind != "function" && kind != "custom");
    if let Some(description) = &tool.description {
        body.insert("description".into(), json!(description));
    }
    // A tool that runs at the provider has a type of its own and no schema.
    if !provided {
        let mut schema = tool.parameters.clone().filter(Value::is_object).unwrap_or_else(|| json!({"type": "object", "properties": {}}));
        if schema.get("type").is_none() {
            schema["type"] = json!("object");
        }
        body.insert("input_schema".into(), schema);
    }
    for (key, value) in &tool.extra {
        let known = match key.as_str() {
            "strict" => value == &Value::Bool(true) && holds_to_schema(model),
            "type" => provided,
            _ => true,
        };
        if known {
            body.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    Value::Object(body)
}

/// The tools that the dialogue has calls of, with nothing known but their names.
fn called_before(prompt: &Prompt) -> Vec<Value> {
    let mut names: Vec<&str> = prompt.messages.iter().flat_map(|message| &message.tool_calls).map(|call| call.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| json!({"name": name, "input_schema": {"type": "object"}})).collect()
}

fn length_and_thinking(prompt: &Prompt, forced: bool, body: &mut Map<String, Value>) {
    let asked = prompt.sampling.max_tokens;
    let model = prompt.model.as_str();
    let mut most = asked.unwrap_or_else(|| most_tokens(model));
    if let Some(thinking) = body.get("thinking") {
        // The caller speaks the dialect: only a length that was left open is ours.
        let budget = thinking["budget_tokens"].as_u64().and_then(|budget| u32::try_from(budget).ok()).unwrap_or(0);
        if asked.is_none() {
            most = most.max(budget.saturating_add(ANSWER_TOKENS));
        }
    } else if let Some(effort) = effort(prompt) {
        match thinks(model) {
            Thinks::Adaptive => {
                // A forced call leaves no room for thought, but the effort still counts.
                if !forced && effort != Effort::None {
                    body.insert("thinking".into(), json!({"type": "adaptive"}));
                }
                output_config(body, "effort", json!(adaptive(effort, model)));
            }
            Thinks::Budget if !forced && effort != Effort::None && thoughts_are_kept(prompt) => {
                let wanted = budget(prompt).unwrap_or_else(|| effort.budget());
                // The caller's bound is of thought and answer together: the thought gets four fifths of it at most.
                let budget = if asked.is_some() { wanted.min(most / 5 * 4) } else { wanted };
                if budget >= LEAST_BUDGET {
                    most = if asked.is_some() { most } else { most.max(budget.saturating_add(ANSWER_TOKENS)) };
                    body.insert("thinking".into(), json!({"type": "enabled", "budget_tokens": budget}));
                }
            }
            Thinks::Budget | Thinks::Never => {}
        }
    }
    body.insert("max_tokens".into(), json!(most));
}

fn effort(prompt: &Prompt) -> Option<Effort> {
    Effort::of(prompt).or_else(|| budget(prompt).map(|tokens| Effort::of_budget(u64::from(tokens))))
}

/// `reasoning.max_tokens`, as gateways have it.
fn budget(prompt: &Prompt) -> Option<u32> {
    prompt.extra.get("reasoning")?.get("max_tokens")?.as_u64().and_then(|tokens| u32::try_from(tokens).ok())
}

fn adaptive(effort: Effort, model: &str) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::Most if Version::of(model).is_some_and(|version| version >= Version(4, 7)) => "xhigh",
        Effort::High | Effort::Most => "high",
    }
}

/// Whether the calls that now get their results kept the thoughts before them: without these, thinking with a budget is refused.
fn thoughts_are_kept(prompt: &Prompt) -> bool {
    let calling = prompt.messages.iter().rev().find(|message| message.role != Role::Tool && message.role != Role::System);
    let signed = |part: &Part| matches!(part, Part::Reasoning { signature: Some(_), .. } | Part::Reasoning { redacted: Some(_), .. });
    calling.is_none_or(|message| message.tool_calls.is_empty() || message.parts.iter().any(signed))
}

fn sampling(prompt: &Prompt, body: &mut Map<String, Value>) {
    let chance = chance(&prompt.model);
    let thinking = body.get("thinking").is_some_and(|thinking| thinking["type"] != "disabled");
    if thinking || chance == Chance::None {
        // Thought takes no knob, and the newest models none at all.
        body.remove("top_k");
    } else {
        if let Some(temperature) = prompt.sampling.temperature {
            // The scale ends at 1 here and at 2 in OpenAI's dialect.
            body.insert("temperature".into(), decimal(temperature.clamp(0.0, 1.0)));
        }
        if let Some(top_p) = prompt.sampling.top_p.filter(|_| chance == Chance::All || prompt.sampling.temperature.is_none()) {
            body.insert("top_p".into(), decimal(top_p));
        }
    }
    // Blank texts are refused.
    let stop: Vec<&String> = prompt.sampling.stop.iter().filter(|text| !text.trim().is_empty()).collect();
    if !stop.is_empty() {
        body.insert("stop_sequences".into(), json!(stop));
    }
}
