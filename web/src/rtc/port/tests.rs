//! The port: what comes in goes to the call that it names.

use std::io::Read;

use super::*;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

async fn port(tcp: bool) -> Port {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Port::open(&Listen { udp: any, tcp: tcp.then_some(any), public: Vec::new() }).await.expect("a port")
}

/// Nothing reads here before the test waits for something; a socket as Linux gives it keeps some 250 of these.
#[tokio::test]
async fn a_burst_is_kept_while_nobody_reads() {
    let port = port(false).await;
    let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for _ in 0..400 {
        client.send_to(&[0x80; 100], port.listens_on().expect("an address")).expect("it is sent");
    }
    let socket = SockRef::from(&*port.udp);
    let kept = std::iter::from_fn(|| (&*socket).read(&mut [0; 128]).ok()).count();
    assert_eq!(kept, 400);
}

#[tokio::test]
async fn packets_go_to_the_call_that_was_named() {
    let port = port(false).await;
    let (mut one, mut two) = (port.seat("one"), port.seat("two"));
    one.also("uno");
    let from = |port| Way::Udp(SocketAddr::from(([127, 0, 0, 1], port)));
    let send = |number, bytes: &[u8]| lock(&port.calls).deliver(from(number), bytes);
    assert!(!send(1, b"sound of nobody"));
    assert!(send(1, &request(&[(6, b"one:x")])));
    assert!(send(1, b"sound of one"));
    assert!(send(2, &request(&[(6, b"two:x")])));
    assert!(send(2, b"sound of two"));
    // A way that belongs to a call is not taken away by naming another one.
    assert!(send(1, &request(&[(6, b"two:x")])));
    assert!(send(1, b"more of one"));
    assert!(send(3, &request(&[(6, b"uno:x")])));
    assert!(!send(4, &request(&[(6, b"three:x")])));
    let all = |seat: &mut Seat| std::iter::from_fn(|| seat.packets.try_recv().ok()).count();
    assert_eq!((all(&mut one), all(&mut two)), (4, 3));
    drop(one);
    let left = {
        let calls = lock(&port.calls);
        (calls.seats.len(), calls.by_fragment.len(), calls.by_way.len())
    };
    assert_eq!(left, (1, 1, 1));
    drop(two);
    assert!(lock(&port.calls).by_way.is_empty());
}

#[tokio::test]
async fn a_call_comes_over_tcp_too() {
    let port = port(true).await;
    let mut seat = port.seat("one");
    let listens = port.listens_on_tcp().expect("TCP");
    let mut client = TcpStream::connect(listens).await.expect("connects");
    let framed = |packet: &[u8]| [&(packet.len() as u16).to_be_bytes()[..], packet].concat();
    let check = request(&[(6, b"one:x")]);
    client.write_all(&[framed(&check), framed(b"sound")].concat()).await.expect("writes");
    let first = seat.packets.recv().await.expect("the check");
    assert_eq!(first.bytes, check);
    assert_eq!(first.from, Way::Tcp(client.local_addr().expect("an address")));
    assert_eq!(seat.packets.recv().await.expect("sound").bytes, &b"sound"[..]);
    port.send(b"answer", first.from);
    port.send(b"more", first.from);
    let mut read = [0; 14];
    client.read_exact(&mut read).await.expect("reads");
    assert_eq!(&read[..], [framed(b"answer"), framed(b"more")].concat());
    // The call is over: so is its connection.
    drop(seat);
    assert_eq!(client.read(&mut read).await.expect("closed"), 0);
    assert!(lock(&port.calls).streams.is_empty());
}

#[tokio::test]
async fn a_stranger_over_tcp_is_sent_away() {
    let port = port(true).await;
    let _seat = port.seat("one");
    for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 5, 1, 2, 3, 4, 5]] {
        let mut client = TcpStream::connect(port.listens_on_tcp().expect("TCP")).await.expect("connects");
        client.write_all(first).await.expect("writes");
        let mut read = [0; 1];
        assert!(matches!(client.read(&mut read).await, Ok(0) | Err(_)));
    }
}

#[test]
fn clients_are_told_where_to_come() {
    let at = |text: &str| text.parse().expect("an address");
    let public: Vec<IpAddr> = vec!["203.0.113.7".parse().expect("an address"), "2001:db8::7".parse().expect("an address")];
    assert_eq!(
        candidates(&public, at("0.0.0.0:3478"), Transport::Udp),
        ["1 1 udp 2130706431 203.0.113.7 3478 typ host", "2 1 udp 2130706175 2001:db8::7 3478 typ host"]
    );
    assert_eq!(candidates(&[], at("127.0.0.1:443"), Transport::Tcp), ["101 1 tcp 2124414975 127.0.0.1 443 typ host tcptype passive"]);
}

proptest! {
    #[test]
    fn any_bytes_name_a_call_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200), stun in any::<bool>()) {
        let bytes = if stun { [&request(&[])[..], &bytes].concat() } else { bytes };
        let _ = fragment(&bytes);
    }
}
