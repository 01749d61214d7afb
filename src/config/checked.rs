//! The configuration, checked: what the server is built from.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audio::Probability;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use models::llm::presets::Wire;
use models::llm::quirks::Quirks;
use models::mcp::Reach;
use models::remote::{Endpoint, Secret};
use models::{Delta, ErrorKind, Language, LanguageModel, ModelError, Prompt};
use router::limit::Policy;
use router::{Provider, Router, RouterObject};
use web::call::EchoCancellation;

use super::phone::PhoneConfig;
use super::provider::providers;
use super::record::{RecordConfig, state_folder};
use super::search::SearchConfig;
use super::webrtc::WebrtcConfig;
use super::written::{self, Written};
use super::{ConfigError, Environment};

/// Name of the provider that is always there.
pub(super) const EMBEDDED: &str = "embedded";
/// The embedded model that is always there.
pub(super) const EMBEDDED_MODEL: &str = "smollm2-135m";
/// What a remote transcriber is asked for where only its provider is named.
const REMOTE_TRANSCRIBER: &str = "whisper-1";
/// What a remote synthesizer is asked for where only its provider is named.
const REMOTE_SYNTHESIZER: &str = "tts-1";

/// Everything the server needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where calls of browsers come in; `None`: nowhere.
    pub webrtc: Option<WebrtcConfig>,
    /// Which telephone calls come in; `None`: none.
    pub phone: Option<PhoneConfig>,
    /// How much of anything is taken.
    pub limits: Limits,
    /// Who may call.
    pub auth: Auth,
    /// Websites whose pages may call, besides those of this machine.
    pub origins: Vec<String>,
    /// What each key and user may use.
    pub policy: Policy,
    /// How the server hears and speaks.
    pub voice: Voice,
    /// When a turn is over, unless the client says otherwise.
    pub turn: Turn,
    /// Where weights lie.
    pub models: Models,
    /// Where routers made over HTTP are kept; `None`: nowhere.
    pub data: Option<PathBuf>,
    /// Which answers are given again.
    pub cache: router::CacheSettings,
    /// Whether they are found in other words, too.
    pub semantic: bool,
    /// Where records of requests go; `None`: nowhere.
    pub record: Option<RecordConfig>,
    /// Who searches the web for models that cannot; `None`: nobody.
    pub search: Option<SearchConfig>,
    /// Which MCP servers a realtime session may name.
    pub mcp: Reach,
    /// Who answers prompts; `embedded` is one of them where models run in this process.
    pub providers: Vec<ProviderConfig>,
    /// Routers; their rules compile.
    pub routers: Vec<RouterObject>,
    /// What answers where a request names no model.
    pub default_model: String,
}

/// How much of anything is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of a request, bytes.
    pub body_bytes: usize,
    /// Largest message of a WebSocket, bytes.
    pub message_bytes: usize,
    /// Most realtime sessions at once.
    pub sessions: usize,
    /// Longest realtime session.
    pub session: Duration,
    /// How long calls may go on when the server is told to stop.
    pub drain: Duration,
}

/// Who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Anybody; the server listens on loopback only.
    Open,
    /// Who has one of these keys.
    Keys(Vec<Secret>),
}

/// How the server hears and speaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Voice {
    /// Who hears.
    pub transcriber: TranscriberChoice,
    /// Who speaks.
    pub synthesizer: SynthesizerChoice,
    /// What tells emotions from voices.
    pub emotion: EmotionChoice,
    /// With which voice.
    pub voice: String,
    /// The language callers speak; `None`: it is identified.
    pub language: Option<Language>,
    /// Where it is identified, the languages that they may speak; empty: any.
    pub languages: Vec<Language>,
    /// Whether noise is taken out first.
    pub noise_suppression: bool,
    /// Whether the echo of answers is taken out.
    pub echo: EchoCancellation,
}

/// What tells emotions from the tone of voices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmotionChoice {
    /// Nobody.
    None,
    /// The heads that are built in, on Moonshine's encoder.
    Moonshine,
    /// The heads that are built in, on Whisper's encoder.
    Whisper,
    /// Heads or a model of the user's own.
    File(PathBuf),
}

/// A transcriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TranscriberChoice {
    /// Nobody.
    None,
    /// By language: the fast one for English, the wide one for the rest.
    Auto,
    /// Moonshine.
    Moonshine,
    /// Whisper.
    Whisper,
    /// A provider's.
    Remote {
        /// The provider's name.
        provider: String,
        /// The model, as the provider knows it.
        model: String,
    },
}

