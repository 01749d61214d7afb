//! The catalogue: what each model costs, how much it takes, and what it can do.
//!
//! The list is a file in the program, one model a line, ordered by id (how it is made: `router/catalogue/make.py`). It stays text: a
//! lookup finds the line by a hash of the id and reads that line alone, once. A file of the user's, in the same form, goes over it. Nothing here
//! is ever fetched, and nothing says which providers this server can reach.

mod card;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};

use models::Usage;
use toml::{Table, Value};

pub use card::{Abilities, Ability, Card, Kind, Tier};

use crate::cost::{Price, Priced, Prices};
use crate::hash;
use crate::{Amount, TargetFact};

/// The list in the program.
const LIST: &str = include_str!("../catalogue/models.toml");

/// Where no line is; the list has fewer.
const NO_LINE: u16 = u16::MAX;

/// Other names of providers, and the catalogue's.
const ALIASES: [(&str, &str); 29] = [
    ("alibaba", "qwen"),
    ("aws", "bedrock"),
    ("azure-openai", "azure"),
    ("azure_ai", "azure-ai"),
    ("azure_openai", "azure"),
    ("cohere_chat", "cohere"),
    ("dashscope", "qwen"),
    ("fireworks-ai", "fireworks"),
    ("fireworks_ai", "fireworks"),
    ("friendli", "friendliai"),
    ("google", "gemini"),
    ("google-ai-studio", "gemini"),
    ("google-vertex", "vertex"),
    ("grok", "xai"),
    ("kimi", "moonshot"),
    ("lambda_ai", "lambda"),
    ("meta_llama", "meta"),
    ("mistralai", "mistral"),
    ("moonshotai", "moonshot"),
    ("ollama_chat", "ollama"),
    ("pplx", "perplexity"),
    ("together-ai", "together"),
    ("together_ai", "together"),
    ("togetherai", "together"),
    ("vercel_ai_gateway", "vercel"),
    ("vertex-ai", "vertex"),
    ("vertex_ai", "vertex"),
    ("x-ai", "xai"),
    ("z-ai", "zai"),
];

/// A file of the user's that cannot be used: which model, what, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueError(String);

impl fmt::Display for CatalogueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CatalogueError {}

/// What a model's name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// One model.
    One(Arc<Card>),
    /// Models of several providers have this name: their ids, ordered.
    Several(Vec<String>),
    /// None is known.
    Nothing,
}

/// All models. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue(Arc<Inner>);

struct Inner {
    lines: Lines,
    /// The user's, by id.
    own: BTreeMap<String, Arc<Card>>,
}

impl Default for Catalogue {
    /// The list in the program, with nothing over it.
    fn default() -> Catalogue {
        Catalogue(Arc::new(Inner { lines: Lines::new(LIST), own: BTreeMap::new() }))
    }
}

impl Catalogue {
    /// The list in the program with `text` over it: models by id, in the same form. What an entry leaves out it takes from the listed
    /// model of the same id, or of the id that it says it is `like`.
    pub fn with(text: &str) -> Result<Catalogue, CatalogueError> {
        let lines = Lines::new(LIST);
        let entries: Table = toml::from_str(text).map_err(|error| CatalogueError(error.to_string()))?;
        let mut own = BTreeMap::new();
        for (id, entry) in entries {
            let wrong = |detail: String| CatalogueError(format!("model {id:?}: {detail}"));
            if !id.split_once('/').is_some_and(|(provider, model)| !provider.is_empty() && !model.is_empty()) {
                return Err(wrong("an id is a provider's name, a slash, and a model's name, for instance \"openai/gpt-4o\"".to_owned()));
            }
            let Value::Table(mut entry) = entry else {
                return Err(wrong("write what it is in braces, for instance { input = 2.5, output = 10 }".to_owned()));
            };
            let base = match entry.remove("like") {
                None => lines.find(&canonical(&id)).map(|line| lines.entry(line)),
                Some(Value::String(like)) => match lines.find(&canonical(&like)) {
                    Some(line) => Some(lines.entry(line)),
                    None => return Err(wrong(format!("there is no listed model {like:?} to be like"))),
                },
                Some(_) => return Err(wrong("`like` is the id of a listed model, in quotes".to_owned())),
            };
            let mut whole = base.unwrap_or_default();
            whole.extend(entry);
            let card = Card::read(&id, whole).map_err(wrong)?;
            own.insert(id, Arc::new(card));
        }
        Ok(Catalogue(Arc::new(Inner { lines, own })))
    }

    /// The model of an id, `provider/model`; the provider may go by another name (`google/...` for `gemini/...`).
    pub fn card(&self, id: &str) -> Option<Arc<Card>> {
        if let Some(card) = self.0.own.get(id) {
            return Some(card.clone());
        }
        let lines = &self.0.lines;
        if let Some(line) = lines.find(id) {
            return Some(lines.card(line));
        }
        let canonical = canonical(id);
        if canonical == id {
            return None;
        }
        self.0.own.get(&canonical).cloned().or_else(|| lines.find(&canonical).map(|line| lines.card(line)))
    }

    /// What an answer of a model costs by its tokens; `None` where the model is not known.
    pub fn cost(&self, id: &str, usage: &Usage) -> Option<Priced> {
        self.card(id).map(|card| card.tokens(usage))
    }

    /// What a model is paid for an amount; `None` where the model or its price is not known.
    pub fn price(&self, id: &str, amount: Amount<'_>) -> Option<Priced> {
        self.card(id)?.price(amount)
    }

