//! One call's socket, and the session behind it.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures::stream::{SplitSink, SplitStream};
use futures::{Sink, SinkExt, StreamExt};
use tokio::select;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Error as SocketError;

use super::{Answer, Limits};
use crate::Books;
use crate::Realtime;
use crate::call::CallError;
use crate::line::{Line, Next};
use crate::stopping::Stop;

/// Messages that wait for the socket before it is not read any more, so that answers to nonsense cannot pile up.
const OUTGOING: usize = 64;

/// How long a connection stays open after the goodbye to a client that is still sending; else it might see a reset before it.
const LINGER: Duration = Duration::from_secs(1);

/// Why a call ended.
pub(super) enum End {
    /// The client closed, or its connection did.
    Left,
    /// The session is done.
    Finished,
    /// The longest time is over.
    Expired,
    /// The server stops, and the time that calls have left is over.
    Stopping,
    /// A message was too large.
    TooLarge,
    /// The client read nothing for too long.
    Unread,
    /// Nothing came from the client for too long, not even pongs.
    Silent,
    /// What came is not WebSocket.
    Broken(axum::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Left => f.write_str("the client left"),
            End::Finished => f.write_str("the session is done"),
            End::Expired => f.write_str("it lasted as long as it may"),
            End::Stopping => f.write_str("the server stops"),
            End::TooLarge => f.write_str("a message was too large"),
            End::Unread => f.write_str("the client did not read"),
            End::Silent => f.write_str("the client was silent"),
            End::Broken(error) => write!(f, "the connection broke: {error}"),
        }
    }
}

/// The socket and the session.
pub(super) struct Connection<'a> {
    sink: SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
    line: Line,
    limits: &'a Limits,
    outgoing: VecDeque<Message>,
    /// Whether the socket still holds something back.
    unflushed: bool,
    clock: Clock,
}

/// When something must have happened.
struct Clock {
    expires: Instant,
    ping: Instant,
    heard: Instant,
    /// Until when the client must have read something.
    read_by: Option<Instant>,
}

/// What happened next.
enum Step {
    Came(Option<Result<Message, axum::Error>>),
    Line(Next),
    /// The socket takes another message; or, if there was none, has sent all of them.
    Written(Result<(), axum::Error>),
    Due,
}

impl<'a> Connection<'a> {
    pub(super) fn new(socket: WebSocket, realtime: Realtime, books: Books, answer: &Answer, limits: &'a Limits) -> Connection<'a> {
        let (sink, stream) = socket.split();
        let now = Instant::now();
        let clock = Clock { expires: now + limits.session, ping: now + limits.ping, heard: now, read_by: None };
        let config = realtime.config().clone();
        let line = Line::new(realtime, config, books, answer);
        Connection { sink, stream, line, limits, outgoing: VecDeque::new(), unflushed: false, clock }
    }

    /// Talks until the end, then says goodbye. Dropping it ends everything at once.
    pub(super) async fn run(mut self, mut stop: Stop) -> End {
        let end = select! {
            end = self.talk() => end,
            () = stop.due() => End::Stopping,
        };
        let Connection { sink, stream, limits, line, outgoing, .. } = self;
        // Nobody listens to the session any more: it must not go on working during the goodbye.
        drop(line);
        let _ = timeout(limits.write, goodbye(sink, stream, outgoing, &end)).await;
        end
    }

    async fn talk(&mut self) -> End {
        let created = self.line.realtime.created();
        self.outgoing.push_back(Message::text(created));
        let mut timer = pin!(sleep_until(self.clock.next()));
        loop {
            let due = self.clock.next();
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            let idle = self.outgoing.is_empty();
            let listening = self.line.is_ready() && self.outgoing.len() < OUTGOING;
            // Every branch may be dropped half-way without losing anything; the work is done after it.
            let step = select! {
                message = self.stream.next(), if listening => Step::Came(message),
                next = self.line.next(idle) => Step::Line(next),
                // One message after the other goes in; when there is no more, all of it goes out.
                written = poll_fn(|cx| {
                    let sink = Pin::new(&mut self.sink);
                    if idle { sink.poll_flush(cx) } else { sink.poll_ready(cx) }
                }), if !idle || self.unflushed => Step::Written(written),
                () = &mut timer => Step::Due,
            };
            let end = match step {
                Step::Came(message) => self.came(message).err(),
                Step::Line(Next::Moved) => None,
                Step::Line(Next::Told(event)) => {
                    self.outgoing.extend(self.line.realtime.send(&event).into_iter().map(Message::text));
                    None
                }
                Step::Written(Ok(())) if idle => {
                    self.unflushed = false;
                    self.clock.read_by = None;
                    None
                }
                Step::Written(Ok(())) => self.write(),
                Step::Written(Err(_)) => Some(End::Left),
                Step::Due => self.due(),
            };
            if let Some(end) = end {
                return end;
            }
            if self.line.is_over() {
                return End::Finished;
            }
        }
    }

    /// A message of the client's.
    fn came(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        self.clock.heard = Instant::now();
        match message {
            None | Some(Ok(Message::Close(_))) => Err(End::Left),
            Some(Err(error)) => Err(broken(error)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Binary(_))) => {
                self.complain(CallError {
                    code: "invalid_event",
                    message: "Messages must be text: one JSON object each. Sound goes into `input_audio_buffer.append`, in base64."
                        .to_owned(),
                    param: None,
                    event_id: None,
                });
                Ok(())
            }
            Some(Ok(Message::Text(text))) if text.len() > self.limits.message_bytes => Err(End::TooLarge),
            Some(Ok(Message::Text(text))) => {
                match self.line.realtime.receive(&text) {
                    Ok(request) => self.line.request(request),
                    Err(error) => self.complain(error),
                }
                Ok(())
            }
        }
    }

