//! OpenAI's realtime dialect (the GA one), as values: JSON of a client's event in, a [`Request`] out; an [`Event`](crate::call::Event) in, JSON for the
//! client out.
//!
//! It keeps what the protocol makes a server remember: the session object, and a counter for event ids. It does no I/O, knows no time, and
//! decides nothing about the conversation. Names of the older beta dialect are always understood; a client that speaks it is told its events by
//! those names, too.

mod beta;
mod item;
mod receive;
mod response;
mod send;
mod session;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::ApiError;
use crate::call::{CallError, ItemId, Request, SessionConfig};
use crate::wire::Field;

use session::Session;

/// Both directions of one realtime call.
pub struct Realtime {
    session: Session,
    /// What ids made here have in common, so that no two sessions' are alike.
    stem: String,
    /// Events told so far.
    told: u64,
    /// The signals told last: they are repeated in the transcript's event, for clients that read no events of our own.
    signals: Option<(ItemId, Value)>,
    dialect: Dialect,
    /// Whether the client can do with events that OpenAI does not have.
    takes_ours: bool,
}

/// How a client names things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// As OpenAI does since the API is generally available.
    #[default]
    Ga,
    /// As before, with the header `OpenAI-Beta: realtime=v1`.
    Beta,
}

impl Realtime {
    /// A call named `session_id` (`sess_...`) that asked for `model`; what it does not configure stays as in `defaults`.
    pub fn new(session_id: &str, model: impl Into<String>, defaults: SessionConfig) -> Realtime {
        let stem = session_id.strip_prefix("sess_").unwrap_or(session_id).to_owned();
        let session = Session::new(session_id, SessionConfig { model: model.into(), ..defaults });
        Realtime { session, stem, told: 0, signals: None, dialect: Dialect::default(), takes_ours: true }
    }

    /// Tells everything in this dialect.
    #[must_use]
    pub fn speaking(mut self, dialect: Dialect) -> Realtime {
        self.dialect = dialect;
        self
    }

    /// Tells nothing but OpenAI's own events, for clients that complain of others.
    #[must_use]
    pub fn strictly(mut self) -> Realtime {
        self.takes_ours = false;
        self
    }

    /// A session that only transcribes: nothing answers in it.
    #[must_use]
    pub fn transcribing(mut self) -> Realtime {
        self.session.only_transcribe();
        self
    }

    /// Tells the client when the session ends at the latest, in seconds since 1970.
    #[must_use]
    pub fn expiring_at(mut self, unix_seconds: u64) -> Realtime {
        self.session.expire_at(unix_seconds);
        self
    }

    /// Begins with what the object `session` sets, as a `session.update` would, and with its type; nothing changes if any of it is wrong.
    pub fn configure(&mut self, session: Value) -> Result<(), ApiError> {
        let mut next = self.session.clone();
        if session.get("type").is_some_and(|kind| kind == "transcription") {
            next.only_transcribe();
        }
        next.update(Field::at("session", session))?;
        self.session = next;
        Ok(())
    }

    /// The session object as the client is told of it.
    pub fn session_json(&self) -> Value {
        let session = self.session.to_json();
        match self.dialect {
            Dialect::Ga => session,
            Dialect::Beta => beta::session_json(&session),
        }
    }

    /// Name of the session.
    pub fn id(&self) -> &str {
        self.session.id()
    }

    /// The configuration in force.
    pub fn config(&self) -> &SessionConfig {
        self.session.config()
    }

    /// The first event of a call: `session.created`.
    pub fn created(&mut self) -> String {
        let session = self.session.to_json();
        self.tell("session.created", serde_json::json!({ "session": session }))
    }

    /// Whether the client takes events that OpenAI does not have: unless its kind is known to complain of them, or it said so itself.
    fn tells_ours(&self) -> bool {
        self.takes_ours && self.session.takes_ours()
    }

    /// What a client's event asks for. An error is for [`Event::Error`](crate::call::Event::Error); nothing has changed then.
    pub fn receive(&mut self, text: &str) -> Result<Request, CallError> {
        receive::request(&mut self.session, text)
    }

    /// The same where sound comes and goes beside the events, as in WebRTC: none of it is taken from an event, and what plays here can be
    /// cleared.
    pub fn receive_beside_media(&mut self, text: &str) -> Result<Asked, CallError> {
        receive::beside_media(&mut self.session, text)
    }
}

/// What an event of a client whose sound comes beside its events asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// A command for the session.
    Session(Request),
    /// To fall silent at once: `output_audio_buffer.clear`.
    Silence,
}

/// What becomes of the sound of an answer where the server plays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playing {
    /// Its first sound leaves.
    Started,
    /// Its last sound has left.
    Stopped,
    /// The rest of it was thrown away.
    Cleared,
}
