//! Whether somebody speaks over the echo, and how much of the suppressor's work is undone then.
//!
//! What suppresses the last of an echo takes much of whoever speaks over it along, more than recognisers can do without; what the filter
//! alone leaves they understand. So while somebody speaks, half of that is mixed in. `timbre bench echo` measures what it is good for.

use super::{BLOCK, power};

/// The filter's part of the mixture while somebody speaks. At 1 the echo that the filter leaves keeps the gate open by itself at times.
const SHARE: f32 = 0.5;
/// The part comes within two blocks and goes within four: 8 and 16 ms.
const COMES: f32 = SHARE / 2.0;
const GOES: f32 = SHARE / 4.0;
/// Of each block's power this much counts: a mean over some 20 ms.
const SMOOTHING: f32 = 0.2;
/// What the suppressor leaves is somebody if it is this much of what the filter leaves: -10 dB...
const OF_LINEAR: f32 = 0.1;
/// ...and this much over the floor of noise, 10 dB...
const OVER_FLOOR: f32 = 10.0;
/// ...and no less than -70 dB of full scale, in AEC3's unit.
const LEAST: f32 = 100.0;
/// How fast the floor rises to meet louder noise: 2 dB a second.
const FLOOR_RISES: f32 = 1.002;
/// How long somebody is taken to speak on: 200 ms, the closures within words.
const HOLD: u32 = 50;

/// The state of the gate.
#[derive(Clone, Debug)]
pub(super) struct Presence {
    /// Mean powers of what suppressor and filter leave, and the least of the former.
    suppressed: f32,
    linear: f32,
    floor: f32,
    /// Blocks for which somebody is still taken to speak.
    hold: u32,
    /// The filter's part at the end of the last block.
    share: f32,
    /// What the filter left a block ago: the suppressor is a block behind it.
    before: [f32; BLOCK],
}

impl Presence {
    pub(super) fn new() -> Presence {
        // Full scale: the first sound is below it.
        Presence { suppressed: 0.0, linear: 0.0, floor: 1e9, hold: 0, share: 0.0, before: [0.0; BLOCK] }
    }

    /// Mixes what the filter left, `linear`, into what the suppressor left of the block before.
    pub(super) fn mix(&mut self, suppressed: &mut [f32], linear: &[f32]) {
        self.suppressed += SMOOTHING * (power(suppressed) - self.suppressed);
        self.linear += SMOOTHING * (power(&self.before) - self.linear);
        self.floor = (self.floor * FLOOR_RISES).min(self.suppressed.max(1.0));
        let speaks = self.suppressed > LEAST.max(OVER_FLOOR * self.floor).max(OF_LINEAR * self.linear);
        self.hold = if speaks { HOLD } else { self.hold.saturating_sub(1) };
        let from = self.share;
        self.share = if self.hold > 0 { (from + COMES).min(SHARE) } else { (from - GOES).max(0.0) };
        for (at, (sample, linear)) in suppressed.iter_mut().zip(&self.before).enumerate() {
            let share = from + (self.share - from) * at as f32 / BLOCK as f32;
            *sample += share * (linear - *sample);
        }
        for (before, linear) in self.before.iter_mut().zip(linear) {
            *before = *linear;
        }
    }
}
