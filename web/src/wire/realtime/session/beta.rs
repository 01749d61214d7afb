//! The session as the older beta dialect wrote it.

use serde_json::{Map, Value};

/// Names of the beta dialect, and where they stand now.
const MOVED: [(&str, &[&str]); 9] = [
    ("modalities", &["output_modalities"]),
    ("max_response_output_tokens", &["max_output_tokens"]),
    ("voice", &["audio", "output", "voice"]),
    ("speed", &["audio", "output", "speed"]),
    ("output_audio_format", &["audio", "output", "format"]),
    ("input_audio_format", &["audio", "input", "format"]),
    ("input_audio_transcription", &["audio", "input", "transcription"]),
    ("input_audio_noise_reduction", &["audio", "input", "noise_reduction"]),
    ("turn_detection", &["audio", "input", "turn_detection"]),
];

/// The same in today's names.
pub(super) fn modern(patch: Map<String, Value>) -> Map<String, Value> {
    let mut patch = patch;
    for (old, path) in MOVED {
        if let Some(value) = patch.shift_remove(old) {
            place(&mut patch, path, value);
        }
    }
    patch
}

/// Puts a value where `path` leads, unless something stands there or in the way.
fn place(map: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [last] => drop(map.entry(*last).or_insert(value)),
        [first, rest @ ..] => {
            if let Value::Object(inner) = map.entry(*first).or_insert_with(|| Value::Object(Map::new())) {
                place(inner, rest, value);
            }
        }
    }
}
