//! How well voice is told from other sound: the detector of calls with the rules of calls, against labels by hand, and on sound that holds
//! no voice.
//!
//! A recording is labelled where a file of its name that ends in `.scv` lies beside it: triples of start, end (seconds) and 0 or 1, commas
//! between, after the recording's name.

use std::fmt::Write as _;

use anyhow::{Context, ensure};
use audio::{Activity, ActivityEvent, ActivityRules, Probability, Rate, Samples};
use models::vad::{VoiceDetector, VoiceState, WINDOW};

use super::manifest::Entry;
use super::plot::{Line, Plot};
use super::{Given, Section};
use crate::bench::{process, quantiles::Quantiles};

/// Frames that are judged: 10 ms.
const FRAME: usize = Rate::MODEL.samples_in_ms(10).0 as usize;
/// Onsets that are told later than this were not told: the next one was.
const LATEST_S: f64 = 1.0;

/// A recording with what the detector says of each of its windows.
struct Clip {
    name: String,
    samples: usize,
    windows: Vec<Probability>,
    /// Whether somebody speaks, a frame each; empty where there is no label.
    labels: Vec<bool>,
}

/// Frames by what they are and what they were taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Frames {
    voice: usize,
    missed: usize,
    invented: usize,
}

impl Frames {
    fn add(&mut self, is: bool, told: bool) {
        match (is, told) {
            (true, true) => self.voice += 1,
            (true, false) => self.missed += 1,
            (false, true) => self.invented += 1,
            (false, false) => {}
        }
    }

    fn precision(self) -> f64 {
        self.voice as f64 / (self.voice + self.invented).max(1) as f64
    }

    fn recall(self) -> f64 {
        self.voice as f64 / (self.voice + self.missed).max(1) as f64
    }

    /// Harmonic mean of both.
    fn f1(self) -> f64 {
        2.0 * self.voice as f64 / (2 * self.voice + self.missed + self.invented).max(1) as f64
    }
}

pub(super) fn run(given: &Given) -> anyhow::Result<Option<Section>> {
    let detector = VoiceDetector::load(given.weights)?;
    let before = process::cpu(std::process::id())?;
    let mut labelled = Vec::new();
    for entry in given.entries.iter().filter(|entry| !entry.file.ends_with(".scv")) {
        if let Some(labels) = entry.beside("scv") {
            let pcm = entry.sound()?;
            let labels = frames(&labels, pcm.len()).with_context(|| format!("the labels of {} are not as they should be", entry.file))?;
            labelled.push(Clip { labels, ..clip(&detector, entry, &pcm)? });
        }
    }
    let voiceless: Vec<Clip> = given
        .entries
        .iter()
        .filter(|entry| entry.file.starts_with("nonspeech/"))
        .map(|entry| clip(&detector, entry, &entry.sound()?))
        .collect::<anyhow::Result<_>>()?;
    if labelled.is_empty() && voiceless.is_empty() {
        return Ok(None);
    }
    let seconds: f64 = labelled.iter().chain(&voiceless).map(Clip::seconds).sum();
    let cpu = process::cpu(std::process::id())?.saturating_sub(before).as_secs_f64() / seconds;
    let rules = ActivityRules { silence: Samples(u64::MAX), ..ActivityRules::default() };
    let mut text = format!(
        "## Voice activity\n\nSilero with the rules of calls: windows of {} ms; speech from a probability of {:.2} for {} ms, silence under \
         {:.2}. CPU with decoding of the files: {cpu:.4} of a core.\n\n",
        Samples(WINDOW as u64).ms(Rate::MODEL),
        rules.start.get(),
        rules.shortest.ms(Rate::MODEL),
        rules.stop.get(),
    );
    if !labelled.is_empty() {
        text.push_str(&against_labels(&labelled, rules));
    }
    if !voiceless.is_empty() {
        text.push_str(&on_no_voice(&voiceless, rules));
    }
    let plots = vec![("voice-thresholds.svg".to_owned(), sweep(&labelled, &voiceless, rules))];
    Ok(Some(Section { text, plots }))
}

fn clip(detector: &VoiceDetector, entry: &Entry, pcm: &[f32]) -> anyhow::Result<Clip> {
    let mut state = VoiceState::default();
    let windows = pcm.as_chunks::<WINDOW>().0.iter().map(|window| detector.voice(&mut state, window)).collect::<Result<_, _>>()?;
    Ok(Clip { name: entry.file.clone(), samples: pcm.len(), windows, labels: Vec::new() })
}

