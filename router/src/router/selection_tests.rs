//! Choosing without asking: rules over every kind of fact, sorting, wishes of the request, changes at run time, explanations, scores.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use models::{Delta, LanguageModel, Message, ModelError, Part, Role};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::catalogue::{Abilities, Ability};
use crate::{Source, TargetFact, Verdict, winners};

/// Answers at once, with the model's name.
struct Named;

impl LanguageModel for Named {
    fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        let finish = if prompt.model == "bad" {
            Err(ModelError::new(models::ErrorKind::Failed, "p", "no"))
        } else {
            Ok(Delta::Finish(models::Finish::Stop))
        };
        futures::stream::iter([Ok(Delta::Text(prompt.model)), finish]).boxed()
    }
}

/// Facts that a test sets.
#[derive(Debug, Default)]
struct Table(Mutex<HashMap<String, TargetFact>>);

impl TargetFacts for Table {
    fn of(&self, target: &str) -> TargetFact {
        self.0.lock().expect("no test panics with it").get(target).copied().unwrap_or_default()
    }
}

fn table() -> Table {
    let fact = |ms: Option<u64>, tokens: Option<f64>, input: f64, output: f64, healthy: Option<bool>| TargetFact {
        latency: ms.map(Duration::from_millis),
        throughput: tokens,
        price_input: Some(input),
        price_output: Some(output),
        context: Some(128_000),
        healthy,
        ..TargetFact::default()
    };
    Table(Mutex::new(HashMap::from([
        ("p/cheap".to_owned(), fact(Some(900), Some(40.0), 0.1, 0.4, Some(true))),
        ("p/fast".to_owned(), fact(Some(120), Some(200.0), 0.6, 2.4, None)),
        ("p/clever".to_owned(), fact(Some(2_000), Some(40.0), 5.0, 25.0, None)),
        ("p/dead".to_owned(), fact(Some(1), Some(999.0), 0.0, 0.0, Some(false))),
        ("q/cheap".to_owned(), fact(None, None, 0.1, 0.4, None)),
    ])))
}

const RANKS: &str = "model,metric,score,source,date\nclever,intelligence,90,a test,2026-01-01\nfast,intelligence,50,a test,2026-01-01\n";

fn config(routers: Value) -> Config {
    let provider = |name: &str, models: &[&str]| Provider {
        name: name.into(),
        model: Arc::new(Named),
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        embedder: None,
        replicas: None,
    };
    Config {
        providers: vec![provider("p", &["cheap", "fast", "clever", "dead", "org/slashed"]), provider("q", &["cheap"])],
        routers: serde_json::from_value(routers).expect("its shape is right"),
        default_model: "p/fast".into(),
        target_facts: Some(Arc::new(table())),
        ranks: Some(RANKS.to_owned()),
        ..Config::default()
    }
}

fn router(routers: Value) -> Router {
    Router::new(config(routers)).expect("it is valid")
}

fn request(model: &str, extra: Value) -> Request {
    let extra = extra.as_object().cloned().unwrap_or_default();
    let messages = vec![Message::text(Role::User, "one two")];
    Request { prompt: Prompt { model: model.into(), messages, extra, ..Prompt::default() }, ..Request::default() }
}

fn targets(router: &Router, model: &str, extra: Value) -> Result<Vec<String>, String> {
    router.decide(request(model, extra)).map(|decision| decision.targets).map_err(|error| error.to_string())
}

