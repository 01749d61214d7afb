//! Where servers that speak OpenAI's dialect differ from each other.

use crate::Continuation;

/// What a server does not take, or names otherwise. The default is a server that ignores what it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Whether the count of tokens has to be asked for.
    pub usage: CountOfTokens,
    /// The name of the bound on the answer's length.
    pub most_tokens: MostTokens,
    /// The name of the seed.
    pub seed: &'static str,
    /// Fields of other dialects and of other gateways.
    pub foreign: Foreign,
    /// The field of an earlier answer that holds its reasoning; `None`: it is refused.
    pub reasoning: Option<&'static str>,
    /// Fields of a request that it refuses.
    pub refused: &'static [&'static str],
    /// Fields of a message that it refuses.
    pub refused_in_messages: &'static [&'static str],
    /// The shape that vectors are asked for in.
    pub vectors: Vectors,
    /// How it goes on with an answer that was begun elsewhere.
    pub begun: Begun,
}

impl Quirks {
    /// None.
    pub const NONE: Quirks = Quirks {
        usage: CountOfTokens::Asked,
        most_tokens: MostTokens::AsAsked,
        seed: "seed",
        foreign: Foreign::Kept,
        reasoning: Some("reasoning_content"),
        refused: &[],
        refused_in_messages: &[],
        vectors: Vectors::Unsaid,
        begun: Begun::Asked,
    };
}

impl Default for Quirks {
    fn default() -> Quirks {
        Quirks::NONE
    }
}

/// Whether the count of tokens has to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountOfTokens {
    /// By `stream_options`.
    Asked,
    /// It comes anyway, and `stream_options` is refused.
    Given,
}

/// The name of the bound on the answer's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MostTokens {
    /// As the caller wrote it.
    AsAsked,
    /// `max_tokens`; the new name is refused.
    Old,
    /// `max_completion_tokens`; some models refuse the old name.
    New,
}

/// What becomes of fields that only other dialects have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// They go upstream: it ignores them, or has a use for them.
    Kept,
    /// They are left out: it refuses them.
    Dropped,
}

/// The shape that vectors are asked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vectors {
    /// Nothing is said: the server sends lists of numbers.
    Unsaid,
    /// Base64 of 32-bit floats, a third of the bytes.
    Base64,
}

/// How a server goes on with an answer that was begun elsewhere. Only what its makers promise: one that ignores the wish begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It does not by itself: it is asked in words.
    Asked,
    /// From a trailing assistant message.
    Trailing,
    /// The same, for the Claude models whose own API does so.
    TrailingForClaude,
    /// From a trailing assistant message that says `"prefix": true`.
    Prefix,
    /// From a trailing assistant message, where `continue_final_message` says so.
    Final,
}

impl Begun {
    /// How `model` does.
    pub fn of(self, model: &str) -> Continuation {
        match self {
            Begun::Asked => Continuation::Asked,
            Begun::Trailing => Continuation::Trailing,
            Begun::TrailingForClaude => super::anthropic::continuation(model),
            Begun::Prefix => Continuation::Prefix,
            Begun::Final => Continuation::Final,
        }
    }
}
