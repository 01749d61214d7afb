//! Why a model could not be fetched: whose fault it is and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::ConvertError;
use crate::manifest::ManifestError;

/// Why a model could not be fetched or is not as it should be.
#[derive(Debug)]
pub enum FetchError {
    /// The manifest has no such model.
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The user's own manifest is wrong.
    Manifest {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong.
        error: ManifestError,
    },
    /// Neither the environment nor the package manager knows an index.
    NoIndex {
        /// What to set or install.
        advice: &'static str,
    },
    /// A server cannot be reached, or closed too early too often.
    Unreachable {
        /// What was wanted.
        what: String,
        /// What happened.
        detail: String,
    },
    /// A server does not have it.
    Gone {
        /// What was wanted.
        what: String,
        /// What it answered.
        detail: String,
    },
    /// A file is not the one the manifest means.
    WrongContent {
        /// Which file.
        what: String,
        /// What was found and what was expected.
        detail: String,
    },
    /// An answer or an archive cannot be read.
    Malformed {
        /// Which one.
        what: String,
        /// What is wrong.
        detail: String,
    },
    /// The disk refused.
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Every source failed.
    AllSourcesFailed {
        /// Which model.
        model: String,
        /// Why each failed, in the order they were tried.
        causes: Vec<FetchError>,
        /// How to do it by hand.
        by_hand: String,
    },
}

impl FetchError {
    /// A failure of the disk at `path`.
    pub(super) fn disk(path: &Path, error: io::Error) -> FetchError {
        FetchError::Disk { path: path.to_owned(), error }
    }

    /// A conversion that failed: writing is the disk's fault, the rest the source's.
    pub(super) fn conversion(to: &Path, error: ConvertError) -> FetchError {
        match error {
            ConvertError::Write(error) => FetchError::disk(to, error),
            ConvertError::Malformed(detail) => FetchError::Malformed { what: to.display().to_string(), detail },
        }
    }

    /// Whether it is this machine's doing, so that another source cannot help.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, FetchError::Disk { .. } | FetchError::Manifest { .. } | FetchError::UnknownModel { .. })
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::UnknownModel { name, known } => write!(f, "there is no model {name:?}; there are {}", known.join(", ")),
            FetchError::Manifest { path, error } => write!(f, "{}: {error}", path.display()),
            FetchError::NoIndex { advice } => f.write_str(advice),
            FetchError::Unreachable { what, detail } => write!(f, "{what} cannot be reached: {detail}"),
            FetchError::Gone { what, detail } => write!(f, "{what} is not to be had: {detail}"),
            FetchError::WrongContent { what, detail } => write!(f, "{what} is not what it should be: {detail}"),
            FetchError::Malformed { what, detail } => write!(f, "{what} cannot be read: {detail}"),
            FetchError::Disk { path, error } => {
                write!(f, "{}: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        write!(f, "; make room there, or set TIMBRE_MODELS_DIR to a folder on another disk")
                    }
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        write!(f, "; make it writable, or set TIMBRE_MODELS_DIR to a folder of your own")
                    }
                    io::ErrorKind::NotFound => write!(f, "; fetch the model with `timbre models pull`"),
                    _ => Ok(()),
                }
            }
            FetchError::AllSourcesFailed { model, causes, by_hand } => {
                write!(f, "{model} could not be fetched.")?;
                for cause in causes {
                    write!(f, "\n- {cause}")?;
                }
                write!(f, "\n{by_hand}")
            }
        }
    }
}

impl std::error::Error for FetchError {}
