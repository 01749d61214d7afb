//! Ephemeral keys: what a server mints for a browser, so that the browser can begin calls with a session that the server chose, for a while.
//!
//! They are kept in a table of this process, not signed into the key itself: the session that a key stands for may have a hundred
//! kilobytes of instructions and tools, more than a WebSocket's subprotocol or a header carries; and a key that is looked up can be
//! forgotten. The price: a key is known to the process that made it, and to no other. The table is bounded in keys and in bytes, and no
//! caller's key may fill more than its part of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use router::limit::KeyId;
use serde_json::Value;

use crate::ApiError;

/// What ephemeral keys start with; clients in browsers insist on it.
const PREFIX: &str = "ek_";
/// Keys at once: some MB.
const MOST_KEYS: usize = 16_384;
/// Sessions of all keys together, bytes.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// How many callers share the table before one of them is refused for its own sake: none has more than this part of it.
const PARTS: usize = 4;

/// The ephemeral keys in force; its clones are one table.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    kept: HashMap<String, Arc<Secret>>,
}

/// What an ephemeral key stands for.
#[derive(Debug)]
pub(crate) struct Secret {
    /// Whose key it was made with: the calls are on their books.
    pub(crate) key: KeyId,
    /// What the session begins with, as its maker wrote it.
    pub(crate) session: Value,
    bytes: usize,
    /// Seconds since 1970.
    expires_at: u64,
}

impl Secrets {
    /// A key that is good for `lifetime`, and until when, in seconds since 1970.
    pub(crate) fn mint(&self, key: KeyId, session: Value, lifetime: Duration) -> Result<(String, u64), ApiError> {
        self.mint_at(now(), key, session, lifetime)
    }

    /// What an ephemeral key stands for, while it is good.
    pub(crate) fn find(&self, offered: &str) -> Option<Arc<Secret>> {
        self.find_at(now(), offered)
    }

    fn mint_at(&self, now: u64, key: KeyId, session: Value, lifetime: Duration) -> Result<(String, u64), ApiError> {
        let mut random = [0; 24];
        getrandom::fill(&mut random)
            .map_err(|error| ApiError::new(500, "server_error", format!("The system gives no random numbers: {error}.")))?;
        let value = random.iter().fold(PREFIX.to_owned(), |value, byte| format!("{value}{byte:02x}"));
        let expires_at = now + lifetime.as_secs();
        let bytes = session.to_string().len();
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut all, mut own) = (table.weight(|_| true), table.weight(|secret| secret.key == key));
        if all.is_full(1, bytes) || own.is_full(PARTS, bytes) {
            table.kept.retain(|_, secret| secret.expires_at > now);
            (all, own) = (table.weight(|_| true), table.weight(|secret| secret.key == key));
        }
        if all.is_full(1, bytes) || own.is_full(PARTS, bytes) {
            let message = "Too many ephemeral keys are in force; let them live shorter, or wait until some have expired.";
            return Err(ApiError { retry_after: Some(Duration::from_secs(10)), ..ApiError::new(429, "too_many_client_secrets", message) });
        }
        table.kept.insert(value.clone(), Arc::new(Secret { key, session, bytes, expires_at }));
        Ok((value, expires_at))
    }

    fn find_at(&self, now: u64, offered: &str) -> Option<Arc<Secret>> {
        if !offered.starts_with(PREFIX) {
            return None;
        }
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = table.kept.get(offered).cloned()?;
        if found.expires_at > now {
            return Some(found);
        }
        table.kept.remove(offered);
        None
    }
}

/// How much of the table some keys take.
#[derive(Clone, Copy, Default)]
struct Weight {
    keys: usize,
    bytes: usize,
}

impl Weight {
    /// Whether there is no room for a session of so many more bytes in one of so many parts of the table.
    fn is_full(self, parts: usize, bytes: usize) -> bool {
        self.keys >= MOST_KEYS / parts || self.bytes + bytes > MOST_BYTES / parts
    }
}

impl Table {
    fn weight(&self, counts: impl Fn(&Secret) -> bool) -> Weight {
        let counted = self.kept.values().filter(|secret| counts(secret));
        counted.fold(Weight::default(), |sum, secret| Weight { keys: sum.keys + 1, bytes: sum.bytes + secret.bytes })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_key_is_good_for_its_time_and_stands_for_its_session() {
        let secrets = Secrets::default();
        let maker = KeyId::of("sk-one");
        let (value, expires_at) = secrets.mint_at(1_000, maker, json!({ "model": "m" }), MINUTE).expect("there is room");
        let (other, _) = secrets.mint_at(1_000, maker, json!({}), MINUTE).expect("there is room");
        assert!(value.starts_with("ek_") && value.len() == 51 && value != other);
        assert_eq!(expires_at, 1_060);
        let found = secrets.clone().find_at(1_059, &value).expect("it is in force");
        assert_eq!((found.key, &found.session), (maker, &json!({ "model": "m" })));
        for (now, offered) in [(1_060, value.as_str()), (1_000, "ek_"), (1_000, "sk-one"), (1_000, &value[..50])] {
            assert!(secrets.find_at(now, offered).is_none(), "{offered} at {now}");
        }
    }

    #[test]
    fn one_maker_does_not_fill_the_table() {
        let secrets = Secrets::default();
        let huge = json!("x".repeat(MOST_BYTES / PARTS / 4));
        let minted = |maker: &str, now| secrets.mint_at(now, KeyId::of(maker), huge.clone(), MINUTE).map_err(|error| error.status);
        for _ in 0..3 {
            minted("one", 0).expect("there is room");
        }
        assert_eq!(minted("one", 0), Err(429));
        assert!(minted("two", 0).is_ok(), "another maker has room of their own");
        assert!(minted("one", 60).is_ok(), "the old ones have expired");
    }
}
