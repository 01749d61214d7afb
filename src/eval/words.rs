//! How well the words of callers are heard, and at what cost: every recogniser that runs here, over a clear line, a telephone and in noise.
//!
//! Who speaks English is heard as English where the recogniser does not find that out by itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Context;
use audio::Rate;
use models::denoise::{Denoiser, Denoising};
use models::stt::ENGINES;
use models::{Hint, Language, Transcriber};
use tokio::runtime::Handle;

use super::manifest::Entry;
use super::sound::{Chance, noises, telephone, with_noise};
use super::{Given, Section};
use crate::bench::quantiles::Quantiles;
use crate::bench::words::WordErrors;
use crate::bench::{process, stt};

/// What a voice comes through.
#[derive(Clone, Copy)]
enum Line {
    Clean,
    Telephone,
    Noise,
    /// The same with the noise taken out by the server before it is heard.
    Suppressed,
    /// All that one speaker says, with a pause between any two recordings, in one go.
    Joined,
}

const LINES: [(Line, &str); 5] = [
    (Line::Clean, "clean"),
    (Line::Telephone, "telephone"),
    (Line::Noise, "noise, 10 dB"),
    (Line::Suppressed, "the same, suppressed"),
    (Line::Joined, "clean, all of a speaker at once"),
];
/// Between recordings that are joined: 400 ms.
const BETWEEN: usize = Rate::MODEL.samples_in_ms(400).0 as usize;
/// Collections: sentences read aloud, prompts and digits that came over a telephone already.
const FOLDERS: [&str; 3] = ["stt/en/librispeech_other", "tel/asterisk", "tel/fsdd"];

/// What one recogniser made of one recording, over one line.
struct Heard {
    errors: WordErrors,
    /// Of the sound, of the CPU, and from its end to its words, seconds.
    sound: f64,
    cpu: f64,
    wait: f64,
}

pub(super) fn run(given: &Given) -> anyhow::Result<Option<Section>> {
    let mut of_folder: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for folder in FOLDERS {
        let those = given.entries.iter().filter(|entry| entry.file.starts_with(folder) && entry.says("text").is_some());
        those.for_each(|entry| of_folder.entry(folder).or_default().push(entry));
    }
    if of_folder.is_empty() {
        return Ok(None);
    }
    let lines = Lines { noises: noises(given.entries)?, denoiser: Denoiser::load(given.weights)? };
    let mut text = String::from(
        "## Words\n\nWord error rate (numbers in words or figures alike), CPU per second of sound, and the time from the end of the sound to its \
         words where nothing was drafted before, p50 / p95, one thread.\n\n| recordings | line | recogniser | WER | CPU | words after |\n\
         |---|---|---|---|---|---|\n",
    );
    for engine in ENGINES {
        let transcriber = (engine.build)(given.weights, 1).with_context(|| format!("{} cannot be loaded", engine.name))?;
        for (folder, entries) in &of_folder {
            // What came over a telephone is not sent over another.
            let over = if folder.starts_with("tel/") { &LINES[..1] } else { &LINES };
            // Only where there is another engine to ask does it matter whether there is time.
            for thorough in [false, true].into_iter().filter(|thorough| !thorough || engine.name == "auto") {
                let name = if thorough { "auto, with time" } else { engine.name };
                for (line, shown) in over {
                    let hint = Hint { language: (engine.name != "auto").then_some(Language::ENGLISH), thorough, ..Hint::default() };
                    let heard = lines.over(*line, entries)?.into_iter().map(|(pcm, said)| hear(&*transcriber, &hint, pcm, &said));
                    let heard = heard.collect::<anyhow::Result<Vec<_>>>()?;
                    let row = row(&heard);
                    eprintln!("{folder}, {shown}, {name}: {row}");
                    let shown = if over.len() == 1 { "as recorded" } else { shown };
                    let _ = writeln!(text, "| {folder}, {} | {shown} | {name} | {row} |", heard.len());
                }
            }
        }
    }
    Ok(Some(Section { text, plots: Vec::new() }))
}

/// What stands between voices and us.
struct Lines {
    noises: Vec<Vec<f32>>,
    denoiser: Denoiser,
}

impl Lines {
    /// Recordings as they come through, each with what is said in it.
    fn over(&self, line: Line, entries: &[&Entry]) -> anyhow::Result<Vec<(Vec<f32>, String)>> {
        let mut heard: Vec<(Vec<f32>, String)> = Vec::new();
        let mut speaker = "";
        for entry in entries {
            let (pcm, said) = (entry.sound()?, said(entry.says("text").unwrap_or_default()));
            let noisy = |pcm: &[f32]| with_noise(pcm, &self.noises[Chance::of(&entry.file).below(self.noises.len())], 10.0);
            let pcm = match line {
                Line::Clean | Line::Joined => pcm,
                Line::Telephone => telephone(&pcm),
                Line::Noise => noisy(&pcm),
                Line::Suppressed => {
                    let mut clean = Vec::with_capacity(pcm.len());
                    // What is still in it when the sound has ended comes out with as much silence.
                    let sound = [noisy(&pcm), vec![0.0; Denoising::DELAY]].concat();
                    self.denoiser.clean(&mut Denoising::default(), &sound, &mut clean)?;
                    clean
                }
            };
            match heard.last_mut().filter(|_| matches!(line, Line::Joined) && speaker == entry.speaker) {
                Some((before, words)) => {
                    before.extend(vec![0.0; BETWEEN]);
                    before.extend(pcm);
                    words.push(' ');
                    words.push_str(&said);
                }
                None => heard.push((pcm, said)),
            }
            speaker = &entry.speaker;
        }
        Ok(heard)
    }
}

fn hear(transcriber: &dyn Transcriber, hint: &Hint, pcm: Vec<f32>, said: &str) -> anyhow::Result<Heard> {
    let sound = pcm.len() as f64 / f64::from(Rate::MODEL.hz());
    let (cpu, begins) = (process::cpu(std::process::id())?, Instant::now());
    let heard = Handle::current().block_on(stt::hear(transcriber, pcm, hint.clone()))?;
    let wait = begins.elapsed().as_secs_f64();
    let cpu = process::cpu(std::process::id())?.saturating_sub(cpu).as_secs_f64();
    let errors = WordErrors::between(said, &heard.text);
    Ok(Heard { errors, sound, cpu, wait })
}

/// A text without what nobody says: a noise or a silence described in brackets.
pub(super) fn said(text: &str) -> String {
    let mut within = 0_u32;
    let outside = |letter: &char| {
        match letter {
            '[' | '(' => within += 1,
            ']' | ')' => within = within.saturating_sub(1),
            _ => return within == 0,
        }
        false
    };
    text.chars().filter(outside).collect()
}

fn row(heard: &[Heard]) -> String {
    let errors: WordErrors = heard.iter().map(|heard| heard.errors).sum();
    let cpu = heard.iter().map(|heard| heard.cpu).sum::<f64>() / heard.iter().map(|heard| heard.sound).sum::<f64>();
    let waits = Quantiles::new(heard.iter().map(|heard| heard.wait));
    format!("{:.1} % | {cpu:.3} | {}", errors.rate() * 100.0, waits.milliseconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_not_said() {
        for (text, expected) in [
            ("[sound of monkeys screaming]", ""),
            ("(9 seconds of silence)", ""),
            ("One moment (pause) please.", "One moment  please."),
            ("All of it] is said.", "All of it is said."),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }
}
