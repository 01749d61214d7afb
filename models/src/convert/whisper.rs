//! Whisper from a CTranslate2 `model.bin` (binary version 6) to the ggml file that whisper.cpp loads, weights as 8-bit blocks (`q8_0`).
//!
//! Nobody publishes a ggml Whisper in a package registry, but its half-precision source is there. Three things differ: CTranslate2 joins
//! the projections of an attention in one matrix, keeps a bias of nought for the keys, and leaves out the mel filters, which are computed
//! here. What it does not do: any other model family, any other quantisation.

use std::collections::HashMap;
use std::io::Write;

use half::f16;
use serde_json::Value;

use super::{ConvertError, malformed};

/// `ggml` as a little-endian number: the first word of the file.
const MAGIC: u32 = 0x6767_6d6c;
/// whisper.cpp's `ftype`: quantisation format 2, mostly `q8_0`.
const MOSTLY_Q8_0: u32 = 2_007;
/// Tensor types of ggml.
const F32: u32 = 0;
const F16: u32 = 1;
const Q8_0: u32 = 8;
/// Numbers in one block of `q8_0`.
const BLOCK: usize = 32;
/// Size of Whisper's Fourier transform at 16 kHz, in samples (25 ms), and the bins that carry information.
const FFT: usize = 400;
const BINS: usize = FFT / 2 + 1;
/// Ids below this are text in every multilingual Whisper; the engine names those above by itself.
const TEXT_TOKENS: usize = 50_257;
/// More layers than the largest Whisper has: a guard against a file that lies.
const MOST_LAYERS: usize = 64;

/// Converts `model` (`model.bin`) and `tokenizer` (`tokenizer.json`), both whole, and writes the ggml file.
pub(crate) fn to_ggml(model: &[u8], tokenizer: &[u8], to: &mut impl Write) -> Result<(), ConvertError> {
    let source = Source::read(model)?;
    let vocabulary = vocabulary(tokenizer)?;
    let shape = Shape::of(&source)?;
    let mut words = vec![MAGIC];
    words.extend([shape.vocabulary, shape.audio_context, shape.width, shape.audio_heads, shape.audio_layers].map(|n| n as u32));
    words.extend([shape.text_context, shape.width, shape.text_heads, shape.text_layers, shape.mels].map(|n| n as u32));
    words.extend([MOSTLY_Q8_0, shape.mels as u32, BINS as u32]);
    for word in words {
        to.write_all(&word.to_le_bytes())?;
    }
    for weight in mel_filters(shape.mels) {
        to.write_all(&weight.to_le_bytes())?;
    }
    to.write_all(&(vocabulary.len() as u32).to_le_bytes())?;
    for token in &vocabulary {
        to.write_all(&(token.len() as u32).to_le_bytes())?;
        to.write_all(token)?;
    }
    let mut out = Tensors { source: &source, to };
    out.frame(&shape)?;
    for layer in 0..shape.audio_layers {
        out.block("encoder", layer, shape.width)?;
    }
    for layer in 0..shape.text_layers {
        out.block("decoder", layer, shape.width)?;
        out.cross_attention(layer, shape.width)?;
    }
    Ok(())
}

/// One tensor of the source: its shape, outermost first, and its bytes.
struct Tensor<'a> {
    dims: Vec<usize>,
    kind: u8,
    bytes: &'a [u8],
}

impl Tensor<'_> {
    /// Its numbers from the row `from`, `rows` of them (all of a vector counts as rows of one).
    fn rows(&self, name: &str, from: usize, rows: usize) -> Result<Vec<f32>, ConvertError> {
        let width: usize = self.dims.iter().skip(1).product();
        let size = match self.kind {
            0 => 4,
            4 => 2,
            other => return Err(malformed(format!("{name} holds numbers of type {other}; only 0 (f32) and 4 (f16) can be converted"))),
        };
        let bytes = self.bytes.get(from * width * size..(from + rows) * width * size);
        let bytes = bytes.ok_or_else(|| malformed(format!("{name} has shape {:?}, too small", self.dims)))?;
        Ok(match size {
            4 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            _ => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        })
    }
}

/// The tensors of a CTranslate2 file by name.
struct Source<'a>(HashMap<&'a str, Tensor<'a>>);

