//! Events as clients send and expect them.

use std::time::Duration;

use audio::codec::g711::Law;
use audio::{Codec, Rate};
use bytes::Bytes;
use models::{Measured, Role, SignalKind, SignalSet, Signals, Usage};
use proptest::prelude::*;
use router::Decision;
use router::limit::{Standing, Standings};
use serde_json::{Value, json};

use super::{Asked, Dialect, Playing, Realtime};
use crate::call::{
    AfterTurn, CallError, Command, Content, Eagerness, EchoCancellation, Ending, Event, Filler, InputItem, Item, ItemContent, MOST_TOKENS,
    Place, Request, Response, Routed, Segments, SessionConfig, Status, Toolset, Truncation, TurnDetection,
};

mod mcp;

const THEN: AfterTurn = AfterTurn { respond: true, interrupt: true };

fn defaults() -> SessionConfig {
    SessionConfig {
        model: "timbre/default".to_owned(),
        instructions: "Be kind.".to_owned(),
        transcripts: false,
        turns: TurnDetection::Silence { threshold: 0.5, padding_ms: 300, silence_ms: 500, then: THEN },
        voice: Some(models::Voice::new("heart")),
        ..SessionConfig::default()
    }
}

fn realtime() -> Realtime {
    Realtime::new("sess_7", "m", defaults())
}

fn receive(event: Value) -> Result<Command, CallError> {
    realtime().receive(&event.to_string()).map(|request| request.command)
}

fn update(session: Value) -> SessionConfig {
    match receive(json!({ "type": "session.update", "session": session })) {
        Ok(Command::Update(config)) => *config,
        other => panic!("{session}: {other:?}"),
    }
}

#[test]
fn beside_media_sound_is_no_event() {
    for (event, expected) in [
        (json!({ "type": "output_audio_buffer.clear", "event_id": "e" }), Ok(Asked::Silence)),
        (json!({ "type": "input_audio_buffer.append", "audio": "AAAA", "event_id": "e" }), Err("invalid_event_for_transport")),
        (json!({ "type": "input_audio_buffer.append" }), Err("invalid_event_for_transport")),
        (json!({ "type": "input_audio_buffer.commit" }), Ok(Asked::Session(Request { event_id: None, command: Command::Commit }))),
        (json!({ "type": "nonsense" }), Err("unknown_event")),
        (json!(7), Err("invalid_event")),
    ] {
        let asked = realtime().receive_beside_media(&event.to_string());
        assert_eq!(asked.as_ref().map_err(|error| error.code), expected.as_ref().map_err(|code| *code), "{event}");
    }
}

#[test]
fn what_plays_is_told() {
    for (playing, kind) in [(Playing::Started, "started"), (Playing::Stopped, "stopped"), (Playing::Cleared, "cleared")] {
        let told: Value = serde_json::from_str(&realtime().playing(playing, "resp_1")).expect("JSON");
        assert_eq!((&told["type"], &told["response_id"]), (&json!(format!("output_audio_buffer.{kind}")), &json!("resp_1")));
        assert!(told["event_id"].is_string());
    }
}

#[test]
fn a_session_given_with_the_call_is_in_force_at_once() {
    let mut realtime = realtime();
    realtime.configure(json!({ "type": "realtime", "model": "n", "audio": { "output": { "voice": "marin" } } })).expect("it is fine");
    assert_eq!(realtime.config().model, "n");
    let wrong = realtime.configure(json!({ "instructions": 3 })).expect_err("a number is no text");
    assert_eq!(wrong.param.as_deref(), Some("session.instructions"));
    let created: Value = serde_json::from_str(&realtime.created()).expect("JSON");
    assert_eq!(created["session"]["audio"]["output"]["voice"], "marin");
}

