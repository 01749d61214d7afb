//! Deltas put into blocks that follow one another: what the dialects with blocks or items (Messages, Responses) are written from.
//!
//! A model may send pieces of several calls mixed, or a call's arguments before its name. Here never two blocks are open at once, a call
//! opens only when its id and name are known, and nothing that came is lost: what cannot be written yet is held.

use std::collections::VecDeque;

use models::{Delta, ToolCall};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// One stretch of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Block {
    /// Words.
    Text(String),
    /// What the model thought.
    Reasoning {
        text: String,
        /// The provider's signature over it.
        signature: Option<String>,
    },
    /// A thought that its provider shows encrypted only.
    Redacted(String),
    /// A call of a function.
    Call(ToolCall),
    /// A block that came whole, in the dialect of who wants it.
    Whole(Map<String, Value>),
}

/// What happens to the block that is open.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// It begins, without its content; a redacted or whole one has all of it.
    Open(Block),
    /// More words, thoughts or arguments.
    Piece(String),
    /// A signature over the thoughts.
    Signature(String),
    /// It is whole.
    Close(Block),
}

/// Deltas to steps.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    /// What makes the ids that had to be made here differ from those of other answers.
    stem: String,
    open: Option<Block>,
    /// The provider's number of the call that is open.
    call: usize,
    /// Numbers of the calls that are closed.
    closed: Vec<usize>,
    /// What could not be written yet; unmodelled fields stand for a whole block.
    held: VecDeque<Delta>,
}

impl Sequence {
    /// For the answer with this id.
    pub(crate) fn new(id: &str) -> Sequence {
        Sequence { stem: id.rsplit('_').next().unwrap_or_default().to_owned(), ..Sequence::default() }
    }

    /// The steps that a piece of the answer gives. Counts of tokens, the finish and unmodelled fields give none.
    pub(crate) fn push(&mut self, delta: Delta) -> Vec<Step> {
        let mut steps = Vec::new();
        match delta {
            Delta::Usage(_) | Delta::Finish(_) | Delta::Extra(_) => return steps,
            Delta::ToolCall { index, id, name, arguments, extra } => {
                if self.continues(index, id.as_deref(), name.as_deref()) {
                    self.argue(arguments, extra, &mut steps);
                } else if !self.closed.contains(&index) || (id.is_some() && name.is_some()) {
                    self.hold_call(index, id, name, arguments, extra);
                }
            }
            Delta::Text(text) | Delta::Reasoning(text) if text.is_empty() => return steps,
            content => self.held.push_back(content),
        }
        self.release(false, &mut steps);
        steps
    }

    /// The steps that a block gives that came whole.
    pub(crate) fn insert(&mut self, block: Map<String, Value>) -> Vec<Step> {
        let mut steps = Vec::new();
        self.held.push_back(Delta::Extra(block));
        self.release(false, &mut steps);
        steps
    }

    /// The steps that end the answer; it takes no more.
    pub(crate) fn finish(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.release(true, &mut steps);
        self.close(&mut steps);
        steps
    }

    /// Whether a piece belongs to the call that is open. Some servers number all calls 0 and tell them apart by their ids.
    fn continues(&self, index: usize, id: Option<&str>, name: Option<&str>) -> bool {
        match &self.open {
            Some(Block::Call(call)) if self.call == index => name.is_none() || id.is_none_or(|id| id == call.id),
            _ => false,
        }
    }

    fn argue(&mut self, arguments: String, extra: Map<String, Value>, steps: &mut Vec<Step>) {
        if let Some(Block::Call(call)) = &mut self.open {
            call.arguments.push_str(&arguments);
            call.extra.extend(extra);
            if !arguments.is_empty() {
                steps.push(Step::Piece(arguments));
            }
        }
    }

    fn hold_call(&mut self, index: usize, id: Option<String>, name: Option<String>, more: String, more_extra: Map<String, Value>) {
        let other = |held: &Option<String>| held.is_some() && id.is_some() && name.is_some() && *held != id;
        let place = self.held.iter_mut().rev().find_map(|held| match held {
            Delta::ToolCall { index: at, id: held_id, name, arguments, extra } if *at == index && !other(held_id) => {
                Some((held_id, name, arguments, extra))
            }
            _ => None,
        });
        let Some((held_id, held_name, arguments, extra)) = place else {
            return self.held.push_back(Delta::ToolCall { index, id, name, arguments: more, extra: more_extra });
        };
        *held_id = id.or(held_id.take());
        *held_name = name.or(held_name.take());
        arguments.push_str(&more);
        extra.extend(more_extra);
    }

    /// Writes what is held as far as it may be written; all of it where nothing more will come.
    fn release(&mut self, all: bool, steps: &mut Vec<Step>) {
        while let Some(next) = self.held.front() {
            let nameless = matches!(next, Delta::ToolCall { id, name, .. } if id.is_none() || name.is_none());
            if !all && (nameless || self.waits_for_arguments()) {
                return;
            }
            if let Some(next) = self.held.pop_front() {
                self.write(next, steps);
            }
        }
    }

    /// Whether a call is open whose arguments are not a whole JSON text yet.
    fn waits_for_arguments(&self) -> bool {
        matches!(&self.open, Some(Block::Call(call)) if serde_json::from_str::<IgnoredAny>(&call.arguments).is_err())
    }