    /// What rules and sorting see of a model; `None` where it is not known. An entry of the user's that names no abilities says nothing
    /// about them.
    pub fn fact(&self, id: &str) -> Option<TargetFact> {
        let card = self.card(id)?;
        let usd = |price: fn(&Prices) -> Price| card.prices.as_ref().map(|prices| price(prices).usd());
        let is_silent = card.abilities == Abilities::default() && self.0.own.contains_key(&*card.id);
        Some(TargetFact {
            price_input: usd(|prices| prices.input),
            price_output: usd(|prices| prices.output),
            context: card.context,
            abilities: (!is_silent).then_some(card.abilities),
            dialogue: Some(matches!(card.kind, Kind::Chat | Kind::Responses | Kind::Completion)),
            ..TargetFact::default()
        })
    }

    /// The model of an id, or of a raw name if only one provider has it.
    pub fn find(&self, name: &str) -> Found {
        if let Some(card) = self.card(name) {
            return Found::One(card);
        }
        let mut ids: Vec<String> = self.0.lines.named(name).map(str::to_owned).collect();
        ids.extend(self.0.own.keys().filter(|id| model_of(id) == name && !ids.contains(id)).cloned().collect::<Vec<_>>());
        ids.sort();
        match ids.as_slice() {
            [] => Found::Nothing,
            [id] => self.card(id).map_or(Found::Nothing, Found::One),
            _ => Found::Several(ids),
        }
    }

    /// Every id, the user's first, those of the list in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let own = &self.0.own;
        own.keys().map(String::as_str).chain(self.0.lines.ids().filter(|id| !own.contains_key(*id)).map(|id| -> &str { id }))
    }
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue").field("models", &self.ids().count()).finish_non_exhaustive()
    }
}

/// The id with the catalogue's name of its provider.
fn canonical(id: &str) -> String {
    let Some((provider, model)) = id.split_once('/') else { return id.to_owned() };
    match ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(provider)) {
        Some((_, name)) => format!("{name}/{model}"),
        None => format!("{}/{model}", provider.to_ascii_lowercase()),
    }
}

/// What stands after the provider.
fn model_of(id: &str) -> &str {
    id.split_once('/').map_or(id, |(_, model)| model)
}

/// The text of the list, and where its lines are, once somebody has asked.
struct Lines {
    text: &'static str,
    index: OnceLock<Index>,
}

struct Index {
    /// Where each line starts, ordered by id: at the quote that opens the id.
    starts: Box<[u32]>,
    /// The numbers of the lines by the hash of their ids, each at the first free place from there on; [`NO_LINE`] where there is none.
    /// At least half is free.
    by_hash: Box<[u16]>,
    /// The numbers of the lines, ordered by the model's name.
    by_name: Box<[u16]>,
    /// What was read of each line.
    cards: Box<[OnceLock<Arc<Card>>]>,
}

impl Lines {
    fn new(text: &'static str) -> Lines {
        Lines { text, index: OnceLock::new() }
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let mut starts = Vec::new();
            let mut at = 0;
            for line in self.text.split_inclusive('\n') {
                if line.starts_with('"') {
                    starts.push(at);
                }
                at += line.len() as u32;
            }
            let mut by_name: Vec<u16> = (0..starts.len() as u16).collect();
            by_name.sort_by_key(|line| model_of(id_at(self.text, starts[usize::from(*line)])));
            let mut by_hash = vec![NO_LINE; (2 * starts.len() + 1).next_power_of_two()];
            for (line, start) in starts.iter().enumerate() {
                let mut at = place(id_at(self.text, *start), by_hash.len());
                while by_hash[at] != NO_LINE {
                    at = (at + 1) % by_hash.len();
                }
                by_hash[at] = line as u16;
            }
            let cards = starts.iter().map(|_| OnceLock::new()).collect();
            Index { starts: starts.into(), by_hash: by_hash.into(), by_name: by_name.into(), cards }
        })
    }

    /// The number of the line with this id.
    fn find(&self, id: &str) -> Option<usize> {
        let index = self.index();
        let mut at = place(id, index.by_hash.len());
        loop {
            match index.by_hash[at] {
                NO_LINE => return None,
                line if id_at(self.text, index.starts[usize::from(line)]) == id => return Some(usize::from(line)),
                _ => at = (at + 1) % index.by_hash.len(),
            }
        }
    }

    /// Ids of the models with this name.
    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'static str> + 'a {
        let index = self.index();
        let id = |line: &u16| id_at(self.text, index.starts[usize::from(*line)]);
        let first = index.by_name.partition_point(|line| model_of(id(line)) < name);
        index.by_name[first..].iter().map(id).take_while(move |id| model_of(id) == name)
    }

    fn ids(&self) -> impl Iterator<Item = &'static str> {
        self.index().starts.iter().map(|start| id_at(self.text, *start))
    }

    /// What stands in a line after the id.
    fn entry(&self, line: usize) -> Table {
        let rest = &self.text[self.index().starts[line] as usize..];
        let rest = rest.lines().next().unwrap_or_default();
        let table: Option<HashMap<String, Table>> = toml::from_str(rest).ok();
        table.into_iter().flatten().next().expect("every line of the list is read in the tests").1
    }

    fn card(&self, line: usize) -> Arc<Card> {
        let index = self.index();
        let card = index.cards[line].get_or_init(|| {
            let card = Card::read(id_at(self.text, index.starts[line]), self.entry(line));
            Arc::new(card.expect("every line of the list is read in the tests"))
        });
        card.clone()
    }
}

/// Where to look first for an id among so many places.
fn place(id: &str, places: usize) -> usize {
    (hash::stable(&[id]) % places as u64) as usize
}

/// The id that the quote at `start` opens.
fn id_at(text: &'static str, start: u32) -> &'static str {
    text[start as usize + 1..].split('"').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
