//! Each carrier's documented messages, in and out; and anything else, which is refused and nothing worse.

use audio::Rate;
use audio::codec::Codec;
use audio::codec::g711::Law;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// What `carrier` says, message by message; a word for each thing heard: `began call/caller/callee/codec/parameters`, `sound 2`, `digit 1`,
/// `mark x`, `full`, `room`, `ended`, and `wrong` for what is refused.
fn check(carrier: Carrier, said: &[Packet], expected: &[&str]) {
    let mut wire = carrier.wire();
    let mut words = Vec::new();
    for packet in said {
        let mut heard = Vec::new();
        if wire.read(packet.clone(), &mut heard).is_err() {
            words.push("wrong".to_owned());
        }
        words.extend(heard.iter().map(word));
    }
    assert_eq!(words, expected, "{carrier:?}");
}

fn word(heard: &Heard) -> String {
    match heard {
        Heard::Began(start) => {
            let Start { call, caller, callee, codec, parameters } = &**start;
            let (caller, callee) = (caller.as_deref().unwrap_or("?"), callee.as_deref().unwrap_or("?"));
            let parameters: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let codec = format!("{}@{}", codec.name(), codec.rate().hz());
            [&["began", call, caller, callee, &codec][..], &parameters.iter().map(String::as_str).collect::<Vec<_>>()].concat().join(" ")
        }
        Heard::Sound(sound) => format!("sound {}", sound.len()),
        Heard::Digit(digit) => format!("digit {digit}"),
        Heard::Mark(name) => format!("mark {name}"),
        Heard::Full => "full".to_owned(),
        Heard::Room => "room".to_owned(),
        Heard::Ended => "ended".to_owned(),
    }
}

fn texts(messages: &[Value]) -> Vec<Packet> {
    messages.iter().map(|message| Packet::Text(message.to_string())).collect()
}

fn binary(bytes: &[u8]) -> Packet {
    Packet::Binary(Bytes::copy_from_slice(bytes))
}

/// What the carrier is told once the call began, JSON or line or bytes.
fn check_said(carrier: Carrier, began: &[Packet], said: Said<'_>, expected: Option<Packet>) {
    let mut wire = carrier.wire();
    for packet in began {
        wire.read(packet.clone(), &mut Vec::new()).expect("it begins");
    }
    let got = wire.write(said);
    let value = |packet: &Option<Packet>| match packet {
        Some(Packet::Text(text)) => serde_json::from_str(text).unwrap_or(Value::from(text.as_str())),
        Some(Packet::Binary(bytes)) => json!(bytes.to_vec()),
        None => Value::Null,
    };
    assert_eq!(value(&got), value(&expected), "{carrier:?} {said:?}");
}

fn told(message: &Value) -> Option<Packet> {
    Some(Packet::Text(message.to_string()))
}

