//! Tavily's search API.

use serde_json::{Value, json};

use super::engine::{Dialect, Engine, Request, found};
use super::{Found, Query};
use crate::remote::KeyPlace;

/// Tavily.
pub(super) const ENGINE: Engine = Engine {
    name: "tavily",
    base_url: Some("https://api.tavily.com"),
    key: Some("TAVILY_API_KEY"),
    key_place: KeyPlace::Bearer,
    dialect: Dialect { request, read },
};

fn request(query: &Query) -> Request {
    let mut body = json!({"query": query.words, "max_results": query.results, "search_depth": "basic"});
    for (name, domains) in [("include_domains", &query.allowed), ("exclude_domains", &query.blocked)] {
        if !domains.is_empty() {
            body[name] = json!(domains);
        }
    }
    Request::Post("search", body)
}

fn read(answer: &Value) -> Option<Vec<Found>> {
    let results = answer["results"].as_array()?;
    Some(results.iter().filter_map(|entry| found(entry, "title", &["content"], &["published_date"])).collect())
}
