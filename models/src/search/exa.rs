//! Exa's search API.

use serde_json::{Value, json};

use super::engine::{Dialect, Engine, Request, found};
use super::{Found, Query};
use crate::remote::KeyPlace;

/// Exa.
pub(super) const ENGINE: Engine = Engine {
    name: "exa",
    base_url: Some("https://api.exa.ai"),
    key: Some("EXA_API_KEY"),
    key_place: KeyPlace::Header("x-api-key"),
    dialect: Dialect { request, read },
};

fn request(query: &Query) -> Request {
    let mut body = json!({"query": query.words, "numResults": query.results, "contents": {"text": {"maxCharacters": query.characters}}});
    if let Some(country) = &query.country {
        body["userLocation"] = json!(country);
    }
    for (name, domains) in [("includeDomains", &query.allowed), ("excludeDomains", &query.blocked)] {
        if !domains.is_empty() {
            body[name] = json!(domains);
        }
    }
    Request::Post("search", body)
}

fn read(answer: &Value) -> Option<Vec<Found>> {
    let results = answer["results"].as_array()?;
    Some(results.iter().filter_map(|entry| found(entry, "title", &["text", "summary"], &["publishedDate"])).collect())
}
