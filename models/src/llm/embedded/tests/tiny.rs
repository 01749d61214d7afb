//! Models of a few thousand weights, made up here: one of each architecture, and files that lie.

use std::path::PathBuf;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use proptest::prelude::*;

use super::*;

const WIDTH: usize = 128;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD: usize = 32;
const FEED: usize = 96;
const LAYERS: usize = 3;
const SPECIALS: [&str; 4] = ["<bos>", "<eos>", "<|im_start|>", "<|im_end|>"];

/// A file of the system's temporary folder, gone when dropped.
struct Scrap(PathBuf);

impl Scrap {
    fn new(bytes: &[u8]) -> Scrap {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("timbre-tiny-{}-{count}.gguf", std::process::id()));
        std::fs::write(&path, bytes).expect("the temporary folder can be written");
        Scrap(path)
    }

    fn load(&self) -> Result<Arc<dyn LanguageModel>, ModelError> {
        load(&self.0, 2, "tiny")
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        // Left behind, it is the system's to clear away.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
    Value::Array(texts.into_iter().map(|text| Value::String(text.to_owned())).collect())
}

/// A GGUF file of one architecture; `dtype` for its matrices.
fn tiny(architecture: &str, dtype: GgmlDType) -> Vec<u8> {
    let gemma = architecture == "gemma3";
    let mut tokens: Vec<String> = SPECIALS.map(str::to_owned).to_vec();
    tokens.extend((0..=255_u8).map(|byte| match gemma {
        true => format!("<0x{byte:02X}>"),
        false => tokenizer::byte_letters().into_iter().find(|(_, of)| *of == byte).map_or(String::new(), |(letter, _)| letter.to_string()),
    }));
    let kinds = (0..tokens.len())
        .map(|id| {
            Value::I32(if id < SPECIALS.len() {
                3
            } else if gemma {
                6
            } else {
                1
            })
        })
        .collect();
    let mut metadata = vec![
        ("general.architecture".to_owned(), Value::String(architecture.to_owned())),
        ("tokenizer.ggml.model".to_owned(), Value::String(if gemma { "llama" } else { "gpt2" }.to_owned())),
        ("tokenizer.ggml.pre".to_owned(), Value::String(if architecture.starts_with("qwen") { "qwen2" } else { "default" }.to_owned())),
        ("tokenizer.ggml.tokens".to_owned(), texts(tokens.iter().map(String::as_str))),
        ("tokenizer.ggml.token_type".to_owned(), Value::Array(kinds)),
        ("tokenizer.ggml.scores".to_owned(), Value::Array(vec![Value::F32(0.0); tokens.len()])),
        ("tokenizer.ggml.merges".to_owned(), texts(["a b", "c d"])),
        ("tokenizer.ggml.bos_token_id".to_owned(), Value::U32(0)),
        ("tokenizer.ggml.eos_token_id".to_owned(), Value::U32(1)),
        (format!("{architecture}.attention.layer_norm_rms_epsilon"), Value::F32(1e-6)),
        (format!("{architecture}.rope.freq_base"), Value::F32(10_000.0)),
    ];
    for (key, number) in [
        ("embedding_length", WIDTH),
        ("block_count", LAYERS),
        ("feed_forward_length", FEED),
        ("context_length", 256),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", KV_HEADS),
        ("attention.key_length", HEAD),
        ("attention.value_length", HEAD),
    ] {
        metadata.push((format!("{architecture}.{key}"), Value::U32(number as u32)));
    }
    if gemma {
        metadata.push(("gemma3.attention.sliding_window".to_owned(), Value::U32(8)));
        metadata.push(("gemma3.attention.sliding_window_pattern".to_owned(), Value::U32(2)));
    }

    let mut state = 7_u32;
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: &[usize], dtype: GgmlDType, around: f32| {
        let count: usize = shape.iter().product();
        let numbers: Vec<f32> = (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                around + ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 0.3
            })
            .collect();
        let tensor = Tensor::from_vec(numbers, shape, &Device::Cpu).expect("the shape fits");
        tensors.push((name, QTensor::quantize(&tensor, dtype).expect("the type fits")));
    };
    let (all, few) = (HEADS * HEAD, KV_HEADS * HEAD);
    add("token_embd.weight".to_owned(), &[tokens.len(), WIDTH], dtype, 0.0);
    add("output_norm.weight".to_owned(), &[WIDTH], GgmlDType::F32, 1.0);
    for layer in 0..LAYERS {
        for (part, shape) in [
            ("attn_q", [all, WIDTH]),
            ("attn_k", [few, WIDTH]),
            ("attn_v", [few, WIDTH]),
            ("attn_output", [WIDTH, all]),
            ("ffn_gate", [FEED, WIDTH]),
            ("ffn_up", [FEED, WIDTH]),
            ("ffn_down", [WIDTH, FEED]),
        ] {
            add(format!("blk.{layer}.{part}.weight"), &shape, dtype, 0.0);
        }
        let mut norms = vec![("attn_norm", WIDTH), ("ffn_norm", WIDTH)];
        if ["qwen3", "gemma3"].contains(&architecture) {
            norms.extend([("attn_q_norm", HEAD), ("attn_k_norm", HEAD)]);
        }
        if gemma {
            norms.extend([("post_attention_norm", WIDTH), ("post_ffw_norm", WIDTH)]);
        }
        for (part, length) in norms {
            add(format!("blk.{layer}.{part}.weight"), &[length], GgmlDType::F32, 1.0);
        }
        if architecture == "qwen2" {
            for (part, length) in [("attn_q", all), ("attn_k", few), ("attn_v", few)] {
                add(format!("blk.{layer}.{part}.bias"), &[length], GgmlDType::F32, 0.0);
            }
        }
    }
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut file = std::io::Cursor::new(Vec::new());
    gguf_file::write(&mut file, &metadata, &tensors).expect("memory can be written");
    file.into_inner()
}

