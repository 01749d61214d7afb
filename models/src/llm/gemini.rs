//! Google's Gemini API (`generateContent`), streamed as server-sent events.
//!
//! Pure translation, a prompt to a request and chunks to deltas, plus the lines that send it. What only OpenAI's dialect has is
//! translated, or left out where there is no twin (`logit_bias`, `user`); a field in Gemini's own spelling goes upstream as it came.
//! Nothing is retried here: that is the router's.

mod chunks;
mod request;
mod schema;

use std::sync::Arc;

use futures::stream::BoxStream;

use super::streamed;
use crate::remote::{Endpoint, segment};
use crate::{Delta, LanguageModel, ModelError, Prompt, Tool, WebSearch};

pub(crate) use chunks::Chunks;
pub use request::request;

/// A provider that speaks the dialect at `endpoint`.
pub fn provider(endpoint: Endpoint) -> Arc<dyn LanguageModel> {
    Arc::new(Provider { endpoint })
}

struct Provider {
    endpoint: Endpoint,
}

impl LanguageModel for Provider {
    fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        let endpoint = self.endpoint.clone();
        let target = format!("{}/{}", endpoint.name, prompt.model);
        let chunks = Chunks::new(&target);
        let sent = async move {
            let path = format!("{}:streamGenerateContent?alt=sse", path(&prompt.model));
            let post = endpoint.ask(&path, &prompt, &request(&prompt))?;
            endpoint.send(post, &target).await
        };
        streamed::answer(sent, chunks)
    }

    /// From 2.0, but not beside functions, which is refused, nor on some domains only.
    fn searches(&self, model: &str, wish: &WebSearch, tools: &[Tool]) -> bool {
        since(model, 2, 0) && tools.is_empty() && wish.allowed.is_empty() && wish.blocked.is_empty()
    }
}

/// The resource of a model; the API's own full names are taken too.
pub(crate) fn path(model: &str) -> String {
    match model.split_once('/') {
        Some((folder @ ("models" | "tunedModels"), name)) => format!("{folder}/{}", segment(name)),
        _ => format!("models/{}", segment(model)),
    }
}

/// The generation of a Gemini model, `2.5` as (2, 5); `None` where its name has none (`gemini-flash-latest`), which is then the newest.
fn generation(model: &str) -> Option<(u32, u32)> {
    let (_, rest) = model.split_once("gemini-")?;
    let number = rest.split('-').next()?;
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether a model is of this generation or a later one. What is not called Gemini (`gemma-3`) is older than all.
fn since(model: &str, major: u32, minor: u32) -> bool {
    model.contains("gemini") && generation(model).is_none_or(|generation| generation >= (major, minor))
}

#[cfg(test)]
mod tests;
