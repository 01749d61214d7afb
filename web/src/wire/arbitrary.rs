//! JSON of any shape, for property tests of the request parsers: names that the parser knows are put in likely and unlikely places.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Any JSON value; objects have the given names for keys, texts are often one of them.
pub(crate) fn value(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(names).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let key = proptest::sample::select(names).prop_map(str::to_owned);
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((key, inner), 0..8).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// A request body: mostly an object with a model, so that more than its first line is read.
pub(crate) fn request(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let named = (vec((proptest::sample::select(names), value(names)), 0..8)).prop_map(|pairs| {
        let mut body = json!({ "model": "m" });
        pairs.into_iter().for_each(|(name, value)| body[name] = value);
        body
    });
    prop_oneof![9 => named, 1 => value(names)]
}
