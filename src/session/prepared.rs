//! An answer that is begun in a pause which only seems to be the end of the caller's turn. Nobody is told of it before it is; where the
//! caller goes on, or meant something else, it is thrown away unheard.

use std::time::Duration;

use audio::{Rate, Samples};
use models::{Attention, Message, Prompt, Role, Signals};
use router::Works;
use tokio::time::Instant;
use web::Account;
use web::call::ResponseConfig;

use super::Session;
use super::reply::Reply;
use super::respond::Writing;

/// What was prepared, and for what. Dropping it throws it away.
pub(super) struct Prepared {
    prompt: Prompt,
    pub reply: Reply,
    writing: Writing,
    began: Instant,
}

impl Session {
    /// Begins the answer to a turn that probably ended at `at` and says `words`.
    ///
    /// Nothing is prepared where the route depends on how the turn is spoken, which is measured when it is over; where a filler bridges the
    /// wait; and where the machine has others to serve.
    pub(super) fn prepare(&mut self, at: Samples, words: &str) {
        let free = self.reply.is_none() && self.finishing.is_empty() && self.engines.speakers.transcriber.attention() == Attention::Idle;
        let known = self.engines.router.wanted_by(&self.model()).is_empty() && self.config.filler.is_none();
        if !self.config.prepare || !free || !known {
            return;
        }
        let mut prompt = self.prompt();
        prompt.messages.push(Message::text(Role::User, words));
        if self.prepared.as_ref().is_some_and(|prepared| prepared.prompt == prompt) {
            return;
        }
        self.prepared = None;
        let name = self.name("resp");
        let now = Instant::now();
        let silence = Samples(self.hearing.now().0.saturating_sub(at.0)).duration(Rate::MODEL);
        let works = Works::new(self.engines.speakers.price.clone());
        let Ok(account) = Account::of_prepared(&self.books, &name, now.checked_sub(silence).unwrap_or(now), works) else { return };
        // Where it is refused, the answer to the turn will be, too, and says why.
        if let Ok((reply, writing)) = self.compose(name, ResponseConfig::default(), prompt.clone(), (account, Vec::new())) {
            self.prepared = Some(Prepared { prompt, reply, writing, began: now });
        }
    }

    /// The answer prepared for the turn that is over, if that is what it said.
    pub(super) fn take_prepared(&mut self) -> Option<(Reply, Writing)> {
        let Prepared { prompt, reply, writing, began } = self.prepared.take()?;
        if self.reply.is_some() || prompt != self.prompt() {
            return None;
        }
        let heard = std::mem::replace(&mut self.works, Works::new(self.engines.speakers.price.clone()));
        let ahead: Duration = began.elapsed();
        self.spoke = None;
        reply.account.takes(&heard, ahead, self.signals.as_deref().map(Signals::names).unwrap_or_default());
        Some((reply, writing))
    }

    /// What a model is asked now, where nobody says otherwise.
    fn prompt(&mut self) -> Prompt {
        self.dialogue.truncate_to(self.config.truncation);
        let mut prompt = self.dialogue.prompt(&self.config, &ResponseConfig::default(), None);
        prompt.model = self.model();
        prompt
    }
}
