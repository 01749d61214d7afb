//! What a rule may see of a request, and nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value as Cel;
use models::{Prompt, Role, SignalKind, SignalSet, Signals};
use serde_json::{Map, Value};

/// What is known of a request besides its words.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The request's own metadata: each key is a bare name in rules, and all of them are under `metadata`.
    pub metadata: Map<String, Value>,
    /// Who asks; keeps them with one variant.
    pub user: Option<String>,
    /// What was measured of the voice: bare names where the metadata has none, and always under `voice`.
    pub signals: Option<Arc<Signals>>,
}

/// Names that a metadata key cannot take over.
const RESERVED: [&str; 3] = ["voice", "request", "metadata"];
/// Ending of the names under `voice` that say how sure a measurement is.
const CONFIDENCE: &str = "_confidence";
/// Names of the parts of an emotion; each is also a bare name.
const EMOTION_PARTS: [&str; 2] = ["arousal", "valence"];

/// Most values in a request's metadata, lists and objects counted with what they hold. OpenAI allows 16 pairs; a rule may loop over a
/// list once, so this bounds its cost.
const MOST_VALUES: usize = 256;
/// Most bytes of text in a request's metadata, keys included.
const MOST_BYTES: usize = 16 * 1_024;
/// Deepest nesting of a request's metadata.
const DEEPEST: usize = 8;

/// The variables of one evaluation, by name.
pub(crate) type Variables = Vec<(String, Cel)>;

/// The variables that rules see; an error where the metadata is too large to route by.
pub(crate) fn variables(facts: &Facts, prompt: &Prompt) -> Result<Variables, String> {
    let mut room = Room { values: MOST_VALUES, bytes: MOST_BYTES };
    let mut metadata = HashMap::new();
    let mut variables = Variables::new();
    for (key, value) in &facts.metadata {
        room.text(key)?;
        let value = room.value(value, DEEPEST)?;
        if !RESERVED.contains(&key.as_str()) {
            variables.push((key.clone(), value.clone()));
        }
        metadata.insert(key.clone(), value);
    }
    let voice = facts.signals.as_deref().map(voice).unwrap_or_default();
    for (name, value) in &voice {
        if !name.ends_with(CONFIDENCE) && !facts.metadata.contains_key(*name) {
            variables.push(((*name).to_owned(), value.clone()));
        }
    }
    variables.push(("metadata".to_owned(), map(metadata)));
    variables.push(("voice".to_owned(), map(voice.into_iter().map(|(name, value)| (name.to_owned(), value)))));
    if let Some(user) = &facts.user {
        room.text(user)?;
        variables.retain(|(name, _)| name != "user");
        variables.push(("user".to_owned(), text(user)));
    }
    variables.push(("request".to_owned(), request(prompt)));
    Ok(variables)
}

/// The signal that a name stands for, bare or after `voice.`.
pub(crate) fn signal(name: &str) -> Option<SignalKind> {
    let name = name.strip_suffix(CONFIDENCE).unwrap_or(name);
    if EMOTION_PARTS.contains(&name) {
        return Some(SignalKind::Emotion);
    }
    SignalKind::ALL.into_iter().find(|kind| kind.name() == name)
}

/// The signals that a bare name makes a rule want.
pub(crate) fn wanted_by_name(name: &str) -> SignalSet {
    match signal(name) {
        Some(kind) if !name.ends_with(CONFIDENCE) => SignalSet::NONE.with(kind),
        _ => SignalSet::NONE,
    }
}

