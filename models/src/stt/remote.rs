//! Transcription by any OpenAI-compatible base URL: the utterance is collected and uploaded whole.
//!
//! There are no drafts, and a [`Sound::Pause`] gets no [`Heard::Paused`]: each would be a paid upload of everything said so far. Who
//! needs an answer at a pause ends the sound instead.

use std::sync::Arc;
use std::time::Duration;

use audio::{Probability, Rate, Samples};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use crate::remote::{self, Endpoint};
use crate::{ErrorKind, Heard, Hint, Language, Measured, ModelError, Segment, Sound, Transcriber, Utterance, Word, WordTimes};

/// Longest utterance collected: what the usual upload limit of 25 MB holds at 16 kHz and 16 bits, rounded down.
const LONGEST: Duration = Duration::from_secs(780);
/// Longest wait for a transcript. Servers transcribe at many times the speed of speech.
const ANSWER: Duration = Duration::from_secs(60);
/// Bytes of a WAV header with one `fmt ` and one `data` chunk.
const HEADER_BYTES: u32 = 44;

/// The transcriber behind `endpoint` that serves `model`.
pub fn transcriber(endpoint: Endpoint, model: &str) -> Arc<dyn Transcriber> {
    Arc::new(Remote { endpoint, model: model.to_owned() })
}

#[derive(Clone)]
struct Remote {
    endpoint: Endpoint,
    model: String,
}

