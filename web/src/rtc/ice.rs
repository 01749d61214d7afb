//! An ICE-lite agent (RFC 8445 section 2.5): it answers the client's connectivity checks, and knows by them where the client is.
//!
//! It has no clock and no socket. It needs none of the client's candidates: a check that carries the call's password comes from wherever
//! the client really is, behind whatever NAT, relay or `.local` name. The way that the client nominated is used; a client that moved to
//! another network nominates another one, or, if it does not know that it moved, is followed once the way before has fallen silent.

use std::sync::Arc;
use std::time::Duration;

use rtc::crypto::{CryptoError, RTCCryptoProvider, default_provider};
use rtc::shared::error::Error;
use rtc::stun::attributes::{ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use rtc::stun::xoraddr::XorMappedAddress;
use tokio::time::Instant;

use super::way::Way;

/// A way on which nothing came for so long is given up for another one that answers: packets of sound come every 20 ms, and every 400 ms
/// from clients that send no silence (RFC 7587 section 3.1.3).
const SILENT_WAY: Duration = Duration::from_secs(1);

/// Letters of `ice-char` (RFC 8839 section 5.4): six bits each.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Letters of a user name fragment: 96 bits, so that no other call's is guessed or met by chance.
const FRAGMENT: usize = 16;
/// Letters of a password: 192 bits (RFC 8445 section 5.3 asks for 128).
const PASSWORD: usize = 32;

/// What a check must carry.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Credentials {
    /// The user name fragment.
    pub(super) fragment: String,
    pub(super) password: String,
}

/// The agent of one call.
pub(super) struct Agent {
    crypto: Arc<dyn RTCCryptoProvider>,
    /// Those of the last restart.
    current: Credentials,
    /// Those from before it: they hold until the client uses the others (RFC 8445 section 9).
    before: Option<Credentials>,
    way: Option<Current>,
}

/// The way that packets go.
struct Current {
    way: Way,
    nominated: bool,
    heard: Instant,
}

impl Agent {
    /// An agent with fresh credentials.
    pub(super) fn new() -> Result<Agent, CryptoError> {
        let crypto = default_provider()?;
        let current = fresh(&*crypto)?;
        Ok(Agent { crypto, current, before: None, way: None })
    }

    /// What the next answer names.
    pub(super) fn credentials(&self) -> &Credentials {
        &self.current
    }

    /// Makes other credentials. Those before them, and the way in use, hold until the client uses the new ones.
    pub(super) fn restart(&mut self) -> Result<(), CryptoError> {
        let fresh = fresh(&*self.crypto)?;
        self.before = Some(std::mem::replace(&mut self.current, fresh));
        Ok(())
    }

    /// Where the client is, once it was heard.
    pub(super) fn way(&self) -> Option<Way> {
        self.way.as_ref().map(|current| current.way)
    }

    /// Something other than a check came.
    pub(super) fn heard(&mut self, now: Instant, from: Way) {
        if let Some(current) = self.way.as_mut().filter(|current| current.way == from) {
            current.heard = now;
        }
    }

    /// The answer to a connectivity check that is genuine.
    pub(super) fn check(&mut self, now: Instant, from: Way, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut check = Message { raw: bytes.to_vec(), ..Message::default() };
        check.decode().ok()?;
        if check.typ != BINDING_REQUEST {
            return None;
        }
        let name = check.get(ATTR_USERNAME).ok()?;
        let named = name.split(|&byte| byte == b':').next()?;
        let renewed = named == self.current.fragment.as_bytes();
        let known = [Some(&self.current), self.before.as_ref()];
        let credentials = known.into_iter().flatten().find(|credentials| credentials.fragment.as_bytes() == named)?;
        MessageIntegrity::check(&mut check, credentials.password.as_bytes(), self.crypto.crypto()).ok()?;
        let address = from.client();
        let mapped = XorMappedAddress { ip: address.ip(), port: address.port() };
        let reply = signed(&*self.crypto, &credentials.password, |reply| {
            reply.build(&[Box::new(check.clone()), Box::new(BINDING_SUCCESS), Box::new(mapped)])
        });
        if renewed {
            self.before = None;
        }
        self.follow(now, from, check.contains(ATTR_USE_CANDIDATE));
        reply.ok()
    }

    fn follow(&mut self, now: Instant, from: Way, nominated: bool) {
        match &mut self.way {
            Some(current) if current.way == from => {
                current.heard = now;
                current.nominated |= nominated;
            }
            // Until one is nominated any will do; after that, one that is nominated, or the only one that still works.
            Some(current) if current.nominated && !nominated && now < current.heard + SILENT_WAY => {}
            _ => self.way = Some(Current { way: from, nominated, heard: now }),
        }
    }
}

/// A message as `build` begins it, signed with `password`.
pub(super) fn signed(
    crypto: &dyn RTCCryptoProvider,
    password: &str,
    build: impl FnOnce(&mut Message) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    let mut message = Message::new();
    build(&mut message)?;
    MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), crypto.crypto()).add_to(&mut message)?;
    FINGERPRINT.add_to(&mut message)?;
    Ok(message.raw)
}

