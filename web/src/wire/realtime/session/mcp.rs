//! MCP servers among a session's tools. What a client says of one is told back, but for its keys.

use models::Secret;
use models::mcp::{Approval, McpServer, ToolFilter};
use serde_json::{Map, Value, json};

use crate::ApiError;
use crate::wire::{Field, Fields};

/// Most servers of a session: each is a connection, and its tools are read with every answer.
const MOST_SERVERS: usize = 8;
/// Most headers for one.
const MOST_HEADERS: usize = 32;
/// Longest label, bytes; it may stand before the name of a function, which has 64 at most.
const LONGEST_LABEL: usize = 32;
/// Longest URL, key, header or description, bytes.
const LONGEST_TEXT: usize = 8_192;
/// Stands for a value that is not told back.
const HIDDEN: &str = "***";
/// Headers that are the connection's own, or the protocol's.
const RESERVED: [&str; 14] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A server, behind others in the same list. One that the client named before keeps what is not said anew, as far as it is at the same place:
/// what it was told back can be sent again.
pub(super) fn read(mut tool: Fields, others: &[McpServer], known: &[McpServer]) -> Result<McpServer, ApiError> {
    let label = read_label(tool.require("server_label", "a name for the server")?, others)?;
    let path = tool.path("server_label");
    if others.len() >= MOST_SERVERS {
        return Err(ApiError::invalid(&path, format!("`{path}` is one server too many: a session has at most {MOST_SERVERS}.")));
    }
    for (name, what) in [("connector_id", "connectors"), ("tunnel_id", "tunnels")] {
        if let Some(field) = tool.take(name) {
            let message = format!("`{}` cannot be used: there are no {what} here. Name the server by its `server_url`.", field.path());
            return Err(ApiError { code: Some("unsupported_tool"), ..ApiError::invalid(field.path(), message) });
        }
    }
    let known = known.iter().find(|server| server.label == label);
    let (url, known) = match (tool.take("server_url"), known) {
        (None, Some(known)) => (known.url.clone(), Some(known)),
        (None, None) => return Err(ApiError::missing(tool.path("server_url"), "where the server is, `https://...`")),
        (Some(url), known) => match known.filter(|known| url.value() == known.shown_url().as_str()) {
            Some(known) => (known.url.clone(), Some(known)),
            None => (read_url(url)?, None),
        },
    };
    let authorization = match tool.given("authorization") {
        Some(field) => field.present().map(text).transpose()?.map(Secret::new),
        None => known.and_then(|known| known.authorization.clone()),
    };
    let headers = match tool.given("headers") {
        Some(field) => field.present().map(|field| read_headers(field, known)).transpose()?.unwrap_or_default(),
        None => known.map(|known| known.headers.clone()).unwrap_or_default(),
    };
    if authorization.is_some() && headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        let path = tool.path("authorization");
        return Err(ApiError::invalid(&path, format!("`{path}` and a header of that name are the same thing; send one of them.")));
    }
    let description = match tool.given("server_description") {
        Some(field) => field.present().map(text).transpose()?,
        None => known.and_then(|known| known.description.clone()),
    };
    let allowed = match tool.given("allowed_tools") {
        Some(field) => field.present().map(read_allowed).transpose()?,
        None => known.and_then(|known| known.allowed.clone()),
    };
    let approval = match tool.given("require_approval") {
        Some(field) => field.present().map(read_approval).transpose()?.unwrap_or_default(),
        None => known.map(|known| known.approval.clone()).unwrap_or_default(),
    };
    // Who may call, and when it is loaded, is the provider's business elsewhere.
    for ignored in ["allowed_callers", "defer_loading"] {
        tool.given(ignored);
    }
    let fields =
        ["type", "server_label", "server_url", "authorization", "headers", "allowed_tools", "require_approval", "server_description"];
    tool.nothing_else(&fields)?;
    Ok(McpServer { label, url, authorization, headers, description, allowed, approval })
}

fn read_label(field: Field, others: &[McpServer]) -> Result<String, ApiError> {
    let right = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    match field.value().as_str() {
        Some(label) if others.iter().any(|other| other.label == label) => Err(field.wrong("another name than the other servers have")),
        Some(label) if right(label) => field.string(),
        _ => Err(field.wrong(&format!("1 to {LONGEST_LABEL} letters, digits, `_` or `-`"))),
    }
}

/// Text that may be secret: errors do not repeat it.
fn text(field: Field) -> Result<String, ApiError> {
    let path = field.path().to_owned();
    let wrong = || ApiError::invalid(&path, format!("`{path}` must be a string of 1 to {LONGEST_TEXT} bytes."));
    match field.into_value() {
        Value::String(text) if (1..=LONGEST_TEXT).contains(&text.len()) => Ok(text),
        _ => Err(wrong()),
    }
}

