//! Any stream of a provider of chat completions is deltas or an error, and no text is made up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use models::llm::openai::Chunks;
use models::{Completion, sse};

fuzz_target!(|input: &[u8]| {
    let mut chunks = Chunks::new("fuzz/any");
    let mut completion = Completion::default();
    for event in sse::Parser::default().push(input).expect("shorter than the longest") {
        match chunks.event(&event) {
            Ok(deltas) => deltas.into_iter().for_each(|delta| completion.push(delta)),
            Err(_) => break,
        }
    }
    // A byte that is no UTF-8 becomes three.
    assert!(completion.text.len() <= 3 * input.len());
});
