//! `timbre train`: what can be trained here, one file each. `timbre train emotion`: heads from recordings of acted or real feelings, a file that `voice.emotion` can name.
//!
//! Each recording of a small collection is heard four times: as it is, at another level, in noise, and over a telephone. Collections
//! count the same, however large they are.

mod fillers;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, ensure};
use models::Weights;
use models::emotion::train::{Example, softness, train};
use models::emotion::{Heads, HeadsCard, ToneReader, tone_reader};

pub use self::fillers::TrainFillers;
use crate::eval::manifest::{self, Entry};
use crate::eval::sound::{Chance, at_level, made_noise, telephone, with_noise};

/// Labels that the heads tell apart, in order.
pub const LABELS: [&str; 4] = ["neutral", "happy", "sad", "angry"];
/// A collection with more recordings than this is heard as it is only: it has variety enough.
const LARGE: usize = 2_000;

/// What is trained.
#[derive(Debug, clap::Subcommand)]
pub enum Train {
    /// Heads that tell how a voice sounds, for `voice.emotion`.
    Emotion(TrainEmotion),
    /// The head that finds "um" and its kin in the sound.
    Fillers(TrainFillers),
}

/// From what heads are trained, and where they go.
#[derive(Debug, clap::Args)]
pub struct TrainEmotion {
    /// A list of recordings: columns `file`, `speaker` and `label` (`emotion=angry`), tabs between. May be given more than once.
    #[arg(long, required = true)]
    manifest: Vec<PathBuf>,
    /// Only what the list names under this folder. May be given more than once.
    #[arg(long)]
    under: Vec<String>,
    /// Whose ears the heads are for: `moonshine`, which hears in passing, or `whisper`, which hears more.
    #[arg(long, default_value = "moonshine", value_parser = ["moonshine", "whisper"])]
    encoder: String,
    /// Where the heads are written.
    #[arg(long, default_value = "emotion.safetensors")]
    out: PathBuf,
    /// How little large weights are punished. More fits the recordings better, and other voices worse. Unless it is given, it is chosen by
    /// holding out one collection after the other, or speakers where there is one.
    #[arg(long)]
    softness: Option<f32>,
    /// The licence of the heads, to be written into the file.
    #[arg(long, default_value = "")]
    licence: String,
}

/// What the built-in heads are trained with.
pub const SOFTNESS: f32 = 0.003;

/// The class of an emotion among [`LABELS`], by the names that collections use; a calm voice is a neutral one.
pub fn label(emotion: &str) -> Option<usize> {
    let name = match emotion {
        "calm" => "neutral",
        "happiness" | "joy" => "happy",
        "sadness" => "sad",
        "anger" => "angry",
        other => other,
    };
    LABELS.iter().position(|label| *label == name)
}

/// Whether it is an aroused one, where it is clearly one or the other.
pub fn aroused(emotion: &str) -> Option<bool> {
    match emotion {
        "angry" | "anger" | "happy" | "happiness" | "joy" | "fearful" | "fear" | "surprised" | "surprise" => Some(true),
        "sad" | "sadness" | "bored" | "boredom" | "calm" | "neutral" => Some(false),
        _ => None,
    }
}

/// Whether it is a pleasant one, where it is clearly one or the other.
pub fn pleasant(emotion: &str) -> Option<bool> {
    match emotion {
        "happy" | "happiness" | "joy" => Some(true),
        "angry" | "anger" | "fearful" | "fear" | "sad" | "sadness" | "disgust" => Some(false),
        _ => None,
    }
}

/// Runs one of the trainings.
pub fn run(train: Train) -> anyhow::Result<()> {
    match train {
        Train::Emotion(what) => emotion(what),
        Train::Fillers(what) => fillers::run(&what),
    }
}

fn emotion(what: TrainEmotion) -> anyhow::Result<()> {
    let mut entries = Vec::new();
    for list in &what.manifest {
        entries.extend(manifest::read(list, &what.under)?);
    }
    let encoder = if what.encoder == "whisper" { Heads::WHISPER_BASE } else { Heads::MOONSHINE_TINY };
    let mut reader = tone_reader(&Weights::new(Weights::default_folder()), encoder)?;
    let examples = examples(&entries, &mut *reader)?;
    let began = Instant::now();
    let card = HeadsCard {
        encoder: encoder.to_owned(),
        labels: LABELS.join(" "),
        trained_from: corpora(&entries).into_keys().collect::<Vec<_>>().join(", "),
        licence: what.licence,
    };
    let softness = what.softness.map_or_else(|| softness(&examples, LABELS.len()), Ok).map_err(anyhow::Error::msg)?;
    let heads = train(card, &examples, softness).map_err(anyhow::Error::msg)?;
    std::fs::write(&what.out, heads.to_bytes()).with_context(|| format!("cannot write {}", what.out.display()))?;
    println!(
        "{}: {} examples of {} recordings, softness {softness}, trained in {:.0} s.",
        what.out.display(),
        examples.len(),
        entries.len(),
        began.elapsed().as_secs_f64()
    );
    println!("Name it in the configuration as voice.emotion; `timbre eval` says how good it is.");
    Ok(())
}

