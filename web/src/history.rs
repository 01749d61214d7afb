//! What earlier responses said, for clients that go on from one by its id (`previous_response_id`).
//!
//! In memory and bounded: what was used longest ago is forgotten first, and then a client must send the items themselves. Each response
//! belongs to the key that asked for it and is nobody else's.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use models::{Message, Part};
use serde_json::Value;

use router::limit::KeyId;

/// Most bytes of words and JSON that are remembered.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// One response and what was asked for it.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Who asked.
    pub(crate) caller: KeyId,
    /// The response that it went on from.
    pub(crate) previous: Option<String>,
    /// What was said since: the input, then the answer. Instructions are not among them: they hold for one request.
    pub(crate) messages: Vec<Message>,
    /// As it was answered.
    pub(crate) response: Value,
}

/// The exchanges that are remembered, by the ids of their responses.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    by_id: HashMap<String, Entry>,
    by_use: BTreeMap<u64, String>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    exchange: Exchange,
    bytes: usize,
    used: u64,
}

impl History {
    /// Remembers an exchange.
    pub(crate) fn put(&self, id: &str, exchange: Exchange) {
        let bytes = exchange.messages.iter().map(size).sum::<usize>() + exchange.response.to_string().len();
        let mut remembered = self.lock();
        remembered.bytes += bytes;
        remembered.by_id.insert(id.to_owned(), Entry { exchange, bytes, used: 0 });
        remembered.touch(id);
        while remembered.bytes > MOST_BYTES
            && let Some((_, oldest)) = remembered.by_use.pop_first()
        {
            remembered.forget(&oldest);
        }
    }

    /// All that was said up to the response `id`, oldest first; `None` unless all of it is remembered and the caller's.
    pub(crate) fn dialogue(&self, id: &str, caller: KeyId) -> Option<Vec<Message>> {
        let mut remembered = self.lock();
        let (mut ids, mut next) = (Vec::new(), Some(id.to_owned()));
        while let Some(id) = next {
            let exchange = &remembered.by_id.get(&id).filter(|entry| entry.exchange.caller == caller)?.exchange;
            next = exchange.previous.clone();
            ids.push(id);
        }
        let mut messages = Vec::new();
        for id in ids.iter().rev() {
            remembered.touch(id);
            messages.extend(remembered.by_id.get(id).into_iter().flat_map(|entry| entry.exchange.messages.iter().cloned()));
        }
        Some(messages)
    }

    /// The response `id`, if it is the caller's.
    pub(crate) fn response(&self, id: &str, caller: KeyId) -> Option<Value> {
        let remembered = self.lock();
        remembered.by_id.get(id).filter(|entry| entry.exchange.caller == caller).map(|entry| entry.exchange.response.clone())
    }

    /// Forgets the response `id`, if it is the caller's; whether it was.
    pub(crate) fn delete(&self, id: &str, caller: KeyId) -> bool {
        let mut remembered = self.lock();
        let used = remembered.by_id.get(id).filter(|entry| entry.exchange.caller == caller).map(|entry| entry.used);
        if let Some(used) = used {
            remembered.by_use.remove(&used);
            remembered.forget(id);
        }
        used.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn touch(&mut self, id: &str) {
        let Some(entry) = self.by_id.get_mut(id) else { return };
        self.by_use.remove(&entry.used);
        self.uses += 1;
        entry.used = self.uses;
        self.by_use.insert(self.uses, id.to_owned());
    }

    fn forget(&mut self, id: &str) {
        if let Some(entry) = self.by_id.remove(id) {
            self.bytes -= entry.bytes;
        }
    }
}

/// Bytes of a message, about.
fn size(message: &Message) -> usize {
    let part = |part: &Part| match part {
        Part::Text(text) | Part::Cached { text, .. } => text.len(),
        Part::Reasoning { text, signature, redacted } => {
            text.len() + signature.as_ref().map_or(0, String::len) + redacted.as_ref().map_or(0, String::len)
        }
        Part::Other(value) => value.to_string().len(),
    };
    let calls: usize = message.tool_calls.iter().map(|call| call.arguments.len() + call.name.len()).sum();
    size_of::<Message>() + message.parts.iter().map(part).sum::<usize>() + calls
}

#[cfg(test)]
mod tests {
    use models::Role;
    use serde_json::json;

    use super::*;

    fn exchange(caller: KeyId, previous: Option<&str>, words: &str) -> Exchange {
        let messages = vec![Message::text(Role::User, words)];
        Exchange { caller, previous: previous.map(str::to_owned), messages, response: json!({}) }
    }

    fn words(history: &History, id: &str, caller: KeyId) -> Option<Vec<String>> {
        history.dialogue(id, caller).map(|messages| messages.iter().map(Message::words).collect())
    }

    #[test]
    fn a_dialogue_is_whole_and_its_owners() {
        let history = History::default();
        history.put("a", exchange(KeyId::of("one"), None, "one"));
        history.put("b", exchange(KeyId::of("one"), Some("a"), "two"));
        assert_eq!(words(&history, "b", KeyId::of("one")), Some(vec!["one".to_owned(), "two".to_owned()]));
        assert_eq!(words(&history, "b", KeyId::of("two")), None);
        assert!(!history.delete("a", KeyId::ANYBODY) && history.delete("a", KeyId::of("one")));
        assert_eq!((words(&history, "b", KeyId::of("one")), history.response("a", KeyId::of("one"))), (None, None));
        assert!(history.response("b", KeyId::of("one")).is_some());
    }

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let history = History::default();
        let long = "x".repeat(MOST_BYTES / 3);
        history.put("a", exchange(KeyId::ANYBODY, None, &long));
        history.put("b", exchange(KeyId::ANYBODY, None, &long));
        assert!(history.dialogue("a", KeyId::ANYBODY).is_some());
        history.put("c", exchange(KeyId::ANYBODY, None, &long));
        let kept = ["a", "b", "c"].map(|id| history.response(id, KeyId::ANYBODY).is_some());
        assert_eq!(kept, [true, false, true]);
    }
}
