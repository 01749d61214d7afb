//! Tools that live on servers of their own (Model Context Protocol): which servers, which of their tools, and the seam to them.
//!
//! Nothing here knows a conversation. The client over streamable HTTP is `client.rs`, and `reach.rs` says which hosts it may reach.

#[cfg(feature = "mcp")]
mod client;
#[cfg(feature = "mcp")]
mod reach;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Map, Value};

use crate::Secret;

#[cfg(feature = "mcp")]
pub use client::McpClient;
#[cfg(feature = "mcp")]
pub use reach::{Host, Reach};

/// A server, as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpServer {
    /// The caller's name for it.
    pub label: String,
    /// Where it is; callers write keys into URLs.
    pub url: Secret,
    /// A bearer token.
    pub authorization: Option<Secret>,
    /// Further headers of every request.
    pub headers: Vec<(String, Secret)>,
    /// What it is for, in words for the model.
    pub description: Option<String>,
    /// Which of its tools are offered; `None`: all.
    pub allowed: Option<ToolFilter>,
    /// Which of them somebody must approve of, call by call.
    pub approval: Approval,
}

impl McpServer {
    /// Its address as it may be shown: without a password and without parameters, where keys stand.
    pub fn shown_url(&self) -> String {
        let url = self.url.reveal();
        let (base, parameters) = url.find(['?', '#']).map_or((url, ""), |at| url.split_at(at));
        let base = match base.split_once("://") {
            Some((scheme, rest)) => {
                let host = rest.find('/').unwrap_or(rest.len());
                let after = rest[..host].rfind('@').map_or(0, |at| at + 1);
                format!("{scheme}://{}", &rest[after..])
            }
            None => base.to_owned(),
        };
        if parameters.is_empty() { base } else { base + "?***" }
    }
}

/// Some of a server's tools: those that are both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolFilter {
    /// Named here; `None`: whatever its name.
    pub names: Option<Vec<String>>,
    /// Said by the server to change nothing, or not; `None`: either.
    pub read_only: Option<bool>,
}

impl ToolFilter {
    /// Whether it is one of them.
    pub fn admits(&self, tool: &McpTool) -> bool {
        self.names.as_ref().is_none_or(|names| names.contains(&tool.name))
            && self.read_only.is_none_or(|read_only| read_only == tool.read_only())
    }
}

/// Which tools somebody must approve of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// All.
    #[default]
    Always,
    /// None.
    Never,
    /// All but some.
    Except {
        /// These need none,
        never: ToolFilter,
        /// unless they are among these, too.
        always: Option<ToolFilter>,
    },
}

impl Approval {
    /// Whether this one is asked for.
    pub fn is_needed(&self, tool: &McpTool) -> bool {
        match self {
            Approval::Always => true,
            Approval::Never => false,
            Approval::Except { never, always } => !never.admits(tool) || always.as_ref().is_some_and(|always| always.admits(tool)),
        }
    }
}

/// A tool of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct McpTool {
    /// Its name there.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON schema of its arguments.
    pub schema: Map<String, Value>,
    /// What the server hints about it, as it says it.
    pub annotations: Option<Value>,
}

impl McpTool {
    /// Whether the server says that it changes nothing. It is a hint: a server may lie.
    pub fn read_only(&self) -> bool {
        self.annotations.as_ref().is_some_and(|hints| hints["readOnlyHint"] == true)
    }
}

/// Why tools could not be listed, or one could not be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum McpError {
    /// The server answered with an error of the protocol, or with something that is none of it.
    Protocol {
        /// JSON-RPC's code.
        code: i32,
        /// In words.
        message: String,
    },
    /// The tool ran, and failed; or it may not run.
    Execution {
        /// In words.
        message: String,
    },
    /// The server could not be asked.
    Http {
        /// Its status; 502 where it could not be reached, 504 where it did not answer in time, 403 where it may not be asked from here.
        status: u16,
        /// In words.
        message: String,
    },
}

