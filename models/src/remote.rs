//! What every engine behind a base URL shares: the client, the key, and what an HTTP answer means.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;

pub use crate::Secret;
use crate::{ErrorKind, ModelError, Prompt};

/// Longest wait for a connection. A round trip round the world with TLS takes under a second.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for the head of an answer where the caller sets no shorter one: a slow model holds it back until it begins.
pub(crate) const HEAD: Duration = Duration::from_secs(120);
/// Most bytes read of an error's body.
const LONGEST_ERROR: usize = 64 * 1_024;
/// Longest `retry-after` that is believed.
const LONGEST_RETRY: f64 = 86_400.0;

/// Where a key stands in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyPlace {
    /// `Authorization: Bearer ...`.
    #[default]
    Bearer,
    /// A header of this name.
    Header(&'static str),
}

/// Where a remote engine is.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Its name in the configuration, shown in errors.
    pub name: String,
    /// Up to and including the version, `http://127.0.0.1:9100/v1`; `{model}` in it stands for the model's name.
    pub base_url: String,
    /// The key, where it needs one.
    pub key: Option<Secret>,
    /// How the key is sent.
    pub key_place: KeyPlace,
    /// Further headers of every request; they may be secret too.
    pub headers: Vec<(String, Secret)>,
    /// Further parameters of every URL.
    pub query: Vec<(String, String)>,
}

impl Endpoint {
    /// An endpoint that takes its key as a bearer token.
    pub fn new(name: impl Into<String>, base_url: impl Into<String>, key: Option<Secret>) -> Endpoint {
        let (name, base_url) = (name.into(), base_url.into());
        Endpoint { name, base_url, key, key_place: KeyPlace::Bearer, headers: Vec::new(), query: Vec::new() }
    }

    /// A POST to `path` under the base URL, for this model.
    pub(crate) fn post(&self, path: &str, model: &str) -> Result<RequestBuilder, ModelError> {
        Ok(self.signed(client()?.post(self.url(path, model))))
    }

    /// A POST to `path` that asks for an answer to `prompt`.
    pub(crate) fn ask(&self, path: &str, prompt: &Prompt, body: &Value) -> Result<RequestBuilder, ModelError> {
        let post = self.post(path, &prompt.model)?.json(body);
        // A caller's id may hold what no header may.
        let id = HeaderValue::try_from(&prompt.id).ok().filter(|id| !id.is_empty() && !self.sets("x-request-id"));
        Ok(id.into_iter().fold(post, |post, id| post.header("x-request-id", id)))
    }

    /// A GET of `path` under the base URL with these parameters.
    pub(crate) fn get(&self, path: &str, parameters: &[(&str, String)]) -> Result<RequestBuilder, ModelError> {
        let mut url = self.url(path, "");
        for (name, value) in parameters {
            add_parameter(&mut url, name, value);
        }
        Ok(self.signed(client()?.get(url)))
    }

    fn url(&self, path: &str, model: &str) -> String {
        let base = self.base_url.trim_end_matches('/');
        let url = if base.contains("{model}") { base.replace("{model}", &segment(model)) } else { base.to_owned() };
        let mut url = format!("{url}/{path}");
        for (name, value) in &self.query {
            add_parameter(&mut url, name, value);
        }
        url
    }

    fn signed(&self, mut request: RequestBuilder) -> RequestBuilder {
        for (name, value) in &self.headers {
            request = request.header(name, value.reveal());
        }
        match (&self.key, self.key_place) {
            (Some(key), KeyPlace::Bearer) => request.bearer_auth(key.reveal()),
            (Some(key), KeyPlace::Header(name)) => request.header(name, key.reveal()),
            (None, _) => request,
        }
    }

    /// Whether anything answers there: its list of models is asked for, and any answer but a failure of its own will do.
    pub async fn is_up(&self, within: Duration) -> bool {
        let Ok(request) = self.get("models", &[]) else { return false };
        let answered = tokio::time::timeout(within, request.send()).await;
        matches!(answered, Ok(Ok(response)) if !response.status().is_server_error())
    }

