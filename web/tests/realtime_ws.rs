//! Realtime calls over a real socket, answered by scripts.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use web::Answer;
use web::call::{Call, Command, Event, Place, SessionConfig, TurnDetection};
use web::ws::{Limits, Realtimes, Shared, routes};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn defaults() -> SessionConfig {
    SessionConfig { model: "timbre/default".to_owned(), turns: TurnDetection::Manual, ..SessionConfig::default() }
}

/// Serves calls on a free port; gives its address.
async fn serve(limits: Limits, answer: Answer) -> String {
    serve_until(limits, answer, web::Stopping::default()).await
}

async fn serve_until(limits: Limits, answer: Answer, stopping: web::Stopping) -> String {
    let realtimes = Realtimes { answer, defaults: defaults(), limits, books: web::Books::default(), stopping };
    let app = routes(Shared::new(realtimes), None);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("ws://{address}/v1/realtime?model=m")
}

/// A session that says back what it is told, in events.
async fn echo(mut call: Call) {
    while let Some(request) = call.commands.recv().await {
        let event = match request.command {
            Command::Update(_) => Event::Updated,
            Command::Append(audio) => {
                let place = Place { response: "resp_1".to_owned(), item: "item_1".to_owned(), output_index: 0 };
                Event::AudioDelta { place, audio }
            }
            Command::Clear => Event::Cleared,
            Command::Commit => return,
            other => panic!("not in the script: {other:?}"),
        };
        if call.events.send(event).await.is_err() {
            return;
        }
    }
}

fn echoing() -> Answer {
    Arc::new(|call| echo(call).boxed())
}

async fn told(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).expect("JSON"),
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("no event: {other:?}"),
        }
    }
}

async fn say(socket: &mut Socket, event: Value) {
    socket.send(Message::text(event.to_string())).await.expect("it is read");
}

/// Why the server closed.
async fn closed(socket: &mut Socket) -> Option<CloseCode> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    }
}

#[tokio::test]
async fn a_call_begins_goes_on_after_mistakes_and_ends_with_its_session() {
    let address = serve(Limits::default(), echoing()).await;
    let mut request = address.into_client_request().expect("a request");
    let protocols = "realtime, openai-insecure-api-key.sk-1".parse().expect("a value");
    request.headers_mut().insert("sec-websocket-protocol", protocols);
    let (mut socket, response) = connect_async(request).await.expect("it is accepted");
    assert_eq!(response.headers()["sec-websocket-protocol"], "realtime");
    let created = told(&mut socket).await;
    assert_eq!((&created["type"], &created["session"]["model"]), (&json!("session.created"), &json!("m")));
    assert!(created["session"]["expires_at"].is_u64());
    say(&mut socket, json!({ "type": "session.update", "session": { "instructions": "Sing." } })).await;
    assert_eq!(told(&mut socket).await["session"]["instructions"], "Sing.");
    say(&mut socket, json!({ "type": "input_audio_buffer.append", "audio": "AAE=" })).await;
    assert_eq!(told(&mut socket).await["delta"], "AAE=");
    say(&mut socket, json!({ "type": "input_audio_buffer.append", "audio": "A?E=", "event_id": "mine" })).await;
    let error = told(&mut socket).await["error"].clone();
    assert_eq!((&error["param"], &error["event_id"]), (&json!("audio"), &json!("mine")));
    socket.send(Message::binary(vec![0; 4])).await.expect("it is read");
    assert_eq!(told(&mut socket).await["error"]["code"], "invalid_event");
    socket.send(Message::text("{")).await.expect("it is read");
    assert_eq!(told(&mut socket).await["error"]["code"], "invalid_json");
    say(&mut socket, json!({ "type": "input_audio_buffer.clear" })).await;
    assert_eq!(told(&mut socket).await["type"], "input_audio_buffer.cleared");
    say(&mut socket, json!({ "type": "input_audio_buffer.commit" })).await;
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Normal));
}

