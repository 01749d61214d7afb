//! Web search for models that cannot search: a tool of ours, its calls executed here, what was found given back, until there is an answer.
//!
//! A target that searches by itself is asked to; any other is given a tool beside the caller's own. Each round is an answer like any other:
//! it goes through the whole chain of targets. What the model says before it searches is part of the answer; the calls of our tool are not.
//! Where a model calls our tool and the caller's at once, ours is executed, the answer ends with the caller's calls, and what was found is
//! put back in its place when the caller comes with their results.

mod calls;
mod memory;
mod rounds;
mod sources;

use std::fmt;
use std::sync::Arc;

use futures::stream::BoxStream;
use models::search::Query;
use models::{Delta, Message, Prompt, SearchBackend, Tool, WebSearch};
use serde_json::{Map, Value, json};

use crate::route::{Limits, Target};
use crate::{AttemptLog, Cost, Executor, RouteError};
use memory::Memory;
use rounds::Rounds;

/// What our tool is called.
const NAME: &str = "web_search";
/// What it is called where the caller has a function of that name.
const OTHER_NAME: &str = "timbre_web_search";
/// Most searches that one round may ask for; further ones are answered with a refusal.
const AT_ONCE: usize = 4;
/// Longest query, characters: Brave's limit, the shortest of all.
const LONGEST_QUERY: usize = 400;

/// How much is searched, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchBounds {
    /// Results of one search, where the request does not say.
    pub results: usize,
    /// Most results of one search, whatever the request says.
    pub most_results: usize,
    /// Most rounds of searching before the model has to answer.
    pub rounds: usize,
    /// What one search costs.
    pub price: Cost,
}

/// How the web is searched for models that cannot. Cheap to clone; clones share what waits for the results of callers' tools.
#[derive(Clone)]
pub struct Searcher {
    backend: Arc<dyn SearchBackend>,
    bounds: SearchBounds,
    memory: Memory,
}

impl Searcher {
    /// Searches by `backend` within these bounds.
    pub fn new(backend: Arc<dyn SearchBackend>, bounds: SearchBounds) -> Searcher {
        Searcher { backend, bounds, memory: Memory::default() }
    }
}

impl fmt::Debug for Searcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Searcher").field("backend", &self.backend.name()).field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

/// One request's search: what is wished, and how it is put to each target.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    wish: WebSearch,
    searcher: Option<Searcher>,
    /// What our tool is called in this request.
    name: &'static str,
}

impl Plan {
    /// The plan of a request that wishes a search; takes the wish out of it.
    pub(crate) fn take(prompt: &mut Prompt, searcher: Option<&Searcher>) -> Option<Plan> {
        let wish = WebSearch::take(prompt)?;
        // Who may call no tool may not search either.
        let choice = prompt.tool_choice.as_ref();
        if choice.is_some_and(|choice| choice == "none" || choice["type"] == "none") {
            return None;
        }
        let name = if prompt.tools.iter().any(|tool| tool.name == NAME) { OTHER_NAME } else { NAME };
        Some(Plan { wish, searcher: searcher.cloned(), name })
    }

    /// The prompt as a target is asked it.
    pub(crate) fn put(&self, mut prompt: Prompt, target: &Target) -> Prompt {
        if target.model.searches(&target.name, &self.wish, &prompt.tools) {
            prompt.web_search = Some(self.wish.clone());
        } else if self.searcher.is_some() {
            prompt.tools.push(self.tool());
        } else if let Some(options) = self.wish.fields.get("web_search_options") {
            // Nobody here can search: the upstream may know what to do with what the caller wrote.
            prompt.extra.insert("web_search_options".to_owned(), options.clone());
        }
        prompt
    }

    /// Whether none of these targets will search: they cannot, nobody here does, and nothing that the caller wrote goes upstream.
    pub(crate) fn is_void(&self, targets: &[Target], tools: &[Tool]) -> bool {
        let searches = |target: &Target| target.model.searches(&target.name, &self.wish, tools);
        self.searcher.is_none() && !self.wish.fields.contains_key("web_search_options") && !targets.iter().any(searches)
    }

    fn tool(&self) -> Tool {
        let query = json!({ "type": "string", "description": "What to look for, in the words of a search engine." });
        Tool {
            name: self.name.to_owned(),
            description: Some(
                "Searches the web for what you do not know or what may have changed. Gives numbered results; cite them as [1].".to_owned(),
            ),
            parameters: Some(json!({ "type": "object", "properties": { "query": query }, "required": ["query"] })),
            extra: Map::new(),
        }
    }

    fn query(&self, words: &str, searcher: &Searcher) -> Query {
        let country = self.wish.place.get("country").and_then(Value::as_str);
        let country = country.filter(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic()));
        Query {
            words: words.chars().take(LONGEST_QUERY).collect(),
            results: self.wish.results.unwrap_or(searcher.bounds.results).min(searcher.bounds.most_results),
            characters: self.wish.detail.unwrap_or_default().characters(),
            country: country.map(str::to_ascii_uppercase),
            allowed: self.wish.allowed.clone(),
            blocked: self.wish.blocked.clone(),
        }
    }

    /// Most searches of the whole answer.
    fn uses(&self) -> usize {
        self.wish.uses.unwrap_or(usize::MAX)
    }
}

/// A prompt, and how each target is to be asked to search.
#[derive(Debug, Default)]
pub(crate) struct Question {
    pub(crate) prompt: Prompt,
    pub(crate) plan: Option<Arc<Plan>>,
}

impl Question {
    /// The prompt as a target is asked it.
    pub(crate) fn put(&self, prompt: Prompt, target: &Target) -> Prompt {
        match &self.plan {
            Some(plan) => plan.put(prompt, target),
            None => prompt,
        }
    }
}

impl From<Prompt> for Question {
    fn from(prompt: Prompt) -> Question {
        Question { prompt, plan: None }
    }
}

/// An answer that may search.
pub(crate) fn run(
    executor: Executor,
    targets: Vec<Target>,
    limits: Limits,
    mut question: Question,
    log: AttemptLog,
) -> BoxStream<'static, Result<Delta, RouteError>> {
    let asked = question.prompt.messages.clone();
    if let Some(searcher) = question.plan.as_ref().and_then(|plan| plan.searcher.as_ref()) {
        question.prompt.messages = searcher.memory.restore(&asked);
    }
    Rounds { executor, targets, limits, log, asked, question }.stream()
}

/// The messages that belong to one answer but that the caller does not see.
type Hidden = Vec<Message>;
