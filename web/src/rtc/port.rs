//! The one UDP port of all WebRTC calls: it finds out which call a datagram is for.
//!
//! A call is known by the ICE user name fragment that its answer gave away (RFC 8445 section 7.3); once a connectivity check named it, what
//! else comes from the same address is for the same call. The port reads no further than that: whether a check is genuine is for the call.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tracing::warn;

/// Datagrams that wait for one call: more than a second of sound. When it is full the next ones are lost, as anywhere on a network.
const WAITING: usize = 128;

/// Largest datagram that is read, bytes: no network that WebRTC runs over carries larger ones unbroken.
const LARGEST: usize = 2_048;

/// Addresses that one call's client may come from: each of its interfaces, before and after a change of network.
const MOST_ADDRESSES: usize = 32;

/// Magic cookie of STUN (RFC 8489 section 5).
const COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
/// Type of a binding request (RFC 8489 section 5).
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
/// The attribute USERNAME (RFC 8489 section 14.3).
const USERNAME: [u8; 2] = [0x00, 0x06];

/// The port. Dropping it closes it.
pub struct Port {
    socket: Arc<UdpSocket>,
    calls: Arc<Mutex<Calls>>,
    addresses: Vec<SocketAddr>,
    reading: JoinHandle<()>,
}

/// A datagram and where it came from.
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) bytes: BytesMut,
}

#[derive(Default)]
struct Calls {
    by_fragment: HashMap<String, Sender<Datagram>>,
    by_address: HashMap<SocketAddr, String>,
}

/// A call's place at the port. Dropping it leaves.
pub(super) struct Seat {
    pub(super) datagrams: Receiver<Datagram>,
    fragment: String,
    calls: Arc<Mutex<Calls>>,
}

impl Port {
    /// Opens the port. Clients are told `public` as its address where there is one (behind a one-to-one NAT), else those that it listens on.
    pub async fn open(listen: SocketAddr, public: Option<IpAddr>) -> io::Result<Port> {
        let socket = Arc::new(UdpSocket::bind(listen).await?);
        let bound = socket.local_addr()?;
        let addresses = match public {
            Some(public) => vec![public],
            None if bound.ip().is_unspecified() => own_addresses(bound.ip()),
            None => vec![bound.ip()],
        };
        let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, bound.port())).collect();
        let calls = Arc::<Mutex<Calls>>::default();
        let reading = tokio::spawn(read(socket.clone(), calls.clone()));
        Ok(Port { socket, calls, addresses, reading })
    }

    /// Where it listens.
    pub fn listens_on(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Where clients reach it.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Which of its addresses a datagram from `peer` reached, as far as can be told from here.
    pub(super) fn reached_from(&self, peer: SocketAddr) -> SocketAddr {
        let near = |address: &&SocketAddr| address.ip().is_loopback() == peer.ip().is_loopback();
        self.addresses.iter().find(near).or(self.addresses.first()).copied().unwrap_or(peer)
    }

    /// A place for the call whose answer has `fragment`.
    pub(super) fn seat(&self, fragment: &str) -> Seat {
        let (sender, datagrams) = mpsc::channel(WAITING);
        lock(&self.calls).by_fragment.insert(fragment.to_owned(), sender);
        Seat { datagrams, fragment: fragment.to_owned(), calls: self.calls.clone() }
    }

    /// Sends a datagram, or loses it where the system has no room for it now.
    pub(super) fn send(&self, bytes: &[u8], to: SocketAddr) {
        let _ = self.socket.try_send_to(bytes, to);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut calls = lock(&self.calls);
        calls.by_fragment.remove(&self.fragment);
        calls.by_address.retain(|_, fragment| *fragment != self.fragment);
    }
}

