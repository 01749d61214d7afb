//! Speaking into a reply: how soon the server falls silent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::client::{Call, Ends};
use super::clips::Clip;
use super::noise;
use super::quantiles::Quantiles;
use super::report::Row;

/// A reply comes within this, else the turn was not heard.
const REPLY_WITHIN: Duration = Duration::from_secs(12);
/// The caller lets the server talk for this long.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// The reply has stopped when nothing of it came for this long.
const STOPPED: Duration = Duration::from_secs(1);

/// Interrupts a long reply with each clip. The shortest clip starts each turn.
pub(crate) async fn rows(addr: SocketAddr, model: &str, clips: &[Clip]) -> anyhow::Result<Vec<Row>> {
    let mut waits = Vec::new();
    let mut missed = 0;
    let Some(opening) = clips.iter().min_by(|a, b| a.end.cmp(&b.end)) else { return Ok(vec![]) };
    for clip in clips {
        let wait = interrupt(addr, model, opening, clip).await?;
        eprintln!("{}: last reply byte {wait:?} s after the onset", clip.name);
        match wait {
            Some(wait) => waits.push(wait),
            None => missed += 1,
        }
    }
    let missed = if missed == 0 { String::new() } else { format!("; {missed} replies could not be interrupted") };
    let measured = format!("{}{missed}", Quantiles::new(waits).seconds());
    Ok(vec![Row::new("barge-in: speech onset (by energy) to last reply byte, p50 / p95", "0.15 / 0.40 s", measured)])
}

/// Seconds from the onset to the last byte; `None` where no reply was under way.
async fn interrupt(addr: SocketAddr, model: &str, opening: &Clip, clip: &Clip) -> anyhow::Result<Option<f64>> {
    let mut call = Call::open(addr, model, Ends::Default, noise::quiet()).await?;
    call.speak(opening, |_| false).await?;
    let turn_over = Instant::now();
    call.listen(REPLY_WITHIN, |call| speaking(call, turn_over).is_some()).await?;
    call.listen(PATIENCE, |_| false).await?;
    let Some(index) = speaking(&call, turn_over) else { return Ok(None) };
    if call.replies[index].status.is_some() {
        return Ok(None);
    }
    let begins = call.speak(clip, |_| false).await?;
    call.listen(STOPPED, |call| call.replies[index].status.is_some()).await?;
    let onset = begins + clip.begin;
    let last = call.replies[index].playback.last_byte;
    // A server that ran ahead of the listener may have sent its last byte before the onset: that is no time at all.
    Ok(last.map(|last| last.saturating_duration_since(onset).as_secs_f64()))
}

/// The reply that began to be heard after the turn.
fn speaking(call: &Call, since: Instant) -> Option<usize> {
    call.replies.iter().position(|reply| reply.playback.first_byte.is_some_and(|at| at > since))
}
