//! `timbre eval`: runs recordings through the engines and says how good they are, in a document that nobody wrote by hand.
//!
//! A signal is one file in `src/eval` and one line in [`SIGNALS`]. What it needs of a recording it asks of the list's labels; recordings
//! that say nothing about it are passed over.

mod emotion;
mod hesitation;
mod interruption;
mod keywords;
mod language;
pub mod manifest;
mod plot;
mod score;
pub mod sound;
mod turn;
mod vad;
mod words;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use models::Weights;

use self::manifest::Entry;
use crate::bench::data_folder;

/// What is evaluated, and how it is told.
#[derive(Debug, clap::Args)]
pub struct Eval {
    /// The list of recordings: columns `file`, `language`, `label`, `speaker`, tabs between. Default: MANIFEST.tsv in TIMBRE_DATA.
    manifest: Option<PathBuf>,
    /// Which signals; all of them by default.
    #[arg(long, value_delimiter = ',')]
    signals: Vec<String>,
    /// Only what the list names under this folder. May be given more than once.
    #[arg(long)]
    under: Vec<String>,
    /// Where the report goes as Markdown; its plots go into a folder of that name beside it. Of a report that is there, what is not
    /// evaluated now stays.
    #[arg(long, default_value = "quality.md")]
    out: PathBuf,
    /// What judges emotions, as `voice.emotion` names it: `moonshine`, `whisper` or a file; both that are built in by default.
    #[arg(long)]
    heads: Option<String>,
}

/// What a signal's evaluation is given.
pub(crate) struct Given<'a> {
    pub(crate) entries: &'a [Entry],
    pub(crate) weights: &'a Weights,
    pub(crate) heads: Option<&'a str>,
}

/// A part of the report.
pub(crate) struct Section {
    /// Markdown under a heading of the second level.
    pub(crate) text: String,
    /// File names and SVG.
    pub(crate) plots: Vec<(String, String)>,
}

/// A signal that can be evaluated; `None` where no recording says anything about it.
struct Signal {
    name: &'static str,
    run: fn(&Given) -> anyhow::Result<Option<Section>>,
}

/// Every one of them.
const SIGNALS: &[Signal] = &[
    Signal { name: "emotion", run: emotion::run },
    Signal { name: "hesitation", run: hesitation::run },
    Signal { name: "language", run: language::run },
    Signal { name: "words", run: words::run },
    Signal { name: "keywords", run: keywords::run },
    Signal { name: "voice", run: vad::run },
    Signal { name: "turn", run: turn::run },
    Signal { name: "interruption", run: interruption::run },
];

/// Evaluates, prints the report and writes it.
pub fn run(eval: &Eval) -> anyhow::Result<()> {
    let list = eval.manifest.clone().unwrap_or_else(|| data_folder().join("MANIFEST.tsv"));
    let chosen = chosen(&eval.signals)?;
    let entries = manifest::read(&list, &eval.under)?;
    let weights = Weights::new(Weights::default_folder());
    let given = Given { entries: &entries, weights: &weights, heads: eval.heads.as_deref() };
    let mut report = Report::read(&eval.out);
    let folder = eval.out.with_extension("");
    let mut heard = false;
    for signal in chosen {
        let Some(section) = (signal.run)(&given).with_context(|| format!("{} could not be evaluated", signal.name))? else { continue };
        heard = true;
        let mut text = section.text;
        for (name, svg) in &section.plots {
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            std::fs::write(folder.join(name), svg).with_context(|| format!("cannot write {name}"))?;
            let shown = folder.file_name().unwrap_or_default().to_string_lossy();
            let _ = write!(text, "\n![{}]({shown}/{name})\n", name.trim_end_matches(".svg").replace('-', " "));
        }
        print!("{text}");
        // After every one: a long evaluation that is ended keeps what it has.
        report.put(text);
        std::fs::write(&eval.out, report.text()).with_context(|| format!("cannot write {}", eval.out.display()))?;
    }
    ensure!(heard, "no recording of {} has a label that these signals know", list.display());
    Ok(())
}

/// The parts of a report, each with its heading of the second level.
#[derive(Debug, Default, PartialEq)]
struct Report(Vec<String>);

impl Report {
    const HEAD: &str = "# Quality\n\nWritten by `timbre eval`; do not edit. Figures of what nobody has trained or tuned on, unless a line says otherwise.\n";

    /// What the file holds; nothing where there is none.
    fn read(file: &Path) -> Report {
        Report::of(&std::fs::read_to_string(file).unwrap_or_default())
    }

    fn of(text: &str) -> Report {
        Report(text.split("\n## ").skip(1).map(|part| format!("## {part}")).collect())
    }

    /// Adds a part, in place of the one with its heading.
    fn put(&mut self, part: String) {
        let heading = |part: &str| part.lines().next().unwrap_or_default().to_owned();
        match self.0.iter_mut().find(|old| heading(old) == heading(&part)) {
            Some(old) => *old = part,
            None => self.0.push(part),
        }
    }

    fn text(&self) -> String {
        self.0.iter().fold(Report::HEAD.to_owned(), |text, part| format!("{text}\n{}\n", part.trim_end()))
    }
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Signal>> {
    if names.is_empty() {
        return Ok(SIGNALS.iter().collect());
    }
    let find = |name: &String| match SIGNALS.iter().find(|signal| signal.name == name) {
        Some(signal) => Ok(signal),
        None => bail!("--signals: {name:?} is not known; allowed are {}", SIGNALS.iter().map(|s| s.name).collect::<Vec<_>>().join(", ")),
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_evaluated_anew_stays_in_the_report() {
        let mut report = Report::default();
        report.put("## One\n\nfirst\n".to_owned());
        report.put("## Two\n\n### Within\n\nsecond\n".to_owned());
        let mut again = Report::of(&report.text());
        assert_eq!(again.text(), report.text());
        again.put("## One\n\nanew\n".to_owned());
        again.put("## Three\n\nthird\n".to_owned());
        let expected = "\n## One\n\nanew\n\n## Two\n\n### Within\n\nsecond\n\n## Three\n\nthird\n";
        assert_eq!(again.text(), format!("{}{expected}", Report::HEAD));
    }

    #[test]
    fn signals_are_chosen_by_name() {
        assert_eq!(chosen(&[]).expect("all").len(), SIGNALS.len());
        assert_eq!(chosen(&["emotion".to_owned()]).expect("one").len(), 1);
        let refused = chosen(&["smell".to_owned()]).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("emotion"), "{refused}");
    }
}
