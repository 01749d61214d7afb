//! timbre
pub mod models_command;
