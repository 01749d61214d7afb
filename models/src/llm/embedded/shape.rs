//! The sizes and switches of a decoder, from a GGUF file's metadata: all that distinguishes the architectures.

use super::gguf::Gguf;
use super::memory::Extent;
use crate::ModelError;

/// Longest context used, tokens, whatever the model could read: the keys and values of longer ones outgrow the weights.
const LONGEST_CONTEXT: usize = 8_192;

/// Which two numbers of a head a rotary embedding turns together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pairing {
    /// Neighbours: 2i and 2i + 1. llama.cpp's converter reorders Llama's weights for this.
    Neighbours,
    /// i and i + half.
    Halves,
}

/// What the gate of the feed-forward network passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// x * sigmoid(x).
    Silu,
    /// Gauss error unit, the tanh approximation.
    Gelu,
}

/// Angles of a rotary embedding: position * factor * base^(-2i / dimensions).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rotation {
    /// The base.
    pub(super) base: f32,
    /// 1, or less where a model was stretched to longer contexts.
    pub(super) factor: f32,
}

/// A decoder's hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    /// Layers and the key-value heads of each.
    pub(super) extent: Extent,
    /// Numbers that stand for a token between layers.
    pub(super) width: usize,
    /// Query heads, a multiple of the key-value heads.
    pub(super) heads: usize,
    /// Width of the feed-forward network.
    pub(super) feed: usize,
    /// Tokens known.
    pub(super) vocabulary: usize,
    /// Most tokens of a prompt and its answer together.
    pub(super) context: usize,
    /// Added to the mean square in a norm.
    pub(super) epsilon: f32,
    /// Rotary pairing.
    pub(super) pairing: Pairing,
    /// Numbers of a head that are turned.
    pub(super) rotated: usize,
    /// Rotation of layers that see everything.
    pub(super) rotation: Rotation,
    /// Rotation of layers with a window.
    pub(super) local_rotation: Rotation,
    /// Tokens that a layer with a window sees.
    pub(super) window: Option<usize>,
    /// Of so many layers, the last has no window.
    pub(super) window_pattern: usize,
    /// What an embedding is multiplied with.
    pub(super) embedding_scale: f32,
    /// What a comparison of query and key is multiplied with.
    pub(super) attention_scale: f32,
    /// Comparisons are squeezed into -cap..cap.
    pub(super) attention_cap: Option<f32>,
    /// Logits are squeezed into -cap..cap.
    pub(super) logit_cap: Option<f32>,
    /// The feed-forward gate.
    pub(super) gate: Gate,
}

impl Shape {
    /// Reads and checks the metadata.
    pub(super) fn read(gguf: &Gguf) -> Result<Shape, ModelError> {
        let architecture = gguf.text("general.architecture").unwrap_or_default().to_owned();
        if !["llama", "qwen2", "qwen3", "gemma3"].contains(&architecture.as_str()) {
            return Err(gguf.unusable(format!("its architecture is {architecture:?}; llama, qwen2, qwen3 and gemma3 are known")));
        }
        let key = |name: &str| format!("{architecture}.{name}");
        let gemma = architecture == "gemma3";
        if gguf.number(&key("expert_count")).is_some_and(|experts| experts > 0) {
            return Err(gguf.unusable("it is a mixture of experts, which this engine does not run"));
        }

        let width = gguf.required(&key("embedding_length"), 1..=1 << 16)?;
        let heads = gguf.required(&key("attention.head_count"), 1..=1_024)?;
        let kv_heads = gguf.number(&key("attention.head_count_kv")).unwrap_or(heads);
        let head = gguf.number(&key("attention.key_length")).unwrap_or(width / heads);
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) || !(1..=1_024).contains(&head) {
            return Err(gguf.unusable(format!("{heads} heads over {kv_heads} of {head} numbers do not fit together")));
        }
        if gguf.number(&key("attention.value_length")).is_some_and(|value| value != head) {
            return Err(gguf.unusable("its keys and values have different lengths"));
        }
        let rotated = gguf.number(&key("rope.dimension_count")).unwrap_or(head);
        if rotated > head || !rotated.is_multiple_of(2) {
            return Err(gguf.unusable(format!("{rotated} numbers of a head of {head} cannot be turned")));
        }
        let vocabulary = gguf.rows("token_embd.weight").unwrap_or(0);
        if !(1..=1 << 24).contains(&vocabulary) {
            return Err(gguf.unusable(format!("it has {vocabulary} token embeddings")));
        }

        let base = gguf.float(&key("rope.freq_base")).unwrap_or(if gemma { 1_000_000.0 } else { 10_000.0 });
        let stretched = match gguf.text(&key("rope.scaling.type")) {
            None | Some("none") => 1.0,
            Some("linear") => gguf.float(&key("rope.scaling.factor")).filter(|factor| *factor > 0.0).unwrap_or(1.0),
            Some(other) => return Err(gguf.unusable(format!("its rotary scaling is {other:?}; only linear is known"))),
        };
        let rotation = Rotation { base, factor: 1.0 / stretched };
        // Gemma 3 turns the layers with a window by the base of its forerunners; its file does not say so.
        let local_rotation = if gemma { Rotation { base: 10_000.0, factor: 1.0 } } else { rotation };

        Ok(Shape {
            extent: Extent { layers: gguf.required(&key("block_count"), 1..=1_024)?, heads: kv_heads, head },
            width,
            heads,
            feed: gguf.required(&key("feed_forward_length"), 1..=1 << 18)?,
            vocabulary,
            context: gguf.required(&key("context_length"), 1..=usize::MAX)?.min(LONGEST_CONTEXT),
            epsilon: gguf.float(&key("attention.layer_norm_rms_epsilon")).unwrap_or(1e-6),
            pairing: if architecture == "llama" { Pairing::Neighbours } else { Pairing::Halves },
            rotated,
            rotation,
            local_rotation,
            window: gguf.number(&key("attention.sliding_window")).filter(|window| gemma && *window > 0),
            window_pattern: gguf.number(&key("attention.sliding_window_pattern")).filter(|pattern| *pattern > 0).unwrap_or(6),
            embedding_scale: if gemma { (width as f32).sqrt() } else { 1.0 },
            attention_scale: attention_scale(width, heads, head, gemma),
            attention_cap: gguf.float(&key("attn_logit_softcapping")).filter(|cap| *cap > 0.0),
            logit_cap: gguf.float(&key("final_logit_softcapping")).filter(|cap| *cap > 0.0),
            gate: if gemma { Gate::Gelu } else { Gate::Silu },
        })
    }

    /// The window of a layer.
    pub(super) fn layer_window(&self, layer: usize) -> Option<usize> {
        self.window.filter(|_| layer % self.window_pattern != self.window_pattern - 1)
    }
}

/// 1 / sqrt(head), but for the 27B model of Gemma 3, which divides by its width a head (168) instead of its head (128).
fn attention_scale(width: usize, heads: usize, head: usize, gemma: bool) -> f32 {
    let divisor = if gemma && width == 5_376 { width / heads } else { head };
    1.0 / (divisor as f32).sqrt()
}
