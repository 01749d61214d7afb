//! The decoder: tokens in, the next token's logits out. One for all architectures; they differ in their [`Shape`] and in which of the
//! optional weights are there.

use half::f16;

use super::activations::Activations;
use super::crew::Crew;
use super::gguf::Gguf;
use super::matrix::{LANES, Matrix};
use super::memory::{Memory, POSITIONS, Part};
use super::shape::{Gate, Pairing, Rotation, Shape};
use crate::ModelError;

/// Groups of rows that a thread takes at once: about 2 µs of work at 576 columns.
const GROUPS: usize = 8;

/// The weights.
pub(super) struct Decoder {
    /// Its sizes.
    pub(super) shape: Shape,
    embeddings: Matrix,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// The matrix of logits, unless the embeddings serve for it.
    head: Option<Matrix>,
    /// Divisors of the rotary frequencies, (rotated / 2).
    divisors: Option<Vec<f32>>,
}

struct Layer {
    attention_norm: Vec<f32>,
    /// Query, key, value.
    heads: [Matrix; 3],
    biases: [Option<Vec<f32>>; 3],
    query_norm: Option<Vec<f32>>,
    key_norm: Option<Vec<f32>>,
    output: Matrix,
    after_attention_norm: Option<Vec<f32>>,
    feed_norm: Vec<f32>,
    /// Gate, up.
    wide: [Matrix; 2],
    narrow: Matrix,
    after_feed_norm: Option<Vec<f32>>,
}

/// Room for one step's intermediate results, kept so that a step allocates nothing.
#[derive(Default)]
pub(super) struct Scratch {
    activations: Activations,
    product: Vec<f32>,
    /// (tokens, width)
    state: Vec<f32>,
    normed: Vec<f32>,
    /// (tokens, heads * head)
    queries: Vec<f32>,
    attended: Vec<f32>,
    /// (tokens, kv heads * head)
    keys: Vec<f32>,
    values: Vec<f32>,
    /// (tokens, feed)
    gate: Vec<f32>,
    up: Vec<f32>,
    /// (vocabulary)
    pub(super) logits: Vec<f32>,
}

impl Decoder {
    /// Reads the weights.
    pub(super) fn read(gguf: &mut Gguf) -> Result<Decoder, ModelError> {
        let shape = Shape::read(gguf)?;
        let width = shape.width;
        let embeddings = gguf.matrix("token_embd.weight", shape.vocabulary, width)?;
        let layers = (0..shape.extent.layers).map(|index| Layer::read(gguf, &shape, index)).collect::<Result<_, _>>()?;
        let norm = gguf.vector("output_norm.weight", width)?;
        let head = if gguf.has("output.weight") { Some(gguf.matrix("output.weight", shape.vocabulary, width)?) } else { None };
        let divisors = gguf.optional("rope_freqs.weight", shape.rotated / 2)?;
        Ok(Decoder { shape, embeddings, layers, norm, head, divisors })
    }

    /// Reads `tokens` after those in `memory`; afterwards `scratch.logits` are those of the token to follow.
    pub(super) fn step(&self, tokens: &[u32], memory: &mut Memory, scratch: &mut Scratch, crew: &mut Crew) {
        self.read_tokens(tokens, memory, scratch, crew);
        let width = self.shape.width;
        let last = scratch.state.len() - width;
        scratch.normed.resize(width, 0.0);
        norm(&scratch.state[last..], &self.norm, self.shape.epsilon, &mut scratch.normed);
        let head = self.head.as_ref().unwrap_or(&self.embeddings);
        scratch.activations.set(&scratch.normed, width);
        scratch.logits.resize(self.shape.vocabulary, 0.0);
        multiply([head], &scratch.activations, &mut scratch.product, [&mut scratch.logits], crew);
        if let Some(cap) = self.shape.logit_cap {
            scratch.logits.iter_mut().for_each(|logit| *logit = cap * (*logit / cap).tanh());
        }
    }