#[test]
fn a_request_says_what_to_sort_by_what_to_ignore_and_what_comes_next() {
    let router = router(json!([]));
    for (model, extra, expected) in [
        ("auto", json!({}), &["p/fast"][..]),
        ("", json!({}), &["p/fast"]),
        ("auto", json!({"models": ["p/cheap"]}), &["p/fast", "p/cheap"]),
        ("auto", json!({"sort": ["price"]}), &["p/cheap", "q/cheap", "p/fast", "p/clever", "p/org/slashed", "p/dead"]),
        ("auto", json!({"sort": ["price", "latency"], "ignore": ["p"]}), &["q/cheap"]),
        ("auto", json!({"sort": "latency", "models": ["p/clever", "p/fast", "p/dead"]}), &["p/fast", "p/clever", "p/dead"]),
        (
            "auto",
            json!({"sort": [{"metric": "SORT_METRIC_THROUGHPUT"}, {"metric": "price", "direction": "SORT_DIRECTION_DESCENDING"}],
            "ignore": ["q", "p/org/slashed", "dead"]}),
            &["p/fast", "p/clever", "p/cheap"],
        ),
        ("auto", json!({"sort": ["intelligence"], "models": ["p/cheap", "p/fast", "p/clever"]}), &["p/clever", "p/fast", "p/cheap"]),
        ("auto", json!({"ignore": ["p/fast"], "models": ["p/fast", "q/cheap"]}), &["q/cheap"]),
        ("p/clever", json!({"models": ["p/fast", "p/clever", "p/cheap"], "sort": ["price"]}), &["p/clever", "p/cheap", "p/fast"]),
        ("clever", json!({"models": ["cheap"], "sort": null}), &["p/clever", "p/cheap"]),
        ("org/slashed", json!({}), &["p/org/slashed"]),
        ("p/anything", json!({"ignore": ["q"]}), &["p/anything"]),
    ] {
        assert_eq!(
            targets(&router, model, extra.clone()).as_deref(),
            Ok(expected.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>().as_slice()),
            "{model} {extra}"
        );
    }
    for (extra, expected) in [
        (json!({"models": "p/fast"}), "must be a list of names"),
        (json!({"models": ["nobody/x"]}), "\"nobody/x\", which is no model"),
        (json!({"sort": ["beauty"]}), "known are price, price_input"),
        (json!({"sort": [{"metric": "price", "direction": "up"}]}), "allowed are asc and desc"),
        (json!({"sort": [{"metrik": "price"}]}), "did you mean `metric`?"),
        (json!({"sort": ["price"], "ignore": ["p", "q"]}), "every model that could answer is ignored"),
        (json!({"fallback": {"ttft_timeout": "100ms"}}), "at least \"300ms\""),
    ] {
        let error = targets(&router, "auto", extra.clone()).expect_err("it is wrong");
        assert!(error.contains(expected), "{extra}: {error}");
    }
}

#[test]
fn what_a_request_says_of_targets_does_not_reach_them() {
    let inner = router(json!([]));
    let extra = json!({"models": ["p/cheap"], "sort": ["price"], "ignore": [], "fallback": {"ttft_timeout": "300ms"}, "user": "kept"});
    let choice = inner.choose(request("p/fast", extra).prompt, &Facts::default()).expect("it is known");
    assert_eq!(choice.prompt.extra.keys().collect::<Vec<_>>(), ["user"]);
    assert_eq!(choice.limits.first_content, Duration::from_millis(300));
}

#[test]
fn one_of_fifty_requests_measures_what_was_never_measured() {
    let router = router(json!([{"name": "r", "default_route": {"variants": [{"variant": {"variant_id": "v",
        "model_selection": {"models": ["p/clever", "p/fast", "q/cheap", "p/dead"], "sort": ["latency"]}}}]}}]));
    let first = |_| targets(&router, "r", json!({})).expect("it has a route")[0].clone();
    let firsts: Vec<String> = (0..100).map(first).collect();
    assert_eq!(firsts.iter().filter(|id| *id == "q/cheap").count(), 2);
    assert_eq!(firsts.iter().filter(|id| *id == "p/fast").count(), 98);
}