impl<'a> Source<'a> {
    fn read(bytes: &'a [u8]) -> Result<Source<'a>, ConvertError> {
        let mut rest = Reader(bytes);
        let version = rest.u32()?;
        if version != 6 {
            return Err(malformed(format!("CTranslate2 binary version {version}; only 6 can be converted")));
        }
        let family = rest.text()?;
        if family != "WhisperSpec" {
            return Err(malformed(format!("a model of family {family:?}; only WhisperSpec can be converted")));
        }
        let _revision = rest.u32()?;
        let count = rest.u32()?;
        let mut tensors = HashMap::new();
        for _ in 0..count {
            let name = rest.text()?;
            let rank = rest.take(1)?[0];
            let dims = (0..rank).map(|_| rest.u32().map(|n| n as usize)).collect::<Result<Vec<_>, _>>()?;
            let kind = rest.take(1)?[0];
            let length = rest.u32()? as usize;
            let bytes = rest.take(length)?;
            let numbers = dims.iter().try_fold(1_usize, |all, n| all.checked_mul(*n));
            if numbers.is_none_or(|n| n > length) {
                return Err(malformed(format!("{name} has shape {dims:?} but {length} bytes")));
            }
            tensors.insert(name, Tensor { dims, kind, bytes });
        }
        Ok(Source(tensors))
    }

    fn get(&self, name: &str) -> Result<&Tensor<'a>, ConvertError> {
        self.0.get(name).ok_or_else(|| malformed(format!("there is no {name}")))
    }

    /// How many layers `part` has.
    fn layers(&self, part: &str) -> Result<usize, ConvertError> {
        let is_there = |layer: &usize| self.0.contains_key(format!("{part}/layer_{layer}/ffn/linear_0/weight").as_str());
        let layers = (0..MOST_LAYERS).take_while(is_there).count();
        if layers == 0 { Err(malformed(format!("{part} has no layers"))) } else { Ok(layers) }
    }

    /// A whole number kept as a tensor without dimensions.
    fn number(&self, name: &str) -> Result<usize, ConvertError> {
        match self.get(name)?.bytes {
            [low, high] => Ok(usize::from(u16::from_le_bytes([*low, *high]))),
            [a, b, c, d] => Ok(u32::from_le_bytes([*a, *b, *c, *d]) as usize),
            other => Err(malformed(format!("{name} has {} bytes, not 2 or 4", other.len()))),
        }
    }
}

/// A cursor that never reads past the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], ConvertError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| malformed("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, ConvertError> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// A text with its length (u16) before it and a zero at its end.
    fn text(&mut self) -> Result<&'a str, ConvertError> {
        let length = self.take(2)?;
        let bytes = self.take(usize::from(u16::from_le_bytes([length[0], length[1]])))?;
        let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
        std::str::from_utf8(bytes).map_err(|_| malformed("a name is not UTF-8"))
    }
}

/// The sizes that whisper.cpp wants to know first.
struct Shape {
    vocabulary: usize,
    audio_context: usize,
    text_context: usize,
    width: usize,
    audio_heads: usize,
    text_heads: usize,
    audio_layers: usize,
    text_layers: usize,
    mels: usize,
}

impl Shape {
    fn of(source: &Source) -> Result<Shape, ConvertError> {
        let dims = |name: &str| match source.get(name)?.dims[..] {
            [rows, columns] | [rows, columns, _] if rows > 0 && columns > 0 => Ok((rows, columns)),
            _ => Err(malformed(format!("{name} is not a matrix"))),
        };
        let (vocabulary, width) = dims("decoder/embeddings/weight")?;
        if width % BLOCK != 0 || vocabulary < TEXT_TOKENS {
            return Err(malformed(format!("{vocabulary} tokens of width {width} are no multilingual Whisper")));
        }
        Ok(Shape {
            vocabulary,
            width,
            audio_context: dims("encoder/position_encodings/encodings")?.0,
            text_context: dims("decoder/position_encodings/encodings")?.0,
            audio_heads: source.number("encoder/num_heads")?,
            text_heads: source.number("decoder/num_heads")?,
            audio_layers: source.layers("encoder")?,
            text_layers: source.layers("decoder")?,
            mels: dims("encoder/conv1/weight")?.1,
        })
    }
}

/// Writes the tensors of the result.
struct Tensors<'a, W: Write> {
    source: &'a Source<'a>,
    to: &'a mut W,
}

