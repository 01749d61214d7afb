//! `[[provider]]`, checked: presets filled in, keys and headers looked up.

use std::time::Duration;

use models::llm::presets::{self, Key, Preset, Wire};
use models::llm::quirks::Quirks;
use models::remote::{Endpoint, Secret};

use super::checked::{Dialect, EMBEDDED, EMBEDDED_MODEL, EmbeddedModel, ProviderConfig, ReplicaConfig};
use super::written::Provider;
use super::{ConfigError, Environment};

/// How often replicas are asked whether they are there: a restart of an engine takes longer, and the question costs nothing.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// Stands before the name of a variable that holds a header's value.
const FROM_VARIABLE: &str = "env:";

/// All providers; `embedded` is one of them where models run in this process.
pub(super) fn providers(
    written: &[Provider],
    embedded: &[EmbeddedModel],
    local: bool,
    environment: &Environment,
) -> Result<Vec<ProviderConfig>, ConfigError> {
    let own: Vec<String> = std::iter::once(EMBEDDED_MODEL.to_owned()).chain(embedded.iter().map(|model| model.name.clone())).collect();
    let mut providers = Vec::new();
    if local && !written.iter().any(|provider| provider.name == EMBEDDED) {
        providers.push(ProviderConfig { name: EMBEDDED.to_owned(), dialect: Dialect::Embedded, preset: None, models: own.clone() });
    }
    for (n, provider) in written.iter().enumerate() {
        let entry = Entry { n, provider, environment };
        let (dialect, preset) = entry.dialect()?;
        if matches!(dialect, Dialect::Embedded) && !local {
            return Err(entry.wrong("dialect", "models.local = false loads no model here; remove this provider, or that key".to_owned()));
        }
        let models = match dialect {
            Dialect::Embedded => own.clone(),
            Dialect::Remote { .. } => provider.models.clone(),
        };
        providers.push(ProviderConfig { name: provider.name.clone(), dialect, preset, models });
    }
    Ok(providers)
}

/// One `[[provider]]`, and what its words refer to.
struct Entry<'a> {
    /// Which, from 0.
    n: usize,
    provider: &'a Provider,
    environment: &'a Environment,
}

