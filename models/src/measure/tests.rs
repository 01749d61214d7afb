//! Signals of made-up voices.

use super::*;

/// Two seconds of a buzz of `hz` with `amplitude` in syllables of 200 ms, silent from `pause` on for so many ms.
fn buzz(hz: f32, amplitude: f32, pause_ms: usize) -> Vec<f32> {
    let mut pcm: Vec<f32> = (0..32_000)
        .map(|i| {
            let t = i as f32 / 16_000.0;
            let wave: f32 = (1..5).map(|k| (std::f32::consts::TAU * hz * k as f32 * t).sin() / k as f32).sum();
            amplitude * wave * (0.05 + (std::f32::consts::PI * t / 0.2).sin().abs())
        })
        .collect();
    pcm.splice(16_000..16_000, vec![0.0; pause_ms * 16]);
    pcm.splice(0..0, vec![0.0; 8_000]);
    pcm
}

fn said(text: &str) -> Utterance {
    Utterance { text: text.to_owned(), ..Utterance::default() }
}

fn hesitation_of(pcm: &[f32], text: &str) -> f32 {
    measure(pcm, &said(text), None, &mut Baseline::default(), SignalSet::ALL).hesitation.expect("hesitation").value
}

/// Rules and the page asked for it, and nobody told it.
#[test]
fn how_sure_the_words_are_is_told_where_there_are_any() {
    let told = |text: &str, sure: Option<f32>| {
        let utterance = Utterance { confidence: sure.map(audio::Probability::new), ..said(text) };
        measure(&buzz(120.0, 0.1, 0), &utterance, None, &mut Baseline::default(), SignalSet::NONE)
            .transcription
            .map(|told| told.value.get())
    };
    assert_eq!(told("Hello there", Some(0.75)), Some(0.75));
    assert_eq!((told("Hello there", None), told("", Some(0.75))), (None, None));
}

#[test]
fn only_what_is_wanted_is_measured() {
    let pcm = buzz(120.0, 0.1, 0);
    for kind in SignalKind::ALL {
        let signals = measure(&pcm, &said("Hello there, thank you"), None, &mut Baseline::default(), SignalSet::NONE.with(kind));
        let given = [
            (SignalKind::Emotion, signals.emotion.is_some()),
            (SignalKind::Hesitation, signals.hesitation.is_some()),
            (SignalKind::Pace, signals.pace.is_some()),
            (SignalKind::Pitch, signals.pitch.is_some()),
            (SignalKind::Loudness, signals.loudness.is_some()),
            (SignalKind::Noise, signals.noise.is_some()),
        ];
        for (other, is_there) in given {
            assert_eq!(is_there, other == kind, "{} when {} is wanted", other.name(), kind.name());
        }
    }
    assert_eq!(measure(&pcm, &said("Hello"), None, &mut Baseline::default(), SignalSet::NONE), Signals::default());
    assert_eq!(measure(&[], &said("Hello"), None, &mut Baseline::default(), SignalSet::ALL).pitch, None);
}

#[test]
fn pitch_and_loudness_are_read_off() {
    let signals = measure(&buzz(120.0, 0.1, 0), &said(""), None, &mut Baseline::default(), SignalSet::ALL);
    let pitch = signals.pitch.expect("pitch").value.hz;
    assert!((pitch - 120.0).abs() < 3.0, "{pitch}");
    let louder = measure(&buzz(120.0, 0.2, 0), &said(""), None, &mut Baseline::default(), SignalSet::ALL).loudness.expect("level").value;
    assert!((louder - signals.loudness.expect("level").value - 6.0).abs() < 0.1);
}

#[test]
fn halting_speech_is_above_fluent_speech() {
    let fluent = hesitation_of(&buzz(120.0, 0.1, 0), "I would like to book a table for two");
    assert!(fluent < 0.25, "{fluent}");
    for (pause_ms, text) in [
        (0, "I um would like uh to book a table for two"),
        (0, "I I would would like to book a ta- table for two"),
        (1_500, "I would like to book a table for two"),
    ] {
        let halting = hesitation_of(&buzz(120.0, 0.1, pause_ms), text);
        assert!(halting > fluent + 0.2, "{text}, {pause_ms} ms: {halting} over {fluent}");
    }
}