impl Transcriber for Remote {
    fn transcribe(&self, sound: BoxStream<'static, Sound>, hint: Hint) -> BoxStream<'static, Result<Heard, ModelError>> {
        let remote = self.clone();
        stream::once(async move { remote.hear(sound, hint).await.map(Heard::Utterance) }).boxed()
    }
}

impl Remote {
    async fn hear(self, mut sound: BoxStream<'static, Sound>, hint: Hint) -> Result<Utterance, ModelError> {
        let target = format!("{}/{}", self.endpoint.name, self.model);
        let mut pcm: Vec<f32> = Vec::new();
        while let Some(piece) = sound.next().await {
            if let Sound::Frame(frame) = piece {
                pcm.extend_from_slice(&frame.pcm);
                if length(&pcm) > LONGEST {
                    let detail = format!("the utterance is longer than {} s; end it earlier", LONGEST.as_secs());
                    return Err(ModelError::new(ErrorKind::BadRequest, target, detail));
                }
            }
        }
        if pcm.is_empty() {
            return Ok(Utterance { engine: self.model, ..Utterance::default() });
        }
        let request = self.endpoint.post("audio/transcriptions", &self.model)?.multipart(form(&self.model, &pcm, &hint));
        let answer = async {
            let response = self.endpoint.send(request, &target).await?;
            response.bytes().await.map_err(|error| remote::broken(&target, &error))
        };
        let body = tokio::time::timeout(ANSWER, answer)
            .await
            .map_err(|_| ModelError::new(ErrorKind::Timeout, &target, format!("no transcript within {} s", ANSWER.as_secs())))??;
        let body = serde_json::from_slice(&body)
            .map_err(|error| ModelError::new(ErrorKind::Protocol, &target, format!("the transcript is not JSON: {error}")))?;
        utterance(&body, &hint, length(&pcm), &self.model)
            .ok_or_else(|| ModelError::new(ErrorKind::Protocol, target, "the answer holds no text"))
    }
}

fn length(pcm: &[f32]) -> Duration {
    Samples(pcm.len() as u64).duration(Rate::MODEL)
}

fn form(model: &str, pcm: &[f32], hint: &Hint) -> Form {
    let file = Part::bytes(wav(pcm)).file_name("utterance.wav");
    let mut form = Form::new().part("file", file).text("model", model.to_owned());
    // OpenAI's newer models refuse verbose_json: it is asked for only where words need times.
    form = form.text("response_format", if hint.word_times == WordTimes::Needed { "verbose_json" } else { "json" });
    if hint.word_times == WordTimes::Needed {
        form = form.text("timestamp_granularities[]", "word").text("timestamp_granularities[]", "segment");
    }
    if let Some(language) = hint.language {
        form = form.text("language", language.code().to_owned());
    }
    match hint.context() {
        Some(prompt) => form.text("prompt", prompt),
        None => form,
    }
}

/// RIFF WAVE, PCM of 16 bits, mono at [`Rate::MODEL`].
fn wav(pcm: &[f32]) -> Vec<u8> {
    let bytes = u32::try_from(pcm.len() * 2).unwrap_or(u32::MAX - HEADER_BYTES);
    let hz = Rate::MODEL.hz();
    let mut wav = Vec::with_capacity(pcm.len() * 2 + HEADER_BYTES as usize);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(bytes + HEADER_BYTES - 8).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend_from_slice(&16_u32.to_le_bytes());
    for field in [1_u16, 1] {
        wav.extend_from_slice(&field.to_le_bytes());
    }
    for field in [hz, hz * 2] {
        wav.extend_from_slice(&field.to_le_bytes());
    }
    for field in [2_u16, 16] {
        wav.extend_from_slice(&field.to_le_bytes());
    }
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&bytes.to_le_bytes());
    wav.extend(pcm.iter().flat_map(|sample| ((sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16).to_le_bytes()));
    wav
}

/// The answer in either shape, `json` or `verbose_json`.
fn utterance(body: &Value, hint: &Hint, duration: Duration, engine: &str) -> Option<Utterance> {
    let time = |value: &Value| Duration::try_from_secs_f64(value.as_f64().unwrap_or(0.0)).unwrap_or_default().min(duration);
    let word = |value: &Value| {
        let (start, end) = (time(&value["start"]), time(&value["end"]));
        Some(Word { text: value["word"].as_str()?.to_owned(), start, end, confidence: None })
    };
    let segment = |value: &Value| {
        Some(Segment {
            text: value["text"].as_str()?.trim().to_owned(),
            start: time(&value["start"]),
            end: time(&value["end"]),
            avg_logprob: value["avg_logprob"].as_f64().map(|n| n as f32),
            no_speech: value["no_speech_prob"].as_f64().map(|n| Probability::new(n as f32)),
        })
    };
    let list = |key: &str| body[key].as_array().map(Vec::as_slice).unwrap_or_default();
    // Its confidence is not told; the caller's own word for the language is as sure as it gets.
    let heard = body["language"].as_str().and_then(language).map(|language| Measured::new(language, 0.9, "remote"));
    let given = hint.language.map(|language| Measured::new(language, 1.0, "client"));
    Some(Utterance {
        text: body["text"].as_str()?.trim().to_owned(),
        words: list("words").iter().filter_map(word).collect(),
        segments: list("segments").iter().filter_map(segment).collect(),
        duration,
        language: given.or(heard),
        engine: engine.to_owned(),
        ..Utterance::default()
    })
}

/// A code, or the English name that OpenAI sends instead.
fn language(name: &str) -> Option<Language> {
    const NAMES: [(&str, &str); 20] = [
        ("english", "en"),
        ("german", "de"),
        ("french", "fr"),
        ("spanish", "es"),
        ("italian", "it"),
        ("portuguese", "pt"),
        ("dutch", "nl"),
        ("polish", "pl"),
        ("russian", "ru"),
        ("ukrainian", "uk"),
        ("japanese", "ja"),
        ("chinese", "zh"),
        ("korean", "ko"),
        ("hindi", "hi"),
        ("arabic", "ar"),
        ("turkish", "tr"),
        ("swedish", "sv"),
        ("czech", "cs"),
        ("greek", "el"),
        ("hebrew", "he"),
    ];
    let name = name.to_ascii_lowercase();
    let code = NAMES.iter().find(|(known, _)| *known == name).map_or(name.as_str(), |(_, code)| code);
    Language::new(code)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_shapes_of_an_answer_are_read() {
        let second = Duration::from_secs(1);
        let plain = utterance(&json!({"text": " Hello. "}), &Hint::default(), second, "m").expect("it has a text");
        assert_eq!((plain.text.as_str(), plain.words.len(), plain.language), ("Hello.", 0, None));
        let body = json!({"text": "Hello.", "language": "english", "duration": 1.0,
            "words": [{"word": "Hello", "start": 0.1, "end": 9.0}, {"nonsense": 1}],
            "segments": [{"text": " Hello.", "start": 0.1, "end": 0.9, "avg_logprob": -0.2, "no_speech_prob": 0.1}]});
        let verbose = utterance(&body, &Hint::default(), second, "m").expect("it has a text");
        assert_eq!(verbose.words, [Word { text: "Hello".into(), start: Duration::from_millis(100), end: second, confidence: None }]);
        assert_eq!((verbose.segments[0].text.as_str(), verbose.segments[0].avg_logprob), ("Hello.", Some(-0.2)));
        assert_eq!(verbose.language.map(|l| l.value), Some(Language::ENGLISH));
        assert_eq!(utterance(&json!({"words": 3}), &Hint::default(), second, "m"), None);
    }

    #[test]
    fn the_upload_is_a_wav_file_of_the_right_length() {
        let wav = wav(&[0.0, 1.0, -1.0, 2.0]);
        assert_eq!(wav.len(), 52);
        assert_eq!((&wav[..4], &wav[8..16], &wav[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
        assert_eq!(wav[24..28], 16_000_u32.to_le_bytes());
        assert_eq!(wav[46..48], 32_767_i16.to_le_bytes());
        assert_eq!(wav[50..52], 32_767_i16.to_le_bytes());
    }
}
