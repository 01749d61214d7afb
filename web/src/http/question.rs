//! A request of any dialect on its way to an answer: sound is heard, earlier speech recalled, the router asked.
//!
//! Every dialect's endpoint goes through here, so that a rule, a signal or a failure means the same in all of them.

use std::future::Future;
use std::sync::Arc;

use axum::response::Response;
use axum::response::sse::{Event, KeepAlive};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use futures::{Stream, StreamExt, stream};
use models::{Delta, Hint, Part, Prompt, SignalKind, SignalSet, Signals, Transcriber};
use router::{Answer, Decision, Facts, Work, Works};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::account::Account;
use super::events::{self, KEEP_ALIVE};
use super::{App, now};
use crate::ApiError;
use crate::listening::{decode_upload, measure, sound, utterance};
use crate::wire::chat::{InputAudio, RecalledAudio};
use crate::wire::completion::Ours;

/// What is asked, whatever the dialect.
pub(super) struct Question {
    /// The prompt; each of `heard` and `recalled` has a place in it.
    pub(super) prompt: Prompt,
    /// The caller's own facts for the rules.
    pub(super) metadata: Map<String, Value>,
    /// Who asks.
    pub(super) user: Option<String>,
    /// Sound to be transcribed.
    pub(super) heard: Vec<InputAudio>,
    /// Earlier spoken answers named by their ids.
    pub(super) recalled: Vec<RecalledAudio>,
    /// Signals that the caller wants to see.
    pub(super) signals: SignalSet,
    /// Whether the answer is streamed.
    pub(super) stream: bool,
}

/// What is told of an answer besides its words.
pub(super) struct Telling {
    /// What the ids of the answer end with.
    name: String,
    decision: Decision,
    account: Account,
    signals: Option<Arc<Signals>>,
}

impl Telling {
    /// The id of the answer: whoever scores it may name it so.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.name)
    }

    /// The target that answers, as far as it is known.
    pub(super) fn model(&self) -> String {
        let attempts = self.account.attempts();
        let answering = attempts.iter().rev().find(|attempt| attempt.work == Work::Answer);
        let target = answering.map(|attempt| &attempt.target).or(self.decision.targets.first());
        target.cloned().unwrap_or_default()
    }

    /// `metadata.attempts` and `timbre`.
    pub(super) fn ours(&self) -> Ours<'_> {
        Ours::new(&self.decision, self.account.attempts(), self.signals.as_deref())
    }

    /// The same, to stand beside other fields.
    pub(super) fn fields(&self) -> Map<String, Value> {
        self.ours().fields()
    }
}

impl App {
    /// Hears what is to be heard, so that the prompt is all words. The signals are those of the latest recording.
    pub(super) async fn hear(&self, question: &mut Question, account: &Account) -> Result<Option<Arc<Signals>>, ApiError> {
        let model = &question.prompt.model;
        if self.services.router.resolve(model).is_none() {
            // Before the work of listening.
            return Err(ApiError::no_such_model(model));
        }
        let wanted = self.services.router.wanted_by(model).union(question.signals);
        self.recall(&mut question.prompt, std::mem::take(&mut question.recalled))?;
        let heard = std::mem::take(&mut question.heard);
        if heard.is_empty() {
            return Ok(None);
        }
        let works = account.works(&self.services.speakers);
        let signals = self.listen(&mut question.prompt, heard, wanted, &works).await?;
        account.transcribed();
        Ok(signals.map(Arc::new))
    }

    /// Asks the router, or the cache.
    pub(super) async fn ask(
        &self,
        mut question: Question,
        signals: Option<Arc<Signals>>,
        account: &Account,
    ) -> Result<(Answer, Telling), ApiError> {
        let names = signals.as_deref().map(Signals::names).unwrap_or_default();
        let estimate = account.ask(&question.prompt, question.user.as_deref(), question.stream, names);
        let control = account.cache_control(&mut question.prompt)?;
        let prompt = self.services.cache.as_ref().map(|_| question.prompt.clone());
        let facts = Facts { metadata: question.metadata, user: question.user, signals: signals.clone() };
        let answer = self.services.router.complete(router::Request { prompt: question.prompt, facts, id: account.id() })?;
        // Nobody is asked before the answer is polled.
        if let Some(usage) = estimate {
            account.reserve(&self.services.router, answer.decision(), &usage).await?;
        }
        let answer = account.follow(self, prompt.as_ref(), &control, answer);
        let telling = Telling { name: account.name(), decision: answer.decision().clone(), account: account.clone(), signals };
        Ok((answer, telling))
    }