#[test]
fn an_update_changes_what_it_names() {
    let before = SessionConfig { model: "m".to_owned(), ..defaults() };
    let base = || before.clone();
    let input = |input: Value| json!({ "type": "realtime", "audio": { "input": input } });
    for (session, after) in [
        (json!({ "type": "realtime" }), base()),
        (json!({ "model": "gpt-realtime", "tracing": null }), SessionConfig { model: "gpt-realtime".to_owned(), ..base() }),
        (json!({ "output_modalities": ["text"] }), SessionConfig { spoken: false, ..base() }),
        (json!({ "modalities": ["text", "audio"] }), base()),
        (json!({ "max_output_tokens": 7, "tracing": "auto" }), SessionConfig { max_tokens: Some(7), ..base() }),
        (json!({ "max_output_tokens": "inf", "truncation": "auto", "include": [] }), base()),
        (input(json!({ "format": { "type": "audio/pcmu" } })), SessionConfig { input: Codec::G711(Law::Mu), ..base() }),
        (json!({ "input_audio_format": "g711_alaw" }), SessionConfig { input: Codec::G711(Law::A), ..base() }),
        (input(json!({ "format": { "type": "audio/pcm", "rate": 16000 } })), SessionConfig { input: Codec::Pcm16(Rate::MODEL), ..base() }),
        (input(json!({ "turn_detection": null })), SessionConfig { turns: TurnDetection::Manual, ..base() }),
        (json!({ "turn_detection": null }), SessionConfig { turns: TurnDetection::Manual, ..base() }),
        (
            input(json!({ "turn_detection": { "type": "semantic_vad", "eagerness": "auto", "interrupt_response": false } })),
            SessionConfig {
                turns: TurnDetection::Semantic { eagerness: Eagerness::Medium, then: AfterTurn { interrupt: false, ..THEN } },
                ..base()
            },
        ),
        (
            input(json!({ "turn_detection": { "type": "server_vad", "silence_duration_ms": 200 } })),
            SessionConfig { turns: TurnDetection::Silence { threshold: 0.5, padding_ms: 300, silence_ms: 200, then: THEN }, ..base() },
        ),
        (
            input(
                json!({ "transcription": { "model": "whisper-1", "language": "de", "prompt": "Ada", "keywords": ["Timbre"], "delay": "high" } }),
            ),
            SessionConfig {
                transcripts: true,
                language: models::Language::new("de"),
                prompt: Some("Ada".to_owned()),
                keywords: vec!["Timbre".to_owned()],
                thorough: true,
                ..base()
            },
        ),
        (
            input(json!({ "transcription": { "languages": ["en", "hi"] } })),
            SessionConfig { languages: ["en", "hi"].into_iter().filter_map(models::Language::new).collect(), transcripts: true, ..base() },
        ),
        (
            input(json!({ "transcription": { "languages": ["hi"] } })),
            SessionConfig { language: models::Language::new("hi"), transcripts: true, ..base() },
        ),
        (input(json!({ "noise_reduction": { "type": "near_field" } })), SessionConfig { noise_reduction: true, ..base() }),
        (
            json!({ "audio": { "output": { "voice": { "id": "nova" } } } }),
            SessionConfig { voice: Some(models::Voice::new("nova")), ..base() },
        ),
        (
            json!({ "tool_choice": { "type": "function", "name": "f" } }),
            SessionConfig { tool_choice: Some(json!({ "type": "function", "function": { "name": "f" } })), ..base() },
        ),
        (
            json!({ "providerData": { "user_id": "u", "metadata": { "tier": "premium" } } }),
            SessionConfig {
                user: Some("u".to_owned()),
                metadata: serde_json::Map::from_iter([("tier".to_owned(), json!("premium"))]),
                ..base()
            },
        ),
    ] {
        assert_eq!(update(session.clone()), after, "{session}");
    }
}

