//! JSON schemas for models before Gemini 2.5, which take a subset of OpenAPI's instead.

use serde_json::{Map, Value, json};

/// Keywords of the subset (the API's `Schema` message). Anything else is refused.
const KNOWN: [&str; 17] = [
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "maxItems",
    "minItems",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "default",
    "minimum",
    "maximum",
];
/// Deepest schema that is followed: a reference may lead back to itself.
const DEEPEST: usize = 32;

/// The schema in the subset. References are resolved.
pub(super) fn subset(schema: &Value) -> Value {
    reduced(schema, schema, 0)
}

fn reduced(schema: &Value, root: &Value, depth: usize) -> Value {
    let Some(object) = schema.as_object().filter(|_| depth < DEEPEST) else { return json!({"type": "object"}) };
    if let Some(pointer) = object.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#')) {
        return root.pointer(pointer).map_or_else(|| json!({"type": "object"}), |target| reduced(target, root, depth + 1));
    }
    let mut kept = Map::new();
    for (key, value) in object {
        match key.as_str() {
            "type" if value.is_array() => {
                // `["string", "null"]`
                let kinds: Vec<&Value> = value.as_array().into_iter().flatten().filter(|kind| *kind != "null").collect();
                if kinds.len() < value.as_array().map_or(0, Vec::len) {
                    kept.insert("nullable".into(), json!(true));
                }
                match kinds.as_slice() {
                    [only] => drop(kept.insert("type".into(), (*only).clone())),
                    kinds => drop(kept.insert("anyOf".into(), kinds.iter().map(|kind| json!({"type": kind})).collect())),
                }
            }
            // Formats are few here, and an unknown one is refused.
            "format" if !matches!(value.as_str(), Some("int32" | "int64" | "float" | "double" | "enum" | "date-time")) => {}
            // So is a list of values that are no texts.
            "enum" if !value.as_array().is_some_and(|values| values.iter().all(Value::is_string)) => {}
            "const" if value.is_string() => drop(kept.insert("enum".into(), json!([value]))),
            "properties" => {
                let members = value.as_object().into_iter().flatten();
                let members: Map<String, Value> = members.map(|(name, member)| (name.clone(), reduced(member, root, depth + 1))).collect();
                if !members.is_empty() {
                    kept.insert("properties".into(), Value::Object(members));
                }
            }
            "items" => drop(kept.insert("items".into(), reduced(value, root, depth + 1))),
            "anyOf" | "oneOf" => any_of(&mut kept, value, root, depth),
            key if KNOWN.contains(&key) => drop(kept.insert(key.into(), value.clone())),
            _ => {}
        }
    }
    Value::Object(kept)
}

fn any_of(kept: &mut Map<String, Value>, options: &Value, root: &Value, depth: usize) {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let real: Vec<Value> =
        options.iter().filter(|option| option["type"] != "null").map(|option| reduced(option, root, depth + 1)).collect();
    if real.len() < options.len() {
        kept.insert("nullable".into(), json!(true));
    }
    match real.as_slice() {
        [Value::Object(only)] => kept.extend(only.clone()),
        _ => drop(kept.insert("anyOf".into(), Value::Array(real))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_subset_is_left() {
        let schema = json!({"$schema": "x", "type": "object", "additionalProperties": false,
            "$defs": {"city": {"type": "string", "format": "uri"}, "loop": {"$ref": "#/$defs/loop"}},
            "properties": {
                "city": {"$ref": "#/$defs/city"}, "unit": {"const": "C"}, "note": {"type": ["string", "null"]},
                "days": {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "loop": {"$ref": "#/$defs/loop"}},
            "required": ["city"]});
        let expected = json!({"type": "object", "properties": {
                "city": {"type": "string"}, "unit": {"enum": ["C"]}, "note": {"type": "string", "nullable": true},
                "days": {"type": "integer", "nullable": true}, "loop": {"type": "object"}},
            "required": ["city"]});
        assert_eq!(subset(&schema), expected);
    }
}
