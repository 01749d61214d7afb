//! What a language model answers.

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
    /// Tokens of the answer, reasoning included.
    pub output_tokens: u64,
    /// Of these, reasoning.
    pub reasoning_tokens: u64,
}

/// One streamed piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// More words.
    Text(String),
    /// More reasoning, not to be spoken.
    Reasoning(String),
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
    },
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
    /// Functions it calls.
    pub tool_calls: Vec<ToolCall>,
    /// Tokens counted, where the provider said.
    pub usage: Option<Usage>,
    /// Why it ended; `None` while it has not.
    pub finish: Option<Finish>,
}

impl Completion {
    /// Adds one piece.
    pub fn push(&mut self, delta: Delta) {
        match delta {
            Delta::Text(text) => self.text.push_str(&text),
            Delta::Reasoning(text) => self.reasoning.push_str(&text),
            Delta::ToolCall { index, id, name, arguments } => {
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
            }
            Delta::Usage(usage) => self.usage = Some(usage),
            Delta::Finish(finish) => self.finish = Some(finish),
        }
    }
}
