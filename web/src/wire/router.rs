//! Routers, their versions, explanations and outcomes as JSON: the router API's own shapes, `/router/v1`.

use audio::Probability;
use models::{Emotion, EmotionLabel, Language, Measured, Register, Signals};
use router::{
    Change, Estimate, Explanation, Feedback, Listed, RouterError, RoutersError, Source, VariantOutcome, Verdict, Version, rfc3339, winners,
};
use serde_json::{Map, Value, json};

use super::{ApiError, Field, Fields};

/// A router as it is listed: the object as it was written, with what the server knows of it.
pub(crate) fn router(listed: &Listed) -> Value {
    let mut value = spelled(listed.object.to_json());
    value["name"] = json!(format!("routers/{}", listed.id));
    value["version"] = json!(listed.version);
    value["source"] = json!(match listed.source {
        Source::Configuration => "configuration",
        Source::Api => "api",
    });
    if listed.version > 0 {
        value["updateTime"] = json!(rfc3339(listed.updated));
    }
    if let Some(problem) = &listed.problem {
        value["problem"] = json!(problem);
    }
    value
}

/// A change that is done, in the shape of a long-running operation: clients of this API wait for `done`.
pub(crate) fn operation(listed: &Listed) -> Value {
    json!({
        "name": format!("operations/routers/{}/{}", listed.id, listed.version),
        "metadata": { "@type": "timbre/router-change", "version": listed.version },
        "done": true,
        "response": router(listed),
    })
}

/// One version of a router.
pub(crate) fn version(kept: &Version) -> Value {
    let change = match kept.change {
        Change::Created => "created",
        Change::Updated => "updated",
        Change::Restored => "restored",
        Change::Deleted => "deleted",
    };
    let mut value = json!({ "version": kept.version, "createTime": rfc3339(kept.time), "change": change });
    if let Some(of) = kept.of {
        value["restoredVersion"] = json!(of);
    }
    if let Some(object) = &kept.object {
        value["router"] = spelled(object.clone());
    }
    value
}

/// The two keys of a router that this API spells in camelCase; all below are in snake_case.
fn spelled(value: Value) -> Value {
    let Value::Object(map) = value else { return value };
    let name = |key: String| match key.as_str() {
        "display_name" => "displayName".to_owned(),
        "default_route" => "defaultRoute".to_owned(),
        _ => key,
    };
    Value::Object(map.into_iter().map(|(key, value)| (name(key), value)).collect())
}

/// Why a request would be answered as it would.
pub(crate) fn explanation(told: &Explanation) -> Value {
    let rules: Vec<Value> = told
        .rules
        .iter()
        .map(|rule| {
            let (verdict, detail) = match &rule.verdict {
                Verdict::Held => ("held", None),
                Verdict::Not => ("did_not_hold", None),
                Verdict::Missing { name } => ("missing", Some(format!("the request has no {name:?}"))),
                Verdict::Failed { detail } => ("failed", Some(detail.clone())),
            };
            json!({ "route_id": rule.route, "cel_expression": rule.condition, "verdict": verdict, "detail": detail, "taken": rule.taken })
        })
        .collect();
    let draw = told.draw.as_ref().map(|draw| {
        let shares: Vec<Value> = draw.shares.iter().map(|(id, share)| json!({ "variant_id": id, "weight": share })).collect();
        json!({ "sticky": draw.sticky, "point": draw.point, "variants": shares })
    });
    let targets: Vec<Value> = told
        .candidates
        .iter()
        .map(|candidate| {
            let keys: Map<String, Value> = candidate.sorted_by.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
            let lacks: Vec<&str> = candidate.lacks.iter().map(|lack| lack.name()).collect();
            json!({ "target": candidate.target, "sorted_by": keys, "healthy": candidate.healthy, "lacks": lacks })
        })
        .collect();
    let mut value = json!({ "rules": rules, "draw": draw, "targets": targets });
    match &told.decision {
        Ok(decision) => {
            value["version"] = json!(decision.version);
            value["route_id"] = json!(decision.route);
            value["variant_id"] = json!(decision.variant);
            value["reason"] = json!(decision.reason);
            value["shadow"] = json!(decision.shadow);
        }
        Err(error) => value["error"] = json!({ "code": error.code(), "message": error.to_string() }),
    }
    value
}

