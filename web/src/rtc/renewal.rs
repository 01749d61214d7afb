//! What a client asks of a call in progress over HTTP: another offer, because it moved, lost its connection, or restarts ICE.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use router::limit::KeyId;
use tokio::sync::{mpsc, oneshot};

use crate::ApiError;

/// Requests that wait for one call: a client has no reason for more than one at a time.
const WAITING: usize = 4;

/// A request.
pub(super) struct Renewal {
    pub(super) asked: Description,
    pub(super) answer: oneshot::Sender<Result<Renewed, ApiError>>,
}

/// What a client describes itself by.
pub(super) enum Description {
    /// A whole offer, `application/sdp`.
    Offer(String),
    /// A part of one, `application/trickle-ice-sdpfrag` (RFC 8840 section 9).
    Part(String),
}

/// What it is answered.
#[derive(Debug)]
pub(super) enum Renewed {
    /// An answer, `application/sdp`.
    Answer(String),
    /// A part of one.
    Part(String),
    /// Nothing has to change.
    Same,
}

/// The calls that can be asked, by their id; each by whoever has the key that it began with.
#[derive(Clone, Default)]
pub(super) struct Renewals {
    calls: Arc<Mutex<HashMap<String, Call>>>,
}

/// Whose a call is, and where it is asked.
type Call = (KeyId, mpsc::Sender<Renewal>);

/// A call's entry. Dropping it takes it out.
pub(super) struct Entry {
    pub(super) asked: mpsc::Receiver<Renewal>,
    id: String,
    renewals: Renewals,
}

impl Renewals {
    /// An entry for the call `id`.
    pub(super) fn enter(&self, id: &str, key: KeyId) -> Entry {
        let (sender, asked) = mpsc::channel(WAITING);
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), (key, sender));
        Entry { asked, id: id.to_owned(), renewals: self.clone() }
    }

    /// Asks the call `id`.
    pub(super) async fn ask(&self, id: &str, key: KeyId, asked: Description) -> Result<Renewed, ApiError> {
        let missing = || ApiError::new(404, "call_not_found", format!("There is no WebRTC call {id:?} in progress."));
        let call = self.calls.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        let (_, call) = call.filter(|(of, _)| *of == key).ok_or_else(missing)?;
        let (answer, answered) = oneshot::channel();
        let busy = || ApiError::new(409, "call_busy", "The call has not answered the offers before this one; send one at a time.");
        call.try_send(Renewal { asked, answer }).map_err(|_| busy())?;
        answered.await.map_err(|_| missing())?
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.renewals.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_are_asked_by_whoever_began_them() {
        let renewals = Renewals::default();
        let mut entry = renewals.enter("rtc_1", KeyId::ANYBODY);
        let part = || Description::Part("a=ice-ufrag:x".to_owned());
        let answering = async {
            let Renewal { answer, .. } = entry.asked.recv().await.expect("a request");
            let _ = answer.send(Ok(Renewed::Same));
        };
        let (answered, ()) = tokio::join!(renewals.ask("rtc_1", KeyId::ANYBODY, part()), answering);
        assert!(matches!(answered, Ok(Renewed::Same)));
        let status = |answered: Result<Renewed, ApiError>| answered.expect_err("refused").status;
        assert_eq!(status(renewals.ask("rtc_2", KeyId::ANYBODY, part()).await), 404);
        drop(entry);
        assert_eq!(status(renewals.ask("rtc_1", KeyId::ANYBODY, part()).await), 404);
    }
}
