//! A language model that answers at once: an OpenAI-compatible server on loopback that streams a fixed text.
//!
//! What is measured against it is the server's own share of a turn. It reads just enough HTTP/1.1 to be called by one client library.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The model that answers with one sentence.
pub(crate) const SHORT: &str = "short";
/// The model that talks for half a minute, to be interrupted.
pub(crate) const LONG: &str = "long";

const SENTENCE: &str = "Thank you, I have noted that down for you.";
const TALK: &str = "Let me tell you how this works, step by step. First, we look at the address that you gave us and compare it with the one \
    on your last letter. Then somebody walks over to the shelf, takes the box, and checks that everything is in it. After that the box is \
    closed, weighed and carried to the front door, where the driver will find it in the morning. He starts early, before the roads are \
    full, and usually reaches your part of the town around noon. If nobody is at home he leaves a note, and you can choose another day. \
    All of this takes about two days, and we will write to you whenever something changes.";
/// Nobody sends a larger request here; a larger one is cut off.
const MOST_BYTES: usize = 4 * 1_024 * 1_024;
/// A client that sends nothing for this long is gone.
const IDLE: Duration = Duration::from_secs(120);

/// The running server; it stops when this is dropped.
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// Starts it on a free port.
    pub(crate) async fn start() -> anyhow::Result<Upstream> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on loopback")?;
        let addr = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                // What goes wrong on one connection is told by the measurement that misses its reply.
                connections.spawn(serve(socket));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Upstream { addr, _tasks: tasks })
    }
}

/// Answers the requests of one connection until it closes or breaks.
async fn serve(mut socket: TcpStream) {
    // Small writes go out at once.
    let _ = socket.set_nodelay(true);
    while let Ok(Ok(Some(body))) = tokio::time::timeout(IDLE, request(&mut socket)).await {
        let request: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let model = request["model"].as_str().unwrap_or_default();
        let text = if model == LONG { TALK } else { SENTENCE };
        let reply = if request["stream"] == true { streamed(model, text) } else { whole(model, text) };
        if socket.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The body of the next request; `None` when the client closed. One client asks one thing at a time, so nothing follows the body.
async fn request(socket: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    loop {
        if let Some((begin, length)) = head(&bytes)
            && bytes.len() >= begin + length
        {
            return Ok(Some(bytes[begin..begin + length].to_vec()));
        }
        if bytes.len() > MOST_BYTES || socket.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

fn streamed(model: &str, text: &str) -> String {
    let mut events = String::new();
    let mut event = |delta: serde_json::Value, finish: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        let chunk = json!({"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 0, "model": model, "choices": [choice]});
        events.push_str(&format!("data: {chunk}\n\n"));
    };
    event(json!({"role": "assistant", "content": ""}), None);
    for word in text.split_inclusive(' ') {
        event(json!({"content": word}), None);
    }
    event(json!({}), Some("stop"));
    events.push_str("data: [DONE]\n\n");
    response("text/event-stream", &events)
}

fn whole(model: &str, text: &str) -> String {
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
    let body =
        json!({"id": "chatcmpl-bench", "object": "chat.completion", "created": 0, "model": model, "choices": [choice], "usage": usage});
    response("application/json", &body.to_string())
}

fn response(content_type: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Bytes of the body of the request in `bytes`, and where it begins; `None` while its head is not whole.
fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    let begin = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..begin]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).and_then(|length| length.trim().parse().ok());
    Some((begin, length.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_tells_where_the_body_is() {
        for (bytes, expected) in [
            (&b"POST / HTTP/1.1\r\nContent-Length: 12\r\n"[..], None),
            (b"POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\n{", Some((39, 12))),
            (b"GET / HTTP/1.1\r\n\r\n", Some((18, 0))),
        ] {
            assert_eq!(head(bytes), expected);
        }
    }

    #[tokio::test]
    async fn it_answers_several_requests_on_one_connection() {
        let upstream = Upstream::start().await.expect("it starts");
        let mut socket = TcpStream::connect(upstream.addr).await.expect("it listens");
        for (stream, expected) in [(true, "data: [DONE]"), (false, SENTENCE)] {
            let body = json!({"model": SHORT, "stream": stream}).to_string();
            let asked = format!("POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            socket.write_all(asked.as_bytes()).await.expect("it reads");
            let mut answer = Vec::new();
            while head(&answer).is_none_or(|(begin, length)| answer.len() < begin + length) {
                assert_ne!(socket.read_buf(&mut answer).await.expect("it writes"), 0);
            }
            let answer = String::from_utf8(answer).expect("text");
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(expected), "{answer}");
        }
    }
}
