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
/// Sound that is played without anything being heard until nothing is taken to echo, blocks: the longest delay of an echo, and half a second.
const UNHEARD: u32 = 1_500 / 4;
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
    /// Blocks with sound that was played since anything was heard.
    unheard: u32,
    /// Blocks whose sound the filter predicted.
    predicted: u32,
    coupled: bool,
}

impl Coupling {
    /// Anything may echo until it is known that nothing does.
    pub(super) fn new() -> Coupling {
        // Full scale: the first sound is below it.
        Coupling { heard: 0.0, left: 0.0, floor: 1.0, unheard: 0, predicted: 0, coupled: true }
    }

    /// Whether the microphone may hear what is played.
    pub(super) fn is_coupled(&self) -> bool {
        self.coupled
    }

    /// Takes the powers of a block that was played, of what was heard meanwhile, and of what the filter leaves of that.
    pub(super) fn observe(&mut self, played: f32, heard: f32, left: f32) {
        self.heard += SMOOTHING * (heard - self.heard);
        self.left += SMOOTHING * (left - self.left);
        self.floor = (self.floor * FLOOR_RISES).min(self.heard.max(LEAST / OVER_FLOOR));
        let loud = self.heard > LEAST.max(OVER_FLOOR * self.floor);
        if loud {
            self.unheard = 0;
            let echo = self.left < OF_HEARD * self.heard;
            self.predicted = if echo { self.predicted + 1 } else { self.predicted.saturating_sub(1) };
        } else if played > PLAYED {
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
                coupling.observe(powers[0], powers[1], powers[2]);
            }
            coupled.push(if coupling.is_coupled() { 'e' } else { '-' });
        }
        assert_eq!(coupled, expected, "{script}");
    }

    #[test]
    fn what_is_played_and_never_heard_does_not_echo() {
        check("#.. #.. #.. #..", "ee--");
        check("#-- #-- #-- #--", "ee--");
        check("#.. ... ... ... #.. ... #..", "eeeeee-");
        // Who only listens has played nothing.
        check("... ... ... ... ...", "eeeee");
        // Somebody spoke before it was known.
        check("#.. #.. .## #.. #.. #.. #..", "eeeeee-");
    }

    #[test]
    fn who_speaks_over_an_answer_is_no_echo_of_it() {
        check("#.. #.. #.. ### ### .## #..", "ee-----");
    }

    #[test]
    fn an_echo_that_begins_is_noticed() {
        check("#.. #.. #.. ##. ##. ### #..", "ee-eeee");
    }
}
