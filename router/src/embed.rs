//! Embeddings by the name of their model. One provider answers or fails: vectors of different models cannot be mixed.

use models::{EmbeddingRequest, Embeddings, ModelError};

use crate::{Attempt, Outcome, Resolved, RouteError, Router};

impl Router {
    /// Embeds texts with `request.model`: `provider/model`, or the bare name of a model that a provider lists. Dropping the future stops
    /// the work.
    pub async fn embed(&self, mut request: EmbeddingRequest) -> Result<Embeddings, RouteError> {
        let providers = self.providers();
        let embedding = |name: &str| {
            let (provider, model) = name.split_once('/')?;
            let found = providers.iter().find(|other| other.name == provider)?;
            Some((name.to_owned(), found.embedder.clone()?, model.to_owned()))
        };
        let target = match self.resolve(&request.model) {
            Some(Resolved::Target(target)) => embedding(&target),
            Some(Resolved::Router(_)) | None => None,
        };
        let Some((target, embedder, model)) = target else {
            let known = providers.iter().filter(|other| other.embedder.is_some()).map(|other| format!("{}/...", other.name)).collect();
            return Err(RouteError::UnknownModel { model: request.model, known });
        };
        request.model = model;
        embedder.embed(request).await.map_err(|error| exhausted(target, error))
    }
}

fn exhausted(target: String, error: ModelError) -> RouteError {
    let attempt = Attempt { status: error.status, outcome: Outcome::Failed(error), ..Attempt::new(target) };
    RouteError::Exhausted { attempts: vec![attempt] }
}
