//! Embeddings by the name of their model. One provider answers or fails: vectors of different models cannot be mixed.

use models::{EmbeddingRequest, Embeddings, ModelError};

use crate::attempt::Work;
use crate::works::{self, Works};
use crate::{Attempt, Counted, Outcome, Resolved, RouteError, Router};

impl Router {
    /// Embeds texts with `request.model`: `provider/model`, or the bare name of a model that a provider lists. Dropping the future stops
    /// the work, which is on the books in either case.
    pub async fn embed(&self, mut request: EmbeddingRequest, works: &Works) -> Result<Embeddings, RouteError> {
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
        let mut working = works.begin(Work::Embedding, &target);
        let estimate = works::tokens_of(&request.texts);
        match embedder.embed(request).await {
            Ok(embeddings) => {
                working.embedded(embeddings.usage.map_or(estimate, Counted::Reported));
                Ok(embeddings)
            }
            Err(error) => {
                working.failed(&error);
                Err(exhausted(target, error))
            }
        }
    }
}

fn exhausted(target: String, error: ModelError) -> RouteError {
    let attempt = Attempt { status: error.status, outcome: Outcome::Failed(error), ..Attempt::new(target) };
    RouteError::Exhausted { attempts: vec![attempt] }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::BoxFuture;
    use futures::stream::{self, BoxStream, StreamExt};
    use models::{Delta, Embedder, ErrorKind, LanguageModel, Prompt};

    use super::*;
    use crate::{Config, Provider};

    /// Embeds each text as its length; refuses none at all.
    struct Lengths;

    impl LanguageModel for Lengths {
        fn complete(&self, _: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
            stream::empty().boxed()
        }
    }

    impl Embedder for Lengths {
        fn embed(&self, request: EmbeddingRequest) -> BoxFuture<'static, Result<Embeddings, ModelError>> {
            Box::pin(async move {
                if request.texts.is_empty() {
                    return Err(ModelError::new(ErrorKind::BadRequest, request.model, "no texts"));
                }
                let vectors = request.texts.iter().map(|text| vec![text.len() as f32]).collect();
                Ok(Embeddings { vectors, usage: None })
            })
        }
    }

    #[tokio::test]
    async fn one_provider_embeds_or_says_why_not() {
        let embedding = Provider { embedder: Some(Arc::new(Lengths)), ..Provider::new("a", Arc::new(Lengths), vec!["bare".to_owned()]) };
        let silent = Provider::new("b", Arc::new(Lengths), Vec::new());
        let config = Config { providers: vec![embedding, silent], default_model: "a/x".into(), ..Config::default() };
        let router = Router::new(config).expect("it is valid");
        let ask = async |model: &str, texts: &[&str]| {
            let texts = texts.iter().map(|text| (*text).to_owned()).collect();
            router.embed(EmbeddingRequest { model: model.into(), texts, ..EmbeddingRequest::default() }, &Works::default()).await
        };
        for model in ["a/anything", "bare", "auto"] {
            assert_eq!(ask(model, &["abc"]).await.map(|embeddings| embeddings.vectors), Ok(vec![vec![3.0]]), "{model}");
        }
        assert!(matches!(ask("b/x", &["abc"]).await, Err(RouteError::UnknownModel { known, .. }) if known == ["a/..."]));
        assert_eq!(ask("a/x", &[]).await.map_err(|error| error.status()), Err(400));
    }
}
