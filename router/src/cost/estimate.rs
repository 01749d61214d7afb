//! Tokens, guessed from characters: for limits before an answer and for bills where nobody counted.
//!
//! Every model cuts text its own way, and its vocabulary is megabytes; here a character counts by how many bytes of UTF-8 it has, which
//! tells scripts apart well enough. Against OpenAI's o200k vocabulary it gave 0.71 to 1.51 times the tokens, in the middle 0.94 (November
//! 2026: Vim's tutor and GnuPG's help in 25 languages, and this repository's prose, Rust, Python and JSON).

use models::{Message, Part, Prompt, ToolCall};
use serde_json::Value;

/// Sixteenths of a token for each ASCII character: four of them to a token, five in English prose and three and a half in JSON.
const ASCII: u64 = 4;
/// For each character of two bytes: accents, Cyrillic, Greek, Arabic, Hebrew.
const TWO_BYTES: u64 = 7;
/// For each character of three bytes: Chinese, Japanese, Korean, the scripts of India.
const THREE_BYTES: u64 = 13;
/// For each character of four bytes: emoji.
const FOUR_BYTES: u64 = 24;
/// What a message costs beside its words: its role and its limits (OpenAI's count for its chat format).
const PER_MESSAGE: u64 = 4;
/// An image: OpenAI's count for 1,024 by 1,024 pixels in full detail.
const PER_IMAGE: u64 = 765;
/// Bytes of base64 to a token of sound: PCM of 24 kHz (64,000 characters of base64 a second) at OpenAI's ten tokens a second.
const SOUND_BYTES: u64 = 6_400;
/// Bytes of base64 to a token of a document: a page of 100 kB is some 1,500 tokens.
const FILE_BYTES: u64 = 64;

/// A text that comes in pieces, counted as it comes: what is cut in two is not rounded up twice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Sixteenths of tokens.
    sixteenths: u64,
}

impl Tally {
    /// Counts one more piece.
    pub(crate) fn add(&mut self, text: &str) {
        // The first byte of a character says how many it has; the others begin with the bits 10 and count for nothing.
        let sixteenths = |byte| match byte {
            0x00..0x80 => ASCII,
            0x80..0xc0 => 0,
            0xc0..0xe0 => TWO_BYTES,
            0xe0..0xf0 => THREE_BYTES,
            0xf0.. => FOUR_BYTES,
        };
        self.sixteenths += text.bytes().map(sixteenths).sum::<u64>();
    }

    /// About how many tokens it is so far.
    pub(crate) fn tokens(self) -> u64 {
        self.sixteenths.div_ceil(16)
    }
}

/// About how many tokens a text is.
pub fn text_tokens(text: &str) -> u64 {
    let mut tally = Tally::default();
    tally.add(text);
    tally.tokens()
}

/// About how many tokens a prompt is, its tools included.
pub fn prompt_tokens(prompt: &Prompt) -> u64 {
    let messages: u64 = prompt.messages.iter().map(message).sum();
    let tools: u64 = prompt
        .tools
        .iter()
        .map(|tool| text_tokens(&tool.name) + tool.description.as_deref().map_or(0, text_tokens) + tool.parameters.as_ref().map_or(0, json))
        .sum();
    messages + tools
}

fn message(message: &Message) -> u64 {
    PER_MESSAGE + message.parts.iter().map(part).sum::<u64>() + message.tool_calls.iter().map(call).sum::<u64>()
}

fn part(part: &Part) -> u64 {
    match part {
        Part::Text(text) | Part::Cached { text, .. } => text_tokens(text),
        Part::Reasoning { text, .. } => text_tokens(text),
        Part::Other(value) => match value["type"].as_str() {
            Some("image_url" | "image") => PER_IMAGE,
            Some("input_audio") => 1 + value["input_audio"]["data"].as_str().map_or(0, |data| data.len() as u64 / SOUND_BYTES),
            Some("file") => 1 + value["file"]["file_data"].as_str().map_or(0, |data| data.len() as u64 / FILE_BYTES),
            Some(_) | None => json(value),
        },
    }
}

fn call(call: &ToolCall) -> u64 {
    text_tokens(&call.name) + text_tokens(&call.arguments)
}

/// Counts the texts of a JSON value, and one token for what holds each together.
fn json(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => 1 + text_tokens(text),
        // JSON nests no deeper than its parser lets it.
        Value::Array(list) => 1 + list.iter().map(json).sum::<u64>(),
        Value::Object(fields) => 1 + fields.iter().map(|(key, value)| 1 + text_tokens(key) + json(value)).sum::<u64>(),
    }
}

#[cfg(test)]
mod tests {
    use models::Role;
    use serde_json::json;

    use super::*;

    #[test]
    fn scripts_count_by_their_characters() {
        for (text, tokens) in [
            ("", 0),
            ("a", 1),
            ("The quick brown fox jumps over the lazy dog.", 11),
            ("Съешь же ещё этих мягких булок", 13),
            ("今日はとても良い天気ですね", 11),
            ("🙂🙂", 3),
        ] {
            assert_eq!(text_tokens(text), tokens, "{text}");
        }
    }

    #[test]
    fn every_part_of_a_prompt_counts() {
        let mut message = Message::text(Role::User, "12345678");
        let with = |message: &Message| prompt_tokens(&Prompt { messages: vec![message.clone()], ..Prompt::default() });
        assert_eq!(with(&message), 6);
        message.parts.push(Part::Other(json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } })));
        assert_eq!(with(&message), 6 + 765);
        let second = "A".repeat(64_000);
        message.parts.push(Part::Other(json!({ "type": "input_audio", "input_audio": { "data": second, "format": "wav" } })));
        assert_eq!(with(&message), 6 + 765 + 11);
        message.tool_calls.push(ToolCall { name: "look".to_owned(), arguments: "{}".to_owned(), ..ToolCall::default() });
        assert_eq!(with(&message), 6 + 765 + 11 + 2);
    }
}