impl TranscriberChoice {
    /// The name under which its work is recorded and priced, `provider/model`.
    pub fn target(&self) -> String {
        match self {
            TranscriberChoice::None => "embedded/none".to_owned(),
            TranscriberChoice::Auto => "embedded/auto".to_owned(),
            TranscriberChoice::Moonshine => "embedded/moonshine".to_owned(),
            TranscriberChoice::Whisper => "embedded/whisper".to_owned(),
            TranscriberChoice::Remote { provider, model } => format!("{provider}/{model}"),
        }
    }
}

/// A synthesizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SynthesizerChoice {
    /// Nobody.
    None,
    /// Hibari.
    Hibari,
    /// Kokoro.
    Kokoro,
    /// eSpeak NG, if it is installed.
    Espeak,
    /// A provider's.
    Remote {
        /// The provider's name.
        provider: String,
        /// The model, as the provider knows it.
        model: String,
    },
}

impl SynthesizerChoice {
    /// The name under which its work is recorded and priced, `provider/model`.
    pub fn target(&self) -> String {
        match self {
            SynthesizerChoice::None => "embedded/none".to_owned(),
            SynthesizerChoice::Hibari => "embedded/hibari".to_owned(),
            SynthesizerChoice::Kokoro => "embedded/kokoro".to_owned(),
            SynthesizerChoice::Espeak => "embedded/espeak".to_owned(),
            SynthesizerChoice::Remote { provider, model } => format!("{provider}/{model}"),
        }
    }
}

/// How the end of a turn is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Detection {
    /// By a pause of a fixed length.
    Pause {
        /// That length.
        silence: Duration,
    },
    /// By how finished a pause sounds.
    Semantic {
        /// 0 patient, 1 hasty; `None`: chosen by itself.
        eagerness: Option<Probability>,
    },
}

/// When a speaker's turn is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// How its end is found.
    pub detection: Detection,
    /// From which probability a frame counts as speech.
    pub threshold: Probability,
    /// Sound kept from before the detected start of speech.
    pub padding: Duration,
    /// Whether an answer is begun, unheard, while a pause only seems to be the end of a turn.
    pub prepare: bool,
}

/// Where weights lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Models {
    /// Whether any runs in this process.
    pub local: bool,
    /// The folder of the fetched ones.
    pub folder: PathBuf,
    /// A file of models and their prices, over the list in the program.
    pub catalogue: Option<PathBuf>,
    /// A table of ranks, instead of the one in the program.
    pub ranks: Option<String>,
    /// Further embedded language models.
    pub embedded: Vec<EmbeddedModel>,
}

/// An embedded language model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedModel {
    /// Called as `embedded/<name>`.
    pub name: String,
    /// Its GGUF file.
    pub path: PathBuf,
}

/// A provider.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// The first part of its model ids.
    pub name: String,
    /// What it is.
    pub dialect: Dialect,
    /// The well-known provider that it is, by its preset or its address.
    pub preset: Option<&'static str>,
    /// Model ids to list, without the name in front.
    pub models: Vec<String>,
}

/// What a provider is.
#[derive(Clone, Debug)]
pub enum Dialect {
    /// The models that run in this process.
    Embedded,
    /// A base URL.
    Remote {
        /// What is spoken there.
        wire: Wire,
        /// Where it is.
        endpoint: Box<Endpoint>,
        /// How it differs from others that speak the same.
        quirks: Quirks,
        /// Its copies, where it has several; `endpoint` is then the first.
        replicas: Option<ReplicaConfig>,
    },
}

/// Several copies of one self-hosted engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// Their base URLs.
    pub base_urls: Vec<String>,
    /// How often each is asked whether it is there; `None`: never.
    pub check_every: Option<Duration>,
}

