//! What can be fetched: the models of `models.toml`, with where each comes from and the hash of everything.
//!
//! The built-in manifest is part of the program. A `models.toml` in the models folder adds entries or replaces them by name, so that a
//! better model from a hub, or a file of the user's own, is an entry like the others.
//!
//! ```toml
//! [[model]]
//! name = "my-vad"
//! job = "voice activity"
//! licence = "MIT"
//! files = [{ name = "vad.onnx" }]          # size and sha256 are checked where given
//!
//! [[model.sources]]                        # tried in order
//! packages = [{ source = "hub", name = "someone/vad", version = "main" }]
//! take = [{ from = ["onnx/vad.onnx"], to = "vad.onnx" }]
//! ```

use std::collections::HashSet;
use std::fmt;
use std::path::{Component, Path};

use serde::Deserialize;

/// The models that the program knows by itself.
const BUILT_IN: &str = include_str!("../models.toml");

/// A list of models.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    #[serde(default, rename = "model")]
    models: Vec<ModelEntry>,
}

/// One model: what is installed, and the ways to get it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Its name, and that of its folder.
    pub name: String,
    /// What it does.
    pub job: String,
    /// SPDX name of the licence of the weights.
    pub licence: String,
    /// Whether a pull without names fetches it.
    #[serde(default)]
    pub default: bool,
    /// The files it consists of once installed.
    pub files: Vec<FileEntry>,
    /// Where to get it from, the first choice first.
    pub sources: Vec<Source>,
}

/// One installed file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path inside the model's folder.
    pub name: String,
    /// Length in bytes.
    pub size: Option<u64>,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: Option<String>,
}

/// One way to get a model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What is downloaded.
    pub packages: Vec<Package>,
    /// Which installed file is made from what.
    pub take: Vec<Take>,
}

/// Something that is downloaded whole.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// What kind of place it is in.
    pub source: SourceKind,
    /// Name in the registry; `owner/repository` on a hub; the path of a file for `path`.
    pub name: String,
    /// Version in the registry; revision on a hub (default `main`).
    pub version: Option<String>,
    /// Name of the file in the registry; needed for `pypi`, where a version has many.
    pub file: Option<String>,
    /// Length in bytes.
    pub size: Option<u64>,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: Option<String>,
}

/// Where a package is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// The Python package index that pip uses here: a wheel.
    Pypi,
    /// The registry that npm uses here: a tarball.
    Npm,
    /// A Hugging Face hub (`HF_ENDPOINT`, `HF_TOKEN`): each file by itself.
    Hub,
    /// A file on this machine.
    Path,
}

/// One installed file and what it is made from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// Paths inside the packages, or in the repository of a hub; joined in this order. A `path` is taken whole under its own file name.
    pub from: Vec<String>,
    /// A second input of the conversion.
    pub with: Option<String>,
    /// How it is made into what an engine loads.
    pub convert: Option<Conversion>,
    /// The name of the installed file.
    pub to: String,
}

/// A change of form on the way in.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Conversion {
    /// CTranslate2's `model.bin` with a `tokenizer.json` to a ggml file of 8-bit blocks.
    WhisperToGgml,
}

/// What is wrong with a manifest, with the entry and the key.
#[derive(Debug, PartialEq)]
pub struct ManifestError(String);

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ManifestError {}

impl Manifest {
    /// The models that the program knows by itself.
    pub fn built_in() -> Manifest {
        Manifest::parse(BUILT_IN).expect("a test reads the built-in manifest")
    }

    /// Reads and checks a manifest.
    pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
        let manifest: Manifest = toml::from_str(text).map_err(|error| ManifestError(error.to_string()))?;
        let mut names = HashSet::new();
        for model in &manifest.models {
            model.check().map_err(|problem| ManifestError(format!("model {:?}: {problem}", model.name)))?;
            if !names.insert(&model.name) {
                return Err(ManifestError(format!("model {:?} is there twice", model.name)));
            }
        }
        Ok(manifest)
    }

    /// This one, with the entries of `other` added or, where the name is the same, instead.
    #[must_use]
    pub fn with(mut self, other: Manifest) -> Manifest {
        for entry in other.models {
            match self.models.iter_mut().find(|model| model.name == entry.name) {
                Some(model) => *model = entry,
                None => self.models.push(entry),
            }
        }
        self
    }

    /// Its models.
    pub fn models(&self) -> &[ModelEntry] {
        &self.models
    }

    /// A model by its name.
    pub fn get(&self, name: &str) -> Option<&ModelEntry> {
        self.models.iter().find(|model| model.name == name)
    }
}

impl ModelEntry {
    /// Bytes on disk once installed, as far as the manifest says.
    pub fn size(&self) -> u64 {
        self.files.iter().filter_map(|file| file.size).sum()
    }

    /// Bytes to download from the first source, as far as the manifest says.
    pub fn download_size(&self) -> u64 {
        self.sources.first().map_or(0, |source| source.packages.iter().filter_map(|package| package.size).sum())
    }

