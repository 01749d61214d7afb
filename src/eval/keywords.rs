//! How much better a recogniser hears the words that it is told to expect, and what it costs to be told of others.
//!
//! Told to expect are the long words of a recording that no other recording of its list has: names and terms, mostly.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Context;
use models::stt::ENGINES;
use models::{Hint, Language};
use tokio::runtime::Handle;

use super::manifest::Entry;
use super::words::said;
use super::{Given, Section};
use crate::bench::stt;
use crate::bench::words::WordErrors;

/// Letters of a word that is worth expecting.
const LONG: usize = 7;
/// Words of other recordings that are expected in vain.
const IN_VAIN: usize = 20;
/// Recordings, at most.
const MOST: usize = 50;

/// What is expected of a recording.
#[derive(Clone, Copy)]
enum Expected {
    Nothing,
    /// What is said in it.
    Own,
    /// What is said in others.
    Others,
    /// Both.
    All,
}

impl Expected {
    const ALL: [Expected; 4] = [Expected::Nothing, Expected::Own, Expected::Others, Expected::All];

    fn shown(self) -> &'static str {
        match self {
            Expected::Nothing => "nothing",
            Expected::Own => "those that are said",
            Expected::Others => "twenty that are not",
            Expected::All => "both",
        }
    }
}

pub(super) fn run(given: &Given) -> anyhow::Result<Option<Section>> {
    let english =
        |entry: &&Entry| entry.file.starts_with("stt/") && entry.language == Language::ENGLISH.code() && entry.says("text").is_some();
    let entries: Vec<&Entry> = given.entries.iter().filter(english).collect();
    let texts: Vec<String> = entries.iter().map(|entry| said(entry.says("text").unwrap_or_default())).collect();
    let own = rare(&texts);
    let chosen: Vec<usize> = (0..texts.len()).filter(|at| !own[*at].is_empty()).take(MOST).collect();
    if chosen.is_empty() {
        return Ok(None);
    }
    let engine = ENGINES.first().context("no transcriber is built in")?;
    let transcriber = (engine.build)(given.weights, 1).with_context(|| format!("{} cannot be loaded", engine.name))?;
    let all: usize = chosen.iter().map(|at| own[*at].len()).sum();
    let mut text = format!(
        "## Keywords\n\nHeard by `{}` in {} recordings, told to expect (`keywords`): the {all} words of {LONG} letters and more that only one of \
         the recordings has, {IN_VAIN} words of other recordings, or both.\n\n| told to expect | of these words heard | written though nobody said \
         them | WER |\n|---|---|---|---|\n",
        engine.name,
        chosen.len(),
    );
    for expected in Expected::ALL {
        let (mut heard, mut invented, mut errors) = (0, 0, Vec::new());
        for (place, &at) in chosen.iter().enumerate() {
            // Those of the recordings after it, from the beginning again where these end.
            let others = chosen.iter().cycle().skip(place + 1).filter(|other| **other != at);
            let vain: Vec<String> = others.flat_map(|other| own[*other].iter().cloned()).take(IN_VAIN).collect();
            let keywords = match expected {
                Expected::Nothing => Vec::new(),
                Expected::Own => own[at].iter().cloned().collect(),
                Expected::Others => vain.clone(),
                Expected::All => own[at].iter().chain(&vain).cloned().collect(),
            };
            let hint = Hint { language: Some(Language::ENGLISH), keywords, ..Hint::default() };
            let utterance = Handle::current().block_on(stt::hear(&*transcriber, entries[at].sound()?, hint))?;
            let written: BTreeSet<String> = words(&utterance.text).collect();
            heard += own[at].iter().filter(|word| written.contains(*word)).count();
            invented += vain.iter().filter(|word| written.contains(*word)).count();
            errors.push(WordErrors::between(&texts[at], &utterance.text));
        }
        let errors: WordErrors = errors.into_iter().sum();
        let row = format!("| {} | {heard} of {all} | {invented} | {:.1} % |", expected.shown(), errors.rate() * 100.0);
        eprintln!("{row}");
        let _ = writeln!(text, "{row}");
    }
    Ok(Some(Section { text, plots: Vec::new() }))
}

/// Of each text its long words that no other has.
fn rare(texts: &[String]) -> Vec<BTreeSet<String>> {
    let long = |text: &String| words(text).filter(|word| word.chars().count() >= LONG).collect::<BTreeSet<_>>();
    let all: Vec<BTreeSet<String>> = texts.iter().map(long).collect();
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    all.iter().flatten().for_each(|word| *counts.entry(word).or_default() += 1);
    all.iter().map(|words| words.iter().filter(|word| counts[word] == 1).cloned().collect()).collect()
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let bare = |word: &str| word.trim_matches(|letter: char| !letter.is_alphanumeric()).to_lowercase();
    text.split_whitespace().map(bare).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_words_are_long_and_of_one_text_alone() {
        let texts = ["The Merneptah stele, twice Merneptah.", "another Monument of stone", "a monument without a stele"].map(str::to_owned);
        let shown: Vec<Vec<String>> = rare(&texts).into_iter().map(|words| words.into_iter().collect()).collect();
        assert_eq!(shown, [vec!["merneptah"], vec!["another"], vec!["without"]]);
    }
}
