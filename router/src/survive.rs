//! Going on with an answer that broke off: what the next target is asked, and how its words are joined to those already released.
//!
//! Pure: texts in, texts out. What is guaranteed, and what is not, is written down in `docs/decisions/stream-survival.md`.

use models::{Continuation, Delta, Message, Part, Prompt, Role};
use serde_json::{Value, json};

use crate::cost::text_tokens;

/// Length of the words that a model is asked to repeat, characters: longer than a phrase that recurs by chance, shorter than a line.
const ANCHOR: usize = 24;
/// Longest such words, where shorter ones occur twice in the text.
const LONGEST_ANCHOR: usize = 200;
/// How far from the end a repetition may begin, characters, unless it begins at the very start. Models repeat a paragraph at most.
const WINDOW: usize = 4_096;
/// Shortest repetition that is believed wherever it begins, and where it begins with a word.
const REPEATED: usize = 12;
const REPEATED_WORD: usize = 4;
/// The same where the model was asked to repeat: it writes a word that was cut from its start.
const REPEATED_AS_ASKED: usize = 2;
/// Shortest that is believed after a space: words do come twice ("again and again").
const REPEATED_AFTER_SPACE: usize = 24;
/// How much of a remark ("Here is the rest:") may come before the words asked for, characters.
const REMARK: usize = 160;
/// How much of the start must come again before an answer counts as begun anew, characters.
const ANEW: usize = 24;
/// Fewest tokens left to an answer whose caller set a limit that is nearly used up.
const FEWEST_TOKENS: u32 = 16;

/// What was released of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    text: String,
    calls: bool,
    sealed: bool,
}

impl Sent {
    pub(crate) fn note(&mut self, delta: &Delta) {
        match delta {
            Delta::Text(text) => self.text.push_str(text),
            Delta::ToolCall { .. } => self.calls = true,
            Delta::Signature(_) | Delta::Redacted(_) => self.sealed = true,
            Delta::Reasoning(_) | Delta::Extra(_) | Delta::Usage(_) | Delta::Finish(_) => {}
        }
    }

    /// The words.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether another model can go on: a call that was half released has no other half elsewhere, and a signature vouches for an answer
    /// of one model.
    pub(crate) fn can_go_on(&self) -> bool {
        !self.calls && !self.sealed
    }
}

/// What a model that goes on is expected to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Manner {
    /// The very next word: its provider goes on with the trailing message.
    Next,
    /// These last words of the text, which it was asked to repeat.
    Anchor(Vec<char>),
    /// The whole text again: its grammar (JSON) lets it begin nowhere else.
    Anew,
}

/// The prompt that asks for the rest of an answer, and what joins the rest to it.
pub(crate) fn go_on(prompt: &Prompt, sent: &str, how: Continuation) -> (Prompt, Stitch) {
    let mut prompt = prompt.clone();
    let said = sent.trim_end();
    if said.is_empty() {
        return (prompt, Stitch::new(sent, Manner::Next));
    }
    let how = way(&prompt, how);
    match prompt.messages.last_mut() {
        // The caller began the answer: this is more of the same message.
        Some(last) if last.role == Role::Assistant && last.tool_calls.is_empty() => last.parts.push(Part::Text(said.to_owned())),
        _ => prompt.messages.push(Message::text(Role::Assistant, said)),
    }
    let manner = match how {
        Continuation::Trailing => Manner::Next,
        Continuation::Prefix => {
            if let Some(last) = prompt.messages.last_mut() {
                last.extra.insert("prefix".to_owned(), json!(true));
            }
            Manner::Next
        }
        Continuation::Final => {
            prompt.extra.insert("add_generation_prompt".to_owned(), json!(false));
            prompt.extra.insert("continue_final_message".to_owned(), json!(true));
            Manner::Next
        }
        Continuation::Asked if is_json(&prompt) => {
            prompt.messages.push(Message::text(
                Role::User,
                "Your answer above was cut off. Write it again from its first character: copy what is there without any change, then go on \
                 to the end.",
            ));
            Manner::Anew
        }
        Continuation::Asked => {
            let anchor = anchor(said);
            prompt.messages.push(Message::text(
                Role::User,
                format!(
                    "Your answer above was cut off. Go on with it from where it stops. Begin with its last words, copied exactly as they \
                     are between these marks, without the marks:\n<<<{anchor}>>>\nand write on from there as if nothing had happened. Say \
                     nothing about the interruption, and do not begin again."
                ),
            ));
            Manner::Anchor(squeeze(anchor))
        }
    };
    if manner != Manner::Anew
        && let Some(most) = &mut prompt.sampling.max_tokens
    {
        let again = if let Manner::Anchor(anchor) = &manner { text_tokens(&anchor.iter().collect::<String>()) } else { 0 };
        let written = u32::try_from(text_tokens(said).saturating_sub(again)).unwrap_or(u32::MAX);
        *most = most.saturating_sub(written).max(FEWEST_TOKENS.min(*most));
    }
    (prompt, Stitch::new(sent, manner))
}

