//! Who reads the tone of a voice where no transcriber does it in passing.

use std::path::Path;
use std::sync::Arc;

use ort::session::Session;
use ort::value::TensorRef;

use super::{Heads, HeadsCard, Tone};
use crate::onnx::{failed, open};
use crate::stt::Encoder;
use crate::{ErrorKind, ModelError, Weights};

/// Less sound than this is filled up with silence: an encoder's stem needs some, samples at 16 kHz.
const SHORTEST: usize = 4_800;

/// Reads the tone of speech.
pub trait ToneReader: Send {
    /// Of mono sound at [`audio::Rate::MODEL`].
    fn read(&mut self, pcm: &[f32]) -> Result<Tone, ModelError>;
}

/// A reader and the heads for what it reads.
pub struct EmotionEngine {
    /// Reads tones.
    pub reader: Box<dyn ToneReader>,
    /// Judges them.
    pub heads: Arc<Heads>,
    /// Whether a transcriber that is Moonshine gives the same tones in passing.
    pub in_passing: bool,
}

impl EmotionEngine {
    /// The built-in heads on Moonshine's encoder.
    pub fn moonshine(weights: &Weights) -> Result<EmotionEngine, ModelError> {
        EmotionEngine::with_heads(weights, Heads::moonshine())
    }

    /// The built-in heads on Whisper's encoder: more accurate, and more work.
    pub fn whisper(weights: &Weights) -> Result<EmotionEngine, ModelError> {
        EmotionEngine::with_heads(weights, Heads::whisper())
    }

    /// What `voice.emotion` may name: `moonshine`, `whisper`, or a file.
    pub fn named(weights: &Weights, name: &str) -> Result<EmotionEngine, ModelError> {
        match name {
            "moonshine" => EmotionEngine::moonshine(weights),
            "whisper" => EmotionEngine::whisper(weights),
            file => EmotionEngine::open(weights, Path::new(file)),
        }
    }

    /// A file of the user's own: heads for Moonshine's encoder (`.safetensors`), or a model from sound to emotions (`.onnx`).
    pub fn open(weights: &Weights, file: &Path) -> Result<EmotionEngine, ModelError> {
        if file.extension().is_some_and(|ending| ending == "onnx") {
            let (reader, heads) = OnnxTone::load(weights, file)?;
            return Ok(EmotionEngine { reader: Box::new(reader), heads: Arc::new(heads), in_passing: false });
        }
        EmotionEngine::with_heads(weights, Arc::new(Heads::open(file)?))
    }

    fn with_heads(weights: &Weights, heads: Arc<Heads>) -> Result<EmotionEngine, ModelError> {
        let reader = tone_reader(weights, &heads.card.encoder)?;
        Ok(EmotionEngine { reader, in_passing: heads.card.encoder == Heads::MOONSHINE_TINY, heads })
    }
}

/// Who reads the tones that heads for `encoder` judge.
pub fn tone_reader(weights: &Weights, encoder: &str) -> Result<Box<dyn ToneReader>, ModelError> {
    match encoder {
        Heads::MOONSHINE_TINY => Ok(Box::new(MoonshineTone::find(weights)?)),
        #[cfg(all(feature = "whisper", feature = "embedded"))]
        Heads::WHISPER_BASE => Ok(Box::new(super::whisper::WhisperTone::find(weights)?)),
        other => {
            let detail = format!("heads for {other:?} cannot be used; known are {} and {}", Heads::MOONSHINE_TINY, Heads::WHISPER_BASE);
            Err(ModelError::new(ErrorKind::Failed, "emotion", detail))
        }
    }
}

/// At least [`SHORTEST`] of it.
pub(super) fn filled(pcm: &[f32]) -> std::borrow::Cow<'_, [f32]> {
    if pcm.len() >= SHORTEST {
        return pcm.into();
    }
    let mut filled = pcm.to_vec();
    filled.resize(SHORTEST, 0.0);
    filled.into()
}

/// Moonshine's encoder without its decoder, for one thread. It is loaded when it is first needed: where the transcriber is Moonshine, that
/// is never.
pub struct MoonshineTone {
    weights: Weights,
    encoder: Option<Encoder>,
}

impl MoonshineTone {
    /// Sees whether it is there.
    pub fn find(weights: &Weights) -> Result<MoonshineTone, ModelError> {
        Encoder::file(weights)?;
        Ok(MoonshineTone { weights: weights.clone(), encoder: None })
    }
}

impl MoonshineTone {
    fn encoder(&mut self) -> Result<&mut Encoder, ModelError> {
        Ok(match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(Encoder::load(&self.weights)?),
        })
    }

    /// What training on single moments needs: the values of each step of 24 ms, one step after the other, and in which somebody speaks.
    pub fn steps(&mut self, pcm: &[f32]) -> Result<(Vec<f32>, Vec<bool>), ModelError> {
        self.encoder()?.steps(&filled(pcm))
    }
}

impl ToneReader for MoonshineTone {
    fn read(&mut self, pcm: &[f32]) -> Result<Tone, ModelError> {
        self.encoder()?.tone(&filled(pcm))
    }
}

/// A model of the user's own: `samples` [1, n] in, `logits` [1, labels + 2] out, the last two of them arousal and valence. Its metadata
/// says `labels`, with spaces between.
struct OnnxTone {
    session: Session,
    outputs: usize,
}

