//! `POST /v1/audio/transcriptions`: a recording to words.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::extract::multipart::{Multipart, MultipartError, MultipartRejection};
use axum::http::header::CONTENT_TYPE;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use models::{Heard, Hint, ModelError, SignalKind, Transcriber, WordTimes};
use router::Speakers;
use tokio::time::timeout;

use super::account::Account;
use super::{App, body, events};
use crate::listening::{decode_upload, measure, sound, utterance};
use crate::wire::transcription::{self, Form, Growing, Shape};
use crate::{ApiError, Limits};

pub(super) async fn transcribe(
    State(app): State<Arc<App>>,
    Extension(account): Extension<Account>,
    multipart: Result<Multipart, MultipartRejection>,
) -> Result<Response, ApiError> {
    let services = &app.services;
    let multipart = multipart
        .map_err(|_| ApiError::new(415, "unsupported_media_type", "The content type must be `multipart/form-data` with a boundary."))?;
    let form = timeout(services.limits.request_timeout, read_form(multipart, &services.limits)).await.map_err(|_| body::too_slow())??;
    let request = transcription::read(form)?;
    let pcm = decode_upload(request.file.clone(), services.limits.audio_length, "file").await?;
    let timed = request.words || matches!(request.shape, Shape::Srt | Shape::Vtt | Shape::Verbose);
    let word_times = if timed { WordTimes::Needed } else { WordTimes::Unwanted };
    let tone = request.shape.wanted().contains(SignalKind::Emotion);
    let (language, prompt, keywords, partials) = (request.language, request.prompt.clone(), request.keywords.clone(), request.stream);
    // Who reads along has read the quick words already.
    let thorough = !request.stream;
    let hint = Hint { language, prompt, keywords, word_times, thorough, partials, tone, ..Hint::default() };
    account.ask_engine(&services.speakers.hears, None, 0).await?;
    let transcriber = account.works(&services.speakers).transcriber(&services.speakers);
    let heard = transcriber.transcribe(sound(pcm.clone()), hint);
    if request.stream {
        return Ok(events::respond(told(heard, pcm, services.speakers.clone())));
    }
    let whole = timeout(services.limits.request_timeout, utterance(heard)).await;
    let utterance = whole.map_err(|_| ApiError::new(504, "timeout", "The transcription took too long; send a shorter recording."))??;
    account.transcribed();
    let measured = measure(pcm, &utterance, request.shape.wanted(), &services.speakers).await?;
    let body = transcription::write(&request, &utterance, &measured);
    Ok(([(CONTENT_TYPE, request.shape.content_type())], body).into_response())
}

async fn read_form(mut multipart: Multipart, limits: &Limits) -> Result<Form, ApiError> {
    let failed = |error: MultipartError| match error.status().as_u16() {
        413 => body::too_large(limits),
        _ => ApiError::new(400, "invalid_multipart", format!("The form is damaged: {}.", error.body_text())),
    };
    let mut form = Form::default();
    while let Some(field) = multipart.next_field().await.map_err(failed)? {
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(failed)?;
        if name == "file" {
            form.file = Some(bytes);
        } else {
            let text = String::from_utf8(bytes.into()).map_err(|_| ApiError::invalid(&name, format!("`{name}` must be UTF-8 text.")))?;
            form.texts.push((name, text));
        }
    }
    Ok(form)
}

/// The transcript as it grows, then the whole of it.
fn told(heard: BoxStream<'static, Result<Heard, ModelError>>, pcm: Arc<[f32]>, speakers: Speakers) -> impl Stream<Item = Event> + Send {
    let start = (heard, Growing::default(), true);
    let told = stream::unfold(start, move |(mut heard, mut growing, more)| {
        let (pcm, speakers) = (pcm.clone(), speakers.clone());
        async move {
            if !more {
                return None;
            }
            let (told, more) = match heard.next().await? {
                Ok(Heard::Glanced(_) | Heard::Language(_)) => (Vec::new(), true),
                Ok(Heard::Partial(draft) | Heard::Paused(draft)) => {
                    (Vec::from_iter(growing.draft(draft.settled()).map(|text| transcription::delta_event(&text))), true)
                }
                Ok(Heard::Utterance(utterance)) => {
                    let mut told = Vec::from_iter(growing.finish(&utterance.text).map(|text| transcription::delta_event(&text)));
                    told.push(match measure(pcm, &utterance, Shape::Json.wanted(), &speakers).await {
                        Ok(measured) => transcription::done_event(&utterance, &measured),
                        Err(error) => error.to_json(),
                    });
                    (told, false)
                }
                Err(error) => (vec![ApiError::from(error).to_json()], false),
            };
            Some((stream::iter(told), (heard, growing, more)))
        }
    });
    told.flatten().map(|event| events::json(&event))
}
