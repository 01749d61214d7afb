//! A response as it is asked for (`CreateResponse` of OpenAI's API, what Codex speaks), turned into a [`Prompt`].
//!
//! Items become messages in the chat shape; custom tools and tools in namespaces become functions, and [`Tools`] remembers what they were
//! so that calls of them go back as such. What no chat model has (hosted tools, items that only record what one did) is left out and
//! named in `ignored`, which the answer tells; what would change the meaning of the request is refused.

mod items;

use std::collections::HashMap;

use models::{Message, Prompt, Role, Sampling, SignalSet, Tool};
use serde_json::{Map, Value, json};

use super::chat::{InputAudio, MOST_TOKENS, decimal_in, read_model, read_signals};
use super::{ApiError, Field, Fields};

/// Marks reasoning whose signature or encrypted form is carried in `encrypted_content`: ours, not of a provider's Responses API.
const SIGNATURE: &str = "timbre-signature:";
const REDACTED: &str = "timbre-redacted:";

/// A request, taken apart.
#[derive(Debug)]
pub(crate) struct ResponsesRequest {
    /// The prompt, without what an earlier response said: that goes in at `history_at`.
    pub(crate) prompt: Prompt,
    /// Where the messages of `previous` belong: after the instructions.
    pub(crate) history_at: usize,
    /// The response that this one goes on from.
    pub(crate) previous: Option<String>,
    /// Whether a later request may go on from this one.
    pub(crate) store: bool,
    /// Whether the answer is streamed.
    pub(crate) stream: bool,
    /// The caller's own facts for the rules.
    pub(crate) metadata: Map<String, Value>,
    /// Who asks.
    pub(crate) user: Option<String>,
    /// Sound to be transcribed, oldest first.
    pub(crate) heard: Vec<InputAudio>,
    /// Signals that the client wants to see.
    pub(crate) signals: SignalSet,
    /// What the tools were before they were functions.
    pub(crate) tools: Tools,
    /// Whether reasoning goes out with what lets it come back.
    pub(crate) encrypted: bool,
    /// Fields of the request that the response repeats.
    pub(crate) echo: Map<String, Value>,
    /// What was left out, for a person.
    pub(crate) ignored: Vec<String>,
}

/// What tools were before they became functions, by the functions' names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tools(HashMap<String, Form>);

/// What a function stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Form {
    /// Itself.
    Function,
    /// A tool that takes free text.
    Custom,
    /// A function in a namespace.
    Namespaced {
        /// The namespace.
        namespace: String,
        /// The name within it.
        name: String,
    },
}

impl Tools {
    /// What the function called `name` stands for.
    pub(crate) fn form(&self, name: &str) -> &Form {
        self.0.get(name).unwrap_or(&Form::Function)
    }
}

/// What the response repeats, with what it says where the request is silent.
fn echo(body: &Value) -> Map<String, Value> {
    let defaults = [
        ("instructions", Value::Null),
        ("max_output_tokens", Value::Null),
        ("max_tool_calls", Value::Null),
        ("parallel_tool_calls", json!(true)),
        ("previous_response_id", Value::Null),
        ("prompt_cache_key", Value::Null),
        ("reasoning", json!({ "effort": null, "summary": null })),
        ("safety_identifier", Value::Null),
        ("service_tier", json!("auto")),
        ("store", json!(true)),
        ("temperature", json!(1)),
        ("text", json!({ "format": { "type": "text" } })),
        ("tool_choice", json!("auto")),
        ("tools", json!([])),
        ("top_logprobs", json!(0)),
        ("top_p", json!(1)),
        ("truncation", json!("disabled")),
        ("user", Value::Null),
        ("metadata", json!({})),
    ];
    let given = |name: &str| body.get(name).filter(|value| !value.is_null()).cloned();
    let mut echo: Map<String, Value> =
        defaults.into_iter().map(|(name, default)| (name.to_owned(), given(name).unwrap_or(default))).collect();
    if let Some(text) = echo.get_mut("text").and_then(Value::as_object_mut) {
        text.entry("format").or_insert_with(|| json!({ "type": "text" }));
    }
    echo
}

