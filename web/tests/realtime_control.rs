//! Who may begin a call and who may control one: ephemeral keys, controllers beside the caller, and calls that are hung up from outside.

#[allow(unreachable_pub, dead_code)]
mod fakes;

use std::sync::Arc;

use futures::{FutureExt, SinkExt, StreamExt};
use router::limit::Policy;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use web::call::{Call, Command, Event, Place, SessionConfig};
use web::ws::{Limits, Realtimes, Shared, routes};
use web::{Answer, Keys};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Says back what it is told, in events.
async fn echo(mut call: Call) {
    while let Some(request) = call.commands.recv().await {
        let place = || Place { response: "resp_1".to_owned(), item: "item_1".to_owned(), output_index: 0 };
        let event = match request.command {
            Command::Update(_) => Event::Updated,
            Command::Append(audio) => Event::AudioDelta { place: place(), audio },
            Command::Clear => Event::Cleared,
            Command::Delete(item) => Event::ItemDeleted(item),
            Command::Commit => Event::Signals { item: "item_1".to_owned(), signals: Box::default() },
            other => panic!("not in the script: {other:?}"),
        };
        if call.events.send(event).await.is_err() {
            return;
        }
    }
}

/// A server with two callers' keys.
async fn start() -> fakes::Server {
    let _ = fakes::client();
    let answer: Answer = Arc::new(|call| echo(call).boxed());
    let defaults = SessionConfig { model: "timbre/default".to_owned(), ..SessionConfig::default() };
    let (books, stopping) = (web::Books::default(), web::Stopping::default());
    let realtimes = Shared::new(Realtimes { answer, defaults, limits: Limits::default(), books, stopping });
    let keys = Keys::new(["sk-one", "sk-two"].map(str::to_owned));
    fakes::start_with(web::Limits::default(), keys, Policy::default(), Some(routes(realtimes, None))).await
}

async fn connect(server: &fakes::Server, query: &str, headers: &[(&'static str, &str)]) -> Result<Socket, (u16, Value)> {
    let address = format!("{}/v1/realtime{query}", server.url.replace("http", "ws"));
    let mut request = address.into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a value"));
    }
    match connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(refused)) => {
            let body = serde_json::from_slice(refused.body().as_deref().unwrap_or_default()).unwrap_or_default();
            Err((refused.status().as_u16(), body))
        }
        Err(error) => panic!("{error}"),
    }
}

async fn told(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).expect("JSON"),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => panic!("no event: {other:?}"),
        }
    }
}

async fn say(socket: &mut Socket, event: Value) {
    socket.send(Message::text(event.to_string())).await.expect("it is read");
}

async fn closes(socket: &mut Socket) {
    while let Some(Ok(message)) = socket.next().await {
        assert!(message.is_close() || message.is_ping(), "{message}");
    }
}

