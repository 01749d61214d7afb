//! The port of all WebRTC calls, UDP and TCP: it finds out which call a packet is for.
//!
//! A call is known by the ICE user name fragments that its answers gave away (RFC 8445 section 7.3); once a connectivity check named it,
//! what else comes the same way is for the same call. The port reads no further than that: whether a check is genuine is for the call.

mod stream;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;
use tracing::warn;

use super::way::Way;

/// Packets that wait for one call: more than a second of sound. When it is full the next ones are lost, as anywhere on a network.
const WAITING: usize = 128;

/// Largest packet that is read, bytes: no network that WebRTC runs over carries larger datagrams unbroken.
const LARGEST: usize = 2_048;

/// What the system may keep of what came until it is read, bytes: about a second of a hundred calls, since Linux counts some 800 bytes for a
/// packet of sound and allows twice what it is asked for. It gives less where `net.core.rmem_max` says so.
const UNREAD: usize = 2 * 1_024 * 1_024;

/// Ways that one call's client may come by: each of its interfaces, before and after a change of network.
const MOST_WAYS: usize = 32;

/// Magic cookie of STUN (RFC 8489 section 5).
const COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
/// Type of a binding request (RFC 8489 section 5).
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
/// The attribute USERNAME (RFC 8489 section 14.3).
const USERNAME: [u8; 2] = [0x00, 0x06];

/// Where to listen, and what clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and UDP port.
    pub udp: SocketAddr,
    /// Address and TCP port, where calls may come over TCP as well.
    pub tcp: Option<SocketAddr>,
    /// The addresses that clients are told, where they are others (behind a one-to-one NAT); empty: those that it listens on.
    pub public: Vec<IpAddr>,
}

/// The port. Dropping it closes it.
pub struct Port {
    udp: Arc<UdpSocket>,
    calls: Arc<Mutex<Calls>>,
    candidates: Vec<String>,
    tcp: Option<SocketAddr>,
    _reading: JoinSet<()>,
}

/// A packet, and which way it came.
pub(super) struct Packet {
    pub(super) from: Way,
    pub(super) bytes: BytesMut,
}

#[derive(Default)]
struct Calls {
    last: u64,
    seats: HashMap<u64, Sender<Packet>>,
    by_fragment: HashMap<String, u64>,
    by_way: HashMap<Way, u64>,
    /// What goes out over each TCP connection.
    streams: HashMap<SocketAddr, Sender<Bytes>>,
}

/// A call's place at the port. Dropping it leaves.
pub(super) struct Seat {
    pub(super) packets: Receiver<Packet>,
    id: u64,
    calls: Arc<Mutex<Calls>>,
}

impl Port {
    /// Opens the port.
    pub async fn open(listen: &Listen) -> io::Result<Port> {
        let udp = Arc::new(UdpSocket::bind(listen.udp).await?);
        // Every call's packets come over this one socket; a system that gives it no more room still carries them.
        let _ = SockRef::from(&*udp).set_recv_buffer_size(UNREAD);
        let calls = Arc::<Mutex<Calls>>::default();
        let mut reading = JoinSet::new();
        reading.spawn(read(udp.clone(), calls.clone()));
        let mut candidates = candidates(&listen.public, udp.local_addr()?, Transport::Udp);
        let mut tcp = None;
        if let Some(listen_tcp) = listen.tcp {
            let listener = TcpListener::bind(listen_tcp).await?;
            let bound = listener.local_addr()?;
            candidates.extend(self::candidates(&listen.public, bound, Transport::Tcp));
            tcp = Some(bound);
            reading.spawn(stream::accept(listener, calls.clone()));
        }
        Ok(Port { udp, calls, candidates, tcp, _reading: reading })
    }

    /// The UDP address that it listens on.
    pub fn listens_on(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    /// The TCP address that it listens on.
    pub fn listens_on_tcp(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Where clients reach it: values of `a=candidate` (RFC 8839 section 5.1).
    pub(super) fn candidates(&self) -> &[String] {
        &self.candidates
    }

    /// A place for the call whose answer has `fragment`.
    pub(super) fn seat(&self, fragment: &str) -> Seat {
        let (sender, packets) = mpsc::channel(WAITING);
        let mut calls = lock(&self.calls);
        calls.last += 1;
        let id = calls.last;
        calls.seats.insert(id, sender);
        calls.by_fragment.insert(fragment.to_owned(), id);
        Seat { packets, id, calls: self.calls.clone() }
    }

    /// Sends a packet, or loses it where the system or the client has no room for it now.
    pub(super) fn send(&self, bytes: &[u8], to: Way) {
        match to {
            Way::Udp(address) => {
                let _ = self.udp.try_send_to(bytes, address);
            }
            Way::Tcp(address) => {
                let calls = lock(&self.calls);
                if let Some(stream) = calls.streams.get(&address) {
                    let _ = stream.try_send(Bytes::copy_from_slice(bytes));
                }
            }
        }
    }
}

impl Seat {
    /// The call gave away another fragment, too.
    pub(super) fn also(&self, fragment: &str) {
        lock(&self.calls).by_fragment.insert(fragment.to_owned(), self.id);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut calls = lock(&self.calls);
        calls.seats.remove(&self.id);
        calls.by_fragment.retain(|_, id| *id != self.id);
        // Dropping its way out closes a TCP connection.
        let gone: Vec<Way> = calls.by_way.iter().filter(|(_, id)| **id == self.id).map(|(way, _)| *way).collect();
        for way in gone {
            calls.by_way.remove(&way);
            if let Way::Tcp(address) = way {
                calls.streams.remove(&address);
            }
        }
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
            Ok((length, from)) => {
                lock(&calls).deliver(Way::Udp(from), &buffer[..length]);
            }
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
    /// Hands a packet to its call; whether there is one.
    fn deliver(&mut self, from: Way, bytes: &[u8]) -> bool {
        let named = fragment(bytes).and_then(|fragment| self.by_fragment.get(fragment)).copied();
        if let Some(named) = named
            && !self.by_way.contains_key(&from)
            && self.by_way.values().filter(|id| **id == named).count() < MOST_WAYS
        {
            self.by_way.insert(from, named);
        }
        let call = named.or_else(|| self.by_way.get(&from).copied()).and_then(|id| self.seats.get(&id));
        if let Some(call) = call {
            let _ = call.try_send(Packet { from, bytes: bytes.into() });
        }
        call.is_some()
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

#[derive(Clone, Copy)]
enum Transport {
    Udp,
    Tcp,
}

/// The candidates of a socket. All are of type host, and UDP goes before TCP (RFC 8445 section 5.1.2.1, RFC 6544 section 4.2).
fn candidates(public: &[IpAddr], bound: SocketAddr, transport: Transport) -> Vec<String> {
    let addresses = match public {
        [] if bound.ip().is_unspecified() => own_addresses(bound.ip()),
        [] => vec![bound.ip()],
        public => public.to_vec(),
    };
    let (name, preference, ending, first) = match transport {
        Transport::Udp => ("udp", 65_535_u32, "", 1),
        // Direction preference 4 (passive) of 7 in the upper three bits, RFC 6544 section 4.2.
        Transport::Tcp => ("tcp", (4 << 13) + 8_191, " tcptype passive", 101),
    };
    let line = |(index, address): (usize, &IpAddr)| {
        let priority = (126 << 24) + ((preference - index as u32) << 8) + 255;
        format!("{} 1 {name} {priority} {address} {} typ host{ending}", first + index, bound.port())
    };
    addresses.iter().enumerate().map(line).collect()
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
mod tests;
