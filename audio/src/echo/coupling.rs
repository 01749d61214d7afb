//! Whether a microphone hears what is played at all: with headphones, a handset, or a canceller of the caller's own it does not.
//!
//! Where nothing echoes there is nothing to take out, and who speaks over an answer is heard from their first sound.

/// Of each block's power this much counts: a mean over some 20 ms.
const SMOOTHING: f32 = 0.2;
/// Sound is played from -50 dB of full scale on.
const PLAYED: f32 = 1e-5;
/// Something is heard if it is 10 dB over the floor of noise...
const OVER_FLOOR: f32 = 10.0;
/// ...and no less than -70 dB of full scale.
const LEAST: f32 = 1e-7;
/// How fast the floor rises to meet louder noise: 2 dB a second.
const FLOOR_RISES: f32 = 1.002;
/// How long an answer sounds without anything being heard until nothing is taken to echo, blocks: 1 s, by which almost all echoes have come. One
/// that is later is noticed when it comes.
const UNHEARD: u32 = 1_000 / 4;
/// How long an answer is taken to sound on after its last sound, blocks: 100 ms, the closures within words.
const HOLD: u32 = 100 / 4;
/// What the filter takes out is an echo if it is 6 dB...
const OF_HEARD: f32 = 0.25;
/// ...for so long, blocks: 100 ms.
const PREDICTED: u32 = 100 / 4;

/// What is known of it.
#[derive(Clone, Debug)]
pub(super) struct Coupling {
    /// Mean powers of what is heard and of what the filter leaves of it; the least of the former.
    heard: f32,
    left: f32,
    floor: f32,
    /// Blocks for which what is played is still taken to sound.
    hold: u32,
    /// Blocks that sounded since anything was heard.
    unheard: u32,
    /// Blocks whose sound the filter predicted.
    predicted: u32,
    coupled: bool,
}

impl Coupling {
    /// Anything may echo until it is known that nothing does.
    pub(super) fn new() -> Coupling {
        // Full scale: the first sound is below it.
        Coupling { heard: 0.0, left: 0.0, floor: 1.0, hold: 0, unheard: 0, predicted: 0, coupled: true }
    }

    /// Whether the microphone may hear what is played.
    pub(super) fn is_coupled(&self) -> bool {
        self.coupled
    }

    /// Takes the power of a block that is heard, whether or not anything is played.
    pub(super) fn hear(&mut self, power: f32) {
        self.heard += SMOOTHING * (power - self.heard);
        self.floor = (self.floor * FLOOR_RISES).min(self.heard.max(LEAST / OVER_FLOOR));
    }

    /// Takes the powers of what is played meanwhile, and of what the filter leaves of what is heard.
    pub(super) fn observe(&mut self, played: f32, left: f32) {
        self.left += SMOOTHING * (left - self.left);
        self.hold = if played > PLAYED { HOLD } else { self.hold.saturating_sub(1) };
        let loud = self.heard > LEAST.max(OVER_FLOOR * self.floor);
        if loud {
            self.unheard = 0;
            let echo = self.left < OF_HEARD * self.heard;
            self.predicted = if echo { self.predicted + 1 } else { self.predicted.saturating_sub(1) };
        } else if self.hold > 0 {
            self.unheard += 1;
        }
        if self.unheard >= UNHEARD {
            (self.coupled, self.predicted) = (false, 0);
        } else if self.predicted >= PREDICTED {
            self.coupled = true;
            self.predicted = PREDICTED;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script of stretches of half a second: what is played, what is heard, and what the filter leaves of that, each `.` silence, `-` noise of a
    /// room, `#` speech. Whether it was taken to be coupled after each.
    fn check(script: &str, expected: &str) {
        let power = |mark: char| match mark {
            '#' => 1e-2,
            '-' => 1e-6,
            _ => 0.0,
        };
        let mut coupling = Coupling::new();
        let mut coupled = String::new();
        for stretch in script.split_whitespace() {
            let powers: Vec<f32> = stretch.chars().map(power).collect();
            for _ in 0..125 {
                coupling.hear(powers[1]);
                coupling.observe(powers[0], powers[2]);
            }
            coupled.push(if coupling.is_coupled() { 'e' } else { '-' });
        }
        assert_eq!(coupled, expected, "{script}");
    }

    #[test]
    fn what_is_played_and_never_heard_does_not_echo() {
        check("#.. #.. #.. #..", "e---");
        // The noise of a room is no echo.
        check("#-- #-- #-- #--", "e---");
        check(".-- .-- .-- #-- #-- #--", "eeee--");
        check("#.. ... ... ... #.. ... #..", "eeee---");
        // Who only listens has played nothing.
        check("... ... ... ... ...", "eeeee");
        // Somebody spoke before it was known.
        check("#.. .## #.. #.. #..", "eeee-");
    }

    #[test]
    fn who_speaks_over_an_answer_is_no_echo_of_it() {
        check("#.. #.. #.. ### ### .## #..", "e------");
    }

    #[test]
    fn an_echo_that_begins_is_noticed() {
        check("#.. #.. #.. ##. ##. ### #..", "e--eeee");
    }
}