#[test]
fn a_wrong_update_names_its_field_and_changes_nothing() {
    for (session, param) in [
        (json!({ "type": "transcription" }), "session.type"),
        (json!({ "instructions": 5 }), "session.instructions"),
        (json!({ "instructions": "new", "speling": 5 }), "session.speling"),
        (json!({ "output_modalities": [] }), "session.output_modalities"),
        (json!({ "audio": [] }), "session.audio"),
        (json!({ "audio": { "input": { "format": { "type": "audio/pcm", "rate": 12345 } } } }), "session.audio.input.format.rate"),
        (json!({ "audio": { "input": { "format": { "type": "audio/mp3" } } } }), "session.audio.input.format.type"),
        (json!({ "audio": { "input": { "turn_detection": { "type": "magic" } } } }), "session.audio.input.turn_detection.type"),
        (
            json!({ "audio": { "input": { "turn_detection": { "type": "server_vad", "threshold": 2 } } } }),
            "session.audio.input.turn_detection.threshold",
        ),
        (json!({ "audio": { "output": { "speed": 9 } } }), "session.audio.output.speed"),
        (json!({ "tools": [{ "type": "mcp" }] }), "session.tools[0].server_label"),
        (json!({ "tools": [{ "type": "function" }] }), "session.tools[0].name"),
        (json!({ "tool_choice": "perhaps" }), "session.tool_choice"),
        (json!({ "max_output_tokens": 0 }), "session.max_output_tokens"),
        (json!({ "prompt": { "id": "pmpt_1" } }), "session.prompt"),
        (json!(5), "session"),
    ] {
        let mut realtime = realtime();
        let event = json!({ "type": "session.update", "event_id": "mine", "session": session });
        let error = realtime.receive(&event.to_string()).expect_err("it is wrong");
        assert_eq!((error.param.as_deref(), error.event_id.as_deref()), (Some(param), Some("mine")), "{}", error.message);
        assert!(error.message.contains(param), "{}", error.message);
        assert_eq!(realtime.config(), &SessionConfig { model: "m".to_owned(), ..defaults() });
    }
}

#[test]
fn events_become_commands() {
    let item = |content| Item { id: String::new(), content, status: Status::Completed };
    let said = |part| item(ItemContent::Message { role: Role::User, parts: vec![part] });
    let create = |item: Value| json!({ "type": "conversation.item.create", "previous_item_id": "root", "item": item });
    let created = |item| Command::Create { after: Some("root".to_owned()), item };
    let user = |part: Value| create(json!({ "type": "message", "role": "user", "content": [part] }));
    for (event, command) in [
        (json!({ "type": "input_audio_buffer.append", "audio": "AAE=" }), Command::Append(Bytes::from_static(&[0, 1]))),
        (json!({ "type": "input_audio_buffer.append", "audio": "AAE" }), Command::Append(Bytes::from_static(&[0, 1]))),
        (json!({ "type": "input_audio_buffer.commit" }), Command::Commit),
        (json!({ "type": "input_audio_buffer.clear" }), Command::Clear),
        (json!({ "type": "response.cancel", "response_id": null }), Command::Cancel(None)),
        (json!({ "type": "response.create" }), Command::Respond(Box::default())),
        (json!({ "type": "conversation.item.retrieve", "item_id": "a" }), Command::Retrieve("a".to_owned())),
        (json!({ "type": "conversation.item.delete", "item_id": "a" }), Command::Delete("a".to_owned())),
        (
            json!({ "type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": 1500 }),
            Command::Truncate { item: "a".to_owned(), content_index: 0, audio_end_ms: 1500 },
        ),
        (user(json!({ "type": "input_text", "text": "hi" })), created(said(Content::Text("hi".to_owned())))),
        (
            user(json!({ "type": "input_audio", "audio": "AAE=" })),
            created(said(Content::Audio { transcript: None, pcm: Some(Bytes::from_static(&[0, 1])) })),
        ),
        (
            create(json!({ "type": "function_call_output", "call_id": "c", "output": "42" })),
            created(item(ItemContent::FunctionCallOutput { call_id: "c".to_owned(), output: "42".to_owned() })),
        ),
    ] {
        assert_eq!(receive(event.clone()), Ok(command), "{event}");
    }
    let aside =
        json!({ "conversation": "none", "output_modalities": ["text"], "tools": [], "input": [{ "type": "item_reference", "id": "a" }] });
    let Ok(Command::Respond(config)) = receive(json!({ "type": "response.create", "response": aside })) else { panic!("it is right") };
    assert_eq!(
        (config.aside, config.spoken, config.tools, config.input),
        (true, Some(false), Some(Toolset::default()), Some(vec![InputItem::Reference("a".to_owned())]))
    );
}

