//! Language models, one engine a file.

#[cfg(feature = "embedded")]
pub mod embedded;
