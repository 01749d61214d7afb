//! Any change changes the key; the order of an object's fields is no change.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1.0e6..1.0e6_f64).prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::from), object(inner).prop_map(Value::Object)]
    })
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    vec(("[a-d]{1,2}", value), 0..4).prop_map(Map::from_iter)
}

fn extra() -> impl Strategy<Value = Map<String, Value>> {
    object(json_value())
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        "[a-c ]{0,4}".prop_map(Part::Text),
        ("[a-c]{0,3}", json_value()).prop_map(|(text, cache_control)| Part::Cached { text, cache_control }),
        ("[a-c]{0,3}", any::<Option<bool>>(), any::<Option<bool>>()).prop_map(|(text, signature, redacted)| Part::Reasoning {
            text,
            signature: signature.map(|s| s.to_string()),
            redacted: redacted.map(|s| s.to_string())
        }),
        json_value().prop_map(Part::Other),
    ]
}

fn call() -> impl Strategy<Value = ToolCall> {
    ("[a-c]{0,2}", "[a-c]{0,2}", "[a-c]{0,2}", extra()).prop_map(|(id, name, arguments, extra)| ToolCall { id, name, arguments, extra })
}

fn message() -> impl Strategy<Value = Message> {
    let role = prop_oneof![Just(Role::System), Just(Role::User), Just(Role::Assistant), Just(Role::Tool)];
    (role, vec(part(), 0..3), vec(call(), 0..2), proptest::option::of("[a-c]{0,2}"), extra())
        .prop_map(|(role, parts, tool_calls, tool_call_id, extra)| Message { role, parts, tool_calls, tool_call_id, extra })
}

fn tool() -> impl Strategy<Value = Tool> {
    ("[a-c]{0,2}", proptest::option::of("[a-c]{0,2}"), proptest::option::of(json_value()), extra())
        .prop_map(|(name, description, parameters, extra)| Tool { name, description, parameters, extra })
}

fn sampling() -> impl Strategy<Value = Sampling> {
    (any::<Option<u32>>(), any::<Option<i8>>(), any::<Option<i8>>(), vec("[a-c]{0,2}", 0..3), any::<Option<u64>>()).prop_map(
        |(max_tokens, temperature, top_p, stop, seed)| Sampling {
            max_tokens,
            temperature: temperature.map(f32::from),
            top_p: top_p.map(f32::from),
            stop,
            seed,
        },
    )
}

fn prompt() -> impl Strategy<Value = Prompt> {
    ("[a-c]{0,2}", vec(message(), 0..4), vec(tool(), 0..3), proptest::option::of(json_value()), sampling(), extra()).prop_map(
        |(model, messages, tools, tool_choice, sampling, extra)| Prompt {
            id: String::new(),
            model,
            messages,
            tools,
            tool_choice,
            sampling,
            extra,
            whole: false,
            web_search: None,
        },
    )
}

fn key(prompt: &Prompt) -> CacheKey {
    CacheKey::of(&Scope::default(), prompt, &[])
}

/// The same with the fields of every object in the opposite order.
fn turned(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(turned).collect(),
        Value::Object(object) => Value::Object(turned_object(object)),
        plain => plain.clone(),
    }
}

fn turned_object(object: &Map<String, Value>) -> Map<String, Value> {
    object.iter().rev().map(|(name, value)| (name.clone(), turned(value))).collect()
}

