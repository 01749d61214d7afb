//! The choice of the next token.

use crate::Sampling;

/// Temperature where the request names none: a small model wanders off above it.
const TEMPERATURE: f32 = 0.2;
/// Nucleus where the request names none.
const TOP_P: f32 = 0.9;
/// Logits so far below the largest, in units of temperature, have no chance (e^-20).
const NEGLIGIBLE: f32 = 20.0;

/// Chooses tokens; the same seed and logits give the same choices.
pub(super) struct Sampler {
    temperature: f32,
    top_p: f32,
    random: u64,
    candidates: Vec<(u32, f32)>,
}

impl Sampler {
    /// A sampler as asked; `entropy` seeds it where the request names no seed.
    pub(super) fn new(sampling: &Sampling, entropy: u64) -> Sampler {
        Sampler {
            temperature: sampling.temperature.unwrap_or(TEMPERATURE).clamp(0.0, 2.0),
            top_p: sampling.top_p.unwrap_or(TOP_P).clamp(0.0, 1.0),
            random: sampling.seed.unwrap_or(entropy),
            candidates: Vec::new(),
        }
    }

    /// The next token; `None` if no logit is a number.
    pub(super) fn choose(&mut self, logits: &[f32]) -> Option<u32> {
        let mut best = (None, f32::NEG_INFINITY);
        for (token, logit) in logits.iter().enumerate() {
            if *logit > best.1 {
                best = (Some(token as u32), *logit);
            }
        }
        let (token, largest) = best;
        if self.temperature < 1e-4 || !largest.is_finite() {
            return token;
        }
        self.candidates.clear();
        let floor = largest - NEGLIGIBLE * self.temperature;
        for (token, logit) in logits.iter().enumerate().filter(|(_, logit)| **logit >= floor) {
            self.candidates.push((token as u32, ((logit - largest) / self.temperature).exp()));
        }
        self.candidates.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let total: f32 = self.candidates.iter().map(|(_, weight)| weight).sum();
        let mut nucleus = 0.0;
        let mut kept = 0;
        for (_, weight) in &self.candidates {
            nucleus += weight;
            kept += 1;
            if nucleus >= self.top_p * total {
                break;
            }
        }
        let mut rest = self.fraction() * nucleus;
        for (token, weight) in &self.candidates[..kept] {
            rest -= weight;
            if rest <= 0.0 {
                return Some(*token);
            }
        }
        token
    }

    /// A number in [0, 1): SplitMix64 (Steele, Lea and Flood 2014).
    fn fraction(&mut self) -> f32 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(temperature: f32, top_p: f32, seed: u64) -> Vec<u32> {
        let sampling = Sampling { temperature: Some(temperature), top_p: Some(top_p), seed: Some(seed), ..Sampling::default() };
        let mut sampler = Sampler::new(&sampling, 0);
        (0..200).filter_map(|_| sampler.choose(&[0.0, 2.0, 1.0, f32::NEG_INFINITY, 1.5])).collect()
    }

    #[test]
    fn a_seed_repeats_and_the_settings_bound_the_choice() {
        assert_eq!(chosen(0.0, 1.0, 1), vec![1; 200]);
        assert_eq!(chosen(1.0, 0.1, 1), vec![1; 200]);
        assert_eq!(chosen(1.0, 1.0, 7), chosen(1.0, 1.0, 7));
        assert_ne!(chosen(1.0, 1.0, 7), chosen(1.0, 1.0, 8));
        assert!(!chosen(2.0, 1.0, 7).contains(&3));
        assert!((0..5).all(|token| token == 3 || chosen(2.0, 1.0, 7).contains(&token)));
    }

    #[test]
    fn logits_that_are_no_numbers_choose_nothing() {
        let mut sampler = Sampler::new(&Sampling::default(), 0);
        assert_eq!(sampler.choose(&[f32::NAN, f32::NAN]), None);
        assert_eq!(sampler.choose(&[]), None);
    }
}
