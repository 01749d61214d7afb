//! An answer read aloud while it is being written.
//!
//! One stream carries both, so that dropping it stops the language model and the synthesizer together. Nothing is spawned: whoever polls the
//! reply drives both. What this does not do: pace the speech, or cut it to what was heard.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::channel::mpsc::{self, Sender};
use futures::stream::{BoxStream, Stream, StreamExt, select};

use crate::{Delta, ModelError, Spoken, Synthesizer, Voice};

/// Bytes of text that may wait for the synthesizer: some ten minutes of speech, far more than an answer to a spoken question. When so much
/// waits, the language model waits too.
const TEXT_AHEAD_BYTES: usize = 16 * 1024;

/// One piece of a spoken reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// The answer goes on.
    Delta(Delta),
    /// The speech goes on.
    Spoken(Spoken),
    /// The synthesizer failed: no more speech follows, the text goes on.
    Mute(ModelError),
}

/// Reads `answer` aloud while it is being written.
///
/// Every delta passes through as soon as it exists and never waits for speech; texts among them also go to the synthesizer, whose speech comes
/// interleaved. The stream ends when both have ended. An error of the answer passes through; the speech of what was written before it still
/// follows, unless the stream is dropped.
pub fn read_aloud<E: Send + 'static>(
    answer: BoxStream<'static, Result<Delta, E>>,
    synthesizer: &dyn Synthesizer,
    voice: Voice,
) -> BoxStream<'static, Result<Piece, E>> {
    // One text waits in the channel; the rest is joined in `Written::unsent`, so that a synthesizer that was busy gets it in one.
    let (send, text) = mpsc::channel(0);
    let written = Written { answer: Some(answer), send: Some(send), unsent: String::new() };
    let mut failed = false;
    let speech = synthesizer.speak(text.boxed(), voice).take_while(move |spoken| {
        let go_on = !failed;
        failed |= spoken.is_err();
        std::future::ready(go_on)
    });
    // `select` takes turns when both are ready, so neither starves the other.
    let deltas = written.map(|delta| delta.map(Piece::Delta));
    select(deltas, speech.map(|spoken| Ok(spoken.map_or_else(Piece::Mute, Piece::Spoken)))).boxed()
}

/// The answer on its way through: its texts are copied to the synthesizer.
struct Written<E> {
    /// `None` once it ended.
    answer: Option<BoxStream<'static, Result<Delta, E>>>,
    /// `None` once the synthesizer has all the text, or wants no more.
    send: Option<Sender<String>>,
    unsent: String,
}

impl<E> Written<E> {
    /// Hands over what waits, as far as the synthesizer takes it.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(send) = &mut self.send {
            let is_over = self.answer.is_none();
            if self.unsent.is_empty() && !is_over {
                break;
            }
            if self.unsent.is_empty() {
                self.send = None;
                break;
            }
            let taken = ready!(send.poll_ready(context)).and_then(|()| send.start_send(std::mem::take(&mut self.unsent)));
            if taken.is_err() {
                self.unsent = String::new();
                self.send = None;
            }
        }
        Poll::Ready(())
    }
}

