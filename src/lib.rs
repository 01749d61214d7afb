//! timbre

pub mod config;
