//! What can be measured of a voice with arithmetic alone: level, noise, pauses, pitch and its regularity, tempo. Under 3 ms of one core a second of sound.

mod cycles;
mod dtmf;
mod energy;
mod noise;
mod pitch;
mod tail;
mod tempo;

pub use cycles::Cycles;
pub use dtmf::Dtmf;
pub use energy::{HOP_MS, db, levels};
pub use noise::{Noise, Pause};
pub use pitch::{PITCH_HOP_MS, Pitch};
pub use tail::tail;
pub use tempo::nuclei;
