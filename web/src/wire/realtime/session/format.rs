//! Formats of sound, as the session names them.

use audio::codec::g711::Law;
use audio::{Codec, Rate};
use serde_json::{Value, json};

use crate::ApiError;
use crate::wire::Field;

/// PCM rates that are sound somewhere: of files, telephones, browsers and synthesizers, Hz.
const RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

pub(in crate::wire::realtime) fn read_format(field: Field) -> Result<Codec, ApiError> {
    let named = [
        ("audio/pcm", Codec::Pcm16(Rate::SPEECH)),
        ("audio/pcmu", Codec::G711(Law::Mu)),
        ("audio/pcma", Codec::G711(Law::A)),
        // The beta dialect named formats by a string.
        ("pcm16", Codec::Pcm16(Rate::SPEECH)),
        ("g711_ulaw", Codec::G711(Law::Mu)),
        ("g711_alaw", Codec::G711(Law::A)),
    ];
    if field.value().is_string() {
        return field.one_of(&named);
    }
    let mut fields = field.object()?;
    let codec = fields.require("type", "audio/pcm, audio/pcmu or audio/pcma")?.one_of(&named[..3])?;
    let Some(rate) = fields.take("rate") else { return Ok(codec) };
    fields.nothing_else(&["type", "rate"])?;
    let hz = rate.value().as_u64();
    match codec {
        Codec::Pcm16(_) => {
            let known = hz.and_then(|hz| RATES.into_iter().find(|rate| u64::from(*rate) == hz)).and_then(Rate::new);
            known.map(Codec::Pcm16).ok_or_else(|| rate.wrong(&format!("one of: {}", RATES.map(|hz| hz.to_string()).join(", "))))
        }
        Codec::G711(_) | Codec::Opus(_) if hz == Some(8_000) => Ok(codec),
        Codec::G711(_) | Codec::Opus(_) => Err(rate.wrong("8000, the only rate of G.711")),
    }
}

pub(in crate::wire::realtime) fn format_json(codec: Codec) -> Value {
    match codec {
        Codec::Pcm16(rate) => json!({ "type": "audio/pcm", "rate": rate.hz() }),
        Codec::G711(Law::Mu) => json!({ "type": "audio/pcmu" }),
        Codec::G711(Law::A) => json!({ "type": "audio/pcma" }),
        Codec::Opus(_) => json!({ "type": "audio/opus" }),
    }
}
