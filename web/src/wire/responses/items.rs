//! The items of a request's input, as messages of the chat shape.

use models::{Message, Part, Role, ToolCall};
use serde_json::{Map, Value, json};

use super::{REDACTED, Reading, SIGNATURE, flat};
use crate::wire::chat::InputAudio;
use crate::wire::{ApiError, Field, Fields};

const ROLES: [(&str, Role); 4] =
    [("user", Role::User), ("assistant", Role::Assistant), ("system", Role::System), ("developer", Role::System)];

/// Items that only record what a hosted tool did; its results are in the words that followed.
const RECORDS: [&str; 11] = [
    "web_search_call",
    "file_search_call",
    "computer_call",
    "computer_call_output",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_list_tools",
    "mcp_call",
    "item_reference",
    "compaction",
    "compaction_trigger",
];

impl Reading {
    pub(super) fn input(&mut self, input: Field) -> Result<(), ApiError> {
        match input.value() {
            Value::String(_) => {
                self.messages.push(Message::text(Role::User, input.string()?));
                Ok(())
            }
            Value::Array(_) => input.array()?.into_iter().try_for_each(|item| self.item(item)),
            _ => Err(input.wrong("a string or an array of items")),
        }
    }

    fn item(&mut self, item: Field) -> Result<(), ApiError> {
        let path = item.path().to_owned();
        let mut item = item.object()?;
        let kind = item.take("type").map(Field::string).transpose()?;
        match kind.as_deref() {
            None | Some("message") => self.message(item),
            Some("reasoning") => self.reasoning(item),
            Some("function_call") => {
                let name = item.require("name", "the name of the function")?.string()?;
                let name = match item.take("namespace") {
                    Some(namespace) => flat(&namespace.string()?, &name),
                    None => name,
                };
                let arguments = item.take("arguments").map(Field::string).transpose()?.unwrap_or_default();
                self.call(item, name, arguments)
            }
            Some("custom_tool_call") => {
                let name = item.require("name", "the name of the tool")?.string()?;
                let input = item.take("input").map(Field::string).transpose()?.unwrap_or_default();
                self.call(item, name, json!({ "input": input }).to_string())
            }
            Some(kind @ ("local_shell_call" | "shell_call")) => {
                let action = item.take("action").map_or_else(|| json!({}), Field::into_value);
                self.call(item, kind.trim_end_matches("_call").to_owned(), action.to_string())
            }
            Some("apply_patch_call") => {
                let operation = item.take("operation").map_or_else(|| json!({}), Field::into_value);
                self.call(item, "apply_patch".to_owned(), operation.to_string())
            }
            Some("tool_search_call") => {
                let arguments = item.take("arguments").map_or_else(|| json!({}), Field::into_value);
                self.call(item, "tool_search".to_owned(), arguments.to_string())
            }
            Some("function_call_output" | "custom_tool_call_output" | "shell_call_output" | "local_shell_call_output") => self.output(item),
            Some("apply_patch_call_output" | "tool_search_output") => self.output(item),
            Some(kind) if RECORDS.contains(&kind) => {
                self.ignored.push(format!("{path}: {kind} is a record that only OpenAI can read"));
                Ok(())
            }
            Some(kind) => {
                let kind: String = kind.chars().take(40).collect();
                let wanted = "message, reasoning, function_call, function_call_output, custom_tool_call, custom_tool_call_output";
                Err(ApiError::invalid(format!("{path}.type"), format!("`{path}.type` must be one of: {wanted}; not `{kind}`.")))
            }
        }
    }

    fn message(&mut self, mut item: Fields) -> Result<(), ApiError> {
        let role = item.require("role", "who the message is from")?.one_of(&ROLES)?;
        let content = item.require("content", "a string, or an array of parts")?;
        let mut parts = Vec::new();
        match content.value() {
            Value::String(_) => parts.push(Part::Text(content.string()?)),
            Value::Array(_) => {
                for part in content.array()? {
                    // Where the message will stand: an assistant's words join the reasoning before them.
                    let (message, before) = self.place(role);
                    let part = self.part(part, message, before + parts.len())?;
                    parts.push(part);
                }
            }
            _ => return Err(content.wrong("a string or an array of parts")),
        }
        if parts.is_empty() && role != Role::Assistant {
            return Err(ApiError::missing(item.path("content"), "a string, or an array with at least one part"));
        }
        self.turn(role).parts.extend(parts);
        Ok(())
    }

    /// The message that the next item of this role goes to, and how many parts it has. What an assistant says, thinks and calls without
    /// anybody between is one message of the chat shape, unless it has called already: then its results are due first.
    fn place(&self, role: Role) -> (usize, usize) {
        match self.messages.last() {
            Some(last) if role == Role::Assistant && last.role == role && last.tool_calls.is_empty() => {
                (self.messages.len() - 1, last.parts.len())
            }
            _ => (self.messages.len(), 0),
        }
    }