#[tokio::test]
async fn a_session_ends_with_its_client_and_makes_room_for_the_next() {
    let (gone, mut goes) = mpsc::channel(1);
    let answer: Answer = Arc::new(move |call| {
        // Dropped with the session, whichever way it ends.
        let gone = Gone(gone.clone());
        async move {
            let _gone = gone;
            echo(call).await;
        }
        .boxed()
    });
    let address = serve(Limits { sessions: 1, ..Limits::default() }, answer).await;
    let (mut first, _) = connect_async(&address).await.expect("it is accepted");
    told(&mut first).await;
    let Err(Error::Http(refused)) = connect_async(&address).await else { panic!("there is one place only") };
    assert_eq!(refused.status(), 429);
    let body: Value = serde_json::from_slice(refused.body().as_deref().expect("a body")).expect("JSON");
    assert_eq!(body["error"]["code"], "too_many_sessions");
    drop(first);
    goes.recv().await.expect("the session was dropped");
    // The place is given back just after the session.
    let mut second = loop {
        if let Ok((socket, _)) = connect_async(&address).await {
            break socket;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(told(&mut second).await["type"], "session.created");
}

struct Gone(mpsc::Sender<()>);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

#[tokio::test]
async fn limits_end_a_call_with_a_reason() {
    let limits = Limits { message_bytes: 1_000, ..Limits::default() };
    let address = serve(limits, echoing()).await;
    for bytes in [1_001, 100_000] {
        let (mut socket, _) = connect_async(&address).await.expect("it is accepted");
        told(&mut socket).await;
        socket.send(Message::text("x".repeat(bytes))).await.expect("it is taken by the kernel");
        assert_eq!(closed(&mut socket).await, Some(CloseCode::Size), "{bytes}");
    }
    let address = serve(Limits { session: Duration::from_millis(10), ..Limits::default() }, echoing()).await;
    let (mut socket, _) = connect_async(&address).await.expect("it is accepted");
    told(&mut socket).await;
    assert_eq!(told(&mut socket).await["error"]["code"], "session_expired");
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Normal));
}

#[tokio::test]
async fn a_client_that_does_not_read_ends_its_call() {
    let (gone, mut goes) = mpsc::channel(1);
    let answer: Answer = Arc::new(move |call| {
        let gone = Gone(gone.clone());
        async move {
            let _gone = gone;
            let place = Place { response: "resp_1".to_owned(), item: "item_1".to_owned(), output_index: 0 };
            let audio = bytes::Bytes::from(vec![0; 64 * 1024]);
            while call.events.send(Event::AudioDelta { place: place.clone(), audio: audio.clone() }).await.is_ok() {}
        }
        .boxed()
    });
    let address = serve(Limits { write: Duration::from_millis(50), ..Limits::default() }, answer).await;
    let (socket, _) = connect_async(&address).await.expect("it is accepted");
    goes.recv().await.expect("the session was dropped while the socket was still open");
    drop(socket);
}

#[tokio::test]
async fn what_is_not_served_is_refused_in_openais_shape() {
    let address = serve(Limits::default(), echoing()).await;
    for (query, status, param) in [("&intent=translation", 400, "intent"), ("&call_id=rtc_1", 404, "call_id")] {
        let Err(Error::Http(refused)) = connect_async(format!("{address}{query}")).await else { panic!("{query} is not served") };
        let body: Value = serde_json::from_slice(refused.body().as_deref().expect("a body")).expect("JSON");
        assert_eq!((refused.status().as_u16(), &body["error"]["param"]), (status, &json!(param)));
    }
}

#[tokio::test]
async fn a_server_that_stops_lets_calls_go_on_for_a_while() {
    let stopping = web::Stopping::default();
    let url = serve_until(Limits::default(), echoing(), stopping.clone()).await;
    let (mut socket, _) = connect_async(&url).await.expect("connects");
    assert_eq!(told(&mut socket).await["type"], "session.created");
    stopping.begin(tokio::time::Instant::now() + Duration::from_millis(300));
    assert!(connect_async(&url).await.is_err(), "no new calls");
    say(&mut socket, json!({"type": "input_audio_buffer.clear"})).await;
    assert_eq!(told(&mut socket).await["type"], "input_audio_buffer.cleared");
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Restart));
    drop(socket);
    stopping.calls_ended().await;
}
