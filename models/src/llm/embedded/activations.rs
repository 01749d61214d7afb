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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_fast_rounding_is_the_portable_one(x in prop::collection::vec(prop_oneof![Just(0.0_f32), -1e3_f32..1e3], 3 * BLOCK)) {
            let (mut fast, mut portable) = (Activations::default(), Activations::default());
            fast.set(&x, BLOCK);
            portable.set(&vec![0.0; x.len()], BLOCK);
            portable.round_portable(&x);
            prop_assert_eq!(&fast.steps, &portable.steps);
            prop_assert_eq!(&fast.scales, &portable.scales);
            prop_assert_eq!(&fast.totals, &portable.totals);
            for (at, (x, step)) in x.iter().zip(&fast.steps).enumerate() {
                let scale = fast.scales[at / BLOCK];
                prop_assert!((x - f32::from(*step) * scale).abs() <= scale * 0.501);
            }
        }
    }
}
