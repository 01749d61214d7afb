//! Transcripts as subtitles: SubRip (`.srt`) and WebVTT (W3C, section 4).

use std::fmt::Write;
use std::time::Duration;

use models::{Segment, Utterance, Word};

/// Longest cue that is made of words, characters: two lines of television subtitles.
const CUE_CHARS: usize = 84;
/// Longest cue that is made of words: beyond it a reader loses the place.
const CUE_LENGTH: Duration = Duration::from_secs(7);

/// Stretches of text with times: the engine's own; else its words, joined; else the whole as one.
pub(crate) fn segments(utterance: &Utterance) -> Vec<Segment> {
    if !utterance.segments.is_empty() {
        return utterance.segments.clone();
    }
    if utterance.words.is_empty() {
        let text = utterance.text.trim();
        let whole = segment(text.to_owned(), Duration::ZERO, utterance.duration);
        return if text.is_empty() { Vec::new() } else { vec![whole] };
    }
    join(&utterance.words)
}

/// Joins words into cues: a cue ends at the end of a sentence, or before it would be too long.
fn join(words: &[Word]) -> Vec<Segment> {
    let mut cues: Vec<Segment> = Vec::new();
    for word in words {
        let text = word.text.trim();
        let fits = |cue: &Segment| {
            !cue.text.ends_with(['.', '?', '!', '。', '？', '！'])
                && cue.text.chars().count() + 1 + text.chars().count() <= CUE_CHARS
                && word.end.saturating_sub(cue.start) <= CUE_LENGTH
        };
        match cues.last_mut() {
            Some(cue) if fits(cue) => {
                cue.text.push(' ');
                cue.text.push_str(text);
                cue.end = word.end;
            }
            _ => cues.push(segment(text.to_owned(), word.start, word.end)),
        }
    }
    cues
}

fn segment(text: String, start: Duration, end: Duration) -> Segment {
    Segment { text, start, end, avg_logprob: None, no_speech: None }
}

/// As SubRip.
pub(crate) fn srt(segments: &[Segment]) -> String {
    let mut text = String::new();
    for (at, segment) in segments.iter().enumerate() {
        let _ = write!(text, "{}\n{} --> {}\n{}\n\n", at + 1, time(segment.start, ','), time(segment.end, ','), line(&segment.text));
    }
    text
}

/// As WebVTT.
pub(crate) fn vtt(segments: &[Segment]) -> String {
    let mut text = "WEBVTT\n\n".to_owned();
    for segment in segments {
        // A cue's text is marked up: `<` opens a tag, `&` an escape, and `-->` would be read as times.
        let words = line(&segment.text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = write!(text, "{} --> {}\n{words}\n\n", time(segment.start, '.'), time(segment.end, '.'));
    }
    text
}

/// An empty line would end the cue.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn time(at: Duration, point: char) -> String {
    let ms = at.as_millis();
    format!("{:02}:{:02}:{:02}{point}{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, start: u64, end: u64) -> Word {
        Word { text: text.to_owned(), start: Duration::from_millis(start), end: Duration::from_millis(end), confidence: None }
    }

    #[test]
    fn words_become_cues_by_sentence() {
        let words =
            vec![word("Hello", 0, 400), word("there.", 400, 900), word("Tom", 3_661_002, 3_661_100), word("&<i>", 3_661_100, 3_661_900)];
        let utterance = Utterance { words, ..Utterance::default() };
        let cues = segments(&utterance);
        assert_eq!(srt(&cues), "1\n00:00:00,000 --> 00:00:00,900\nHello there.\n\n2\n01:01:01,002 --> 01:01:01,900\nTom &<i>\n\n");
        assert_eq!(
            vtt(&cues),
            "WEBVTT\n\n00:00:00.000 --> 00:00:00.900\nHello there.\n\n01:01:01.002 --> 01:01:01.900\nTom &amp;&lt;i&gt;\n\n"
        );
    }

    #[test]
    fn long_speech_is_cut_and_no_words_are_one_cue() {
        let words: Vec<_> = (0..40).map(|at| word("word", at * 500, at * 500 + 400)).collect();
        let cues = join(&words);
        assert!(cues.len() > 2 && cues.iter().all(|cue| cue.end - cue.start <= CUE_LENGTH && cue.text.chars().count() <= CUE_CHARS));
        let plain = Utterance { text: " Hi. ".to_owned(), duration: Duration::from_secs(1), ..Utterance::default() };
        assert_eq!(segments(&plain), [segment("Hi.".to_owned(), Duration::ZERO, Duration::from_secs(1))]);
        assert!(segments(&Utterance::default()).is_empty());
    }
}
