//! Words that no dictionary has, spelled out to phonemes by a small network.

use std::collections::HashMap;
use std::path::Path;

use ort::session::Session;
use ort::value::TensorRef;
use serde::Deserialize;

use super::{ModelError, read_json};
use crate::{Weights, onnx};

/// Letters to phonemes: input `chars` (1, letters) i64, output (1, steps) i64 of CTC labels, 0 the blank.
pub(crate) struct Unknown {
    session: Session,
    letters: HashMap<char, i64>,
    phonemes: Vec<char>,
    longest: usize,
}

/// The alphabets beside the network; their numbers begin at 1.
#[derive(Deserialize)]
struct Alphabets {
    r#in: Vec<char>,
    out: Vec<char>,
    maxlen: usize,
}

impl Unknown {
    pub(super) fn open(weights: &Weights, network: &Path, alphabets: &Path) -> Result<Unknown, ModelError> {
        let Alphabets { r#in, out, maxlen } = read_json(alphabets)?;
        let session = onnx::open(weights, network)?;
        Ok(Unknown { session, letters: r#in.into_iter().zip(1..).collect(), phonemes: out, longest: maxlen })
    }

    /// How the word may be said; `None` if it has no letter that the network knows.
    pub(super) fn say(&mut self, word: &str) -> Result<Option<String>, ModelError> {
        let letters: Vec<i64> = word.chars().filter_map(|c| self.letters.get(&c).copied()).take(self.longest).collect();
        if letters.is_empty() {
            return Ok(None);
        }
        let labels = run(&mut self.session, &letters).map_err(|error| onnx::failed("hibari", error))?;
        let mut said = String::new();
        let mut last = 0;
        for label in labels {
            if label != last && label > 0 {
                said.extend(self.phonemes.get(label as usize - 1));
            }
            last = label;
        }
        Ok(Some(said))
    }
}

fn run(session: &mut Session, letters: &[i64]) -> ort::Result<Vec<i64>> {
    let input = TensorRef::from_array_view(([1, letters.len()], letters))?;
    let outputs = session.run(ort::inputs!["chars" => input])?;
    Ok(outputs[0].try_extract_tensor::<i64>()?.1.to_vec())
}
