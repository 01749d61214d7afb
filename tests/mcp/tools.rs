//! A real MCP server, made with the official SDK, whose tools do what tools do: answer, fail, say far too much, and never end; and servers
//! that are none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What callers must show.
pub(crate) const TOKEN: &str = "open-sesame";

struct Tools;

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let mut config = ServerConfig::default();
        config.capabilities = ServerCapabilities::builder().enable_tools().build();
        config
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
        let schema = Arc::new(schema.as_object().expect("an object").clone());
        let tool = |name: &'static str| Tool::new(name, format!("does {name}"), schema.clone());
        let mut tools = ["weather", "fail", "flood", "hang", "refuse"].map(tool).to_vec();
        tools[0].annotations = Some(ToolAnnotations::default().read_only(true));
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(&self, request: CallToolRequestParams, _: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let text = |text: String| vec![ContentBlock::text(text)];
        let result = match &*request.name {
            "weather" => {
                let city = request.arguments.and_then(|arguments| Some(arguments.get("city")?.as_str()?.to_owned())).unwrap_or_default();
                CallToolResult::success(text(format!("sunny in {city}")))
            }
            "fail" => CallToolResult::error(text("no clouds to count".to_owned())),
            "flood" => CallToolResult::success(text("rain ".repeat(100_000))),
            "hang" => std::future::pending().await,
            _ => return Err(ErrorData::invalid_params("not those arguments", None)),
        };
        Ok(CallToolResponse::Complete(result))
    }
}

/// A server on a free port; it goes with this.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    dying: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Served {
    /// Every answer breaks off from here on.
    pub(crate) fn die(&self) {
        self.dying.store(true, Relaxed);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn guard(request: Request, next: Next) -> Response {
    let [key, team] = ["authorization", "x-team"]
        .map(|name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned());
    if key != format!("Bearer {TOKEN}") || team != "blue" {
        return (StatusCode::FORBIDDEN, format!("{key} is not welcome")).into_response();
    }
    next.run(request).await
}

/// An answer whose connection breaks after its head.
fn broken() -> Response {
    let pieces = futures::stream::iter([Err::<String, _>(std::io::Error::other("gone"))]);
    ([("content-type", "text/event-stream")], Body::from_stream(pieces)).into_response()
}

/// `/mcp` is the real one; `/page` is a website, `/moved` leads to the real one, `/silent` says nothing.
pub(crate) async fn serve() -> Served {
    let service = StreamableHttpService::new(|| Ok(Tools), Arc::new(LocalSessionManager::default()), StreamableHttpServerConfig::default());
    let dying = Arc::new(AtomicBool::new(false));
    let dies = dying.clone();
    let broken = move |request: Request, next: Next| {
        let dies = dies.load(Relaxed);
        async move { if dies { broken() } else { next.run(request).await } }
    };
    let real = Router::new().nest_service("/mcp", service).layer(from_fn(guard)).layer(from_fn(broken));
    let app = real
        .route("/page", axum::routing::any(|| async { axum::response::Html("<p>Hello.") }))
        .route("/moved", axum::routing::any(|| async { Redirect::temporary("/mcp") }))
        .route("/silent", axum::routing::any(|| async { std::future::pending::<&str>().await }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let task = tokio::spawn(async move {
        let _ = axum::serve(listener, app).await;
    });
    Served { address, dying, task }
}