fn twilio_start() -> Value {
    json!({ "event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": {
        "accountSid": "AC1", "streamSid": "MZ1", "callSid": "CA1", "tracks": ["inbound"],
        "customParameters": { "caller": "+491", "callee": "+492", "plan": "gold", "count": 3 },
        "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 } } })
}

#[test]
fn twilio() {
    let messages = texts(&[
        json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" }),
        twilio_start(),
        json!({ "event": "media", "sequenceNumber": "3", "streamSid": "MZ1", "media": { "track": "inbound", "chunk": "1", "timestamp": "5", "payload": "//8=" } }),
        json!({ "event": "media", "media": { "track": "outbound", "payload": "//8=" } }),
        json!({ "event": "dtmf", "streamSid": "MZ1", "sequenceNumber": "5", "dtmf": { "track": "inbound_track", "digit": "1" } }),
        json!({ "event": "dtmf", "dtmf": { "digit": "12" } }),
        json!({ "event": "mark", "sequenceNumber": "4", "streamSid": "MZ1", "mark": { "name": "x" } }),
        json!({ "event": "media", "media": { "payload": "//8" } }),
        json!({ "event": "media" }),
        json!({ "event": "novelty" }),
        json!([1]),
        json!({ "event": "stop", "sequenceNumber": "5", "streamSid": "MZ1", "stop": { "accountSid": "AC1", "callSid": "CA1" } }),
    ]);
    let began = "began CA1 +491 +492 PCMU@8000 count=3 plan=gold";
    check(Carrier::Twilio, &messages, &[began, "sound 2", "digit 1", "mark x", "wrong", "wrong", "wrong", "ended"]);
    check(Carrier::Twilio, &[binary(b"\0\0"), Packet::Text("{".to_owned())], &["wrong", "wrong"]);
    let start = texts(&[twilio_start()]);
    let media = json!({ "event": "media", "streamSid": "MZ1", "media": { "payload": "//8=" } });
    check_said(Carrier::Twilio, &start, Said::Sound(&[255, 255]), told(&media));
    check_said(Carrier::Twilio, &start, Said::Mark("x"), told(&json!({ "event": "mark", "streamSid": "MZ1", "mark": { "name": "x" } })));
    check_said(Carrier::Twilio, &start, Said::Clear, told(&json!({ "event": "clear", "streamSid": "MZ1" })));
    check_said(Carrier::Twilio, &start, Said::HangUp, None);
}

#[test]
fn signalwire_may_have_wide_sound() {
    let mut start = twilio_start();
    start["start"]["mediaFormat"] = json!({ "encoding": "audio/x-l16", "sampleRate": 16000 });
    check(Carrier::Signalwire, &texts(&[start.clone()]), &["began CA1 +491 +492 L16@16000 count=3 plan=gold"]);
    check_said(Carrier::Signalwire, &texts(&[start]), Said::Clear, told(&json!({ "event": "clear", "streamSid": "MZ1" })));
}

#[test]
fn telnyx() {
    let start = json!({ "event": "start", "sequence_number": "1", "stream_id": "s", "start": {
        "user_id": "u", "call_control_id": "v3:1", "call_session_id": "c", "from": "+491", "to": "+492", "client_state": "",
        "media_format": { "encoding": "PCMU", "sample_rate": 8000, "channels": 1 } } });
    let media = |chunk: &str, sound: &[u8]| json!({ "event": "media", "media": { "track": "inbound", "chunk": chunk, "timestamp": "5", "payload": message::encoded(sound) } });
    let messages = texts(&[
        json!({ "event": "connected", "version": "1.0.0" }),
        start.clone(),
        media("2", &[0; 2]),
        media("4", &[0; 4]),
        media("3", &[0; 3]),
        media("3", &[0; 3]),
        json!({ "event": "dtmf", "stream_id": "s", "occurred_at": "2026-01-01", "sequence_number": "5", "dtmf": { "digit": "#" } }),
        json!({ "event": "mark", "stream_id": "s", "mark": { "name": "x" } }),
        json!({ "event": "error", "payload": { "code": 100_002, "detail": "no" } }),
        json!({ "event": "stop", "sequence_number": "5", "stop": { "user_id": "u", "call_control_id": "v3:1" } }),
    ]);
    let expected = ["began v3:1 +491 +492 PCMU@8000", "sound 2", "sound 3", "sound 4", "digit #", "mark x", "wrong", "ended"];
    check(Carrier::Telnyx, &messages, &expected);
    let mut wide = start.clone();
    wide["start"]["media_format"] = json!({ "encoding": "L16", "sample_rate": 16000 });
    check(Carrier::Telnyx, &texts(&[wide]), &["wrong"]);
    let start = texts(&[start]);
    check_said(Carrier::Telnyx, &start, Said::Sound(&[255, 255]), told(&json!({ "event": "media", "media": { "payload": "//8=" } })));
    check_said(Carrier::Telnyx, &start, Said::Mark("x"), told(&json!({ "event": "mark", "mark": { "name": "x" } })));
    check_said(Carrier::Telnyx, &start, Said::Clear, told(&json!({ "event": "clear" })));
}

#[test]
fn plivo() {
    let start = json!({ "event": "start", "sequenceNumber": 1, "start": { "callId": "c", "streamId": "s", "accountId": "MA",
        "tracks": ["inbound"], "mediaFormat": { "encoding": "audio/x-l16", "sampleRate": 16000 } }, "extra_headers": "caller=491;plan=gold" });
    let messages = texts(&[
        start.clone(),
        json!({ "event": "media", "sequenceNumber": 2, "streamId": "s", "media": { "track": "inbound", "timestamp": "1", "chunk": 1, "payload": "AAA=" } }),
        json!({ "event": "dtmf", "streamId": "s", "dtmf": { "track": "inbound", "digit": "9", "timestamp": "1" } }),
        json!({ "event": "playedStream", "streamId": "s", "name": "x" }),
        json!({ "event": "clearedAudio", "streamId": "s" }),
    ]);
    check(Carrier::Plivo, &messages, &["began c 491 ? L16@16000 plan=gold", "sound 2", "digit 9", "mark x"]);
    let start = texts(&[start]);
    let media = json!({ "contentType": "audio/x-l16", "sampleRate": 16000, "payload": "AAA=" });
    check_said(Carrier::Plivo, &start, Said::Sound(&[0, 0]), told(&json!({ "event": "playAudio", "streamId": "s", "media": media })));
    check_said(Carrier::Plivo, &start, Said::Mark("x"), told(&json!({ "event": "checkpoint", "streamId": "s", "name": "x" })));
    check_said(Carrier::Plivo, &start, Said::Clear, told(&json!({ "event": "clearAudio", "streamId": "s" })));
}

#[test]
fn vonage() {
    let start =
        json!({ "event": "websocket:connected", "content-type": "audio/l16;rate=16000", "caller": "491", "uuid": "u", "plan": "gold" });
    let mut messages = texts(std::slice::from_ref(&start));
    messages.push(binary(&[0; 640]));
    messages.extend(texts(&[
        json!({ "event": "websocket:dtmf", "digit": "5", "duration": 260 }),
        json!({ "event": "websocket:cleared" }),
        json!({ "event": "websocket:notify", "payload": { "mark": "x" } }),
        json!({ "event": "websocket:notify", "payload": {} }),
    ]));
    check(Carrier::Vonage, &messages, &["began u 491 ? L16@16000 plan=gold", "sound 640", "digit 5", "mark x"]);
    let start = texts(&[start]);
    check_said(Carrier::Vonage, &start, Said::Sound(&[1, 2]), Some(binary(&[1, 2])));
    check_said(Carrier::Vonage, &start, Said::Mark("x"), told(&json!({ "action": "notify", "payload": { "mark": "x" } })));
    check_said(Carrier::Vonage, &start, Said::Clear, told(&json!({ "action": "clear" })));
}

#[test]
fn exotel() {
    let start = json!({ "event": "start", "sequence_number": 1, "stream_sid": "s", "start": { "stream_sid": "s", "call_sid": "c",
        "account_sid": "a", "from": "0491", "to": "0492", "custom_parameters": { "plan": "gold" },
        "media_format": { "encoding": "base64", "sample_rate": "8000", "bit_rate": "128kbps" } } });
    let messages = texts(&[
        json!({ "event": "connected" }),
        start.clone(),
        json!({ "event": "media", "sequence_number": 2, "stream_sid": "s", "media": { "chunk": 1, "timestamp": "10", "payload": "AAA=" } }),
        json!({ "event": "dtmf", "sequence_number": 3, "stream_sid": "s", "dtmf": { "duration": "100", "digit": "*" } }),
        json!({ "event": "mark", "sequence_number": 4, "stream_sid": "s", "mark": { "name": "x" } }),
        json!({ "event": "stop", "sequence_number": 5, "stream_sid": "s", "stop": { "call_sid": "c", "account_sid": "a", "reason": "callended" } }),
    ]);
    check(Carrier::Exotel, &messages, &["began c 0491 0492 L16@8000 plan=gold", "sound 2", "digit *", "mark x", "ended"]);
    let start = texts(&[start]);
    let media = json!({ "event": "media", "stream_sid": "s", "media": { "payload": "AAA=" } });
    check_said(Carrier::Exotel, &start, Said::Sound(&[0, 0]), told(&media));
    check_said(Carrier::Exotel, &start, Said::Mark("x"), told(&json!({ "event": "mark", "stream_sid": "s", "mark": { "name": "x" } })));
    check_said(Carrier::Exotel, &start, Said::Clear, told(&json!({ "event": "clear", "stream_sid": "s" })));
}

#[test]
fn jambonz() {
    let start =
        json!({ "callSid": "c", "from": "491", "to": "492", "sampleRate": 16000, "mixType": "mono", "metadata": { "plan": "gold" } });
    let mut messages = texts(std::slice::from_ref(&start));
    messages.push(binary(&[0; 640]));
    messages.extend(texts(&[
        json!({ "event": "dtmf", "dtmf": "2", "duration": "1600" }),
        json!({ "type": "mark", "data": { "name": "x", "event": "playout" } }),
    ]));
    check(Carrier::Jambonz, &messages, &["began c 491 492 L16@16000 plan=gold", "sound 640", "digit 2", "mark x"]);
    check(Carrier::Jambonz, &texts(&[json!({ "callSid": "c", "sampleRate": 8000, "mixType": "stereo" })]), &["wrong"]);
    let start = texts(&[start]);
    check_said(Carrier::Jambonz, &start, Said::Sound(&[1, 2]), Some(binary(&[1, 2])));
    check_said(Carrier::Jambonz, &start, Said::Mark("x"), told(&json!({ "type": "mark", "data": { "name": "x" } })));
    check_said(Carrier::Jambonz, &start, Said::Clear, told(&json!({ "type": "killAudio" })));
    check_said(Carrier::Jambonz, &start, Said::HangUp, told(&json!({ "type": "disconnect" })));
}

#[test]
fn asterisk_in_json_and_in_plain_text() {
    let start = json!({ "event": "MEDIA_START", "connection_id": "m1", "channel": "WebSocket/m1/0x5", "channel_id": "1761.1",
        "format": "slin16", "optimal_frame_size": 640, "ptime": 20, "channel_variables": { "caller": "491", "PLAN": "gold" } });
    let mut messages = texts(std::slice::from_ref(&start));
    messages.push(binary(&[0; 640]));
    messages.extend(texts(&[
        json!({ "event": "DTMF_END", "channel_id": "1761.1", "digit": "7" }),
        json!({ "event": "MEDIA_XOFF" }),
        json!({ "event": "MEDIA_XON" }),
        json!({ "event": "MEDIA_MARK_PROCESSED", "correlation_id": "x" }),
        json!({ "event": "QUEUE_DRAINED" }),
        json!({ "event": "ERROR", "error_text": "no" }),
    ]));
    let expected = ["began 1761.1 491 ? L16@16000 PLAN=gold", "sound 640", "digit 7", "full", "room", "mark x", "wrong"];
    check(Carrier::Asterisk, &messages, &expected);
    let plain: Vec<Packet> = [
        "MEDIA_START connection_id:m1 channel:WebSocket/m1 channel_id:pbx-1.9 format:ulaw optimal_frame_size:160 ptime:20",
        "DTMF_END digit:7",
        "MEDIA_MARK_PROCESSED correlation_id:x",
        "MEDIA_MARK_PROCESSED y",
        "",
    ]
    .map(|line| Packet::Text(line.to_owned()))
    .into();
    check(Carrier::Asterisk, &plain, &["began pbx-1.9 ? ? PCMU@8000", "digit 7", "mark x", "mark y", "wrong"]);
    let start = texts(&[start]);
    for (said, command, id) in [
        (Said::Mark("x"), "MARK_MEDIA", Some("x")),
        (Said::Clear, "FLUSH_MEDIA", None),
        (Said::Pause, "PAUSE_MEDIA", None),
        (Said::Resume, "CONTINUE_MEDIA", None),
        (Said::HangUp, "HANGUP", None),
    ] {
        let line = id.map_or(command.to_owned(), |id| format!("{command} {id}"));
        check_said(Carrier::Asterisk, &plain[..1], said, Some(Packet::Text(line)));
        let object = id.map_or_else(|| json!({ "command": command }), |id| json!({ "command": command, "correlation_id": id }));
        check_said(Carrier::Asterisk, &start, said, told(&object));
    }
    check_said(Carrier::Asterisk, &start, Said::Sound(&[1, 2]), Some(binary(&[1, 2])));
}

#[test]
fn audiosocket() {
    let id = [&[1, 0, 16][..], &[0xAB; 16]].concat();
    let frames = [
        binary(&[0x10, 0, 2, 9, 9]),
        binary(&id),
        binary(&[0x12, 0, 2, 9, 9]),
        binary(&[3, 0, 1, b'5']),
        binary(&[0x10, 0, 2, 9, 9]),
        binary(&[0x15, 0, 0]),
        binary(&[0xFF, 0, 1, 2]),
        binary(&[1, 0]),
        binary(&[0, 0, 0]),
    ];
    let began = "began abababab-abab-abab-abab-abababababab ? ? L16@16000";
    check(Carrier::Audiosocket, &frames, &["wrong", began, "sound 2", "digit 5", "wrong", "wrong", "wrong", "wrong", "ended"]);
    check_said(Carrier::Audiosocket, &frames[1..3], Said::Sound(&[1, 2]), Some(binary(&[0x12, 0, 2, 1, 2])));
    check_said(Carrier::Audiosocket, &frames[1..3], Said::HangUp, Some(binary(&[0, 0, 0])));
    check_said(Carrier::Audiosocket, &frames[1..3], Said::Clear, None);
}

#[test]
fn documents_connect_a_call_and_are_escaped() {
    let parameters = [("caller", "+49 \"<1>\"&")];
    for carrier in Carrier::ALL {
        let document = carrier.document("wss://host/phone/x?token=a&b=c", &parameters);
        let Some(Document { kind, text }) = document else {
            assert!(matches!(carrier, Carrier::Asterisk | Carrier::Audiosocket));
            continue;
        };
        match kind {
            "text/xml" => {
                assert!(text.contains("wss://host/phone/x?token=a&amp;b=c"), "{text}");
                assert!(!text.contains("\"<1>") && !text.contains("&b"), "{text}");
            }
            _ => {
                let value: Value = serde_json::from_str(&text).expect("it is JSON");
                assert!(value.to_string().contains("wss://host/phone/x?token=a&b=c"), "{text}");
            }
        }
    }
    let twiml = Carrier::Twilio.document("wss://h/p", &[("caller", "+491")]).expect("it has one").text;
    assert!(twiml.ends_with(
        "<Response><Connect><Stream url=\"wss://h/p\"><Parameter name=\"caller\" value=\"+491\"/></Stream></Connect></Response>"
    ));
}

#[test]
fn codecs_have_many_names() {
    let pcm = |hz| Rate::new(hz).map(Codec::Pcm16);
    for (name, hz, expected) in [
        ("audio/x-mulaw", 8_000, Some(Codec::G711(Law::Mu))),
        ("ulaw", 8_000, Some(Codec::G711(Law::Mu))),
        ("PCMA", 8_000, Some(Codec::G711(Law::A))),
        ("audio/x-l16", 16_000, pcm(16_000)),
        ("slin", 8_000, pcm(8_000)),
        ("raw/slin", 24_000, pcm(24_000)),
        ("PCMU", 16_000, None),
        ("L16", 11_025, None),
        ("opus", 48_000, None),
    ] {
        assert_eq!(codec(name, hz).ok(), expected, "{name} at {hz}");
    }
}

const NAMES: &[&str] = &[
    "event",
    "start",
    "media",
    "payload",
    "chunk",
    "track",
    "dtmf",
    "digit",
    "mark",
    "name",
    "stop",
    "streamSid",
    "stream_sid",
    "callSid",
    "call_control_id",
    "mediaFormat",
    "media_format",
    "encoding",
    "sampleRate",
    "PCMU",
    "audio/x-mulaw",
    "websocket:connected",
    "AAA=",
    "content-type",
    "audio/l16;rate=16000",
    "MEDIA_START",
    "format",
    "slin16",
    "type",
    "data",
    "1",
    "8000",
];

proptest! {
    #[test]
    fn anything_is_read_or_refused(
        messages in prop::collection::vec(crate::wire::arbitrary::value(NAMES), 0..6),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        for carrier in Carrier::ALL {
            let mut wire = carrier.wire();
            let mut heard = Vec::new();
            for message in &messages {
                let _ = wire.read(Packet::Text(message.to_string()), &mut heard);
            }
            let _ = wire.read(Packet::Text(String::from_utf8_lossy(&bytes).into_owned()), &mut heard);
            let _ = wire.read(Packet::Binary(bytes.clone().into()), &mut heard);
            let _ = (wire.write(Said::Sound(&bytes)), wire.write(Said::Mark("m")), wire.write(Said::Clear));
        }
    }

    #[test]
    fn frames_survive_any_cut(sizes in prop::collection::vec(0_usize..400, 0..6), cuts in prop::collection::vec(1_usize..50, 1..100)) {
        let frames: Vec<Vec<u8>> = sizes.iter().map(|size| [&[0x10, (size >> 8) as u8, *size as u8][..], &vec![7; *size]].concat()).collect();
        let bytes = frames.concat();
        let (mut framing, mut out, mut at) = (Framing::default(), Vec::new(), 0);
        for cut in cuts.iter().cycle() {
            let end = (at + cut).min(bytes.len());
            framing.buffer().extend_from_slice(&bytes[at..end]);
            while let Some(Packet::Binary(frame)) = framing.frame() {
                out.push(frame.to_vec());
            }
            at = end;
            if at == bytes.len() {
                break;
            }
        }
        prop_assert_eq!(out, frames);
    }
}
