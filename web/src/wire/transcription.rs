//! A recording to be transcribed: `POST /v1/audio/transcriptions` of OpenAI's API.

use bytes::Bytes;
use models::{Language, Segment, SignalSet, Signals, Utterance, Word};
use serde_json::{Value, json};

use super::speech::read_language;
use super::{ApiError, Field, signals, subtitle};

/// A form as it came: names and texts in order, and the file.
#[derive(Debug, Default)]
pub(crate) struct Form {
    pub(crate) texts: Vec<(String, String)>,
    pub(crate) file: Option<Bytes>,
}

/// A request, taken apart.
#[derive(Debug)]
pub(crate) struct TranscriptionRequest {
    pub(crate) file: Bytes,
    pub(crate) language: Option<Language>,
    pub(crate) prompt: Option<String>,
    pub(crate) keywords: Vec<String>,
    pub(crate) shape: Shape,
    pub(crate) stream: bool,
    pub(crate) words: bool,
    pub(crate) segments: bool,
}

/// How the transcript is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Json,
    Text,
    Srt,
    Vtt,
    Verbose,
}

const SHAPES: [(&str, Shape); 5] =
    [("json", Shape::Json), ("text", Shape::Text), ("srt", Shape::Srt), ("verbose_json", Shape::Verbose), ("vtt", Shape::Vtt)];

impl Shape {
    /// The signals that go into it.
    pub(crate) fn wanted(self) -> SignalSet {
        match self {
            Shape::Json | Shape::Verbose => SignalSet::ALL,
            Shape::Text | Shape::Srt | Shape::Vtt => SignalSet::NONE,
        }
    }

    /// Its media type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Shape::Json | Shape::Verbose => "application/json",
            Shape::Text => "text/plain; charset=utf-8",
            Shape::Srt => "application/x-subrip; charset=utf-8",
            Shape::Vtt => "text/vtt; charset=utf-8",
        }
    }
}

/// Takes a form apart. Fields that other vendors' models need (`model`, `temperature`, `include`, ...) are taken and have no effect.
pub(crate) fn read(form: Form) -> Result<TranscriptionRequest, ApiError> {
    let last = |name: &str| {
        let found = form.texts.iter().rev().find(|(given, text)| given == name && !text.is_empty());
        found.map(|(_, text)| Field::at(name, Value::String(text.clone())))
    };
    let shape = last("response_format").map(|field| field.one_of(&SHAPES)).transpose()?.unwrap_or(Shape::Json);
    let stream = last("stream").map(|field| field.one_of(&[("true", true), ("false", false), ("1", true), ("0", false)])).transpose()?;
    let language = last("language").map(read_language).transpose()?;
    let prompt = last("prompt").map(Field::string).transpose()?;
    let keywords = form.texts.iter().filter(|(name, _)| name.trim_end_matches("[]") == "keywords").map(|(_, text)| text.clone()).collect();
    let (mut words, mut segments, mut said) = (false, false, false);
    for (name, text) in &form.texts {
        if name.trim_end_matches("[]") == "timestamp_granularities" {
            said = true;
            match Field::at(name, json!(text)).one_of(&[("word", true), ("segment", false)])? {
                true => words = true,
                false => segments = true,
            }
        }
    }
    if !said {
        segments = true;
    }
    let file = form.file.ok_or_else(|| ApiError::missing("file", "a recording: WAV, FLAC, MP3 or Ogg Opus"))?;
    Ok(TranscriptionRequest { file, language, prompt, keywords, shape, stream: stream.unwrap_or(false), words, segments })
}

/// The transcript in the shape that was asked for.
pub(crate) fn write(request: &TranscriptionRequest, utterance: &Utterance, measured: &Signals) -> String {
    let usage = json!({ "type": "duration", "seconds": utterance.duration.as_secs_f64().ceil() });
    match request.shape {
        Shape::Json => json!({ "text": utterance.text, "usage": usage, "signals": signals::to_json(measured) }).to_string(),
        Shape::Text => format!("{}\n", utterance.text),
        Shape::Srt => subtitle::srt(&subtitle::segments(utterance)),
        Shape::Vtt => subtitle::vtt(&subtitle::segments(utterance)),
        Shape::Verbose => {
            let language = utterance.language.as_ref().map_or("und", |measured| measured.value.code());
            let mut body = json!({
                "task": "transcribe", "language": language, "duration": seconds(utterance.duration), "text": utterance.text,
            });
            if request.segments {
                let segments = subtitle::segments(utterance);
                body["segments"] = segments.iter().enumerate().map(|(at, segment)| segment_json(at, segment)).collect();
            }
            if request.words {
                body["words"] = utterance.words.iter().map(word_json).collect();
            }
            body["usage"] = usage;
            body["signals"] = signals::to_json(measured);
            body.to_string()
        }
    }
}