impl Written {
    /// Checks everything and looks up the keys that the environment holds.
    pub fn check(&self, environment: &Environment) -> Result<Config, ConfigError> {
        let listen: SocketAddr = self.server.listen.parse().map_err(|_| {
            ConfigError::new(format!(
                "server.listen: {:?} is not an address with a port, for instance \"127.0.0.1:8080\"",
                self.server.listen
            ))
        })?;
        let auth = auth(&self.auth.keys, listen)?;
        let embedded: Vec<EmbeddedModel> =
            self.models.embedded.iter().map(|model| EmbeddedModel { name: model.name.clone(), path: model.path.clone() }).collect();
        if !self.models.local && !embedded.is_empty() {
            return Err(ConfigError::new("models.embedded: models.local = false loads none of them; remove one of the two keys"));
        }
        let providers = providers(&self.provider, &embedded, self.models.local, environment)?;
        let config = Config {
            listen,
            webrtc: self.webrtc.check(listen, environment)?,
            phone: self.phone.check(&auth, environment)?,
            limits: limits(&self.server)?,
            auth,
            origins: origins(&self.server.allowed_origins)?,
            policy: self.limits.check(&self.auth.keys)?,
            voice: voice(&self.voice, self.models.local, &providers)?,
            turn: turn(&self.turn)?,
            data: data(self.server.data.as_ref(), environment),
            cache: self.cache.check()?,
            semantic: self.cache.semantic,
            record: self.record.check(environment)?,
            search: self.search.check(environment)?,
            mcp: self.mcp.check()?,
            models: Models {
                local: self.models.local,
                folder: self.models.folder.clone().unwrap_or_else(models::Weights::default_folder),
                catalogue: self.models.catalogue.clone(),
                ranks: self.models.ranks.as_deref().map(ranks).transpose()?,
                embedded,
            },
            providers,
            routers: self.router.clone(),
            default_model: self.default_model.clone(),
        };
        config.compile()?;
        Ok(config)
    }
}

/// `server.allowed_origins`.
fn origins(written: &[String]) -> Result<Vec<String>, ConfigError> {
    match written.iter().find(|origin| !web::Origins::is_one(origin)) {
        Some(wrong) => Err(ConfigError::new(format!(
            "server.allowed_origins: {wrong:?} is not an origin; write the scheme and the host, and a port if there is one, and nothing behind \
             them, for instance \"https://app.example.org\", or \"*\" for any"
        ))),
        None => Ok(written.to_vec()),
    }
}

impl Config {
    /// Compiles the routers against providers of these names that answer nothing.
    fn compile(&self) -> Result<(), ConfigError> {
        let silent = |provider: &ProviderConfig| Provider::new(&provider.name, Arc::new(Silent), provider.models.clone());
        let config = router::Config {
            providers: self.providers.iter().map(silent).collect(),
            routers: self.routers.clone(),
            default_model: self.default_model.clone(),
            ranks: self.models.ranks.clone(),
            ..router::Config::default()
        };
        Router::new(config).map(|_| ()).map_err(|error| ConfigError::new(error.to_string()))
    }
}

/// Stands for a provider while rules are checked.
struct Silent;

impl LanguageModel for Silent {
    fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        stream::once(async move { Err(ModelError::new(ErrorKind::Closed, prompt.model, "not loaded")) }).boxed()
    }
}

fn auth(keys: &[String], listen: SocketAddr) -> Result<Auth, ConfigError> {
    if keys.iter().any(|key| key.trim().is_empty()) {
        return Err(ConfigError::new("auth.keys: a key is empty; write one of at least a few letters, or none at all"));
    }
    if !keys.is_empty() {
        return Ok(Auth::Keys(keys.iter().map(Secret::new).collect()));
    }
    if listen.ip().is_loopback() {
        return Ok(Auth::Open);
    }
    Err(ConfigError::new(format!(
        "server.listen: {listen} can be reached from outside, and auth.keys is empty; set auth.keys = [\"...\"], or listen on 127.0.0.1"
    )))
}

fn limits(server: &written::Server) -> Result<Limits, ConfigError> {
    for (key, value) in
        [("max_body_bytes", server.max_body_bytes), ("max_message_bytes", server.max_message_bytes), ("max_sessions", server.max_sessions)]
    {
        if value == 0 {
            return Err(ConfigError::new(format!("server.{key}: 0 lets nothing in; it is at least 1")));
        }
    }
    if server.max_session.is_zero() {
        return Err(ConfigError::new("server.max_session: a session needs some time, for instance \"60m\""));
    }
    Ok(Limits {
        body_bytes: server.max_body_bytes,
        message_bytes: server.max_message_bytes,
        sessions: server.max_sessions,
        session: server.max_session,
        drain: server.drain,
    })
}

/// The text of a table of ranks: rules may sort by its metrics, so it is read when they are checked.
fn ranks(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::new(format!("models.ranks: cannot read {}: {error}", path.display())))
}

fn data(written: Option<&PathBuf>, environment: &Environment) -> Option<PathBuf> {
    match written {
        Some(folder) => Some(folder.clone()).filter(|folder| !folder.as_os_str().is_empty()),
        None => state_folder(environment).map(|folder| folder.join("timbre")),
    }
}

