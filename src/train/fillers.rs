//! `timbre train fillers`: the head that finds filled pauses, from a synthesizer that says them into read speech.
//!
//! Every voice says "um" and its kin, faster and slower, and sentences without; these and recordings of people who read are what a filled
//! pause is told from. Recorded slips of the tongue are not needed, and none are used.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, ensure};
use audio::{Rate, resample};
use futures::StreamExt;
use models::emotion::MoonshineTone;
use models::emotion::train::Example;
use models::hesitation::train::{Fluent, train};
use models::{Synthesizer, Voice, Weights, tts};

use crate::eval::manifest::{self, Entry};
use crate::eval::sound::{Chance, at_level, made_noise, telephone, with_noise};

const FILLERS: [&str; 7] = ["Um...", "Uh...", "Umm,", "Uhh,", "Er...", "Hmm...", "Mm..."];
const SENTENCES: [&str; 8] = [
    "I would like to book a table for two people on Thursday evening.",
    "The other one was up under the bridge, but some of them had gone.",
    "Her mother and her brother heard the thunder in the summer.",
    "My number is seven seven one, and the order came from Hamburg.",
    "He made a loud sound and ran around the house.",
    "What are you doing with all of this money?",
    "Montreal is a lovely city with a famous airport.",
    "Could you please send the papers over to the main office by noon?",
];
/// Voices that speak English, by the beginnings of their names.
const ENGLISH: [&str; 4] = ["af_", "am_", "bf_", "bm_"];
/// No recording is used beyond this: twelve seconds.
const LONGEST: usize = 12 * Rate::MODEL.hz() as usize;
/// Samples of a step of the encoder.
const STEP: usize = 384;
/// One speaker in so many is held out.
const HELD_OUT: usize = 3;

/// From what the head is trained, and where it goes.
#[derive(Debug, clap::Args)]
pub struct TrainFillers {
    /// A list of recordings of people who read: columns `file`, `speaker` and `label` (`text=...`), tabs between. May be given more than once.
    #[arg(long, required = true)]
    manifest: Vec<PathBuf>,
    /// Only what the list names under this folder. May be given more than once.
    #[arg(long)]
    under: Vec<String>,
    /// Where the head is written.
    #[arg(long, default_value = "fillers.safetensors")]
    out: PathBuf,
}

/// Sound with what its parts are: a filled pause, none, or nothing to learn from.
#[derive(Default)]
struct Scene {
    pcm: Vec<f32>,
    parts: Vec<(usize, Option<usize>)>,
}

impl Scene {
    fn add(&mut self, pcm: &[f32], label: Option<usize>) {
        self.pcm.extend_from_slice(pcm);
        self.parts.push((self.pcm.len(), label));
    }

    fn label(&self, sample: usize) -> Option<usize> {
        self.parts.iter().find(|(end, _)| sample < *end).and_then(|(_, label)| *label)
    }
}

pub(super) fn run(what: &TrainFillers) -> anyhow::Result<()> {
    let mut entries = Vec::new();
    for list in &what.manifest {
        entries.extend(manifest::read(list, &what.under)?);
    }
    entries.retain(|entry| entry.says("text").is_some() || entry.says("emotion").is_some());
    let weights = Weights::new(Weights::default_folder());
    let mut reader = MoonshineTone::find(&weights)?;
    let engine = tts::ENGINES.iter().find(|engine| engine.name == "kokoro").context("this build has no Kokoro, whose voices it needs")?;
    let synthesizer = (engine.build)(&weights, 2)?;
    let (steps, fluent) = steps(&entries, &synthesizer, &mut reader)?;
    ensure!(!fluent.is_empty(), "it takes read speech of {HELD_OUT} speakers and more");
    let head = train(&steps, &fluent).map_err(anyhow::Error::msg)?;
    let corpora: Vec<&str> = entries.iter().map(Entry::corpus).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    let from = format!("voices of Kokoro, {}", corpora.join(", "));
    std::fs::write(&what.out, head.to_bytes(&from)).with_context(|| format!("cannot write {}", what.out.display()))?;
    println!("{}: {} steps of {from}.", what.out.display(), steps.len());
    Ok(())
}