    /// Whether its configuration sets this header.
    pub(crate) fn sets(&self, header: &str) -> bool {
        self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(header))
    }

    /// Sends a request and waits for a good answer's head; anything else is the error it means.
    pub(crate) async fn send(&self, request: RequestBuilder, target: &str) -> Result<Response, ModelError> {
        self.send_within(HEAD, request, target).await
    }

    /// The same with another deadline for the head.
    pub(crate) async fn send_within(&self, within: Duration, request: RequestBuilder, target: &str) -> Result<Response, ModelError> {
        let sent = tokio::time::timeout(within, request.send()).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(broken(target, &error)),
            Err(_) => return Err(ModelError::new(ErrorKind::Timeout, target, format!("no answer within {} s", within.as_secs()))),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let error = refusal(target, response).await;
        Err(ModelError { detail: self.hide(&error.detail), ..error })
    }

    /// Words of the server without our secrets in them: callers are told why an attempt failed, and some servers repeat the key.
    fn hide(&self, words: &str) -> String {
        let secrets = self.key.iter().chain(self.headers.iter().map(|(_, value)| value)).map(Secret::reveal);
        secrets.filter(|secret| !secret.is_empty()).fold(words.to_owned(), |words, secret| words.replace(secret, "***"))
    }
}

fn add_parameter(url: &mut String, name: &str, value: &str) {
    let before = if url.contains('?') { '&' } else { '?' };
    url.push_str(&format!("{before}{}={}", segment(name), segment(value)));
}

/// One segment of a URL's path (RFC 3986 section 3.3): a name that a caller wrote must not lead anywhere else.
pub(crate) fn segment(name: &str) -> String {
    let mut segment = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b'@' | b':' => segment.push(char::from(byte)),
            // `..` climbs however it is written; no model is called so.
            b'.' if name.bytes().all(|other| other == b'.') => segment.push('_'),
            b'.' => segment.push('.'),
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

/// The one client: its connections are shared by all engines.
fn client() -> Result<&'static Client, ModelError> {
    static CLIENT: OnceLock<Result<Client, String>> = OnceLock::new();
    let made = CLIENT.get_or_init(|| {
        // Somebody else may have installed one already: then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder()
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("timbre/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| chain(&error))
    });
    made.as_ref().map_err(|error| ModelError::new(ErrorKind::Failed, "remote", format!("no HTTP client: {error}")))
}

/// A connection that failed or broke off.
pub(crate) fn broken(target: &str, error: &reqwest::Error) -> ModelError {
    let kind = match error {
        error if error.is_connect() => ErrorKind::Closed,
        error if error.is_timeout() => ErrorKind::Timeout,
        error if error.is_builder() => ErrorKind::Failed,
        _ => ErrorKind::Closed,
    };
    ModelError::new(kind, target, chain(error))
}

/// An error and its causes on one line, without the URL: a base URL may carry a key.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = match error.downcast_ref::<reqwest::Error>() {
            Some(error) if error.is_connect() => "could not connect".to_owned(),
            Some(error) if error.is_builder() => "the base_url is not a URL".to_owned(),
            Some(error) if error.is_timeout() => "timed out".to_owned(),
            Some(_) => "the connection broke".to_owned(),
            None => error.to_string(),
        };
        if !text.ends_with(&said) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&said);
        }
        next = error.source();
    }
    text
}

async fn refusal(target: &str, response: Response) -> ModelError {
    let status = response.status();
    let retry_after = retry_after(response.headers(), SystemTime::now());
    let mut body = Vec::new();
    let mut bytes = response.bytes_stream();
    let read = async {
        while let Some(Ok(more)) = bytes.next().await {
            body.extend_from_slice(&more);
            if body.len() >= LONGEST_ERROR {
                body.truncate(LONGEST_ERROR);
                break;
            }
        }
    };
    // The status is known already: a body that does not come is not waited for.
    let _ = tokio::time::timeout(CONNECT, read).await;
    let said = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let kind = reason(&said).unwrap_or_else(|| kind(status));
    let retry_after = retry_after.or_else(|| retry_delay(&said));
    ModelError { status: Some(status.as_u16()), retry_after, ..ModelError::new(kind, target, detail(status, &body)) }
}

