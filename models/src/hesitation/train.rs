//! Training of the head that finds filled pauses: logistic regression over single steps.

use super::{FillerHead, spans};
use crate::emotion::Linear;
use crate::emotion::train::{Example, fit};

/// The inverse of the penalty on large weights (scikit-learn's C). So small a one keeps to what voices have in common: synthetic ones held
/// out would rather have a thousand times as much, and people who read are then taken for hesitating twice as often.
const SOFTNESS: f32 = 1e-5;
/// Wrong finds a minute of speech without filled pauses that a head may make on voices it was not trained from. Few of them halt as people
/// do who think while they speak: so much less than is wanted of these.
const WRONG_A_MINUTE: f32 = 0.1;
/// Thresholds that are tried, in steps of a quarter.
const HIGHEST: i32 = 60;

/// Speech without a filled pause, that no step was trained from: the logits and speech of each recording are found by it.
pub struct Fluent {
    /// The values of each step of 24 ms, one after the other.
    pub values: Vec<f32>,
    /// In which of them somebody speaks.
    pub speech: Vec<bool>,
}

/// A head from steps that are filled pauses (label 1) and such that are none (label 0); how often it is wrong on the `fluent` settles from
/// where on it believes itself.
pub fn train(steps: &[Example], fluent: &[Fluent]) -> Result<FillerHead, String> {
    let two = fit(steps, 2, SOFTNESS, &|step| step.label)?;
    let inputs = two.weights.len() / 2;
    let (other, filler) = two.weights.split_at(inputs);
    let weights = filler.iter().zip(other).map(|(filler, other)| filler - other).collect();
    let mut linear = Linear { weights, bias: vec![two.bias[1] - two.bias[0]] };
    let head = FillerHead::new(linear.clone()).ok_or("it has more than one output")?;
    let seconds: f32 = fluent.iter().map(|clip| clip.speech.len() as f32 * 0.024).sum();
    let logits: Vec<Vec<f32>> =
        fluent.iter().map(|clip| clip.values.chunks_exact(inputs).map(|step| head.logit(step.iter())).collect()).collect();
    let wrong =
        |threshold: f32| -> usize { fluent.iter().zip(&logits).map(|(clip, logits)| spans(logits, &clip.speech, threshold).len()).sum() };
    let allowed = WRONG_A_MINUTE * seconds / 60.0;
    let threshold = (0..HIGHEST).map(|step| step as f32 / 4.0).find(|threshold| wrong(*threshold) as f32 <= allowed);
    let threshold = threshold.ok_or("it takes read speech for filled pauses, however sure it must be")?;
    linear.bias[0] -= threshold;
    FillerHead::new(linear).ok_or_else(|| "it has more than one output".to_owned())
}