fn fresh(crypto: &dyn RTCCryptoProvider) -> Result<Credentials, CryptoError> {
    let letters = |count: usize| {
        let mut bytes = vec![0; count];
        crypto.random().fill(&mut bytes)?;
        Ok(bytes.into_iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect())
    };
    Ok(Credentials { fragment: letters(FRAGMENT)?, password: letters(PASSWORD)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rtc::stun::message::TransactionId;
    use rtc::stun::textattrs::TextAttribute;
    use std::net::SocketAddr;

    fn way(port: u16) -> Way {
        Way::Udp(SocketAddr::from(([203, 0, 113, 5], port)))
    }

    fn check_of(agent: &Agent, credentials: &Credentials, nominates: bool) -> Vec<u8> {
        signed(&*agent.crypto, &credentials.password, |message| {
            let name = TextAttribute::new(ATTR_USERNAME, format!("{}:theirs", credentials.fragment));
            message.build(&[Box::new(BINDING_REQUEST), Box::new(TransactionId::new()), Box::new(name)])?;
            if nominates {
                message.add(ATTR_USE_CANDIDATE, &[]);
            }
            Ok(())
        })
        .expect("a check")
    }

    /// A script: `c3` a check from port 3, `n3` one that nominates, `o3` and `O3` the same with the credentials of before the restart, `s3`
    /// sound, `b3` a check with a wrong password, `r` a restart, `+500` so many ms. Expected: the port in use after each, `!` where a check
    /// was not answered.
    #[track_caller]
    fn check(script: &str, expected: &str) {
        let mut agent = Agent::new().expect("an agent");
        let mut now = Instant::now();
        let mut old = agent.credentials().clone();
        let mut seen = Vec::new();
        for step in script.split_whitespace() {
            let (kind, number) = step.split_at(1);
            let number: u16 = number.parse().unwrap_or(0);
            let current = agent.credentials().clone();
            let request = match kind {
                "c" | "n" => Some(check_of(&agent, &current, kind == "n")),
                "o" | "O" => Some(check_of(&agent, &old, kind == "O")),
                "b" => Some(check_of(&agent, &Credentials { password: "guessed".to_owned(), ..current }, true)),
                "s" => {
                    agent.heard(now, way(number));
                    None
                }
                "r" => {
                    old = current;
                    agent.restart().expect("random");
                    None
                }
                "+" => {
                    now += Duration::from_millis(u64::from(number));
                    None
                }
                other => panic!("{other}"),
            };
            let refused = request.is_some_and(|request| agent.check(now, way(number), &request).is_none());
            let used = agent.way().map_or("-".to_owned(), |way| way.client().port().to_string());
            seen.push(if refused { format!("{used}!") } else { used });
        }
        assert_eq!(seen.join(" "), expected, "{script}");
    }

    #[test]
    fn the_nominated_way_is_used() {
        check("c1 c2 n1 c2", "1 2 1 1");
        check("b1 c1 b2", "-! 1 1!");
    }

    #[test]
    fn a_client_that_moved_is_followed() {
        // It knows that it moved.
        check("n1 s1 n2 s1", "1 1 2 2");
        // It does not: its NAT did. What comes late over the way before does not bring it back.
        check("n1 +900 c2 +200 c2 s1 n1", "1 1 1 1 2 2 1");
        check("n1 +900 s1 +900 c2", "1 1 1 1 1");
    }

    #[test]
    fn both_generations_hold_until_the_new_one_is_used() {
        check("n1 r o1 s1 n2 o1", "1 1 1 1 2 2!");
        check("n1 r r o1 c1", "1 1 1 1 1");
    }

    #[test]
    fn an_answer_tells_the_client_its_address() {
        use rtc::stun::message::Getter;
        let mut agent = Agent::new().expect("an agent");
        let request = check_of(&agent, &agent.current, false);
        let reply = agent.check(Instant::now(), way(4_711), &request).expect("an answer");
        let mut reply = Message { raw: reply, ..Message::default() };
        reply.decode().expect("STUN");
        assert_eq!(reply.transaction_id.0[..], request[8..20]);
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&reply).expect("an address");
        assert_eq!((mapped.ip, mapped.port), (way(4_711).client().ip(), 4_711));
        MessageIntegrity::check(&mut reply, agent.current.password.as_bytes(), agent.crypto.crypto()).expect("signed");
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..150usize) {
            let mut agent = Agent::new().expect("an agent");
            let check = check_of(&agent, &agent.current, true);
            // The fingerprint, the last eight bytes, protects nothing that the signature does not.
            let head = &check[..cut.min(check.len())];
            prop_assert!(agent.check(Instant::now(), way(1), &[head, &bytes].concat()).is_none() || cut + 8 >= check.len());
        }
    }
}
