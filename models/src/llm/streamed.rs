//! What every streamed answer shares: bytes become events, events become deltas, and an end that came too early is an error.

use std::collections::VecDeque;
use std::future::Future;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reqwest::Response;
use serde_json::Value;

use crate::remote;
use crate::sse::{Event, LONGEST, Parser};
use crate::{Delta, ErrorKind, ModelError};

/// Reads the events of one answer in one dialect.
pub(crate) trait Reader: Send + 'static {
    /// The deltas of one event.
    fn event(&mut self, event: &Event) -> Result<Vec<Delta>, ModelError>;

    /// Whether the dialect's end mark came: what follows is not waited for.
    fn over(&self) -> bool;

    /// Whether the answer is whole: the reason why it ended is known.
    fn complete(&self) -> bool;

    /// Deltas held back until the stream ended.
    fn close(&mut self) -> Vec<Delta> {
        Vec::new()
    }

    /// `provider/model`, for errors.
    fn target(&self) -> &str;

    /// An error of the target.
    fn error(&self, kind: ErrorKind, detail: impl Into<String>) -> ModelError
    where
        Self: Sized,
    {
        ModelError::new(kind, self.target(), detail)
    }

    /// The JSON of an event's data.
    fn json(&self, data: &str) -> Result<Value, ModelError>
    where
        Self: Sized,
    {
        serde_json::from_str(data).map_err(|error| {
            let start: String = data.chars().take(80).collect();
            self.error(ErrorKind::Protocol, format!("sent a chunk that is not JSON ({error}): {start}"))
        })
    }
}

/// Bytes to deltas.
#[derive(Debug)]
pub(crate) struct Reading<R> {
    body: Body,
    reader: R,
    ready: VecDeque<Result<Delta, ModelError>>,
    over: bool,
}

/// What the bytes of an answer are.
#[derive(Debug)]
enum Body {
    /// Nothing but white space so far.
    Unknown,
    Events(Parser),
    /// One JSON text: a server that does not stream, or fails with a good status.
    Whole(Vec<u8>),
}

impl Body {
    /// The events that more bytes complete; `None` where one does not end.
    fn push(&mut self, bytes: &[u8]) -> Option<Vec<Event>> {
        if matches!(self, Body::Unknown) {
            // No line of an event stream begins with a bracket.
            match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
                None => return Some(Vec::new()),
                Some(b'{' | b'[') => *self = Body::Whole(Vec::new()),
                Some(_) => *self = Body::Events(Parser::default()),
            }
        }
        match self {
            Body::Unknown => Some(Vec::new()),
            Body::Events(parser) => parser.push(bytes).ok(),
            Body::Whole(text) if text.len() + bytes.len() > LONGEST => None,
            Body::Whole(text) => {
                text.extend_from_slice(bytes);
                Some(Vec::new())
            }
        }
    }

    /// The event that the end completes.
    fn close(&mut self) -> Option<Event> {
        match std::mem::replace(self, Body::Unknown) {
            Body::Whole(text) => Some(Event { event: String::new(), data: String::from_utf8_lossy(&text).into_owned() }),
            Body::Unknown | Body::Events(_) => None,
        }
    }
}

impl<R: Reader> Reading<R> {
    pub(crate) fn new(reader: R) -> Reading<R> {
        Reading { body: Body::Unknown, reader, ready: VecDeque::new(), over: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        match self.body.push(bytes) {
            Some(events) => self.take(events),
            None => self.end(Some(self.reader.error(ErrorKind::Protocol, "sent an event without end"))),
        }
    }

    fn take(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            match self.reader.event(&event) {
                Ok(deltas) => self.ready.extend(deltas.into_iter().map(Ok)),
                Err(error) => return self.end(Some(error)),
            }
            if self.reader.over() {
                return self.end(None);
            }
        }
    }

    /// No more bytes come.
    fn close(&mut self) {
        let last = self.body.close();
        self.take(last);
        if !self.over {
            self.end(None);
        }
    }

