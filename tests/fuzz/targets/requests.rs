//! Any JSON is a request of each dialect or refused with a reason, and a prompt that was read can be written to every provider.
#![no_main]

use libfuzzer_sys::fuzz_target;
use models::llm::presets::Wire;
use models::llm::quirks::Quirks;

fuzz_target!(|input: &[u8]| {
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(input) else { return };
    for read in [web::chat_prompt, web::response_prompt, web::message_prompt] {
        match read(body.clone()) {
            Ok(prompt) => {
                for wire in [Wire::Openai, Wire::Anthropic, Wire::Gemini] {
                    assert!(wire.request(&prompt, Quirks::NONE).is_object());
                }
            }
            Err(error) => assert!((400..500).contains(&error.status) && !error.message.is_empty()),
        }
    }
});
