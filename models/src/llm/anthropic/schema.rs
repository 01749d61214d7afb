//! JSON schemas as Anthropic's structured outputs take them: every object closed, and no keyword that the grammar cannot hold to.

use serde_json::{Map, Value, json};

/// Keywords that are refused. They are told to the model in the description instead.
const REFUSED: [&str; 14] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "patternProperties",
];

/// The schema, fit to be sent. Nesting is bounded by the JSON parser's own limit.
pub(super) fn closed(schema: &Value) -> Value {
    let Value::Object(object) = schema else { return schema.clone() };
    let mut closed = Map::new();
    let mut wishes = Vec::new();
    for (key, value) in object {
        match key.as_str() {
            key if REFUSED.contains(&key) => wishes.push(format!("{key}: {value}")),
            "properties" | "$defs" | "definitions" => {
                let members = value.as_object().into_iter().flatten();
                closed
                    .insert(key.clone(), members.map(|(name, member)| (name.clone(), self::closed(member))).collect::<Map<_, _>>().into());
            }
            "items" | "not" | "additionalProperties" if value.is_object() => {
                closed.insert(key.clone(), self::closed(value));
            }
            "anyOf" | "allOf" | "oneOf" | "prefixItems" => {
                closed.insert(key.clone(), value.as_array().into_iter().flatten().map(self::closed).collect());
            }
            _ => {
                closed.insert(key.clone(), value.clone());
            }
        }
    }
    if closed.get("type").is_some_and(|kind| kind == "object") {
        closed.insert("additionalProperties".into(), json!(false));
    }
    if !wishes.is_empty() {
        let said = closed.get("description").and_then(Value::as_str).map(|said| format!("{said} ")).unwrap_or_default();
        closed.insert("description".into(), json!(format!("{said}({})", wishes.join(", "))));
    }
    Value::Object(closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_closed_and_what_cannot_be_held_to_is_told() {
        let schema = json!({"type": "object", "properties": {
            "minimum": {"type": "integer", "minimum": 1, "description": "How many."},
            "tags": {"type": "array", "items": {"type": "object", "properties": {}}}}});
        let expected = json!({"type": "object", "additionalProperties": false, "properties": {
            "minimum": {"type": "integer", "description": "How many. (minimum: 1)"},
            "tags": {"type": "array", "items": {"type": "object", "properties": {}, "additionalProperties": false}}}});
        assert_eq!(closed(&schema), expected);
    }
}
