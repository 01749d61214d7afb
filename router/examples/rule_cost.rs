//! What one decision costs: a rule of five clauses over request and voice facts, from the request to the chosen targets.
//!
//! `cargo run --release -p router --example rule_cost` prints nanoseconds; the difference between the router with the rule and the one
//! without is the rule.

use std::sync::Arc;
use std::time::Instant;

use futures::stream::{self, BoxStream, StreamExt};
use models::{Delta, Emotion, EmotionLabel, Language, LanguageModel, Measured, Message, ModelError, Prompt, Role, Signals};
use router::{Config, Facts, Provider, Request, Router};
use serde_json::json;

/// Five clauses; all of them are read before the answer is known.
const RULE: &str = "tier == 'premium' && voice.emotion == 'frustrated' && voice.hesitation > 0.2 && request.messages < 20 && \
                    request.tokens < 4000";
/// About as much as a rule may do: a loop of sixty operations over as many values as metadata can hold, none of which ends it early.
const DEAREST: &str = "tags.all(t, t != 'a' && t != 'b' && t != 'c' && t != 'd' && t != 'e' && t != 'f' && t != 'g' && t != 'h' && \
                       t != 'i' && t != 'j' && t != 'k' && t != 'l' && t != 'm' && t != 'n')";
/// Requests of one run: together less than the time slice of a busy machine.
const ROUNDS: u32 = 200;
/// Runs, of which the fastest counts: the one that nothing interrupted.
const RUNS: u32 = 2_000;

struct Silent;

impl LanguageModel for Silent {
    fn complete(&self, _prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        stream::empty().boxed()
    }
}

fn router(routes: serde_json::Value) -> Router {
    let provider = Provider::new("p", Arc::new(Silent), vec!["known".into()]);
    let object = json!({"name": "r", "routes": routes, "default_route": {"variants": [{"variant": {"model_id": "p/no"}}]}});
    let routers = vec![serde_json::from_value(object).expect("its shape is right")];
    Router::new(Config { providers: vec![provider], routers, default_model: "p/known".into(), ..Config::default() }).expect("it compiles")
}

/// The fastest run, nanoseconds for each request.
fn measure(router: &Router, request: &Request, rounds: u32) -> f64 {
    let run = |_| {
        let began = Instant::now();
        for _ in 0..rounds {
            let decision = router.decide(std::hint::black_box(request.clone()));
            let _ = std::hint::black_box(decision);
        }
        began.elapsed().as_nanos() as f64 / f64::from(rounds)
    };
    (0..RUNS).map(run).fold(f64::INFINITY, f64::min)
}

fn main() {
    let emotion = Emotion::new(EmotionLabel::Frustrated, audio::Probability::new(0.8), audio::Probability::new(0.3));
    let signals = Signals {
        language: Some(Measured::new(Language::ENGLISH, 0.9, "example")),
        emotion: Some(Measured::new(emotion, 0.7, "example")),
        hesitation: Some(Measured::new(0.3, 0.5, "example")),
        ..Signals::default()
    };
    let metadata = json!({"tier": "premium", "plan": "yearly", "region": "eu"}).as_object().cloned().unwrap_or_default();
    let words = "My order has not arrived and nobody answers the phone, can you please tell me where it is?";
    let messages = vec![Message::text(Role::System, "You are a helpful assistant."), Message::text(Role::User, words)];
    let request = Request {
        prompt: Prompt { model: "timbre/r".into(), messages, ..Prompt::default() },
        facts: Facts { metadata, user: Some("alice".into()), signals: Some(Arc::new(signals)) },
        ..Request::default()
    };
    let route = |condition: Option<&str>| {
        let condition = condition.map(|condition| json!({"cel_expression": condition}));
        json!([{"condition": condition, "route": {"variants": [{"variant": {"model_id": "p/yes"}}]}}])
    };
    let (ruled, bare) = (router(route(Some(RULE))), router(route(None)));
    let matched = ruled.decide(request.clone()).map(|decision| decision.route);
    assert_eq!(matched.as_deref(), Ok("route-1"), "the rule holds, so all five clauses are read");
    let (with, without) = (measure(&ruled, &request, ROUNDS), measure(&bare, &request, ROUNDS));
    println!("decision with one rule of five clauses: {with:.0} ns");
    println!("decision without a rule: {without:.0} ns");
    println!("the rule: {:.0} ns", with - without);
    let mut large = request;
    large.facts.metadata = json!({"tags": vec!["zz"; 255]}).as_object().cloned().unwrap_or_default();
    let dearest = router(route(Some(DEAREST)));
    assert_eq!(dearest.decide(large.clone()).map(|decision| decision.route).as_deref(), Ok("route-1"), "the loop goes to its end");
    println!("decision with about the dearest rule allowed: {:.0} ns", measure(&dearest, &large, 1));
}
