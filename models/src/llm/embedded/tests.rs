//! The whole engine, on the real weights where they are.

use std::path::PathBuf;

use super::*;
use crate::{Completion, Message, Role, Weights};

/// The demo model's file; `None`, with a message, where it was not fetched.
fn smollm2() -> Option<PathBuf> {
    let path = Weights::new(Weights::default_folder()).file("smollm2-135m", "SmolLM2-135M-Instruct.Q4_1.gguf");
    path.inspect_err(|error| eprintln!("skipped: {error}")).ok()
}

fn ask(text: &str) -> Prompt {
    let sampling = Sampling { temperature: Some(0.0), max_tokens: Some(24), ..Sampling::default() };
    Prompt { messages: vec![Message::text(Role::User, text)], sampling, ..Prompt::default() }
}

async fn answer(model: &dyn LanguageModel, prompt: Prompt) -> Result<Completion, ModelError> {
    let mut completion = Completion::default();
    let mut deltas = model.complete(prompt);
    while let Some(delta) = deltas.next().await {
        completion.push(delta?);
    }
    Ok(completion)
}

#[tokio::test]
async fn the_demo_model_answers() {
    let Some(path) = smollm2() else { return };
    let model = load(&path, 2, "smollm2").expect("the weights are sound");
    let completion = answer(&*model, ask("What is the capital of France?")).await.expect("it answers");
    assert!(completion.text.contains("Paris"), "{completion:?}");
    eprintln!("{completion:?}");
}
