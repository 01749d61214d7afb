//! What was measured of a speaker, as clients see it: our own JSON, beside OpenAI's fields.

use audio::features::Cycles;
use models::hesitation::Disfluency;
use models::{Dynamics, Emotion, Measured, Reading, Register, Signals};
use serde_json::{Map, Value, json};

/// Each signal that was measured, by the name that rules use: its value, how sure its source is (0 to 1), and the source.
pub(crate) fn to_json(signals: &Signals) -> Value {
    let Signals { language, emotion, hesitation, disfluencies, pace, pitch, loudness, noise, dynamics, end_of_turn, transcription } =
        signals;
    let mut map = Map::new();
    put(&mut map, "language", language.as_ref(), |language| json!(language.code()));
    if let Some(measured) = emotion {
        let Emotion { label, arousal, valence, absolute, relative, trend } = measured.value;
        put(&mut map, "emotion", Some(measured), |_| json!(label.name()));
        map["emotion"]["arousal"] = number(arousal.get());
        map["emotion"]["valence"] = number(valence.get());
        for (name, reading) in [("absolute", absolute), ("relative", relative)] {
            if let Some(Reading { label, confidence, arousal, valence }) = reading {
                map["emotion"][name] = json!({
                    "value": label.name(), "confidence": number(confidence.get()),
                    "arousal": number(arousal.get()), "valence": number(valence.get()),
                });
            }
        }
        if let Some(trend) = trend {
            map["emotion"]["trend"] = json!({ "arousal": number(trend.arousal), "valence": number(trend.valence) });
        }
    }
    for (name, measured) in [("hesitation", hesitation), ("pace", pace), ("loudness", loudness), ("noise", noise)] {
        put(&mut map, name, measured.as_ref(), |value| number(*value));
    }
    if let Some(measured) = pitch {
        let Register { hz, range, cycles } = measured.value;
        put(&mut map, "pitch", Some(measured), |_| number(hz));
        map["pitch"]["register"] = json!(measured.value.name());
        if let Some(range) = range {
            map["pitch"]["range"] = number(range);
        }
        if let Some(Cycles { jitter, shimmer }) = cycles {
            (map["pitch"]["jitter"], map["pitch"]["shimmer"]) = (number(jitter), number(shimmer));
        }
    }
    if !disfluencies.is_empty() && hesitation.is_some() {
        let part = |Disfluency { kind, at }: &Disfluency| match at {
            Some((start, end)) => json!({ "type": kind.name(), "start": number(*start), "end": number(*end) }),
            None => json!({ "type": kind.name() }),
        };
        map["hesitation"]["parts"] = disfluencies.iter().map(part).collect();
    }
    if let Some(Dynamics { turn_seconds, turn_trend, talk_ratio, overlap, interruptions, reply_latency }) = dynamics {
        map.insert(
            "dynamics".to_owned(),
            json!({
                "turn_seconds": number(*turn_seconds), "turn_trend": turn_trend.map(number), "talk_ratio": number(*talk_ratio),
                "overlap": number(*overlap), "interruptions": interruptions, "reply_latency": reply_latency.map(number),
            }),
        );
    }
    for (name, measured) in [("end_of_turn", end_of_turn), ("transcription", transcription)] {
        put(&mut map, name, measured.as_ref(), |value| number(value.get()));
    }
    Value::Object(map)
}

fn put<T>(map: &mut Map<String, Value>, name: &str, measured: Option<&Measured<T>>, value: impl Fn(&T) -> Value) {
    if let Some(measured) = measured {
        let json = json!({ "value": value(&measured.value), "confidence": number(measured.confidence.get()), "source": measured.source });
        map.insert(name.to_owned(), json);
    }
}

/// Three decimals: no signal is known better, and `0.30000001` helps nobody.
fn number(value: f32) -> Value {
    json!((f64::from(value) * 1_000.0).round() / 1_000.0)
}

#[cfg(test)]
mod tests {
    use audio::Probability;
    use models::hesitation::DisfluencyKind;
    use models::{EmotionLabel, Language, Trend};

    use super::*;

    #[test]
    fn only_what_was_measured_is_told() {
        assert_eq!(to_json(&Signals::default()).to_string(), "{}");
        let point = |value| Probability::new(value);
        let reading =
            |confidence| Reading { label: EmotionLabel::Angry, confidence: point(confidence), arousal: point(0.75), valence: point(0.25) };
        let emotion = Emotion {
            absolute: Some(reading(0.75)),
            relative: Some(reading(0.5)),
            trend: Some(Trend { arousal: 0.25, valence: -0.5 }),
            ..Emotion::new(EmotionLabel::Angry, point(0.9), point(0.1))
        };
        let signals = Signals {
            language: Some(Measured::new(Language::ENGLISH, 0.98, "whisper")),
            emotion: Some(Measured::new(emotion, 0.5, "voice+words")),
            hesitation: Some(Measured::new(0.5, 0.75, "prosody+words")),
            disfluencies: vec![
                Disfluency { kind: DisfluencyKind::FilledPause, at: Some((1.25, 1.75)) },
                Disfluency { kind: DisfluencyKind::Repetition, at: None },
            ],
            pitch: Some(Measured::new(
                Register { hz: 181.0, range: Some(4.5), cycles: Some(Cycles { jitter: 0.012, shimmer: 0.06 }) },
                1.0,
                "prosody",
            )),
            dynamics: Some(Dynamics {
                turn_seconds: 2.5,
                turn_trend: None,
                talk_ratio: 0.25,
                overlap: 0.0,
                interruptions: 1,
                reply_latency: Some(0.5),
            }),
            ..Signals::default()
        };
        assert_eq!(
            to_json(&signals).to_string(),
            concat!(
                r#"{"language":{"value":"en","confidence":0.98,"source":"whisper"},"#,
                r#""emotion":{"value":"angry","confidence":0.5,"source":"voice+words","arousal":0.9,"valence":0.1,"#,
                r#""absolute":{"value":"angry","confidence":0.75,"arousal":0.75,"valence":0.25},"#,
                r#""relative":{"value":"angry","confidence":0.5,"arousal":0.75,"valence":0.25},"#,
                r#""trend":{"arousal":0.25,"valence":-0.5}},"#,
                r#""hesitation":{"value":0.5,"confidence":0.75,"source":"prosody+words","#,
                r#""parts":[{"type":"filled_pause","start":1.25,"end":1.75},{"type":"repetition"}]},"#,
                r#""pitch":{"value":181.0,"confidence":1.0,"source":"prosody","register":"middle","range":4.5,"jitter":0.012,"shimmer":0.06},"#,
                r#""dynamics":{"turn_seconds":2.5,"turn_trend":null,"talk_ratio":0.25,"overlap":0.0,"interruptions":1,"reply_latency":0.5}}"#
            )
        );
    }
}
