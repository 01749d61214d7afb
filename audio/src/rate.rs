//! Units of sound: how many samples a second, and how many samples.

use std::num::NonZeroU32;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Samples a second, of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(NonZeroU32);

impl Rate {
    /// 8 kHz: the telephone (G.711, RFC 3551 section 4.5.14).
    pub const TELEPHONE: Rate = Rate::fixed(8_000);
    /// 16 kHz: what every recogniser and detector here listens at.
    pub const MODEL: Rate = Rate::fixed(16_000);
    /// 24 kHz: PCM of OpenAI's audio interfaces, and of the synthesizers here.
    pub const SPEECH: Rate = Rate::fixed(24_000);
    /// 48 kHz: Opus (RFC 7587 section 4.1).
    pub const OPUS: Rate = Rate::fixed(48_000);

    const fn fixed(hz: u32) -> Rate {
        match NonZeroU32::new(hz) {
            Some(hz) => Rate(hz),
            None => panic!("a rate is positive"),
        }
    }

    /// A rate in Hz; `None` outside 4 kHz to 192 kHz, where no speech format lives.
    pub fn new(hz: u32) -> Option<Rate> {
        (4_000..=192_000).contains(&hz).then(|| NonZeroU32::new(hz).map(Rate))?
    }

    /// In Hz.
    pub const fn hz(self) -> u32 {
        self.0.get()
    }

    /// The samples that `duration` takes at this rate, rounded down.
    pub fn samples(self, duration: Duration) -> Samples {
        Samples((duration.as_nanos() * u128::from(self.hz()) / 1_000_000_000) as u64)
    }

    /// The samples of `ms` milliseconds at this rate, rounded down.
    pub const fn samples_in_ms(self, ms: u64) -> Samples {
        Samples(ms * self.0.get() as u64 / 1_000)
    }
}

/// A count of samples of one channel: a length, or a position on the audio clock of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Samples(pub u64);

impl Samples {
    /// How long this many samples last at `rate`.
    pub fn duration(self, rate: Rate) -> Duration {
        Duration::from_nanos((u128::from(self.0) * 1_000_000_000 / u128::from(rate.hz())) as u64)
    }

    /// Whole milliseconds at `rate`, rounded down.
    pub const fn ms(self, rate: Rate) -> u64 {
        self.0 * 1_000 / rate.0.get() as u64
    }

    /// The difference, or zero where `other` is larger.
    pub const fn saturating_sub(self, other: Samples) -> Samples {
        Samples(self.0.saturating_sub(other.0))
    }

    /// The same stretch of time counted at another rate.
    pub const fn convert(self, from: Rate, to: Rate) -> Samples {
        Samples((self.0 as u128 * to.0.get() as u128 / from.0.get() as u128) as u64)
    }
}

impl Add for Samples {
    type Output = Samples;
    fn add(self, other: Samples) -> Samples {
        Samples(self.0 + other.0)
    }
}

impl AddAssign for Samples {
    fn add_assign(&mut self, other: Samples) {
        self.0 += other.0;
    }
}

impl Sub for Samples {
    type Output = Samples;
    fn sub(self, other: Samples) -> Samples {
        Samples(self.0 - other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_time_agree() {
        assert_eq!(Rate::MODEL.samples_in_ms(32), Samples(512));
        assert_eq!(Samples(512).ms(Rate::MODEL), 32);
        assert_eq!(Rate::SPEECH.samples(Duration::from_millis(20)), Samples(480));
        assert_eq!(Samples(480).convert(Rate::SPEECH, Rate::MODEL), Samples(320));
        assert_eq!(Samples(24_000).duration(Rate::SPEECH), Duration::from_secs(1));
    }

    #[test]
    fn a_rate_outside_speech_is_refused() {
        assert_eq!(Rate::new(0), None);
        assert_eq!(Rate::new(400_000), None);
        assert_eq!(Rate::new(16_000), Some(Rate::MODEL));
    }
}
