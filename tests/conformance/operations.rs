//! Group G: what whoever runs the server counts on.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::client::{self, request};
use crate::support::provider::{self, chunk, delta, finish, says};
use crate::support::server::gateway;
use crate::support::{Connection, Folder, Gate, Provider, Server, Step, post};

const CHAT: &str = "/v1/chat/completions";

fn asked(words: &str) -> Value {
    json!({ "model": "up/ok", "messages": [{ "role": "user", "content": words }] })
}

#[tokio::test]
async fn a_record_that_cannot_be_written_slows_and_fails_nothing() {
    let provider = Provider::start(|_| says("ok")).await;
    let folder = Folder::new();
    std::fs::write(folder.file("in-the-way"), "").expect("a file");
    let more = format!("[record]\nfile = {:?}\n", folder.file("in-the-way").join("requests.ndjson"));
    let server = Server::start(&gateway(provider.address, &more)).await;
    for _ in 0..50 {
        assert_eq!(post(server.address, CHAT, &asked("hi")).await.status, 200);
    }
    let dropped = loop {
        let page = client::ask(server.address, &request("GET", "/metrics", &[], b"")).await.text();
        let line = page.lines().find_map(|line| line.strip_prefix("records_dropped_total ").map(str::to_owned));
        let dropped: f64 = line.unwrap_or_else(|| panic!("{page}")).parse().expect("a number");
        if dropped > 0.0 {
            break dropped;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(dropped <= 50.0);
}

#[tokio::test]
async fn a_changed_router_acts_on_the_next_request_and_drops_no_stream() {
    let gate = Gate::default();
    let held = gate.clone();
    let provider = Provider::start(move |asked| match asked.model() {
        "old" => {
            let said = |text: &str| chunk(format!("data: {}\n\n", delta(json!({ "content": text }))));
            let end = chunk(format!("data: {}\n\n", finish("stop")));
            vec![
                Step::Write(provider::STREAM.to_vec()),
                said("Old, "),
                Step::Gate(held.clone()),
                said("still old."),
                end,
                Step::Write(b"0\r\n\r\n".to_vec()),
            ]
        }
        _ => says("New."),
    })
    .await;
    let server = Server::start(&gateway(provider.address, "")).await;
    let send = async |method: &str, path: &str, body: Value| {
        let sent = request(method, path, &[("content-type", "application/json")], body.to_string().as_bytes());
        client::ask(server.address, &sent).await
    };
    let route = |model: &str| json!({ "default_route": { "variants": [{ "variant": { "model_id": model }, "weight": 100 }] } });
    let mut made = route("up/old");
    made["name"] = json!("r");
    assert_eq!(send("POST", "/router/v1/routers", made).await.status, 200);
    let mut body = asked("hi");
    (body["model"], body["stream"]) = (json!("timbre/r"), json!(true));
    let mut connection = Connection::stream(server.address, CHAT, &body).await;
    connection.until("Old, ").await;
    assert_eq!(send("PATCH", "/router/v1/routers/r?update_mask=default_route", route("up/new")).await.status, 200);
    assert!(post(server.address, CHAT, &body).await.text().contains("New."), "the next request is routed anew");
    assert_eq!(send("DELETE", "/router/v1/routers/r", json!({})).await.status, 200);
    gate.open();
    let rest = String::from_utf8(connection.rest().await).expect("text");
    assert!(rest.contains("still old.") && rest.ends_with("data: [DONE]\n\n"), "{rest}");
}

/// The program itself, as a gateway.
struct Process {
    child: Child,
    address: SocketAddr,
    _folder: Folder,
}

impl Process {
    async fn start(config: &str) -> Process {
        let folder = Folder::new();
        std::fs::write(folder.file("timbre.toml"), config).expect("a file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_timbre"))
            .arg("--config")
            .arg(folder.file("timbre.toml"))
            .arg("serve")
            .env_clear()
            .env("TIMBRE_SERVER__LISTEN", "127.0.0.1:0")
            .env("TIMBRE_LOG", "warn")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("timbre starts");
        let line = BufReader::new(child.stdout.take().expect("a pipe")).lines().next_line().await.expect("a line").expect("a line");
        let address = line.rsplit('/').next().and_then(|address| address.parse().ok()).expect("an address");
        Process { child, address, _folder: folder }
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id().expect("it runs"))).expect("the kernel tells")
    }

    /// Resident memory, KiB.
    fn resident(&self) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Processor time used so far, in ticks of 10 ms (proc(5), fields 14 and 15).
    fn ticks(&self) -> u64 {
        let stat = self.read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        [11, 12].map(|n: usize| fields[n].parse::<u64>().expect("a number")).iter().sum()
    }
}

/// Asks over and over on eight connections.
async fn load(address: SocketAddr, words: &str, times: usize) {
    let body = asked(words).to_string();
    let sent = request("POST", CHAT, &[("content-type", "application/json")], body.as_bytes());
    let one = async || {
        let mut connection = Connection::open(address).await;
        for _ in 0..times / 8 {
            connection.send(&sent).await;
            assert_eq!(connection.answer().await.status, 200);
        }
    };
    futures::future::join_all((0..8).map(|_| one())).await;
}

/// `timbre bench gateway` shows the same over a million requests.
#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_and_comes_back_down_after_large_bodies() {
    let provider = Provider::start(|_| says("ok")).await;
    let server = Process::start(&gateway(provider.address, "[cache]\nmax_entries = 0\n")).await;
    load(server.address, "hi", 4_000).await;
    let settled = server.resident();
    load(server.address, "hi", 8_000).await;
    let later = server.resident();
    load(server.address, &"large body ".repeat(120_000 / 11), 800).await;
    let mut after = server.resident();
    // What is not used any more goes back to the system bit by bit.
    for _ in 0..20 {
        if after < settled + 4_096 {
            break;
        }
        load(server.address, "hi", 1_600).await;
        after = server.resident();
    }
    println!("resident after 4,000 requests {settled} KiB, after 12,000 {later} KiB, after 800 bodies of 120 KB {after} KiB");
    // Two thirds of the requests came after the first look: a leak of one kilobyte a request shows as 8 MB.
    assert!(later < settled + 4_096, "{settled} KiB, then {later} KiB");
    assert!(after < settled + 4_096, "{settled} KiB, then {after} KiB");
}

/// Counted in processor time, which a busy machine does not stretch.
#[tokio::test]
async fn the_first_answer_comes_within_a_second_of_the_start() {
    let provider = Provider::start(|_| says("ok")).await;
    let begun = Instant::now();
    let server = Process::start(&gateway(provider.address, "")).await;
    assert_eq!(post(server.address, CHAT, &asked("hi")).await.status, 200);
    let ticks = server.ticks();
    println!("first answer {:?} after the start, {} ms of processor time", begun.elapsed(), ticks * 10);
    assert!(ticks < 100, "{ticks} ticks of 10 ms");
}
