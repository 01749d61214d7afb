//! Telnyx media streaming (developers.telnyx.com, "Stream call media over WebSocket"): JSON both ways, G.711 in base64.
//!
//! The order of its media is not guaranteed; they are put in order by their chunk. Streams must be started with
//! `stream_bidirectional_mode: rtp`, and with the codec of the call both ways.

use audio::codec::Codec;
use serde_json::json;

use super::message::{Message, encoded};
use super::reorder::Reorder;
use super::{Abilities, Document, Heard, Packet, Said, Start, Wire, WireError, codec, digit, escaped};

/// A stream.
#[derive(Default)]
pub(super) struct Telnyx {
    order: Reorder,
}

impl Wire for Telnyx {
    fn abilities(&self) -> Abilities {
        Abilities::USUAL
    }

    fn read(&mut self, packet: Packet, heard: &mut Vec<Heard>) -> Result<(), WireError> {
        let Packet::Text(text) = packet else { return Err(WireError("a message is binary; Telnyx's are JSON".to_owned())) };
        let message = Message::read(&text)?;
        match message.need("/event")? {
            "start" => {
                let encoding = message.text("/start/media_format/encoding").unwrap_or("PCMU");
                let codec = codec(encoding, message.number("/start/media_format/sample_rate").unwrap_or(8_000))?;
                if !matches!(codec, Codec::G711(_)) {
                    // Nobody says in which order the bytes of its L16 come.
                    return Err(WireError(format!("the stream's sound is {encoding}; set its codec to PCMU or PCMA")));
                }
                heard.push(Heard::Began(Box::new(Start {
                    call: message.need("/start/call_control_id")?.to_owned(),
                    caller: message.text("/start/from").map(str::to_owned),
                    callee: message.text("/start/to").map(str::to_owned),
                    codec,
                    parameters: message.parameters("/start/custom_parameters"),
                })));
            }
            "media" if message.text("/media/track") == Some("outbound") => {}
            "media" => {
                let sound = message.sound("/media/payload")?;
                match message.number("/media/chunk") {
                    Some(chunk) => self.order.push(chunk, sound, |sound| heard.push(Heard::Sound(sound))),
                    None => heard.push(Heard::Sound(sound)),
                }
            }
            "dtmf" => heard.extend(message.text("/dtmf/digit").and_then(digit).map(Heard::Digit)),
            "mark" => heard.push(Heard::Mark(message.need("/mark/name")?.to_owned())),
            "stop" => heard.push(Heard::Ended),
            "error" => {
                let detail = message.text("/payload/detail").or(message.text("/payload/title")).unwrap_or("no detail");
                return Err(WireError(format!("Telnyx says: {detail}")));
            }
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, said: Said<'_>) -> Option<Packet> {
        let message = match said {
            Said::Sound(sound) => json!({ "event": "media", "media": { "payload": encoded(sound) } }),
            Said::Mark(name) => json!({ "event": "mark", "mark": { "name": name } }),
            Said::Clear => json!({ "event": "clear" }),
            Said::Pause | Said::Resume | Said::HangUp => return None,
        };
        Some(Packet::Text(message.to_string()))
    }
}

/// TeXML that connects the call.
pub(super) fn document(url: &str) -> Document {
    let url = escaped(url);
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Connect><Stream url=\"{url}\" bidirectionalMode=\"rtp\" \
         bidirectionalCodec=\"PCMU\"/></Connect></Response>"
    );
    Document { kind: "text/xml", text }
}
