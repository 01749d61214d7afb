//! The callers' wire formats and the transports that carry them.

pub mod call;