    /// Reads `tokens` into `memory` without asking what follows: all of a prompt but its end.
    pub(super) fn read_tokens(&self, tokens: &[u32], memory: &mut Memory, scratch: &mut Scratch, crew: &mut Crew) {
        let shape = &self.shape;
        let first = memory.tokens().len();
        memory.append(tokens);
        scratch.state.resize(tokens.len() * shape.width, 0.0);
        for (token, state) in tokens.iter().zip(scratch.state.chunks_exact_mut(shape.width)) {
            self.embeddings.row(*token as usize, state);
            state.iter_mut().for_each(|number| *number *= shape.embedding_scale);
        }
        let wide = self.angles(first, tokens.len(), shape.rotation);
        let local = self.angles(first, tokens.len(), shape.local_rotation);
        for (index, layer) in self.layers.iter().enumerate() {
            let angles = if shape.layer_window(index).is_some() { &local } else { &wide };
            self.attention(index, layer, first, angles, memory, scratch, crew);
            self.feed(layer, scratch, crew);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one step, borrowed in parts so that they can be used at once")]
    fn attention(
        &self,
        index: usize,
        layer: &Layer,
        first: usize,
        angles: &[(f32, f32)],
        memory: &mut Memory,
        scratch: &mut Scratch,
        crew: &mut Crew,
    ) {
        let shape = &self.shape;
        let (size, kv_heads) = (shape.extent.head, shape.extent.heads);
        let tokens = scratch.state.len() / shape.width;
        norm_into(&scratch.state, &layer.attention_norm, shape.epsilon, &mut scratch.normed);
        scratch.activations.set(&scratch.normed, shape.width);
        scratch.queries.resize(tokens * shape.heads * size, 0.0);
        scratch.keys.resize(tokens * kv_heads * size, 0.0);
        scratch.values.resize(tokens * kv_heads * size, 0.0);
        let out = [&mut scratch.queries, &mut scratch.keys, &mut scratch.values];
        let [query, key, value] = &layer.heads;
        multiply([query, key, value], &scratch.activations, &mut scratch.product, out.map(|out| &mut out[..]), crew);

        for (out, bias) in [&mut scratch.queries, &mut scratch.keys, &mut scratch.values].into_iter().zip(&layer.biases) {
            if let Some(bias) = bias {
                out.chunks_exact_mut(bias.len()).for_each(|out| add(out, bias));
            }
        }
        for (out, weights) in [(&mut scratch.queries, &layer.query_norm), (&mut scratch.keys, &layer.key_norm)] {
            if let Some(weights) = weights {
                out.chunks_exact_mut(size).for_each(|head| norm_in_place(head, weights, shape.epsilon));
            }
            let per_token = out.len() / tokens;
            for (out, angles) in out.chunks_exact_mut(per_token).zip(angles.chunks_exact(shape.rotated / 2)) {
                out.chunks_exact_mut(size).for_each(|head| turn(&mut head[..shape.rotated], angles, shape.pairing));
            }
        }
        for (part, from) in [(Part::Key, &scratch.keys), (Part::Value, &scratch.values)] {
            for (at, from) in from.chunks_exact(size).enumerate() {
                let to = memory.at_mut(index, part, at % kv_heads, first + at / kv_heads);
                to.iter_mut().zip(from).for_each(|(to, from)| *to = f16::from_f32(*from));
            }
        }

        scratch.attended.resize(scratch.queries.len(), 0.0);
        let queries = &scratch.queries;
        let memory = &*memory;
        crew.split(&mut scratch.attended, size, |at, out| {
            let (token, head) = (at / shape.heads, at % shape.heads);
            let end = first + token + 1;
            let start = shape.layer_window(index).map_or(0, |window| end.saturating_sub(window));
            let kv_head = head / (shape.heads / kv_heads);
            let look = Look { layer: index, head: kv_head, start, end, scale: shape.attention_scale, cap: shape.attention_cap };
            look.attend(&queries[at * size..][..size], memory, out);
        });
        scratch.activations.set(&scratch.attended, shape.heads * size);
        scratch.normed.resize(scratch.state.len(), 0.0);
        multiply([&layer.output], &scratch.activations, &mut scratch.product, [&mut scratch.normed], crew);
        add_back(scratch, layer.after_attention_norm.as_deref(), shape);
    }

    fn feed(&self, layer: &Layer, scratch: &mut Scratch, crew: &mut Crew) {
        let shape = &self.shape;
        let tokens = scratch.state.len() / shape.width;
        norm_into(&scratch.state, &layer.feed_norm, shape.epsilon, &mut scratch.normed);
        scratch.activations.set(&scratch.normed, shape.width);
        scratch.gate.resize(tokens * shape.feed, 0.0);
        scratch.up.resize(tokens * shape.feed, 0.0);
        let [gate, up] = &layer.wide;
        let out = [&mut scratch.gate[..], &mut scratch.up[..]];
        multiply([gate, up], &scratch.activations, &mut scratch.product, out, crew);
        for (gate, up) in scratch.gate.iter_mut().zip(&scratch.up) {
            let x = *gate;
            *gate = up
                * match shape.gate {
                    Gate::Silu => x / (1.0 + (-x).exp()),
                    Gate::Gelu => 0.5 * x * (1.0 + (0.797_884_6 * x * (1.0 + 0.044_715 * x * x)).tanh()),
                };
        }
        scratch.activations.set(&scratch.gate, shape.feed);
        multiply([&layer.narrow], &scratch.activations, &mut scratch.product, [&mut scratch.normed], crew);
        add_back(scratch, layer.after_feed_norm.as_deref(), shape);
    }

    /// Cosine and sine of each pair's angle at each position, (tokens, rotated / 2).
    fn angles(&self, first: usize, tokens: usize, rotation: Rotation) -> Vec<(f32, f32)> {
        let pairs = self.shape.rotated / 2;
        let mut angles = Vec::with_capacity(tokens * pairs);
        for position in first..first + tokens {
            for pair in 0..pairs {
                let divisor = self.divisors.as_ref().map_or(1.0, |divisors| divisors[pair]);
                let frequency = rotation.base.powf(-2.0 * pair as f32 / self.shape.rotated as f32) / divisor;
                let (sine, cosine) = (position as f32 * rotation.factor * frequency).sin_cos();
                angles.push((cosine, sine));
            }
        }
        angles
    }
}

impl Layer {
    fn read(gguf: &mut Gguf, shape: &Shape, index: usize) -> Result<Layer, ModelError> {
        let width = shape.width;
        let (all, few) = (shape.heads * shape.extent.head, shape.extent.heads * shape.extent.head);
        let name = |part: &str| format!("blk.{index}.{part}");
        let heads = [
            gguf.matrix(&name("attn_q.weight"), all, width)?,
            gguf.matrix(&name("attn_k.weight"), few, width)?,
            gguf.matrix(&name("attn_v.weight"), few, width)?,
        ];
        let biases = [
            gguf.optional(&name("attn_q.bias"), all)?,
            gguf.optional(&name("attn_k.bias"), few)?,
            gguf.optional(&name("attn_v.bias"), few)?,
        ];
        Ok(Layer {
            attention_norm: gguf.vector(&name("attn_norm.weight"), width)?,
            heads,
            biases,
            query_norm: gguf.optional(&name("attn_q_norm.weight"), shape.extent.head)?,
            key_norm: gguf.optional(&name("attn_k_norm.weight"), shape.extent.head)?,
            output: gguf.matrix(&name("attn_output.weight"), width, all)?,
            after_attention_norm: gguf.optional(&name("post_attention_norm.weight"), width)?,
            feed_norm: gguf.vector(&name("ffn_norm.weight"), width)?,
            wide: [gguf.matrix(&name("ffn_gate.weight"), shape.feed, width)?, gguf.matrix(&name("ffn_up.weight"), shape.feed, width)?],
            narrow: gguf.matrix(&name("ffn_down.weight"), width, shape.feed)?,
            after_feed_norm: gguf.optional(&name("post_ffw_norm.weight"), width)?,
        })
    }
}

/// One head's look at the positions it may see.
struct Look {
    layer: usize,
    head: usize,
    start: usize,
    end: usize,
    scale: f32,
    cap: Option<f32>,
}

impl Look {
    /// The values seen, weighted by how well their keys fit the query.
    fn attend(&self, query: &[f32], memory: &Memory, out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if super::avx2::available() {
            #[expect(unsafe_code, reason = "the processor was just asked whether it has these instructions")]
            return unsafe { self.attend_avx2(query, memory, out) };
        }
        self.attend_by(query, memory, out, dot, add_scaled);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn attend_avx2(&self, query: &[f32], memory: &Memory, out: &mut [f32]) {
        self.attend_by(query, memory, out, |x, y| super::avx2::dot(x, y), |sum, factor, x| super::avx2::add_scaled(sum, factor, x));
    }

    /// Block by block with a running maximum, so that no list of all weights is needed.
    #[inline(always)]
    fn attend_by(
        &self,
        query: &[f32],
        memory: &Memory,
        out: &mut [f32],
        dot: impl Fn(&[f32], &[f16]) -> f32,
        add_scaled: impl Fn(&mut [f32], f32, &[f16]),
    ) {
        out.fill(0.0);
        let mut largest = f32::NEG_INFINITY;
        let mut total = 0.0;
        for block in self.start / POSITIONS..self.end.div_ceil(POSITIONS) {
            let from = self.start.saturating_sub(block * POSITIONS);
            let to = POSITIONS.min(self.end - block * POSITIONS);
            let keys = memory.block(self.layer, Part::Key, self.head, block);
            let values = memory.block(self.layer, Part::Value, self.head, block);
            let mut weights = [0.0; POSITIONS];
            let mut peak = largest;
            for position in from..to {
                let mut fit = dot(query, &keys[position * query.len()..][..query.len()]) * self.scale;
                if let Some(cap) = self.cap {
                    fit = cap * (fit / cap).tanh();
                }
                weights[position] = fit;
                peak = peak.max(fit);
            }
            if peak > largest {
                let shrink = (largest - peak).exp();
                total *= shrink;
                out.iter_mut().for_each(|out| *out *= shrink);
                largest = peak;
            }
            for position in from..to {
                let weight = (weights[position] - largest).exp();
                total += weight;
                add_scaled(out, weight, &values[position * query.len()..][..query.len()]);
            }
        }
        out.iter_mut().for_each(|out| *out /= total);
    }
}

fn dot(x: &[f32], y: &[f16]) -> f32 {
    x.iter().zip(y).map(|(x, y)| x * y.to_f32()).sum()
}

fn add_scaled(sum: &mut [f32], factor: f32, x: &[f16]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += factor * x.to_f32());
}

/// The products of several matrices with the same vectors; `outs` are (vectors, rows of each).
fn multiply<const N: usize>(matrices: [&Matrix; N], x: &Activations, product: &mut Vec<f32>, outs: [&mut [f32]; N], crew: &mut Crew) {
    let group = x.vectors * LANES;
    let groups: usize = matrices.iter().map(|matrix| matrix.groups()).sum();
    product.resize(groups * group, 0.0);
    let taken = if crew.threads() == 1 { groups } else { GROUPS };
    crew.split(product, taken * group, |piece, out| {
        for (at, out) in out.chunks_exact_mut(group).enumerate() {
            let mut index = piece * taken + at;
            for matrix in matrices {
                if index < matrix.groups() {
                    matrix.product(index, x, out);
                    break;
                }
                index -= matrix.groups();
            }
        }
    });
    // From (groups, vectors, 8) to (vectors, rows).
    let mut rest = &product[..];
    for (matrix, out) in matrices.into_iter().zip(outs) {
        let (mine, others) = rest.split_at(matrix.groups() * group);
        rest = others;
        for (vector, out) in out.chunks_exact_mut(matrix.rows).enumerate() {
            for (out, group) in out.chunks_mut(LANES).zip(mine.chunks_exact(group)) {
                out.copy_from_slice(&group[vector * LANES..][..out.len()]);
            }
        }
    }
}

/// Adds what a part of a layer found to the state.
fn add_back(scratch: &mut Scratch, weights: Option<&[f32]>, shape: &Shape) {
    if let Some(weights) = weights {
        scratch.normed.chunks_exact_mut(shape.width).for_each(|found| norm_in_place(found, weights, shape.epsilon));
    }
    add(&mut scratch.state, &scratch.normed);
}

fn add(to: &mut [f32], x: &[f32]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += x);
}

/// Root mean square norm of each of several vectors.
fn norm_into(x: &[f32], weights: &[f32], epsilon: f32, out: &mut Vec<f32>) {
    out.resize(x.len(), 0.0);
    for (x, out) in x.chunks_exact(weights.len()).zip(out.chunks_exact_mut(weights.len())) {
        norm(x, weights, epsilon, out);
    }
}

fn norm(x: &[f32], weights: &[f32], epsilon: f32, out: &mut [f32]) {
    let factor = norm_factor(x, epsilon);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weights) {
        *out = x * factor * weight;
    }
}

fn norm_in_place(x: &mut [f32], weights: &[f32], epsilon: f32) {
    let factor = norm_factor(x, epsilon);
    x.iter_mut().zip(weights).for_each(|(x, weight)| *x *= factor * weight);
}

fn norm_factor(x: &[f32], epsilon: f32) -> f32 {
    // Eight sums, so that the processor need not wait for each addition.
    let mut sums = [0.0_f32; 8];
    for x in x.chunks(8) {
        sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x * x);
    }
    1.0 / (sums.iter().sum::<f32>() / x.len() as f32 + epsilon).sqrt()
}

fn turn(head: &mut [f32], angles: &[(f32, f32)], pairing: Pairing) {
    let half = head.len() / 2;
    for (pair, (cosine, sine)) in angles.iter().enumerate() {
        let (a, b) = match pairing {
            Pairing::Neighbours => (2 * pair, 2 * pair + 1),
            Pairing::Halves => (pair, pair + half),
        };
        (head[a], head[b]) = (head[a] * cosine - head[b] * sine, head[a] * sine + head[b] * cosine);
    }
}
