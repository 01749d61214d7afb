//! Sound itself: frames, rates, codecs, containers, resampling, buffers, voice activity and what can be
//! measured of a voice without a neural network.
//!
//! Nothing here knows the time, a socket, a file or a task: functions work on slices that the caller gives.

mod activity;
pub mod codec;
pub mod container;
mod echo;
pub mod features;
mod frame;
mod framer;
mod jitter;
mod probability;
mod rate;
mod resample;
mod ring;

pub use activity::{Activity, ActivityEvent, ActivityRules};
pub use codec::{Codec, CodecDecoder, CodecEncoder, CodecError};
pub use container::{Container, DecodeError, Recording};
pub use echo::EchoCanceller;
pub use frame::Frame;
pub use framer::Framer;
pub use jitter::{Arrival, Jitter, Playout};
pub use probability::Probability;
pub use rate::{Rate, Samples};
pub use resample::{Resampler, resample};
pub use ring::{RingReader, RingWriter, ring};
