//! Training of heads: multinomial logistic regression with a penalty on large weights, over all examples at once, by candle.
//!
//! It trains no encoder. Features are made less alike by what the examples were recorded or altered to be, not in here.

use std::collections::BTreeSet;

use candle_core::{D, Device, Tensor};

use super::heads::{Heads, HeadsCard, Linear};

/// Iterations of the optimiser, at most.
const ITERATIONS: usize = 150;
/// Steps that the optimiser remembers (L-BFGS, Liu and Nocedal 1989).
const MEMORY: usize = 8;
/// Groups of speakers that are held out in turn.
const FOLDS: usize = 3;
/// Softnesses that are tried.
const SOFTNESSES: [f32; 6] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03];

/// One recording, or an altered one, as an encoder hears it.
#[derive(Clone, Debug)]
pub struct Example {
    /// What [`super::Tone::numbers`] gives.
    pub numbers: Vec<f32>,
    /// Place of its label in the list of labels; `None`: another one.
    pub label: Option<usize>,
    /// Whether it is aroused, where its label says.
    pub aroused: Option<bool>,
    /// Whether it is pleasant, where its label says.
    pub pleasant: Option<bool>,
    /// Collection it is from.
    pub corpus: usize,
    /// Who speaks.
    pub speaker: usize,
    /// Who speaks over which line: their mean is the caller's usual voice.
    pub caller: usize,
    /// How much it counts against the others of its class.
    pub weight: f32,
}

/// Trains heads for the labels of `card`, in the order of the examples' places. `softness` is the inverse of the penalty (scikit-learn's C).
pub fn train(card: HeadsCard, examples: &[Example], softness: f32) -> Result<Heads, String> {
    let labels = card.labels.split_whitespace().count();
    let mean = mean(examples);
    let centred = centred(examples);
    let absolute = map(examples, labels, softness)?;
    let relative = map(&centred, labels, softness)?;
    Heads::new(card, absolute, relative, mean)
}

/// The same for the labels alone, and no surer than they come out: enough to see which recordings are worth having. Arousal and valence
/// stay at a half.
pub fn train_labels(card: HeadsCard, examples: &[Example], softness: f32) -> Result<Heads, String> {
    let labels = card.labels.split_whitespace().count();
    let mean = mean(examples);
    let padded = |examples: &[Example]| -> Result<Linear, String> {
        let mut linear = fit(examples, labels, softness, &|example| example.label)?;
        linear.weights.resize((labels + 2) * mean.len(), 0.0);
        linear.bias.resize(labels + 2, 0.0);
        Ok(linear)
    };
    let (absolute, relative) = (padded(examples)?, padded(&centred(examples))?);
    Heads::new(card, absolute, relative, mean)
}

/// The softness whose labels are likeliest on speakers who were held out, each at its best temperature.
pub fn softness(examples: &[Example], labels: usize) -> Result<f32, String> {
    let loss = |softness: f32| -> Result<f32, String> {
        let held_out = held_out(examples, labels, softness, &|example| example.label, by_speakers);
        if held_out.is_empty() {
            return Err("it takes recordings of several speakers with every label to choose --softness: name one".to_owned());
        }
        Ok(cross_entropy(&held_out, temperature(&held_out)))
    };
    let tried = SOFTNESSES.map(|softness| loss(softness).map(|loss| (softness, loss)));
    let tried = tried.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(tried.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(SOFTNESSES[3], |(softness, _)| softness))
}

/// One linear map of all outputs, each made as sure as what was held out says it may be.
fn map(examples: &[Example], labels: usize, softness: f32) -> Result<Linear, String> {
    let side = |which: fn(&Example) -> Option<bool>| move |example: &Example| which(example).map(usize::from);
    let mut all = calibrated(examples, labels, softness, &|example| example.label)?;
    for (name, which) in [("aroused", (|e: &Example| e.aroused) as fn(&Example) -> Option<bool>), ("pleasant", |e| e.pleasant)] {
        let two = calibrated(examples, 2, softness, &side(which)).map_err(|error| format!("{name}: {error}"))?;
        let inputs = two.weights.len() / 2;
        let (low, high) = two.weights.split_at(inputs);
        all.weights.extend(high.iter().zip(low).map(|(high, low)| high - low));
        all.bias.push(two.bias[1] - two.bias[0]);
    }
    Ok(all)
}

