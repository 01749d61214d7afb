//! Callers that write HTTP in every way that the standard allows, and in some that it does not.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{self, request, words};
use crate::support::provider::says;
use crate::support::server::gateway;
use crate::support::{Connection, Provider, Server, post};

const CHAT: &str = "/v1/chat/completions";
const JSON: (&str, &str) = ("content-type", "application/json");

fn asked() -> Value {
    json!({ "model": "up/ok", "messages": [{ "role": "user", "content": "hi" }] })
}

async fn start(more: &str) -> (Provider, Server) {
    let provider = Provider::start(|_| says("Hello there.")).await;
    let server = Server::start(&gateway(provider.address, more)).await;
    (provider, server)
}

#[tokio::test]
async fn requests_are_read_in_every_form_that_http_allows() {
    let (provider, server) = start("").await;
    let body = asked().to_string();
    let chunked: String =
        body.as_bytes().chunks(9).map(|part| format!("{:x};x=y\r\n{}\r\n", part.len(), String::from_utf8_lossy(part))).collect();
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
    for sent in [
        format!("{head}content-length: {}\r\n\r\n{body}", body.len()),
        // In chunks, with a trailer.
        format!("{head}transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n{chunked}0\r\nx-sum: 1\r\n\r\n"),
        format!("POST {CHAT} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
        format!("POST http://timbre{CHAT} HTTP/1.1\r\nhost: timbre\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
        format!(
            "POST {CHAT}?beta=true HTTP/1.1\r\nHOST: x\r\nContent-Type: Application/JSON; Charset=UTF-8\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
        format!("{head}content-encoding: identity\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
        // Named twice, and the first counts.
        format!(
            "{head}x-request-id: one\r\nx-request-id: two\r\nauthorization: Bearer a\r\nauthorization: Bearer b\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
        // A byte order mark, and escapes.
        format!("{head}content-length: {}\r\n\r\n\u{feff}{body}", body.len() + 3),
    ] {
        let answer = client::ask(server.address, sent.as_bytes()).await;
        assert_eq!(answer.status, 200, "{sent}: {}", answer.text());
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello there.");
    }
    assert_eq!(provider.count("ok"), 8);
    // A byte at a time.
    let mut connection = Connection::open(server.address).await;
    for byte in request("POST", CHAT, &[JSON], body.as_bytes()) {
        connection.send(&[byte]).await;
    }
    assert_eq!(connection.answer().await.status, 200);
    // Three at once, answered in their order.
    let mut connection = Connection::open(server.address).await;
    let three =
        [request("POST", CHAT, &[JSON], body.as_bytes()), request("GET", "/v1/models", &[], b""), request("GET", "/healthz", &[], b"")];
    connection.send(&three.concat()).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(connection.answer().await.json());
    }
    assert_eq!((&told[0]["object"], &told[1]["object"], &told[2]["status"]), (&json!("chat.completion"), &json!("list"), &json!("ok")));
}

#[tokio::test]
async fn a_caller_who_waits_to_be_told_to_go_on_is_told() {
    let (_provider, server) = start("").await;
    let body = asked().to_string();
    let mut connection = Connection::open(server.address).await;
    connection.send(&request("POST", CHAT, &[JSON, ("expect", "100-continue"), ("content-length", &body.len().to_string())], b"")).await;
    assert_eq!(connection.head().await.status, 100);
    connection.send(body.as_bytes()).await;
    assert_eq!(connection.answer().await.status, 200);
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_nobody_else_notices() {
    let (provider, server) = start("[server]\nmax_body_bytes = 100000\n").await;
    let body = asked().to_string();
    let length = format!("content-length: {}\r\n", body.len());
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
    for (sent, status) in [
        (format!("{head}content-length: 1\r\n{length}\r\n{body}"), 400),
        (format!("{head}content-length: -1\r\n\r\n{body}"), 400),
        (format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n{body}"), 400),
        (format!("{head}content-encoding: gzip\r\n{length}\r\n{body}"), 415),
        (format!("{}{length}\r\n{body}", head.replace("application/json", "text/plain")), 415),
        (format!("{head}content-length: 100001\r\n\r\n{}", " ".repeat(100_001)), 413),
        (format!("{head}content-length: 99999999999\r\n\r\n"), 413),
        (format!("{head}{}\r\n", format!("x-long: {}\r\n", "y".repeat(4_000)).repeat(200)), 431),
        ("GET /\u{0} HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("\r\n\r\n\r\nNONSENSE\r\n\r\n".to_owned(), 400),
        (format!("{head}{length}\r\n{}", body.replace("hi", "\\ud800")), 400),
        (format!("{head}{length}\r\n{}", body.replace("\"hi\"", "1e999")), 400),
    ] {
        let answer = client::ask(server.address, sent.as_bytes()).await;
        assert_eq!(answer.status, status, "{:?}", sent.chars().take(300).collect::<String>());
    }
    let mut bytes = request("POST", CHAT, &[JSON], body.as_bytes());
    let place = bytes.windows(4).position(|four| four == b"\"hi\"").expect("it is there");
    bytes[place + 1] = 0xff;
    assert_eq!(client::ask(server.address, &bytes).await.status, 400, "not UTF-8");
    assert_eq!(provider.asked().len(), 0);
    assert_eq!(post(server.address, CHAT, &asked()).await.status, 200);
}

#[tokio::test]
async fn callers_who_leave_while_they_speak_leave_nothing_behind() {
    let (provider, server) = start("[limits.key]\nconcurrent = 1\nqueue = 1\n").await;
    let whole = request("POST", CHAT, &[JSON], asked().to_string().as_bytes());
    for end in [1, 20, whole.len() - 30, whole.len() - 1] {
        let mut connection = Connection::open(server.address).await;
        connection.send(&whole[..end]).await;
        drop(connection);
    }
    // The one place is free again.
    let mut answer = post(server.address, CHAT, &asked()).await;
    for _ in 0..100 {
        if answer.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer = post(server.address, CHAT, &asked()).await;
    }
    assert_eq!((answer.status, provider.asked().len()), (200, 1), "{}", answer.text());
}

#[tokio::test]
async fn heads_alone_are_given_and_methods_are_named() {
    let (_provider, server) = start("").await;
    for path in ["/v1/models", "/healthz", "/readyz", "/metrics"] {
        let mut connection = Connection::open(server.address).await;
        connection.send(&request("HEAD", path, &[], b"")).await;
        let head = connection.head().await;
        assert_eq!(head.status, 200, "{path}");
        // Nothing follows but the next answer.
        connection.send(&request("GET", "/healthz", &[], b"")).await;
        assert_eq!(connection.answer().await.json()["status"], "ok");
    }
    for anthropic in ["", "2023-06-01"] {
        let headers: &[(&str, &str)] = if anthropic.is_empty() { &[] } else { &[("anthropic-version", anthropic)] };
        let answer = client::ask(server.address, &request("PUT", "/v1/messages", headers, b"")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    }
}

#[tokio::test]
async fn a_path_that_is_nearly_right_says_what_was_meant() {
    let (_provider, server) = start("").await;
    for (path, meant) in [
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("//v1/chat/completions", "/v1/chat/completions"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/messages", "/v1/messages"),
        ("/v1/responses/", "/v1/responses"),
    ] {
        let answer = client::ask(server.address, &request("POST", path, &[JSON], asked().to_string().as_bytes())).await;
        let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 404 && message.contains(&format!("did you mean {meant}?")), "{path}: {message}");
    }
}

#[tokio::test]
async fn pages_of_allowed_websites_may_call_and_others_may_not() {
    let site = "https://app.example.org";
    let (provider, server) = start(&format!("[server]\nallowed_origins = [\"{site}\"]\n")).await;
    let locked = Server::start(&gateway(provider.address, "[auth]\nkeys = [\"sk-one\"]\n")).await;
    let preflight = |origin: &str| {
        let names = "authorization, content-type, x-stainless-lang";
        request(
            "OPTIONS",
            CHAT,
            &[("origin", origin), ("access-control-request-method", "POST"), ("access-control-request-headers", names)],
            b"",
        )
    };
    for origin in [site, "http://localhost:5173", "http://timbre"] {
        let answer = client::ask(server.address, &preflight(origin)).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, origin));
        assert_eq!(answer.header("access-control-allow-headers"), "authorization, content-type, x-stainless-lang");
        assert!(answer.header("access-control-allow-methods").contains("POST"));
        for stream in [false, true] {
            let mut body = asked();
            body["stream"] = json!(stream);
            let answer = client::post_with(server.address, CHAT, &[("origin", origin)], &body).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, origin));
            assert!(answer.text().contains("Hello there.") && (!stream || words(&answer.events()) == "Hello there."));
        }
    }
    let before = provider.asked().len();
    for origin in ["https://evil.example", "null", "http://localhost.evil.example"] {
        for (server, status) in [(&server, 403), (&locked, 401)] {
            let answer = client::ask(server.address, &preflight(origin)).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, ""), "{origin}");
            // A page can send this without asking first.
            let answer = client::post_with(server.address, CHAT, &[("origin", origin)], &asked()).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, ""), "{origin}");
        }
    }
    assert_eq!(provider.asked().len(), before, "nobody was asked on their behalf");
    // Errors can be read by the page, too.
    let local = ("origin", "http://localhost:3000");
    let refused = client::post_with(locked.address, CHAT, &[local], &asked()).await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, local.1));
}
