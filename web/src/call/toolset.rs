//! What a model may call: the client's own functions, and the tools of MCP servers.

use models::Tool;
use models::mcp::{McpError, McpServer};

use super::ItemId;

/// What a model may call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Toolset {
    /// Functions that the client runs.
    pub functions: Vec<Tool>,
    /// Servers whose tools are called from here; their labels differ.
    pub servers: Vec<McpServer>,
}

/// A call of a tool of an MCP server.
#[derive(Clone, Debug, PartialEq)]
pub struct McpCall {
    /// The server's label.
    pub server: String,
    /// The tool's name there.
    pub tool: String,
    /// The name that the model calls it by.
    pub called: String,
    /// JSON text.
    pub arguments: String,
    /// The request that somebody approves of it, where that was asked for.
    pub approval: Option<ItemId>,
    /// What became of it; `None`: nothing yet.
    pub outcome: Option<Result<String, McpError>>,
}

/// How far something is that an MCP server was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It was asked.
    InProgress,
    /// It answered.
    Completed,
    /// It did not, or with an error.
    Failed,
}
