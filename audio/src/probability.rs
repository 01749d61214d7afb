//! A number between nought and one.

/// How likely something is, always within [0, 1].
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Probability(f32);

impl Probability {
    /// Certainly not.
    pub const ZERO: Probability = Probability(0.0);
    /// Certainly.
    pub const ONE: Probability = Probability(1.0);

    /// `value` brought into [0, 1]; NaN is zero.
    pub const fn new(value: f32) -> Probability {
        if value.is_nan() { Probability::ZERO } else { Probability(value.clamp(0.0, 1.0)) }
    }

    /// As a plain number in [0, 1].
    pub const fn get(self) -> f32 {
        self.0
    }
}
