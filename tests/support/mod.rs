//! What black-box tests share: a provider that does as it is told, a server in front of it, and a client that sees every byte.

pub mod client;
pub mod provider;
pub mod server;

pub use client::{Connection, post};
pub use provider::{Asked, Gate, Provider, Step};
pub use server::{Folder, Server};
