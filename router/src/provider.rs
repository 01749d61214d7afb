//! A provider: a name in front of models.

use std::fmt;
use std::sync::Arc;

use models::{Embedder, LanguageModel};

use crate::Replicas;

/// Something that answers prompts under a name: `upstream` serves `upstream/anything`.
#[derive(Clone)]
pub struct Provider {
    /// The first part of its model ids.
    pub name: String,
    /// What answers.
    pub model: Arc<dyn LanguageModel>,
    /// What embeds texts, where it can.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// What `model` is made of, where it is several replicas of one engine.
    pub replicas: Option<Replicas>,
    /// Ids of its models, without the name in front; may be empty where the provider is not asked.
    pub models: Vec<String>,
}

impl Provider {
    /// A provider that answers prompts only.
    pub fn new(name: impl Into<String>, model: Arc<dyn LanguageModel>, models: Vec<String>) -> Provider {
        Provider { name: name.into(), model, embedder: None, replicas: None, models }
    }

    /// The same of several replicas of one engine.
    pub fn replicated(name: impl Into<String>, replicas: Replicas, models: Vec<String>) -> Provider {
        let embedder = replicas.embeds().then(|| Arc::new(replicas.clone()) as Arc<dyn Embedder>);
        Provider { embedder, replicas: Some(replicas.clone()), ..Provider::new(name, Arc::new(replicas), models) }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).field("models", &self.models).finish_non_exhaustive()
    }
}
