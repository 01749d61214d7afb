//! How the end of a caller's turn is found, as the session says it.

use serde_json::{Value, json};

use crate::ApiError;
use crate::call::{AfterTurn, Eagerness, TurnDetection};
use crate::wire::Fields;

/// What OpenAI's `server_vad` starts from, but for its silence of 500 ms: there the documentation says one thing and the service another.
const SERVER_VAD: TurnDetection =
    TurnDetection::Silence { threshold: 0.5, padding_ms: 300, silence_ms: 500, then: AfterTurn { respond: true, interrupt: true } };

/// Longest padding or silence, ms: what is longer is a mistake in the unit.
const LONGEST_PAUSE_MS: u64 = 10_000;

const EAGERNESS: [(&str, Eagerness); 4] =
    [("low", Eagerness::Low), ("medium", Eagerness::Medium), ("high", Eagerness::High), ("auto", Eagerness::Medium)];

pub(super) fn read_silence(
    fields: &mut Fields,
    now: TurnDetection,
    default: TurnDetection,
    then: AfterTurn,
    told: &Value,
) -> Result<(TurnDetection, Value), ApiError> {
    let base = [now, default, SERVER_VAD].into_iter().find_map(|turns| match turns {
        TurnDetection::Silence { threshold, padding_ms, silence_ms, .. } => Some((threshold, padding_ms, silence_ms)),
        TurnDetection::Manual | TurnDetection::Semantic { .. } => None,
    });
    let (mut threshold, mut padding_ms, mut silence_ms) = base.expect("the last of them is a silence");
    if let Some(field) = fields.take("threshold") {
        threshold = field.number(0.0, 1.0)? as f32;
    }
    for (name, ms) in [("prefix_padding_ms", &mut padding_ms), ("silence_duration_ms", &mut silence_ms)] {
        if let Some(field) = fields.take(name) {
            *ms = field.whole(0, LONGEST_PAUSE_MS)?;
        }
    }
    let idle = match fields.given("idle_timeout_ms") {
        Some(field) => json!(field.present().map(|field| field.whole(5_000, 30_000)).transpose()?),
        None => told.get("idle_timeout_ms").cloned().unwrap_or_default(),
    };
    fields.given("eagerness");
    let turns = TurnDetection::Silence { threshold, padding_ms, silence_ms, then };
    let mut json = turns_json(turns);
    json["idle_timeout_ms"] = idle;
    Ok((turns, json))
}

pub(super) fn read_semantic(
    fields: &mut Fields,
    now: TurnDetection,
    then: AfterTurn,
    told: &Value,
) -> Result<(TurnDetection, Value), ApiError> {
    let mut eagerness = if let TurnDetection::Semantic { eagerness, .. } = now { eagerness } else { Eagerness::Medium };
    let mut name = told.get("eagerness").cloned().unwrap_or_else(|| json!("auto"));
    if let Some(field) = fields.take("eagerness") {
        name = field.value().clone();
        eagerness = field.one_of(&EAGERNESS)?;
    }
    // Clients that know both kinds send the other's fields along.
    for other in ["threshold", "prefix_padding_ms", "silence_duration_ms", "idle_timeout_ms"] {
        fields.given(other);
    }
    let turns = TurnDetection::Semantic { eagerness, then };
    let mut json = turns_json(turns);
    json["eagerness"] = name;
    Ok((turns, json))
}

pub(super) fn turns_json(turns: TurnDetection) -> Value {
    match turns {
        TurnDetection::Manual => Value::Null,
        TurnDetection::Silence { threshold, padding_ms, silence_ms, then } => json!({
            "type": "server_vad",
            "threshold": decimal(threshold),
            "prefix_padding_ms": padding_ms,
            "silence_duration_ms": silence_ms,
            "idle_timeout_ms": null,
            "create_response": then.respond,
            "interrupt_response": then.interrupt,
        }),
        TurnDetection::Semantic { eagerness, then } => json!({
            "type": "semantic_vad",
            "eagerness": match eagerness {
                Eagerness::Low => "low",
                Eagerness::Medium => "medium",
                Eagerness::High => "high",
            },
            "create_response": then.respond,
            "interrupt_response": then.interrupt,
        }),
    }
}

/// A number that was short in decimals stays so: 0.3, not 0.30000001192092896.
pub(super) fn decimal(value: f32) -> Value {
    json!((f64::from(value) * 10_000.0).round() / 10_000.0)
}
