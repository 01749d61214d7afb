//! MCP servers over streamable HTTP, with the official SDK.
//!
//! The SDK speaks the protocol; what is here bounds it: in time, in size, and in which hosts it may reach. It follows no redirects and uses
//! no proxy, since either would lead around [`Reach`].

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, Url};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, Implementation, InitializeRequestParams,
    PaginatedRequestParams,
};
use rmcp::service::{ClientInitializeError, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::NeverRetry;
use rmcp::transport::streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError};
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Map, Value};

use super::reach::{PublicOnly, Way};
use super::{Connected, McpConnection, McpConnector, McpError, McpServer, McpTool, Reach};
use crate::remote::chain;

/// How long a server may take to say what it offers, from the first byte of the handshake on. A caller may be waiting by then.
const LISTING: Duration = Duration::from_secs(10);
/// How long a tool may run. A caller on the telephone waits for no longer.
const CALL: Duration = Duration::from_secs(30);
/// Pages of tools that are read.
const MOST_PAGES: usize = 16;
/// Bytes of all descriptions and schemas of a server's tools: the model reads them with every answer.
const LONGEST_TOOLS: usize = 256 * 1_024;
/// Bytes of one message of the server's in a stream. (One in JSON may have 16 MiB, the SDK's own bound.)
const LONGEST_EVENT: usize = 1_024 * 1_024;
/// Bytes of a result that the model reads, about 8,000 tokens: a quarter of what a conversation may have.
const LONGEST_RESULT: usize = 32 * 1_024;
/// Characters of a server's complaint that are passed on.
const LONGEST_COMPLAINT: usize = 500;

/// Reaches MCP servers.
pub struct McpClient {
    reach: Reach,
    public: Client,
    named: Client,
}

impl McpClient {
    /// Reaches those within `reach`. An error: there is no TLS.
    pub fn new(reach: Reach) -> Result<McpClient, String> {
        // Somebody else may have installed one already: then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            Client::builder()
                .connect_timeout(LISTING)
                .tcp_nodelay(true)
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("timbre/", env!("CARGO_PKG_VERSION")))
        };
        let build = |builder: reqwest::ClientBuilder| builder.build().map_err(|error| chain(&error));
        Ok(McpClient { reach, public: build(builder().dns_resolver(Arc::new(PublicOnly)))?, named: build(builder())? })
    }

    fn transport(&self, server: &McpServer) -> Result<StreamableHttpClientTransport<Client>, McpError> {
        let wrong = |message: String| McpError::Http { status: 400, message };
        let url = Url::parse(server.url.reveal()).map_err(|error| wrong(format!("server_url is not a URL: {error}")))?;
        let client = match self.reach.way(&url)? {
            Way::Public => &self.public,
            Way::Named => &self.named,
        };
        let mut headers = HashMap::new();
        for (name, value) in &server.headers {
            let header = HeaderName::try_from(name).map_err(|_| wrong(format!("{name:?} is not the name of a header")))?;
            let mut value =
                HeaderValue::try_from(value.reveal()).map_err(|_| wrong(format!("header {name:?} has a value that none may have")))?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let mut config =
            StreamableHttpClientTransportConfig::with_uri(url.as_str()).custom_headers(headers).max_sse_event_size(LONGEST_EVENT);
        // Whoever asked knows better whether to ask again.
        config.retry_config = Arc::new(NeverRetry::default());
        if let Some(token) = &server.authorization {
            config = config.auth_header(token.reveal());
        }
        Ok(StreamableHttpClientTransport::with_client(client.clone(), config))
    }
}

impl McpConnector for McpClient {
    fn connect(&self, server: &McpServer) -> BoxFuture<'static, Result<Connected, McpError>> {
        let server = server.clone();
        let transport = self.transport(&server);
        Box::pin(async move {
            let hidden = Hidden::of(&server);
            let listed = tokio::time::timeout(LISTING, list(transport?, &server)).await;
            let (tools, service) = listed.unwrap_or_else(|_| Err(late(LISTING))).map_err(|error| hidden.clean(error))?;
            Ok(Connected { tools, connection: Arc::new(Connection { service, hidden }) })
        })
    }
}

type Running = RunningService<RoleClient, InitializeRequestParams>;

async fn list(transport: StreamableHttpClientTransport<Client>, server: &McpServer) -> Result<(Vec<McpTool>, Running), McpError> {
    let info = InitializeRequestParams::new(ClientCapabilities::default(), Implementation::new("timbre", env!("CARGO_PKG_VERSION")));
    let service = info.serve(transport).await.map_err(not_begun)?;
    let (mut tools, mut cursor, mut length) = (Vec::new(), None, 0);
    for _ in 0..MOST_PAGES {
        let mut page = PaginatedRequestParams::default();
        page.cursor = cursor;
        let listed = service.list_tools(Some(page)).await.map_err(not_served)?;
        for tool in listed.tools {
            let tool = McpTool {
                name: tool.name.into_owned(),
                description: tool.description.map(String::from),
                schema: Arc::unwrap_or_clone(tool.input_schema),
                annotations: tool.annotations.and_then(|hints| serde_json::to_value(hints).ok()),
            };
            if server.allowed.as_ref().is_none_or(|allowed| allowed.admits(&tool)) {
                length += tool.name.len()
                    + tool.description.as_ref().map_or(0, String::len)
                    + Value::Object(tool.schema.clone()).to_string().len();
                tools.push(tool);
            }
        }
        if length > LONGEST_TOOLS {
            let message =
                format!("the definitions of its tools have more than {LONGEST_TOOLS} bytes; name those you need in `allowed_tools`");
            return Err(McpError::Execution { message });
        }
        cursor = listed.next_cursor;
        if cursor.is_none() {
            return Ok((tools, service));
        }
    }
    Err(McpError::Execution { message: format!("its tools fill more than {MOST_PAGES} pages") })
}

