//! Cuts sound that comes in pieces of any size into frames of one size.

use crate::Samples;

/// Holds what does not yet fill a frame.
#[derive(Clone, Debug)]
pub struct Framer {
    waiting: Vec<f32>,
    size: usize,
}

impl Framer {
    /// A framer of frames of `size`, one sample at least.
    pub fn new(size: Samples) -> Framer {
        let size = (size.0 as usize).max(1);
        Framer { waiting: Vec::with_capacity(size), size }
    }

    /// Hands each frame that `pcm` completes to `emit`. Allocates nothing.
    pub fn push(&mut self, pcm: &[f32], mut emit: impl FnMut(&[f32])) {
        let mut pcm = pcm;
        if !self.waiting.is_empty() {
            let (head, rest) = pcm.split_at(pcm.len().min(self.size - self.waiting.len()));
            self.waiting.extend_from_slice(head);
            pcm = rest;
            if self.waiting.len() < self.size {
                return;
            }
            emit(&self.waiting);
            self.waiting.clear();
        }
        let mut frames = pcm.chunks_exact(self.size);
        for frame in &mut frames {
            emit(frame);
        }
        self.waiting.extend_from_slice(frames.remainder());
    }

    /// Hands out what waits, filled up with silence to a whole frame; nothing where nothing waits.
    pub fn finish(&mut self, emit: impl FnOnce(&[f32])) {
        if !self.waiting.is_empty() {
            self.waiting.resize(self.size, 0.0);
            emit(&self.waiting);
            self.waiting.clear();
        }
    }

    /// What waits for more: less than a frame.
    pub fn waiting(&self) -> &[f32] {
        &self.waiting
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_do_not_matter(size in 1u64..40, lengths in prop::collection::vec(0usize..100, 0..20)) {
            let total: usize = lengths.iter().sum();
            let sound: Vec<f32> = (0..total).map(|i| i as f32).collect();
            let mut framer = Framer::new(Samples(size));
            let (mut out, mut rest) = (Vec::new(), &sound[..]);
            for length in lengths {
                let (piece, after) = rest.split_at(length);
                framer.push(piece, |frame| {
                    assert_eq!(frame.len() as u64, size);
                    out.extend_from_slice(frame);
                });
                rest = after;
            }
            out.extend_from_slice(framer.waiting());
            prop_assert_eq!(&out, &sound);
            prop_assert!((framer.waiting().len() as u64) < size);
        }
    }

    #[test]
    fn the_end_is_filled_with_silence() {
        let mut framer = Framer::new(Samples(4));
        framer.push(&[1.0; 6], |_| {});
        let mut last = Vec::new();
        framer.finish(|frame| last.extend_from_slice(frame));
        assert_eq!(last, [1.0, 1.0, 0.0, 0.0]);
        framer.finish(|_| panic!("nothing waits"));
    }
}
