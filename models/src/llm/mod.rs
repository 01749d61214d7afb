//! Language models, one engine a file.

#[cfg(feature = "remote")]
pub mod anthropic;
#[cfg(feature = "remote")]
mod chat_fields;
#[cfg(feature = "remote")]
mod effort;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "remote")]
pub mod gemini;
#[cfg(feature = "remote")]
pub mod openai;
#[cfg(feature = "remote")]
pub mod presets;
#[cfg(feature = "remote")]
pub mod quirks;
#[cfg(feature = "remote")]
mod streamed;
