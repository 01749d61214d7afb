//! The JSON of our clients, converted by hand and without I/O: what comes in becomes the types of `models`, what goes out is made from them.

pub(crate) mod chat;
pub(crate) mod completion;
mod error;
mod field;
pub(crate) mod realtime;
pub(crate) mod router;
pub(crate) mod signals;
pub(crate) mod speech;
pub(crate) mod subtitle;
pub(crate) mod transcription;

pub use error::ApiError;
pub(crate) use field::{Field, Fields};