fn steps(entries: &[Entry], synthesizer: &Arc<dyn Synthesizer>, reader: &mut MoonshineTone) -> anyhow::Result<(Vec<Example>, Vec<Fluent>)> {
    let (mut steps, mut fluent) = (Vec::new(), Vec::new());
    let mut speakers = BTreeMap::new();
    let mut read = Vec::new();
    for entry in entries {
        let next = speakers.len();
        let speaker = *speakers.entry((entry.corpus(), entry.speaker.as_str())).or_insert(next);
        let mut pcm = entry.sound()?;
        pcm.truncate(LONGEST);
        if speaker % HELD_OUT == 0 {
            let (values, speech) = reader.steps(&pcm)?;
            fluent.push(Fluent { values, speech });
        } else {
            read.push(pcm);
        }
    }
    for (at, pcm) in read.iter().enumerate() {
        let mut scene = Scene::default();
        scene.add(pcm, Some(0));
        learn(&scene, &mut Chance::of(&format!("read {at}")), reader, &mut steps)?;
    }
    let voices: Vec<String> =
        synthesizer.voices().into_iter().filter(|voice| ENGLISH.iter().any(|begin| voice.starts_with(begin))).collect();
    for (at, voice) in voices.iter().enumerate() {
        eprintln!("{voice}, voice {} of {}", at + 1, voices.len());
        let mut chance = Chance::of(voice);
        let sentences = SENTENCES.iter().map(|text| speak(synthesizer, voice, text)).collect::<anyhow::Result<Vec<_>>>()?;
        for sentence in &sentences {
            let mut scene = Scene::default();
            scene.add(&stretched(sentence, chance.between(0.8, 1.2)), Some(0));
            learn(&scene, &mut chance, reader, &mut steps)?;
        }
        for text in FILLERS {
            let filler = speak(synthesizer, voice, text)?;
            for _ in 0..2 {
                let filler = stretched(&filler, chance.between(0.7, 1.6));
                let around = if read.is_empty() || chance.below(2) == 0 {
                    &sentences[chance.below(sentences.len())]
                } else {
                    &read[chance.below(read.len())]
                };
                let middle = (around.len() as f32 * chance.between(0.25, 0.75)) as usize;
                let reach = 40_000;
                let mut gap = || vec![0.0; (chance.between(0.03, 0.4) * Rate::MODEL.hz() as f32) as usize];
                let (before, after) = (gap(), gap());
                let mut scene = Scene::default();
                scene.add(&around[middle.saturating_sub(reach)..middle], Some(0));
                scene.add(&before, None);
                scene.add(&as_loud(&filler, around, chance.between(0.6, 1.3)), Some(1));
                scene.add(&after, None);
                scene.add(&around[middle..(middle + reach).min(around.len())], Some(0));
                learn(&scene, &mut chance, reader, &mut steps)?;
            }
        }
    }
    Ok((steps, fluent))
}

/// Adds what the encoder makes of a scene, over one of three lines.
fn learn(scene: &Scene, chance: &mut Chance, reader: &mut MoonshineTone, steps: &mut Vec<Example>) -> anyhow::Result<()> {
    let line = chance.below(3);
    let noise = made_noise(scene.pcm.len(), chance);
    let noisy = if line == 0 { scene.pcm.clone() } else { with_noise(&scene.pcm, &noise, chance.between(8.0, 25.0)) };
    let level = at_level(&noisy, chance.between(-36.0, -16.0));
    let pcm = if line == 2 { telephone(&level) } else { level };
    let (values, speech) = reader.steps(&pcm)?;
    let width = values.len() / speech.len().max(1);
    for (at, numbers) in values.chunks_exact(width.max(1)).enumerate() {
        let label = scene.label(at * STEP + STEP);
        // What is silent in speech is no example of either.
        if label == Some(1) || (label == Some(0) && speech[at]) {
            steps.push(Example {
                numbers: numbers.to_vec(),
                label,
                aroused: None,
                pleasant: None,
                corpus: 0,
                speaker: 0,
                caller: 0,
                weight: 1.0,
            });
        }
    }
    Ok(())
}

/// What a voice makes of a text, without the silence around it.
fn speak(synthesizer: &Arc<dyn Synthesizer>, voice: &str, text: &str) -> anyhow::Result<Vec<f32>> {
    let text = text.to_owned();
    let stream = synthesizer.speak(futures::stream::iter([text]).boxed(), Voice::new(voice));
    let spoken: Vec<_> = tokio::runtime::Handle::current().block_on(stream.collect());
    let mut pcm = Vec::new();
    for piece in spoken {
        let frame = piece?.frame;
        pcm.extend(resample(&frame.pcm, frame.rate, Rate::MODEL));
    }
    let loudest = pcm.iter().fold(0.0_f32, |most, sample| most.max(sample.abs()));
    let loud = |sample: &f32| sample.abs() > loudest / 50.0;
    let (from, to) = (pcm.iter().position(loud).unwrap_or(0), pcm.iter().rposition(loud).map_or(0, |last| last + 1));
    Ok(pcm[from..to.max(from)].to_vec())
}

/// So many times as long, and as much lower.
fn stretched(pcm: &[f32], times: f32) -> Vec<f32> {
    let length = (pcm.len() as f32 * times) as usize;
    let at = |index: usize| {
        let place = index as f32 / times;
        let (left, share) = (place as usize, place.fract());
        let sample = |at: usize| pcm.get(at).copied().unwrap_or(0.0);
        sample(left) * (1.0 - share) + sample(left + 1) * share
    };
    (0..length).map(at).collect()
}

/// As loud as `other`, times `factor`.
fn as_loud(pcm: &[f32], other: &[f32], factor: f32) -> Vec<f32> {
    let power = |pcm: &[f32]| pcm.iter().map(|s| s * s).sum::<f32>() / pcm.len().max(1) as f32;
    let gain = factor * (power(other) / power(pcm).max(1e-9)).sqrt();
    pcm.iter().map(|sample| sample * gain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_of_a_scene_is_something() {
        let mut scene = Scene::default();
        scene.add(&[0.0; 3], Some(0));
        scene.add(&[0.0; 2], None);
        scene.add(&[0.0; 1], Some(1));
        let labels: Vec<_> = (0..7).map(|at| scene.label(at)).collect();
        assert_eq!(labels, [Some(0), Some(0), Some(0), None, None, Some(1), None]);
    }

    #[test]
    fn sound_is_stretched_and_made_as_loud() {
        let pcm: Vec<f32> = (0..100).map(|at| at as f32).collect();
        let long = stretched(&pcm, 2.0);
        assert_eq!((long.len(), long[50]), (200, 25.0));
        assert_eq!(as_loud(&[0.1, -0.1], &[0.4, 0.4], 0.5), [0.2, -0.2]);
    }
}
