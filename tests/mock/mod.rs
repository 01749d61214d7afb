//! What black-box tests stand on: an HTTP server that answers as a function says, and a client.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use timbre::serve::Running;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// One request, as it was read.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Path and query.
    pub path: String,
    /// The body; null where it is no JSON.
    pub body: Value,
}

/// What is answered, and after how long.
pub struct Said {
    pub wait: Duration,
    pub status: u16,
    pub kind: &'static str,
    pub body: Vec<u8>,
}

impl Said {
    /// JSON at once.
    pub fn json(body: Value) -> Said {
        Said { wait: Duration::ZERO, status: 200, kind: "application/json", body: body.to_string().into_bytes() }
    }

    /// Server-sent events of these data at once.
    pub fn events(data: &[Value]) -> Said {
        let events: String = data.iter().map(|data| format!("data: {data}\n\n")).chain(["data: [DONE]\n\n".to_owned()]).collect();
        Said { wait: Duration::ZERO, status: 200, kind: "text/event-stream", body: events.into_bytes() }
    }
}

/// A server on loopback; it stops when this is dropped.
pub struct Mock {
    pub addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl Mock {
    pub async fn start(say: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Mock {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (say, seen) = (Arc::new(say), asked.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (say, seen) = (say.clone(), seen.clone());
                connections.spawn(async move {
                    let (mut socket, asked) = read(socket).await?;
                    seen.lock().ok()?.push(asked.clone());
                    let Said { wait, status, kind, body } = say(&asked);
                    tokio::time::sleep(wait).await;
                    let length = body.len();
                    let head =
                        format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                    socket.write_all(head.as_bytes()).await.ok()?;
                    socket.write_all(&body).await.ok()
                });
            }
        });
        Mock { addr, asked, _tasks: tasks }
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panics with it").clone()
    }
}

async fn read(mut socket: TcpStream) -> Option<(TcpStream, Asked)> {
    let mut bytes = Vec::new();
    let (head, start) = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break (String::from_utf8_lossy(&bytes[..at]).into_owned(), at + 4);
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok()).unwrap_or(0);
    while bytes.len() < start + length {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = serde_json::from_slice(&bytes[start..]).unwrap_or_default();
    Some((socket, Asked { path, body }))
}

/// The whole server, on a free port, with this configuration and these variables.
pub async fn served(config: &str, variables: &[(&str, &str)]) -> Running {
    let own = [("TIMBRE_SERVER__LISTEN", "127.0.0.1:0"), ("TIMBRE_SERVER__DATA", "")];
    let environment: Vec<(String, String)> =
        own.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config = timbre::config::read(config, "test", &environment).and_then(|written| written.check(&environment));
    timbre::serve::serve(config.expect("a valid configuration")).await.expect("the server starts")
}

/// Posts JSON; the status and the body.
pub async fn post(running: &Running, path: &str, body: &Value) -> (u16, String) {
    let (status, answer) = timbre::bench::gateway::faults::post(running.address, path, "sk-test", body).await.expect("an answer");
    (status, String::from_utf8_lossy(&answer).into_owned())
}