type Class<'a> = &'a dyn Fn(&Example) -> Option<usize>;

fn calibrated(examples: &[Example], classes: usize, softness: f32, class: Class) -> Result<Linear, String> {
    let whole = fit(examples, classes, softness, class)?;
    let of =
        |part: Part| Some(held_out(examples, classes, softness, class, part)).filter(|out| !out.is_empty()).map(|out| temperature(&out));
    // Speakers of the same collections are nearer than callers will be; other collections, bursts without words among them, are further.
    let temperature = match (of(by_speakers), of(by_collections)) {
        (Some(near), Some(far)) => (near * far).sqrt(),
        (near, far) => near.or(far).unwrap_or(1.0),
    };
    Ok(Linear {
        weights: whole.weights.iter().map(|weight| weight / temperature).collect(),
        bias: whole.bias.iter().map(|bias| bias / temperature).collect(),
    })
}

/// What is held out together.
type Part = fn(&Example) -> usize;

fn by_speakers(example: &Example) -> usize {
    example.speaker % FOLDS
}

fn by_collections(example: &Example) -> usize {
    example.corpus
}

/// Logits, class and weight of every example by a map that did not hear its part; none where there is but one.
fn held_out(examples: &[Example], classes: usize, softness: f32, class: Class, part: Part) -> Vec<(Vec<f32>, usize, f32)> {
    let parts: BTreeSet<usize> = examples.iter().map(part).collect();
    let mut held_out = Vec::new();
    for held in parts {
        let (test, train): (Vec<&Example>, Vec<&Example>) = examples.iter().partition(|example| part(example) == held);
        let train: Vec<Example> = train.into_iter().cloned().collect();
        // A part may lack a class: then there is nothing to learn from it.
        let Ok(linear) = fit(&train, classes, softness, class) else { continue };
        held_out.extend(test.into_iter().filter_map(|example| Some((linear.apply(&example.numbers), class(example)?, example.weight))));
    }
    held_out
}

/// What logits are divided by so that they are as sure as they are right: the one with the least cross entropy.
fn temperature(logits: &[(Vec<f32>, usize, f32)]) -> f32 {
    // From a third to six, in steps of a twentieth.
    let tried = (0..60).map(|step| 0.33 * 1.05_f32.powi(step));
    let loss = |temperature: &f32| cross_entropy(logits, *temperature);
    tried.min_by(|a, b| loss(a).total_cmp(&loss(b))).filter(|_| !logits.is_empty()).unwrap_or(1.0)
}

fn cross_entropy(logits: &[(Vec<f32>, usize, f32)], temperature: f32) -> f32 {
    let one = |(logits, class, weight): &(Vec<f32>, usize, f32)| {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = logits.iter().map(|logit| ((logit - highest) / temperature).exp()).sum();
        weight * (sum.ln() - (logits[*class] - highest) / temperature)
    };
    logits.iter().map(one).sum()
}

/// Weighted mean of all examples.
fn mean(examples: &[Example]) -> Vec<f32> {
    let mut mean = vec![0.0_f64; examples.first().map_or(0, |example| example.numbers.len())];
    let mut sum = 0.0;
    for example in examples {
        let weight = f64::from(example.weight);
        sum += weight;
        mean.iter_mut().zip(&example.numbers).for_each(|(mean, number)| *mean += weight * f64::from(*number));
    }
    mean.into_iter().map(|mean| (mean / f64::max(sum, f64::MIN_POSITIVE)) as f32).collect()
}

