//! Twilio Media Streams (twilio.com/docs/voice/media-streams/websocket-messages): JSON both ways, mu-law at 8 kHz in base64.
//!
//! A mark comes back when the sound before it was played, and at once when that sound was cleared.

use serde_json::json;

use super::message::{Message, encoded};
use super::{Abilities, Document, Heard, Packet, Said, Start, Wire, WireError, codec, digit, escaped};

/// A stream.
#[derive(Default)]
pub(super) struct Twilio {
    stream: String,
}

impl Wire for Twilio {
    fn abilities(&self) -> Abilities {
        Abilities::USUAL
    }

    fn read(&mut self, packet: Packet, heard: &mut Vec<Heard>) -> Result<(), WireError> {
        let Packet::Text(text) = packet else { return Err(WireError("a message is binary; Twilio's are JSON".to_owned())) };
        let message = Message::read(&text)?;
        match message.need("/event")? {
            "start" => {
                self.stream = message.text("/start/streamSid").or(message.text("/streamSid")).unwrap_or_default().to_owned();
                let encoding = message.text("/start/mediaFormat/encoding").unwrap_or("audio/x-mulaw");
                let rate = message.number("/start/mediaFormat/sampleRate").unwrap_or(8_000);
                let mut parameters = message.parameters("/start/customParameters");
                heard.push(Heard::Began(Box::new(Start {
                    call: message.need("/start/callSid")?.to_owned(),
                    // The stream itself does not say who calls; our own answer to the webhook does.
                    caller: parameters.remove("caller"),
                    callee: parameters.remove("callee"),
                    codec: codec(encoding, rate)?,
                    parameters,
                })));
            }
            // A stream of both tracks would have us hear ourselves.
            "media" if message.text("/media/track") == Some("outbound") => {}
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
            Said::Sound(sound) => json!({ "event": "media", "streamSid": stream, "media": { "payload": encoded(sound) } }),
            Said::Mark(name) => json!({ "event": "mark", "streamSid": stream, "mark": { "name": name } }),
            Said::Clear => json!({ "event": "clear", "streamSid": stream }),
            // Twilio hangs up when the socket closes and its document has no further verb.
            Said::Pause | Said::Resume | Said::HangUp => return None,
        };
        Some(Packet::Text(message.to_string()))
    }
}

/// TwiML that connects the call. Its URL may have no query, so that everything else goes into parameters.
pub(super) fn document(url: &str, parameters: &[(&str, &str)]) -> Document {
    Document { kind: "text/xml", text: connect(url, "", parameters) }
}

/// `<Connect><Stream>` with further attributes of the stream.
pub(super) fn connect(url: &str, attributes: &str, parameters: &[(&str, &str)]) -> String {
    let parameters: String =
        parameters.iter().map(|(name, value)| format!("<Parameter name=\"{}\" value=\"{}\"/>", escaped(name), escaped(value))).collect();
    let url = escaped(url);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Connect><Stream url=\"{url}\"{attributes}>{parameters}</Stream></Connect></Response>"
    )
}