impl Clip {
    fn seconds(&self) -> f64 {
        self.samples as f64 / f64::from(Rate::MODEL.hz())
    }

    /// What the rules make of it.
    fn told(&self, rules: ActivityRules) -> Told {
        let mut activity = Activity::new(rules);
        let mut told = Told { voice: vec![false; self.samples / FRAME], starts: Vec::new() };
        let mut since = None;
        for window in &self.windows {
            match activity.push(*window) {
                Some(ActivityEvent::Started { at, .. }) => {
                    told.starts.push((at, activity.now()));
                    since = Some(at);
                }
                Some(ActivityEvent::Resumed { at }) => since = Some(at),
                Some(ActivityEvent::Paused { at } | ActivityEvent::Ended { at }) => told.fill(since.take(), at),
                None => {}
            }
        }
        told.fill(since, Samples(self.samples as u64));
        told
    }

    fn frames(&self, rules: ActivityRules) -> Frames {
        let mut frames = Frames::default();
        self.labels.iter().zip(self.told(rules).voice).for_each(|(is, told)| frames.add(*is, told));
        frames
    }
}

/// What is told of a recording.
struct Told {
    /// Whether somebody is taken to speak, a frame each.
    voice: Vec<bool>,
    /// Onsets, and when they were told.
    starts: Vec<(Samples, Samples)>,
}

impl Told {
    /// Somebody spoke from `since` until `at`: a frame belongs where its middle is.
    fn fill(&mut self, since: Option<Samples>, at: Samples) {
        let Some(since) = since else { return };
        let frame = |at: Samples| (at.0 as usize + FRAME / 2) / FRAME;
        let (from, to) = (frame(since).min(self.voice.len()), frame(at).min(self.voice.len()));
        self.voice[from..to.max(from)].fill(true);
    }
}

/// Labels of `samples` as frames.
fn frames(labels: &str, samples: usize) -> anyhow::Result<Vec<bool>> {
    let cells: Vec<&str> = labels.trim().split(',').skip(1).collect();
    ensure!(!cells.is_empty() && cells.len().is_multiple_of(3), "they are no triples after a name");
    let mut frames = vec![false; samples / FRAME];
    for triple in cells.chunks_exact(3) {
        let number = |cell: &str| cell.trim().parse::<f64>().with_context(|| format!("{cell:?} is no number"));
        let frame = |seconds: f64| ((seconds * f64::from(Rate::MODEL.hz()) / FRAME as f64).round() as usize).min(samples / FRAME);
        let (from, to) = (frame(number(triple[0])?), frame(number(triple[1])?));
        frames[from..to.max(from)].fill(number(triple[2])? > 0.5);
    }
    Ok(frames)
}

/// Places where voice begins after `quiet` frames without, seconds.
fn onsets(labels: &[bool], quiet: usize) -> Vec<f64> {
    let begins = |at: &usize| labels[*at] && (*at == 0 || labels[at.saturating_sub(quiet)..*at].iter().all(|voice| !voice));
    (0..labels.len()).filter(begins).map(|at| at as f64 * FRAME as f64 / f64::from(Rate::MODEL.hz())).collect()
}

fn against_labels(clips: &[Clip], rules: ActivityRules) -> String {
    let all = |rules| {
        clips.iter().map(|clip| clip.frames(rules)).fold(Frames::default(), |a, b| Frames {
            voice: a.voice + b.voice,
            missed: a.missed + b.missed,
            invented: a.invented + b.invented,
        })
    };
    let judged = all(rules);
    let delays = clips.iter().flat_map(|clip| {
        let told = clip.told(rules);
        let first = onsets(&clip.labels, usize::MAX);
        first.into_iter().filter_map(move |onset| {
            let seconds = |at: Samples| at.0 as f64 / f64::from(Rate::MODEL.hz());
            told.starts.iter().map(|(_, told)| seconds(*told) - onset).find(|late| (0.0..LATEST_S).contains(late))
        })
    });
    let delays = Quantiles::new(delays);
    let seconds: f64 = clips.iter().map(Clip::seconds).sum();
    format!(
        "Against labels by hand, {} recordings ({seconds:.0} s), frames of 10 ms: F1 {:.3}, precision {:.3}, recall {:.3}. The first voice of a \
         recording is told {} after it begins, p50 / p95.\n\n",
        clips.len(),
        judged.f1(),
        judged.precision(),
        judged.recall(),
        delays.milliseconds(),
    )
}