fn voice(signals: &Signals) -> Vec<(&'static str, Cel)> {
    let mut all = Vec::new();
    let mut put = |name, confidence, value: Cel, sure: audio::Probability| {
        all.push((name, value));
        all.push((confidence, number(sure.get())));
    };
    if let Some(m) = &signals.language {
        put("language", "language_confidence", text(m.value.code()), m.confidence);
    }
    if let Some(m) = &signals.emotion {
        put("emotion", "emotion_confidence", text(m.value.label.name()), m.confidence);
        put("arousal", "arousal_confidence", number(m.value.arousal.get()), m.confidence);
        put("valence", "valence_confidence", number(m.value.valence.get()), m.confidence);
    }
    let plain = [
        ("hesitation", "hesitation_confidence", &signals.hesitation),
        ("pace", "pace_confidence", &signals.pace),
        ("pitch", "pitch_confidence", &signals.pitch),
        ("loudness", "loudness_confidence", &signals.loudness),
        ("noise", "noise_confidence", &signals.noise),
    ];
    for (name, confidence, measured) in plain {
        if let Some(m) = measured {
            put(name, confidence, number(m.value), m.confidence);
        }
    }
    let likely = [
        ("end_of_turn", "end_of_turn_confidence", &signals.end_of_turn),
        ("transcription", "transcription_confidence", &signals.transcription),
    ];
    for (name, confidence, measured) in likely {
        if let Some(m) = measured {
            put(name, confidence, number(m.value.get()), m.confidence);
        }
    }
    all
}

/// Small facts of the request: what was asked for, how many messages and tools, how long the last user message is.
fn request(prompt: &Prompt) -> Cel {
    let count = |n: usize| Cel::Int(i64::try_from(n).unwrap_or(i64::MAX));
    let last = prompt.messages.iter().rev().find(|message| message.role == Role::User).map(models::Message::words).unwrap_or_default();
    map([
        ("model".to_owned(), text(&prompt.model)),
        ("messages".to_owned(), count(prompt.messages.len())),
        ("tools".to_owned(), count(prompt.tools.len())),
        ("characters".to_owned(), count(last.chars().count())),
        ("words".to_owned(), count(last.split_whitespace().count())),
    ])
}

fn map(entries: impl IntoIterator<Item = (String, Cel)>) -> Cel {
    Cel::from(entries.into_iter().collect::<HashMap<String, Cel>>())
}

fn text(text: &str) -> Cel {
    Cel::String(Arc::new(text.to_owned()))
}

/// Always a double, rounded to six decimals so that 0.3 as `f32` equals 0.3 as written in a rule.
fn number(value: f32) -> Cel {
    Cel::Float((f64::from(value) * 1e6).round() / 1e6)
}

/// How much more metadata is allowed.
struct Room {
    values: usize,
    bytes: usize,
}

impl Room {
    fn text(&mut self, text: &str) -> Result<(), String> {
        self.bytes = self
            .bytes
            .checked_sub(text.len())
            .ok_or_else(|| format!("metadata is too large: at most {MOST_BYTES} bytes of text in keys and values are allowed"))?;
        Ok(())
    }

    fn value(&mut self, value: &Value, deeper: usize) -> Result<Cel, String> {
        self.values = self.values.checked_sub(1).ok_or_else(|| {
            format!("metadata is too large: at most {MOST_VALUES} values are allowed, those in lists and objects included")
        })?;
        let deeper = || deeper.checked_sub(1).ok_or_else(|| format!("metadata is nested too deeply: at most {DEEPEST} levels are allowed"));
        Ok(match value {
            Value::Null => Cel::Null,
            Value::Bool(value) => Cel::Bool(*value),
            Value::Number(value) => match (value.as_i64(), value.as_u64()) {
                (Some(value), _) => Cel::Int(value),
                (None, Some(value)) => Cel::UInt(value),
                (None, None) => Cel::Float(value.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(value) => {
                self.text(value)?;
                text(value)
            }
            Value::Array(values) => {
                let deeper = deeper()?;
                let values: Result<Vec<Cel>, String> = values.iter().map(|value| self.value(value, deeper)).collect();
                Cel::List(Arc::new(values?))
            }
            Value::Object(entries) => {
                let deeper = deeper()?;
                let mut all = HashMap::new();
                for (key, value) in entries {
                    self.text(key)?;
                    all.insert(key.clone(), self.value(value, deeper)?);
                }
                map(all)
            }
        })
    }
}
