//! An answer as it is kept: its pieces in their order, small ones joined.

use models::{Delta, Finish};
use serde_json::{Map, Value};

/// Joined pieces of words are at most this long, bytes: a replay comes in pieces that a reader or a voice can begin with.
const PIECE: usize = 160;
/// What a piece weighs besides its texts, bytes.
const OVERHEAD: usize = size_of::<Delta>() + 16;

/// The pieces of an answer while it comes.
#[derive(Debug, Default)]
pub(super) struct Recording {
    deltas: Vec<Delta>,
    bytes: usize,
    finish: Option<Finish>,
    content: bool,
}

impl Recording {
    /// Adds one piece.
    pub(super) fn push(&mut self, delta: &Delta) {
        match delta {
            Delta::Finish(finish) => self.finish = Some(*finish),
            Delta::Text(text) => self.content |= !text.is_empty(),
            Delta::ToolCall { .. } => self.content = true,
            Delta::Reasoning(_) | Delta::Signature(_) | Delta::Redacted(_) | Delta::Extra(_) | Delta::Usage(_) => {}
        }
        self.bytes += texts(delta);
        if !self.deltas.last_mut().is_some_and(|last| join(last, delta)) {
            self.bytes += OVERHEAD;
            self.deltas.push(delta.clone());
        }
    }

    /// What it takes up so far, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The whole answer, if it may be given to somebody else: it said something and ended by itself. One that was cut (`length`) is not
    /// kept, because asking again may give a whole one; one that the provider withheld is not, because it is no answer.
    pub(super) fn finished(self) -> Option<Vec<Delta>> {
        let whole = matches!(self.finish, Some(Finish::Stop | Finish::ToolCalls));
        (whole && self.content).then_some(self.deltas)
    }
}

/// Puts `more` behind `last` where both are of a kind and short.
fn join(last: &mut Delta, more: &Delta) -> bool {
    match (last, more) {
        (Delta::Text(text), Delta::Text(more)) | (Delta::Reasoning(text), Delta::Reasoning(more)) if text.len() + more.len() <= PIECE => {
            text.push_str(more);
            true
        }
        (Delta::ToolCall { index, arguments, .. }, Delta::ToolCall { index: same, id: None, name: None, arguments: more, extra })
            if index == same && extra.is_empty() && arguments.len() + more.len() <= PIECE =>
        {
            arguments.push_str(more);
            true
        }
        _ => false,
    }
}

/// The bytes of the texts in a piece.
fn texts(delta: &Delta) -> usize {
    match delta {
        Delta::Text(text) | Delta::Reasoning(text) | Delta::Signature(text) | Delta::Redacted(text) => text.len(),
        Delta::ToolCall { id, name, arguments, extra, .. } => {
            id.as_ref().map_or(0, String::len) + name.as_ref().map_or(0, String::len) + arguments.len() + weight(extra)
        }
        Delta::Extra(extra) => weight(extra),
        Delta::Usage(_) | Delta::Finish(_) => 0,
    }
}

fn weight(object: &Map<String, Value>) -> usize {
    if object.is_empty() { 0 } else { object.iter().map(|(name, value)| name.len() + json(value)).sum() }
}

fn json(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(list) => list.iter().map(json).sum(),
            Value::Object(object) => weight(object),
        }
}

#[cfg(test)]
mod tests {
    use models::{Completion, Usage};
    use serde_json::json;

    use super::*;

    fn call(index: usize, id: Option<&str>, arguments: &str) -> Delta {
        let (id, name) = (id.map(str::to_owned), id.map(|_| "f".to_owned()));
        Delta::ToolCall { index, id, name, arguments: arguments.to_owned(), extra: Map::new() }
    }

    fn recorded(deltas: &[Delta]) -> Option<Vec<Delta>> {
        let mut recording = Recording::default();
        deltas.iter().for_each(|delta| recording.push(delta));
        recording.finished()
    }

    #[test]
    fn pieces_are_joined_and_say_the_same() {
        let extra = json!({"logprobs": [1]}).as_object().cloned().unwrap_or_default();
        let deltas: Vec<Delta> = [Delta::Reasoning("think".into()), Delta::Reasoning("ing".into()), Delta::Signature("s".into())]
            .into_iter()
            .chain((0..100).map(|n| Delta::Text(format!("word {n} "))))
            .chain([Delta::Extra(extra), call(0, Some("a"), ""), call(0, None, "{\"x\""), call(0, None, ":1}"), call(1, Some("b"), "{}")])
            .chain([Delta::Finish(Finish::ToolCalls), Delta::Usage(Usage { input_tokens: 3, ..Usage::default() })])
            .collect();
        let kept = recorded(&deltas).expect("it is whole");
        assert!(kept.len() < 20, "{kept:?}");
        let whole = |deltas: &[Delta]| {
            let mut completion = Completion::default();
            deltas.iter().for_each(|delta| completion.push(delta.clone()));
            completion
        };
        assert_eq!(whole(&kept), whole(&deltas));
    }

    #[test]
    fn only_whole_answers_are_kept() {
        let text = || Delta::Text("hello".into());
        for (deltas, kept) in [
            (vec![text(), Delta::Finish(Finish::Stop)], true),
            (vec![call(0, Some("a"), "{}"), Delta::Finish(Finish::ToolCalls)], true),
            (vec![text(), Delta::Finish(Finish::Length)], false),
            (vec![text(), Delta::Finish(Finish::ContentFilter)], false),
            (vec![text()], false),
            (vec![Delta::Text(String::new()), Delta::Finish(Finish::Stop)], false),
            (vec![Delta::Reasoning("hm".into()), Delta::Finish(Finish::Stop)], false),
        ] {
            assert_eq!(recorded(&deltas).is_some(), kept, "{deltas:?}");
        }
    }
}