const ARCHITECTURES: [&str; 4] = ["llama", "qwen2", "qwen3", "gemma3"];

#[tokio::test]
async fn each_architecture_answers_and_repeats_by_seed() {
    for (architecture, dtype) in ARCHITECTURES.into_iter().zip([GgmlDType::Q4_0, GgmlDType::Q8_0, GgmlDType::Q4_1, GgmlDType::F16]) {
        let scrap = Scrap::new(&tiny(architecture, dtype));
        let sampling = Sampling { temperature: Some(1.0), top_p: Some(1.0), seed: Some(3), max_tokens: Some(40), ..Sampling::default() };
        let prompt = Prompt { messages: vec![Message::text(Role::User, "abc é")], sampling, ..Prompt::default() };
        let mut answers = Vec::new();
        for _ in 0..2 {
            let model = scrap.load().expect("the file is sound");
            answers.push(answer(&*model, prompt.clone()).await.expect("it answers"));
            // The second time from what is remembered.
            answers.push(answer(&*model, prompt.clone()).await.expect("it answers"));
        }
        assert!(!answers[0].text.is_empty(), "{architecture}");
        assert!(answers.iter().all(|answer| answer.text == answers[0].text), "{architecture}: {answers:?}");
        assert!(answers[1].usage.is_some_and(|usage| usage.cached_tokens + 1 == usage.input_tokens), "{architecture}");
    }
}

/// The likeliest next tokens and their probabilities as llama.cpp (npm `node-llama-cpp` 3.22.1) computes them from the same files. Random
/// weights magnify what rounding does; a wrong rotation, window, norm or bias changes the order at once.
#[test]
fn each_architecture_expects_what_llama_cpp_expects() {
    for (architecture, expected) in ARCHITECTURES.into_iter().zip([
        [(200, 0.208), (35, 0.102), (85, 0.062)],
        [(255, 0.125), (111, 0.099), (93, 0.077)],
        [(77, 0.075), (96, 0.062), (64, 0.061)],
        [(161, 0.999), (193, 0.000_23), (189, 0.000_19)],
    ]) {
        let scrap = Scrap::new(&tiny(architecture, GgmlDType::Q8_0));
        let tokens: Vec<u32> = (0..60).map(|at| 4 + at * 7 % 256).collect();
        let logits = logits(&mut engine(&scrap.0, 1), &tokens, READ_AT_ONCE);
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        for (token, probability) in expected {
            let ours = (logits[token] - largest).exp() / total;
            assert!((ours / probability - 1.0).abs() < 0.2, "{architecture}: token {token} has {ours}, not {probability}");
        }
    }
}