fn on_no_voice(clips: &[Clip], rules: ActivityRules) -> String {
    let starts = |clip: &Clip| clip.told(rules).starts.len();
    let minutes: f64 = clips.iter().map(Clip::seconds).sum::<f64>() / 60.0;
    let all: usize = clips.iter().map(starts).sum();
    let mut text = format!(
        "Without voice, {} recordings ({minutes:.1} min): {all} false starts, {:.2} a minute.\n\n| where there are any | s | starts |\n|---|---|---|\n",
        clips.len(),
        all as f64 / minutes
    );
    for clip in clips.iter().filter(|clip| starts(clip) > 0) {
        let _ = writeln!(text, "| {} | {:.0} | {} |", clip.name, clip.seconds(), starts(clip));
    }
    text
}

/// Frame F1 and false starts a minute by the threshold from which a window is speech.
fn sweep(labelled: &[Clip], voiceless: &[Clip], rules: ActivityRules) -> String {
    let thresholds = (2..=9).map(|tenths| f64::from(tenths) / 10.0);
    let at = |start: f64| ActivityRules {
        start: Probability::new(start as f32),
        stop: Probability::new((start as f32 + rules.stop.get() - rules.start.get()).max(0.01)),
        ..rules
    };
    let minutes: f64 = voiceless.iter().map(Clip::seconds).sum::<f64>() / 60.0;
    let f1 = |start| {
        let (mut voice, mut wrong) = (0, 0);
        for frames in labelled.iter().map(|clip| clip.frames(at(start))) {
            voice += frames.voice;
            wrong += frames.missed + frames.invented;
        }
        2.0 * voice as f64 / (2 * voice + wrong).max(1) as f64
    };
    let starts = |start| voiceless.iter().map(|clip| clip.told(at(start)).starts.len()).sum::<usize>() as f64 / minutes.max(1e-9);
    let lines = vec![
        Line { name: "frame F1".to_owned(), points: thresholds.clone().map(|start| (start, f1(start))).collect() },
        Line { name: "false starts / min".to_owned(), points: thresholds.map(|start| (start, starts(start).min(1.0))).collect() },
    ];
    let axes = ("probability that starts speech".to_owned(), "F1; false starts a minute, to 1".to_owned());
    Plot { title: "Voice activity by its threshold".to_owned(), axes, range: (0.0, 1.0), lines }.svg()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(windows: &[f32], labels: Vec<bool>) -> Clip {
        let windows: Vec<Probability> = windows.iter().map(|p| Probability::new(*p)).collect();
        Clip { name: "a".into(), samples: windows.len() * WINDOW, windows, labels }
    }

    #[test]
    fn labels_become_frames_and_a_broken_list_is_refused() {
        let voice = frames("a,0.0,0.02,0,0.02,0.05,1,0.05,0.06,0", 960).expect("labels");
        assert_eq!(voice, [false, false, true, true, true, false]);
        assert_eq!(onsets(&voice, 10), [0.02]);
        for bad in ["", "a", "a,0.0,0.1", "a,0.0,x,1"] {
            assert!(frames(bad, 960).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_told_is_judged_frame_by_frame() {
        let rules = ActivityRules { silence: Samples(u64::MAX), ..ActivityRules::default() };
        // Ten windows of 32 ms: voice from the third to the sixth, 64 to 192 ms.
        let heard = clip(&[0.0, 0.0, 0.9, 0.9, 0.9, 0.9, 0.0, 0.0, 0.0, 0.0], (0..32).map(|at| (5..20).contains(&at)).collect());
        let told = heard.told(rules);
        assert_eq!(told.starts, [(Samples(1_024), Samples(2_048))]);
        assert_eq!(told.voice.iter().filter(|voice| **voice).count(), 13);
        let frames = heard.frames(rules);
        assert_eq!(frames, Frames { voice: 13, missed: 2, invented: 0 });
        assert!((frames.f1() - 26.0 / 28.0).abs() < 1e-9);
        assert_eq!(clip(&[0.9, 0.0, 0.9, 0.0], Vec::new()).told(rules).starts, []);
    }
}
