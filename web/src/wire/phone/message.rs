//! A JSON message of a carrier, looked into with forgiving eyes: numbers may be texts, and what is missing is missing.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::WireError;

/// Largest sound of one message, bytes: 30 s of G.711, the most that any carrier sends.
const MOST_SOUND: usize = 256 * 1024;
/// Parameters that are passed on from a dialplan: rules bound what metadata may hold, and a call must not fail by it.
const MOST_PARAMETERS: usize = 32;
/// Longest name or value of one, characters.
const LONGEST_PARAMETER: usize = 256;

/// A message.
pub(super) struct Message(Value);

impl Message {
    /// Reads the text of one.
    pub(super) fn read(text: &str) -> Result<Message, WireError> {
        match serde_json::from_str::<Value>(text) {
            Ok(value) if value.is_object() => Ok(Message(value)),
            Ok(_) => Err(WireError("a message is no JSON object".to_owned())),
            Err(error) => Err(WireError(format!("a message is no JSON: {error}"))),
        }
    }

    /// The text at `pointer` (RFC 6901).
    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer)?.as_str()
    }

    /// A text that the message cannot do without.
    pub(super) fn need(&self, pointer: &str) -> Result<&str, WireError> {
        self.text(pointer).ok_or_else(|| WireError(format!("a message has no text at {pointer}")))
    }

    /// The number at `pointer`, which may be a text.
    pub(super) fn number(&self, pointer: &str) -> Option<u64> {
        let value = self.0.pointer(pointer)?;
        value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
    }

    /// The object at `pointer` as texts; what is neither text nor number nor truth value is left out.
    pub(super) fn parameters(&self, pointer: &str) -> BTreeMap<String, String> {
        let object = self.0.pointer(pointer).and_then(Value::as_object);
        bounded(object.into_iter().flatten().filter_map(|(name, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => return None,
            };
            Some((name.clone(), text))
        }))
    }

    /// The sound at `pointer`, in base64.
    pub(super) fn sound(&self, pointer: &str) -> Result<Bytes, WireError> {
        let text = self.need(pointer)?;
        if text.len() / 4 * 3 > MOST_SOUND {
            return Err(WireError(format!("a message has more than {MOST_SOUND} bytes of sound")));
        }
        STANDARD.decode(text).map(Bytes::from).map_err(|error| WireError(format!("the sound of a message is no base64: {error}")))
    }
}

/// As many parameters as may be passed on, those that are not too long.
pub(super) fn bounded(parameters: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let short = |text: &String| text.chars().count() <= LONGEST_PARAMETER;
    parameters.filter(|(name, value)| !name.is_empty() && short(name) && short(value)).take(MOST_PARAMETERS).collect()
}

/// Sound in base64.
pub(super) fn encoded(sound: &[u8]) -> String {
    STANDARD.encode(sound)
}
