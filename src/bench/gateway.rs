//! What the gateway costs: time, memory and rate of requests that pass through the server, against the same requests sent straight to
//! the mock providers; and what a caller gets when those fail.
//!
//! Server, providers and callers share the machine, so rates say little alone: what counts is CPU time a request, and the share of the
//! direct rate. Authentication, a rule and the log are on.

mod exchange;
pub mod faults;
mod load;
mod rule;
mod setup;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::load::{Until, added_ms, full, paced};
pub use self::setup::keys;
use self::setup::{KEY, ROUTED};
use super::process;
use super::report::Row;
use super::server::Server;
use super::upstream::Upstream;

/// Connections of the full load.
const CONNECTIONS: usize = 32;
/// Rounds, direct and through the server in turn, so that what else the machine does meets both.
const ROUNDS: u32 = 3;
/// Requests a second of the paced load.
const PACE: u32 = 100;
/// Connections of the paced load.
const PACED_CONNECTIONS: u32 = 8;
/// Before anything is measured: allocators, caches and connections settle.
const WARM_UP: Duration = Duration::from_secs(1);
/// After a load, until memory is looked at: what is given back is given back by then.
const REST: Duration = Duration::from_secs(3);
/// Bytes of a large request.
const LARGE: usize = 120_000;
/// How many of them.
const LARGE_REQUESTS: u64 = 2_000;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// How long each round of a load lasts.
    pub(crate) round: Duration,
    /// Requests over which memory should stay flat.
    pub(crate) requests: u64,
}

/// Everything but the faults.
pub(crate) async fn rows(effort: Effort) -> anyhow::Result<Vec<Row>> {
    let mut rows = start().await?;
    let upstream = Upstream::start().await?;
    let direct = upstream.addr;
    let server = Server::launch(&keys(direct, Duration::from_secs(2)), upstream).await?;
    let chat = Pair::new("ok", false);
    let stream = Pair::new("ok", true);
    let slow = Pair::new("f50", true);
    full(server.addr, &chat.through, CONNECTIONS, Until::Time(WARM_UP)).await?;
    rows.extend(capacity(&server, direct, "request", &chat, effort, "45 us").await?);
    rows.extend(capacity(&server, direct, "16-token stream", &stream, effort, "120 us").await?);
    rows.extend(latency(server.addr, direct, &chat, &slow, effort).await?);
    rows.extend(memory(&server, &chat, effort).await?);
    rows.push(rule::row()?);
    Ok(rows)
}

/// The fault matrix.
pub(crate) async fn fault_rows() -> anyhow::Result<Vec<Row>> {
    let upstream = Upstream::start().await?;
    let addr = upstream.addr;
    let server = Server::launch(&keys(addr, Duration::from_secs(2)), upstream).await?;
    faults::rows(server.addr, KEY).await
}

/// The same request for the server and for the providers behind it.
struct Pair {
    through: Arc<[u8]>,
    direct: Arc<[u8]>,
}

impl Pair {
    fn new(model: &str, stream: bool) -> Pair {
        let through = chat(&format!("{ROUTED}{model}"), stream, "Count from one to sixteen, in words.");
        Pair { through, direct: chat(model, stream, "Count from one to sixteen, in words.") }
    }
}

fn chat(model: &str, stream: bool, said: &str) -> Arc<[u8]> {
    let body: Value = json!({
        "model": model, "stream": stream, "user": "user-17", "metadata": {"tier": "premium", "region": "eu"},
        "messages": [{"role": "system", "content": "You are brief."}, {"role": "user", "content": said}],
    });
    exchange::post("/v1/chat/completions", KEY, &body).into()
}

/// Start to first answer, and memory before any load.
async fn start() -> anyhow::Result<Vec<Row>> {
    let upstream = Upstream::start().await?;
    let keys = keys(upstream.addr, Duration::from_secs(2));
    let begun = Instant::now();
    let server = Server::launch(&keys, upstream).await?;
    full(server.addr, &Pair::new("ok", false).through, 1, Until::Requests(1)).await?;
    let first = begun.elapsed();
    tokio::time::sleep(WARM_UP).await;
    let idle = process::memory(server.process())? as f64 / 1e6;
    Ok(vec![
        Row::new("start to first answer, no local models", "0.3 s", format!("{:.3} s", first.as_secs_f64())),
        Row::new("idle memory, no local models", "30 MB", format!("{idle:.1} MB")),
    ])
}

