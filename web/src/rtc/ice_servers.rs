//! The STUN and TURN servers that clients are told of, with credentials that expire: coturn's shared secret (`use-auth-secret`), as
//! draft-uberti-behave-turn-rest-00 describes it.
//!
//! A TURN server that has the same secret checks them by itself; no list of users is kept anywhere.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use router::limit::KeyId;
use rtc::crypto::{CryptoError, HmacAlgorithm, default_provider};
use serde_json::{Value, json};

use crate::ApiError;

/// Bytes of an HMAC with SHA-1 (RFC 2104).
const SHA1: usize = 20;

/// The servers.
#[derive(Clone, Debug, Default)]
pub struct IceServers {
    /// Addresses of STUN servers: `stun:host:port`.
    pub stun: Vec<String>,
    /// Addresses of TURN servers: `turn:host:port?transport=udp`, `turns:…`.
    pub turn: Vec<String>,
    /// The secret that they share with this server; `None`: they ask for none.
    pub secret: Option<TurnSecret>,
    /// How long credentials are good for.
    pub ttl: Duration,
}

/// A secret that TURN servers share with this one. It shows itself nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnSecret(String);

impl TurnSecret {
    /// Keeps `secret`.
    pub fn new(secret: impl Into<String>) -> TurnSecret {
        TurnSecret(secret.into())
    }
}

impl fmt::Debug for TurnSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl IceServers {
    /// What a client with `key` is told: `{"ice_servers": [...], "ttl": seconds}`, the list as `RTCPeerConnection` takes it.
    pub(super) fn answer(&self, key: KeyId) -> Response {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match self.list(key, now) {
            Ok(servers) => {
                ([(CACHE_CONTROL, "no-store")], Json(json!({ "ice_servers": servers, "ttl": self.ttl.as_secs() }))).into_response()
            }
            Err(error) => ApiError::new(500, "server_error", format!("The credentials cannot be made: {error}.")).into_response(),
        }
    }

    /// The list at `now`, since 1970.
    fn list(&self, key: KeyId, now: Duration) -> Result<Vec<Value>, CryptoError> {
        let mut servers = Vec::new();
        if !self.stun.is_empty() {
            servers.push(json!({ "urls": self.stun }));
        }
        match &self.secret {
            _ if self.turn.is_empty() => {}
            None => servers.push(json!({ "urls": self.turn })),
            Some(secret) => {
                let username = format!("{}:{key}", (now + self.ttl).as_secs());
                let credential = sign(&secret.0, &username)?;
                servers.push(json!({ "urls": self.turn, "username": username, "credential": credential }));
            }
        }
        Ok(servers)
    }
}

fn sign(secret: &str, username: &str) -> Result<String, CryptoError> {
    let mut mac = [0; SHA1];
    default_provider()?.crypto().new_hmac(HmacAlgorithm::Sha1, secret.as_bytes())?.sign(&[username.as_bytes()], &mut mac)?;
    Ok(BASE64_STANDARD.encode(mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_that_coturn_expects() {
        // RFC 2202 section 3, test case 2.
        assert_eq!(sign("Jefe", "what do ya want for nothing?").expect("HMAC"), "7/zfauXrL6LSdBbV8YTfnCWafHk=");
    }

    #[test]
    fn clients_are_told_what_there_is() {
        let list = |stun: &[&str], turn: &[&str], secret: Option<&str>| {
            let own = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect();
            let servers =
                IceServers { stun: own(stun), turn: own(turn), secret: secret.map(TurnSecret::new), ttl: Duration::from_secs(600) };
            Value::from(servers.list(KeyId::ANYBODY, Duration::from_secs(1_000)).expect("a list"))
        };
        assert_eq!(list(&[], &[], Some("s")), json!([]));
        assert_eq!(list(&["stun:a"], &[], None), json!([{ "urls": ["stun:a"] }]));
        assert_eq!(list(&[], &["turn:b"], None), json!([{ "urls": ["turn:b"] }]));
        let signed = list(&["stun:a"], &["turn:b", "turns:b"], Some("s"));
        assert_eq!(signed[1]["username"], "1600:key_0000000000000000");
        assert_eq!(signed[1]["credential"].as_str().map(str::len), Some(28));
    }
}
