//! A message as it is asked for (`POST /v1/messages` of Anthropic's API), turned into a [`Prompt`].
//!
//! What has a twin in OpenAI's chat shape is turned into it (images, PDF documents, the tool choice, structured output); thinking, its
//! signatures and cache marks have places of their own in the prompt. What has no twin keeps its Anthropic name and shape, in `extra` or as
//! a part, for an upstream of the same dialect.

use models::{Message, Part, Prompt, Role, Sampling, SignalSet, Tool, ToolCall};
use serde_json::{Map, Value, json};

use super::chat::{InputAudio, MOST_TOKENS, decimal_in, read_model, read_signals};
use super::{ApiError, Field, Fields};

/// A request, taken apart.
#[derive(Debug)]
pub(crate) struct MessagesRequest {
    /// The prompt; each of `heard` has a place in it that waits for its words.
    pub(crate) prompt: Prompt,
    /// The caller's own facts for the rules: all of `metadata`.
    pub(crate) metadata: Map<String, Value>,
    /// `metadata.user_id`.
    pub(crate) user: Option<String>,
    /// Whether the answer is streamed.
    pub(crate) stream: bool,
    /// Sound to be transcribed, oldest first.
    pub(crate) heard: Vec<InputAudio>,
    /// Signals that the client wants to see besides those that the rules read.
    pub(crate) signals: SignalSet,
}

/// Takes a request apart.
pub(crate) fn read(body: Value) -> Result<MessagesRequest, ApiError> {
    let mut fields = Field::root(body).object()?;
    let model = read_model(&mut fields)?;
    let stream = fields.take("stream").map(Field::boolean).transpose()?.unwrap_or(false);
    let metadata = fields.take("metadata").map(|field| field.object().map(Fields::rest)).transpose()?.unwrap_or_default();
    let user = metadata.get("user_id").filter(|user| !user.is_null());
    let user = user.map(|user| Field::at("metadata.user_id", user.clone()).string()).transpose()?;
    let signals = read_signals(&mut fields)?;
    let sampling = Sampling {
        max_tokens: fields.take("max_tokens").map(|field| field.whole(1, MOST_TOKENS)).transpose()?.map(|tokens| tokens as u32),
        temperature: decimal_in(fields.take("temperature"), 2.0)?,
        top_p: decimal_in(fields.take("top_p"), 1.0)?,
        stop: read_stop(fields.take("stop_sequences"))?,
        seed: None,
    };
    let mut extra = Map::new();
    let tools = fields.take("tools").map(read_tools).transpose()?.unwrap_or_default();
    let tool_choice = fields.take("tool_choice").map(|choice| read_tool_choice(choice, &mut extra)).transpose()?.flatten();
    read_output(&mut fields, &mut extra)?;
    let mut dialogue = Dialogue::default();
    if let Some(system) = fields.take("system") {
        let Content { parts, calls, results, heard } = dialogue.read_content(system)?;
        if !(calls.is_empty() && results.is_empty() && heard.is_empty()) {
            return Err(ApiError::invalid("system", "`system` must be a string or an array of text blocks."));
        }
        if !parts.is_empty() {
            dialogue.messages.push(message(Role::System, parts));
        }
    }
    let wanted = "an array with at least one message";
    let messages = fields.require("messages", wanted)?;
    if messages.value().as_array().is_some_and(Vec::is_empty) {
        return Err(messages.wrong(wanted));
    }
    for message in messages.array()? {
        dialogue.read(message)?;
    }
    if let Some(user) = &user {
        extra.insert("user".to_owned(), json!(user));
    }
    extra.extend(fields.rest());
    let prompt = Prompt { model, messages: dialogue.messages, tools, tool_choice, sampling, extra, whole: !stream, ..Prompt::default() };
    Ok(MessagesRequest { prompt, metadata, user, stream, heard: dialogue.heard, signals })
}

fn message(role: Role, parts: Vec<Part>) -> Message {
    Message { role, parts, tool_calls: Vec::new(), tool_call_id: None, extra: Map::new() }
}

fn read_stop(field: Option<Field>) -> Result<Vec<String>, ApiError> {
    let items = field.map(Field::array).transpose()?.unwrap_or_default();
    items.into_iter().map(Field::string).collect()
}

fn read_tools(field: Field) -> Result<Vec<Tool>, ApiError> {
    field.array()?.into_iter().map(read_tool).collect()
}

/// A function of the caller's, or a tool that its provider runs; the latter keeps its `type` in `extra`.
fn read_tool(field: Field) -> Result<Tool, ApiError> {
    let mut tool = field.object()?;
    let kind = tool.take("type").map(Field::string).transpose()?.filter(|kind| kind != "custom");
    let name = tool.require("name", "the name of the tool")?.string()?;
    let description = tool.take("description").map(Field::string).transpose()?;
    let parameters = tool.take("input_schema").map(|schema| schema.object().map(Fields::rest)).transpose()?;
    let mut extra = tool.rest();
    if let Some(kind) = kind {
        extra.insert("type".to_owned(), json!(kind));
    }
    Ok(Tool { name, description, parameters: parameters.map(Value::Object), extra })
}

