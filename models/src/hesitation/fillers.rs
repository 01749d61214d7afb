//! Filled pauses in the sound: transcribers leave them out, and where they write them, only of the languages they know.
//!
//! A linear map says of every step of an encoder's first blocks how much it sounds like one. It is trained from a synthesizer that says
//! "um" into read speech (`timbre train fillers`), so that nobody's slips of the tongue had to be collected. Measured: `docs/quality.md`.

use std::sync::OnceLock;
use std::time::Duration;

use audio::Rate;
use audio::features::Pause;
use serde_json::json;

use crate::emotion::{Grid, Linear};
use crate::tensors;

const MOONSHINE: &[u8] = include_bytes!("fillers/moonshine.safetensors");
/// Steps that are averaged: 120 ms.
const AROUND: usize = 5;
/// Fewer steps in a row are none: 170 ms.
const SHORTEST: usize = 7;
/// What a step counts in which nobody speaks.
const SILENT: f32 = -8.0;

/// Tells filled pauses from all other speech.
#[derive(Clone, Debug, PartialEq)]
pub struct FillerHead {
    /// One output: above nought it is one.
    linear: Linear,
}

impl FillerHead {
    /// The one that is built in, for Moonshine's blocks 1 to 3.
    pub fn moonshine() -> &'static FillerHead {
        static BUILT_IN: OnceLock<FillerHead> = OnceLock::new();
        BUILT_IN.get_or_init(|| FillerHead::parse(MOONSHINE).expect("the head that is built in is whole: a test reads it"))
    }

    /// A map with one output.
    pub fn new(linear: Linear) -> Option<FillerHead> {
        (linear.bias.len() == 1).then_some(FillerHead { linear })
    }

    /// That of a file's bytes.
    pub fn parse(bytes: &[u8]) -> Option<FillerHead> {
        let (tensors, _) = tensors::read(bytes)?;
        FillerHead::new(Linear { weights: tensors.get("weight")?.clone(), bias: tensors.get("bias")?.clone() })
    }

    /// The file; `trained_from` says what it was trained from.
    pub fn to_bytes(&self, trained_from: &str) -> Vec<u8> {
        let card = json!({ "encoder": crate::Heads::MOONSHINE_TINY, "trained_from": trained_from });
        let weight: (&str, &[f32], Vec<usize>) = ("weight", &self.linear.weights, vec![1, self.linear.weights.len()]);
        tensors::write(card, &[weight, ("bias", &self.linear.bias, vec![1])])
    }

    /// How much one step, all blocks one after the other, sounds like a filled pause.
    pub fn logit<'a>(&self, values: impl Iterator<Item = &'a f32>) -> f32 {
        self.linear.weights.iter().zip(values).map(|(weight, value)| weight * value).sum::<f32>() + self.linear.bias[0]
    }

    /// The filled pauses in `pcm`, of which the encoder made `blocks`, (time, width) each.
    pub fn find(&self, blocks: &[&[f32]], pcm: &[f32], grid: Grid) -> Vec<Pause> {
        if blocks.len() * grid.width != self.linear.weights.len() {
            return Vec::new();
        }
        let speech = grid.speech(pcm);
        let steps = blocks.iter().map(|block| block.len() / grid.width).min().unwrap_or(0).min(speech.len());
        let of_step = |step: usize| blocks.iter().flat_map(move |block| &block[step * grid.width..(step + 1) * grid.width]);
        let logits: Vec<f32> = (0..steps).map(|step| self.logit(of_step(step))).collect();
        let time = |step: usize| Duration::from_secs_f64((step * grid.step) as f64 / f64::from(Rate::MODEL.hz()));
        spans(&logits, &speech, 0.0).into_iter().map(|(from, to)| Pause { start: time(from), length: time(to - from) }).collect()
    }
}

/// Runs of steps, from and up to, whose mean over a tenth of a second is above `threshold`.
pub fn spans(logits: &[f32], speech: &[bool], threshold: f32) -> Vec<(usize, usize)> {
    let heard: Vec<f32> = logits.iter().zip(speech).map(|(logit, speech)| if *speech { *logit } else { SILENT }).collect();
    let around = |at: usize| &heard[at.saturating_sub(AROUND / 2)..(at + AROUND / 2 + 1).min(heard.len())];
    let mut spans = Vec::new();
    let mut begun = None;
    for at in 0..=heard.len() {
        let is = at < heard.len() && around(at).iter().sum::<f32>() / AROUND as f32 > threshold;
        match (is, begun) {
            (true, None) => begun = Some(at),
            (false, Some(from)) => {
                if at - from >= SHORTEST {
                    spans.push((from, at));
                }
                begun = None;
            }
            _ => {}
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_of_speech_that_sound_like_it_are_filled_pauses() {
        let run = |length: usize, value: f32| vec![value; length];
        let logits = [run(10, -5.0), run(12, 3.0), run(10, -5.0), run(3, 3.0), run(10, -5.0)].concat();
        let all = vec![true; logits.len()];
        assert_eq!(spans(&logits, &all, 0.0).len(), 1, "three steps are too few");
        let (from, to) = spans(&logits, &all, 0.0)[0];
        assert!(from.abs_diff(10) <= 2 && to.abs_diff(22) <= 2, "{from} to {to}");
        assert_eq!(spans(&logits, &vec![false; logits.len()], 0.0), []);
        assert_eq!(spans(&logits, &all, 4.0), []);
        assert_eq!(spans(&[], &[], 0.0), []);
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let head = FillerHead::new(Linear { weights: vec![1.0, -2.0], bias: vec![0.5] }).expect("one output");
        assert_eq!(FillerHead::parse(&head.to_bytes("nothing")), Some(head.clone()));
        assert_eq!(head.logit([2.0, 1.0].iter()), 0.5);
        assert_eq!(FillerHead::parse(b"nonsense"), None);
        assert_eq!(FillerHead::moonshine().linear.weights.len(), 3 * 288);
    }

    #[test]
    fn an_encoder_that_the_head_does_not_know_gives_none() {
        let head = FillerHead::new(Linear { weights: vec![1.0; 2], bias: vec![0.0] }).expect("one output");
        let grid = Grid { width: 2, step: 4, look: 4 };
        let (block, pcm) = (vec![1.0; 20], vec![0.5; 40]);
        let found = head.find(&[&block], &pcm, grid);
        assert_eq!(found.len(), 1);
        assert_eq!(head.find(&[&block, &block], &pcm, grid), []);
    }
}
