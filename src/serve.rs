//! Puts a server together from a checked configuration, and serves it until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::stream::{self, BoxStream, StreamExt};
use models::denoise::Denoiser;
use models::embed::MiniLm;
use models::emotion::EmotionEngine;
use models::llm::presets::Wire;
use models::mcp::McpClient;
use models::remote::Endpoint;
use models::stt::Toned;
use models::turn::SmartTurn;
use models::vad::VoiceDetector;
use models::{Delta, Embedder, ErrorKind, Heads, LanguageModel, ModelError, Prompt, Synthesizer, Transcriber, Weights, stt, tts};
use router::{Cache, Catalogue, Executor, Ledger, Price, Router, Searcher, Speakers, TargetFacts};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};
use web::call::{AfterTurn, Eagerness, SessionConfig, TurnDetection};
use web::operations::Operations;

use crate::config::{Auth, Config, Detection, Dialect, EmotionChoice, PhoneConfig, SynthesizerChoice, TranscriberChoice, WebrtcConfig};
use crate::engines::{Engines, Nobody, VoiceActivity};
use crate::known_targets::KnownTargets;
use crate::metrics::{Elsewhere, Metrics};
use crate::record::Recorder;
use crate::replica_watch;
use crate::session;

/// The language model that needs no key and no configuration.
const DEFAULT_BRAIN: &str = "smollm2-135m";
const DEFAULT_BRAIN_FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// Mirrored requests that are answered at once: as many as cost a provider little, and more than one slow answer holds up.
const SHADOWS: usize = 16;

/// Transcribers and turn judges at work at once: one a core, and no machine needs more than four.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 4)
}

/// What calls have for their goodbye, out of the time that they may go on when the server stops.
const GOODBYE: Duration = Duration::from_millis(500);

