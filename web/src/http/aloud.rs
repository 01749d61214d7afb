//! Answers read aloud, and the speech of answers that the cache gives again: it is kept beside the answer, and nobody speaks twice.
//!
//! What is kept is PCM, whatever the format asked for: one sound serves them all. Where the same answer is asked for in another voice, or
//! its sound had to go, it is spoken anew.

use audio::codec::pcm;
use audio::{Frame, Rate, Samples};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use models::{Piece, Spoken, Voice, read_aloud};
use router::{Answer, Cache, CacheKey, RouteError};

use super::account::Account;
use crate::Services;

/// A piece of kept speech, samples: a fifth of a second at 24 kHz.
const PIECE: usize = 4_800;
/// The largest share of the cache's memory that one speech may take: one long story must not drive out all others.
const SHARE: usize = 8;

pub(super) type Pieces = BoxStream<'static, Result<Piece, RouteError>>;

/// The pieces of an answer and of its speech.
pub(super) fn aloud(answer: Answer, account: Account, services: &Services, voice: Voice) -> Pieces {
    let synthesizer = account.works(&services.speakers).synthesizer(&services.speakers);
    let cache = services.cache.clone();
    let name = format!("{}/{}/{}", services.speakers.speaks, voice.name, voice.speed);
    let opened = async move {
        let mut answer = answer.boxed();
        // Once the first piece is there it is known whether the cache gives it.
        let first = answer.next().await;
        let found = cache.zip(account.cache().and_then(|report| report.key()));
        let answer = stream::iter(first).chain(answer).boxed();
        let pieces = match found {
            Some((cache, key)) => match cache.speech(&key, &name).and_then(|kept| Kept::read(&kept)) {
                Some(kept) => answer.map(|delta| delta.map(Piece::Delta)).chain(stream::iter(kept.pieces())).boxed(),
                None => {
                    let keeping = Keeping { most: cache.most_bytes() / SHARE, cache, key, name, sound: Vec::new(), rate: None };
                    keeping.through(read_aloud(answer, &synthesizer, voice))
                }
            },
            None => read_aloud(answer, &synthesizer, voice),
        };
        pieces
            .inspect(move |piece| {
                if let Ok(Piece::Spoken(_)) = piece {
                    account.speaks();
                }
            })
            .boxed()
    };
    stream::once(opened).flatten().boxed()
}

/// Kept speech.
struct Kept {
    rate: Rate,
    pcm: Vec<f32>,
}

impl Kept {
    /// Its rate in four bytes, then PCM of 16 bits, all little-endian.
    fn read(bytes: &[u8]) -> Option<Kept> {
        let (rate, sound) = bytes.split_first_chunk::<4>()?;
        let mut decoded = Vec::new();
        pcm::decode(sound, &mut decoded);
        Some(Kept { rate: Rate::new(u32::from_le_bytes(*rate))?, pcm: decoded })
    }

    fn pieces(self) -> Vec<Result<Piece, RouteError>> {
        let piece = |(n, pcm): (usize, &[f32])| {
            let frame = Frame::new(pcm, self.rate, Samples((n * PIECE) as u64));
            Ok(Piece::Spoken(Spoken { frame, words: Vec::new() }))
        };
        self.pcm.chunks(PIECE).enumerate().map(piece).collect()
    }
}

/// Speech on its way, kept when it is whole.
struct Keeping {
    cache: Cache,
    key: CacheKey,
    name: String,
    /// Most bytes.
    most: usize,
    sound: Vec<u8>,
    rate: Option<Rate>,
}

impl Keeping {
    fn through(self, pieces: Pieces) -> Pieces {
        let state = (Some(self), pieces);
        stream::unfold(state, |(mut keeping, mut pieces)| async move {
            let Some(piece) = pieces.next().await else {
                if let Some(keeping) = keeping {
                    keeping.keep();
                }
                return None;
            };
            match &piece {
                Ok(Piece::Spoken(Spoken { frame, .. })) => keeping = keeping.and_then(|keeping| keeping.with(frame)),
                Ok(Piece::Mute(_)) | Err(_) => keeping = None,
                Ok(Piece::Delta(_)) => {}
            }
            Some((piece, (keeping, pieces)))
        })
        .boxed()
    }

    fn with(mut self, frame: &Frame) -> Option<Keeping> {
        let rate = *self.rate.get_or_insert(frame.rate);
        if self.sound.is_empty() {
            self.sound.extend(rate.hz().to_le_bytes());
        }
        pcm::encode(&frame.pcm, &mut self.sound);
        (rate == frame.rate && self.sound.len() <= self.most).then_some(self)
    }

    fn keep(self) {
        if !self.sound.is_empty() {
            self.cache.put_speech(&self.key, &self.name, &self.sound);
        }
    }
}
