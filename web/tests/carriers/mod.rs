//! Telephone carriers as a server sees them: what each says over its socket, and what it makes of what it is told.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use web::phone::{Carrier, Framing, Packet};

/// What a carrier is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Sound(Vec<u8>),
    Mark(String),
    Clear,
    Pause,
    Resume,
    HangUp,
}

enum Socket {
    Web(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
    Tcp(TcpStream, Framing),
}

/// A carrier with one call.
pub struct Line {
    pub carrier: Carrier,
    socket: Socket,
    chunk: u64,
}

impl Line {
    /// Opens its socket; `path` begins behind `/phone`.
    pub async fn open(carrier: Carrier, address: SocketAddr, path: &str) -> Result<Line, u16> {
        let socket = if carrier == Carrier::Audiosocket {
            Socket::Tcp(TcpStream::connect(address).await.expect("a connection"), Framing::default())
        } else {
            let mut request = format!("ws://{address}/phone{path}").into_client_request().expect("a request");
            if carrier == Carrier::Jambonz {
                request.headers_mut().insert("sec-websocket-protocol", "audio.jambonz.org".parse().expect("a value"));
            }
            match connect_async(request).await {
                Ok((socket, _)) => Socket::Web(Box::new(socket)),
                Err(tokio_tungstenite::tungstenite::Error::Http(response)) => return Err(response.status().as_u16()),
                Err(error) => panic!("{error}"),
            }
        };
        Ok(Line { carrier, socket, chunk: 0 })
    }

    /// Sends it as it is; what the server does not want to read any more is lost.
    pub async fn text(&mut self, text: impl Into<String>) {
        let Socket::Web(socket) = &mut self.socket else { panic!("AudioSocket has no text") };
        let _ = socket.send(Message::text(text.into())).await;
    }

    pub async fn json(&mut self, message: Value) {
        self.text(message.to_string()).await;
    }

    pub async fn bytes(&mut self, bytes: &[u8]) {
        match &mut self.socket {
            Socket::Web(socket) => drop(socket.send(Message::binary(bytes.to_vec())).await),
            Socket::Tcp(stream, _) => drop(stream.write_all(bytes).await),
        }
    }

