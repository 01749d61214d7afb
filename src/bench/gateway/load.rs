//! Requests, as many as can be answered or so many a second.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

use super::exchange::Exchange;
use crate::bench::quantiles::Quantiles;

/// How long a load lasts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// This time is over.
    Time(Duration),
    /// So many requests were sent.
    Requests(u64),
}

/// What came of a load.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Requests answered.
    pub(super) answered: u64,
    /// How long it took.
    pub(super) took: Duration,
    /// Totals of all requests of a paced load, seconds.
    pub(super) totals: Vec<f64>,
    /// First words of all answers of a paced load, seconds.
    pub(super) firsts: Vec<f64>,
}

impl Load {
    /// Requests a second.
    pub(super) fn rate(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// Asks on `connections` at once, each as soon as its last answer ended.
pub(super) async fn full(addr: SocketAddr, request: &Arc<[u8]>, connections: usize, until: Until) -> anyhow::Result<Load> {
    let begun = Instant::now();
    let sent = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..connections {
        let (request, sent) = (request.clone(), sent.clone());
        callers.spawn(async move {
            let mut exchange = Exchange::open(addr).await?;
            let mut answered = 0;
            while match until {
                Until::Time(time) => begun.elapsed() < time,
                Until::Requests(most) => sent.fetch_add(1, Relaxed) < most,
            } {
                ask(&mut exchange, &request).await?;
                answered += 1;
            }
            anyhow::Ok(answered)
        });
    }
    let mut load = Load::default();
    while let Some(answered) = callers.join_next().await {
        load.answered += answered??;
    }
    load.took = begun.elapsed();
    Ok(load)
}

/// Asks `per_second` times a second for `time`, on so many connections in turn, and keeps every latency.
pub(super) async fn paced(
    addr: SocketAddr,
    request: &Arc<[u8]>,
    connections: u32,
    per_second: u32,
    time: Duration,
) -> anyhow::Result<Load> {
    let begun = Instant::now();
    let period = Duration::from_secs(1) * connections / per_second;
    let mut callers = JoinSet::new();
    for caller in 0..connections {
        let request = request.clone();
        callers.spawn(async move {
            let mut exchange = Exchange::open(addr).await?;
            // The first on a connection pays for it.
            ask(&mut exchange, &request).await?;
            let mut ticks = interval_at(tokio::time::Instant::now() + period * caller / connections, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut load = Load::default();
            while begun.elapsed() < time {
                ticks.tick().await;
                let answered = ask(&mut exchange, &request).await?;
                load.answered += 1;
                load.totals.push(answered.total.as_secs_f64());
                load.firsts.extend(answered.first.map(|first| first.as_secs_f64()));
            }
            anyhow::Ok(load)
        });
    }
    let mut all = Load::default();
    while let Some(load) = callers.join_next().await {
        let load = load??;
        all.answered += load.answered;
        all.totals.extend(load.totals);
        all.firsts.extend(load.firsts);
    }
    all.took = begun.elapsed();
    Ok(all)
}

async fn ask(exchange: &mut Exchange, request: &[u8]) -> anyhow::Result<super::exchange::Answered> {
    let answered = exchange.ask(request).await?;
    if answered.status != 200 {
        let start: String = String::from_utf8_lossy(exchange.answer()).chars().take(600).collect();
        bail!("a request of the load was not answered:\n{start}");
    }
    Ok(answered)
}

/// How much later the `share` of `through` came than that of `direct`, both in seconds; in milliseconds.
pub(super) fn added_ms(through: &[f64], direct: &[f64], share: f64) -> f64 {
    let at = |values: &[f64]| Quantiles::new(values.iter().copied()).at(share).unwrap_or(f64::NAN);
    (at(through) - at(direct)) * 1e3
}
