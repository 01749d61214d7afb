//! `[webrtc]`: the ports of calls over WebRTC, and the servers that help clients to reach them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use web::rtc::{IceServers, Listen, TurnSecret};

use super::{ConfigError, Environment};

/// What turns a port off.
const NONE: &str = "none";

/// `[webrtc]`, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webrtc {
    /// Address and UDP port; empty: those of `server.listen`; `none`: no calls over WebRTC.
    pub listen: String,
    /// Address and TCP port for networks that let no UDP through; empty: those of `listen` where it is set; `none`: no calls over TCP.
    pub tcp_listen: String,
    /// The IP addresses that clients are told; empty: those of `listen`.
    pub public_address: Addresses,
    /// STUN servers that clients are told of, `stun:host:port`.
    pub stun: Vec<String>,
    /// TURN servers that clients are told of, `turn:host:port?transport=udp` or `turns:…`.
    pub turn: Vec<String>,
    /// Environment variable with the secret that the TURN servers share; empty: they ask for none.
    pub turn_secret_env: String,
    /// How long credentials for them are good for.
    #[serde(with = "router::duration")]
    pub turn_ttl: Duration,
}

/// One address, or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Addresses {
    /// One; empty for none.
    One(String),
    /// Several: those of each network that clients come from.
    Several(Vec<String>),
}

impl Default for Webrtc {
    fn default() -> Webrtc {
        Webrtc {
            listen: String::new(),
            tcp_listen: String::new(),
            public_address: Addresses::One(String::new()),
            stun: Vec::new(),
            turn: Vec::new(),
            turn_secret_env: String::new(),
            turn_ttl: Duration::from_secs(60 * 60),
        }
    }
}

/// The ports, and the servers that clients are told of.
#[derive(Clone, Debug)]
pub struct WebrtcConfig {
    /// Where to listen.
    pub listen: Listen,
    /// The STUN and TURN servers.
    pub ice_servers: IceServers,
}

impl Webrtc {
    /// Checks all; `server` is where HTTP is listened for.
    pub(super) fn check(&self, server: SocketAddr, environment: &Environment) -> Result<Option<WebrtcConfig>, ConfigError> {
        let address = |key: &str, written: &str| {
            written.parse::<SocketAddr>().map_err(|_| {
                ConfigError::new(format!(
                    "webrtc.{key}: {written:?} is not an address with a port, for instance \"0.0.0.0:3478\"; \"none\" turns it off"
                ))
            })
        };
        let udp = match self.listen.as_str() {
            NONE => return Ok(None),
            "" => server,
            written => address("listen", written)?,
        };
        let tcp = match self.tcp_listen.as_str() {
            NONE => None,
            // HTTP has the TCP port of the same number; 0 is any free port, each time another.
            "" if self.listen.is_empty() || (udp.port() == server.port() && udp.port() != 0) => None,
            "" => Some(udp),
            written => Some(address("tcp_listen", written)?),
        };
        let listen = Listen { udp, tcp, public: self.public_address.check()? };
        Ok(Some(WebrtcConfig { listen, ice_servers: self.ice_servers(environment)? }))
    }

    fn ice_servers(&self, environment: &Environment) -> Result<IceServers, ConfigError> {
        for (key, urls, schemes) in [("stun", &self.stun, ["stun:", "stuns:"]), ("turn", &self.turn, ["turn:", "turns:"])] {
            if let Some(wrong) = urls.iter().find(|url| !schemes.iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme))) {
                let scheme = schemes[0];
                let message = format!("webrtc.{key}: {wrong:?} does not begin with {scheme:?}: write \"{scheme}turn.example.org:3478\"");
                return Err(ConfigError::new(message));
            }
        }
        let secret = match self.turn_secret_env.as_str() {
            "" => None,
            name => match environment.iter().find(|(key, value)| key == name && !value.is_empty()) {
                Some((_, secret)) => Some(TurnSecret::new(secret)),
                None => return Err(ConfigError::new(format!("webrtc.turn_secret_env: the environment variable {name} is not set"))),
            },
        };
        let ttl = self.turn_ttl;
        if ttl < Duration::from_secs(60) {
            return Err(ConfigError::new("webrtc.turn_ttl: credentials must be good for a minute at least, for instance \"1h\""));
        }
        Ok(IceServers { stun: self.stun.clone(), turn: self.turn.clone(), secret, ttl })
    }
}

