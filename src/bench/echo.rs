//! What an answer played aloud does to its own call, with and without echo cancellation: how much of it comes back, how often it interrupts
//! itself, and how well the caller is heard over it. Synthesised answers are played in rooms that are computed, over a loudspeaker that
//! distorts a little; recorded speech is said into them. All of it runs in this process, on the clock of the sound.

use std::time::{Duration, Instant};

use anyhow::Context;
use audio::{EchoCanceller, Rate, Samples, resample};
use futures::{StreamExt, TryStreamExt, stream};
use models::{Hint, Language, Transcriber, Voice, Weights};

use super::clips::{self, Clip};
use super::interruptions::{Ears, Fate};
use super::noise::noise;
use super::report::Row;
use super::stt;
use super::words::WordErrors;

/// What is said in answers, a sentence a line.
const SENTENCES: &str = include_str!("../../tests/data/spoken.txt");
/// Sentences of an answer, and answers.
const SENTENCES_EACH: usize = 3;
const ANSWERS: usize = 12;
/// Callers who speak over an answer.
const CALLERS: usize = 12;
const SECOND: usize = Rate::MODEL.hz() as usize;
/// Between two answers, and between two callers.
const GAP: usize = SECOND * 3 / 2;
/// Mean level of answers as they are sent: full scale is 1.
const SENT: f32 = 0.1;
/// Mean level of callers as they are heard.
const CALLER: f32 = 0.05;
/// How much quieter the echo is heard than a caller, dB.
const LEVELS_DB: [f32; 3] = [0.0, -6.0, -12.0];
/// How long after it was sent sound is heard again: an application on a phone, a browser, a telephone network.
const DELAYS_MS: [usize; 3] = [40, 200, 500];
/// How fast rooms fall silent by 60 dB, seconds: a living room, and a bare office.
const ROOMS: [f32; 2] = [0.25, 0.5];
/// Sound that the canceller has to find out how the room is.
const LEARNING: usize = 2 * SECOND;
/// What a canceller gives is so much behind what it takes.
const BEHIND: usize = 128;

/// The lines of the table.
pub(crate) async fn rows() -> anyhow::Result<Vec<Row>> {
    let weights = Weights::new(Weights::default_folder());
    let ears = Ears::load(&weights)?;
    let answers = answers(&weights).await?;
    let callers = clips::load("stt/en/librispeech_other", CALLERS)?;
    let played = Timeline::of(&answers);
    let rooms: Vec<Vec<f32>> = ROOMS.iter().map(|seconds| echo(&played.pcm, &room(*seconds))).collect();
    let talk = Timeline::of(&callers.iter().map(|clip| leveled(&clip.pcm, CALLER)).collect::<Vec<_>>());
    // Callers speak while answers sound one after another; the first seconds are the canceller's.
    let sounding: Vec<f32> = answers.concat().into_iter().cycle().take(talk.pcm.len() + 3 * LEARNING).collect();
    let over = echo(&sounding, &room(ROOMS[1]));
    let mut rows = Vec::new();
    for delay_ms in DELAYS_MS {
        for level_db in LEVELS_DB {
            let mut alone = Alone::default();
            for echo in &rooms {
                alone.add(&ears, &played, &heard(echo, delay_ms, level_db)).await?;
            }
            let mut near = heard(&over, delay_ms, level_db);
            mix(&mut near[3 * LEARNING..], &talk.pcm);
            let raw = Talked::new(&ears, &callers, &talk, &near[3 * LEARNING..]).await?;
            let out = cleaned(&sounding, &near);
            let clean = Talked::new(&ears, &callers, &talk, &out[3 * LEARNING..]).await?;
            let measured = format!("{alone}; {raw} -> {clean}");
            eprintln!("{delay_ms} ms, {level_db} dB: {measured}");
            rows.push(Row::new(
                format!(
                    "echo after {delay_ms} ms at {level_db} dB: less echo after 2 s; interrupts itself, a minute, without -> with; \
                     callers over it who interrupt, and their WER, without -> with"
                ),
                "",
                measured,
            ));
        }
    }
    // A headset: an answer sounds, and nothing of it comes back.
    let mut near = noise(sounding.len());
    mix(&mut near[3 * LEARNING..], &talk.pcm);
    let raw = Talked::new(&ears, &callers, &talk, &near[3 * LEARNING..]).await?;
    let out = cleaned(&sounding, &near);
    let clean = Talked::new(&ears, &callers, &talk, &out[3 * LEARNING..]).await?;
    rows.push(Row::new("the same over an answer that does not echo, without -> with", "", format!("{raw} -> {clean}")));
    rows.push(Row::new("CPU s a second of sound while an answer sounds", "", format!("{:.4}", cost(&sounding, &near))));
    Ok(rows)
}

