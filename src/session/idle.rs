//! Nobody says anything: after the time that the session allows the assistant speaks again.

use audio::{Rate, Samples};
use web::call::{Content, Event, Item, ItemContent, ResponseConfig, Status};

use super::{Session, Told};

impl Session {
    /// Both sides have been silent for as long as the session allows: an item without words is answered.
    pub(super) async fn idled(&mut self) -> Told {
        self.idle_since = None;
        let (Some(silence), None) = (self.config.idle_timeout, &self.reply) else { return Ok(()) };
        let item = self.name("item");
        let to = self.hearing.now();
        let from = to.saturating_sub(Samples(silence.as_millis() as u64 * u64::from(Rate::MODEL.hz()) / 1_000));
        let timed_out = Event::TimedOut { from_ms: from.ms(Rate::MODEL), to_ms: to.ms(Rate::MODEL), item: item.clone() };
        self.tell(timed_out).await?;
        let parts = vec![Content::Audio { transcript: None, pcm: None }];
        let added = Item { id: item.clone(), content: ItemContent::Message { role: models::Role::User, parts }, status: Status::Completed };
        let after = self.dialogue.add(added.clone(), None).flatten();
        self.tell(Event::Committed { after: after.clone(), item }).await?;
        self.tell(Event::ItemAdded { after: after.clone(), item: added.clone() }).await?;
        self.tell(Event::ItemDone { after, item: added }).await?;
        let response = ResponseConfig { silence: Some(silence), ..ResponseConfig::default() };
        self.respond(None, Box::new(response)).await
    }
}
