//! `POST /v1/chat/completions`: a prompt answered in text and, if asked for, in speech.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::response::sse::Event;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::stream;
use futures::{Stream, StreamExt};
use models::{Completion, Delta, Piece, Voice};

use tokio::time::timeout;

use super::account::Account;
use super::aloud::{Pieces, aloud};
use super::events::KEEP_ALIVE;
use super::question::{Question, Telling};
use super::speech::{cannot_write, voice_of};
use super::{App, body, events, fresh_id, now};
use crate::ApiError;
use crate::spoken::{REMEMBERED_SECONDS, SpeechFile};
use crate::wire::chat::{self, ChatRequest, SpokenReply, StreamOptions};
use crate::wire::completion::{Envelope, SpokenAudio, finish_of};

pub(super) async fn complete(
    State(app): State<Arc<App>>,
    Extension(account): Extension<Account>,
    request: Request,
) -> Result<Response, ApiError> {
    let services = &app.services;
    let body = body::json(request, &services.limits).await?;
    let ChatRequest { prompt, metadata, user, stream, spoken, heard, recalled, signals } = chat::read(body)?;
    let mut question = Question { prompt, metadata, user, heard, recalled, signals, stream: stream.is_some() };
    let signals = app.hear(&mut question, &account).await?;
    // Before the model is asked: a format that cannot be written here must not cost an answer.
    let file = spoken.as_ref().map(|spoken| SpeechFile::new(spoken.format)).transpose();
    let file = file.map_err(|error| cannot_write(error).at("audio.format"))?;
    let (answer, telling) = app.ask(question, signals, &account).await?;
    let pieces = match &spoken {
        Some(SpokenReply { voice, .. }) => aloud(answer, account, services, Voice::new(voice_of(services, voice))),
        None => answer.map(|delta| delta.map(Piece::Delta)).boxed(),
    };
    match stream {
        Some(options) => app.stream(pieces, telling, options, file).await,
        None => app.within(app.whole(pieces, telling, spoken.zip(file))).await,
    }
}

fn envelope(telling: &Telling, with_usage: bool) -> Envelope {
    Envelope { id: telling.id("chatcmpl-"), created: now(), model: telling.model(), with_usage }
}

impl App {
    async fn whole(&self, mut pieces: Pieces, telling: Telling, spoken: Option<(SpokenReply, SpeechFile)>) -> Result<Response, ApiError> {
        let mut completion = Completion::default();
        let mut file = spoken.map(|(_, file)| file);
        let mut data = Vec::new();
        while let Some(piece) = pieces.next().await {
            match piece? {
                Piece::Delta(delta) => completion.push(delta),
                Piece::Spoken(spoken) => {
                    if let Some(file) = &mut file {
                        data.extend(file.push(&spoken.frame).map_err(cannot_write)?);
                    }
                }
                // The client asked for speech and gets all of it or an error: half a file would pass for a whole one.
                Piece::Mute(error) => return Err(error.into()),
            }
        }
        let mut audio = None;
        if let Some(file) = file {
            data.extend(file.finish().map_err(cannot_write)?);
            let (id, expires_at) = (fresh_id("audio_"), now() + REMEMBERED_SECONDS);
            self.transcripts.put(&id, &completion.text, expires_at);
            audio = Some(SpokenAudio { id, data: STANDARD.encode(data), expires_at, transcript: completion.text.clone() });
        }
        Ok(body::written(envelope(&telling, false).whole(completion, audio, &telling.ours())))
    }

    async fn stream(
        self: &Arc<App>,
        mut pieces: Pieces,
        telling: Telling,
        options: StreamOptions,
        file: Option<SpeechFile>,
    ) -> Result<Response, ApiError> {
        // What fails before the first piece is an HTTP error. A model that thinks for longer gets a stream that is kept alive by comments.
        let first = match timeout(KEEP_ALIVE, pieces.next()).await {
            Ok(Some(Err(error))) => return Err(error.into()),
            Ok(first) => first,
            Err(_) => None,
        };
        let speech = file.map(|file| SpeechEvents { id: fresh_id("audio_"), file });
        let envelope = envelope(&telling, options.include_usage);
        let writer = Writer { app: self.clone(), envelope, telling, speech, completion: Completion::default() };
        let opening = stream::iter([events::json(&writer.envelope.opening())]);
        Ok(events::respond(opening.chain(written(writer, stream::iter(first).chain(pieces).boxed()))))
    }
}

/// Turns the pieces of an answer into events.
struct Writer {
    app: Arc<App>,
    envelope: Envelope,
    telling: Telling,
    speech: Option<SpeechEvents>,
    completion: Completion,
}

struct SpeechEvents {
    id: String,
    /// Bare PCM: the only format that can be streamed.
    file: SpeechFile,
}

fn written(writer: Writer, pieces: Pieces) -> impl Stream<Item = Event> + Send {
    let events = stream::unfold((Some(writer), pieces), |(writer, mut pieces)| async move {
        let mut writer = writer?;
        Some(match pieces.next().await {
            Some(Ok(piece)) => match writer.piece(piece) {
                Ok(event) => (Vec::from_iter(event), (Some(writer), pieces)),
                Err(error) => (vec![events::json(&error.to_json())], (None, pieces)),
            },
            Some(Err(error)) => (vec![events::json(&ApiError::from(error).to_json())], (None, pieces)),
            None => (writer.end(), (None, pieces)),
        })
    });
    // [DONE] says that the answer is whole, so it stands beside the `end` of the last batch and never after an error.
    events.flat_map(stream::iter)
}

impl Writer {
    fn piece(&mut self, piece: Piece) -> Result<Option<Event>, ApiError> {
        match piece {
            Piece::Delta(delta) => {
                let event = match (&self.speech, &delta) {
                    (Some(speech), delta) => self.envelope.spoken_delta(&speech.id, delta).map(|chunk| events::json(&chunk)),
                    (None, Delta::Text(text)) => Some(events::written(self.envelope.words(text))),
                    (None, delta) => self.envelope.delta(delta).map(|chunk| events::json(&chunk)),
                };
                self.completion.push(delta);
                Ok(event)
            }
            Piece::Spoken(spoken) => {
                let Some(speech) = &mut self.speech else { return Ok(None) };
                let bytes = speech.file.push(&spoken.frame).map_err(cannot_write)?;
                Ok((!bytes.is_empty()).then(|| events::json(&self.envelope.speech(&speech.id, &STANDARD.encode(bytes)))))
            }
            Piece::Mute(error) => Err(error.into()),
        }
    }

    /// The last chunks.
    fn end(self) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(SpeechEvents { id, file }) = self.speech {
            match file.finish() {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => events.push(events::json(&self.envelope.speech(&id, &STANDARD.encode(bytes)))),
                Err(error) => return vec![events::json(&cannot_write(error).to_json())],
            }
            let expires_at = now() + REMEMBERED_SECONDS;
            self.app.transcripts.put(&id, &self.completion.text, expires_at);
            events.push(events::json(&self.envelope.speech_end(&id, expires_at)));
        }
        events.push(events::written(self.envelope.finish(finish_of(&self.completion), &self.telling.ours())));
        if self.envelope.with_usage {
            events.push(events::json(&self.envelope.usage(self.completion.usage.unwrap_or_default())));
        }
        events.push(events::done());
        events
    }
}
