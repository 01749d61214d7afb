//! A self-hosted engine on loopback that says its name, and remembers what it read as a cache of keys and values does.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Tokens of a message, as it counts them.
const PER_MESSAGE: usize = 10;

/// The running engine; it is gone when this is dropped.
pub(crate) struct Engine {
    pub(crate) addr: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Engine {
    pub(crate) async fn start(name: &'static str) -> Engine {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let mut tasks = JoinSet::new();
        let read: Arc<Mutex<HashSet<String>>> = Arc::default();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(answer(socket, name, read.clone()));
            }
        });
        Engine { addr, _tasks: tasks }
    }
}

async fn answer(mut socket: TcpStream, name: &str, read: Arc<Mutex<HashSet<String>>>) {
    let mut bytes = Vec::new();
    let body = loop {
        if let Some(body) = whole(&bytes) {
            break body;
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let (kind, said) = match body {
        None => ("application/json", json!({"object": "list", "data": []}).to_string()),
        Some(body) => ("text/event-stream", events(name, &body, &read)),
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", said.len());
    // Whoever left does not hear it.
    let _ = socket.write_all((head + &said).as_bytes()).await;
}

/// The body of the request in `bytes`, once all of it is there; `Some(None)` where it has none.
fn whole(bytes: &[u8]) -> Option<Option<Value>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    match length {
        None | Some(0) => Some(None),
        Some(length) => (body.len() >= length).then(|| serde_json::from_str(body).ok()),
    }
}

fn events(name: &str, body: &Value, read: &Mutex<HashSet<String>>) -> String {
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    let prefix = |n: usize| json!(messages[..n]).to_string();
    let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
    let known = (1..=messages.len()).rev().find(|n| read.contains(&prefix(*n))).unwrap_or(0);
    read.extend((1..=messages.len()).map(prefix));
    let usage = json!({"prompt_tokens": PER_MESSAGE * messages.len(), "completion_tokens": 1, "total_tokens": PER_MESSAGE * messages.len() + 1,
        "prompt_tokens_details": {"cached_tokens": PER_MESSAGE * known}});
    let chunk = |delta: Value, finish: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    let chunks = [chunk(json!({"content": name}), Value::Null), chunk(json!({}), json!("stop")), json!({"choices": [], "usage": usage})];
    let events: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    events + "data: [DONE]\n\n"
}
