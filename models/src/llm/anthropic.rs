//! Anthropic's Messages API.
//!
//! Pure translation, a prompt to a request and events to deltas, plus the lines that send it. The answer is always streamed. What only
//! OpenAI's dialect has is translated, or left out where there is no twin (`seed`, `logit_bias`, penalties, `logprobs`); any other field
//! that no type models goes upstream under its own name. Nothing is retried here: that is the router's.

mod events;
mod request;
mod schema;
mod version;

use std::sync::Arc;

use futures::stream::BoxStream;

use super::streamed;
use crate::remote::Endpoint;
use crate::{Continuation, Delta, LanguageModel, ModelError, Prompt, Tool, WebSearch};

pub(crate) use events::Events;
pub use request::request;

/// The version of the API (the `anthropic-version` header), the only one since 2023.
const VERSION: &str = "2023-06-01";

/// A provider that speaks the dialect at `endpoint`.
pub fn provider(endpoint: Endpoint) -> Arc<dyn LanguageModel> {
    Arc::new(Provider { endpoint })
}

/// How `model` goes on with an answer that was begun elsewhere.
pub(super) fn continuation(model: &str) -> Continuation {
    version::continuation(model)
}

struct Provider {
    endpoint: Endpoint,
}

impl LanguageModel for Provider {
    fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        let endpoint = self.endpoint.clone();
        let target = format!("{}/{}", endpoint.name, prompt.model);
        let events = Events::new(&target, request::answer_tool(&prompt));
        let sent = async move {
            let mut post = endpoint.ask("messages", &prompt, &request(&prompt))?;
            if !endpoint.sets("anthropic-version") {
                post = post.header("anthropic-version", VERSION);
            }
            let betas = request::betas(&prompt);
            if !betas.is_empty() {
                post = post.header("anthropic-beta", betas.join(","));
            }
            endpoint.send(post, &target).await
        };
        streamed::answer(sent, events)
    }

    fn searches(&self, model: &str, _wish: &WebSearch, tools: &[Tool]) -> bool {
        version::searches(model) && tools.iter().all(|tool| tool.name != request::WEB_SEARCH)
    }

    fn continuation(&self, model: &str) -> Continuation {
        continuation(model)
    }
}

#[cfg(test)]
mod tests;