/// The examples less the mean of their callers.
pub fn centred(examples: &[Example]) -> Vec<Example> {
    let mut usual: std::collections::HashMap<usize, (f32, Vec<f32>)> = std::collections::HashMap::new();
    for example in examples {
        let (count, sums) = usual.entry(example.caller).or_insert_with(|| (0.0, vec![0.0; example.numbers.len()]));
        *count += 1.0;
        sums.iter_mut().zip(&example.numbers).for_each(|(sum, number)| *sum += number);
    }
    let less = |example: &Example| {
        let (count, sums) = &usual[&example.caller];
        let numbers = example.numbers.iter().zip(sums).map(|(number, sum)| number - sum / count).collect();
        Example { numbers, ..example.clone() }
    };
    examples.iter().map(less).collect()
}

/// The linear map from numbers to the logits of `classes`; every class counts the same.
pub fn fit(examples: &[Example], classes: usize, softness: f32, class: Class) -> Result<Linear, String> {
    let rows: Vec<(&Example, usize)> = examples.iter().filter_map(|example| Some((example, class(example)?))).collect();
    let mut of_class = vec![0.0_f64; classes];
    for (example, class) in &rows {
        of_class[*class] += f64::from(example.weight);
    }
    if let Some(none) = of_class.iter().position(|weight| *weight == 0.0) {
        return Err(format!("there is no example of class {none} of {classes}"));
    }
    let inputs = rows[0].0.numbers.len();
    let weights: Vec<f32> = rows.iter().map(|(e, class)| (f64::from(e.weight) / of_class[*class] / classes as f64) as f32).collect();
    let (mut middle, mut spread) = (vec![0.0_f64; inputs], vec![0.0_f64; inputs]);
    for ((example, _), weight) in rows.iter().zip(&weights) {
        for (at, number) in example.numbers.iter().enumerate() {
            middle[at] += f64::from(*weight) * f64::from(*number);
            spread[at] += f64::from(*weight) * f64::from(*number) * f64::from(*number);
        }
    }
    for (spread, middle) in spread.iter_mut().zip(&middle) {
        *spread = (*spread - middle * middle).max(0.0).sqrt() + 1e-5;
    }
    let standard: Vec<f32> = rows
        .iter()
        .flat_map(|(example, _)| example.numbers.iter().enumerate())
        .map(|(at, number)| ((f64::from(*number) - middle[at]) / spread[at]) as f32)
        .collect();
    let problem = Problem::new(standard, inputs, &rows, &weights, classes, 1.0 / (softness * rows.len() as f32));
    let parameters = problem.and_then(|problem| minimise(&problem, (inputs + 1) * classes)).map_err(|error| error.to_string())?;
    // Taken back to numbers as they come: the spread goes into the weights, the middle into the bias.
    let mut linear = Linear { weights: vec![0.0; classes * inputs], bias: parameters[inputs * classes..].to_vec() };
    for class in 0..classes {
        let mut shift = 0.0;
        for at in 0..inputs {
            let weight = f64::from(parameters[at * classes + class]) / spread[at];
            linear.weights[class * inputs + at] = weight as f32;
            shift += weight * middle[at];
        }
        linear.bias[class] -= shift as f32;
    }
    Ok(linear)
}

/// What is minimised: weighted cross entropy and the penalty.
struct Problem {
    /// (examples, inputs)
    inputs: Tensor,
    /// (inputs, examples)
    turned: Tensor,
    /// One where the class is, (examples, classes).
    truth: Tensor,
    /// (examples, 1)
    weights: Tensor,
    penalty: f64,
    classes: usize,
}

