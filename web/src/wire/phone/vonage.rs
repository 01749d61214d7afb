//! Vonage's WebSocket endpoints (developer.vonage.com, "WebSockets"): sound as binary messages of 16-bit PCM, everything else as JSON.
//!
//! `notify` is its mark: it comes back when the sound before it was played.

use audio::codec::Codec;
use serde_json::json;

use super::message::Message;
use super::{Abilities, Document, Heard, Packet, Said, Start, Wire, WireError, codec, digit};

/// A connection.
#[derive(Default)]
pub(super) struct Vonage {
    began: bool,
}

impl Wire for Vonage {
    fn abilities(&self) -> Abilities {
        Abilities::USUAL
    }

    fn read(&mut self, packet: Packet, heard: &mut Vec<Heard>) -> Result<(), WireError> {
        let text = match packet {
            Packet::Binary(sound) => {
                heard.push(Heard::Sound(sound));
                return Ok(());
            }
            Packet::Text(text) => text,
        };
        let message = Message::read(&text)?;
        match message.text("/event").unwrap_or_default() {
            "websocket:dtmf" => {
                let key = message.text("/digit").or(message.text("/dtmf/digit"));
                heard.extend(key.and_then(digit).map(Heard::Digit));
            }
            "websocket:notify" => heard.extend(message.text("/payload/mark").map(|name| Heard::Mark(name.to_owned()))),
            "websocket:disconnected" => heard.push(Heard::Ended),
            // The first message has the content type, and the headers that the NCCO gave the endpoint beside it.
            "websocket:connected" | "" if !self.began => {
                let kind = message.need("/content-type")?;
                let rate = kind.split(';').find_map(|part| part.trim().strip_prefix("rate=")).and_then(|rate| rate.trim().parse().ok());
                let mut parameters = message.parameters("");
                ["event", "content-type"].into_iter().for_each(|name| drop(parameters.remove(name)));
                let call = ["uuid", "call_uuid", "conversation_uuid"].into_iter().find_map(|name| parameters.remove(name));
                heard.push(Heard::Began(Box::new(Start {
                    call: call.unwrap_or_default(),
                    caller: parameters.remove("caller"),
                    callee: parameters.remove("callee"),
                    codec: match codec(kind, rate.unwrap_or(16_000))? {
                        codec @ Codec::Pcm16(_) => codec,
                        _ => return Err(WireError(format!("the content type is {kind:?}; Vonage's sound is `audio/l16`"))),
                    },
                    parameters,
                })));
                self.began = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, said: Said<'_>) -> Option<Packet> {
        let message = match said {
            Said::Sound(sound) => return Some(Packet::Binary(sound.to_vec().into())),
            Said::Mark(name) => json!({ "action": "notify", "payload": { "mark": name } }),
            Said::Clear => json!({ "action": "clear" }),
            Said::Pause | Said::Resume | Said::HangUp => return None,
        };
        Some(Packet::Text(message.to_string()))
    }
}

/// An NCCO that connects the call.
pub(super) fn document(url: &str, parameters: &[(&str, &str)]) -> Document {
    let headers: serde_json::Map<_, _> = parameters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let endpoint = json!({ "type": "websocket", "uri": url, "content-type": "audio/l16;rate=16000", "headers": headers });
    Document { kind: "application/json", text: json!([{ "action": "connect", "endpoint": [endpoint] }]).to_string() }
}