impl Addresses {
    fn check(&self) -> Result<Vec<IpAddr>, ConfigError> {
        let written = match self {
            Addresses::One(one) if one.is_empty() => &[],
            Addresses::One(one) => std::slice::from_ref(one),
            Addresses::Several(several) => several.as_slice(),
        };
        let address = |written: &String| {
            written.parse().map_err(|_| {
                ConfigError::new(format!(
                    "webrtc.public_address: {written:?} is not an IP address, for instance \"203.0.113.7\"; names and ports are not allowed"
                ))
            })
        };
        written.iter().map(address).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(written: &str) -> Result<Option<WebrtcConfig>, ConfigError> {
        checked_beside(8_080, written)
    }

    /// Beside a server on a port of this machine.
    fn checked_beside(port: u16, written: &str) -> Result<Option<WebrtcConfig>, ConfigError> {
        let written: Webrtc = toml::from_str(written).expect("TOML");
        let environment = [("TURN_SECRET".to_owned(), "s".to_owned())];
        written.check(SocketAddr::from(([127, 0, 0, 1], port)), &environment)
    }

    /// Where it listens by UDP and TCP, and what clients are told; or a part of the complaint.
    #[track_caller]
    fn check(written: &str, expected: Result<&str, &str>) {
        match (checked(written), expected) {
            (Ok(checked), Ok(expected)) => {
                let shown = checked.map_or("none".to_owned(), |WebrtcConfig { listen: Listen { udp, tcp, public }, .. }| {
                    let tcp = tcp.map_or("-".to_owned(), |tcp| tcp.to_string());
                    format!("{udp} {tcp} {}", public.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(","))
                });
                assert_eq!(shown.trim_end(), expected, "{written}");
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (checked, expected) => panic!("{checked:?} is not {expected:?}"),
        }
    }

    #[test]
    fn the_ports_are_the_servers_unless_they_are_others() {
        check("", Ok("127.0.0.1:8080 -"));
        check("listen = \"0.0.0.0:3478\"\npublic_address = \"203.0.113.7\"", Ok("0.0.0.0:3478 0.0.0.0:3478 203.0.113.7"));
        check("listen = \"0.0.0.0:8080\"", Ok("0.0.0.0:8080 -"));
        check("listen = \"0.0.0.0:3478\"\ntcp_listen = \"none\"", Ok("0.0.0.0:3478 -"));
        check("tcp_listen = \"0.0.0.0:443\"", Ok("127.0.0.1:8080 0.0.0.0:443"));
        check(
            "listen = \"[::]:3478\"\npublic_address = [\"2001:db8::1\", \"203.0.113.7\"]",
            Ok("[::]:3478 [::]:3478 2001:db8::1,203.0.113.7"),
        );
        check("listen = \"none\"\npublic_address = \"nonsense\"", Ok("none"));
        check("listen = \"3478\"", Err("webrtc.listen"));
        check("tcp_listen = \"3478\"", Err("webrtc.tcp_listen"));
        check("public_address = \"example.org\"", Err("webrtc.public_address"));
    }

    #[test]
    fn regression_any_free_port_was_taken_for_the_port_of_http() {
        let tcp = |written| checked_beside(0, written).expect("fine").expect("a port").listen.tcp;
        assert_eq!(tcp("listen = \"127.0.0.1:0\""), Some(SocketAddr::from(([127, 0, 0, 1], 0))));
        assert_eq!(tcp(""), None);
    }

    #[test]
    fn clients_are_told_of_servers_that_have_addresses() {
        let servers = checked("stun = [\"stun:a:3478\"]\nturn = [\"turn:b\"]\nturn_secret_env = \"TURN_SECRET\"\nturn_ttl = \"10m\"");
        let servers = servers.expect("fine").expect("a port").ice_servers;
        assert_eq!((servers.secret, servers.ttl), (Some(TurnSecret::new("s")), Duration::from_secs(600)));
        check("stun = [\"turn:a\"]", Err("webrtc.stun"));
        check("turn = [\"a:3478\"]", Err("webrtc.turn"));
        check("turn_secret_env = \"NOWHERE\"", Err("NOWHERE is not set"));
        check("turn_ttl = \"1s\"", Err("webrtc.turn_ttl"));
    }
}
