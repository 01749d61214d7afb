//! Who may call: keys, compared in constant time, however a client's SDK sends them.

use std::fmt;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use router::limit::KeyId;

use crate::ApiError;
use crate::secrets::{Secret, Secrets};

/// Browsers cannot set headers on a WebSocket; OpenAI's clients then send the key as a subprotocol that starts so.
const SUBPROTOCOL: &str = "openai-insecure-api-key.";

/// Where an ephemeral key is good: at the beginning of a call, and for what a page needs before that.
const BEGINNINGS: [&str; 3] = ["/v1/realtime", "/v1/realtime/calls", "/v1/realtime/ice-servers"];

/// The keys that callers may use. None at all: no key is needed.
#[derive(Clone, Default)]
pub struct Keys {
    keys: Vec<String>,
    /// Those that callers made of theirs.
    ephemeral: Secrets,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} ***)", self.keys.len())
    }
}

impl Keys {
    /// These keys; empty ones are left out.
    pub fn new(keys: impl IntoIterator<Item = String>) -> Keys {
        Keys { keys: keys.into_iter().filter(|key| !key.is_empty()).collect(), ephemeral: Secrets::default() }
    }

    /// The ephemeral keys that callers made of theirs.
    pub(crate) fn ephemeral(&self) -> &Secrets {
        &self.ephemeral
    }

    /// As [`Keys::check`], for a request to `path`: calls may begin with an ephemeral key, too. With what it stands for, if it was one.
    pub(crate) fn admit(&self, headers: &HeaderMap, path: &str) -> Result<(KeyId, Option<Arc<Secret>>), ApiError> {
        let secret = match BEGINNINGS.contains(&path) {
            true => offered(headers).iter().find_map(|key| self.ephemeral.find(key)),
            false => None,
        };
        match secret {
            Some(secret) => Ok((secret.key, Some(secret))),
            None => self.check(headers).map(|key| (key, None)),
        }
    }

    /// Whether anybody may call.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Lets a request pass that carries one of the keys, and says which: as `Authorization: Bearer` or `Basic`, as `x-api-key`, or as a
    /// subprotocol.
    pub fn check(&self, headers: &HeaderMap) -> Result<KeyId, ApiError> {
        if self.is_empty() {
            return Ok(KeyId::ANYBODY);
        }
        if let Some(key) = offered(headers).iter().find(|key| self.holds(key)) {
            return Ok(KeyId::of(key));
        }
        let message = "A valid key is required: send `Authorization: Bearer KEY`, `Authorization: Basic`, or `x-api-key: KEY`.";
        Err(ApiError::new(401, "invalid_api_key", message))
    }

    /// Looks at every key to its end, so that the time taken does not tell how much of one was right.
    pub(crate) fn holds(&self, offered: &str) -> bool {
        self.keys.iter().fold(false, |found, key| found | same(key.as_bytes(), offered.as_bytes()))
    }
}

fn same(key: &[u8], offered: &[u8]) -> bool {
    let mut difference = key.len() ^ offered.len();
    for (at, byte) in key.iter().enumerate() {
        difference |= usize::from(byte ^ offered.get(at).unwrap_or(&0));
    }
    std::hint::black_box(difference) == 0
}

/// Every text of the headers that may be a key.
fn offered(headers: &HeaderMap) -> Vec<String> {
    let mut keys = Vec::new();
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some((scheme, value)) = authorization.and_then(|value| value.split_once(' ')) {
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            keys.push(value.to_owned());
        } else if scheme.eq_ignore_ascii_case("basic") {
            keys.push(value.to_owned());
            if let Some(text) = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
                if let Some((user, password)) = text.split_once(':') {
                    keys.extend([user.to_owned(), password.to_owned()]);
                }
                keys.push(text);
            }
        }
    }
    keys.extend(headers.get("x-api-key").and_then(|value| value.to_str().ok()).map(str::to_owned));
    let protocols = headers.get_all("sec-websocket-protocol").iter().filter_map(|value| value.to_str().ok());
    keys.extend(protocols.flat_map(|value| value.split(',')).filter_map(|name| name.trim().strip_prefix(SUBPROTOCOL)).map(str::to_owned));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_wherever_clients_put_it() {
        let keys = Keys::new(["sk-one".to_owned(), "sk-two".to_owned(), String::new()]);
        for (name, value, passes) in [
            ("authorization", "Bearer sk-two", true),
            ("authorization", "bearer sk-one", true),
            ("authorization", "Basic c2stb25l", true),
            ("authorization", "Basic c2stb25lOg==", true),
            ("authorization", "Basic dXNlcjpzay1vbmU=", true),
            ("x-api-key", "sk-one", true),
            ("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-one", true),
            ("authorization", "Bearer sk-on", false),
            ("authorization", "Bearer sk-onee", false),
            ("authorization", "Bearer ", false),
            ("authorization", "sk-one", false),
            ("x-other", "sk-one", false),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().expect("a name"), value.parse().expect("a value"))]);
            assert_eq!(keys.check(&headers).is_ok(), passes, "{name}: {value}");
            let which = keys.check(&headers).ok().map(|key| key == KeyId::of("sk-one"));
            assert_eq!(which, passes.then_some(!value.contains("sk-two")), "{name}: {value}");
        }
        assert_eq!(Keys::default().check(&HeaderMap::new()), Ok(KeyId::ANYBODY));
        let callers = ["Bearer sk-one", "Basic c2stb25l", "Bearer sk-two"].map(|value| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a value"))]);
            keys.check(&headers).expect("a key")
        });
        assert!(callers[0] == callers[1] && callers[0] != callers[2]);
        assert_eq!(format!("{keys:?}"), "Keys(2 ***)");
    }

    #[test]
    fn an_ephemeral_key_begins_calls_and_does_nothing_else() {
        let keys = Keys::new(["sk-one".to_owned()]);
        let maker = KeyId::of("sk-one");
        let minted = keys.ephemeral().mint(maker, serde_json::json!({ "model": "m" }), std::time::Duration::from_secs(60));
        let (value, _) = minted.expect("there is room");
        for (name, value) in [
            ("authorization", format!("Bearer {value}")),
            ("sec-websocket-protocol", format!("realtime, openai-insecure-api-key.{value}, openai-beta.realtime-v1")),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().expect("a name"), value.parse().expect("a value"))]);
            for (path, passes) in [
                ("/v1/realtime", true),
                ("/v1/realtime/calls", true),
                ("/v1/realtime/client_secrets", false),
                ("/v1/realtime/calls/rtc_1/hangup", false),
                ("/v1/chat/completions", false),
            ] {
                let admitted = keys.clone().admit(&headers, path).ok();
                assert_eq!(admitted.map(|(key, secret)| (key, secret.is_some())), passes.then_some((maker, true)), "{path}");
            }
        }
        let plain = HeaderMap::from_iter([(AUTHORIZATION, "Bearer sk-one".parse().expect("a value"))]);
        assert!(matches!(keys.admit(&plain, "/v1/realtime"), Ok((key, None)) if key == maker));
    }
}