    /// The call begins; with these parameters where the carrier passes some on.
    pub async fn start(&mut self, parameters: Value) {
        let mulaw = json!({ "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 });
        match self.carrier {
            Carrier::Twilio | Carrier::Signalwire => {
                self.json(json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" })).await;
                let start = json!({ "accountSid": "AC1", "streamSid": "MZ1", "callSid": "CA1", "tracks": ["inbound"],
                    "customParameters": parameters, "mediaFormat": mulaw });
                self.json(json!({ "event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": start })).await;
            }
            Carrier::Telnyx => {
                self.json(json!({ "event": "connected", "version": "1.0.0" })).await;
                let format = json!({ "encoding": "PCMA", "sample_rate": 8000, "channels": 1 });
                let start = json!({ "call_control_id": "CA1", "from": "+491", "to": "+492", "media_format": format });
                self.json(json!({ "event": "start", "sequence_number": "1", "start": start, "stream_id": "s" })).await;
            }
            Carrier::Plivo => {
                let start = json!({ "callId": "CA1", "streamId": "s", "tracks": ["inbound"], "mediaFormat": mulaw });
                self.json(json!({ "event": "start", "sequenceNumber": 1, "start": start, "extra_headers": "caller=491" })).await;
            }
            Carrier::Vonage => {
                self.json(
                    json!({ "event": "websocket:connected", "content-type": "audio/l16;rate=16000", "uuid": "CA1", "caller": "491" }),
                )
                .await;
            }
            Carrier::Exotel => {
                self.json(json!({ "event": "connected" })).await;
                let format = json!({ "encoding": "base64", "sample_rate": "8000", "bit_rate": "128kbps" });
                let start = json!({ "stream_sid": "s", "call_sid": "CA1", "from": "0491", "to": "0492", "media_format": format });
                self.json(json!({ "event": "start", "sequence_number": 1, "stream_sid": "s", "start": start })).await;
            }
            Carrier::Jambonz => {
                self.json(json!({ "callSid": "CA1", "from": "491", "to": "492", "sampleRate": 16000, "mixType": "mono" })).await;
            }
            Carrier::Asterisk => {
                self.text("MEDIA_START connection_id:m channel:WebSocket/m channel_id:CA1 format:slin16 optimal_frame_size:640 ptime:20")
                    .await;
            }
            Carrier::Audiosocket => {
                self.bytes(&[&[1, 0, 16][..], &[7; 16]].concat()).await;
                self.sound(&[0; 320]).await;
            }
        }
    }

    /// Sound of the caller, in the call's codec.
    pub async fn sound(&mut self, sound: &[u8]) {
        self.chunk += 1;
        let (chunk, payload) = (self.chunk, STANDARD.encode(sound));
        match self.carrier {
            Carrier::Twilio | Carrier::Signalwire | Carrier::Plivo => {
                let media = json!({ "track": "inbound", "chunk": chunk.to_string(), "timestamp": "5", "payload": payload });
                self.json(json!({ "event": "media", "sequenceNumber": chunk.to_string(), "streamSid": "MZ1", "media": media })).await;
            }
            Carrier::Telnyx | Carrier::Exotel => {
                self.json(json!({ "event": "media", "media": { "chunk": chunk.to_string(), "payload": payload } })).await;
            }
            Carrier::Vonage | Carrier::Jambonz | Carrier::Asterisk => self.bytes(sound).await,
            Carrier::Audiosocket => {
                self.bytes(&[&[0x10][..], &(sound.len() as u16).to_be_bytes(), sound].concat()).await;
            }
        }
    }

    /// A key of the caller's.
    pub async fn key(&mut self, key: char) {
        let key = key.to_string();
        match self.carrier {
            Carrier::Vonage => self.json(json!({ "event": "websocket:dtmf", "digit": key, "duration": 260 })).await,
            Carrier::Jambonz => self.json(json!({ "event": "dtmf", "dtmf": key, "duration": "1600" })).await,
            Carrier::Asterisk => self.text(format!("DTMF_END digit:{key}")).await,
            Carrier::Audiosocket => self.bytes(&[&[3, 0, 1][..], key.as_bytes()].concat()).await,
            _ => self.json(json!({ "event": "dtmf", "dtmf": { "track": "inbound_track", "digit": key } })).await,
        }
    }

    /// What was sent before a mark was heard, or cleared.
    pub async fn mark(&mut self, name: &str) {
        match self.carrier {
            Carrier::Plivo => self.json(json!({ "event": "playedStream", "streamId": "s", "name": name })).await,
            Carrier::Vonage => self.json(json!({ "event": "websocket:notify", "payload": { "mark": name } })).await,
            Carrier::Jambonz => self.json(json!({ "type": "mark", "data": { "name": name, "event": "playout" } })).await,
            Carrier::Asterisk => self.text(format!("MEDIA_MARK_PROCESSED correlation_id:{name}")).await,
            _ => self.json(json!({ "event": "mark", "mark": { "name": name } })).await,
        }
    }

    pub async fn hang_up(&mut self) {
        match self.carrier {
            Carrier::Audiosocket => self.bytes(&[0, 0, 0]).await,
            Carrier::Vonage | Carrier::Jambonz | Carrier::Asterisk | Carrier::Plivo => {
                if let Socket::Web(socket) = &mut self.socket {
                    let _ = socket.close().await;
                }
            }
            _ => self.json(json!({ "event": "stop", "stop": { "callSid": "CA1" } })).await,
        }
    }

    /// What it is told next; `None`: the server has closed. Cancel-safe.
    pub async fn told(&mut self) -> Option<Told> {
        let socket = match &mut self.socket {
            Socket::Tcp(stream, framing) => loop {
                if let Some(Packet::Binary(frame)) = framing.frame() {
                    return Some(if frame[0] == 0 { Told::HangUp } else { Told::Sound(frame[3..].to_vec()) });
                }
                if stream.read_buf(framing.buffer()).await.ok()? == 0 {
                    return None;
                }
            },
            Socket::Web(socket) => socket,
        };
        loop {
            match socket.next().await?.ok()? {
                Message::Binary(bytes) => return Some(Told::Sound(bytes.to_vec())),
                Message::Text(text) => return Some(understood(&text)),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// The next mark, and how many bytes of sound came before it.
    pub async fn told_mark(&mut self) -> (usize, String) {
        let mut length = 0;
        loop {
            match self.told().await.expect("a mark") {
                Told::Sound(sound) => length += sound.len(),
                Told::Mark(name) => return (length, name),
                other => panic!("{other:?} before a mark"),
            }
        }
    }
}

fn understood(text: &str) -> Told {
    let Ok(message) = serde_json::from_str::<Value>(text) else {
        return match text.split_once(' ').unwrap_or((text, "")) {
            ("MARK_MEDIA", name) => Told::Mark(name.to_owned()),
            ("FLUSH_MEDIA", _) => Told::Clear,
            ("PAUSE_MEDIA", _) => Told::Pause,
            ("CONTINUE_MEDIA", _) => Told::Resume,
            ("HANGUP", _) => Told::HangUp,
            _ => panic!("{text} means nothing"),
        };
    };
    let at = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let word = [at("/event"), at("/action"), at("/type")].concat();
    match word.as_str() {
        "media" | "playAudio" => Told::Sound(STANDARD.decode(at("/media/payload")).expect("base64")),
        "mark" => Told::Mark([at("/mark/name"), at("/data/name")].concat()),
        "checkpoint" => Told::Mark(at("/name")),
        "notify" => Told::Mark(at("/payload/mark")),
        "clear" | "clearAudio" | "killAudio" => Told::Clear,
        "disconnect" => Told::HangUp,
        _ => panic!("{text} means nothing"),
    }
}
