//! What stands in session descriptions (RFC 8866) beside the codecs: who is called, by which credentials, at which addresses.
//!
//! The crate's connection reads offers and writes answers; the lines about ICE are exchanged on the way in and out, because the calls here
//! have an agent of their own (see [`stand_in`](super::stand_in)).

use std::fmt::Write;

use super::ice::Credentials;
use super::stand_in::{FRAGMENT, PASSWORD};

const ICE_FRAGMENT: &str = "a=ice-ufrag:";
const ICE_PASSWORD: &str = "a=ice-pwd:";
/// Lines about a client's candidates. A lite agent needs none of them.
const CANDIDATES: [&str; 3] = ["a=candidate:", "a=end-of-candidates", "a=remote-candidates:"];

/// The value of the first line that begins with `key`.
fn value<'a>(sdp: &'a str, key: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

/// The user name fragment in a description or a part of one: another one than before asks for a restart of ICE (RFC 8839 section 4.4.1.1.1).
pub(super) fn fragment(sdp: &str) -> Option<&str> {
    value(sdp, ICE_FRAGMENT)
}

/// The certificate of whoever wrote a description: another one is another connection (RFC 8842 section 4).
pub(super) fn fingerprint(sdp: &str) -> Option<&str> {
    value(sdp, "a=fingerprint:")
}

/// Whether an offer has a data channel.
pub(super) fn has_channel(sdp: &str) -> bool {
    sdp.lines().any(|line| line.starts_with("m=application"))
}

/// An offer as the connection reads it.
pub(super) fn inward(offer: &str) -> String {
    rewrite(offer, FRAGMENT, PASSWORD, "")
}

/// An answer of the connection's as the client reads it: with the call's own credentials and the `candidates` of the port.
pub(super) fn outward(answer: &str, credentials: &Credentials, candidates: &[String]) -> String {
    let lines: String = candidates.iter().map(|candidate| format!("a=candidate:{candidate}\r\n")).collect();
    rewrite(answer, &credentials.fragment, &credentials.password, &format!("{lines}a=end-of-candidates\r\n"))
}

/// Exchanges the credentials, and puts `candidates` behind the first of them: all media share one transport (RFC 9143).
fn rewrite(sdp: &str, fragment: &str, password: &str, candidates: &str) -> String {
    let mut written = String::with_capacity(sdp.len() + candidates.len());
    let mut named = false;
    for line in sdp.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if CANDIDATES.iter().any(|key| line.starts_with(key)) {
            continue;
        }
        if line.starts_with(ICE_FRAGMENT) {
            let _ = write!(written, "{ICE_FRAGMENT}{fragment}\r\n");
        } else if line.starts_with(ICE_PASSWORD) {
            let _ = write!(written, "{ICE_PASSWORD}{password}\r\n");
            if !std::mem::replace(&mut named, true) {
                written.push_str(candidates);
            }
        } else {
            let _ = write!(written, "{line}\r\n");
        }
    }
    written
}

/// The part of a description that answers a restart (`application/trickle-ice-sdpfrag`, RFC 8840 section 9; RFC 9725 section 4.3.3).
pub(super) fn restarted(credentials: &Credentials, candidates: &[String]) -> String {
    let Credentials { fragment, password } = credentials;
    let mut part =
        format!("a=ice-lite\r\n{ICE_FRAGMENT}{fragment}\r\n{ICE_PASSWORD}{password}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n");
    for candidate in candidates {
        let _ = write!(part, "a=candidate:{candidate}\r\n");
    }
    part.push_str("a=end-of-candidates\r\n");
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\na=fingerprint:sha-256 AB\r\nm=audio 9 X 111\r\na=ice-ufrag:their\r\na=ice-pwd:secret\r\n\
                         a=candidate:1 1 udp 1 8f1c.local 5000 typ host\r\na=end-of-candidates\r\nm=application 9 Y\r\na=ice-ufrag:their\r\na=ice-pwd:secret\r\n";

    #[test]
    fn offers_say_who_calls() {
        assert_eq!((fragment(OFFER), fingerprint(OFFER), has_channel(OFFER)), (Some("their"), Some("sha-256 AB"), true));
        assert_eq!((fragment("v=0"), fingerprint("v=0"), has_channel("v=0")), (None, None, false));
    }

    #[test]
    fn lines_about_ice_are_exchanged_on_the_way() {
        let inward = inward(OFFER);
        assert!(!inward.contains("candidate") && !inward.contains("their") && !inward.contains("secret"), "{inward}");
        let credentials = Credentials { fragment: "ours".to_owned(), password: "hidden".to_owned() };
        let candidates = ["1 1 udp 7 203.0.113.7 3478 typ host".to_owned()];
        let outward = outward(&inward.replace("\r\n", "\n"), &credentials, &candidates);
        let audio = "m=audio 9 X 111\r\na=ice-ufrag:ours\r\na=ice-pwd:hidden\r\na=candidate:1 1 udp 7 203.0.113.7 3478 typ host\r\na=end-of-candidates\r\n";
        assert!(outward.contains(audio) && outward.matches("a=candidate").count() == 1, "{outward}");
        assert_eq!(fragment(&restarted(&credentials, &candidates)), Some("ours"));
    }
}
