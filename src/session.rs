//! The shell of a call: it owns the caller's sound, the dialogue and the answers in flight, and does what the [`Conversation`] decides.
//!
//! One task owns all of it. Dropping the task drops the transcriber's stream and the answers, and with them every model's work.

mod dialogue;
mod echo;
mod filler;
mod floor;
mod hearing;
mod idle;
mod mcp;
mod playhead;
mod playing;
mod prepared;
mod reply;
mod respond;
mod segments;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use audio::{Probability, Rate, Samples};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use models::{Baseline, Belief, Heard, Hint, Language, ModelError, SignalKind, SignalSet, Signals, WordTimes};
use router::Works;
use tokio::time::Instant;
use tracing::{info, warn};
use web::Books;
use web::call::{Call, CallError, Command, Content, Eagerness, Event, Item, ItemContent, Request, SessionConfig, Status, TurnDetection};

use crate::conversation::{Conversation, Ends, Input, Output, ReplyId, Rules};
use crate::engines::Engines;
use dialogue::Dialogue;
use floor::Floor;
use hearing::Hearing;
use reply::Reply;
use turn::{Finishing, Judging};

/// Windows handled before the other ends of the call get their turn: half a second of sound.
const WINDOWS_AT_ONCE: usize = 16;
/// Less sound than this is no turn (OpenAI's limit too).
const SHORTEST_COMMIT_MS: u64 = 100;
/// Transcripts on their way at once; a caller cannot end turns faster than they are heard.
const MOST_FINISHING: usize = 8;

/// The client is gone.
struct Gone;
type Told = Result<(), Gone>;

/// Serves one call to its end.
pub async fn serve(call: Call, engines: Arc<Engines>) {
    let id = call.id.clone();
    info!(call = %id, model = %call.config.model, "Call begins.");
    match Session::new(call, engines) {
        Ok(session) => {
            let turns = session.run().await;
            info!(call = %id, turns, "Call ends.");
        }
        Err(error) => warn!(call = %id, %error, "Call cannot begin."),
    }
}

struct Session {
    id: String,
    /// Whose call it is, and where its books are kept.
    books: Books,
    /// What was heard since the last answer began.
    works: Works,
    /// When the caller stopped to speak, of a turn that is being answered.
    spoke: Option<Instant>,
    engines: Arc<Engines>,
    config: SessionConfig,
    commands: tokio::sync::mpsc::Receiver<Request>,
    events: tokio::sync::mpsc::Sender<Event>,
    hearing: Hearing,
    conversation: Conversation,
    dialogue: Dialogue,
    /// The pause that is being judged.
    judging: Option<Judging>,
    /// The answer begun in a pause.
    prepared: Option<prepared::Prepared>,
    /// Turns that are over, whose last words are on their way.
    finishing: VecDeque<Finishing>,
    /// Signals of finished turns on their way to the client.
    measuring: FuturesUnordered<BoxFuture<'static, (String, Signals)>>,
    reply: Option<Reply>,
    /// The answer before, while the caller still hears it.
    tail: Option<playing::Tail>,
    /// Since when neither side has said anything, after an answer.
    idle_since: Option<Instant>,
    /// Who speaks how much.
    floor: Floor,
    /// When something was last said because an answer was late.
    filled: filler::LastSaid,
    /// Items of the answer in flight.
    writing: respond::Writing,
    asides: Vec<(Reply, respond::Writing)>,
    /// Servers whose tools are called from here.
    mcp: mcp::Mcp,
    /// The caller's usual voice.
    baseline: Arc<Mutex<Baseline>>,
    /// The language that the caller speaks, as far as is known.
    language: Option<Language>,
    /// What is believed of it before the next turn.
    belief: Belief,
    signals: Option<Arc<Signals>>,
    names: u64,
    turns: u64,
}

/// What one round of the loop woke for.
enum Woke {
    Command(Option<Request>),
    Window,
    Heard(Option<Result<Heard, ModelError>>),
    Finished(Option<Result<Heard, ModelError>>),
    Judged(Result<Probability, ModelError>),
    Measured((String, Signals)),
    Reply(reply::Step),
    Aside(usize, reply::Step),
    HeardOut,
    Idled,
    Mcp(mcp::Happened),
}

