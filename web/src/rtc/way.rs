//! How a client is reached: its address, and what lies between.

use std::net::SocketAddr;

/// How packets come from a client and go to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Way {
    /// In datagrams, from and to this address.
    Udp(SocketAddr),
    /// Over the TCP connection that the client opened from this address.
    Tcp(SocketAddr),
}

impl Way {
    /// The client's address, as it is seen from here.
    pub(super) fn client(self) -> SocketAddr {
        match self {
            Way::Udp(address) | Way::Tcp(address) => address,
        }
    }
}
