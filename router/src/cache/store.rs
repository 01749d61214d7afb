//! The answers kept: bounded in number and bytes, the one unused for longest goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use models::Delta;
use tokio::time::Instant;

use super::CacheKey;

/// What an entry takes up besides its answer, bytes.
const OVERHEAD: usize = 512;

/// A kept answer.
#[derive(Debug)]
pub(super) struct Stored {
    pub deltas: Vec<Delta>,
    /// Whose it is.
    pub tenant: String,
    /// When the answer was whole.
    pub since: Instant,
    /// From when it is not used any more.
    pub until: Instant,
}

struct Slot {
    stored: Arc<Stored>,
    /// The answer read aloud, by voice and format.
    speech: Vec<(String, Arc<[u8]>)>,
    bytes: usize,
    /// When it was last used, in uses of the store.
    used: u64,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub entries: usize,
    pub bytes: usize,
}

/// The entries, with the order of their use.
pub(super) struct Store {
    bounds: Bounds,
    slots: HashMap<CacheKey, Slot>,
    order: BTreeMap<u64, CacheKey>,
    bytes: usize,
    uses: u64,
}

impl Store {
    pub(super) fn new(bounds: Bounds) -> Store {
        Store { bounds, slots: HashMap::new(), order: BTreeMap::new(), bytes: 0, uses: 0 }
    }

    /// Entries, and the bytes they take up.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.slots.len(), self.bytes)
    }

    /// The answer, if it is still good at `now`.
    pub(super) fn get(&mut self, key: &CacheKey, now: Instant) -> Option<Arc<Stored>> {
        if self.slots.get(key)?.stored.until <= now {
            self.remove(key);
            return None;
        }
        self.uses += 1;
        let slot = self.slots.get_mut(key)?;
        self.order.remove(&slot.used);
        slot.used = self.uses;
        self.order.insert(self.uses, *key);
        Some(slot.stored.clone())
    }

    /// Keeps an answer of `bytes`, in place of an older one of the same key. Says which entries had to go for it; it may itself be too
    /// large for the whole store, and goes.
    pub(super) fn put(&mut self, key: CacheKey, stored: Stored, bytes: usize) -> Vec<CacheKey> {
        self.remove(&key);
        let bytes = bytes + OVERHEAD;
        self.uses += 1;
        self.bytes += bytes;
        self.order.insert(self.uses, key);
        self.slots.insert(key, Slot { stored: Arc::new(stored), speech: Vec::new(), bytes, used: self.uses });
        self.shrink()
    }

    /// Keeps the sound of an answer that is kept.
    pub(super) fn put_speech(&mut self, key: &CacheKey, name: &str, sound: Arc<[u8]>) -> Vec<CacheKey> {
        let Some(slot) = self.slots.get_mut(key) else { return Vec::new() };
        if slot.speech.iter().any(|(known, _)| known == name) {
            return Vec::new();
        }
        let bytes = sound.len() + name.len();
        slot.speech.push((name.to_owned(), sound));
        slot.bytes += bytes;
        self.bytes += bytes;
        self.shrink()
    }

    pub(super) fn speech(&self, key: &CacheKey, name: &str) -> Option<Arc<[u8]>> {
        let (_, sound) = self.slots.get(key)?.speech.iter().find(|(known, _)| known == name)?;
        Some(sound.clone())
    }

    /// Forgets one; says whether it was there.
    pub(super) fn remove(&mut self, key: &CacheKey) -> bool {
        let Some(slot) = self.slots.remove(key) else { return false };
        self.order.remove(&slot.used);
        self.bytes -= slot.bytes;
        true
    }

    pub(super) fn tenant(&self, key: &CacheKey) -> Option<&str> {
        Some(&self.slots.get(key)?.stored.tenant)
    }

    fn shrink(&mut self) -> Vec<CacheKey> {
        let mut gone = Vec::new();
        while self.slots.len() > self.bounds.entries || self.bytes > self.bounds.bytes {
            let Some((_, key)) = self.order.first_key_value() else { break };
            let key = *key;
            self.remove(&key);
            gone.push(key);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use models::Prompt;

    use super::super::Scope;
    use super::*;

    fn key(name: &str) -> CacheKey {
        CacheKey::of(&Scope { model: name, ..Scope::default() }, &Prompt::default(), &[])
    }

    /// Plays a script against a store of 3 entries and 4,000 bytes: `+a 100` keeps, `a?` reads, `-a` forgets, `a~2000` adds speech.
    fn check(script: &str, expected: &str) {
        let start = Instant::now();
        let mut store = Store::new(Bounds { entries: 3, bytes: 4_000 });
        for step in script.split(", ") {
            if let Some(step) = step.strip_prefix('+') {
                let (name, bytes) = step.split_once(' ').expect("a name and bytes");
                let until = start + Duration::from_secs(if name == "old" { 0 } else { 60 });
                let stored = Stored { deltas: Vec::new(), tenant: String::new(), since: start, until };
                store.put(key(name), stored, bytes.parse().expect("a number"));
            } else if let Some(name) = step.strip_suffix('?') {
                store.get(&key(name), start);
            } else if let Some(name) = step.strip_prefix('-') {
                store.remove(&key(name));
            } else if let Some((name, bytes)) = step.split_once('~') {
                store.put_speech(&key(name), "heart", vec![0; bytes.parse().expect("a number")].into());
            }
        }
        let left: Vec<&str> = ["a", "b", "c", "d", "old"].into_iter().filter(|name| store.slots.contains_key(&key(name))).collect();
        assert_eq!(left.join(" "), expected, "{script}");
        assert_eq!(store.order.len(), store.slots.len());
        assert_eq!(store.bytes, store.slots.values().map(|slot| slot.bytes).sum::<usize>());
        assert!(store.slots.len() <= 3 && store.bytes <= 4_000);
    }

    #[test]
    fn the_one_unused_for_longest_goes_first() {
        check("+a 100, +b 100, +c 100", "a b c");
        check("+a 100, +b 100, +c 100, +d 100", "b c d");
        check("+a 100, +b 100, +c 100, a?, +d 100", "a c d");
        check("+a 100, +a 200, +b 100, +c 100", "a b c");
        check("+a 1000, +b 1000, +c 1000", "b c");
        check("+a 100, +b 5000", "");
        check("+a 100, -a, +b 100", "b");
        check("+a 100, +b 100, b~2500, +c 100", "b c");
        check("+a 100, +b 100, b~5000", "");
        check("+old 100, old?, +a 100", "a");
    }
}
