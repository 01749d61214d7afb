//! SearXNG, a search engine that everybody can run (its search API; `json` must be among the `search.formats` of its settings).

use serde_json::Value;

use super::engine::{Dialect, Engine, Request, found, with_operators};
use super::{Found, Query};
use crate::remote::KeyPlace;

/// SearXNG.
pub(super) const ENGINE: Engine =
    Engine { name: "searxng", base_url: None, key: None, key_place: KeyPlace::Bearer, dialect: Dialect { request, read } };

fn request(query: &Query) -> Request {
    Request::Get("search", vec![("q", with_operators(query)), ("format", "json".to_owned())])
}

fn read(answer: &Value) -> Option<Vec<Found>> {
    let results = answer["results"].as_array()?;
    Some(results.iter().filter_map(|entry| found(entry, "title", &["content"], &["publishedDate"])).collect())
}
