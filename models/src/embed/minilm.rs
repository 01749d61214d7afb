//! MiniLM-L6 (sentence-transformers/all-MiniLM-L6-v2, 8-bit weights): English sentences to 384 numbers, some milliseconds each.

use futures::future::BoxFuture;
use ort::session::Session;
use ort::value::TensorRef;

use super::wordpiece::WordPiece;
use crate::onnx::{failed, open};
use crate::{Embedder, EmbeddingRequest, Embeddings, ErrorKind, ModelError, Usage, Weights, Workers};

const NAME: &str = "minilm";
/// Numbers of a vector.
const WIDTH: usize = 384;
/// Tokens that the model was trained on, its two marks included; what comes after is not read.
const LONGEST: usize = 256;
/// Requests that may wait; at 10 ms each, a third of a second.
const QUEUE: usize = 32;

/// The model, on a thread of its own.
pub struct MiniLm {
    workers: Workers<Engine>,
}

struct Engine {
    session: Session,
    pieces: WordPiece,
}

impl MiniLm {
    /// Loads the model.
    pub fn load(weights: &Weights) -> Result<MiniLm, ModelError> {
        let path = weights.file(NAME, "vocab.txt")?;
        let vocabulary = std::fs::read_to_string(&path)
            .map_err(|error| ModelError::new(ErrorKind::Failed, NAME, format!("cannot read {}: {error}", path.display())))?;
        let pieces = WordPiece::read(&vocabulary)
            .map_err(|detail| ModelError::new(ErrorKind::Failed, NAME, format!("{}: {detail}", path.display())))?;
        let session = open(weights, &weights.file(NAME, "model.onnx")?)?;
        Ok(MiniLm { workers: Workers::start("embed", vec![Engine { session, pieces }], QUEUE) })
    }
}

impl Embedder for MiniLm {
    /// Vectors of length 1. `dimensions` cannot be chosen.
    fn embed(&self, request: EmbeddingRequest) -> BoxFuture<'static, Result<Embeddings, ModelError>> {
        let workers = self.workers.clone();
        Box::pin(async move {
            if request.dimensions.is_some_and(|dimensions| dimensions as usize != WIDTH) {
                let detail = format!("dimensions: this model has {WIDTH}; leave it out");
                return Err(ModelError::new(ErrorKind::BadRequest, NAME, detail));
            }
            let work = move |engine: &mut Engine, waited: &crate::Waited| {
                let mut embeddings = Embeddings::default();
                let mut tokens = 0;
                for text in &request.texts {
                    if !waited.still() {
                        return Err(ModelError::new(ErrorKind::Closed, NAME, "nobody waits for this any more"));
                    }
                    let ids = engine.pieces.ids(text, LONGEST);
                    tokens += ids.len() as u64;
                    embeddings.vectors.push(engine.vector(&ids)?);
                }
                embeddings.usage = Some(Usage { input_tokens: tokens, ..Usage::default() });
                Ok(embeddings)
            };
            workers.run(work).await
        })
    }
}

impl Engine {
    /// The mean of what the model makes of each token, as long as 1.
    fn vector(&mut self, ids: &[i64]) -> Result<Vec<f32>, ModelError> {
        let shape = [1_usize, ids.len()];
        let (mask, kinds) = (vec![1_i64; ids.len()], vec![0_i64; ids.len()]);
        let mut run = || -> ort::Result<Vec<f32>> {
            let outputs = self.session.run(ort::inputs![
                "input_ids" => TensorRef::from_array_view((shape, ids))?,
                "attention_mask" => TensorRef::from_array_view((shape, &mask[..]))?,
                "token_type_ids" => TensorRef::from_array_view((shape, &kinds[..]))?,
            ])?;
            // (batch, token, channel)
            let states = outputs["last_hidden_state"].try_extract_tensor::<f32>()?.1;
            let mut sum = vec![0.0; WIDTH];
            for state in states.chunks_exact(WIDTH) {
                sum.iter_mut().zip(state).for_each(|(sum, state)| *sum += state);
            }
            Ok(sum)
        };
        let mut vector = run().map_err(|error| failed(NAME, error))?;
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        if length > 0.0 {
            vector.iter_mut().for_each(|x| *x /= length);
        }
        Ok(vector)
    }
}

/// How much two texts mean the same, from their vectors: 1 the same, 0 nothing in common. For vectors of length 1.
pub fn similarity(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Option<(MiniLm, WordPiece)> {
        let weights = Weights::new(Weights::default_folder());
        let loaded = MiniLm::load(&weights).and_then(|model| Ok((model, weights.file(NAME, "vocab.txt")?)));
        match loaded {
            Ok((model, path)) => {
                let vocabulary = std::fs::read_to_string(path).expect("it was read before");
                Some((model, WordPiece::read(&vocabulary).expect("it was read before")))
            }
            Err(error) => {
                eprintln!("skipped: {error}");
                None
            }
        }
    }

    #[tokio::test]
    async fn what_means_the_same_lies_close() {
        let Some((model, pieces)) = model() else { return };
        assert_eq!(pieces.ids("Hello, world!", LONGEST), [101, 7592, 1010, 2088, 999, 102]);
        let texts = ["How do I reset my password?", "I forgot my password, how can I change it?", "A recipe for tomato soup"];
        let request = EmbeddingRequest { texts: texts.map(str::to_owned).to_vec(), ..EmbeddingRequest::default() };
        let embeddings = model.embed(request).await.expect("it embeds");
        let [reset, forgot, soup] = &embeddings.vectors[..] else { panic!("three vectors") };
        assert!((similarity(reset, reset) - 1.0).abs() < 1e-4);
        assert!(similarity(reset, forgot) > 0.6, "{}", similarity(reset, forgot));
        assert!(similarity(reset, soup) < 0.2, "{}", similarity(reset, soup));
        assert!(embeddings.usage.is_some_and(|usage| usage.input_tokens > 20));
        let refused = model.embed(EmbeddingRequest { dimensions: Some(7), ..EmbeddingRequest::default() }).await;
        assert_eq!(refused.map_err(|error| error.kind), Err(ErrorKind::BadRequest));
    }
}