    fn check(&self) -> Result<(), String> {
        if !is_inside(&self.name) || Path::new(&self.name).components().count() != 1 || self.name.starts_with('.') {
            return Err("name must be a plain folder name".to_owned());
        }
        if self.files.is_empty() || self.sources.is_empty() {
            return Err("files and sources must not be empty".to_owned());
        }
        if let Some(file) = self.files.iter().find(|file| !is_inside(&file.name)) {
            return Err(format!("files: {:?} leaves the model's folder", file.name));
        }
        let hashes = self.files.iter().map(|file| &file.sha256);
        let packages = self.sources.iter().flat_map(|source| &source.packages);
        if let Some(hash) = hashes.chain(packages.map(|package| &package.sha256)).flatten().find(|hash| !is_sha256(hash)) {
            return Err(format!("sha256 {hash:?} is not 64 lower-case hexadecimal digits"));
        }
        self.sources.iter().try_for_each(|source| self.check_source(source))
    }

    fn check_source(&self, source: &Source) -> Result<(), String> {
        for package in &source.packages {
            match package.source {
                SourceKind::Pypi if package.version.is_none() || package.file.is_none() => {
                    return Err(format!("package {:?}: pypi needs version and file", package.name));
                }
                SourceKind::Npm if package.version.is_none() => return Err(format!("package {:?}: npm needs version", package.name)),
                SourceKind::Pypi | SourceKind::Npm if !package.file.as_deref().is_none_or(is_inside) => {
                    return Err(format!("package {:?}: file is not a plain file name", package.name));
                }
                SourceKind::Pypi | SourceKind::Npm | SourceKind::Hub | SourceKind::Path => {}
            }
        }
        let made: HashSet<&str> = source.take.iter().map(|take| take.to.as_str()).collect();
        let installed: HashSet<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        if made != installed {
            return Err(format!("take makes {made:?} but files lists {installed:?}"));
        }
        for take in &source.take {
            if take.from.is_empty() {
                return Err(format!("take {:?}: from is empty", take.to));
            }
            if take.convert == Some(Conversion::WhisperToGgml) && take.with.is_none() {
                return Err(format!("take {:?}: whisper-to-ggml needs `with`, the tokenizer.json", take.to));
            }
        }
        Ok(())
    }
}

/// Whether a relative path stays where it is put.
fn is_inside(path: &str) -> bool {
    !path.is_empty() && !path.contains('\\') && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A promise to users: what a first start downloads.
    const MOST_DEFAULT_DOWNLOAD_BYTES: u64 = 450_000_000;

    #[test]
    fn the_built_in_manifest_is_whole() {
        let manifest = Manifest::built_in();
        let names: Vec<&str> = manifest.models().iter().map(|model| model.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "onnxruntime",
                "moonshine-tiny-en",
                "whisper-base",
                "silero-vad",
                "smart-turn",
                "gtcrn",
                "hibari",
                "smollm2-135m",
                "kokoro",
                "minilm"
            ]
        );
        for model in manifest.models() {
            assert!(model.files.iter().all(|file| file.size.is_some() && file.sha256.is_some()), "{}", model.name);
            let mut packages = model.sources.iter().flat_map(|source| &source.packages);
            assert!(packages.all(|package| package.size.is_some() && package.sha256.is_some()), "{}", model.name);
        }
    }

    #[test]
    fn the_default_set_is_small_enough() {
        let manifest = Manifest::built_in();
        let bytes: u64 = manifest.models().iter().filter(|model| model.default).map(ModelEntry::download_size).sum();
        assert!(bytes <= MOST_DEFAULT_DOWNLOAD_BYTES, "{bytes}");
    }

    /// A manifest of one model with `old` replaced by `new`.
    fn variant(old: &str, new: &str) -> Result<Manifest, ManifestError> {
        let good = r#"
            [[model]]
            name = "a"
            job = "x"
            licence = "MIT"
            files = [{ name = "f.bin", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }]
            [[model.sources]]
            packages = [{ source = "pypi", name = "p", version = "1", file = "p-1.whl" }]
            take = [{ from = ["p/f.bin"], to = "f.bin" }]
        "#;
        assert!(good.contains(old), "{old}");
        Manifest::parse(&good.replace(old, new))
    }

    #[test]
    fn a_wrong_manifest_says_what_is_wrong() {
        assert!(variant("job", "job").is_ok());
        for (old, new, says) in [
            ("\"a\"", "\"../a\"", "plain folder name"),
            ("\"a\"", "\".a\"", "plain folder name"),
            ("\"f.bin\", sha", "\"/f.bin\", sha", "leaves the model's folder"),
            ("\"0000", "\"000g", "hexadecimal"),
            ("to = \"f.bin\"", "to = \"g.bin\"", "take makes"),
            (", file = \"p-1.whl\"", "", "needs version and file"),
            ("p-1.whl", "../p-1.whl", "plain file name"),
            ("\"pypi\"", "\"ftp\"", "unknown variant"),
            ("job", "jobs", "unknown field"),
            ("[\"p/f.bin\"]", "[]", "from is empty"),
            ("to = ", "convert = \"whisper-to-ggml\", to = ", "tokenizer.json"),
        ] {
            let said = variant(old, new).expect_err(new).to_string();
            assert!(said.contains(says), "{new}: {said}");
        }
    }

    #[test]
    fn a_manifest_of_ones_own_replaces_by_name() {
        let own = variant("\"a\"", "\"silero-vad\"").expect("it is well formed");
        let count = Manifest::built_in().models().len();
        let both = Manifest::built_in().with(own).with(variant("job", "job").expect("it is well formed"));
        assert_eq!(both.models().len(), count + 1);
        assert_eq!(both.get("silero-vad").map(|model| model.job.as_str()), Some("x"));
    }
}
