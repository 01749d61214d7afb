//! How soon the end of a caller's turn is found, and how often too soon: the decisions of calls over recorded turns, in the time of their
//! sound, beside what a detector of voices and Smart Turn do alone.

mod play;

use std::fmt::Write as _;

use audio::{Rate, Samples};

use self::play::{Clip, Ears, Fate, Pace};
use super::manifest::Entry;
use super::plot::{Line, Plot};
use super::{Given, Section};
use crate::bench::Quantiles;
use crate::conversation::{Conversation, Ends, Rules};

/// Read speech: what `timbre bench turn` plays.
const READ: &str = "stt/en/librispeech_other/";
/// How many of its clips.
const PLAYED: usize = 40;
/// An unfinished turn that is answered within this was taken for finished, seconds.
const SOON: f64 = 1.0;
/// How much silence a way that has one setting is given, ms.
const SILENCES: [u64; 6] = [200, 300, 400, 500, 700, 1_000];

/// A way of ending turns.
struct Way {
    family: &'static str,
    setting: String,
    ends: By,
}

enum By {
    Conversation(Ends),
    SmartTurn(Samples),
}

fn ways() -> Vec<Way> {
    let ms = |ms| Rate::MODEL.samples_in_ms(ms);
    let silence =
        |silence| Way { family: "silence alone", setting: format!("{silence} ms"), ends: By::Conversation(Ends::Silence(ms(silence))) };
    let smart = |silence| Way { family: "Smart Turn alone", setting: format!("after {silence} ms"), ends: By::SmartTurn(ms(silence)) };
    let timbre = |(setting, ends): &(&str, Ends)| Way { family: "Timbre", setting: (*setting).to_owned(), ends: By::Conversation(*ends) };
    let eager = [("eagerness high", Ends::HIGH), ("eagerness medium, the default", Ends::MEDIUM), ("eagerness low", Ends::LOW)];
    SILENCES.into_iter().map(silence).chain(SILENCES.into_iter().map(smart)).chain(eager.iter().map(timbre)).collect()
}

impl Way {
    fn fate(&self, clip: &Clip, pace: Pace) -> anyhow::Result<Fate> {
        match self.ends {
            By::Conversation(ends) => clip.held(&mut Conversation::new(Rules { ends, respond: true, interrupt: true }), pace),
            By::SmartTurn(silence) => clip.judged(silence, pace),
        }
    }
}

pub(super) fn run(given: &Given) -> anyhow::Result<Option<Section>> {
    let of = |part: &dyn Fn(&Entry) -> bool| given.entries.iter().filter(|entry| part(entry)).collect::<Vec<_>>();
    let read = of(&|entry| entry.file.starts_with(READ) && entry.says("text").is_some());
    let paused = of(&|entry| entry.says("turn").is_some_and(|turn| !turn.starts_with("incomplete")));
    let unfinished = of(&|entry| entry.says("turn").is_some_and(|turn| turn.starts_with("incomplete")));
    if read.is_empty() && paused.is_empty() {
        return Ok(None);
    }
    let ears = Ears::load(given.weights)?;
    let clips = |entries: &[&Entry]| -> anyhow::Result<Vec<Clip>> {
        entries.iter().filter_map(|entry| entry.sound().and_then(|pcm| Clip::new(&ears, &pcm)).transpose()).collect()
    };
    let (read, paused, unfinished) = (clips(&read[..read.len().min(PLAYED)])?, clips(&paused)?, clips(&unfinished)?);
    let pace = pace(&ears, &read)?;
    let mut section = Section { text: intro(&read, &paused, &unfinished, pace), plots: Vec::new() };
    let mut lines: Vec<Line> = Vec::new();
    for way in ways() {
        let fates = |clips: &[Clip]| clips.iter().map(|clip| way.fate(clip, pace)).collect::<anyhow::Result<Vec<_>>>();
        let (read, paused, unfinished) = (fates(&read)?, fates(&paused)?, fates(&unfinished)?);
        let waits = waits(&read);
        let cut = |fates: &[Fate]| fates.iter().filter(|fate| **fate == Fate::Cut).count();
        let soon = unfinished.iter().filter(|fate| matches!(fate, Fate::Ended(after) if *after < SOON)).count();
        let _ = writeln!(
            section.text,
            "| {}, {} | {} of {} | {} | {} of {} | {soon} of {} |",
            way.family,
            way.setting,
            cut(&read),
            read.len(),
            waits.seconds(),
            cut(&paused),
            paused.len(),
            unfinished.len()
        );
        eprintln!("{}, {}: {} cut", way.family, way.setting, cut(&read));
        let point = (waits.at(0.5).unwrap_or_default(), cut(&read) as f64 / read.len().max(1) as f64);
        match lines.last_mut().filter(|line| line.name == way.family) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name: way.family.to_owned(), points: vec![point] }),
        }
    }
    for line in &mut lines {
        line.points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    }
    let axes = ("median seconds from the end of speech to the decision".to_owned(), "turns cut off early".to_owned());
    let plot = Plot { title: "Turns cut off early against latency, read speech".to_owned(), axes, range: (0.0, 1.0), lines };
    section.plots.push(("turn-cut-off.svg".to_owned(), plot.svg()));
    Ok(Some(section))
}

fn waits(fates: &[Fate]) -> Quantiles {
    Quantiles::new(fates.iter().filter_map(|fate| match fate {
        Fate::Ended(after) => Some(*after),
        Fate::Cut | Fate::Open => None,
    }))
}

/// What questions take here: some are asked before the first way is tried.
fn pace(ears: &Ears, clips: &[Clip]) -> anyhow::Result<Pace> {
    for clip in clips {
        clip.pauses()?;
    }
    Ok(ears.pace())
}

fn intro(read: &[Clip], paused: &[Clip], unfinished: &[Clip], pace: Pace) -> String {
    format!(
        "## The end of a turn\n\n{} read clips, {} with a pause of 1.6 s put into one sentence, {} broken off in the middle of one. Every clip is a \
         call of its own, played in the time of its sound; the end of speech is by energy. A question to Smart Turn takes {} ms here and a \
         pass over the words {:.3} s a second of speech: an answer is there so long after it was asked for.\n\n\
         | way | cut off early | end of speech to the decision, p50 / p95 | cut off in the inner pause | unfinished, ended within {SOON} s |\n\
         |---|---|---|---|---|\n",
        read.len(),
        paused.len(),
        unfinished.len(),
        pace.judging.ms(Rate::MODEL),
        pace.hearing,
    )
}