    fn write(&mut self, delta: Delta, steps: &mut Vec<Step>) {
        match delta {
            Delta::Text(text) => {
                if !matches!(self.open, Some(Block::Text(_))) {
                    self.begin(Block::Text(String::new()), steps);
                }
                if let Some(Block::Text(words)) = &mut self.open {
                    words.push_str(&text);
                }
                steps.push(Step::Piece(text));
            }
            Delta::Reasoning(more) => {
                // A signature ends a stretch of reasoning.
                if !matches!(self.open, Some(Block::Reasoning { signature: None, .. })) {
                    self.begin(Block::Reasoning { text: String::new(), signature: None }, steps);
                }
                if let Some(Block::Reasoning { text, .. }) = &mut self.open {
                    text.push_str(&more);
                }
                steps.push(Step::Piece(more));
            }
            Delta::Signature(more) => {
                if !matches!(self.open, Some(Block::Reasoning { .. })) {
                    self.begin(Block::Reasoning { text: String::new(), signature: None }, steps);
                }
                if let Some(Block::Reasoning { signature, .. }) = &mut self.open {
                    signature.get_or_insert_default().push_str(&more);
                }
                steps.push(Step::Signature(more));
            }
            Delta::Redacted(data) => {
                self.begin(Block::Redacted(data), steps);
                self.close(steps);
            }
            Delta::ToolCall { index, id, name, arguments, extra } => {
                // A call that was never given an id must still be answerable, and its id be the only such in the dialogue.
                let id = id.unwrap_or_else(|| format!("call_{}{index}", self.stem));
                self.begin(Block::Call(ToolCall { id, name: name.unwrap_or_default(), ..ToolCall::default() }), steps);
                self.call = index;
                self.argue(arguments, extra, steps);
            }
            Delta::Extra(block) => {
                self.begin(Block::Whole(block), steps);
                self.close(steps);
            }
            Delta::Usage(_) | Delta::Finish(_) => {}
        }
    }

    fn begin(&mut self, block: Block, steps: &mut Vec<Step>) {
        self.close(steps);
        steps.push(Step::Open(block.clone()));
        self.open = Some(block);
    }

    fn close(&mut self, steps: &mut Vec<Step>) {
        if let Some(block) = self.open.take() {
            if matches!(block, Block::Call(_)) {
                self.closed.push(self.call);
            }
            steps.push(Step::Close(block));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(index: usize, id: &str, name: &str, arguments: &str) -> Delta {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Delta::ToolCall { index, id: some(id), name: some(name), arguments: arguments.to_owned(), extra: Map::new() }
    }

    fn text(text: &str) -> Delta {
        Delta::Text(text.to_owned())
    }

    /// One letter a step, the piece after it: `O` opens, `C` closes.
    fn check(deltas: impl IntoIterator<Item = Delta>, expected: &str) {
        let mut sequence = Sequence::new("msg_a");
        let mut steps: Vec<Step> = deltas.into_iter().flat_map(|delta| sequence.push(delta)).collect();
        steps.extend(sequence.finish());
        let told = steps.iter().map(|step| match step {
            Step::Open(Block::Text(_)) => "Ot".to_owned(),
            Step::Open(Block::Reasoning { .. }) => "Or".to_owned(),
            Step::Open(Block::Redacted(data)) => format!("Ox{data}"),
            Step::Open(Block::Whole(_)) => "Ow".to_owned(),
            Step::Open(Block::Call(call)) => format!("O{}:{}", call.id, call.name),
            Step::Piece(piece) => format!("+{piece}"),
            Step::Signature(signature) => format!("#{signature}"),
            Step::Close(_) => "C".to_owned(),
        });
        assert_eq!(told.collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn blocks_follow_one_another() {
        let thought = |text: &str| Delta::Reasoning(text.to_owned());
        let signed = |text: &str| Delta::Signature(text.to_owned());
        check([text("a"), text("b")], "Ot +a +b C");
        check([thought("hm"), signed("s"), text("a")], "Or +hm #s C Ot +a C");
        check([thought("a"), signed("s"), thought("b"), signed("t")], "Or +a #s C Or +b #t C");
        check([signed("s"), Delta::Redacted("d".to_owned()), text("a")], "Or #s C Oxd C Ot +a C");
        check([text(""), thought("")], "");
        check([text("a"), call(0, "x", "f", "{"), call(0, "", "", "}"), text("b")], "Ot +a C Ox:f +{ +} C Ot +b C");
    }

    #[test]
    fn a_call_waits_for_its_id_and_name() {
        check([call(0, "", "", "{"), call(0, "", "f", ""), call(0, "x", "", "}")], "Ox:f +{} C");
        check([call(0, "", "", "{}")], "Ocall_a0: +{} C");
        check([call(0, "x", "f", "")], "Ox:f C");
    }

    #[test]
    fn mixed_calls_are_told_apart_and_nothing_is_lost() {
        let mixed = [call(0, "x", "f", "{"), call(1, "y", "g", "["), call(0, "", "", "}"), call(1, "", "", "]")];
        check(mixed, "Ox:f +{ +} C Oy:g +[ +] C");
        check([call(0, "x", "f", ""), call(1, "y", "g", ""), call(0, "", "", "{}"), call(1, "", "", "[]")], "Ox:f +{} C Oy:g +[] C");
        check([call(0, "x", "f", "{"), text("a"), call(0, "", "", "}"), text("b")], "Ox:f +{ +} C Ot +a +b C");
        // All numbered 0: the ids tell them apart.
        check([call(0, "x", "f", "{}"), call(0, "y", "f", "{"), call(0, "", "", "}")], "Ox:f +{} C Oy:f +{ +} C");
        // The id and name in every piece.
        check([call(0, "x", "f", "{"), call(0, "x", "f", "}")], "Ox:f +{ +} C");
        // Invalid arguments are passed on as they are.
        check([call(0, "x", "f", "{oops"), call(1, "y", "g", "1")], "Ox:f +{oops C Oy:g +1 C");
    }
}