/// What became of a router's variants, and which of them won what.
pub(crate) fn outcomes(all: &[VariantOutcome]) -> Value {
    let estimate = |estimate: &Option<Estimate>| {
        // An interval without an end is no number in JSON.
        let end = |value: f64| value.is_finite().then_some(value);
        estimate.map(|e| json!({ "n": e.n, "value": e.value, "low": end(e.low), "high": end(e.high) }))
    };
    let variants: Vec<Value> = all
        .iter()
        .map(|outcome| {
            json!({
                "route_id": outcome.key.route,
                "variant_id": outcome.key.variant,
                "requests": outcome.requests,
                "cancelled": outcome.cancelled,
                "errors": estimate(&outcome.errors),
                "first_content_seconds": estimate(&outcome.first_content_seconds),
                "total_seconds": estimate(&outcome.total_seconds),
                "cost": estimate(&outcome.cost),
                "score": estimate(&outcome.score),
            })
        })
        .collect();
    let winners: Vec<Value> = winners(all)
        .into_iter()
        .map(|winner| json!({ "route_id": winner.route, "measure": winner.measure, "variant_id": winner.variant }))
        .collect();
    json!({ "variants": variants, "winners": winners, "confidence": 0.95 })
}

/// Reads a score: `{"request_id" | "user" | "router" + "variant", "score"}`.
pub(crate) fn feedback(body: Value) -> Result<Feedback, ApiError> {
    let mut fields = Field::root(body).object()?;
    let mut text = |name: &str| fields.take(name).map(Field::string).transpose();
    let (request, user) = (text("request_id")?, text("user")?);
    let (router, route, variant) = (text("router")?, text("route")?, text("variant")?);
    let score = fields.require("score", "a number, more is better, or true and false")?;
    let score = match score.value() {
        Value::Bool(good) => f64::from(u8::from(*good)),
        _ => score.number(-1e9, 1e9)?,
    };
    fields.nothing_else(&["request_id", "user", "router", "route", "variant", "score"])?;
    let request = request.map(|id| scored_by(&id).to_owned());
    let router = router.map(|name| name.rsplit('/').next().unwrap_or_default().to_owned());
    Ok(Feedback { request, user, router, route, variant, score })
}

/// What a request is remembered by, of its id or of its answer's: `chatcmpl-`, `resp_` and so on before our own 32 digits say no more than
/// in which dialect it was answered.
pub(crate) fn scored_by(id: &str) -> &str {
    let ours = |name: &&str| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    ["req_", "chatcmpl-", "cmpl-", "msg_", "resp_"].iter().find_map(|prefix| id.strip_prefix(prefix)).filter(ours).unwrap_or(id)
}

/// Reads signals that a caller supposes: `{"emotion": "angry", "hesitation": 0.6}`, each taken for certain.
pub(crate) fn signals(field: Field) -> Result<Signals, ApiError> {
    const KNOWN: [&str; 9] = ["language", "emotion", "arousal", "valence", "hesitation", "pace", "pitch", "loudness", "noise"];
    let mut fields = field.object()?;
    let mut number = |name: &str, least: f64, most: f64| -> Result<Option<Measured<f32>>, ApiError> {
        let value = fields.take(name).map(|field| field.number(least, most)).transpose()?;
        Ok(value.map(|value| Measured::new(value as f32, 1.0, "client")))
    };
    let (arousal, valence) = (number("arousal", 0.0, 1.0)?, number("valence", 0.0, 1.0)?);
    let mut signals = Signals {
        hesitation: number("hesitation", 0.0, 1.0)?,
        pace: number("pace", 0.0, 100.0)?,
        pitch: number("pitch", 0.0, 10_000.0)?.map(|hz| Measured::new(Register { hz: hz.value, range: None, cycles: None }, 1.0, "client")),
        loudness: number("loudness", -200.0, 50.0)?,
        noise: number("noise", -100.0, 200.0)?,
        ..Signals::default()
    };
    if let Some(language) = fields.take("language") {
        let code = language.value().as_str().and_then(Language::new);
        let code = code.ok_or_else(|| language.wrong("the code of a language, for instance `en`"))?;
        signals.language = Some(Measured::new(code, 1.0, "client"));
    }
    let label = fields.take("emotion").map(|field| field.one_of(&EmotionLabel::ALL.map(|label| (label.name(), label)))).transpose()?;
    if label.is_some() || arousal.is_some() || valence.is_some() {
        let part = |measured: Option<Measured<f32>>| Probability::new(measured.map_or(0.5, |measured| measured.value));
        let emotion = Emotion::new(label.unwrap_or(EmotionLabel::Neutral), part(arousal), part(valence));
        signals.emotion = Some(Measured::new(emotion, 1.0, "client"));
    }
    fields.nothing_else(&KNOWN)?;
    Ok(signals)
}

