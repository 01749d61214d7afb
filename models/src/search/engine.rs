//! Search backends behind a base URL: pure translation, a query to a request and an answer to results, plus the lines that send it.
//!
//! What is found is other people's text: it is cut to the length asked for and cleaned of control characters, and whoever shows it to a
//! model marks it as a quotation.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Found, Query, SearchBackend, brave, exa, searxng, tavily};
use crate::remote::{self, Endpoint, KeyPlace};
use crate::{ErrorKind, ModelError};

/// Largest answer of a backend that is read, bytes: twenty results with the text of their pages stay well below.
const LONGEST: usize = 2 * 1_024 * 1_024;
/// Longest title kept, characters.
const TITLE: usize = 200;
/// Longest date kept, characters.
const DATE: usize = 40;
/// Longest address kept, bytes: pages that people cite have far less.
const ADDRESS: usize = 2_000;

/// A backend that can be configured.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Where it is; `None`: everybody runs their own.
    pub base_url: Option<&'static str>,
    /// The variable that holds its key; `None`: it needs none.
    pub key: Option<&'static str>,
    /// How the key is sent.
    pub key_place: KeyPlace,
    /// How it is asked.
    pub(crate) dialect: Dialect,
}

/// All of them.
pub const ENGINES: &[Engine] = &[searxng::ENGINE, brave::ENGINE, tavily::ENGINE, exa::ENGINE];

impl Engine {
    /// The engine at `endpoint`, with so long for each search.
    pub fn build(self, endpoint: Endpoint, within: Duration) -> Arc<dyn SearchBackend> {
        Arc::new(Remote { engine: self, endpoint, within })
    }
}

/// A backend's wire format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// The request for a query.
    pub(crate) request: fn(&Query) -> Request,
    /// The results in an answer; `None` where it has no place for them.
    pub(crate) read: fn(&Value) -> Option<Vec<Found>>,
}

/// A request to a backend.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    /// A GET of a path with parameters.
    Get(&'static str, Vec<(&'static str, String)>),
    /// A POST of JSON to a path.
    Post(&'static str, Value),
}

struct Remote {
    engine: Engine,
    endpoint: Endpoint,
    within: Duration,
}

impl SearchBackend for Remote {
    fn name(&self) -> &'static str {
        self.engine.name
    }

    fn search(&self, query: Query) -> BoxFuture<'static, Result<Vec<Found>, ModelError>> {
        let (engine, endpoint, within) = (self.engine, self.endpoint.clone(), self.within);
        Box::pin(async move {
            let target = engine.name;
            let late = || ModelError::new(ErrorKind::Timeout, target, format!("no results within {} ms", within.as_millis()));
            let searching = async {
                let request = match (engine.dialect.request)(&query) {
                    Request::Get(path, parameters) => endpoint.get(path, &parameters)?,
                    Request::Post(path, body) => endpoint.post(path, "")?.json(&body),
                };
                let answer = remote::json(endpoint.send(request, target).await?, LONGEST, within, target).await?;
                let found = (engine.dialect.read)(&answer)
                    .ok_or_else(|| ModelError::new(ErrorKind::Protocol, target, "sent an answer without a list of results"))?;
                Ok(kept(found, &query))
            };
            tokio::time::timeout(within, searching).await.unwrap_or_else(|_| Err(late()))
        })
    }
}

/// The results that may be shown, cleaned and cut.
fn kept(found: Vec<Found>, query: &Query) -> Vec<Found> {
    let mut kept: Vec<Found> = Vec::new();
    for found in found {
        let Some(host) = host(&found.url).filter(|_| found.url.len() <= ADDRESS) else { continue };
        let allowed = query.allowed.is_empty() || query.allowed.iter().any(|domain| within(&host, domain));
        if !allowed || query.blocked.iter().any(|domain| within(&host, domain)) || kept.iter().any(|other| other.url == found.url) {
            continue;
        }
        let title = clean(&found.title, TITLE);
        kept.push(Found {
            title: if title.is_empty() { host } else { title },
            text: clean(&found.text, query.characters),
            date: found.date.map(|date| clean(&date, DATE)).filter(|date| !date.is_empty()),
            url: found.url,
        });
        if kept.len() == query.results {
            break;
        }
    }
    kept
}