#[test]
fn what_is_no_event_is_explained() {
    for (text, code, param) in [
        ("", "invalid_json", None),
        ("[]", "invalid_event", None),
        ("{}", "missing_required_parameter", Some("type")),
        (r#"{"type":"sing"}"#, "unknown_event", Some("type")),
        (r#"{"type":"output_audio_buffer.clear"}"#, "invalid_event_for_transport", Some("type")),
        (r#"{"type":"input_audio_buffer.append"}"#, "missing_required_parameter", Some("audio")),
        (r#"{"type":"input_audio_buffer.append","audio":5}"#, "invalid_value", Some("audio")),
        // One bit off: outside the alphabet, or bits set that stand for nothing.
        (r#"{"type":"input_audio_buffer.append","audio":"AAE-"}"#, "invalid_value", Some("audio")),
        (r#"{"type":"input_audio_buffer.append","audio":"AAF="}"#, "invalid_value", Some("audio")),
        (r#"{"type":"input_audio_buffer.append","audio":"AAE=A"}"#, "invalid_value", Some("audio")),
        (r#"{"type":"conversation.item.delete"}"#, "missing_required_parameter", Some("item_id")),
        (r#"{"type":"conversation.item.create","item":{"type":"mcp_call"}}"#, "unsupported_item", Some("item.type")),
        (r#"{"type":"response.create","response":{"conversation":"x"}}"#, "invalid_value", Some("response.conversation")),
    ] {
        let error = realtime().receive(text).expect_err(text);
        assert_eq!((error.code, error.param.as_deref()), (code, param), "{text}: {}", error.message);
    }
    let large = json!({ "type": "input_audio_buffer.append", "audio": "A".repeat(21 << 20) });
    assert_eq!(receive(large).map_err(|error| error.param), Err(Some("audio".to_owned())));
}

fn place() -> Place {
    Place { response: "resp_1".to_owned(), item: "item_1".to_owned(), output_index: 0 }
}

fn response() -> Response {
    let decision =
        Decision { route: "direct".to_owned(), reason: "named".to_owned(), targets: vec!["a/b".to_owned()], ..Decision::default() };
    Response {
        id: "resp_1".to_owned(),
        ending: Some(Ending::Interrupted),
        output: vec![Item {
            id: "item_1".to_owned(),
            content: ItemContent::Message {
                role: Role::Assistant,
                parts: vec![Content::Audio { transcript: Some("Hi".to_owned()), pcm: None }],
            },
            status: Status::Incomplete,
        }],
        spoken: true,
        aside: false,
        max_tokens: None,
        voice: "heart".to_owned(),
        usage: Some(Usage { input_tokens: 5, cached_tokens: 1, output_tokens: 2, ..Usage::default() }),
        metadata: None,
        routed: Some(Routed { decision, attempts: Vec::new() }),
    }
}

#[test]
fn events_are_told_by_their_ga_names() {
    let item = "item_1".to_owned();
    let signals = Signals { pace: Some(Measured::new(4.0, 1.0, "prosody")), ..Signals::default() };
    let pace = r#"{"pace":{"value":4.0,"confidence":1.0,"source":"prosody"}}"#;
    let at = r#""response_id":"resp_1","item_id":"item_1","output_index":0,"content_index":0"#;
    let mut realtime = realtime();
    let mut told = 0;
    for (event, goldens) in [
        (Event::Cleared, vec![("input_audio_buffer.cleared", String::new())]),
        (
            Event::SpeechStarted { at_ms: 20, item: item.clone() },
            vec![("input_audio_buffer.speech_started", r#","audio_start_ms":20,"item_id":"item_1""#.to_owned())],
        ),
        (
            Event::Committed { after: None, item: item.clone() },
            vec![("input_audio_buffer.committed", r#","previous_item_id":null,"item_id":"item_1""#.to_owned())],
        ),
        (
            Event::Signals { item: item.clone(), signals: Box::new(signals) },
            vec![("timbre.signals", format!(r#","item_id":"item_1","signals":{pace}"#))],
        ),
        (
            Event::TranscriptDone { item: item.clone(), text: "Hi".to_owned(), language: Some("en".to_owned()), seconds: 0.5 },
            vec![(
                "conversation.item.input_audio_transcription.completed",
                format!(
                    r#","item_id":"item_1","content_index":0,"transcript":"Hi","usage":{{"type":"duration","seconds":0.5}},"languages":[{{"code":"en"}}],"signals":{pace}"#
                ),
            )],
        ),
        (
            Event::AudioDelta { place: place(), audio: Bytes::from_static(&[0, 1]) },
            vec![("response.output_audio.delta", format!(r#",{at},"delta":"AAE=""#))],
        ),
        (
            Event::PartDone { place: place(), spoken: true, text: "Hi".to_owned() },
            vec![
                ("response.output_audio.done", format!(",{at}")),
                ("response.output_audio_transcript.done", format!(r#",{at},"transcript":"Hi""#)),
                ("response.content_part.done", format!(r#",{at},"part":{{"type":"audio","transcript":"Hi"}}"#)),
            ],
        ),
        (
            Event::ResponseDone(Box::new(response())),
            vec![(
                "response.done",
                concat!(
                    r#","response":{"object":"realtime.response","id":"resp_1","status":"cancelled","#,
                    r#""status_details":{"type":"cancelled","reason":"turn_detected"},"output":[{"id":"item_1","type":"message","#,
                    r#""status":"incomplete","role":"assistant","content":[{"type":"output_audio","transcript":"Hi"}]}],"#,
                    r#""conversation_id":"conv_7","output_modalities":["audio"],"max_output_tokens":"inf","#,
                    r#""audio":{"output":{"format":{"type":"audio/pcm","rate":24000},"voice":"heart"}},"#,
                    r#""usage":{"total_tokens":7,"input_tokens":5,"output_tokens":2,"input_token_details":{"text_tokens":5,"#,
                    r#""audio_tokens":0,"image_tokens":0,"cached_tokens":1,"cached_tokens_details":{"text_tokens":1,"#,
                    r#""audio_tokens":0,"image_tokens":0}},"output_token_details":{"text_tokens":2,"audio_tokens":0}},"metadata":null,"#,
                    r#""timbre":{"router":null,"route":"direct","variant":null,"reason":"named","targets":["a/b"],"attempts":[]}}"#,
                )
                .to_owned(),
            )],
        ),
    ] {
        let goldens: Vec<_> = goldens
            .into_iter()
            .map(|(kind, fields)| {
                told += 1;
                format!(r#"{{"type":"{kind}","event_id":"event_7_{told}"{fields}}}"#)
            })
            .collect();
        assert_eq!(realtime.send(&event), goldens);
    }
}

proptest! {
    #[test]
    fn nothing_that_comes_panics(text in ".{0,200}") {
        let _ = realtime().receive(&text);
    }

    #[test]
    fn no_value_anywhere_panics(field in "[a-z_.]{0,12}", value in any::<u16>(), text in ".{0,20}", which in 0usize..6) {
        let values = [json!(null), json!(value), json!(-1.5), json!(text), json!([value, text]), json!({ field.as_str(): text })];
        let value = &values[which];
        for event in [
            json!({ "type": "session.update", "session": { "audio": value, "tools": value, "turn_detection": value } }),
            json!({ "type": "session.update", "session": { "audio": { "input": value, "output": value } } }),
            json!({ "type": "session.update", "session": { "audio": { "input": { "transcription": value, "format": value } } } }),
            json!({ "type": "conversation.item.create", "item": { "type": "message", "role": "user", "content": value } }),
            json!({ "type": "response.create", "response": { "input": value, "metadata": value, field.as_str(): value } }),
        ] {
            let mut realtime = realtime();
            let _ = realtime.receive(&event.to_string());
            realtime.created();
        }
    }
}

/// What a client of the beta dialect is told of an event.
fn beta_told(event: &Event) -> Vec<Value> {
    let mut realtime = realtime().speaking(Dialect::Beta);
    realtime.send(event).iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
}

#[test]
fn the_beta_dialect_has_its_own_names() {
    let place = || Place { response: "resp_1".to_owned(), item: "item_1".to_owned(), output_index: 0 };
    let part = Content::Audio { transcript: Some("Hi.".to_owned()), pcm: None };
    let content = ItemContent::Message { role: Role::Assistant, parts: vec![part] };
    let item = Item { id: "item_1".to_owned(), content, status: Status::Completed };
    for (event, kinds) in [
        (Event::ItemAdded { after: None, item: item.clone() }, &["conversation.item.created"][..]),
        (Event::ItemDone { after: None, item: item.clone() }, &[]),
        (Event::AudioDelta { place: place(), audio: Bytes::from_static(&[0, 1]) }, &["response.audio.delta"]),
        (Event::TextDelta { place: place(), spoken: true, delta: "a".to_owned() }, &["response.audio_transcript.delta"]),
        (Event::TextDelta { place: place(), spoken: false, delta: "a".to_owned() }, &["response.text.delta"]),
        (
            Event::PartDone { place: place(), spoken: true, text: "a".to_owned() },
            &["response.audio.done", "response.audio_transcript.done", "response.content_part.done"],
        ),
        (Event::PartDone { place: place(), spoken: false, text: "a".to_owned() }, &["response.text.done", "response.content_part.done"]),
        (Event::Updated, &["session.updated"]),
        (Event::Cleared, &["input_audio_buffer.cleared"]),
    ] {
        let told: Vec<_> = beta_told(&event).into_iter().map(|told| told["type"].clone()).collect();
        assert_eq!(told, kinds, "{event:?}");
    }
    let added = &beta_told(&Event::ItemAdded { after: None, item: item.clone() })[0];
    assert_eq!(added["item"]["content"], json!([{ "type": "audio", "transcript": "Hi." }]));
    let delta = &beta_told(&Event::AudioDelta { place: place(), audio: Bytes::from_static(&[0, 1]) })[0];
    assert_eq!(delta["delta"], "AAE=");
}

#[test]
fn a_beta_session_is_flat() {
    let mut realtime = realtime().speaking(Dialect::Beta);
    let session = json!({
        "modalities": ["text"], "voice": "marin", "output_audio_format": "g711_alaw", "max_response_output_tokens": 7,
        "input_audio_transcription": { "model": "whisper-1" }, "turn_detection": null,
    });
    realtime.receive(&json!({ "type": "session.update", "session": session }).to_string()).expect("it is fine");
    let told: Value = serde_json::from_str(&realtime.send(&Event::Updated)[0]).expect("JSON");
    for (name, value) in session.as_object().expect("an object") {
        assert_eq!(&told["session"][name], value, "{name}");
    }
    assert!(told["session"].get("audio").is_none() && told["session"]["temperature"] == 0.8);
    assert_eq!(told["session"]["input_audio_format"], "pcm16");
}

#[test]
fn what_becomes_of_long_and_of_silent_conversations_is_the_clients_wish() {
    let auto = defaults().truncation;
    for (wish, expected) in [
        (json!("auto"), auto),
        (json!(null), auto),
        (json!("disabled"), Truncation::Disabled),
        (json!({ "type": "retention_ratio", "retention_ratio": 0.5 }), Truncation::Retain { ratio: 0.5, most: MOST_TOKENS }),
        (
            json!({ "type": "retention_ratio", "retention_ratio": 0.5, "token_limits": { "post_instructions": 900 } }),
            Truncation::Retain { ratio: 0.5, most: 900 },
        ),
    ] {
        assert_eq!(update(json!({ "truncation": wish })).truncation, expected, "{wish}");
    }
    let wrong =
        receive(json!({ "type": "session.update", "session": { "truncation": { "type": "retention_ratio", "retention_ratio": 2 } } }));
    assert_eq!(wrong.expect_err("it is no part").param.as_deref(), Some("session.truncation.retention_ratio"));
    let turns = |turns: Value| update(json!({ "audio": { "input": { "turn_detection": turns } } })).idle_timeout;
    assert_eq!(turns(json!({ "type": "server_vad", "idle_timeout_ms": 6_000 })), Some(Duration::from_secs(6)));
    for none in [json!({ "type": "server_vad" }), json!({ "type": "semantic_vad" }), json!(null)] {
        assert_eq!(turns(none), None);
    }
}

#[test]
fn inworlds_wishes_are_taken() {
    let config = update(json!({ "providerData": {
        "stt": { "prompt": "Timbre", "language_hints": ["de"], "vad_threshold": 0.25, "min_end_of_turn_silence": 700, "voice_profile": true },
        "tts": { "segmenter_strategy": "full_turn", "delivery_mode": "CREATIVE", "language": "de" },
        "responsiveness": { "enabled": true, "initial_wait_timeout_ms": 900, "pause_text": "Moment." },
        "memory": { "enabled": true },
        "backchannel": { "enabled": true },
        "user_id": "u", "metadata": { "tier": "vip" },
        "echo_cancellation": "on", "signals": ["emotion", "pace"],
    } }));
    assert_eq!(config.echo, EchoCancellation::On);
    assert_eq!(config.signals, SignalSet::NONE.with(SignalKind::Emotion).with(SignalKind::Pace));
    assert_eq!((config.prompt.as_deref(), config.user.as_deref()), (Some("Timbre"), Some("u")));
    assert_eq!(config.language.map(|language| language.to_string()).as_deref(), Some("de"));
    assert_eq!((config.segments, config.metadata.get("tier")), (Segments::Turn, Some(&json!("vip"))));
    assert!(matches!(config.turns, TurnDetection::Silence { threshold: 0.25, silence_ms: 700, .. }));
    let filler = Filler { wait: Duration::from_millis(900), gap: Duration::from_millis(8_000), text: Some("Moment.".to_owned()) };
    assert_eq!(config.filler, Some(filler));
    for (own, expected) in [
        (json!({ "responsiveness": { "enabled": false } }), None),
        (json!({ "responsiveness": null }), None),
        (json!(null), None),
        (json!({ "tts": { "delivery_mode": "STABLE" } }), Some(Segments::Sentences)),
    ] {
        let config = update(json!({ "providerData": own }));
        assert_eq!((config.filler, config.segments), (None, expected.unwrap_or(Segments::Clauses)), "{own}");
    }
    for (own, param) in [
        (json!({ "tts": { "segmenter_strategy": "words" } }), "session.providerData.tts.segmenter_strategy"),
        (json!({ "responsiveness": { "initial_wait_timeout_ms": -1 } }), "session.providerData.responsiveness.initial_wait_timeout_ms"),
        (json!({ "events": "none" }), "session.providerData.events"),
        (json!({ "echo_cancellation": true }), "session.providerData.echo_cancellation"),
        (json!({ "signals": ["emotion", "smell"] }), "session.providerData.signals[1]"),
    ] {
        let wrong = receive(json!({ "type": "session.update", "session": { "providerData": own } })).expect_err("it is wrong");
        assert_eq!(wrong.param.as_deref(), Some(param));
    }
}

#[test]
fn limits_and_timeouts_are_told() {
    let told = |event: Event| realtime().send(&event).first().map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
    let standing = Standing { most: 10, left: 9, reset: Duration::from_millis(1_500) };
    let limits = told(Event::Limits(Standings { requests: Some(standing), tokens: None })).expect("there is one");
    assert_eq!(limits["type"], "rate_limits.updated");
    assert_eq!(limits["rate_limits"], json!([{ "name": "requests", "limit": 10, "remaining": 9, "reset_seconds": 1.5 }]));
    assert_eq!(told(Event::Limits(Standings::default())), None, "who has no limits is told of none");
    let timeout = told(Event::TimedOut { from_ms: 1, to_ms: 2, item: "item_1".to_owned() }).expect("an event");
    assert_eq!((&timeout["type"], &timeout["audio_end_ms"]), (&json!("input_audio_buffer.timeout_triggered"), &json!(2)));
}
