//! What one rule costs: the same request decided with a rule of five clauses and without one, by a router of this process.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use models::{Delta, Finish, LanguageModel, Measured, Message, ModelError, Prompt, Role, Signals};
use router::{Facts, Request, Router};
use serde_json::json;

use crate::bench::report::Row;

/// How often each is decided.
const TIMES: u32 = 20_000;
/// Five clauses over request and voice facts; all are looked at.
const RULE: &str =
    "request.words < 500 && request.tools == 0 && user.startsWith('user-') && hesitation > 0.4 && metadata.tier == 'premium'";

/// The row.
pub(super) fn row() -> anyhow::Result<Row> {
    let (with, without) = (decide(Some(RULE))?, decide(None)?);
    let measured = format!("{:.1} us (a decision takes {with:.1} us with it, {without:.1} us without)", with - without);
    Ok(Row::new("one rule of five clauses over request and voice facts", "under 5 us", measured))
}

/// Microseconds a decision.
fn decide(rule: Option<&str>) -> anyhow::Result<f64> {
    let variants = json!({"variants": [{"variant": {"model_id": "still/ok"}, "weight": 100}]});
    let routes: Vec<_> = rule.iter().map(|rule| json!({"condition": {"cel_expression": rule}, "route": variants})).collect();
    let object = serde_json::from_value(json!({"name": "rule", "routes": routes, "default_route": variants}))?;
    let provider = router::Provider::new("still", Arc::new(Still), vec!["ok".to_owned()]);
    let router = Router::new(router::Config {
        providers: vec![provider],
        routers: vec![object],
        default_model: "still/ok".to_owned(),
        ..router::Config::default()
    })?;
    let signals = Signals { hesitation: Some(Measured::new(0.7, 0.9, "bench")), ..Signals::default() };
    let said = Message::text(Role::User, "Count from one to sixteen, in words.");
    let request = Request {
        prompt: Prompt { model: "timbre/rule".to_owned(), messages: vec![said], ..Prompt::default() },
        facts: Facts {
            metadata: json!({"tier": "premium", "region": "eu"}).as_object().cloned().unwrap_or_default(),
            user: Some("user-17".to_owned()),
            signals: Some(Arc::new(signals)),
        },
        ..Request::default()
    };
    let begun = Instant::now();
    for _ in 0..TIMES {
        // The answer is not awaited: only who gives it is decided.
        drop(std::hint::black_box(router.complete(request.clone())?));
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES))
}

/// A model that is never waited for.
struct Still;

impl LanguageModel for Still {
    fn complete(&self, _: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        stream::iter([Ok(Delta::Finish(Finish::Stop))]).boxed()
    }
}