#[test]
fn a_variant_selects_orders_and_sets_what_the_caller_left_open() {
    let router = router(json!([{"name": "routers/r", "displayName": "R",
        "defaults": {"messageTemplates": [{"role": "system", "content": "default"}], "textGenerationConfig": {"maxTokens": 7, "temperature": 0.1},
            "ttftTimeout": "2s", "totalTimeout": "1m"},
        "defaultRoute": {"variants": [{"weight": 100, "variant": {"modelId": "auto", "stallTimeout": "3s", "webSearch": true,
            "textGenerationConfig": {"temperature": 0.5, "logitBias": [{"tokenId": 50, "biasValue": -100}], "reasoning": {"effort": "low"}},
            "modelSelection": {"models": ["p/clever", "p/cheap", "q/cheap", "p/fast"], "sort": ["price"], "ignore": ["p/clever"],
                "provider": {"order": ["q"], "allowFallbacks": true}},
            "shadow": {"modelId": "p/clever", "share": 100}}}]}}]));
    let choice = router.choose(request("inworld/r", json!({})).prompt, &Facts::default()).expect("it has a route");
    assert_eq!(choice.decision.targets, ["q/cheap", "p/cheap", "p/fast"]);
    assert_eq!((choice.decision.shadow.as_deref(), choice.decision.variant.as_deref()), (Some("p/clever"), Some("auto")));
    let limits = choice.limits;
    assert_eq!((limits.first_content.as_secs(), limits.stall.as_secs(), limits.total.as_secs()), (2, 3, 60));
    let prompt = choice.prompt;
    assert_eq!((prompt.messages[0].words().as_str(), prompt.messages.len()), ("default", 2));
    assert_eq!((prompt.sampling.max_tokens, prompt.sampling.temperature), (Some(7), Some(0.5)));
    assert_eq!(Value::Object(prompt.extra), json!({"logit_bias": {"50": -100.0}, "reasoning_effort": "low", "web_search": true}));
    // The caller's own word counts.
    let mut asked = request("r", json!({"reasoning_effort": "high", "web_search_options": {}}));
    asked.prompt.sampling.max_tokens = Some(1);
    let prompt = router.choose(asked.prompt, &asked.facts).expect("it has a route").prompt;
    assert_eq!(
        (prompt.sampling.max_tokens, &prompt.extra["reasoning_effort"], prompt.extra.get("web_search")),
        (Some(1), &json!("high"), None)
    );
}

#[test]
fn rules_see_targets_time_and_the_size_of_the_request() {
    for (condition, holds) in [
        ("targets['p/fast'].latency_ms < 200.0", true),
        ("targets[\"p/fast\"].latency_ms < 100.0 || targets['p/cheap'].price_output < 1.0", true),
        ("targets['p/dead'].healthy", false),
        ("!targets['p/dead'].healthy && targets['p/fast'].context > 1000", true),
        ("targets['p/fast'].price_output > 2.0 && !has(targets['p/fast'].images)", true),
        // Nothing is known of it: no match.
        ("targets['q/cheap'].latency_ms < 1e9", false),
        ("targets['q/none'].healthy", false),
        ("has(targets['p/fast'].latency_ms)", true),
        ("request.tokens > 2 && request.tokens < 20 && request.turns == 1", true),
        ("request.images == 1 && request.files == 0 && request.tools == 0", true),
        ("request.complexity < 0.2 && !request.structured", true),
        ("request.max_tokens > 100", false),
        ("time.hour >= 0 && time.hour < 24 && utc.weekday >= 1 && utc.weekday <= 7 && time.year > 2025", true),
        ("time.unix == utc.unix && (time.hour - utc.hour == 3 || time.hour - utc.hour == -21)", true),
        // What metadata says under a dotted key takes over nothing of ours.
        ("request.words == 99", false),
        ("metadata['request.words'] == 99 && size(metadata) == 3 && 'plan' in metadata.account", true),
        ("account.plan == 'gold' && metadata.account.plan == 'gold' && account.seats > 2.5", true),
        ("account.none == 1", false),
        ("tags.all(t, size(t) == 1)", true),
        ("tags.exists(t, t.matches('^[b-z]$'))", true),
    ] {
        let router = router(json!([{"name": "r", "utc_offset": "+03:00",
            "routes": [{"condition": {"cel_expression": condition}, "route": {"route_id": "yes", "variants": [{"variant": {"model_id": "p/fast"}}]}}],
            "default_route": {"variants": [{"variant": {"model_id": "p/cheap"}}]}}]));
        let mut asked = request("r", json!({}));
        asked.prompt.messages[0].parts.push(Part::Other(json!({"type": "image_url"})));
        asked.facts.metadata = json!({"request.words": 99, "account": {"plan": "gold", "seats": 3}, "tags": ["a", "b"]})
            .as_object()
            .cloned()
            .expect("an object");
        let explained = router.explain("r", asked.clone()).expect("there is one");
        assert_eq!(
            (router.decide(asked).map(|decision| decision.route == "yes"), explained.rules[0].taken),
            (Ok(holds), holds),
            "{condition} {explained:?}"
        );
    }
}

