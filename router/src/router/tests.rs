//! Whole requests through a router whose providers answer by script.

use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use models::{
    Delta, Emotion, EmotionLabel, ErrorKind, Finish, Language, LanguageModel, Measured, Message, ModelError, Reading, Role, SignalKind,
    Signals, Trend,
};
use serde_json::{Value, json};

use super::*;
use crate::{CacheMode, Outcome};

/// A model that plays the script its own name spells: steps parted by `-`.
struct Scripted;

impl LanguageModel for Scripted {
    fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        let steps: Vec<String> = prompt.model.split('-').map(str::to_owned).collect();
        stream::iter(steps)
            .then(|step| async move {
                let fail = |kind| Err(ModelError::new(kind, "fake", step.clone()));
                match step.as_str() {
                    "busy" => fail(ErrorKind::Overloaded),
                    "bad" => fail(ErrorKind::BadRequest),
                    "cut" => fail(ErrorKind::Closed),
                    "wait" => {
                        tokio::time::sleep(Duration::from_secs(5)).await;
                        Ok(Delta::Text(String::new()))
                    }
                    "think" => Ok(Delta::Reasoning("hm".into())),
                    "stop" => Ok(Delta::Finish(Finish::Stop)),
                    word => Ok(Delta::Text(word.to_owned())),
                }
            })
            .boxed()
    }
}

fn router(routers: Value) -> Result<Router, RouterError> {
    let provider = Provider::new("p", Arc::new(Scripted), vec!["known".into()]);
    let routers = serde_json::from_value(routers).expect("its shape is right");
    Router::new(Config { providers: vec![provider], routers, default_model: "p/known".into(), ..Config::default() })
}

fn ruled(condition: &str) -> Result<Router, RouterError> {
    router(json!([{"name": "r",
        "routes": [{"condition": {"celExpression": condition}, "route": {"routeId": "yes", "variants": [{"variant": {"modelId": "p/yes"}}]}}],
        "defaultRoute": {"variants": [{"variant": {"model_id": "p/no"}, "weight": 100}]}}]))
}

fn request(model: &str, facts: Facts) -> Request {
    Request {
        prompt: Prompt { model: model.into(), messages: vec![Message::text(Role::User, "one two")], ..Prompt::default() },
        facts,
        ..Request::default()
    }
}

fn facts(metadata: Value, signals: Option<Signals>) -> Facts {
    Facts { metadata: metadata.as_object().cloned().unwrap_or_default(), user: None, signals: signals.map(Arc::new) }
}

fn frustrated() -> Signals {
    let half = audio::Probability::new(0.5);
    let emotion = Emotion {
        absolute: Some(Reading { label: EmotionLabel::Angry, confidence: half, arousal: half, valence: half }),
        trend: Some(Trend { arousal: 0.25, valence: -0.25 }),
        ..Emotion::new(EmotionLabel::Frustrated, audio::Probability::new(0.8), audio::Probability::new(0.3))
    };
    Signals {
        language: Some(Measured::new(Language::ENGLISH, 0.9, "test")),
        emotion: Some(Measured::new(emotion, 0.7, "test")),
        hesitation: Some(Measured::new(0.3, 0.5, "test")),
        ..Signals::default()
    }
}

#[test]
fn a_router_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    shared(&ruled("true").expect("it compiles"));
}

