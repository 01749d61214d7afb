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
    measure(pcm, &said(text), &mut Baseline::new(), SignalSet::ALL).hesitation.expect("hesitation").value
}

#[test]
fn only_what_is_wanted_is_measured() {
    let pcm = buzz(120.0, 0.1, 0);
    for kind in SignalKind::ALL {
        let signals = measure(&pcm, &said("Hello there"), &mut Baseline::new(), SignalSet::NONE.with(kind));
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
    assert_eq!(measure(&pcm, &said("Hello"), &mut Baseline::new(), SignalSet::NONE), Signals::default());
    assert_eq!(measure(&[], &said("Hello"), &mut Baseline::new(), SignalSet::ALL).pitch, None);
}

#[test]
fn pitch_and_loudness_are_read_off() {
    let signals = measure(&buzz(120.0, 0.1, 0), &said(""), &mut Baseline::new(), SignalSet::ALL);
    let pitch = signals.pitch.expect("pitch").value;
    assert!((pitch - 120.0).abs() < 3.0, "{pitch}");
    let louder = measure(&buzz(120.0, 0.2, 0), &said(""), &mut Baseline::new(), SignalSet::ALL).loudness.expect("level").value;
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

#[test]
fn the_same_speaker_louder_and_higher_is_more_aroused() {
    let mut baseline = Baseline::new();
    for _ in 0..4 {
        measure(&buzz(120.0, 0.05, 0), &said("The train leaves at nine"), &mut baseline, SignalSet::ALL);
    }
    let check = |hz, amplitude, text| {
        measure(&buzz(hz, amplitude, 0), &said(text), &mut baseline.clone(), SignalSet::ALL).emotion.expect("emotion").value
    };
    let usual = check(120.0, 0.05, "The train leaves at nine");
    assert!((usual.arousal.get() - 0.5).abs() < 0.1, "{usual:?}");
    for (hz, amplitude, text, label) in [
        (120.0, 0.05, "The train leaves at nine", EmotionLabel::Neutral),
        (120.0, 0.05, "Thank you, that is wonderful", EmotionLabel::Happy),
        (120.0, 0.05, "It is still not working", EmotionLabel::Frustrated),
        (170.0, 0.2, "This is terrible, I hate it", EmotionLabel::Angry),
        (170.0, 0.2, "The train leaves at nine", EmotionLabel::Excited),
        (105.0, 0.02, "I am so sad, I lost it", EmotionLabel::Sad),
    ] {
        assert_eq!(check(hz, amplitude, text).label, label, "{text}: {:?}", check(hz, amplitude, text));
    }
}

/// How often one of `above` is over one of `below`: the area under the ROC curve.
fn auc(above: &[f32], below: &[f32]) -> f32 {
    let wins: f32 = above
        .iter()
        .flat_map(|a| {
            below.iter().map(move |b| {
                if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                }
            })
        })
        .sum();
    wins / (above.len() * below.len()).max(1) as f32
}

#[test]
fn acted_anger_is_more_aroused_than_sadness() {
    let folder = std::env::var_os("TIMBRE_DATA")
        .map_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), std::path::PathBuf::from)
        .join("emotion/ravdess");
    let (mut angry, mut sad) = (Vec::new(), Vec::new());
    let Ok(actors) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: no recordings in {} (set TIMBRE_DATA)", folder.display());
        return;
    };
    let mut actors: Vec<_> = actors.flatten().map(|entry| entry.path()).collect();
    actors.sort();
    for actor in actors.iter().take(8) {
        let load = |label: &str| -> Vec<Vec<f32>> {
            let mut files: Vec<_> = std::fs::read_dir(actor).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            files.sort();
            let wanted = files.iter().filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(label)));
            wanted
                .map(|file| {
                    let bytes = std::fs::read(file).expect("readable");
                    let recording = audio::container::decode(&bytes, std::time::Duration::from_secs(60)).expect("decodes");
                    audio::resample(&recording.pcm, recording.rate, Rate::MODEL)
                })
                .collect()
        };
        let mut baseline = Baseline::new();
        let wanted = SignalSet::NONE.with(SignalKind::Emotion);
        for pcm in load("neutral") {
            measure(&pcm, &said(""), &mut baseline, wanted);
        }
        let arousal = |pcm: &Vec<f32>| measure(pcm, &said(""), &mut baseline.clone(), wanted).emotion.map(|e| e.value.arousal.get());
        angry.extend(load("angry").iter().filter_map(arousal));
        sad.extend(load("sad").iter().filter_map(arousal));
    }
    let auc = auc(&angry, &sad);
    println!("arousal, {} angry over {} sad clips of 8 RAVDESS actors: AUC {auc:.3}", angry.len(), sad.len());
    assert!(auc > 0.75, "{auc}");
}