#[test]
fn a_rule_that_cannot_hold_is_refused_at_load() {
    let long_loop = format!("l.all(a, {})", vec!["a > 0"; 40].join(" && "));
    for (condition, expected) in [
        ("voice.emotoin == 'sad'", "did you mean voice.emotion?"),
        ("voice.pace_confidense > 1", "did you mean"),
        ("request.token > 3", "did you mean request.tokens?"),
        ("time.hours == 3", "did you mean time.hour?"),
        ("targets['p/x'].latency > 3", "did you mean targets[..].latency_ms?"),
        ("targets[model].healthy", "write the target out"),
        ("targets.p.healthy", "targets[\"provider/model\"]"),
        ("request.words > '5'", "both must be numbers or both texts"),
        ("voice.emotion == 3", "which it never equals"),
        ("request.words * 1.5 > 3.0", "convert one side with double() or int()"),
        ("request.words + 1", "a whole number; it must be true or false"),
        ("'yes'", "it must be true or false"),
        ("request.words && true", "&&, || and ! join what is true or false"),
        ("size(request.words) > 1", "size() counts"),
        ("request.words.contains('a')", "works on texts"),
        ("'a' in voice.emotion", "`in` looks into a list or a map"),
        ("request.tools ? true : false", "before ? must be true or false"),
        (".voice.emotion == 'sad'", "without the dot"),
        (long_loop.as_str(), "(64 within a loop)"),
        ("l.exists(a, a.matches('x') || a.matches('y') || a.matches('z'))", "too large"),
    ] {
        let object = json!([{"name": "r", "routes": [{"condition": {"cel_expression": condition}, "route": {"variants": [{"variant": {"model_id": "p/a"}}]}}]}]);
        let error = Router::new(config(object)).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected) && error.starts_with("router.r.routes[0].condition.cel_expression"), "{condition}: {error}");
    }
}

#[test]
fn a_target_that_lacks_what_the_request_needs_comes_last() {
    let able: Abilities = [Ability::ImageInput, Ability::Tools].into_iter().collect();
    let fact = |price, context, abilities, dialogue| TargetFact {
        price_input: Some(price),
        price_output: Some(price),
        context,
        abilities,
        dialogue: Some(dialogue),
        ..TargetFact::default()
    };
    let table = Table(Mutex::new(HashMap::from([
        ("p/cheap".to_owned(), fact(0.1, Some(100), Some(able), true)),
        ("p/fast".to_owned(), fact(0.2, Some(9_000), Some(Abilities::default()), true)),
        ("p/clever".to_owned(), fact(5.0, Some(200_000), Some(able), true)),
        ("p/dead".to_owned(), fact(0.01, Some(9_000), Some(Abilities::default()), false)),
    ])));
    let routers = json!([
        {"name": "fixed", "default_route": {"variants": [{"variant": {"model_id": "p/cheap", "models": ["p/fast", "q/cheap", "p/clever"]}}]}},
        {"name": "sorted", "default_route": {"variants": [
            {"variant": {"model_selection": {"models": ["p/cheap", "p/fast", "p/clever", "p/dead"], "sort": ["price"]}}}]}},
        {"name": "one", "default_route": {"variants": [{"variant": {"model_id": "p/cheap"}}]}}]);
    let router = Router::new(Config { target_facts: Some(Arc::new(table)), ..config(routers) }).expect("it is valid");
    let (short, long) = ("one two", "word ".repeat(1_000));
    for (model, words, image, expected) in [
        ("fixed", short, false, &["p/cheap", "p/fast", "q/cheap", "p/clever"][..]),
        ("fixed", &long, false, &["p/fast", "q/cheap", "p/clever", "p/cheap"]),
        ("fixed", short, true, &["q/cheap", "p/clever", "p/cheap", "p/fast"]),
        ("sorted", short, false, &["p/cheap", "p/fast", "p/clever", "p/dead"]),
        ("sorted", &long, true, &["p/clever", "p/dead", "p/cheap", "p/fast"]),
        ("one", &long, true, &["p/cheap"]),
        ("p/cheap", &long, false, &["p/clever", "p/cheap"]),
    ] {
        let extra = if model == "p/cheap" { json!({"models": ["p/clever"]}) } else { json!({}) };
        let mut asked = request(model, extra);
        asked.prompt.messages = vec![Message::text(Role::User, words)];
        if image {
            asked.prompt.messages[0].parts.push(Part::Other(json!({"type": "image_url", "image_url": {"url": "https://a/b.png"}})));
        }
        let decided = router.decide(asked.clone()).expect("there is one");
        assert_eq!(decided.targets, expected, "{model} {} {image}", words.len());
        if let Ok(told) = router.explain(model, asked) {
            let lacking = told.candidates.iter().filter(|candidate| !candidate.lacks.is_empty()).count();
            let said = decided.reason.split_once("what the request needs: ").map_or(0, |(_, names)| names.split(", ").count());
            assert_eq!(said, if decided.targets.len() > 1 { lacking } else { 0 }, "{}", decided.reason);
        }
    }
}

