//! What a microphone sends while nobody speaks: the quiet of a room rather than zeros, which a server might take a short cut on.

use std::sync::OnceLock;

use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::clips::{CHUNK_SAMPLES, messages};

/// Uniform noise up to this lies 65 dB under full scale: a quiet room on a headset.
const AMPLITUDE: f32 = 0.001;

/// The event of 20 ms of quiet.
pub(crate) fn quiet() -> Utf8Bytes {
    static QUIET: OnceLock<Utf8Bytes> = OnceLock::new();
    QUIET.get_or_init(|| messages(&noise(CHUNK_SAMPLES)).remove(0)).clone()
}

/// The same noise in every run (linear congruential, Knuth's constants for 64 bits).
pub(crate) fn noise(samples: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        AMPLITUDE * ((state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0)
    };
    (0..samples).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_quiet_but_not_silent() {
        let noise = noise(CHUNK_SAMPLES);
        assert!(noise.iter().all(|sample| sample.abs() <= AMPLITUDE));
        assert!((noise.iter().sum::<f32>() / noise.len() as f32).abs() < AMPLITUDE / 10.0);
        assert!(noise.iter().filter(|sample| sample.abs() > AMPLITUDE / 2.0).count() > CHUNK_SAMPLES / 3);
    }
}
