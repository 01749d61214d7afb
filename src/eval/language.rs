//! How well the language of callers is told from the first seconds of their first turn, by the recogniser that calls use.
//!
//! Every recording is a call that has just begun: nothing is known of the caller, and no language is hinted at unless a row says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context;
use audio::Rate;
use models::stt::ENGINES;
use models::{Hint, Language, Transcriber};
use tokio::runtime::Handle;

use super::manifest::Entry;
use super::{Given, Section};
use crate::bench::{energy, process, stt};

/// Sound that the language is told from, seconds; 0: all there is.
const HEARD_S: [usize; 3] = [1, 2, 0];
/// English read aloud that must not be lost, so many clips at most, beside those of the collection.
const MOST_ENGLISH: usize = 60;
/// Sound before the voice that calls keep, samples: 300 ms.
const BEFORE: usize = Rate::MODEL.samples_in_ms(300).0 as usize;
/// Texts of fewer words are told apart from sentences.
const SENTENCE_WORDS: usize = 4;

/// One recording and what it was told to be.
struct Told {
    /// Under which name its row stands.
    row: String,
    truth: Language,
    /// After each of [`HEARD_S`].
    told: [Option<Language>; HEARD_S.len()],
}

pub(super) fn run(given: &Given) -> anyhow::Result<Option<Section>> {
    let clips = clips(given.entries);
    if clips.is_empty() {
        return Ok(None);
    }
    let engine = ENGINES.first().context("no transcriber is built in")?;
    let transcriber = (engine.build)(given.weights, 1).with_context(|| format!("{} cannot be loaded", engine.name))?;
    let mut all = Vec::new();
    let mut cpu = [0.0; HEARD_S.len()];
    for (row, truth, entry) in clips {
        let pcm = from_voice(entry.sound()?);
        let mut told = [None; HEARD_S.len()];
        for (at, seconds) in HEARD_S.iter().enumerate() {
            let length = if *seconds == 0 { pcm.len() } else { pcm.len().min(seconds * Rate::MODEL.hz() as usize) };
            let before = process::cpu(std::process::id())?;
            told[at] = tell(&*transcriber, &pcm[..length])?;
            cpu[at] += process::cpu(std::process::id())?.saturating_sub(before).as_secs_f64();
        }
        eprintln!("{}: {truth}, told {}", entry.file, shown(&told));
        all.push(Told { row, truth, told });
    }
    let mut text = format!(
        "## Language of the caller\n\nTold by `{}` of a caller of whom nothing is known, from so much sound; recordings begin 300 ms before the \
         voice, as turns do. CPU with the words of that sound: {:.2} s after 1 s, {:.2} s after 2 s.\n\n",
        engine.name,
        cpu[0] / all.len() as f64,
        cpu[1] / all.len() as f64,
    );
    text.push_str(&table(&all));
    text.push_str(&confusions(&all));
    text.push_str(&stability(&all));
    Ok(Some(Section { text, plots: Vec::new() }))
}

/// Recordings that name a language, with their row: collections of many languages, and English that must not be lost.
fn clips(entries: &[Entry]) -> Vec<(String, Language, &Entry)> {
    let known = |entry: &&Entry| entry.file.starts_with("lid/") || entry.file.starts_with("stt/");
    let mut of_row = BTreeMap::new();
    let mut clips = Vec::new();
    for entry in entries.iter().filter(known) {
        let Some(truth) = Language::new(&entry.language) else { continue };
        let row = match entry.says("text").map(|text| text.split_whitespace().count()) {
            _ if entry.file.starts_with("lid/") => truth.to_string(),
            Some(words) if words < SENTENCE_WORDS => format!("{truth}, under {SENTENCE_WORDS} words"),
            _ => format!("{truth}, read aloud"),
        };
        let count: &mut usize = of_row.entry(row.clone()).or_default();
        *count += 1;
        if *count <= MOST_ENGLISH || entry.file.starts_with("lid/") {
            clips.push((row, truth, entry));
        }
    }
    clips
}

