//! Functions that a session may call, as it lists them.

use models::Tool;
use serde_json::{Value, json};

use super::read_name;
use crate::ApiError;
use crate::wire::{Field, Fields};

pub(in crate::wire::realtime) fn read_tools(field: Field) -> Result<Vec<Tool>, ApiError> {
    field.array()?.into_iter().map(read_tool).collect()
}

fn read_tool(field: Field) -> Result<Tool, ApiError> {
    let mut tool = field.object()?;
    let kind = tool.require("type", "`function`")?;
    if kind.value() == "mcp" {
        let message = format!("`{}` must be `function`: MCP servers are not called from here. Call them in the client.", kind.path());
        return Err(ApiError { code: Some("unsupported_tool"), ..ApiError::invalid(kind.path(), message) });
    }
    kind.one_of(&[("function", ())])?;
    let name = read_name(tool.require("name", "the name of the function")?)?;
    let description = tool.take("description").map(Field::string).transpose()?;
    let parameters = tool.take("parameters").map(|parameters| parameters.object().map(Fields::rest)).transpose()?;
    Ok(Tool { name, description, parameters: parameters.map(Value::Object), extra: tool.rest() })
}

pub(super) fn tool_json(tool: &Tool) -> Value {
    let mut json = json!({ "type": "function", "name": tool.name });
    for (name, value) in [("description", tool.description.as_ref().map(|text| json!(text))), ("parameters", tool.parameters.clone())] {
        if let Some(value) = value {
            json[name] = value;
        }
    }
    json
}

/// The choice in the shape of the chat API, where a function's name stands one level deeper.
pub(in crate::wire::realtime) fn read_tool_choice(field: Field) -> Result<Value, ApiError> {
    if field.value().is_string() {
        return field.one_of(&["none", "auto", "required"].map(|name| (name, name))).map(|name| json!(name));
    }
    let wrong = field.wrong("`none`, `auto`, `required`, or {\"type\": \"function\", \"name\": ...}");
    let mut choice = field.object().map_err(|_| wrong)?;
    choice.require("type", "`function`")?.one_of(&[("function", ())])?;
    let name = read_name(choice.require("name", "the name of the function")?)?;
    Ok(json!({ "type": "function", "function": { "name": name } }))
}

pub(super) fn tool_choice_json(choice: &Value) -> Value {
    choice.pointer("/function/name").map_or_else(|| choice.clone(), |name| json!({ "type": "function", "name": name }))
}
