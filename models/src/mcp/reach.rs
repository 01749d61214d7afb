//! Which MCP servers may be reached from here: a caller names a URL, and this machine stands in a network that the caller does not.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::McpError;

/// Which hosts may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Any host at a public address, over https.
    pub public: bool,
    /// These, wherever they are, over http, too.
    pub hosts: Vec<Host>,
}

/// A host that the operator names: a name or an address, and a port where only that one is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

/// How a server may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// At public addresses only.
    Public,
    /// Wherever its name leads.
    Named,
}

impl FromStr for Host {
    type Err = ();

    fn from_str(text: &str) -> Result<Host, ()> {
        let url = Url::parse(&format!("http://{text}/")).map_err(drop)?;
        let bare =
            url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let name = url.host_str().filter(|_| bare && !text.ends_with('/')).ok_or(())?.to_owned();
        // A port that is http's own is not kept in a URL.
        let port = url.port().or_else(|| text.ends_with(":80").then_some(80));
        Ok(Host { name, port })
    }
}

impl Reach {
    /// How this URL may be reached.
    pub(super) fn way(&self, url: &Url) -> Result<Way, McpError> {
        let refused = |message: String| Err(McpError::Http { status: 403, message });
        let Some(host) = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")) else {
            return refused("server_url must begin with https:// and name a host".to_owned());
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refused("server_url must not hold a user or a password; use `authorization` or `headers`".to_owned());
        }
        let port = url.port_or_known_default();
        if self.hosts.iter().any(|named| named.name == host && (named.port.is_none() || named.port == port)) {
            return Ok(Way::Named);
        }
        if !self.public {
            return refused(format!("{host} is not among the MCP servers of this server (mcp.allowed_hosts in its configuration)"));
        }
        if url.scheme() != "https" {
            return refused(format!("{host} is asked over https only, unless mcp.allowed_hosts in this server's configuration names it"));
        }
        let address = host.trim_start_matches('[').trim_end_matches(']').parse();
        if address.is_ok_and(|address: IpAddr| !is_public(address)) {
            return refused(NotPublic(host.to_owned()).to_string());
        }
        Ok(Way::Public)
    }
}

/// Looks names up, and leaves out every address that is not public. It connects to what it looked up, so that a name cannot change
/// its mind in between.
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic(name.as_str().to_owned()).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// A host whose addresses are all of some private network.
#[derive(Debug)]
struct NotPublic(String);

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no public address; mcp.allowed_hosts in this server's configuration can name it", self.0)
    }
}

impl std::error::Error for NotPublic {}

/// Whether an address is one of the internet's, after IANA's registries of special-purpose addresses (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        // "This network", and all that is reserved, broadcast included.
        || a == 0
        || a >= 240
        // Behind carriers' NATs (RFC 6598), protocol assignments, 6to4 relays, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match (a, b) {
        // IPv4 in other clothes: mapped, translated (RFC 6052), 6to4.
        (0, 0) if (c, d, e, f) == (0, 0, 0, 0xffff) => embedded(g, h),
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => embedded(g, h),
        (0x2002, _) => embedded(b, c),
        // Teredo and other protocol assignments (2001::/23), documentation.
        (0x2001, 0..=0x1ff | 0xdb8) => false,
        (0x3fff, 0..=0xfff) => false,
        // Only 2000::/3 is given out.
        _ => (0x2000..0x4000).contains(&a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_told_from_all_others() {
        for address in ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1"] {
            assert!(is_public(address.parse().expect("an address")), "{address}");
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00::1",
            "fec0::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
        ] {
            assert!(!is_public(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn a_url_is_reached_publicly_or_because_it_is_named() {
        let reach = |hosts: &[&str]| Reach { public: true, hosts: hosts.iter().map(|host| host.parse().expect("a host")).collect() };
        let way = |reach: &Reach, url: &str| reach.way(&Url::parse(url).expect("a URL")).map_err(|error| error.message().to_owned());
        let open = reach(&[]);
        assert_eq!(way(&open, "https://mcp.example.com/mcp"), Ok(Way::Public));
        for (url, part) in [
            ("http://mcp.example.com/mcp", "over https only"),
            ("https://127.0.0.1/mcp", "no public address"),
            // Addresses in other spellings.
            ("https://0x7f.1/mcp", "no public address"),
            ("https://2130706433/", "no public address"),
            ("https://[::1]/", "no public address"),
            ("https://[::ffff:169.254.169.254]/", "no public address"),
            ("https://me:key@mcp.example.com/", "password"),
            ("ftp://mcp.example.com/", "https://"),
            ("file:///etc/passwd", "https://"),
        ] {
            assert!(way(&open, url).is_err_and(|message| message.contains(part)), "{url}: {:?}", way(&open, url));
        }
        let named = reach(&["127.0.0.1:9000", "tools.internal", "[::1]:80"]);
        for (url, named_it) in [
            ("http://127.0.0.1:9000/mcp", true),
            ("http://127.0.0.1:9001/mcp", false),
            ("http://tools.internal:1234/", true),
            ("http://TOOLS.internal/", true),
            ("http://not.tools.internal/", false),
            ("http://[::1]/", true),
        ] {
            assert_eq!(way(&named, url) == Ok(Way::Named), named_it, "{url}");
        }
        let closed = Reach { public: false, hosts: Vec::new() };
        assert!(way(&closed, "https://mcp.example.com/").is_err_and(|message| message.contains("mcp.allowed_hosts")));
        for wrong in ["", "http://a", "a/b", "a@b", "a b", "a:b"] {
            assert!(wrong.parse::<Host>().is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_not_followed() {
        let found = PublicOnly.resolve("localhost".parse().expect("a name")).await;
        assert!(found.is_err_and(|error| error.to_string().contains("no public address")));
    }
}
