//! Telephone calls over real sockets, answered by scripts: what carriers say and are told, and what becomes of those that misbehave.

#[expect(unreachable_pub, reason = "shared by several tests")]
mod carriers;
#[expect(dead_code, unreachable_pub, reason = "shared by several tests")]
mod fakes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audio::codec::Codec;
use audio::codec::g711::Law;
use bytes::Bytes;
use carriers::{Line, Told};
use futures::FutureExt;
use models::Role;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use web::call::{Call, Command, Content, Ending, Event, Item, ItemContent, Place, Response, SessionConfig};
use web::phone::{Agent, Bridges, Carrier};
use web::ws::{Limits, Realtimes, Shared};

/// A server whose sessions are led by the test.
struct Desk {
    address: SocketAddr,
    audiosocket: SocketAddr,
    calls: mpsc::Receiver<Call>,
}

async fn serve(bridges: Bridges, limits: Limits) -> Desk {
    let (sender, calls) = mpsc::channel(16);
    let answer: web::Answer = Arc::new(move |call| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(call).await;
            std::future::pending().await
        }
        .boxed()
    });
    let (books, stopping) = (web::Books::default(), web::Stopping::default());
    let shared = Shared::new(Realtimes { answer, defaults: SessionConfig::default(), limits, books, stopping });
    let port = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let audiosocket = port.local_addr().expect("an address");
    let (routes, listening) = web::phone::routes(shared, bridges, Some(port));
    tokio::spawn(listening.expect("there is a port"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Desk { address, audiosocket, calls }
}

fn open_to_all() -> Bridges {
    Bridges { carriers: Carrier::ALL.into(), public_url: "https://voice.example.org".to_owned(), ..Bridges::default() }
}

impl Desk {
    async fn line(&self, carrier: Carrier) -> Line {
        let address = if carrier == Carrier::Audiosocket { self.audiosocket } else { self.address };
        Line::open(carrier, address, &format!("/{}", carrier.name())).await.expect("it is accepted")
    }

    async fn call(&mut self) -> Call {
        self.calls.recv().await.expect("a call")
    }
}

/// Commands but for the caller's sound.
async fn command(call: &mut Call) -> Option<Command> {
    loop {
        match call.commands.recv().await?.command {
            Command::Append(_) => {}
            other => return Some(other),
        }
    }
}

/// How much of an answer was heard, ms, and whether the rest was thrown away.
async fn heard(call: &mut Call) -> (u64, bool) {
    match command(call).await {
        Some(Command::Played { heard, .. }) => (heard.as_millis() as u64, false),
        Some(Command::Silenced { heard, .. }) => (heard.as_millis() as u64, true),
        other => panic!("{other:?}"),
    }
}

fn response(ending: Option<Ending>) -> Box<Response> {
    Box::new(Response {
        id: "resp_1".to_owned(),
        ending,
        output: Vec::new(),
        spoken: true,
        aside: false,
        voice: String::new(),
        max_tokens: None,
        usage: None,
        metadata: None,
        routed: None,
    })
}

/// The session speaks so much.
async fn speak(call: &Call, bytes: usize) {
    let place = Place { response: "resp_1".to_owned(), item: "item_1".to_owned(), output_index: 0 };
    call.events.send(Event::ResponseCreated(response(None))).await.expect("it is told");
    for audio in vec![0x55; bytes].chunks(640) {
        let audio = Bytes::copy_from_slice(audio);
        call.events.send(Event::AudioDelta { place: place.clone(), audio }).await.expect("it is told");
    }
}

async fn end(call: &Call) {
    call.events.send(Event::ResponseDone(response(Some(Ending::Whole)))).await.expect("it is told");
}

fn milliseconds(codec: Codec, ms: usize) -> usize {
    let sample = if matches!(codec, Codec::G711(_)) { 1 } else { 2 };
    codec.rate().hz() as usize / 1_000 * sample * ms
}

#[tokio::test]
async fn every_carrier_holds_a_turn() {
    let mut desk = serve(open_to_all(), Limits::default()).await;
    for carrier in Carrier::ALL {
        let mut line = desk.line(carrier).await;
        line.start(json!({ "caller": "+491" })).await;
        let mut call = desk.call().await;
        let codec = call.config.input;
        assert_eq!(codec, call.config.output, "{carrier:?}");
        assert_eq!(codec == Codec::G711(Law::A), carrier == Carrier::Telnyx, "{carrier:?}");
        assert_eq!((&call.config.metadata["channel"], &call.config.metadata["carrier"]), (&json!("phone"), &json!(carrier.name())));
        let known = if carrier == Carrier::Audiosocket { "07070707-0707-0707-0707-070707070707" } else { "CA1" };
        assert_eq!(call.config.metadata["call"], known);
        // What the caller says arrives.
        let said = vec![0x11; milliseconds(codec, 60)];
        line.sound(&said).await;
        let mut came = Vec::new();
        while !came.ends_with(&said) {
            let Some(Command::Append(sound)) = call.commands.recv().await.map(|request| request.command) else { panic!("sound") };
            came.extend_from_slice(&sound);
        }
        // An answer of 300 ms arrives in whole packets, with the mark at its end; what it says was heard is told.
        speak(&call, milliseconds(codec, 300)).await;
        end(&call).await;
        let marks = carrier != Carrier::Audiosocket;
        let (mut sound, mut last) = (Vec::new(), 0);
        while last < 300 {
            if sound.len() < milliseconds(codec, 300) || marks {
                match line.told().await.expect("sound") {
                    Told::Sound(packet) => {
                        let ms = if carrier == Carrier::Exotel { 100 } else { 20 };
                        assert_eq!(packet.len(), milliseconds(codec, ms), "{carrier:?}");
                        sound.extend(packet);
                        continue;
                    }
                    Told::Mark(name) => line.mark(&name).await,
                    other => panic!("{carrier:?}: {other:?}"),
                }
            }
            last = heard(&mut call).await.0;
        }
        assert_eq!(sound, vec![0x55; milliseconds(codec, 300)], "{carrier:?}");
        // Keys are told as they come, and together as a message.
        for key in ['1', '*', '#'] {
            line.key(key).await;
        }
        let mut commands = Vec::new();
        while !matches!(commands.last(), Some(Command::Respond(_))) {
            commands.push(command(&mut call).await.expect("a command"));
        }
        let [Command::Key('1'), Command::Key('*'), Command::Key('#'), Command::Create { item, .. }, Command::Respond(_)] = &commands[..]
        else {
            panic!("{carrier:?}: {commands:?}")
        };
        assert!(says(item).ends_with("1 *)"), "{item:?}");
        line.hang_up().await;
        assert_eq!(command(&mut call).await, None, "{carrier:?}");
    }
}

fn says(item: &Item) -> &str {
    match &item.content {
        ItemContent::Message { role: Role::User, parts } => match &parts[..] {
            [Content::Text(text)] => text,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn marks_that_come_late_or_twice_or_never_say_how_much_was_heard() {
    let mut desk = serve(open_to_all(), Limits::default()).await;
    let mut line = desk.line(Carrier::Twilio).await;
    line.start(json!({})).await;
    let mut call = desk.call().await;
    speak(&call, 8 * 2_000).await;
    // Sound is sent a little ahead and no further: the first mark stands at 200 ms.
    let (first, one) = line.told_mark().await;
    assert_eq!(first, 8 * 200);
    let (second, two) = line.told_mark().await;
    assert_eq!(second, 8 * 200);
    // Both come back late, then again, and one that nobody made: only the first time says something.
    for name in [&one, &two, &one, "9-9", "nonsense"] {
        line.mark(name).await;
    }
    assert_eq!((heard(&mut call).await, heard(&mut call).await), ((200, false), (400, false)));
    // The caller speaks into it: it falls silent, and what was heard lies between the last mark and the next.
    call.events.send(Event::Hold { response: "resp_1".to_owned(), held: true }).await.expect("it is told");
    let (held, _) = heard(&mut call).await;
    assert!((400..=600).contains(&held), "{held}");
    while line.told().await.expect("it is told") != Told::Clear {}
    // It was a cough: the answer goes on from the last mark that came back.
    call.events.send(Event::Hold { response: "resp_1".to_owned(), held: false }).await.expect("it is told");
    assert_eq!(heard(&mut call).await, (400, false));
    let (third, three) = line.told_mark().await;
    assert_eq!(third, 8 * 200);
    // A mark from before the clearing, as Twilio sends them back at once, is not one of now.
    line.mark("0-3").await;
    line.mark(&three).await;
    assert_eq!(heard(&mut call).await, (600, false));
    // And now it is a word.
    call.events.send(Event::Silence { response: "resp_1".to_owned() }).await.expect("it is told");
    let (cut, silenced) = heard(&mut call).await;
    assert!(silenced && (600..=800).contains(&cut), "{cut}");
    while line.told().await.expect("it is told") != Told::Clear {}
    // A dead line ends the call.
    drop(line);
    assert_eq!(command(&mut call).await, None);
}

#[tokio::test]
async fn asterisk_pauses_and_goes_on_without_sending_anything_twice() {
    let mut desk = serve(open_to_all(), Limits::default()).await;
    let mut line = desk.line(Carrier::Asterisk).await;
    line.start(Value::Null).await;
    let mut call = desk.call().await;
    speak(&call, 32 * 300).await;
    let hold = |held| Event::Hold { response: "resp_1".to_owned(), held };
    call.events.send(hold(true)).await.expect("it is told");
    heard(&mut call).await;
    let mut sound = 0;
    let mut pause = |told: Option<Told>, until: Told| match told.expect("it is told") {
        Told::Sound(packet) => {
            sound += packet.len();
            false
        }
        told => told == until,
    };
    while !pause(line.told().await, Told::Pause) {}
    call.events.send(hold(false)).await.expect("it is told");
    while !pause(line.told().await, Told::Resume) {}
    end(&call).await;
    let (rest, _) = line.told_mark().await;
    let (rest, total) = if rest + sound < 32 * 300 { (rest + line.told_mark().await.0, 32 * 300) } else { (rest, 32 * 300) };
    assert_eq!(rest + sound, total);
    // Asterisk has no room: nothing goes until it has.
    line.text("MEDIA_XOFF").await;
    line.text("DTMF_END digit:1").await;
    while command(&mut call).await != Some(Command::Key('1')) {}
    line.text("MEDIA_XON").await;
    line.hang_up().await;
    while command(&mut call).await.is_some() {}
}

#[tokio::test]
async fn audiosocket_is_paced_as_it_is_heard() {
    let mut desk = serve(open_to_all(), Limits::default()).await;
    let mut line = desk.line(Carrier::Audiosocket).await;
    line.start(Value::Null).await;
    let call = desk.call().await;
    let began = Instant::now();
    speak(&call, 16 * 1_000).await;
    end(&call).await;
    for _ in 0..50 {
        assert!(matches!(line.told().await, Some(Told::Sound(packet)) if packet.len() == 320));
    }
    // Fifty packets of 20 ms, the first at once: never faster than they are heard.
    assert!(began.elapsed() >= Duration::from_millis(960), "{:?}", began.elapsed());
}

#[tokio::test]
async fn carriers_that_misbehave_are_borne_or_let_go() {
    let mut desk = serve(open_to_all(), Limits::default()).await;
    // Sound before the beginning, wrong numbers, damaged sound, binary messages, nonsense: the call goes on.
    let mut line = desk.line(Carrier::Twilio).await;
    line.sound(&[1; 160]).await;
    line.text("{").await;
    line.bytes(&[0; 160]).await;
    line.start(json!({})).await;
    line.start(json!({})).await;
    line.json(json!({ "event": "media", "media": { "payload": "AAA" } })).await;
    line.json(json!({ "event": "media", "sequenceNumber": "minus one", "media": { "chunk": "x", "payload": "ERER" } })).await;
    line.json(json!({ "event": "dtmf", "dtmf": { "digit": "77" } })).await;
    line.json(json!({ "event": "mark" })).await;
    line.bytes(&[0; 4]).await;
    line.key('5').await;
    let mut call = desk.call().await;
    let mut sound = Vec::new();
    loop {
        match call.commands.recv().await.expect("a command").command {
            Command::Append(bytes) => sound.extend_from_slice(&bytes),
            Command::Key('5') => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(sound.starts_with(&[0x11; 3]), "{sound:?}");
    // It ends without a word, in the middle of an answer.
    speak(&call, 8 * 500).await;
    drop(line);
    while command(&mut call).await.is_some() {}
    // Nothing but nonsense is no call.
    let mut line = desk.line(Carrier::Telnyx).await;
    for _ in 0..200 {
        line.text("nonsense").await;
    }
    assert_eq!(line.told().await, None);
    // A call that ends before it begins.
    let mut line = desk.line(Carrier::Twilio).await;
    line.json(json!({ "event": "stop" })).await;
    assert_eq!(line.told().await, None);
    // AudioSocket frames that are none.
    let mut line = desk.line(Carrier::Audiosocket).await;
    for _ in 0..200 {
        line.bytes(&[0x77, 0, 1, 0]).await;
    }
    assert_eq!(line.told().await, None);
    assert!(desk.calls.try_recv().is_err());
}

#[tokio::test]
async fn keys_end_an_answer_and_are_heard_in_the_sound_where_that_is_asked_for() {
    let bridges = Bridges {
        in_band_keys: true,
        agent: Agent {
            model: "timbre/desk".to_owned(),
            instructions: "Be brief.".to_owned(),
            voice: "heart".to_owned(),
            greeting: "Hello.".to_owned(),
        },
        ..open_to_all()
    };
    let mut desk = serve(bridges, Limits::default()).await;
    let mut line = desk.line(Carrier::Vonage).await;
    line.start(Value::Null).await;
    let mut call = desk.call().await;
    assert_eq!((call.config.model.as_str(), call.config.instructions.as_str()), ("timbre/desk", "Be brief."));
    assert_eq!(call.config.voice, Some(models::Voice::new("heart")));
    let Some(Command::Respond(greeting)) = command(&mut call).await else { panic!("a greeting") };
    assert_eq!(greeting.say.as_deref(), Some("Hello."));
    speak(&call, 32 * 1_000).await;
    line.told().await.expect("sound");
    // The carrier tells of the key, too; it is taken once, from the sound: 697 and 1209 Hz are a 1, 941 and 1477 Hz a hash.
    line.key('1').await;
    for (low, high) in [(697.0, 1_209.0), (941.0, 1_477.0)] {
        let tone =
            |n: u32| (f64::from(n) * low * std::f64::consts::TAU / 16e3).sin() + (f64::from(n) * high * std::f64::consts::TAU / 16e3).sin();
        let pcm: Vec<u8> = (0..1_600).flat_map(|n| ((tone(n) * 4_000.0) as i16).to_le_bytes()).collect();
        line.sound(&[pcm, vec![0; 1_600]].concat()).await;
    }
    let mut commands = Vec::new();
    while !matches!(commands.last(), Some(Command::Respond(_))) {
        match command(&mut call).await.expect("a command") {
            Command::Played { .. } => {}
            other => commands.push(other),
        }
    }
    let [
        Command::Key('1'),
        Command::Key('#'),
        Command::Silenced { .. },
        Command::Cancel(None),
        Command::Create { item, .. },
        Command::Respond(_),
    ] = &commands[..]
    else {
        panic!("{commands:?}")
    };
    assert!(says(item).ends_with(": 1)"), "{item:?}");
    while line.told().await.expect("it is told") != Told::Clear {}
}

/// What Twilio's own example is signed with, for another URL and call: computed by the documented rule.
fn signature(token: &str, url: &str, fields: &[(&str, &str)]) -> String {
    let mut fields = fields.to_vec();
    fields.sort_unstable();
    let text = fields.iter().fold(url.to_owned(), |text, (name, value)| text + name + value);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, ring::hmac::sign(&key, text.as_bytes()))
}

#[tokio::test]
async fn twilios_webhook_is_answered_to_twilio_alone_and_its_stream_has_a_ticket() {
    let bridges = Bridges { twilio_token: Some("12345".to_owned()), ..open_to_all() };
    let mut desk = serve(bridges, Limits::default()).await;
    let (client, url) = (fakes::client(), format!("http://{}/phone/twilio", desk.address));
    let fields = [("CallSid", "CA1"), ("From", "+491"), ("To", "+49 2&<"), ("AnsweredBy", "human")];
    let body = "CallSid=CA1&From=%2B491&To=%2B49+2%26%3C&AnsweredBy=human";
    let ask = async |signature: &str| {
        let request = client.post(&url).header("content-type", "application/x-www-form-urlencoded").header("x-twilio-signature", signature);
        let answer = request.body(body).send().await.expect("an answer");
        (
            answer.status().as_u16(),
            answer.headers()["content-type"].to_str().unwrap_or_default().to_owned(),
            answer.text().await.expect("text"),
        )
    };
    let right = signature("12345", "https://voice.example.org/phone/twilio", &fields);
    let (status, kind, twiml) = ask(&right).await;
    assert_eq!((status, kind.as_str()), (200, "text/xml"), "{twiml}");
    assert!(twiml.contains("<Connect><Stream url=\"wss://voice.example.org/phone/twilio\">"), "{twiml}");
    assert!(twiml.contains("<Parameter name=\"caller\" value=\"+491\"/>") && twiml.contains("value=\"+49 2&amp;&lt;\""), "{twiml}");
    for wrong in [signature("other", "https://voice.example.org/phone/twilio", &fields), signature("12345", &url, &fields), String::new()] {
        assert_eq!(ask(&wrong).await.0, 403);
    }
    let (_, after) = twiml.split_once("name=\"ticket\" value=\"").expect("a ticket");
    let (ticket, _) = after.split_once('"').expect("its end");
    // The stream that shows the ticket of its call is taken, another one is not.
    for (caller, ticket, taken) in [("+491", ticket, true), ("+490", ticket, false), ("+491", "AAAA", false), ("+491", "", false)] {
        let mut line = desk.line(Carrier::Twilio).await;
        line.start(json!({ "caller": caller, "callee": "+49 2&<", "answered_by": "human", "ticket": ticket })).await;
        if taken {
            let call = desk.call().await;
            assert_eq!(call.config.metadata["caller"], "+491");
            assert_eq!(call.config.metadata["parameters"], json!({ "answered_by": "human" }));
        } else {
            assert_eq!(line.told().await, None);
        }
    }
}

#[tokio::test]
async fn other_carriers_show_a_token() {
    let token = "a token of sufficient length";
    let bridges =
        Bridges { carriers: vec![Carrier::Telnyx, Carrier::Vonage, Carrier::Signalwire], token: Some(token.to_owned()), ..open_to_all() };
    let mut desk = serve(bridges, Limits::default()).await;
    let escaped = "a%20token%20of%20sufficient%20length";
    for (path, accepted) in [
        (format!("/telnyx?token={escaped}"), true),
        (format!("/telnyx/{escaped}"), true),
        ("/telnyx".to_owned(), false),
        ("/telnyx?token=another".to_owned(), false),
        (format!("/plivo?token={escaped}"), false),
        (format!("/audiosocket?token={escaped}"), false),
    ] {
        let line = Line::open(Carrier::Telnyx, desk.address, &path).await;
        assert_eq!(line.is_ok(), accepted, "{path}");
    }
    let client = fakes::client();
    let address = desk.address;
    let get = async |path: &str| {
        let answer = client.get(format!("http://{address}/phone{path}")).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    assert_eq!(get("/vonage?from=491").await.0, 403);
    let (status, ncco) = get(&format!("/vonage?from=491&uuid=u1&token={escaped}")).await;
    assert_eq!(status, 200);
    let ncco: Value = serde_json::from_str(&ncco).expect("JSON");
    let endpoint = &ncco[0]["endpoint"][0];
    assert_eq!(endpoint["uri"], format!("wss://voice.example.org/phone/vonage?token={escaped}"));
    assert_eq!(endpoint["headers"], json!({ "caller": "491", "uuid": "u1" }));
    let (status, missing) = get("/nobody").await;
    assert!(status == 404 && missing.contains("telnyx, signalwire, vonage"), "{missing}");
    // SignalWire's stream has no query; its document has a ticket.
    let (_, cxml) = get(&format!("/signalwire?CallSid=CA1&token={escaped}")).await;
    assert!(!cxml.contains("sufficient"), "{cxml}");
    let (_, after) = cxml.split_once("name=\"ticket\" value=\"").expect("a ticket");
    let (ticket, _) = after.split_once('"').expect("its end");
    let mut line = desk.line(Carrier::Signalwire).await;
    line.start(json!({ "ticket": ticket })).await;
    desk.call().await;
}

#[tokio::test]
async fn calls_have_the_limits_of_all_calls() {
    let limits = Limits { sessions: 1, session: Duration::from_millis(300), ..Limits::default() };
    let mut desk = serve(open_to_all(), limits).await;
    let mut line = desk.line(Carrier::Jambonz).await;
    line.start(Value::Null).await;
    let mut call = desk.call().await;
    assert_eq!(Line::open(Carrier::Telnyx, desk.address, "/telnyx").await.err(), Some(429));
    let mut other = Line::open(Carrier::Audiosocket, desk.audiosocket, "").await.expect("a connection");
    assert_eq!(other.told().await, None);
    // The longest call is over: it is hung up.
    assert_eq!(line.told().await, Some(Told::HangUp));
    assert_eq!(line.told().await, None);
    assert_eq!(command(&mut call).await, None);
}
