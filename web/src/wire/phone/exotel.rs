//! Exotel's Voicebot applet (developer.exotel.com, "Working with the Stream and Voicebot Applet"): Twilio's messages in snake case, with
//! 16-bit PCM in base64.
//!
//! Sound goes out 100 ms at a time: less may be played with gaps, and each piece must be a multiple of 320 bytes.

use serde_json::json;

use super::message::{Message, encoded};
use super::{Abilities, Document, Heard, Packet, Said, Start, Wire, WireError, codec, digit};

/// A stream.
#[derive(Default)]
pub(super) struct Exotel {
    stream: String,
}

impl Wire for Exotel {
    fn abilities(&self) -> Abilities {
        Abilities { packet_ms: 100, ..Abilities::USUAL }
    }

    fn read(&mut self, packet: Packet, heard: &mut Vec<Heard>) -> Result<(), WireError> {
        let Packet::Text(text) = packet else { return Err(WireError("a message is binary; Exotel's are JSON".to_owned())) };
        let message = Message::read(&text)?;
        match message.need("/event")? {
            "start" => {
                self.stream = message.text("/start/stream_sid").or(message.text("/stream_sid")).unwrap_or_default().to_owned();
                let rate = message.number("/start/media_format/sample_rate").unwrap_or(8_000);
                heard.push(Heard::Began(Box::new(Start {
                    call: message.need("/start/call_sid")?.to_owned(),
                    caller: message.text("/start/from").map(str::to_owned),
                    callee: message.text("/start/to").map(str::to_owned),
                    // Whatever the encoding is called, it is always this.
                    codec: codec("raw/slin", rate)?,
                    parameters: message.parameters("/start/custom_parameters"),
                })));
            }
            "media" => heard.push(Heard::Sound(message.sound("/media/payload")?)),
            "dtmf" => heard.extend(message.text("/dtmf/digit").and_then(digit).map(Heard::Digit)),
            "mark" => heard.push(Heard::Mark(message.need("/mark/name")?.to_owned())),
            "stop" => heard.push(Heard::Ended),
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, said: Said<'_>) -> Option<Packet> {
        let stream = &self.stream;
        let message = match said {
            Said::Sound(sound) => json!({ "event": "media", "stream_sid": stream, "media": { "payload": encoded(sound) } }),
            Said::Mark(name) => json!({ "event": "mark", "stream_sid": stream, "mark": { "name": name } }),
            Said::Clear => json!({ "event": "clear", "stream_sid": stream }),
            Said::Pause | Said::Resume | Said::HangUp => return None,
        };
        Some(Packet::Text(message.to_string()))
    }
}

/// What the applet's dynamic URL answers.
pub(super) fn document(url: &str) -> Document {
    Document { kind: "application/json", text: json!({ "url": url }).to_string() }
}
