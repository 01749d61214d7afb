//! Sound itself: frames, rates, codecs, containers, resampling, buffers, voice activity and what can be
//! measured of a voice without a neural network.
//!
//! Nothing here knows the time, a socket, a file or a task: functions work on slices that the caller gives.

mod frame;
mod probability;
mod rate;

pub use frame::Frame;
pub use probability::Probability;
pub use rate::{Rate, Samples};
