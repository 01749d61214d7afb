//! How hard a model is asked to think, read from a prompt in any of the shapes that callers use.

use serde_json::Value;

use crate::Prompt;

/// How hard to think before answering, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    /// Not at all.
    None,
    /// As little as it can.
    Minimal,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// As much as it can.
    Most,
}

impl Effort {
    /// `reasoning_effort` of OpenAI's chat, or `reasoning.effort` of its responses and of several gateways; `None` where neither is there.
    pub(crate) fn of(prompt: &Prompt) -> Option<Effort> {
        let nested = prompt.extra.get("reasoning").and_then(|reasoning| reasoning.get("effort"));
        match prompt.extra.get("reasoning_effort").or(nested).and_then(Value::as_str)? {
            "none" => Some(Effort::None),
            "minimal" => Some(Effort::Minimal),
            "low" => Some(Effort::Low),
            "medium" => Some(Effort::Medium),
            "high" => Some(Effort::High),
            "xhigh" | "max" => Some(Effort::Most),
            _ => None,
        }
    }

    /// The effort that stands nearest to a budget of thinking, tokens.
    pub(crate) fn of_budget(tokens: u64) -> Effort {
        match tokens {
            0 => Effort::None,
            1..=2_048 => Effort::Low,
            2_049..=8_192 => Effort::Medium,
            _ => Effort::High,
        }
    }

    /// A budget of thinking, tokens, for models that take a number. The steps are powers of two from Anthropic's least budget, 1024, to
    /// half of what its smallest thinking model may write.
    pub(crate) fn budget(self) -> u32 {
        match self {
            Effort::None => 0,
            Effort::Minimal => 1_024,
            Effort::Low => 2_048,
            Effort::Medium => 8_192,
            Effort::High => 16_384,
            Effort::Most => 32_768,
        }
    }

    /// The name in OpenAI's chat.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Effort::None => "none",
            Effort::Minimal => "minimal",
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::Most => "xhigh",
        }
    }
}
