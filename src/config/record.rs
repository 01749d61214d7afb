//! `[record]`: where the records of requests go.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `[record]`, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Record {
    /// The file that records are written to; absent: `timbre/requests.ndjson` in the user's state folder; empty: none are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Size from which a file is turned over, bytes.
    pub max_file_bytes: u64,
    /// Most files kept, the one being written included.
    pub files: usize,
    /// Whether the words of prompts and answers are recorded, too.
    pub texts: bool,
}

impl Default for Record {
    fn default() -> Record {
        // A record has about 1 kB: five files hold half a million of them.
        Record { file: None, max_file_bytes: 100 * 1_024 * 1_024, files: 5, texts: false }
    }
}

/// `[record]`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordConfig {
    /// The file that is written; older ones have a number behind its name.
    pub file: PathBuf,
    /// Size from which it is turned over, bytes.
    pub file_bytes: u64,
    /// Most files kept, this one included.
    pub files: usize,
    /// Whether the words of prompts and answers are recorded, too.
    pub texts: bool,
}

impl Record {
    /// Checks the numbers. `None`: nothing is recorded.
    pub(super) fn check(&self, environment: &super::Environment) -> Result<Option<RecordConfig>, ConfigError> {
        if self.max_file_bytes == 0 || self.files == 0 {
            return Err(ConfigError::new("record.max_file_bytes and record.files: at least 1; set record.file = \"\" to record nothing"));
        }
        let file = match &self.file {
            Some(file) => file.clone(),
            None => state_folder(environment).map(|folder| folder.join("timbre/requests.ndjson")).unwrap_or_default(),
        };
        if file.as_os_str().is_empty() {
            return Ok(None);
        }
        Ok(Some(RecordConfig { file, file_bytes: self.max_file_bytes, files: self.files, texts: self.texts }))
    }
}

/// `XDG_STATE_HOME`, else `.local/state` at home (XDG base directory specification); `None` where there is no home.
pub(super) fn state_folder(environment: &super::Environment) -> Option<PathBuf> {
    let set =
        |name: &str| environment.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| PathBuf::from(value));
    set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_found_or_turned_off() {
        let environment =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>();
        for (text, pairs, expected) in [
            ("", &[("HOME", "/home/ada")][..], Some("/home/ada/.local/state/timbre/requests.ndjson")),
            ("", &[("HOME", "/home/ada"), ("XDG_STATE_HOME", "/state")], Some("/state/timbre/requests.ndjson")),
            ("", &[], None),
            ("file = \"\"", &[("HOME", "/home/ada")], None),
            ("file = \"/var/log/timbre.ndjson\"", &[], Some("/var/log/timbre.ndjson")),
        ] {
            let record: Record = toml::from_str(text).expect("it is valid");
            let config = record.check(&environment(pairs)).expect("it is allowed");
            assert_eq!(config.map(|config| config.file), expected.map(PathBuf::from), "{text} {pairs:?}");
        }
        for text in ["files = 0", "max_file_bytes = 0"] {
            assert!(toml::from_str::<Record>(text).expect("it is valid").check(&[]).is_err(), "{text}");
        }
    }
}
