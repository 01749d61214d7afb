//! Many calls at once: replies without gaps, CPU time and memory a call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::client::{Call, Ends};
use super::clips::Clip;
use super::quantiles::Quantiles;
use super::report::Row;
use super::server::Server;
use super::{noise, process};

/// How long callers talk at each level.
const TALK: Duration = Duration::from_secs(30);
/// A caller who is not answered goes on.
const UNANSWERED: Duration = Duration::from_secs(6);
/// Calls begin one after another, spread over this.
const SPREAD: Duration = Duration::from_secs(4);
/// Calls that send quiet, and for how long.
const SILENT_CALLS: u32 = 20;
const SILENT: Duration = Duration::from_secs(20);
/// What a further call needs is in place after this.
const SETTLED: Duration = Duration::from_secs(2);

/// What one caller noticed.
#[derive(Default)]
struct Noticed {
    /// First bytes of replies after the end of speech, seconds.
    first_bytes: Vec<f64>,
    /// Replies with a gap.
    gaps: usize,
    unanswered: usize,
}

/// Talking calls, a line for each of `levels`.
pub(crate) async fn talking(server: &Server, model: &'static str, clips: Vec<Clip>, levels: &[usize]) -> anyhow::Result<Vec<Row>> {
    let clips = Arc::new(clips);
    let mut rows = Vec::new();
    // The slowest replies of the first level, and the highest level that kept up with it.
    let (mut alone, mut most) = (None, None);
    for &level in levels {
        let (before, begun) = (process::cpu(server.process())?, Instant::now());
        let mut callers = JoinSet::new();
        for caller in 0..level {
            callers.spawn(talk(server.addr, model, clips.clone(), caller, SPREAD.mul_f64(caller as f64 / level as f64)));
        }
        let mut noticed = Noticed::default();
        while let Some(caller) = callers.join_next().await {
            let caller = caller??;
            noticed.first_bytes.extend(caller.first_bytes);
            noticed.gaps += caller.gaps;
            noticed.unanswered += caller.unanswered;
        }
        let cpu = process::cpu(server.process())?.saturating_sub(before).as_secs_f64();
        let share = cpu / begun.elapsed().as_secs_f64() / level as f64;
        let Noticed { first_bytes, gaps, unanswered } = noticed;
        let replies = Quantiles::new(first_bytes);
        let slowest = replies.at(0.95).unwrap_or(f64::INFINITY);
        if gaps == 0 && slowest <= 2.0 * *alone.get_or_insert(slowest) {
            most = Some(level);
        }
        let measured = format!(
            "first reply byte {}; {gaps} replies with a gap over 40 ms, {unanswered} unanswered; {share:.3} core a session",
            replies.seconds()
        );
        eprintln!("{level} sessions: {measured}");
        rows.push(Row::new(
            format!("{level} simultaneous talking sessions, callers on the same cores"),
            "24 sessions, no gap, at most 0.04 core each",
            measured,
        ));
    }
    let most = most.map_or("none".to_owned(), |most| most.to_string());
    rows.push(Row::new("the most of them without a gap, p95 at most twice that of the first line", "at least 24", most));
    Ok(rows)
}

/// One caller, who speaks a clip, hears the reply out, and speaks the next.
async fn talk(addr: SocketAddr, model: &str, clips: Arc<Vec<Clip>>, caller: usize, wait: Duration) -> anyhow::Result<Noticed> {
    tokio::time::sleep(wait).await;
    let mut call = Call::open(addr, model, Ends::Default, noise::quiet()).await?;
    let mut noticed = Noticed::default();
    let begun = Instant::now();
    // Callers start at different clips, so that they do not all pause at once.
    let mut next = caller * 7;
    while begun.elapsed() < TALK {
        let clip = &clips[next % clips.len()];
        next += 1;
        let end = call.speak(clip, |_| false).await? + clip.end;
        let after = |call: &Call| call.replies.iter().position(|reply| reply.playback.first_byte.is_some_and(|at| at > end));
        call.listen(UNANSWERED, |call| after(call).is_some()).await?;
        let Some(index) = after(&call) else {
            noticed.unanswered += 1;
            continue;
        };
        call.listen(TALK, |call| {
            let reply = &call.replies[index];
            reply.status.is_some() && reply.playback.runs_out.is_none_or(|at| at < Instant::now())
        })
        .await?;
        let playback = &call.replies[index].playback;
        noticed.gaps += usize::from(!playback.gaps.is_empty());
        noticed.first_bytes.extend(playback.first_byte.map(|at| (at - end).as_secs_f64()));
    }
    Ok(noticed)
}

/// Calls in which nobody speaks: CPU time a second, and memory a further call.
pub(crate) async fn silent(server: &Server, model: &'static str) -> anyhow::Result<Vec<Row>> {
    let open = || Call::open(server.addr, model, Ends::Default, noise::quiet());
    let hush = |mut call: Call, time: Duration| async move {
        call.listen(time, |_| false).await?;
        anyhow::Ok(call)
    };
    // The first call warms what all share.
    let first = hush(open().await?, SETTLED).await?;
    let memory = process::memory(server.process())?;
    let mut calls = JoinSet::new();
    calls.spawn(hush(first, SETTLED));
    for _ in 1..SILENT_CALLS {
        calls.spawn(hush(open().await?, SETTLED));
    }
    let mut settled = Vec::new();
    while let Some(call) = calls.join_next().await {
        settled.push(call??);
    }
    let before = process::cpu(server.process())?;
    for call in settled {
        calls.spawn(hush(call, SILENT));
    }
    let mut ended = Vec::new();
    while let Some(call) = calls.join_next().await {
        ended.push(call??);
    }
    let cpu = process::cpu(server.process())?.saturating_sub(before).as_secs_f64();
    let share = cpu / SILENT.as_secs_f64() / f64::from(SILENT_CALLS);
    let each = process::memory(server.process())?.saturating_sub(memory) as f64 / f64::from(SILENT_CALLS - 1) / 1e6;
    Ok(vec![
        Row::new(format!("CPU per session-second with silence coming in, {SILENT_CALLS} sessions"), "0.01", format!("{share:.4}")),
        Row::new(format!("memory per further session, of {SILENT_CALLS}"), "3 MB", format!("{each:.1} MB")),
    ])
}

/// Memory of the server after a turn with the default models.
pub(crate) async fn memory(server: &Server, model: &str, clip: &Clip) -> anyhow::Result<Vec<Row>> {
    let mut call = Call::open(server.addr, model, Ends::Default, noise::quiet()).await?;
    call.speak(clip, |_| false).await?;
    call.listen(UNANSWERED, |call| call.replies.iter().any(|reply| reply.status.is_some())).await?;
    let used = process::memory(server.process())? as f64 / 1e6;
    Ok(vec![Row::new("memory with default models loaded, after one turn", "at most 700 MB", format!("{used:.0} MB"))])
}
