//! The JSON of our clients, converted by hand and without I/O: what comes in becomes the types of `models`, what goes out is made from them.

#[cfg(test)]
pub(crate) mod arbitrary;
pub(crate) mod chat;
pub(crate) mod completion;
pub(crate) mod embeddings;
mod error;
mod field;
pub(crate) mod legacy_completion;
pub(crate) mod message;
pub(crate) mod messages;
pub(crate) mod phone;
pub(crate) mod realtime;
pub(crate) mod response;
pub(crate) mod responses;
pub(crate) mod router;
pub(crate) mod sequence;
pub(crate) mod signals;
pub(crate) mod speech;
pub(crate) mod subtitle;
pub(crate) mod transcription;

pub use error::ApiError;
pub(crate) use field::{Field, Fields};
