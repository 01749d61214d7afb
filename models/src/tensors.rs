//! Small files of named numbers, in the safetensors format: a length, a header in JSON, then the numbers.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Numbers by the names of their tensors.
pub(crate) type Tensors = HashMap<String, Vec<f32>>;

/// The tensors of 32-bit floats of a safetensors file, and what it says of itself.
pub(crate) fn read(bytes: &[u8]) -> Option<(Tensors, Option<Value>)> {
    let length = usize::try_from(u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)).ok()?;
    let numbers = bytes.get(8_usize.checked_add(length)?..)?;
    let mut header: serde_json::Map<String, Value> = serde_json::from_slice(&bytes[8..8 + length]).ok()?;
    let metadata = header.remove("__metadata__");
    let mut tensors = HashMap::new();
    for (name, tensor) in header {
        if tensor["dtype"] != "F32" {
            continue;
        }
        let offset = |index: usize| usize::try_from(tensor["data_offsets"][index].as_u64()?).ok();
        let (four, _) = numbers.get(offset(0)?..offset(1)?)?.as_chunks::<4>();
        tensors.insert(name, four.iter().map(|four| f32::from_le_bytes(*four)).collect());
    }
    Some((tensors, metadata))
}

/// Such a file of tensors with their names and shapes.
pub(crate) fn write(metadata: Value, tensors: &[(&str, &[f32], Vec<usize>)]) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), metadata);
    let mut at = 0;
    for (name, numbers, shape) in tensors {
        let end = at + 4 * numbers.len();
        header.insert((*name).to_owned(), serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [at, end] }));
        at = end;
    }
    let mut header = Value::Object(header).to_string();
    // The numbers begin at a multiple of eight.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(tensors.iter().flat_map(|(_, numbers, _)| numbers.iter()).flat_map(|number| number.to_le_bytes()));
    bytes
}
