//! Heads: what turns the [`Tone`] of a voice into emotions. Two linear maps, one for a voice nobody heard before and one for how it
//! differs from the same caller's earlier turns.
//!
//! They are read from a file, which `timbre train emotion` writes.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::Tone;
use crate::{EmotionLabel, ErrorKind, ModelError, tensors};

/// The heads for Moonshine's first three blocks: `docs/emotion.md` is their model card.
const MOONSHINE: &[u8] = include_bytes!("heads/moonshine.safetensors");
/// Those for Whisper's third block.
const WHISPER: &[u8] = include_bytes!("heads/whisper.safetensors");

/// Outputs after the labels: arousal and valence.
const DIMENSIONS: usize = 2;
/// Earlier turns that an unknown caller's usual voice, the mean of all who trained the heads, counts for.
pub(crate) const PRIOR_TURNS: f32 = 2.0;

/// What a file of heads says of itself; every value is a text there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadsCard {
    /// What the numbers come from: [`Heads::MOONSHINE_TINY`].
    pub encoder: String,
    /// The labels in order, with spaces between.
    pub labels: String,
    /// What they were trained from.
    #[serde(default)]
    pub trained_from: String,
    /// Licence of the weights.
    #[serde(default)]
    pub licence: String,
}

/// Two linear maps from the numbers of a tone to logits: one for each label, then arousal and valence.
#[derive(Clone, Debug, PartialEq)]
pub struct Heads {
    /// What the file says.
    pub card: HeadsCard,
    labels: Vec<EmotionLabel>,
    /// Of a voice by itself.
    absolute: Linear,
    /// Of its difference to the caller's usual voice.
    relative: Linear,
    /// The usual voice of those who trained the heads.
    mean: Vec<f32>,
}

/// A linear map: weights (outputs, inputs), a bias for each output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Linear {
    /// Row after row.
    pub weights: Vec<f32>,
    /// One for each row.
    pub bias: Vec<f32>,
}

impl Linear {
    /// Without the bias.
    fn project(&self, numbers: &[f32]) -> Vec<f32> {
        let dot = |row: &[f32]| row.iter().zip(numbers).map(|(weight, number)| weight * number).sum();
        self.weights.chunks_exact(numbers.len().max(1)).map(dot).collect()
    }

    /// The outputs.
    pub fn apply(&self, numbers: &[f32]) -> Vec<f32> {
        self.project(numbers).iter().zip(&self.bias).map(|(sum, bias)| sum + bias).collect()
    }
}

/// What the heads make of one turn, before the earlier ones are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Logits of the voice by itself.
    pub(crate) absolute: Vec<f32>,
    /// Its place on the axes of the relative head; the usual voice is yet to be taken off.
    pub(crate) place: Vec<f32>,
}

impl Heads {
    /// Name of the default encoder: means and spreads of the blocks 1 to 3 of Moonshine tiny.
    pub const MOONSHINE_TINY: &str = "moonshine-tiny-en:1-3";

    /// Name of the accurate encoder: means and spreads of Whisper base's block 3.
    pub const WHISPER_BASE: &str = "whisper-base:3";

    /// Those that are built in, for Moonshine's encoder.
    pub fn moonshine() -> Arc<Heads> {
        static BUILT_IN: OnceLock<Arc<Heads>> = OnceLock::new();
        BUILT_IN
            .get_or_init(|| Arc::new(Heads::parse(MOONSHINE).expect("the heads that are built in are whole: a test reads them")))
            .clone()
    }

    /// Those that are built in, for Whisper's encoder.
    pub fn whisper() -> Arc<Heads> {
        static BUILT_IN: OnceLock<Arc<Heads>> = OnceLock::new();
        BUILT_IN.get_or_init(|| Arc::new(Heads::parse(WHISPER).expect("the heads that are built in are whole: a test reads them"))).clone()
    }

    /// Heads that were just trained.
    pub fn new(card: HeadsCard, absolute: Linear, relative: Linear, mean: Vec<f32>) -> Result<Heads, String> {
        let names: Vec<&str> = card.labels.split_whitespace().collect();
        let known = |name: &&str| EmotionLabel::ALL.into_iter().find(|label| label.name() == *name);
        let labels: Vec<EmotionLabel> = names.iter().filter_map(known).collect();
        if labels.len() != names.len() || labels.is_empty() {
            return Err(format!("its labels are {:?}; allowed are {}", card.labels, EmotionLabel::ALL.map(EmotionLabel::name).join(", ")));
        }
        let outputs = labels.len() + DIMENSIONS;
        for (name, linear) in [("absolute", &absolute), ("relative", &relative)] {
            if linear.bias.len() != outputs || linear.weights.len() != outputs * mean.len() {
                return Err(format!("`{name}` is not a map from {} numbers to {outputs}", mean.len()));
            }
        }
        if !mean.iter().chain(&absolute.weights).chain(&relative.weights).all(|number| number.is_finite()) {
            return Err("it holds a number that is none".to_owned());
        }
        Ok(Heads { card, labels, absolute, relative, mean })
    }

    /// For tones that are logits already: each output is its own number.
    pub fn of_logits(card: HeadsCard) -> Result<Heads, String> {
        let size = card.labels.split_whitespace().count() + DIMENSIONS;
        let weights = (0..size * size).map(|at| if at % (size + 1) == 0 { 1.0 } else { 0.0 }).collect();
        let same = Linear { weights, bias: vec![0.0; size] };
        Heads::new(card, same.clone(), same, vec![0.0; size])
    }

