//! The whole engine, on the real weights where they are.

use std::path::PathBuf;

use super::memory::Memory;
use super::*;
use crate::{Completion, Message, Role, Weights};

/// The demo model's file; `None`, with a message, where it was not fetched.
fn smollm2() -> Option<PathBuf> {
    let path = Weights::new(Weights::default_folder()).file("smollm2-135m", "SmolLM2-135M-Instruct.Q4_1.gguf");
    path.inspect_err(|error| eprintln!("skipped: {error}")).ok()
}

fn engine(path: &Path, threads: usize) -> Engine {
    Engine::open(path, threads, "test").expect("the weights are sound")
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

/// Reads tokens in portions and returns the logits after the last.
fn logits(engine: &mut Engine, tokens: &[u32], portion: usize) -> Vec<f32> {
    let mut memory = Memory::new(engine.decoder.shape.extent);
    for tokens in tokens.chunks(portion) {
        engine.decoder.step(tokens, &mut memory, &mut engine.scratch, &mut engine.crew);
    }
    engine.scratch.logits.clone()
}

/// What llama.cpp (`@fugood/llama.node` 1.7.15, CPU, greedy) answers from the same file.
const ANSWERS: [(&str, &str); 3] = [
    ("What is the capital of France?", "L'Étoile, la Cité, la Nation, la Géologie, la Culture, la Tradition"),
    ("Name three colours.", "1. Red: This is the most obvious colour, but it's also the most complex and difficult to describe."),
    (
        "Write one sentence about the sea.",
        "The sea is a vast and mysterious realm, teeming with life and full of wonders, from the majestic beauty of the blue",
    ),
];

/// Two sound roundings of four-bit weights choose differently where two tokens are nearly even, so whole answers cannot be compared.
/// Along llama.cpp's answer each of its choices must be ours too, or less than this below ours (measured:
/// five of 70 are, by 0.17 at most).
const NEARLY_EVEN: f32 = 0.3;

#[test]
fn each_choice_of_llama_cpp_is_ours_or_nearly_even() {
    let Some(path) = smollm2() else { return };
    let mut engine = engine(&path, 2);
    for (question, expected) in ANSWERS {
        let prompt = engine.template.render(&ask(question), "test").expect("the template takes a question");
        let mut memory = Memory::new(engine.decoder.shape.extent);
        engine.decoder.step(&engine.tokenizer.encode(&prompt), &mut memory, &mut engine.scratch, &mut engine.crew);
        let mut agreed = 0;
        let tokens = engine.tokenizer.encode(expected);
        for token in &tokens {
            let logits = &engine.scratch.logits;
            let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let behind = best - logits[*token as usize];
            let piece = String::from_utf8_lossy(engine.tokenizer.piece(*token));
            assert!(behind < NEARLY_EVEN, "{question} {piece:?} is {behind} behind");
            agreed += usize::from(behind == 0.0);
            engine.decoder.step(&[*token], &mut memory, &mut engine.scratch, &mut engine.crew);
        }
        assert!(agreed * 10 >= tokens.len() * 8, "{question} {agreed} of {}", tokens.len());
    }
}

#[test]
fn portions_and_threads_change_no_logit() {
    let Some(path) = smollm2() else { return };
    let mut alone = engine(&path, 1);
    let tokens =
        alone.tokenizer.encode("<|im_start|>user\nTell me about 3 of the rivers of Bohemia, please.<|im_end|>\n<|im_start|>assistant\n");
    let expected = logits(&mut alone, &tokens, 64);
    let mut crew = engine(&path, 2);
    for portion in [1, 7, READ_AT_ONCE] {
        assert!(logits(&mut alone, &tokens, portion) == expected, "portions of {portion}");
        assert!(logits(&mut crew, &tokens, portion) == expected, "portions of {portion}, two threads");
    }
}

#[tokio::test]
async fn the_demo_model_answers_and_counts() {
    let Some(path) = smollm2() else { return };
    let model = load(&path, 2, "smollm2").expect("the weights are sound");
    let sea = ask(ANSWERS[2].0);
    let first = answer(&*model, sea.clone()).await.expect("it answers");
    assert!(first.text.starts_with("The sea is a vast"), "{first:?}");
    assert_eq!(first.finish, Some(Finish::Length));
    let usage = first.usage.expect("usage is counted");
    assert_eq!((usage.input_tokens, usage.cached_tokens, usage.output_tokens), (37, 0, 24));

    let again = answer(&*model, sea).await.expect("it answers");
    assert_eq!(again.text, first.text);
    assert_eq!(again.usage.map(|usage| usage.cached_tokens), Some(36), "all but the last token is remembered");
}
