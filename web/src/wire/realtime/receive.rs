//! Events of the client.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::session::Session;
use super::{Asked, item, response};
use crate::ApiError;
use crate::call::{CallError, Command, Request};
use crate::wire::{Field, Fields};

/// Most sound that one event may carry, bytes (OpenAI's own limit for `input_audio_buffer.append`).
const MOST_AUDIO_BYTES: usize = 15 * 1024 * 1024;

/// Longest id that a client may choose or name, bytes.
const LONGEST_ID: usize = 128;

/// The standard alphabet, padded or not. Bits that stand for nothing must be zero: else the text was damaged on its way.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(false),
);

/// The types of the client's events: eleven, and one of the beta dialect's.
const TYPES: [&str; 12] = [
    "session.update",
    "transcription_session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "output_audio_buffer.clear",
    "conversation.item.create",
    "conversation.item.retrieve",
    "conversation.item.delete",
    "conversation.item.truncate",
    "response.create",
    "response.cancel",
];

/// The event that comes fifty times a second, read without a detour over [`Value`].
#[derive(Deserialize)]
struct Append<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    audio: Cow<'a, str>,
    event_id: Option<String>,
}

/// What the event in `text` asks for; a `session.update` is in `session` then.
pub(super) fn request(session: &mut Session, text: &str) -> Result<Request, CallError> {
    if let Ok(Append { kind, audio, event_id }) = serde_json::from_str(text)
        && kind == "input_audio_buffer.append"
        && event_id.as_ref().is_none_or(|id| id.len() <= LONGEST_ID)
    {
        let command = sound("audio", &audio).map(Command::Append).map_err(|error| refusal(error, event_id.clone()))?;
        return Ok(Request { event_id, command });
    }
    let value: Value = serde_json::from_str(text).map_err(|error| CallError {
        code: "invalid_json",
        message: format!("The event is not JSON: {error}. Send one JSON object a message."),
        param: None,
        event_id: None,
    })?;
    // An id of the wrong shape cannot be repeated, so the complaint about it carries none.
    let event_id = value.get("event_id").and_then(Value::as_str).filter(|id| id.len() <= LONGEST_ID).map(str::to_owned);
    match command(session, value) {
        Ok(command) => Ok(Request { event_id, command }),
        Err(error) => Err(refusal(error, event_id)),
    }
}

/// The events whose meaning is another one where sound does not come in events.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    event_id: Option<String>,
}

/// The same as [`request`] for a client whose sound comes beside its events.
pub(super) fn beside_media(session: &mut Session, text: &str) -> Result<Asked, CallError> {
    if let Ok(Head { kind, event_id }) = serde_json::from_str(text) {
        let event_id = event_id.filter(|id| id.len() <= LONGEST_ID);
        match &*kind {
            "output_audio_buffer.clear" => return Ok(Asked::Silence),
            "input_audio_buffer.append" => {
                let message = "`input_audio_buffer.append` is for WebSockets: in this call sound comes over its audio track.".to_owned();
                return Err(CallError { code: "invalid_event_for_transport", message, param: Some("type".to_owned()), event_id });
            }
            _ => {}
        }
    }
    request(session, text).map(Asked::Session)
}

fn refusal(error: ApiError, event_id: Option<String>) -> CallError {
    CallError { code: error.code.unwrap_or("invalid_value"), message: error.message, param: error.param, event_id }
}

fn command(session: &mut Session, event: Value) -> Result<Command, ApiError> {
    if !event.is_object() {
        return Err(ApiError::new(400, "invalid_event", "An event must be a JSON object with a `type`."));
    }
    let mut fields = Field::root(event).object()?;
    fields.take("event_id").map(name).transpose()?;
    let kind = fields.require("type", &format!("one of: {}", TYPES.join(", ")))?;
    let kind = kind.one_of(&TYPES.map(|kind| (kind, kind))).map_err(|error| ApiError { code: Some("unknown_event"), ..error })?;
    if session.only_transcribes() && kind.starts_with("response.") {
        let message = format!("`{kind}` has no meaning here: this session only transcribes. Open one of type `realtime`.");
        return Err(ApiError { param: Some("type".to_owned()), ..ApiError::new(400, "invalid_event_for_session", message) });
    }
    if kind == "transcription_session.update" && !session.only_transcribes() {
        let message = "`transcription_session.update` is for sessions opened with `intent=transcription`; send `session.update`.";
        return Err(ApiError { param: Some("type".to_owned()), ..ApiError::new(400, "invalid_event_for_session", message) });
    }
    Ok(match kind {
        "session.update" | "transcription_session.update" => {
            session.update(fields.require("session", "an object with what is to change")?)?;
            Command::Update(Box::new(session.config().clone()))
        }
        "input_audio_buffer.append" => {
            let audio = fields.require("audio", "the sound, in base64")?;
            let path = audio.path().to_owned();
            sound(&path, &audio.string()?).map(Command::Append)?
        }
        "input_audio_buffer.commit" => Command::Commit,
        "input_audio_buffer.clear" => Command::Clear,
        "output_audio_buffer.clear" => {
            let message = "`output_audio_buffer.clear` is for WebRTC, where the server plays. Over a WebSocket stop playing, and send \
                           `response.cancel` and `conversation.item.truncate`.";
            return Err(ApiError { param: Some("type".to_owned()), ..ApiError::new(400, "invalid_event_for_transport", message) });
        }
        "conversation.item.create" => Command::Create {
            after: fields.take("previous_item_id").map(name).transpose()?,
            item: item::read(fields.require("item", "the item to add")?)?,
        },
        "conversation.item.retrieve" => Command::Retrieve(item_id(&mut fields)?),
        "conversation.item.delete" => Command::Delete(item_id(&mut fields)?),
        "conversation.item.truncate" => Command::Truncate {
            item: item_id(&mut fields)?,
            content_index: fields.require("content_index", "the index of the item's part")?.whole(0, u32::MAX.into())? as usize,
            audio_end_ms: fields.require("audio_end_ms", "how much was heard, in milliseconds")?.whole(0, u32::MAX.into())?,
        },
        "response.create" => Command::Respond(Box::new(response::read(fields.take("response"), session.config())?)),
        _ => Command::Cancel(fields.take("response_id").map(name).transpose()?),
    })
}

/// An id of the client's choosing.
pub(super) fn name(field: Field) -> Result<String, ApiError> {
    match field.value().as_str() {
        Some(name) if !name.is_empty() && name.len() <= LONGEST_ID => field.string(),
        _ => Err(field.wrong(&format!("a string of 1 to {LONGEST_ID} bytes"))),
    }
}

fn item_id(fields: &mut Fields) -> Result<String, ApiError> {
    name(fields.require("item_id", "the id of an item of the conversation")?)
}

/// The bytes of a base64 text that came at `path`.
pub(super) fn sound(path: &str, text: &str) -> Result<Bytes, ApiError> {
    if text.len() / 4 * 3 > MOST_AUDIO_BYTES {
        let message = format!("`{path}` holds more than {MOST_AUDIO_BYTES} bytes (15 MiB) of sound; send it in smaller events.");
        return Err(ApiError::invalid(path, message));
    }
    let bytes = BASE64.decode(text).map_err(|error| {
        let message = format!("`{path}` is not base64: {error}. Allowed are A-Z, a-z, 0-9, + and /, with or without padding.");
        ApiError::invalid(path, message)
    })?;
    Ok(bytes.into())
}