/// What the body says more exactly than the status, which is 400 in all of these: our account's trouble is not the caller's mistake.
fn reason(body: &Value) -> Option<ErrorKind> {
    let error = error_of(body);
    let details = error["details"].as_array().into_iter().flatten();
    // Google's answer to a wrong key.
    if details.into_iter().any(|detail| detail["reason"] == "API_KEY_INVALID") {
        return Some(ErrorKind::Unauthorized);
    }
    // Anthropic's answer to an account without money.
    if error["message"].as_str().is_some_and(|said| said.contains("credit balance is too low")) {
        return Some(ErrorKind::Unauthorized);
    }
    matches!(error["code"].as_str(), Some("content_filter" | "content_policy_violation")).then_some(ErrorKind::Refused)
}

/// `RetryInfo` of Google's errors: seconds with an `s`.
fn retry_delay(body: &Value) -> Option<Duration> {
    let delay = error_of(body)["details"].as_array()?.iter().find_map(|detail| detail["retryDelay"].as_str())?;
    let seconds = delay.strip_suffix('s')?.parse::<f64>().ok()?;
    (0.0..=LONGEST_RETRY).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// The error object; Google wraps it in a list where it was asked for a stream.
fn error_of(body: &Value) -> &Value {
    let body = body.get(0).unwrap_or(body);
    body.get("error").unwrap_or(body)
}

/// The JSON of a whole answer of at most `most` bytes, within a deadline.
pub(crate) async fn json(response: Response, most: usize, within: Duration, target: &str) -> Result<Value, ModelError> {
    let read = async {
        let mut body = Vec::new();
        let mut bytes = response.bytes_stream();
        while let Some(more) = bytes.next().await {
            body.extend_from_slice(&more.map_err(|error| broken(target, &error))?);
            if body.len() > most {
                return Err(ModelError::new(ErrorKind::Protocol, target, format!("sent more than {most} bytes; ask for less at once")));
            }
        }
        serde_json::from_slice(&body)
            .map_err(|error| ModelError::new(ErrorKind::Protocol, target, format!("sent an answer that is not JSON: {error}")))
    };
    let late = || ModelError::new(ErrorKind::Timeout, target, format!("no whole answer within {} s", within.as_secs()));
    tokio::time::timeout(within, read).await.unwrap_or_else(|_| Err(late()))
}

/// Whether an answer says that it is JSON.
pub(crate) fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(reqwest::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().contains("json"))
}

/// What an HTTP status means.
pub(crate) fn kind(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        401 | 407 => ErrorKind::Unauthorized,
        // No money left on our account there; another provider's account may have some.
        402 => ErrorKind::Unauthorized,
        403 | 451 => ErrorKind::Refused,
        408 | 504 | 524 => ErrorKind::Timeout,
        425 | 429 | 503 | 529 => ErrorKind::Overloaded,
        400..=499 => ErrorKind::BadRequest,
        500..=599 => ErrorKind::Failed,
        _ => ErrorKind::Protocol,
    }
}

