//! Asterisk's AudioSocket (res_audiosocket.h): over TCP, frames of `[kind u8][length u16, big endian][payload]`.
//!
//! It has no marks, and what it is sent is played at once: the sender paces. Sound goes back at the rate in which it comes.

use audio::Rate;
use audio::codec::Codec;
use bytes::{Buf, Bytes, BytesMut};

use super::{Abilities, Heard, Packet, Said, Start, Wire, WireError, digit};

const HANG_UP: u8 = 0x00;
const ID: u8 = 0x01;
const DTMF: u8 = 0x03;
const ERROR: u8 = 0xFF;
/// Kinds of sound with their rates, Hz. 44.1 kHz (0x15) is nothing that a telephone has.
const SOUND: [(u8, u32); 6] = [(0x10, 8_000), (0x11, 12_000), (0x12, 16_000), (0x13, 24_000), (0x14, 32_000), (0x16, 48_000)];
/// Bytes before a frame's payload.
const HEAD: usize = 3;

/// A connection.
#[derive(Default)]
pub(super) struct Audiosocket {
    id: Option<String>,
    /// The kind of sound; `None` before the first.
    kind: Option<u8>,
}

/// Cuts the bytes of the TCP stream into frames.
#[derive(Default)]
pub struct Framing(BytesMut);

impl Framing {
    /// Where the bytes that were read go.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.0
    }

    /// The next whole frame, head included. A frame is never longer than 64 KiB, for its length has 16 bits.
    pub fn frame(&mut self) -> Option<Packet> {
        let length = usize::from(u16::from_be_bytes([*self.0.get(1)?, *self.0.get(2)?]));
        (self.0.len() >= HEAD + length).then(|| Packet::Binary(self.0.split_to(HEAD + length).freeze()))
    }
}

impl Wire for Audiosocket {
    fn abilities(&self) -> Abilities {
        Abilities { packet_ms: 20, lead_ms: 0, marks: false, clears: false, pauses: false }
    }

    fn read(&mut self, packet: Packet, heard: &mut Vec<Heard>) -> Result<(), WireError> {
        let Packet::Binary(mut frame) = packet else { return Err(WireError("a message is text; AudioSocket has frames".to_owned())) };
        if frame.len() < HEAD {
            return Err(WireError("a frame has no head".to_owned()));
        }
        let kind = frame[0];
        frame.advance(HEAD);
        match kind {
            HANG_UP => heard.push(Heard::Ended),
            // The call begins with its first sound, which tells the rate; the id comes before it.
            ID => {
                let hex: String = frame.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
                if hex.len() != 32 {
                    return Err(WireError("the id of the call is no UUID".to_owned()));
                }
                let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
                self.id = Some(parts.join("-"));
            }
            DTMF => {
                let key = std::str::from_utf8(&frame).ok().and_then(digit);
                heard.extend(key.filter(|_| self.kind.is_some()).map(Heard::Digit));
            }
            ERROR => return Err(WireError("Asterisk reports an error of its AudioSocket".to_owned())),
            _ => self.sound(kind, frame, heard)?,
        }
        Ok(())
    }

    fn write(&mut self, said: Said<'_>) -> Option<Packet> {
        match said {
            Said::Sound(sound) => framed(self.kind?, sound),
            Said::HangUp => framed(HANG_UP, &[]),
            Said::Mark(_) | Said::Clear | Said::Pause | Said::Resume => None,
        }
    }
}

impl Audiosocket {
    fn sound(&mut self, kind: u8, sound: Bytes, heard: &mut Vec<Heard>) -> Result<(), WireError> {
        let rate = SOUND.iter().find(|(known, _)| *known == kind).and_then(|(_, hz)| Rate::new(*hz));
        let rate = rate.ok_or_else(|| WireError(format!("a frame is of kind {kind:#04x}, which AudioSocket does not have")))?;
        match self.kind {
            None => {
                let call = self.id.clone().ok_or_else(|| WireError("sound came before the id of the call".to_owned()))?;
                self.kind = Some(kind);
                let codec = Codec::Pcm16(rate);
                heard.push(Heard::Began(Box::new(Start { call, caller: None, callee: None, codec, parameters: Default::default() })));
            }
            Some(first) if first != kind => {
                return Err(WireError(format!("the sound changed from kind {first:#04x} to {kind:#04x}")));
            }
            Some(_) => {}
        }
        heard.push(Heard::Sound(sound));
        Ok(())
    }
}

fn framed(kind: u8, payload: &[u8]) -> Option<Packet> {
    let length = u16::try_from(payload.len()).ok()?.to_be_bytes();
    Some(Packet::Binary([&[kind][..], &length, payload].concat().into()))
}