fn word_json(word: &Word) -> Value {
    let mut body = json!({ "word": word.text.trim(), "start": seconds(word.start), "end": seconds(word.end) });
    if let Some(confidence) = word.confidence {
        body["confidence"] = json!((f64::from(confidence.get()) * 1_000.0).round() / 1_000.0);
    }
    body
}

/// What no engine here tells (tokens, compression) is there because strict clients require it.
fn segment_json(at: usize, segment: &Segment) -> Value {
    json!({
        "id": at, "seek": 0, "start": seconds(segment.start), "end": seconds(segment.end), "text": segment.text, "tokens": [],
        "temperature": 0.0, "avg_logprob": segment.avg_logprob.unwrap_or(0.0), "compression_ratio": 1.0,
        "no_speech_prob": segment.no_speech.map_or(0.0, |probability| probability.get()),
    })
}

fn seconds(at: std::time::Duration) -> f64 {
    at.as_millis() as f64 / 1_000.0
}

/// Turns the settled parts of drafts into text that only grows.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    told: String,
}

impl Growing {
    /// What is settled of a further draft; the text to tell now, if any.
    pub(crate) fn draft(&mut self, settled: &str) -> Option<String> {
        let more = self.finish(settled)?;
        self.told.push_str(&more);
        Some(more)
    }

    /// The final text; what is still to tell of it. Nothing where it contradicts what was told: the last event has it all.
    pub(crate) fn finish(&self, text: &str) -> Option<String> {
        text.strip_prefix(self.told.as_str()).filter(|more| !more.is_empty()).map(str::to_owned)
    }
}

/// More of the transcript.
pub(crate) fn delta_event(text: &str) -> Value {
    json!({ "type": "transcript.text.delta", "delta": text })
}

/// The whole transcript.
pub(crate) fn done_event(utterance: &Utterance, measured: &Signals) -> Value {
    json!({ "type": "transcript.text.done", "text": utterance.text, "signals": signals::to_json(measured) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use audio::Probability;

    use super::*;

    fn form(texts: &[(&str, &str)]) -> Form {
        let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Form { texts: texts.iter().map(own).collect(), file: Some(Bytes::from_static(b"RIFF")) }
    }

    #[test]
    fn a_wrong_form_names_its_field() {
        for (texts, param) in [
            (&[("response_format", "diarized_json")][..], "response_format"),
            (&[("language", "english")], "language"),
            (&[("stream", "maybe")], "stream"),
            (&[("timestamp_granularities[]", "letter")], "timestamp_granularities[]"),
        ] {
            let error = read(form(texts)).expect_err("refused");
            assert_eq!((error.status, error.param.as_deref()), (400, Some(param)));
        }
        assert_eq!(read(Form::default()).expect_err("no file").param.as_deref(), Some("file"));
    }

    #[test]
    fn every_shape_is_written() {
        let word = |text: &str, start, end, confidence| Word {
            text: text.to_owned(),
            start: Duration::from_millis(start),
            end: Duration::from_millis(end),
            confidence,
        };
        let utterance = Utterance {
            text: "Hi there.".to_owned(),
            words: vec![word("Hi", 100, 300, Some(Probability::new(0.75))), word("there.", 300, 900, None)],
            duration: Duration::from_millis(1_200),
            ..Utterance::default()
        };
        for (texts, expected) in [
            (&[][..], r#"{"text":"Hi there.","usage":{"type":"duration","seconds":2.0},"signals":{}}"#),
            (&[("response_format", "text")], "Hi there.\n"),
            (&[("response_format", "srt")], "1\n00:00:00,100 --> 00:00:00,900\nHi there.\n\n"),
            (&[("response_format", "vtt")], "WEBVTT\n\n00:00:00.100 --> 00:00:00.900\nHi there.\n\n"),
            (
                &[("response_format", "verbose_json"), ("timestamp_granularities[]", "word")],
                r#"{"task":"transcribe","language":"und","duration":1.2,"text":"Hi there.","words":[{"word":"Hi","start":0.1,"end":0.3,"confidence":0.75},{"word":"there.","start":0.3,"end":0.9}],"usage":{"type":"duration","seconds":2.0},"signals":{}}"#,
            ),
        ] {
            let request = read(form(texts)).expect("a request");
            assert_eq!(write(&request, &utterance, &Signals::default()), expected);
        }
    }

    #[test]
    fn text_only_grows() {
        let mut growing = Growing::default();
        let told: Vec<_> = ["", "The", "The cat", "The hat sat"].iter().map(|settled| growing.draft(settled)).collect();
        assert_eq!(told, [None, Some("The".to_owned()), Some(" cat".to_owned()), None]);
        assert_eq!(growing.finish("The cat sat on it."), Some(" sat on it.".to_owned()));
        assert_eq!(growing.finish("A hat."), None);
    }
}
