//! What a session tells its client.

use bytes::Bytes;
use models::Signals;
use router::{Attempt, Decision};
use serde_json::Value;

use super::{Item, ItemId, Progress};

/// Why an answer ended otherwise than whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is whole.
    Whole,
    /// The caller spoke.
    Interrupted,
    /// The client asked.
    ClientCancelled,
    /// The limit of tokens.
    MaxTokens,
    /// The provider withheld the rest.
    ContentFilter,
    /// An error, in words.
    Failed(String),
}

/// An answer, as the client is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// Its name.
    pub id: String,
    /// How it ended; `None` while it has not.
    pub ending: Option<Ending>,
    /// Its items.
    pub output: Vec<Item>,
    /// Whether it is spoken.
    pub spoken: bool,
    /// Whether it stands in the conversation.
    pub aside: bool,
    /// Most tokens of it.
    pub max_tokens: Option<u32>,
    /// Who speaks.
    pub voice: String,
    /// Tokens.
    pub usage: Option<models::Usage>,
    /// The client's notes.
    pub metadata: Option<Value>,
    /// Who answered, and what was tried.
    pub routed: Option<Routed>,
}

/// Who answers a turn, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Routed {
    /// The choice.
    pub decision: Decision,
    /// What was tried.
    pub attempts: Vec<Attempt>,
}

/// Where in an answer something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The answer.
    pub response: String,
    /// Its item.
    pub item: ItemId,
    /// The item's index in the answer.
    pub output_index: usize,
}

/// What a session tells its client.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The new configuration is in force.
    Updated,
    /// The caller began to speak.
    SpeechStarted {
        /// Position in the caller's sound, ms.
        at_ms: u64,
        /// The item that it will be.
        item: ItemId,
    },
    /// The caller's turn is over.
    SpeechStopped {
        /// Position in the caller's sound, ms.
        at_ms: u64,
        /// The item.
        item: ItemId,
    },
    /// Both sides were silent for as long as the session allows: an answer follows, to an item without words.
    TimedOut {
        /// Where the silence began in the caller's sound, ms.
        from_ms: u64,
        /// Where it ended, ms.
        to_ms: u64,
        /// The item.
        item: ItemId,
    },
    /// The caller's sound is now an item.
    Committed {
        /// The item before it.
        after: Option<ItemId>,
        /// The item.
        item: ItemId,
    },
    /// The sound was forgotten.
    Cleared,
    /// An item is in the conversation, perhaps still growing.
    ItemAdded {
        /// The item before it.
        after: Option<ItemId>,
        /// The item.
        item: Item,
    },
    /// An item is whole.
    ItemDone {
        /// The item before it.
        after: Option<ItemId>,
        /// The item.
        item: Item,
    },
    /// The item that was asked for.
    ItemRetrieved(Item),
    /// An item is forgotten.
    ItemDeleted(ItemId),
    /// An item was cut to what was heard.
    ItemTruncated {
        /// The item.
        item: ItemId,
        /// Its part.
        content_index: usize,
        /// What was heard, ms.
        audio_end_ms: u64,
    },
    /// More of the caller's words.
    TranscriptDelta {
        /// The item.
        item: ItemId,
        /// What is new.
        delta: String,
    },
    /// The caller's words.
    TranscriptDone {
        /// The item.
        item: ItemId,
        /// All of them.
        text: String,
        /// Language, where known.
        language: Option<String>,
        /// Length of the sound, seconds.
        seconds: f64,
    },
    /// The caller's words could not be heard.
    TranscriptFailed {
        /// The item.
        item: ItemId,
        /// Why.
        message: String,
    },
    /// How the caller said it.
    Signals {
        /// The item.
        item: ItemId,
        /// What was measured.
        signals: Box<Signals>,
    },
    /// Who answers.
    Routed {
        /// The answer.
        response: String,
        /// The choice.
        decision: Decision,
    },
    /// An answer begins.
    ResponseCreated(Box<Response>),
    /// An item of an answer begins.
    OutputItemAdded {
        /// Where.
        place: Place,
        /// The item.
        item: Item,
    },
    /// A part of an item begins: spoken or written.
    PartAdded {
        /// Where.
        place: Place,
        /// Whether it is spoken.
        spoken: bool,
    },
    /// Sound of the answer, in the output codec.
    AudioDelta {
        /// Where.
        place: Place,
        /// The bytes.
        audio: Bytes,
    },
    /// An answer falls silent where it is, or goes on from there: the caller spoke into it, and may mean it. For transports that play
    /// answers themselves; nothing is told to the client.
    Hold {
        /// The answer.
        response: String,
        /// Whether it is silent.
        held: bool,
    },
    /// What was not heard yet of an answer's speech is to be thrown away. For the same transports.
    Silence {
        /// The answer.
        response: String,
    },
    /// Words of the answer: the transcript of the sound, or the text.
    TextDelta {
        /// Where.
        place: Place,
        /// Whether it is spoken.
        spoken: bool,
        /// What is new.
        delta: String,
    },
    /// A piece of a function call of the answer.
    CallDelta {
        /// Where.
        place: Place,
        /// The call.
        call_id: String,
        /// What is new of its arguments.
        delta: String,
    },
    /// A part is whole.
    PartDone {
        /// Where.
        place: Place,
        /// Whether it is spoken.
        spoken: bool,
        /// All its words.
        text: String,
    },
    /// A function call is whole.
    CallDone {
        /// Where.
        place: Place,
        /// The call.
        call_id: String,
        /// The function.
        name: String,
        /// Its arguments.
        arguments: String,
    },
    /// A piece of a call of an MCP server's tool.
    McpCallDelta {
        /// Where.
        place: Place,
        /// What is new of its arguments.
        delta: String,
    },
    /// Such a call is whole.
    McpCallDone {
        /// Where.
        place: Place,
        /// Its arguments.
        arguments: String,
    },
    /// How far such a call is; it may outlast its answer.
    McpCalled {
        /// Where.
        place: Place,
        /// How far.
        progress: Progress,
    },
    /// How far the list of an MCP server's tools is.
    McpListed {
        /// The item.
        item: ItemId,
        /// How far.
        progress: Progress,
    },
    /// An item of an answer is whole.
    OutputItemDone {
        /// Where.
        place: Place,
        /// The item.
        item: Item,
    },
    /// An answer ended.
    ResponseDone(Box<Response>),
    /// The caller pressed a key of their telephone.
    Key {
        /// Which: `0` to `9`, `*`, `#`, `A` to `D`.
        key: char,
        /// When, seconds since 1970.
        at: u64,
    },
    /// How near the caller is to their limits.
    Limits(router::limit::Standings),
    /// Something the client asked for could not be done; the session goes on.
    Error(CallError),
}

/// An error about one command, or about the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// Short name for programs.
    pub code: &'static str,
    /// For a person: what is wrong and what is allowed.
    pub message: String,
    /// The field it is about.
    pub param: Option<String>,
    /// The client's event.
    pub event_id: Option<String>,
}