fn voice(written: &written::Voice, local: bool, providers: &[ProviderConfig]) -> Result<Voice, ConfigError> {
    let transcriber = match written.transcriber.as_str() {
        "none" => TranscriberChoice::None,
        "auto" | "moonshine" | "whisper" if !local => TranscriberChoice::None,
        "auto" => TranscriberChoice::Auto,
        "moonshine" => TranscriberChoice::Moonshine,
        "whisper" => TranscriberChoice::Whisper,
        other => {
            let (provider, model) = remote(other, REMOTE_TRANSCRIBER, "voice.transcriber", "auto, moonshine, whisper, none", providers)?;
            TranscriberChoice::Remote { provider, model }
        }
    };
    let synthesizer = match written.synthesizer.as_str() {
        "none" => SynthesizerChoice::None,
        "hibari" | "kokoro" | "espeak" if !local => SynthesizerChoice::None,
        "hibari" => SynthesizerChoice::Hibari,
        "kokoro" => SynthesizerChoice::Kokoro,
        "espeak" => SynthesizerChoice::Espeak,
        other => {
            let (provider, model) = remote(other, REMOTE_SYNTHESIZER, "voice.synthesizer", "hibari, kokoro, espeak, none", providers)?;
            SynthesizerChoice::Remote { provider, model }
        }
    };
    let emotion = match written.emotion.as_str() {
        "none" => EmotionChoice::None,
        "moonshine" => EmotionChoice::Moonshine,
        "whisper" => EmotionChoice::Whisper,
        file if [".safetensors", ".onnx"].iter().any(|ending| file.ends_with(ending)) => EmotionChoice::File(PathBuf::from(file)),
        other => {
            let allowed = "moonshine, whisper, none, or the path of a .safetensors or .onnx file";
            return Err(ConfigError::new(format!("voice.emotion: {other:?} is not known; allowed are {allowed}")));
        }
    };
    let language = match &written.language {
        None => None,
        Some(code) => Some(Language::new(code).ok_or_else(|| {
            ConfigError::new(format!("voice.language: {code:?} is not an ISO 639 code such as \"en\"; leave it out to have it identified"))
        })?),
    };
    let languages = written.languages.iter().map(|code| {
        Language::new(code).ok_or_else(|| ConfigError::new(format!("voice.languages: {code:?} is not an ISO 639 code such as \"en\"")))
    });
    let languages = languages.collect::<Result<Vec<_>, _>>()?;
    if language.is_some() && !languages.is_empty() {
        let only = "voice.language: callers then speak that one; leave it out, or leave out voice.languages";
        return Err(ConfigError::new(only.to_owned()));
    }
    let echo = match written.echo.as_str() {
        "auto" => EchoCancellation::Auto,
        "on" => EchoCancellation::On,
        "off" => EchoCancellation::Off,
        other => return Err(ConfigError::new(format!("voice.echo: {other:?} is not known; allowed are auto, on, off"))),
    };
    let noise_suppression = written.noise_suppression;
    Ok(Voice { transcriber, synthesizer, emotion, voice: written.voice.clone(), language, languages, noise_suppression, echo })
}

/// `provider` or `provider/model`, where the provider has a base URL.
fn remote(name: &str, default: &str, key: &str, local: &str, providers: &[ProviderConfig]) -> Result<(String, String), ConfigError> {
    let (provider, model) = name.split_once('/').unwrap_or((name, default));
    let remote = |p: &&ProviderConfig| matches!(p.dialect, Dialect::Remote { wire: Wire::Openai, .. });
    if providers.iter().filter(remote).any(|known| known.name == provider) {
        return Ok((provider.to_owned(), model.to_owned()));
    }
    let known: String = providers.iter().filter(remote).map(|p| format!(", {}", p.name)).collect();
    Err(ConfigError::new(format!("{key}: {name:?} is not known; allowed are {local}{known}")))
}

fn turn(written: &written::Turn) -> Result<Turn, ConfigError> {
    let detection = match written.detection.as_str() {
        "server_vad" => Detection::Pause { silence: written.silence },
        "semantic_vad" => Detection::Semantic {
            eagerness: match written.eagerness.as_str() {
                "auto" => None,
                "low" => Some(Probability::ZERO),
                "medium" => Some(Probability::new(0.5)),
                "high" => Some(Probability::ONE),
                other => {
                    return Err(ConfigError::new(format!("turn.eagerness: {other:?} is not known; allowed are auto, low, medium, high")));
                }
            },
        },
        other => return Err(ConfigError::new(format!("turn.detection: {other:?} is not known; allowed are semantic_vad, server_vad"))),
    };
    if !(0.0..=1.0).contains(&written.threshold) {
        return Err(ConfigError::new(format!("turn.threshold: {} is not a probability; it is between 0 and 1", written.threshold)));
    }
    Ok(Turn { detection, threshold: Probability::new(written.threshold), padding: written.padding, prepare: written.prepare })
}