/// CPU time of the server a request, and the rate as a share of the direct one.
async fn capacity(server: &Server, direct: SocketAddr, what: &str, pair: &Pair, effort: Effort, reach: &str) -> anyhow::Result<Vec<Row>> {
    let until = Until::Time(effort.round);
    let (mut shares, mut costs, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let straight = full(direct, &pair.direct, CONNECTIONS, until).await?.rate();
        let before = process::cpu(server.process())?;
        let through = full(server.addr, &pair.through, CONNECTIONS, until).await?;
        let cpu = process::cpu(server.process())?.saturating_sub(before);
        shares.push(through.rate() / straight);
        costs.push(cpu.as_secs_f64() * 1e6 / through.answered as f64);
        rates.push((straight, through.rate()));
    }
    let told: Vec<String> = rates.iter().map(|(straight, through)| format!("{through:.0}/{straight:.0}")).collect();
    Ok(vec![
        Row::new(format!("CPU per {what}"), reach, format!("{:.0} us", middle(costs))),
        Row::new(
            format!("{what}s a second at {CONNECTIONS} connections, as a share of direct"),
            "0.33",
            format!("{:.2} ({})", middle(shares), told.join(", ")),
        ),
    ])
}

/// What passing through the server adds at a steady pace.
async fn latency(through: SocketAddr, direct: SocketAddr, chat: &Pair, slow: &Pair, effort: Effort) -> anyhow::Result<Vec<Row>> {
    let (mut totals, mut firsts) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..ROUNDS {
        for (side, addr) in [(0, direct), (1, through)] {
            let request = |pair: &Pair| if side == 0 { pair.direct.clone() } else { pair.through.clone() };
            totals[side].extend(paced(addr, &request(chat), PACED_CONNECTIONS, PACE, effort.round).await?.totals);
            firsts[side].extend(paced(addr, &request(slow), PACED_CONNECTIONS, PACE, effort.round).await?.firsts);
        }
    }
    let added = |values: &[Vec<f64>; 2], share| added_ms(&values[1], &values[0], share);
    Ok(vec![
        Row::new("added first-token latency p50", "0.25 ms", format!("{:.2} ms (n = {})", added(&firsts, 0.5), firsts[1].len())),
        Row::new(
            format!("added p50 and p99 at {PACE}/s"),
            "0.25 and 0.5 ms",
            format!("{:.2} and {:.2} ms (n = {})", added(&totals, 0.5), added(&totals, 0.99), totals[1].len()),
        ),
    ])
}

/// Memory over many requests, and after large ones.
async fn memory(server: &Server, chat_pair: &Pair, effort: Effort) -> anyhow::Result<Vec<Row>> {
    let resident = || process::memory(server.process()).map(|bytes| bytes as f64 / 1e6);
    let mut marks = vec![resident()?];
    for _ in 0..10 {
        full(server.addr, &chat_pair.through, CONNECTIONS, Until::Requests(effort.requests / 10)).await?;
        marks.push(resident()?);
    }
    let told: Vec<String> = marks.iter().map(|mark| format!("{mark:.0}")).collect();
    let large = chat(&format!("{ROUTED}ok"), false, &"word ".repeat(LARGE / 5));
    full(server.addr, &large, CONNECTIONS, Until::Requests(LARGE_REQUESTS)).await?;
    let peak = resident()?;
    tokio::time::sleep(REST).await;
    // Memory is given back by whoever works: a little of the usual load lets every thread do so.
    full(server.addr, &chat_pair.through, CONNECTIONS, Until::Requests(1_000)).await?;
    tokio::time::sleep(REST).await;
    Ok(vec![
        Row::new(format!("memory over {} requests, each tenth", effort.requests), "flat", format!("{} MB", told.join(", "))),
        Row::new(
            format!("memory after {LARGE_REQUESTS} bodies of {} KB", LARGE / 1_000),
            "back down",
            format!("{peak:.0} MB at once, {:.0} MB later", resident()?),
        ),
    ])
}

fn middle(values: Vec<f64>) -> f64 {
    super::quantiles::Quantiles::new(values).at(0.5).unwrap_or(f64::NAN)
}
