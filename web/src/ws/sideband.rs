//! A second controller of a call in progress: `GET /v1/realtime?call_id=…`. It is told what the call's client is told, but for the sound,
//! and may send the same events, but for sound.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use tokio::select;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tracing::info;

use super::Limits;
use crate::live::Attached;

/// Carries a controller until it leaves or the call is over.
pub(super) async fn serve(socket: WebSocket, id: String, attached: Attached, limits: Limits) {
    info!(call = %id, "A controller attached.");
    let Attached { mut told, asked, place } = attached;
    let (mut sink, mut stream) = socket.split();
    let mut pings = interval_at(Instant::now() + limits.ping, limits.ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let (code, reason) = loop {
        select! {
            message = told.recv() => match message {
                Some(message) => if !send(&mut sink, Message::text(message), limits.write).await { return },
                // The call let it go: it is over, or the controller did not read.
                None => break (close_code::NORMAL, "The call is over, or events were not read in time."),
            },
            message = stream.next() => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) if text.len() <= limits.message_bytes => {
                        if asked.send(text.to_string()).await.is_err() {
                            break (close_code::NORMAL, "The call is over.");
                        }
                    }
                    Some(Ok(Message::Text(_) | Message::Binary(_))) => break (close_code::SIZE, "Events are text of a bounded size."),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    None | Some(Ok(Message::Close(_)) | Err(_)) => break (close_code::NORMAL, ""),
                }
            }
            _ = pings.tick() => {
                if heard.elapsed() >= limits.ping * 3 {
                    break (close_code::AWAY, "Nothing came for too long, not even a pong.");
                }
                if !send(&mut sink, Message::Ping(axum::body::Bytes::new()), limits.write).await { return }
            }
        }
    };
    drop(place);
    send(&mut sink, Message::Close(Some(CloseFrame { code, reason: reason.into() })), limits.write).await;
    info!(call = %id, "A controller left.");
}

/// Whether the socket took it in time.
async fn send(sink: &mut SplitSink<WebSocket, Message>, message: Message, most: Duration) -> bool {
    matches!(timeout(most, sink.send(message)).await, Ok(Ok(())))
}
