//! One HTTP request to the server that is measured, over HTTP/1.0: the answer ends where the connection does.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The slowest answer waited for: a long sentence transcribed on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Status and body of an answer.
pub(crate) type Answer = (u16, Vec<u8>);

/// `GET`.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    ask(addr, &format!("GET {path} HTTP/1.0\r\nhost: {addr}\r\n\r\n")).await
}

/// `POST` of a JSON text.
pub(crate) async fn post(addr: SocketAddr, path: &str, body: &serde_json::Value) -> anyhow::Result<Answer> {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.0\r\nhost: {addr}\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
    ask(addr, &format!("{head}\r\n\r\n{body}")).await
}

async fn ask(addr: SocketAddr, request: &str) -> anyhow::Result<Answer> {
    let exchange = async {
        let mut socket = TcpStream::connect(addr).await?;
        socket.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await?;
        std::io::Result::Ok(bytes)
    };
    let bytes = tokio::time::timeout(DEADLINE, exchange).await.context("the server did not answer in a minute")??;
    answer(&bytes).context("the server's answer is not HTTP")
}

fn answer(bytes: &[u8]) -> Option<Answer> {
    let begin = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let line = std::str::from_utf8(bytes.get(..begin)?).ok()?.lines().next()?;
    let status = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, bytes[begin..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        for (bytes, expected) in [
            (&b"HTTP/1.0 200 OK\r\nserver: x\r\n\r\nready"[..], Some((200, b"ready".to_vec()))),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", Some((503, vec![]))),
            (b"HTTP/1.0 200 OK\r\n", None),
            (b"220 mail\r\n\r\n", None),
        ] {
            assert_eq!(answer(bytes), expected);
        }
    }
}
