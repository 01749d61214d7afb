//! The verb `listen` of jambonz (docs.jambonz.org/verbs/verbs/listen): a first message with what is known of the call, then 16-bit PCM as
//! binary messages both ways, and JSON for everything else.
//!
//! The verb must say `bidirectionalAudio.streaming`, and the same rate both ways. A mark comes back when the sound before it was played,
//! or was killed.

use serde_json::{Value, json};

use super::message::Message;
use super::{Abilities, Document, Heard, Packet, Said, Start, Wire, WireError, codec, digit};

/// A connection.
#[derive(Default)]
pub(super) struct Jambonz {
    began: bool,
}

impl Wire for Jambonz {
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
        if !self.began {
            if let Some(mix) = message.text("/mixType").filter(|mix| *mix == "stereo") {
                return Err(WireError(format!("the verb's mixType is {mix:?}; set it to \"mono\"")));
            }
            heard.push(Heard::Began(Box::new(Start {
                call: message.need("/callSid")?.to_owned(),
                caller: message.text("/from").map(str::to_owned),
                callee: message.text("/to").map(str::to_owned),
                codec: codec("l16", message.number("/sampleRate").unwrap_or(8_000))?,
                parameters: message.parameters("/metadata"),
            })));
            self.began = true;
            return Ok(());
        }
        match (message.text("/event"), message.text("/type")) {
            (Some("dtmf"), _) => heard.extend(message.text("/dtmf").and_then(digit).map(Heard::Digit)),
            (_, Some("mark")) => heard.push(Heard::Mark(message.need("/data/name")?.to_owned())),
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, said: Said<'_>) -> Option<Packet> {
        let message: Value = match said {
            Said::Sound(sound) => return Some(Packet::Binary(sound.to_vec().into())),
            Said::Mark(name) => json!({ "type": "mark", "data": { "name": name } }),
            Said::Clear => json!({ "type": "killAudio" }),
            Said::HangUp => json!({ "type": "disconnect" }),
            Said::Pause | Said::Resume => return None,
        };
        Some(Packet::Text(message.to_string()))
    }
}

/// Verbs that connect the call.
pub(super) fn document(url: &str) -> Document {
    let both_ways = json!({ "enabled": true, "streaming": true, "sampleRate": 16_000 });
    let listen = json!({
        "verb": "listen", "url": url, "mixType": "mono", "sampleRate": 16_000, "passDtmf": true, "bidirectionalAudio": both_ways,
    });
    Document { kind: "application/json", text: json!([{ "verb": "answer" }, listen, { "verb": "hangup" }]).to_string() }
}
