//! ICE over TCP: passive candidates (RFC 6544), with each packet behind its length (RFC 4571).
//!
//! A connection that has not named a call by its first packet is closed, and so is one that no call wants any more.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use super::{Calls, LARGEST, WAITING, lock};
use crate::rtc::way::Way;

/// How long a connection may take until it names its call.
const FIRST_PACKET: Duration = Duration::from_secs(10);
/// How long a client may read nothing. Sound is late long before that.
const WRITE: Duration = Duration::from_secs(10);
/// Connections at once, of clients and of whoever finds the port.
const MOST_STREAMS: usize = 1_024;

/// Takes connections for as long as it is polled.
pub(super) async fn accept(listener: TcpListener, calls: Arc<Mutex<Calls>>) {
    let mut streams = JoinSet::new();
    loop {
        select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) if streams.len() < MOST_STREAMS => {
                    streams.spawn(carry(stream, from, calls.clone()));
                }
                Ok(_) => {}
                Err(error) => {
                    warn!(%error, "The WebRTC port takes no TCP connections now.");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

/// Carries one connection to its end.
async fn carry(stream: TcpStream, from: SocketAddr, calls: Arc<Mutex<Calls>>) {
    let _ = stream.set_nodelay(true);
    let way = Way::Tcp(from);
    let (sender, outgoing) = mpsc::channel(WAITING);
    // Its call is found by the first packet, and may answer at once.
    lock(&calls).streams.insert(from, sender);
    exchange(stream, way, outgoing, &calls).await;
    let mut calls = lock(&calls);
    calls.streams.remove(&from);
    calls.by_way.remove(&way);
}

async fn exchange(mut stream: TcpStream, way: Way, mut outgoing: Receiver<Bytes>, calls: &Mutex<Calls>) {
    let (mut buffer, mut ahead) = (BytesMut::with_capacity(2 * LARGEST), BytesMut::new());
    let mut named = false;
    let deadline = tokio::time::sleep(FIRST_PACKET);
    tokio::pin!(deadline);
    loop {
        select! {
            read = stream.read_buf(&mut buffer) => {
                if !matches!(read, Ok(1..)) {
                    return;
                }
                while let Some(packet) = packet(&mut buffer) {
                    let Some(packet) = packet else { return };
                    if !lock(calls).deliver(way, &packet) && !named {
                        return;
                    }
                    named = true;
                }
            }
            packet = outgoing.recv() => {
                let Some(first) = packet else { return };
                ahead.clear();
                frame(&mut ahead, &first);
                while let Ok(next) = outgoing.try_recv() {
                    frame(&mut ahead, &next);
                }
                if !matches!(timeout(WRITE, stream.write_all(&ahead)).await, Ok(Ok(()))) {
                    return;
                }
            }
            () = &mut deadline, if !named => return,
        }
    }
}

fn frame(into: &mut BytesMut, packet: &[u8]) {
    // Packets are made for datagrams: their length has room in 16 bits.
    if let Ok(length) = u16::try_from(packet.len()) {
        into.extend_from_slice(&length.to_be_bytes());
        into.extend_from_slice(packet);
    }
}

/// The next packet, if all of it is there; `Some(None)`: it is larger than any may be.
fn packet(buffer: &mut BytesMut) -> Option<Option<BytesMut>> {
    let length = usize::from(u16::from_be_bytes([*buffer.first()?, *buffer.get(1)?]));
    if length > LARGEST {
        return Some(None);
    }
    if buffer.len() < 2 + length {
        return None;
    }
    buffer.advance(2);
    Some(Some(buffer.split_to(length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(buffer: &mut BytesMut) -> Option<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        while let Some(next) = packet(buffer) {
            found.push(next?.to_vec());
        }
        Some(found)
    }

    proptest! {
        #[test]
        fn packets_are_found_however_they_are_cut(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8), cut in 1..400usize) {
            let mut framed = BytesMut::new();
            for packet in &packets {
                frame(&mut framed, packet);
            }
            let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
            for piece in framed.chunks(cut) {
                buffer.extend_from_slice(piece);
                found.extend(all(&mut buffer).expect("none is too large"));
            }
            prop_assert_eq!(found, packets);
        }
    }

    #[test]
    fn what_no_packet_is_ends_the_connection() {
        assert_eq!(all(&mut BytesMut::from(&b"GET / HTTP/1.1\r\n"[..])), None);
    }
}