struct Connection {
    service: Running,
    hidden: Hidden,
}

impl McpConnection for Connection {
    fn call(self: Arc<Self>, tool: String, arguments: Map<String, Value>) -> BoxFuture<'static, Result<String, McpError>> {
        Box::pin(async move {
            let asked = self.service.peer().call_tool_once(CallToolRequestParams::new(tool).with_arguments(arguments));
            let answered = match tokio::time::timeout(CALL, asked).await {
                Ok(Ok(CallToolResponse::Complete(result))) => said(result),
                Ok(Ok(_)) => {
                    Err(McpError::Execution { message: "the tool asks for more than its arguments, which nobody here can give".to_owned() })
                }
                Ok(Err(error)) => Err(not_served(error)),
                Err(_) => Err(late(CALL)),
            };
            answered.map_err(|error| self.hidden.clean(error))
        })
    }
}

/// What a tool says, as words. What is no text is named.
fn said(result: CallToolResult) -> Result<String, McpError> {
    let parts: Vec<String> = result.content.into_iter().map(words).collect();
    let text = match result.structured_content {
        Some(value) if parts.is_empty() => value.to_string(),
        _ => parts.join("\n"),
    };
    let text = cut(text, LONGEST_RESULT);
    if result.is_error == Some(true) { Err(McpError::Execution { message: text }) } else { Ok(text) }
}

fn words(block: ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text,
        ContentBlock::Image(image) => format!("[an image, {}]", image.mime_type),
        ContentBlock::Audio(audio) => format!("[sound, {}]", audio.mime_type),
        ContentBlock::ResourceLink(link) => format!("[{}]", link.uri),
        other => {
            serde_json::to_value(&other).ok().and_then(|value| value["resource"]["text"].as_str().map(str::to_owned)).unwrap_or_default()
        }
    }
}

/// The beginning of a text, and that it is one.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push_str(&format!(" [cut here, after {most} bytes]"));
    }
    text
}

fn late(most: Duration) -> McpError {
    McpError::Http { status: 504, message: format!("the server did not answer within {} s", most.as_secs()) }
}

fn not_begun(error: ClientInitializeError) -> McpError {
    match error {
        ClientInitializeError::TransportError { error, .. } => not_sent(&*error.error),
        ClientInitializeError::JsonRpcError(error) => McpError::Protocol { code: error.code.0, message: error.message.into_owned() },
        other => McpError::Protocol { code: -32_600, message: other.to_string() },
    }
}

fn not_served(error: ServiceError) -> McpError {
    match error {
        ServiceError::McpError(error) => McpError::Protocol { code: error.code.0, message: error.message.into_owned() },
        ServiceError::TransportSend(error) => not_sent(&*error.error),
        ServiceError::TransportClosed => McpError::Http { status: 502, message: "the connection broke".to_owned() },
        other => McpError::Protocol { code: -32_603, message: other.to_string() },
    }
}

/// What became of a request that was not answered as the protocol says.
fn not_sent(error: &(dyn Error + Send + Sync + 'static)) -> McpError {
    let http = |status: u16, message: String| McpError::Http { status, message };
    match error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
        Some(StreamableHttpError::HttpStatus(status)) => http(status.status, format!("the server answered {}", status.status)),
        Some(StreamableHttpError::AuthRequired(_)) => http(401, "the server asks for an `authorization` that it accepts".to_owned()),
        Some(StreamableHttpError::InsufficientScope(_)) => http(403, "the `authorization` does not suffice for the server".to_owned()),
        Some(StreamableHttpError::Client(error)) => match error.status() {
            Some(status) => http(status.as_u16(), format!("the server answered {status}")),
            None => http(502, chain(error)),
        },
        Some(StreamableHttpError::UnexpectedEndOfStream | StreamableHttpError::Sse(_)) => {
            http(502, "the server's answer broke off".to_owned())
        }
        // The SDK keeps the status of other refusals in words alone.
        Some(StreamableHttpError::UnexpectedServerResponse(said)) if refusal(said).is_some() => {
            http(refusal(said).unwrap_or(502), format!("the server answered {}", said.trim_start_matches("HTTP ")))
        }
        _ => McpError::Protocol { code: -32_600, message: format!("this is no answer of an MCP server: {error}") },
    }
}

/// The status in `HTTP 403 Forbidden: ...`.
fn refusal(said: &str) -> Option<u16> {
    said.strip_prefix("HTTP ")?.get(..3)?.parse().ok()
}

/// What must not be repeated from a server's complaints.
struct Hidden(Vec<String>);

impl Hidden {
    fn of(server: &McpServer) -> Hidden {
        let secrets = server.authorization.iter().chain(server.headers.iter().map(|(_, value)| value)).chain([&server.url]);
        Hidden(secrets.map(|secret| secret.reveal().to_owned()).filter(|secret| !secret.is_empty()).collect())
    }

    fn clean(&self, mut error: McpError) -> McpError {
        let (McpError::Protocol { message, .. } | McpError::Execution { message } | McpError::Http { message, .. }) = &mut error;
        for secret in &self.0 {
            *message = message.replace(secret.as_str(), "***");
        }
        *message = cut(std::mem::take(message), LONGEST_COMPLAINT);
        error
    }
}
