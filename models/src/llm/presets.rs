//! Providers by name: where they are, which variable holds the key, and how they differ.
//!
//! Addresses, key variables and quirks as the providers document them (November 2026). A preset is a default: whatever the configuration
//! says goes over it.

use std::sync::Arc;

use serde_json::Value;

use super::quirks::{Begun, CountOfTokens, Foreign, MostTokens, Quirks, Search, Vectors};
use super::{anthropic, gemini, openai, streamed};
use crate::remote::{Endpoint, KeyPlace};
use crate::{Delta, Embedder, LanguageModel, ModelError, Prompt, embedding};

/// What a remote provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// OpenAI's chat completions.
    Openai,
    /// Anthropic's messages.
    Anthropic,
    /// Google's `generateContent`.
    Gemini,
}

impl Wire {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Wire::Openai => "openai",
            Wire::Anthropic => "anthropic",
            Wire::Gemini => "gemini",
        }
    }

    /// What speaks it, by its name in the configuration.
    pub fn of(name: &str) -> Option<Wire> {
        [Wire::Openai, Wire::Anthropic, Wire::Gemini].into_iter().find(|wire| wire.name() == name)
    }

    /// Where its key stands in a request.
    pub fn key_place(self) -> KeyPlace {
        match self {
            Wire::Openai => KeyPlace::Bearer,
            Wire::Anthropic => KeyPlace::Header("x-api-key"),
            Wire::Gemini => KeyPlace::Header("x-goog-api-key"),
        }
    }

    /// The preset that stands for the dialect where nothing else is said.
    pub fn preset(self) -> Option<&'static Preset> {
        find(self.name())
    }

    /// The language models behind an endpoint.
    pub fn language_model(self, endpoint: Endpoint, quirks: Quirks) -> Arc<dyn LanguageModel> {
        match self {
            Wire::Openai => openai::provider_with(endpoint, quirks),
            Wire::Anthropic => anthropic::provider(endpoint),
            Wire::Gemini => gemini::provider(endpoint),
        }
    }

    /// The deltas of a recorded stream, and after them the error that it ended with, if it did; `target` is named in errors.
    pub fn deltas(self, target: &str, stream: &[u8]) -> Vec<Result<Delta, ModelError>> {
        match self {
            Wire::Openai => streamed::deltas(openai::Chunks::new(target), &[stream]),
            Wire::Anthropic => streamed::deltas(anthropic::Events::new(target, None), &[stream]),
            Wire::Gemini => streamed::deltas(gemini::Chunks::new(target), &[stream]),
        }
    }

    /// The body of the request that asks for a prompt's answer.
    pub fn request(self, prompt: &Prompt, quirks: Quirks) -> Value {
        match self {
            Wire::Openai => openai::request(prompt, quirks),
            Wire::Anthropic => anthropic::request(prompt),
            Wire::Gemini => gemini::request(prompt),
        }
    }

    /// The embedding models behind it, where the dialect has any.
    pub fn embedder(self, endpoint: Endpoint, quirks: Quirks) -> Option<Arc<dyn Embedder>> {
        match self {
            Wire::Openai => Some(embedding::openai::embedder(endpoint, quirks)),
            Wire::Anthropic => None,
            Wire::Gemini => Some(embedding::gemini::embedder(endpoint)),
        }
    }
}

/// Whether a provider wants a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// It does; this variable holds it.
    Needed(&'static str),
    /// It may; this variable holds it, if it is set.
    Optional(&'static str),
}

/// A provider that needs no more than a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// As the configuration names it.
    pub name: &'static str,
    /// What it speaks.
    pub wire: Wire,
    /// Where it is; `None`: everybody has an address of their own.
    pub base_url: Option<&'static str>,
    /// The key.
    pub key: Key,
    /// How the key is sent.
    pub key_place: KeyPlace,
    /// How it differs.
    pub quirks: Quirks,
}

/// The version of Azure's API that addresses with a deployment in them need (its newest stable one).
pub const AZURE_VERSION: &str = "2024-10-21";

/// Refuses what it does not know.
const STRICT: Quirks = Quirks { foreign: Foreign::Dropped, reasoning: None, ..Quirks::NONE };

/// OpenAI itself: its reasoning models take the new name only, and its other models both.
const OPENAI: Quirks = Quirks { most_tokens: MostTokens::New, vectors: Vectors::Base64, ..STRICT };

const fn hosted(name: &'static str, base_url: &'static str, variable: &'static str, quirks: Quirks) -> Preset {
    Preset { name, wire: Wire::Openai, base_url: Some(base_url), key: Key::Needed(variable), key_place: KeyPlace::Bearer, quirks }
}

const fn local(name: &'static str, base_url: &'static str, variable: &'static str, begun: Begun) -> Preset {
    Preset { key: Key::Optional(variable), ..hosted(name, base_url, variable, Quirks { begun, ..Quirks::NONE }) }
}

