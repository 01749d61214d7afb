//! The callers' wire formats and the transports that carry them: OpenAI's chat, Responses, embeddings, audio and models API and
//! Anthropic's Messages API over HTTP, OpenAI's realtime API over WebSocket and WebRTC, and those of telephone carriers.
//!
//! Each endpoint is a file of `http`, and a realtime call one of `ws`, `rtc` or `phone`: thin shells around the sans-IO types of `wire`. The crate knows no
//! provider's format and picks no engine: it is handed [`Services`], and an [`Answer`] for each [`call::Call`].

mod auth;
pub mod call;
mod demo;
mod history;
mod http;
mod limits;
mod line;
mod listen;
mod listening;
mod live;
pub mod operations;
mod origins;
pub mod phone;
pub mod rtc;
mod secrets;
mod spoken;
mod stopping;
mod wire;
pub mod ws;

use std::sync::Arc;

pub use auth::Keys;
pub use http::account::{Account, Books};
pub use http::limit::Ticket;
pub use limits::Limits;
pub use listen::serve;
pub use live::LiveCalls;
pub use origins::{Origins, guard};
pub use stopping::Stopping;
pub use wire::ApiError;
pub use wire::realtime::{Asked, Dialect, Playing, Realtime};
pub use ws::Answer;

/// Whether requests can be served; else what is missing, for a person.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Takes the records of requests.
#[derive(Clone)]
pub struct RecordSink {
    /// Takes one; it must not wait.
    pub take: Arc<dyn Fn(router::Record) + Send + Sync>,
    /// Whether it wants the words, too.
    pub texts: bool,
}

/// What the endpoints stand on.
#[derive(Clone)]
pub struct Services {
    /// Who answers prompts.
    pub router: router::Router,
    /// Who hears and who speaks.
    pub speakers: router::Speakers,
    /// The voice that speaks where the client names none, or one that the synthesizer does not have.
    pub default_voice: String,
    /// Who may call.
    pub keys: Keys,
    /// How much.
    pub limits: Limits,
    /// How often, and for how much money.
    pub ledger: router::Ledger,
    /// Answers that are given again; `None`: none are.
    pub cache: Option<router::Cache>,
    /// Takes a record of each request that is over; it must not wait.
    pub record: Option<RecordSink>,
    /// What `/readyz` asks.
    pub ready: Ready,
    /// The realtime endpoints, behind the same keys.
    pub realtime: Option<axum::Router>,
    /// The endpoints of telephone carriers, which have no keys and ask for their own tokens.
    pub phone: Option<axum::Router>,
}

/// The prompt that the body of a chat completion's request stands for.
pub fn chat_prompt(body: serde_json::Value) -> Result<models::Prompt, ApiError> {
    wire::chat::read(body).map(|request| request.prompt)
}

/// The prompt that the body of a response's request stands for.
pub fn response_prompt(body: serde_json::Value) -> Result<models::Prompt, ApiError> {
    wire::responses::read(body).map(|request| request.prompt)
}

/// The prompt that the body of a message's request stands for.
pub fn message_prompt(body: serde_json::Value) -> Result<models::Prompt, ApiError> {
    wire::messages::read(body).map(|request| request.prompt)
}

/// Every endpoint.
pub fn app(services: Services) -> axum::Router {
    http::app(services)
}