    fn turn(&mut self, role: Role) -> &mut Message {
        let (at, _) = self.place(role);
        if at == self.messages.len() {
            self.messages.push(Message { role, parts: Vec::new(), tool_calls: Vec::new(), tool_call_id: None, extra: Map::new() });
        }
        &mut self.messages[at]
    }

    fn part(&mut self, part: Field, message: usize, at: usize) -> Result<Part, ApiError> {
        let whole = part.value().clone();
        let path = part.path().to_owned();
        let mut part = part.object()?;
        let kind = part.require("type", "input_text, output_text, input_image, input_file, input_audio or refusal")?.string()?;
        match kind.as_str() {
            "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" => {
                Ok(Part::Text(part.require("text", "the words of the part")?.string()?))
            }
            "refusal" => Ok(Part::Text(part.require("refusal", "the words of the refusal")?.string()?)),
            "input_image" => {
                let Some(url) = part.take("image_url") else {
                    return Err(ApiError::missing(format!("{path}.image_url"), "an address or a data URL; files are not kept here"));
                };
                let mut image = Map::from_iter([("url".to_owned(), json!(url.string()?))]);
                if let Some(detail) = part.take("detail") {
                    image.insert("detail".to_owned(), json!(detail.string()?));
                }
                Ok(Part::Other(json!({ "type": "image_url", "image_url": image })))
            }
            "input_file" => {
                part.take("type");
                Ok(Part::Other(json!({ "type": "file", "file": part.rest() })))
            }
            "input_audio" => {
                let mut audio = part.require("input_audio", "an object with `data` and `format`")?.object()?;
                let data = audio.require("data", "base64 of a WAV or MP3 file")?;
                self.heard.push(InputAudio { message, part: at, path: data.path().to_owned(), data: data.string()? });
                Ok(Part::Text(String::new()))
            }
            _ => Ok(Part::Other(whole)),
        }
    }

    fn reasoning(&mut self, mut item: Fields) -> Result<(), ApiError> {
        let mut words = Vec::new();
        // The thought itself where it is there, else its summary.
        for name in ["content", "summary"] {
            let parts = item.take(name).map(Field::array).transpose()?.unwrap_or_default();
            if words.is_empty() {
                for part in parts {
                    words.extend(part.object()?.take("text").map(Field::string).transpose()?);
                }
            }
        }
        let text = words.join("\n\n");
        let sealed = item.take("encrypted_content").map(Field::string).transpose()?.unwrap_or_default();
        let part = if let Some(data) = sealed.strip_prefix(REDACTED) {
            Part::Reasoning { text, signature: None, redacted: Some(data.to_owned()) }
        } else {
            let signature = sealed.strip_prefix(SIGNATURE).map(str::to_owned);
            Part::Reasoning { text, signature, redacted: None }
        };
        // Sealed by another server: nobody here can open it, and without words there is nothing to pass on.
        if part != (Part::Reasoning { text: String::new(), signature: None, redacted: None }) {
            self.turn(Role::Assistant).parts.push(part);
        }
        Ok(())
    }

    fn call(&mut self, mut item: Fields, name: String, arguments: String) -> Result<(), ApiError> {
        let id = item.require("call_id", "the id of the call")?.string()?;
        let call = ToolCall { id, name, arguments, extra: Map::new() };
        match self.messages.last_mut() {
            Some(last) if last.role == Role::Assistant => last.tool_calls.push(call),
            _ => self.turn(Role::Assistant).tool_calls.push(call),
        }
        Ok(())
    }

    fn output(&mut self, mut item: Fields) -> Result<(), ApiError> {
        let id = item.require("call_id", "the id of the call that this is the output of")?.string()?;
        let message = self.messages.len();
        let output = item.take("output").or_else(|| item.take("tools"));
        let parts = match output {
            None => vec![Part::Text(String::new())],
            Some(field)
                if field.value().as_array().is_some_and(|parts| parts.iter().all(|part| part.get("type").is_some_and(is_content))) =>
            {
                let parts = field.array()?.into_iter().enumerate().map(|(at, part)| self.part(part, message, at));
                parts.collect::<Result<_, _>>()?
            }
            Some(field) if field.value().is_string() => vec![Part::Text(field.string()?)],
            // What a shell or a search gave back is a structure: the model reads it as JSON.
            Some(field) => vec![Part::Text(field.into_value().to_string())],
        };
        self.messages.push(Message { role: Role::Tool, parts, tool_calls: Vec::new(), tool_call_id: Some(id), extra: Map::new() });
        Ok(())
    }
}

fn is_content(kind: &Value) -> bool {
    kind.as_str().is_some_and(|kind| kind.starts_with("input_") || kind.starts_with("output_"))
}
