//! A provider: a name in front of models.

use std::fmt;
use std::sync::Arc;

use models::LanguageModel;

/// Something that answers prompts under a name: `upstream` serves `upstream/anything`.
#[derive(Clone)]
pub struct Provider {
    /// The first part of its model ids.
    pub name: String,
    /// What answers.
    pub model: Arc<dyn LanguageModel>,
    /// Ids of its models, without the name in front; may be empty where the provider is not asked.
    pub models: Vec<String>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).field("models", &self.models).finish_non_exhaustive()
    }
}
