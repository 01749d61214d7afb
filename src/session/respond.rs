//! Answers: how one begins, what the client is told of it as it goes on, and how it ends.

use std::time::Duration;

use tokio::time::Instant;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use models::{Delta, Finish, Prompt, Role, Signals};
use router::limit::Standings;
use router::{Decision, Facts, RouteError, Works};
use tracing::{info, warn};
use web::call::{Content, Ending, Event, InputItem, Item, ItemContent, ItemId, Place, Response, ResponseConfig, Routed, Status};
use web::{Account, ApiError};

use super::dialogue;
use super::mcp::{Offer, Offered};
use super::playhead::Playhead;
use super::playing::Tail;
use super::reply::{Reply, Step};
use super::{Session, Told, filler, segments};
use crate::conversation::Input;

/// Answers beside the conversation at once.
const MOST_ASIDES: usize = 4;

/// The items of an answer as the client knows them.
#[derive(Default)]
pub(super) struct Writing {
    began: Option<Instant>,
    aside: bool,
    metadata: Option<serde_json::Value>,
    voice: String,
    max_tokens: Option<u32>,
    /// The message, once it has words.
    message: Option<Place>,
    /// Tools of MCP servers that its model is offered.
    offer: Offer,
    /// Calls, by their index in the model's answer.
    calls: Vec<(Place, Called)>,
    /// Items that are whole.
    done: Vec<Item>,
    next_index: usize,
}

/// What a model calls.
#[derive(Clone)]
enum Called {
    /// A function of the client's; the call's id.
    Function(String),
    /// A tool of an MCP server.
    Tool(Offered),
}

/// Why no answer began, as the client is told.
pub(super) struct Refusal {
    code: &'static str,
    param: Option<&'static str>,
    message: String,
}

impl Session {
    /// Begins an answer.
    pub(super) async fn respond(&mut self, event_id: Option<String>, response: Box<ResponseConfig>) -> Told {
        if !response.aside && self.reply.is_some() {
            let message = "the conversation already has an answer in progress; wait for response.done or cancel it first";
            return self.fail(event_id, "conversation_already_has_active_response", None, message).await;
        }
        if response.aside && self.asides.len() >= MOST_ASIDES {
            let message = format!("at most {MOST_ASIDES} answers beside the conversation are written at once");
            return self.fail(event_id, "too_many_responses", None, message).await;
        }
        let Some(response) = self.with_servers(&event_id, response).await? else { return Ok(()) };
        let input = match self.input(&response) {
            Ok(input) => input,
            Err(id) => {
                let message = format!("there is no item {id:?} in this conversation");
                return self.fail(event_id, "item_not_found", Some("response.input"), message).await;
            }
        };
        self.dialogue.truncate_to(self.config.truncation);
        let mut prompt = self.dialogue.prompt(&self.config, &response, input.as_deref());
        prompt.model = self.model();
        let name = self.name("resp");
        let account = match self.open(&name) {
            Ok(account) => account,
            Err(error) => return self.fail(event_id, "rate_limit_exceeded", None, error.message).await,
        };
        let signals = self.signals.as_deref().map(Signals::names).unwrap_or_default();
        match self.compose(name, *response, prompt, (account, signals)) {
            Ok((reply, writing)) => self.begin_answer(reply, writing).await,
            Err(Refusal { code, param, message }) => self.fail(event_id, code, param, message).await,
        }
    }

