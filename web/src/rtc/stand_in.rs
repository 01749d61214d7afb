//! What stands in for the client towards the ICE agent inside the crate's connection: one way that never changes.
//!
//! The connection carries DTLS and SRTP only over a pair of candidates that its own agent has selected, keeps it for good, and has failed
//! when it falls silent. Calls here outlive that: their client may come by UDP or TCP, move to another network, and restart ICE. So
//! [`Agent`](super::ice::Agent) speaks with the client, the connection is told of two fixed addresses, and this plays the other side of its
//! checks once, in memory. No STUN from outside reaches the connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use rtc::crypto::{CryptoError, RTCCryptoProvider, default_provider};
use rtc::peer_connection::RTCPeerConnection;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc::stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, TransactionId};
use rtc::stun::textattrs::TextAttribute;
use rtc::stun::xoraddr::XorMappedAddress;

use super::ice::signed;

/// The connection's own address, as it believes.
pub(super) const OURS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// The client's address, as the connection believes.
const THEIRS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2);

/// Credentials of both sides. They are no secret: nobody outside speaks with the connection's agent.
pub(super) const FRAGMENT: &str = "StandIn";
/// See [`FRAGMENT`]; as long as RFC 8445 section 5.3 asks.
pub(super) const PASSWORD: &str = "StandInStandInStandInStandIn";

/// The context that what the client sent is given to the connection with.
pub(super) const STILL: TransportContext =
    TransportContext { local_addr: OURS, peer_addr: THEIRS, transport_protocol: TransportProtocol::UDP, ecn: None };

/// Has the agent of `connection` select its only pair.
pub(super) fn select(connection: &mut RTCPeerConnection, now: std::time::Instant) -> Result<(), Error> {
    let crypto = default_provider().map_err(|error: CryptoError| Error::Other(error.to_string()))?;
    // The first check makes the pair known and is answered by one of the agent's own; the second one finds the pair valid.
    for _ in 0..2 {
        give(connection, now, &check(&crypto)?)?;
        for asked in checks(connection) {
            give(connection, now, &answer(&crypto, asked)?)?;
        }
    }
    checks(connection);
    Ok(())
}

fn give(connection: &mut RTCPeerConnection, now: std::time::Instant, message: &[u8]) -> Result<(), Error> {
    connection.handle_read(TaggedBytesMut { now, transport: STILL, message: BytesMut::from(message) })
}

/// The checks that the agent wants sent: nothing else is underway before a pair is selected.
fn checks(connection: &mut RTCPeerConnection) -> Vec<Message> {
    let mut checks = Vec::new();
    while let Some(TaggedBytesMut { message, .. }) = connection.poll_write() {
        let mut check = Message { raw: message.to_vec(), ..Message::default() };
        if check.decode().is_ok() && check.typ == BINDING_REQUEST {
            checks.push(check);
        }
    }
    checks
}

fn check(crypto: &Arc<dyn RTCCryptoProvider>) -> Result<Vec<u8>, Error> {
    signed(&**crypto, PASSWORD, |message| {
        let name = TextAttribute::new(ATTR_USERNAME, format!("{FRAGMENT}:{FRAGMENT}"));
        message.build(&[Box::new(BINDING_REQUEST), Box::new(TransactionId::new()), Box::new(name)])?;
        message.add(ATTR_PRIORITY, &u32::MAX.to_be_bytes());
        message.add(ATTR_ICE_CONTROLLING, &[0; 8]);
        message.add(ATTR_USE_CANDIDATE, &[]);
        Ok(())
    })
}

fn answer(crypto: &Arc<dyn RTCCryptoProvider>, check: Message) -> Result<Vec<u8>, Error> {
    signed(&**crypto, PASSWORD, |message| {
        let mapped = XorMappedAddress { ip: OURS.ip(), port: OURS.port() };
        message.build(&[Box::new(check), Box::new(BINDING_SUCCESS), Box::new(mapped)])
    })
}
