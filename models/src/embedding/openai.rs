//! Embeddings of any OpenAI-compatible base URL.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{Embedder, EmbeddingRequest, Embeddings};
use crate::llm::quirks::{Quirks, Vectors};
use crate::remote::{self, Endpoint};
use crate::{ErrorKind, ModelError, Usage};

/// Longest answer taken, bytes: 2048 texts, the most that OpenAI takes at once, of 4096 numbers of 14 signs.
const LONGEST: usize = 2_048 * 4_096 * 14;
/// Longest wait for the body of an answer.
const ANSWER: Duration = Duration::from_secs(60);

/// The embedding models at `endpoint`.
pub fn embedder(endpoint: Endpoint, quirks: Quirks) -> Arc<dyn Embedder> {
    Arc::new(Remote { endpoint, quirks })
}

struct Remote {
    endpoint: Endpoint,
    quirks: Quirks,
}

impl Embedder for Remote {
    fn embed(&self, embedding: EmbeddingRequest) -> BoxFuture<'static, Result<Embeddings, ModelError>> {
        let (endpoint, quirks) = (self.endpoint.clone(), self.quirks);
        Box::pin(async move {
            let target = format!("{}/{}", endpoint.name, embedding.model);
            let post = endpoint.post("embeddings", &embedding.model)?.json(&request(&embedding, quirks));
            let body = remote::json(endpoint.send(post, &target).await?, LONGEST, ANSWER, &target).await?;
            read(&body, embedding.texts.len()).map_err(|detail| ModelError::new(ErrorKind::Protocol, target, detail))
        })
    }
}

/// The body of the request.
fn request(embedding: &EmbeddingRequest, quirks: Quirks) -> Value {
    let mut body = embedding.extra.clone();
    // The caller's wish is about the answer to the caller.
    body.shift_remove("encoding_format");
    body.retain(|key, _| !quirks.refused.contains(&key.as_str()));
    body.insert("model".into(), json!(embedding.model));
    body.insert("input".into(), json!(embedding.texts));
    if let Some(dimensions) = embedding.dimensions {
        body.insert("dimensions".into(), json!(dimensions));
    }
    if quirks.vectors == Vectors::Base64 {
        body.insert("encoding_format".into(), json!("base64"));
    }
    Value::Object(body)
}

fn read(body: &Value, texts: usize) -> Result<Embeddings, String> {
    let data = body["data"].as_array().ok_or("sent no `data`")?;
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; texts];
    for (place, entry) in data.iter().enumerate() {
        let index = entry["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(place);
        let slot = vectors.get_mut(index).ok_or_else(|| format!("sent a vector for text {index} of {texts}"))?;
        *slot = Some(vector(&entry["embedding"]).ok_or_else(|| format!("sent no vector for text {index}"))?);
    }
    let vectors = vectors.into_iter().enumerate().map(|(n, vector)| vector.ok_or_else(|| format!("sent no vector for text {n}")));
    let usage = body["usage"]["prompt_tokens"].as_u64().map(|input_tokens| Usage { input_tokens, ..Usage::default() });
    Ok(Embeddings { vectors: vectors.collect::<Result<_, _>>()?, usage })
}

/// A list of numbers, or base64 of little-endian 32-bit floats.
fn vector(value: &Value) -> Option<Vec<f32>> {
    match value {
        Value::Array(numbers) => numbers.iter().map(|number| number.as_f64().map(|number| number as f32)).collect(),
        Value::String(text) => {
            let bytes = STANDARD.decode(text).ok()?;
            let (floats, rest) = bytes.as_chunks::<4>();
            rest.is_empty().then(|| floats.iter().map(|float| f32::from_le_bytes(*float)).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors_are_read_in_the_order_of_the_texts_in_both_shapes() {
        let base64 = STANDARD.encode([1.0_f32, -2.5].iter().flat_map(|f| f.to_le_bytes()).collect::<Vec<u8>>());
        let body = json!({"data": [{"index": 1, "embedding": base64}, {"index": 0, "embedding": [0.5, 2]}], "usage": {"prompt_tokens": 3}});
        let read = read(&body, 2).expect("both are there");
        assert_eq!(read.vectors, [vec![0.5, 2.0], vec![1.0, -2.5]]);
        assert_eq!(read.usage.map(|usage| usage.input_tokens), Some(3));
    }

    #[test]
    fn what_is_missing_is_said() {
        for (body, part) in [
            (json!({}), "no `data`"),
            (json!({"data": [{"index": 7, "embedding": []}]}), "text 7 of 2"),
            (json!({"data": [{"embedding": [1.0]}]}), "text 1"),
            (json!({"data": [{"embedding": "AAA="}, {"embedding": [1.0]}]}), "text 0"),
        ] {
            let detail = read(&body, 2).expect_err("something is missing");
            assert!(detail.contains(part), "{detail}");
        }
    }

    #[test]
    fn a_request_asks_in_the_shape_the_server_has() {
        let mut embedding =
            EmbeddingRequest { model: "m".into(), texts: vec!["a".into()], dimensions: Some(8), ..EmbeddingRequest::default() };
        embedding.extra.insert("encoding_format".into(), json!("float"));
        embedding.extra.insert("user".into(), json!("ann"));
        assert_eq!(request(&embedding, Quirks::NONE), json!({"user": "ann", "model": "m", "input": ["a"], "dimensions": 8}));
        let quirks = crate::llm::presets::find("openai").map(|preset| preset.quirks).unwrap_or_default();
        assert_eq!(request(&embedding, quirks)["encoding_format"], json!("base64"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_vector_or_none(text in "[A-Za-z0-9+/=é]{0,40}") {
            let read = vector(&Value::String(text));
            prop_assert!(read.is_none_or(|floats| floats.len() <= 7));
        }
    }
}