impl Problem {
    fn new(
        standard: Vec<f32>,
        width: usize,
        rows: &[(&Example, usize)],
        weights: &[f32],
        classes: usize,
        penalty: f32,
    ) -> candle_core::Result<Problem> {
        let mut truth = vec![0.0_f32; rows.len() * classes];
        for (row, (_, class)) in rows.iter().enumerate() {
            truth[row * classes + class] = 1.0;
        }
        let inputs = Tensor::from_vec(standard, (rows.len(), width), &Device::Cpu)?;
        Ok(Problem {
            turned: inputs.t()?.contiguous()?,
            inputs,
            truth: Tensor::from_vec(truth, (rows.len(), classes), &Device::Cpu)?,
            weights: Tensor::from_slice(weights, (rows.len(), 1), &Device::Cpu)?,
            penalty: f64::from(penalty),
            classes,
        })
    }

    /// Its value and its slope: weights (inputs, classes), then the biases.
    fn at(&self, parameters: &[f32]) -> candle_core::Result<(f64, Vec<f32>)> {
        let (weights, bias) = parameters.split_at(parameters.len() - self.classes);
        let weights = Tensor::from_slice(weights, (weights.len() / self.classes, self.classes), &Device::Cpu)?;
        let bias = Tensor::from_slice(bias, (1, self.classes), &Device::Cpu)?;
        let logits = self.inputs.matmul(&weights)?.broadcast_add(&bias)?;
        let logits = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)?;
        let powers = logits.exp()?;
        let sums = powers.sum_keepdim(D::Minus1)?;
        let losses = (sums.log()? - (&logits * &self.truth)?.sum_keepdim(D::Minus1)?)?;
        let loss = (losses * &self.weights)?.sum_all()?.to_scalar::<f32>()?;
        let size = weights.sqr()?.sum_all()?.to_scalar::<f32>()?;
        let off = (powers.broadcast_div(&sums)? - &self.truth)?.broadcast_mul(&self.weights)?;
        let slope = (self.turned.matmul(&off)? + (&weights * self.penalty)?)?;
        let mut slope: Vec<f32> = slope.flatten_all()?.to_vec1()?;
        slope.extend(off.sum(0)?.to_vec1::<f32>()?);
        Ok((f64::from(loss) + 0.5 * self.penalty * f64::from(size), slope))
    }
}

/// The parameters where the problem is smallest, from nought on (L-BFGS with backtracking).
fn minimise(problem: &Problem, size: usize) -> candle_core::Result<Vec<f32>> {
    let mut at = vec![0.0_f32; size];
    let (mut value, mut slope) = problem.at(&at)?;
    let mut steps: Vec<(Vec<f32>, Vec<f32>, f64)> = Vec::new();
    for _ in 0..ITERATIONS {
        let direction = direction(&slope, &steps);
        let descent = dot(&direction, &slope);
        if descent >= -1e-10 {
            break;
        }
        // The first step knows nothing of the scale.
        let mut length = if steps.is_empty() { 1.0 / dot(&slope, &slope).sqrt().max(1.0) } else { 1.0 };
        let next = loop {
            let there: Vec<f32> = at.iter().zip(&direction).map(|(at, step)| at + (length * f64::from(*step)) as f32).collect();
            let (less, slope) = problem.at(&there)?;
            if less <= value + 1e-4 * length * descent {
                break Some((there, less, slope));
            }
            length *= 0.5;
            if length < 1e-8 {
                break None;
            }
        };
        let Some((there, less, new_slope)) = next else { break };
        let moved: Vec<f32> = there.iter().zip(&at).map(|(there, at)| there - at).collect();
        let turned: Vec<f32> = new_slope.iter().zip(&slope).map(|(new, old)| new - old).collect();
        let curvature = dot(&moved, &turned);
        if curvature > 1e-12 {
            if steps.len() == MEMORY {
                steps.remove(0);
            }
            steps.push((moved, turned, 1.0 / curvature));
        }
        let gained = value - less;
        (at, value, slope) = (there, less, new_slope);
        if gained < 1e-7 {
            break;
        }
    }
    Ok(at)
}