/// Takes a request apart.
pub(crate) fn read(body: Value) -> Result<ResponsesRequest, ApiError> {
    let echo = echo(&body);
    let mut fields = Field::root(body).object()?;
    let model = read_model(&mut fields)?;
    for (name, instead) in [
        ("conversation", "send `previous_response_id`, or the items themselves"),
        ("prompt", "send the prompt's own words as `instructions`"),
    ] {
        if let Some(field) = fields.take(name) {
            return Err(ApiError::invalid(field.path(), format!("`{name}` is not supported here; {instead}.")));
        }
    }
    if let Some(field) = fields.take("background")
        && field.clone().boolean()?
    {
        return Err(field.wrong("false: answers are streamed or waited for here"));
    }
    let stream = fields.take("stream").map(Field::boolean).transpose()?.unwrap_or(false);
    let store = fields.take("store").map(Field::boolean).transpose()?.unwrap_or(true);
    let metadata = fields.take("metadata").map(|field| field.object().map(Fields::rest)).transpose()?.unwrap_or_default();
    let user = fields.take("user").map(Field::string).transpose()?;
    let signals = read_signals(&mut fields)?;
    let sampling = Sampling {
        max_tokens: fields.take("max_output_tokens").map(|field| field.whole(1, MOST_TOKENS)).transpose()?.map(|tokens| tokens as u32),
        temperature: decimal_in(fields.take("temperature"), 2.0)?,
        top_p: decimal_in(fields.take("top_p"), 1.0)?,
        ..Sampling::default()
    };
    let mut extra = Map::new();
    let mut reading = Reading::default();
    if let Some(instructions) = fields.take("instructions") {
        reading.messages.push(Message::text(Role::System, instructions.string()?));
    }
    let history_at = reading.messages.len();
    let previous = fields.take("previous_response_id").map(Field::string).transpose()?;
    if let Some(tools) = fields.take("tools") {
        for tool in tools.array()? {
            reading.tool(tool, &mut extra)?;
        }
    }
    let tool_choice = fields.take("tool_choice").map(read_tool_choice).transpose()?;
    read_text(&mut fields, &mut extra)?;
    if let Some(reasoning) = fields.take("reasoning")
        && let Some(effort) = reasoning.object()?.take("effort")
    {
        extra.insert("reasoning_effort".to_owned(), json!(effort.string()?));
    }
    let encrypted = read_include(&mut fields, &mut extra)?;
    let input = fields.require("input", "a string, or an array of items")?;
    reading.input(input)?;
    if reading.messages.len() == history_at && previous.is_none() {
        return Err(ApiError::missing("input", "a string, or an array with at least one item that a model can read"));
    }
    // These have no meaning for a chat model; the rest keeps its name there.
    for name in ["truncation", "max_tool_calls", "stream_options", "context_management", "client_metadata"] {
        fields.take(name);
    }
    if let Some(user) = &user {
        extra.insert("user".to_owned(), json!(user));
    }
    extra.extend(fields.rest().into_iter().filter(|(_, value)| !value.is_null()));
    let Reading { messages, heard, functions, forms, ignored } = reading;
    let prompt = Prompt { model, messages, tools: functions, tool_choice, sampling, extra, whole: !stream, ..Prompt::default() };
    Ok(ResponsesRequest {
        prompt,
        history_at,
        previous,
        store,
        stream,
        metadata,
        user,
        heard,
        signals,
        tools: forms,
        encrypted,
        echo,
        ignored,
    })
}

/// `text.format` is `response_format` of the chat shape, `text.verbosity` stands beside it there.
fn read_text(fields: &mut Fields, extra: &mut Map<String, Value>) -> Result<(), ApiError> {
    let Some(text) = fields.take("text") else { return Ok(()) };
    let mut text = text.object()?;
    if let Some(verbosity) = text.take("verbosity") {
        extra.insert("verbosity".to_owned(), json!(verbosity.string()?));
    }
    let Some(format) = text.take("format") else { return Ok(()) };
    let mut schema = format.clone().object()?.rest();
    let mut format = format.object()?;
    let kinds = ["text", "json_object", "json_schema"].map(|kind| (kind, kind));
    match format.require("type", "text, json_object or json_schema")?.one_of(&kinds)? {
        "json_schema" => {
            format.require("name", "a name for the format")?.string()?;
            format.require("schema", "a JSON schema")?.object()?;
            schema.shift_remove("type");
            extra.insert("response_format".to_owned(), json!({ "type": "json_schema", "json_schema": schema }));
        }
        "json_object" => {
            extra.insert("response_format".to_owned(), json!({ "type": "json_object" }));
        }
        _ => {}
    }
    Ok(())
}

/// What else is wanted; whether encrypted reasoning is. What asks for the insides of hosted tools has nothing to say here.
fn read_include(fields: &mut Fields, extra: &mut Map<String, Value>) -> Result<bool, ApiError> {
    let mut encrypted = false;
    for item in fields.take("include").map(Field::array).transpose()?.unwrap_or_default() {
        match item.string()?.as_str() {
            "reasoning.encrypted_content" => encrypted = true,
            "message.output_text.logprobs" => {
                extra.insert("logprobs".to_owned(), json!(true));
            }
            _ => {}
        }
    }
    Ok(encrypted)
}