impl Session {
    fn new(call: Call, engines: Arc<Engines>) -> Result<Session, audio::codec::CodecError> {
        let baseline = Arc::new(Mutex::new(Baseline::new(engines.speakers.emotion.clone())));
        let mut hearing = Hearing::new(&engines, &call.config)?;
        follow(&mut hearing, &call.config);
        Ok(Session {
            id: call.id,
            books: call.books,
            works: Works::new(engines.speakers.price.clone()),
            spoke: None,
            hearing,
            conversation: Conversation::new(rules(&call.config)),
            language: call.config.language,
            belief: expected(&call.config),
            engines,
            config: call.config,
            commands: call.commands,
            events: call.events,
            dialogue: Dialogue::default(),
            judging: None,
            prepared: None,
            finishing: VecDeque::new(),
            measuring: FuturesUnordered::new(),
            reply: None,
            tail: None,
            idle_since: None,
            floor: Floor::default(),
            filled: filler::LastSaid::default(),
            writing: respond::Writing::default(),
            asides: Vec::new(),
            mcp: mcp::Mcp::default(),
            baseline,
            signals: None,
            names: 0,
            turns: 0,
        })
    }

    async fn run(mut self) -> u64 {
        if self.follow_servers().await.is_err() {
            return 0;
        }
        loop {
            let woke = self.wake().await;
            let told = match woke {
                Woke::Command(None) => break,
                Woke::Command(Some(request)) => self.command(request).await,
                Woke::Window => self.windows().await,
                Woke::Heard(heard) => self.heard(heard).await,
                Woke::Finished(heard) => self.finished(heard).await,
                Woke::Judged(over) => self.judged_by_sound(over).await,
                Woke::Measured((item, signals)) => self.tell_signals(item, signals).await,
                Woke::Reply(step) => self.reply_step(step).await,
                Woke::Aside(index, step) => self.aside_step(index, step).await,
                Woke::HeardOut => self.heard_out().await,
                Woke::Idled => self.idled().await,
                Woke::Mcp(happened) => self.happened(happened).await,
            };
            if told.is_err() {
                break;
            }
        }
        self.turns
    }

    /// Waits for whatever comes first. Each branch is cancel-safe: streams, receivers, and boxed futures that stay where they are.
    async fn wake(&mut self) -> Woke {
        let window = self.hearing.has_window();
        let room = self.finishing.len() < MOST_FINISHING;
        let judging = self.judging.as_mut().and_then(|judging| judging.sound.as_mut());
        let asides = &mut self.asides;
        let tail = self.tail.as_ref().filter(|tail| !tail.playhead.is_held()).map(|tail| tail.playhead.unheard());
        let idled = self.idle_since.zip(self.config.idle_timeout).filter(|_| !self.mcp.is_busy()).map(|(since, most)| since + most);
        let speaks = self.hearing.utterance.as_ref().is_some_and(|utterance| utterance.announced);
        let quiet = self.reply.is_none() && self.finishing.is_empty() && !speaks;
        tokio::select! {
            biased;
            over = async { match judging { Some(sound) => sound.await, None => std::future::pending().await } } => Woke::Judged(over),
            heard = async { match self.finishing.front_mut() { Some(f) => f.heard.next().await, None => std::future::pending().await } } => Woke::Finished(heard),
            heard = async { match &mut self.hearing.utterance { Some(u) => u.heard.next().await, None => std::future::pending().await } } => Woke::Heard(heard),
            step = async { match &mut self.reply { Some(reply) => reply.next().await, None => std::future::pending().await } } => Woke::Reply(step),
            never = async { match &mut self.prepared { Some(prepared) => prepared.reply.read_ahead().await, None => std::future::pending().await } } => match never {},
            (index, step) = next_of(asides) => Woke::Aside(index, step),
            () = async { match tail { Some(rest) => tokio::time::sleep(rest).await, None => std::future::pending().await } } => Woke::HeardOut,
            Some(measured) = self.measuring.next() => Woke::Measured(measured),
            () = async { match idled { Some(at) => tokio::time::sleep_until(at).await, None => std::future::pending().await } } => Woke::Idled,
            happened = self.mcp.next(quiet) => Woke::Mcp(happened),
            // Sound is handled in order with the commands around it: those after it wait until it is through.
            () = std::future::ready(()), if window => Woke::Window,
            request = self.commands.recv(), if !window && room => Woke::Command(request),
        }
    }

