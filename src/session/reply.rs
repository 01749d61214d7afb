//! One answer in flight: the words and the speech of a model's stream, told to the client no faster than it is heard.
//!
//! Dropping it stops the model and the synthesizer. Nothing here decides; the session asks it what to send next.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;

use audio::codec::{Codec, CodecEncoder};
use audio::{Rate, Resampler, Samples};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use models::{Completion, Delta, ModelError, Piece, Spoken, Word};
use router::{Decision, RouteError};
use web::Account;

use super::playhead::Playhead;
use crate::conversation::ReplyId;

/// How far the sound sent may be ahead of the sound heard: enough for a network's jitter, little to throw away at a barge-in.
const LEAD: Duration = Duration::from_millis(500);
/// Sound of one event.
const CHUNK_MS: u64 = 80;
/// Speech made but not sent, at most; then the synthesizer waits.
const MADE: Duration = Duration::from_secs(6);

/// What happened in an answer.
#[derive(Debug)]
pub(super) enum Step {
    /// More words or another piece of a call.
    Delta(Delta),
    /// Sound for the client.
    Audio(Bytes),
    /// The synthesizer failed; the words go on.
    Mute(ModelError),
    /// It broke.
    Failed(RouteError),
    /// It is whole, and all its sound is sent.
    Ended,
}

/// An answer in flight.
pub(super) struct Reply {
    /// Its number.
    pub id: ReplyId,
    /// Its name for the client.
    pub response: String,
    /// The choice of who answers.
    pub decision: Decision,
    /// Its books.
    pub account: Account,
    /// What was answered so far.
    pub completion: Completion,
    /// Words with their place in the speech.
    pub words: Vec<Word>,
    /// Where the listener is in it.
    pub playhead: Playhead,
    /// When the first sound left.
    pub first_sound: Option<Instant>,
    stream: Option<BoxStream<'static, Result<Piece, RouteError>>>,
    /// What was read of the stream before anybody was to hear it; `None` is its end.
    ahead: VecDeque<Option<Result<Piece, RouteError>>>,
    voice: Option<Encoding>,
}

struct Encoding {
    encoder: CodecEncoder,
    resampler: Resampler,
    rate: Rate,
    /// Encoded, not sent: bytes and how long they sound.
    made: VecDeque<(Bytes, Duration)>,
    made_length: Duration,
}

impl Reply {
    pub(super) fn new(
        id: ReplyId,
        response: String,
        (decision, account): (Decision, Account),
        stream: BoxStream<'static, Result<Piece, RouteError>>,
        spoken: Option<Codec>,
    ) -> Result<Reply, audio::codec::CodecError> {
        let voice = match spoken {
            None => None,
            Some(codec) => Some(Encoding {
                encoder: CodecEncoder::new(codec)?,
                resampler: Resampler::new(Rate::SPEECH, codec.rate()),
                rate: Rate::SPEECH,
                made: VecDeque::new(),
                made_length: Duration::ZERO,
            }),
        };
        Ok(Reply {
            id,
            response,
            decision,
            account,
            completion: Completion::default(),
            words: Vec::new(),
            playhead: Playhead::new(),
            first_sound: None,
            stream: Some(stream),
            ahead: VecDeque::new(),
            voice,
        })
    }

    /// Whether it is spoken.
    pub(super) fn is_spoken(&self) -> bool {
        self.voice.is_some()
    }

    /// Reads on, for later, as much as may be made before it is heard. Never ends. Cancel-safe.
    pub(super) async fn read_ahead(&mut self) -> Infallible {
        let mut made: Duration = self.ahead.iter().map(length).sum();
        while let Some(stream) = self.stream.as_mut().filter(|_| made < MADE) {
            let piece = stream.next().await;
            if !matches!(piece, Some(Ok(_))) {
                self.stream = None;
            }
            made += length(&piece);
            self.ahead.push_back(piece);
        }
        std::future::pending().await
    }