/// What the default voice says.
async fn answers(weights: &Weights) -> anyhow::Result<Vec<Vec<f32>>> {
    let engine = models::tts::ENGINES.first().context("this build has no synthesizer")?;
    let synthesizer = (engine.build)(weights, 1)?;
    let lines: Vec<&str> = SENTENCES.lines().filter_map(|line| line.split('\t').next()).filter(|line| !line.trim().is_empty()).collect();
    let mut answers = Vec::new();
    for sentences in lines.chunks(SENTENCES_EACH).take(ANSWERS) {
        let text = stream::iter([sentences.join(" ")]).boxed();
        let spoken: Vec<models::Spoken> = synthesizer.speak(text, Voice::new("heart")).try_collect().await?;
        let rate = spoken.first().context("the synthesizer said nothing")?.frame.rate;
        let pcm: Vec<f32> = spoken.iter().flat_map(|spoken| spoken.frame.pcm.iter().copied()).collect();
        answers.push(leveled(&resample(&pcm, rate, Rate::MODEL), SENT));
    }
    Ok(answers)
}

/// Pieces of sound with [`GAP`]s before and between them.
struct Timeline {
    pcm: Vec<f32>,
    pieces: Vec<std::ops::Range<usize>>,
}

impl Timeline {
    fn of(pieces: &[Vec<f32>]) -> Timeline {
        let mut line = Timeline { pcm: vec![0.0; GAP], pieces: Vec::new() };
        for piece in pieces {
            let from = line.pcm.len();
            line.pcm.extend(piece);
            line.pieces.push(from..line.pcm.len());
            line.pcm.extend([0.0; GAP]);
        }
        line
    }
}

fn power(pcm: &[f32]) -> f32 {
    pcm.iter().map(|sample| sample * sample).sum::<f32>() / pcm.len().max(1) as f32
}

/// At the mean level `rms`.
fn leveled(pcm: &[f32], rms: f32) -> Vec<f32> {
    let gain = rms / power(pcm).sqrt().max(1e-6);
    pcm.iter().map(|sample| sample * gain).collect()
}

