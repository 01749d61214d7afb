//! Providers of language models that are never slow but on purpose: an HTTP server on loopback that speaks OpenAI's chat, responses and
//! embeddings API and Anthropic's messages API, and fails as the model's name says ([`Behaviour`]).
//!
//! What is measured against it is the server's own share. It reads just enough HTTP/1.1 to be called by HTTP clients, and writes answers
//! that were made before: it must cost less than whatever is measured with it.

mod behaviour;
mod script;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub use behaviour::{Behaviour, Fault};
pub use script::ANSWER;
use script::{Asked, Script, Step};

/// The model that answers with one sentence.
pub(crate) const SHORT: &str = "short";
/// The model that talks for half a minute, to be interrupted.
pub(crate) const LONG: &str = "long";

/// Nobody sends a larger request here; a larger one is cut off.
const MOST_BYTES: usize = 4 * 1_024 * 1_024;
/// A client that sends nothing for this long is gone.
const IDLE: Duration = Duration::from_secs(120);

/// The running server; it stops when this is dropped.
pub struct Upstream {
    /// Where it listens.
    pub addr: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// Starts it on a free port.
    pub async fn start() -> anyhow::Result<Upstream> {
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
    let mut bytes = Vec::with_capacity(4_096);
    // Most requests of a connection are alike, and so are their answers.
    let mut last: (Vec<u8>, Script) = Default::default();
    while let Ok(Ok(Some(length))) = tokio::time::timeout(IDLE, request(&mut socket, &mut bytes)).await {
        if last.0 != bytes[..length] {
            let Some(asked) = asked(&bytes[..length]) else { return };
            last = (bytes[..length].to_vec(), script::write(&asked));
        }
        bytes.drain(..length);
        for step in &last.1 {
            match step {
                Step::Write(text) => {
                    if socket.write_all(text).await.is_err() {
                        return;
                    }
                }
                Step::Wait(time) => {
                    // Nothing more is sent to a client that went away meanwhile. None sends its next request before this answer ended.
                    let mut byte = [0_u8; 1];
                    if matches!(tokio::time::timeout(*time, socket.peek(&mut byte)).await, Ok(Ok(0) | Err(_))) {
                        return;
                    }
                }
                Step::Close => return,
            }
        }
    }
}

/// Reads into `bytes` until a whole request stands at their front: its length, head and body; `None` when the client closed.
async fn request(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<Option<usize>> {
    loop {
        if let Some((begin, length)) = head(bytes)
            && bytes.len() >= begin + length
        {
            return Ok(Some(begin + length));
        }
        if bytes.len() > MOST_BYTES || socket.read_buf(bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// Where the body of the request in `bytes` begins, and how many bytes it has; `None` while its head is not whole.
fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    const NAME: &[u8] = b"content-length:";
    let begin = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let line =
        bytes[..begin].split(|byte| *byte == b'\n').find(|line| line.get(..NAME.len()).is_some_and(|l| l.eq_ignore_ascii_case(NAME)));
    let length = line.and_then(|line| std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok());
    Some((begin, length.unwrap_or(0)))
}

/// What a whole request asks for; `None` where it is none.
fn asked(request: &[u8]) -> Option<Asked> {
    let (begin, _) = head(request)?;
    let line = std::str::from_utf8(request).ok()?.lines().next()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let body: Value = serde_json::from_slice(&request[begin..]).unwrap_or_default();
    Some(Asked { path, body })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        for (stream, expected) in [(true, "data: [DONE]"), (false, "noted"), (false, "noted")] {
            let body = json!({"model": SHORT, "stream": stream}).to_string();
            let asked = format!("POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            socket.write_all(asked.as_bytes()).await.expect("it reads");
            let mut answer = Vec::new();
            let whole =
                |answer: &[u8]| answer.ends_with(b"\r\n0\r\n\r\n") || head(answer).is_some_and(|(b, l)| l > 0 && answer.len() >= b + l);
            while !whole(&answer) {
                assert_ne!(socket.read_buf(&mut answer).await.expect("it writes"), 0);
            }
            let answer = String::from_utf8(answer).expect("text");
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(expected), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_cut_answer_closes_its_connection() {
        let upstream = Upstream::start().await.expect("it starts");
        let mut socket = TcpStream::connect(upstream.addr).await.expect("it listens");
        let body = json!({"model": "cut3", "stream": true}).to_string();
        let asked = format!("POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        socket.write_all(asked.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("it writes, then closes");
        assert!(answer.contains("three") && !answer.contains("four") && !answer.ends_with("0\r\n\r\n"), "{answer}");
    }
}