/// A server that listens.
pub struct Running {
    /// Where.
    pub address: SocketAddr,
    /// Where for AudioSocket's calls.
    pub audiosocket: Option<SocketAddr>,
    /// Resolves when it has stopped.
    pub done: tokio::task::JoinHandle<std::io::Result<()>>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Running {
    /// Stops accepting; calls in progress may go on until the configured deadline.
    pub fn stop(&self) {
        let _ = self.stop.send(true);
    }
}

/// Whether the server has what a realtime session needs: it hears and speaks, and the models that follow a caller's turns run here.
pub fn holds_calls(config: &Config) -> bool {
    config.models.local && config.voice.transcriber != TranscriberChoice::None && config.voice.synthesizer != SynthesizerChoice::None
}

/// Loads every engine that `config` names.
pub fn engines(config: &Config) -> Result<Engines> {
    let weights = Weights::new(&config.models.folder);
    let known = KnownTargets::new(catalogue(config)?, &config.providers);
    let price = price(&known);
    let router = router(config, &weights, known)?;
    let endpoint = |name: &str| -> Result<Endpoint> {
        let found = config.providers.iter().find(|provider| provider.name == name);
        match found.map(|provider| &provider.dialect) {
            Some(Dialect::Remote { wire: Wire::Openai, endpoint, .. }) => Ok(Endpoint::clone(endpoint)),
            Some(Dialect::Remote { wire, .. }) => bail!("provider {name:?} speaks {}, which has no speech engines", wire.name()),
            Some(Dialect::Embedded) => bail!("provider {name:?} is embedded and has no speech engines"),
            None => bail!("there is no [[provider]] named {name:?}"),
        }
    };
    let local_ears = |name: &str| -> Result<Arc<dyn Transcriber>> {
        let engine =
            stt::ENGINES.iter().find(|engine| engine.name == name).with_context(|| format!("no transcriber {name:?} in this build"))?;
        Ok((engine.build)(&weights, threads())?)
    };
    let local_voice = |name: &str| -> Result<Arc<dyn Synthesizer>> {
        let engine =
            tts::ENGINES.iter().find(|engine| engine.name == name).with_context(|| format!("no synthesizer {name:?} in this build"))?;
        Ok((engine.build)(&weights, threads())?)
    };
    let transcriber = match &config.voice.transcriber {
        TranscriberChoice::None => Arc::new(Nobody),
        TranscriberChoice::Auto => local_ears("auto")?,
        TranscriberChoice::Moonshine => local_ears("moonshine")?,
        TranscriberChoice::Whisper => local_ears("whisper")?,
        TranscriberChoice::Remote { provider, model } => stt::remote::transcriber(endpoint(provider)?, model),
    };
    let synthesizer = match &config.voice.synthesizer {
        SynthesizerChoice::None => Arc::new(Nobody),
        SynthesizerChoice::Hibari => local_voice("hibari")?,
        SynthesizerChoice::Kokoro => local_voice("kokoro")?,
        SynthesizerChoice::Espeak => local_voice("espeak")?,
        SynthesizerChoice::Remote { provider, model } => {
            tts::remote::synthesizer(endpoint(provider)?, model, vec![config.voice.voice.clone()])
        }
    };
    let voices = synthesizer.voices();
    let default_voice = match voices.iter().find(|voice| **voice == config.voice.voice) {
        Some(voice) => voice.clone(),
        None if config.voice.synthesizer == SynthesizerChoice::None => config.voice.voice.clone(),
        None => voices.first().cloned().context("the synthesizer has no voice")?,
    };
    let (transcriber, emotion) = emotion(config, &weights, transcriber)?;
    let (hears, speaks) = (config.voice.transcriber.target(), config.voice.synthesizer.target());
    let speakers = Speakers { transcriber, hears, emotion, synthesizer, speaks, price: Some(price) };
    let mcp = Arc::new(McpClient::new(config.mcp.clone()).map_err(anyhow::Error::msg)?);
    if !holds_calls(config) {
        let voice_activity = VoiceActivity::Level(1.0);
        return Ok(Engines { router, speakers, voice_activity, turn: None, mcp, denoiser: None, default_voice });
    }
    let denoiser = if weights.file("gtcrn", "gtcrn_simple.onnx").is_ok() { Some(Arc::new(Denoiser::load(&weights)?)) } else { None };
    Ok(Engines {
        router,
        speakers,
        voice_activity: VoiceActivity::Silero(Arc::new(VoiceDetector::load(&weights)?)),
        turn: Some(Arc::new(SmartTurn::load(&weights, threads())?)),
        mcp,
        denoiser,
        default_voice,
    })
}

/// Who tells emotions from voices: the transcriber in passing where it is Moonshine, else the same encoder by itself.
fn emotion(config: &Config, weights: &Weights, transcriber: Arc<dyn Transcriber>) -> Result<(Arc<dyn Transcriber>, Arc<Heads>)> {
    let engine = match &config.voice.emotion {
        EmotionChoice::None => None,
        _ if !config.models.local || config.voice.transcriber == TranscriberChoice::None => None,
        // Who hears with another engine need not have this one: the words go without.
        EmotionChoice::Moonshine => EmotionEngine::moonshine(weights)
            .inspect_err(|error| warn!(%error, "Emotions are told from words alone; `timbre models pull` fetches what hears them."))
            .ok(),
        EmotionChoice::Whisper => Some(EmotionEngine::whisper(weights).context("voice.emotion cannot be used")?),
        EmotionChoice::File(file) => Some(EmotionEngine::open(weights, file).context("voice.emotion cannot be used")?),
    };
    Ok(match engine {
        None => (Arc::new(Toned::without(transcriber)), Heads::moonshine()),
        Some(EmotionEngine { reader, heads, in_passing: true }) => (Arc::new(Toned::or(transcriber, reader)), heads),
        Some(EmotionEngine { reader, heads, in_passing: false }) => (Arc::new(Toned::by(transcriber, reader)), heads),
    })
}

/// The answers kept; `None`: none are. The model that finds questions in other words is loaded where they are to be found.
async fn cache(config: &Config) -> Result<Option<Cache>> {
    if config.cache.entries == 0 {
        return Ok(None);
    }
    let mut embedder: Option<Arc<dyn Embedder>> = None;
    if config.semantic {
        let weights = Weights::new(&config.models.folder);
        let loaded = tokio::task::spawn_blocking(move || MiniLm::load(&weights)).await?;
        embedder = Some(Arc::new(loaded.context("cache.semantic: the model cannot be loaded; get it, or set it to false")?));
    }
    Ok(Some(Cache::new(config.cache.clone(), embedder)))
}

/// What models cost and can do: the list in the program, with the configured file over it.
pub fn catalogue(config: &Config) -> Result<Catalogue> {
    let Some(path) = &config.models.catalogue else { return Ok(Catalogue::default()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("models.catalogue: cannot read {}", path.display()))?;
    Catalogue::with(&text).with_context(|| format!("models.catalogue: {}", path.display()))
}

/// What targets are paid.
fn price(known: &KnownTargets) -> Price {
    let known = known.clone();
    Arc::new(move |target, amount| known.price(target, amount))
}

/// What all answers share: the health of targets, their prices, and who searches the web.
fn executor(config: &Config, price: Price) -> Executor {
    let searcher =
        config.search.as_ref().map(|search| Searcher::new(search.engine.build(search.endpoint.clone(), search.timeout), search.bounds));
    Executor { price: Some(price), searcher, ..Executor::default() }
}

fn router(config: &Config, weights: &Weights, known: KnownTargets) -> Result<Router> {
    let mut providers = Vec::new();
    for provider in &config.providers {
        providers.push(match &provider.dialect {
            Dialect::Embedded => {
                let embedded = Embedded::load(config, weights)?;
                let names = embedded.models.iter().map(|(name, _)| name.clone()).collect();
                router::Provider::new(&provider.name, Arc::new(embedded), names)
            }
            Dialect::Remote { wire, endpoint, quirks, replicas } => {
                let (name, models) = (&provider.name, provider.models.clone());
                match replicas {
                    Some(config) => router::Provider::replicated(name, replica_watch::replicas(*wire, endpoint, *quirks, config), models),
                    None => router::Provider {
                        embedder: wire.embedder(Endpoint::clone(endpoint), *quirks),
                        ..router::Provider::new(name, wire.language_model(Endpoint::clone(endpoint), *quirks), models)
                    },
                }
            }
        });
    }
    let routers = config.routers.clone();
    let (default_model, data) = (config.default_model.clone(), config.data.clone());
    let executor = executor(config, price(&known));
    let target_facts: Option<Arc<dyn TargetFacts>> = Some(Arc::new(known));
    let router = router::Config { providers, routers, default_model, data, target_facts, ranks: config.models.ranks.clone() };
    Ok(Router::with(router, executor)?)
}

/// The language models that run in this process, by name.
struct Embedded {
    models: Vec<(String, Arc<dyn LanguageModel>)>,
}

impl Embedded {
    fn load(config: &Config, weights: &Weights) -> Result<Embedded> {
        let mut files = vec![(DEFAULT_BRAIN.to_owned(), weights.file(DEFAULT_BRAIN, DEFAULT_BRAIN_FILE)?)];
        files.extend(config.models.embedded.iter().map(|model| (model.name.clone(), model.path.clone())));
        let load = |(name, path): (String, std::path::PathBuf)| {
            // One thread: the small model is bound by memory, and a second one only takes time from whoever listens.
            let model = models::llm::embedded::load(&path, 1, &format!("embedded/{name}"))?;
            Ok((name, model))
        };
        Ok(Embedded { models: files.into_iter().map(load).collect::<Result<_>>()? })
    }
}

impl LanguageModel for Embedded {
    fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        match self.models.iter().find(|(name, _)| *name == prompt.model) {
            Some((_, model)) => model.complete(prompt),
            None => {
                let known: Vec<&str> = self.models.iter().map(|(name, _)| name.as_str()).collect();
                let detail = format!("there is no embedded model {:?}; there are {}", prompt.model, known.join(", "));
                stream::iter([Err(ModelError::new(ErrorKind::BadRequest, "embedded", detail))]).boxed()
            }
        }
    }
}

/// How a call begins where its client says nothing else.
pub fn session_defaults(config: &Config) -> SessionConfig {
    let then = AfterTurn { respond: true, interrupt: true };
    let turns = match config.turn.detection {
        Detection::Pause { silence } => TurnDetection::Silence {
            threshold: config.turn.threshold.get(),
            padding_ms: config.turn.padding.as_millis() as u64,
            silence_ms: silence.as_millis() as u64,
            then,
        },
        Detection::Semantic { eagerness } => {
            let eagerness = match eagerness.map_or(0.5, audio::Probability::get) {
                low if low < 0.34 => Eagerness::Low,
                high if high > 0.66 => Eagerness::High,
                _ => Eagerness::Medium,
            };
            TurnDetection::Semantic { eagerness, then }
        }
    };
    SessionConfig {
        instructions: "You are a helpful voice assistant. Answer in one or two short spoken sentences.".to_owned(),
        language: config.voice.language,
        languages: config.voice.languages.clone(),
        noise_reduction: config.voice.noise_suppression,
        echo: config.voice.echo,
        turns,
        prepare: config.turn.prepare,
        ..SessionConfig::default()
    }
}

async fn webrtc_port(webrtc: &WebrtcConfig) -> Result<web::rtc::Port> {
    let port = web::rtc::Port::open(&webrtc.listen).await.with_context(|| {
        let web::rtc::Listen { udp, tcp, .. } = &webrtc.listen;
        let tcp = tcp.map_or(String::new(), |tcp| format!(" or {tcp} (TCP)"));
        format!("cannot listen on {udp} (UDP){tcp}: choose other addresses in [webrtc] listen and tcp_listen, or set them to \"none\"")
    })?;
    info!(address = %port.listens_on()?, tcp = ?port.listens_on_tcp(), "Listening for WebRTC.");
    Ok(port)
}

/// The endpoints of telephone carriers; the work of the AudioSocket port goes into `background`, and where it listens is logged.
async fn phone_routes(
    phone: &PhoneConfig,
    shared: Arc<web::ws::Shared>,
    background: &mut JoinSet<()>,
) -> Result<(web::phone::Routes, Option<SocketAddr>)> {
    let port = match phone.audiosocket {
        Some(listen) => {
            let port = TcpListener::bind(listen)
                .await
                .with_context(|| format!("cannot listen on {listen}: choose another address in [phone] audiosocket, or set it to \"\""))?;
            info!(address = %port.local_addr()?, "Listening for AudioSocket.");
            Some(port)
        }
        None => None,
    };
    let address = port.as_ref().map(TcpListener::local_addr).transpose()?;
    let reveal = |secret: &Option<models::remote::Secret>| secret.as_ref().map(|secret| secret.reveal().to_owned());
    let bridges = web::phone::Bridges {
        carriers: phone.carriers.clone(),
        public_url: phone.public_url.clone(),
        token: reveal(&phone.token),
        twilio_token: reveal(&phone.twilio_token),
        in_band_keys: phone.in_band_keys,
        agent: phone.agent.clone(),
    };
    let (routes, listening) = web::phone::routes(shared, bridges, port);
    if let Some(listening) = listening {
        background.spawn(listening);
    }
    Ok((routes, address))
}

/// Loads the models, then listens.
pub async fn serve(config: Config) -> Result<Running> {
    let loading = config.clone();
    let engines = Arc::new(tokio::task::spawn_blocking(move || engines(&loading)).await??);
    serve_engines(config, engines).await
}

/// Serves with engines that are already there.
pub async fn serve_engines(config: Config, engines: Arc<Engines>) -> Result<Running> {
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}: choose another address in [server] listen", config.listen))?;
    let address = listener.local_addr()?;
    let draining = Arc::new(AtomicBool::new(false));
    let answer = {
        let engines = engines.clone();
        let answer: web::Answer = Arc::new(move |call| Box::pin(session::serve(call, engines.clone())));
        answer
    };
    let origins = match &config.auth {
        Auth::Open => web::Origins::without_keys(config.origins.clone()),
        Auth::Keys(_) => web::Origins::beside_keys(config.origins.clone()),
    };
    let keys = match &config.auth {
        Auth::Open => web::Keys::new(std::iter::empty::<String>()),
        Auth::Keys(keys) => web::Keys::new(keys.iter().map(|key| key.reveal().to_owned())),
    };
    let limits = web::ws::Limits {
        message_bytes: config.limits.message_bytes,
        sessions: config.limits.sessions,
        session: config.limits.session,
        ..web::ws::Limits::default()
    };
    let cache = cache(&config).await?;
    let recorder = config.record.clone().map(Recorder::start).transpose()?;
    let metrics = Metrics::default();
    let record: web::RecordSink = {
        let (metrics, recorder) = (metrics.clone(), recorder.clone());
        let take = Arc::new(move |record| {
            metrics.observe(&record);
            if let Some(recorder) = &recorder {
                recorder.record(record);
            }
        });
        web::RecordSink { take, texts: config.record.as_ref().is_some_and(|record| record.texts) }
    };
    let mut background = replica_watch::watch(&config.providers, &engines.router);
    let told = record.take.clone();
    if let Some(work) = engines.router.shadows(SHADOWS, move |shadowed| told(shadowed.into())) {
        background.spawn(work);
    }
    let operations = Operations {
        cache: cache.clone(),
        tenant: {
            let keys = keys.clone();
            Arc::new(move |headers| keys.check(headers).map(|key| key.to_string()).unwrap_or_default())
        },
        metrics: {
            let (cache, recorder, router) = (cache.clone(), recorder.clone(), engines.router.clone());
            Arc::new(move || {
                metrics.text(&Elsewhere {
                    records_dropped: recorder.as_ref().map_or(0, Recorder::dropped),
                    cache: cache.as_ref().map(Cache::usage).unwrap_or_default(),
                    rules: router.counts(),
                    targets: router.conditions(),
                    replicas: router.replicas(),
                    shadows: router.shadow_count(),
                })
            })
        },
    };
    let ledger = Ledger::new(config.policy.clone());
    let stopping = web::Stopping::default();
    let (mut phone, mut audiosocket) = (None, None);
    let calls = if holds_calls(&config) {
        let books = web::Books { ledger: ledger.clone(), sink: Some(record.clone()), ..web::Books::default() };
        let port = match &config.webrtc {
            Some(webrtc) => Some((webrtc_port(webrtc).await?, webrtc.ice_servers.clone())),
            None => None,
        };
        let realtimes = web::ws::Realtimes { answer, defaults: session_defaults(&config), limits, books, stopping: stopping.clone() };
        let shared = web::ws::Shared::new(realtimes);
        if let Some(bridges) = &config.phone {
            let (routes, address) = phone_routes(bridges, shared.clone(), &mut background).await?;
            (phone, audiosocket) = (Some(routes), address);
        }
        web::ws::routes(shared, port)
    } else {
        web::ws::absent()
    };
    let services = web::Services {
        router: engines.router.clone(),
        speakers: engines.speakers.clone(),
        default_voice: engines.default_voice.clone(),
        keys,
        ledger,
        limits: web::Limits { body_bytes: config.limits.body_bytes, ..web::Limits::default() },
        ready: {
            let draining = draining.clone();
            Arc::new(move || if draining.load(Relaxed) { Err("the server is stopping".to_owned()) } else { Ok(()) })
        },
        cache,
        record: Some(record),
        realtime: Some(calls.merge(web::operations::routes(operations))),
        phone,
    };
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let drain = config.limits.drain;
    let done = tokio::spawn(async move {
        let mut told = stopped.clone();
        let calls = stopping.clone();
        let shutdown = async move {
            let _ = told.wait_for(|stop| *stop).await;
            draining.store(true, Relaxed);
            calls.begin(Instant::now() + drain.saturating_sub(GOODBYE));
        };
        let app = web::guard(web::app(services), origins);
        // Calls over WebRTC are carried by what the endpoints stand on: it stays until the last one has ended.
        let endpoints = app.clone();
        let serving = async {
            let served = web::serve(listener, app, shutdown).await;
            stopping.calls_ended().await;
            drop(endpoints);
            served
        };
        let deadline = async {
            let _ = stopped.wait_for(|stop| *stop).await;
            tokio::time::sleep(drain + Duration::from_millis(100)).await;
        };
        let served = tokio::select! {
            served = serving => served,
            () = deadline => Ok(()),
        };
        background.shutdown().await;
        if let Some(recorder) = recorder {
            recorder.flush().await;
        }
        served
    });
    info!(%address, "Listening.");
    Ok(Running { address, audiosocket, done, stop })
}
