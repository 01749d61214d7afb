//! Fills in the tone of utterances whose words somebody else hears: a provider, or an engine that has no ear for it.
//!
//! The sound is kept while it passes, its last seconds only, and read once at the end; where nobody wants the tone nothing is kept.

use std::sync::{Arc, Mutex, PoisonError};

use audio::Rate;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::emotion::{Tone, ToneReader};
use crate::{Attention, Heard, Hint, ModelError, Sound, Transcriber, Workers};

/// Most sound that a tone is read from: the last twenty seconds.
const LONGEST: usize = Rate::MODEL.hz() as usize * 20;
/// Utterances that wait for a reading; beyond it they go without.
const QUEUE: usize = 64;

/// Who gives the tone.
enum Source {
    /// Nobody: no utterance has one.
    Nobody,
    /// The transcriber, and the reader where that gave none.
    TranscriberFirst(Workers<Box<dyn ToneReader>>),
    /// The reader alone.
    Reader(Workers<Box<dyn ToneReader>>),
}

/// A transcriber whose utterances have a tone where it is wanted.
pub struct Toned {
    inner: Arc<dyn Transcriber>,
    source: Source,
}

impl Toned {
    /// None ever.
    pub fn without(inner: Arc<dyn Transcriber>) -> Toned {
        Toned { inner, source: Source::Nobody }
    }

    /// That of the transcriber where it has one, else the reader's.
    pub fn or(inner: Arc<dyn Transcriber>, reader: Box<dyn ToneReader>) -> Toned {
        Toned { inner, source: Source::TranscriberFirst(Workers::start("tone", vec![reader], QUEUE)) }
    }

    /// The reader's.
    pub fn by(inner: Arc<dyn Transcriber>, reader: Box<dyn ToneReader>) -> Toned {
        Toned { inner, source: Source::Reader(Workers::start("tone", vec![reader], QUEUE)) }
    }
}

impl Transcriber for Toned {
    fn attention(&self) -> Attention {
        self.inner.attention()
    }

    fn transcribe(&self, sound: BoxStream<'static, Sound>, hint: Hint) -> BoxStream<'static, Result<Heard, ModelError>> {
        let (workers, tone) = match &self.source {
            Source::TranscriberFirst(workers) if hint.tone => (workers.clone(), true),
            Source::Reader(workers) if hint.tone => (workers.clone(), false),
            Source::Nobody | Source::TranscriberFirst(_) | Source::Reader(_) => {
                return self.inner.transcribe(sound, Hint { tone: false, ..hint });
            }
        };
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keeping = kept.clone();
        let sound = sound.inspect(move |sound| {
            if let Sound::Frame(frame) = sound {
                let mut kept = keeping.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&frame.pcm);
                if kept.len() > 2 * LONGEST {
                    let old = kept.len() - LONGEST;
                    kept.drain(..old);
                }
            }
        });
        let heard = self.inner.transcribe(sound.boxed(), Hint { tone, ..hint });
        let fill = move |heard: Result<Heard, ModelError>| {
            let (workers, kept) = (workers.clone(), kept.clone());
            async move {
                let Ok(Heard::Utterance(mut utterance)) = heard else { return heard };
                if utterance.tone.is_none() {
                    let pcm = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
                    utterance.tone = read(&workers, pcm).await.map(Box::new);
                }
                Ok(Heard::Utterance(utterance))
            }
        };
        heard.then(fill).boxed()
    }
}

/// The words are worth more than the tone: where it cannot be read, they come without.
async fn read(workers: &Workers<Box<dyn ToneReader>>, pcm: Vec<f32>) -> Option<Tone> {
    let from = pcm.len().saturating_sub(LONGEST);
    if pcm.is_empty() {
        return None;
    }
    workers.run(move |reader, _| reader.read(&pcm[from..])).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Utterance;
    use audio::{Frame, Samples};
    use futures::stream;

    /// Hears nothing; gives a tone of its own where one is wanted and it has one.
    struct Deaf(Option<Tone>);

    impl Transcriber for Deaf {
        fn transcribe(&self, sound: BoxStream<'static, Sound>, hint: Hint) -> BoxStream<'static, Result<Heard, ModelError>> {
            let tone = self.0.clone().filter(|_| hint.tone).map(Box::new);
            let end = stream::once(async { Ok(Heard::Utterance(Utterance { tone, ..Utterance::default() })) });
            sound.filter_map(|_| async { None }).chain(end).boxed()
        }
    }

    /// The tone is how many samples there were.
    struct Counter;

    impl ToneReader for Counter {
        fn read(&mut self, pcm: &[f32]) -> Result<Tone, ModelError> {
            Ok(Tone::of_numbers(&[pcm.len() as f32]))
        }
    }

    #[tokio::test]
    async fn a_tone_is_read_where_it_is_wanted_and_missing() {
        let own = Some(Tone::of_numbers(&[-1.0]));
        let deaf = |tone: &Option<Tone>| Arc::new(Deaf(tone.clone())) as Arc<dyn Transcriber>;
        let reader = || Box::new(Counter) as Box<dyn ToneReader>;
        for (name, toned, wanted, seconds, expected) in [
            ("not wanted", Toned::or(deaf(&own), reader()), false, 1, None),
            ("the transcriber's", Toned::or(deaf(&own), reader()), true, 1, Some(-1.0)),
            ("the reader's", Toned::or(deaf(&None), reader()), true, 1, Some(16_000.0)),
            ("the end of a long one", Toned::or(deaf(&None), reader()), true, 50, Some(320_000.0)),
            ("the reader alone", Toned::by(deaf(&own), reader()), true, 1, Some(16_000.0)),
            ("silence", Toned::by(deaf(&own), reader()), true, 0, None),
            ("nobody", Toned::without(deaf(&own)), true, 1, None),
        ] {
            let frames: Vec<Sound> =
                (0..seconds).map(|at| Sound::Frame(Frame::new(vec![0.1; 16_000], Rate::MODEL, Samples(at * 16_000)))).collect();
            let hint = Hint { tone: wanted, ..Hint::default() };
            let heard: Vec<_> = toned.transcribe(stream::iter(frames).boxed(), hint).collect().await;
            let Some(Ok(Heard::Utterance(utterance))) = heard.first() else { panic!("{name}: {heard:?}") };
            assert_eq!(utterance.tone.as_ref().map(|tone| tone.numbers()[0]), expected, "{name}");
        }
    }
}
