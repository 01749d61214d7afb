//! `[mcp]`: which MCP servers a realtime session may name.

use models::mcp::Reach;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// `[mcp]`, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mcp {
    /// Whether callers may name any server that has a public address and speaks https.
    pub public_hosts: bool,
    /// Further servers, `tools.internal` or `127.0.0.1:9000`: over http, too, and at private addresses.
    pub allowed_hosts: Vec<String>,
}

impl Default for Mcp {
    fn default() -> Mcp {
        Mcp { public_hosts: true, allowed_hosts: Vec::new() }
    }
}

impl Mcp {
    /// Checks all.
    pub(super) fn check(&self) -> Result<Reach, ConfigError> {
        let host = |written: &String| {
            written.parse().map_err(|()| {
                ConfigError::new(format!(
                    "mcp.allowed_hosts: {written:?} is not a host; write a name or an address, and a port where only that one is meant, for \
                     instance \"tools.internal\" or \"127.0.0.1:9000\""
                ))
            })
        };
        Ok(Reach { public: self.public_hosts, hosts: self.allowed_hosts.iter().map(host).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_checked() {
        let check = |written: &str| toml::from_str::<Mcp>(written).expect("TOML").check().map_err(|error| error.to_string());
        assert_eq!(check(""), Ok(Reach { public: true, hosts: Vec::new() }));
        let closed = check("public_hosts = false\nallowed_hosts = [\"tools.internal\", \"127.0.0.1:9000\"]").expect("hosts");
        assert_eq!((closed.public, closed.hosts.len()), (false, 2));
        let wrong = check("allowed_hosts = [\"https://tools.internal/mcp\"]");
        assert!(wrong.is_err_and(|error| error.contains("mcp.allowed_hosts") && error.contains("is not a host")));
    }
}
