//! Texts to vectors as they are asked for and answered (`CreateEmbeddingRequest` of OpenAI's API).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use models::{EmbeddingRequest, Embeddings};
use router::cost::text_tokens;
use serde_json::{Value, json};

use super::chat::read_model;
use super::{ApiError, Field};

/// Most texts of one request. OpenAI's own limit.
const MOST_TEXTS: usize = 2_048;
/// Longest vector that may be asked for; the longest on the market in 2026 has 4,096 numbers.
const MOST_DIMENSIONS: u64 = 16_384;

/// How vectors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Arrays of numbers.
    Float,
    /// Base64 of 32-bit floats, little endian.
    Base64,
}

/// Takes a request apart.
pub(crate) fn read(body: Value) -> Result<(EmbeddingRequest, Encoding), ApiError> {
    let mut fields = Field::root(body).object()?;
    let model = read_model(&mut fields)?;
    let choices = [("float", Encoding::Float), ("base64", Encoding::Base64)];
    let encoding = fields.take("encoding_format").map(|field| field.one_of(&choices)).transpose()?.unwrap_or(Encoding::Float);
    let dimensions = fields.take("dimensions").map(|field| field.whole(1, MOST_DIMENSIONS)).transpose()?.map(|length| length as u32);
    let texts = read_input(fields.require("input", "a string, or an array of strings")?)?;
    Ok((EmbeddingRequest { model, texts, dimensions, extra: fields.rest() }, encoding))
}

fn read_input(input: Field) -> Result<Vec<String>, ApiError> {
    let texts = match input.value() {
        Value::String(_) => vec![input],
        Value::Array(items) if items.is_empty() || items.len() > MOST_TEXTS => {
            return Err(input.wrong(&format!("a string, or an array of 1 to {MOST_TEXTS} strings")));
        }
        Value::Array(items) if items.iter().all(|item| item.is_number() || item.is_array()) => {
            let message = format!("`{}` must be text: token numbers mean something to one tokenizer only; send the words.", input.path());
            return Err(ApiError::invalid(input.path(), message));
        }
        Value::Array(_) => input.array()?,
        _ => return Err(input.wrong("a string or an array of strings")),
    };
    texts
        .into_iter()
        .map(|text| match text.value() {
            Value::String(words) if words.is_empty() => Err(text.wrong("a string that is not empty")),
            _ => text.string(),
        })
        .collect()
}

/// The answer. What the provider did not count is estimated, and says so.
pub(crate) fn write(embeddings: &Embeddings, request: &EmbeddingRequest, encoding: Encoding) -> Value {
    let data = embeddings.vectors.iter().enumerate().map(|(index, vector)| {
        let vector = match encoding {
            Encoding::Float => json!(vector),
            Encoding::Base64 => json!(STANDARD.encode(vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())),
        };
        json!({ "object": "embedding", "index": index, "embedding": vector })
    });
    let data: Vec<_> = data.collect();
    let counted = embeddings.usage.map(|usage| usage.input_tokens);
    let tokens = counted.unwrap_or_else(|| request.texts.iter().map(|text| text_tokens(text)).sum());
    let mut body = json!({
        "object": "list", "data": data, "model": request.model, "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    });
    if counted.is_none() {
        body["timbre"] = json!({ "usageEstimated": true });
    }
    body
}

#[cfg(test)]
mod tests {
    use models::Usage;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_taken_and_tokens_refused() {
        for (input, texts) in [(json!("a"), vec!["a"]), (json!(["a", "b"]), vec!["a", "b"])] {
            let (request, encoding) = read(json!({ "model": "m", "input": input, "user": "u", "dimensions": 8 })).expect("a request");
            assert_eq!(
                (request.texts, encoding, request.dimensions),
                (texts.iter().map(|t| t.to_string()).collect(), Encoding::Float, Some(8))
            );
            assert_eq!(request.extra["user"], "u");
        }
        for (input, param) in [
            (json!([1, 2]), "input"),
            (json!([[1], [2]]), "input"),
            (json!([]), "input"),
            (json!(""), "input"),
            (json!(["a", 3]), "input[1]"),
            (json!({}), "input"),
            (Value::Null, "input"),
        ] {
            let error = read(json!({ "model": "m", "input": input })).expect_err("it is wrong");
            assert_eq!((error.status, error.param.as_deref()), (400, Some(param)), "{input}");
        }
    }

    #[test]
    fn vectors_are_written_either_way() {
        let (request, _) = read(json!({ "model": "m", "input": "four" })).expect("a request");
        let usage = Some(Usage { input_tokens: 3, ..Usage::default() });
        let embeddings = Embeddings { vectors: vec![vec![0.5, -1.0]], usage };
        let body = write(&embeddings, &request, Encoding::Float);
        assert_eq!((&body["data"][0]["embedding"], &body["usage"]["total_tokens"]), (&json!([0.5, -1.0]), &json!(3)));
        let body = write(&Embeddings { usage: None, ..embeddings }, &request, Encoding::Base64);
        assert_eq!((&body["data"][0]["embedding"], &body["usage"]["prompt_tokens"]), (&json!("AAAAPwAAgL8="), &json!(1)));
        assert_eq!(body["timbre"]["usageEstimated"], true);
    }

    proptest! {
        #[test]
        fn anything_at_all_is_read_or_refused_by_name(
            body in crate::wire::arbitrary::request(&["model", "input", "encoding_format", "base64", "dimensions"])
        ) {
            if let Err(error) = read(body.clone()) {
                prop_assert_eq!(error.status, 400);
                prop_assert!(error.param.is_some() || !body.is_object());
            }
        }
    }
}