impl<W: Write> Tensors<'_, W> {
    /// What stands around the layers: convolutions, positions, embeddings, last norms.
    fn frame(&mut self, shape: &Shape) -> Result<(), ConvertError> {
        self.vector("encoder.positional_embedding", "encoder/position_encodings/encodings", &[shape.audio_context, shape.width])?;
        for (conv, inner) in [("conv1", shape.mels), ("conv2", shape.width)] {
            let from = format!("encoder/{conv}/weight");
            let numbers = self.source.get(&from)?.rows(&from, 0, shape.width)?;
            self.write(&format!("encoder.{conv}.weight"), F16, &[shape.width, inner, 3], &numbers)?;
            self.vector(&format!("encoder.{conv}.bias"), &format!("encoder/{conv}/bias"), &[shape.width, 1])?;
        }
        self.norm("encoder.ln_post", "encoder/layer_norm", shape.width)?;
        self.vector("decoder.positional_embedding", "decoder/position_encodings/encodings", &[shape.text_context, shape.width])?;
        self.matrix("decoder.token_embedding", "decoder/embeddings", 0, [shape.vocabulary, shape.width], Bias::None)?;
        self.norm("decoder.ln", "decoder/layer_norm", shape.width)
    }

    /// Self-attention and feed-forward of one layer.
    fn block(&mut self, part: &str, layer: usize, width: usize) -> Result<(), ConvertError> {
        let (to, from) = (format!("{part}.blocks.{layer}"), format!("{part}/layer_{layer}"));
        self.norm(&format!("{to}.attn_ln"), &format!("{from}/self_attention/layer_norm"), width)?;
        let joined = format!("{from}/self_attention/linear_0");
        self.matrix(&format!("{to}.attn.query"), &joined, 0, [width, width], Bias::Own)?;
        self.matrix(&format!("{to}.attn.key"), &joined, width, [width, width], Bias::None)?;
        self.matrix(&format!("{to}.attn.value"), &joined, 2 * width, [width, width], Bias::Own)?;
        self.matrix(&format!("{to}.attn.out"), &format!("{from}/self_attention/linear_1"), 0, [width, width], Bias::Own)?;
        self.norm(&format!("{to}.mlp_ln"), &format!("{from}/ffn/layer_norm"), width)?;
        self.matrix(&format!("{to}.mlp.0"), &format!("{from}/ffn/linear_0"), 0, [4 * width, width], Bias::Own)?;
        self.matrix(&format!("{to}.mlp.2"), &format!("{from}/ffn/linear_1"), 0, [width, 4 * width], Bias::Own)
    }

    /// Attention of one decoder layer to the sound.
    fn cross_attention(&mut self, layer: usize, width: usize) -> Result<(), ConvertError> {
        let (to, from) = (format!("decoder.blocks.{layer}"), format!("decoder/layer_{layer}/attention"));
        self.norm(&format!("{to}.cross_attn_ln"), &format!("{from}/layer_norm"), width)?;
        self.matrix(&format!("{to}.cross_attn.query"), &format!("{from}/linear_0"), 0, [width, width], Bias::Own)?;
        self.matrix(&format!("{to}.cross_attn.key"), &format!("{from}/linear_1"), 0, [width, width], Bias::None)?;
        self.matrix(&format!("{to}.cross_attn.value"), &format!("{from}/linear_1"), width, [width, width], Bias::Own)?;
        self.matrix(&format!("{to}.cross_attn.out"), &format!("{from}/linear_2"), 0, [width, width], Bias::Own)
    }

    fn norm(&mut self, to: &str, from: &str, width: usize) -> Result<(), ConvertError> {
        self.vector(&format!("{to}.weight"), &format!("{from}/gamma"), &[width])?;
        self.vector(&format!("{to}.bias"), &format!("{from}/beta"), &[width])
    }

    /// A tensor kept as f32.
    fn vector(&mut self, to: &str, from: &str, dims: &[usize]) -> Result<(), ConvertError> {
        let numbers = self.source.get(from)?.rows(from, 0, dims[0])?;
        self.write(to, F32, dims, &numbers)
    }

    /// The rows of a linear layer from `row`, quantised, and their bias.
    fn matrix(&mut self, to: &str, from: &str, row: usize, dims: [usize; 2], bias: Bias) -> Result<(), ConvertError> {
        let name = format!("{from}/weight");
        let numbers = self.source.get(&name)?.rows(&name, row, dims[0])?;
        self.write(&format!("{to}.weight"), Q8_0, &dims, &numbers)?;
        match bias {
            Bias::None => Ok(()),
            Bias::Own => {
                let name = format!("{from}/bias");
                let numbers = self.source.get(&name)?.rows(&name, row, dims[0])?;
                self.write(&format!("{to}.bias"), F32, &dims[..1], &numbers)
            }
        }
    }

    /// Header and numbers of one tensor; `dims` outermost first.
    fn write(&mut self, name: &str, kind: u32, dims: &[usize], numbers: &[f32]) -> Result<(), ConvertError> {
        if numbers.len() != dims.iter().product::<usize>() {
            return Err(malformed(format!("{name} needs shape {dims:?} but its source has {} numbers", numbers.len())));
        }
        for word in [dims.len() as u32, name.len() as u32, kind].into_iter().chain(dims.iter().rev().map(|n| *n as u32)) {
            self.to.write_all(&word.to_le_bytes())?;
        }
        self.to.write_all(name.as_bytes())?;
        let mut bytes = Vec::with_capacity(numbers.len() * 4);
        match kind {
            Q8_0 => numbers.chunks(BLOCK).for_each(|block| quantise(block, &mut bytes)),
            F16 => numbers.iter().for_each(|n| bytes.extend(f16::from_f32(*n).to_le_bytes())),
            _ => numbers.iter().for_each(|n| bytes.extend(n.to_le_bytes())),
        }
        Ok(self.to.write_all(&bytes)?)
    }
}

