//! How well emotions are told from voices: on collections that the heads never heard, and within those that trained them.
//!
//! Every recording is a turn. "First turn" is the absolute reading of a caller nobody heard before; "with five earlier turns" the reading
//! relative to five other recordings of the same speaker over the same line, drawn with a mix of emotions. The words are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use models::emotion::train::{Example, centred, fit, train_labels};
use models::emotion::{Baseline, EmotionEngine, Grid, Heads, Likelihoods, Tone, ToneReader};

use super::manifest::Entry;
use super::plot::{Line, Plot};
use super::score::{Confusion, area, best, calibration_error};
use super::sound::{Chance, made_noise, noises, telephone, with_noise};
use super::{Given, Section};
use crate::bench::process;
use crate::train::{LABELS, SOFTNESS, aroused, examples, label, pleasant};

/// What a caller's voice comes through.
const LINES: [&str; 3] = ["clean", "telephone", "noise, 10 dB"];
/// Earlier turns of a caller, and how often they are drawn anew.
const EARLIER: usize = 5;
const DRAWS: usize = 3;
/// A collection of more recordings is not judged by leaving speakers out: that takes hours.
const LARGE: usize = 2_000;
/// Shares of the training speakers, for the learning curve.
const SHARES: [usize; 4] = [25, 50, 75, 100];

/// What the figures mean.
const INTRO: &str = "## Emotion from the voice\n\nUAR: unweighted average recall over neutral, happy, sad and angry (chance 0.25), all four \
     expected alike. ECE: expected calibration error, ten bins. AUC: how often an aroused (or a pleasant) voice ranks over one that is not. \
     First turn / with five earlier turns of the same speaker.\n";
/// What `voice.emotion` may name without a file.
const BUILT_IN: [&str; 2] = ["moonshine", "whisper"];

/// One recording as it is heard over each of the [`LINES`].
struct Clip {
    speaker: String,
    emotion: String,
    tones: Vec<Tone>,
}

pub(super) fn run(given: &Given) -> anyhow::Result<Option<Section>> {
    let mut corpora: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in given.entries.iter().filter(|entry| entry.says("emotion").is_some()) {
        corpora.entry(entry.corpus()).or_default().push(entry);
    }
    if corpora.is_empty() {
        return Ok(None);
    }
    let noises = noises(given.entries)?;
    let mut section = Section { text: INTRO.to_owned(), plots: Vec::new() };
    let names = given.heads.map_or(BUILT_IN.to_vec(), |name| vec![name]);
    for name in names {
        judge(EmotionEngine::named(given.weights, name)?, &corpora, &noises, &mut section)?;
    }
    Ok(Some(section))
}

/// Adds to `section` how good an engine is.
fn judge(engine: EmotionEngine, corpora: &BTreeMap<&str, Vec<&Entry>>, noises: &[Vec<f32>], section: &mut Section) -> anyhow::Result<()> {
    let EmotionEngine { mut reader, heads, in_passing } = engine;
    let reader = &mut *reader;
    let cost = if in_passing { cost_in_passing(&heads)? } else { cost(reader)? };
    section.text.push_str(&of_heads(&heads, cost));
    let slug = heads.card.encoder.replace([':', '/'], "-");
    let trained: BTreeSet<&str> = heads.card.trained_from.split(", ").collect();
    let mut heard = Vec::new();
    for (name, entries) in corpora.iter().filter(|(name, _)| !trained.contains(**name)) {
        eprintln!("{name}: {} recordings over {} lines", entries.len(), LINES.len());
        let clips = entries.iter().map(|entry| clip(entry, noises, reader)).collect::<anyhow::Result<Vec<_>>>()?;
        heard.push((*name, clips));
    }
    if !heard.is_empty() {
        section.text.push_str(&table(&heads, &heard));
        for (name, clips) in &heard {
            section.text.push_str(&confusions(name, &heads, clips));
            section.plots.push((format!("calibration-{slug}-{}.svg", name.replace('/', "-")), reliability(name, &heads, clips)));
        }
    }
    let of_training: Vec<Entry> =
        corpora.iter().filter(|(name, _)| trained.contains(**name)).flat_map(|(_, entries)| entries.iter().map(|e| (*e).clone())).collect();
    if !of_training.is_empty() {
        let learnt = examples(&of_training, reader)?;
        for (name, entries) in corpora.iter().filter(|(name, entries)| trained.contains(**name) && entries.len() <= LARGE) {
            section.text.push_str(&left_out(name, entries, reader)?);
        }
        if !heard.is_empty() {
            let (text, plot) = learning(&heads, &learnt, &heard)?;
            section.text.push_str(&text);
            section.plots.push((format!("training-speakers-{slug}.svg"), plot));
        }
    }
    Ok(())
}

