//! How well filled pauses are found in the sound: in recordings whose texts write them, and how often in those of people who read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use models::emotion::{MoonshineTone, ToneReader};

use super::manifest::Entry;
use super::{Given, Section};

/// How texts write filled pauses.
const WRITTEN: [&str; 5] = ["um", "uh", "hm", "mm", "er"];

/// What was found in one collection.
#[derive(Default)]
struct Found {
    recordings: usize,
    seconds: f64,
    written: usize,
    right: usize,
    /// In recordings without any.
    wrong: usize,
    /// Seconds of these.
    fluent_s: f64,
}

pub(super) fn run(given: &Given) -> anyhow::Result<Option<Section>> {
    let texts = given.entries.iter().filter_map(|entry| Some((entry, entry.says("text")?)));
    let entries: Vec<(&Entry, usize)> = texts.map(|(entry, text)| (entry, written(text))).collect();
    if entries.iter().all(|(_, fillers)| *fillers == 0) {
        return Ok(None);
    }
    let mut reader = MoonshineTone::find(given.weights)?;
    let mut corpora: BTreeMap<&str, Found> = BTreeMap::new();
    for (entry, fillers) in entries.iter().filter(|(entry, _)| entry.corpus().starts_with("hesitation") || entry.corpus() == "stt/en") {
        let pcm = entry.sound()?;
        let seconds = pcm.len() as f64 / f64::from(audio::Rate::MODEL.hz());
        let heard = reader.read(&pcm)?.fillers.len();
        let found = corpora.entry(collection(entry)).or_default();
        found.recordings += 1;
        found.seconds += seconds;
        found.written += fillers;
        found.right += heard.min(*fillers);
        if *fillers == 0 {
            found.wrong += heard;
            found.fluent_s += seconds;
        }
    }
    let mut text = String::from(
        "## Filled pauses in the sound\n\n\"um\", \"uh\", \"hm\": found are as many in a recording as its text writes, at most; wrong are those found in \
         recordings whose text has none. The built-in head was trained from synthetic voices, EMO-DB, and what \
         is listed here of stt/en without librispeech_other, whose readers were in view when its penalty was chosen; readers held out settled \
         its threshold.\n\n\
         | collection | recordings | written | found | wrong a minute |\n|---|---|---|---|---|\n",
    );
    for (name, found) in &corpora {
        let share =
            if found.written == 0 { "-".to_owned() } else { format!("{} ({:.2})", found.right, found.right as f64 / found.written as f64) };
        let wrong = found.wrong as f64 / (found.fluent_s / 60.0).max(f64::MIN_POSITIVE);
        let _ = writeln!(text, "| {name} | {} ({:.0} s) | {} | {share} | {wrong:.2} |", found.recordings, found.seconds, found.written);
    }
    Ok(Some(Section { text, plots: Vec::new() }))
}

/// The whole folder: collections of read speech differ in who was trained from.
fn collection(entry: &Entry) -> &str {
    entry.file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Filled pauses in a text.
fn written(text: &str) -> usize {
    text.split_whitespace().filter(|word| WRITTEN.contains(word)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_write_filled_pauses() {
        assert_eq!(written("but um montreal but um but montreal forced aligner"), 2);
        assert_eq!(written("i hardly know 'er"), 0);
    }
}
