//! A GGUF file: candle reads its header and dequantises what has no layout of ours; the checks on sizes are here.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use half::f16;

use super::matrix::{BLOCK, Bits, Block, LANES, Matrix};
use crate::{ErrorKind, ModelError};

/// Weights of one super-block of the K types.
const SUPER: usize = 256;

/// An open file.
pub(super) struct Gguf {
    content: Content,
    file: BufReader<File>,
    /// Bytes of the whole file.
    length: u64,
    name: String,
}

impl Gguf {
    /// Opens a file and reads its header.
    pub(super) fn open(path: &Path) -> Result<Gguf, ModelError> {
        let name = path.display().to_string();
        let open = || -> std::io::Result<(BufReader<File>, u64)> {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok((BufReader::with_capacity(1 << 16, file), length))
        };
        let (mut file, length) = open().map_err(|error| unusable(&name, error))?;
        // The reader divides by the file's alignment, which a damaged file gives as 0.
        let content = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Content::read(&mut file)))
            .map_err(|_| unusable(&name, "its header is damaged"))?
            .map_err(|error| unusable(&name, error))?;
        Ok(Gguf { content, file, length, name })
    }

    /// An error about this file.
    pub(super) fn unusable(&self, detail: impl std::fmt::Display) -> ModelError {
        unusable(&self.name, detail)
    }

    /// A text of the metadata.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.content.metadata.get(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number of the metadata. Where a list is given (one a layer), its first.
    pub(super) fn number(&self, key: &str) -> Option<usize> {
        whole(self.content.metadata.get(key)?)
    }

    /// A whole number that must be there and within `range`.
    pub(super) fn required(&self, key: &str, range: std::ops::RangeInclusive<usize>) -> Result<usize, ModelError> {
        match self.number(key) {
            Some(number) if range.contains(&number) => Ok(number),
            Some(number) => Err(self.unusable(format!("{key} is {number}, but must be in {range:?}"))),
            None => Err(self.unusable(format!("{key} is missing"))),
        }
    }

    /// A fraction of the metadata.
    pub(super) fn float(&self, key: &str) -> Option<f32> {
        match self.content.metadata.get(key)? {
            Value::F32(number) => Some(*number),
            Value::F64(number) => Some(*number as f32),
            _ => None,
        }
        .filter(|number| number.is_finite())
    }

    /// A yes or no of the metadata.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.content.metadata.get(key)? {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// A list of the metadata; empty if there is none.
    pub(super) fn list(&self, key: &str) -> &[Value] {
        match self.content.metadata.get(key) {
            Some(Value::Array(values)) => values,
            _ => &[],
        }
    }

    /// Whether there is a tensor of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// The outermost dimension of a tensor.
    pub(super) fn rows(&self, name: &str) -> Option<usize> {
        self.content.tensor_infos.get(name)?.shape.dims().first().copied()
    }

    /// A vector of floats that must be there.
    pub(super) fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>, ModelError> {
        let (dtype, start) = self.locate(name, &[length])?;
        self.floats(dtype, start, length, name)
    }

    /// A vector of floats, if it is there.
    pub(super) fn optional(&mut self, name: &str, length: usize) -> Result<Option<Vec<f32>>, ModelError> {
        if self.has(name) { self.vector(name, length).map(Some) } else { Ok(None) }
    }

    /// A matrix (rows, columns) in one of our two layouts.
    pub(super) fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix, ModelError> {
        let (dtype, start) = self.locate(name, &[rows, columns])?;
        if !columns.is_multiple_of(BLOCK) {
            return Err(self.unusable(format!("{name} has {columns} columns; only multiples of {BLOCK} can be run")));
        }
        let bits = match dtype {
            GgmlDType::Q4_0 | GgmlDType::Q4_1 | GgmlDType::Q4K => Bits::Four,
            _ => Bits::Eight,
        };
        let mut matrix = Matrix::zeros(rows, columns, bits);
        let row_bytes = columns / dtype.block_size() * dtype.type_size();
        // A few rows at a time: the file's bytes and our layout are never both in memory whole.
        for first in (0..rows).step_by(LANES) {
            let here = LANES.min(rows - first);
            let from = start + (first * row_bytes) as u64;
            match dtype {
                GgmlDType::Q4_0 | GgmlDType::Q4_1 | GgmlDType::Q4K | GgmlDType::Q8_0 => {
                    let bytes = self.bytes(from, here * row_bytes, name)?;
                    for (row, bytes) in bytes.chunks_exact(row_bytes).enumerate() {
                        put_row(&mut matrix, first + row, dtype, bytes);
                    }
                }
                _ => {
                    let weights = self.floats(dtype, from, here * columns, name)?;
                    for (at, weights) in weights.chunks_exact(BLOCK).enumerate() {
                        matrix.put(first + at / (columns / BLOCK), at % (columns / BLOCK), &Block::eight(weights));
                    }
                }
            }
        }
        Ok(matrix)
    }

    /// A tensor's type and place, once its shape is as expected and all of it is within the file.
    fn locate(&self, name: &str, shape: &[usize]) -> Result<(GgmlDType, u64), ModelError> {
        let info: &TensorInfo =
            self.content.tensor_infos.get(name).ok_or_else(|| self.unusable(format!("the tensor {name} is missing")))?;
        if info.shape.dims() != shape {
            return Err(self.unusable(format!("{name} has the shape {:?}, but {shape:?} is expected", info.shape.dims())));
        }
        let inner = shape.last().copied().unwrap_or(0);
        if inner == 0 || !inner.is_multiple_of(info.ggml_dtype.block_size()) {
            return Err(self.unusable(format!("{name} has rows of {inner} numbers, which its type {:?} cannot have", info.ggml_dtype)));
        }
        let bytes = shape
            .iter()
            .try_fold(info.ggml_dtype.type_size() as u64, |bytes, side| bytes.checked_mul(*side as u64))
            .map(|bytes| bytes / info.ggml_dtype.block_size() as u64);
        let start = self.content.tensor_data_offset.checked_add(info.offset);
        match (start, bytes) {
            (Some(start), Some(bytes)) if start.checked_add(bytes).is_some_and(|end| end <= self.length) => Ok((info.ggml_dtype, start)),
            _ => Err(self.unusable(format!("{name} reaches beyond the end of the file; fetch it again"))),
        }
    }

    fn bytes(&mut self, start: u64, length: usize, name: &str) -> Result<Vec<u8>, ModelError> {
        let mut bytes = vec![0; length];
        let read = self.file.seek(SeekFrom::Start(start)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|error| self.unusable(format!("{name}: {error}")))?;
        Ok(bytes)
    }

    fn floats(&mut self, dtype: GgmlDType, start: u64, count: usize, name: &str) -> Result<Vec<f32>, ModelError> {
        let bytes = self.bytes(start, count / dtype.block_size() * dtype.type_size(), name)?;
        let read = || -> candle_core::Result<Vec<f32>> {
            let storage = QStorage::from_data(Cow::Owned(bytes), &Device::Cpu, dtype)?;
            QTensor::new(storage, count)?.dequantize(&Device::Cpu)?.to_vec1()
        };
        read().map_err(|error| self.unusable(format!("{name}: {error}")))
    }
}