fn detail(status: StatusCode, body: &[u8]) -> String {
    let said = match serde_json::from_slice::<Value>(body) {
        Ok(body) => message(&body).unwrap_or_else(|| body.to_string()),
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    let said: String = said.chars().take(500).collect();
    if said.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {said}") }
}

/// The words of an error object in any of its known shapes.
pub(crate) fn message(body: &Value) -> Option<String> {
    let error = error_of(body);
    let text = error.get("message").or_else(|| error.get("detail")).or(Some(error)).and_then(Value::as_str)?;
    Some(text.to_owned())
}

/// `retry-after-ms` (OpenAI's, Azure's), or `retry-after` in seconds or as a date (RFC 9110 section 10.2.3), which proxies in front of
/// engines write.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name: &str| text(name)?.parse::<f64>().ok();
    let until = || httpdate::parse_http_date(text("retry-after")?).ok()?.duration_since(now).ok().map(|wait| wait.as_secs_f64());
    let seconds = number("retry-after-ms").map(|ms| ms / 1_000.0).or_else(|| number("retry-after")).or_else(until)?;
    (0.0..=LONGEST_RETRY).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let endpoint = Endpoint::new("a", "http://a", Some(Secret::new("sk-123")));
        assert!(!format!("{endpoint:?}").contains("sk-123"));
    }

    #[test]
    fn statuses_mean_what_the_router_needs_to_know() {
        for (status, retryable) in [(400, false), (401, true), (402, true), (403, false), (404, false), (422, false), (408, true)] {
            let kind = kind(StatusCode::from_u16(status).expect("a status"));
            assert_eq!(ModelError::new(kind, "t", "").retryable(), retryable, "{status}");
        }
        for status in [429, 500, 502, 503, 504, 529] {
            let kind = kind(StatusCode::from_u16(status).expect("a status"));
            assert!(ModelError::new(kind, "t", "").retryable(), "{status}");
        }
    }

    #[test]
    fn an_account_in_trouble_is_not_the_callers_mistake() {
        for (body, kind, seconds) in [
            (r#"{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}"#, Some(ErrorKind::Unauthorized), None),
            (r#"{"error":{"message":"Your credit balance is too low to go on."}}"#, Some(ErrorKind::Unauthorized), None),
            (r#"{"error":{"code":"content_filter","message":"no"}}"#, Some(ErrorKind::Refused), None),
            (r#"[{"error":{"code":429,"details":[{"retryDelay":"1.5s"}]}}]"#, None, Some(1.5)),
            (r#"{"error":{"details":[{"retryDelay":"never"}]}}"#, None, None),
        ] {
            let body: Value = serde_json::from_str(body).expect("it is JSON");
            assert_eq!((reason(&body), retry_delay(&body).map(|delay| delay.as_secs_f64())), (kind, seconds), "{body}");
        }
    }

    #[test]
    fn the_wait_is_a_number_or_a_date() {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2026 07:28:00 GMT").expect("a date");
        for (name, value, seconds) in [
            ("retry-after", "7", Some(7.0)),
            ("retry-after-ms", "1500", Some(1.5)),
            ("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT", Some(30.0)),
            ("retry-after", "Wed, 21 Oct 2026 07:27:30 GMT", None),
            ("retry-after", "Wed, 21 Oct 2099 07:28:00 GMT", None),
            ("retry-after", "-3", None),
            ("retry-after", "soon", None),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().expect("a name"), value.parse().expect("a value"))]);
            assert_eq!(retry_after(&headers, now).map(|wait| wait.as_secs_f64()), seconds, "{name}: {value}");
        }
    }

    #[test]
    fn no_secret_of_ours_comes_back_in_an_errors_words() {
        let endpoint = Endpoint {
            headers: vec![("x-team".to_owned(), Secret::new("team-456")), ("x-empty".to_owned(), Secret::default())],
            ..Endpoint::new("a", "http://a", Some(Secret::new("sk-123")))
        };
        assert_eq!(endpoint.hide("wrong key sk-123 of team-456"), "wrong key *** of ***");
    }

    #[test]
    fn a_models_name_stays_one_segment_of_the_path() {
        for (name, expected) in [("gemini-2.5-pro", "gemini-2.5-pro"), ("../x?key=1#", "..%2Fx%3Fkey%3D1%23"), ("..", "__")] {
            assert_eq!(segment(name), expected);
        }
    }

    #[test]
    fn error_bodies_of_every_shape_are_read() {
        for (body, expected) in [
            (r#"{"error":{"message":"no","code":"x"}}"#, "HTTP 400 Bad Request: no"),
            (r#"{"error":"no"}"#, "HTTP 400 Bad Request: no"),
            (r#"{"detail":"no"}"#, "HTTP 400 Bad Request: no"),
            ("<html>", "HTTP 400 Bad Request: <html>"),
            ("", "HTTP 400 Bad Request"),
        ] {
            assert_eq!(detail(StatusCode::BAD_REQUEST, body.as_bytes()), expected);
        }
    }
}