    /// Those of a file.
    pub fn open(path: &Path) -> Result<Heads, ModelError> {
        let failed = |detail: String| ModelError::new(ErrorKind::Failed, "emotion", format!("{}: {detail}", path.display()));
        let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        Heads::parse(&bytes).map_err(failed)
    }

    /// Those of a file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Heads, String> {
        let (tensors, metadata) = tensors::read(bytes).ok_or("it is not a whole safetensors file")?;
        let card = metadata.ok_or("its header has no __metadata__")?;
        let card: HeadsCard = serde_json::from_value(card).map_err(|error| format!("its __metadata__: {error}"))?;
        let take = |name: &str| tensors.get(name).cloned().ok_or_else(|| format!("it has no tensor {name:?} of 32-bit floats"));
        let mean = take("mean")?;
        let absolute = Linear { weights: take("absolute.weight")?, bias: take("absolute.bias")? };
        let relative = Linear { weights: take("relative.weight")?, bias: take("relative.bias")? };
        Heads::new(card, absolute, relative, mean)
    }

    /// The file: [`Heads::parse`] reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (inputs, outputs) = (self.mean.len(), self.labels.len() + DIMENSIONS);
        let tensors: [(&str, &[f32], Vec<usize>); 5] = [
            ("mean", &self.mean, vec![inputs]),
            ("absolute.weight", &self.absolute.weights, vec![outputs, inputs]),
            ("absolute.bias", &self.absolute.bias, vec![outputs]),
            ("relative.weight", &self.relative.weights, vec![outputs, inputs]),
            ("relative.bias", &self.relative.bias, vec![outputs]),
        ];
        tensors::write(serde_json::to_value(&self.card).expect("texts are JSON"), &tensors)
    }

    /// The labels that it tells apart.
    pub fn labels(&self) -> &[EmotionLabel] {
        &self.labels
    }

    /// How many numbers of a tone it reads.
    pub fn inputs(&self) -> usize {
        self.mean.len()
    }

    /// What it makes of a tone; `None` where the tone comes from another encoder or nobody spoke.
    pub fn scores(&self, tone: &Tone) -> Option<Scores> {
        let numbers = tone.numbers();
        if tone.is_empty() || numbers.len() != self.mean.len() {
            return None;
        }
        Some(Scores { absolute: self.absolute.apply(&numbers), place: self.relative.project(&numbers) })
    }

    /// Logits of a turn against those before it.
    pub(crate) fn relative<'a>(&self, now: &Scores, earlier: impl ExactSizeIterator<Item = &'a Scores>) -> Vec<f32> {
        let turns = earlier.len() as f32 + PRIOR_TURNS;
        let mut usual: Vec<f32> = self.relative.project(&self.mean).iter().map(|place| place * PRIOR_TURNS).collect();
        for scores in earlier {
            usual.iter_mut().zip(&scores.place).for_each(|(usual, place)| *usual += place);
        }
        now.place.iter().zip(usual).zip(&self.relative.bias).map(|((place, usual), bias)| place - usual / turns + bias).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_numbers() -> Heads {
        let card = HeadsCard { encoder: "test".into(), labels: "neutral angry".into(), ..HeadsCard::default() };
        let weights = vec![0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
        let linear = Linear { weights, bias: vec![0.5, 0.0, 0.0, 0.0] };
        Heads::new(card, linear.clone(), linear, vec![1.0, 1.0]).expect("they fit")
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let heads = two_numbers();
        assert_eq!(Heads::parse(&heads.to_bytes()), Ok(heads.clone()));
        let bytes = heads.to_bytes();
        for cut in [0, 7, 8, 40, bytes.len() - 1] {
            assert!(Heads::parse(&bytes[..cut]).is_err(), "{cut} bytes");
        }
        let of = |labels: &str, mean: Vec<f32>| {
            let card = HeadsCard { labels: labels.into(), ..heads.card.clone() };
            Heads::new(card, heads.absolute.clone(), heads.relative.clone(), mean).expect_err("refused")
        };
        assert!(of("neutral peckish", vec![0.0; 2]).contains("peckish"));
        assert!(of("neutral", vec![0.0; 2]).contains("absolute"));
        assert!(of("neutral angry", vec![f32::NAN; 2]).contains("number"));
    }

    #[test]
    fn the_built_in_heads_are_for_their_encoders() {
        let (moonshine, whisper) = (Heads::moonshine(), Heads::whisper());
        assert_eq!((moonshine.card.encoder.as_str(), moonshine.inputs()), (Heads::MOONSHINE_TINY, 3 * 2 * 288));
        assert_eq!((whisper.card.encoder.as_str(), whisper.inputs()), (Heads::WHISPER_BASE, 2 * 512));
    }

    #[test]
    fn the_usual_voice_is_taken_off() {
        let heads = two_numbers();
        let scores = |numbers: &[f32]| heads.scores(&Tone::of_numbers(numbers)).expect("two numbers");
        assert_eq!(scores(&[3.0, 5.0]).absolute, [0.5, 3.0, 3.0, 5.0]);
        let earlier = [scores(&[4.0, 1.0]), scores(&[4.0, 1.0])];
        // Two turns at 4 and the prior, which counts for two, at 1.
        assert_eq!(heads.relative(&scores(&[3.0, 5.0]), earlier.iter()), [0.5, 0.5, 0.5, 4.0]);
        assert_eq!(heads.scores(&Tone::of_numbers(&[1.0])), None);
        assert_eq!(heads.scores(&Tone::default()), None);
    }
}
