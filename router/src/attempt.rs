//! The record of each try at a target.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use models::{Delta, Finish, ModelError, Prompt, Usage};

use crate::cost::{Priced, Tally, prompt_tokens};

/// One try at one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// `provider/model`.
    pub target: String,
    /// What it was asked to do.
    pub work: Work,
    /// What became of it.
    pub outcome: Outcome,
    /// From the start of the try to its first content.
    pub first_token: Option<Duration>,
    /// How long it took, or has taken when it was last heard of.
    pub total: Duration,
    /// HTTP status of the upstream where it refused; one that streamed said 200.
    pub status: Option<u16>,
    /// Tokens it took; `None` while it runs, and where it was refused before it began.
    pub usage: Option<Counted>,
    /// What it cost, where the price is known.
    pub cost: Option<Priced>,
    /// Where it went on with an answer that another target began: characters that were released before.
    pub resumed_at: Option<u64>,
}

/// Tokens, and who counted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The provider.
    Reported(Usage),
    /// We did, from the characters: the attempt ended before its provider counted, or it never counts.
    Estimated(Usage),
}

impl Counted {
    /// The tokens.
    pub fn usage(&self) -> Usage {
        match self {
            Counted::Reported(usage) | Counted::Estimated(usage) => *usage,
        }
    }
}

/// What a target is asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Work {
    /// To answer.
    #[default]
    Answer,
    /// To search the web.
    Search,
    /// To hear what was said.
    Transcription,
    /// To speak.
    Speech,
    /// To turn texts into vectors.
    Embedding,
}

impl Work {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Work::Answer => "answer",
            Work::Search => "search",
            Work::Transcription => "transcription",
            Work::Speech => "speech",
            Work::Embedding => "embedding",
        }
    }
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It still runs.
    Running,
    /// It answered to the end.
    Answered(Option<Finish>),
    /// It failed; where another attempt follows, that one took over.
    Failed(ModelError),
    /// Another attempt that ran beside it was faster.
    Outrun,
    /// The caller went away first.
    Cancelled,
}

impl Attempt {
    /// Whether its tokens or its cost are estimated.
    pub fn is_estimated(&self) -> bool {
        matches!(self.usage, Some(Counted::Estimated(_))) || self.cost.is_some_and(|cost| cost.estimated)
    }

    /// A try that begins.
    pub fn new(target: impl Into<String>) -> Attempt {
        Attempt {
            target: target.into(),
            work: Work::Answer,
            outcome: Outcome::Running,
            first_token: None,
            total: Duration::ZERO,
            status: None,
            usage: None,
            cost: None,
            resumed_at: None,
        }
    }
}

/// A handle to the attempts of one answer, readable while and after it streams.
#[derive(Clone, Debug, Default)]
pub struct AttemptLog(Arc<Mutex<Vec<Attempt>>>);

/// Which attempt of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttemptId(usize);

impl AttemptId {
    /// The attempt's own id in a request of this id: no engine is asked under the same id twice, since some refuse that.
    pub(crate) fn of(self, request: &str) -> String {
        if self.0 == 0 || request.is_empty() { request.to_owned() } else { format!("{request}-{}", self.0 + 1) }
    }
}

impl AttemptLog {
    /// The attempts so far, in the order in which they began.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.lock().clone()
    }

    pub(crate) fn begin(&self, attempt: Attempt) -> AttemptId {
        let mut attempts = self.lock();
        attempts.push(attempt);
        AttemptId(attempts.len() - 1)
    }

    pub(crate) fn update(&self, id: AttemptId, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = self.lock().get_mut(id.0) {
            change(attempt);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a target was seen to write, counted while it streams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Words and arguments.
    text: Tally,
    /// Reasoning that is shown.
    reasoning: Tally,
    /// Whether anything came at all.
    begun: bool,
    /// What the provider counted.
    reported: Option<Usage>,
}

impl Seen {
    pub(crate) fn note(&mut self, delta: &Delta) {
        self.begun = true;
        match delta {
            Delta::Text(text) => self.text.add(text),
            Delta::ToolCall { arguments, .. } => self.text.add(arguments),
            Delta::Reasoning(text) => self.reasoning.add(text),
            Delta::Usage(usage) => self.reported = Some(*usage),
            Delta::Signature(_) | Delta::Redacted(_) | Delta::Extra(_) | Delta::Finish(_) => {}
        }
    }

    /// Whether the target began, and so has read the prompt.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The tokens: those of the provider where they cover what was seen, else an estimate.
    pub(crate) fn count(&self, prompt: &Prompt, is_whole: bool) -> Counted {
        let reasoning_tokens = self.reasoning.tokens();
        let output_tokens = self.text.tokens() + reasoning_tokens;
        match self.reported {
            Some(usage) if is_whole => Counted::Reported(usage),
            // Counted before the end (Anthropic's first event counts the prompt): the rest is ours to guess.
            Some(usage) => Counted::Estimated(Usage { output_tokens: usage.output_tokens.max(output_tokens), ..usage }),
            None => Counted::Estimated(Usage { input_tokens: prompt_tokens(prompt), output_tokens, reasoning_tokens, ..Usage::default() }),
        }
    }
}

/// Adds what two attempts took.
pub(crate) fn sum(one: Usage, other: Usage) -> Usage {
    Usage {
        input_tokens: one.input_tokens + other.input_tokens,
        cached_tokens: one.cached_tokens + other.cached_tokens,
        cache_write_tokens: one.cache_write_tokens + other.cache_write_tokens,
        cache_write_hour_tokens: one.cache_write_hour_tokens + other.cache_write_hour_tokens,
        audio_input_tokens: one.audio_input_tokens + other.audio_input_tokens,
        output_tokens: one.output_tokens + other.output_tokens,
        reasoning_tokens: one.reasoning_tokens + other.reasoning_tokens,
        audio_output_tokens: one.audio_output_tokens + other.audio_output_tokens,
        searches: one.searches + other.searches,
        // Each was priced by itself; the last one is what the caller is told.
        service: other.service,
    }
}

#[cfg(test)]
mod tests {
    use models::{Message, Role};

    use super::*;

    #[test]
    fn tokens_are_the_providers_where_it_counted_to_the_end() {
        let prompt = Prompt { messages: vec![Message::text(Role::User, "12345678")], ..Prompt::default() };
        let usage = |input_tokens, output_tokens| Usage { input_tokens, output_tokens, ..Usage::default() };
        for (reported, is_whole, expected) in [
            (Some(usage(11, 16)), true, Counted::Reported(usage(11, 16))),
            (Some(usage(11, 1)), false, Counted::Estimated(usage(11, 3))),
            (None, true, Counted::Estimated(usage(6, 3))),
            (None, false, Counted::Estimated(usage(6, 3))),
        ] {
            let mut seen = Seen::default();
            seen.note(&Delta::Text("twelve bytes".to_owned()));
            if let Some(usage) = reported {
                seen.note(&Delta::Usage(usage));
            }
            assert_eq!(seen.count(&prompt, is_whole), expected);
        }
    }
}
