//! Lists of recordings with what is known of them: a table of tabs whose first line names the columns.
//!
//! `file` is relative to the list; of the others `language`, `speaker` and `label` are read where they are there. `label` holds pairs:
//! `emotion=angry; text=Where is my order?`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use audio::{Rate, Recording, resample};

/// No recording is read beyond this.
const LONGEST: Duration = Duration::from_secs(120);

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As written, relative to the list.
    pub file: String,
    /// Who speaks; the file where nobody is named.
    pub speaker: String,
    /// Its language, `-` or empty where there is none.
    pub language: String,
    /// Terms of use, where they are given.
    pub licence: String,
    label: String,
    /// Where the file lies.
    path: PathBuf,
}

impl Entry {
    /// What its label says of `key`.
    pub fn says(&self, key: &str) -> Option<&str> {
        self.label.split(';').find_map(|pair| pair.trim().strip_prefix(key)?.strip_prefix('='))
    }

    /// The collection that it belongs to: its folder, two levels deep at most.
    pub fn corpus(&self) -> &str {
        let folder = self.file.rsplit_once('/').map_or("", |(folder, _)| folder);
        folder.match_indices('/').nth(1).map_or(folder, |(at, _)| &folder[..at])
    }

    /// Its sound as recorded.
    pub fn recording(&self) -> anyhow::Result<Recording> {
        let bytes = std::fs::read(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        audio::container::decode(&bytes, LONGEST).with_context(|| format!("cannot decode {}", self.path.display()))
    }

    /// Its sound, mono at [`Rate::MODEL`].
    pub fn sound(&self) -> anyhow::Result<Vec<f32>> {
        let recording = self.recording()?;
        Ok(resample(&recording.pcm, recording.rate, Rate::MODEL))
    }

    /// The text of the file beside it of the same name and another ending; `None` where there is none.
    pub(crate) fn beside(&self, ending: &str) -> Option<String> {
        std::fs::read_to_string(self.path.with_extension(ending)).ok()
    }
}

/// The lines of the list at `path`; where `under` names folders, only what lies in them.
pub fn read(path: &Path, under: &[String]) -> anyhow::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the list of recordings {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let entries = parse(&text, folder).with_context(|| format!("{} is no list of recordings", path.display()))?;
    let within = |entry: &Entry, folder: &String| entry.file.starts_with(folder.as_str());
    let entries: Vec<Entry> = entries.into_iter().filter(|entry| under.is_empty() || under.iter().any(|f| within(entry, f))).collect();
    ensure!(!entries.is_empty(), "{} lists nothing{}", path.display(), if under.is_empty() { "" } else { " under the folders named" });
    Ok(entries)
}

fn parse(text: &str, folder: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap_or_default().split('\t').map(str::trim).collect();
    let place = |name: &str| columns.iter().position(|column| *column == name);
    let Some(file) = place("file") else {
        bail!("its first line must name its columns with tabs between, and one of them `file`: {:?}", columns.join(" "));
    };
    let (label, language, speaker, licence) = (place("label"), place("language"), place("speaker"), place("licence"));
    let entry = |line: &str| {
        let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
        let cell = |place: Option<usize>| place.and_then(|place| cells.get(place)).copied().unwrap_or_default().to_owned();
        let file = cell(Some(file));
        let speaker = Some(cell(speaker)).filter(|speaker| !speaker.is_empty()).unwrap_or_else(|| file.clone());
        Entry { path: folder.join(&file), speaker, language: cell(language), licence: cell(licence), label: cell(label), file }
    };
    Ok(lines.filter(|line| !line.trim().is_empty()).map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_by_the_names_of_its_columns() {
        let text = "speaker\tfile\tlabel\nann\temotion/acted/ann/1.flac\temotion=angry; text=No!\n\ntom\tb.wav\t\n\tc.wav\n";
        let entries = parse(text, Path::new("/data")).expect("a list");
        let seen: Vec<_> = entries.iter().map(|e| (e.corpus(), e.speaker.as_str(), e.says("emotion"), e.says("text"))).collect();
        let expected = [("emotion/acted", "ann", Some("angry"), Some("No!")), ("", "tom", None, None), ("", "c.wav", None, None)];
        assert_eq!(seen, expected);
        assert_eq!(entries[0].path, Path::new("/data/emotion/acted/ann/1.flac"));
        assert!(parse("a\tb\n", Path::new("")).is_err());
    }
}