/// From a little before the voice on.
fn from_voice(mut pcm: Vec<f32>) -> Vec<f32> {
    let begin = energy::speech(&pcm, Rate::MODEL).map_or(0, |(begin, _)| begin.saturating_sub(BEFORE));
    pcm.drain(..begin);
    pcm
}

fn tell(transcriber: &dyn Transcriber, pcm: &[f32]) -> anyhow::Result<Option<Language>> {
    let heard = Handle::current().block_on(stt::hear(transcriber, pcm.to_vec(), Hint::default()))?;
    Ok(heard.language.map(|language| language.value))
}

fn shown(told: &[Option<Language>]) -> String {
    told.iter().map(|told| told.map_or("-".to_owned(), |told| told.to_string())).collect::<Vec<_>>().join(" ")
}

fn share(part: usize, of: usize) -> f64 {
    part as f64 / of.max(1) as f64
}

fn table(all: &[Told]) -> String {
    let mut rows: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
    all.iter().for_each(|told| rows.entry(&told.row).or_default().push(told));
    let mut text = String::from("| language | recordings | after 1 s | after 2 s | whole |\n|---|---|---|---|---|\n");
    let right = |those: &[&Told], at: usize| share(those.iter().filter(|told| told.told[at] == Some(told.truth)).count(), those.len());
    for (row, those) in &rows {
        let cells: Vec<String> = (0..HEARD_S.len()).map(|at| format!("{:.2}", right(those, at))).collect();
        let _ = writeln!(text, "| {row} | {} | {} |", those.len(), cells.join(" | "));
    }
    let mean = |at| rows.values().map(|those| right(those, at)).sum::<f64>() / rows.len() as f64;
    let everyone: Vec<&Told> = all.iter().collect();
    let _ = writeln!(text, "| all recordings | {} | {} |", all.len(), cells(|at| right(&everyone, at)));
    let _ = writeln!(text, "| mean of the rows | | {} |", cells(mean));
    text
}

fn cells(value: impl Fn(usize) -> f64) -> String {
    (0..HEARD_S.len()).map(|at| format!("{:.3}", value(at))).collect::<Vec<_>>().join(" | ")
}

/// What was told instead, after two seconds.
fn confusions(all: &[Told]) -> String {
    let at = HEARD_S.iter().position(|seconds| *seconds == 2).unwrap_or_default();
    let mut wrong: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for told in all.iter().filter(|told| told.told[at] != Some(told.truth)) {
        *wrong.entry((&told.row, told.told[at].map_or("nothing".to_owned(), |told| told.to_string()))).or_default() += 1;
    }
    if wrong.is_empty() {
        return "\nAfter two seconds none is taken for another.\n".to_owned();
    }
    let list: Vec<String> = wrong.iter().map(|((row, told), count)| format!("{row} for {told} ({count})")).collect();
    format!("\nTaken for another after two seconds: {}.\n", list.join(", "))
}

/// How often what is told early is what is told in the end.
fn stability(all: &[Told]) -> String {
    let [one, two, whole] = [0, 1, 2];
    let alike = |at: usize| 100.0 * share(all.iter().filter(|told| told.told[at] == told.told[whole]).count(), all.len());
    format!(
        "\nWhat is told after 1 s is told of the whole recording, too, in {:.0} % of all cases; after 2 s in {:.0} %.\n",
        alike(one),
        alike(two)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_what_is_right_and_name_what_is_not() {
        let language = |code| Language::new(code);
        let told = |row: &str, told: [&'static str; 3]| Told {
            row: row.into(),
            truth: Language::new(row).expect("a code"),
            told: told.map(language),
        };
        let all = [told("de", ["en", "de", "de"]), told("de", ["de", "de", "de"]), told("hi", ["ur", "ur", "hi"])];
        let text = table(&all);
        assert!(text.contains("| de | 2 | 0.50 | 1.00 | 1.00 |") && text.contains("| hi | 1 | 0.00 | 0.00 | 1.00 |"), "{text}");
        assert!(text.contains("| all recordings | 3 | 0.333 | 0.667 | 1.000 |"), "{text}");
        assert!(confusions(&all).contains("hi for ur (1)"));
        assert!(stability(&all).contains("in 33 % of all cases; after 2 s in 67 %"));
    }
}
