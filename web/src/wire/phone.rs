//! What telephone carriers send over their sockets and what they are sent, as values: one file a carrier, messages in, [`Heard`] out.
//!
//! Nothing here does I/O or knows the time. What a carrier says that nobody needs is passed over; what cannot be read is a [`WireError`],
//! and the call may go on.

mod asterisk;
mod audiosocket;
mod exotel;
mod jambonz;
mod message;
mod plivo;
mod reorder;
mod signalwire;
mod telnyx;
#[cfg(test)]
mod tests;
mod twilio;
mod vonage;

use std::collections::BTreeMap;
use std::fmt;

use audio::Rate;
use audio::codec::Codec;
use audio::codec::g711::Law;
use bytes::Bytes;

pub use audiosocket::Framing;

/// Who carries a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Twilio Media Streams.
    Twilio,
    /// Telnyx media streaming.
    Telnyx,
    /// SignalWire's cXML streams, which are nearly Twilio's.
    Signalwire,
    /// Plivo audio streams.
    Plivo,
    /// Vonage's (Nexmo's) WebSocket endpoints.
    Vonage,
    /// Exotel's Voicebot applet.
    Exotel,
    /// The verb `listen` of jambonz.
    Jambonz,
    /// Asterisk's channel driver `chan_websocket`.
    Asterisk,
    /// Asterisk's AudioSocket, over TCP.
    Audiosocket,
}

/// What a carrier's socket can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Sound of one message to it, ms.
    pub packet_ms: u64,
    /// How far sound may be sent ahead of what is heard, ms. None at all where the carrier keeps nothing back.
    pub lead_ms: u64,
    /// It says when a mark in the sound was heard.
    pub marks: bool,
    /// It can throw away what it was sent and has not played.
    pub clears: bool,
    /// It can fall silent and go on from there.
    pub pauses: bool,
}

/// Longest packet that is sent ahead of what is heard, ms: it rides out a network's stall, and little is lost at a barge-in.
const LEAD_MS: u64 = 200;

impl Abilities {
    /// Packets of 20 ms, marks and clearing.
    const USUAL: Abilities = Abilities { packet_ms: 20, lead_ms: LEAD_MS, marks: true, clears: true, pauses: false };
}

/// A message of a carrier's socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// JSON, or a line of text.
    Text(String),
    /// Sound; with AudioSocket: one frame, head included.
    Binary(Bytes),
}

/// How a call begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The carrier's name of the call.
    pub call: String,
    /// Who calls, where the carrier says it.
    pub caller: Option<String>,
    /// Who is called.
    pub callee: Option<String>,
    /// How sound is encoded, both ways.
    pub codec: Codec,
    /// What the dialplan or the answering document passed on.
    pub parameters: BTreeMap<String, String>,
}

/// What a carrier said.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// The call begins; before it nothing else is heard.
    Began(Box<Start>),
    /// Sound of the caller, in the codec of the beginning.
    Sound(Bytes),
    /// A key of the caller's: `0` to `9`, `*`, `#`, `A` to `D`.
    Digit(char),
    /// What was sent before this mark was heard, or was cleared.
    Mark(String),
    /// The carrier has all the sound that it can keep.
    Full,
    /// It takes sound again.
    Room,
    /// The call is over.
    Ended,
}