/// No code panics while it holds the lock; if one ever does, the table is still whole.
fn lock(calls: &Mutex<Calls>) -> std::sync::MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(socket: Arc<UdpSocket>, calls: Arc<Mutex<Calls>>) {
    let mut buffer = [0; LARGEST];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => lock(&calls).deliver(from, &buffer[..length]),
            // An ICMP message about one client's datagram comes as an error of the socket; it is no reason to stop.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => {
                warn!(%error, "The WebRTC port cannot be read.");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

impl Calls {
    fn deliver(&mut self, from: SocketAddr, bytes: &[u8]) {
        let named = fragment(bytes);
        if let Some(named) = named
            && !self.by_address.contains_key(&from)
            && self.by_fragment.contains_key(named)
            && self.by_address.values().filter(|fragment| *fragment == named).count() < MOST_ADDRESSES
        {
            self.by_address.insert(from, named.to_owned());
        }
        let call = named.or_else(|| self.by_address.get(&from).map(String::as_str)).and_then(|fragment| self.by_fragment.get(fragment));
        if let Some(call) = call {
            let _ = call.try_send(Datagram { from, bytes: bytes.into() });
        }
    }
}

/// The first half of the user name in a STUN binding request: the fragment of whom it is for.
fn fragment(bytes: &[u8]) -> Option<&str> {
    let (header, mut attributes) = bytes.split_at_checked(20)?;
    if header[..2] != BINDING_REQUEST || header[4..8] != COOKIE {
        return None;
    }
    while let Some((head, rest)) = attributes.split_at_checked(4) {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..length)?;
        if head[..2] == USERNAME {
            return std::str::from_utf8(value).ok()?.split_once(':').map(|(ours, _)| ours);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// The addresses that a socket on all interfaces is reached at: loopback, and that of the way out.
fn own_addresses(any: IpAddr) -> Vec<IpAddr> {
    // Connecting a UDP socket sends nothing; it only looks up the route. The addresses are for documentation (RFC 5737, RFC 3849).
    let (loopback, outside): (IpAddr, &str) = match any {
        IpAddr::V4(_) => (Ipv4Addr::LOCALHOST.into(), "192.0.2.1:9"),
        IpAddr::V6(_) => (Ipv6Addr::LOCALHOST.into(), "[2001:db8::1]:9"),
    };
    let way_out = std::net::UdpSocket::bind(SocketAddr::new(any, 0))
        .and_then(|socket| socket.connect(outside).and_then(|()| socket.local_addr()))
        .map(|address| address.ip());
    way_out.into_iter().filter(|address| *address != loopback).chain([loopback]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = [&BINDING_REQUEST[..], &[0, 0], &COOKIE, &[7; 12]].concat();
        for (kind, value) in attributes {
            bytes.extend(kind.to_be_bytes());
            bytes.extend((value.len() as u16).to_be_bytes());
            bytes.extend_from_slice(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn a_check_says_whom_it_is_for() {
        let software: (u16, &[u8]) = (0x8022, b"odd");
        for (bytes, expected) in [
            (request(&[(6, b"ours:theirs")]), Some("ours")),
            (request(&[software, (6, b"ours:theirs")]), Some("ours")),
            (request(&[software]), None),
            (request(&[(6, b"nobody")]), None),
            (request(&[(6, b"\xff:x")]), None),
            (request(&[(6, b"ours:theirs")])[..26].to_vec(), None),
            (vec![0; 19], None),
            (vec![0x80; 40], None),
        ] {
            assert_eq!(fragment(&bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn datagrams_go_to_the_call_that_was_named() {
        let calls = Arc::<Mutex<Calls>>::default();
        let seat = |fragment: &str| {
            let (sender, datagrams) = mpsc::channel(4);
            lock(&calls).by_fragment.insert(fragment.to_owned(), sender);
            Seat { datagrams, fragment: fragment.to_owned(), calls: calls.clone() }
        };
        let (mut one, mut two) = (seat("one"), seat("two"));
        let from = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let send = |port, bytes: &[u8]| lock(&calls).deliver(from(port), bytes);
        send(1, b"sound of nobody");
        send(1, &request(&[(6, b"one:x")]));
        send(1, b"sound of one");
        send(2, &request(&[(6, b"two:x")]));
        send(2, b"sound of two");
        // An address that belongs to a call is not taken away by naming another one.
        send(1, &request(&[(6, b"two:x")]));
        send(1, b"more of one");
        let all = |seat: &mut Seat| std::iter::from_fn(|| seat.datagrams.try_recv().ok()).count();
        assert_eq!((all(&mut one), all(&mut two)), (3, 3));
        drop(one);
        let left = {
            let calls = lock(&calls);
            (calls.by_fragment.len(), calls.by_address.len())
        };
        assert_eq!(left, (1, 1));
        drop(two);
        assert!(lock(&calls).by_address.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_name_a_call_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200), stun in any::<bool>()) {
            let bytes = if stun { [&request(&[])[..], &bytes].concat() } else { bytes };
            let _ = fragment(&bytes);
        }
    }
}
