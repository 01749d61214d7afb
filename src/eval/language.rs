//! How well the language of callers is told from the first seconds of their first turn, by the recogniser that calls use.
//!
//! Every recording is a call that has just begun: nothing is known of the caller, and no language is named
//! before unless a column says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Context;
use audio::Rate;
use models::stt::ENGINES;
use models::{Belief, Hint, Language, Measured, Transcriber, Utterance};
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

/// Turns of a call whose caller changes from English to another language and back.
const TURNS: [usize; 3] = [3, 3, 2];
/// Sound of a turn, at most, seconds.
const TURN_S: usize = 4;

/// One recording and what it was told to be.
struct Told {
    /// Under which name its row stands.
    row: String,
    truth: Language,
    /// After each of [`HEARD_S`].
    told: [Option<Language>; HEARD_S.len()],
    /// After two seconds, where the languages of the list were named before.
    among: Option<Language>,
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
    let named: BTreeSet<&str> = clips.iter().map(|(_, truth, _)| truth.code()).collect();
    let named: Vec<Language> = named.into_iter().filter_map(Language::new).collect();
    let named = Hint { belief: Belief::among(&named), ..Hint::default() };
    for (row, truth, entry) in &clips {
        let pcm = from_voice(entry.sound()?);
        let among = tell(&*transcriber, &pcm[..pcm.len().min(2 * Rate::MODEL.hz() as usize)], &named)?.language;
        let mut told = [const { None }; HEARD_S.len()];
        for (at, seconds) in HEARD_S.iter().enumerate() {
            let length = if *seconds == 0 { pcm.len() } else { pcm.len().min(seconds * Rate::MODEL.hz() as usize) };
            let before = process::cpu(std::process::id())?;
            told[at] = tell(&*transcriber, &pcm[..length], &Hint::default())?.language;
            cpu[at] += process::cpu(std::process::id())?.saturating_sub(before).as_secs_f64();
        }
        eprintln!("{}: {truth}, told {}", entry.file, shown(&told));
        let told = told.map(|told| told.map(|told| told.value));
        all.push(Told { row: row.clone(), truth: *truth, told, among: among.map(|among| among.value) });
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
    text.push_str(&changes(&*transcriber, &clips)?);
    Ok(Some(Section { text, plots: Vec::new() }))
}

/// Recordings that name a language, with their row: collections of many languages, and English that must not be lost.
fn clips(entries: &[Entry]) -> Vec<(String, Language, &Entry)> {
    let known = |entry: &&Entry| entry.file.starts_with("lid/") || entry.file.starts_with("stt/");
    let mut of_row: BTreeMap<String, usize> = BTreeMap::new();
    let mut clips = Vec::new();
    for entry in entries.iter().filter(known) {
        let Some(truth) = Language::new(&entry.language) else { continue };
        let row = match entry.says("text").map(|text| text.split_whitespace().count()) {
            _ if entry.file.starts_with("lid/") => truth.to_string(),
            Some(words) if words < SENTENCE_WORDS => format!("{truth}, under {SENTENCE_WORDS} words"),
            _ => format!("{truth}, read aloud"),
        };
        let count = of_row.entry(row.clone()).or_default();
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

fn tell(transcriber: &dyn Transcriber, pcm: &[f32], hint: &Hint) -> anyhow::Result<Utterance> {
    Handle::current().block_on(stt::hear(transcriber, pcm.to_vec(), hint.clone()))
}

fn shown(told: &[Option<Measured<Language>>]) -> String {
    let one = |told: &Option<Measured<Language>>| {
        told.as_ref().map_or("-".to_owned(), |told| format!("{} {:.2}", told.value, told.confidence.get()))
    };
    told.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Calls whose caller changes the language, each turn heard with what the turns before it showed.
fn changes(transcriber: &dyn Transcriber, clips: &[(String, Language, &Entry)]) -> anyhow::Result<String> {
    let of = |language: Language| {
        clips.iter().filter(move |(row, truth, _)| *truth == language && *row == truth.code()).map(|(_, _, entry)| *entry)
    };
    let others: BTreeSet<&str> = clips.iter().map(|(_, truth, _)| truth.code()).filter(|code| *code != "en").collect();
    let mut text = String::from(
        "\nA caller who changes from English to another language and back, what each turn is told to be:\n\n| | turns |\n|---|---|\n",
    );
    let (mut right, mut all) = ([0; TURNS.len()], [0; TURNS.len()]);
    for other in others.into_iter().filter_map(Language::new) {
        if of(other).next().is_none() || of(Language::ENGLISH).next().is_none() {
            continue;
        }
        let (mut english, mut foreign) = (of(Language::ENGLISH).cycle(), of(other).cycle());
        let (mut belief, mut said) = (Belief::usual(), Vec::new());
        for (part, turns) in TURNS.into_iter().enumerate() {
            for _ in 0..turns {
                let (truth, entry) = if part == 1 { (other, foreign.next()) } else { (Language::ENGLISH, english.next()) };
                let pcm = from_voice(entry.context("a language without recordings")?.sound()?);
                let pcm = &pcm[..pcm.len().min(TURN_S * Rate::MODEL.hz() as usize)];
                let heard = tell(transcriber, pcm, &Hint { belief: belief.clone(), ..Hint::default() })?;
                if !heard.belief.is_empty() {
                    belief = heard.belief.next_turn(&Belief::usual());
                }
                let told = heard.language.map(|language| language.value);
                all[part] += 1;
                right[part] += usize::from(told == Some(truth));
                said.push(told.map_or("-".to_owned(), |told| told.to_string()));
            }
        }
        eprintln!("{other}: {}", said.join(" "));
        let _ = writeln!(text, "| {other} | {} |", said.join(" "));
    }
    let shares: Vec<String> = right.iter().zip(&all).map(|(right, all)| format!("{:.0} %", 100.0 * share(*right, *all))).collect();
    let _ = writeln!(text, "\nRight before the change, after it, and after the way back: {}.", shares.join(", "));
    Ok(text)
}

fn share(part: usize, of: usize) -> f64 {
    part as f64 / of.max(1) as f64
}

fn table(all: &[Told]) -> String {
    let mut rows: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
    all.iter().for_each(|told| rows.entry(&told.row).or_default().push(told));
    let mut text =
        String::from("| language | recordings | after 1 s | after 2 s | whole | 2 s, languages named |\n|---|---|---|---|---|---|\n");
    let among = |those: &[&Told]| share(those.iter().filter(|told| told.among == Some(told.truth)).count(), those.len());
    let right = |those: &[&Told], at: usize| share(those.iter().filter(|told| told.told[at] == Some(told.truth)).count(), those.len());
    for (row, those) in &rows {
        let cells: Vec<String> = (0..HEARD_S.len()).map(|at| format!("{:.2}", right(those, at))).collect();
        let _ = writeln!(text, "| {row} | {} | {} | {:.2} |", those.len(), cells.join(" | "), among(those));
    }
    let mean = |at| rows.values().map(|those| right(those, at)).sum::<f64>() / rows.len() as f64;
    let everyone: Vec<&Told> = all.iter().collect();
    let _ = writeln!(text, "| all recordings | {} | {} | {:.3} |", all.len(), cells(|at| right(&everyone, at)), among(&everyone));
    let mean_among = rows.values().map(|those| among(those)).sum::<f64>() / rows.len() as f64;
    let _ = writeln!(text, "| mean of the rows | | {} | {mean_among:.3} |", cells(mean));
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
            among: None,
        };
        let all = [told("de", ["en", "de", "de"]), told("de", ["de", "de", "de"]), told("hi", ["ur", "ur", "hi"])];
        let text = table(&all);
        assert!(
            text.contains("| de | 2 | 0.50 | 1.00 | 1.00 | 0.00 |") && text.contains("| hi | 1 | 0.00 | 0.00 | 1.00 | 0.00 |"),
            "{text}"
        );
        assert!(text.contains("| all recordings | 3 | 0.333 | 0.667 | 1.000 | 0.000 |"), "{text}");
        assert!(confusions(&all).contains("hi for ur (1)"));
        assert!(stability(&all).contains("in 33 % of all cases; after 2 s in 67 %"));
    }
}
