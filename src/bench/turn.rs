//! One turn of a read clip: when the server answers, counted from the end of speech by energy.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};

use super::client::{Call, Ends, Reply};
use super::clips::Clip;
use super::noise;
use super::quantiles::Quantiles;
use super::report::Row;

/// The caller says nothing before the clip: the server has to notice the onset.
const LEAD_IN: Duration = Duration::from_millis(300);
/// A server that has not answered by then has not noticed the turn.
const UNANSWERED: Duration = Duration::from_secs(12);
/// A turn answered within this was judged complete at once; what takes longer was judged unfinished and waited out.
const JUDGED_COMPLETE: f64 = 1.0;
/// A caller listens on after the first byte, until what came is audible.
const HEARD: Duration = Duration::from_secs(2);

/// What became of a turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Turn {
    /// The server took it for over while the caller still spoke.
    CutEarly,
    /// It was answered; seconds after the end of speech.
    Answered {
        /// The first byte of the answer's sound.
        first_byte: f64,
        /// The first sample that can be heard.
        audible: Option<f64>,
        /// The caller's words.
        transcript: Option<f64>,
    },
    /// It was not answered.
    Unanswered,
}

/// Plays every clip to a call of its own, `parallel` at a time.
pub(crate) async fn play(addr: SocketAddr, model: &str, ends: Ends, clips: &[Clip], parallel: usize) -> anyhow::Result<Vec<Turn>> {
    let turns = clips.iter().map(|clip| async move {
        let turn = play_one(addr, model, ends, clip).await?;
        eprintln!("{ends:?} {}: {turn:?}", clip.name);
        anyhow::Ok(turn)
    });
    stream::iter(turns).buffered(parallel.max(1)).try_collect().await
}

async fn play_one(addr: SocketAddr, model: &str, ends: Ends, clip: &Clip) -> anyhow::Result<Turn> {
    let mut call = Call::open(addr, model, ends, noise::quiet()).await?;
    call.listen(LEAD_IN, |_| false).await?;
    // A turn that was cut early is known for what it is: the rest need not be played.
    let begins = call.speak(clip, |call| !call.committed.is_empty()).await?;
    let end = begins + clip.end;
    let answered = |call: &Call| answer(call).is_some_and(|reply| reply.playback.first_audible.is_some());
    if !cut_early(&call, end) {
        call.listen(UNANSWERED, |call| answer(call).is_some() || cut_early(call, end)).await?;
        call.listen(HEARD, |call| answered(call) && !call.transcripts.is_empty() || cut_early(call, end)).await?;
    }
    Ok(judge(&call, end))
}

/// Whether the turn was committed, or an answer was heard, before the caller had ended.
fn cut_early(call: &Call, end: Instant) -> bool {
    call.committed.iter().chain(answer(call).and_then(|reply| reply.playback.first_byte.as_ref())).any(|at| *at < end)
}

/// The first answer that can be heard.
fn answer(call: &Call) -> Option<&Reply> {
    call.replies.iter().find(|reply| reply.playback.first_byte.is_some())
}

fn judge(call: &Call, end: Instant) -> Turn {
    if cut_early(call, end) {
        return Turn::CutEarly;
    }
    let since = |at: Instant| at.saturating_duration_since(end).as_secs_f64();
    let Some(playback) = answer(call).map(|reply| &reply.playback) else { return Turn::Unanswered };
    let Some(first_byte) = playback.first_byte.map(since) else { return Turn::Unanswered };
    let transcript = call.transcripts.first().map(|(at, _)| since(*at));
    Turn::Answered { first_byte, audible: playback.first_audible.map(since), transcript }
}

/// Share of turns, and latencies, in one place.
pub(crate) struct Summary {
    /// All turns.
    pub(crate) turns: usize,
    /// Taken for over while the caller spoke.
    pub(crate) cut: usize,
    /// Answered at once.
    pub(crate) complete: usize,
    /// Answered after waiting.
    pub(crate) waited: usize,
    /// First bytes of turns answered at once, seconds.
    pub(crate) first_byte: Quantiles,
    /// First audible samples of turns answered at once, seconds.
    pub(crate) audible: Quantiles,
    /// Transcripts of turns answered at once, seconds.
    pub(crate) transcript: Quantiles,
    /// First bytes of all turns that were not cut early, seconds.
    pub(crate) any_first_byte: Quantiles,
}

