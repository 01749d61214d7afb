//! Any events of a realtime client, one a line, are requests or refused with a reason; a session that was refused can still be told.
#![no_main]

use libfuzzer_sys::fuzz_target;
use web::Realtime;
use web::call::SessionConfig;

fuzz_target!(|input: &str| {
    let mut realtime = Realtime::new("sess_fuzz", "auto", SessionConfig::default());
    for line in input.lines() {
        if let Err(error) = realtime.receive(line) {
            assert!(!error.message.is_empty());
        }
    }
    serde_json::from_str::<serde_json::Value>(&realtime.created()).expect("the session is JSON");
});
