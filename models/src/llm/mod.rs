//! Language models, one engine a file.

#[cfg(feature = "remote")]
pub mod openai;