    async fn tell(&mut self, event: Event) -> Told {
        self.events.send(event).await.map_err(|_| Gone)
    }

    async fn fail(&mut self, event_id: Option<String>, code: &'static str, param: Option<&str>, message: impl Into<String>) -> Told {
        let error = CallError { code, message: message.into(), param: param.map(str::to_owned), event_id };
        self.tell(Event::Error(error)).await
    }

    /// The model that answers: the client's, or the server's default where it names one that only another vendor has.
    fn model(&self) -> String {
        let known = self.engines.router.resolve(&self.config.model).is_some();
        if known { self.config.model.clone() } else { "auto".to_owned() }
    }

    /// A new name: `item_…`, `resp_…`.
    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}_{}{:04}", self.id.rsplit('_').next().unwrap_or_default(), self.names)
    }

    fn reply_number(&mut self) -> ReplyId {
        self.names += 1;
        ReplyId(NonZeroU32::new(self.names as u32).unwrap_or(NonZeroU32::MIN))
    }

    async fn command(&mut self, Request { event_id, command }: Request) -> Told {
        match command {
            Command::Update(config) => {
                if let Err(error) = self.hearing.recode(&self.engines, &self.config, &config) {
                    return self.fail(event_id, "invalid_value", Some("session.audio.input.format"), error.to_string()).await;
                }
                if (config.language, &config.languages) != (self.config.language, &self.config.languages) {
                    (self.language, self.belief) = (config.language, expected(&config));
                }
                self.config = *config;
                self.prepared = None;
                let outputs = self.conversation.follow(rules(&self.config));
                follow(&mut self.hearing, &self.config);
                self.tell(Event::Updated).await?;
                self.follow_servers().await?;
                self.perform(outputs).await
            }
            Command::Append(bytes) => match self.hearing.append(&bytes) {
                Ok(()) => Ok(()),
                Err(error) => self.fail(event_id, "invalid_audio", Some("audio"), error).await,
            },
            Command::Commit => {
                let length = self.hearing.utterance.as_ref().map_or(Samples(0), |utterance| self.hearing.now() - utterance.from);
                if length.ms(Rate::MODEL) < SHORTEST_COMMIT_MS {
                    let message = format!(
                        "the input audio buffer is too small to commit: it holds {:.2} ms of speech, at least {SHORTEST_COMMIT_MS} ms are needed",
                        length.0 as f64 / 16.0
                    );
                    return self.fail(event_id, "input_audio_buffer_commit_empty", None, message).await;
                }
                self.decide(Input::Commit).await
            }
            Command::Clear => {
                self.hearing.utterance = None;
                self.hearing.quiet();
                (self.judging, self.prepared) = (None, None);
                self.decide(Input::Cleared).await?;
                self.tell(Event::Cleared).await
            }
            Command::Create { after, item } => self.create(event_id, after, item).await,
            Command::Retrieve(id) => match self.dialogue.get(&id).cloned() {
                Some(item) => self.tell(Event::ItemRetrieved(item)).await,
                None => self.no_item(event_id, &id).await,
            },
            Command::Delete(id) => {
                if self.dialogue.remove(&id) {
                    return self.tell(Event::ItemDeleted(id)).await;
                }
                self.no_item(event_id, &id).await
            }
            Command::Truncate { item, content_index, audio_end_ms } => match self.dialogue.truncate(&item, content_index, audio_end_ms) {
                Ok(()) => self.tell(Event::ItemTruncated { item, content_index, audio_end_ms }).await,
                Err((param, message)) => self.fail(event_id, "invalid_value", Some(param), message).await,
            },
            Command::Respond(response) => self.respond(event_id, response).await,
            Command::Cancel(id) => self.cancel(event_id, id).await,
            Command::Key(key) => {
                let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                self.tell(Event::Key { key, at }).await
            }
            Command::Played { response, heard } => {
                self.hearing.obeyed();
                self.played(&response, heard);
                Ok(())
            }
            Command::Silenced { response, heard } => self.silenced(&response, heard).await,
        }
    }

    async fn no_item(&mut self, event_id: Option<String>, id: &str) -> Told {
        self.fail(event_id, "item_not_found", Some("item_id"), format!("there is no item {id:?} in this conversation")).await
    }

    async fn create(&mut self, event_id: Option<String>, after: Option<String>, mut item: Item) -> Told {
        if item.id.is_empty() {
            item.id = self.name("item");
        } else if self.dialogue.get(&item.id).is_some() {
            return self.fail(event_id, "item_exists", Some("item.id"), format!("there is already an item {:?}", item.id)).await;
        }
        item.status = Status::Completed;
        let approval = match &item.content {
            ItemContent::McpApprovalResponse { request, approve, reason } => match self.awaits_approval(request) {
                Some(call) => Some((call, *approve, reason.clone())),
                None => {
                    let message = format!("no call waits for the approval {request:?}");
                    return self.fail(event_id, "item_not_found", Some("item.approval_request_id"), message).await;
                }
            },
            _ => None,
        };
        let Some(before) = self.dialogue.add(item.clone(), after.as_deref()) else {
            let message = format!("there is no item {:?} in this conversation", after.unwrap_or_default());
            return self.fail(event_id, "item_not_found", Some("previous_item_id"), message).await;
        };
        self.tell(Event::ItemAdded { after: before.clone(), item: item.clone() }).await?;
        self.tell(Event::ItemDone { after: before, item: item.clone() }).await?;
        if let Some((call, approve, reason)) = approval {
            return self.approved(&call, approve, reason).await;
        }
        if let ItemContent::Message { parts, .. } = item.content {
            for part in parts {
                if let Content::Audio { pcm: Some(bytes), transcript: None } = part {
                    let mut sound = Vec::new();
                    audio::codec::pcm::decode(&bytes, &mut sound);
                    let pcm = audio::resample(&sound, Rate::SPEECH, Rate::MODEL);
                    let heard = hearing::recording(&self.engines, pcm.clone(), self.hint());
                    let now = Instant::now();
                    self.finishing.push_back(Finishing {
                        item: item.id.clone(),
                        pcm,
                        over: None,
                        dynamics: None,
                        heard,
                        told: String::new(),
                        respond: false,
                        ended: now,
                        asked: now,
                    });
                }
            }
        }
        Ok(())
    }

    /// Handles the windows that wait, a few at a time.
    async fn windows(&mut self) -> Told {
        for _ in 0..WINDOWS_AT_ONCE {
            if !self.hearing.has_window() {
                break;
            }
            let manual = self.config.turns == TurnDetection::Manual;
            if manual && self.hearing.utterance.is_none() {
                let (from, item, hint) = (self.hearing.now(), self.name("item"), self.hint());
                self.hearing.hear(&self.engines, from, item, hint);
            }
            match self.hearing.window(!manual) {
                Ok((speech, event)) => {
                    if let Some(event) = event {
                        self.decide(Input::Voice(event)).await?;
                    }
                    if !manual {
                        self.decide(Input::Window(speech)).await?;
                    }
                }
                Err(error) => {
                    warn!(call = %self.id, %error, "The voice detector failed.");
                    self.fail(None, "server_error", None, error.to_string()).await?;
                }
            }
        }
        Ok(())
    }

    /// Does what the conversation decides about `input`.
    async fn decide(&mut self, input: Input) -> Told {
        let now = self.hearing.now();
        self.floor.told(&input, now);
        let outputs = self.conversation.handle(now, input);
        self.perform(outputs).await
    }

    async fn perform(&mut self, outputs: Vec<Output>) -> Told {
        for output in outputs {
            self.floor.decided(&output);
            match output {
                Output::Hear { from } => {
                    let (item, hint) = (self.name("item"), self.hint());
                    self.hearing.hear(&self.engines, from, item, hint);
                }
                Output::Announce { at } => {
                    self.idle_since = None;
                    if let Some(utterance) = &mut self.hearing.utterance {
                        utterance.announced = true;
                        let item = utterance.item.clone();
                        self.tell(Event::SpeechStarted { at_ms: at.ms(Rate::MODEL), item }).await?;
                    }
                }
                Output::Draft => self.draft_pause(),
                Output::Listen => Box::pin(self.listen()).await?,
                Output::Ask => self.ask().await?,
                Output::Prepare { at } => self.prepare_for(at),
                Output::GoOn => {
                    (self.judging, self.prepared) = (None, None);
                    if let Some(utterance) = &mut self.hearing.utterance {
                        utterance.resume();
                    }
                }
                Output::EndTurn { at, respond } => self.end_turn(at, respond).await?,
                Output::Answer => self.answer_at_last().await?,
                Output::Forget => {
                    self.judging = None;
                    self.hearing.quiet();
                    self.hearing.utterance = None;
                }
                Output::Hold(id) => self.hold(id, true).await?,
                Output::Release(id) => self.hold(id, false).await?,
                Output::Interrupt(id) => self.interrupt(id).await?,
            }
        }
        Ok(())
    }

    fn hint(&self) -> Hint {
        Hint {
            language: self.config.language,
            belief: self.belief.clone(),
            prompt: self.config.prompt.clone(),
            keywords: self.config.keywords.clone(),
            word_times: if self.wanted().contains(SignalKind::Hesitation) { WordTimes::Here } else { WordTimes::Unwanted },
            thorough: self.config.thorough,
            partials: self.config.transcripts,
            tone: [SignalKind::Emotion, SignalKind::Hesitation].into_iter().any(|kind| self.wanted().contains(kind)),
        }
    }

    /// The signals that the client or a rule asks for: no others are measured.
    fn wanted(&self) -> SignalSet {
        self.config.signals.union(self.engines.router.wanted_by(&self.model()))
    }
}

