//! Endpoints for whoever runs the server: `/metrics` for Prometheus, and `DELETE /v1/cache/{key}` for an answer that should not be given
//! again.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use router::{Cache, CacheKey, CacheReport};

use crate::ApiError;

/// The media type of Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the endpoints stand on.
#[derive(Clone)]
pub struct Operations {
    /// The answers kept; `None`: none are.
    pub cache: Option<Cache>,
    /// Whose answers a request may touch, from the key it carries: the same text as the cache is asked with.
    pub tenant: Arc<dyn Fn(&HeaderMap) -> String + Send + Sync>,
    /// Writes the page that Prometheus reads.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// The endpoints.
pub fn routes(operations: Operations) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/v1/cache/{key}", delete(forget)).with_state(operations)
}

async fn metrics(State(operations): State<Operations>) -> Response {
    ([(CONTENT_TYPE, PROMETHEUS)], (operations.metrics)()).into_response()
}

async fn forget(State(operations): State<Operations>, headers: HeaderMap, Path(key): Path<String>) -> Result<StatusCode, ApiError> {
    let key: CacheKey = key.parse().map_err(|detail: String| ApiError::invalid("key", format!("{detail}.")))?;
    let tenant = (operations.tenant)(&headers);
    let found = operations.cache.is_some_and(|cache| cache.remove(&tenant, &key));
    // Somebody else's entry is as little there as one that never was.
    found.then_some(StatusCode::NO_CONTENT).ok_or_else(|| ApiError::new(404, "not_found", "There is no such cached answer of yours."))
}

/// The headers that say what the cache had to do with an answer: `x-cache`, `x-cache-key` where it had, and `x-cache-note` where it could
/// not do what was asked of it.
pub fn cache_headers(report: &CacheReport) -> impl Iterator<Item = (&'static str, String)> {
    let key = report.key().map(|key| ("x-cache-key", key.to_string()));
    let note = report.is_only_exact().then(|| ("x-cache-note", "only identical requests: cache.semantic is off".to_owned()));
    [("x-cache", report.status().name().to_owned())].into_iter().chain(key).chain(note)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt;
    use futures::stream;
    use models::{Delta, Finish, Prompt};
    use router::{CacheControl, CacheMode, CacheObject, CacheSettings, Lookup, Scope};

    use super::*;

    #[tokio::test]
    async fn an_answer_is_forgotten_by_its_owner_only() {
        let cache = Cache::new(CacheSettings { ttl: Duration::from_secs(60), ..CacheSettings::default() }, None);
        let route = CacheObject { mode: Some(CacheMode::Exact), ..CacheObject::default() };
        let (prompt, control) = (Prompt::default(), CacheControl::default());
        let scope = Scope { tenant: "ada", ..Scope::default() };
        let served = cache.serve(Lookup { scope, prompt: &prompt, control: &control, route: &route }, || {
            stream::iter([Ok(Delta::Text("hi".into())), Ok(Delta::Finish(Finish::Stop))]).boxed()
        });
        let headers: Vec<_> = cache_headers(&served.report).collect();
        let wish =
            CacheControl { object: CacheObject { mode: Some(CacheMode::Semantic), ..CacheObject::default() }, ..CacheControl::default() };
        let told = cache.serve(Lookup { scope, prompt: &prompt, control: &wish, route: &route }, || stream::empty().boxed()).report;
        assert!(cache_headers(&told).any(|(name, _)| name == "x-cache-note"));
        served.deltas.collect::<Vec<_>>().await;
        let [(_, status), (_, key)] = &headers[..] else { panic!("{headers:?}") };
        assert_eq!(status, "miss");
        let tenant =
            Arc::new(|headers: &HeaderMap| headers.get("x-api-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned());
        let operations = Operations { cache: Some(cache), tenant, metrics: Arc::new(String::new) };
        for (who, key, expected) in
            [("bob", key.as_str(), Err(404)), ("ada", "abc", Err(400)), ("ada", key, Ok(204)), ("ada", key, Err(404))]
        {
            let headers = HeaderMap::from_iter([("x-api-key".parse().expect("a name"), who.parse().expect("a value"))]);
            let outcome = forget(State(operations.clone()), headers, Path(key.to_owned())).await;
            assert_eq!(outcome.map(|status| status.as_u16()).map_err(|error| error.status), expected, "{who} {key}");
        }
    }
}
