//! How many tokens a prompt is about, where nobody has counted yet.
//!
//! No tokenizer: the model is often not known when the number is wanted, and each has its own. English prose and code have about four
//! characters a token in the tokenizers of today, text outside ASCII about four tokens every three characters in the worst case and one
//! every two in the best; the middle is taken. An estimate for text, a guess for files: clients show it, nobody is billed by it.

use models::{Message, Part, Prompt, Tool};
use serde_json::Value;

/// Tokens that mark the bounds and the role of a message. OpenAI's cookbook counts 3 or 4.
const PER_MESSAGE: u64 = 4;
/// Tokens of an image that is not scaled down: Anthropic's vision guide gives width x height / 750, at most about 1,600.
const PER_IMAGE: u64 = 1_600;
/// Characters of base64 a token for files; a page of PDF is some 100 KB and 2,000 tokens.
const FILE_CHARS_PER_TOKEN: u64 = 64;

/// Tokens of a whole prompt; at least 1.
pub(crate) fn of_prompt(prompt: &Prompt) -> u64 {
    let messages: u64 = prompt.messages.iter().map(of_message).sum();
    let tools: u64 = prompt.tools.iter().map(of_tool).sum();
    (messages + tools).max(1)
}

/// Tokens of a text.
pub(crate) fn of_text(text: &str) -> u64 {
    let quarters: u64 = text.chars().map(|c| if c.is_ascii() { 1 } else { 3 }).sum();
    quarters.div_ceil(4)
}

fn of_message(message: &Message) -> u64 {
    let parts: u64 = message.parts.iter().map(of_part).sum();
    let calls: u64 = message.tool_calls.iter().map(|call| of_text(&call.name) + of_text(&call.arguments) + PER_MESSAGE).sum();
    PER_MESSAGE + parts + calls
}

fn of_part(part: &Part) -> u64 {
    match part {
        Part::Text(text) | Part::Cached { text, .. } => of_text(text),
        // A signature is no token of the prompt; an encrypted thought is about as long as the thought.
        Part::Reasoning { text, redacted, .. } => of_text(text) + redacted.as_deref().map_or(0, of_text),
        Part::Other(value) => match value.get("type").and_then(Value::as_str) {
            Some("image_url" | "image") => PER_IMAGE,
            _ => value.to_string().len() as u64 / FILE_CHARS_PER_TOKEN,
        },
    }
}

fn of_tool(tool: &Tool) -> u64 {
    let parameters = tool.parameters.as_ref().map_or(0, |parameters| of_text(&parameters.to_string()));
    PER_MESSAGE + of_text(&tool.name) + tool.description.as_deref().map_or(0, of_text) + parameters
}

#[cfg(test)]
mod tests {
    use models::Role;
    use serde_json::json;

    use super::*;

    #[test]
    fn text_images_and_messages_are_estimated() {
        for (text, tokens) in [("", 0), ("a", 1), ("four", 1), ("The quick brown fox.", 5), ("日本語の文", 4)] {
            assert_eq!(of_text(text), tokens, "{text}");
        }
        let mut prompt = Prompt { messages: vec![Message::text(Role::User, "hi")], ..Prompt::default() };
        assert_eq!(of_prompt(&prompt), 5);
        prompt.messages[0].parts.push(Part::Other(json!({ "type": "image_url", "image_url": { "url": "data:," } })));
        assert_eq!(of_prompt(&prompt), 1_605);
        assert_eq!(of_prompt(&Prompt::default()), 1);
    }
}
