//! What was found beside calls of the caller's tools: put back when the caller comes with their results.
//!
//! A caller sees only the calls of its own tools, and sends only these back. What our tool found in the same breath is kept for a while under
//! the dialogue it belongs to: only who has that very dialogue gets it back. Where it is forgotten the model searches again if it wants to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use models::{Message, Role};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::Hidden;

/// Most dialogues remembered.
const MOST: usize = 256;
/// Most characters remembered of one.
const LARGEST: usize = 100_000;
/// How long the results of a tool are waited for.
const WAIT: Duration = Duration::from_secs(600);

/// Remembers. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<Mutex<VecDeque<Kept>>>);

#[derive(Debug)]
struct Kept {
    dialogue: [u8; 32],
    until: Instant,
    hidden: Hidden,
}

impl Memory {
    /// Keeps `hidden`, whose last message with calls ends in those of the caller's tools with these ids, for the dialogue that led to it.
    pub(super) fn keep(&self, asked: &[Message], ids: &[String], hidden: Hidden) {
        let characters: usize = hidden.iter().map(|message| message.words().len()).sum();
        if characters > LARGEST {
            return;
        }
        let mut kept = self.lock();
        let now = Instant::now();
        kept.retain(|kept| kept.until > now);
        if kept.len() == MOST {
            kept.pop_front();
        }
        let mut dialogue = Sha256::new();
        asked.iter().for_each(|message| add(&mut dialogue, message));
        kept.push_back(Kept { dialogue: ended(dialogue, ids), until: now + WAIT, hidden });
    }

    /// A dialogue with what is remembered put back in its places.
    pub(super) fn restore(&self, messages: &[Message]) -> Vec<Message> {
        let kept = self.lock();
        if kept.is_empty() {
            return messages.to_vec();
        }
        let mut restored = Vec::with_capacity(messages.len());
        let mut dialogue = Sha256::new();
        for message in messages {
            let hidden = (message.role == Role::Assistant && !message.tool_calls.is_empty()).then(|| {
                let ids: Vec<String> = message.tool_calls.iter().map(|call| call.id.clone()).collect();
                let key = ended(dialogue.clone(), &ids);
                kept.iter().rev().find(|kept| kept.dialogue == key && kept.until > Instant::now())
            });
            add(&mut dialogue, message);
            match hidden.flatten() {
                Some(kept) => restored.extend(kept.hidden.iter().cloned()),
                None => restored.push(message.clone()),
            }
        }
        restored
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message's role, words and calls; not its marks for caches, which callers move about.
fn add(dialogue: &mut Sha256, message: &Message) {
    let mut text = |text: &str| {
        dialogue.update((text.len() as u64).to_le_bytes());
        dialogue.update(text);
    };
    text(message.role.name());
    text(&message.words());
    for call in &message.tool_calls {
        text(&call.id);
        text(&call.arguments);
    }
    text(message.tool_call_id.as_deref().unwrap_or_default());
}

fn ended(mut dialogue: Sha256, ids: &[String]) -> [u8; 32] {
    for id in ids {
        dialogue.update((id.len() as u64).to_le_bytes());
        dialogue.update(id);
    }
    dialogue.finalize().into()
}

#[cfg(test)]
mod tests {
    use models::ToolCall;

    use super::*;

    fn calls(words: &str, ids: &[&str]) -> Message {
        let call = |id: &&str| ToolCall { id: (*id).to_owned(), name: "f".into(), ..ToolCall::default() };
        Message { tool_calls: ids.iter().map(call).collect(), ..Message::text(Role::Assistant, words) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_found_comes_back_to_its_own_dialogue_for_a_while() {
        let memory = Memory::default();
        let asked = vec![Message::text(Role::User, "Weather and news?")];
        let hidden = vec![calls("Looking.", &["ours", "theirs"]), Message::text(Role::Tool, "found")];
        memory.keep(&asked, &["theirs".to_owned()], hidden.clone());
        let back =
            |first: &str, id: &str| vec![Message::text(Role::User, first), calls("Looking.", &[id]), Message::text(Role::Tool, "rain")];
        for (messages, is_restored) in [
            (back("Weather and news?", "theirs"), true),
            (back("Weather and news?", "other"), false),
            (back("Somebody else's question", "theirs"), false),
        ] {
            let restored = memory.restore(&messages);
            assert_eq!(restored.len(), if is_restored { 4 } else { 3 });
            assert_eq!(restored[1..].starts_with(&hidden), is_restored);
        }
        tokio::time::advance(WAIT).await;
        assert_eq!(memory.restore(&back("Weather and news?", "theirs")).len(), 3);
    }
}