fn mix(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// The impulse response of a room that falls silent by 60 dB in `seconds`: the direct sound, and noise that decays behind it, together as
/// strong as the direct sound alone.
fn room(seconds: f32) -> Vec<f32> {
    let mut taps = leveled(&noise((seconds * 0.75 * SECOND as f32) as usize), 1.0);
    // ln(1000): 60 dB of amplitude.
    taps.iter_mut().enumerate().for_each(|(at, tap)| *tap *= (-6.91 * at as f32 / (seconds * SECOND as f32)).exp());
    let strength = (power(&taps) * taps.len() as f32).sqrt();
    taps.iter_mut().for_each(|tap| *tap /= strength);
    taps[0] += 1.0;
    taps
}

/// What of `far` is heard in the room: through a loudspeaker whose cone saturates. Its mean level while there is sound is 1.
fn echo(far: &[f32], room: &[f32]) -> Vec<f32> {
    let mut heard = vec![0.0; far.len()];
    for (at, sample) in far.iter().enumerate().filter(|(_, sample)| **sample != 0.0) {
        // Half of full scale is as far as it goes.
        let moved = (sample * 2.0).tanh() / 2.0;
        let end = far.len().min(at + room.len());
        heard[at..end].iter_mut().zip(room).for_each(|(heard, tap)| *heard += moved * tap);
    }
    let sounding = far.iter().filter(|sample| **sample != 0.0).count().max(1);
    let gain = (sounding as f32 / (power(&heard) * heard.len() as f32).max(1e-12)).sqrt();
    heard.iter_mut().for_each(|sample| *sample *= gain);
    heard
}

/// What a microphone hears of an echo: late, at a level, with the noise of a quiet room.
fn heard(echo: &[f32], delay_ms: usize, level_db: f32) -> Vec<f32> {
    let (delay, gain) = (delay_ms * SECOND / 1_000, CALLER * 10_f32.powf(level_db / 20.0));
    let mut near = noise(echo.len());
    near.iter_mut().skip(delay).zip(echo).for_each(|(near, echo)| *near += gain * echo);
    near
}

/// `near` as a session hears it that sends `far`.
fn cleaned(far: &[f32], near: &[f32]) -> Vec<f32> {
    let mut canceller = EchoCanceller::new();
    let mut out = near.to_vec();
    out.extend([0.0; BEHIND]);
    let mut far = far.chunks(SECOND / 50);
    for piece in out.chunks_mut(SECOND / 50) {
        canceller.played(far.next().unwrap_or_default());
        canceller.clean(piece);
    }
    out.split_off(BEHIND)
}

fn cost(far: &[f32], near: &[f32]) -> f64 {
    let begins = Instant::now();
    std::hint::black_box(cleaned(far, near));
    begins.elapsed().as_secs_f64() * SECOND as f64 / near.len() as f64
}

/// Answers to which nobody says anything.
#[derive(Default)]
struct Alone {
    /// Power of the echo as it is heard, and of what is left of it.
    before: f64,
    after: f64,
    /// How long answers sounded, and how often they interrupted themselves.
    without: (Duration, usize),
    with: (Duration, usize),
}

impl Alone {
    async fn add(&mut self, ears: &Ears, played: &Timeline, near: &[f32]) -> anyhow::Result<()> {
        let out = cleaned(&played.pcm, near);
        let learnt = played.pieces[0].start + LEARNING;
        self.before += f64::from(power(&near[learnt..]));
        self.after += f64::from(power(&out[learnt..]));
        for (sound, (length, count)) in [(near, &mut self.without), (&out[..], &mut self.with)] {
            for piece in &played.pieces {
                // Its echo outlasts it.
                let end = sound.len().min(piece.end + SECOND / 2);
                let whole = Samples((piece.end - piece.start) as u64).duration(Rate::MODEL);
                match ears.over_an_answer(&sound[piece.start..end]).await? {
                    Fate::Interrupted { at, .. } => {
                        *length += at.min(whole);
                        *count += 1;
                    }
                    Fate::Resumed | Fate::Unheard => *length += whole,
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Alone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let minute = |(length, count): (Duration, usize)| count as f64 * 60.0 / length.as_secs_f64().max(1.0);
        let less = 10.0 * (self.before / self.after.max(1e-12)).log10();
        write!(f, "{less:.0} dB; {:.1} -> {:.1}", minute(self.without), minute(self.with))
    }
}

/// Callers who speak while answers sound.
struct Talked {
    errors: WordErrors,
    interrupted: usize,
    callers: usize,
}

impl Talked {
    async fn new(ears: &Ears, callers: &[Clip], talk: &Timeline, near: &[f32]) -> anyhow::Result<Talked> {
        let (mut errors, mut interrupted) = (WordErrors::default(), 0);
        for (clip, piece) in callers.iter().zip(&talk.pieces) {
            let sound = &near[piece.start..near.len().min(piece.end + SECOND / 4)];
            interrupted += usize::from(matches!(ears.over_an_answer(sound).await?, Fate::Interrupted { .. }));
            errors = [errors, WordErrors::between(&clip.text, &text(&*ears.transcriber, sound).await?)].into_iter().sum();
        }
        Ok(Talked { errors, interrupted, callers: callers.len() })
    }
}

impl std::fmt::Display for Talked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}, {:.0} %", self.interrupted, self.callers, self.errors.rate() * 100.0)
    }
}

async fn text(transcriber: &dyn Transcriber, pcm: &[f32]) -> anyhow::Result<String> {
    let hint = Hint { language: Some(Language::ENGLISH), ..Hint::default() };
    Ok(stt::hear(transcriber, pcm.to_vec(), hint).await?.text)
}
