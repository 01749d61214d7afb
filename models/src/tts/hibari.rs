//! hibari: a small English voice that speaks fifty times faster than time on one core.

use std::collections::HashMap;
use std::sync::Arc;

use audio::{Rate, Samples};
use ort::session::Session;
use ort::value::TensorRef;

use super::english::{Accent, English, Phoneme, Unknown};
use super::vocoder::{self, Spectrum, Vocoder};
use super::{ByClause, Said, Voicebox, phonemes};
use crate::{ModelError, Synthesizer, Voice, Weights, onnx};

/// The name in errors and the folder among the models.
const NAME: &str = "hibari";
/// The one voice that the package carries.
const VOICE: &str = "heart";
/// How long each phoneme lasts, in units of two frames, (phonemes) f32: a value inside the graph, asked for as an output.
const DURATIONS: &str = "/Clip_output_0";
/// Samples of one unit of [`DURATIONS`].
const UNIT: usize = 2 * vocoder::HOP;

/// Loads hibari for `threads` texts at a time.
pub fn hibari(weights: &Weights, threads: usize) -> Result<Arc<dyn Synthesizer>, ModelError> {
    let network = weights.file(NAME, "hibari.onnx")?;
    // The network optimises itself while the dictionaries load.
    let (english, boxes) = std::thread::scope(|scope| {
        let english = scope.spawn(|| English::open(weights, Accent::American));
        let boxes: Result<Vec<_>, ModelError> = (0..threads.max(1))
            .map(|_| {
                let session = onnx::open_with_outputs(weights, &network, &[DURATIONS])?;
                Ok((session, English::unknown(weights, Accent::American)?))
            })
            .collect();
        (english.join().expect("loading the dictionaries does not panic"), boxes)
    });
    let english = Arc::new(english?);
    let ids = Arc::new(phonemes::ids(weights)?);
    let boxes = boxes?
        .into_iter()
        .map(|(session, unknown)| Hibari { session, unknown, english: english.clone(), ids: ids.clone(), vocoder: Vocoder::new() })
        .collect();
    Ok(Arc::new(ByClause::start(NAME, boxes, vec![VOICE.to_owned()])))
}

/// One thread's hibari.
struct Hibari {
    session: Session,
    unknown: Unknown,
    english: Arc<English>,
    ids: Arc<HashMap<char, i64>>,
    vocoder: Vocoder,
}

impl Voicebox for Hibari {
    fn say(&mut self, clause: &str, voice: &Voice) -> Result<Said, ModelError> {
        let phonemes = self.english.read(clause, &mut self.unknown)?;
        let mut said = Said::new(Rate::SPEECH);
        for part in phonemes::parts(&phonemes) {
            self.utter(part, voice.speed, &mut said).map_err(|error| onnx::failed(NAME, error))?;
        }
        Ok(said)
    }
}

impl Hibari {
    /// Inputs `ids` (1, phonemes + 2) i64 between two zeros, and `speed` (1); outputs as in [`Spectrum`], and [`DURATIONS`].
    fn utter(&mut self, phonemes: &[Phoneme], speed: f32, said: &mut Said) -> ort::Result<()> {
        let (phonemes, ids) = phonemes::numbered(phonemes, &self.ids);
        if phonemes.is_empty() {
            return Ok(());
        }
        let ids = TensorRef::from_array_view(([1, ids.len()], ids.as_slice()))?;
        let speed = [speed];
        let speed = TensorRef::from_array_view(([1], speed.as_slice()))?;
        let outputs = self.session.run(ort::inputs!["ids" => ids, "speed" => speed])?;
        let plane = |name: &str| outputs[name].try_extract_tensor::<f32>().map(|(_, values)| values);
        let pcm = self.vocoder.sound(&Spectrum {
            harmonic: plane("lh")?,
            phase: plane("theta")?,
            noise: plane("ln")?,
            rest: plane("lr")?,
            rest_phase: plane("phi")?,
            f0: plane("f0")?,
        });
        let lengths: Vec<Samples> = plane(DURATIONS)?.iter().map(|units| Samples((units * UNIT as f32) as u64)).collect();
        phonemes::add(said, &pcm, &phonemes, &lengths);
        Ok(())
    }
}
