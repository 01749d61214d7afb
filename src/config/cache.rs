//! `[cache]`: which answers are given again, and for how long.

use std::time::Duration;

use router::{CacheSettings, Implicit};
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `[cache]`, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Which requests are cached where neither they nor their route say: `never`, `deterministic` (temperature 0, or a seed), `always`.
    pub implicit: Implicit,
    /// How long an answer may be used.
    #[serde(with = "router::duration")]
    pub ttl: Duration,
    /// Most answers kept; 0: none are.
    pub max_entries: usize,
    /// Most memory for all of them, bytes.
    pub max_bytes: usize,
    /// Largest answer kept, bytes.
    pub max_answer_bytes: usize,
    /// Whether questions in other words may share an answer where a request or a route asks for `semantic`; a small model is loaded for it.
    pub semantic: bool,
    /// Least similarity of two questions that share an answer, where a request or a route asks for `semantic`.
    pub semantic_threshold: f32,
    /// Request fields that change nothing about an answer, such as a `metadata` of trace ids.
    pub ignored_fields: Vec<String>,
}

impl Default for Cache {
    fn default() -> Cache {
        let settings = CacheSettings::default();
        Cache {
            implicit: settings.implicit,
            ttl: settings.ttl,
            max_entries: settings.entries,
            max_bytes: settings.bytes,
            max_answer_bytes: settings.answer_bytes,
            semantic: false,
            semantic_threshold: settings.threshold,
            ignored_fields: settings.ignored,
        }
    }
}

impl Cache {
    /// Checks the numbers.
    pub(super) fn check(&self) -> Result<CacheSettings, ConfigError> {
        let object = router::CacheObject { threshold: Some(self.semantic_threshold), ..router::CacheObject::default() };
        object.check().map_err(|_| {
            let given = self.semantic_threshold;
            ConfigError::new(format!("cache.semantic_threshold: {given} is out of range; it is between 0.5 and 1"))
        })?;
        Ok(CacheSettings {
            implicit: self.implicit,
            ttl: self.ttl,
            entries: self.max_entries,
            bytes: self.max_bytes,
            answer_bytes: self.max_answer_bytes,
            threshold: self.semantic_threshold,
            ignored: self.ignored_fields.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_becomes_settings() {
        let check = |text: &str| {
            toml::from_str::<Cache>(text)
                .map_err(|error| error.to_string())
                .and_then(|cache| cache.check().map_err(|error| error.to_string()))
        };
        assert_eq!(check(""), Ok(CacheSettings::default()));
        let settings = check("implicit = \"always\"\nttl = \"5m\"\nignored_fields = [\"metadata\"]").expect("it is valid");
        assert_eq!((settings.implicit, settings.ttl.as_secs(), settings.ignored.len()), (Implicit::Always, 300, 1));
        for text in ["implicit = \"sometimes\"", "ttl = \"soon\"", "semantic_threshold = 0.2", "size = 1"] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
