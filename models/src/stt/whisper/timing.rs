//! From Whisper's tokens to text, segments and words with times.
//!
//! Whisper writes a mark of time before and after each segment; at every other token it still says which mark it would have written and
//! how surely. Sure ones anchor the words between; the rest is shared out by length. (The library's own word times read the sound level at
//! the wrong place from the second segment on.)

use std::time::Duration;

use audio::Probability;

use crate::{Segment, Word};

/// How surely a mark must be meant to anchor a word; the library's own thresholds.
const ANCHOR_PROBABILITY: f32 = 0.01;
/// A loop: this many times the same tokens at the end. Speakers say a word three times; four are rare and only cost a second decoding.
const LOOPS: usize = 4;
/// The longest loop looked for, in tokens.
const LONGEST_LOOP: usize = 24;

/// One token as the decoder chose it.
#[derive(Clone, Debug, Default)]
pub(super) struct Token {
    /// Its text, maybe part of a letter; empty for marks and other special tokens.
    pub bytes: Vec<u8>,
    /// The time it marks, if it is a mark.
    pub mark: Option<Duration>,
    /// The likeliest mark at its place, how likely that one is, and how likely any is.
    pub likely_mark: Duration,
    pub mark_probability: f32,
    pub marks_probability: f32,
    /// How likely the token itself was, and the logarithm of that.
    pub probability: f32,
    pub log_probability: f32,
}

/// How a language separates words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// With blanks.
    Spaced,
    /// Not at all: each token counts as a word (as Whisper's own tools do).
    Unspaced,
}

impl Script {
    /// Of a language by its code.
    pub(super) fn of(language: &str) -> Script {
        if ["zh", "ja", "th", "lo", "my"].contains(&language) { Script::Unspaced } else { Script::Spaced }
    }
}

/// The text of `tokens`.
pub(super) fn text(tokens: &[Token]) -> String {
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.bytes.iter().copied()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the end repeats itself without end.
pub(super) fn loops(tokens: &[&Token]) -> bool {
    (1..=LONGEST_LOOP).take_while(|length| length * LOOPS <= tokens.len()).any(|length| {
        let end = &tokens[tokens.len() - length * LOOPS..];
        end.iter().zip(&end[length..]).all(|(a, b)| a.bytes == b.bytes)
    })
}

/// The segments between marks, or one where there are none.
pub(super) fn segments(tokens: &[Token], duration: Duration, no_speech: f32) -> Vec<Segment> {
    let made = |span: Span| {
        let text = text(span.tokens).trim().to_owned();
        let logs = span.tokens.iter().map(|token| token.log_probability);
        (!text.is_empty()).then(|| Segment {
            text,
            start: span.start,
            end: span.end,
            avg_logprob: Some(logs.sum::<f32>() / span.tokens.len() as f32),
            no_speech: Some(Probability::new(no_speech)),
        })
    };
    spans(tokens, duration).into_iter().filter_map(made).collect()
}

/// The words, each with its punctuation.
pub(super) fn words(tokens: &[Token], duration: Duration, script: Script) -> Vec<Word> {
    let mut words = Vec::new();
    for span in spans(tokens, duration) {
        let times = times(&span);
        let mut open: Option<Open> = None;
        for (token, (start, end)) in span.tokens.iter().zip(times) {
            let starts_word = match script {
                Script::Spaced => token.bytes.starts_with(b" "),
                Script::Unspaced => open.as_ref().is_none_or(|open| std::str::from_utf8(&open.bytes).is_ok()),
            };
            let is_punctuation =
                String::from_utf8_lossy(&token.bytes).trim().chars().all(|letter| !letter.is_alphanumeric() && letter != '\u{fffd}');
            match &mut open {
                Some(open) if !starts_word || is_punctuation => {
                    open.bytes.extend(&token.bytes);
                    // Nobody speaks a comma: a pause after it is not part of the word, nor is it less sure for one.
                    if !is_punctuation {
                        open.end = end;
                        open.log_probability += token.log_probability;
                        open.tokens += 1;
                    }
                }
                _ => {
                    words.extend(open.take().and_then(Open::closed));
                    let log_probability = token.log_probability;
                    open = Some(Open { bytes: token.bytes.clone(), start, end, log_probability, tokens: 1 });
                }
            }
        }
        words.extend(open.and_then(Open::closed));
    }
    words
}

/// A word being built.
struct Open {
    bytes: Vec<u8>,
    start: Duration,
    end: Duration,
    /// Of all its tokens.
    log_probability: f32,
    tokens: u32,
}

impl Open {
    fn closed(self) -> Option<Word> {
        let text = String::from_utf8_lossy(&self.bytes).trim().to_owned();
        let confidence = Some(Probability::new((self.log_probability / self.tokens as f32).exp()));
        (!text.is_empty()).then_some(Word { text, start: self.start, end: self.end, confidence })
    }
}

/// Text tokens between two marks.
struct Span<'a> {
    tokens: &'a [Token],
    start: Duration,
    end: Duration,
}

/// Splits at the marks. Marks outside the sound or out of order are brought into it.
fn spans(tokens: &[Token], duration: Duration) -> Vec<Span<'_>> {
    let mut spans = Vec::new();
    let mut start = Duration::ZERO;
    for part in tokens.split_inclusive(|token| token.mark.is_some()) {
        let (text, mark) = match part.split_last() {
            Some((last, text)) if last.mark.is_some() => (text, last.mark),
            _ => (part, None),
        };
        let end = mark.unwrap_or(duration).clamp(start, duration.max(start));
        // Special tokens have no text and no place.
        let text_end = text.iter().rposition(|token| !token.bytes.is_empty()).map_or(0, |last| last + 1);
        if text_end > 0 {
            spans.push(Span { tokens: &text[..text_end], start, end });
        }
        start = end;
    }
    spans
}

