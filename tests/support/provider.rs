//! A provider that writes what a test tells it to, byte by byte, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// With its parameters.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Null where it is no JSON.
    pub body: Value,
}

impl Asked {
    /// `model` of the body; of the path where the body has none.
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_else(|| {
            let name = self.path.rsplit('/').next().unwrap_or_default();
            name.split(':').next().unwrap_or_default()
        })
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Step {
    /// These bytes go out.
    Write(Vec<u8>),
    /// Nothing, until the test opens the gate or the client goes away.
    Gate(Gate),
    /// Nothing, until the client goes away.
    Hang,
    /// The connection ends.
    Close,
}

/// Holds a provider back until the test lets it go on.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Gate {
        Gate(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    /// Lets one through.
    pub fn open(&self) {
        self.0.add_permits(1);
    }
}

/// It listens until it is dropped.
pub struct Provider {
    /// Where.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    gone: tokio::sync::Mutex<mpsc::Receiver<Instant>>,
    _tasks: JoinSet<()>,
}

type Script = dyn Fn(&Asked) -> Vec<Step> + Send + Sync;

impl Provider {
    /// Starts one that answers as `script` says.
    pub async fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        // More departures than any test has; one that is not waited for is lost.
        let (left, gone) = mpsc::channel(64);
        let (script, told): (Arc<Script>, _) = (Arc::new(script), asked.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve(socket, script.clone(), told.clone(), left.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Provider { address, asked, gone: tokio::sync::Mutex::new(gone), _tasks: tasks }
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panics with it").clone()
    }

    /// How often it was asked for this model.
    pub fn count(&self, model: &str) -> usize {
        self.asked().iter().filter(|asked| asked.model() == model).count()
    }

    /// The body of the last request.
    pub fn last(&self) -> Value {
        self.asked().pop().expect("it was asked").body
    }

    /// When the next client went away in the middle of an answer.
    pub async fn gone(&self) -> Instant {
        let left = tokio::time::timeout(std::time::Duration::from_secs(20), async { self.gone.lock().await.recv().await }).await;
        left.expect("somebody goes away").expect("it listens")
    }
}

async fn serve(mut socket: TcpStream, script: Arc<Script>, told: Arc<Mutex<Vec<Asked>>>, left: mpsc::Sender<Instant>) {
    let _ = socket.set_nodelay(true);
    let mut bytes = Vec::new();
    while let Some(asked) = request(&mut socket, &mut bytes).await {
        let steps = script(&asked);
        told.lock().expect("no test panics with it").push(asked);
        for step in steps {
            let stays = match step {
                Step::Write(text) => socket.write_all(&text).await.is_ok(),
                Step::Gate(Gate(gate)) => tokio::select! {
                    permit = gate.acquire() => {
                        permit.expect("nobody closes it").forget();
                        true
                    }
                    () = departure(&socket) => false,
                },
                Step::Hang => {
                    departure(&socket).await;
                    false
                }
                Step::Close => return,
            };
            if !stays {
                let _ = left.try_send(Instant::now());
                return;
            }
        }
    }
}

/// Resolves when the client has closed.
async fn departure(socket: &TcpStream) {
    let mut byte = [0];
    let _ = socket.peek(&mut byte).await;
}

async fn request(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Asked> {
    loop {
        if let Some(begin) = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) {
            let head = String::from_utf8_lossy(&bytes[..begin]).into_owned();
            let field = |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
            let headers: Vec<(String, String)> = head.lines().skip(1).filter_map(field).collect();
            let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
            let end = begin + length.unwrap_or(0);
            if bytes.len() >= end {
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let body = serde_json::from_slice(&bytes[begin..end]).unwrap_or_default();
                bytes.drain(..end);
                return Some(Asked { path, headers, body });
            }
        }
        if socket.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// The head of a stream that is sent in chunks.
pub const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// These bytes as one chunk (RFC 9112 section 7.1).
pub fn chunk(bytes: impl AsRef<[u8]>) -> Step {
    let bytes = bytes.as_ref();
    Step::Write([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
}

/// A stream of these pieces.
pub fn stream<T: AsRef<[u8]>>(pieces: impl IntoIterator<Item = T>) -> Vec<Step> {
    let head = Step::Write(STREAM.to_vec());
    [head].into_iter().chain(pieces.into_iter().map(chunk)).chain([Step::Write(b"0\r\n\r\n".to_vec())]).collect()
}

/// An answer of JSON with further headers, each with its line end.
pub fn whole(status: u16, headers: &str, body: &Value) -> Vec<Step> {
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n", body.len());
    vec![Step::Write((head + &body).into_bytes())]
}

/// An error in OpenAI's shape.
pub fn error(status: u16, headers: &str) -> Vec<Step> {
    whole(status, headers, &json!({ "error": { "message": "No, on purpose.", "type": "error", "code": null } }))
}

/// Events without names.
pub fn data(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

/// Events named after their `type`.
pub fn named(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())).collect()
}

/// A chunk of a chat with this delta.
pub fn delta(delta: Value) -> Value {
    json!({ "id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

/// The chunk of a chat that says why it ended.
pub fn finish(reason: &str) -> Value {
    json!({ "id": "chatcmpl-up", "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

/// The chunk of a chat that counts tokens.
pub fn usage(usage: Value) -> Value {
    json!({ "id": "chatcmpl-up", "choices": [], "usage": usage })
}

/// A whole chat of these deltas, streamed, with a count of 7 tokens read and 3 written.
pub fn chat(deltas: &[Value], reason: &str) -> Vec<Step> {
    let mut events: Vec<Value> = deltas.iter().cloned().map(delta).collect();
    events.push(finish(reason));
    events.push(usage(json!({ "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10 })));
    let mut pieces = data(&events);
    pieces.push("data: [DONE]\n\n".to_owned());
    stream(pieces)
}

/// A whole chat that says this.
pub fn says(text: &str) -> Vec<Step> {
    chat(&[json!({ "role": "assistant", "content": "" }), json!({ "content": text })], "stop")
}

/// A whole message of these blocks' events, streamed.
pub fn message(blocks: &[Value], stop_reason: &str, input: Value, output: Value) -> Vec<Step> {
    let mut events =
        vec![json!({ "type": "message_start", "message": { "id": "msg_up", "role": "assistant", "content": [], "usage": input } })];
    events.extend(blocks.iter().cloned());
    events.push(json!({ "type": "message_delta", "delta": { "stop_reason": stop_reason }, "usage": output }));
    events.push(json!({ "type": "message_stop" }));
    stream(named(&events))
}

/// The events of a text block.
pub fn text_block(index: usize, text: &str) -> Vec<Value> {
    vec![
        json!({ "type": "content_block_start", "index": index, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": index, "delta": { "type": "text_delta", "text": text } }),
        json!({ "type": "content_block_stop", "index": index }),
    ]
}

/// The events of a call, its arguments in these pieces.
pub fn call_block(index: usize, id: &str, name: &str, pieces: &[&str]) -> Vec<Value> {
    let mut events = vec![
        json!({ "type": "content_block_start", "index": index, "content_block": { "type": "tool_use", "id": id, "name": name, "input": {} } }),
    ];
    for piece in pieces {
        let delta = json!({ "type": "input_json_delta", "partial_json": piece });
        events.push(json!({ "type": "content_block_delta", "index": index, "delta": delta }));
    }
    events.push(json!({ "type": "content_block_stop", "index": index }));
    events
}
