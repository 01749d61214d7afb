//! Speed of the embedded language model, as one line of JSON: `decode MODEL.gguf THREADS TOKENS`.
//!
//! `tests/bench/llama.mjs` measures llama.cpp on the same prompt; run the two in turns on the same machine.

use std::path::Path;
use std::time::Instant;

use futures::StreamExt;
use models::{Delta, Message, Prompt, Role, Sampling};

/// About 150 tokens once the model's template is around it; the same words are in `llama.mjs`.
const QUESTION: &str = "Here is what I know so far. The harbour town lies between two hills, and every morning the boats leave before \
    the sun is up. My grandfather was the keeper of the lighthouse for thirty years, and he wrote down each ship that passed, its flag, \
    its cargo and the weather of that day. Last week I found the seven books that he filled, in a chest under the stairs, and nobody in \
    the family had read them since he died. Please tell me a long story, in many sentences, about one of the ships in these books, where \
    it came from, what it carried, and what happened to its crew.";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, threads, tokens] = &arguments[..] else { panic!("usage: decode MODEL.gguf THREADS TOKENS") };
    let threads = threads.parse().expect("THREADS is a whole number");
    let tokens = tokens.parse().expect("TOKENS is a whole number");
    let model = models::llm::embedded::load(Path::new(path), threads, "bench").expect("the model loads");
    let sampling = Sampling { temperature: Some(0.0), max_tokens: Some(tokens), ..Sampling::default() };
    let prompt = Prompt { messages: vec![Message::text(Role::User, QUESTION)], sampling, ..Prompt::default() };

    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut first = None;
    let mut usage = None;
    let mut answer = model.complete(prompt);
    while let Some(delta) = answer.next().await {
        first.get_or_insert_with(|| start.elapsed().as_secs_f64());
        if let Delta::Usage(counted) = delta.expect("the model answers") {
            usage = Some(counted);
        }
    }
    let total = start.elapsed().as_secs_f64();
    let (first, usage) = (first.expect("something was written"), usage.expect("tokens are counted"));
    let figures = serde_json::json!({
        "engine": "timbre",
        "threads": threads,
        "prompt_tokens": usage.input_tokens,
        "tokens": usage.output_tokens,
        "prefill_tps": usage.input_tokens as f64 / first,
        "decode_tps": (usage.output_tokens - 1) as f64 / (total - first),
        "cpu_s": cpu_seconds() - cpu,
    });
    println!("{figures}");
}

/// Processor time of this process so far, seconds; 0 where the system does not tell (proc(5), fields 14 and 15, in 1/100 s).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / 100.0
}