/// Recordings of each collection.
fn corpora(entries: &[Entry]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in entries {
        *counts.entry(entry.corpus().to_owned()).or_default() += 1;
    }
    counts
}

/// What `reader` hears in the recordings, each altered as it should be.
pub fn examples(entries: &[Entry], reader: &mut dyn ToneReader) -> anyhow::Result<Vec<Example>> {
    let sizes = corpora(entries);
    let (mut speakers, mut callers) = (BTreeMap::new(), BTreeMap::new());
    let number = |of: &mut BTreeMap<String, usize>, name: String| {
        let next = of.len();
        *of.entry(name).or_insert(next)
    };
    let mut examples = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let Some(emotion) = entry.says("emotion") else { continue };
        if at % 500 == 0 {
            eprintln!("{at} of {} recordings heard", entries.len());
        }
        let pcm = entry.sound()?;
        let size = sizes[entry.corpus()];
        let lines: &[Line] = if size > LARGE { &[Line::Clean] } else { &[Line::Clean, Line::Level, Line::Noise, Line::Telephone] };
        for line in lines {
            let name = format!("{}/{}", entry.corpus(), entry.speaker);
            let tone = reader.read(&line.alter(&pcm, &mut Chance::of(&format!("{line:?} {}", entry.file))))?;
            if tone.is_empty() {
                continue;
            }
            examples.push(Example {
                numbers: tone.numbers(),
                label: label(emotion),
                aroused: aroused(emotion),
                pleasant: pleasant(emotion),
                caller: number(&mut callers, format!("{name} {line:?}")),
                corpus: sizes.keys().position(|corpus| corpus == entry.corpus()).unwrap_or_default(),
                speaker: number(&mut speakers, name),
                weight: 1.0 / (size * lines.len()) as f32,
            });
        }
    }
    ensure!(!examples.is_empty(), "no recording has a label such as emotion=angry");
    Ok(examples)
}

/// What lies between a voice and us.
#[derive(Clone, Copy, Debug)]
enum Line {
    Clean,
    /// Nearer or farther, with silence around.
    Level,
    /// 5 to 20 dB over noise made here.
    Noise,
    /// A telephone, after a little noise.
    Telephone,
}

impl Line {
    fn alter(self, pcm: &[f32], chance: &mut Chance) -> Vec<f32> {
        match self {
            Line::Clean => pcm.to_vec(),
            Line::Level => {
                let mut quiet = || vec![0.0; chance.below(8_000)];
                let padded = [quiet(), pcm.to_vec(), quiet()].concat();
                at_level(&padded, chance.between(-40.0, -14.0))
            }
            Line::Noise => {
                let noise = made_noise(pcm.len(), chance);
                let snr_db = chance.between(5.0, 20.0);
                at_level(&with_noise(pcm, &noise, snr_db), chance.between(-36.0, -14.0))
            }
            Line::Telephone => {
                let noise = made_noise(pcm.len(), chance);
                let snr_db = chance.between(10.0, 25.0);
                telephone(&at_level(&with_noise(pcm, &noise, snr_db), chance.between(-34.0, -14.0)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_name_feelings_differently() {
        for (emotion, class, up, good) in [
            ("calm", Some(0), Some(false), None),
            ("neutral", Some(0), Some(false), None),
            ("happiness", Some(1), Some(true), Some(true)),
            ("anger", Some(3), Some(true), Some(false)),
            ("fear", None, Some(true), Some(false)),
            ("disgust", None, None, Some(false)),
            ("distress", None, None, None),
        ] {
            assert_eq!((label(emotion), aroused(emotion), pleasant(emotion)), (class, up, good), "{emotion}");
        }
    }

    #[test]
    fn every_line_alters_the_same_way_each_time() {
        let pcm: Vec<f32> = (0..16_000).map(|at| 0.1 * (at as f32 * 0.2).sin()).collect();
        for line in [Line::Clean, Line::Level, Line::Noise, Line::Telephone] {
            let once = line.alter(&pcm, &mut Chance::of("a"));
            assert_eq!(once, line.alter(&pcm, &mut Chance::of("a")), "{line:?}");
            assert!(once.len() >= pcm.len() && once.iter().all(|s| s.abs() <= 1.0), "{line:?}");
        }
    }
}
