//! timbre
