//! The endpoint of calls over WebRTC: what it answers to offers, and when it gives a call up. Whole calls are for aiortc, in tests/sdk.

use std::sync::Arc;

use futures::FutureExt;
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use web::call::SessionConfig;
use web::rtc::{IceServers, Listen, Port};
use web::ws::{Limits, Realtimes, Shared, routes};
use web::{Answer, Stopping};

/// An offer of sound and a data channel; Opus has a payload type of the client's choosing.
const OFFER: &str = "v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 96 0
c=IN IP4 127.0.0.1
a=sendrecv
a=mid:0
a=rtcp-mux
a=ssrc:1723519593 cname:c
a=rtpmap:96 opus/48000/2
a=rtpmap:0 PCMU/8000
a=ice-ufrag:rRw1
a=ice-pwd:N8mIELIGNqA0gH92GpuPLz
a=fingerprint:sha-256 40:8D:48:19:C7:78:9E:BA:24:34:C2:AF:86:7A:CA:1D:E3:E9:A1:1E:23:36:EF:C5:A7:38:B0:CB:E1:50:4D:F7
a=setup:actpass
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 127.0.0.1
a=mid:1
a=sctp-port:5000
a=max-message-size:262144
a=ice-ufrag:rRw1
a=ice-pwd:N8mIELIGNqA0gH92GpuPLz
a=fingerprint:sha-256 40:8D:48:19:C7:78:9E:BA:24:34:C2:AF:86:7A:CA:1D:E3:E9:A1:1E:23:36:EF:C5:A7:38:B0:CB:E1:50:4D:F7
a=setup:actpass
";

/// Serves calls on a free port, or says that there are none; gives the address.
async fn serve(limits: Limits, answer: Answer, with_port: bool) -> String {
    let port = match with_port {
        true => {
            let any = ([127, 0, 0, 1], 0).into();
            let port = Port::open(&Listen { udp: any, tcp: Some(any), public: Vec::new() }).await.expect("a free port");
            Some((port, IceServers::default()))
        }
        false => None,
    };
    let books = web::Books::default();
    let realtimes = Realtimes { answer, defaults: SessionConfig::default(), limits, books, stopping: Stopping::default() };
    let app = routes(Shared::new(realtimes), port);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/v1/realtime/calls?model=m")
}

async fn offer(url: &str, sdp: &str) -> Response {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let request = Client::new().post(url).header("content-type", "application/sdp").body(sdp.replace('\n', "\r\n"));
    request.send().await.expect("an answer")
}

fn waiting() -> Answer {
    Arc::new(|_| futures::future::pending().boxed())
}

#[tokio::test]
async fn an_offer_is_answered() {
    let url = serve(Limits::default(), waiting(), true).await;
    let answer = offer(&url, OFFER).await;
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["content-type"], "application/sdp");
    assert!(answer.headers()["location"].to_str().expect("text").starts_with("/v1/realtime/calls/rtc_"));
    let answer = answer.text().await.expect("a body");
    for line in ["a=ice-lite", "a=rtpmap:96 opus/48000/2", "a=sendrecv", "a=sctp-port:5000", "typ host", " 127.0.0.1 ", "tcptype passive"] {
        assert!(answer.contains(line), "{line} is not in {answer}");
    }
    assert!(!answer.contains("PCMU"), "{answer}");
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() {
    let url = serve(Limits::default(), waiting(), true).await;
    for sdp in ["nonsense", "", "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\n"] {
        let answer = offer(&url, sdp).await;
        assert_eq!(answer.status(), 400, "{sdp}");
        let error: Value = answer.json().await.expect("JSON");
        assert_eq!(error["error"]["param"], "sdp", "{error}");
    }
    let answer = offer(&serve(Limits::default(), waiting(), false).await, OFFER).await;
    assert_eq!(answer.status(), 501);
}

#[tokio::test]
async fn a_client_that_never_connects_gives_its_place_back() {
    let limits = Limits { sessions: 1, ..Limits::default() };
    let url = serve(limits, waiting(), true).await;
    assert_eq!(offer(&url, OFFER).await.status(), 201);
    let refused = offer(&url, OFFER).await;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (429, true));
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    // The clock goes on by itself while all wait for it: the call gives up at its deadline.
    while offer(&url, OFFER).await.status() != 201 {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "the place is still taken");
    }
}