impl<E> Stream for Written<E> {
    type Item = Result<Delta, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let sent = this.poll_send(context);
        if this.unsent.len() >= TEXT_AHEAD_BYTES {
            return Poll::Pending;
        }
        let Some(answer) = &mut this.answer else {
            return sent.map(|()| None);
        };
        match ready!(answer.poll_next_unpin(context)) {
            Some(Ok(delta)) => {
                if let (Delta::Text(text), Some(_)) = (&delta, &this.send) {
                    this.unsent.push_str(text);
                    // Now, not at the next poll: the synthesizer may start while the caller is busy with this delta.
                    let _ = this.poll_send(context);
                }
                Poll::Ready(Some(Ok(delta)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                this.answer = None;
                this.poll_send(context).map(|()| None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use audio::{Frame, Rate, Samples};
    use futures::stream;

    use super::*;
    use crate::{ErrorKind, Finish};

    /// Speaks each text it is given as one sample a byte; fails at the text `"fail"`.
    struct Parrot;

    impl Synthesizer for Parrot {
        fn speak(&self, text: BoxStream<'static, String>, _voice: Voice) -> BoxStream<'static, Result<Spoken, ModelError>> {
            text.map(|text| match text.contains("fail") {
                true => Err(ModelError::new(ErrorKind::Failed, "parrot", "lost its voice")),
                false => Ok(Spoken { frame: Frame::new(vec![0.1; text.len()], Rate::SPEECH, Samples(0)), words: Vec::new() }),
            })
            .boxed()
        }

        fn voices(&self) -> Vec<String> {
            vec!["parrot".to_owned()]
        }
    }

    /// Never speaks and never takes any text.
    struct Stuck(Arc<AtomicBool>);

    impl Synthesizer for Stuck {
        fn speak(&self, text: BoxStream<'static, String>, _voice: Voice) -> BoxStream<'static, Result<Spoken, ModelError>> {
            let dropped = SetOnDrop(self.0.clone());
            stream::pending().map(move |spoken| (&dropped, &text, spoken).2).boxed()
        }

        fn voices(&self) -> Vec<String> {
            Vec::new()
        }
    }

    struct SetOnDrop(Arc<AtomicBool>);

    impl Drop for SetOnDrop {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }

    fn answer(script: &'static str) -> BoxStream<'static, Result<Delta, &'static str>> {
        let deltas = script.split(' ').map(|word| match word {
            "ERR" => Err("upstream"),
            "END" => Ok(Delta::Finish(Finish::Stop)),
            word => Ok(Delta::Text(word.to_owned())),
        });
        stream::iter(deltas).boxed()
    }

    fn show(piece: Result<Piece, &'static str>) -> String {
        match piece {
            Ok(Piece::Delta(Delta::Text(text))) => text,
            Ok(Piece::Delta(_)) => "END".to_owned(),
            Ok(Piece::Spoken(spoken)) => format!("~{}", spoken.frame.pcm.len()),
            Ok(Piece::Mute(_)) => "MUTE".to_owned(),
            Err(error) => error.to_owned(),
        }
    }

    #[tokio::test]
    async fn speech_comes_between_the_texts() {
        for (script, expected) in [
            ("one. END", "one. ~4 END"),
            ("one. two three END", "one. ~4 two ~3 three ~5 END"),
            ("one. fail more END", "one. ~4 fail MUTE more END"),
            ("one. ERR", "one. ~4 upstream"),
            ("END", "END"),
        ] {
            let reply = read_aloud(answer(script), &Parrot, Voice::new("parrot"));
            let got: Vec<_> = reply.map(show).collect().await;
            assert_eq!(got.join(" "), expected, "{script}");
        }
    }

    #[tokio::test]
    async fn text_never_waits_for_speech_and_a_drop_stops_both() {
        let dropped = Arc::new(AtomicBool::new(false));
        let synthesizer = Stuck(dropped.clone());
        let mut reply = read_aloud(answer("a b c d e f g END"), &synthesizer, Voice::new("any"));
        let texts: Vec<_> = reply.by_ref().take(8).map(show).collect().await;
        assert_eq!(texts.join(" "), "a b c d e f g END");
        assert!(!dropped.load(SeqCst));
        drop(reply);
        assert!(dropped.load(SeqCst));
    }

    #[test]
    fn text_without_end_waits_once_too_much_is_unspoken() {
        let synthesizer = Stuck(Arc::default());
        let endless = stream::repeat(Ok::<_, &str>(Delta::Text("x".repeat(1024)))).boxed();
        let mut reply = read_aloud(endless, &synthesizer, Voice::new("any"));
        let mut taken = 0;
        let mut context = Context::from_waker(std::task::Waker::noop());
        while reply.poll_next_unpin(&mut context).is_ready() {
            taken += 1;
        }
        assert!((16..=18).contains(&taken), "{taken}");
    }
}
