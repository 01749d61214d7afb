//! The accurate ear: Whisper base's encoder up to its third block, where how something is said is heard best; later blocks keep only
//! what is said. It runs beside whatever hears the words, and costs what a quarter of Whisper does.
//!
//! The sound is heard as long as it is: the half minute that Whisper itself fills up with silence would be most of the means.

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Duration;

use audio::Rate;
use candle_core::{D, DType, Device, Tensor};
use half::f16;

use super::reader::{ToneReader, filled};
use super::{Grid, Tone};
use crate::mel::{HOP, LogMel, MELS};
use crate::{ErrorKind, ModelError, Weights};

const NAME: &str = "whisper";
/// Blocks that are run.
const BLOCKS: usize = 3;
/// The second convolution takes every other frame; its kernels see three.
const STEP: usize = 2 * HOP;
const LOOK: usize = 4 * HOP;
/// The encoder has places for thirty seconds.
const LONGEST: usize = 20 * Rate::MODEL.hz() as usize;
/// `ggml` as a little-endian number: the first word of the file.
const MAGIC: u32 = 0x6767_6d6c;
/// Most numbers of a tensor; those of Whisper large have fewer.
const LARGEST: usize = 100 << 20;

/// Whisper's first blocks, for one thread. They are loaded when they are first needed.
pub(super) struct WhisperTone {
    weights: Weights,
    encoder: Option<Encoder>,
}

impl WhisperTone {
    /// Sees whether they are there.
    pub(super) fn find(weights: &Weights) -> Result<WhisperTone, ModelError> {
        weights.file("whisper-base", "ggml-base-q8_0.bin")?;
        Ok(WhisperTone { weights: weights.clone(), encoder: None })
    }
}

impl ToneReader for WhisperTone {
    fn read(&mut self, pcm: &[f32]) -> Result<Tone, ModelError> {
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => {
                let file = self.weights.file("whisper-base", "ggml-base-q8_0.bin")?;
                none.insert(Encoder::open(&file).map_err(|detail| failed(&format!("{}: {detail}", file.display())))?)
            }
        };
        let mut tone = Tone::default();
        let mut start = Duration::ZERO;
        for stretch in pcm.chunks(LONGEST) {
            tone.add(&encoder.tone(&filled(stretch)).map_err(|error| failed(&error.to_string()))?, start);
            start += Duration::from_secs_f64(stretch.len() as f64 / f64::from(Rate::MODEL.hz()));
        }
        Ok(tone)
    }
}

fn failed(detail: &str) -> ModelError {
    ModelError::new(ErrorKind::Failed, NAME, detail.to_owned())
}

/// A map of all values of a step.
struct Linear {
    /// (in, out)
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = x.matmul(&self.weight)?;
        match &self.bias {
            Some(bias) => x.broadcast_add(bias),
            None => Ok(x),
        }
    }
}

/// Layer normalisation.
struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Norm {
    fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let spread = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
        x.broadcast_div(&spread)?.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)
    }
}

struct Block {
    before_attention: Norm,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    before_feed: Norm,
    up: Linear,
    down: Linear,
}

impl Block {
    /// `x` is (time, width).
    fn apply(&self, x: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
        let (time, width) = x.dims2()?;
        let normal = self.before_attention.apply(x)?;
        // (heads, time, width of a head)
        let split = |x: Tensor| x.reshape((time, heads, width / heads))?.transpose(0, 1)?.contiguous();
        let (query, key, value) =
            (split(self.query.apply(&normal)?)?, split(self.key.apply(&normal)?)?, split(self.value.apply(&normal)?)?);
        let alike = (query.matmul(&key.transpose(1, 2)?.contiguous()?)? * (heads as f64 / width as f64).sqrt())?;
        let alike = alike.broadcast_sub(&alike.max_keepdim(D::Minus1)?)?.exp()?;
        let share = alike.broadcast_div(&alike.sum_keepdim(D::Minus1)?)?;
        let seen = share.matmul(&value)?.transpose(0, 1)?.contiguous()?.reshape((time, width))?;
        let x = (x + self.out.apply(&seen)?)?;
        let fed = self.down.apply(&self.up.apply(&self.before_feed.apply(&x)?)?.gelu_erf()?)?;
        x + fed
    }
}

struct Encoder {
    mel: LogMel,
    /// Kernels (out, in, 3) and biases (out, 1) of the two convolutions.
    stem: [(Tensor, Tensor); 2],
    /// (places, width)
    places: Tensor,
    blocks: Vec<Block>,
    heads: usize,
    width: usize,
}

