//! The pieces in which an answer is handed to the synthesizer: as it comes, sentence by sentence, or whole. Larger pieces sound steadier and
//! begin later.

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use models::{ModelError, Spoken, Synthesizer, Voice};
use web::call::Segments;

/// A synthesizer that is handed larger pieces than are written.
pub(super) struct Segmented<'a> {
    /// Who speaks.
    pub synthesizer: &'a dyn Synthesizer,
    /// The pieces.
    pub segments: Segments,
}

impl Synthesizer for Segmented<'_> {
    fn speak(&self, text: BoxStream<'static, String>, voice: Voice) -> BoxStream<'static, Result<Spoken, ModelError>> {
        let text = match self.segments {
            Segments::Clauses => text,
            Segments::Sentences => sentences(text),
            Segments::Turn => stream::once(text.collect::<String>()).boxed(),
        };
        self.synthesizer.speak(text, voice)
    }

    fn voices(&self) -> Vec<String> {
        self.synthesizer.voices()
    }
}

/// Joins pieces until they end a sentence.
fn sentences(text: BoxStream<'static, String>) -> BoxStream<'static, String> {
    stream::unfold((text, String::new()), |(mut text, mut waiting)| async move {
        loop {
            if let Some(end) = sentence_end(&waiting) {
                let rest = waiting.split_off(end);
                return Some((waiting, (text, rest)));
            }
            match text.next().await {
                Some(piece) => waiting.push_str(&piece),
                None if waiting.is_empty() => return None,
                None => return Some((std::mem::take(&mut waiting), (text, waiting))),
            }
        }
    })
    .boxed()
}

/// Where the last whole sentence of a text ends: behind its mark and the space after it.
fn sentence_end(text: &str) -> Option<usize> {
    let ends = |&(at, c): &(usize, char)| {
        let rest = &text[at + c.len_utf8()..];
        match c {
            '.' | '!' | '?' => rest.starts_with(char::is_whitespace),
            '\u{3002}' | '\u{ff01}' | '\u{ff1f}' | '\n' => true,
            _ => false,
        }
    };
    text.char_indices().rfind(ends).map(|(at, c)| at + c.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_are_joined_to_sentences() {
        for (pieces, expected) in [
            (&["It ", "is 3.5 ", "here. And", " there. ", "So"][..], &["It is 3.5 here.", " And there.", " So"][..]),
            (&["One. Two. Three"], &["One. Two.", " Three"]),
            (&["\u{4e00}\u{3002}", "\u{4e8c}"], &["\u{4e00}\u{3002}", "\u{4e8c}"]),
            (&[], &[]),
        ] {
            let pieces: Vec<String> = pieces.iter().map(|&piece| piece.to_owned()).collect();
            let joined: Vec<String> = sentences(stream::iter(pieces).boxed()).collect().await;
            assert_eq!(joined, expected);
        }
    }
}
