//! One realtime call as a session sees it, whatever wire it came over: what the client wants, what the session tells.
//!
//! A transport turns its socket into a [`Call`] and its wire format into these types; the session never sees JSON.

mod event;
mod toolset;

use std::time::Duration;

use bytes::Bytes;
use models::mcp::{McpError, McpTool};
use models::{SignalSet, Voice};
use serde_json::Value;
use tokio::sync::mpsc;

use audio::codec::Codec;
pub use event::{CallError, Ending, Event, Place, Response, Routed};
pub use toolset::{McpCall, Progress, Toolset};

use crate::Books;

/// Tokens of a conversation that are sent where nobody says how many: what OpenAI's realtime models read, 32,768, less 4,096 for the answer.
pub const MOST_TOKENS: u64 = 28_672;

/// The two ends that a transport gives to a session.
pub struct Call {
    /// Name of the call, for logs.
    pub id: String,
    /// Whose it is, and where its books are kept.
    pub books: Books,
    /// The configuration that the client starts with.
    pub config: SessionConfig,
    /// What the client asks for. The session ends when it closes.
    pub commands: mpsc::Receiver<Request>,
    /// What the client is told.
    pub events: mpsc::Sender<Event>,
}

/// A command, and the id that an error about it must carry.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The client's own id of its event.
    pub event_id: Option<String>,
    /// What it wants.
    pub command: Command,
}

/// What a client may ask of a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// The session goes by this configuration from now on.
    Update(Box<SessionConfig>),
    /// More of the caller's sound, in the configured input codec.
    Append(Bytes),
    /// The caller's turn ends here.
    Commit,
    /// Forget the sound that was not committed.
    Clear,
    /// Add an item to the conversation.
    Create {
        /// The item to add it after; `None`: at the end; `root`: at the front.
        after: Option<String>,
        /// The item.
        item: Item,
    },
    /// Send an item back.
    Retrieve(ItemId),
    /// Forget an item.
    Delete(ItemId),
    /// The caller heard no more than this of a spoken item.
    Truncate {
        /// The item.
        item: ItemId,
        /// Its part.
        content_index: usize,
        /// What was heard, ms.
        audio_end_ms: u64,
    },
    /// Answer now.
    Respond(Box<ResponseConfig>),
    /// Stop the answer in progress, or the one named.
    Cancel(Option<String>),
    /// From the transport: the caller pressed a key of their telephone, `0` to `9`, `*`, `#`, `A` to `D`.
    Key(char),
    /// From the transport, where it plays answers at the listener's pace itself: how far it is. It tells this wherever it knows it, and
    /// at every [`Event::Hold`]; the speech before `heard` was heard.
    Played {
        /// The answer.
        response: String,
        /// Its speech so far.
        heard: Duration,
    },
    /// From the same transports: what was left of an answer's speech has been thrown away, so no more of it than this was heard.
    Silenced {
        /// The answer.
        response: String,
        /// Its speech up to there.
        heard: Duration,
    },
}

/// Name of an item of the conversation.
pub type ItemId = String;

