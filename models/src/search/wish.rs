//! A request's wish that the web be searched, as its callers write it in their dialects.

use serde_json::{Map, Value, json};

use crate::{Prompt, Tool};

/// Fields of a request that ask for a search: ours and other gateways', and OpenAI's.
const FIELDS: [&str; 2] = ["web_search", "web_search_options"];
/// Most domains that are heeded in a list.
const DOMAINS: usize = 20;
/// Longest domain (RFC 1035 section 2.3.4), bytes.
const DOMAIN: usize = 253;

/// How much of what is found the model gets to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// The first lines.
    Low,
    /// A paragraph or two.
    #[default]
    Medium,
    /// A page.
    High,
}

impl Detail {
    /// Its name in OpenAI's `search_context_size`.
    pub fn name(self) -> &'static str {
        match self {
            Detail::Low => "low",
            Detail::Medium => "medium",
            Detail::High => "high",
        }
    }

    /// Most characters of one result.
    pub fn characters(self) -> usize {
        match self {
            Detail::Low => 500,
            Detail::Medium => 1_500,
            Detail::High => 4_000,
        }
    }
}

/// That the web be searched, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebSearch {
    /// Most results of one search.
    pub results: Option<usize>,
    /// Most searches.
    pub uses: Option<usize>,
    /// How much of each result; `None`: as the searcher likes.
    pub detail: Option<Detail>,
    /// Where the caller is: `country` (two letters), `region`, `city`, `timezone`.
    pub place: Map<String, Value>,
    /// The only domains; none: any.
    pub allowed: Vec<String>,
    /// Domains that are left out.
    pub blocked: Vec<String>,
    /// The tool that Anthropic's dialect asks by (its type is dated), as it came.
    pub tool: Option<Tool>,
    /// The fields that asked, as they came: for an upstream of which nothing is known.
    pub fields: Map<String, Value>,
}

impl WebSearch {
    /// Takes the wish out of a prompt. `None`: nothing is to be searched, and nothing in the prompt says otherwise any more.
    pub fn take(prompt: &mut Prompt) -> Option<WebSearch> {
        let is_tool = |tool: &Tool| tool.extra.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("web_search"));
        let tool = prompt.tools.iter().position(is_tool).map(|at| prompt.tools.remove(at));
        let mut wish = tool.map(|tool| {
            let mut wish = WebSearch::default();
            wish.read(&tool.extra);
            let is_dated = tool.extra.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("web_search_2"));
            WebSearch { tool: is_dated.then_some(tool), ..wish }
        });
        for name in FIELDS {
            let Some(value) = prompt.extra.shift_remove(name) else { continue };
            let off = matches!(value, Value::Null | Value::Bool(false)) || value["enabled"] == false;
            if off {
                continue;
            }
            let wish = wish.get_or_insert_default();
            if let Value::Object(fields) = &value {
                wish.read(fields);
            }
            wish.fields.insert(name.to_owned(), value);
        }
        wish
    }

    /// OpenAI's `web_search_options`: no other field is known there.
    pub fn options(&self) -> Value {
        let mut options = json!({});
        if let Some(detail) = self.detail {
            options["search_context_size"] = json!(detail.name());
        }
        if !self.place.is_empty() {
            options["user_location"] = json!({"type": "approximate", "approximate": self.place});
        }
        options
    }

    fn read(&mut self, fields: &Map<String, Value>) {
        let count = |names: &[&str]| {
            let given = names.iter().find_map(|name| fields.get(*name)?.as_u64());
            given.and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0)
        };
        self.results = count(&["max_results", "maxResults"]).or(self.results);
        self.uses = count(&["max_uses", "max_steps", "maxUses"]).or(self.uses);
        match fields.get("search_context_size").and_then(Value::as_str) {
            Some("low") => self.detail = Some(Detail::Low),
            Some("medium") => self.detail = Some(Detail::Medium),
            Some("high") => self.detail = Some(Detail::High),
            Some(_) | None => {}
        }
        if let Some(place) = fields.get("user_location").and_then(Value::as_object) {
            // OpenAI's chat wraps the place once more; its Responses and Anthropic do not.
            let place = place.get("approximate").and_then(Value::as_object).unwrap_or(place);
            let known = place.iter().filter(|(name, value)| name.as_str() != "type" && value.is_string());
            self.place = known.map(|(name, value)| (name.clone(), value.clone())).collect();
        }
        // OpenAI's Responses have them under `filters`, Perplexity one list with a sign before what is left out.
        let filters = fields.get("filters").and_then(Value::as_object);
        let lists = |names: &[&str]| -> Vec<String> {
            let list = |fields: &Map<String, Value>| names.iter().find_map(|name| fields.get(*name)?.as_array().cloned());
            let list = list(fields).or_else(|| list(filters?)).unwrap_or_default();
            list.iter().filter_map(Value::as_str).filter_map(domain).take(DOMAINS).collect()
        };
        let mut add = |allowed: Vec<String>, blocked: Vec<String>| {
            self.allowed.extend(allowed);
            self.blocked.extend(blocked);
        };
        add(
            lists(&["allowed_domains", "include_domains", "includeDomains"]),
            lists(&["blocked_domains", "excluded_domains", "exclude_domains", "excludeDomains"]),
        );
    }
}

