//! Moonshine's encoder: sound to what the decoder reads, and on the way to the tone of the voice.
//!
//! The last block keeps what is said and drops how; the first ones still hold both. So the sums behind a [`Tone`] are taken from these,
//! in the pass that the words need anyway.

use std::path::PathBuf;

use ort::session::{OutputSelector, RunOptions, Session};
use ort::value::{DynValue, TensorRef};

use crate::emotion::{Grid, Tone};
use crate::hesitation::FillerHead;
use crate::onnx::{failed, open_with_outputs};
use crate::{ModelError, Weights};

/// What the decoder reads.
const HIDDEN: &str = "last_hidden_state";
/// What the first three blocks give, [1, time, 288] each.
const BLOCKS: [&str; 3] = ["/layers.0/Add_1_output_0", "/layers.1/Add_1_output_0", "/layers.2/Add_1_output_0"];
/// The strides of the stem are 64 x 3 x 2 samples, its kernels 127, 7 and 3.
const GRID: Grid = Grid { width: 288, step: 384, look: 960 };

/// The encoder, for one thread.
pub(crate) struct Encoder {
    session: Session,
}

impl Encoder {
    /// Where it is.
    pub(crate) fn file(weights: &Weights) -> Result<PathBuf, ModelError> {
        weights.file("moonshine-tiny-en", "encoder_model.ort")
    }

    /// Loads it.
    pub(crate) fn load(weights: &Weights) -> Result<Encoder, ModelError> {
        let file = Encoder::file(weights)?;
        Ok(Encoder { session: open_with_outputs(weights, &file, &BLOCKS)? })
    }

    /// What the decoder reads of `pcm`, mono at [`audio::Rate::MODEL`].
    pub(super) fn run(&mut self, pcm: &[f32], mask: &[i64]) -> ort::Result<DynValue> {
        let options = RunOptions::new()?.with_outputs(OutputSelector::no_default().with(HIDDEN));
        let inputs = ort::inputs![
            "input_values" => TensorRef::from_array_view(([1, pcm.len()], pcm))?,
            "attention_mask" => TensorRef::from_array_view(([1, mask.len()], mask))?,
        ];
        let mut encoded = self.session.run_with_options(inputs, &options)?;
        Ok(encoded.remove(HIDDEN).expect("the encoder has this output"))
    }

    /// The same, and the tone of the voice.
    pub(super) fn run_with_tone(&mut self, pcm: &[f32], mask: &[i64]) -> ort::Result<(DynValue, Tone)> {
        let mut encoded = self.session.run(ort::inputs![
            "input_values" => TensorRef::from_array_view(([1, pcm.len()], pcm))?,
            "attention_mask" => TensorRef::from_array_view(([1, mask.len()], mask))?,
        ])?;
        let mut blocks: Vec<&[f32]> = Vec::with_capacity(BLOCKS.len());
        for name in BLOCKS {
            blocks.push(encoded[name].try_extract_tensor::<f32>()?.1);
        }
        let mut tone = Tone::of_blocks(&blocks, pcm, GRID);
        tone.fillers = FillerHead::moonshine().find(&blocks, pcm, GRID);
        Ok((encoded.remove(HIDDEN).expect("the encoder has this output"), tone))
    }

    /// All values of each step, one step after the other, and in which of them somebody speaks.
    pub(crate) fn steps(&mut self, pcm: &[f32]) -> Result<(Vec<f32>, Vec<bool>), ModelError> {
        let mask = vec![1_i64; pcm.len()];
        let mut run = || -> ort::Result<Vec<f32>> {
            let encoded = self.session.run(ort::inputs![
                "input_values" => TensorRef::from_array_view(([1, pcm.len()], pcm))?,
                "attention_mask" => TensorRef::from_array_view(([1, mask.len()], &mask[..]))?,
            ])?;
            let mut blocks: Vec<&[f32]> = Vec::with_capacity(BLOCKS.len());
            for name in BLOCKS {
                blocks.push(encoded[name].try_extract_tensor::<f32>()?.1);
            }
            let steps = blocks[0].len() / GRID.width;
            let of_step = |step: usize| blocks.iter().flat_map(move |block| &block[step * GRID.width..(step + 1) * GRID.width]);
            Ok((0..steps).flat_map(of_step).copied().collect())
        };
        let values = run().map_err(|error| failed("moonshine", error))?;
        let mut speech = GRID.speech(pcm);
        speech.resize(values.len() / (BLOCKS.len() * GRID.width), false);
        Ok((values, speech))
    }

    /// The tone of the voice alone, where somebody else hears the words.
    pub(crate) fn tone(&mut self, pcm: &[f32]) -> Result<Tone, ModelError> {
        let mask = vec![1; pcm.len()];
        self.run_with_tone(pcm, &mask).map(|(_, tone)| tone).map_err(|error| failed("moonshine", error))
    }
}