    /// Waits for an answer that is not streamed, as long as a request may take.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        let whole = timeout(self.services.limits.request_timeout, work).await;
        whole.unwrap_or_else(|_| Err(ApiError::new(504, "timeout", "The answer took too long; ask for less, or stream it.")))
    }

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
    async fn listen(
        &self,
        prompt: &mut Prompt,
        heard: Vec<InputAudio>,
        wanted: SignalSet,
        works: &Works,
    ) -> Result<Option<Signals>, ApiError> {
        let services = &self.services;
        let transcriber = works.transcriber(&services.speakers);
        let mut signals = None;
        let last = heard.len().wrapping_sub(1);
        for (at, InputAudio { message, part, path, data }) in heard.into_iter().enumerate() {
            let bytes = decode_base64(&data, &path)?;
            let pcm = decode_upload(bytes.into(), services.limits.audio_length, &path).await?;
            let hint = Hint { tone: at == last && wanted.contains(SignalKind::Emotion), ..Hint::default() };
            let heard = transcriber.transcribe(sound(pcm.clone()), hint);
            let whole = timeout(services.limits.request_timeout, utterance(heard)).await;
            let utterance = whole.map_err(|_| ApiError::new(504, "timeout", "The transcription took too long.").at(&path))??;
            if at == last && !wanted.is_empty() {
                signals = Some(measure(pcm, &utterance, wanted, &services.speakers).await?);
            }
            prompt.messages[message].parts[part] = Part::Text(utterance.text);
        }
        Ok(signals)
    }
}

/// A dialect's stream in the making: deltas to events.
pub(super) trait Writer: Send + 'static {
    /// The events before the first piece.
    fn opening(&mut self) -> Vec<Event>;
    /// The events of one piece.
    fn push(&mut self, delta: Delta) -> Vec<Event>;
    /// The events that say that the answer is whole.
    fn end(self) -> Vec<Event>;
    /// The events that say that it is not, and why.
    fn fail(self, error: ApiError) -> Vec<Event>;
}

/// Streams an answer. What fails before its first piece is an HTTP error; a model that thinks for longer than proxies are patient gets a
/// stream that is kept alive.
pub(super) async fn stream_answer<W: Writer>(
    mut answer: Answer,
    keep_alive: KeepAlive,
    begin: impl FnOnce() -> W,
) -> Result<Response, ApiError> {
    let first = match timeout(KEEP_ALIVE, answer.next()).await {
        Ok(Some(Err(error))) => return Err(error.into()),
        Ok(first) => first,
        Err(_) => None,
    };
    let mut writer = begin();
    let opening = writer.opening();
    let deltas = stream::iter(first).chain(answer);
    Ok(events::respond_kept(stream::iter(opening).chain(written(writer, deltas)), keep_alive))
}

fn written<W: Writer>(
    writer: W,
    deltas: impl Stream<Item = Result<Delta, router::RouteError>> + Send + Unpin + 'static,
) -> impl Stream<Item = Event> + Send {
    let batches = stream::unfold((Some(writer), deltas), |(writer, mut deltas)| async move {
        let mut writer = writer?;
        Some(match deltas.next().await {
            Some(Ok(delta)) => (writer.push(delta), (Some(writer), deltas)),
            Some(Err(error)) => (writer.fail(error.into()), (None, deltas)),
            None => (writer.end(), (None, deltas)),
        })
    });
    batches.flat_map(stream::iter)
}

/// Base64 as clients send it: with or without padding, perhaps as a data URL.
fn decode_base64(data: &str, path: &str) -> Result<Vec<u8>, ApiError> {
    let data = if data.starts_with("data:") { data.split_once(',').map_or("", |(_, data)| data) } else { data };
    let bytes = STANDARD.decode(data).or_else(|_| STANDARD_NO_PAD.decode(data));
    bytes.map_err(|error| ApiError::invalid(path, format!("`{path}` must be base64 of a WAV or MP3 file: {error}.")))
}
