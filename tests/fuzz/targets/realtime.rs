//! Any events of a realtime client, one a line, are requests or refused with a reason; a session that was refused can still be told.
#![no_main]

use audio::{Codec, Rate};
use libfuzzer_sys::fuzz_target;
use web::Realtime;
use web::call::{SessionConfig, TurnDetection};

fn defaults() -> SessionConfig {
    SessionConfig {
        model: String::new(),
        instructions: String::new(),
        spoken: true,
        input: Codec::Pcm16(Rate::SPEECH),
        language: None,
        vocabulary: None,
        transcripts: true,
        noise_reduction: false,
        turns: TurnDetection::Manual,
        output: Codec::Pcm16(Rate::SPEECH),
        voice: None,
        tools: Vec::new(),
        tool_choice: None,
        max_tokens: None,
        temperature: None,
        user: None,
        metadata: serde_json::Map::new(),
    }
}

fuzz_target!(|input: &str| {
    let mut realtime = Realtime::new("sess_fuzz", "auto", defaults());
    for line in input.lines() {
        if let Err(error) = realtime.receive(line) {
            assert!(!error.message.is_empty());
        }
    }
    serde_json::from_str::<serde_json::Value>(&realtime.created()).expect("the session is JSON");
});
