//! An answer taken apart: words to be spoken, reasoning between `<think>` tags, calls of functions between `<tool_call>` tags.

use std::hash::{BuildHasher, RandomState};

use serde::Deserialize;
use serde_json::Value;

use super::held::overlap;
use crate::Delta;

const THINK: &str = "<think>";
const END_THINK: &str = "</think>";
const CALL: &str = "<tool_call>";
const END_CALL: &str = "</tool_call>";

/// Where in the answer we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Text,
    Reasoning,
    Call,
}

/// Takes text in, gives pieces of the answer out.
pub(super) struct Sections {
    place: Place,
    /// Text that may be the beginning of a tag, or a call that is not complete.
    held: String,
    /// Whether functions were offered; else `<tool_call>` is text like any other.
    offered: bool,
    /// Blanks are dropped: a section has just begun or ended.
    fresh: bool,
    calls: usize,
}

/// A call as ChatML models write it.
#[derive(Deserialize)]
struct Written {
    name: String,
    #[serde(default)]
    arguments: Value,
}

impl Sections {
    /// The beginning of an answer to the rendered `prompt`; some templates open the reasoning themselves.
    pub(super) fn new(prompt: &str, offered: bool) -> Sections {
        let thinks = prompt.trim_end().ends_with(THINK);
        Sections { place: if thinks { Place::Reasoning } else { Place::Text }, held: String::new(), offered, fresh: thinks, calls: 0 }
    }

    /// Whether what is written now is reasoning.
    pub(super) fn reasoning(&self) -> bool {
        self.place == Place::Reasoning
    }

    /// Whether a function was called.
    pub(super) fn called(&self) -> bool {
        self.calls > 0
    }

    /// Takes more text.
    pub(super) fn push(&mut self, text: &str) -> Vec<Delta> {
        self.held.push_str(text);
        let mut out = Vec::new();
        while let Some((at, tag)) = self.next_tag() {
            let rest = self.held.split_off(at + tag.len());
            let before = std::mem::replace(&mut self.held, rest);
            let before = &before[..at];
            match self.place {
                Place::Call => self.call(before, END_CALL, &mut out),
                _ => self.say(before, &mut out),
            }
            self.place = match tag {
                THINK => Place::Reasoning,
                CALL => Place::Call,
                _ => Place::Text,
            };
            self.fresh = true;
        }
        if self.place != Place::Call {
            let kept = self.tags().iter().map(|tag| overlap(&self.held, tag)).max().unwrap_or(0);
            let ready: String = self.held.drain(..self.held.len() - kept).collect();
            self.say(&ready, &mut out);
        }
        out
    }

    /// The rest, when no more text comes. A call that misses only its closing tag counts.
    pub(super) fn finish(&mut self) -> Vec<Delta> {
        let rest = std::mem::take(&mut self.held);
        let mut out = Vec::new();
        match self.place {
            Place::Call => self.call(&rest, "", &mut out),
            _ => self.say(&rest, &mut out),
        }
        out
    }

    /// The tags that mean something here.
    fn tags(&self) -> &'static [&'static str] {
        match (self.place, self.offered) {
            (Place::Text, true) => &[THINK, CALL],
            (Place::Text, false) => &[THINK],
            (Place::Reasoning, _) => &[END_THINK],
            (Place::Call, _) => &[END_CALL],
        }
    }

    fn next_tag(&self) -> Option<(usize, &'static str)> {
        self.tags().iter().filter_map(|tag| self.held.find(tag).map(|at| (at, *tag))).min()
    }

    fn say(&mut self, text: &str, out: &mut Vec<Delta>) {
        let text = if self.fresh { text.trim_start() } else { text };
        if !text.is_empty() {
            self.fresh = false;
            out.push(if self.reasoning() { Delta::Reasoning(text.to_owned()) } else { Delta::Text(text.to_owned()) });
        }
    }

    /// A call; what does not read as one is given out as the text that it is.
    fn call(&mut self, text: &str, end: &str, out: &mut Vec<Delta>) {
        let Ok(Written { name, arguments }) = serde_json::from_str(text) else {
            out.push(Delta::Text(format!("{CALL}{text}{end}")));
            return;
        };
        let arguments = match arguments {
            Value::Null => "{}".to_owned(),
            Value::String(arguments) => arguments,
            other => other.to_string(),
        };
        let id = format!("call_{:016x}", RandomState::new().hash_one(self.calls));
        out.push(Delta::ToolCall { index: self.calls, id: Some(id), name: Some(name), arguments, extra: serde_json::Map::new() });
        self.calls += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Completion;

    /// Text, reasoning and calls ("name arguments") of an answer that comes in pieces of `length` letters.
    fn read(prompt: &str, offered: bool, answer: &str, length: usize) -> (String, String, Vec<String>) {
        let mut sections = Sections::new(prompt, offered);
        let mut completion = Completion::default();
        let letters: Vec<char> = answer.chars().collect();
        for piece in letters.chunks(length) {
            sections.push(&piece.iter().collect::<String>()).into_iter().for_each(|delta| completion.push(delta));
        }
        sections.finish().into_iter().for_each(|delta| completion.push(delta));
        assert_eq!(sections.called(), !completion.tool_calls.is_empty());
        let calls = completion.tool_calls.iter().map(|call| format!("{} {}", call.name, call.arguments)).collect();
        (completion.text, completion.reasoning, calls)
    }

    #[test]
    fn words_reasoning_and_calls_are_told_apart_however_they_are_cut() {
        let check = |prompt: &str, offered: bool, answer: &str, text: &str, reasoning: &str, calls: &[&str]| {
            for length in 1..=answer.len() {
                let (got_text, got_reasoning, got_calls) = read(prompt, offered, answer, length);
                let got = (got_text.as_str(), got_reasoning.as_str(), got_calls.iter().map(String::as_str).collect());
                assert_eq!(got, (text, reasoning, calls.to_vec()), "{answer:?} in pieces of {length}");
            }
        };
        check("", false, "1 < 2 and <b>", "1 < 2 and <b>", "", &[]);
        check("", false, "<think>\nhm\n</think>\n\nYes.", "Yes.", "hm\n", &[]);
        check("assistant\n<think>\n", false, "hm</think>Yes.", "Yes.", "hm", &[]);
        check("", false, "<think>never ends", "", "never ends", &[]);
        let one = r#"<tool_call>{"name": "look", "arguments": {"at": 1}}</tool_call>"#;
        check("", true, one, "", "", &[r#"look {"at":1}"#]);
        check("", false, one, one, "", &[]);
        let two =
            "Wait.\n<tool_call>\n{\"name\": \"a\"}\n</tool_call>\n<tool_call>\n{\"name\": \"b\", \"arguments\": \"{}\"}\n</tool_call>";
        check("", true, two, "Wait.\n", "", &["a {}", "b {}"]);
        check("", true, "<tool_call>{\"name\": \"a\"}", "", "", &["a {}"]);
        check("", true, "<tool_call>no json</tool_call>", "<tool_call>no json</tool_call>", "", &[]);
        check("", true, "<think><tool_call></think>x", "x", "<tool_call>", &[]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(answer in "(<think>|</think>|<tool_call>|</tool_call>|[<a{} \u{e9}]){0,12}", length in 1_usize..5) {
            prop_assert_eq!(read("", true, &answer, length), read("", true, &answer, usize::MAX));
        }
    }
}