impl Encoder {
    /// From a ggml file of whisper.cpp's.
    fn open(file: &Path) -> Result<Encoder, String> {
        let mut ggml = Ggml::open(file)?;
        let stem = |ggml: &mut Ggml, name: &str| -> Result<(Tensor, Tensor), String> {
            let bias = ggml.take(&format!("encoder.{name}.bias"))?;
            let bias = bias.flatten_all().and_then(|bias| bias.unsqueeze(1)).map_err(|error| error.to_string())?;
            Ok((ggml.take(&format!("encoder.{name}.weight"))?, bias))
        };
        let stem = [stem(&mut ggml, "conv1")?, stem(&mut ggml, "conv2")?];
        let places = ggml.take("encoder.positional_embedding")?;
        let blocks = (0..BLOCKS).map(|block| ggml.block(block)).collect::<Result<Vec<_>, _>>()?;
        let (heads, width) = (ggml.heads, ggml.width);
        if heads == 0 || width % heads != 0 || places.dims().last() != Some(&width) {
            return Err(format!("its encoder has {heads} heads of {width} values together"));
        }
        Ok(Encoder { mel: LogMel::new(), stem, places, blocks, heads, width })
    }

    fn tone(&self, pcm: &[f32]) -> candle_core::Result<Tone> {
        let block = self.third_block(pcm)?;
        Ok(Tone::of_blocks(&[&block], pcm, Grid { width: self.width, step: STEP, look: LOOK }))
    }

    /// (time, width), one step for every 20 ms.
    fn third_block(&self, pcm: &[f32]) -> candle_core::Result<Vec<f32>> {
        let features = self.mel.compute(pcm);
        let mut x = Tensor::from_vec(features, (1, MELS, pcm.len() / HOP), &Device::Cpu)?;
        for ((kernel, bias), stride) in self.stem.iter().zip([1, 2]) {
            x = x.conv1d(kernel, 1, stride, 1, 1)?.broadcast_add(bias)?.gelu_erf()?;
        }
        let x = x.squeeze(0)?.t()?.contiguous()?;
        let mut x = (&x + self.places.narrow(0, 0, x.dim(0)?)?)?;
        for block in &self.blocks {
            x = block.apply(&x, self.heads)?;
        }
        x.flatten_all()?.to_vec1()
    }
}

/// Tensors of a ggml file, read as far as they are asked for.
struct Ggml {
    file: BufReader<std::fs::File>,
    width: usize,
    heads: usize,
    tensors: HashMap<String, Tensor>,
}

impl Ggml {
    fn open(file: &Path) -> Result<Ggml, String> {
        let file = std::fs::File::open(file).map_err(|error| error.to_string())?;
        let mut ggml = Ggml { file: BufReader::new(file), width: 0, heads: 0, tensors: HashMap::new() };
        if ggml.word()? != MAGIC {
            return Err("it is no ggml file".to_owned());
        }
        // Vocabulary, places, width, heads and layers of the encoder; four of the decoder; mel bands; how it is quantised.
        let mut shape = [0; 11];
        for number in &mut shape {
            *number = ggml.word()? as usize;
        }
        (ggml.width, ggml.heads) = (shape[2], shape[3]);
        if shape[4] < BLOCKS || shape[9] != MELS {
            return Err(format!("its encoder has {} blocks and reads {} bands; it takes {BLOCKS} and {MELS}", shape[4], shape[9]));
        }
        let filters = i64::from(ggml.word()?) * i64::from(ggml.word()?) * 4;
        ggml.skip(filters)?;
        for _ in 0..ggml.word()? {
            let length = ggml.word()?;
            ggml.skip(i64::from(length))?;
        }
        Ok(ggml)
    }