#[test]
fn an_explanation_tells_what_a_decision_would_be_and_counts_nothing() {
    let router = router(json!([{"name": "r", "routes": [
        {"condition": {"cel_expression": "tier == 'vip'"}, "route": {"route_id": "vip", "variants": [{"variant": {"model_id": "p/clever"}}]}},
        {"condition": {"cel_expression": "1 / n > 0"}, "route": {"route_id": "half", "variants": [{"variant": {"model_id": "p/clever"}}]}},
        {"condition": {"cel_expression": "request.words < 9"}, "route": {"route_id": "short", "variants": [
            {"variant": {"variant_id": "a", "model_id": "p/fast", "models": ["p/cheap"]}, "weight": 25},
            {"variant": {"variant_id": "b", "model_selection": {"models": ["p/clever", "p/cheap"], "sort": ["price"]}}, "weight": 75}]}}]}]));
    let mut asked = request("", json!({}));
    asked.facts.metadata.insert("n".to_owned(), json!(0));
    asked.facts.user = Some("user-3".to_owned());
    let told = router.explain("r", asked.clone()).expect("there is one");
    let verdicts: Vec<(&str, bool)> = told
        .rules
        .iter()
        .map(|rule| {
            (
                match rule.verdict {
                    Verdict::Held => "held",
                    Verdict::Not => "not",
                    Verdict::Missing { .. } => "missing",
                    Verdict::Failed { .. } => "failed",
                },
                rule.taken,
            )
        })
        .collect();
    assert_eq!(verdicts, [("missing", false), ("failed", false), ("held", true)]);
    let draw = told.draw.expect("it was drawn");
    assert_eq!((draw.sticky, draw.shares.as_slice()), (true, &[("a".to_owned(), 25.0), ("b".to_owned(), 75.0)][..]));
    assert!(router.counts().iter().all(|count| count.matched + count.missed + count.failed == 0));
    asked.prompt.model = "r".to_owned();
    let decided = router.decide(asked).expect("it has a route");
    assert_eq!(
        told.decision.as_ref().map(|told| (&told.route, &told.variant, &told.targets)),
        Ok((&decided.route, &decided.variant, &decided.targets))
    );
    assert_eq!(told.candidates.iter().map(|candidate| &candidate.target).collect::<Vec<_>>(), decided.targets.iter().collect::<Vec<_>>());
    let mut long = request("", json!({}));
    long.prompt.messages = vec![Message::text(Role::User, "a b c d e f g h i j")];
    assert_eq!(router.explain("r", long).expect("there is one").decision, Err(RouteError::NoRoute { router: "r".into() }));
    assert!(matches!(router.explain("none", request("x", json!({}))), Err(RouteError::UnknownModel { .. })));
}

