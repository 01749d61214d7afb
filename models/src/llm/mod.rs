//! Language models, one engine a file.

#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "remote")]
pub mod openai;