/// Reads the body of a roll-back: `{"version": 3}`.
pub(crate) fn wanted_version(body: Value) -> Result<u64, ApiError> {
    let mut fields: Fields = Field::root(body).object()?;
    let version = fields.require("version", "the number of an earlier version")?.whole(1, u64::MAX)?;
    fields.nothing_else(&["version"])?;
    Ok(version)
}

impl From<RoutersError> for ApiError {
    fn from(error: RoutersError) -> ApiError {
        let message = error.to_string();
        match error {
            RoutersError::NotFound { .. } => ApiError::new(404, "router_not_found", message),
            RoutersError::Exists { .. } => ApiError::new(409, "router_exists", message),
            RoutersError::Configured { .. } => ApiError::new(409, "router_configured", message),
            RoutersError::NoVersion { .. } => ApiError::new(404, "version_not_found", message).at("version"),
            RoutersError::Invalid(RouterError { at, .. }) => ApiError::invalid(at, message),
            RoutersError::Kept { .. } => ApiError::new(500, "not_kept", message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_numbers_or_thumbs() {
        for (body, expected) in [
            (json!({ "request_id": "chatcmpl-1", "score": true }), Ok((Some("chatcmpl-1"), None, 1.0))),
            (json!({ "router": "inworld/r", "variant": "a", "score": 0.25 }), Ok((None, Some("r"), 0.25))),
            (json!({ "request_id": "x" }), Err("`score` is required: a number, more is better, or true and false.")),
            (json!({ "score": "good" }), Err("`score` must be a number from -1000000000 to 1000000000, not `good`.")),
            (
                json!({ "score": 1, "varient": "a" }),
                Err("`varient` is not known; known here are: request_id, user, router, route, variant, score."),
            ),
        ] {
            let read = feedback(body);
            let read = read.as_ref().map(|f| (f.request.as_deref(), f.router.as_deref(), f.score)).map_err(|error| error.message.as_str());
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn an_answer_is_scored_by_any_of_its_ids() {
        let name = "00112233445566778899aabbccddeeff";
        for (id, expected) in [
            (format!("req_{name}"), name.to_owned()),
            (format!("chatcmpl-{name}"), name.to_owned()),
            (format!("msg_{name}"), name.to_owned()),
            (format!("resp_{name}0007"), format!("resp_{name}0007")),
            ("req_mine".to_owned(), "req_mine".to_owned()),
            ("order 7".to_owned(), "order 7".to_owned()),
        ] {
            assert_eq!(scored_by(&id), expected);
        }
    }

    #[test]
    fn supposed_signals_are_taken_for_certain() {
        let read =
            signals(Field::at("voice", json!({ "emotion": "angry", "arousal": 0.9, "pace": 3, "language": "de" }))).expect("they fit");
        assert_eq!(read.emotion.map(|m| (m.value.label, m.confidence.get())), Some((EmotionLabel::Angry, 1.0)));
        assert_eq!((read.pace.map(|m| m.value), read.language.map(|m| m.value.code().to_owned())), (Some(3.0), Some("de".to_owned())));
        for (body, expected) in [
            (json!({ "emotion": "peckish" }), "`voice.emotion` must be one of: neutral"),
            (json!({ "hesitation": 2 }), "`voice.hesitation` must be a number from 0 to 1"),
            (json!({ "emotoin": "sad" }), "`voice.emotoin` is not known"),
        ] {
            let error = signals(Field::at("voice", body)).expect_err(expected);
            assert!(error.message.starts_with(expected), "{}", error.message);
        }
    }
}