/// A folder of its own, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("timbre-router-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn routers_change_on_the_next_request_and_every_version_is_kept() {
    let folder = Folder::new("versions");
    let open = || {
        let configured = json!([{"name": "fixed", "default_route": {"variants": [{"variant": {"model_id": "p/fast"}}]}}]);
        Router::new(Config { data: Some(folder.0.clone()), ..config(configured) }).expect("it is valid")
    };
    let to = |model: &str| json!({"variants": [{"variant": {"modelId": model}, "weight": 100}]});
    let router = open();
    let made = router.create_router(json!({"displayName": "My Router!", "defaultRoute": to("p/fast")})).expect("it is valid");
    assert_eq!((made.id.as_str(), made.version, made.source), ("my-router", 1, Source::Api));
    assert_eq!(made.object.default_route.as_ref().and_then(|route| route.route_id.clone()), Some("default".to_owned()));
    let again = router.create_router(json!({"displayName": "my router", "defaultRoute": to("p/fast")})).expect("it is valid");
    assert_eq!(again.id, "my-router-2");
    let first = |router: &Router| targets(router, "timbre/my-router", json!({})).map(|targets| targets[0].clone());
    assert_eq!(first(&router).as_deref(), Ok("p/fast"));

    let changed = router.update_router("my-router", json!({"defaultRoute": to("p/cheap")}), None).expect("it is valid");
    assert_eq!((changed.version, changed.object.display_name.as_deref()), (2, Some("My Router!")));
    assert_eq!(first(&router).as_deref(), Ok("p/cheap"));
    // The mask says what changes; what it names and the body lacks is cleared.
    let patch = json!({"displayName": "x", "defaultRoute": to("p/clever"), "defaults": {"textGenerationConfig": {"seed": 4}}});
    let masked = router.update_router("my-router", patch, Some("displayName,defaults.textGenerationConfig")).expect("it is valid");
    assert_eq!((masked.version, masked.object.display_name.as_deref()), (3, Some("x")));
    let decided = router.decide(request("my-router", json!({}))).map(|decision| decision.version);
    assert_eq!(decided, Ok(Some(3)), "a decision says which version made it");
    assert_eq!(masked.object.defaults.and_then(|defaults| defaults.text_generation_config).and_then(|config| config.seed), Some(4));
    assert_eq!(first(&router).as_deref(), Ok("p/cheap"));
    assert_eq!(router.update_router("my-router", json!({}), Some("display_name")).map(|listed| listed.object.display_name), Ok(None));

    for (error, expected) in [
        (router.update_router("my-router", json!({"defaultRoute": to("nobody/x")}), None).expect_err("no such model"), "names no model"),
        (router.update_router("my-router", json!({}), Some("colour")).expect_err("no such field"), "there is no field \"colour\""),
        (router.update_router("none", json!({}), None).expect_err("no such router"), "there is no router \"none\""),
        (router.update_router("fixed", json!({}), None).expect_err("configured"), "change it there"),
        (router.delete_router("fixed").expect_err("configured"), "change it there"),
        (router.create_router(json!({"name": "routers/my-router", "defaultRoute": to("p/fast")})).expect_err("it exists"), "already"),
        (router.create_router(json!({"name": "../up", "defaultRoute": to("p/fast")})).expect_err("not a name"), "cannot name a router"),
        (router.create_router(json!({"name": "empty"})).expect_err("no routes"), "needs routes"),
        (router.roll_back_router("my-router", 9).expect_err("no such version"), "no version 9"),
        (router.roll_back_router("../my-router", 1).expect_err("not a name"), "there is no router"),
    ] {
        assert!(error.to_string().contains(expected), "{error}");
    }

    let back = router.roll_back_router("my-router", 1).expect("it is kept");
    assert_eq!((back.version, back.object.display_name.as_deref()), (5, Some("My Router!")));
    assert_eq!(first(&router).as_deref(), Ok("p/fast"));
    router.delete_router("my-router").expect("it is there");
    assert!(first(&router).is_err() && router.router("my-router").is_err());
    assert_eq!(
        router.router_versions("my-router").map(|all| all.iter().map(|kept| kept.version).collect::<Vec<_>>()),
        Ok((1..=6).collect())
    );
    // Another start finds what was kept, and what was deleted can come back.
    let router = open();
    assert_eq!(router.routers().iter().map(|listed| listed.id.as_str()).collect::<Vec<_>>(), ["fixed", "my-router-2"]);
    assert_eq!(router.roll_back_router("my-router", 2).map(|listed| listed.version), Ok(7));
    assert_eq!(first(&router).as_deref(), Ok("p/cheap"));
    // A provider that is gone makes a router unusable, not the server.
    let mut config = Config { data: Some(folder.0.clone()), ..self::config(json!([])) };
    config.providers.remove(0);
    config.default_model = "q/cheap".into();
    let router = Router::new(config).expect("it starts");
    assert!(router.router("my-router").expect("it is listed").problem.is_some_and(|problem| problem.contains("names no model")));
    assert_eq!(router.decide(request("my-router", json!({}))).map_err(|error| error.status()), Err(503));
}

