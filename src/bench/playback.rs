//! A reply as a listener hears it: played from its first byte on, without any buffer of the listener's own.

use std::time::{Duration, Instant};

use audio::Rate;

/// A listener hears a break of this length.
pub(crate) const AUDIBLE_GAP: Duration = Duration::from_millis(40);
/// A sample above this is heard (-40 dB of full scale).
const AUDIBLE_SAMPLE: f32 = 0.01;

/// What one reply sounded like, so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Playback {
    /// When the first byte came.
    pub(crate) first_byte: Option<Instant>,
    /// When the first sample that can be heard was played.
    pub(crate) first_audible: Option<Instant>,
    /// When the last byte came.
    pub(crate) last_byte: Option<Instant>,
    /// When all that came has been played.
    pub(crate) runs_out: Option<Instant>,
    /// Breaks over [`AUDIBLE_GAP`] within the reply.
    pub(crate) gaps: Vec<Duration>,
}

impl Playback {
    /// More of the reply came: PCM at `rate`.
    pub(crate) fn push(&mut self, at: Instant, pcm: &[f32], rate: Rate) {
        if pcm.is_empty() {
            return;
        }
        let begins = match self.runs_out {
            Some(runs_out) if runs_out >= at => runs_out,
            Some(runs_out) => {
                let gap = at - runs_out;
                if gap > AUDIBLE_GAP {
                    self.gaps.push(gap);
                }
                at
            }
            None => at,
        };
        let after = |samples: usize| begins + Duration::from_secs_f64(samples as f64 / f64::from(rate.hz()));
        self.first_byte.get_or_insert(at);
        self.last_byte = Some(at);
        if self.first_audible.is_none() {
            self.first_audible = pcm.iter().position(|sample| sample.abs() > AUDIBLE_SAMPLE).map(after);
        }
        self.runs_out = Some(after(pcm.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_the_first_audible_sample_follow_from_arrivals() {
        // (arrival ms, length ms, amplitude) -> first audible ms, end ms, gaps ms
        type Case<'a> = (&'a [(u64, usize, f32)], Option<u64>, Option<u64>, &'a [u64]);
        let cases: [Case; 7] = [
            (&[], None, None, &[]),
            (&[(100, 200, 0.5)], Some(100), Some(300), &[]),
            // Near-silence first: what is heard waits for its turn, not for its arrival.
            (&[(100, 200, 0.001), (110, 200, 0.5)], Some(300), Some(500), &[]),
            // Sent late but within what a listener bears.
            (&[(100, 200, 0.5), (340, 200, 0.5)], Some(100), Some(540), &[]),
            (&[(100, 200, 0.5), (341, 200, 0.5)], Some(100), Some(541), &[41]),
            (&[(0, 20, 0.5), (70, 20, 0.5), (190, 20, 0.5)], Some(0), Some(210), &[50, 100]),
            (&[(0, 1_000, 0.5), (500, 1_000, 0.5), (1_990, 10, 0.5)], Some(0), Some(2_010), &[]),
        ];
        for (arrivals, audible, end, gaps) in cases {
            let zero = Instant::now();
            let ms = |at: Option<Instant>| at.map(|at| (at - zero).as_millis() as u64);
            let mut playback = Playback::default();
            for &(at, length, amplitude) in arrivals {
                playback.push(zero + Duration::from_millis(at), &vec![amplitude; length * 24], Rate::SPEECH);
            }
            let broken: Vec<u64> = playback.gaps.iter().map(|gap| gap.as_millis() as u64).collect();
            assert_eq!((ms(playback.first_audible), ms(playback.runs_out), &broken[..]), (audible, end, gaps), "{arrivals:?}");
        }
    }
}