impl OnnxTone {
    fn load(weights: &Weights, file: &Path) -> Result<(OnnxTone, Heads), ModelError> {
        let target = file.display().to_string();
        let session = open(weights, file)?;
        let labels = session.metadata().ok().and_then(|metadata| metadata.custom("labels"));
        let Some(labels) = labels else {
            return Err(failed(&target, "its metadata has no `labels`, such as \"neutral happy sad angry\""));
        };
        let card = HeadsCard { encoder: target.clone(), labels, ..HeadsCard::default() };
        let heads = Heads::of_logits(card).map_err(|detail| failed(&target, detail))?;
        Ok((OnnxTone { session, outputs: heads.inputs() }, heads))
    }
}

impl ToneReader for OnnxTone {
    fn read(&mut self, pcm: &[f32]) -> Result<Tone, ModelError> {
        let mut run = || -> ort::Result<Vec<f32>> {
            let pcm = filled(pcm);
            let given = self.session.run(ort::inputs!["samples" => TensorRef::from_array_view(([1, pcm.len()], &*pcm))?])?;
            let logits = given.get("logits").ok_or_else(|| ort::Error::new("it has no output `logits`"))?;
            Ok(logits.try_extract_tensor::<f32>()?.1.to_vec())
        };
        let logits = run().map_err(|error| failed("emotion", error))?;
        if logits.len() != self.outputs {
            return Err(failed(
                "emotion",
                format!("`logits` has {} numbers, not one for each label and two more: {}", logits.len(), self.outputs),
            ));
        }
        Ok(Tone::of_numbers(&logits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EmotionLabel;
    use crate::emotion::Baseline;

    /// Fields of a protocol buffer (onnx.proto): one with a length, and one that is a number.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        assert!(length < 1 << 14, "two bytes hold its length");
        [&[number << 3 | 2, (length & 0x7f) as u8 | 0x80, (length >> 7) as u8], content].concat()
    }

    fn number(field: u8, value: u8) -> Vec<u8> {
        [vec![field << 3], vec![value]].concat()
    }

    fn named(field_number: u8, name: &str) -> Vec<u8> {
        field(field_number, name.as_bytes())
    }

    /// A value of the graph: 32-bit floats [1, `size`], or as many as there are.
    fn value(name: &str, size: Option<u8>) -> Vec<u8> {
        let size = size.map_or_else(|| named(2, "n"), |size| number(1, size));
        let shape = [field(1, &number(1, 1)), field(1, &size)].concat();
        let tensor = [number(1, 1), field(2, &shape)].concat();
        [named(1, name), field(2, &field(1, &tensor))].concat()
    }

    /// A model whose `logits` are the mean of `samples` times each of `weights`.
    fn model(weights: &[f32], labels: Option<&str>) -> Vec<u8> {
        let axes = [named(1, "axes"), number(8, 1), vec![0xa0, 0x01, 7]].concat();
        let mean = [named(1, "samples"), named(2, "mean"), named(4, "ReduceMean"), field(5, &axes)].concat();
        let times = [named(1, "mean"), named(1, "weights"), named(2, "logits"), named(4, "Mul")].concat();
        let raw: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        let constant = [number(1, 1), number(1, weights.len() as u8), number(2, 1), named(8, "weights"), field(9, &raw)].concat();
        let graph = [
            field(1, &mean),
            field(1, &times),
            named(2, "graph"),
            field(5, &constant),
            field(11, &value("samples", None)),
            field(12, &value("logits", Some(weights.len() as u8))),
        ];
        let metadata = labels.map_or(Vec::new(), |labels| field(14, &[named(1, "labels"), named(2, labels)].concat()));
        [number(1, 8), field(7, &graph.concat()), field(8, &number(2, 13)), metadata].concat()
    }

    fn open(bytes: &[u8]) -> Result<EmotionEngine, ModelError> {
        let folder = std::env::temp_dir().join(format!("timbre-onnx-{}-{}", std::process::id(), bytes.len()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let file = folder.join("mine.onnx");
        std::fs::write(&file, bytes).expect("the temporary folder can be written");
        let engine = EmotionEngine::open(&Weights::new(Weights::default_folder()), &file);
        let _ = std::fs::remove_dir_all(&folder);
        engine
    }

    #[test]
    fn a_model_of_the_users_own_replaces_ours() {
        if Weights::new(Weights::default_folder()).file("onnxruntime", "libonnxruntime.so").is_err() {
            eprintln!("skipped: onnxruntime is not installed");
            return;
        }
        // Two labels, then arousal and valence.
        let mut engine = open(&model(&[-8.0, 8.0, 4.0, -4.0], Some("neutral angry"))).expect("it is a model");
        assert!(!engine.in_passing);
        let tone = engine.reader.read(&[0.5; 16_000]).expect("it reads");
        assert_eq!(tone.numbers(), [-4.0, 4.0, 2.0, -2.0]);
        let felt = Baseline::new(engine.heads).feel(Some(&tone), &[], None).expect("a feeling");
        assert_eq!(felt.value.label, EmotionLabel::Angry);
        assert!(felt.value.arousal.get() > 0.8 && felt.value.valence.get() < 0.2, "{felt:?}");

        for (bytes, says) in [
            (model(&[1.0; 4], None), "labels"),
            (model(&[1.0; 4], Some("neutral cheerful")), "cheerful"),
            (b"no model".to_vec(), "ONNX Runtime"),
        ] {
            let error = open(&bytes).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(says), "{error}");
        }
        let mut wrong = open(&model(&[1.0; 3], Some("neutral angry"))).expect("its outputs are counted when it is asked");
        assert!(wrong.reader.read(&[0.5; 16_000]).is_err());
    }
}