fn read_url(field: Field) -> Result<Secret, ApiError> {
    let path = field.path().to_owned();
    let url = text(field)?;
    if !["https://", "http://"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme)) {
        return Err(ApiError::invalid(&path, format!("`{path}` must begin with `https://` and name a host.")));
    }
    Ok(Secret::new(url))
}

fn read_headers(field: Field, known: Option<&McpServer>) -> Result<Vec<(String, Secret)>, ApiError> {
    let path = field.path().to_owned();
    let wrong = |message: &str| ApiError::invalid(&path, format!("`{path}` {message}."));
    let fields = field.object()?.rest();
    if fields.len() > MOST_HEADERS {
        return Err(wrong(&format!("has more than {MOST_HEADERS} entries")));
    }
    let mut headers = Vec::new();
    for (name, value) in fields {
        let lower = name.to_ascii_lowercase();
        if !is_token(&name) || RESERVED.contains(&lower.as_str()) || lower.starts_with("mcp-") {
            return Err(wrong(&format!("cannot hold {name:?}: it is no name of a header, or the connection's own")));
        }
        let before = known.and_then(|known| known.headers.iter().find(|(known, _)| *known == name));
        let value = match (before, value) {
            (Some((_, before)), Value::String(value)) if value == HIDDEN => before.clone(),
            (_, Value::String(value)) if value.len() <= LONGEST_TEXT && !value.chars().any(char::is_control) => Secret::new(value),
            _ => {
                return Err(wrong(&format!(
                    "must have a string of at most {LONGEST_TEXT} bytes, without control characters, for {name:?}"
                )));
            }
        };
        headers.push((name, value));
    }
    Ok(headers)
}

/// A token of HTTP (RFC 9110 section 5.6.2).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.len() <= 256 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn read_allowed(field: Field) -> Result<ToolFilter, ApiError> {
    if field.value().is_array() {
        return Ok(ToolFilter { names: Some(read_names(field)?), read_only: None });
    }
    let wrong = field.wrong("an array of names, or {\"tool_names\": [...], \"read_only\": ...}");
    read_filter(field.object().map_err(|_| wrong)?)
}

fn read_names(field: Field) -> Result<Vec<String>, ApiError> {
    field.array()?.into_iter().map(Field::string).collect()
}

fn read_filter(mut filter: Fields) -> Result<ToolFilter, ApiError> {
    let names = filter.take("tool_names").map(read_names).transpose()?;
    let read_only = filter.take("read_only").map(Field::boolean).transpose()?;
    filter.nothing_else(&["tool_names", "read_only"])?;
    Ok(ToolFilter { names, read_only })
}

fn read_approval(field: Field) -> Result<Approval, ApiError> {
    if field.value().is_string() {
        return field.one_of(&[("always", false), ("never", true)]).map(|never| if never { Approval::Never } else { Approval::Always });
    }
    let wrong = field.wrong("`always`, `never`, or {\"always\": ..., \"never\": ...}");
    let mut by_tool = field.object().map_err(|_| wrong)?;
    let mut filter = |name: &str| by_tool.take(name).map(|field| field.object().and_then(read_filter)).transpose();
    let (always, never) = (filter("always")?, filter("never")?);
    by_tool.nothing_else(&["always", "never"])?;
    Ok(never.map_or(Approval::Always, |never| Approval::Except { never, always }))
}

/// A server as its client is told of it.
pub(super) fn to_json(server: &McpServer) -> Value {
    let headers: Map<String, Value> = server.headers.iter().map(|(name, _)| (name.clone(), json!(HIDDEN))).collect();
    let mut json = json!({
        "type": "mcp",
        "server_label": server.label,
        "server_url": server.shown_url(),
        "allowed_tools": server.allowed.as_ref().map(|allowed| match allowed {
            ToolFilter { names: Some(names), read_only: None } => json!(names),
            filter => filter_json(filter),
        }),
        "headers": (!headers.is_empty()).then_some(headers),
        "require_approval": match &server.approval {
            Approval::Always => json!("always"),
            Approval::Never => json!("never"),
            Approval::Except { never, always: None } => json!({ "never": filter_json(never) }),
            Approval::Except { never, always: Some(always) } => json!({ "always": filter_json(always), "never": filter_json(never) }),
        },
    });
    if let Some(description) = &server.description {
        json["server_description"] = json!(description);
    }
    json
}

fn filter_json(filter: &ToolFilter) -> Value {
    let mut json = Map::new();
    if let Some(names) = &filter.names {
        json.insert("tool_names".to_owned(), json!(names));
    }
    if let Some(read_only) = filter.read_only {
        json.insert("read_only".to_owned(), json!(read_only));
    }
    Value::Object(json)
}