#[tokio::test]
async fn a_change_drops_no_stream() {
    let router = router(json!([]));
    let to = |model: &str| json!({"name": "r", "defaultRoute": {"variants": [{"variant": {"modelId": model}}]}});
    router.create_router(to("p/fast")).expect("it is valid");
    let mut answer = router.complete(request("r", json!({}))).expect("it has a route");
    router.update_router("r", to("p/cheap"), Some("*")).expect("it is valid");
    router.delete_router("r").expect("it is there");
    assert_eq!(answer.next().await, Some(Ok(Delta::Text("fast".to_owned()))));
    assert_eq!(answer.next().await, Some(Ok(Delta::Finish(models::Finish::Stop))));
}

#[tokio::test]
async fn what_became_of_variants_is_counted_and_scored() {
    let price: crate::Price = Arc::new(|_, _| Some(Priced { cost: crate::Cost::from_nano_usd(250_000_000), estimated: false }));
    let executor = Executor { price: Some(price), ..Executor::default() };
    let router = Router::with(config(json!([])), executor).expect("it is valid");
    let object = |b: &str| {
        json!({"name": "r", "defaultRoute": {"variants": [
        {"variant": {"variantId": "a", "modelId": "p/fast"}, "weight": 50}, {"variant": {"variantId": "b", "modelId": b}, "weight": 50}]}})
    };
    router.create_router(object("p/bad")).expect("it is valid");
    for n in 0..200 {
        let answer = router.complete(request("r", json!({}))).expect("it has a route");
        let decision = answer.decision().clone();
        router.remember(&format!("id-{n}"), Some("alice"), &decision);
        let items: Vec<_> = answer.collect().await;
        let good = items.iter().all(Result::is_ok);
        assert_eq!(good, decision.variant.as_deref() == Some("a"));
        let feedback = Feedback { request: Some(format!("id-{n}")), score: f64::from(u8::from(!good)), ..Feedback::default() };
        assert!(router.score(&feedback).is_ok());
        // The last word counts.
        assert!(router.score(&Feedback { score: f64::from(u8::from(good)), ..feedback }).is_ok());
    }
    let outcomes = router.outcomes("r").expect("there is one");
    let [a, b] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!((a.requests + b.requests, a.errors.map(|e| e.value), b.errors.map(|e| e.value)), (200, Some(0.0), Some(1.0)));
    assert_eq!((a.score.map(|e| (e.n, e.value)), b.cost.map(|e| e.value)), (Some((a.requests, 1.0)), Some(0.25)));
    let called = winners(&outcomes);
    let called: Vec<(&str, &str)> = called.iter().map(|winner| (winner.measure, winner.variant.as_str())).collect();
    assert!(
        called.contains(&("errors", "a")) && called.contains(&("score", "a")) && !called.iter().any(|(measure, _)| *measure == "cost"),
        "{called:?}"
    );

    let by = |feedback: Feedback| router.score(&feedback).map(|key| key.variant);
    assert!(by(Feedback { user: Some("alice".into()), score: 1.0, ..Feedback::default() }).is_ok());
    assert_eq!(by(Feedback { router: Some("r".into()), variant: Some("b".into()), score: 0.5, ..Feedback::default() }), Ok("b".into()));
    for feedback in [
        Feedback::default(),
        Feedback { score: f64::NAN, request: Some("id-1".into()), ..Feedback::default() },
        Feedback { request: Some("id-none".into()), ..Feedback::default() },
        Feedback { user: Some("bob".into()), ..Feedback::default() },
        Feedback { router: Some("r".into()), variant: Some("c".into()), ..Feedback::default() },
    ] {
        assert!(by(feedback.clone()).is_err(), "{feedback:?}");
    }
    // A changed variant begins anew; one whose share alone changed goes on.
    router.update_router("r", object("p/cheap"), Some("*")).expect("it is valid");
    let outcomes = router.outcomes("r").expect("there is one");
    assert_eq!(outcomes.iter().map(|outcome| outcome.key.variant.as_str()).collect::<Vec<_>>(), ["a"]);
}