/// What is believed of a caller's language before the call.
fn expected(config: &SessionConfig) -> Belief {
    if config.languages.is_empty() { Belief::usual() } else { Belief::among(&config.languages) }
}

async fn next_of(asides: &mut [(Reply, respond::Writing)]) -> (usize, reply::Step) {
    if asides.is_empty() {
        return std::future::pending().await;
    }
    let steps = asides.iter_mut().map(|(reply, _)| Box::pin(reply.next()));
    let (step, index, _) = futures::future::select_all(steps).await;
    (index, step)
}

fn rules(config: &SessionConfig) -> Rules {
    let ms = |ms| Rate::MODEL.samples_in_ms(ms);
    match config.turns {
        TurnDetection::Manual => Rules { ends: Ends::Manual, respond: false, interrupt: false },
        TurnDetection::Silence { silence_ms, then, .. } => {
            Rules { ends: Ends::Silence(ms(silence_ms)), respond: then.respond, interrupt: then.interrupt }
        }
        TurnDetection::Semantic { eagerness, then } => {
            let ends = match eagerness {
                Eagerness::High => Ends::HIGH,
                Eagerness::Medium => Ends::MEDIUM,
                Eagerness::Low => Ends::LOW,
            };
            Rules { ends, respond: then.respond, interrupt: then.interrupt }
        }
    }
}

fn follow(hearing: &mut Hearing, config: &SessionConfig) {
    let (threshold, padding_ms) = match config.turns {
        TurnDetection::Silence { threshold, padding_ms, .. } => (threshold, padding_ms),
        TurnDetection::Manual | TurnDetection::Semantic { .. } => (0.5, 300),
    };
    hearing.follow(threshold, Rate::MODEL.samples_in_ms(padding_ms));
}