/// How a prompt's answer can be continued, where its model's provider offers `how`: a thinking model takes no trailing message, and a
/// grammar starts with the answer.
pub(crate) fn way(prompt: &Prompt, how: Continuation) -> Continuation {
    if thinks(prompt) || is_json(prompt) { Continuation::Asked } else { how }
}

/// Thinking models refuse a trailing assistant message (Anthropic's documentation of extended thinking).
fn thinks(prompt: &Prompt) -> bool {
    let is_on = |key: &str| match prompt.extra.get(key) {
        None | Some(Value::Null) => false,
        Some(Value::String(effort)) => effort != "none",
        Some(value) => value["type"] != "disabled",
    };
    ["thinking", "reasoning", "reasoning_effort"].into_iter().any(is_on)
}

fn is_json(prompt: &Prompt) -> bool {
    prompt.extra.get("response_format").is_some_and(|format| format["type"].as_str().is_some_and(|name| name.starts_with("json")))
}

/// The last words of a text: whole words, and as many as it takes to occur only once in it.
fn anchor(text: &str) -> &str {
    let starts = text.char_indices().rev().enumerate().filter(|(n, _)| n + 1 >= ANCHOR);
    let mut best = text;
    for (n, (at, c)) in starts {
        let begins_word = !c.is_whitespace() && text[..at].chars().next_back().is_none_or(char::is_whitespace);
        if n + 1 > LONGEST_ANCHOR {
            break;
        }
        if begins_word || n + 1 == LONGEST_ANCHOR && best.len() == text.len() {
            best = &text[at..];
            if text.find(best) == Some(at) {
                break;
            }
        }
    }
    best.trim_start()
}

/// A text with every run of white space as one space, none at its ends: what models keep when they repeat.
fn squeeze(text: &str) -> Vec<char> {
    let mut squeezed = Vec::new();
    for word in text.split_whitespace() {
        if !squeezed.is_empty() {
            squeezed.push(' ');
        }
        squeezed.extend(word.chars());
    }
    squeezed
}

/// Why a text cannot be joined to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unjoined {
    /// It begins again, in other words.
    OtherWords,
    /// It begins again and ends before it gets to where the other stopped.
    Shorter,
}

impl Unjoined {
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Unjoined::OtherWords => "began the answer anew in other words, which do not join those already sent",
            Unjoined::Shorter => "began the answer anew and ended before the place that was reached",
        }
    }
}

/// Joins the words of a new model to those released before: it holds them back until it is clear how many of them are a repetition.
#[derive(Clone, Debug)]
pub(crate) struct Stitch {
    /// The released text, squeezed.
    sent: Vec<char>,
    /// The white space that it ends with.
    gap: String,
    manner: Manner,
    /// The new text so far.
    new: String,
    /// The same squeezed, each character with the place in `new` after it.
    squeezed: Vec<(char, usize)>,
    /// White space was read after the last squeezed character.
    spaced: bool,
    /// Places in `sent` from where the new text is a repetition so far, and not yet to the end.
    alive: Vec<usize>,
    /// Length of the longest repetition that reached the end of `sent` and is believed.
    repeated: Option<usize>,
    /// How far the new text repeats the start of the old one.
    anew: usize,
}

impl Stitch {
    fn new(sent: &str, manner: Manner) -> Stitch {
        let gap = sent[sent.trim_end().len()..].to_owned();
        let sent = squeeze(sent);
        let near = sent.len().saturating_sub(WINDOW);
        let alive = if near > 0 { std::iter::once(0).chain(near..sent.len()).collect() } else { (0..sent.len()).collect() };
        let (new, squeezed) = (String::new(), Vec::new());
        Stitch { sent, gap, manner, new, squeezed, spaced: false, alive, repeated: None, anew: 0 }
    }

    /// Takes more of the new text; gives the part of all of it that is to be released, once that is clear.
    pub(crate) fn push(&mut self, text: &str) -> Result<Option<String>, Unjoined> {
        for c in text.chars() {
            self.new.push(c);
            if c.is_whitespace() {
                self.spaced = !self.squeezed.is_empty();
                continue;
            }
            if std::mem::take(&mut self.spaced) {
                self.read(' ', self.new.len() - c.len_utf8());
            }
            self.read(c, self.new.len());
        }
        if !self.alive.is_empty() || self.squeezed.is_empty() {
            return Ok(None);
        }
        if self.repeated.is_some() {
            return Ok(self.joint(self.repeats()));
        }
        match &self.manner {
            Manner::Next => Ok(Some(self.rest())),
            Manner::Anew => Err(Unjoined::OtherWords),
            Manner::Anchor(_) if self.anew >= ANEW => Err(Unjoined::OtherWords),
            Manner::Anchor(anchor) => {
                if let Some((end, closing)) = self.after_remark(anchor) {
                    let is_clear = self.new.len() - end >= closing.len();
                    return Ok(if is_clear { self.joint(self.unquoted(end, closing)) } else { None });
                }
                let is_past = self.squeezed.len() > anchor.len() + REMARK;
                Ok(is_past.then(|| self.rest()))
            }
        }
    }

