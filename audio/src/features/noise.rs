//! The noise floor, the level of the speech above it, and the pauses between, all from levels each 10 ms.

use std::time::Duration;

use super::energy::{HOP_MS, db};

/// Share of the frames that lie at or under the noise floor: in read and spoken speech at least a tenth is closure or pause.
const FLOOR_SHARE: f32 = 0.1;
/// Speech stands out of the noise by this at least, and lies within `RANGE_DB` of the loudest.
const MARGIN_DB: f32 = 6.0;
const RANGE_DB: f32 = 30.0;
/// Shorter gaps are closures of stops (about 100 ms), not pauses; 250 ms is the usual threshold in studies of fluency.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);

/// A silence inside the speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Where it starts.
    pub start: Duration,
    /// How long it lasts.
    pub length: Duration,
}

/// What the levels of a stretch of sound say.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// Level of the noise, dBFS.
    pub floor_db: f32,
    /// Mean level of the frames with speech, dBFS.
    pub speech_db: f32,
    /// From here on a frame is speech, dBFS.
    pub threshold_db: f32,
    /// First speech to last speech, pauses included.
    pub span: Duration,
    /// The pauses in between, 250 ms and longer.
    pub pauses: Vec<Pause>,
}

impl Noise {
    /// From levels each 10 ms; `None` where nothing stands out of the noise.
    pub fn measure(levels: &[f32]) -> Option<Noise> {
        let mut sorted = levels.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        let floor_db = *sorted.get((sorted.len() as f32 * FLOOR_SHARE) as usize)?;
        // One click is not the speech: the 95th percentile is.
        let top_db = *sorted.get(sorted.len() * 95 / 100)?;
        let threshold_db = (floor_db + MARGIN_DB).max(top_db - RANGE_DB);
        let speech = |level: &f32| *level >= threshold_db;
        let (first, last) = (levels.iter().position(speech)?, levels.iter().rposition(speech)?);
        let (mut power, mut frames, mut silent, mut pauses) = (0.0, 0u32, 0u64, Vec::new());
        for (at, level) in levels.iter().enumerate().take(last + 1).skip(first) {
            if !speech(level) {
                silent += 1;
                continue;
            }
            power += 10f32.powf(level / 10.0);
            frames += 1;
            let length = Duration::from_millis(silent * HOP_MS);
            if length >= SHORTEST_PAUSE {
                pauses.push(Pause { start: Duration::from_millis((at as u64 - silent) * HOP_MS), length });
            }
            silent = 0;
        }
        let span = Duration::from_millis((last + 1 - first) as u64 * HOP_MS);
        Some(Noise { floor_db, speech_db: db(power / frames.max(1) as f32), threshold_db, span, pauses })
    }

    /// Speech over noise, dB.
    pub fn snr_db(&self) -> f32 {
        self.speech_db - self.floor_db
    }

    /// All pauses together.
    pub fn paused(&self) -> Duration {
        self.pauses.iter().map(|pause| pause.length).sum()
    }

    /// The span without its pauses.
    pub fn speaking(&self) -> Duration {
        self.span.saturating_sub(self.paused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_and_noise() {
        let mut levels = vec![-60.0; 30];
        levels.extend([-20.0; 50]);
        levels.extend([-60.0; 40]);
        levels.extend([-20.0; 10]);
        levels.extend([-60.0; 10]);
        levels.extend([-20.0; 40]);
        let noise = Noise::measure(&levels).expect("speech");
        assert_eq!(noise.pauses, [Pause { start: Duration::from_millis(800), length: Duration::from_millis(400) }]);
        assert_eq!((noise.span, noise.speaking()), (Duration::from_millis(1_500), Duration::from_millis(1_100)));
        assert!((noise.snr_db() - 40.0).abs() < 0.1);
    }

    #[test]
    fn steady_noise_is_no_speech() {
        assert_eq!(Noise::measure(&[-50.0; 100]), None);
        assert_eq!(Noise::measure(&[]), None);
    }
}