/// Start and end of each token of a span, without gaps.
fn times(span: &Span) -> Vec<(Duration, Duration)> {
    let mut anchors = vec![(0, span.start)];
    for (index, token) in span.tokens.iter().enumerate().skip(1) {
        let is_sure = token.mark_probability > ANCHOR_PROBABILITY && token.marks_probability > ANCHOR_PROBABILITY;
        let after = anchors.last().is_some_and(|(_, last)| token.likely_mark > *last);
        if is_sure && after && token.likely_mark < span.end {
            anchors.push((index, token.likely_mark));
        }
    }
    anchors.push((span.tokens.len(), span.end));
    let mut times = Vec::with_capacity(span.tokens.len());
    for pair in anchors.windows(2) {
        let ((from, start), (to, end)) = (pair[0], pair[1]);
        let lengths: Vec<usize> = span.tokens[from..to].iter().map(spoken_length).collect();
        let all = lengths.iter().sum::<usize>().max(1) as f64;
        let mut said = 0;
        for length in lengths {
            let place = |said: usize| start + (end - start).mul_f64(said as f64 / all);
            times.push((place(said), place(said + length)));
            said += length;
        }
    }
    times
}

/// How long a token takes to say, roughly: its letters, a digit as a word, and a pause for punctuation.
fn spoken_length(token: &Token) -> usize {
    let length = |letter: char| match letter {
        '0'..='9' => 3,
        ',' => 2,
        '.' | '!' | '?' => 3,
        _ => 1,
    };
    String::from_utf8_lossy(&token.bytes).trim().chars().map(length).sum()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Tokens from a script: `<400>` is a mark in ms, `a@300` text whose likely mark is sure, the rest is text; `_` is a blank.
    fn tokens(script: &str) -> Vec<Token> {
        let ms = |text: &str| Duration::from_millis(text.parse().expect("ms"));
        let token = |part: &str| match part.strip_prefix('<') {
            Some(mark) => Token { mark: Some(ms(mark.trim_end_matches('>'))), ..Token::default() },
            None => {
                let (text, anchor) = part.split_once('@').map_or((part, None), |(text, at)| (text, Some(ms(at))));
                let sure = if anchor.is_some() { 0.5 } else { 0.0 };
                Token {
                    bytes: text.replace('_', " ").into_bytes(),
                    likely_mark: anchor.unwrap_or_default(),
                    mark_probability: sure,
                    marks_probability: sure,
                    ..Token::default()
                }
            }
        };
        script.split_whitespace().map(token).collect()
    }

    fn check(script: &str, script_kind: Script, expected: &str) {
        let words = words(&tokens(script), Duration::from_millis(1_000), script_kind);
        let shown: Vec<String> = words.iter().map(|w| format!("{} {}-{}", w.text, w.start.as_millis(), w.end.as_millis())).collect();
        assert_eq!(shown.join(", "), expected, "{script}");
    }

    #[test]
    fn words_lie_between_marks_and_anchors() {
        check("<0> _ab _cd <400>", Script::Spaced, "ab 0-200, cd 200-400");
        check("<0> _ab _cd@300 <400>", Script::Spaced, "ab 0-300, cd 300-400");
        check("<200> _a b _cd <600> _ef <1000>", Script::Spaced, "ab 200-400, cd 400-600, ef 600-1000");
        check("<0> _ab , _cd <600>", Script::Spaced, "ab, 0-200, cd 400-600");
        check("_ab _cd", Script::Spaced, "ab 0-500, cd 500-1000");
        check("<0> 你 好 。 <500>", Script::Unspaced, "你 0-166, 好。 166-333");
        check("<600> _ab <200>", Script::Spaced, "ab 600-600");
        check("<0> _ab <99999>", Script::Spaced, "ab 0-1000");
        check("", Script::Spaced, "");
    }

    #[test]
    fn segments_end_at_their_marks() {
        let segments = segments(&tokens("<0> _Hi . <400> <500> _Yes <900>"), Duration::from_secs(1), 0.1);
        let shown: Vec<_> = segments.iter().map(|s| (s.text.as_str(), s.start.as_millis(), s.end.as_millis())).collect();
        assert_eq!(shown, [("Hi.", 0, 400), ("Yes", 500, 900)]);
    }

    #[test]
    fn a_loop_is_noticed() {
        for (script, is_loop) in
            [("a a a a", true), ("x a b a b a b a b", true), ("no no no", false), ("a b c d e f g h", false), ("", false)]
        {
            let tokens = tokens(script);
            assert_eq!(loops(&tokens.iter().collect::<Vec<_>>()), is_loop, "{script}");
        }
    }

    proptest! {
        #[test]
        fn times_never_run_backwards(parts in vec((any::<Option<u16>>(), any::<u16>(), 0.0_f32..0.1, any::<[u8; 2]>()), 0..40)) {
            let tokens: Vec<Token> = parts.into_iter().map(|(mark, likely, probability, bytes)| Token {
                mark: mark.map(|ms| Duration::from_millis(ms.into())),
                bytes: if mark.is_some() { Vec::new() } else { bytes.to_vec() },
                likely_mark: Duration::from_millis(likely.into()),
                mark_probability: probability,
                marks_probability: probability,
                ..Token::default()
            }).collect();
            let duration = Duration::from_secs(20);
            for script in [Script::Spaced, Script::Unspaced] {
                let words = words(&tokens, duration, script);
                prop_assert!(words.iter().all(|word| word.start <= word.end && word.end <= duration));
                prop_assert!(words.windows(2).all(|pair| pair[0].start <= pair[1].start));
            }
        }
    }
}
