//! Speech by any OpenAI-compatible base URL: one request a sentence, its sound passed on as it comes.

use std::sync::Arc;
use std::time::Duration;

use audio::{Frame, Rate, Samples};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::{Value, json};

use crate::remote::{self, Endpoint};
use crate::{ErrorKind, ModelError, Spoken, Synthesizer, Voice};

/// Longest pause within one sentence's sound. Servers speak faster than real time.
const STALL: Duration = Duration::from_secs(15);
/// Longest sentence waited for, characters; OpenAI takes at most 4,096.
const LONGEST: usize = 1_000;

/// The synthesizer behind `endpoint` that serves `model`; `voices` are shown to callers, any other name is passed on.
pub fn synthesizer(endpoint: Endpoint, model: &str, voices: Vec<String>) -> Arc<dyn Synthesizer> {
    Arc::new(Remote { endpoint, model: model.to_owned(), voices })
}

struct Remote {
    endpoint: Endpoint,
    model: String,
    voices: Vec<String>,
}

impl Synthesizer for Remote {
    fn speak(&self, text: BoxStream<'static, String>, voice: Voice) -> BoxStream<'static, Result<Spoken, ModelError>> {
        let (endpoint, model) = (self.endpoint.clone(), self.model.clone());
        let spoken = sentences(text).then(move |sentence| {
            let (endpoint, body, target) = (endpoint.clone(), request(&model, &voice, &sentence), format!("{}/{model}", endpoint.name));
            async move {
                match open(&endpoint, &body, &target).await {
                    Ok(sound) => sound,
                    Err(error) => stream::once(async move { Err(error) }).boxed(),
                }
            }
        });
        // The audio clock runs on over the sentences, and an error ends the speech.
        let placed = spoken.flatten().scan(Some(Samples(0)), |clock, piece| {
            let item = clock.map(|at| {
                piece.map(|pcm| {
                    let frame = Frame::new(pcm, Rate::SPEECH, at);
                    *clock = Some(frame.end());
                    Spoken { frame, words: Vec::new() }
                })
            });
            if matches!(item, Some(Err(_))) {
                *clock = None;
            }
            std::future::ready(item)
        });
        placed.boxed()
    }

    fn voices(&self) -> Vec<String> {
        self.voices.clone()
    }
}

fn request(model: &str, voice: &Voice, text: &str) -> Value {
    json!({"model": model, "input": text, "voice": voice.name, "speed": (f64::from(voice.speed) * 1e3).round() / 1e3, "response_format": "pcm"})
}

type Pcm = BoxStream<'static, Result<Vec<f32>, ModelError>>;

async fn open(endpoint: &Endpoint, body: &Value, target: &str) -> Result<Pcm, ModelError> {
    let model = body["model"].as_str().unwrap_or_default();
    let response = endpoint.send(endpoint.post("audio/speech", model)?.json(body), target).await?;
    let state = (response.bytes_stream().boxed(), Halves::default(), target.to_owned(), false);
    let pieces = stream::unfold(state, |(mut bytes, mut halves, target, over)| async move {
        if over {
            return None;
        }
        let item = match tokio::time::timeout(STALL, bytes.next()).await {
            Ok(None) => return None,
            Ok(Some(Ok(more))) => Ok(halves.push(&more)),
            Ok(Some(Err(error))) => Err(remote::broken(&target, &error)),
            Err(_) => Err(ModelError::new(ErrorKind::Timeout, &target, format!("no more speech within {} s", STALL.as_secs()))),
        };
        let over = item.is_err();
        Some((item, (bytes, halves, target, over)))
    });
    // A piece that held half a sample makes no frame.
    Ok(pieces.filter(|piece| std::future::ready(!matches!(piece, Ok(pcm) if pcm.is_empty()))).boxed())
}

/// 16-bit little-endian samples out of bytes cut anywhere.
#[derive(Default)]
struct Halves(Option<u8>);

impl Halves {
    fn push(&mut self, bytes: &Bytes) -> Vec<f32> {
        let mut pcm = Vec::with_capacity(bytes.len() / 2 + 1);
        for byte in bytes {
            match self.0.take() {
                None => self.0 = Some(*byte),
                Some(low) => pcm.push(f32::from(i16::from_le_bytes([low, *byte])) / 32_768.0),
            }
        }
        pcm
    }
}

/// The text in whole sentences, as soon as each is known to be over.
fn sentences(text: BoxStream<'static, String>) -> BoxStream<'static, String> {
    let state = (text, String::new(), false);
    let sentences = stream::unfold(state, |(mut text, mut waiting, mut over)| async move {
        loop {
            if let Some(end) = sentence_end(&waiting) {
                let rest = waiting.split_off(end);
                let sentence = std::mem::replace(&mut waiting, rest);
                return Some((sentence, (text, waiting, over)));
            }
            if over {
                return (!waiting.is_empty()).then(|| (std::mem::take(&mut waiting), (text, waiting, over)));
            }
            match text.next().await {
                Some(more) => waiting.push_str(&more),
                None => over = true,
            }
        }
    });
    sentences
        .map(|sentence| sentence.trim().to_owned())
        .filter(|sentence| std::future::ready(sentence.chars().any(char::is_alphanumeric)))
        .boxed()
}

/// Where the first sentence ends, in bytes: after its mark and the space that shows it was the end, or at the longest allowed.
fn sentence_end(text: &str) -> Option<usize> {
    let mut marked = false;
    for (n, (at, c)) in text.char_indices().enumerate() {
        let end = at + c.len_utf8();
        if matches!(c, '。' | '！' | '？' | '\n') || (marked && c.is_whitespace()) {
            return Some(end);
        }
        if n >= LONGEST {
            return Some(end);
        }
        marked = matches!(c, '.' | '!' | '?') || (marked && matches!(c, '"' | '\'' | ')' | '”' | '’'));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sentences_come_as_soon_as_they_are_over() {
        for (pieces, expected) in [
            (&["Hel", "lo. How", " are you?", " Fine"][..], &["Hello.", "How are you?", "Fine"][..]),
            (&["It costs 3.50 \"now.\" Yes"], &["It costs 3.50 \"now.\"", "Yes"]),
            (&["你好。再见"], &["你好。", "再见"]),
            (&["", " ... ", "\n"], &[]),
        ] {
            let text = stream::iter(pieces.iter().map(|piece| (*piece).to_owned()).collect::<Vec<_>>()).boxed();
            assert_eq!(sentences(text).collect::<Vec<_>>().await, expected);
        }
    }

    #[test]
    fn samples_cut_in_half_are_put_together() {
        let mut halves = Halves::default();
        assert_eq!(halves.push(&Bytes::from_static(&[0])), Vec::<f32>::new());
        assert_eq!(halves.push(&Bytes::from_static(&[0x40, 0, 0xc0, 1])), [0.5, -0.5]);
    }
}
