//! Group B: how a stream is written and read, byte by byte.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::client::{self, words};
use crate::support::provider::{self, chunk, data, delta, finish, says, stream, usage};
use crate::support::server::gateway;
use crate::support::{Asked, Connection, Folder, Gate, Provider, Server, Step, post};

/// The dialects that stream, each with a request.
fn dialects(model: &str) -> [(&'static str, Value); 4] {
    let said = json!([{ "role": "user", "content": "hi" }]);
    [
        ("/v1/chat/completions", json!({ "model": model, "stream": true, "messages": said })),
        ("/v1/messages", json!({ "model": model, "stream": true, "max_tokens": 99, "messages": said })),
        ("/v1/responses", json!({ "model": model, "stream": true, "input": "hi" })),
        ("/v1/completions", json!({ "model": model, "stream": true, "prompt": "hi" })),
    ]
}

async fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> (Provider, Server) {
    let provider = Provider::start(script).await;
    let server = Server::start(&gateway(provider.address, "")).await;
    (provider, server)
}

fn token(text: &str) -> String {
    format!("data: {}\n\n", delta(json!({ "content": text })))
}

#[tokio::test]
async fn all_chunks_of_an_answer_have_one_id_and_one_time() {
    let (_provider, server) = start(|_| {
        let pieces = ["a", "b", "c"].map(|text| {
            let mut event = delta(json!({ "content": text }));
            event["id"] = json!(format!("chatcmpl-{text}"));
            event
        });
        stream(data(&[&pieces[..], &[finish("stop"), usage(json!({ "prompt_tokens": 1, "completion_tokens": 3 }))]].concat()))
    })
    .await;
    let asked = json!({ "model": "up/ok", "stream": true, "stream_options": { "include_usage": true }, "messages": [{ "role": "user", "content": "hi" }] });
    let events = post(server.address, "/v1/chat/completions", &asked).await.events();
    let chunks: Vec<&Value> = events.iter().map(|(_, data)| data).filter(|data| data.is_object()).collect();
    assert!(chunks.len() >= 6 && chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"] && chunk["created"] == chunks[0]["created"]));
}

#[tokio::test]
async fn tokens_are_told_in_a_chunk_of_their_own_and_only_if_asked_for() {
    let (_provider, server) = start(|_| says("Hi.")).await;
    for (path, mut asked) in dialects("up/ok").into_iter().filter(|(path, _)| path.ends_with("completions")) {
        let told = |events: &[(String, Value)]| -> Vec<Value> {
            events.iter().map(|(_, data)| data.clone()).filter(|data| data["usage"].is_object()).collect()
        };
        let events = post(server.address, path, &asked).await.events();
        assert_eq!(told(&events), Vec::<Value>::new(), "{path}");
        asked["stream_options"] = json!({ "include_usage": true });
        let events = post(server.address, path, &asked).await.events();
        let told = told(&events);
        assert_eq!((told.len(), &told[0]["choices"], &told[0]["usage"]["total_tokens"]), (1, &json!([]), &json!(10)), "{path}");
        assert_eq!(events[events.len() - 2].1, told[0], "{path}: it is the last chunk");
    }
}

#[tokio::test]
async fn no_error_is_followed_by_a_happy_end() {
    let (_provider, server) = start(|asked| match asked.model() {
        "cut" => [&[Step::Write(provider::STREAM.to_vec()), chunk(token("Half"))][..], &[Step::Close]].concat(),
        "silent" => stream([token("Half")]),
        "error" => stream([token("Half"), "data: {\"error\":{\"message\":\"no\"}}\n\n".to_owned(), "data: [DONE]\n\n".to_owned()]),
        "event" => stream([token("Half"), "event: error\ndata: {\"message\":\"no\"}\n\n".to_owned(), "data: [DONE]\n\n".to_owned()]),
        _ => stream([token("Half"), "data: {\"choices\":[{\"del\n\n".to_owned(), "data: [DONE]\n\n".to_owned()]),
    })
    .await;
    for fault in ["cut", "silent", "error", "event", "broken"] {
        for (path, asked) in dialects(&format!("up/{fault}")) {
            let answer = post(server.address, path, &asked).await;
            let (events, text) = (answer.events(), answer.text());
            assert_eq!(words(&events), "Half", "{path} {fault}");
            let (name, last) = events.last().expect("events");
            let is_error = last["error"].is_object() || (name == "response.failed" && last["response"]["error"].is_object());
            assert!(is_error, "{path} {fault}: {last}");
            for happy in ["[DONE]", "message_stop", "response.completed"] {
                assert!(!text.contains(happy), "{path} {fault}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn each_token_goes_out_before_the_next_one_is_made() {
    let gate = Gate::default();
    let held = gate.clone();
    let (_provider, server) = start(move |_| {
        let mut steps = vec![Step::Write(provider::STREAM.to_vec())];
        for n in 0..5 {
            steps.extend([chunk(token(&format!("<{n}>"))), Step::Gate(held.clone())]);
        }
        steps.extend([chunk(format!("data: {}\n\ndata: [DONE]\n\n", finish("stop"))), Step::Write(b"0\r\n\r\n".to_vec())]);
        steps
    })
    .await;
    for (path, asked) in dialects("up/ok") {
        let mut connection = Connection::stream(server.address, path, &asked).await;
        for n in 0..5 {
            // The provider makes the next token only after this one has arrived: whoever gathers tokens waits forever.
            connection.until(&format!("<{n}>")).await;
            gate.open();
        }
        assert!(!connection.rest().await.is_empty(), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_kept_alive_before_its_first_token() {
    let gate = Gate::default();
    let held = gate.clone();
    let (_provider, server) = start(move |_| {
        let mut steps = vec![Step::Write(provider::STREAM.to_vec()), Step::Gate(held.clone())];
        steps.extend([chunk(token("Late.")), chunk(format!("data: {}\n\n", finish("stop"))), Step::Write(b"0\r\n\r\n".to_vec())]);
        steps
    })
    .await;
    for (path, asked) in dialects("up/ok") {
        let mut connection = Connection::stream(server.address, path, &asked).await;
        let alive = connection.until(if path == "/v1/messages" { "event: ping" } else { ": waiting" }).await;
        assert!(!alive.contains("Late."), "{path}");
        gate.open();
        let text = connection.until("Late.").await + &String::from_utf8_lossy(&connection.rest().await);
        assert!(!text.contains("\"error\":{"), "{path}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_is_let_go_within_100_ms_of_its_caller() {
    let (provider, server) = start(|asked| {
        let head = Step::Write(provider::STREAM.to_vec());
        match asked.model() {
            // Before the head, before the first token, in the middle.
            "head" => vec![Step::Hang],
            "first" => vec![head, chunk(format!("data: {}\n\n", delta(json!({ "role": "assistant", "content": "" })))), Step::Hang],
            _ => vec![head, chunk(token("On")), Step::Hang],
        }
    })
    .await;
    for (path, asked) in dialects("up/ok") {
        for (model, streamed) in [("head", true), ("head", false), ("first", true), ("first", false), ("middle", true), ("middle", false)] {
            let mut asked = asked.clone();
            (asked["model"], asked["stream"]) = (json!(format!("up/{model}")), json!(streamed));
            let request = client::request("POST", path, &[("content-type", "application/json")], asked.to_string().as_bytes());
            let mut shortest = Duration::MAX;
            // A busy machine delays one try, and no machine all of them.
            for _ in 0..5 {
                let before = provider.asked().len();
                let mut connection = Connection::open(server.address).await;
                connection.send(&request).await;
                if model == "middle" && streamed {
                    connection.head().await;
                    connection.until("On").await;
                }
                while provider.asked().len() == before {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let left = Instant::now();
                drop(connection);
                shortest = shortest.min(provider.gone().await.duration_since(left));
                if shortest < Duration::from_millis(100) {
                    break;
                }
            }
            assert!(shortest < Duration::from_millis(100), "{path} {model}, streamed {streamed}: {shortest:?}");
        }
    }
}

#[tokio::test]
async fn letters_may_be_cut_anywhere() {
    let said = "Grüße 🎙️ 你好 — ok";
    let (_provider, server) = start(move |_| {
        let whole = format!("data: {}\n\ndata: {}\n\ndata: [DONE]\n\n", delta(json!({ "content": said })), finish("stop"));
        stream(whole.as_bytes().chunks(1))
    })
    .await;
    for (path, asked) in dialects("up/ok") {
        assert_eq!(words(&post(server.address, path, &asked).await.events()), said, "{path}");
    }
}

#[tokio::test]
async fn events_are_read_however_the_standard_lets_them_be_written() {
    let (_provider, server) = start(|asked| {
        let (one, end) = (delta(json!({ "content": "One. " })), finish("stop"));
        let (head, tail) =
            one.to_string().split_once(",\"created\"").map(|(head, tail)| (head.to_owned(), tail.to_owned())).expect("a field");
        let text = match asked.model() {
            "crlf" => format!("data: {one}\r\n\r\ndata: {end}\r\n\r\ndata: [DONE]\r\n\r\n"),
            "cr" => format!("data: {one}\r\rdata: {end}\r\rdata: [DONE]\r\r"),
            "lines" => format!("data: {head}\ndata: ,\"created\"{tail}\n\ndata: {end}\n\n"),
            "tight" => format!("data:{one}\n\ndata:{end}\n\ndata:[DONE]\n\n"),
            "marked" => format!("\u{feff}data: {one}\n\ndata: {end}\n\n"),
            "comments" => format!(": PROCESSING\n\n:\nid: 7\nretry: 5\ndata: {one}\n\n: x\n\ndata: {end}\n\n"),
            "named" => format!("event: message\ndata: {one}\n\nevent: completion.chunk\ndata: {end}\n\n"),
            "spaced" => format!("data:   {one}  \n\ndata: \n\ndata: {end}\n\n\n\ndata:  [DONE] \n\n"),
            _ => format!("data: {one}\n\ndata: {end}\n\ndata: [DONE]"),
        };
        // Cut in the middle of line ends, too.
        stream(text.as_bytes().chunks(7))
    })
    .await;
    for way in ["crlf", "cr", "lines", "tight", "marked", "comments", "named", "spaced", "unended"] {
        let (path, asked) = &dialects(&format!("up/{way}"))[0];
        let events = post(server.address, path, asked).await.events();
        assert_eq!((words(&events).as_str(), &events.last().expect("events").1), ("One. ", &json!("[DONE]")), "{way}");
    }
}

#[tokio::test]
async fn a_stream_that_runs_is_finished_when_the_server_is_told_to_stop() {
    let gate = Gate::default();
    let held = gate.clone();
    let provider = Provider::start(move |_| {
        let mut steps = vec![Step::Write(provider::STREAM.to_vec()), chunk(token("Before. ")), Step::Gate(held.clone())];
        steps.extend([chunk(token("After.")), chunk(format!("data: {}\n\n", finish("stop"))), Step::Write(b"0\r\n\r\n".to_vec())]);
        steps
    })
    .await;
    let folder = Folder::new();
    let config = folder.file("timbre.toml");
    std::fs::write(&config, gateway(provider.address, "")).expect("a file");
    let mut server = Command::new(env!("CARGO_BIN_EXE_timbre"))
        .args(["--config", config.to_str().expect("a path"), "serve"])
        .env_clear()
        .env("TIMBRE_SERVER__LISTEN", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("timbre starts");
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    let line = lines.next_line().await.expect("a line").expect("a line");
    let address = line.rsplit('/').next().and_then(|address| address.parse().ok()).expect("an address");
    let (path, asked) = &dialects("up/ok")[0];
    let mut connection = Connection::stream(address, path, asked).await;
    connection.until("Before. ").await;
    let told = std::process::Command::new("kill").args(["-TERM", &server.id().expect("it runs").to_string()]).status();
    assert!(told.expect("kill starts").success());
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gate.open();
    let rest = String::from_utf8(connection.rest().await).expect("text");
    assert!(rest.contains("After.") && rest.ends_with("data: [DONE]\n\n"), "{rest}");
    assert!(server.wait().await.expect("it ends").success());
}