#[test]
fn portions_and_threads_change_no_logit_of_any_architecture() {
    for architecture in ARCHITECTURES {
        let scrap = Scrap::new(&tiny(architecture, GgmlDType::Q4_1));
        let (mut alone, mut crew) = (engine(&scrap.0, 1), engine(&scrap.0, 2));
        // More than one block of memory, and more than Gemma's window.
        let tokens: Vec<u32> = (0..100).map(|at| 4 + at * 7 % 256).collect();
        let expected = logits(&mut alone, &tokens, tokens.len());
        assert!(expected.iter().all(|logit| logit.is_finite()), "{architecture}");
        for portion in [1, 3, 64] {
            assert!(logits(&mut alone, &tokens, portion) == expected, "{architecture}, portions of {portion}");
            assert!(logits(&mut crew, &tokens, portion) == expected, "{architecture}, portions of {portion}, two threads");
        }
    }
}

#[tokio::test]
async fn a_prompt_that_does_not_fit_is_refused() {
    let scrap = Scrap::new(&tiny("llama", GgmlDType::Q4_0));
    let model = scrap.load().expect("the file is sound");
    for messages in [vec![], vec![Message::text(Role::User, "x".repeat(300))]] {
        let refused = answer(&*model, Prompt { messages, ..Prompt::default() }).await;
        assert_eq!(refused.map_err(|error| error.kind), Err(ErrorKind::BadRequest));
    }
    // One that just fits ends with the context, not beyond it.
    let full = answer(&*model, Prompt { messages: vec![Message::text(Role::User, "x".repeat(200))], ..Prompt::default() }).await;
    let usage = full.expect("it answers").usage.expect("usage is counted");
    assert!(usage.input_tokens + usage.output_tokens <= 256, "{usage:?}");
}

#[test]
fn a_truncated_file_is_an_error() {
    let whole = tiny("qwen3", GgmlDType::Q4_0);
    for length in (0..whole.len()).step_by(whole.len() / 97) {
        let outcome = Scrap::new(&whole[..length]).load();
        assert_eq!(outcome.map(|_| ()).map_err(|error| error.kind), Err(ErrorKind::Failed), "{length} bytes");
    }
}

#[test]
fn a_file_that_lies_about_a_size_is_an_error_that_names_it() {
    let whole = tiny("llama", GgmlDType::Q4_0);
    let lie = |key: &str, number: u32| {
        let at = whole.windows(key.len()).position(|bytes| bytes == key.as_bytes()).expect("the key is in the file") + key.len() + 4;
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        Scrap::new(&bytes).load().map(|_| ()).map_err(|error| error.detail).expect_err("the file lies")
    };
    for (key, number, named) in [
        ("llama.embedding_length", 0, "llama.embedding_length"),
        ("llama.embedding_length", 32, "token_embd.weight"),
        ("llama.block_count", 4, "blk.3.attn_q.weight"),
        ("llama.block_count", u32::MAX, "llama.block_count"),
        ("llama.feed_forward_length", 128, "ffn_gate.weight"),
        ("llama.attention.head_count", 3, "heads"),
        ("llama.attention.head_count", u32::MAX, "llama.attention.head_count"),
        ("llama.attention.head_count_kv", 0, "heads"),
        ("llama.attention.key_length", 0, "heads"),
        ("llama.context_length", 0, "llama.context_length"),
    ] {
        let detail = lie(key, number);
        assert!(detail.contains(named), "{key} = {number}: {detail}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_damaged_header_never_panics(at in 0_usize..12_000, damage in prop::collection::vec(any::<u8>(), 1..9)) {
        let mut bytes = tiny("llama", GgmlDType::Q4_0);
        bytes[at..at + damage.len()].copy_from_slice(&damage);
        // What the damage left readable may even load.
        let _ = Scrap::new(&bytes).load();
    }
}
