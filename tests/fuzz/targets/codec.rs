//! Any payloads are sound or an error, in every codec. Payloads are cut at each byte 0xA5.
#![no_main]

use audio::codec::g711::Law;
use audio::{Codec, CodecDecoder, Rate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for codec in [Codec::Pcm16(Rate::SPEECH), Codec::G711(Law::Mu), Codec::G711(Law::A), Codec::Opus(Rate::OPUS), Codec::Opus(Rate::MODEL)] {
        let mut decoder = CodecDecoder::new(codec).expect("a rate that the codec takes");
        let mut pcm = Vec::new();
        for payload in input.split(|&byte| byte == 0xa5) {
            pcm.clear();
            let decoded = decoder.decode(payload, &mut pcm);
            // 120 ms of Opus is the longest that a packet may hold; the others hold a sample a byte at most.
            assert!(pcm.len() <= payload.len().max(5_760) + 1);
            assert!(decoded.is_ok() || pcm.is_empty());
        }
    }
});
