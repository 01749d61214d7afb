//! Texts as vectors, for search and for comparing what they mean.

#[cfg(feature = "remote")]
pub mod gemini;
#[cfg(feature = "remote")]
pub mod openai;

use futures::future::BoxFuture;
use serde_json::{Map, Value};

use crate::{ModelError, Usage};

/// Texts to be embedded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbeddingRequest {
    /// The model's name, as its provider knows it.
    pub model: String,
    /// The texts, in order; the vectors come in the same.
    pub texts: Vec<String>,
    /// Length of the vectors, where the caller wants them shorter than the model makes them.
    pub dimensions: Option<u32>,
    /// Request fields that no type here models, in OpenAI's shape.
    pub extra: Map<String, Value>,
}

/// One vector for each text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// The vectors, in the order of the texts.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens read, where the provider said.
    pub usage: Option<Usage>,
}

/// Text to vectors.
pub trait Embedder: Send + Sync {
    /// Embeds all texts. Dropping the future stops the work.
    fn embed(&self, request: EmbeddingRequest) -> BoxFuture<'static, Result<Embeddings, ModelError>>;
}
