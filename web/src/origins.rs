//! Which websites' pages may call: browsers say where a page comes from (`Origin`, Fetch standard section 3.2), everybody else says nothing
//! and is not asked.
//!
//! A page of this server's own, and pages that this very machine serves, may always call. Where a key is needed, a page from elsewhere is
//! answered without the headers that would let it read the answer. Where none is needed, it is refused: else every website that
//! somebody visits could work their server. For the same reason such a server answers only to its own names (`Host`): a website may have its
//! name point at this very machine once its page is loaded (DNS rebinding), and would then pass for one of the server's own pages.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use crate::ApiError;

/// Methods that a page may use.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PATCH, PUT, DELETE");
/// How long a browser may remember what it was told, seconds. No browser takes more than a day, Chrome two hours.
const REMEMBERED: HeaderValue = HeaderValue::from_static("7200");
/// What an answer depends on.
const VARY: HeaderValue = HeaderValue::from_static("origin, access-control-request-headers");
/// Every header may be read: no cookies are involved, so the star holds.
const ANY: HeaderValue = HeaderValue::from_static("*");

/// Websites whose pages may call, besides those that always may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    allowed: Vec<String>,
    others: Others,
}

/// What becomes of pages from elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Others {
    /// They are answered, but their browser keeps the answer from them: they have no key.
    #[default]
    Answered,
    /// They are refused.
    Refused,
}

impl Origins {
    /// For a server that asks for keys. `*` among the names stands for any.
    pub fn beside_keys(allowed: Vec<String>) -> Origins {
        Origins { allowed, others: Others::Answered }
    }

    /// For a server that anybody may call.
    pub fn without_keys(allowed: Vec<String>) -> Origins {
        Origins { allowed, others: Others::Refused }
    }

    /// Whether this is how an origin is written: `*`, `null`, or a scheme and a host, and a port if it is not the usual one.
    pub fn is_one(text: &str) -> bool {
        let host = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*']) && host.is_ascii();
        text == "*" || text == "null" || text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && host(rest))
    }

    /// Whether a request for this host is one for this server. A name without a dot is nobody's on the internet.
    fn answers_to(&self, host: &str) -> bool {
        let listed = |origin: &String| origin == "*" || authority(origin).eq_ignore_ascii_case(host);
        let is_near = is_this_machine(host) || !host.contains(['.', '[']);
        self.others == Others::Answered || is_near || self.allowed.iter().any(listed)
    }

    fn allow(&self, origin: &str, headers: &HeaderMap) -> bool {
        let authority = authority(origin);
        let own = headers.get(header::HOST).is_some_and(|host| host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()));
        own || is_this_machine(authority) || self.allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }
}

/// Host and port of an origin.
fn authority(origin: &str) -> &str {
    origin.split_once("://").map_or("", |(_, authority)| authority)
}

fn is_this_machine(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or_default(),
    };
    let host = host.to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// The same endpoints for those origins.
pub fn guard(app: Router, origins: Origins) -> Router {
    app.layer(middleware::from_fn_with_state(Arc::new(origins), check))
}

async fn check(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Response {
    if let Some(host) = host(&request)
        && !origins.answers_to(host)
    {
        let host: String = host.chars().take(100).collect();
        let message = format!("This server needs no key and so does not answer to the name {host:?}; add it to server.allowed_origins.");
        return ApiError::new(403, "host_not_allowed", message).into_response();
    }
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else { return next.run(request).await };
    let allowed = origin.to_str().is_ok_and(|origin| origins.allow(origin, request.headers()));
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_METHOD).filter(|_| request.method() == Method::OPTIONS);
    let mut response = match (allowed, asked) {
        (true, Some(_)) => preflight(request.headers()),
        (false, Some(_)) => refusal(&origin).into_response(),
        (false, None) if origins.others == Others::Refused => refusal(&origin).into_response(),
        (_, None) => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, VARY);
    if allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, ANY);
    }
    response
}

/// The host that is asked for. Every browser says it; a header that is no text is nobody's name.
fn host(request: &Request) -> Option<&str> {
    let header = || request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or(".."));
    request.uri().authority().map(|authority| authority.as_str()).or_else(header)
}

/// The answer to a browser that asks before it sends a page's request.
fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    // A star would not let `authorization` through.
    if let Some(names) = asked.get(HeaderName::from_static("access-control-request-headers")) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    response
}

fn refusal(origin: &HeaderValue) -> ApiError {
    let origin: String = String::from_utf8_lossy(origin.as_bytes()).chars().take(100).collect();
    ApiError::new(403, "origin_not_allowed", format!("Pages of {origin} may not call this server; add it to server.allowed_origins."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_local_and_listed_pages_may_call() {
        let origins = Origins::without_keys(vec!["https://app.example.org".to_owned()]);
        let any = Origins::without_keys(vec!["*".to_owned()]);
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("timbre.example.org:8080"))]);
        for (origin, expected) in [
            ("http://timbre.example.org:8080", true),
            ("http://timbre.example.org", false),
            ("http://localhost:5173", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:3000", true),
            ("http://localhost.example.org", false),
            ("http://127.0.0.1.example.org", false),
            ("https://APP.example.org", true),
            ("http://app.example.org", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(origins.allow(origin, &headers), expected, "{origin}");
            assert!(any.allow(origin, &headers), "{origin}");
        }
    }

    #[test]
    fn a_server_without_keys_answers_only_to_its_own_names() {
        let open = Origins::without_keys(vec!["https://app.example.org".to_owned()]);
        for (host, expected) in [
            ("localhost:8080", true),
            ("LOCALHOST", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("app.example.org", true),
            ("evil.example.com:8080", false),
            ("127.0.0.1.example.com", false),
            ("timbre:8080", true),
            ("192.168.1.7:8080", false),
            ("[2001:db8::1]", false),
            ("..", false),
        ] {
            assert_eq!(open.answers_to(host), expected, "{host}");
            assert!(Origins::beside_keys(Vec::new()).answers_to(host), "{host}");
        }
        assert!(Origins::without_keys(vec!["*".to_owned()]).answers_to("evil.example.com"));
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        for (text, expected) in [
            ("*", true),
            ("null", true),
            ("https://app.example.org", true),
            ("http://[::1]:3000", true),
            ("chrome-extension://abcdef", true),
            ("https://app.example.org/", false),
            ("https://*.example.org", false),
            ("app.example.org", false),
            ("", false),
        ] {
            assert_eq!(Origins::is_one(text), expected, "{text}");
        }
    }
}
