//! What a language model answers.

use serde_json::{Map, Value};

use crate::ToolCall;

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// It was complete, or a stop text came.
    Stop,
    /// The most tokens allowed were written.
    Length,
    /// The model waits for the results of tools.
    ToolCalls,
    /// The provider withheld the rest.
    ContentFilter,
}

impl Finish {
    /// The name in OpenAI's chat dialect.
    pub fn name(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::ToolCalls => "tool_calls",
            Finish::ContentFilter => "content_filter",
        }
    }
}

/// Tokens read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub input_tokens: u64,
    /// Of these, read from the provider's prompt cache.
    pub cached_tokens: u64,
    /// Of these, written to the provider's prompt cache.
    pub cache_write_tokens: u64,
    /// Of those written, the ones to be kept for an hour.
    pub cache_write_hour_tokens: u64,
    /// Of these, sound.
    pub audio_input_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub output_tokens: u64,
    /// Of these, reasoning.
    pub reasoning_tokens: u64,
    /// Of these, sound.
    pub audio_output_tokens: u64,
    /// Web searches that the provider made for it, each of which has a price of its own.
    pub searches: u64,
    /// How the provider served it, which has a price of its own.
    pub service: Service,
}

/// No answer has more tokens than this. Servers that count wrongly (below nothing, in a language without signs) say far more, and sums of that
/// overflow.
const MOST_TOKENS: u64 = 1_000_000_000_000;

impl Usage {
    /// The same with no count beyond belief.
    #[must_use]
    pub fn bounded(self) -> Usage {
        let bounded = |count: u64| count.min(MOST_TOKENS);
        Usage {
            input_tokens: bounded(self.input_tokens),
            cached_tokens: bounded(self.cached_tokens),
            cache_write_tokens: bounded(self.cache_write_tokens),
            cache_write_hour_tokens: bounded(self.cache_write_hour_tokens),
            audio_input_tokens: bounded(self.audio_input_tokens),
            output_tokens: bounded(self.output_tokens),
            reasoning_tokens: bounded(self.reasoning_tokens),
            audio_output_tokens: bounded(self.audio_output_tokens),
            searches: bounded(self.searches),
            service: self.service,
        }
    }
}

/// How fast a provider serves a request, and for how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Service {
    /// As usual.
    #[default]
    Standard,
    /// When there is room, for less.
    Flex,
    /// Before others, for more.
    Priority,
    /// Within a day, for less.
    Batch,
}

impl Service {
    /// Its name in OpenAI's and Anthropic's `service_tier`.
    pub fn name(self) -> &'static str {
        match self {
            Service::Standard => "standard",
            Service::Flex => "flex",
            Service::Priority => "priority",
            Service::Batch => "batch",
        }
    }

    /// What an answer's `service_tier` says; anything else is as usual.
    pub fn of(name: &str) -> Service {
        [Service::Flex, Service::Priority, Service::Batch].into_iter().find(|service| service.name() == name).unwrap_or_default()
    }
}

/// One streamed piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// More words.
    Text(String),
    /// More reasoning, not to be spoken.
    Reasoning(String),
    /// The provider's signature over the reasoning before it, which ends a stretch of reasoning.
    Signature(String),
    /// A whole stretch of reasoning that the provider shows encrypted only.
    Redacted(String),
    /// A piece of a call of a function.
    ToolCall {
        /// Which call, counted from 0 within the answer.
        index: usize,
        /// Its id, once known.
        id: Option<String>,
        /// Its name, once known.
        name: Option<String>,
        /// More of its arguments (JSON text).
        arguments: String,
        /// Fields that no type here models, in OpenAI's chat shape.
        extra: Map<String, Value>,
    },
    /// Fields of the choice that no type here models, in OpenAI's chat shape (`logprobs`, ...); those of its message (`annotations`, ...)
    /// are under `message`.
    Extra(Map<String, Value>),
    /// Tokens counted; the last one counts.
    Usage(Usage),
    /// The end, and why. Nothing but a `Usage` follows.
    Finish(Finish),
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    /// Its words.
    pub text: String,
    /// Its reasoning.
    pub reasoning: String,
    /// The provider's signature over the reasoning.
    pub signature: Option<String>,
    /// Reasoning that the provider shows encrypted only.
    pub redacted: Vec<String>,
    /// Functions it calls.
    pub tool_calls: Vec<ToolCall>,
    /// Tokens counted, where the provider said.
    pub usage: Option<Usage>,
    /// Why it ended; `None` while it has not.
    pub finish: Option<Finish>,
    /// Fields of the choice that no type here models; lists that came in pieces are joined.
    pub extra: Map<String, Value>,
}

impl Completion {
    /// Adds one piece.
    pub fn push(&mut self, delta: Delta) {
        match delta {
            Delta::Text(text) => self.text.push_str(&text),
            Delta::Reasoning(text) => self.reasoning.push_str(&text),
            Delta::Signature(signature) => self.signature.get_or_insert_default().push_str(&signature),
            Delta::Redacted(data) => self.redacted.push(data),
            Delta::Extra(extra) => join(&mut self.extra, extra),
            Delta::ToolCall { index, id, name, arguments, extra } => {
                // A provider that lies about the index must not make us allocate without end.
                let index = index.min(self.tool_calls.len());
                if index == self.tool_calls.len() {
                    self.tool_calls.push(ToolCall::default());
                }
                let call = &mut self.tool_calls[index];
                if let Some(id) = id {
                    call.id = id;
                }
                if let Some(name) = name {
                    call.name = name;
                }
                call.arguments.push_str(&arguments);
                call.extra.extend(extra);
            }
            Delta::Usage(usage) => self.usage = Some(usage),
            Delta::Finish(finish) => self.finish = Some(finish),
        }
    }
}

/// Adds fields to those that came before: lists grow, objects are joined, anything else is replaced.
fn join(into: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        match (into.get_mut(&key), value) {
            (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
            // Objects nest no deeper than the JSON parser lets them.
            (Some(Value::Object(object)), Value::Object(more)) => join(object, more),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_come_in_pieces_are_joined() {
        let mut completion = Completion::default();
        for extra in [json!({"logprobs": {"content": [1]}}), json!({"logprobs": {"content": [2]}, "tier": "a"}), json!({"tier": "b"})] {
            completion.push(Delta::Extra(extra.as_object().cloned().unwrap_or_default()));
        }
        assert_eq!(Value::Object(completion.extra), json!({"logprobs": {"content": [1, 2]}, "tier": "b"}));
    }
}
