//! Speech as a file, written while it is being spoken, and the words of earlier replies.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use audio::container::{EncodeError, Encoder};
use audio::{Container, Frame, Rate, Resampler};

/// How long a client may refer to a spoken reply by its id, seconds. OpenAI's own is an hour.
pub(crate) const REMEMBERED_SECONDS: u64 = 3_600;
/// How many replies are remembered; the oldest is forgotten first.
const MOST_REMEMBERED: usize = 1_024;

/// A file of speech in the making, at 24 kHz whatever the synthesizer speaks at.
pub(crate) struct SpeechFile {
    encoder: Encoder,
    resampler: Option<Resampler>,
}

impl SpeechFile {
    pub(crate) fn new(container: Container) -> Result<SpeechFile, EncodeError> {
        Ok(SpeechFile { encoder: Encoder::new(container, Rate::SPEECH)?, resampler: None })
    }

    /// The bytes that more speech gives.
    pub(crate) fn push(&mut self, frame: &Frame) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        if frame.rate == Rate::SPEECH {
            self.encoder.push(&frame.pcm, &mut out)?;
        } else {
            let mut pcm = Vec::new();
            self.resampler.get_or_insert_with(|| Resampler::new(frame.rate, Rate::SPEECH)).push(&frame.pcm, &mut pcm);
            self.encoder.push(&pcm, &mut out)?;
        }
        Ok(out)
    }

    /// The bytes that end the file.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        if let Some(resampler) = &mut self.resampler {
            let mut pcm = Vec::new();
            resampler.finish(&mut pcm);
            self.encoder.push(&pcm, &mut out)?;
        }
        self.encoder.finish(&mut out)?;
        Ok(out)
    }
}

/// The words of earlier spoken replies by their ids, for clients that send the id back instead of the words.
#[derive(Debug, Default)]
pub(crate) struct Transcripts(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    by_id: HashMap<String, (u64, String)>,
    oldest: VecDeque<String>,
}

impl Transcripts {
    /// Remembers the words of `id` until `expires_at`, seconds since 1970.
    pub(crate) fn put(&self, id: &str, words: &str, expires_at: u64) {
        let mut remembered = self.lock();
        if remembered.oldest.len() == MOST_REMEMBERED
            && let Some(oldest) = remembered.oldest.pop_front()
        {
            remembered.by_id.remove(&oldest);
        }
        remembered.oldest.push_back(id.to_owned());
        remembered.by_id.insert(id.to_owned(), (expires_at, words.to_owned()));
    }

    /// The words of `id`, unless they are forgotten.
    pub(crate) fn get(&self, id: &str, now: u64) -> Option<String> {
        self.lock().by_id.get(id).filter(|(expires_at, _)| now < *expires_at).map(|(_, words)| words.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_forgotten_when_they_expire_or_are_too_many() {
        let transcripts = Transcripts::default();
        transcripts.put("a", "words", 10);
        assert_eq!(transcripts.get("a", 9).as_deref(), Some("words"));
        assert_eq!(transcripts.get("a", 10), None);
        for at in 0..MOST_REMEMBERED {
            transcripts.put(&at.to_string(), "", 10);
        }
        assert_eq!(transcripts.get("a", 0), None);
        assert!(transcripts.get("0", 0).is_some());
    }
}