#[test]
fn rules_see_metadata_signals_and_small_facts() {
    for (condition, metadata, signals, holds) in [
        ("tier == 'premium'", json!({"tier": "premium"}), false, true),
        ("tier == 'premium'", json!({}), false, false),
        ("emotion == 'frustrated' || hesitation > 0.5", json!({}), true, true),
        ("emotion == 'frustrated' || hesitation > 0.5", json!({}), false, false),
        ("emotion == 'happy'", json!({"emotion": "happy"}), true, true),
        ("voice.emotion == 'frustrated'", json!({"emotion": "happy", "voice": {"emotion": "happy"}}), true, true),
        ("hesitation == 0.3 && hesitation < 1", json!({}), true, true),
        ("arousal > 0.5 && voice.valence < 0.5 && voice.emotion_confidence > 0.6", json!({}), true, true),
        ("emotion_absolute == 'angry' && voice.arousal_absolute == 0.5 && voice.emotion_absolute_confidence == 0.5", json!({}), true, true),
        ("arousal_trend > 0.2 && voice.valence_trend < -0.2", json!({}), true, true),
        ("emotion_relative == 'angry'", json!({}), true, false),
        ("n == 2 && n < 2.5", json!({"n": 2.0}), false, true),
        ("n > 1.5", json!({"n": 2}), false, true),
        ("'b' in tags && tags.exists(t, t == 'a')", json!({"tags": ["a", "b"]}), false, true),
        ("request.words == 2 && request.messages == 1", json!({}), false, true),
        ("metadata['x-y'] == 1", json!({"x-y": 1}), false, true),
        ("has(voice.emotion)", json!({}), false, false),
        ("nope == 1 || true", json!({}), false, true),
        ("1 / n > 0", json!({"n": 0}), false, false),
        ("n", json!({"n": 1}), false, false),
        ("language.matches('^e')", json!({}), true, true),
    ] {
        let router = ruled(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
        let answer = router.complete(request("timbre/r", facts(metadata, signals.then(frustrated)))).expect("there is a default");
        assert_eq!(answer.decision().route == "yes", holds, "{condition}");
    }
}

#[test]
fn what_went_wrong_in_a_rule_is_counted() {
    let router = ruled("1 / n > 0").expect("it compiles");
    for metadata in [json!({"n": 1}), json!({"n": 0}), json!({}), json!({"n": "x"})] {
        assert!(router.complete(request("r", facts(metadata, None))).is_ok());
    }
    let count = &router.counts()[0];
    assert_eq!((count.matched, count.missed, count.failed), (1, 1, 2));
}

#[test]
fn only_what_rules_read_is_wanted() {
    for (condition, wanted) in [
        ("tier == 'x'", &[][..]),
        ("emotion == 'x' || hesitation > 0.5", &[SignalKind::Emotion, SignalKind::Hesitation]),
        ("voice.arousal > 0.5", &[SignalKind::Emotion]),
        ("valence_trend < 0.0", &[SignalKind::Emotion]),
        ("voice['pace'] > 3 && has(voice.noise)", &[SignalKind::Pace, SignalKind::Noise]),
        ("voice.language_confidence > 0.5", &[SignalKind::Language]),
        ("repetitions + cut_offs > 2.0 || slow_starts > 0.0", &[SignalKind::Hesitation]),
        ("register == 'low' && jitter > 0.02", &[SignalKind::Pitch]),
        ("tags.exists(pitch, pitch == 'x')", &[]),
        ("size(voice) > 0", &SignalKind::ALL),
    ] {
        let expected = wanted.iter().fold(SignalSet::NONE, |all, kind| all.with(*kind));
        let router = ruled(condition).expect(condition);
        assert_eq!(
            (router.wanted(), router.wanted_by("timbre/r"), router.wanted_by("p/x")),
            (expected, expected, SignalSet::NONE),
            "{condition}"
        );
    }
}

#[test]
fn a_rule_that_could_run_away_is_refused_at_load() {
    let long = vec!["1"; 1_000].join("+");
    for (condition, expected) in [
        ("tier ==", "not CEL"),
        ("", "empty"),
        ("shell('x')", "shell() , which"),
        (long.as_str(), "too large"),
        ("l.all(a, l.all(b, a == b))", "loop inside a loop"),
        ("'a'.matches(pattern)", "written out"),
        ("'a'.matches('(')", "not valid"),
    ] {
        let error = ruled(condition).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(&expected.replace(" , ", ", ")) && error.contains("router.r.routes[0].condition"), "{condition}: {error}");
    }
}