fn of_heads(heads: &Heads, cost: f64) -> String {
    format!(
        "\n### Heads for `{}`\n\nTrained from {}. CPU beside the pass that hears the words: {cost:.5} of a core.\n\n",
        heads.card.encoder, heads.card.trained_from
    )
}

/// CPU seconds a second of speech, where nobody reads the tone in passing.
fn cost(reader: &mut dyn ToneReader) -> anyhow::Result<f64> {
    let (seconds, repeats) = (10, 6);
    let pcm = made_noise(seconds * 16_000, &mut Chance::of("cost"));
    reader.read(&pcm)?;
    let before = process::cpu(std::process::id())?;
    for _ in 0..repeats {
        reader.read(&pcm)?;
    }
    Ok(process::cpu(std::process::id())?.saturating_sub(before).as_secs_f64() / (seconds * repeats) as f64)
}

/// The same beside the pass that hears the words: the sums over the blocks, and the heads.
fn cost_in_passing(heads: &Arc<Heads>) -> anyhow::Result<f64> {
    let (seconds, repeats) = (10, 300);
    let grid = Grid { width: 288, step: 384, look: 960 };
    let pcm = made_noise(seconds * 16_000, &mut Chance::of("cost"));
    let block = made_noise(pcm.len() / grid.step * grid.width, &mut Chance::of("block"));
    let mut baseline = Baseline::new(heads.clone());
    let before = process::cpu(std::process::id())?;
    for _ in 0..repeats {
        baseline.feel(Some(&Tone::of_blocks(&[&block, &block, &block], &pcm, grid)), &[], None);
    }
    Ok(process::cpu(std::process::id())?.saturating_sub(before).as_secs_f64() / (seconds * repeats) as f64)
}

fn clip(entry: &Entry, noises: &[Vec<f32>], reader: &mut dyn ToneReader) -> anyhow::Result<Clip> {
    let pcm = entry.sound()?;
    let noise = &noises[Chance::of(&entry.file).below(noises.len())];
    let tones =
        [pcm.clone(), telephone(&pcm), with_noise(&pcm, noise, 10.0)].iter().map(|pcm| reader.read(pcm)).collect::<Result<_, _>>()?;
    Ok(Clip { speaker: entry.speaker.clone(), emotion: entry.says("emotion").unwrap_or_default().to_owned(), tones })
}

/// All readings of a collection over one line.
#[derive(Default)]
struct Readings {
    /// Place of the label and how likely each is.
    labels: Vec<(usize, Vec<f32>)>,
    aroused: Vec<(f32, bool)>,
    pleasant: Vec<(f32, bool)>,
}

impl Readings {
    fn add(&mut self, emotion: &str, all: Likelihoods) {
        self.aroused.extend(aroused(emotion).map(|is| (all.arousal, is)));
        self.pleasant.extend(pleasant(emotion).map(|is| (all.valence, is)));
        self.labels.extend(label(emotion).map(|class| (class, all.labels)));
    }

    fn confusion(&self) -> Confusion {
        Confusion::of(LABELS.len(), self.labels.iter().map(|(class, likely)| (*class, best(likely).0)))
    }

    /// How sure the best guess is, and whether it is right.
    fn sureness(&self) -> Vec<(f32, bool)> {
        let one = |(class, likely): &(usize, Vec<f32>)| {
            let (guess, sure) = best(likely);
            (sure, guess == *class)
        };
        self.labels.iter().map(one).collect()
    }
}

/// First turns, and turns with earlier ones, over one line.
fn readings(heads: &Arc<Heads>, clips: &[Clip], line: usize) -> [Readings; 2] {
    let mut both = [Readings::default(), Readings::default()];
    let mut of_speaker: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, clip) in clips.iter().enumerate() {
        of_speaker.entry(&clip.speaker).or_default().push(at);
    }
    let fresh = || Baseline::new(heads.clone()).expecting(1.0 / LABELS.len() as f32);
    for (at, clip) in clips.iter().enumerate() {
        if let Some((absolute, _)) = fresh().weigh(&clip.tones[line]) {
            both[0].add(&clip.emotion, absolute);
        }
        let others: Vec<usize> = of_speaker[clip.speaker.as_str()].iter().copied().filter(|other| *other != at).collect();
        for draw in 0..DRAWS {
            let mut baseline = fresh();
            for earlier in earlier(clips, &others, &mut Chance::of(&format!("{at} {draw}"))) {
                baseline.feel(Some(&clips[earlier].tones[line]), &[], None);
            }
            if let Some((_, Some(relative))) = baseline.weigh(&clip.tones[line]) {
                both[1].add(&clip.emotion, relative);
            }
        }
    }
    both
}

