//! How a model goes on with an answer that another one began.

/// What a model's provider offers for going on with a text, where the words before it came from elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Continuation {
    /// It goes on with a trailing assistant message (Claude up to 4.5, at Anthropic and OpenRouter; Ollama, llama.cpp).
    Trailing,
    /// It goes on with a trailing assistant message that says `"prefix": true` (Mistral; DeepSeek's beta address).
    Prefix,
    /// It does where `add_generation_prompt` is false and `continue_final_message` true (vLLM, SGLang).
    Final,
    /// It only starts new messages: it is asked in words to go on. Any model can be asked this.
    #[default]
    Asked,
}
