//! A client that writes requests byte by byte and reads answers as they come.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing here takes longer on any machine; a test that waits for it has failed.
const DEADLINE: Duration = Duration::from_secs(30);

/// One answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// Without its transfer coding.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The events of the body, each with its name; `[DONE]` is a string.
    pub fn events(&self) -> Vec<(String, Value)> {
        events(&self.body)
    }
}

/// The events in these bytes; data that is no JSON is a string.
pub fn events(bytes: &[u8]) -> Vec<(String, Value)> {
    let events = models::sse::Parser::default().push(bytes).expect("events that end");
    let value = |data: String| serde_json::from_str(&data).unwrap_or_else(|_| json!(data));
    events.into_iter().map(|event| (event.event, value(event.data))).collect()
}

/// The words of a streamed answer in any dialect.
pub fn words(events: &[(String, Value)]) -> String {
    let said = |(_, data): &(String, Value)| -> Option<String> {
        let text = data["choices"][0]["delta"]["content"].as_str().or_else(|| data["choices"][0]["text"].as_str());
        let text = text.or_else(|| data["delta"]["text"].as_str());
        text.or_else(|| data["delta"].as_str().filter(|_| data["type"] == "response.output_text.delta")).map(str::to_owned)
    };
    events.iter().filter_map(said).collect()
}

/// A request's bytes.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: timbre\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Posts JSON on a connection of its own.
pub async fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    post_with(address, path, &[], body).await
}

/// The same with further headers.
pub async fn post_with(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let headers = [&[("content-type", "application/json")], headers].concat();
    ask(address, &request("POST", path, &headers, body.to_string().as_bytes())).await
}

/// Sends these bytes on a connection of their own and reads one answer.
pub async fn ask(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut connection = Connection::open(address).await;
    connection.send(bytes).await;
    connection.answer().await
}

/// A connection and what was read of it.
pub struct Connection {
    socket: TcpStream,
    bytes: Vec<u8>,
    /// How the body that is read ends.
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    After(usize),
    Chunk,
    Close,
    Over,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Connection {
        let socket = TcpStream::connect(address).await.expect("it listens");
        socket.set_nodelay(true).expect("a socket");
        Connection { socket, bytes: Vec::new(), end: End::Over }
    }

    /// Connects and asks for a stream; its head has come and is good.
    pub async fn stream(address: SocketAddr, path: &str, body: &Value) -> Connection {
        let mut connection = Connection::open(address).await;
        connection.send(&request("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())).await;
        let head = connection.head().await;
        assert_eq!(head.status, 200);
        connection
    }

    /// Writes.
    pub async fn send(&mut self, bytes: &[u8]) {
        // A server that refuses early may close before it has read all.
        let _ = self.socket.write_all(bytes).await;
    }

    /// The next head, those of interim answers (1xx) too.
    pub async fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more().await, "closed before the head: {:?}", String::from_utf8_lossy(&self.bytes));
        };
        let head: Vec<u8> = self.bytes.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head is text");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let field = |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let answer = Answer { status, headers: lines.filter_map(field).collect(), body: Vec::new() };
        self.end = match (answer.header("transfer-encoding"), answer.header("content-length").parse()) {
            ("chunked", _) => End::Chunk,
            (_, Ok(length)) => End::After(length),
            _ if status < 200 || status == 204 || status == 304 => End::Over,
            _ => End::Close,
        };
        answer
    }

    /// The next piece of the body, as it was sent; `None` at its end.
    pub async fn piece(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.end {
                End::Over => return None,
                End::After(0) => {
                    self.end = End::Over;
                    continue;
                }
                End::After(left) if !self.bytes.is_empty() => {
                    let piece: Vec<u8> = self.bytes.drain(..left.min(self.bytes.len())).collect();
                    self.end = End::After(left - piece.len());
                    return Some(piece);
                }
                End::Chunk => {
                    if let Some(line) = self.bytes.windows(2).position(|two| two == b"\r\n") {
                        let size = std::str::from_utf8(&self.bytes[..line]).expect("a size");
                        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).expect("a size");
                        if self.bytes.len() >= line + 2 + size + 2 {
                            let chunk: Vec<u8> = self.bytes.drain(..line + 2 + size + 2).collect();
                            if size == 0 {
                                self.end = End::Over;
                                return None;
                            }
                            return Some(chunk[line + 2..line + 2 + size].to_vec());
                        }
                    }
                }
                End::Close if !self.bytes.is_empty() => return Some(std::mem::take(&mut self.bytes)),
                End::After(_) | End::Close => {}
            }
            if !self.more().await {
                self.end = End::Over;
                return None;
            }
        }
    }

    /// Pieces until one of them has `text` in it, those before included.
    pub async fn until(&mut self, text: &str) -> String {
        let mut read = String::new();
        while !read.contains(text) {
            let piece = self.piece().await.unwrap_or_else(|| panic!("ended without {text:?}: {read}"));
            read.push_str(&String::from_utf8_lossy(&piece));
        }
        read
    }

    /// What is left of the body.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await {
            body.extend(piece);
        }
        body
    }

    /// The next whole answer; interim ones are passed over.
    pub async fn answer(&mut self) -> Answer {
        loop {
            let head = self.head().await;
            if head.status >= 200 {
                return Answer { body: self.rest().await, ..head };
            }
        }
    }

    /// Whether the server has closed.
    pub async fn is_closed(&mut self) -> bool {
        !self.more().await
    }

    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(DEADLINE, self.socket.read_buf(&mut self.bytes)).await;
        matches!(read.expect("the server says something"), Ok(read) if read > 0)
    }
}