fn read_tool_choice(field: Field, extra: &mut Map<String, Value>) -> Result<Option<Value>, ApiError> {
    let mut choice = field.object()?;
    if let Some(off) = choice.take("disable_parallel_tool_use")
        && off.boolean()?
    {
        extra.insert("parallel_tool_calls".to_owned(), json!(false));
    }
    let kinds = [("auto", Some("auto")), ("any", Some("required")), ("none", Some("none")), ("tool", None)];
    match choice.require("type", "auto, any, none or tool")?.one_of(&kinds)? {
        Some(named) => Ok(Some(json!(named))),
        None => {
            let name = choice.require("name", "the name of the tool that must be called")?.string()?;
            Ok(Some(json!({ "type": "function", "function": { "name": name } })))
        }
    }
}

/// Structured output: `output_config.format`, and `output_format` as it was called first. `effort` is the other field of the former.
fn read_output(fields: &mut Fields, extra: &mut Map<String, Value>) -> Result<(), ApiError> {
    let mut format = fields.take("output_format");
    if let Some(config) = fields.take("output_config") {
        let mut config = config.object()?;
        if let Some(effort) = config.take("effort") {
            extra.insert("reasoning_effort".to_owned(), json!(effort.string()?));
        }
        format = config.take("format").or(format);
        let rest = config.rest();
        if !rest.is_empty() {
            extra.insert("output_config".to_owned(), Value::Object(rest));
        }
    }
    if let Some(format) = format {
        let mut format = format.object()?;
        format.require("type", "`json_schema`")?.one_of(&[("json_schema", ())])?;
        let schema = format.require("schema", "a JSON schema")?.object()?.rest();
        let schema = json!({ "name": "output", "strict": true, "schema": schema });
        extra.insert("response_format".to_owned(), json!({ "type": "json_schema", "json_schema": schema }));
    }
    Ok(())
}

const ROLES: [(&str, Role); 3] = [("user", Role::User), ("assistant", Role::Assistant), ("system", Role::System)];

#[derive(Default)]
struct Dialogue {
    messages: Vec<Message>,
    heard: Vec<InputAudio>,
}

/// What the blocks of one message hold.
#[derive(Default)]
struct Content {
    parts: Vec<Part>,
    calls: Vec<ToolCall>,
    /// Results of tools: messages of their own, before the rest.
    results: Vec<Message>,
    /// Which part waits for its words, and the sound.
    heard: Vec<InputAudio>,
}

impl Dialogue {
    fn read(&mut self, field: Field) -> Result<(), ApiError> {
        let mut fields = field.object()?;
        let role = fields.require("role", "who the message is from")?.one_of(&ROLES)?;
        let path = fields.path("content");
        let content = fields.require("content", "a string, or an array of blocks")?;
        let Content { parts, calls, results, heard } = self.read_content(content)?;
        let told = !results.is_empty() || !calls.is_empty();
        self.messages.extend(results);
        let at = self.messages.len();
        self.heard.extend(heard.into_iter().map(|heard| InputAudio { message: at, ..heard }));
        if !parts.is_empty() || !calls.is_empty() {
            self.messages.push(Message { tool_calls: calls, extra: fields.rest(), ..message(role, parts) });
        } else if !told && role != Role::Assistant {
            return Err(ApiError::missing(path, "a string, or an array with at least one block"));
        }
        Ok(())
    }

    fn read_content(&self, content: Field) -> Result<Content, ApiError> {
        let mut read = Content::default();
        match content.value() {
            Value::String(text) if text.is_empty() => {}
            Value::String(_) => read.parts.push(Part::Text(content.string()?)),
            Value::Array(_) => {
                for block in content.array()? {
                    read.block(block)?;
                }
            }
            _ => return Err(content.wrong("a string or an array of blocks")),
        }
        Ok(read)
    }
}

impl Content {
    fn block(&mut self, block: Field) -> Result<(), ApiError> {
        let kind = block.value().get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let path = block.path().to_owned();
        match kind.as_str() {
            "text" => self.parts.push(read_text(block)?),
            "thinking" => {
                let mut block = block.object()?;
                let text = block.take("thinking").map(Field::string).transpose()?.unwrap_or_default();
                let signature = block.take("signature").map(Field::string).transpose()?.filter(|signature| !signature.is_empty());
                self.parts.push(Part::Reasoning { text, signature, redacted: None });
            }
            "redacted_thinking" => {
                let data = block.object()?.require("data", "the encrypted thinking")?.string()?;
                self.parts.push(Part::Reasoning { text: String::new(), signature: None, redacted: Some(data) });
            }
            "image" => self.parts.push(read_image(block)?),
            "document" => self.parts.push(read_document(block)?),
            "audio" | "input_audio" => {
                let (path, data) = read_audio(block, &kind)?;
                self.heard.push(InputAudio { message: 0, part: self.parts.len(), path, data });
                self.parts.push(Part::Text(String::new()));
            }
            "tool_use" => {
                let mut block = block.object()?;
                let id = block.require("id", "the id of the call")?.string()?;
                let name = block.require("name", "the name of the tool")?.string()?;
                let input = block.take("input").map_or_else(|| json!({}), Field::into_value);
                let mut extra = block.rest();
                extra.shift_remove("type");
                // What could not be read as JSON went out as a text and comes back as one.
                let arguments = input.as_str().map_or_else(|| input.to_string(), str::to_owned);
                self.calls.push(ToolCall { id, name, arguments, extra });
            }
            "tool_result" => self.results.push(self.read_result(block)?),
            "" => return Err(ApiError::missing(format!("{path}.type"), "text, image, document, tool_use, tool_result, thinking, audio")),
            _ => self.parts.push(Part::Other(block.into_value())),
        }
        Ok(())
    }

