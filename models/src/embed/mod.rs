//! Engines that turn texts into vectors, in this process.

mod minilm;
mod wordpiece;

pub use minilm::{MiniLm, similarity};
