//! The line between a transport and the session that it carries: one [`Realtime`] model, the commands that wait for the session, and the
//! events that the session has told.
//!
//! It knows no socket. A transport asks it for the next thing to do, hands it what the client sent, and writes what it returns. Others may
//! attach to the call beside its client: they are told what the session tells, but for the sound, and may command it, too.

use std::collections::VecDeque;

use futures::future::BoxFuture;
use tokio::select;
use tokio::sync::mpsc::{self, Receiver, Sender};

use audio::codec::Codec;

use crate::call::{Call, CallError, Command, Event, Request, SessionConfig};
use crate::live::{Controller, Listed, Order};
use crate::{Answer, Asked, Books, Playing, Realtime};

/// Commands that wait for the session: 1.3 s of sound in messages of 20 ms. When it is full the transport holds back its client.
const COMMANDS: usize = 64;

/// Events that wait for the client: a second and more of speech. When it is full the session waits.
const EVENTS: usize = 256;

/// A session, and what is on its way to and from it. Dropping it ends the session.
pub(crate) struct Line {
    /// The wire format, both ways.
    pub realtime: Realtime,
    /// `None` once it is done.
    session: Option<BoxFuture<'static, ()>>,
    commands: Sender<Request>,
    events: Receiver<Event>,
    /// Commands that the session has no room for yet: one of the client's, and what the transport told since.
    pending: VecDeque<Request>,
    told_all: bool,
    /// Its place among the calls in progress.
    listed: Listed,
    controllers: Vec<Controller>,
    /// What sound is encoded in, to and fro: the transport's business, whatever a controller says.
    codecs: (Codec, Codec),
    /// The answer whose sound was told last.
    heard: Option<String>,
}

/// What a line woke for.
enum Woke {
    Moved,
    /// The session is done.
    Ended,
    Told(Event),
    Ordered(Order),
    /// What a controller sent; `None`: it left.
    Asked(usize, Option<String>),
}

/// What happened on a line.
#[expect(clippy::large_enum_variant, reason = "taken apart where it is made, never kept")]
pub(crate) enum Next {
    /// The session tells something.
    Told(Event),
    /// Another command can be taken, or none any more.
    Moved,
}

impl Line {
    /// Calls `answer`, with the configuration that `realtime` has by now as the transport carries it.
    pub(crate) fn new(realtime: Realtime, config: SessionConfig, books: Books, answer: &Answer) -> Line {
        let (commands, received) = mpsc::channel(COMMANDS);
        let (told, events) = mpsc::channel(EVENTS);
        let listed = books.live.list(realtime.id(), books.key);
        let codecs = (config.input, config.output);
        let call = Call { id: realtime.id().to_owned(), books, config, commands: received, events: told };
        let session = Some(answer(call));
        let controllers = Vec::new();
        Line { realtime, session, commands, events, pending: VecDeque::new(), told_all: false, listed, controllers, codecs, heard: None }
    }

    /// Whether [`Line::request`] may be called: no command waits, and there is somebody to take one.
    pub(crate) fn is_ready(&self) -> bool {
        self.pending.is_empty() && self.session.is_some()
    }

    /// Whether a command waits for the session.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the session is done and everything that it told was taken.
    pub(crate) fn is_over(&self) -> bool {
        self.session.is_none() && self.told_all
    }

    /// Gives the session a command; mostly there is room, else it waits here.
    pub(crate) fn request(&mut self, request: Request) {
        if let Command::Update(config) = &request.command {
            self.codecs = (config.input, config.output);
        }
        if self.session.is_none() {
            return;
        }
        match self.pending.is_empty() {
            true => self.pending.extend(self.commands.try_send(request).err().map(mpsc::error::TrySendError::into_inner)),
            false => self.pending.push_back(request),
        }
    }

    /// Tells the session how far the transport is with an answer: a few times for each answer, whether or not it is ready.
    pub(crate) fn report(&mut self, command: Command) {
        self.request(Request { event_id: None, command });
    }

