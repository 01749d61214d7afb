//! SignalWire's cXML streams: Twilio's messages, with 16-bit PCM where the stream asks for it (`codec="L16@16000h"`).

use super::twilio::{Twilio, connect};
use super::{Abilities, Document, Heard, Packet, Said, Wire, WireError};

/// A stream.
#[derive(Default)]
pub(super) struct Signalwire(Twilio);

impl Wire for Signalwire {
    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    fn read(&mut self, packet: Packet, heard: &mut Vec<Heard>) -> Result<(), WireError> {
        self.0.read(packet, heard)
    }

    fn write(&mut self, said: Said<'_>) -> Option<Packet> {
        self.0.write(said)
    }
}

/// cXML that connects the call.
pub(super) fn document(url: &str, parameters: &[(&str, &str)]) -> Document {
    Document { kind: "text/xml", text: connect(url, "", parameters) }
}
