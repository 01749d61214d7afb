//! The server, and the session behind each call: it talks without a pause, and takes what it is told.

use std::time::Duration;

use audio::Rate;
use bytes::Bytes;
use futures::FutureExt;
use tokio::net::TcpListener;
use tokio::time::interval;
use web::call::{Call, Event, Place, SessionConfig};
use web::rtc::{IceServers, Listen, Port};
use web::ws::{Limits, Realtimes, Shared, routes};
use web::{Answer, Books, Stopping};

use super::Failure;

/// Speech comes in pieces of so many ms, as synthesizers make it.
const PIECE_MS: u64 = 200;

/// Serves calls on a free port, and prints the address.
pub(crate) async fn serve() -> Result<(), Failure> {
    let any = ([127, 0, 0, 1], 0).into();
    let port = Port::open(&Listen { udp: any, tcp: None, public: Vec::new() }).await?;
    let answer: Answer = std::sync::Arc::new(|call| talk(call).boxed());
    let limits = Limits { sessions: 100_000, ..Limits::default() };
    let realtimes =
        Realtimes { answer, defaults: SessionConfig::default(), limits, books: Books::default(), stopping: Stopping::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    Ok(axum::serve(listener, routes(Shared::new(realtimes), Some((port, IceServers::default())))).await?)
}

async fn talk(mut call: Call) {
    let samples = Rate::SPEECH.samples_in_ms(PIECE_MS).0 as usize;
    let tone = |i: usize| (8_000.0 * (std::f32::consts::TAU * 220.0 * i as f32 / 24_000.0).sin()) as i16;
    let audio: Bytes = (0..samples).flat_map(|i| tone(i).to_le_bytes()).collect::<Vec<u8>>().into();
    let place = Place { response: "resp_1".to_owned(), item: "item_1".into(), output_index: 0 };
    // Two pieces ahead: an answer that is made faster than it is heard.
    for _ in 0..2 {
        let _ = call.events.send(Event::AudioDelta { place: place.clone(), audio: audio.clone() }).await;
    }
    let mut clock = interval(Duration::from_millis(PIECE_MS));
    loop {
        tokio::select! {
            command = call.commands.recv() => if command.is_none() { return },
            _ = clock.tick() => {
                let told = call.events.send(Event::AudioDelta { place: place.clone(), audio: audio.clone() });
                if told.await.is_err() {
                    return;
                }
            }
        }
    }
}
