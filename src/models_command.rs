//! `timbre models`: what can be fetched, fetching it, checking it, and where it lies.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::Mutex;

use anyhow::bail;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use models::{Indexes, Installed, ModelEntry, Progress, Pulled, Store, Weights};

/// Lists, fetches and checks models.
#[derive(Debug, clap::Subcommand)]
pub enum ModelsCommand {
    /// Shows every model with its job, size, licence and state.
    List,
    /// Fetches models: the named ones, or the default set.
    Pull {
        /// Names from `timbre models list`.
        names: Vec<String>,
    },
    /// Reads installed models and compares their hashes: the named ones, or all that are installed.
    Verify {
        /// Names from `timbre models list`.
        names: Vec<String>,
    },
    /// Prints the folder of a model, or of all of them.
    Path {
        /// A name from `timbre models list`.
        name: Option<String>,
    },
}

/// Runs one of the commands on the models folder.
pub async fn run(command: ModelsCommand) -> anyhow::Result<()> {
    let weights = Weights::new(Weights::default_folder());
    let folder = weights.folder().to_owned();
    let store = Store::open(weights)?;
    match command {
        ModelsCommand::List => print!("{}", table(&store)),
        ModelsCommand::Pull { names } => pull(&store, &names).await?,
        ModelsCommand::Verify { names } => verify(&store, &names)?,
        ModelsCommand::Path { name: None } => println!("{}", folder.display()),
        ModelsCommand::Path { name: Some(name) } => {
            let model = store.select(&[name])?.remove(0);
            if store.installed(model) != Installed::Whole {
                bail!("{} is not installed; fetch it with `timbre models pull {}`", model.name, model.name);
            }
            println!("{}", store.folder(model).display());
        }
    }
    Ok(())
}

/// A line a model, columns aligned.
fn table(store: &Store) -> String {
    let row = |model: &ModelEntry| {
        let state = match store.installed(model) {
            Installed::Whole => "installed",
            Installed::Damaged(_) => "damaged",
            Installed::Missing if model.default => "not installed (default set)",
            Installed::Missing => "not installed",
        };
        [model.name.clone(), model.job.clone(), megabytes(model.size()), model.licence.clone(), state.to_owned()]
    };
    let mut rows = vec![["NAME", "JOB", "SIZE", "LICENCE", "STATE"].map(str::to_owned)];
    rows.extend(store.manifest().models().iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

async fn pull(store: &Store, names: &[String]) -> anyhow::Result<()> {
    let chosen = store.select(names)?;
    let indexes = Indexes::of_this_machine();
    let mut failed = Vec::new();
    for model in chosen {
        let view = PullView::new(&model.name);
        match store.pull(model, &indexes, &|progress| view.show(progress)).await {
            Ok(Pulled::AlreadyThere) => view.line(&format!("{}: installed", model.name)),
            Ok(Pulled::Fetched) => view.line(&format!("{}: fetched, {}", model.name, megabytes(model.size()))),
            Err(error) => {
                view.line(&format!("{error}"));
                failed.push(model.name.as_str());
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("not fetched: {}", failed.join(", ")) }
}

fn verify(store: &Store, names: &[String]) -> anyhow::Result<()> {
    let mut chosen: Vec<&ModelEntry> = store.manifest().models().iter().collect();
    if names.is_empty() {
        chosen.retain(|model| store.installed(model) != Installed::Missing);
    } else {
        chosen = store.select(names)?;
    }
    let mut faulty = Vec::new();
    for model in chosen {
        match store.verify(model) {
            Ok(()) => println!("{}: right", model.name),
            Err(error) => {
                println!("{}: {error}", model.name);
                faulty.push(model.name.as_str());
            }
        }
    }
    if faulty.is_empty() {
        return Ok(());
    }
    bail!("delete the folders of {0} and run `timbre models pull {0}`", faulty.join(" "))
}

/// How a pull is shown: bars on a terminal, otherwise a line an event.
struct PullView {
    model: String,
    bars: Option<MultiProgress>,
    open: Mutex<HashMap<String, ProgressBar>>,
}

impl PullView {
    fn new(model: &str) -> PullView {
        let bars = std::io::stderr().is_terminal().then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        PullView { model: model.to_owned(), bars, open: Mutex::default() }
    }

    fn show(&self, progress: Progress) {
        match progress {
            Progress::Waiting => self.line(&format!("{}: another process fetches it; waiting", self.model)),
            Progress::Downloading { file, done, total } => self.advance(&file, done, total),
            Progress::Downloaded { file } => {
                if let Some(bar) = self.lock().remove(&file) {
                    bar.finish_and_clear();
                }
                self.line(&format!("{}: {file} is there", self.model));
            }
            Progress::Installing => self.line(&format!("{}: installing", self.model)),
            Progress::NextSource { reason } => self.line(&format!("{}: {reason}; trying the next source", self.model)),
        }
    }

    /// Moves a file's bar; without a terminal, says once that the file comes.
    fn advance(&self, file: &str, done: u64, total: Option<u64>) {
        let mut open = self.lock();
        if !open.contains_key(file) {
            let size = total.map(|total| format!(", {}", megabytes(total))).unwrap_or_default();
            let bar = match &self.bars {
                Some(bars) => bars.add(ProgressBar::new(total.unwrap_or(0)).with_style(style()).with_message(self.model.clone())),
                None => {
                    eprintln!("{}: downloading {file}{size}", self.model);
                    ProgressBar::hidden()
                }
            };
            open.insert(file.to_owned(), bar);
        }
        if let Some(bar) = open.get(file) {
            bar.set_position(done);
        }
    }

    fn line(&self, text: &str) {
        match &self.bars {
            // An error only says that the terminal is gone.
            Some(bars) => drop(bars.println(text)),
            None => eprintln!("{text}"),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, ProgressBar>> {
        self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn style() -> ProgressStyle {
    let template = "{msg:20} {bar:32} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_every_model() {
        let nowhere = std::env::temp_dir().join("timbre-no-models-here");
        let store = Store::with_manifest(Weights::new(nowhere), models::Manifest::built_in());
        let table = table(&store);
        assert_eq!(table.lines().count(), store.manifest().models().len() + 1);
        assert!(table.lines().any(|line| line.starts_with("kokoro ") && line.ends_with("not installed")), "{table}");
    }
}
