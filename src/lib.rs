//! timbre

pub mod config;
pub mod models_command;
