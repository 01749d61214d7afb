//! Routers over HTTP: made, listed, changed, explained, scored, rolled back and deleted, each acting on the next request.

#[allow(unreachable_pub, dead_code)]
mod fakes;

use fakes::{client, start};
use serde_json::{Value, json};
use web::{Keys, Limits};

/// Status and body of a request.
async fn ask(method: &str, url: String, body: Option<&Value>) -> (u16, Value) {
    let request = client().request(method.parse().expect("a method"), url);
    let request = match body {
        Some(body) => request.json(body),
        None => request,
    };
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

fn route(model: &str) -> Value {
    json!({ "variants": [{ "variant": { "modelId": model }, "weight": 100 }] })
}

fn object(name: &str) -> Value {
    json!({
        "name": name, "displayName": "Support",
        "routes": [{ "condition": { "celExpression": "tier == 'vip' || voice.emotion == 'angry'" }, "route": route("fake/echo") }],
        "defaultRoute": route("fake/busy"),
    })
}

#[tokio::test]
async fn a_router_lives_from_its_making_to_its_deletion() {
    let server = start(Limits::default(), Keys::default()).await;
    let base = format!("{}/router/v1/routers", server.url);
    let (status, made) = ask("POST", base.clone(), Some(&object("support"))).await;
    assert_eq!((status, &made["done"], &made["response"]["name"]), (200, &json!(true), &json!("routers/support")), "{made}");
    let router = &made["response"];
    assert_eq!((&router["routes"][0]["route"]["route_id"], &router["defaultRoute"]["route_id"]), (&json!("route-1"), &json!("default")));
    assert_eq!((&router["version"], &router["source"]), (&json!(1), &json!("api")));
    // What was read can be written back.
    let (status, back) = ask("PATCH", format!("{base}/support"), Some(router)).await;
    assert_eq!((status, &back["response"]["version"], &back["response"]["routes"]), (200, &json!(2), &router["routes"]));

    let chat =
        |tier: &str| json!({ "model": "inworld/support", "messages": [{ "role": "user", "content": "hi" }], "metadata": { "tier": tier } });
    let completions = format!("{}/v1/chat/completions", server.url);
    assert_eq!(ask("POST", completions.clone(), Some(&chat("vip"))).await.1["choices"][0]["message"]["content"], "You said: hi.");
    assert!(ask("POST", completions.clone(), Some(&chat("none"))).await.0 == 429);
    let (_, patched) =
        ask("PATCH", format!("{base}/support?update_mask=defaultRoute"), Some(&json!({ "default_route": route("fake/echo") }))).await;
    assert_eq!(patched["response"]["displayName"], "Support", "{patched}");
    assert_eq!(ask("POST", completions.clone(), Some(&chat("none"))).await.0, 200);

    let told = ask(
        "POST",
        format!("{base}/support:explain"),
        Some(&json!({ "messages": [{ "role": "user", "content": "hi" }], "voice": { "emotion": "angry" } })),
    )
    .await;
    assert_eq!((told.0, &told.1["route_id"], &told.1["targets"][0]["target"]), (200, &json!("route-1"), &json!("fake/echo")), "{told:?}");
    assert_eq!((&told.1["rules"][0]["verdict"], &told.1["draw"]["variants"][0]["weight"]), (&json!("held"), &json!(100.0)));

    let (status, scored) =
        ask("POST", format!("{}/v1/feedback", server.url), Some(&json!({ "router": "support", "variant": "fake/echo", "score": true })))
            .await;
    assert_eq!((status, &scored["route"]), (200, &json!("default")), "{scored}");
    let (_, outcomes) = ask("GET", format!("{base}/support/variants"), None).await;
    let scored =
        outcomes["variants"].as_array().expect("a list").iter().find(|outcome| !outcome["score"].is_null()).expect("one was scored");
    assert_eq!((&scored["variant_id"], &scored["score"]["value"]), (&json!("fake/echo"), &json!(1.0)));

    assert_eq!(ask("POST", format!("{base}/support:rollback"), Some(&json!({ "version": 1 }))).await.1["response"]["version"], 4);
    assert!(ask("POST", completions.clone(), Some(&chat("none"))).await.0 == 429);
    assert_eq!(ask("DELETE", format!("{base}/support"), None).await, (200, json!({})));
    assert_eq!(ask("POST", completions, Some(&chat("vip"))).await.0, 404);
    let (_, versions) = ask("GET", format!("{base}/support/versions"), None).await;
    let changes: Vec<&Value> = versions["versions"].as_array().expect("a list").iter().map(|version| &version["change"]).collect();
    assert_eq!(changes, ["deleted", "restored", "updated", "updated", "created"]);
}

#[tokio::test]
async fn routers_are_listed_by_pages() {
    let server = start(Limits::default(), Keys::default()).await;
    let base = format!("{}/router/v1/routers", server.url);
    for name in ["a", "b", "c"] {
        assert_eq!(ask("POST", base.clone(), Some(&object(name))).await.0, 200);
    }
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let (_, page) = ask("GET", format!("{base}?pageSize=2&pageToken={token}"), None).await;
        assert_eq!(page["totalSize"], 3);
        names.extend(page["routers"].as_array().expect("a list").iter().map(|router| router["name"].clone()));
        token = page["nextPageToken"].as_str().expect("a text").to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["routers/a", "routers/b", "routers/c"]);
    assert_eq!(ask("GET", format!("{base}?page_size=0"), None).await.0, 400);
}

#[tokio::test]
async fn mistakes_name_what_is_allowed() {
    let server = start(Limits::default(), Keys::new(["secret".to_owned()])).await;
    let base = format!("{}/router/v1/routers", server.url);
    assert_eq!(ask("GET", base, None).await.0, 401, "the router API is behind the same keys");
    let server = start(Limits::default(), Keys::default()).await;
    let base = format!("{}/router/v1/routers", server.url);
    assert_eq!(ask("POST", base.clone(), Some(&object("r"))).await.0, 200);
    let mut unbalanced = object("x");
    unbalanced["defaultRoute"]["variants"][0]["weight"] = json!(60);
    for (method, path, body, status, expected) in [
        ("POST", "", Some(json!({ "rotues": [] })), 400, "did you mean `routes`?"),
        ("POST", "", Some(unbalanced), 400, "sum to exactly 100"),
        ("POST", "", Some(object("r")), 409, "there is a router"),
        ("GET", "/none", None, 404, "there is no router"),
        ("GET", "/none/variants", None, 404, "there is no router"),
        ("PATCH", "/r?updateMask=colour", Some(json!({})), 400, "there is no field"),
        ("DELETE", "/none", None, 404, "there is no router"),
        ("POST", "/r:rollback", Some(json!({ "version": 7 })), 404, "no version 7"),
        ("POST", "/r:rollback", Some(json!({})), 400, "`version` is required"),
        ("POST", "/r:explode", Some(json!({})), 404, "{id}:explain"),
        ("POST", "/r:explain", Some(json!({})), 400, "`messages` is required"),
    ] {
        let (got, answer) = ask(method, format!("{base}{path}"), body.as_ref()).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(got == status && message.contains(expected), "{method} {path}: {got} {answer}");
    }
    let (status, answer) = ask("POST", format!("{}/v1/feedback", server.url), Some(&json!({ "request_id": "x", "score": 1 }))).await;
    assert!(status == 400 && answer["error"]["message"].as_str().is_some_and(|message| message.contains("no request \"x\"")), "{answer}");
}
