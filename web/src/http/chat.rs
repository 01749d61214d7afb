//! `POST /v1/chat/completions`: a prompt answered in text and, if asked for, in speech.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use models::{Completion, Delta, Hint, Part, Piece, Prompt, SignalSet, Signals, Voice, read_aloud};
use router::{AttemptLog, Decision, Facts, RouteError};
use serde_json::Value;
use tokio::time::timeout;

use super::events::KEEP_ALIVE;
use super::speech::{cannot_write, voice_of};
use super::{App, body, events, fresh_id, now};
use crate::ApiError;
use crate::listening::{decode_upload, measure, sound, utterance};
use crate::spoken::{REMEMBERED_SECONDS, SpeechFile};
use crate::wire::chat::{self, InputAudio, RecalledAudio, SpokenReply, StreamOptions};
use crate::wire::completion::{Envelope, SpokenAudio, attempt_fields, finish_of, our_fields};

type Pieces = BoxStream<'static, Result<Piece, RouteError>>;

pub(super) async fn complete(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let services = &app.services;
    let body = body::json(request, &services.limits).await?;
    let mut request = chat::read(body)?;
    let model = request.prompt.model.clone();
    if services.router.resolve(&model).is_none() {
        // Before the work of listening.
        return Err(ApiError::no_such_model(&model));
    }
    app.recall(&mut request.prompt, request.recalled)?;
    let wanted = services.router.wanted_by(&model).union(request.signals);
    let signals = app.listen(&mut request.prompt, request.heard, wanted).await?.map(Arc::new);
    // Before the model is asked: a format that cannot be written here must not cost an answer.
    let file = request.spoken.as_ref().map(|spoken| SpeechFile::new(spoken.format)).transpose();
    let file = file.map_err(|error| cannot_write(error).at("audio.format"))?;
    let facts = Facts { metadata: request.metadata, user: request.user, signals: signals.clone() };
    let answer = services.router.complete(router::Request { prompt: request.prompt, facts }).map_err(to_error)?;
    let telling = Telling { decision: answer.decision().clone(), log: answer.log(), signals };
    let pieces = match &request.spoken {
        Some(SpokenReply { voice, .. }) => read_aloud(answer.boxed(), services.synthesizer.as_ref(), Voice::new(voice_of(services, voice))),
        None => answer.map(|delta| delta.map(Piece::Delta)).boxed(),
    };
    match request.stream {
        Some(options) => app.stream(pieces, telling, options, file).await,
        None => {
            let whole = timeout(services.limits.request_timeout, app.whole(pieces, telling, request.spoken.zip(file))).await;
            whole.unwrap_or_else(|_| Err(ApiError::new(504, "timeout", "The answer took too long; ask for less, or stream it.")))
        }
    }
}

/// What is told of an answer besides its words.
struct Telling {
    decision: Decision,
    log: AttemptLog,
    signals: Option<Arc<Signals>>,
}

impl Telling {
    fn envelope(&self, with_usage: bool) -> Envelope {
        let attempts = self.log.attempts();
        let target = attempts.last().map(|attempt| &attempt.target).or(self.decision.targets.first());
        Envelope { id: fresh_id("chatcmpl-"), created: now(), model: target.cloned().unwrap_or_default(), with_usage }
    }

    fn fields(&self) -> serde_json::Map<String, Value> {
        our_fields(&self.decision, &self.log.attempts(), self.signals.as_deref())
    }
}

impl App {
    /// Puts the words of earlier spoken answers in their places.
    fn recall(&self, prompt: &mut Prompt, recalled: Vec<RecalledAudio>) -> Result<(), ApiError> {
        for RecalledAudio { message, path, id } in recalled {
            let message = &mut prompt.messages[message];
            match self.transcripts.get(&id, now()) {
                Some(words) => message.parts.push(Part::Text(words)),
                // The client sent the words as well.
                None if !message.parts.is_empty() => {}
                None => {
                    let detail =
                        format!("`{path}` must be the id of a spoken answer of the last hour; send the words as `content` instead.");
                    return Err(ApiError::invalid(path, detail));
                }
            }
        }
        Ok(())
    }

    /// Puts the words of each recording in its place; the signals are those of the last one, which is the latest that was said.
    async fn listen(&self, prompt: &mut Prompt, heard: Vec<InputAudio>, wanted: SignalSet) -> Result<Option<Signals>, ApiError> {
        let services = &self.services;
        let mut signals = None;
        let last = heard.len().wrapping_sub(1);
        for (at, InputAudio { message, part, path, data }) in heard.into_iter().enumerate() {
            let bytes = decode_base64(&data, &path)?;
            let pcm = decode_upload(bytes.into(), services.limits.audio_length, &path).await?;
            let heard = services.transcriber.transcribe(sound(pcm.clone()), Hint::default());
            let whole = timeout(services.limits.request_timeout, utterance(heard)).await;
            let utterance = whole.map_err(|_| ApiError::new(504, "timeout", "The transcription took too long.").at(&path))??;
            if at == last && !wanted.is_empty() {
                signals = Some(measure(pcm, &utterance, wanted).await?);
            }
            prompt.messages[message].parts[part] = Part::Text(utterance.text);
        }
        Ok(signals)
    }

    async fn whole(&self, mut pieces: Pieces, telling: Telling, spoken: Option<(SpokenReply, SpeechFile)>) -> Result<Response, ApiError> {
        let mut completion = Completion::default();
        let mut file = spoken.map(|(_, file)| file);
        let mut data = Vec::new();
        while let Some(piece) = pieces.next().await {
            match piece.map_err(to_error)? {
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
        Ok(Json(telling.envelope(false).whole(&completion, audio, telling.fields())).into_response())
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
            Ok(Some(Err(error))) => return Err(to_error(error)),
            Ok(first) => first,
            Err(_) => None,
        };
        let speech = file.map(|file| SpeechEvents { id: fresh_id("audio_"), file });
        let envelope = telling.envelope(options.include_usage);
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
            Some(Err(error)) => (vec![events::json(&to_error(error).to_json())], (None, pieces)),
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
        events.push(events::json(&self.envelope.finish(finish_of(&self.completion), self.telling.fields())));
        if self.envelope.with_usage {
            events.push(events::json(&self.envelope.usage(self.completion.usage.unwrap_or_default())));
        }
        events.push(events::done());
        events
    }
}

/// Base64 as clients send it: with or without padding, perhaps as a data URL.
fn decode_base64(data: &str, path: &str) -> Result<Vec<u8>, ApiError> {
    let data = if data.starts_with("data:") { data.split_once(',').map_or("", |(_, data)| data) } else { data };
    let bytes = STANDARD.decode(data).or_else(|_| base64::engine::general_purpose::STANDARD_NO_PAD.decode(data));
    bytes.map_err(|error| ApiError::invalid(path, format!("`{path}` must be base64 of a WAV or MP3 file: {error}.")))
}

fn to_error(error: RouteError) -> ApiError {
    ApiError {
        param: error.param().map(str::to_owned),
        retry_after: error.retry_after(),
        beside: (!error.attempts().is_empty()).then(|| Box::new(attempt_fields(error.attempts()))),
        ..ApiError::new(error.status(), error.code(), error.to_string())
    }
}
