//! One connection that asks over and over, with as little work as possible: what is measured is who answers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::upstream::ANSWER;

/// The longest wait for any answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// Ends every body that is sent in chunks (RFC 9112 section 7.1); no JSON and no event holds these bytes.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// A connection that stays open between its requests.
pub(super) struct Exchange {
    addr: SocketAddr,
    socket: TcpStream,
    bytes: Vec<u8>,
}

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answered {
    /// HTTP status.
    pub(super) status: u16,
    /// From the request to the first word of [`ANSWER`].
    pub(super) first: Option<Duration>,
    /// From the request to the last byte.
    pub(super) total: Duration,
}

/// How the body of an answer ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// At this byte.
    At(usize),
    /// With its last chunk.
    Chunk,
    /// Where the connection does.
    Close,
}

impl Exchange {
    /// Connects.
    pub(super) async fn open(addr: SocketAddr) -> anyhow::Result<Exchange> {
        let socket = TcpStream::connect(addr).await.with_context(|| format!("nobody listens on {addr}"))?;
        socket.set_nodelay(true)?;
        Ok(Exchange { addr, socket, bytes: Vec::with_capacity(16 * 1_024) })
    }

    /// Sends a whole request and reads its answer to the end. A connection that the server closed meanwhile is opened again.
    pub(super) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answered> {
        let asked = tokio::time::timeout(DEADLINE, self.exchange(request)).await;
        asked.with_context(|| format!("{} did not answer within {} s", self.addr, DEADLINE.as_secs()))?
    }

    /// The answer read last: its head and body, chunks and all.
    pub(super) fn answer(&self) -> &[u8] {
        &self.bytes
    }

    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answered> {
        self.bytes.clear();
        let begun = Instant::now();
        self.socket.write_all(request).await?;
        let first_word = ANSWER.split(' ').next().unwrap_or_default().as_bytes();
        let (mut head, mut first) = (None, None);
        loop {
            let read = self.socket.read_buf(&mut self.bytes).await?;
            head = head.or_else(|| read_head(&self.bytes));
            let Some((begin, status, end)) = head else {
                if read == 0 {
                    bail!("{} closed the connection before it answered", self.addr);
                }
                continue;
            };
            let body = &self.bytes[begin.min(self.bytes.len())..];
            if first.is_none() && body.windows(first_word.len()).any(|bytes| bytes == first_word) {
                first = Some(begun.elapsed());
            }
            let over = match end {
                End::At(end) => self.bytes.len() >= end,
                End::Chunk => self.bytes.ends_with(LAST_CHUNK),
                End::Close => false,
            };
            if over || read == 0 {
                if read == 0 || end == End::Close {
                    let again = Exchange::open(self.addr).await?;
                    self.socket = again.socket;
                }
                return Ok(Answered { status, first, total: begun.elapsed() });
            }
        }
    }
}

/// Where the body begins, the status, and how the body ends; `None` while the head is not whole.
fn read_head(bytes: &[u8]) -> Option<(usize, u16, End)> {
    let begin = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..begin]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let field =
        |name: &str| head.lines().find_map(|line| Some(line.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(name))?.1.trim()));
    let end = match (field("content-length").and_then(|length| length.parse::<usize>().ok()), field("transfer-encoding")) {
        (_, Some(_)) => End::Chunk,
        (Some(length), None) => End::At(begin + length),
        (None, None) => End::Close,
    };
    Some((begin, status, end))
}

/// A whole POST of a JSON text.
pub(super) fn post(path: &str, key: &str, body: &serde_json::Value) -> Vec<u8> {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

/// The body of an answer, out of its chunks.
pub(super) fn body(answer: &[u8]) -> Vec<u8> {
    let Some((begin, _, end)) = read_head(answer) else { return Vec::new() };
    let mut rest = &answer[begin..];
    if end != End::Chunk {
        return rest.to_vec();
    }
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
        let chunk = &rest[line + 2..];
        if size == 0 {
            break;
        }
        body.extend_from_slice(&chunk[..size.min(chunk.len())]);
        rest = chunk.get(size + 2..).unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_say_how_the_body_ends() {
        for (bytes, expected) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"[..], None),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Some((38, 200, End::At(41)))),
            (b"HTTP/1.1 429 No\r\ntransfer-encoding: chunked\r\n\r\n", Some((47, 429, End::Chunk))),
            (b"HTTP/1.0 500 No\r\n\r\n", Some((19, 500, End::Close))),
        ] {
            assert_eq!(read_head(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn bodies_come_out_of_their_chunks() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", "abc"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nde", "abcde"),
            ("HTTP", ""),
        ] {
            assert_eq!(String::from_utf8(body(answer.as_bytes())).expect("text"), expected);
        }
    }
}
