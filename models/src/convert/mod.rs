//! Weights from the form they are published in to the form an engine loads.

pub(crate) mod whisper;

use std::fmt;

/// Why weights could not be converted.
#[derive(Debug)]
pub enum ConvertError {
    /// The source is not what it should be; another try will not help.
    Malformed(String),
    /// The result could not be written.
    Write(std::io::Error),
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConvertError::Malformed(what) => write!(f, "the weights are malformed: {what}"),
            ConvertError::Write(error) => write!(f, "the converted weights could not be written: {error}"),
        }
    }
}

impl std::error::Error for ConvertError {}

impl From<std::io::Error> for ConvertError {
    fn from(error: std::io::Error) -> Self {
        ConvertError::Write(error)
    }
}

/// A [`ConvertError::Malformed`].
pub(crate) fn malformed(what: impl Into<String>) -> ConvertError {
    ConvertError::Malformed(what.into())
}
