//! A synthesizer out of a voicebox: clause by clause, the next being said while the last is heard.

use std::collections::VecDeque;

use audio::{Frame, Samples};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::{Clauses, Said, Voicebox, edges};
use crate::{ErrorKind, ModelError, Spoken, Synthesizer, Voice, Word, Workers};

/// Clauses in the making at once for one text: the one awaited and the one after it.
const AHEAD: usize = 2;
/// Clauses that may wait for a thread, of all texts together; one more is refused as overload.
const QUEUE: usize = 256;

/// Speaks with the voiceboxes of one engine.
pub(crate) struct ByClause<V> {
    name: &'static str,
    workers: Workers<V>,
    voices: Vec<String>,
}

impl<V: Voicebox> ByClause<V> {
    /// One thread for each voicebox. `voices` has the default first.
    pub(crate) fn start(name: &'static str, boxes: Vec<V>, voices: Vec<String>) -> ByClause<V> {
        ByClause { name, workers: Workers::start(name, boxes, QUEUE), voices }
    }
}

impl<V: Voicebox> Synthesizer for ByClause<V> {
    fn speak(&self, text: BoxStream<'static, String>, voice: Voice) -> BoxStream<'static, Result<Spoken, ModelError>> {
        if !self.voices.contains(&voice.name) {
            let detail = format!("there is no voice \"{}\"; there are: {}", voice.name, self.voices.join(", "));
            let error = ModelError::new(ErrorKind::BadRequest, self.name, detail);
            return stream::once(std::future::ready(Err(error))).boxed();
        }
        let speed = if voice.speed.is_finite() { voice.speed.clamp(0.25, 4.0) } else { 1.0 };
        let voice = Voice { speed, ..voice };
        let workers = self.workers.clone();
        let said = clauses(text).map(move |clause| {
            let (workers, voice) = (workers.clone(), voice.clone());
            async move {
                let text = clause.clone();
                let said = workers.run(move |engine, _| engine.say(&text, &voice)).await?;
                Ok((clause, said))
            }
        });
        let mut speech = Speech { at: Samples(0), gap: Samples(0), speed };
        let mut failed = false;
        said.buffered(AHEAD)
            .take_while(move |said| {
                let go_on = !failed;
                failed = said.is_err();
                std::future::ready(go_on)
            })
            .filter_map(move |said| std::future::ready(said.map(|(clause, said)| speech.add(&clause, said)).transpose()))
            .boxed()
    }

    fn voices(&self) -> Vec<String> {
        self.voices.clone()
    }
}

/// The clauses of a text that is still being written.
fn clauses(text: BoxStream<'static, String>) -> impl futures::Stream<Item = String> + Send + 'static {
    struct Writing {
        text: Option<BoxStream<'static, String>>,
        clauses: Clauses,
        ready: VecDeque<String>,
    }
    let writing = Writing { text: Some(text), clauses: Clauses::new(), ready: VecDeque::new() };
    stream::unfold(writing, |mut writing| async move {
        loop {
            if let Some(clause) = writing.ready.pop_front() {
                return Some((clause, writing));
            }
            let text = writing.text.as_mut()?;
            match text.next().await {
                Some(delta) => writing.ready.extend(writing.clauses.push(&delta)),
                None => {
                    writing.text = None;
                    writing.ready.extend(writing.clauses.finish());
                }
            }
        }
    })
}

/// Where the speech has got to.
struct Speech {
    at: Samples,
    /// Silence owed before the next clause.
    gap: Samples,
    speed: f32,
}

impl Speech {
    /// The next piece of speech; `None` if the clause has no sound.
    fn add(&mut self, clause: &str, said: Said) -> Option<Spoken> {
        let Said { pcm, rate, words } = said;
        let heard = edges::audible(&pcm, rate);
        if heard.is_empty() {
            return None;
        }
        let mut sound = pcm[heard.clone()].to_vec();
        edges::fade(&mut sound, rate);
        sound.splice(0..0, std::iter::repeat_n(0.0, self.gap.0 as usize));
        let frame = Frame::new(sound, rate, self.at);
        // A word may not lie outside of what is left, nor begin before the one before it ended.
        let (first, last) = (self.at + self.gap, frame.end());
        let place = |at: Samples| (first + at.saturating_sub(Samples(heard.start as u64))).min(last);
        let texts: Vec<&str> = clause.split_whitespace().collect();
        let words = words
            .into_iter()
            .filter_map(|(number, span)| {
                let (start, end) = (place(span.start).duration(rate), place(span.end).duration(rate));
                Some(Word { text: (*texts.get(number)?).to_owned(), start, end, confidence: None })
            })
            .collect();
        self.at = frame.end();
        self.gap = edges::gap(clause, self.speed, rate);
        Some(Spoken { frame, words })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use audio::Rate;

    use super::*;

    /// Says each word as 100 ms of tone between 300 ms of silence before and after the clause.
    struct Beeper(Arc<AtomicUsize>);

    impl Voicebox for Beeper {
        fn say(&mut self, clause: &str, _: &Voice) -> Result<Said, ModelError> {
            self.0.fetch_add(1, SeqCst);
            if clause.contains("broken") {
                return Err(ModelError::new(ErrorKind::Failed, "beeper", "it broke"));
            }
            let mut said = Said::new(Rate::SPEECH);
            said.pcm = vec![0.0; 7_200];
            for number in 0..clause.split_whitespace().count() {
                let start = Samples(said.pcm.len() as u64);
                said.pcm.extend((0..2_400).map(|n| 0.5 * (n as f32 * 0.3).sin()));
                said.word(number, start..Samples(said.pcm.len() as u64));
            }
            said.pcm.extend([0.0; 7_200]);
            Ok(said)
        }
    }

    fn beeper() -> (ByClause<Beeper>, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        (ByClause::start("beeper", vec![Beeper(count.clone())], vec!["beep".to_owned()]), count)
    }

    fn text(deltas: &[&str]) -> BoxStream<'static, String> {
        stream::iter(deltas.iter().map(|delta| (*delta).to_owned()).collect::<Vec<_>>()).boxed()
    }

    #[tokio::test]
    async fn clauses_follow_each_other_without_a_gap_in_the_count() {
        let (beeper, _) = beeper();
        let spoken: Vec<Spoken> = beeper
            .speak(text(&["This is the first one. And he", "re is the second one."]), Voice::new("beep"))
            .map(Result::unwrap)
            .collect()
            .await;
        assert_eq!(spoken.len(), 2);
        let mut at = Samples(0);
        let mut last = Duration::ZERO;
        for piece in &spoken {
            assert_eq!(piece.frame.at, at);
            at = piece.frame.end();
            for word in &piece.words {
                assert!(word.start >= last && word.end > word.start && word.end <= at.duration(Rate::SPEECH), "{word:?}");
                last = word.end;
            }
        }
        let texts: Vec<&str> = spoken.iter().flat_map(|piece| &piece.words).map(|word| word.text.as_str()).collect();
        assert_eq!(texts.join(" "), "This is the first one. And here is the second one.");
        assert!(spoken[0].words[0].start <= Duration::from_millis(20), "the silence before is gone");
    }

    #[tokio::test]
    async fn a_dropped_speech_is_said_no_further() {
        let (beeper, count) = beeper();
        let many = "Here is one more sentence to be said. ".repeat(50);
        let mut speech = beeper.speak(text(&[&many]), Voice::new("beep"));
        speech.next().await.expect("there is speech").expect("it is said");
        drop(speech);
        beeper.workers.run(|_, _| Ok(())).await.expect("the engine lives");
        assert!(count.load(SeqCst) <= 3, "{}", count.load(SeqCst));
    }

    #[tokio::test]
    async fn an_error_ends_the_speech_and_an_unknown_voice_is_named() {
        let (beeper, _) = beeper();
        let deltas = text(&["The first one is fine. The second one is broken. The third is never said."]);
        let pieces: Vec<_> = beeper.speak(deltas, Voice::new("beep")).collect().await;
        assert_eq!(pieces.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
        let pieces: Vec<_> = beeper.speak(text(&["Hi."]), Voice::new("boop")).collect().await;
        let error = pieces[0].as_ref().expect_err("there is no such voice");
        assert_eq!((error.kind, error.detail.contains("beep")), (ErrorKind::BadRequest, true));
    }

    #[tokio::test]
    async fn nothing_to_say_is_no_speech() {
        let (beeper, _) = beeper();
        assert_eq!(beeper.speak(text(&["", " \n", "**"]), Voice::new("beep")).count().await, 0);
    }
}
