//! What a language model is asked.

use serde_json::{Map, Value};

use crate::WebSearch;

/// Who a message is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Standing instructions (`system`, and OpenAI's `developer`).
    System,
    /// The caller.
    User,
    /// The model.
    Assistant,
    /// The result of a tool.
    Tool,
}

impl Role {
    /// The name in OpenAI's dialect.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

/// One piece of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Words.
    Text(String),
    /// Words up to which the provider may cache the prompt, with the caller's wish how, in Anthropic's shape.
    Cached {
        /// The words.
        text: String,
        /// `{"type": "ephemeral", ...}`.
        cache_control: Value,
    },
    /// What the model thought in an earlier answer, with what lets its provider check that nobody changed it.
    Reasoning {
        /// Its words; empty where the provider keeps them to itself.
        text: String,
        /// The provider's signature over them.
        signature: Option<String>,
        /// The thought itself, encrypted, where the provider does not show it.
        redacted: Option<String>,
    },
    /// A part that nothing here models (image, file, audio of an audio model), in OpenAI's chat shape.
    Other(Value),
}

/// A call of a function that the model asks for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ToolCall {
    /// The id that the result refers to.
    pub id: String,
    /// Name of the function.
    pub name: String,
    /// Arguments, a JSON text, as the model wrote it.
    pub arguments: String,
    /// Fields that no type here models, in OpenAI's chat shape (`extra_content` with a provider's signature, ...).
    pub extra: Map<String, Value>,
}

/// One message of the dialogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who it is from.
    pub role: Role,
    /// What it says.
    pub parts: Vec<Part>,
    /// Functions that an assistant message calls.
    pub tool_calls: Vec<ToolCall>,
    /// The call that a tool message answers.
    pub tool_call_id: Option<String>,
    /// Fields that no type here models, in OpenAI's chat shape (`name`, ...).
    pub extra: Map<String, Value>,
}

impl Message {
    /// A message of plain text.
    pub fn text(role: Role, text: impl Into<String>) -> Message {
        Message { role, parts: vec![Part::Text(text.into())], tool_calls: Vec::new(), tool_call_id: None, extra: Map::new() }
    }

    /// The words of all its text parts, joined.
    pub fn words(&self) -> String {
        let mut words = String::new();
        for part in &self.parts {
            if let Part::Text(text) | Part::Cached { text, .. } = part {
                words.push_str(text);
            }
        }
        words
    }
}

/// A function that the model may call, or another tool that only its provider knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name; empty: a tool in OpenAI's chat shape of which nothing is modelled, all of it in `extra`.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON schema of its arguments.
    pub parameters: Option<Value>,
    /// Fields that no type here models (`strict`, ...).
    pub extra: Map<String, Value>,
}

/// How the next token is chosen and when to stop. `None`: the model's own default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// Most tokens to write.
    pub max_tokens: Option<u32>,
    /// 0 always the likeliest .. 2 wild.
    pub temperature: Option<f32>,
    /// Nucleus: the smallest set of tokens with this much probability together.
    pub top_p: Option<f32>,
    /// Texts that end the answer, themselves not part of it.
    pub stop: Vec<String>,
    /// The same seed gives the same answer, where the engine can.
    pub seed: Option<u64>,
}

/// A request to a language model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompt {
    /// The id of the request, which a remote provider is told as `x-request-id`; may be empty.
    pub id: String,
    /// The model's name, as its provider knows it.
    pub model: String,
    /// The dialogue, oldest first.
    pub messages: Vec<Message>,
    /// Functions that may be called.
    pub tools: Vec<Tool>,
    /// Which function must or may be called, in OpenAI's chat shape.
    pub tool_choice: Option<Value>,
    /// How to choose tokens.
    pub sampling: Sampling,
    /// That the model search the web by itself; only for one that says it can.
    pub web_search: Option<WebSearch>,
    /// Request fields that no type here models, in OpenAI's chat shape: an upstream of the same dialect gets them as they came.
    pub extra: Map<String, Value>,
    /// Nobody reads along: a provider that can ([`LanguageModel::answers_whole`](crate::LanguageModel::answers_whole)) may send the answer
    /// in one piece.
    pub whole: bool,
}