impl McpError {
    /// In words.
    pub fn message(&self) -> &str {
        match self {
            McpError::Protocol { message, .. } | McpError::Execution { message } | McpError::Http { message, .. } => message,
        }
    }

    /// What clients and records know it by: the names of OpenAI's realtime API.
    pub fn code(&self) -> &'static str {
        match self {
            McpError::Protocol { .. } => "protocol_error",
            McpError::Execution { .. } => "tool_execution_error",
            McpError::Http { .. } => "http_error",
        }
    }

    /// It as an HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            McpError::Protocol { .. } => 502,
            McpError::Execution { .. } => 500,
            McpError::Http { status, .. } => *status,
        }
    }
}

impl fmt::Display for McpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for McpError {}

/// Reaches servers.
pub trait McpConnector: Send + Sync {
    /// Connects to a server and asks what it offers. It ends in time, however slow the server is.
    fn connect(&self, server: &McpServer) -> BoxFuture<'static, Result<Connected, McpError>>;
}

/// A server that has said what it offers.
#[derive(Clone)]
pub struct Connected {
    /// Its tools, as far as its caller allows them, in its own order.
    pub tools: Vec<McpTool>,
    /// The connection; dropping the last of them ends it.
    pub connection: Arc<dyn McpConnection>,
}

/// A connection to a server.
pub trait McpConnection: Send + Sync {
    /// Calls a tool: what it says, in words. It ends in time; dropping it tells the server that nobody waits any more.
    fn call(self: Arc<Self>, tool: String, arguments: Map<String, Value>) -> BoxFuture<'static, Result<String, McpError>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tool(name: &str, read_only: bool) -> McpTool {
        McpTool { name: name.into(), description: None, schema: Map::new(), annotations: Some(json!({ "readOnlyHint": read_only })) }
    }

    fn filter(names: Option<&[&str]>, read_only: Option<bool>) -> ToolFilter {
        ToolFilter { names: names.map(|names| names.iter().map(|name| (*name).to_owned()).collect()), read_only }
    }

    #[test]
    fn filters_and_approvals_go_by_name_and_by_what_a_tool_changes() {
        let (read, write) = (tool("read", true), tool("write", false));
        for (filter, reads, writes) in [
            (filter(None, None), true, true),
            (filter(Some(&["write"]), None), false, true),
            (filter(None, Some(true)), true, false),
            (filter(Some(&["write"]), Some(true)), false, false),
        ] {
            assert_eq!((filter.admits(&read), filter.admits(&write)), (reads, writes), "{filter:?}");
        }
        let except = |never, always| Approval::Except { never, always };
        for (approval, reads, writes) in [
            (Approval::Always, true, true),
            (Approval::Never, false, false),
            (except(filter(None, Some(true)), None), false, true),
            (except(filter(None, None), Some(filter(Some(&["write"]), None))), false, true),
        ] {
            assert_eq!((approval.is_needed(&read), approval.is_needed(&write)), (reads, writes), "{approval:?}");
        }
    }

    #[test]
    fn addresses_are_shown_without_keys() {
        for (url, shown) in [
            ("https://a.example/mcp", "https://a.example/mcp"),
            ("https://me:key@a.example/mcp?key=1#x", "https://a.example/mcp?***"),
            ("https://a.example?key=1", "https://a.example?***"),
            ("nonsense", "nonsense"),
        ] {
            let server = McpServer {
                label: "a".into(),
                url: Secret::new(url),
                authorization: Some(Secret::new("token")),
                headers: vec![("x-key".into(), Secret::new("hidden"))],
                description: None,
                allowed: None,
                approval: Approval::Always,
            };
            assert_eq!(server.shown_url(), shown);
            let debug = format!("{server:?}");
            assert!(!debug.contains("token") && !debug.contains("hidden") && !debug.contains("key=1"), "{debug}");
        }
    }
}
