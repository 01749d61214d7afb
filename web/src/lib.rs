//! The callers' wire formats and the transports that carry them: OpenAI's chat, audio and models API over HTTP, its realtime API over
//! WebSocket.
//!
//! Each endpoint is a file of `http`, and a realtime call one of `ws`: thin shells around the sans-IO types of `wire`. The crate knows no
//! provider's format and picks no engine: it is handed [`Services`], and an [`Answer`] for each [`call::Call`].

mod auth;
pub mod call;
mod http;
mod limits;
mod listening;
mod spoken;
mod wire;
pub mod ws;

use std::future::Future;
use std::sync::Arc;

use axum::serve::ListenerExt;
use models::{Synthesizer, Transcriber};
use tokio::net::TcpListener;

pub use auth::Keys;
pub use limits::Limits;
pub use wire::ApiError;
pub use wire::realtime::Realtime;
pub use ws::Answer;

/// Whether requests can be served; else what is missing, for a person.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the endpoints stand on.
#[derive(Clone)]
pub struct Services {
    /// Who answers prompts.
    pub router: router::Router,
    /// Speech to text.
    pub transcriber: Arc<dyn Transcriber>,
    /// Text to speech.
    pub synthesizer: Arc<dyn Synthesizer>,
    /// The voice that speaks where the client names none, or one that the synthesizer does not have.
    pub default_voice: String,
    /// Who may call.
    pub keys: Keys,
    /// How much.
    pub limits: Limits,
    /// What `/readyz` asks.
    pub ready: Ready,
    /// The realtime endpoints, behind the same keys.
    pub realtime: Option<axum::Router>,
}

/// The prompt that the body of a chat completion's request stands for.
pub fn chat_prompt(body: serde_json::Value) -> Result<models::Prompt, ApiError> {
    wire::chat::read(body).map(|request| request.prompt)
}

/// Every endpoint.
pub fn app(services: Services) -> axum::Router {
    http::app(services)
}

/// Serves `app` on `listener` until `shutdown` resolves; then no connection is accepted any more and those open are finished.
pub async fn serve(listener: TcpListener, app: axum::Router, shutdown: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
    // A token is a few bytes and must not wait for the next one to fill a packet.
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}