/// A domain as it can stand in a query: letters, digits, dots and hyphens, perhaps a path.
fn domain(text: &str) -> Option<String> {
    let bare = text.trim().trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/*".contains(&byte);
    (!bare.is_empty() && bare.len() <= DOMAIN && bare.bytes().all(plain)).then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(fields: Value, tools: Vec<Tool>) -> Prompt {
        Prompt { extra: fields.as_object().cloned().unwrap_or_default(), tools, ..Prompt::default() }
    }

    #[test]
    fn every_dialects_wish_is_understood() {
        let place = json!({"country": "FR", "city": "Lyon"}).as_object().cloned().unwrap_or_default();
        for (fields, expected) in [
            (json!({}), None),
            (json!({"web_search": false}), None),
            (json!({"web_search": {"enabled": false, "max_results": 3}}), None),
            (json!({"web_search": true}), Some(WebSearch::default())),
            (json!({"web_search_options": {}}), Some(WebSearch::default())),
            (
                json!({"web_search": {"max_results": 3, "max_steps": 2, "engine": "exa", "exclude_domains": ["x.org"]}}),
                Some(WebSearch { results: Some(3), uses: Some(2), blocked: vec!["x.org".into()], ..WebSearch::default() }),
            ),
            (
                json!({"web_search_options": {"search_context_size": "high", "user_location":
                    {"type": "approximate", "approximate": {"country": "FR", "city": "Lyon"}}}}),
                Some(WebSearch { detail: Some(Detail::High), place: place.clone(), ..WebSearch::default() }),
            ),
            (
                json!({"web_search": {"filters": {"allowed_domains": ["https://a.org/", "b c", 7]},
                    "user_location": {"type": "approximate", "country": "FR", "city": "Lyon"}}}),
                Some(WebSearch { allowed: vec!["a.org".into()], place, ..WebSearch::default() }),
            ),
        ] {
            let mut prompt = prompt(fields.clone(), Vec::new());
            let taken = WebSearch::take(&mut prompt).map(|wish| WebSearch { fields: Map::new(), ..wish });
            assert_eq!((taken, prompt.extra.len()), (expected, 0), "{fields}");
        }
    }

    #[test]
    fn anthropics_tool_is_a_wish_and_a_function_of_that_name_is_none() {
        let tool = |extra: Value| Tool {
            name: "web_search".into(),
            description: None,
            parameters: None,
            extra: extra.as_object().cloned().unwrap_or_default(),
        };
        let server = tool(json!({"type": "web_search_20250305", "max_uses": 2, "blocked_domains": ["b.org"]}));
        let mut both = prompt(json!({}), vec![tool(json!({})), server.clone()]);
        let wish = WebSearch::take(&mut both).expect("it asks");
        assert_eq!((wish.uses, wish.blocked, wish.tool), (Some(2), vec!["b.org".to_owned()], Some(server)));
        assert_eq!(both.tools.len(), 1);
        // A chat tool that only says what it is: Anthropic would refuse it as it came.
        let bare = WebSearch::take(&mut prompt(json!({}), vec![tool(json!({"type": "web_search"}))]));
        assert_eq!(bare.map(|wish| wish.tool), Some(None));
        assert_eq!(WebSearch::take(&mut both), None);
    }
}