    fn end(&mut self, error: Option<ModelError>) {
        self.over = true;
        // What comes after the finish reason is at most a count of tokens: an answer that is whole does not fail for it.
        if self.reader.complete() {
            self.ready.extend(self.reader.close().into_iter().map(Ok));
            return;
        }
        let cut = || self.reader.error(ErrorKind::Closed, "the stream ended before the answer did");
        self.ready.push_back(Err(error.unwrap_or_else(cut)));
    }
}

/// Sends a request and reads its answer. Dropping the stream closes the connection.
pub(crate) fn answer<R, F>(sent: F, reader: R) -> BoxStream<'static, Result<Delta, ModelError>>
where
    R: Reader,
    F: Future<Output = Result<Response, ModelError>> + Send + 'static,
{
    let opened = async move {
        match sent.await {
            Ok(response) => read(response, reader),
            Err(error) => stream::once(async move { Err(error) }).boxed(),
        }
    };
    stream::once(opened).flatten().boxed()
}

pub(crate) fn read<R: Reader>(response: Response, reader: R) -> BoxStream<'static, Result<Delta, ModelError>> {
    let state = (response.bytes_stream().boxed(), Reading::new(reader));
    let deltas = stream::unfold(state, |(mut bytes, mut reading)| async move {
        loop {
            if let Some(item) = reading.ready.pop_front() {
                return Some((item, (bytes, reading)));
            }
            if reading.over {
                return None;
            }
            match bytes.next().await {
                Some(Ok(more)) => reading.push(&more),
                Some(Err(error)) => reading.end(Some(remote::broken(reading.reader.target(), &error))),
                None => reading.close(),
            }
        }
    });
    deltas.boxed()
}

/// The deltas of a stream that came in these pieces, and after them the error that it ended with, if it did.
pub(crate) fn deltas<R: Reader>(reader: R, pieces: &[&[u8]]) -> Vec<Result<Delta, ModelError>> {
    let mut reading = Reading::new(reader);
    for piece in pieces {
        if !reading.over {
            reading.push(piece);
        }
    }
    if !reading.over {
        reading.close();
    }
    reading.ready.into()
}

/// Streams read without a socket.
#[cfg(test)]
pub(crate) mod replay {
    use std::path::PathBuf;

    use super::Reader;
    use crate::{Completion, Delta, ModelError};

    /// The deltas of a stream that came in these pieces, and how it ended.
    pub(crate) fn deltas<R: Reader>(reader: R, pieces: &[&[u8]]) -> (Vec<Delta>, Option<ModelError>) {
        let (mut deltas, mut failure) = (Vec::new(), None);
        for item in super::deltas(reader, pieces) {
            match item {
                Ok(delta) => deltas.push(delta),
                Err(error) => failure = Some(error),
            }
        }
        (deltas, failure)
    }

    /// The whole answer of the same.
    pub(crate) fn completion<R: Reader>(reader: R, pieces: &[&[u8]]) -> (Completion, Option<ModelError>) {
        let (deltas, failure) = deltas(reader, pieces);
        let mut completion = Completion::default();
        deltas.into_iter().for_each(|delta| completion.push(delta));
        (completion, failure)
    }

    /// Recorded exchanges of real providers in this folder; none, with a word why, where they are not at hand.
    pub(crate) fn recorded(folder: &str, ending: &str) -> Vec<PathBuf> {
        let root = std::env::var("TIMBRE_DATA").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").to_owned());
        let Ok(files) = std::fs::read_dir(format!("{root}/fixtures/{folder}")) else {
            eprintln!("skipped: no recorded streams under {root}; set TIMBRE_DATA");
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
        files.retain(|path| path.to_string_lossy().ends_with(ending));
        files.sort();
        files
    }

    /// A recording of one event's data a line, as a stream.
    pub(crate) fn lines(path: &std::path::Path) -> String {
        let lines = std::fs::read_to_string(path).expect("it is text");
        lines.lines().map(|line| format!("data: {line}\n\n")).collect()
    }
}
