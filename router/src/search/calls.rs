//! The calls of one round, told apart: ours are kept, the caller's go on under numbers without gaps.

use models::Delta;
use serde_json::{Map, Value};

/// The calls of a round.
#[derive(Debug)]
pub(super) struct Calls {
    /// What our tool is called.
    name: &'static str,
    calls: Vec<Call>,
    /// The number of the caller's next call.
    next: usize,
}

#[derive(Debug)]
struct Call {
    /// The model's number.
    index: usize,
    whose: Whose,
}

#[derive(Debug)]
enum Whose {
    /// Its name is not known yet.
    Unknown(Pieces),
    /// It calls our tool.
    Ours,
    /// It calls one of the caller's, with this number.
    Theirs(usize),
}

/// What came of a call before its name.
#[derive(Debug, Default)]
struct Pieces {
    id: Option<String>,
    arguments: String,
    extra: Map<String, Value>,
}

impl Calls {
    /// For a round in which the caller's calls begin at this number.
    pub(super) fn new(name: &'static str, next: usize) -> Calls {
        Calls { name, calls: Vec::new(), next }
    }

    /// The number of the caller's next call.
    pub(super) fn next(&self) -> usize {
        self.next
    }

    /// The piece of a call as the caller is told it; `None` where it is of ours, or not known whose it is.
    pub(super) fn push(&mut self, delta: Delta) -> Option<Delta> {
        let Delta::ToolCall { index, id, name, arguments, extra } = delta else { return Some(delta) };
        let at = self.calls.iter().position(|call| call.index == index).unwrap_or_else(|| {
            self.calls.push(Call { index, whose: Whose::Unknown(Pieces::default()) });
            self.calls.len() - 1
        });
        match &mut self.calls[at].whose {
            Whose::Ours => None,
            Whose::Theirs(number) => Some(Delta::ToolCall { index: *number, id, name, arguments, extra }),
            Whose::Unknown(pieces) => {
                pieces.id = id.or(pieces.id.take());
                pieces.arguments.push_str(&arguments);
                pieces.extra.extend(extra);
                let name = name?;
                if name == self.name {
                    self.calls[at].whose = Whose::Ours;
                    return None;
                }
                let Pieces { id, arguments, extra } = std::mem::take(pieces);
                let index = self.next;
                self.next += 1;
                self.calls[at].whose = Whose::Theirs(index);
                Some(Delta::ToolCall { index, id, name: Some(name), arguments, extra })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_kept_and_theirs_are_numbered_without_gaps() {
        let mut calls = Calls::new("web_search", 1);
        let mut told = Vec::new();
        for (index, id, name, arguments) in [
            (0, Some("a"), Some("web_search"), "{\"query\":"),
            (1, Some("b"), None, "{"),
            (0, None, None, "\"x\"}"),
            (1, None, Some("weather"), "}"),
            (2, Some("c"), Some("time"), "{}"),
            (1, None, None, " "),
        ] {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let piece = Delta::ToolCall { index, id: text(id), name: text(name), arguments: arguments.to_owned(), extra: Map::new() };
            if let Some(Delta::ToolCall { index, id, name, arguments, .. }) = calls.push(piece) {
                told.push(format!("{index} {} {} {arguments}", id.unwrap_or_default(), name.unwrap_or_default()));
            }
        }
        assert_eq!(told, ["1 b weather {}", "2 c time {}", "1    "]);
        assert_eq!(calls.next(), 3);
    }
}
