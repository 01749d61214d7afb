//! Limits of keys and users: a request beyond them is refused before its body is read, and every answer says how its caller stands.
//!
//! The middleware counts the request and takes its place among those of its key that run at once, until its answer has been sent. What it
//! will use nobody knows before it is read: the endpoint finds a [`Ticket`] among the request's extensions, reserves with it, and settles
//! when its use is known. An endpoint that does neither is limited in requests only.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use router::Ledger;
use router::ledger::Permit;
use router::limit::{KeyId, Refusal, Standings, Use};

use super::account::Account;
use crate::ApiError;

/// A request's place in the ledger, held by all that work on it; it ends with the last of them. The default one is of a request that
/// nothing limits.
#[derive(Clone, Debug, Default)]
pub struct Ticket(Arc<Mutex<Option<Permit>>>);

impl Ticket {
    pub(super) fn of(permit: Permit) -> Ticket {
        Ticket(Arc::new(Mutex::new(Some(permit))))
    }

    /// Reserves what the request is taken to use, and counts it for its user. Once, before anybody is asked for an answer.
    pub async fn reserve(&self, user: Option<&str>, estimate: Use) -> Result<(), ApiError> {
        // Taken out while it waits: the lock is not held, and a caller who goes away lets it go.
        let Some(mut permit) = self.lock().take() else { return Ok(()) };
        let reserved = permit.reserve(now(), user, estimate).await;
        *self.lock() = Some(permit);
        reserved.map_err(ApiError::from)
    }

    /// Whether nothing is counted.
    pub(super) fn is_free(&self) -> bool {
        self.lock().is_none()
    }

    /// Puts the true use in the place of the estimate. Without it the estimate stays.
    pub fn settle(&self, used: Use) {
        if let Some(permit) = &mut *self.lock() {
            permit.settle(now(), used);
        }
    }

    pub(super) fn standings(&self) -> Standings {
        self.lock().as_ref().map(Permit::standings).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Permit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Admits what asks for work; who only looks (`GET`) is not counted, and a realtime call has limits of its own.
pub(super) async fn limit(State(ledger): State<Ledger>, mut request: Request, next: Next) -> Response {
    let key = request.extensions().get::<KeyId>().copied().unwrap_or(KeyId::ANYBODY);
    if ledger.is_free() || request.method() == Method::GET {
        if let Some(account) = request.extensions().get::<Account>() {
            account.belongs_to(key, Ticket::default());
        }
        request.extensions_mut().insert(Ticket::default());
        return next.run(request).await;
    }
    let ticket = match ledger.admit(now(), key).await {
        Ok(permit) => Ticket::of(permit),
        Err(refusal) => {
            let standings = *refusal.standings;
            let mut response = ApiError::from(refusal).into_response();
            tell(&standings, response.headers_mut());
            return response;
        }
    };
    if let Some(account) = request.extensions().get::<Account>() {
        account.belongs_to(key, ticket.clone());
    }
    request.extensions_mut().insert(ticket.clone());
    let mut response = next.run(request).await;
    tell(&ticket.standings(), response.headers_mut());
    response.map(|body| Body::new(Held { body, _guard: ticket }))
}

/// Time since 1970.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn tell(standings: &Standings, headers: &mut HeaderMap) {
    for (name, value) in standings.headers() {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        ApiError { retry_after: refusal.retry_after, ..ApiError::new(429, refusal.code(), refusal.to_string()) }
    }
}

/// A body that holds what belongs to its request until it has been sent.
pub(super) struct Held<T> {
    pub(super) body: Body,
    pub(super) _guard: T,
}

impl<T: Unpin> http_body::Body for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
