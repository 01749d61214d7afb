//! Items of the conversation.

use models::Role;
use models::mcp::{McpError, McpTool};
use serde_json::{Value, json};

use super::receive::{name, sound};
use crate::ApiError;
use crate::call::{Content, Item, ItemContent, McpCall, Status};
use crate::wire::{Field, Fields};

const TYPES: [&str; 4] = ["message", "function_call", "function_call_output", "mcp_approval_response"];
/// Items of MCP that the server makes.
const OURS: [&str; 3] = ["mcp_list_tools", "mcp_call", "mcp_approval_request"];

/// An item that the client gives.
pub(super) fn read(field: Field) -> Result<Item, ApiError> {
    let mut fields = field.object()?;
    let id = fields.take("id").map(name).transpose()?.unwrap_or_default();
    let statuses = [("completed", Status::Completed), ("incomplete", Status::Incomplete), ("in_progress", Status::InProgress)];
    let status = fields.take("status").map(|status| status.one_of(&statuses)).transpose()?.unwrap_or(Status::Completed);
    let kind = fields.require("type", &format!("one of: {}", TYPES.join(", ")))?;
    if kind.value().as_str().is_some_and(|kind| OURS.contains(&kind)) {
        let wanted = format!("one of: {}; items of this type are made by the server", TYPES.join(", "));
        return Err(ApiError { code: Some("unsupported_item"), ..kind.wrong(&wanted) });
    }
    let content = match kind.one_of(&TYPES.map(|kind| (kind, kind)))? {
        "message" => read_message(&mut fields)?,
        "function_call" => ItemContent::FunctionCall {
            call_id: name(fields.require("call_id", "the id that the output refers to")?)?,
            name: name(fields.require("name", "the name of the function")?)?,
            arguments: fields.require("arguments", "JSON text")?.string()?,
        },
        "mcp_approval_response" => ItemContent::McpApprovalResponse {
            request: name(fields.require("approval_request_id", "the id of the item of type `mcp_approval_request`")?)?,
            approve: fields.require("approve", "true or false")?.boolean()?,
            reason: fields.take("reason").map(Field::string).transpose()?,
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
        ItemContent::McpTools { server, listed } => tools_json(&item.id, server, listed.as_ref()),
        ItemContent::McpCall(call) => mcp_call_json(&item.id, call),
        ItemContent::McpApprovalRequest { server, tool, arguments } => json!({
            "id": item.id,
            "type": "mcp_approval_request",
            "server_label": server,
            "name": tool,
            "arguments": arguments,
        }),
        ItemContent::McpApprovalResponse { request, approve, reason } => json!({
            "id": item.id,
            "type": "mcp_approval_response",
            "approval_request_id": request,
            "approve": approve,
            "reason": reason,
        }),
    }
}

/// What a server offers. OpenAI's realtime items say nothing of why there is nothing; `error` is as in its responses.
fn tools_json(id: &str, server: &str, listed: Option<&Result<Vec<McpTool>, McpError>>) -> Value {
    let tool = |tool: &McpTool| {
        // Agents written for OpenAI's API want a description, if an empty one.
        json!({
            "name": tool.name,
            "description": tool.description.as_deref().unwrap_or_default(),
            "input_schema": tool.schema,
            "annotations": tool.annotations,
        })
    };
    let tools: Vec<_> = listed.and_then(|listed| listed.as_ref().ok()).into_iter().flatten().map(tool).collect();
    let mut json = json!({ "id": id, "type": "mcp_list_tools", "server_label": server, "tools": tools });
    if let Some(Err(error)) = listed {
        json["error"] = error_json(error);
    }
    json
}

fn mcp_call_json(id: &str, call: &McpCall) -> Value {
    let outcome = call.outcome.as_ref();
    json!({
        "id": id,
        "type": "mcp_call",
        "server_label": call.server,
        "name": call.tool,
        "arguments": call.arguments,
        "approval_request_id": call.approval,
        "output": outcome.and_then(|outcome| outcome.as_ref().ok()),
        "error": outcome.and_then(|outcome| outcome.as_ref().err()).map(error_json),
    })
}

fn error_json(error: &McpError) -> Value {
    let kind = error.code();
    match error {
        McpError::Protocol { code, message } => json!({ "type": kind, "code": code, "message": message }),
        McpError::Execution { message } => json!({ "type": kind, "message": message }),
        McpError::Http { status, message } => json!({ "type": kind, "code": status, "message": message }),
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
