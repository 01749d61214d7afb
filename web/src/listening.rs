//! Uploaded sound to words and signals.

use std::sync::Arc;
use std::time::Duration;

use audio::container::decode;
use audio::{Frame, Rate, Samples, resample};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use models::{Baseline, ErrorKind, Heard, ModelError, SignalSet, Signals, Sound, Utterance};
use router::Speakers;

use crate::ApiError;

/// Samples of one frame at [`Rate::MODEL`]: 32 ms, what the detectors step by.
const FRAME: usize = 512;

/// Decodes an upload to mono PCM at [`Rate::MODEL`]; a complaint about the field `param` where it is not sound.
pub(crate) async fn decode_upload(bytes: Bytes, longest: Duration, param: &str) -> Result<Arc<[f32]>, ApiError> {
    let decoded = tokio::task::spawn_blocking(move || {
        let recording = decode(&bytes, longest)?;
        Ok(if recording.rate == Rate::MODEL { recording.pcm } else { resample(&recording.pcm, recording.rate, Rate::MODEL) })
    });
    match decoded.await {
        Ok(Ok(pcm)) => Ok(pcm.into()),
        Ok(Err(error)) => {
            let error: audio::DecodeError = error;
            let complaint = ApiError::invalid(param, format!("`{param}`: {error}."));
            Err(ApiError { code: Some("invalid_audio"), ..complaint })
        }
        Err(_) => Err(ApiError { code: Some("invalid_audio"), ..ApiError::invalid(param, format!("`{param}` could not be decoded.")) }),
    }
}

/// The sound as a transcriber takes it.
pub(crate) fn sound(pcm: Arc<[f32]>) -> BoxStream<'static, Sound> {
    let frames = (0..pcm.len().div_ceil(FRAME)).map(move |at| {
        let start = at * FRAME;
        let end = pcm.len().min(start + FRAME);
        Sound::Frame(Frame::new(&pcm[start..end], Rate::MODEL, Samples(start as u64)))
    });
    stream::iter(frames).boxed()
}

/// Waits for the final transcript.
pub(crate) async fn utterance(mut heard: BoxStream<'static, Result<Heard, ModelError>>) -> Result<Utterance, ModelError> {
    while let Some(heard) = heard.next().await {
        match heard? {
            Heard::Utterance(utterance) => return Ok(utterance),
            Heard::Partial(_) | Heard::Paused(_) | Heard::Glanced(_) | Heard::Language(_) => {}
        }
    }
    Err(ModelError::new(ErrorKind::Failed, "transcriber", "the recogniser ended without a transcript; try again"))
}

/// Measures an utterance on a thread where that may take its time.
pub(crate) async fn measure(pcm: Arc<[f32]>, utterance: &Utterance, wanted: SignalSet, speakers: &Speakers) -> Result<Signals, ApiError> {
    if wanted.is_empty() {
        return Ok(Signals::default());
    }
    let utterance = utterance.clone();
    // One request is one utterance: there is no earlier one to compare the speaker with.
    let mut baseline = Baseline::new(speakers.emotion.clone());
    let measured = tokio::task::spawn_blocking(move || models::measure(&pcm, &utterance, None, &mut baseline, wanted)).await;
    measured.map_err(|_| ApiError::new(500, "engine_failed", "The signals of the audio could not be measured."))
}