    fn complain(&mut self, error: CallError) {
        self.outgoing.extend(self.line.complaint(error).into_iter().map(Message::text));
    }

    /// Hands one message to the socket, which takes it.
    fn write(&mut self) -> Option<End> {
        let message = self.outgoing.pop_front()?;
        self.unflushed = true;
        // The socket took the one before, so the client reads.
        self.clock.read_by = Some(Instant::now() + self.limits.write);
        Pin::new(&mut self.sink).start_send(message).err().map(|_| End::Left)
    }

    /// Something is late, or a ping is due.
    fn due(&mut self) -> Option<End> {
        let now = Instant::now();
        if self.clock.read_by.is_some_and(|by| by <= now) {
            return Some(End::Unread);
        }
        if self.clock.expires <= now {
            let minutes = self.limits.session.as_secs().div_ceil(60);
            self.complain(CallError {
                code: "session_expired",
                message: format!("The session has lasted as long as it may: {minutes} minutes. Open another one."),
                param: None,
                event_id: None,
            });
            return Some(End::Expired);
        }
        if self.clock.ping <= now {
            let silence = now - self.clock.heard;
            // While a command waits for the session the socket is not read, and the silence is ours.
            if !self.line.is_waiting() && silence >= self.limits.ping * 3 {
                return Some(End::Silent);
            }
            if silence >= self.limits.ping && self.outgoing.is_empty() {
                self.outgoing.push_back(Message::Ping(axum::body::Bytes::new()));
            }
            self.clock.ping = now + self.limits.ping;
        }
        None
    }
}

impl Clock {
    fn next(&self) -> Instant {
        let next = self.expires.min(self.ping);
        self.read_by.map_or(next, |by| by.min(next))
    }
}

/// Whose fault a failed read is.
fn broken(error: axum::Error) -> End {
    let inner = error.into_inner();
    match inner.downcast_ref::<SocketError>() {
        Some(SocketError::Capacity(_)) => End::TooLarge,
        Some(SocketError::ConnectionClosed | SocketError::AlreadyClosed | SocketError::Io(_)) => End::Left,
        _ => End::Broken(axum::Error::new(inner)),
    }
}

/// Writes what waits and a reason for the end, then reads until the client has closed too.
async fn goodbye(
    mut sink: SplitSink<WebSocket, Message>,
    mut stream: SplitStream<WebSocket>,
    outgoing: VecDeque<Message>,
    end: &End,
) -> Result<(), axum::Error> {
    let (code, reason) = match end {
        // It does not read, so it reads no goodbye either.
        End::Unread => return Ok(()),
        End::Left => (None, ""),
        End::Finished => (Some(close_code::NORMAL), "The session is done."),
        End::Expired => (Some(close_code::NORMAL), "The session has lasted as long as it may."),
        End::Stopping => (Some(close_code::RESTART), "The server stops."),
        End::TooLarge => (Some(close_code::SIZE), "The message is too large; send sound in smaller events."),
        End::Silent => (Some(close_code::AWAY), "Nothing came for too long, not even a pong."),
        End::Broken(_) => (Some(close_code::PROTOCOL), "What came is not WebSocket."),
    };
    if let Some(code) = code {
        for message in outgoing {
            sink.feed(message).await?;
        }
        sink.feed(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await?;
    }
    sink.flush().await?;
    while let Some(Ok(_)) = stream.next().await {}
    if matches!(end, End::TooLarge) {
        sleep(LINGER).await;
    }
    Ok(())
}
