//! Asterisk's `chan_websocket` (docs.asterisk.org, "WebSocket"): media as binary messages, control as JSON or, in older versions and by
//! default, as a line of text `NAME key:value key:value`. It is answered in the format that it began with.
//!
//! It paces what it is sent, has marks, and can pause; messages of whole 20 ms need no buffering.

use std::collections::BTreeMap;

use serde_json::json;

use super::message::{Message, bounded};
use super::{Abilities, Heard, Packet, Said, Start, Wire, WireError, codec, digit};

/// A channel.
#[derive(Default)]
pub(super) struct Asterisk {
    plain: bool,
}

/// A control message in either format.
struct Event {
    name: String,
    fields: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
}

impl Event {
    fn read(text: &str) -> Result<(Event, bool), WireError> {
        if text.trim_start().starts_with('{') {
            let message = Message::read(text)?;
            let name = message.need("/event")?.to_owned();
            return Ok((Event { name, fields: message.parameters(""), variables: message.parameters("/channel_variables") }, false));
        }
        let mut words = text.split_whitespace();
        let name = words.next().ok_or_else(|| WireError("a message is empty".to_owned()))?.to_owned();
        let fields = bounded(words.map(|word| {
            let (name, value) = word.split_once(':').unwrap_or(("correlation_id", word));
            (name.to_owned(), value.to_owned())
        }));
        Ok((Event { name, fields, variables: BTreeMap::new() }, true))
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

impl Wire for Asterisk {
    fn abilities(&self) -> Abilities {
        Abilities { pauses: true, ..Abilities::USUAL }
    }

    fn read(&mut self, packet: Packet, heard: &mut Vec<Heard>) -> Result<(), WireError> {
        let text = match packet {
            Packet::Binary(sound) => {
                heard.push(Heard::Sound(sound));
                return Ok(());
            }
            Packet::Text(text) => text,
        };
        let (mut event, plain) = Event::read(&text)?;
        match event.name.as_str() {
            "MEDIA_START" => {
                self.plain = plain;
                let format = event.field("format").unwrap_or("ulaw");
                // Asterisk's names carry the rate: `slin` is 8 kHz, `slin16` 16 kHz.
                let rate = match format.strip_prefix("slin").map(str::parse::<u64>) {
                    Some(Ok(kilohertz)) => kilohertz.saturating_mul(1_000),
                    _ => 8_000,
                };
                let codec = codec(format, rate)?;
                let id = event.field("channel_id").or(event.field("connection_id")).unwrap_or_default().to_owned();
                let mut number = |names: [&str; 2]| names.into_iter().find_map(|name| event.variables.remove(name));
                let (caller, callee) = (number(["caller", "CALLER"]), number(["callee", "CALLEE"]));
                heard.push(Heard::Began(Box::new(Start { call: id, caller, callee, codec, parameters: event.variables })));
            }
            "DTMF_END" => heard.extend(event.field("digit").and_then(digit).map(Heard::Digit)),
            "MEDIA_MARK_PROCESSED" => heard.extend(event.field("correlation_id").map(|name| Heard::Mark(name.to_owned()))),
            "MEDIA_XOFF" => heard.push(Heard::Full),
            "MEDIA_XON" => heard.push(Heard::Room),
            "ERROR" => {
                let detail = event.field("error_text").unwrap_or("no detail");
                return Err(WireError(format!("Asterisk says: {detail}")));
            }
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, said: Said<'_>) -> Option<Packet> {
        let (command, id) = match said {
            Said::Sound(sound) => return Some(Packet::Binary(sound.to_vec().into())),
            Said::Mark(name) => ("MARK_MEDIA", Some(name)),
            Said::Clear => ("FLUSH_MEDIA", None),
            Said::Pause => ("PAUSE_MEDIA", None),
            Said::Resume => ("CONTINUE_MEDIA", None),
            Said::HangUp => ("HANGUP", None),
        };
        let text = match (self.plain, id) {
            (true, Some(id)) => format!("{command} {id}"),
            (true, None) => command.to_owned(),
            (false, Some(id)) => json!({ "command": command, "correlation_id": id }).to_string(),
            (false, None) => json!({ "command": command }).to_string(),
        };
        Some(Packet::Text(text))
    }
}