fn unusable(name: &str, detail: impl std::fmt::Display) -> ModelError {
    ModelError::new(ErrorKind::Failed, name, format!("not a GGUF model that can be run: {detail}"))
}

/// A metadata value as a whole number.
pub(super) fn whole(value: &Value) -> Option<usize> {
    match value {
        Value::U8(number) => Some(usize::from(*number)),
        Value::U16(number) => Some(usize::from(*number)),
        Value::U32(number) => usize::try_from(*number).ok(),
        Value::U64(number) => usize::try_from(*number).ok(),
        Value::I8(number) => usize::try_from(*number).ok(),
        Value::I16(number) => usize::try_from(*number).ok(),
        Value::I32(number) => usize::try_from(*number).ok(),
        Value::I64(number) => usize::try_from(*number).ok(),
        Value::Array(values) => values.first().and_then(whole),
        _ => None,
    }
}

/// Takes over one row of a type whose values our layouts hold. Byte orders are those of ggml's `block_*` structs.
fn put_row(matrix: &mut Matrix, row: usize, dtype: GgmlDType, bytes: &[u8]) {
    let half = |bytes: &[u8], at: usize| f16::from_le_bytes([bytes[at], bytes[at + 1]]);
    for (at, block) in bytes.chunks_exact(dtype.type_size()).enumerate() {
        match dtype {
            GgmlDType::Q4_0 => {
                let scale = half(block, 0);
                let minimum = f16::from_f32(-8.0 * scale.to_f32());
                matrix.put(row, at, &Block { scale, minimum, steps: nibbles(&block[2..]) });
            }
            GgmlDType::Q4_1 => {
                matrix.put(row, at, &Block { scale: half(block, 0), minimum: half(block, 2), steps: nibbles(&block[4..]) });
            }
            GgmlDType::Q8_0 => {
                let mut steps = [0; BLOCK];
                for (step, byte) in steps.iter_mut().zip(&block[2..]) {
                    *step = *byte as i8;
                }
                matrix.put(row, at, &Block { scale: half(block, 0), minimum: f16::ZERO, steps });
            }
            _ => {
                let (scale, minimum) = (half(block, 0).to_f32(), half(block, 2).to_f32());
                for part in 0..SUPER / BLOCK {
                    let (scale_6, minimum_6) = six_bits(&block[4..16], part);
                    let pairs = &block[16 + part / 2 * BLOCK..][..BLOCK];
                    let mut steps = [0; BLOCK];
                    for (step, pair) in steps.iter_mut().zip(pairs) {
                        *step = (if part % 2 == 0 { pair & 15 } else { pair >> 4 }) as i8;
                    }
                    let content = Block {
                        scale: f16::from_f32(scale * f32::from(scale_6)),
                        minimum: f16::from_f32(-minimum * f32::from(minimum_6)),
                        steps,
                    };
                    matrix.put(row, at * (SUPER / BLOCK) + part, &content);
                }
            }
        }
    }
}

/// The steps of a block that keeps its first half in the low nibbles and its second in the high ones.
fn nibbles(pairs: &[u8]) -> [i8; BLOCK] {
    let mut steps = [0; BLOCK];
    for (at, pair) in pairs.iter().take(BLOCK / 2).enumerate() {
        steps[at] = (pair & 15) as i8;
        steps[at + BLOCK / 2] = (pair >> 4) as i8;
    }
    steps
}

/// Scale and minimum of one of a Q4_K super-block's eight blocks: six bits each, of the last four blocks split in 4 + 2.
fn six_bits(packed: &[u8], part: usize) -> (u8, u8) {
    if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        (packed[part + 4] & 15 | (packed[part - 4] >> 6) << 4, packed[part + 4] >> 4 | (packed[part] >> 6) << 4)
    }
}
