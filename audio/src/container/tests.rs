//! Recordings in every container: what goes in comes out, and damaged ones are errors.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::Rate;

const MINUTE: Duration = Duration::from_secs(60);

fn tone(rate: Rate, samples: usize) -> Vec<f32> {
    (0..samples).map(|i| 0.5 * (std::f32::consts::TAU * 440.0 * i as f32 / rate.hz() as f32).sin()).collect()
}

fn encoded(container: Container, pcm: &[f32], rate: Rate) -> Option<Vec<u8>> {
    match encode(container, pcm, rate) {
        Ok(bytes) => Some(bytes),
        Err(error) if container == Container::Mp3 && error.0.contains("apt-get install") => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{container}: {error}"),
    }
}

#[test]
fn what_is_written_can_be_read() {
    for container in [Container::Wav, Container::Flac, Container::Mp3, Container::Opus] {
        for hz in [8_000, 16_000, 22_050, 24_000, 44_100, 48_000] {
            let rate = Rate::new(hz).expect("a rate");
            let sound = tone(rate, hz as usize + 123);
            let Some(bytes) = encoded(container, &sound, rate) else { continue };
            let read = decode(&bytes, MINUTE).unwrap_or_else(|error| panic!("{container} {hz}: {error}"));
            assert_eq!(read.container, container);
            let heard_s = read.pcm.len() as f64 / f64::from(read.rate.hz());
            let said_s = sound.len() as f64 / f64::from(hz);
            // LAME pads to whole frames, and its own delay stays.
            let slack_s = if container == Container::Mp3 { 0.25 } else { 0.001 };
            assert!((heard_s - said_s).abs() < slack_s, "{container} {hz}: {heard_s} s of {said_s} s");
            let middle = &read.pcm[read.pcm.len() / 4..read.pcm.len() * 3 / 4];
            let power = middle.iter().map(|x| x * x).sum::<f32>() / middle.len() as f32;
            assert!((power - 0.125).abs() < 0.02, "{container} {hz}: {power}");
        }
    }
}

#[test]
fn lossless_is_lossless() {
    let words: Vec<f32> = tone(Rate::SPEECH, 10_000).iter().map(|&x| crate::codec::pcm::sample(crate::codec::pcm::word(x))).collect();
    for container in [Container::Wav, Container::Flac] {
        assert_eq!(decode(&encode(container, &words, Rate::SPEECH).expect("encodes"), MINUTE).expect("decodes").pcm, words, "{container}");
    }
}

#[test]
fn a_stream_of_unknown_length_can_be_read() {
    for container in [Container::Wav, Container::Flac, Container::Opus] {
        let sound = tone(Rate::SPEECH, 12_345);
        let (mut encoder, mut bytes) = (Encoder::new(container, Rate::SPEECH).expect("encoder"), Vec::new());
        for piece in sound.chunks(333) {
            encoder.push(piece, &mut bytes).expect("encodes");
        }
        encoder.finish(&mut bytes).expect("finishes");
        let read = decode(&bytes, MINUTE).expect("decodes");
        let expected = if container == Container::Opus { 24_690 } else { 12_345 };
        // The last frame of FLAC has 64 samples at least.
        assert!((expected..expected + 64).contains(&read.pcm.len()), "{container}: {}", read.pcm.len());
    }
}

#[test]
fn bad_files_are_named() {
    let wav = encode(Container::Wav, &tone(Rate::MODEL, 1_000), Rate::MODEL).expect("encodes");
    let with = |at: usize, bytes: &[u8]| {
        let mut wav = wav.clone();
        wav[at..at + bytes.len()].copy_from_slice(bytes);
        wav
    };
    let flac = encode(Container::Flac, &tone(Rate::MODEL, 20_000), Rate::MODEL).expect("encodes");
    for (name, bytes, expected) in [
        ("empty", Vec::new(), "is empty"),
        ("no sound", encode(Container::Wav, &[], Rate::MODEL).expect("encodes"), "is empty"),
        ("text", b"hello there".to_vec(), "allowed are wav, flac, mp3 and Ogg-Opus"),
        ("cut wav", wav[..600].to_vec(), "ends before"),
        ("only a head", wav[..30].to_vec(), "damaged"),
        ("no channels", with(22, &[0, 0]), "allowed are 1 to 32"),
        ("rate of nought", with(24, &[0; 4]), "allowed are 4000 to 192000 Hz"),
        ("absurd rate", with(24, &[0xff; 4]), "allowed are 4000 to 192000 Hz"),
        ("7 bits", with(34, &[7, 0]), "allowed are PCM of 8, 16, 24 or 32 bits"),
        ("cut flac", flac[..flac.len() / 2].to_vec(), "ends before"),
    ] {
        let error = decode(&bytes, MINUTE).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn the_limit_holds_for_every_format() {
    for container in [Container::Wav, Container::Flac, Container::Mp3, Container::Opus] {
        let Some(bytes) = encoded(container, &tone(Rate::MODEL, 32_000), Rate::MODEL) else { continue };
        let limit = Duration::from_secs(1);
        assert_eq!(decode(&bytes, limit), Err(DecodeError::TooLong { limit }), "{container}");
    }
}

#[test]
fn names_are_parsed() {
    for container in Container::ALL {
        assert_eq!(Container::parse(container.name()), Some(container));
    }
    assert_eq!((Container::parse("pcm"), Container::parse("aac")), (Some(Container::Pcm16), None));
}

proptest! {
    #[test]
    fn any_bytes_are_sound_or_an_error(start in prop::sample::select(vec![&b""[..], b"RIFF\0\0\0\0WAVEfmt ", b"fLaC", b"OggS", b"ID3", &[0xff, 0xfb]]),
                                       rest in prop::collection::vec(any::<u8>(), 0..600)) {
        let bytes = [start, &rest].concat();
        let _ = decode(&bytes, Duration::from_secs(5));
    }

    #[test]
    fn a_damaged_file_is_sound_or_an_error(which in 0usize..4, hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
                                           end in any::<prop::sample::Index>()) {
        let container = [Container::Wav, Container::Flac, Container::Mp3, Container::Opus][which];
        if let Some(mut bytes) = encoded(container, &tone(Rate::MODEL, 5_000), Rate::MODEL) {
            for (at, value) in hits {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(end.index(bytes.len()) + 1);
            let _ = decode(&bytes, Duration::from_secs(5));
        }
    }
}
