//! One stretch of decoded sound on its way through the server.

use std::sync::Arc;

use crate::{Rate, Samples};

/// Mono PCM in [-1, 1]. Incoming frames last 10 to 32 ms; a synthesizer's may last up to a clause.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The samples, mono, in [-1, 1].
    pub pcm: Arc<[f32]>,
    /// Their rate.
    pub rate: Rate,
    /// Position of the first sample on the audio clock of the stream, counted at `rate`.
    pub at: Samples,
}

impl Frame {
    /// A frame at `at`.
    pub fn new(pcm: impl Into<Arc<[f32]>>, rate: Rate, at: Samples) -> Frame {
        Frame { pcm: pcm.into(), rate, at }
    }

    /// How many samples it holds.
    pub fn len(&self) -> Samples {
        Samples(self.pcm.len() as u64)
    }

    /// Whether it holds no sound at all.
    pub fn is_empty(&self) -> bool {
        self.pcm.is_empty()
    }

    /// The position just past its last sample.
    pub fn end(&self) -> Samples {
        self.at + self.len()
    }
}
