//! `POST /v1/audio/speech`: a text spoken, sent as it is spoken.

use std::sync::Arc;

use audio::container::EncodeError;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use models::{ModelError, Spoken, Synthesizer, Voice};

use super::account::Account;
use super::{App, body, events};
use crate::spoken::SpeechFile;
use crate::wire::speech::{self, Delivery};
use crate::{ApiError, Services};

pub(super) async fn speak(
    State(app): State<Arc<App>>,
    Extension(account): Extension<Account>,
    request: Request,
) -> Result<Response, ApiError> {
    let services = &app.services;
    let body = body::json(request, &services.limits).await?;
    let request = speech::read(body, services.limits.speech_chars)?;
    let voice = Voice { name: voice_of(services, &request.voice), speed: request.speed, language: request.language };
    let name = voice.name.clone();
    let file = SpeechFile::new(request.format).map_err(|error| cannot_write(error).at("response_format"))?;
    account.ask_engine(&services.speakers.speaks, None, 0).await?;
    let synthesizer = account.works(&services.speakers).synthesizer(&services.speakers);
    let mut speech = synthesizer.speak(stream::iter([request.input]).boxed(), voice);
    // An error before the first sound can still be an HTTP error.
    let first = speech.next().await.transpose()?;
    account.speaks();
    let pieces = pieces(file, stream::iter(first.map(Ok)).chain(speech).boxed());
    let mut response = match request.delivery {
        Delivery::Audio => {
            let mut response =
                Response::new(Body::from_stream(pieces.map(|piece| piece.map_err(|error| std::io::Error::other(error.message)))));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(request.format.content_type()));
            response
        }
        Delivery::Events => {
            let end = stream::iter([Ok(Bytes::new())]);
            let events = pieces.chain(end).scan(false, |failed, piece| {
                let event = match piece {
                    _ if *failed => None,
                    Ok(bytes) if bytes.is_empty() => Some(events::json(&speech::done_event())),
                    Ok(bytes) => Some(events::json(&speech::delta_event(&STANDARD.encode(bytes)))),
                    Err(error) => {
                        *failed = true;
                        Some(events::json(&error.to_json()))
                    }
                };
                std::future::ready(event)
            });
            events::respond(events)
        }
    };
    if let Ok(name) = HeaderValue::try_from(name) {
        response.headers_mut().insert("x-timbre-voice", name);
    }
    Ok(response)
}

/// The synthesizer's own name of the voice that a client asks for; other vendors' voices become the default.
pub(super) fn voice_of(services: &Services, asked: &str) -> String {
    let voices = services.speakers.synthesizer.voices();
    voices.into_iter().find(|voice| voice.eq_ignore_ascii_case(asked)).unwrap_or_else(|| services.default_voice.clone())
}

pub(super) fn cannot_write(error: EncodeError) -> ApiError {
    ApiError::new(400, "unsupported_format", error.to_string())
}

/// The file in pieces, none of them empty.
fn pieces(file: SpeechFile, speech: BoxStream<'static, Result<Spoken, ModelError>>) -> impl Stream<Item = Result<Bytes, ApiError>> + Send {
    let pieces = stream::unfold((Some(file), speech), |(file, mut speech)| async move {
        let mut file = file?;
        match speech.next().await {
            Some(Ok(spoken)) => Some(match file.push(&spoken.frame) {
                Ok(bytes) => (Ok(Bytes::from(bytes)), (Some(file), speech)),
                Err(error) => (Err(cannot_write(error)), (None, speech)),
            }),
            Some(Err(error)) => Some((Err(error.into()), (None, speech))),
            None => Some((file.finish().map(Bytes::from).map_err(cannot_write), (None, speech))),
        }
    });
    pieces.filter(|piece| std::future::ready(!matches!(piece, Ok(bytes) if bytes.is_empty())))
}
