//! `/router/v1/routers`: routers made, changed, explained and rolled back while the server runs; `POST /v1/feedback`: scores.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use router::{Facts, Listed, RoutersError};
use serde_json::{Map, Value, json};

use super::{App, body};
use crate::ApiError;
use crate::wire::{Field, chat, router as wire};

/// Routers on a page where the client does not say.
const PAGE: usize = 50;
/// Most routers on a page.
const LARGEST_PAGE: usize = 1_000;

type Answered = Result<Json<Value>, ApiError>;

/// The endpoints.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/router/v1/routers", get(list).post(create))
        .route("/router/v1/routers/{id}", get(show).patch(update).delete(delete).post(act))
        .route("/router/v1/routers/{id}/versions", get(versions))
        .route("/router/v1/routers/{id}/variants", get(variants))
        .route("/v1/feedback", post(feedback))
}

async fn list(State(app): State<Arc<App>>, Query(query): Query<HashMap<String, String>>) -> Answered {
    let size = match either(&query, "pageSize", "page_size") {
        None => PAGE,
        Some(text) => {
            let size = text.parse::<usize>().ok().filter(|size| (1..=LARGEST_PAGE).contains(size));
            size.ok_or_else(|| ApiError::invalid("pageSize", format!("`pageSize` must be a whole number from 1 to {LARGEST_PAGE}.")))?
        }
    };
    let all = app.services.router.routers();
    // The token is the last id of the page before: a router that comes or goes meanwhile moves no other.
    let after = either(&query, "pageToken", "page_token").unwrap_or_default();
    let mut rest = all.iter().skip_while(|listed| listed.id.as_str() <= after).peekable();
    let page: Vec<&Listed> = rest.by_ref().take(size).collect();
    let next = if rest.peek().is_some() { page.last().map(|listed| listed.id.clone()) } else { None };
    let routers: Vec<Value> = page.into_iter().map(wire::router).collect();
    Ok(Json(json!({ "routers": routers, "nextPageToken": next.unwrap_or_default(), "totalSize": all.len() })))
}

async fn create(State(app): State<Arc<App>>, request: Request) -> Answered {
    let body = body::json(request, &app.services.limits).await?;
    changed(app, move |router| router.create_router(body)).await
}

async fn show(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    Ok(Json(wire::router(&app.services.router.router(&id)?)))
}

async fn update(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Answered {
    let body = body::json(request, &app.services.limits).await?;
    let mask = either(&query, "update_mask", "updateMask").map(str::to_owned);
    changed(app, move |router| router.update_router(&id, body, mask.as_deref())).await
}

async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    on_disk(app, move |router| router.delete_router(&id)).await?;
    Ok(Json(json!({})))
}

/// `{id}:explain` and `{id}:rollback`.
async fn act(State(app): State<Arc<App>>, Path(path): Path<String>, request: Request) -> Answered {
    let (id, action) = path.rsplit_once(':').unwrap_or((&path, ""));
    let id = id.to_owned();
    match action {
        "explain" => explain(&app, &id, body::json(request, &app.services.limits).await?),
        "rollback" => {
            let version = wire::wanted_version(body::json(request, &app.services.limits).await?)?;
            changed(app, move |router| router.roll_back_router(&id, version)).await
        }
        _ => {
            let message = format!("There is no POST /router/v1/routers/{path}; there are {{id}}:explain and {{id}}:rollback.");
            Err(ApiError::new(404, "unknown_url", message))
        }
    }
}

/// A chat request, to which nobody listens and nobody answers; `voice` supposes what would be heard.
fn explain(app: &App, id: &str, body: Value) -> Answered {
    app.services.router.router(id)?;
    let mut fields = Field::root(body).object()?;
    let voice = fields.take("voice").map(wire::signals).transpose()?;
    let mut body: Map<String, Value> = fields.rest();
    body.entry("model").or_insert_with(|| json!(format!("timbre/{id}")));
    let request = chat::read(Value::Object(body))?;
    let facts = Facts { metadata: request.metadata, user: request.user, signals: voice.map(Arc::new) };
    let told = app.services.router.explain(id, router::Request { prompt: request.prompt, facts, ..router::Request::default() });
    let told = told.map_err(|error| ApiError {
        param: error.param().map(str::to_owned),
        ..ApiError::new(error.status(), error.code(), error.to_string())
    })?;
    Ok(Json(wire::explanation(&told)))
}

async fn versions(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    let kept = on_disk(app, move |router| router.router_versions(&id)).await?;
    let versions: Vec<Value> = kept.iter().rev().map(wire::version).collect();
    Ok(Json(json!({ "versions": versions })))
}

async fn variants(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answered {
    Ok(Json(wire::outcomes(&app.services.router.outcomes(&id)?)))
}

async fn feedback(State(app): State<Arc<App>>, request: Request) -> Answered {
    let feedback = wire::feedback(body::json(request, &app.services.limits).await?)?;
    let key = app.services.router.score(&feedback).map_err(|detail| ApiError::new(400, "invalid_feedback", detail))?;
    Ok(Json(json!({ "router": key.router, "route": key.route, "variant": key.variant, "score": feedback.score })))
}

async fn changed(app: Arc<App>, change: impl FnOnce(&router::Router) -> Result<Listed, RoutersError> + Send + 'static) -> Answered {
    Ok(Json(wire::operation(&on_disk(app, change).await?)))
}

/// Work that waits for the disk, away from the threads that serve requests.
async fn on_disk<T: Send + 'static>(
    app: Arc<App>,
    work: impl FnOnce(&router::Router) -> Result<T, RoutersError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(move || work(&app.services.router)).await;
    let done = done.map_err(|_| ApiError::new(500, "internal", "The change was not made; see the server's log."))?;
    Ok(done?)
}

fn either<'a>(query: &'a HashMap<String, String>, name: &str, other: &str) -> Option<&'a str> {
    query.get(name).or_else(|| query.get(other)).map(String::as_str)
}