    /// What comes next. Cancel-safe: nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Step {
        loop {
            let due = self.due();
            if due.is_some_and(|wait| wait.is_zero()) {
                return self.send();
            }
            let full = self.voice.as_ref().is_some_and(|voice| voice.made_length >= MADE);
            let ahead = if full { None } else { self.ahead.pop_front() };
            let stream = self.stream.as_mut().filter(|_| !full);
            let piece = match (ahead, due, stream) {
                (Some(piece), ..) => piece,
                (None, Some(wait), Some(stream)) => tokio::select! {
                    piece = stream.next() => piece,
                    () = tokio::time::sleep(wait) => return self.send(),
                },
                (None, Some(wait), None) => {
                    tokio::time::sleep(wait).await;
                    return self.send();
                }
                (None, None, Some(stream)) => stream.next().await,
                // Held with nothing left to read: only being let go changes that, which drops this future.
                (None, None, None) if self.voice.as_ref().is_some_and(|voice| !voice.made.is_empty()) => std::future::pending().await,
                (None, None, None) => return Step::Ended,
            };
            match piece {
                Some(Ok(Piece::Delta(delta))) => {
                    self.completion.push(delta.clone());
                    return Step::Delta(delta);
                }
                Some(Ok(Piece::Spoken(spoken))) => self.encode(&spoken),
                Some(Ok(Piece::Mute(error))) => return Step::Mute(error),
                Some(Err(error)) => {
                    self.stream = None;
                    return Step::Failed(error);
                }
                None => {
                    self.stream = None;
                    self.flush();
                }
            }
        }
    }

    /// How long until the next chunk may go; `None`: there is none, or it is held.
    fn due(&self) -> Option<Duration> {
        let waits = self.voice.as_ref().is_some_and(|voice| !voice.made.is_empty());
        (waits && !self.playhead.is_held()).then(|| self.playhead.unheard().saturating_sub(LEAD))
    }

    fn send(&mut self) -> Step {
        let next = self.voice.as_mut().and_then(|voice| voice.made.pop_front().map(|chunk| (voice, chunk)));
        let Some((voice, (bytes, length))) = next else { return Step::Ended };
        voice.made_length = voice.made_length.saturating_sub(length);
        self.playhead.send(length);
        if self.first_sound.is_none() {
            self.first_sound = Some(Instant::now());
            self.account.speaks();
        }
        Step::Audio(bytes)
    }

    fn encode(&mut self, spoken: &Spoken) {
        self.words.extend(spoken.words.iter().cloned());
        let Some(voice) = &mut self.voice else { return };
        if spoken.frame.rate != voice.rate {
            voice.rate = spoken.frame.rate;
            voice.resampler = Resampler::new(spoken.frame.rate, voice.resampler.to());
        }
        let mut pcm = Vec::with_capacity(spoken.frame.pcm.len());
        voice.resampler.push(&spoken.frame.pcm, &mut pcm);
        voice.push(&pcm);
    }

    fn flush(&mut self) {
        let Some(voice) = &mut self.voice else { return };
        let mut pcm = Vec::new();
        voice.resampler.finish(&mut pcm);
        voice.push(&pcm);
        let made = &mut voice.made;
        // The last packet is filled with silence; it is too short to count for the pace.
        let _ = voice.encoder.finish(|payload| made.push_back((Bytes::copy_from_slice(payload), Duration::ZERO)));
    }
}

/// How long a piece sounds.
fn length(piece: &Option<Result<Piece, RouteError>>) -> Duration {
    match piece {
        Some(Ok(Piece::Spoken(spoken))) => spoken.frame.len().duration(spoken.frame.rate),
        Some(Ok(Piece::Delta(_) | Piece::Mute(_)) | Err(_)) | None => Duration::ZERO,
    }
}

impl Encoding {
    fn push(&mut self, pcm: &[f32]) {
        let rate = self.resampler.to();
        for chunk in pcm.chunks(rate.samples_in_ms(CHUNK_MS).0 as usize) {
            let length = Samples(chunk.len() as u64).duration(rate);
            let mut bytes = Vec::new();
            // Encoding finite samples into PCM or G.711 cannot fail; a packet that Opus refuses is skipped like a lost one.
            let _ = self.encoder.encode(chunk, |payload| bytes.extend_from_slice(payload));
            self.made.push_back((bytes.into(), length));
            self.made_length += length;
        }
    }
}
