//! What the listener hears of an answer: it is silenced and let go on, cut where it was heard, and heard to its end.

use std::time::Duration;

use tokio::time::Instant;
use web::call::{Ending, Event, ItemId};

use super::playhead::Playhead;
use super::{Session, Told};
use crate::conversation::{Input, ReplyId};

/// An answer that is whole, and that the caller has not heard to its end.
pub(super) struct Tail {
    /// Its number.
    pub id: ReplyId,
    /// Its name for the client.
    pub response: String,
    /// Where the caller is.
    pub playhead: Playhead,
}

impl Session {
    /// The caller has the word: the answer is given up, and the history keeps what was heard of it.
    pub(super) async fn interrupt(&mut self, id: ReplyId) -> Told {
        if self.reply.as_ref().is_some_and(|reply| reply.id == id) {
            return self.end_reply(Ending::Interrupted).await;
        }
        match self.tail.take_if(|tail| tail.id == id) {
            Some(Tail { response, playhead, .. }) => {
                self.hearing.silence();
                self.tell(Event::Silence { response: response.clone() }).await?;
                self.cut(&response, playhead.heard());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Silences the answer that the caller hears, or lets it go on.
    pub(super) async fn hold(&mut self, id: ReplyId, held: bool) -> Told {
        let reply = self.reply.as_mut().filter(|reply| reply.id == id && reply.is_spoken());
        let tail = self.tail.as_mut().filter(|tail| tail.id == id);
        let (response, playhead) = match (reply, tail) {
            (Some(reply), _) => (&reply.response, &mut reply.playhead),
            (None, Some(tail)) => (&tail.response, &mut tail.playhead),
            (None, None) => return Ok(()),
        };
        playhead.hold(held);
        self.hearing.hold(held);
        let response = response.clone();
        self.tell(Event::Hold { response, held }).await
    }

    /// The transport says how far it is with an answer.
    pub(super) fn played(&mut self, response: &str, heard: Duration) {
        if let Some(reply) = self.reply.as_mut().filter(|reply| reply.response == response) {
            reply.playhead.played(heard);
        } else if let Some(tail) = self.tail.as_mut().filter(|tail| tail.response == response) {
            tail.playhead.played(heard);
        }
    }

    /// The transport has thrown away what was left of an answer's speech.
    pub(super) async fn silenced(&mut self, response: &str, heard: Duration) -> Told {
        self.hearing.silence();
        if let Some(reply) = self.reply.as_mut().filter(|reply| reply.response == response) {
            reply.playhead.stop(heard);
            return Ok(());
        }
        if let Some(tail) = self.tail.take_if(|tail| tail.response == response) {
            Box::pin(self.decide(Input::ReplyEnded(tail.id))).await?;
        }
        match self.cut(response, heard) {
            Some(item) => {
                let audio_end_ms = heard.as_millis() as u64;
                self.tell(Event::ItemTruncated { item, content_index: 0, audio_end_ms }).await
            }
            None => Ok(()),
        }
    }

    /// The history keeps no more of an answer than was heard: its item, if it was spoken.
    fn cut(&mut self, response: &str, heard: Duration) -> Option<ItemId> {
        let item = self.dialogue.spoken_in(response)?;
        self.dialogue.truncate(&item, 0, heard.as_millis() as u64).ok().map(|()| item)
    }

    /// The caller has heard the end of an answer.
    pub(super) async fn heard_out(&mut self) -> Told {
        match self.tail.take() {
            Some(tail) => {
                self.idle_since = Some(Instant::now());
                Box::pin(self.decide(Input::ReplyEnded(tail.id))).await
            }
            None => Ok(()),
        }
    }
}