impl Entry<'_> {
    /// What it is, and the name of the well-known provider that it is.
    fn dialect(&self) -> Result<(Dialect, Option<&'static str>), ConfigError> {
        let named = self.preset()?;
        let wire = match (self.provider.dialect.as_deref(), named) {
            (Some("embedded"), None) => return Ok((Dialect::Embedded, None)),
            (Some(name), _) => Wire::of(name)
                .ok_or_else(|| self.wrong("dialect", format!("{name:?} is not known; allowed are openai, anthropic, gemini, embedded")))?,
            (None, Some(preset)) => preset.wire,
            (None, None) => Wire::Openai,
        };
        // A dialect without an address is that of its inventor.
        let inventor = || self.provider.dialect.as_ref().filter(|_| self.provider.base_url.is_none()).and_then(|_| wire.preset());
        let preset = named.or_else(inventor);
        let replicas = self.replicas()?;
        let base_url = match replicas.as_ref().and_then(|replicas| replicas.base_urls.first()) {
            Some(first) => first.clone(),
            None => self.base_url(preset)?,
        };
        let mut endpoint = Endpoint::new(&self.provider.name, &base_url, self.key(preset)?);
        endpoint.key_place = preset.filter(|preset| preset.wire == wire).map_or(wire.key_place(), |preset| preset.key_place);
        endpoint.headers = self.headers()?;
        endpoint.query = self.version(preset, &base_url).map(|version| ("api-version".to_owned(), version)).into_iter().collect();
        let known = preset.or_else(|| presets::at(&base_url));
        let quirks = known.map_or(Quirks::NONE, |preset| preset.quirks_at(&base_url));
        Ok((Dialect::Remote { wire, endpoint: Box::new(endpoint), quirks, replicas }, known.map(|preset| preset.name)))
    }

    fn preset(&self) -> Result<Option<&'static Preset>, ConfigError> {
        let Some(name) = self.provider.preset.as_deref() else { return Ok(None) };
        let known = || presets::PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
        presets::find(name).map(Some).ok_or_else(|| self.wrong("preset", format!("{name:?} is not known; allowed are {}", known())))
    }

    fn base_url(&self, preset: Option<&Preset>) -> Result<String, ConfigError> {
        let url = self.provider.base_url.as_deref().or_else(|| preset?.base_url);
        let url = url.filter(|url| url.starts_with("http://") || url.starts_with("https://"));
        let example = match preset {
            Some(Preset { name: "azure", .. }) => "https://NAME.openai.azure.com/openai/v1",
            _ => "http://127.0.0.1:9100/v1",
        };
        url.map(str::to_owned).ok_or_else(|| self.wrong("base_url", format!("needs a URL, for instance {example:?}, or name a preset")))
    }

    fn replicas(&self) -> Result<Option<ReplicaConfig>, ConfigError> {
        let Provider { replicas, check_every, base_url, .. } = self.provider;
        if replicas.is_empty() {
            let stray = check_every.map(|_| self.wrong("check_every", "belongs to `replicas`; write them, or remove it".to_owned()));
            return stray.map_or(Ok(None), Err);
        }
        if base_url.is_some() {
            return Err(self.wrong("base_url", "stands beside `replicas`; write one of the two".to_owned()));
        }
        for (at, url) in replicas.iter().enumerate() {
            let key = format!("replicas[{at}]");
            if !url.starts_with("http://") && !url.starts_with("https://") {
                return Err(self.wrong(&key, format!("{url:?} is no URL; write one such as \"http://10.0.0.7:8000/v1\"")));
            }
            if replicas[..at].contains(url) {
                return Err(self.wrong(&key, "is there twice; each copy has an address of its own".to_owned()));
            }
        }
        let check_every = Some(check_every.unwrap_or(CHECK_EVERY)).filter(|every| !every.is_zero());
        Ok(Some(ReplicaConfig { base_urls: replicas.clone(), check_every }))
    }

    fn key(&self, preset: Option<&Preset>) -> Result<Option<Secret>, ConfigError> {
        let (variable, needed) = match (self.provider.api_key_env.as_deref(), preset.map(|preset| preset.key)) {
            (Some(""), _) | (None, None) => return Ok(None),
            (Some(variable), _) => (variable, true),
            (None, Some(Key::Needed(variable))) => (variable, true),
            (None, Some(Key::Optional(variable))) => (variable, false),
        };
        match self.variable(variable) {
            Some(key) => Ok(Some(Secret::new(key))),
            None if !needed => Ok(None),
            None if self.provider.api_key_env.is_some() => {
                Err(self.wrong("api_key_env", format!("the variable {variable} is not set; set it, or remove the key if none is needed")))
            }
            None => Err(self.wrong(
                "api_key_env",
                format!(
                    "the variable {variable} is not set; set it, name another one here, or write api_key_env = \"\" if no key is needed"
                ),
            )),
        }
    }

    fn headers(&self) -> Result<Vec<(String, Secret)>, ConfigError> {
        let mut headers = Vec::new();
        for (name, value) in &self.provider.headers {
            let key = format!("headers.{name}");
            // RFC 9110 section 5.6.2: a token.
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(token) {
                return Err(self.wrong(&key, "is not the name of a header; it is letters, digits and hyphens".to_owned()));
            }
            let value = match value.strip_prefix(FROM_VARIABLE) {
                Some(variable) => {
                    self.variable(variable).ok_or_else(|| self.wrong(&key, format!("the variable {variable} is not set; set it")))?
                }
                None => value,
            };
            if !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                return Err(self.wrong(&key, "cannot be sent; a header's value is printable ASCII on one line".to_owned()));
            }
            headers.push((name.clone(), Secret::new(value)));
        }
        Ok(headers)
    }

    fn version(&self, preset: Option<&Preset>, base_url: &str) -> Option<String> {
        let deployment = preset.is_some_and(|preset| preset.name == "azure") && base_url.contains("/deployments/");
        self.provider.api_version.clone().or_else(|| deployment.then(|| presets::AZURE_VERSION.to_owned()))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(variable, value)| variable == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    fn wrong(&self, key: &str, detail: String) -> ConfigError {
        ConfigError::new(format!("provider[{}].{key} ({}): {detail}", self.n, self.provider.name))
    }
}
