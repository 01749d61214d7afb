//! Engines that answer by rote, and a server on a free port that stands on them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use audio::{Frame, Rate, Samples};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use models::{
    Delta, Embedder, EmbeddingRequest, Embeddings, ErrorKind, Finish, Heard, Hint, LanguageModel, ModelError, Partial, Prompt, Sound,
    Spoken, Synthesizer, Transcriber, Usage, Utterance, Voice, Word,
};
use router::limit::Policy;
use web::{Keys, Limits, Services};

/// Repeats the last message; the model's name says how.
pub struct Echo {
    /// How many answers were dropped before their end.
    pub dropped: Arc<AtomicUsize>,
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl LanguageModel for Echo {
    fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        let words = prompt.messages.last().map(|message| message.words()).unwrap_or_default();
        let text = |text: &str| Ok(Delta::Text(text.to_owned()));
        let usage = Usage { input_tokens: 3, output_tokens: 2, ..Usage::default() };
        let end = [Ok(Delta::Usage(usage)), Ok(Delta::Finish(Finish::Stop))];
        match prompt.model.as_str() {
            "broken" => stream::iter([text("Half"), Err(ModelError::new(ErrorKind::BadRequest, "fake/broken", "broke off"))]).boxed(),
            "busy" => {
                let busy =
                    ModelError { retry_after: Some(Duration::from_secs(7)), ..ModelError::new(ErrorKind::Overloaded, "fake/busy", "full") };
                stream::iter([Err(busy)]).boxed()
            }
            "endless" => {
                let dropped = CountDrop(self.dropped.clone());
                stream::iter([text("On")]).chain(stream::pending().map(move |delta| (&dropped, delta).1)).boxed()
            }
            "tools" => {
                let name = prompt.tools.first().map(|tool| tool.name.clone());
                let call = Delta::ToolCall {
                    index: 0,
                    id: Some("call_1".to_owned()),
                    name,
                    arguments: "{\"city\":\"Rome\"}".to_owned(),
                    extra: serde_json::Map::new(),
                };
                stream::iter([Ok(call), Ok(Delta::Finish(Finish::ToolCalls))]).boxed()
            }
            "thinker" => {
                let thought = [Ok(Delta::Reasoning("Hm.".to_owned())), Ok(Delta::Signature("sealed".to_owned()))];
                stream::iter(thought).chain(stream::iter([text("Four.")])).chain(stream::iter(end)).boxed()
            }
            // What reached the model besides words, as a text.
            "mirror" => {
                let extra = serde_json::Value::Object(prompt.extra.clone());
                let told = serde_json::json!({ "extra": extra, "messages": prompt.messages.len(), "last": format!("{:?}", prompt.messages.last()) });
                stream::iter([text(&told.to_string())]).chain(stream::iter(end)).boxed()
            }
            "two-tools" => {
                let call = |index, id: Option<&str>, name: Option<&str>, arguments: &str| {
                    let text = |text: Option<&str>| text.map(str::to_owned);
                    let extra = serde_json::Map::new();
                    Ok(Delta::ToolCall { index, id: text(id), name: text(name), arguments: arguments.to_owned(), extra })
                };
                let pieces = [
                    text("Looking."),
                    call(0, None, None, "{\"city\""),
                    call(0, Some("call_1"), Some("weather"), ":\"Rome\"}"),
                    call(1, Some("call_2"), Some("weather"), "{\"city\":"),
                    call(1, None, None, "\"Oslo\"}"),
                    Ok(Delta::Finish(Finish::ToolCalls)),
                ];
                stream::iter(pieces).boxed()
            }
            _ => stream::iter([text("You said: "), text(&words), text(".")]).chain(stream::iter(end)).boxed(),
        }
    }
}

/// Vectors of the first letters.
pub struct Letters;

impl Embedder for Letters {
    fn embed(&self, request: EmbeddingRequest) -> BoxFuture<'static, Result<Embeddings, ModelError>> {
        let vectors = request.texts.iter().map(|text| text.bytes().take(3).map(f32::from).collect()).collect();
        let usage = Some(Usage { input_tokens: request.texts.len() as u64, ..Usage::default() });
        std::future::ready(Ok(Embeddings { vectors, usage })).boxed()
    }
}