fn turned_prompt(mut prompt: Prompt) -> Prompt {
    prompt.extra = turned_object(&prompt.extra);
    prompt.tool_choice = prompt.tool_choice.as_ref().map(turned);
    for tool in &mut prompt.tools {
        tool.parameters = tool.parameters.as_ref().map(turned);
        tool.extra = turned_object(&tool.extra);
    }
    for message in &mut prompt.messages {
        message.extra = turned_object(&message.extra);
        message.tool_calls.iter_mut().for_each(|call| call.extra = turned_object(&call.extra));
        for part in &mut message.parts {
            match part {
                Part::Cached { cache_control: value, .. } | Part::Other(value) => *value = turned(value),
                Part::Text(_) | Part::Reasoning { .. } => {}
            }
        }
    }
    prompt
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two prompts have one key where they are equal, and only there.
    #[test]
    fn different_prompts_have_different_keys(a in prompt(), b in prompt()) {
        prop_assert_eq!(key(&a) == key(&b), a == b);
    }

    /// One part of a prompt taken from another: any field of it.
    #[test]
    fn any_field_changes_the_key(a in prompt(), b in prompt(), field in 0..6_usize) {
        let mut mixed = a.clone();
        match field {
            0 => mixed.model = b.model,
            1 => mixed.messages = b.messages,
            2 => mixed.tools = b.tools,
            3 => mixed.tool_choice = b.tool_choice,
            4 => mixed.sampling = b.sampling,
            _ => mixed.extra = b.extra,
        }
        prop_assert_eq!(key(&a) == key(&mixed), a == mixed);
    }

    /// A field of one message taken from another message.
    #[test]
    fn any_field_of_a_message_changes_the_key(a in message(), b in message(), field in 0..5_usize) {
        let mut mixed = a.clone();
        match field {
            0 => mixed.role = b.role,
            1 => mixed.parts = b.parts,
            2 => mixed.tool_calls = b.tool_calls,
            3 => mixed.tool_call_id = b.tool_call_id,
            _ => mixed.extra = b.extra,
        }
        let of = |message: &Message| key(&Prompt { messages: vec![message.clone()], ..Prompt::default() });
        prop_assert_eq!(of(&a) == of(&mixed), a == mixed);
    }

    #[test]
    fn the_order_of_fields_is_no_change(prompt in prompt()) {
        prop_assert_eq!(key(&prompt), key(&turned_prompt(prompt.clone())));
    }

    #[test]
    fn a_key_reads_back(prompt in prompt()) {
        let key = key(&prompt);
        prop_assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn no_text_but_a_key_is_one(text in "\\PC{0,70}") {
        prop_assert_eq!(text.parse::<CacheKey>().is_ok(), text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}

#[test]
fn the_scope_is_part_of_it() {
    let prompt = Prompt::default();
    let scope = Scope { tenant: "a", model: "b", router: Some(("c", 1)), route: "d", variant: Some("e") };
    let changed = [
        Scope { tenant: "x", ..scope },
        Scope { model: "x", ..scope },
        Scope { router: None, ..scope },
        Scope { router: Some(("x", 1)), ..scope },
        Scope { router: Some(("c", 2)), ..scope },
        Scope { route: "x", ..scope },
        Scope { variant: None, ..scope },
        Scope { tenant: "ab", model: "", ..scope },
    ];
    let mut keys: Vec<CacheKey> = changed.iter().chain([&scope]).map(|scope| CacheKey::of(scope, &prompt, &[])).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), changed.len() + 1);
}

#[test]
fn delivery_and_what_is_ignored_are_not() {
    let with = |extra: Value| Prompt { extra: extra.as_object().cloned().unwrap_or_default(), ..Prompt::default() };
    for (extra, same) in [
        (json!({"stream": true, "stream_options": {"include_usage": true}, "cache": {"ttl": "1m"}}), true),
        (json!({"metadata": {"trace": "1"}}), true),
        (json!({"response_format": {"type": "json_object"}}), false),
        (json!({"user": "ada"}), false),
        (json!({"nested": {"stream": true}}), false),
    ] {
        let ignored = ["metadata".to_owned()];
        let key = |prompt: &Prompt| CacheKey::of(&Scope::default(), prompt, &ignored);
        assert_eq!(key(&with(extra.clone())) == key(&Prompt::default()), same, "{extra}");
    }
}

#[test]
fn a_mark_for_the_providers_cache_is_part_of_it() {
    let said = |part| Prompt { messages: vec![Message { parts: vec![part], ..Message::text(Role::User, "") }], ..Prompt::default() };
    let marked = |ttl: &str| {
        let cache_control = json!({"type": "ephemeral", "ttl": ttl});
        key(&said(Part::Cached { text: "hello".into(), cache_control }))
    };
    assert_ne!(marked("5m"), marked("1h"));
    assert_ne!(marked("5m"), key(&said(Part::Text("hello".into()))));
}
