//! Speech to text: one recogniser a file.

#[cfg(feature = "remote")]
pub mod remote;
