//! Speech out, transcribed back: whether what the server says can be understood.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use audio::{Rate, resample};
use models::stt::ENGINES;
use models::{Hint, Language, Weights};
use serde_json::json;

use super::report::Row;
use super::words::WordErrors;
use super::{http, stt};

/// A sentence a line; after a tab, how it is read where that is not how it is written.
const SENTENCES: &str = include_str!("../../tests/data/spoken.txt");
/// No sentence takes longer to say.
const LONGEST: Duration = Duration::from_secs(60);

/// Word error rate of Whisper on every sentence that the server speaks.
pub(crate) async fn rows(addr: SocketAddr) -> anyhow::Result<Vec<Row>> {
    let engine = ENGINES.iter().find(|engine| engine.name == "whisper").context("this build has no whisper to listen with")?;
    let listener = (engine.build)(&Weights::new(Weights::default_folder()), 1)?;
    let mut all = Vec::new();
    for line in SENTENCES.lines().filter(|line| !line.trim().is_empty()) {
        let (written, read) = line.split_once('\t').unwrap_or((line, line));
        let body = json!({"model": "tts", "voice": "alloy", "input": written, "response_format": "wav"});
        let (status, wav) = http::post(addr, "/v1/audio/speech", &body).await?;
        ensure!(status == 200, "speech was refused with {status}: {}", String::from_utf8_lossy(&wav));
        let spoken = audio::container::decode(&wav, LONGEST).context("the spoken sentence cannot be decoded")?;
        let hint = Hint { language: Some(Language::ENGLISH), ..Hint::default() };
        let heard = stt::hear(&*listener, resample(&spoken.pcm, spoken.rate, Rate::MODEL), hint).await?.text;
        // A recogniser may write a number in figures or in words; either is right.
        let against = |said: &str| WordErrors::between(said, &heard);
        let errors = [against(written), against(read)].into_iter().min_by_key(|errors| errors.errors).unwrap_or_default();
        if errors.errors > 0 {
            eprintln!("{} of {} words: {read} | {heard}", errors.errors, errors.words);
        }
        all.push(errors);
    }
    let (sentences, sum) = (all.len(), all.into_iter().sum::<WordErrors>());
    let measured = format!("{:.1} % ({} of {} words)", sum.rate() * 100.0, sum.errors, sum.words);
    Ok(vec![Row::new(format!("speech out transcribed back by Whisper, WER, {sentences} sentences"), "at most 3 %", measured)])
}