/// How a session behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionConfig {
    /// The model or router that answers, as the client wrote it.
    pub model: String,
    /// Standing instructions.
    pub instructions: String,
    /// Whether answers are spoken, or only written.
    pub spoken: bool,
    /// What the caller's sound is encoded in.
    pub input: Codec,
    /// Language of the caller, where given.
    pub language: Option<models::Language>,
    /// The languages that the caller may speak; empty: any.
    pub languages: Vec<models::Language>,
    /// What the transcriber is to take for the text before the caller's words.
    pub prompt: Option<String>,
    /// Words and phrases that the caller is likely to say.
    pub keywords: Vec<String>,
    /// Whether the right words are worth waiting for.
    pub thorough: bool,
    /// Whether the client reads the transcripts.
    pub transcripts: bool,
    /// What it wants to be told of the caller's voice. Rules may need more; nothing else is measured.
    pub signals: SignalSet,
    /// Whether the caller's sound is cleaned before anything listens.
    pub noise_reduction: bool,
    /// Whether the echo of answers is taken out of the caller's sound.
    pub echo: EchoCancellation,
    /// How turns end.
    pub turns: TurnDetection,
    /// Whether an answer is begun, unheard, while a pause only seems to be the end of a turn.
    pub prepare: bool,
    /// What answers are encoded in.
    pub output: Codec,
    /// Who speaks; `None`: the server's default.
    pub voice: Option<Voice>,
    /// What the model may call.
    pub tools: Toolset,
    /// Which it must call: in OpenAI's chat shape, or a tool of an MCP server as OpenAI's realtime API names it.
    pub tool_choice: Option<Value>,
    /// Most tokens of an answer.
    pub max_tokens: Option<u32>,
    /// 0 to 2.
    pub temperature: Option<f32>,
    /// Who the caller is, for sticky variants.
    pub user: Option<String>,
    /// Facts for rules.
    pub metadata: serde_json::Map<String, Value>,
    /// After so much silence of both sides the assistant speaks again; `None`: it waits for ever.
    pub idle_timeout: Option<Duration>,
    /// What becomes of the oldest items of a long conversation.
    pub truncation: Truncation,
    /// In which pieces an answer is handed to the synthesizer.
    pub segments: Segments,
    /// What is said while an answer is late.
    pub filler: Option<Filler>,
}

/// Whether the echo of answers is taken out of the caller's sound before anything listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoCancellation {
    /// Where the transport's clients mostly do not do it themselves.
    Auto,
    /// It is.
    On,
    /// It is not.
    Off,
}

/// What becomes of the oldest items of a conversation that grows longer than a model reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Truncation {
    /// All are sent, whatever becomes of it.
    Disabled,
    /// Beyond `most` tokens the oldest are left out, until this part of them is left.
    Retain {
        /// Part that is left, 0 to 1.
        ratio: f32,
        /// Tokens behind the instructions.
        most: u64,
    },
}

/// In which pieces an answer is handed to the synthesizer while it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// As it comes; the synthesizer begins with the first clause.
    Clauses,
    /// Sentence by sentence.
    Sentences,
    /// Whole.
    Turn,
}

/// What is said while an answer is late, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Filler {
    /// How long the answer's first word may take.
    pub wait: Duration,
    /// How long after one no other is said.
    pub gap: Duration,
    /// The words; `None`: some in the caller's language.
    pub text: Option<String>,
}

impl SessionConfig {
    /// The caller speaks this `language`, or one of `languages`; `None` among them leaves open which.
    pub(crate) fn speaks(&mut self, language: Option<models::Language>, languages: Vec<Option<models::Language>>) {
        let several: Vec<_> = languages.iter().copied().collect::<Option<_>>().unwrap_or_default();
        // One among one is that one.
        self.language = language.or(if let [only] = several[..] { Some(only) } else { None });
        self.languages = if self.language.is_some() { Vec::new() } else { several };
    }
}

impl Default for SessionConfig {
    /// As a client of OpenAI's realtime API finds it: spoken answers, PCM at 24 kHz both ways, and a turn that ends where sound and words
    /// say so; with transcripts.
    fn default() -> SessionConfig {
        let pcm = Codec::Pcm16(audio::Rate::SPEECH);
        SessionConfig {
            model: String::new(),
            instructions: String::new(),
            spoken: true,
            input: pcm,
            language: None,
            languages: Vec::new(),
            prompt: None,
            keywords: Vec::new(),
            thorough: false,
            transcripts: true,
            signals: SignalSet::ALL,
            noise_reduction: false,
            echo: EchoCancellation::Off,
            turns: TurnDetection::Semantic { eagerness: Eagerness::Medium, then: AfterTurn { respond: true, interrupt: true } },
            prepare: true,
            output: pcm,
            voice: None,
            tools: Toolset::default(),
            tool_choice: None,
            max_tokens: None,
            temperature: None,
            user: None,
            metadata: serde_json::Map::new(),
            idle_timeout: None,
            truncation: Truncation::Retain { ratio: 0.8, most: MOST_TOKENS },
            segments: Segments::Clauses,
            filler: None,
        }
    }
}