    /// The messages that tell the client of an error.
    pub(crate) fn complaint(&mut self, error: CallError) -> Vec<String> {
        self.realtime.send(&Event::Error(error))
    }

    /// The message that tells what became of the sound of an answer where the transport plays it.
    pub(crate) fn playing(&mut self, playing: Playing, response: &str) -> String {
        let message = self.realtime.playing(playing, response);
        broadcast(&mut self.controllers, &message);
        message
    }

    /// Runs the session until something happens; events only where `telling`. Cancel-safe; ends never once [`Line::is_over`].
    pub(crate) async fn next(&mut self, telling: bool) -> Next {
        let ready = self.is_ready();
        let Line { session, commands, events, pending, told_all, listed, controllers, .. } = self;
        let woke = select! {
            _ = commands.reserve(), if !pending.is_empty() => {
                // A session that takes no more commands is about to end.
                if let Some(request) = pending.pop_front() {
                    let _ = commands.try_send(request);
                }
                Woke::Moved
            }
            event = events.recv(), if telling && !*told_all => match event {
                Some(event) => Woke::Told(event),
                None => {
                    *told_all = true;
                    Woke::Moved
                }
            },
            Some(order) = listed.order() => Woke::Ordered(order),
            (index, asked) = next_asked(controllers), if ready && !controllers.is_empty() => Woke::Asked(index, asked),
            () = async { match session { Some(session) => session.await, None => std::future::pending().await } } => {
                Woke::Ended
            }
        };
        match woke {
            Woke::Moved => return Next::Moved,
            Woke::Ended => self.end(),
            Woke::Told(event) => {
                self.tell_controllers(&event);
                return Next::Told(event);
            }
            Woke::Ordered(Order::Attach(controller)) => self.controllers.push(controller),
            Woke::Ordered(Order::HangUp) => self.end(),
            Woke::Asked(index, None) => drop(self.controllers.swap_remove(index)),
            Woke::Asked(index, Some(text)) => return self.asked(index, &text),
        }
        Next::Moved
    }

    /// The session is over.
    fn end(&mut self) {
        self.session = None;
        self.pending.clear();
        // What it still told comes first; what others would tell in its name does not come at all.
        self.events.close();
    }

    /// Controllers are told everything but the sound, each in the order that the client is.
    fn tell_controllers(&mut self, event: &Event) {
        if let Event::ResponseCreated(response) = event {
            self.heard = Some(response.id.clone());
        }
        if self.controllers.is_empty() || matches!(event, Event::AudioDelta { .. }) {
            return;
        }
        for message in self.realtime.send(event) {
            broadcast(&mut self.controllers, &message);
        }
    }

    /// An event of a controller's. Its sound is not heard, and how the call's own is encoded is not its business.
    fn asked(&mut self, index: usize, text: &str) -> Next {
        match self.realtime.receive_beside_media(text) {
            Ok(Asked::Silence) => {
                if let Some(response) = self.heard.clone() {
                    return Next::Told(Event::Silence { response });
                }
            }
            Ok(Asked::Session(Request { event_id, command })) => {
                let command = match command {
                    Command::Update(mut config) => {
                        (config.input, config.output) = self.codecs;
                        Command::Update(config)
                    }
                    other => other,
                };
                self.request(Request { event_id, command });
            }
            Err(error) => {
                let complaint = self.realtime.send(&Event::Error(error));
                if let Some(controller) = self.controllers.get(index) {
                    complaint.into_iter().for_each(|message| drop(controller.told.try_send(message)));
                }
            }
        }
        Next::Moved
    }
}

/// What any of the controllers sends next. Cancel-safe: each is a channel.
async fn next_asked(controllers: &mut [Controller]) -> (usize, Option<String>) {
    let asked = controllers.iter_mut().map(|controller| Box::pin(controller.asked.recv()));
    let (asked, index, _) = futures::future::select_all(asked).await;
    (index, asked)
}

/// Tells all of them; who does not read is let go.
fn broadcast(controllers: &mut Vec<Controller>, message: &str) {
    controllers.retain(|controller| controller.told.try_send(message.to_owned()).is_ok());
}
