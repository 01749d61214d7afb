//! A caller: a realtime WebSocket in OpenAI's GA dialect with a microphone that sends 20 ms of sound every 20 ms, as one does.
//!
//! A chunk leaves when its last sample has been spoken, so a latency counted from a sample includes the rest of its chunk.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use audio::Rate;
use audio::codec::pcm::PcmDecoder;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::clips::{CHUNK, Clip};
use super::playback::Playback;

/// A server that is ready answers a handshake or takes a chunk within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the end of the caller's turn is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// As the server does when nobody asks for anything else.
    Default,
    /// `semantic_vad` with this eagerness.
    Eagerness(&'static str),
    /// `server_vad` with this silence, ms.
    Silence(u32),
    /// The caller says so.
    Manual,
}

/// One answer of the server.
pub(crate) struct Reply {
    id: String,
    decoder: PcmDecoder,
    /// What it sounded like.
    pub(crate) playback: Playback,
    /// How it ended; `None` while it has not.
    pub(crate) status: Option<String>,
}

/// A call in progress, and what was heard of the server in it.
pub(crate) struct Call {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    start: Instant,
    sent: u32,
    quiet: Utf8Bytes,
    /// When the server took the caller's turn to be over.
    pub(crate) committed: Vec<Instant>,
    /// When a transcript was whole, and the words.
    pub(crate) transcripts: Vec<(Instant, String)>,
    /// Its answers, in order.
    pub(crate) replies: Vec<Reply>,
}

/// The fields of the server's events that matter here.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    delta: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    response_id: Option<std::borrow::Cow<'a, str>>,
    transcript: Option<String>,
    response: Option<ResponseHead>,
    error: Option<ErrorHead>,
}

#[derive(Deserialize)]
struct ResponseHead {
    id: String,
    status: String,
}

#[derive(Deserialize)]
struct ErrorHead {
    message: String,
}

impl Call {
    /// Calls `model` at `addr`; `quiet` is the chunk that is sent while the caller is silent.
    pub(crate) async fn open(addr: SocketAddr, model: &str, ends: Ends, quiet: Utf8Bytes) -> anyhow::Result<Call> {
        let url = format!("ws://{addr}/v1/realtime?model={model}");
        let handshake = connect_async_with_config(url, None, true);
        let (socket, _) = tokio::time::timeout(PATIENCE, handshake).await.context("no answer to the handshake")??;
        let now = Instant::now();
        let mut call = Call { socket, start: now, sent: 0, quiet, committed: vec![], transcripts: vec![], replies: vec![] };
        call.socket.send(Message::text(update(ends).to_string())).await?;
        while call.event(now + PATIENCE).await? != "session.updated" {}
        call.start = Instant::now();
        Ok(call)
    }

    /// Plays a clip to the server in real time until it ends or `enough`; returns when its first sample was spoken.
    pub(crate) async fn speak(&mut self, clip: &Clip, enough: impl Fn(&Call) -> bool) -> anyhow::Result<Instant> {
        let begins = self.spoken();
        for message in &clip.messages {
            if enough(self) {
                break;
            }
            self.chunk(message.clone()).await?;
        }
        Ok(begins)
    }

    /// Listens in silence for at most `limit`, or until `enough`.
    pub(crate) async fn listen(&mut self, limit: Duration, enough: impl Fn(&Call) -> bool) -> anyhow::Result<()> {
        let until = self.spoken() + limit;
        while self.spoken() < until && !enough(self) {
            self.chunk(self.quiet.clone()).await?;
        }
        Ok(())
    }

    /// Ends the caller's turn by hand.
    pub(crate) async fn commit(&mut self) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(r#"{"type":"input_audio_buffer.commit"}"#)).await?)
    }

    /// When the next chunk's first sample is spoken.
    fn spoken(&self) -> Instant {
        self.start + CHUNK * self.sent
    }

    /// Takes in events until a chunk has been spoken, then sends it.
    async fn chunk(&mut self, message: Utf8Bytes) -> anyhow::Result<()> {
        let due = self.spoken() + CHUNK;
        while Instant::now() < due {
            self.event(due).await?;
        }
        let sent = tokio::time::timeout(PATIENCE, self.socket.send(Message::Text(message))).await;
        sent.context("the server does not take sound any more")??;
        self.sent += 1;
        Ok(())
    }

    /// Takes in the next event, if one comes before `until`; returns its type.
    async fn event(&mut self, until: Instant) -> anyhow::Result<String> {
        let message = match tokio::time::timeout_at(until.into(), self.socket.next()).await {
            Ok(message) => message.context("the server hung up")?.context("the connection broke")?,
            Err(_) => return Ok(String::new()),
        };
        let now = Instant::now();
        match message {
            Message::Text(text) => self.take(now, &text),
            Message::Close(reason) => bail!("the server hung up: {reason:?}"),
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(String::new()),
        }
    }

    fn take(&mut self, now: Instant, text: &str) -> anyhow::Result<String> {
        let event: Event = serde_json::from_str(text).with_context(|| format!("an event is not as OpenAI's: {text}"))?;
        match &*event.kind {
            "input_audio_buffer.committed" => self.committed.push(now),
            "conversation.item.input_audio_transcription.completed" => {
                self.transcripts.push((now, event.transcript.unwrap_or_default()));
            }
            "response.created" => {
                let id = event.response.map(|response| response.id).unwrap_or_default();
                self.replies.push(Reply { id, decoder: PcmDecoder::new(), playback: Playback::default(), status: None });
            }
            "response.output_audio.delta" => {
                let id = event.response_id.unwrap_or_default();
                let bytes = STANDARD.decode(event.delta.unwrap_or_default().as_bytes()).context("sound is not base64")?;
                if let Some(reply) = self.replies.iter_mut().find(|reply| reply.id == id) {
                    let mut pcm = Vec::new();
                    reply.decoder.decode(&bytes, &mut pcm);
                    reply.playback.push(now, &pcm, Rate::SPEECH);
                }
            }
            "response.done" => {
                let response = event.response.unwrap_or(ResponseHead { id: String::new(), status: String::new() });
                if let Some(reply) = self.replies.iter_mut().find(|reply| reply.id == response.id) {
                    reply.status = Some(response.status);
                }
            }
            "error" => bail!("the server refused something: {}", event.error.map(|error| error.message).unwrap_or_default()),
            _ => {}
        }
        Ok(event.kind.into_owned())
    }
}

/// The first event of a call.
fn update(ends: Ends) -> serde_json::Value {
    let mut input = json!({"format": {"type": "audio/pcm", "rate": Rate::SPEECH.hz()}, "transcription": {"model": "auto"}});
    match ends {
        Ends::Default => {}
        Ends::Eagerness(eagerness) => input["turn_detection"] = json!({"type": "semantic_vad", "eagerness": eagerness}),
        Ends::Silence(ms) => input["turn_detection"] = json!({"type": "server_vad", "silence_duration_ms": ms}),
        Ends::Manual => input["turn_detection"] = serde_json::Value::Null,
    }
    let output = json!({"format": {"type": "audio/pcm", "rate": Rate::SPEECH.hz()}});
    json!({"type": "session.update", "session": {"type": "realtime", "audio": {"input": input, "output": output}}})
}