/// Hears always the same.
pub struct Rote;

impl Transcriber for Rote {
    fn transcribe(&self, sound: BoxStream<'static, Sound>, _hint: Hint) -> BoxStream<'static, Result<Heard, ModelError>> {
        let samples = sound
            .fold(0, |samples, sound| async move { samples + if let Sound::Frame(frame) = sound { frame.pcm.len() as u64 } else { 0 } });
        let word = |text: &str, start, end| Word {
            text: text.to_owned(),
            start: Duration::from_millis(start),
            end: Duration::from_millis(end),
            confidence: None,
        };
        stream::once(samples)
            .flat_map(move |samples| {
                let draft = Heard::Partial(Partial { text: "hello there".to_owned(), covers: Duration::ZERO, settled: 5 });
                let utterance = Utterance {
                    text: "hello there".to_owned(),
                    words: vec![word("hello", 0, 200), word("there", 200, 400)],
                    duration: Samples(samples).duration(Rate::MODEL),
                    engine: "rote".to_owned(),
                    ..Utterance::default()
                };
                stream::iter([Ok(draft.clone()), Ok(draft), Ok(Heard::Utterance(utterance))])
            })
            .boxed()
    }
}

/// Speaks 10 ms a character, at 24 kHz.
pub struct Hum;

impl Synthesizer for Hum {
    fn speak(&self, text: BoxStream<'static, String>, _voice: Voice) -> BoxStream<'static, Result<Spoken, ModelError>> {
        text.scan(0, |at, text| {
            let length = text.chars().count() * 240;
            let pcm: Vec<f32> = (0..length).map(|n| (n as f32 * 0.06).sin() * 0.3).collect();
            let frame = Frame::new(pcm, Rate::SPEECH, Samples(*at));
            *at += length as u64;
            std::future::ready(Some(Ok(Spoken { frame, words: Vec::new() })))
        })
        .boxed()
    }

    fn voices(&self) -> Vec<String> {
        vec!["hum".to_owned(), "whistle".to_owned()]
    }
}

/// A server that runs as long as the test.
pub struct Server {
    pub url: String,
    pub dropped: Arc<AtomicUsize>,
}

/// Starts a server whose limits and keys are these.
pub async fn start(limits: Limits, keys: Keys) -> Server {
    start_with(limits, keys, Policy::default(), None).await
}

/// The same, with limits of keys and users, and with routes of a test's own.
pub async fn start_with(limits: Limits, keys: Keys, policy: Policy, realtime: Option<axum::Router>) -> Server {
    let dropped = Arc::new(AtomicUsize::new(0));
    let names = ["echo", "broken", "busy", "endless", "tools", "two-tools", "thinker", "mirror"].map(str::to_owned);
    let provider = router::Provider {
        embedder: Some(Arc::new(Letters)),
        ..router::Provider::new("fake", Arc::new(Echo { dropped: dropped.clone() }), names.to_vec())
    };
    let config = router::Config {
        providers: vec![provider],
        routers: Vec::new(),
        default_model: "fake/echo".to_owned(),
        ..router::Config::default()
    };
    let services = Services {
        router: router::Router::new(config).expect("a router"),
        speakers: router::Speakers {
            transcriber: Arc::new(Rote),
            hears: "embedded/rote".to_owned(),
            emotion: models::Heads::moonshine(),
            synthesizer: Arc::new(Hum),
            speaks: "embedded/hum".to_owned(),
            price: None,
        },
        cache: None,
        record: None,
        default_voice: "hum".to_owned(),
        keys,
        limits,
        ledger: router::Ledger::new(policy),
        ready: Arc::new(|| Ok(())),
        realtime,
        phone: None,
    };
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(web::serve(listener, web::app(services), std::future::pending()));
    Server { url, dropped }
}

/// A client; the process has its cryptography ready afterwards.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}
