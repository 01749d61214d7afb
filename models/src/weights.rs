//! Where the files of the models lie.

use std::path::{Path, PathBuf};

use crate::{ErrorKind, ModelError};

/// The folder of fetched models: one folder a model, named as in the manifest.
#[derive(Clone, Debug)]
pub struct Weights {
    folder: PathBuf,
}

impl Weights {
    /// Models under `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Weights {
        Weights { folder: folder.into() }
    }

    /// `TIMBRE_MODELS_DIR`, else `timbre/models` in the user's cache folder.
    pub fn default_folder() -> PathBuf {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        set("TIMBRE_MODELS_DIR").unwrap_or_else(|| {
            set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache"))).unwrap_or_default().join("timbre/models")
        })
    }

    /// The folder that holds them all.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of one file of a model; an error that says how to fetch it where it is missing.
    pub fn file(&self, model: &str, file: &str) -> Result<PathBuf, ModelError> {
        let path = self.folder.join(model).join(file);
        if path.is_file() {
            return Ok(path);
        }
        Err(ModelError::new(ErrorKind::Failed, model, format!("{} is missing; fetch it with `timbre models pull {model}`", path.display())))
    }
}
