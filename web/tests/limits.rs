//! Limits of keys and users, over real sockets.

// Each test file is a crate of its own and uses a part of the fakes.
#[allow(unreachable_pub, dead_code)]
mod fakes;

use std::time::Duration;

use axum::Extension;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::post;
use fakes::{Server, client, start_with};
use router::Cost;
use router::limit::{Allowance, Concurrency, KeyId, Limit, Meter, Policy, Use, Window};
use serde_json::{Value, json};
use web::{Keys, Limits, Ticket};

fn most(meter: Meter, window: Window, most: u64) -> Allowance {
    Allowance { limits: vec![Limit { meter, window, most }], concurrency: None }
}

/// `/v1/use/{user}/{estimate}/{used}`, in tokens, each of a thousandth of a dollar.
fn routes() -> axum::Router {
    let of = |tokens: u64| Use { requests: 1, tokens, cost: Cost::from_nano_usd(tokens * 1_000_000) };
    let work = move |Extension(ticket): Extension<Ticket>, Path((user, estimate, used)): Path<(String, u64, u64)>| async move {
        match ticket.reserve(Some(&user), of(estimate)).await {
            Ok(()) => {
                ticket.settle(of(used));
                "done".into_response()
            }
            Err(error) => error.into_response(),
        }
    };
    axum::Router::new().route("/v1/use/{user}/{estimate}/{used}", post(work))
}

async fn start(policy: Policy) -> Server {
    let keys = Keys::new(["sk-one".to_owned(), "sk-two".to_owned()]);
    start_with(Limits::default(), keys, policy, Some(routes())).await
}

async fn chat(server: &Server, key: &str, model: &str) -> reqwest::Response {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }], "stream": true });
    let request = client().post(format!("{}/v1/chat/completions", server.url)).bearer_auth(key).json(&body);
    request.send().await.expect("an answer")
}

async fn work(server: &Server, path: &str) -> (u16, String) {
    let request = client().post(format!("{}/v1/use/{path}", server.url)).bearer_auth("sk-one");
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.text().await.expect("text"))
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

#[tokio::test]
async fn a_key_beyond_its_requests_is_refused_in_openais_words() {
    let server = start(Policy { key: most(Meter::Requests, Window::Day, 2), ..Policy::default() }).await;
    for left in ["1", "0"] {
        let response = chat(&server, "sk-one", "fake/echo").await;
        assert_eq!((response.status().as_u16(), header(&response, "x-ratelimit-remaining-requests")), (200, left));
        assert_eq!(header(&response, "x-ratelimit-limit-requests"), "2");
        assert!(header(&response, "x-ratelimit-reset-requests").ends_with('s'));
        assert_eq!(header(&response, "x-ratelimit-limit-tokens"), "");
    }
    let response = chat(&server, "sk-one", "fake/echo").await;
    assert_eq!((response.status().as_u16(), header(&response, "x-ratelimit-remaining-requests")), (429, "0"));
    assert!(header(&response, "retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    let body: Value = response.json().await.expect("JSON");
    let error = &body["error"];
    assert_eq!((&error["type"], &error["code"]), (&json!("rate_limit_error"), &json!("rate_limit_exceeded")));
    assert!(error["message"].as_str().is_some_and(|message| message.contains("2 requests per day")), "{error}");
    // Looking costs nothing, and another key is another.
    let listed = client().get(format!("{}/v1/models", server.url)).bearer_auth("sk-one").send().await.expect("an answer");
    assert_eq!(listed.status(), 200);
    assert_eq!(chat(&server, "sk-two", "fake/echo").await.status(), 200);
}

#[tokio::test]
async fn a_key_may_have_limits_of_its_own() {
    let keys = [(KeyId::of("sk-two"), Allowance::default())].into();
    let server = start(Policy { key: most(Meter::Requests, Window::Day, 0), keys, ..Policy::default() }).await;
    let refused = chat(&server, "sk-one", "fake/echo").await;
    // No waiting helps.
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, ""));
    assert_eq!(chat(&server, "sk-two", "fake/echo").await.status(), 200);
}

#[tokio::test]
async fn what_a_user_used_counts_instead_of_what_was_reserved() {
    let server = start(Policy { user: most(Meter::Tokens, Window::Day, 100), ..Policy::default() }).await;
    assert_eq!(work(&server, "ann/100/10").await.0, 200);
    assert_eq!(work(&server, "ann/90/90").await.0, 200);
    let (status, text) = work(&server, "ann/1/1").await;
    assert!(status == 429 && text.contains("this user"), "{text}");
    assert_eq!(work(&server, "bob/100/100").await.0, 200);
}

#[tokio::test]
async fn money_runs_out() {
    let server = start(Policy { key: most(Meter::Money, Window::Day, 1_000_000_000), ..Policy::default() }).await;
    assert_eq!(work(&server, "ann/900/950").await.0, 200);
    let (status, text) = work(&server, "ann/100/100").await;
    assert!(status == 429 && text.contains("insufficient_quota") && text.contains("$1.00 per day"), "{text}");
}

#[tokio::test]
async fn a_place_is_free_again_when_its_answer_ends() {
    let concurrency = Some(Concurrency { at_once: 1, queue: 1, wait: Duration::from_secs(60) });
    let server = start(Policy { key: Allowance { limits: Vec::new(), concurrency }, ..Policy::default() }).await;
    let mut endless = chat(&server, "sk-one", "fake/endless").await;
    endless.chunk().await.expect("the first chunk");
    let waiting = chat(&server, "sk-one", "fake/echo");
    let (response, ()) = tokio::join!(waiting, async {
        // The queue has one place: once that is taken, the next is refused at once.
        while chat(&server, "sk-one", "fake/echo").await.status() != 429 {}
        drop(endless);
    });
    assert_eq!(response.status(), 200);
    assert!(response.text().await.expect("text").ends_with("data: [DONE]\n\n"));
    assert_eq!(chat(&server, "sk-one", "fake/echo").await.status(), 200);
}
