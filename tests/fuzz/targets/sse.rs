//! Any stream of events reads the same however it is cut. The first byte says where.
#![no_main]

use libfuzzer_sys::fuzz_target;
use models::sse::{Event, Parser};

fuzz_target!(|input: &[u8]| {
    let Some((&at, stream)) = input.split_first() else { return };
    let whole = Parser::default().push(stream).expect("shorter than the longest");
    let (head, tail) = stream.split_at(usize::from(at).min(stream.len()));
    let mut parser = Parser::default();
    let mut events: Vec<Event> = parser.push(head).expect("shorter than the longest");
    for byte in tail {
        events.extend(parser.push(std::slice::from_ref(byte)).expect("shorter than the longest"));
    }
    assert_eq!(events, whole);
});
