//! The page that a person opens: `GET /` and what it loads.
//!
//! Its sources are in `web/demo`; what they build to is committed beside them, so that `cargo build` alone makes a whole server. It asks for
//! no key: what it calls does.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;

/// What the page may load and whom it may call: this server, and nobody else. No script or style stands in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    media-src 'self' mediastream:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Path, kind and content of each file.
const FILES: [(&str, &str, &str); 5] = [
    ("/", "text/html; charset=utf-8", include_str!("../demo/dist/index.html")),
    ("/app.js", "text/javascript; charset=utf-8", include_str!("../demo/dist/app.js")),
    ("/app.css", "text/css; charset=utf-8", include_str!("../demo/dist/app.css")),
    ("/worklet.js", "text/javascript; charset=utf-8", include_str!("../demo/dist/worklet.js")),
    ("/icon.svg", "image/svg+xml", include_str!("../demo/dist/icon.svg")),
];

static READY: LazyLock<Vec<File>> = LazyLock::new(|| FILES.iter().map(|(_, kind, text)| File::new(kind, text)).collect());

/// A file as it is sent.
struct File {
    kind: &'static str,
    plain: &'static str,
    gzip: Bytes,
    /// Changes with the content, so that a browser that kept an older one notices.
    etag: String,
}

impl File {
    fn new(kind: &'static str, plain: &'static str) -> File {
        let mut hasher = DefaultHasher::new();
        plain.hash(&mut hasher);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let gzip = encoder.write_all(plain.as_bytes()).and_then(|()| encoder.finish()).expect("a vector takes every byte");
        File { kind, plain, gzip: gzip.into(), etag: format!("\"{:016x}\"", hasher.finish()) }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let zipped = names(asked, header::ACCEPT_ENCODING).any(|name| name == "gzip");
        let known = names(asked, header::IF_NONE_MATCH).any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.etag);
        let mut response = match (known, zipped) {
            (true, _) => StatusCode::NOT_MODIFIED.into_response(),
            (false, true) => ([(header::CONTENT_ENCODING, "gzip")], self.gzip.clone()).into_response(),
            (false, false) => self.plain.into_response(),
        };
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, self.kind),
            // It may be kept, and is asked about each time: a new server has a new page.
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "accept-encoding"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("permissions-policy"), "microphone=(self), camera=(), geolocation=()"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(etag) = HeaderValue::from_str(&self.etag) {
            headers.insert(header::ETAG, etag);
        }
        response
    }
}

/// The names in a header that lists them (RFC 9110 section 5.6.1), without their parameters.
fn names(headers: &HeaderMap, header: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.split(';').next()).map(str::trim)
}

/// The page and what it loads.
pub(crate) fn routes() -> Router {
    FILES.iter().enumerate().fold(Router::new(), |routes, (at, (path, ..))| {
        routes.route(path, get(move |headers: HeaderMap| async move { READY[at].answer(&headers) }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(file: &File, headers: &[(HeaderName, &str)]) -> Response {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value")));
        file.answer(&headers.collect())
    }

    #[test]
    fn a_file_is_sent_once_and_packed_where_that_is_understood() {
        let file = File::new("text/css", "body { color: black }");
        let etag = file.etag.clone();
        let weak = format!("W/{etag}");
        let listed = format!("\"other\", {etag}");
        for (asked, status, encoding) in [
            (vec![], 200, None),
            (vec![(header::ACCEPT_ENCODING, "br, gzip;q=0.8")], 200, Some("gzip")),
            (vec![(header::ACCEPT_ENCODING, "identity")], 200, None),
            (vec![(header::IF_NONE_MATCH, etag.as_str())], 304, None),
            (vec![(header::IF_NONE_MATCH, weak.as_str())], 304, None),
            (vec![(header::IF_NONE_MATCH, listed.as_str())], 304, None),
            (vec![(header::IF_NONE_MATCH, "\"other\"")], 200, None),
        ] {
            let response = answer(&file, &asked);
            assert_eq!(response.status(), status, "{asked:?}");
            let told = response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().expect("ASCII"));
            assert_eq!(told, encoding, "{asked:?}");
            assert_eq!(response.headers()[header::ETAG], etag.as_str());
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
        }
        assert_ne!(File::new("text/css", "body {}").etag, etag);
    }

    #[test]
    fn the_page_loads_only_what_is_here() {
        for (path, _, text) in FILES {
            assert!(!text.is_empty(), "{path}");
            // Names of XML's own are no addresses.
            let elsewhere = text.replace("http://www.w3.org/", "").match_indices("http").count();
            assert!(path == "/app.js" || elsewhere == 0, "{path} names another server");
        }
        let page = FILES[0].2;
        let loaded = page.split(['"', '\'']).filter(|text| text.starts_with("./")).collect::<Vec<_>>();
        assert!(loaded.len() >= 3, "{loaded:?}");
        for file in loaded {
            assert!(FILES.iter().any(|(path, ..)| *path == &file[1..]), "the page loads {file}");
        }
        assert!(!page.contains(" style=") && !page.contains("<style") && !page.contains(" onclick="), "the policy forbids it");
    }
}