/// How the end of the caller's turn is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TurnDetection {
    /// The client commits.
    Manual,
    /// A fixed silence ends the turn.
    Silence {
        /// From here on a window of sound is speech, 0 to 1.
        threshold: f32,
        /// Sound before the onset that is kept, ms.
        padding_ms: u64,
        /// Silence that ends the turn, ms.
        silence_ms: u64,
        /// What follows.
        then: AfterTurn,
    },
    /// Sound and words tell whether a pause is the end.
    Semantic {
        /// How soon an unclear pause is taken for the end.
        eagerness: Eagerness,
        /// What follows.
        then: AfterTurn,
    },
}

/// What follows the caller's turn, and their speaking into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfterTurn {
    /// Answer by itself.
    pub respond: bool,
    /// Stop an answer when the caller speaks.
    pub interrupt: bool,
}

/// How soon an unclear pause is taken for the end of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eagerness {
    /// Let the caller think.
    Low,
    /// In between.
    Medium,
    /// Answer quickly.
    High,
}

/// What one answer does differently from the session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResponseConfig {
    /// Other instructions.
    pub instructions: Option<String>,
    /// Spoken or only written.
    pub spoken: Option<bool>,
    /// Other functions and servers.
    pub tools: Option<Toolset>,
    /// Another choice of function.
    pub tool_choice: Option<Value>,
    /// Another limit.
    pub max_tokens: Option<u32>,
    /// Another voice.
    pub voice: Option<Voice>,
    /// What is said, word for word: no model is asked.
    pub say: Option<String>,
    /// Beside the conversation: neither reads it nor adds to it.
    pub aside: bool,
    /// What is asked instead of the conversation.
    pub input: Option<Vec<InputItem>>,
    /// The client's own notes, sent back with the answer.
    pub metadata: Option<Value>,
    /// Nobody has said anything for so long: that is what is answered.
    pub silence: Option<Duration>,
}

/// An item of a question beside the conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum InputItem {
    /// An item that the conversation has.
    Reference(ItemId),
    /// A new one.
    Item(Item),
}

/// An item of the conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its name; empty: the session makes one.
    pub id: ItemId,
    /// What it is.
    pub content: ItemContent,
    /// Whether it is whole.
    pub status: Status,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemContent {
    /// A message of the client's: instructions, words of the caller, or of the assistant in an earlier conversation.
    Message {
        /// Who it is from.
        role: models::Role,
        /// Its parts.
        parts: Vec<Content>,
    },
    /// The model calls a function.
    FunctionCall {
        /// What the output refers to.
        call_id: String,
        /// The function.
        name: String,
        /// JSON text.
        arguments: String,
    },
    /// What a function returned.
    FunctionCallOutput {
        /// The call.
        call_id: String,
        /// Its result.
        output: String,
    },
    /// What an MCP server offers.
    McpTools {
        /// The server's label.
        server: String,
        /// Its tools, or why there are none; `None`: it was asked.
        listed: Option<Result<Vec<McpTool>, McpError>>,
    },
    /// The model calls a tool of an MCP server.
    McpCall(Box<McpCall>),
    /// Somebody is asked whether the model may do that.
    McpApprovalRequest {
        /// The server's label.
        server: String,
        /// The tool's name there.
        tool: String,
        /// JSON text.
        arguments: String,
    },
    /// Whether it may.
    McpApprovalResponse {
        /// The request.
        request: ItemId,
        /// Whether it was approved.
        approve: bool,
        /// Why, in words.
        reason: Option<String>,
    },
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Words.
    Text(String),
    /// Sound with its transcript; given by the client: PCM16 at 24 kHz still to be heard.
    Audio {
        /// What is said in it, once known.
        transcript: Option<String>,
        /// Bytes of the client's that nobody has heard yet.
        pcm: Option<Bytes>,
    },
    /// A picture, passed on to models that see.
    Image(String),
}

/// How far an item or an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// On its way.
    InProgress,
    /// Whole.
    Completed,
    /// Cut short.
    Incomplete,
    /// Stopped by the client or the caller's voice.
    Cancelled,
    /// Something broke.
    Failed,
}
