//! Cheap measures of a prompt, for rules: sizes, an estimate of its tokens, and how hard it looks.
//!
//! Nothing here understands the words. Whoever needs to know whether a question is hard asks a model; this only tells apart what any
//! reader would tell apart at a glance, for a microsecond.

use models::{Part, Prompt, Role};
use serde_json::Value;

/// Words that ask for thought rather than for a fact, in lower case; a word of the prompt counts if it begins with one.
const THOUGHTFUL: [&str; 20] = [
    "why",
    "explain",
    "prove",
    "proof",
    "derive",
    "analy",
    "compare",
    "design",
    "implement",
    "refactor",
    "debug",
    "optimi",
    "evaluate",
    "trade-off",
    "step-by-step",
    "calculate",
    "integral",
    "algorithm",
    "architect",
    "theorem",
];
/// The longest last message that is looked at for words, bytes: a bound on the time.
const LOOKED_AT: usize = 4_096;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Measure {
    /// Estimated tokens of the whole prompt: a token is about 4 letters of a Latin script, or one character of another, and each message
    /// costs 4 for its role.
    pub(crate) tokens: usize,
    /// Messages of the user.
    pub(crate) turns: usize,
    /// Pictures.
    pub(crate) images: usize,
    /// Files and documents.
    pub(crate) files: usize,
    /// Recordings.
    pub(crate) audio: usize,
    /// Characters of the last user message.
    pub(crate) characters: usize,
    /// Words of the last user message.
    pub(crate) words: usize,
    /// 0 a greeting .. 1 a hard task; see [`complexity`].
    pub(crate) complexity: f64,
}

/// Counts a prompt in one pass over its text.
pub(crate) fn measure(prompt: &Prompt) -> Measure {
    let mut measure = Measure::default();
    let (mut ascii, mut others) = (0_usize, 0_usize);
    let mut count = |text: &str| {
        // Continuation bytes of UTF-8 are 0b10xx_xxxx: what is neither ASCII nor one of them begins a character.
        let plain = text.bytes().filter(u8::is_ascii).count();
        let begun = text.bytes().filter(|byte| *byte >= 0xc0).count();
        ascii += plain;
        others += begun;
    };
    for message in &prompt.messages {
        measure.turns += usize::from(message.role == Role::User);
        for part in &message.parts {
            match part {
                Part::Text(text) | Part::Cached { text, .. } | Part::Reasoning { text, .. } => count(text),
                Part::Other(other) => match other.get("type").and_then(Value::as_str) {
                    Some("image_url" | "input_image" | "image") => measure.images += 1,
                    Some("file" | "input_file" | "document") => measure.files += 1,
                    Some("input_audio" | "audio") => measure.audio += 1,
                    _ => {}
                },
            }
        }
        for call in &message.tool_calls {
            count(&call.arguments);
        }
    }
    measure.tokens = ascii.div_ceil(4) + others + 4 * prompt.messages.len();
    if let Some(last) = prompt.messages.iter().rev().find(|message| message.role == Role::User) {
        let words = last.words();
        measure.characters = words.chars().count();
        measure.words = words.split_whitespace().count();
        measure.complexity = complexity(&words, measure.turns, prompt);
    }
    measure
}

/// How hard a prompt looks, 0 to 1, as a sum of what a reader sees at a glance, each part with a most:
/// length of the last user message 0.3 (a third of it at 30 words, all at 300), words that ask for thought 0.3 (0.1 each), code or
/// formulas 0.2, tools 0.1, a demanded structure 0.05, a long dialogue 0.05 (from 6 turns).
fn complexity(last: &str, turns: usize, prompt: &Prompt) -> f64 {
    let mut end = last.len().min(LOOKED_AT);
    while !last.is_char_boundary(end) {
        end -= 1;
    }
    let seen = &last[..end];
    let (mut words, mut thoughtful) = (0_usize, 0_usize);
    for word in seen.split_whitespace() {
        words += 1;
        let asks = |stem: &&str| word.get(..stem.len()).is_some_and(|start| start.eq_ignore_ascii_case(stem));
        thoughtful += usize::from(THOUGHTFUL.iter().any(asks));
    }
    let code = seen.contains("```") || seen.contains("\\(") || seen.contains("$$") || seen.matches(['{', '}', ';', '=']).count() > 8;
    let length = ((words as f64 / 3.0).max(1.0).log10() / 2.0).min(1.0);
    let score = 0.3 * length
        + 0.1 * thoughtful.min(3) as f64
        + if code { 0.2 } else { 0.0 }
        + if prompt.tools.is_empty() { 0.0 } else { 0.1 }
        + if prompt.extra.contains_key("response_format") { 0.05 } else { 0.0 }
        + if turns >= 6 { 0.05 } else { 0.0 };
    score.min(1.0)
}

#[cfg(test)]
mod tests {
    use models::Message;
    use serde_json::json;

    use super::*;

    fn prompt(words: &str) -> Prompt {
        Prompt { messages: vec![Message::text(Role::User, words)], ..Prompt::default() }
    }

    #[test]
    fn tokens_are_estimated_by_script() {
        for (words, tokens) in [("", 4), ("hello world!", 7), ("お元気ですか", 10), ("naïve", 6)] {
            assert_eq!(measure(&prompt(words)).tokens, tokens, "{words}");
        }
    }

    #[test]
    fn parts_are_counted_by_their_kind() {
        let mut asked = prompt("look");
        let kinds = ["image_url", "image_url", "file", "input_audio", "unheard_of"];
        asked.messages[0].parts.extend(kinds.map(|kind| Part::Other(json!({"type": kind}))));
        let measure = measure(&asked);
        assert_eq!((measure.images, measure.files, measure.audio, measure.words, measure.turns), (2, 1, 1, 1, 1));
    }

    #[test]
    fn what_looks_harder_scores_higher() {
        let long = "word ".repeat(400);
        for harder in ["Explain why the sky is blue and compare it with Mars.", &long] {
            let scores = ["hi", "What time is it in Paris right now?", harder].map(|words| measure(&prompt(words)).complexity);
            assert!(scores.is_sorted_by(|a, b| a < b), "{scores:?}");
        }
        let hard = format!("Prove the theorem, derive the algorithm, implement it:\n```\n{long}\n```");
        let hard = measure(&prompt(&hard)).complexity;
        assert!(hard > 0.75 && hard <= 1.0, "{hard}");
        assert!(measure(&prompt(&"é".repeat(5_000))).complexity <= 1.0);
    }
}
