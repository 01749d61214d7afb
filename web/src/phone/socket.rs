//! A carrier's socket as packets: a WebSocket, or AudioSocket's TCP stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::ws::{Message, WebSocket};
use bytes::{Buf, BytesMut};
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::wire::phone::{Framing, Packet};

/// Bytes read at once: ten frames of 20 ms at 16 kHz.
const READ: usize = 8 * 1024;
/// Bytes that wait to be written before the next packet does: a second of the widest sound.
const UNWRITTEN: usize = 96 * 1024;

/// What came.
pub(super) enum Came {
    /// A message.
    Packet(Packet),
    /// A sign of life.
    Sign,
}

/// What goes.
pub(super) enum Goes {
    /// A message.
    Packet(Packet),
    /// A question for a sign of life.
    Ping,
    /// The end.
    Close,
}

/// A socket: it ends when the carrier closes it, and fails when the connection breaks.
pub(super) trait Socket: Stream<Item = io::Result<Came>> + Sink<Goes, Error = io::Error> + Unpin + Send {}

impl<S: Stream<Item = io::Result<Came>> + Sink<Goes, Error = io::Error> + Unpin + Send> Socket for S {}

/// A WebSocket.
pub(super) struct Web(pub WebSocket);

impl Stream for Web {
    type Item = io::Result<Came>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Came>>> {
        Poll::Ready(match ready!(self.0.poll_next_unpin(cx)) {
            None | Some(Ok(Message::Close(_))) => None,
            Some(Ok(Message::Text(text))) => Some(Ok(Came::Packet(Packet::Text(text.as_str().to_owned())))),
            Some(Ok(Message::Binary(bytes))) => Some(Ok(Came::Packet(Packet::Binary(bytes)))),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Some(Ok(Came::Sign)),
            Some(Err(error)) => Some(Err(io::Error::other(error))),
        })
    }
}

impl Sink<Goes> for Web {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready_unpin(cx).map_err(io::Error::other)
    }

    fn start_send(mut self: Pin<&mut Self>, goes: Goes) -> io::Result<()> {
        let message = match goes {
            Goes::Packet(Packet::Text(text)) => Message::text(text),
            Goes::Packet(Packet::Binary(bytes)) => Message::Binary(bytes),
            Goes::Ping => Message::Ping(bytes::Bytes::new()),
            Goes::Close => Message::Close(None),
        };
        self.0.start_send_unpin(message).map_err(io::Error::other)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush_unpin(cx).map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close_unpin(cx).map_err(io::Error::other)
    }
}

/// AudioSocket's stream.
pub(super) struct Tcp {
    stream: TcpStream,
    framing: Framing,
    unwritten: BytesMut,
}

impl Tcp {
    pub(super) fn new(stream: TcpStream) -> Tcp {
        // A frame must not wait for the next one to fill a packet; where that cannot be set it is only late.
        let _ = stream.set_nodelay(true);
        Tcp { stream, framing: Framing::default(), unwritten: BytesMut::new() }
    }
}

impl Stream for Tcp {
    type Item = io::Result<Came>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Came>>> {
        let Tcp { stream, framing, .. } = self.get_mut();
        loop {
            if let Some(packet) = framing.frame() {
                return Poll::Ready(Some(Ok(Came::Packet(packet))));
            }
            let mut bytes = [0; READ];
            let mut read = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut read)) {
                Ok(()) if read.filled().is_empty() => return Poll::Ready(None),
                Ok(()) => framing.buffer().extend_from_slice(read.filled()),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl Sink<Goes> for Tcp {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unwritten.len() < UNWRITTEN { Poll::Ready(Ok(())) } else { self.poll_flush(cx) }
    }

    fn start_send(mut self: Pin<&mut Self>, goes: Goes) -> io::Result<()> {
        if let Goes::Packet(Packet::Binary(bytes)) = goes {
            self.unwritten.extend_from_slice(&bytes);
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Tcp { stream, unwritten, .. } = self.get_mut();
        while !unwritten.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, unwritten))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            unwritten.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
