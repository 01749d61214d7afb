//! Where servers that speak OpenAI's dialect differ from each other.

use serde_json::{Map, Value, json};

use crate::{Continuation, WebSearch};

/// What a server does not take, or names otherwise. The default is a server that ignores what it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Whether the count of tokens has to be asked for.
    pub usage: CountOfTokens,
    /// The name of the bound on the answer's length.
    pub most_tokens: MostTokens,
    /// The name of the seed.
    pub seed: &'static str,
    /// Fields of other dialects and of other gateways.
    pub foreign: Foreign,
    /// The field of an earlier answer that holds its reasoning; `None`: it is refused.
    pub reasoning: Option<&'static str>,
    /// Fields of a request that it refuses.
    pub refused: &'static [&'static str],
    /// Fields of a message that it refuses.
    pub refused_in_messages: &'static [&'static str],
    /// The shape that vectors are asked for in.
    pub vectors: Vectors,
    /// Which of its models search the web by themselves, and how they are asked to.
    pub search: Search,
    /// How it goes on with an answer that was begun elsewhere.
    pub begun: Begun,
}

impl Quirks {
    /// None.
    pub const NONE: Quirks = Quirks {
        usage: CountOfTokens::Asked,
        most_tokens: MostTokens::AsAsked,
        seed: "seed",
        foreign: Foreign::Kept,
        reasoning: Some("reasoning_content"),
        refused: &[],
        refused_in_messages: &[],
        vectors: Vectors::Unsaid,
        search: Search::Named,
        begun: Begun::Asked,
    };
}

impl Default for Quirks {
    fn default() -> Quirks {
        Quirks::NONE
    }
}

/// Whether the count of tokens has to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountOfTokens {
    /// By `stream_options`.
    Asked,
    /// It comes anyway, and `stream_options` is refused.
    Given,
}

/// The name of the bound on the answer's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MostTokens {
    /// As the caller wrote it.
    AsAsked,
    /// `max_tokens`; the new name is refused.
    Old,
    /// `max_completion_tokens`; some models refuse the old name.
    New,
}

/// What becomes of fields that only other dialects have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// They go upstream: it ignores them, or has a use for them.
    Kept,
    /// They are left out: it refuses them.
    Dropped,
}

/// The shape that vectors are asked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vectors {
    /// Nothing is said: the server sends lists of numbers.
    Unsaid,
    /// Base64 of 32-bit floats, a third of the bytes.
    Base64,
}

/// Which models search the web by themselves, and how they are asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Those whose names say so (`gpt-4o-search-preview`, `gpt-5-search-api`), by OpenAI's `web_search_options`.
    Named,
    /// Perplexity's: all that are called Sonar, and whether they are asked to or not.
    Perplexity,
    /// Any, by OpenRouter's plugin.
    Plugin,
}

impl Search {
    /// Whether `model` does what a wish says.
    pub(crate) fn by(self, model: &str, wish: &WebSearch) -> bool {
        let anywhere = wish.allowed.is_empty() && wish.blocked.is_empty();
        match self {
            Search::Named => anywhere && (model.contains("-search-preview") || model.contains("-search-api")),
            Search::Perplexity => model.contains("sonar"),
            Search::Plugin => true,
        }
    }

    /// Whether `model` searches for each of its answers.
    pub(crate) fn always(self, model: &str) -> bool {
        self != Search::Plugin && self.by(model, &WebSearch::default())
    }

    /// Writes a wish into a request.
    pub(crate) fn write(self, wish: &WebSearch, body: &mut Map<String, Value>) {
        let mut options = wish.options();
        match self {
            Search::Named => {}
            Search::Perplexity => {
                if !wish.place.is_empty() {
                    options["user_location"] = json!(wish.place);
                }
                let blocked = wish.blocked.iter().map(|domain| format!("-{domain}"));
                let domains: Vec<String> = wish.allowed.iter().cloned().chain(blocked).collect();
                if !domains.is_empty() {
                    body.insert("search_domain_filter".into(), json!(domains));
                }
            }
            Search::Plugin => {
                let mut plugin = json!({"id": "web"});
                if let Some(results) = wish.results {
                    plugin["max_results"] = json!(results);
                }
                for (name, domains) in [("include_domains", &wish.allowed), ("exclude_domains", &wish.blocked)] {
                    if !domains.is_empty() {
                        plugin[name] = json!(domains);
                    }
                }
                // The caller's own plugins stay; its own `web` has the last word.
                let plugins = body.entry("plugins").or_insert_with(|| json!([]));
                if let Some(plugins) = plugins.as_array_mut().filter(|plugins| plugins.iter().all(|other| other["id"] != "web")) {
                    plugins.push(plugin);
                }
            }
        }
        body.insert("web_search_options".into(), options);
    }
}

/// How a server goes on with an answer that was begun elsewhere. Only what its makers promise: one that ignores the wish begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It does not by itself: it is asked in words.
    Asked,
    /// From a trailing assistant message.
    Trailing,
    /// The same, for the Claude models whose own API does so.
    TrailingForClaude,
    /// From a trailing assistant message that says `"prefix": true`.
    Prefix,
    /// From a trailing assistant message, where `continue_final_message` says so.
    Final,
}

impl Begun {
    /// How `model` does.
    pub fn of(self, model: &str) -> Continuation {
        match self {
            Begun::Asked => Continuation::Asked,
            Begun::Trailing => Continuation::Trailing,
            Begun::TrailingForClaude => super::anthropic::continuation(model),
            Begun::Prefix => Continuation::Prefix,
            Begun::Final => Continuation::Final,
        }
    }
}
