//! The configuration as it is written, and its defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use router::RouterObject;
use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::limit::Limits;
use super::mcp::Mcp;
use super::phone::Phone;
use super::record::Record;
use super::search::Search;
use super::webrtc::Webrtc;

/// `timbre.toml`; every key is optional.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Written {
    /// What answers where a request names no model, or `auto`.
    pub default_model: String,
    /// The listener and its limits.
    pub server: Server,
    /// Who may call.
    pub auth: Auth,
    /// Calls of browsers.
    pub webrtc: Webrtc,
    /// Calls of telephones.
    pub phone: Phone,
    /// What each key and user may use.
    pub limits: Limits,
    /// How the server hears and speaks.
    pub voice: Voice,
    /// When a speaker's turn is over.
    pub turn: Turn,
    /// Where weights lie.
    pub models: Models,
    /// Which answers are given again.
    pub cache: Cache,
    /// Where records of requests go.
    pub record: Record,
    /// Who searches the web for models that cannot.
    pub search: Search,
    /// Which servers of tools a realtime session may name.
    pub mcp: Mcp,
    /// Who answers prompts, besides the embedded models.
    pub provider: Vec<Provider>,
    /// Routers, called as `timbre/<name>`.
    pub router: Vec<RouterObject>,
}

impl Default for Written {
    fn default() -> Written {
        Written {
            default_model: "embedded/smollm2-135m".to_owned(),
            server: Server::default(),
            auth: Auth::default(),
            webrtc: Webrtc::default(),
            phone: Phone::default(),
            limits: Limits::default(),
            voice: Voice::default(),
            turn: Turn::default(),
            models: Models::default(),
            cache: Cache::default(),
            record: Record::default(),
            search: Search::default(),
            mcp: Mcp::default(),
            provider: Vec::new(),
            router: Vec::new(),
        }
    }
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port; port 0 takes a free one.
    pub listen: String,
    /// Where routers made over HTTP are kept; empty: nowhere.
    pub data: Option<PathBuf>,
    /// Largest body of a request, bytes.
    pub max_body_bytes: usize,
    /// Largest message of a WebSocket, bytes.
    pub max_message_bytes: usize,
    /// Most realtime sessions at once.
    pub max_sessions: usize,
    /// Longest realtime session.
    #[serde(with = "router::duration")]
    pub max_session: Duration,
    /// Websites whose pages may call, `https://app.example.org`; `*`: any. Those of this machine always may.
    pub allowed_origins: Vec<String>,
    /// How long calls may go on when the server is told to stop.
    #[serde(with = "router::duration")]
    pub drain: Duration,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: "127.0.0.1:8080".to_owned(),
            data: None,
            // OpenAI's limit on uploads is 25 MB; base64 in JSON makes that 33.
            max_body_bytes: 36 * 1_024 * 1_024,
            // OpenAI's limit on one appended piece of audio is 15 MiB, 20 in base64.
            max_message_bytes: 24 * 1_024 * 1_024,
            max_sessions: 64,
            max_session: Duration::from_secs(3_600),
            allowed_origins: Vec::new(),
            drain: Duration::from_secs(10),
        }
    }
}

/// `[auth]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Keys that callers may use; none: no key is needed, and the server listens on loopback only.
    pub keys: Vec<String>,
}

/// `[voice]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Voice {
    /// `auto`, `moonshine`, `whisper`, `none`, or a remote one: `provider` or `provider/model`.
    pub transcriber: String,
    /// `hibari`, `kokoro`, `espeak`, `none`, or a remote one: `provider` or `provider/model`.
    pub synthesizer: String,
    /// What tells emotions from voices: `moonshine`, `whisper` (more accurate, more work), `none`, or a file: heads that `timbre train emotion` wrote, or an ONNX model.
    pub emotion: String,
    /// The voice that speaks.
    pub voice: String,
    /// The language callers speak, an ISO 639 code; absent: it is identified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The languages that callers may speak, ISO 639 codes; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// Whether noise is taken out of what callers say before it is heard.
    pub noise_suppression: bool,
    /// `auto`, `on` or `off`: whether the echo of answers is taken out of what callers say.
    pub echo: String,
}

impl Default for Voice {
    fn default() -> Voice {
        Voice {
            transcriber: "auto".to_owned(),
            synthesizer: "hibari".to_owned(),
            emotion: "moonshine".to_owned(),
            voice: "heart".to_owned(),
            language: None,
            languages: Vec::new(),
            noise_suppression: false,
            echo: "off".to_owned(),
        }
    }
}

/// `[turn]`: what a session starts with; a client may change it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Turn {
    /// `semantic_vad` (a pause ends the turn when it sounds finished) or `server_vad` (a pause of a fixed length does).
    pub detection: String,
    /// `low`, `medium`, `high` or `auto`: how soon a pause is taken for the end, for `semantic_vad`.
    pub eagerness: String,
    /// Probability from which a frame counts as speech, 0 to 1.
    pub threshold: f32,
    /// Pause that ends a turn, for `server_vad`.
    #[serde(with = "router::duration")]
    pub silence: Duration,
    /// Sound kept from before the detected start of speech.
    #[serde(with = "router::duration")]
    pub padding: Duration,
    /// Whether an answer is begun, unheard, while a pause only seems to be the end of a turn.
    pub prepare: bool,
}

impl Default for Turn {
    fn default() -> Turn {
        // The defaults of OpenAI's realtime interface, but for the detection.
        Turn {
            detection: "semantic_vad".to_owned(),
            eagerness: "auto".to_owned(),
            threshold: 0.5,
            silence: Duration::from_millis(500),
            padding: Duration::from_millis(300),
            prepare: true,
        }
    }
}

/// `[models]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// Whether models run in this process. If not, nothing is loaded: a gateway to the providers, whose voice engines alone hear and speak.
    pub local: bool,
    /// Folder of the fetched models; absent: `TIMBRE_MODELS_DIR`, else the user's cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// A file of models and their prices that goes over the list in the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<PathBuf>,
    /// A table of how good models are said to be, instead of the one in the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranks: Option<PathBuf>,
    /// Further embedded language models, called as `embedded/<name>`.
    pub embedded: Vec<Embedded>,
}

impl Default for Models {
    fn default() -> Models {
        Models { local: true, folder: None, catalogue: None, ranks: None, embedded: Vec::new() }
    }
}

/// `[[models.embedded]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    /// Its name.
    pub name: String,
    /// Its GGUF file.
    pub path: PathBuf,
}

/// `[[provider]]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The first part of its model ids.
    pub name: String,
    /// A well-known provider: its address, its key's variable and its quirks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// What it speaks: `openai`, `anthropic`, `gemini` or `embedded`; absent: what the preset speaks, else `openai`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// Up to and including the version; absent: the preset's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Base URLs of several copies of one self-hosted engine, instead of `base_url`: requests of a conversation return to the copy that has
    /// read the most of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<String>,
    /// How often each copy is asked whether it is there; absent: every 5 s. `"0s"`: never.
    #[serde(default, with = "router::duration::option", skip_serializing_if = "Option::is_none")]
    pub check_every: Option<Duration>,
    /// The variable that holds its key; absent: the preset's, else it needs none. Empty: it needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// Sent as the parameter `api-version` of every URL, as Azure asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Further headers; `env:NAME` as a value stands for what the variable holds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Model ids to list, without the name in front. Others can be asked for as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
}
