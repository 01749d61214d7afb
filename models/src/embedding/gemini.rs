//! Embeddings of Google's Gemini API (`batchEmbedContents`).

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{Embedder, EmbeddingRequest, Embeddings};
use crate::llm::gemini::path;
use crate::remote::{self, Endpoint};
use crate::{ErrorKind, ModelError};

/// Most texts of one request (the API's limit).
const BATCH: usize = 100;
/// Longest answer taken, bytes: a batch of 3072 numbers of 16 signs.
const LONGEST: usize = BATCH * 3_072 * 16;
/// Longest wait for the body of an answer.
const ANSWER: Duration = Duration::from_secs(60);

/// The embedding models at `endpoint`.
pub fn embedder(endpoint: Endpoint) -> Arc<dyn Embedder> {
    Arc::new(Remote { endpoint })
}

struct Remote {
    endpoint: Endpoint,
}

impl Embedder for Remote {
    fn embed(&self, embedding: EmbeddingRequest) -> BoxFuture<'static, Result<Embeddings, ModelError>> {
        let endpoint = self.endpoint.clone();
        Box::pin(async move {
            let target = format!("{}/{}", endpoint.name, embedding.model);
            let path = format!("{}:batchEmbedContents", path(&embedding.model));
            let mut vectors = Vec::with_capacity(embedding.texts.len());
            for texts in embedding.texts.chunks(BATCH) {
                let post = endpoint.post(&path, &embedding.model)?.json(&request(&embedding, texts));
                let body = remote::json(endpoint.send(post, &target).await?, LONGEST, ANSWER, &target).await?;
                let read = read(&body, texts.len(), embedding.dimensions);
                vectors.extend(read.map_err(|detail| ModelError::new(ErrorKind::Protocol, &target, detail))?);
            }
            // The API does not count tokens here.
            Ok(Embeddings { vectors, usage: None })
        })
    }
}

fn request(embedding: &EmbeddingRequest, texts: &[String]) -> Value {
    // The model stands in every part of the batch too.
    let model = path(&embedding.model);
    let one = |text: &String| {
        let mut one = json!({"model": model, "content": {"parts": [{"text": text}]}});
        if let Some(dimensions) = embedding.dimensions {
            one["outputDimensionality"] = json!(dimensions);
        }
        for (key, name) in [("task_type", "taskType"), ("taskType", "taskType"), ("title", "title")] {
            if let Some(value) = embedding.extra.get(key) {
                one[name] = value.clone();
            }
        }
        one
    };
    json!({"requests": texts.iter().map(one).collect::<Vec<Value>>()})
}

fn read(body: &Value, texts: usize, dimensions: Option<u32>) -> Result<Vec<Vec<f32>>, String> {
    let embeddings = body["embeddings"].as_array().ok_or("sent no `embeddings`")?;
    if embeddings.len() != texts {
        return Err(format!("sent {} vectors for {texts} texts", embeddings.len()));
    }
    let vector = |(n, entry): (usize, &Value)| -> Result<Vec<f32>, String> {
        let numbers = entry["values"].as_array().ok_or_else(|| format!("sent no vector for text {n}"))?;
        let vector: Option<Vec<f32>> = numbers.iter().map(|number| number.as_f64().map(|number| number as f32)).collect();
        let vector = vector.ok_or_else(|| format!("sent no numbers for text {n}"))?;
        // Only the full length comes as a unit vector, which is what callers of OpenAI's API rely on.
        Ok(if dimensions.is_some() { unit(vector) } else { vector })
    };
    embeddings.iter().enumerate().map(vector).collect()
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if norm > 0.0 {
        vector.iter_mut().for_each(|x| *x /= norm);
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_names_the_model_in_each_part_and_comes_back_in_order() {
        let embedding = EmbeddingRequest {
            model: "gemini-embedding-001".into(),
            texts: vec!["a".into(), "b".into()],
            dimensions: Some(2),
            ..EmbeddingRequest::default()
        };
        let part =
            |text: &str| json!({"model": "models/gemini-embedding-001", "content": {"parts": [{"text": text}]}, "outputDimensionality": 2});
        assert_eq!(request(&embedding, &embedding.texts), json!({"requests": [part("a"), part("b")]}));
        let body = json!({"embeddings": [{"values": [3.0, 4.0]}, {"values": [0.0, 0.0]}]});
        assert_eq!(read(&body, 2, Some(2)), Ok(vec![vec![0.6, 0.8], vec![0.0, 0.0]]));
        assert!(read(&body, 3, None).is_err_and(|detail| detail.contains("2 vectors for 3 texts")));
        assert!(read(&json!({"embeddings": [{"values": ["x"]}]}), 1, None).is_err());
    }
}