fn read_tool_choice(field: Field) -> Result<Value, ApiError> {
    if field.value().is_string() {
        let names = ["auto", "none", "required"].map(|name| (name, name));
        return field.one_of(&names).map(Value::from);
    }
    let function = |name: &str| json!({ "type": "function", "function": { "name": name } });
    let mut choice = field.object()?;
    match choice.require("type", "function, custom, allowed_tools, or a hosted tool")?.string()?.as_str() {
        "function" | "custom" => Ok(function(&choice.require("name", "the name of the tool")?.string()?)),
        "allowed_tools" => {
            let mode = choice.require("mode", "auto or required")?.one_of(&[("auto", "auto"), ("required", "required")])?;
            let mut tools = Vec::new();
            for tool in choice.require("tools", "an array of tools")?.array()? {
                // A hosted tool has no name, and no place among functions.
                if let Some(name) = tool.object()?.take("name") {
                    tools.push(function(&name.string()?));
                }
            }
            Ok(json!({ "type": "allowed_tools", "allowed_tools": { "mode": mode, "tools": tools } }))
        }
        _ => Ok(json!("auto")),
    }
}

/// The name that a function in a namespace has for the model, and in its calls.
fn flat(namespace: &str, name: &str) -> String {
    format!("{namespace}__{name}")
}

/// A request as it is read.
#[derive(Default)]
struct Reading {
    messages: Vec<Message>,
    heard: Vec<InputAudio>,
    functions: Vec<Tool>,
    forms: Tools,
    ignored: Vec<String>,
}

impl Reading {
    fn tool(&mut self, field: Field, extra: &mut Map<String, Value>) -> Result<(), ApiError> {
        let path = field.path().to_owned();
        let mut tool = field.object()?;
        let kind = tool.require("type", "function, custom, or a hosted tool")?.string()?;
        match kind.as_str() {
            "function" => self.function(tool, None),
            "namespace" => {
                let namespace = tool.require("name", "the name of the namespace")?.string()?;
                for inner in tool.require("tools", "an array of functions")?.array()? {
                    let mut inner = inner.object()?;
                    inner.take("type");
                    self.function(inner, Some(&namespace))?;
                }
                Ok(())
            }
            "custom" => {
                let name = tool.require("name", "the name of the tool")?.string()?;
                let mut description = tool.take("description").map(Field::string).transpose()?.unwrap_or_default();
                if let Some(grammar) = tool.take("format").and_then(|format| format.value().get("definition").cloned()) {
                    let grammar = grammar.as_str().unwrap_or_default();
                    description.push_str(&format!("\n\nThe input must follow this grammar:\n{grammar}"));
                }
                let input = json!({ "type": "string", "description": "The whole input of the tool, as it is." });
                let schema =
                    json!({ "type": "object", "properties": { "input": input }, "required": ["input"], "additionalProperties": false });
                self.forms.0.insert(name.clone(), Form::Custom);
                self.functions.push(Tool { name, description: Some(description), parameters: Some(schema), extra: Map::new() });
                Ok(())
            }
            "web_search" | "web_search_preview" | "web_search_2025_08_26" => {
                extra.insert("web_search_options".to_owned(), web_search_options(tool));
                Ok(())
            }
            _ => {
                self.ignored.push(format!("{path}: {kind} is a tool that OpenAI runs"));
                Ok(())
            }
        }
    }

    fn function(&mut self, mut tool: Fields, namespace: Option<&str>) -> Result<(), ApiError> {
        let own = tool.require("name", "the name of the function")?.string()?;
        let description = tool.take("description").map(Field::string).transpose()?;
        let parameters = tool.take("parameters").map(|parameters| parameters.object().map(Fields::rest)).transpose()?;
        let mut extra = Map::new();
        if let Some(strict) = tool.take("strict") {
            extra.insert("strict".to_owned(), json!(strict.boolean()?));
        }
        let name = match namespace {
            None => own,
            Some(namespace) => {
                let name = flat(namespace, &own);
                self.forms.0.insert(name.clone(), Form::Namespaced { namespace: namespace.to_owned(), name: own });
                name
            }
        };
        self.functions.push(Tool { name, description, parameters: parameters.map(Value::Object), extra });
        Ok(())
    }
}

/// `web_search_options` of the chat shape.
fn web_search_options(mut tool: Fields) -> Value {
    let mut options = Map::new();
    if let Some(size) = tool.take("search_context_size") {
        options.insert("search_context_size".to_owned(), size.into_value());
    }
    if let Some(place) = tool.take("user_location") {
        let mut place = place.into_value();
        if let Some(map) = place.as_object_mut() {
            map.shift_remove("type");
        }
        options.insert("user_location".to_owned(), json!({ "type": "approximate", "approximate": place }));
    }
    // Nothing of OpenAI's chat: for the search of this server.
    if let Some(filters) = tool.take("filters") {
        options.insert("filters".to_owned(), filters.into_value());
    }
    Value::Object(options)
}

/// `encrypted_content` of a signature.
pub(crate) fn seal_signature(signature: &str) -> String {
    format!("{SIGNATURE}{signature}")
}

/// `encrypted_content` of a thought that its provider shows encrypted only.
pub(crate) fn seal_redacted(data: &str) -> String {
    format!("{REDACTED}{data}")
}

#[cfg(test)]
mod tests;
