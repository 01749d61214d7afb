//! Items of the conversation.

use models::Role;
use serde_json::{Value, json};

use super::receive::{name, sound};
use crate::ApiError;
use crate::call::{Content, Item, ItemContent, Status};
use crate::wire::{Field, Fields};

const TYPES: [&str; 3] = ["message", "function_call", "function_call_output"];

/// An item that the client gives.
pub(super) fn read(field: Field) -> Result<Item, ApiError> {
    let mut fields = field.object()?;
    let id = fields.take("id").map(name).transpose()?.unwrap_or_default();
    let statuses = [("completed", Status::Completed), ("incomplete", Status::Incomplete), ("in_progress", Status::InProgress)];
    let status = fields.take("status").map(|status| status.one_of(&statuses)).transpose()?.unwrap_or(Status::Completed);
    let kind = fields.require("type", &format!("one of: {}", TYPES.join(", ")))?;
    if kind.value().as_str().is_some_and(|kind| kind.starts_with("mcp_")) {
        return Err(ApiError {
            code: Some("unsupported_item"),
            ..kind.wrong(&format!("one of: {}; MCP is not run here", TYPES.join(", ")))
        });
    }
    let content = match kind.one_of(&TYPES.map(|kind| (kind, kind)))? {
        "message" => read_message(&mut fields)?,
        "function_call" => ItemContent::FunctionCall {
            call_id: name(fields.require("call_id", "the id that the output refers to")?)?,
            name: name(fields.require("name", "the name of the function")?)?,
            arguments: fields.require("arguments", "JSON text")?.string()?,
        },
        _ => ItemContent::FunctionCallOutput {
            call_id: name(fields.require("call_id", "the id of the call")?)?,
            output: fields.require("output", "what the function returned, as a string")?.string()?,
        },
    };
    Ok(Item { id, content, status })
}

fn read_message(fields: &mut Fields) -> Result<ItemContent, ApiError> {
    let roles = [("user", Role::User), ("assistant", Role::Assistant), ("system", Role::System), ("developer", Role::System)];
    let role = fields.require("role", "user, assistant or system")?.one_of(&roles)?;
    let content = fields.require("content", "an array of parts")?;
    if content.value().is_string() {
        return Ok(ItemContent::Message { role, parts: vec![Content::Text(content.string()?)] });
    }
    let parts = content.array()?.into_iter().map(|part| read_part(part, role)).collect::<Result<_, _>>()?;
    Ok(ItemContent::Message { role, parts })
}

#[derive(Clone, Copy)]
enum PartKind {
    Text,
    Heard,
    Said,
    Image,
}

fn read_part(field: Field, role: Role) -> Result<Content, ApiError> {
    let kinds: &[_] = match role {
        Role::User => {
            &[("input_text", PartKind::Text), ("text", PartKind::Text), ("input_audio", PartKind::Heard), ("input_image", PartKind::Image)]
        }
        Role::Assistant => {
            &[("output_text", PartKind::Text), ("text", PartKind::Text), ("output_audio", PartKind::Said), ("audio", PartKind::Said)]
        }
        Role::System | Role::Tool => &[("input_text", PartKind::Text), ("text", PartKind::Text)],
    };
    let mut part = field.object()?;
    let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
    match part.require("type", &format!("one of: {}", names.join(", ")))?.one_of(kinds)? {
        PartKind::Text => Ok(Content::Text(part.require("text", "a string")?.string()?)),
        PartKind::Heard => {
            let audio = part.require("audio", "PCM, 16 bits, little endian, 24 kHz, mono, in base64")?;
            let path = audio.path().to_owned();
            let pcm = sound(&path, &audio.string()?)?;
            if pcm.is_empty() || pcm.len() % 2 == 1 {
                let message = format!("`{path}` must be whole samples of 16 bits, at least one; it has {} bytes.", pcm.len());
                return Err(ApiError::invalid(path, message));
            }
            Ok(Content::Audio { transcript: part.take("transcript").map(Field::string).transpose()?, pcm: Some(pcm) })
        }
        // What the assistant said is known by its words; its sound is of no more use.
        PartKind::Said => Ok(Content::Audio { transcript: Some(part.require("transcript", "the words")?.string()?), pcm: None }),
        PartKind::Image => Ok(Content::Image(part.require("image_url", "a `data:` or `https:` address")?.string()?)),
    }
}

/// An item as the client is told of it.
pub(super) fn to_json(item: &Item) -> Value {
    let status = match item.status {
        Status::InProgress => "in_progress",
        Status::Completed => "completed",
        Status::Incomplete | Status::Cancelled | Status::Failed => "incomplete",
    };
    match &item.content {
        ItemContent::Message { role, parts } => json!({
            "id": item.id,
            "type": "message",
            "status": status,
            "role": role.name(),
            "content": parts.iter().map(|part| part_json(part, *role)).collect::<Vec<_>>(),
        }),
        ItemContent::FunctionCall { call_id, name, arguments } => {
            json!({ "id": item.id, "type": "function_call", "status": status, "name": name, "call_id": call_id, "arguments": arguments })
        }
        ItemContent::FunctionCallOutput { call_id, output } => {
            json!({ "id": item.id, "type": "function_call_output", "call_id": call_id, "output": output })
        }
    }
}

fn part_json(part: &Content, role: Role) -> Value {
    match (part, role) {
        (Content::Text(text), Role::Assistant) => json!({ "type": "output_text", "text": text }),
        (Content::Text(text), _) => json!({ "type": "input_text", "text": text }),
        (Content::Audio { transcript, .. }, Role::Assistant) => json!({ "type": "output_audio", "transcript": transcript }),
        (Content::Audio { transcript, .. }, _) => json!({ "type": "input_audio", "transcript": transcript }),
        (Content::Image(url), _) => json!({ "type": "input_image", "image_url": url }),
    }
}
