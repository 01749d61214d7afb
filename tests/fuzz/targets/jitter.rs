//! Any order of packets is played with each packet at most once, and never more held than there is room.
#![no_main]

use audio::{Arrival, Jitter, Playout};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut jitter = Jitter::new(100, 20);
    let mut held = 0usize;
    for step in input.chunks_exact(3) {
        if step[0] & 1 == 0 {
            let number = u16::from_le_bytes([step[1], step[2]]);
            match jitter.push(number, number) {
                Arrival::Kept => held += 1,
                Arrival::Restart => held = 1,
                Arrival::Late | Arrival::Duplicate => {}
            }
        } else {
            jitter.tick();
        }
        if let Playout::Packet(_) = jitter.pop() {
            held -= 1;
        }
        assert_eq!(jitter.held(), held);
        assert!(held <= 128);
    }
});