/// Five of the others with a mix of emotions, each as often as it can be.
fn earlier(clips: &[Clip], others: &[usize], chance: &mut Chance) -> Vec<usize> {
    let mut emotions: Vec<&str> = others.iter().map(|other| clips[*other].emotion.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    for at in (1..emotions.len()).rev() {
        emotions.swap(at, chance.below(at + 1));
    }
    (0..EARLIER.min(others.len()))
        .map(|turn| {
            let emotion = emotions[turn % emotions.len()];
            let those: Vec<usize> = others.iter().copied().filter(|other| clips[*other].emotion == emotion).collect();
            those[chance.below(those.len())]
        })
        .collect()
}

fn table(heads: &Arc<Heads>, heard: &[(&str, Vec<Clip>)]) -> String {
    let mut text =
        String::from("| never trained on | line | UAR | ECE | arousal AUC | arousal ECE | valence AUC |\n|---|---|---|---|---|---|---|\n");
    for (name, clips) in heard {
        for (line, shown) in LINES.iter().enumerate() {
            let both = readings(heads, clips, line);
            let of = |score: &dyn Fn(&Readings) -> f64| format!("{:.3} / {:.3}", score(&both[0]), score(&both[1]));
            let _ = writeln!(
                text,
                "| {name}, {} recordings | {shown} | {} | {} | {} | {} | {} |",
                clips.len(),
                of(&|r| r.confusion().recall()),
                of(&|r| calibration_error(&r.sureness())),
                of(&|r| area(&r.aroused)),
                of(&|r| calibration_error(&sides(&r.aroused))),
                of(&|r| area(&r.pleasant)),
            );
        }
    }
    text
}

/// The likelier of two sides, and whether it is the right one.
fn sides(guesses: &[(f32, bool)]) -> Vec<(f32, bool)> {
    guesses.iter().map(|(p, is)| (p.max(1.0 - p), (*p > 0.5) == *is)).collect()
}

fn confusions(name: &str, heads: &Arc<Heads>, clips: &[Clip]) -> String {
    let mut text = format!("\n{name}, clean: what it is (rows) and what was guessed.\n\n| | {} |", LABELS.join(" | "));
    let _ = write!(text, " {} |\n|---|{}\n", LABELS.join(" | "), "---|".repeat(2 * LABELS.len()));
    let both = readings(heads, clips, 0).map(|readings| readings.confusion());
    for (class, label) in LABELS.iter().enumerate() {
        let cells: Vec<String> = both.iter().flat_map(|confusion| confusion.counts[class].iter().map(usize::to_string)).collect();
        let _ = writeln!(text, "| {label} | {} |", cells.join(" | "));
    }
    let _ = write!(text, "\n{}\n", as_in_calls(heads, clips));
    text
}

/// What the product says with the priors of calls, where it may be uncertain.
fn as_in_calls(heads: &Arc<Heads>, clips: &[Clip]) -> String {
    let (mut told, mut right, mut all) = (0, 0, 0);
    for clip in clips {
        let Some(class) = label(&clip.emotion) else { continue };
        let Some(felt) = Baseline::new(heads.clone()).feel(Some(&clip.tones[0]), &[], None) else { continue };
        all += 1;
        if let Some(guess) = LABELS.iter().position(|label| *label == felt.value.label.name()) {
            (told, right) = (told + 1, right + usize::from(guess == class));
        }
    }
    let share = |part: usize, of: usize| 100.0 * part as f64 / of.max(1) as f64;
    format!(
        "With the priors of calls, where most turns are neutral, a first turn is given one of these labels in {:.0} % of all cases \
         and the right one in {:.0} % of those.",
        share(told, all),
        share(right, told)
    )
}

fn reliability(name: &str, heads: &Arc<Heads>, clips: &[Clip]) -> String {
    let line = |name: &str, guesses: Vec<(f32, bool)>| {
        let bins = (0..10).filter_map(|bin| {
            let (low, high) = (bin as f32 / 10.0, (bin + 1) as f32 / 10.0);
            let within: Vec<_> = guesses.iter().filter(|(sure, _)| (low..high).contains(sure)).collect();
            let right = within.iter().filter(|(_, right)| *right).count() as f64 / within.len() as f64;
            // Fewer than twenty say nothing.
            (within.len() >= 20).then(|| (within.iter().map(|(sure, _)| f64::from(*sure)).sum::<f64>() / within.len() as f64, right))
        });
        Line { name: name.to_owned(), points: bins.collect() }
    };
    let [first, later] = readings(heads, clips, 0);
    let perfect = Line { name: "as sure as right".to_owned(), points: vec![(0.0, 0.0), (1.0, 1.0)] };
    let lines = vec![line("first turn", first.sureness()), line("five earlier turns", later.sureness()), perfect];
    let axes = ("how sure".to_owned(), "how often right".to_owned());
    Plot { title: format!("Calibration of four labels, {name}"), axes, range: (0.0, 1.0), lines }.svg()
}

/// Every speaker in turn by a head that the others trained, over all labels of the collection.
fn left_out(name: &str, entries: &[&Entry], reader: &mut dyn ToneReader) -> anyhow::Result<String> {
    let own: Vec<Entry> = entries.iter().map(|entry| (*entry).clone()).collect();
    let emotions: Vec<&str> = own.iter().filter_map(|entry| entry.says("emotion")).collect::<BTreeSet<_>>().into_iter().collect();
    let mut all = examples(&own, reader)?;
    // The examples of a recording follow each other; each says its own emotion.
    let lines = all.len() / own.len();
    for (example, entry) in all.iter_mut().zip(own.iter().flat_map(|entry| std::iter::repeat_n(entry, lines))) {
        example.label = emotions.iter().position(|emotion| Some(*emotion) == entry.says("emotion"));
    }
    let recall = |examples: &[Example]| -> anyhow::Result<f64> {
        let speakers: BTreeSet<usize> = examples.iter().map(|example| example.speaker).collect();
        let mut guesses = Vec::new();
        for speaker in speakers {
            let others: Vec<Example> = examples.iter().filter(|example| example.speaker != speaker).cloned().collect();
            let head = fit(&others, emotions.len(), 10.0 * SOFTNESS, &|example| example.label).map_err(anyhow::Error::msg)?;
            let clean = examples.iter().step_by(lines).filter(|example| example.speaker == speaker);
            guesses.extend(clean.filter_map(|example| Some((example.label?, best(&head.apply(&example.numbers)).0))));
        }
        Ok(Confusion::of(emotions.len(), guesses).recall())
    };
    Ok(format!(
        "\n{name}, one speaker left out at a time, {} classes ({}): UAR {:.3} by itself, {:.3} less the mean of the speaker's recordings.\n",
        emotions.len(),
        emotions.join(", "),
        recall(&all)?,
        recall(&centred(&all))?
    ))
}

/// How the scores grow with the speakers that heads are trained from.
fn learning(heads: &Heads, learnt: &[Example], heard: &[(&str, Vec<Clip>)]) -> anyhow::Result<(String, String)> {
    let mut lines: Vec<Line> = heard
        .iter()
        .flat_map(|(name, _)| ["first turn", "five earlier turns"].map(|how| Line { name: format!("{name}, {how}"), points: Vec::new() }))
        .collect();
    for share in SHARES {
        // Speakers are numbered in the order of the list, collection after collection: every fourth, half, ... of each.
        let part: Vec<Example> = learnt.iter().filter(|example| example.speaker * 25 % 100 < share).cloned().collect();
        let speakers = part.iter().map(|example| example.speaker).collect::<BTreeSet<_>>().len();
        let part = Arc::new(train_labels(heads.card.clone(), &part, SOFTNESS).map_err(anyhow::Error::msg)?);
        for (at, (_, clips)) in heard.iter().enumerate() {
            let scores = readings(&part, clips, 0).map(|readings| readings.confusion().recall());
            for (how, score) in scores.into_iter().enumerate() {
                lines[2 * at + how].points.push((speakers as f64, score));
            }
        }
    }
    let mut text = String::from("\nUAR by the number of speakers that the heads are trained from:\n\n| |");
    let counts: Vec<f64> = lines[0].points.iter().map(|point| point.0).collect();
    let _ = writeln!(text, " {} |", counts.iter().map(|count| format!("{count:.0}")).collect::<Vec<_>>().join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(counts.len()));
    for line in &lines {
        let cells: Vec<String> = line.points.iter().map(|point| format!("{:.3}", point.1)).collect();
        let _ = writeln!(text, "| {} | {} |", line.name, cells.join(" | "));
    }
    let axes = ("speakers".to_owned(), "UAR, four classes".to_owned());
    Ok((text, Plot { title: "What more training speakers give".to_owned(), axes, range: (0.2, 0.8), lines }.svg()))
}