    /// Asks for an answer that nobody is told of yet.
    pub(super) fn compose(
        &mut self,
        name: String,
        response: ResponseConfig,
        mut prompt: Prompt,
        (account, signals): (Account, Vec<&'static str>),
    ) -> Result<(Reply, Writing), Refusal> {
        let limited = |error: ApiError| Refusal { code: "rate_limit_exceeded", param: None, message: error.message };
        let facts = Facts { metadata: self.config.metadata.clone(), user: self.config.user.clone(), signals: self.signals.clone() };
        let spoken = response.spoken.unwrap_or(self.config.spoken);
        let voice = self.engines.voice(response.voice.as_ref().or(self.config.voice.as_ref()));
        let recited = response.say.is_some();
        let offer = self.offer(&response, &mut prompt);
        let estimate = account.ask(&prompt, self.config.user.as_deref(), true, signals);
        let (decision, deltas) = match response.say {
            Some(text) => said(text),
            None => match self.engines.router.complete(router::Request { prompt, facts, ..router::Request::default() }) {
                Ok(answer) => {
                    account.reserve_at_once(&self.engines.router, answer.decision(), estimate).map_err(limited)?;
                    (answer.decision().clone(), account.watch(answer).boxed())
                }
                Err(error) => {
                    account.answered(error.status(), Some(error.code().to_owned()));
                    let param = error.param().map(|_| "session.model");
                    return Err(Refusal { code: "invalid_request_error", param, message: error.to_string() });
                }
            },
        };
        let speakers = &self.engines.speakers;
        let synthesizer = account.works(speakers).synthesizer(speakers);
        let max_tokens = response.max_tokens.or(self.config.max_tokens);
        let stream = if spoken {
            let deltas = match &self.config.filler {
                // What is said word for word is there at once.
                Some(filler) if !response.aside && !recited => {
                    let text = filler.text.as_deref().unwrap_or_else(|| filler::words(self.language));
                    filler::bridged(deltas, text, filler, self.filled.clone())
                }
                _ => deltas,
            };
            let synthesizer = segments::Segmented { synthesizer: &synthesizer, segments: self.config.segments };
            models::read_aloud(deltas, &synthesizer, voice.clone())
        } else {
            deltas.map(|delta| delta.map(models::Piece::Delta)).boxed()
        };
        let id = self.reply_number();
        let codec = spoken.then_some(self.config.output);
        let reply = Reply::new(id, name, (decision, account), stream, codec).map_err(|error| Refusal {
            code: "invalid_value",
            param: Some("session.audio.output.format"),
            message: error.to_string(),
        })?;
        let (aside, metadata, voice) = (response.aside, response.metadata, voice.name);
        let writing = Writing { aside, metadata, voice, max_tokens, offer, ..Writing::default() };
        Ok((reply, writing))
    }

    /// The client is told of an answer, and gets it from here on.
    pub(super) async fn begin_answer(&mut self, reply: Reply, mut writing: Writing) -> Told {
        self.engines.router.remember(&reply.response, self.config.user.as_deref(), &reply.decision);
        writing.began = Some(Instant::now());
        let created = described(&reply, &writing, None);
        let (response, decision) = (reply.response.clone(), reply.decision.clone());
        if writing.aside {
            self.asides.push((reply, writing));
        } else {
            let id = reply.id;
            self.reply = Some(reply);
            self.writing = writing;
            (self.tail, self.idle_since, self.mcp.owed) = (None, None, None);
            self.decide_now(Input::ReplyBegan(id));
        }
        self.tell(Event::ResponseCreated(Box::new(created))).await?;
        self.tell(Event::Routed { response, decision }).await
    }

    /// Opens the books of an answer, if its caller has room for it. It takes with it what was heard since the last one.
    fn open(&mut self, name: &str) -> Result<Account, ApiError> {
        let works = std::mem::replace(&mut self.works, Works::new(self.engines.speakers.price.clone()));
        let spoke = self.spoke.take();
        let account = Account::of_response(&self.books, name, spoke.unwrap_or_else(Instant::now), works)?;
        if spoke.is_some() {
            account.transcribed();
        }
        Ok(account)
    }

    /// Inputs that ask for nothing.
    fn decide_now(&mut self, input: Input) {
        let now = self.hearing.now();
        self.floor.told(&input, now);
        let outputs = self.conversation.handle(now, input);
        debug_assert!(outputs.is_empty(), "beginnings of answers ask for nothing: {outputs:?}");
    }

    fn input(&self, response: &ResponseConfig) -> Result<Option<Vec<Item>>, ItemId> {
        let Some(input) = &response.input else { return Ok(None) };
        let item = |item: &InputItem| match item {
            InputItem::Item(item) => Ok(item.clone()),
            InputItem::Reference(id) => self.dialogue.get(id).cloned().ok_or_else(|| id.clone()),
        };
        input.iter().map(item).collect::<Result<Vec<_>, _>>().map(Some)
    }

    pub(super) async fn cancel(&mut self, event_id: Option<String>, id: Option<String>) -> Told {
        if let Some(at) = id.as_ref().and_then(|id| self.asides.iter().position(|(reply, _)| reply.response == *id)) {
            let (reply, writing) = self.asides.remove(at);
            return self.close(reply, writing, Ending::ClientCancelled).await.map(drop);
        }
        let matches = self.reply.as_ref().is_some_and(|reply| id.as_ref().is_none_or(|id| reply.response == *id));
        if !matches {
            let message = "there is no answer in progress to cancel; the session goes on";
            return self.fail(event_id, "response_cancel_not_active", Some("response_id"), message).await;
        }
        self.end_reply(Ending::ClientCancelled).await
    }

    /// Ends the answer. The conversation goes on hearing it until the caller has.
    pub(super) async fn end_reply(&mut self, ending: Ending) -> Told {
        let Some(reply) = self.reply.take() else { return Ok(()) };
        let writing = std::mem::take(&mut self.writing);
        let (id, cut) = (reply.id, is_cut(&ending));
        let mut reply = self.close(reply, writing, ending).await?;
        self.between_answers().await?;
        if !cut && reply.playhead.unheard() > Duration::ZERO {
            let playhead = std::mem::replace(&mut reply.playhead, Playhead::new());
            self.tail = Some(Tail { id, response: reply.response, playhead });
            return Ok(());
        }
        self.idle_since = Some(Instant::now());
        Box::pin(self.decide(Input::ReplyEnded(id))).await
    }

    pub(super) async fn reply_step(&mut self, step: Step) -> Told {
        let Some(mut reply) = self.reply.take() else { return Ok(()) };
        let mut writing = std::mem::take(&mut self.writing);
        let first = matches!(step, Step::Audio(_)) && writing.began.is_some_and(|_| self.conversation.reply() == Some(reply.id));
        let ending = self.step(&mut reply, &mut writing, step).await?;
        let id = reply.id;
        self.reply = Some(reply);
        self.writing = writing;
        if first {
            self.decide_now(Input::ReplySpeaks(id));
        }
        match ending {
            None => Ok(()),
            Some(ending) => self.end_reply(ending).await,
        }
    }

    pub(super) async fn aside_step(&mut self, index: usize, step: Step) -> Told {
        let (mut reply, mut writing) = self.asides.swap_remove(index);
        match self.step(&mut reply, &mut writing, step).await? {
            None => {
                self.asides.push((reply, writing));
                Ok(())
            }
            Some(ending) => self.close(reply, writing, ending).await.map(drop),
        }
    }

    /// Tells the client one step; the ending, if it was the last.
    async fn step(&mut self, reply: &mut Reply, writing: &mut Writing, step: Step) -> Result<Option<Ending>, super::Gone> {
        match step {
            Step::Delta(Delta::Text(delta)) => {
                let place = self.message(reply, writing).await?;
                self.tell(Event::TextDelta { place, spoken: reply.is_spoken(), delta }).await?;
            }
            Step::Delta(Delta::ToolCall { index, arguments, .. }) => {
                // The completion has merged the piece already: it knows the call's name and id.
                let index = index.min(reply.completion.tool_calls.len().saturating_sub(1));
                match self.call(reply, writing, index).await? {
                    _ if arguments.is_empty() => {}
                    (place, Called::Function(call_id)) => self.tell(Event::CallDelta { place, call_id, delta: arguments }).await?,
                    (place, Called::Tool(_)) => self.tell(Event::McpCallDelta { place, delta: arguments }).await?,
                }
            }
            Step::Delta(Delta::Finish(Finish::ToolCalls | Finish::Stop)) => {
                for ((place, called), call) in writing.calls.iter().zip(&reply.completion.tool_calls) {
                    if let Called::Tool(offered) = called {
                        self.begin_call(place, offered, &call.arguments);
                    }
                }
            }
            Step::Delta(
                Delta::Reasoning(_) | Delta::Signature(_) | Delta::Redacted(_) | Delta::Extra(_) | Delta::Usage(_) | Delta::Finish(_),
            ) => {}
            Step::Audio(audio) => {
                let place = self.message(reply, writing).await?;
                if !writing.aside {
                    self.hearing.sent(&audio);
                }
                self.tell(Event::AudioDelta { place, audio }).await?;
            }
            Step::Mute(error) => {
                warn!(call = %self.id, response = %reply.response, %error, "The answer goes on without speech.");
                self.fail(None, "synthesizer_failed", None, error.to_string()).await?;
            }
            Step::Failed(error) => {
                warn!(call = %self.id, response = %reply.response, %error, "The answer broke.");
                reply.account.answered(error.status(), Some(error.code().to_owned()));
                return Ok(Some(Ending::Failed(error.to_string())));
            }
            Step::Ended => {
                return Ok(Some(match reply.completion.finish {
                    Some(Finish::Length) => Ending::MaxTokens,
                    Some(Finish::ContentFilter) => Ending::ContentFilter,
                    Some(Finish::Stop | Finish::ToolCalls) | None => Ending::Whole,
                }));
            }
        }
        Ok(None)
    }

    /// The answer's message, begun if it was not.
    async fn message(&mut self, reply: &mut Reply, writing: &mut Writing) -> Result<Place, super::Gone> {
        if let Some(place) = &writing.message {
            return Ok(place.clone());
        }
        let item = Item {
            id: self.name("item"),
            content: ItemContent::Message { role: Role::Assistant, parts: Vec::new() },
            status: Status::InProgress,
        };
        let place = self.begin(reply, writing, item).await?;
        self.tell(Event::PartAdded { place: place.clone(), spoken: reply.is_spoken() }).await?;
        writing.message = Some(place.clone());
        Ok(place)
    }

    async fn call(&mut self, reply: &mut Reply, writing: &mut Writing, index: usize) -> Result<(Place, Called), super::Gone> {
        if let Some(call) = writing.calls.get(index) {
            return Ok(call.clone());
        }
        let call = reply.completion.tool_calls.get(index).cloned().unwrap_or_default();
        let (called, content) = match writing.offer.find(&call.name) {
            Some(offered) => (Called::Tool(offered.clone()), ItemContent::McpCall(Box::new(offered.call(String::new())))),
            None => {
                let call_id = if call.id.is_empty() { self.name("call") } else { call.id };
                let content = ItemContent::FunctionCall { call_id: call_id.clone(), name: call.name, arguments: String::new() };
                (Called::Function(call_id), content)
            }
        };
        let item = Item { id: self.name("item"), content, status: Status::InProgress };
        let place = self.begin(reply, writing, item).await?;
        writing.calls.push((place.clone(), called.clone()));
        Ok((place, called))
    }

    async fn begin(&mut self, reply: &mut Reply, writing: &mut Writing, item: Item) -> Result<Place, super::Gone> {
        let place = Place { response: reply.response.clone(), item: item.id.clone(), output_index: writing.next_index };
        writing.next_index += 1;
        self.tell(Event::OutputItemAdded { place: place.clone(), item: item.clone() }).await?;
        if !writing.aside {
            let after = self.dialogue.add(item.clone(), None).flatten();
            self.tell(Event::ItemAdded { after, item }).await?;
        }
        Ok(place)
    }

    /// Ends an answer, however it ended, and tells the client.
    async fn close(&mut self, mut reply: Reply, mut writing: Writing, ending: Ending) -> Result<Reply, super::Gone> {
        let cut = is_cut(&ending);
        if cut && reply.is_spoken() {
            if !writing.aside {
                self.hearing.silence();
            }
            self.tell(Event::Silence { response: reply.response.clone() }).await?;
        }
        let status = if ending == Ending::Whole { Status::Completed } else { Status::Incomplete };
        if let Some(place) = writing.message.take() {
            let spoken = reply.is_spoken();
            let text = match (spoken, cut || reply.playhead.is_stopped()) {
                (true, true) => dialogue::heard(&reply.words, reply.playhead.heard().as_millis() as u64),
                _ => reply.completion.text.trim().to_owned(),
            };
            self.tell(Event::PartDone { place: place.clone(), spoken, text: text.clone() }).await?;
            let part = if spoken { Content::Audio { transcript: Some(text), pcm: None } } else { Content::Text(text) };
            let content = ItemContent::Message { role: Role::Assistant, parts: vec![part] };
            let item = Item { id: place.item.clone(), content, status };
            self.whole(&mut writing, place, item, &mut reply).await?;
        }
        let mut tools = Vec::new();
        let calls = std::mem::take(&mut writing.calls);
        let asked_again = !cut && calls.iter().all(|(_, called)| matches!(called, Called::Tool(_)));
        for (index, (place, called)) in calls.into_iter().enumerate() {
            let call = reply.completion.tool_calls.get(index).cloned().unwrap_or_default();
            let (name, arguments) = (call.name, call.arguments);
            match called {
                Called::Function(call_id) => {
                    if !cut {
                        let (call_id, name, arguments) = (call_id.clone(), name.clone(), arguments.clone());
                        self.tell(Event::CallDone { place: place.clone(), call_id, name, arguments }).await?;
                    }
                    let item = Item { id: place.item.clone(), content: ItemContent::FunctionCall { call_id, name, arguments }, status };
                    self.whole(&mut writing, place, item, &mut reply).await?;
                }
                Called::Tool(offered) => {
                    let item = self.end_call(&place, &offered, &arguments, &ending).await?;
                    writing.done.push(item.clone());
                    let made = item.status == Status::Completed;
                    self.tell(Event::OutputItemDone { place: place.clone(), item }).await?;
                    tools.extend(made.then_some((place, offered, arguments)));
                }
            }
        }
        let first_sound = reply.first_sound.zip(writing.began).map(|(first, began)| (first - began).as_millis() as u64);
        info!(
            call = %self.id, response = %reply.response, route = %reply.decision.route, first_audio_ms = first_sound, ending = ?ending,
            "Answer ends."
        );
        let response = described(&reply, &writing, Some(ending));
        self.tell(Event::ResponseDone(Box::new(response))).await?;
        let standings = reply.account.standings();
        if standings != Standings::default() {
            self.tell(Event::Limits(standings)).await?;
        }
        self.start_calls(tools, asked_again).await?;
        Ok(reply)
    }

    async fn whole(&mut self, writing: &mut Writing, place: Place, item: Item, reply: &mut Reply) -> Told {
        if !writing.aside {
            self.dialogue.replace(item.clone(), reply.words.clone(), &reply.response);
            let after = self.dialogue.before(&item.id);
            self.tell(Event::ItemDone { after, item: item.clone() }).await?;
        }
        writing.done.push(item.clone());
        self.tell(Event::OutputItemDone { place, item }).await
    }
}

/// Whether it was given up before it was heard.
fn is_cut(ending: &Ending) -> bool {
    matches!(ending, Ending::Interrupted | Ending::ClientCancelled)
}

/// An answer that no model gives: these very words.
fn said(text: String) -> (Decision, BoxStream<'static, Result<Delta, RouteError>>) {
    let decision =
        Decision { route: "said".to_owned(), reason: "said word for word, no model was asked".to_owned(), ..Decision::default() };
    (decision, stream::iter([Ok(Delta::Text(text)), Ok(Delta::Finish(Finish::Stop))]).boxed())
}

fn described(reply: &Reply, writing: &Writing, ending: Option<Ending>) -> Response {
    let attempts = reply.account.attempts();
    Response {
        id: reply.response.clone(),
        routed: ending.is_some().then(|| Routed { decision: reply.decision.clone(), attempts }),
        ending,
        output: writing.done.clone(),
        spoken: reply.is_spoken(),
        aside: writing.aside,
        voice: writing.voice.clone(),
        max_tokens: writing.max_tokens,
        usage: reply.completion.usage,
        metadata: writing.metadata.clone(),
    }
}
