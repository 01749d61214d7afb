//! Searching the web for models that cannot: the seam to a search backend, the backends, one a file, and the wish for a search.

#[cfg(feature = "remote")]
mod brave;
#[cfg(feature = "remote")]
mod engine;
#[cfg(feature = "remote")]
mod exa;
#[cfg(feature = "remote")]
mod searxng;
#[cfg(feature = "remote")]
mod tavily;
mod wish;

use futures::future::BoxFuture;

use crate::ModelError;

#[cfg(feature = "remote")]
pub use engine::{ENGINES, Engine};
pub use wish::{Detail, WebSearch};

/// What the ids begin with of searches that this program ran for an answer in Anthropic's dialect: they mean nothing to Anthropic itself.
pub const OWN_ID: &str = "srvtoolu_timbre";

/// What to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The words.
    pub words: String,
    /// Most results.
    pub results: usize,
    /// Most characters of each result's text.
    pub characters: usize,
    /// Where the searcher is, a country of ISO 3166 in two capitals.
    pub country: Option<String>,
    /// The only domains that results may be from; none: any.
    pub allowed: Vec<String>,
    /// Domains that no result may be from.
    pub blocked: Vec<String>,
}

/// One result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Address of the page.
    pub url: String,
    /// Its title.
    pub title: String,
    /// What it says, as far as the backend shows it.
    pub text: String,
    /// When it was written, in the backend's own words.
    pub date: Option<String>,
}

/// Who searches.
pub trait SearchBackend: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// Searches, within the backend's deadline. Dropping the future stops the work.
    fn search(&self, query: Query) -> BoxFuture<'static, Result<Vec<Found>, ModelError>>;
}
