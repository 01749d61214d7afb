//! Plivo audio streams (plivo.com/docs/voice/audio-streaming): JSON both ways; `checkpoint` is its mark, `clearAudio` its clear.
//!
//! A checkpoint comes back as `playedStream` when the sound before it was played, and never when it was cleared.

use std::collections::BTreeMap;

use audio::codec::Codec;
use serde_json::json;

use super::message::{Message, bounded, encoded};
use super::{Abilities, Document, Heard, Packet, Said, Start, Wire, WireError, codec, digit, escaped};

/// A stream.
#[derive(Default)]
pub(super) struct Plivo {
    stream: String,
    /// Content type and rate of what is played.
    format: Option<(&'static str, u32)>,
}

impl Wire for Plivo {
    fn abilities(&self) -> Abilities {
        Abilities::USUAL
    }

    fn read(&mut self, packet: Packet, heard: &mut Vec<Heard>) -> Result<(), WireError> {
        let Packet::Text(text) = packet else { return Err(WireError("a message is binary; Plivo's are JSON".to_owned())) };
        let message = Message::read(&text)?;
        match message.need("/event")? {
            "start" => {
                self.stream = message.need("/start/streamId")?.to_owned();
                let encoding = message.text("/start/mediaFormat/encoding").unwrap_or("audio/x-l16");
                let codec = codec(encoding, message.number("/start/mediaFormat/sampleRate").unwrap_or(8_000))?;
                let kind = if matches!(codec, Codec::Pcm16(_)) { "audio/x-l16" } else { "audio/x-mulaw" };
                self.format = Some((kind, codec.rate().hz()));
                let mut parameters = headers(message.text("/extra_headers").unwrap_or_default());
                heard.push(Heard::Began(Box::new(Start {
                    call: message.need("/start/callId")?.to_owned(),
                    caller: parameters.remove("caller"),
                    callee: parameters.remove("callee"),
                    codec,
                    parameters,
                })));
            }
            "media" if message.text("/media/track") == Some("outbound") => {}
            "media" => heard.push(Heard::Sound(message.sound("/media/payload")?)),
            "dtmf" => heard.extend(message.text("/dtmf/digit").and_then(digit).map(Heard::Digit)),
            "playedStream" => heard.push(Heard::Mark(message.need("/name")?.to_owned())),
            "stop" => heard.push(Heard::Ended),
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, said: Said<'_>) -> Option<Packet> {
        let stream = &self.stream;
        let message = match said {
            Said::Sound(sound) => {
                let (kind, rate) = self.format?;
                let media = json!({ "contentType": kind, "sampleRate": rate, "payload": encoded(sound) });
                json!({ "event": "playAudio", "streamId": stream, "media": media })
            }
            Said::Mark(name) => json!({ "event": "checkpoint", "streamId": stream, "name": name }),
            Said::Clear => json!({ "event": "clearAudio", "streamId": stream }),
            Said::Pause | Said::Resume | Said::HangUp => return None,
        };
        Some(Packet::Text(message.to_string()))
    }
}

/// `name=value` pairs, parted by semicolons or commas.
fn headers(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split([';', ',']).filter_map(|pair| pair.split_once('='));
    bounded(pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())))
}

/// Plivo XML that connects the call. Its headers may have letters and digits only.
pub(super) fn document(url: &str, parameters: &[(&str, &str)]) -> Document {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let headers: Vec<String> = parameters.iter().map(|(name, value)| format!("{}={}", plain(name), plain(value))).collect();
    let (headers, url) = (headers.join(","), escaped(url));
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Stream bidirectional=\"true\" keepCallAlive=\"true\" \
         contentType=\"audio/x-mulaw;rate=8000\" extraHeaders=\"{headers}\">{url}</Stream></Response>"
    );
    Document { kind: "text/xml", text }
}
