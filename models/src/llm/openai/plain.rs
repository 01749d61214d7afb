//! The chunk that nearly all are: a few words of the first choice and nothing else. It is read without a tree of values in between;
//! whatever has one field more is left to the long way.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: [Choice<'a>; 1],
    /// Null, if there at all; so is everything here of type `()`.
    #[serde(default, rename = "usage")]
    _usage: (),
    #[serde(default, rename = "error")]
    _error: (),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    delta: Words<'a>,
    #[serde(default, rename = "finish_reason")]
    _finish_reason: (),
    #[serde(default, rename = "logprobs")]
    _logprobs: (),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Words<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
    #[serde(default, rename = "role")]
    _role: Option<IgnoredAny>,
    #[serde(default, rename = "refusal")]
    _refusal: (),
}

/// The words of such a chunk; `None` where it is another.
pub(super) fn words(data: &str) -> Option<Cow<'_, str>> {
    let Chunk { choices: [Choice { index, delta, .. }], .. } = serde_json::from_str(data).ok()?;
    (index == 0).then_some(delta.content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_plain_is_read() {
        for (data, expected) in [
            (r#"{"id":"a","model":"m","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#, Some("Hi")),
            (r#"{"choices":[{"delta":{"role":"assistant","content":"a\nb","refusal":null},"logprobs":null}],"usage":null}"#, Some("a\nb")),
            (r#"{"choices":[{"index":1,"delta":{"content":"Hi"}}]}"#, None),
            (r#"{"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}"#, None),
            (r#"{"choices":[{"delta":{"content":"Hi","annotations":[]}}]}"#, None),
            (r#"{"choices":[{"delta":{"content":"Hi"},"content_filter_results":{}}]}"#, None),
            (r#"{"choices":[{"delta":{"content":null}}]}"#, None),
            (r#"{"choices":[{"delta":{"content":"Hi"}}],"usage":{"prompt_tokens":1}}"#, None),
            (r#"{"choices":[{"delta":{"content":"Hi"}}],"error":{"message":"no"}}"#, None),
            (r#"{"choices":[]}"#, None),
            ("[DONE]", None),
        ] {
            assert_eq!(words(data).as_deref(), expected, "{data}");
        }
    }
}
