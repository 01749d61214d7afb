//! How soon the end of a caller's turn is found, and how often too soon: the decisions of calls over recorded turns, in the time of their
//! sound, beside what silence and Smart Turn do alone.

mod play;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use audio::{Rate, Samples};

use self::play::{Clip, Ears, Fate, Pace};
use super::manifest::Entry;
use super::plot::{Line, Plot};
use super::{Given, Section};
use crate::bench::Quantiles;
use crate::conversation::{Conversation, Ends, Rules};

/// Read speech, whose first forty clips `timbre bench turn` plays; and its speakers whom nothing was tuned on: theirs are those forty.
const READ: &str = "stt/en/librispeech_other/";
const UNSEEN: [&str; 4] = ["ls-367", "ls-1688", "ls-2033", "ls-2609"];
/// What the rule of [`crate::conversation`] was tuned on, where it is not of those speakers.
const TUNED: [&str; 10] = [
    READ,
    "stt/en/ljspeech/",
    "stt/en/librivox_ss/",
    "stt/en/cards/",
    "stt/en/misc/",
    "stt/en/google_short/",
    "stt/en/commonvoice/",
    "tel/asterisk/en/",
    "lid/en/",
    "noisy/",
];
/// An unfinished turn that is ended within this was taken for finished, seconds.
const SOON: f64 = 1.0;
/// The silences of ways that have one, ms.
const SILENCES: [u64; 6] = [200, 300, 400, 500, 700, 1_000];
/// How eager Timbre is, with the names of the configuration.
const EAGER: [(&str, Ends); 3] = [("high", Ends::HIGH), ("medium", Ends::MEDIUM), ("low", Ends::LOW)];
/// Clips whose questions are timed before the first way is tried.
const TIMED: usize = 10;

/// A way of ending turns.
enum Way {
    Silence(Samples),
    SmartTurn(Samples),
    Timbre(Ends),
}

impl Way {
    /// All of them, by families and their settings.
    fn all() -> Vec<(&'static str, String, Way)> {
        let ms = |ms| Rate::MODEL.samples_in_ms(ms);
        let silence = SILENCES.map(|silence| ("silence alone", format!("{silence} ms"), Way::Silence(ms(silence))));
        let smart = SILENCES.map(|silence| ("Smart Turn alone", format!("after {silence} ms"), Way::SmartTurn(ms(silence))));
        let timbre = EAGER.map(|(name, ends)| ("Timbre", format!("eagerness {name}"), Way::Timbre(ends)));
        silence.into_iter().chain(smart).chain(timbre).collect()
    }

    /// What becomes of clips, each a call of its own.
    fn fates(&self, clips: &[Clip], pace: Pace) -> anyhow::Result<Vec<Fate>> {
        let fate = |clip: &Clip| match self {
            Way::Silence(silence) => Ok(clip.silenced(*silence)),
            Way::SmartTurn(silence) => clip.judged(*silence, pace),
            Way::Timbre(ends) => clip.held(&mut call(*ends), pace),
        };
        clips.iter().map(fate).collect()
    }
}

fn call(ends: Ends) -> Conversation {
    Conversation::new(Rules { ends, respond: true, interrupt: true })
}

