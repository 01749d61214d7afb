//! Brave's Search API.

use serde_json::Value;

use super::engine::{Dialect, Engine, Request, found, with_operators};
use super::{Found, Query};
use crate::remote::KeyPlace;

/// Most results of one request.
const MOST: usize = 20;

/// Brave.
pub(super) const ENGINE: Engine = Engine {
    name: "brave",
    base_url: Some("https://api.search.brave.com"),
    key: Some("BRAVE_API_KEY"),
    key_place: KeyPlace::Header("x-subscription-token"),
    dialect: Dialect { request, read },
};

fn request(query: &Query) -> Request {
    let mut parameters = vec![
        ("q", with_operators(query)),
        ("count", query.results.min(MOST).to_string()),
        // More of each page than its one description.
        ("extra_snippets", "true".to_owned()),
    ];
    parameters.extend(query.country.clone().map(|country| ("country", country)));
    Request::Get("res/v1/web/search", parameters)
}

fn read(answer: &Value) -> Option<Vec<Found>> {
    // A search that found nothing has no `web` at all.
    if answer["web"].is_null() && answer["query"].is_object() {
        return Some(Vec::new());
    }
    let results = answer["web"]["results"].as_array()?;
    let with_snippets = |entry: &Value| {
        let mut result = found(entry, "title", &["description"], &["page_age", "age"])?;
        for snippet in entry["extra_snippets"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            result.text.push(' ');
            result.text.push_str(snippet);
        }
        Some(result)
    };
    Some(results.iter().filter_map(with_snippets).collect())
}