async fn post(server: &fakes::Server, path: &str, key: &str, body: Value) -> (u16, Value) {
    let request = fakes::client().post(format!("{}{path}", server.url)).bearer_auth(key).json(&body);
    let answer = request.send().await.expect("it answers");
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

const ONE: (&str, &str) = ("authorization", "Bearer sk-one");
const TWO: (&str, &str) = ("authorization", "Bearer sk-two");

#[tokio::test]
async fn an_ephemeral_key_begins_a_call_with_the_session_it_was_made_for() {
    let server = start().await;
    let session = json!({ "type": "realtime", "model": "auto", "instructions": "Sing.", "audio": { "output": { "voice": "marin" } } });
    let body = json!({ "expires_after": { "anchor": "created_at", "seconds": 60 }, "session": session });
    let (status, made) = post(&server, "/v1/realtime/client_secrets", "sk-one", body).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(made["session"]["instructions"], "Sing.");
    assert!(made["expires_at"].is_u64());
    let value = made["value"].as_str().expect("a key");
    let protocols = format!("realtime, openai-insecure-api-key.{value}");
    for _ in 0..2 {
        let mut socket = connect(&server, "?model=other", &[("sec-websocket-protocol", &protocols)]).await.expect("it is accepted");
        let created = told(&mut socket).await;
        assert_eq!(created["session"]["instructions"], "Sing.");
        assert_eq!((&created["session"]["model"], &created["session"]["audio"]["output"]["voice"]), (&json!("auto"), &json!("marin")));
    }
    // It does nothing else, and makes no others.
    for path in ["/v1/realtime/client_secrets", "/v1/chat/completions", "/v1/realtime/calls/rtc_1/hangup"] {
        assert_eq!(post(&server, path, value, json!({})).await.0, 401, "{path}");
    }
    for (body, param) in [
        (json!({ "expires_after": { "seconds": 5 } }), "expires_after.seconds"),
        (json!({ "expires_after": { "anchor": "now" } }), "expires_after.anchor"),
        (json!({ "session": { "instructions": 3 } }), "session.instructions"),
        (json!({ "sesion": {} }), "sesion"),
    ] {
        let (status, error) = post(&server, "/v1/realtime/client_secrets", "sk-one", body).await;
        assert_eq!((status, &error["error"]["param"]), (400, &json!(param)));
    }
    let refused = connect(&server, "?model=m", &[("authorization", "Bearer ek_0123")]).await.expect_err("nobody made it");
    assert_eq!(refused.0, 401);
}

#[tokio::test]
async fn beta_sessions_come_with_their_key() {
    let server = start().await;
    let body = json!({ "model": "auto", "voice": "marin", "input_audio_format": "g711_ulaw" });
    let (status, made) = post(&server, "/v1/realtime/sessions", "sk-one", body).await;
    assert_eq!((status, &made["voice"], &made["input_audio_format"]), (200, &json!("marin"), &json!("g711_ulaw")), "{made}");
    let protocols =
        format!("realtime, openai-insecure-api-key.{}, openai-beta.realtime-v1", made["client_secret"]["value"].as_str().expect("a key"));
    let mut socket = connect(&server, "?model=m", &[("sec-websocket-protocol", &protocols)]).await.expect("it is accepted");
    let created = told(&mut socket).await;
    assert_eq!((&created["type"], &created["session"]["voice"]), (&json!("session.created"), &json!("marin")));
    assert_eq!(created["session"]["modalities"], json!(["audio", "text"]));
    let body = json!({ "input_audio_transcription": { "model": "whisper-1", "language": "en" } });
    let (status, made) = post(&server, "/v1/realtime/transcription_sessions", "sk-one", body).await;
    assert_eq!((status, &made["object"]), (200, &json!("realtime.transcription_session")), "{made}");
    let headers = [("authorization", format!("Bearer {}", made["client_secret"]["value"].as_str().expect("a key")))];
    let mut socket = connect(&server, "", &[(headers[0].0, &headers[0].1), ("openai-beta", "realtime=v1")]).await.expect("accepted");
    let created = told(&mut socket).await;
    assert_eq!(created["type"], "transcription_session.created");
    assert_eq!(created["session"]["input_audio_transcription"]["language"], "en");
}

#[tokio::test]
async fn a_session_may_only_transcribe() {
    let server = start().await;
    let mut socket = connect(&server, "?intent=transcription", &[ONE]).await.expect("it is accepted");
    let created = told(&mut socket).await;
    assert_eq!((&created["session"]["type"], created["session"].get("model")), (&json!("transcription"), None));
    let session = json!({ "type": "transcription", "audio": { "input": { "turn_detection": { "type": "server_vad" }, "transcription": { "model": "whisper-1" } } } });
    say(&mut socket, json!({ "type": "session.update", "session": session })).await;
    let updated = told(&mut socket).await;
    assert_eq!(updated["session"]["audio"]["input"]["turn_detection"]["type"], "server_vad", "{updated}");
    assert!(updated["session"]["audio"]["input"]["turn_detection"].get("create_response").is_none());
    for (event, param) in [
        (json!({ "type": "response.create" }), "type"),
        (json!({ "type": "session.update", "session": { "type": "realtime" } }), "session.type"),
        (json!({ "type": "session.update", "session": { "instructions": "Sing." } }), "session.instructions"),
    ] {
        say(&mut socket, event).await;
        assert_eq!(told(&mut socket).await["error"]["param"], param);
    }
    assert_eq!(connect(&server, "?intent=nonsense", &[ONE]).await.expect_err("there is no such intent").0, 400);
}

#[tokio::test]
async fn a_controller_sees_a_call_and_commands_it() {
    let server = start().await;
    let mut caller = connect(&server, "?model=m", &[ONE]).await.expect("it is accepted");
    let created = told(&mut caller).await;
    let id = created["session"]["id"].as_str().expect("an id").replace("sess_", "rtc_");
    let query = format!("?call_id={id}");
    // A call of somebody else's is none.
    assert_eq!(connect(&server, &query, &[TWO]).await.expect_err("it is not theirs").0, 404);
    let mut controller = connect(&server, &query, &[ONE]).await.expect("it is attached");
    say(&mut controller, json!({ "type": "session.update", "session": { "instructions": "Sing.", "audio": { "input": { "format": { "type": "audio/pcmu" } } } } }))
        .await;
    for socket in [&mut controller, &mut caller] {
        let updated = told(socket).await;
        assert_eq!((&updated["type"], &updated["session"]["instructions"]), (&json!("session.updated"), &json!("Sing.")));
    }
    // It sees what the caller does, but for the sound; and what it does wrong is its own.
    say(&mut caller, json!({ "type": "input_audio_buffer.append", "audio": "AAE=" })).await;
    assert_eq!(told(&mut caller).await["type"], "response.output_audio.delta");
    say(&mut controller, json!({ "type": "input_audio_buffer.append", "audio": "AAE=", "event_id": "mine" })).await;
    assert_eq!(told(&mut controller).await["error"]["event_id"], "mine");
    controller.send(Message::text("{")).await.expect("it is read");
    assert_eq!(told(&mut controller).await["error"]["code"], "invalid_json");
    say(&mut caller, json!({ "type": "conversation.item.delete", "item_id": "item_9" })).await;
    assert_eq!(told(&mut caller).await["item_id"], "item_9");
    assert_eq!(told(&mut controller).await["item_id"], "item_9");
    // A controller that leaves takes nothing with it.
    drop(controller);
    say(&mut caller, json!({ "type": "input_audio_buffer.clear" })).await;
    assert_eq!(told(&mut caller).await["type"], "input_audio_buffer.cleared");
    let mut controller = connect(&server, &query, &[ONE]).await.expect("another one attaches");
    for (order, key, status) in [
        ("accept", "sk-one", 409),
        ("reject", "sk-one", 409),
        ("refer", "sk-one", 400),
        ("refer", "sk-two", 404),
        ("hangup", "sk-two", 404),
        ("hangup", "sk-one", 200),
    ] {
        assert_eq!(post(&server, &format!("/v1/realtime/calls/{id}/{order}"), key, json!({})).await.0, status, "{order} by {key}");
    }
    closes(&mut caller).await;
    closes(&mut controller).await;
    assert_eq!(connect(&server, &query, &[ONE]).await.expect_err("it is over").0, 404);
}

#[tokio::test]
async fn strict_clients_are_told_openais_events_alone() {
    let server = start().await;
    for (headers, strict) in [
        (&[ONE][..], false),
        (&[ONE, ("sec-websocket-protocol", "realtime, openai-agents-sdk.0.20.0")], true),
        (&[ONE, ("user-agent", "Agents/JavaScript 0.20.0")], true),
    ] {
        let mut socket = connect(&server, "?model=m", headers).await.expect("it is accepted");
        told(&mut socket).await;
        say(&mut socket, json!({ "type": "input_audio_buffer.commit" })).await;
        say(&mut socket, json!({ "type": "input_audio_buffer.clear" })).await;
        let first = told(&mut socket).await["type"].clone();
        assert_eq!(first == "timbre.signals", !strict, "{headers:?}: {first}");
    }
    let mut socket = connect(&server, "?model=m", &[ONE]).await.expect("it is accepted");
    told(&mut socket).await;
    say(&mut socket, json!({ "type": "session.update", "session": { "providerData": { "events": "standard" } } })).await;
    told(&mut socket).await;
    say(&mut socket, json!({ "type": "input_audio_buffer.commit" })).await;
    say(&mut socket, json!({ "type": "input_audio_buffer.clear" })).await;
    assert_eq!(told(&mut socket).await["type"], "input_audio_buffer.cleared");
}
