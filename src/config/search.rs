//! `[search]`: who searches the web for models that cannot.

use std::time::Duration;

use models::remote::{Endpoint, Secret};
use models::search::{ENGINES, Engine};
use router::{Cost, SearchBounds};
use serde::{Deserialize, Serialize};

use super::{ConfigError, Environment};

/// Most results of one search, whoever asks: Brave's and Tavily's own bound.
const MOST_RESULTS: usize = 20;
/// Most rounds of searching that make sense: each is an answer of a model that is paid for.
const MOST_ROUNDS: usize = 20;

/// `[search]`, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Search {
    /// `searxng`, `brave`, `tavily` or `exa`; absent: nobody searches here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Where it is; absent: the backend's own address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The variable that holds its key; absent: the backend's usual one. Empty: it needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// How long a search may take.
    #[serde(with = "router::duration")]
    pub timeout: Duration,
    /// Results of one search where the request does not say, 1 to 20.
    pub max_results: usize,
    /// Rounds of searching before the model has to answer, 1 to 20.
    pub max_rounds: usize,
    /// What one thousand searches cost, US dollars.
    pub usd_per_thousand: f64,
}

impl Default for Search {
    fn default() -> Search {
        Search {
            backend: None,
            base_url: None,
            api_key_env: None,
            timeout: Duration::from_secs(10),
            max_results: 5,
            max_rounds: 4,
            usd_per_thousand: 0.0,
        }
    }
}

/// `[search]`, checked.
#[derive(Clone, Debug)]
pub struct SearchConfig {
    /// Who searches.
    pub engine: Engine,
    /// Where.
    pub endpoint: Endpoint,
    /// How long a search may take.
    pub timeout: Duration,
    /// How much, and for how much money.
    pub bounds: SearchBounds,
}

impl Search {
    /// Checks names and numbers. `None`: nobody searches here.
    pub(super) fn check(&self, environment: &Environment) -> Result<Option<SearchConfig>, ConfigError> {
        let Some(name) = self.backend.as_deref().filter(|name| !name.is_empty()) else { return Ok(None) };
        let engine = ENGINES.iter().find(|engine| engine.name == name).ok_or_else(|| {
            let known: Vec<&str> = ENGINES.iter().map(|engine| engine.name).collect();
            ConfigError::new(format!("search.backend: {name:?} is not known; allowed are {}", known.join(", ")))
        })?;
        let url = self.base_url.as_deref().or(engine.base_url).filter(|url| url.starts_with("http://") || url.starts_with("https://"));
        let url = url.ok_or_else(|| ConfigError::new("search.base_url: needs a URL, for instance \"http://127.0.0.1:8888\""))?;
        for (key, value, most) in [("max_results", self.max_results, MOST_RESULTS), ("max_rounds", self.max_rounds, MOST_ROUNDS)] {
            if !(1..=most).contains(&value) {
                return Err(ConfigError::new(format!("search.{key}: {value} is out of range; it is between 1 and {most}")));
            }
        }
        if self.timeout.is_zero() {
            return Err(ConfigError::new("search.timeout: a search needs some time, for instance \"10s\""));
        }
        let usd = self.usd_per_thousand;
        let price = Cost::from_usd(usd / 1_000.0).ok_or_else(|| {
            ConfigError::new(format!("search.usd_per_thousand: {usd} is no price; write US dollars, between 0 and 1000000"))
        })?;
        let mut endpoint = Endpoint::new(engine.name, url, self.key(engine, environment)?);
        endpoint.key_place = engine.key_place;
        let bounds = SearchBounds { results: self.max_results, most_results: MOST_RESULTS, rounds: self.max_rounds, price };
        Ok(Some(SearchConfig { engine: *engine, endpoint, timeout: self.timeout, bounds }))
    }

    fn key(&self, engine: &Engine, environment: &Environment) -> Result<Option<Secret>, ConfigError> {
        let Some(variable) = self.api_key_env.as_deref().or(engine.key).filter(|variable| !variable.is_empty()) else { return Ok(None) };
        let set = environment.iter().find(|(name, value)| name == variable && !value.is_empty());
        set.map(|(_, key)| Some(Secret::new(key))).ok_or_else(|| {
            ConfigError::new(format!(
                "search.api_key_env: the variable {variable} is not set; set it, name another one here, or write \"\" if no key is needed"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_needs_a_name_an_address_and_its_key() {
        let environment = [("EXA_API_KEY".to_owned(), "k".to_owned())];
        for (text, expected) in [
            ("", Ok(None)),
            ("backend = \"exa\"", Ok(Some("https://api.exa.ai"))),
            ("backend = \"searxng\"\nbase_url = \"http://127.0.0.1:8888\"", Ok(Some("http://127.0.0.1:8888"))),
            ("backend = \"searxng\"", Err("search.base_url: needs a URL")),
            ("backend = \"brave\"", Err("search.api_key_env: the variable BRAVE_API_KEY is not set")),
            ("backend = \"brave\"\napi_key_env = \"\"", Ok(Some("https://api.search.brave.com"))),
            ("backend = \"bing\"", Err("search.backend: \"bing\" is not known; allowed are searxng, brave, tavily, exa")),
            ("backend = \"exa\"\nmax_results = 0", Err("search.max_results: 0 is out of range")),
            ("backend = \"exa\"\nmax_rounds = 21", Err("search.max_rounds: 21 is out of range")),
            ("backend = \"exa\"\nusd_per_thousand = -1", Err("search.usd_per_thousand: -1 is no price")),
        ] {
            let checked = toml::from_str::<Search>(text).expect("it is valid").check(&environment);
            match (checked, expected) {
                (Ok(config), Ok(url)) => assert_eq!(config.map(|config| config.endpoint.base_url), url.map(str::to_owned), "{text}"),
                (Err(error), Err(start)) => assert!(error.to_string().starts_with(start), "{text}: {error}"),
                (checked, expected) => panic!("{text}: {checked:?} instead of {expected:?}"),
            }
        }
    }
}
