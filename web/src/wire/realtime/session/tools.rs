//! What a session's model may call, as the client lists it.

use models::Tool;
use models::mcp::McpServer;
use serde_json::{Value, json};

use super::{mcp, read_name};
use crate::ApiError;
use crate::call::Toolset;
use crate::wire::{Field, Fields};

/// The tools that a client names; `known`: the MCP servers that it named before, which need not be described again.
pub(in crate::wire::realtime) fn read_tools(field: Field, known: &[McpServer]) -> Result<Toolset, ApiError> {
    let mut tools = Toolset::default();
    for field in field.array()? {
        let mut tool = field.object()?;
        let kind = tool.require("type", "`function` or `mcp`")?;
        match kind.one_of(&[("function", Kind::Function), ("mcp", Kind::Mcp)])? {
            Kind::Function => tools.functions.push(read_function(tool)?),
            Kind::Mcp => {
                let server = mcp::read(tool, &tools.servers, known)?;
                tools.servers.push(server);
            }
        }
    }
    Ok(tools)
}

#[derive(Clone, Copy)]
enum Kind {
    Function,
    Mcp,
}

fn read_function(mut tool: Fields) -> Result<Tool, ApiError> {
    let name = read_name(tool.require("name", "the name of the function")?)?;
    let description = tool.take("description").map(Field::string).transpose()?;
    let parameters = tool.take("parameters").map(|parameters| parameters.object().map(Fields::rest)).transpose()?;
    Ok(Tool { name, description, parameters: parameters.map(Value::Object), extra: tool.rest() })
}

/// The tools as the client is told of them.
pub(super) fn tools_json(tools: &Toolset) -> Value {
    tools.functions.iter().map(function_json).chain(tools.servers.iter().map(mcp::to_json)).collect()
}

fn function_json(tool: &Tool) -> Value {
    let mut json = json!({ "type": "function", "name": tool.name });
    for (name, value) in [("description", tool.description.as_ref().map(|text| json!(text))), ("parameters", tool.parameters.clone())] {
        if let Some(value) = value {
            json[name] = value;
        }
    }
    if let Some(json) = json.as_object_mut() {
        json.extend(tool.extra.clone());
    }
    json
}

/// The choice in the shape of the chat API, where a function's name stands one level deeper.
pub(in crate::wire::realtime) fn read_tool_choice(field: Field) -> Result<Value, ApiError> {
    if field.value().is_string() {
        return field.one_of(&["none", "auto", "required"].map(|name| (name, name))).map(|name| json!(name));
    }
    let wrong =
        field.wrong("`none`, `auto`, `required`, {\"type\": \"function\", \"name\": ...} or {\"type\": \"mcp\", \"server_label\": ...}");
    let mut choice = field.object().map_err(|_| wrong)?;
    let kind = choice.require("type", "`function` or `mcp`")?;
    if let Kind::Mcp = kind.one_of(&[("function", Kind::Function), ("mcp", Kind::Mcp)])? {
        let server = read_name(choice.require("server_label", "the label of an MCP server among the tools")?)?;
        let name = choice.take("name").map(read_name).transpose()?;
        return Ok(json!({ "type": "mcp", "server_label": server, "name": name }));
    }
    let name = read_name(choice.require("name", "the name of the function")?)?;
    Ok(json!({ "type": "function", "function": { "name": name } }))
}

pub(super) fn tool_choice_json(choice: &Value) -> Value {
    choice.pointer("/function/name").map_or_else(|| choice.clone(), |name| json!({ "type": "function", "name": name }))
}
