//! What was measured of a speaker, as clients see it: our own JSON, beside OpenAI's fields.

use models::{Emotion, Measured, Signals};
use serde_json::{Map, Value, json};

/// Each signal that was measured, by the name that rules use: its value, how sure its source is (0 to 1), and the source.
pub(crate) fn to_json(signals: &Signals) -> Value {
    let Signals { language, emotion, hesitation, pace, pitch, loudness, noise, end_of_turn, transcription } = signals;
    let mut map = Map::new();
    put(&mut map, "language", language.as_ref(), |language| json!(language.code()));
    if let Some(measured) = emotion {
        let Emotion { label, arousal, valence } = measured.value;
        put(&mut map, "emotion", Some(measured), |_| json!(label.name()));
        map["emotion"]["arousal"] = number(arousal.get());
        map["emotion"]["valence"] = number(valence.get());
    }
    for (name, measured) in [("hesitation", hesitation), ("pace", pace), ("pitch", pitch), ("loudness", loudness), ("noise", noise)] {
        put(&mut map, name, measured.as_ref(), |value| number(*value));
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
    use models::{EmotionLabel, Language};

    use super::*;

    #[test]
    fn only_what_was_measured_is_told() {
        assert_eq!(to_json(&Signals::default()).to_string(), "{}");
        let emotion = Emotion { label: EmotionLabel::Angry, arousal: Probability::new(0.9), valence: Probability::new(0.1) };
        let signals = Signals {
            language: Some(Measured::new(Language::ENGLISH, 0.98, "whisper")),
            emotion: Some(Measured::new(emotion, 0.5, "prosody+words")),
            pitch: Some(Measured::new(181.0, 1.0, "prosody")),
            ..Signals::default()
        };
        assert_eq!(
            to_json(&signals).to_string(),
            concat!(
                r#"{"language":{"value":"en","confidence":0.98,"source":"whisper"},"#,
                r#""emotion":{"value":"angry","confidence":0.5,"source":"prosody+words","arousal":0.9,"valence":0.1},"#,
                r#""pitch":{"value":181.0,"confidence":1.0,"source":"prosody"}}"#
            )
        );
    }
}
