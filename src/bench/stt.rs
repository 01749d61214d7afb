//! How well and at what cost the recognisers hear recorded speech, and how soon a transcript is there when the caller ends.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use audio::{Frame, Rate, Samples};
use futures::{StreamExt, TryStreamExt, stream};
use models::stt::ENGINES;
use models::{Heard, Hint, Language, Sound, Transcriber, Utterance, Weights};

use super::client::{Call, Ends};
use super::clips::Clip;
use super::quantiles::Quantiles;
use super::report::Row;
use super::words::WordErrors;
use super::{noise, process};

/// A transcript that takes longer is not coming.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an engine should reach, by its name: the same weights in their reference implementation, greedy.
fn reference(engine: &str) -> &'static str {
    match engine {
        "moonshine" => "12.3 % at 0.030",
        "whisper" => "12.5 % at 0.10",
        _ => "",
    }
}

/// Word error rate and CPU time of every engine, each loaded for one thread in this process.
pub(crate) async fn engines(clips: &[Clip]) -> anyhow::Result<Vec<Row>> {
    let weights = Weights::new(Weights::default_folder());
    let seconds: f64 = clips.iter().map(Clip::seconds).sum();
    let mut rows = Vec::new();
    for engine in ENGINES {
        let transcriber = (engine.build)(&weights, 1).with_context(|| format!("{} cannot be loaded", engine.name))?;
        // Which language is spoken is what `auto` has to find out.
        let language = (engine.name != "auto").then_some(Language::ENGLISH);
        let mut errors = Vec::new();
        let before = process::cpu(std::process::id())?;
        for clip in clips {
            let heard = hear(&*transcriber, clip.pcm.clone(), Hint { language, ..Hint::default() }).await?;
            errors.push(WordErrors::between(&clip.text, &heard.text));
        }
        let cpu = process::cpu(std::process::id())?.saturating_sub(before).as_secs_f64() / seconds;
        let rate = errors.into_iter().sum::<WordErrors>().rate() * 100.0;
        eprintln!("{}: WER {rate:.1} %, {cpu:.3} CPU s a second of sound", engine.name);
        rows.push(Row::new(
            format!("WER and CPU per second of sound, {} clips ({seconds:.0} s) of read speech, {}", clips.len(), engine.name),
            reference(engine.name),
            format!("{rate:.1} % at {cpu:.3}"),
        ));
    }
    Ok(rows)
}

/// What a transcriber makes of sound that it is given whole: mono at [`Rate::MODEL`].
pub(crate) async fn hear(transcriber: &dyn Transcriber, pcm: Vec<f32>, hint: Hint) -> anyhow::Result<Utterance> {
    let frame = Frame::new(pcm, Rate::MODEL, Samples(0));
    let heard: Vec<Heard> = transcriber.transcribe(stream::once(async { Sound::Frame(frame) }).boxed(), hint).try_collect().await?;
    let utterance = heard.into_iter().find_map(|heard| if let Heard::Utterance(utterance) = heard { Some(utterance) } else { None });
    Ok(utterance.unwrap_or_default())
}

/// Time from the end of speech to the final transcript where the caller says that the turn ends, as a push-to-talk client does.
pub(crate) async fn finals(addr: SocketAddr, model: &str, clips: &[Clip], parallel: usize) -> anyhow::Result<Vec<Row>> {
    let waits = clips.iter().map(|clip| final_of(addr, model, clip));
    let waits: Vec<Option<f64>> = stream::iter(waits).buffered(parallel.max(1)).try_collect().await?;
    let missing = waits.iter().filter(|wait| wait.is_none()).count();
    let waits = Quantiles::new(waits.into_iter().flatten());
    let missing = if missing == 0 { String::new() } else { format!("; {missing} never came") };
    let measured = format!("{}{missing}", waits.milliseconds());
    Ok(vec![Row::new("transcript final after the end of the turn, p50 / p95, the caller ending it", "150 / 250 ms", measured)])
}

async fn final_of(addr: SocketAddr, model: &str, clip: &Clip) -> anyhow::Result<Option<f64>> {
    let mut call = Call::open(addr, model, Ends::Manual, noise::quiet()).await?;
    call.speak(clip, |_| false).await?;
    call.commit().await?;
    let ended = Instant::now();
    call.listen(PATIENCE, |call| !call.transcripts.is_empty()).await?;
    let wait = call.transcripts.first().map(|(at, _)| (*at - ended).as_secs_f64());
    eprintln!("{}: transcript after {wait:?} s", clip.name);
    Ok(wait)
}
