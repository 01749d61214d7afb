//! Any stream of any provider is deltas or an error, and no text is made up. The first byte says which dialect it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use models::Completion;
use models::llm::presets::Wire;

fuzz_target!(|input: &[u8]| {
    let Some((&dialect, stream)) = input.split_first() else { return };
    let wire = [Wire::Openai, Wire::Anthropic, Wire::Gemini][usize::from(dialect) % 3];
    let mut completion = Completion::default();
    wire.deltas("fuzz/any", stream).into_iter().flatten().for_each(|delta| completion.push(delta));
    // A byte that is no UTF-8 becomes three.
    assert!(completion.text.len() <= 3 * input.len());
});
