//! `[webrtc]`: the UDP port of calls over WebRTC.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// What turns it off.
const NONE: &str = "none";

/// `[webrtc]`, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webrtc {
    /// Address and UDP port; empty: those of `server.listen`; `none`: no calls over WebRTC.
    pub listen: String,
    /// The IP address that clients are told; empty: those of `listen`.
    pub public_address: String,
}

/// The UDP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebrtcConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The address that clients are told, where it is another one.
    pub public_address: Option<IpAddr>,
}

impl Webrtc {
    /// Checks both; `server` is where HTTP is listened for.
    pub(super) fn check(&self, server: SocketAddr) -> Result<Option<WebrtcConfig>, ConfigError> {
        let listen = match self.listen.as_str() {
            NONE => return Ok(None),
            "" => server,
            written => written.parse().map_err(|_| {
                ConfigError::new(format!(
                    "webrtc.listen: {written:?} is not an address with a port, for instance \"0.0.0.0:3478\"; \"none\" turns WebRTC off"
                ))
            })?,
        };
        let public_address = match self.public_address.as_str() {
            "" => None,
            written => Some(written.parse().map_err(|_| {
                ConfigError::new(format!(
                    "webrtc.public_address: {written:?} is not an IP address, for instance \"203.0.113.7\"; names and ports are not allowed"
                ))
            })?),
        };
        Ok(Some(WebrtcConfig { listen, public_address }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listen: &str, public_address: &str, expected: Result<Option<(&str, Option<&str>)>, &str>) {
        let written = Webrtc { listen: listen.to_owned(), public_address: public_address.to_owned() };
        let checked = written.check(SocketAddr::from(([127, 0, 0, 1], 8_080)));
        match (checked, expected) {
            (Ok(checked), Ok(expected)) => {
                let shown = checked.map(|port| (port.listen.to_string(), port.public_address.map(|address| address.to_string())));
                assert_eq!(shown, expected.map(|(listen, public)| (listen.to_owned(), public.map(str::to_owned))));
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (checked, expected) => panic!("{checked:?} is not {expected:?}"),
        }
    }

    #[test]
    fn the_port_is_the_servers_unless_it_is_another() {
        check("", "", Ok(Some(("127.0.0.1:8080", None))));
        check("0.0.0.0:3478", "203.0.113.7", Ok(Some(("0.0.0.0:3478", Some("203.0.113.7")))));
        check("[::]:3478", "2001:db8::1", Ok(Some(("[::]:3478", Some("2001:db8::1")))));
        check("none", "nonsense", Ok(None));
        check("3478", "", Err("webrtc.listen"));
        check("", "example.org", Err("webrtc.public_address"));
    }
}