fn objects() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z/]{0,9}".prop_map(Value::from),
        Just(json!("p/fast")),
        Just(json!("2s")),
        Just(json!("true || x == 1")),
    ];
    let keys = [
        "name",
        "displayName",
        "routes",
        "route",
        "defaultRoute",
        "default_route",
        "variants",
        "variant",
        "modelId",
        "model_id",
        "weight",
        "condition",
        "celExpression",
        "models",
        "ttftTimeout",
        "defaults",
        "modelSelection",
        "sort",
        "metric",
        "ignore",
        "shadow",
        "share",
        "nope",
    ];
    leaf.prop_recursive(6, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(keys.to_vec()), inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_read_or_refused_and_what_is_read_reads_back(value in objects()) {
        match RouterObject::from_json(value) {
            Ok(object) => prop_assert_eq!(RouterObject::from_json(object.to_json()), Ok(object)),
            Err(error) => prop_assert!(error.at.starts_with("router")),
        }
    }

    #[test]
    fn any_wish_is_granted_or_refused(models in objects(), sort in objects(), ignore in objects(), fallback in objects()) {
        let wishes = json!({"models": models, "sort": sort, "ignore": ignore, "fallback": fallback});
        let router = router(json!([]));
        if let Err(error) = router.decide(request("auto", wishes)) {
            prop_assert_eq!(error.status(), 400);
        }
    }

    #[test]
    fn any_condition_compiles_or_is_refused(condition in "[a-z'\"0-9.()\\[\\]&|!=<>+*/? :,{}-]{0,60}") {
        let _ = crate::rule::Rule::compile(&condition, &Library::new());
    }

    #[test]
    fn ramping_moves_only_the_users_of_the_growth(users in prop::collection::vec("[a-z0-9]{1,12}", 1..40), from in 1u32..60, by in 1u32..40) {
        let of = |share: u32| router(json!([{"name": "r", "default_route": {"variants": [
            {"variant": {"variant_id": "new", "model_id": "p/fast"}, "weight": share},
            {"variant": {"variant_id": "old", "model_id": "p/cheap"}, "weight": 100 - share}]}}]));
        let (before, after) = (of(from), of(from + by));
        let decide = |router: &Router, user: &str| {
            let request = Request { facts: Facts { user: Some(user.to_owned()), ..Facts::default() }, ..request("r", json!({})) };
            let point = router.explain("r", request.clone()).expect("there is one").draw.expect("it is drawn").point;
            (router.decide(request).expect("it has a route").variant == Some("new".to_owned()), point)
        };
        for user in users {
            let ((was, point), (is, same)) = (decide(&before, &user), decide(&after, &user));
            prop_assert_eq!(point, same);
            prop_assert_eq!(was, point < f64::from(from));
            prop_assert_eq!(is, point < f64::from(from + by));
        }
    }
}