#[test]
fn objects_that_make_no_sense_name_the_place() {
    let variants = |list: Value| json!([{"name": "r", "default_route": {"variants": list}}]);
    for (routers, expected) in [
        (variants(json!([])), "router.r.default_route.variants"),
        (variants(json!([{"variant": {"model_id": "p/a"}, "weight": 60}, {"variant": {"model_id": "p/b"}, "weight": 30}])), "sum to 90"),
        (variants(json!([{"variant": {"model_id": "p/a"}}, {"variant": {"model_id": "p/b"}, "weight": 30}])), "weight of each"),
        (variants(json!([{"variant": {"model_id": "nobody/a"}}])), "known are p/..."),
        (json!([{"name": "a/b"}]), "cannot name a router"),
    ] {
        let error = router(routers).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn users_keep_their_variant_and_shares_are_met() {
    let of = |first: f64| {
        router(json!([{"name": "r", "default_route": {"variants": [
            {"variant": {"model_id": "p/a"}, "weight": first}, {"variant": {"model_id": "p/b"}, "weight": 100.0 - first}]}}]))
        .expect("it is valid")
    };
    let variant = |router: &Router, user: Option<String>| {
        let answer = router.complete(request("r", Facts { user, ..Facts::default() })).expect("it has a route");
        answer.decision().variant.clone().expect("it has a variant")
    };
    let (ten, twenty) = (of(10.0), of(20.0));
    let mut shares = (0, 0);
    for n in 0..2_000 {
        let user = Some(format!("user-{n}"));
        let (before, after) = (variant(&ten, user.clone()), variant(&twenty, user.clone()));
        assert_eq!(before, variant(&of(10.0), user));
        assert!(before == "p/b" || after == "p/a", "a growing share moves nobody out of it");
        shares.0 += u32::from(before == "p/a");
        shares.1 += u32::from(variant(&ten, None) == "p/a");
    }
    assert!((140..260).contains(&shares.0) && (140..260).contains(&shares.1), "{shares:?}");
}

/// What is said, the attempts' outcomes, and the error's code.
async fn race(model: &str, others: &[&str]) -> (String, Vec<&'static str>, Option<&'static str>) {
    let router = router(json!([{"name": "r", "default_route": {"variants": [{"variant":
        {"model_id": model, "models": others, "ttft_timeout": "2s", "stall_timeout": "3s"}}]}}]))
    .expect("it is valid");
    let mut answer = router.complete(request("r", Facts::default())).expect("it has a route");
    let (mut said, mut code) = (String::new(), None);
    while let Some(item) = answer.next().await {
        match item {
            Ok(Delta::Text(text) | Delta::Reasoning(text)) => said.push_str(&text),
            Ok(_) => {}
            Err(error) => code = Some(error.code()),
        }
    }
    let outcomes = answer.attempts().into_iter().map(|attempt| match attempt.outcome {
        Outcome::Running => "running",
        Outcome::Answered(_) => "answered",
        Outcome::Failed(error) if error.kind == ErrorKind::Timeout => "timeout",
        Outcome::Failed(_) => "failed",
        Outcome::Outrun => "outrun",
        Outcome::Cancelled => "cancelled",
    });
    (said, outcomes.collect(), code)
}

#[tokio::test(start_paused = true)]
async fn failures_before_the_first_content_are_replaced_and_later_ones_continued() {
    for (model, others, said, outcomes, code) in [
        ("p/a-b-stop", &["p/c"][..], "ab", &["answered"][..], None),
        ("p/busy", &["p/c-stop"], "c", &["failed", "answered"], None),
        ("p/think-cut", &["p/c-stop"], "c", &["failed", "answered"], None),
        ("p/wait-a", &["p/c-stop"], "c", &["timeout", "answered"], None),
        ("p/busy", &["p/wait", "p/busy"], "", &["failed", "timeout", "failed"], Some("rate_limit_exceeded")),
        ("p/bad", &["p/c-stop"], "", &["failed"], Some("invalid_request")),
        ("p/a-cut", &["p/c-stop"], "ac", &["failed", "answered"], None),
        ("p/a-wait-b", &["p/c-stop"], "ac", &["timeout", "answered"], None),
        ("p/a-cut", &[], "a", &["failed"], Some("upstream_interrupted")),
        ("p/a-stop-cut", &["p/c-stop"], "a", &["answered"], None),
        ("p/stop", &["p/c-stop"], "", &["answered"], None),
    ] {
        assert_eq!(race(model, others).await, (said.to_owned(), outcomes.to_vec(), code), "{model} {others:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_an_answer_cancels_its_attempt() {
    let mut answer = router(json!([])).expect("it is valid").complete(request("p/a-wait", Facts::default())).expect("it is known");
    assert_eq!(answer.next().await.map(|item| item.is_ok()), Some(true));
    assert!(answer.next().now_or_never().is_none());
    let log = answer.log();
    drop(answer);
    assert_eq!(log.attempts()[0].outcome, Outcome::Cancelled);
}

#[test]
fn names_stand_for_routers_targets_or_the_default() {
    let router = ruled("true").expect("it compiles");
    let target = |id: &str| Some(Resolved::Target(id.to_owned()));
    for (name, expected) in [
        ("timbre/r", Some(Resolved::Router("r".into()))),
        ("r", Some(Resolved::Router("r".into()))),
        ("p/any/thing", target("p/any/thing")),
        ("known", target("p/known")),
        ("", target("p/known")),
        ("auto", target("p/known")),
        ("gpt-realtime", None),
        ("timbre/none", None),
        ("p/", None),
    ] {
        assert_eq!(router.resolve(name), expected, "{name}");
    }
    let error = router.complete(request("gpt-4o-mini", Facts::default())).expect_err("it is unknown");
    assert_eq!((error.status(), error.param(), error.code()), (404, Some("model"), "model_not_found"));
    assert!(error.to_string().contains("timbre/r, p/known"));
}

#[test]
fn metadata_too_large_to_route_by_is_the_callers_fault() {
    let error =
        ruled("true").expect("it compiles").complete(request("r", facts(json!({"l": vec![0; 1_000]}), None))).expect_err("too large");
    assert_eq!((error.status(), error.param()), (400, Some("metadata")));
}

#[tokio::test(start_paused = true)]
async fn a_variant_says_whether_answers_survive_and_when_company_is_asked() {
    for (defaults, variant, said, attempts) in [
        (json!({}), json!({}), "ac", 2),
        (json!({}), json!({"survive": false}), "a", 1),
        (json!({"survive": false}), json!({}), "a", 1),
        (json!({"survive": false}), json!({"survive": true}), "ac", 2),
    ] {
        let mut variant = variant;
        variant["model_id"] = json!("p/a-cut");
        variant["models"] = json!(["p/c-stop"]);
        let object = json!([{"name": "r", "defaults": defaults, "default_route": {"variants": [{"variant": variant}]}}]);
        let mut answer = router(object).expect("it is valid").complete(request("r", Facts::default())).expect("it has a route");
        let mut text = String::new();
        while let Some(item) = answer.next().await {
            if let Ok(Delta::Text(more)) = item {
                text.push_str(&more);
            }
        }
        assert_eq!((text.as_str(), answer.attempts().len()), (said, attempts));
    }
    let variant = json!({"model_id": "p/wait-a", "models": ["p/c-stop"], "hedgeAfter": "300ms"});
    let object = json!([{"name": "r", "default_route": {"variants": [{"variant": variant}]}}]);
    let mut answer = router(object).expect("it is valid").complete(request("r", Facts::default())).expect("it has a route");
    while answer.next().await.is_some() {}
    assert_eq!(answer.attempts().iter().map(|attempt| attempt.outcome == Outcome::Outrun).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_route_says_which_answers_are_given_again() {
    let object = |cache: Value| {
        let variants = json!([{"variant": {"model_id": "p/a-stop"}}]);
        json!([{"name": "r", "default_route": {"variants": variants, "cache": cache}}])
    };
    for (cache, mode) in [
        (json!("semantic"), Some(CacheMode::Semantic)),
        (json!({"mode": "exact", "ttl": "10m"}), Some(CacheMode::Exact)),
        (json!(null), None),
    ] {
        let decision = router(object(cache)).expect("it is valid").decide(request("r", Facts::default())).expect("it has a route");
        assert_eq!(decision.cache.mode, mode);
    }
    let error = router(object(json!("sometimes"))).err().expect("no such mode").to_string();
    assert!(error.contains("default_route") && error.contains("allowed are off, exact, semantic"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_shadow_is_asked_beside_the_answer() {
    let (sender, mut told) = tokio::sync::mpsc::channel(8);
    let object = |model: &str| {
        let variant = json!({"model_id": model, "shadow": {"model_id": "p/s-stop"}});
        json!([{"name": "r", "default_route": {"variants": [{"variant": variant}]}}])
    };
    let shadowed = router(object("p/a-stop")).expect("it is valid");
    let work = shadowed.shadows(4, move |one| sender.try_send(one).expect("there is room")).expect("nobody took it");
    assert!(shadowed.shadows(4, |_| {}).is_none(), "it is done once");
    let ask = |id: &str| shadowed.complete(Request { id: id.to_owned(), ..request("r", Facts::default()) }).expect("it has a route");
    // An answer that nobody polls is not mirrored.
    drop(ask("unasked"));
    let mut answer = ask("req_1");
    assert_eq!(answer.decision().shadow.as_deref(), Some("p/s-stop"));
    while answer.next().await.is_some() {}
    assert_eq!(shadowed.shadow_count(), crate::ShadowCount { taken: 1, dropped: 0 });
    drop((answer, shadowed));
    work.await;
    let one = told.recv().await.expect("it was asked");
    assert_eq!(
        (one.id.as_str(), one.target.as_str(), one.decision.targets.as_slice()),
        ("req_1", "p/s-stop", &["p/a-stop".to_owned()][..])
    );
    assert_eq!(one.answer.as_ref().map(|answer| answer.text.as_str()), Ok("s"));
    let record = crate::Record::from(one);
    assert_eq!((record.dialect, record.status, record.model.as_str(), record.attempts.len()), ("shadow", 200, "p/s-stop", 1));
    assert!(told.recv().await.is_none());
}
