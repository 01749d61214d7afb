//! Keys of a telephone in its sound: two tones at once, one of four low and one of four high ones (ITU-T Q.23), found with Goertzel's
//! algorithm in blocks of 20 ms.
//!
//! A key is told once, when it has sounded for two blocks (Q.24 asks for 40 ms). Speech has such pairs for a moment, too: both tones must
//! stand out, be about as loud, and have most of the energy.

use std::f32::consts::TAU;

use crate::Rate;

/// Low tones, Hz: the rows of the keypad.
const LOW: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
/// High tones, Hz: its columns.
const HIGH: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
const KEYS: [[char; 4]; 4] = [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
/// A block, ms: bins 50 Hz wide tell 697 from 770 Hz, and two fit into the shortest key press.
const BLOCK_MS: u64 = 20;
/// Blocks that make a key.
const LONG_ENOUGH: u32 = 2;
/// Mean square below which nothing is a tone: -46 dBFS, under the -36 dBm0 of Q.24 with room for quiet lines.
const QUIET: f32 = 2.5e-5;
/// Share of the energy that both tones must have: a tone that is 1.5 % off, as Q.23 allows, has lost up to half of its power in a block of 20 ms.
const SHARE: f32 = 0.5;
/// How much louder one tone may be than the other, as energy: 8 dB; Q.24 asks for 4 to 8.
const TWIST: f32 = 6.3;
/// How far the stronger of each group stands out of its group, as energy: 6 dB.
const ALONE: f32 = 4.0;

/// Listens for keys.
#[derive(Clone, Debug)]
pub struct Dtmf {
    /// Goertzel's factor of each tone, low ones first.
    factors: [f32; 8],
    states: [(f32, f32); 8],
    energy: f32,
    filled: usize,
    block: usize,
    /// What sounds, and for how many blocks.
    key: Option<(char, u32)>,
}

impl Dtmf {
    /// A listener for sound at `rate`: 8 kHz or more.
    pub fn new(rate: Rate) -> Dtmf {
        let tones: [f32; 8] = std::array::from_fn(|at| if at < 4 { LOW[at] } else { HIGH[at - 4] });
        Dtmf {
            factors: tones.map(|tone| 2.0 * (TAU * tone / rate.hz() as f32).cos()),
            states: [(0.0, 0.0); 8],
            energy: 0.0,
            filled: 0,
            block: rate.samples_in_ms(BLOCK_MS).0 as usize,
            key: None,
        }
    }

    /// Hears `pcm` (mono), and hands each key to `emit` once. Costs eight multiplications a sample; allocates nothing.
    pub fn push(&mut self, pcm: &[f32], mut emit: impl FnMut(char)) {
        for &sample in pcm {
            self.energy += sample * sample;
            for (state, factor) in self.states.iter_mut().zip(self.factors) {
                *state = (sample + factor * state.0 - state.1, state.0);
            }
            self.filled += 1;
            if self.filled == self.block {
                self.end_block(&mut emit);
            }
        }
    }

    fn end_block(&mut self, emit: &mut impl FnMut(char)) {
        let heard = self.judge();
        self.key = match (heard, self.key) {
            (Some(key), Some((before, blocks))) if key == before => {
                if blocks + 1 == LONG_ENOUGH {
                    emit(key);
                }
                Some((key, blocks.saturating_add(1)))
            }
            (Some(key), _) => Some((key, 1)),
            (None, _) => None,
        };
        (self.states, self.energy, self.filled) = ([(0.0, 0.0); 8], 0.0, 0);
    }

    /// The key of a block.
    fn judge(&self) -> Option<char> {
        let length = self.block as f32;
        if self.energy < QUIET * length {
            return None;
        }
        let mut powers = [0.0; 8];
        for ((power, (one, two)), factor) in powers.iter_mut().zip(self.states).zip(self.factors) {
            *power = one * one + two * two - factor * one * two;
        }
        let (low, row) = strongest(&powers[..4])?;
        let (high, column) = strongest(&powers[4..])?;
        // A sine of amplitude a has the power (a n / 2)^2 here, and the energy a^2 n / 2.
        let share = (low + high) * 2.0 / length / self.energy;
        (share > SHARE && low < high * TWIST && high < low * TWIST).then(|| KEYS[row][column])
    }
}

/// The strongest of four tones and its place, if it stands out.
fn strongest(powers: &[f32]) -> Option<(f32, usize)> {
    let (at, &most) = powers.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let others = powers.iter().enumerate().filter(|(other, _)| *other != at);
    others.into_iter().all(|(_, &power)| power * ALONE < most).then_some((most, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container;
    use std::path::Path;

    /// Level, twist and error of frequency: loud, quiet, the high tone 6 dB up or down, both tones as far off as Q.23 allows.
    const SHAPES: [(f32, f32, f32); 6] =
        [(0.3, 1.0, 1.0), (0.02, 1.0, 1.0), (0.1, 2.0, 1.0), (0.1, 0.5, 1.0), (0.1, 1.0, 1.015), (0.1, 1.0, 0.985)];

    fn heard(pcm: &[f32], rate: Rate) -> String {
        let (mut listener, mut keys) = (Dtmf::new(rate), String::new());
        pcm.chunks(77).for_each(|piece| listener.push(piece, |key| keys.push(key)));
        keys
    }

    /// Both tones of a key, the low one at `level` and the high one at `level * twist`, `off` times their frequency.
    fn tone(key: char, rate: Rate, ms: u64, (level, twist, off): (f32, f32, f32)) -> Vec<f32> {
        let (row, column) =
            (0..4).flat_map(|row| (0..4).map(move |column| (row, column))).find(|&(r, c)| KEYS[r][c] == key).expect("a key");
        let wave = |frequency: f32, n: u64| (TAU * frequency * off * n as f32 / rate.hz() as f32).sin();
        (0..rate.samples_in_ms(ms).0).map(|n| level * (wave(LOW[row], n) + twist * wave(HIGH[column], n))).collect()
    }

    #[test]
    fn every_key_is_heard_once() {
        for rate in [Rate::TELEPHONE, Rate::MODEL, Rate::SPEECH] {
            for key in KEYS.iter().flatten() {
                for shape in SHAPES {
                    let pcm = [vec![0.0; 333], tone(*key, rate, 80, shape), vec![0.0; 777]].concat();
                    assert_eq!(heard(&pcm, rate), key.to_string(), "{key} at {} Hz {shape:?}", rate.hz());
                }
            }
        }
    }

    #[test]
    fn two_presses_are_two_and_a_long_one_is_one() {
        let rate = Rate::TELEPHONE;
        let press = |key, ms| [tone(key, rate, ms, (0.2, 1.0, 1.0)), vec![0.0; 480]].concat();
        assert_eq!(heard(&[press('5', 100), press('5', 2_000), press('#', 60)].concat(), rate), "55#");
        assert_eq!(heard(&press('5', 20), rate), "");
    }

    #[test]
    fn one_tone_or_noise_is_no_key() {
        let rate = Rate::TELEPHONE;
        let single: Vec<f32> = tone('1', rate, 200, (0.3, 0.0, 1.0));
        assert_eq!(heard(&single, rate), "");
        let mut seed = 1_u32;
        let noise: Vec<f32> = (0..80_000)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect();
        assert_eq!(heard(&noise, rate), "");
    }

    /// Recorded keys are heard, and minutes of recorded telephone speech have none.
    #[test]
    fn recordings() {
        let Some(folder) = std::env::var_os("TIMBRE_DATA") else {
            eprintln!("skipped: TIMBRE_DATA names no folder of recordings");
            return;
        };
        let folder = Path::new(&folder).join("tel");
        let read = |path: &Path| {
            let bytes = std::fs::read(path).expect("a recording");
            let recording = container::decode(&bytes, std::time::Duration::from_secs(120)).expect("it is sound");
            (recording.pcm, recording.rate)
        };
        for key in ['0', '1', '2', '3', '4'] {
            let (pcm, rate) = read(&folder.join(format!("dtmf-{key}.wav")));
            assert_eq!(heard(&pcm, rate), key.to_string());
        }
        let (mut seconds, mut false_keys) = (0.0, Vec::new());
        for entry in std::fs::read_dir(folder.join("asterisk/en")).expect("a folder").flatten() {
            let (pcm, rate) = read(&entry.path());
            seconds += pcm.len() as f32 / rate.hz() as f32;
            let keys = heard(&pcm, rate);
            if !keys.is_empty() {
                false_keys.push((entry.file_name(), keys));
            }
        }
        assert!(seconds > 60.0 && false_keys.is_empty(), "{seconds} s: {false_keys:?}");
    }
}