/// The host of an address that a browser would open, in lower case.
fn host(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

/// Whether a host is a domain or below it. A path behind the domain, which some dialects allow, is not looked at.
fn within(host: &str, domain: &str) -> bool {
    let domain = domain.split('/').next().unwrap_or_default().trim_start_matches("*.").to_ascii_lowercase();
    host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// At most so many characters without tags, control characters and numbers in brackets, which a model would take for its own marks of sources.
fn clean(text: &str, most: usize) -> String {
    let mut cleaned = String::new();
    let (mut count, mut space) = (0, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if count >= most {
            break;
        }
        if let Some(after) = skipped(rest) {
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        // Also what turns the direction of writing or is not seen at all.
        let unseen = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
        if c.is_whitespace() || c.is_control() {
            space = !cleaned.is_empty();
        } else if !unseen {
            if std::mem::take(&mut space) {
                cleaned.push(' ');
                count += 1;
            }
            cleaned.push(c);
            count += 1;
        }
    }
    cleaned
}

/// What follows a mark of highlighting or a number in brackets that a text begins with.
fn skipped(text: &str) -> Option<&str> {
    for tag in ["<strong>", "</strong>", "<b>", "</b>", "<em>", "</em>"] {
        if let Some(after) = text.strip_prefix(tag) {
            return Some(after);
        }
    }
    let (number, after) = text.strip_prefix('[')?.split_at_checked(text[1..].find(']')?)?;
    (!number.is_empty() && number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| &after[1..])
}

/// A result from the fields of these names; the first text that is there counts.
pub(super) fn found(entry: &Value, title: &str, text: &[&str], date: &[&str]) -> Option<Found> {
    let first = |names: &[&str]| names.iter().find_map(|name| entry[*name].as_str()).filter(|text| !text.is_empty()).map(str::to_owned);
    Some(Found {
        url: entry["url"].as_str()?.to_owned(),
        title: first(&[title]).unwrap_or_default(),
        text: first(text).unwrap_or_default(),
        date: first(date),
    })
}

/// The words with the domains as operators, for backends that have no field for them.
pub(super) fn with_operators(query: &Query) -> String {
    let mut words = query.words.clone();
    let allowed: Vec<String> = query.allowed.iter().map(|domain| format!("site:{domain}")).collect();
    match allowed.as_slice() {
        [] => {}
        [only] => words.push_str(&format!(" {only}")),
        several => words.push_str(&format!(" ({})", several.join(" OR "))),
    }
    for domain in &query.blocked {
        words.push_str(&format!(" -site:{domain}"));
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_backend_is_asked_and_read_in_its_own_form() {
        let query = Query {
            words: "rust 2027".into(),
            results: 3,
            characters: 100,
            country: Some("DE".into()),
            allowed: vec!["rust-lang.org".into(), "lwn.net".into()],
            blocked: vec!["spam.example".into()],
        };
        let operators = "rust 2027 (site:rust-lang.org OR site:lwn.net) -site:spam.example".to_owned();
        for (engine, request, answer) in [
            (
                searxng::ENGINE,
                Request::Get("search", vec![("q", operators.clone()), ("format", "json".into())]),
                json!({"results": [{"url": "https://lwn.net/1", "title": "A", "content": "text", "publishedDate": "2026-11-01"}]}),
            ),
            (
                brave::ENGINE,
                Request::Get(
                    "res/v1/web/search",
                    vec![("q", operators), ("count", "3".into()), ("extra_snippets", "true".into()), ("country", "DE".into())],
                ),
                json!({"web": {"results": [{"url": "https://lwn.net/1", "title": "A", "description": "text", "page_age": "2026-11-01"}]}}),
            ),
            (
                tavily::ENGINE,
                Request::Post(
                    "search",
                    json!({"query": "rust 2027", "max_results": 3, "search_depth": "basic",
                        "include_domains": ["rust-lang.org", "lwn.net"], "exclude_domains": ["spam.example"]}),
                ),
                json!({"results": [{"url": "https://lwn.net/1", "title": "A", "content": "text", "published_date": "2026-11-01"}]}),
            ),
            (
                exa::ENGINE,
                Request::Post(
                    "search",
                    json!({"query": "rust 2027", "numResults": 3, "contents": {"text": {"maxCharacters": 100}}, "userLocation": "DE",
                        "includeDomains": ["rust-lang.org", "lwn.net"], "excludeDomains": ["spam.example"]}),
                ),
                json!({"results": [{"url": "https://lwn.net/1", "title": "A", "text": "text", "publishedDate": "2026-11-01"}]}),
            ),
        ] {
            assert_eq!((engine.dialect.request)(&query), request, "{}", engine.name);
            let found = Found { url: "https://lwn.net/1".into(), title: "A".into(), text: "text".into(), date: Some("2026-11-01".into()) };
            assert_eq!((engine.dialect.read)(&answer), Some(vec![found]), "{}", engine.name);
            assert_eq!((engine.dialect.read)(&json!({"error": "no"})), None, "{}", engine.name);
        }
    }

    #[test]
    fn results_are_cleaned_cut_and_kept_to_their_domains() {
        let found = |url: &str, text: &str| Found { url: url.into(), text: text.into(), ..Found::default() };
        let query =
            Query { results: 2, characters: 9, allowed: vec!["a.org".into()], blocked: vec!["bad.a.org".into()], ..Query::default() };
        let kept = kept(
            vec![
                found("javascript:alert(1)", "x"),
                found("https://evil.org/a.org", "x"),
                found("https://nota.org/", "x"),
                found("https://bad.a.org/", "x"),
                found("https://user@www.A.org:8/p", "<strong>One</strong>\n\u{202e} two[12] three four"),
                found("https://user@www.A.org:8/p", "again"),
                found("https://a.org", "\u{0}"),
                found("https://a.org/3", "beyond"),
            ],
            &query,
        );
        let shown: Vec<(&str, &str)> = kept.iter().map(|found| (found.title.as_str(), found.text.as_str())).collect();
        assert_eq!(shown, [("www.a.org", "One two t"), ("a.org", "")]);
    }
}
