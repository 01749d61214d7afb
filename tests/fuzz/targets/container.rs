//! Any file is a recording within the limit, or an error. The first byte picks a format's opening, so that each parser is reached.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&pick, rest)) = input.split_first() else { return };
    let opening: &[u8] = match pick % 6 {
        0 => b"RIFF\xff\xff\xff\xffWAVEfmt ",
        1 => b"fLaC\0\0\0\x22",
        2 => b"OggS\0\x02",
        3 => b"\xff\xfb",
        4 => b"ID3\x04\0\0\0\0\0\0\xff\xfb",
        _ => b"",
    };
    let limit = Duration::from_secs(10);
    if let Ok(recording) = audio::container::decode(&[opening, rest].concat(), limit) {
        assert!(!recording.pcm.is_empty() && recording.pcm.len() as u64 <= recording.rate.samples(limit).0);
        assert!(recording.pcm.iter().all(|sample| (-1.0..=1.0).contains(sample)));
    }
});