    fn word(&mut self) -> Result<u32, String> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes).map_err(|error| error.to_string())?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn skip(&mut self, bytes: i64) -> Result<(), String> {
        self.file.seek_relative(bytes).map_err(|error| error.to_string())
    }

    /// The tensor `name`, of 32-bit floats, its outermost size first.
    fn take(&mut self, name: &str) -> Result<Tensor, String> {
        while !self.tensors.contains_key(name) {
            let found = self.next().map_err(|error| format!("{name} is missing: {error}"))?;
            self.tensors.extend(found);
        }
        self.tensors.remove(name).ok_or_else(|| format!("{name} is missing"))
    }

    /// The next tensor and its name; `None` for those of the decoder, which are passed over.
    fn next(&mut self) -> Result<Option<(String, Tensor)>, String> {
        let (rank, length, kind) = (self.word()?, self.word()? as usize, self.word()?);
        if rank == 0 || rank > 4 || length > 256 {
            return Err(format!("a tensor has {rank} dimensions and a name of {length} bytes"));
        }
        // The innermost comes first.
        let mut sizes = (0..rank).map(|_| self.word().map(|size| size as usize)).collect::<Result<Vec<_>, _>>()?;
        sizes.reverse();
        let mut name = vec![0; length];
        self.file.read_exact(&mut name).map_err(|error| error.to_string())?;
        let count = sizes.iter().try_fold(1_usize, |all, size| all.checked_mul(*size)).filter(|count| *count <= LARGEST);
        let count = count.ok_or_else(|| format!("a tensor has the sizes {sizes:?}"))?;
        let (group, bytes) = match kind {
            0 => (1, 4),
            1 => (1, 2),
            // Blocks of 32 whole numbers with their scale before them.
            8 => (32, 34),
            other => return Err(format!("a tensor has the type {other}; 0 (f32), 1 (f16) and 8 (q8_0) are read")),
        };
        let bytes = count / group * bytes;
        if !name.starts_with(b"encoder.") {
            self.skip(bytes as i64)?;
            return Ok(None);
        }
        let mut raw = vec![0; bytes];
        self.file.read_exact(&mut raw).map_err(|error| error.to_string())?;
        let half = |bytes: &[u8]| f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
        let numbers: Vec<f32> = match kind {
            0 => raw.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            1 => raw.as_chunks::<2>().0.iter().map(|bytes| half(bytes)).collect(),
            _ => {
                let of_block = |block: &[u8; 34]| {
                    let scale = half(block);
                    std::array::from_fn::<f32, 32, _>(|at| scale * f32::from(block[2 + at].cast_signed()))
                };
                raw.as_chunks::<34>().0.iter().flat_map(of_block).collect()
            }
        };
        let tensor = Tensor::from_vec(numbers, sizes, &Device::Cpu).and_then(|tensor| tensor.to_dtype(DType::F32));
        Ok(Some((String::from_utf8_lossy(&name).into_owned(), tensor.map_err(|error| error.to_string())?)))
    }

    fn linear(&mut self, name: &str, biased: bool) -> Result<Linear, String> {
        let weight = self.take(&format!("{name}.weight"))?.t().and_then(|weight| weight.contiguous()).map_err(|error| error.to_string())?;
        let bias = if biased { Some(self.take(&format!("{name}.bias"))?) } else { None };
        Ok(Linear { weight, bias })
    }

    fn norm(&mut self, name: &str) -> Result<Norm, String> {
        Ok(Norm { weight: self.take(&format!("{name}.weight"))?, bias: self.take(&format!("{name}.bias"))? })
    }

    fn block(&mut self, block: usize) -> Result<Block, String> {
        let name = |part: &str| format!("encoder.blocks.{block}.{part}");
        Ok(Block {
            before_attention: self.norm(&name("attn_ln"))?,
            query: self.linear(&name("attn.query"), true)?,
            // The keys alone have none.
            key: self.linear(&name("attn.key"), false)?,
            value: self.linear(&name("attn.value"), true)?,
            out: self.linear(&name("attn.out"), true)?,
            before_feed: self.norm(&name("mlp_ln"))?,
            up: self.linear(&name("mlp.0"), true)?,
            down: self.linear(&name("mlp.2"), true)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_is_heard_whole_whatever_its_length() {
        let weights = Weights::new(Weights::default_folder());
        let Ok(mut whisper) = WhisperTone::find(&weights) else {
            eprintln!("skipped: whisper-base is not installed");
            return;
        };
        let tone = |seconds: usize| -> Vec<f32> {
            (0..seconds * 16_000).map(|at| 0.1 * (std::f32::consts::TAU * 180.0 * at as f32 / 16_000.0).sin().powi(3)).collect()
        };
        let mut read = |seconds| whisper.read(&tone(seconds)).expect("it is read").numbers();
        let (short, long) = (read(2), read(41));
        assert_eq!((short.len(), long.len()), (1_024, 1_024));
        assert!(short.iter().chain(&long).all(|number| number.is_finite()));
        let (mut product, mut one, mut other) = (0.0, 0.0, 0.0);
        for (a, b) in short[..512].iter().zip(&long[..512]) {
            (product, one, other) = (product + a * b, one + a * a, other + b * b);
        }
        assert!(product / (one * other).sqrt() > 0.9, "one sound is like itself");
        assert!(!whisper.read(&[0.0; 100]).expect("too short a sound is filled up").numbers().is_empty());
    }

    #[test]
    fn a_file_that_is_none_is_refused() {
        let file = std::env::temp_dir().join(format!("timbre-tone-{}.bin", std::process::id()));
        for (bytes, says) in [(&b"ggml"[..], "no ggml"), (&MAGIC.to_le_bytes()[..], "fill"), (&[][..], "fill")] {
            std::fs::write(&file, bytes).expect("the temporary folder can be written");
            let error = Encoder::open(&file).err().unwrap_or_default();
            assert!(error.contains(says), "{bytes:?}: {error}");
        }
        let _ = std::fs::remove_file(&file);
    }
}