pub(super) fn run(given: &Given) -> anyhow::Result<Option<Section>> {
    let unseen = |entry: &Entry| UNSEEN.contains(&entry.speaker.as_str());
    // Words behind which there are more, as the text says, are no turn.
    let whole = |entry: &Entry| entry.says("text").is_some_and(|text| !text.ends_with("...") && !text.ends_with(','));
    let labelled = |entry: &Entry, unfinished: bool| entry.says("turn").is_some_and(|turn| turn.starts_with("incomplete") == unfinished);
    let chosen = |part: &dyn Fn(&Entry) -> bool| given.entries.iter().filter(|entry| part(entry)).collect::<Vec<_>>();
    let read = chosen(&|entry| entry.file.starts_with(READ) && unseen(entry));
    let paused = chosen(&|entry| labelled(entry, false) && unseen(entry));
    let unfinished = chosen(&|entry| labelled(entry, true) && unseen(entry));
    let tuned = chosen(&|entry| TUNED.iter().any(|folder| entry.file.starts_with(folder)) && !unseen(entry) && whole(entry));
    if read.is_empty() {
        return Ok(None);
    }
    let ears = Ears::load(given.weights)?;
    let clips = |entries: &[&Entry]| -> anyhow::Result<Vec<Clip>> {
        entries.iter().filter_map(|entry| Clip::of(&ears, entry).transpose()).collect()
    };
    let (read, paused, unfinished, tuned) = (clips(&read)?, clips(&paused)?, clips(&unfinished)?, clips(&tuned)?);
    for clip in read.iter().take(TIMED) {
        clip.held(&mut call(Ends::LOW), Pace::INSTANT)?;
    }
    let pace = ears.pace();
    let mut text = intro(&read, &paused, &unfinished, pace);
    let mut lines: Vec<Line> = Vec::new();
    for (family, setting, way) in Way::all() {
        let fates = way.fates(&read, pace)?;
        let (waits, cut) = (waits(&fates), cut(&fates));
        let soon = way.fates(&unfinished, pace)?.iter().filter(|fate| matches!(fate, Fate::Ended(after) if *after < SOON)).count();
        let (within, of) = (cut_of(&way.fates(&paused, pace)?), unfinished.len());
        let _ = writeln!(text, "| {family}, {setting} | {} | {} | {within} | {soon} of {of} |", cut_of(&fates), waits.seconds());
        eprintln!("{family}, {setting}: {cut} cut off early");
        let point = (waits.at(0.5).unwrap_or_default(), cut as f64 / read.len() as f64);
        match lines.last_mut().filter(|line| line.name == family) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name: family.to_owned(), points: vec![point] }),
        }
    }
    let habits = of_speakers(&read, pace)?;
    let seen = Way::Timbre(Ends::MEDIUM).fates(&tuned, pace)?;
    let _ = write!(
        text,
        "\nEagerness medium where all clips of a speaker are one call, whose pauses are learnt from: {} cut off early, {}. On clips that the \
         rule was tuned on (other speakers, the texts whole): {} cut off early, {}.\n",
        cut_of(&habits),
        waits(&habits).seconds(),
        cut_of(&seen),
        waits(&seen).seconds(),
    );
    for line in &mut lines {
        line.points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    }
    let axes = ("median seconds from the end of speech to the decision".to_owned(), "turns cut off early".to_owned());
    let plot = Plot { title: "Turns cut off early against latency, read speech".to_owned(), axes, range: (0.0, 1.0), lines };
    Ok(Some(Section { text, plots: vec![("turn-cut-off.svg".to_owned(), plot.svg())] }))
}

/// The clips of each speaker in a call.
fn of_speakers(clips: &[Clip], pace: Pace) -> anyhow::Result<Vec<Fate>> {
    let mut calls: BTreeMap<&str, Conversation> = BTreeMap::new();
    clips.iter().map(|clip| clip.held(calls.entry(&clip.speaker).or_insert_with(|| call(Ends::MEDIUM)), pace)).collect()
}

fn cut(fates: &[Fate]) -> usize {
    fates.iter().filter(|fate| **fate == Fate::Cut).count()
}

fn cut_of(fates: &[Fate]) -> String {
    format!("{} of {}", cut(fates), fates.len())
}

fn waits(fates: &[Fate]) -> Quantiles {
    Quantiles::new(fates.iter().filter_map(|fate| match fate {
        Fate::Ended(after) => Some(*after),
        Fate::Cut | Fate::Open => None,
    }))
}

fn intro(read: &[Clip], paused: &[Clip], unfinished: &[Clip], pace: Pace) -> String {
    format!(
        "## The end of a turn\n\n{} read clips of {} speakers; {} of them with a pause of 1.6 s put into a sentence; {} broken off \
         in the middle of one. Every clip is a call of its own, played in the time of its sound; \
         the end of speech is by energy. A question to Smart Turn takes \
         {} ms where nothing else is computed, a pass over the words {:.3} s a second of \
         speech: an answer \
         is there so long after it was asked for, and the words are heard by Moonshine. The end is decided earlier than an answer is heard. Timbre counts silence from where the sound sinks into the \
         room, by the same levels as the end of speech here.\n\n\
         | way | cut off early | end of speech to the decision, p50 / p95 | cut off in the inner pause or before | unfinished, ended within {SOON} s |\n\
         |---|---|---|---|---|\n",
        read.len(),
        UNSEEN.len(),
        paused.len(),
        unfinished.len(),
        pace.judging.ms(Rate::MODEL),
        pace.hearing,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_are_counted() {
        let fates = [Fate::Cut, Fate::Ended(0.4), Fate::Ended(0.6), Fate::Open];
        assert_eq!((cut_of(&fates), waits(&fates)), ("1 of 4".to_owned(), Quantiles::new([0.4, 0.6])));
    }
}
