//! The line between a transport and the session that it carries: one [`Realtime`] model, the commands that wait for the session, and the
//! events that the session has told.
//!
//! It knows no socket. A transport asks it for the next thing to do, hands it what the client sent, and writes what it returns.

use std::collections::VecDeque;

use futures::future::BoxFuture;
use tokio::select;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::call::{Call, CallError, Command, Event, Request, SessionConfig};
use crate::{Answer, Books, Realtime};

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
        let call = Call { id: realtime.id().to_owned(), books, config, commands: received, events: told };
        let session = Some(answer(call));
        Line { realtime, session, commands, events, pending: VecDeque::new(), told_all: false }
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

    /// Runs the session until something happens; events only where `telling`. Cancel-safe; ends never once [`Line::is_over`].
    pub(crate) async fn next(&mut self, telling: bool) -> Next {
        let Line { session, commands, events, pending, told_all, .. } = self;
        select! {
            _ = commands.reserve(), if !pending.is_empty() => {
                // A session that takes no more commands is about to end.
                if let Some(request) = pending.pop_front() {
                    let _ = commands.try_send(request);
                }
                Next::Moved
            }
            event = events.recv(), if telling && !*told_all => match event {
                Some(event) => Next::Told(event),
                None => {
                    *told_all = true;
                    Next::Moved
                }
            },
            () = async { match session { Some(session) => session.await, None => std::future::pending().await } } => {
                *session = None;
                pending.clear();
                // What it still told comes first; what others would tell in its name does not come at all.
                events.close();
                Next::Moved
            }
        }
    }
}
