//! Any JSON is a chat request or refused with a reason, and a prompt that was read can be written to a provider.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(body) = serde_json::from_slice(input) else { return };
    match web::chat_prompt(body) {
        Ok(prompt) => {
            let request = models::llm::openai::request(&prompt);
            assert!(request["messages"].as_array().is_some_and(|messages| !messages.is_empty()));
        }
        Err(error) => assert!((400..500).contains(&error.status) && !error.message.is_empty()),
    }
});