/// Downhill, as the last steps show the ground to be bent (the two loops of L-BFGS).
fn direction(slope: &[f32], steps: &[(Vec<f32>, Vec<f32>, f64)]) -> Vec<f32> {
    let mut direction: Vec<f32> = slope.iter().map(|slope| -slope).collect();
    let mut shares = Vec::with_capacity(steps.len());
    for (moved, turned, inverse) in steps.iter().rev() {
        let share = inverse * dot(moved, &direction);
        add(&mut direction, turned, -share);
        shares.push(share);
    }
    if let Some((_, turned, inverse)) = steps.last() {
        let scale = 1.0 / (inverse * dot(turned, turned));
        direction.iter_mut().for_each(|step| *step = (f64::from(*step) * scale) as f32);
    }
    for ((moved, turned, inverse), share) in steps.iter().zip(shares.into_iter().rev()) {
        let back = inverse * dot(turned, &direction);
        add(&mut direction, moved, share - back);
    }
    direction
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn add(to: &mut [f32], more: &[f32], factor: f64) {
    to.iter_mut().zip(more).for_each(|(to, more)| *to += (factor * f64::from(*more)) as f32);
}

#[cfg(test)]
mod tests {
    use super::super::{Baseline, Tone};
    use super::*;
    use crate::EmotionLabel;
    use std::sync::Arc;

    /// Two labels that lie apart on the first number; the second is the speaker's own and tells nothing.
    fn examples() -> Vec<Example> {
        let mut state = 7_u32;
        let mut noise = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..200)
            .map(|at| {
                let (label, speaker) = (at % 2, at / 2 % 10);
                let numbers = vec![label as f32 * 2.0 + 1.5 * noise() + speaker as f32 * 0.1, speaker as f32 * 100.0 + noise()];
                let side = Some(label == 1);
                Example {
                    numbers,
                    label: Some(label),
                    aroused: side,
                    pleasant: side.map(|side| !side),
                    corpus: speaker % 2,
                    speaker,
                    caller: speaker,
                    weight: 1.0,
                }
            })
            .collect()
    }

    #[test]
    fn heads_learn_what_their_examples_show() {
        let card = HeadsCard { labels: "neutral angry".into(), ..HeadsCard::default() };
        let heads = Arc::new(train(card, &examples(), 1.0).expect("they can be trained"));
        let mut baseline = Baseline::new(heads).expecting(0.5);
        let mut read = |numbers: [f32; 2]| baseline.feel(Some(&Tone::of_numbers(&numbers)), &[], None).expect("a voice").value;
        let (calm, cross) = (read([0.0, 500.0]), read([2.5, 500.0]));
        assert_eq!((calm.label, cross.label), (EmotionLabel::Neutral, EmotionLabel::Angry));
        assert!(cross.arousal > calm.arousal && cross.valence < calm.valence, "{calm:?} {cross:?}");
    }

    #[test]
    fn what_cannot_be_learnt_is_said() {
        let mut one_sided = examples();
        one_sided.iter_mut().for_each(|example| example.label = Some(0));
        let card = HeadsCard { labels: "neutral angry".into(), ..HeadsCard::default() };
        assert!(train(card, &one_sided, 1.0).expect_err("one class").contains("class 1 of 2"));
    }

    #[test]
    fn softness_is_chosen_on_what_was_held_out() {
        let mut examples = examples();
        assert!(SOFTNESSES.contains(&softness(&examples, 2).expect("two collections")));
        examples.iter_mut().for_each(|example| (example.corpus, example.speaker) = (0, 0));
        assert!(softness(&examples, 2).expect_err("one speaker").contains("--softness"));
    }

    #[test]
    fn a_head_that_is_too_sure_is_cooled() {
        let sure = |class: usize| (vec![4.0, 0.0], class, 1.0);
        let often_wrong: Vec<_> = (0..10).map(|at| sure(usize::from(at < 3))).collect();
        assert!(temperature(&often_wrong) > 3.0);
        assert!(temperature(&[sure(0)]) < 0.5);
        assert_eq!(temperature(&[]), 1.0);
    }
}