/// Whether a projection has a bias; Whisper's keys have none.
enum Bias {
    Own,
    None,
}

/// One block of `q8_0`: a half-precision scale, then the numbers as multiples of it.
fn quantise(block: &[f32], to: &mut Vec<u8>) {
    let largest = block.iter().fold(0.0_f32, |largest, n| largest.max(n.abs()));
    let scale = largest / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    to.extend(f16::from_f32(scale).to_le_bytes());
    to.extend(block.iter().map(|n| (n * inverse).round() as i8 as u8));
}

/// The bytes of the text tokens by id, from a `tokenizer.json` with a byte-level vocabulary.
fn vocabulary(tokenizer: &[u8]) -> Result<Vec<Vec<u8>>, ConvertError> {
    let json: Value = serde_json::from_slice(tokenizer).map_err(|error| malformed(format!("tokenizer.json: {error}")))?;
    let tokens = json["model"]["vocab"].as_object().ok_or_else(|| malformed("tokenizer.json has no model.vocab"))?;
    let bytes = byte_letters();
    let mut vocabulary = vec![Vec::new(); TEXT_TOKENS];
    for (token, id) in tokens {
        let place = id.as_u64().and_then(|id| vocabulary.get_mut(id as usize));
        if let Some(place) = place {
            let decoded: Option<Vec<u8>> = token.chars().map(|letter| bytes.get(&letter).copied()).collect();
            *place = decoded.ok_or_else(|| malformed(format!("the token {token:?} is not byte-level")))?;
        }
    }
    // whisper.cpp looks this one up without asking whether it is there.
    if !vocabulary.iter().any(|token| token == b" ") {
        return Err(malformed("the vocabulary has no blank"));
    }
    Ok(vocabulary)
}

/// The letter that stands for each byte in a byte-level vocabulary (GPT-2's table): printable bytes for themselves, the others, in order,
/// from U+0100 on.
fn byte_letters() -> HashMap<char, u8> {
    let mut next = 0x100;
    (0..=255_u8)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => (char::from(byte), byte),
            _ => {
                next += 1;
                (char::from_u32(next - 1).unwrap_or(char::REPLACEMENT_CHARACTER), byte)
            }
        })
        .collect()
}

/// Slaney's mel scale, linear under 1 kHz and logarithmic above, as triangles of equal area: `mels` x [`BINS`] weights.
fn mel_filters(mels: usize) -> Vec<f32> {
    const LINEAR_HZ: f64 = 200.0 / 3.0;
    const KNEE_HZ: f64 = 1_000.0;
    const KNEE_MEL: f64 = KNEE_HZ / LINEAR_HZ;
    const NYQUIST_HZ: f64 = 8_000.0;
    let step = 6.4_f64.ln() / 27.0;
    let hz = |mel: f64| if mel < KNEE_MEL { mel * LINEAR_HZ } else { KNEE_HZ * ((mel - KNEE_MEL) * step).exp() };
    let top = KNEE_MEL + (NYQUIST_HZ / KNEE_HZ).ln() / step;
    let edges: Vec<f64> = (0..mels + 2).map(|n| hz(top * n as f64 / (mels + 1) as f64)).collect();
    let mut weights = Vec::with_capacity(mels * BINS);
    for edge in edges.windows(3) {
        for bin in 0..BINS {
            let at = bin as f64 * 2.0 * NYQUIST_HZ / FFT as f64;
            let rise = (at - edge[0]) / (edge[1] - edge[0]);
            let fall = (edge[2] - at) / (edge[2] - edge[1]);
            weights.push((rise.min(fall).max(0.0) * 2.0 / (edge[2] - edge[0])) as f32);
        }
    }
    weights
}

#[cfg(test)]
mod tests;
