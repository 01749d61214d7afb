//! The shape of router objects as they are written: every key, in snake_case or camelCase, and what it holds.
//!
//! One walk checks a whole object before anything is made of it, so that a complaint names the place, what stood there and the key that
//! was probably meant. It leaves snake_case only, without nulls and without what only the server writes.

use serde_json::{Map, Value};

use crate::{RouterError, duration};

/// What a key holds.
pub(crate) enum Kind {
    /// A string.
    Text,
    /// A number.
    Number,
    /// A whole number, not negative.
    Whole,
    /// A duration with its unit, `"300ms"`.
    Duration,
    /// Anything: passed on as it is.
    Any,
    /// `true`, `false` or an object: passed on as it is.
    Switch,
    /// Truth.
    Flag,
    /// A metric, or an object with one; becomes the object.
    SortKey,
    /// Written by the server: taken away.
    Ours,
    /// Several.
    List(&'static Kind),
    /// An object.
    Object(&'static Shape),
}

/// The keys of an object, in snake_case.
pub(crate) type Shape = [(&'static str, Kind)];

/// A router.
pub(crate) static ROUTER: &Shape = &[
    ("name", Kind::Text),
    ("display_name", Kind::Text),
    ("defaults", Kind::Object(DEFAULTS)),
    ("routes", Kind::List(&Kind::Object(ENTRY))),
    ("default_route", Kind::Object(ROUTE)),
    ("utc_offset", Kind::Text),
    ("version", Kind::Ours),
    ("source", Kind::Ours),
    ("problem", Kind::Ours),
    ("create_time", Kind::Ours),
    ("update_time", Kind::Ours),
];
static DEFAULTS: &Shape = &[
    ("message_templates", Kind::List(&Kind::Object(TEMPLATE))),
    ("text_generation_config", Kind::Object(GENERATION)),
    ("ttft_timeout", Kind::Duration),
    ("stall_timeout", Kind::Duration),
    ("total_timeout", Kind::Duration),
    ("hedge_after", Kind::Duration),
    ("survive", Kind::Flag),
];
static ENTRY: &Shape = &[("condition", Kind::Object(&[("cel_expression", Kind::Text)])), ("route", Kind::Object(ROUTE))];
static ROUTE: &Shape = &[("route_id", Kind::Text), ("variants", Kind::List(&Kind::Object(WEIGHTED))), ("cache", Kind::Any)];
static WEIGHTED: &Shape = &[("variant", Kind::Object(VARIANT)), ("weight", Kind::Number)];
static VARIANT: &Shape = &[
    ("variant_id", Kind::Text),
    ("model_id", Kind::Text),
    ("models", Kind::List(&Kind::Text)),
    ("ttft_timeout", Kind::Duration),
    ("stall_timeout", Kind::Duration),
    ("total_timeout", Kind::Duration),
    ("hedge_after", Kind::Duration),
    ("survive", Kind::Flag),
    ("message_templates", Kind::List(&Kind::Object(TEMPLATE))),
    ("text_generation_config", Kind::Object(GENERATION)),
    ("model_selection", Kind::Object(SELECTION)),
    ("web_search", Kind::Switch),
    ("shadow", Kind::Object(&[("model_id", Kind::Text), ("share", Kind::Number)])),
];
static TEMPLATE: &Shape = &[("role", Kind::Text), ("content", Kind::Text)];
static GENERATION: &Shape = &[
    ("max_tokens", Kind::Whole),
    ("temperature", Kind::Number),
    ("top_p", Kind::Number),
    ("stop_sequences", Kind::List(&Kind::Text)),
    ("seed", Kind::Whole),
    ("repetition_penalty", Kind::Number),
    ("frequency_penalty", Kind::Number),
    ("presence_penalty", Kind::Number),
    ("logit_bias", Kind::List(&Kind::Object(&[("token_id", Kind::Any), ("bias_value", Kind::Number)]))),
    ("reasoning", Kind::Object(&[("effort", Kind::Text), ("max_tokens", Kind::Whole), ("exclude", Kind::Flag)])),
];
static SELECTION: &Shape = &[
    ("models", Kind::List(&Kind::Text)),
    ("sort", Kind::List(&Kind::SortKey)),
    ("ignore", Kind::List(&Kind::Text)),
    ("provider", Kind::Object(&[("order", Kind::List(&Kind::Text)), ("allow_fallbacks", Kind::Flag)])),
];
/// One key to sort by.
pub(crate) static SORT: &Shape = &[("metric", Kind::Text), ("direction", Kind::Text)];

/// Checks `value` against `kind` and brings it into snake_case; `at` is where it is written.
pub(crate) fn read(value: Value, kind: &Kind, at: &str) -> Result<Value, RouterError> {
    let fits = match kind {
        Kind::Text => value.is_string(),
        Kind::Number => value.is_number(),
        Kind::Whole => value.is_u64(),
        Kind::Flag => value.is_boolean(),
        Kind::Switch => value.is_boolean() || value.is_object(),
        Kind::Any | Kind::Ours => true,
        Kind::Duration => match &value {
            Value::String(text) => return duration::parse(text).map(|_| value).map_err(|detail| RouterError::new(at, detail)),
            _ => false,
        },
        Kind::SortKey => match value {
            Value::String(metric) => return Ok(Value::Object(Map::from_iter([("metric".to_owned(), Value::String(metric))]))),
            Value::Object(map) => return object(map, SORT, at),
            _ => false,
        },
        Kind::List(of) => match value {
            Value::Array(items) => {
                let items = items.into_iter().enumerate().map(|(n, item)| read(item, of, &format!("{at}[{n}]")));
                return Ok(Value::Array(items.collect::<Result<_, _>>()?));
            }
            _ => false,
        },
        Kind::Object(shape) => match value {
            Value::Object(map) => return object(map, shape, at),
            _ => false,
        },
    };
    if fits { Ok(value) } else { Err(RouterError::new(at, format!("it must be {}, not {}", wanted(kind), short(&value)))) }
}

fn object(map: Map<String, Value>, shape: &Shape, at: &str) -> Result<Value, RouterError> {
    let mut read_map = Map::new();
    for (key, value) in map {
        let name = snake(&key);
        let Some((name, kind)) = shape.iter().find(|(known, _)| *known == name) else {
            return Err(RouterError::new(at, unknown(&key, shape)));
        };
        if value.is_null() || matches!(kind, Kind::Ours) {
            continue;
        }
        let value = read(value, kind, &format!("{at}.{name}"))?;
        if read_map.insert((*name).to_owned(), value).is_some() {
            return Err(RouterError::new(at, format!("`{name}` is written twice, in snake_case and in camelCase; leave one out")));
        }
    }
    Ok(Value::Object(read_map))
}

/// The keys of `shape` as a complaint about `key` names them.
fn unknown(key: &str, shape: &Shape) -> String {
    let known: Vec<&str> = shape.iter().filter(|(_, kind)| !matches!(kind, Kind::Ours)).map(|(name, _)| *name).collect();
    let key: String = key.chars().take(60).collect();
    match nearest(&snake(&key), known.iter().copied()) {
        Some(meant) => format!("there is no key `{key}`; did you mean `{meant}`? Known are {}", known.join(", ")),
        None => format!("there is no key `{key}`; known are {}", known.join(", ")),
    }
}

/// The known name that a wrong one was probably meant to be.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.min_by_key(|name| strsim::damerau_levenshtein(wrong, name))
}

/// `displayName` as `display_name`.
pub(crate) fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn wanted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text => "a string",
        Kind::Number => "a number",
        Kind::Whole => "a whole number from 0 up",
        Kind::Duration => "a duration with its unit, for instance \"300ms\" or \"2s\"",
        Kind::Any | Kind::Ours => "anything",
        Kind::Switch => "true, false or an object",
        Kind::Flag => "true or false",
        Kind::SortKey => "the name of a metric, or an object with `metric` and `direction`",
        Kind::List(_) => "a list",
        Kind::Object(_) => "an object",
    }
}

fn short(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) if text.chars().count() > 40 => "a longer string".to_owned(),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_spellings_become_one() {
        let written = json!({"displayName": "A", "version": 3, "default_route": {"routeId": null, "variants": [
            {"variant": {"modelId": "a/b", "modelSelection": {"sort": ["price", {"metric": "latency", "direction": "desc"}]}}}]}});
        let read = read(written, &Kind::Object(ROUTER), "router").expect("it fits");
        assert_eq!(
            read,
            json!({"display_name": "A", "default_route": {"variants": [
                {"variant": {"model_id": "a/b", "model_selection": {"sort": [{"metric": "price"}, {"metric": "latency", "direction": "desc"}]}}}]}})
        );
    }

    #[test]
    fn a_slip_names_the_place_and_what_was_probably_meant() {
        for (written, expected) in [
            (json!([]), "router: it must be an object, not a list"),
            (json!({"rotues": []}), "router: there is no key `rotues`; did you mean `routes`?"),
            (json!({"defaultRout": {}}), "did you mean `default_route`?"),
            (json!({"name": 3}), "router.name: it must be a string, not `3`"),
            (json!({"displayName": "a", "display_name": "b"}), "written twice"),
            (
                json!({"routes": [{"route": {"variants": [{"variant": {"modelid": "x"}}]}}]}),
                "router.routes[0].route.variants[0].variant: there is no key `modelid`; did you mean `model_id`?",
            ),
            (
                json!({"routes": [{"route": {"variants": [{"weight": "50"}]}}]}),
                "router.routes[0].route.variants[0].weight: it must be a number, not `\"50\"`",
            ),
            (json!({"defaults": {"ttftTimeout": "soon"}}), "router.defaults.ttft_timeout: \"soon\" is not a duration"),
            (json!({"defaults": {"text_generation_config": {"max_tokens": -1}}}), "a whole number from 0 up, not `-1`"),
        ] {
            let error = read(written, &Kind::Object(ROUTER), "router").expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