/// All of them.
pub const PRESETS: &[Preset] = &[
    hosted("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", OPENAI),
    Preset {
        wire: Wire::Anthropic,
        key_place: KeyPlace::Header("x-api-key"),
        ..hosted("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", Quirks::NONE)
    },
    Preset {
        wire: Wire::Gemini,
        key_place: KeyPlace::Header("x-goog-api-key"),
        ..hosted("gemini", "https://generativelanguage.googleapis.com/v1beta", "GEMINI_API_KEY", Quirks::NONE)
    },
    // Answers 422 to any field it does not know; counts tokens in every last chunk.
    hosted(
        "mistral",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        Quirks {
            usage: CountOfTokens::Given,
            most_tokens: MostTokens::Old,
            seed: "random_seed",
            refused: &["logit_bias", "logprobs", "service_tier", "store", "top_logprobs", "user", "verbosity", "web_search_options"],
            refused_in_messages: &["annotations", "audio", "name", "refusal"],
            begun: Begun::Prefix,
            ..STRICT
        },
    ),
    hosted("xai", "https://api.x.ai/v1", "XAI_API_KEY", Quirks { foreign: Foreign::Dropped, ..Quirks::NONE }),
    // Answers 400 to these fields.
    hosted(
        "groq",
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        Quirks {
            reasoning: Some("reasoning"),
            refused: &["logit_bias", "logprobs", "top_logprobs"],
            refused_in_messages: &["annotations", "audio", "name", "refusal"],
            ..STRICT
        },
    ),
    hosted("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", Quirks { most_tokens: MostTokens::Old, ..Quirks::NONE }),
    hosted("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", Quirks::NONE),
    hosted("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY", Quirks::NONE),
    hosted("deepinfra", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY", Quirks::NONE),
    // Answers 400 to these fields.
    hosted(
        "cerebras",
        "https://api.cerebras.ai/v1",
        "CEREBRAS_API_KEY",
        Quirks {
            most_tokens: MostTokens::New,
            reasoning: Some("reasoning"),
            refused: &["frequency_penalty", "logit_bias", "presence_penalty"],
            ..STRICT
        },
    ),
    hosted(
        "qwen",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "DASHSCOPE_API_KEY",
        Quirks { most_tokens: MostTokens::Old, ..Quirks::NONE },
    ),
    hosted(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        Quirks { reasoning: Some("reasoning"), search: Search::Plugin, begun: Begun::TrailingForClaude, ..Quirks::NONE },
    ),
    // Counts tokens in every chunk.
    hosted(
        "perplexity",
        "https://api.perplexity.ai",
        "PERPLEXITY_API_KEY",
        Quirks { usage: CountOfTokens::Given, most_tokens: MostTokens::Old, refused: &["seed"], search: Search::Perplexity, ..STRICT },
    ),
    hosted(
        "cohere",
        "https://api.cohere.ai/compatibility/v1",
        "COHERE_API_KEY",
        Quirks {
            most_tokens: MostTokens::Old,
            refused: &["logit_bias", "parallel_tool_calls", "service_tier", "store", "top_logprobs", "user"],
            ..STRICT
        },
    ),
    Preset { base_url: None, key_place: KeyPlace::Header("api-key"), ..hosted("azure", "", "AZURE_OPENAI_API_KEY", OPENAI) },
    // The region is part of the address: another one is another `base_url`.
    hosted(
        "bedrock",
        "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1",
        "AWS_BEARER_TOKEN_BEDROCK",
        Quirks { most_tokens: MostTokens::New, ..STRICT },
    ),
    local("ollama", "http://127.0.0.1:11434/v1", "OLLAMA_API_KEY", Begun::Trailing),
    local("vllm", "http://127.0.0.1:8000/v1", "VLLM_API_KEY", Begun::Final),
    local("sglang", "http://127.0.0.1:30000/v1", "SGLANG_API_KEY", Begun::Final),
    local("llamacpp", "http://127.0.0.1:8080/v1", "LLAMA_API_KEY", Begun::Trailing),
    local("lmstudio", "http://127.0.0.1:1234/v1", "LMSTUDIO_API_KEY", Begun::Asked),
];

impl Preset {
    /// How it differs at this address: DeepSeek goes on with a begun answer at its beta address only.
    pub fn quirks_at(&self, base_url: &str) -> Quirks {
        let is_beta = self.name == "deepseek" && base_url.trim_end_matches('/').ends_with("/beta");
        if is_beta { Quirks { begun: Begun::Prefix, ..self.quirks } } else { self.quirks }
    }
}

/// The preset of this name.
pub fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// The hosted preset at this address: who writes it out gets the same quirks.
pub fn at(base_url: &str) -> Option<&'static Preset> {
    let asked = match base_url.trim_end_matches('/') {
        "https://api.deepseek.com/beta" => "https://api.deepseek.com/v1",
        asked => asked,
    };
    PRESETS.iter().filter(|preset| matches!(preset.key, Key::Needed(_))).find(|preset| preset.base_url == Some(asked))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::remote::Secret;

    /// The head of the one request that a provider sends, in lower case.
    async fn head(preset: &Preset, base: &str, query: Vec<(String, String)>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
        let address = listener.local_addr().expect("it is bound");
        let mut endpoint = Endpoint::new("p", format!("http://{address}{base}"), Some(Secret::new("sk-1")));
        endpoint.key_place = preset.key_place;
        endpoint.query = query;
        endpoint.headers = vec![("X-Team".into(), Secret::new("blue"))];
        let prompt = Prompt { model: "some-model".into(), ..Prompt::default() };
        let mut deltas = preset.wire.language_model(endpoint, preset.quirks).complete(prompt);
        let server = async {
            let (mut socket, _) = listener.accept().await.expect("it connects");
            let mut request = Vec::new();
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                assert!(socket.read_buf(&mut request).await.expect("it sends") > 0);
            }
            let refusal = b"HTTP/1.1 429 Slow\r\nretry-after: 2\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = socket.write_all(refusal).await;
            String::from_utf8_lossy(&request).to_lowercase()
        };
        let (head, answer) = tokio::join!(server, deltas.next());
        let error = answer.expect("something comes").expect_err("it is refused");
        assert_eq!((error.kind, error.retry_after.map(|wait| wait.as_secs())), (crate::ErrorKind::Overloaded, Some(2)));
        head
    }

    #[tokio::test]
    async fn each_dialect_has_its_address_and_its_place_for_the_key() {
        let version = || vec![("api-version".to_owned(), "2024-10-21".to_owned())];
        for (name, base, query, expected) in [
            ("openai", "/v1", Vec::new(), &["post /v1/chat/completions http", "authorization: bearer sk-1", "x-team: blue"][..]),
            ("anthropic", "/v1", Vec::new(), &["post /v1/messages http", "x-api-key: sk-1", "anthropic-version: 2023-06-01"]),
            ("gemini", "/v1beta", Vec::new(), &["/v1beta/models/some-model:streamgeneratecontent?alt=sse http", "x-goog-api-key: sk-1"]),
            (
                "azure",
                "/openai/deployments/{model}/",
                version(),
                &["/openai/deployments/some-model/chat/completions?api-version=2024-10-21 http", "api-key: sk-1"],
            ),
        ] {
            let head = head(find(name).expect("it is a preset"), base, query).await;
            for part in expected {
                assert!(head.contains(part), "{name}: {part} in {head}");
            }
            assert!(name == "openai" || !head.contains("bearer"), "{name}: {head}");
        }
    }

    #[test]
    fn who_goes_on_with_a_begun_answer_does_so_in_its_own_way() {
        use crate::Continuation::{Asked, Final, Prefix, Trailing};
        for (name, base_url, model, expected) in [
            ("openai", None, "gpt-5", Asked),
            ("anthropic", None, "claude-haiku-4-5", Trailing),
            ("anthropic", None, "claude-opus-4-6", Asked),
            ("anthropic", None, "kimi-k2", Asked),
            ("gemini", None, "gemini-2.5-pro", Asked),
            ("mistral", None, "mistral-small-latest", Prefix),
            ("deepseek", None, "deepseek-chat", Asked),
            ("deepseek", Some("https://api.deepseek.com/beta/"), "deepseek-chat", Prefix),
            ("openrouter", None, "anthropic/claude-sonnet-4.5", Trailing),
            ("openrouter", None, "openai/gpt-5", Asked),
            ("groq", None, "llama-3.1-8b-instant", Asked),
            ("vllm", None, "any", Final),
            ("sglang", None, "any", Final),
            ("llamacpp", None, "any", Trailing),
            ("ollama", None, "any", Trailing),
            ("lmstudio", None, "any", Asked),
        ] {
            let preset = find(name).expect("it is a preset");
            let base_url = base_url.or(preset.base_url).expect("it has an address");
            let model_of = preset.wire.language_model(Endpoint::new("p", base_url, None), preset.quirks_at(base_url));
            assert_eq!(model_of.continuation(model), expected, "{name} {model}");
        }
    }

    #[test]
    fn every_preset_is_named_once_and_needs_no_more_than_a_key() {
        for (n, preset) in PRESETS.iter().enumerate() {
            assert!(PRESETS[..n].iter().all(|other| other.name != preset.name), "{}", preset.name);
            assert!(preset.base_url.is_some() || preset.name == "azure", "{}", preset.name);
            assert!(preset.base_url.is_none_or(|url| url.starts_with("http") && !url.ends_with('/')), "{}", preset.name);
            let (Key::Needed(variable) | Key::Optional(variable)) = preset.key;
            assert!(variable.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{}", preset.name);
        }
        assert_eq!(at("https://api.groq.com/openai/v1/").map(|preset| preset.name), Some("groq"));
        assert_eq!(at("http://127.0.0.1:8000/v1"), None);
    }
}
