//! A text to be spoken: `POST /v1/audio/speech` of OpenAI's API.

use audio::Container;
use serde_json::{Value, json};

use super::chat::read_voice;
use super::{ApiError, Field};

/// The formats, by their names.
const SPEECH_FORMATS: [(&str, Container); 5] =
    [("mp3", Container::Mp3), ("opus", Container::Opus), ("flac", Container::Flac), ("wav", Container::Wav), ("pcm", Container::Pcm16)];

/// A request, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpeechRequest {
    pub(crate) input: String,
    /// As the client named it; empty for the default.
    pub(crate) voice: String,
    pub(crate) format: Container,
    /// 1 is the voice's own speed.
    pub(crate) speed: f32,
    /// ISO 639 code of the text, our own field.
    pub(crate) language: Option<models::Language>,
    pub(crate) delivery: Delivery,
}

/// How the sound travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The bytes of a file.
    Audio,
    /// Server-sent events with base64.
    Events,
}

/// Takes a request apart; `most_chars` is the longest input, in characters.
pub(crate) fn read(body: Value, most_chars: usize) -> Result<SpeechRequest, ApiError> {
    let mut fields = Field::root(body).object()?;
    // Every client must name a model and the names are other vendors': which synthesizer speaks is configured.
    fields.take("model").map(Field::string).transpose()?;
    let input = fields.require("input", "the text to speak")?;
    let path = input.path().to_owned();
    let input = input.string()?;
    let chars = input.chars().count();
    if chars > most_chars {
        return Err(ApiError::invalid(path, format!("`input` must have at most {most_chars} characters; it has {chars}.")));
    }
    if input.trim().is_empty() {
        return Err(ApiError::invalid(path, "`input` must have at least one word to speak."));
    }
    let voice = read_voice(fields.take("voice"))?;
    let format = fields.take("response_format").map(|field| field.one_of(&SPEECH_FORMATS)).transpose()?.unwrap_or(Container::Mp3);
    let speed = fields.take("speed").map(|field| field.number(0.25, 4.0)).transpose()?.unwrap_or(1.0) as f32;
    let delivery = fields.take("stream_format").map(|field| field.one_of(&[("audio", Delivery::Audio), ("sse", Delivery::Events)]));
    let delivery = delivery.transpose()?.unwrap_or(Delivery::Audio);
    let language = fields.take("language").map(read_language).transpose()?;
    Ok(SpeechRequest { input, voice, format, speed, language, delivery })
}

/// An ISO 639 code.
pub(crate) fn read_language(field: Field) -> Result<models::Language, ApiError> {
    let language = field.value().as_str().and_then(models::Language::new);
    language.ok_or_else(|| field.wrong("an ISO 639 code such as `en` or `pt-BR`"))
}

/// An event with more sound; `data` is base64.
pub(crate) fn delta_event(data: &str) -> Value {
    json!({ "type": "speech.audio.delta", "audio": data })
}

/// The last event. Speech is not counted in tokens here, and the shape has no other place to say so.
pub(crate) fn done_event() -> Value {
    json!({ "type": "speech.audio.done", "usage": { "input_tokens": 0, "output_tokens": 0, "total_tokens": 0 } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_openais_defaults() {
        let request = read(json!({ "model": "tts-1", "input": "Hi.", "voice": "alloy", "instructions": "gently" }), 10).expect("a request");
        let expected = SpeechRequest {
            input: "Hi.".to_owned(),
            voice: "alloy".to_owned(),
            format: Container::Mp3,
            speed: 1.0,
            language: None,
            delivery: Delivery::Audio,
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn a_wrong_request_names_its_field() {
        for (body, param) in [
            (json!({}), "input"),
            (json!({ "input": 3 }), "input"),
            (json!({ "input": " " }), "input"),
            (json!({ "input": "éééééééééé!" }), "input"),
            (json!({ "input": "hi", "speed": 5 }), "speed"),
            (json!({ "input": "hi", "voice": [] }), "voice"),
            (json!({ "input": "hi", "response_format": "aac" }), "response_format"),
            (json!({ "input": "hi", "stream_format": "ws" }), "stream_format"),
            (json!({ "input": "hi", "language": "english" }), "language"),
            (json!({ "input": "hi", "model": 1 }), "model"),
        ] {
            let error = read(body.clone(), 10).expect_err("refused");
            assert_eq!((error.status, error.param.as_deref()), (400, Some(param)), "{body}");
        }
        assert!(read(json!({ "input": "éééééééééé" }), 10).is_ok());
    }
}
