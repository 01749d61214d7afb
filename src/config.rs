//! The one configuration file: `timbre.toml`, variables over it, and what both mean together.
//!
//! Three steps, three types: text becomes [`Written`] (as the file says it, every key optional), variables such as
//! `TIMBRE_SERVER__LISTEN` go over it, and [`Written::check`] makes the [`Config`] that the server is built from. Defaults live in
//! [`written`] and nowhere else.

mod cache;
mod checked;
mod limit;
mod mcp;
mod phone;
mod provider;
mod record;
mod search;
mod variables;
mod webrtc;
mod written;

use std::fmt;
use std::path::Path;

pub use checked::{
    Auth, Config, Detection, Dialect, EmbeddedModel, EmotionChoice, Limits, Models, ProviderConfig, ReplicaConfig, SynthesizerChoice,
    TranscriberChoice, Turn, Voice,
};
pub use phone::PhoneConfig;
pub use record::RecordConfig;
pub use search::SearchConfig;
pub use webrtc::WebrtcConfig;
pub use written::Written;

/// The file that is read where none is named, if it is there.
pub const DEFAULT_FILE: &str = "timbre.toml";

/// A configuration that cannot be used: where, what, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    fn new(message: impl Into<String>) -> ConfigError {
        ConfigError(message.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// The environment, as pairs: read once by the caller, so that nothing here depends on the process.
pub type Environment = [(String, String)];

/// Reads `file` (`None`: [`DEFAULT_FILE`] where it exists, else nothing) and the variables over it.
pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Written, ConfigError> {
    let (path, must_exist) = match file {
        Some(path) => (path, true),
        None => (Path::new(DEFAULT_FILE), false),
    };
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => String::new(),
        Err(error) => return Err(ConfigError::new(format!("cannot read {name}: {error}; name another file with --config"))),
    };
    read(&text, &name, environment)
}

/// Reads a configuration's text; `name` is the file's, for messages.
pub fn read(text: &str, name: &str, environment: &Environment) -> Result<Written, ConfigError> {
    // Read once by itself, because only a text has lines to point at.
    let written: Written = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        ConfigError::new(format!("{name}, line {line}: {}", suggest(error.message())))
    })?;
    variables::over(written, text, environment)
}

/// What is in force, as a file; keys are shown as `***`.
pub fn print(written: &Written) -> Result<String, ConfigError> {
    let mut shown = written.clone();
    for key in &mut shown.auth.keys {
        *key = "***".to_owned();
    }
    for own in &mut shown.limits.keys {
        own.key = "***".to_owned();
    }
    shown.search.base_url = shown.search.base_url.take().map(|url| without_password(&url));
    for provider in &mut shown.provider {
        provider.base_url = provider.base_url.take().map(|url| without_password(&url));
        provider.replicas.iter_mut().for_each(|url| *url = without_password(url));
        // A header may be a key; the name of a variable is none.
        for value in provider.headers.values_mut().filter(|value| !value.starts_with("env:")) {
            *value = "***".to_owned();
        }
    }
    toml::to_string_pretty(&shown).map_err(|error| ConfigError::new(format!("the configuration cannot be written: {error}")))
}

/// A URL without the user and password it may carry.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host = rest.find('/').unwrap_or(rest.len());
    match rest[..host].rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => url.to_owned(),
    }
}

/// Adds the nearest known name to serde's message about an unknown one.
fn suggest(message: &str) -> String {
    let message = message.trim();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let Some(wrong) = quoted.next().filter(|_| unknown) else { return message.to_owned() };
    let known: Vec<&str> = quoted.collect();
    let what = if message.starts_with("unknown field") { "key" } else { "value" };
    let nearest = known.iter().min_by_key(|name| strsim::damerau_levenshtein(wrong, name));
    match nearest {
        Some(nearest) => format!("there is no {what} `{wrong}`; did you mean `{nearest}`? Known are {}", known.join(", ")),
        None => format!("there is no {what} `{wrong}`; none is allowed here"),
    }
}

#[cfg(test)]
mod tests;