    fn read_result(&self, block: Field) -> Result<Message, ApiError> {
        let mut block = block.object()?;
        let id = block.require("tool_use_id", "the id of the call that this is the result of")?.string()?;
        let mut inner = Content::default();
        if let Some(content) = block.take("content") {
            match content.value() {
                Value::Array(_) => {
                    for part in content.array()? {
                        let path = part.path().to_owned();
                        inner.block(part)?;
                        if !inner.heard.is_empty() || !inner.results.is_empty() || !inner.calls.is_empty() {
                            return Err(ApiError::invalid(&path, format!("`{path}` must be text, an image or a document.")));
                        }
                    }
                }
                _ => inner.parts.push(Part::Text(content.string()?)),
            }
        }
        if inner.parts.is_empty() {
            inner.parts.push(Part::Text(String::new()));
        }
        let is_error = block.take("is_error").map(Field::boolean).transpose()?.unwrap_or(false);
        let mut extra = Map::new();
        if is_error {
            extra.insert("is_error".to_owned(), json!(true));
        }
        if let Some(mark) = block.take("cache_control") {
            extra.insert("cache_control".to_owned(), mark.into_value());
        }
        Ok(Message { tool_call_id: Some(id), extra, ..message(Role::Tool, inner.parts) })
    }
}

fn read_text(block: Field) -> Result<Part, ApiError> {
    let mut block = block.object()?;
    let text = block.require("text", "the words of the block")?.string()?;
    Ok(match block.take("cache_control") {
        Some(mark) => Part::Cached { text, cache_control: mark.object()?.rest().into() },
        None => Part::Text(text),
    })
}

/// `image_url` of the chat shape, with the block's other fields beside it; as it came where its source has no twin.
fn read_image(block: Field) -> Result<Part, ApiError> {
    let whole = block.value().clone();
    let mut block = block.object()?;
    let Some(url) = read_source(block.require("source", "an object with a `type`")?)? else { return Ok(Part::Other(whole)) };
    let mut part = block.rest();
    part.insert("type".to_owned(), json!("image_url"));
    part.insert("image_url".to_owned(), json!({ "url": url }));
    Ok(Part::Other(Value::Object(part)))
}

/// `file` of the chat shape for a document that is carried in the request; text is text; as it came where its source has no twin.
fn read_document(block: Field) -> Result<Part, ApiError> {
    let whole = block.value().clone();
    let mut block = block.object()?;
    let source = block.require("source", "an object with a `type`")?;
    let Some(url) = read_source(source)?.filter(|url| url.starts_with("data:")) else { return Ok(Part::Other(whole)) };
    let name = block.take("title").map(Field::string).transpose()?.unwrap_or_else(|| "document.pdf".to_owned());
    let mut part = block.rest();
    part.insert("type".to_owned(), json!("file"));
    part.insert("file".to_owned(), json!({ "filename": name, "file_data": url }));
    Ok(Part::Other(Value::Object(part)))
}

/// The URL that a source is, `data:` for one carried in the request; `None` where it is neither.
fn read_source(field: Field) -> Result<Option<String>, ApiError> {
    let mut source = field.object()?;
    let kind = source.require("type", "base64, url, or another kind of source")?.string()?;
    match kind.as_str() {
        "base64" => {
            let media = source.require("media_type", "the media type, for instance image/png")?.string()?;
            let data = source.require("data", "base64 of the file")?.string()?;
            Ok(Some(format!("data:{media};base64,{data}")))
        }
        "url" => source.require("url", "the address of the file")?.string().map(Some),
        _ => Ok(None),
    }
}

/// Sound, as `{type: audio, source}` after Anthropic's images or as `{type: input_audio, input_audio}` after OpenAI's; its path and base64.
fn read_audio(block: Field, kind: &str) -> Result<(String, String), ApiError> {
    let mut block = block.object()?;
    let holder = if kind == "audio" { "source" } else { "input_audio" };
    let data = block.require(holder, "an object with `data`")?.object()?.require("data", "base64 of a WAV or MP3 file")?;
    Ok((data.path().to_owned(), data.string()?))
}

#[cfg(test)]
mod tests;
