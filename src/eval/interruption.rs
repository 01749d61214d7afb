//! Sound over an answer: whether it is meant is decided as calls decide it, and in time. Speech is meant, noise, music, laughs and sighs are
//! not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::runtime::Handle;

use super::manifest::Entry;
use super::plot::{Line, Plot};
use super::words::said;
use super::{Given, Section};
use crate::bench::interruptions::{Ears, Fate, OTHER, SPEECH};

/// When a decision should be there, after the onset of the sound.
const WITHIN_MS: [u64; 6] = [400, 500, 600, 800, 1_000, 1_500];

pub(super) fn run(given: &Given) -> anyhow::Result<Option<Section>> {
    let ears = Ears::load(given.weights)?;
    let (meant, other) = (fates(given.entries, SPEECH, &ears)?, fates(given.entries, OTHER, &ears)?);
    if meant.is_empty() || other.is_empty() {
        return Ok(None);
    }
    let mut text = String::from(
        "## Sound over an answer\n\nEach recording is heard while an answer speaks. Speech is meant and should end it; noises, music, laughs and \
         sighs are not. Decided so long after the onset of the sound:\n\n| within | precision | recall |\n|---|---|---|\n",
    );
    let all = |fates: &BTreeMap<String, Vec<Fate>>| fates.values().flatten().copied().collect::<Vec<_>>();
    let (all_meant, all_other) = (all(&meant), all(&other));
    let (mut precisions, mut recalls) = (Vec::new(), Vec::new());
    for ms in WITHIN_MS {
        let (precision, recall) = scores(&all_meant, &all_other, Duration::from_millis(ms));
        precisions.push((ms as f64, precision));
        recalls.push((ms as f64, recall));
        let _ = writeln!(text, "| {ms} ms | {precision:.2} | {recall:.2} |");
    }
    let (precision, recall) = scores(&all_meant, &all_other, Duration::MAX);
    let _ = writeln!(text, "| ever | {precision:.2} | {recall:.2} |");
    text.push_str("\nWhat became of the answer:\n\n| recordings | | ended within 500 ms | ended later | paused, went on | not noticed |\n|---|---|---|---|---|---|\n");
    for (what, fates) in [("meant", &meant), ("not meant", &other)] {
        for (corpus, fates) in fates {
            let count = |which: fn(&Fate) -> bool| fates.iter().filter(|fate| which(fate)).count();
            let soon = count(|fate| fate.ended_within(Duration::from_millis(500)));
            let _ = writeln!(
                text,
                "| {corpus}, {} | {what} | {soon} | {} | {} | {} |",
                fates.len(),
                count(|fate| fate.ended_within(Duration::MAX)) - soon,
                count(|fate| matches!(fate, Fate::Resumed)),
                count(|fate| matches!(fate, Fate::Unheard)),
            );
        }
    }
    let plot = Plot {
        title: "Sound over an answer: decided within".to_owned(),
        axes: ("ms after the onset".to_owned(), "share".to_owned()),
        range: (0.0, 1.0),
        lines: vec![Line { name: "precision".to_owned(), points: precisions }, Line { name: "recall".to_owned(), points: recalls }],
    };
    Ok(Some(Section { text, plots: vec![("interruptions.svg".to_owned(), plot.svg())] }))
}

/// Of every so many recordings of each folder, by collection.
fn fates(entries: &[Entry], folders: &[(&str, usize)], ears: &Ears) -> anyhow::Result<BTreeMap<String, Vec<Fate>>> {
    let mut fates: BTreeMap<String, Vec<Fate>> = BTreeMap::new();
    for (folder, step) in folders {
        for entry in entries.iter().filter(|entry| entry.file.starts_with(folder) && !is_silence(entry)).step_by(*step) {
            let fate = Handle::current().block_on(ears.over_an_answer(&entry.sound()?))?;
            eprintln!("{}: {fate:?}", entry.file);
            // The languages are one collection here.
            let corpus = if folder.starts_with("lid/") { "lid" } else { entry.corpus() };
            fates.entry(corpus.to_owned()).or_default().push(fate);
        }
    }
    Ok(fates)
}

/// Whether its text says that nothing is said.
fn is_silence(entry: &Entry) -> bool {
    entry.says("text").is_some_and(|text| said(text).trim().is_empty())
}

/// Precision and recall of the decisions that are there in time.
fn scores(meant: &[Fate], other: &[Fate], within: Duration) -> (f64, f64) {
    let ended = |fates: &[Fate]| fates.iter().filter(|fate| fate.ended_within(within)).count();
    let (right, wrong) = (ended(meant), ended(other));
    (right as f64 / (right + wrong).max(1) as f64, right as f64 / meant.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_decisions_in_time_count() {
        let ended = |ms| Fate::Interrupted { after: Duration::from_millis(ms), at: Duration::ZERO };
        let meant = [ended(300), ended(450), ended(900), Fate::Resumed];
        let other = [ended(400), Fate::Unheard];
        assert_eq!(scores(&meant, &other, Duration::from_millis(500)), (2.0 / 3.0, 0.5));
        assert_eq!(scores(&meant, &other, Duration::MAX), (0.75, 0.75));
        assert_eq!(scores(&[], &[], Duration::MAX), (0.0, 0.0));
    }
}