    /// The new text is over; gives what of it is to be released.
    pub(crate) fn end(&mut self) -> Result<String, Unjoined> {
        if self.repeated.is_some() {
            return Ok(self.rest());
        }
        let is_prefix = self.alive.contains(&0) && !self.squeezed.is_empty();
        match &self.manner {
            Manner::Anew => Err(if is_prefix || self.squeezed.is_empty() { Unjoined::Shorter } else { Unjoined::OtherWords }),
            Manner::Anchor(_) if is_prefix && self.anew >= ANEW => Err(Unjoined::Shorter),
            Manner::Anchor(_) if self.anew >= ANEW => Err(Unjoined::OtherWords),
            Manner::Next => Ok(self.rest()),
            Manner::Anchor(anchor) => Ok(match self.after_remark(anchor) {
                Some((end, closing)) => self.from(self.unquoted(end, closing)),
                None => self.rest(),
            }),
        }
    }

    fn read(&mut self, c: char, end: usize) {
        let at = self.squeezed.len();
        self.squeezed.push((c, end));
        let sent = &self.sent;
        self.alive.retain(|start| sent.get(start + at) == Some(&c));
        if self.alive.first() == Some(&0) {
            self.anew = at + 1;
        }
        // At most one of them, the longest so far, comes to the end with this character.
        if let Some(place) = self.alive.iter().position(|start| start + at + 1 == sent.len()) {
            let start = self.alive.remove(place);
            if self.is_believed(start) {
                self.repeated = Some(at + 1);
            }
        }
    }

    fn is_believed(&self, start: usize) -> bool {
        let length = self.sent.len() - start;
        let (is_asked_for, word) = match &self.manner {
            Manner::Next => (false, REPEATED_WORD),
            Manner::Anchor(anchor) => (length == anchor.len() || start == 0, REPEATED_AS_ASKED),
            Manner::Anew => return start == 0,
        };
        let follows_space = self.gap.is_empty() && self.new.starts_with(char::is_whitespace);
        let begins_word = start == 0 || self.sent[start - 1] == ' ';
        is_asked_for
            || length >= REPEATED_AFTER_SPACE
            || !follows_space && (length >= REPEATED || begins_word && length >= word || start == 0)
    }

    /// The place in `new` after the words asked for, where a remark came before them, and the mark that closes what the remark opened.
    fn after_remark(&self, anchor: &[char]) -> Option<(usize, &'static str)> {
        if anchor.len() < REPEATED {
            return None;
        }
        let characters: Vec<char> = self.squeezed.iter().map(|(c, _)| *c).collect();
        let found = characters.windows(anchor.len()).position(|window| window == anchor)?;
        // It may have repeated more than it was asked for.
        let before = characters[..found].iter().rev().zip(self.sent[..self.sent.len() - anchor.len()].iter().rev());
        let more = before.take_while(|(new, old)| new == old).count();
        let remark = characters[..found - more].iter().rev().find(|c| **c != ' ')?;
        let closing = match remark {
            '<' => ">>>",
            '"' => "\"",
            '“' => "”",
            '`' => "`",
            '\'' => "'",
            _ => "",
        };
        (!remark.is_alphanumeric()).then(|| (self.squeezed[found + anchor.len() - 1].1, closing))
    }

    fn unquoted(&self, end: usize, closing: &str) -> usize {
        end + if self.new[end..].starts_with(closing) { closing.len() } else { 0 }
    }

    /// The place in `new` after what is a repetition.
    fn repeats(&self) -> usize {
        self.repeated.and_then(|length| self.squeezed.get(length.checked_sub(1)?)).map_or(0, |(_, end)| *end)
    }

    /// What is new of `new`.
    fn rest(&self) -> String {
        self.from(self.repeats())
    }

    /// The new text from `at` on, once the white space between it and the old is all there.
    fn joint(&self, at: usize) -> Option<String> {
        let is_clear = self.gap.is_empty() || !self.new[at..].trim_start().is_empty();
        is_clear.then(|| self.from(at))
    }

    /// The new text from `at` on, without the white space that was released already.
    fn from(&self, at: usize) -> String {
        let rest = &self.new[at..];
        if self.gap.is_empty() {
            return rest.to_owned();
        }
        let words = rest.trim_start();
        let gap = &rest[..rest.len() - words.len()];
        let lines = |text: &str| text.matches('\n').count();
        match gap.strip_prefix(self.gap.as_str()) {
            Some(more) => format!("{more}{words}"),
            None if lines(gap) > lines(&self.gap) => rest.to_owned(),
            None => words.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