/// What a carrier is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Said<'a> {
    /// Sound for the caller, in the codec of the beginning.
    Sound(&'a [u8]),
    /// Say when the sound up to here was heard.
    Mark(&'a str),
    /// Throw away what was not heard.
    Clear,
    /// Fall silent where it is.
    Pause,
    /// Go on from there.
    Resume,
    /// Hang up.
    HangUp,
}

/// A message that makes no sense: a sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError(pub String);

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WireError {}

/// One call's wire format, both ways.
pub trait Wire: Send {
    /// What the carrier can do.
    fn abilities(&self) -> Abilities;
    /// Reads one message of the carrier's.
    fn read(&mut self, packet: Packet, heard: &mut Vec<Heard>) -> Result<(), WireError>;
    /// The message that says it; `None`: the carrier has no word for it.
    fn write(&mut self, said: Said<'_>) -> Option<Packet>;
}

/// A document that tells a carrier's webhook to connect a call to a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its content type.
    pub kind: &'static str,
    /// Its text.
    pub text: String,
}

impl Carrier {
    /// All of them.
    pub const ALL: [Carrier; 9] = [
        Carrier::Twilio,
        Carrier::Telnyx,
        Carrier::Signalwire,
        Carrier::Plivo,
        Carrier::Vonage,
        Carrier::Exotel,
        Carrier::Jambonz,
        Carrier::Asterisk,
        Carrier::Audiosocket,
    ];

    /// Its name in configurations and paths.
    pub const fn name(self) -> &'static str {
        match self {
            Carrier::Twilio => "twilio",
            Carrier::Telnyx => "telnyx",
            Carrier::Signalwire => "signalwire",
            Carrier::Plivo => "plivo",
            Carrier::Vonage => "vonage",
            Carrier::Exotel => "exotel",
            Carrier::Jambonz => "jambonz",
            Carrier::Asterisk => "asterisk",
            Carrier::Audiosocket => "audiosocket",
        }
    }

    /// The one that has this name.
    pub fn named(name: &str) -> Option<Carrier> {
        Carrier::ALL.into_iter().find(|carrier| carrier.name() == name)
    }

    /// The wire format of a new call.
    pub fn wire(self) -> Box<dyn Wire> {
        match self {
            Carrier::Twilio => Box::<twilio::Twilio>::default(),
            Carrier::Telnyx => Box::<telnyx::Telnyx>::default(),
            Carrier::Signalwire => Box::<signalwire::Signalwire>::default(),
            Carrier::Plivo => Box::<plivo::Plivo>::default(),
            Carrier::Vonage => Box::<vonage::Vonage>::default(),
            Carrier::Exotel => Box::<exotel::Exotel>::default(),
            Carrier::Jambonz => Box::<jambonz::Jambonz>::default(),
            Carrier::Asterisk => Box::<asterisk::Asterisk>::default(),
            Carrier::Audiosocket => Box::<audiosocket::Audiosocket>::default(),
        }
    }

    /// What answers the carrier's webhook: connect the call to the socket at `url`, and pass `parameters` on. `None`: it has no webhook.
    pub fn document(self, url: &str, parameters: &[(&str, &str)]) -> Option<Document> {
        match self {
            Carrier::Twilio => Some(twilio::document(url, parameters)),
            Carrier::Signalwire => Some(signalwire::document(url, parameters)),
            Carrier::Telnyx => Some(telnyx::document(url)),
            Carrier::Plivo => Some(plivo::document(url, parameters)),
            Carrier::Vonage => Some(vonage::document(url, parameters)),
            Carrier::Jambonz => Some(jambonz::document(url)),
            Carrier::Exotel => Some(exotel::document(url)),
            Carrier::Asterisk | Carrier::Audiosocket => None,
        }
    }
}

/// The codec that a carrier names, `audio/x-mulaw` or `slin16` for instance.
fn codec(encoding: &str, hz: u64) -> Result<Codec, WireError> {
    let name = encoding.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let law = if has(&["mulaw", "mu-law", "ulaw", "pcmu"]) {
        Some(Law::Mu)
    } else if has(&["alaw", "a-law", "pcma"]) {
        Some(Law::A)
    } else {
        None
    };
    match (law, hz) {
        (Some(law), 8_000) => Ok(Codec::G711(law)),
        (None, 8_000 | 16_000 | 24_000 | 32_000 | 48_000) if has(&["l16", "linear", "slin", "raw", "pcm"]) => {
            let rate = Rate::new(hz as u32).ok_or_else(|| WireError(format!("{hz} Hz is no rate")))?;
            Ok(Codec::Pcm16(rate))
        }
        _ => {
            let allowed = "G.711 at 8000 Hz, or 16-bit PCM at 8000, 16000, 24000, 32000 or 48000 Hz";
            Err(WireError(format!("the carrier's sound is {encoding:?} at {hz} Hz; set the stream to {allowed}")))
        }
    }
}

/// A key of a telephone; `None`: there is no such key.
fn digit(text: &str) -> Option<char> {
    let mut characters = text.trim().chars();
    let digit = characters.next()?.to_ascii_uppercase();
    (characters.next().is_none() && matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D')).then_some(digit)
}

/// Text as it may stand in an XML attribute or element.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // Others of the control characters may not stand in XML 1.0 at all.
            '\t' | '\n' | '\r' | ' '.. => escaped.push(character),
            _ => {}
        }
    }
    escaped
}
