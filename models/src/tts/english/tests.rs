//! Readings compared with those of the hibari package itself (0.2.1), kept in `readings.tsv`: text, tab, phonemes.

use super::*;

const READINGS: &str = include_str!("readings.tsv");

/// Texts that are read otherwise here, on purpose.
const DIFFERENT: [&str; 0] = [];

fn reader() -> Option<(English, Unknown)> {
    let weights = Weights::new(Weights::default_folder());
    let opened = English::open(&weights, Accent::American).and_then(|english| Ok((english, English::unknown(&weights, Accent::American)?)));
    opened.inspect_err(|error| eprintln!("skipped: {error}")).ok()
}

fn symbols(phonemes: &[Phoneme]) -> String {
    phonemes.iter().map(|phoneme| phoneme.symbol).collect()
}

#[test]
fn texts_are_read_as_the_voice_learnt_them() {
    let Some((english, mut unknown)) = reader() else { return };
    let (mut words, mut same, mut wrong) = (0, 0, Vec::new());
    for (text, expected) in READINGS.lines().filter_map(|line| line.split_once('\t')) {
        let said = symbols(&english.read(text, &mut unknown).expect("it is read"));
        words += expected.split(' ').count();
        same += expected.split(' ').zip(said.split(' ')).filter(|(a, b)| a == b).count();
        if said != expected && !DIFFERENT.contains(&text) {
            wrong.push(format!("{text}\n  {said}\n  {expected}"));
        }
    }
    println!("{same} of {words} words alike");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn phonemes_know_their_written_word() {
    let Some((english, mut unknown)) = reader() else { return };
    let text = "At 10:30 am, Dr. Smith paid $5.50 for 10 km.";
    let phonemes = english.read(text, &mut unknown).expect("it is read");
    let mut last = 0;
    for phoneme in &phonemes {
        assert!(phoneme.word >= last && phoneme.word < text.split(' ').count(), "{phoneme:?}");
        last = phoneme.word;
    }
    for word in 0..text.split(' ').count() {
        assert!(phonemes.iter().any(|phoneme| phoneme.word == word && !is_punctuation(phoneme.symbol)), "word {word} is silent");
    }
}
