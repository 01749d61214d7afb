//! What a matrix is multiplied with: vectors rounded to eight bits, 32 numbers to a scale.

use super::matrix::BLOCK;

/// Vectors in eight bits: `x = scale * step`. Kept between products, so that it is allocated once.
#[derive(Default)]
pub(super) struct Activations {
    /// How many vectors.
    pub(super) vectors: usize,
    /// Their length.
    pub(super) columns: usize,
    /// (vectors, columns), each in -127..=127.
    pub(super) steps: Vec<i8>,
    /// (vectors, columns / 32).
    pub(super) scales: Vec<f32>,
    /// Sum of each block's 32 numbers, (vectors, columns / 32): what the minimums of four-bit weights are multiplied with.
    pub(super) totals: Vec<f32>,
}

impl Activations {
    /// Rounds `x`, (vectors, columns).
    pub(super) fn set(&mut self, x: &[f32], columns: usize) {
        self.columns = columns;
        self.vectors = x.len() / columns;
        self.steps.resize(x.len(), 0);
        self.scales.resize(x.len() / BLOCK, 0.0);
        self.totals.resize(x.len() / BLOCK, 0.0);
        #[cfg(target_arch = "x86_64")]
        if super::avx2::available() {
            #[expect(unsafe_code, reason = "the processor was just asked whether it has these instructions")]
            unsafe {
                return super::avx2::round(x, self);
            }
        }
        self.round_portable(x);
    }

    fn round_portable(&mut self, x: &[f32]) {
        let blocks = x.chunks_exact(BLOCK).zip(self.steps.chunks_exact_mut(BLOCK));
        for ((x, steps), (scale, total)) in blocks.zip(self.scales.iter_mut().zip(&mut self.totals)) {
            let largest = x.iter().fold(0_f32, |largest, x| largest.max(x.abs()));
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            *scale = largest / 127.0;
            let mut sum = 0;
            for (step, x) in steps.iter_mut().zip(x) {
                *step = (x * inverse).round_ties_even() as i8;
                sum += i32::from(*step);
            }
            *total = *scale * sum as f32;
        }
    }
}