impl Summary {
    /// Of these turns.
    pub(crate) fn new(turns: &[Turn]) -> Summary {
        let answered = |turn: &Turn| match *turn {
            Turn::Answered { first_byte, audible, transcript } => Some((first_byte, audible, transcript)),
            Turn::CutEarly | Turn::Unanswered => None,
        };
        let all: Vec<_> = turns.iter().filter_map(answered).collect();
        let complete: Vec<_> = all.iter().copied().filter(|(first, ..)| *first <= JUDGED_COMPLETE).collect();
        Summary {
            turns: turns.len(),
            cut: turns.iter().filter(|turn| **turn == Turn::CutEarly).count(),
            complete: complete.len(),
            waited: all.len() - complete.len(),
            first_byte: Quantiles::new(complete.iter().map(|(first, ..)| *first)),
            audible: Quantiles::new(complete.iter().filter_map(|(_, audible, _)| *audible)),
            transcript: Quantiles::new(complete.iter().filter_map(|(.., transcript)| *transcript)),
            any_first_byte: Quantiles::new(all.iter().map(|(first, ..)| *first)),
        }
    }

    /// What became of the turns, in words.
    pub(crate) fn split(&self) -> String {
        let unanswered = self.turns - self.cut - self.complete - self.waited;
        let Summary { turns, cut, complete, waited, .. } = self;
        format!("of {turns}: {complete} judged complete, {waited} waited out, {cut} cut early, {unanswered} unanswered")
    }
}

/// The lines about a turn with a model that answers at once.
pub(crate) fn rows(turns: &[Turn]) -> Vec<Row> {
    let summary = Summary::new(turns);
    let split = summary.split();
    vec![
        Row::new(
            "end of speech (by energy) to first reply byte, p50 / p95, turns judged complete",
            "0.36 / 0.50 s",
            format!("{}; {split}", summary.first_byte.seconds()),
        ),
        Row::new("the same to the first audible sample", "0.40 s", summary.audible.seconds()),
        Row::new("the same to the final transcript, the server finding the end", "", summary.transcript.milliseconds()),
    ]
}

/// The same turn with the embedded language model.
pub(crate) fn embedded_rows(turns: &[Turn]) -> Vec<Row> {
    let summary = Summary::new(turns);
    let measured = format!("{}; {}", summary.any_first_byte.seconds(), summary.split());
    vec![Row::new("the same turn with the embedded LLM, to first reply byte, p50 / p95, all answered turns", "", measured)]
}

/// Cut-offs against latency, a line for each setting.
pub(crate) fn curve(settings: &[(String, Vec<Turn>)]) -> Vec<Row> {
    let line = |(name, turns): &(String, Vec<Turn>)| {
        let summary = Summary::new(turns);
        let Summary { turns, cut, .. } = summary;
        let measured = format!("{cut} of {turns} cut early; first reply byte of all others {}", summary.any_first_byte.seconds());
        Row::new(format!("read clips cut off early against latency: {name}"), "under 18 of 40 at 0.46 s and 8 of 40 at 0.85 s", measured)
    };
    settings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_split_by_what_became_of_them() {
        let answered = |first_byte| Turn::Answered { first_byte, audible: Some(first_byte + 0.1), transcript: None };
        let turns = [answered(0.3), answered(0.5), answered(1.5), Turn::CutEarly, Turn::Unanswered];
        let summary = Summary::new(&turns);
        assert_eq!(summary.split(), "of 5: 2 judged complete, 1 waited out, 1 cut early, 1 unanswered");
        assert_eq!(summary.first_byte, Quantiles::new([0.3, 0.5]));
        assert_eq!(summary.audible.count(), 2);
        assert_eq!(summary.any_first_byte.count(), 3);
        let curve = curve(&[("high".to_owned(), turns.to_vec())]);
        assert_eq!(curve[0].measured, "1 of 5 cut early; first reply byte of all others 0.50 / 1.40 s (n = 3)");
    }
}
