//! Between rates: a band-limited resampler of one channel, for streams and for whole recordings.
//!
//! It does not follow drifting clocks: both rates are what they say.

use std::fmt;

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{
    Async, FixedAsync, Resampler as _, Resizable as _, SincInterpolationParameters, SincInterpolationType, WindowFunction, calculate_cutoff,
};

use crate::Rate;

/// Taps of the filter at the lower of both rates. Half of them is the delay: 2 ms at 16 kHz, 4 ms at 8 kHz. With this window the passband
/// ends at 0.88 of the lower band and aliases stay 90 dB down.
const TAPS: usize = 64;
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris;
/// A ratio of small whole numbers has that many filter phases, each computed exactly; above this many (odd rates such as 44,056 Hz), those
/// between `PHASES` stored ones are interpolated.
const MOST_EXACT_PHASES: usize = 1_280;
const PHASES: usize = 256;

/// Turns a stream at one rate into a stream at another. Sample n out lies at the time of sample n in: the filter's delay is taken off the
/// start, so that positions on the audio clock convert by [`crate::Samples::convert`]. What is heard comes at most 5 ms late.
pub struct Resampler {
    from: Rate,
    to: Rate,
    /// `None` where both rates are the same.
    inner: Option<Box<Inner>>,
}

/// What goes in and is taken off before the first sample, so that the filter's delay comes out as a whole number of samples.
#[derive(Clone, Copy)]
struct Lead {
    /// Silence pushed first, samples in.
    zeros: usize,
    /// Taken off the start, samples out.
    skip: usize,
}

impl Lead {
    /// rubato's filter of `taps` in front of sample 0 gives its k-th sample, k from 1, at the input time k from/to - taps/2 + 1/phases.
    /// With both rates divided by their common divisor, k from + 1 = (taps/2 + zeros) to makes that time -zeros: there the sound begins.
    fn new(from: Rate, to: Rate, taps: usize, phases: usize) -> Lead {
        let half = taps / 2;
        if phases > MOST_EXACT_PHASES {
            // No small solution: the nearest sample is at most half a sample away.
            let first = (half as u64 * u64::from(to.hz()) + u64::from(from.hz()) / 2) / u64::from(from.hz());
            return Lead { zeros: 0, skip: first.saturating_sub(1) as usize };
        }
        let from = (from.hz() / greatest_common_divisor(from.hz(), to.hz())) as usize;
        let first = (1..=phases).find(|first| (first * from + 1).is_multiple_of(phases)).expect("both are coprime");
        let delay = (first * from + 1) / phases;
        let rounds = half.saturating_sub(delay).div_ceil(from);
        Lead { zeros: delay + rounds * from - half, skip: first + rounds * phases - 1 }
    }
}

struct Inner {
    engine: Async<f32>,
    lead: Lead,
    /// Less than one chunk of input.
    waiting: Vec<f32>,
    /// Samples in a chunk: 1 ms, so that whole milliseconds leave nothing waiting.
    chunk: usize,
    /// Filter delay still to be taken off the output, in samples out.
    skip: usize,
    /// Samples that came in and went out since the start.
    taken: u64,
    given: u64,
}

impl fmt::Debug for Resampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resampler({} Hz to {} Hz)", self.from.hz(), self.to.hz())
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

impl Resampler {
    /// A resampler at the start of a stream.
    pub fn new(from: Rate, to: Rate) -> Resampler {
        let inner = (from != to).then(|| {
            let ratio = f64::from(to.hz()) / f64::from(from.hz());
            let phases = (to.hz() / greatest_common_divisor(from.hz(), to.hz())) as usize;
            let (oversampling_factor, interpolation) =
                if phases <= MOST_EXACT_PHASES { (phases, SincInterpolationType::Nearest) } else { (PHASES, SincInterpolationType::Cubic) };
            let parameters = SincInterpolationParameters {
                // The filter is as long in time as `TAPS` at the lower rate.
                sinc_len: (TAPS as f64 / ratio.min(1.0)).ceil() as usize,
                f_cutoff: Some(calculate_cutoff::<f32>(TAPS, WINDOW)),
                oversampling_factor,
                interpolation,
                window: WINDOW,
            };
            let chunk = (from.hz() / 1_000) as usize;
            let engine = Async::new_sinc(ratio, 1.0, &parameters, chunk, 1, FixedAsync::Input)
                .expect("both rates are positive and finite, and one channel of at least 4 samples is asked for");
            let lead = Lead::new(from, to, parameters.sinc_len.next_multiple_of(8), phases);
            let mut inner = Inner { engine, lead, waiting: Vec::with_capacity(chunk), chunk, skip: 0, taken: 0, given: 0 };
            inner.start();
            Box::new(inner)
        });
        Resampler { from, to, inner }
    }

    /// The rate of what is pushed.
    pub fn from(&self) -> Rate {
        self.from
    }

    /// The rate of what comes out.
    pub fn to(&self) -> Rate {
        self.to
    }

    /// Appends what `pcm` completes to `out`. Allocates only where `out` has to grow.
    pub fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        let Some(inner) = &mut self.inner else {
            out.extend_from_slice(pcm);
            return;
        };
        inner.taken += pcm.len() as u64;
        let mut pcm = pcm;
        if !inner.waiting.is_empty() {
            let (head, rest) = pcm.split_at(pcm.len().min(inner.chunk - inner.waiting.len()));
            inner.waiting.extend_from_slice(head);
            pcm = rest;
            if inner.waiting.len() < inner.chunk {
                return;
            }
            let waiting = std::mem::take(&mut inner.waiting);
            inner.process(&waiting, out);
            inner.waiting = waiting;
            inner.waiting.clear();
        }
        let mut chunks = pcm.chunks_exact(inner.chunk);
        for chunk in &mut chunks {
            inner.process(chunk, out);
        }
        inner.waiting.extend_from_slice(chunks.remainder());
    }

    /// Appends the rest, so that the whole stream has its length at the new rate (rounded up), and starts anew.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let Some(inner) = &mut self.inner else { return };
        let due = (inner.taken * u64::from(self.to.hz())).div_ceil(u64::from(self.from.hz()));
        let mut waiting = std::mem::take(&mut inner.waiting);
        while inner.given < due {
            waiting.resize(inner.chunk, 0.0);
            inner.process(&waiting, out);
            waiting.clear();
        }
        let surplus = (inner.given - due) as usize;
        out.truncate(out.len() - surplus);
        waiting.clear();
        inner.waiting = waiting;
        inner.engine.reset();
        inner.start();
    }
}

impl Inner {
    /// Before the first sample.
    fn start(&mut self) {
        self.skip = self.lead.skip;
        let silence = vec![0.0; self.chunk];
        let mut out = Vec::new();
        let mut zeros = self.lead.zeros;
        while zeros > 0 {
            let length = zeros.min(self.chunk);
            self.engine.set_chunk_size(length).expect("not more than the chunk it was made for");
            self.process(&silence[..length], &mut out);
            zeros -= length;
        }
        self.engine.set_chunk_size(self.chunk).expect("the chunk it was made for");
        (self.taken, self.given) = (0, 0);
    }

    /// One whole chunk.
    fn process(&mut self, chunk: &[f32], out: &mut Vec<f32>) {
        let before = out.len();
        let room = self.engine.output_frames_next();
        out.resize(before + room, 0.0);
        let input = SequentialSlice::new(chunk, 1, chunk.len()).expect("one channel of exactly this length");
        let mut output = SequentialSlice::new_mut(&mut out[before..], 1, room).expect("one channel of exactly this length");
        let (_, written) =
            self.engine.process_into_buffer(&input, &mut output, None).expect("a whole chunk, and room for all that it can give");
        out.truncate(before + written);
        let skipped = self.skip.min(written);
        out.drain(before..before + skipped);
        self.skip -= skipped;
        self.given += (written - skipped) as u64;
    }
}

/// A whole recording at another rate; its length is rounded up.
pub fn resample(pcm: &[f32], from: Rate, to: Rate) -> Vec<f32> {
    let mut out = Vec::with_capacity((pcm.len() as u64 * u64::from(to.hz())).div_ceil(u64::from(from.hz())) as usize + 256);
    let mut resampler = Resampler::new(from, to);
    resampler.push(pcm, &mut out);
    resampler.finish(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATES: [u32; 8] = [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

    fn rate(hz: u32) -> Rate {
        Rate::new(hz).expect("a rate")
    }

    fn tone(hz: f32, rate: Rate, samples: usize) -> Vec<f32> {
        (0..samples).map(|i| (std::f64::consts::TAU * f64::from(hz) * i as f64 / f64::from(rate.hz())).sin() as f32).collect()
    }

    fn rms(pcm: &[f32]) -> f32 {
        (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len() as f32).sqrt()
    }

    #[test]
    fn a_tone_stays_in_tune_and_in_place() {
        for from in RATES.map(rate) {
            for to in RATES.map(rate) {
                let sound = tone(1_000.0, from, from.hz() as usize / 2);
                let out = resample(&sound, from, to);
                let expected = tone(1_000.0, to, out.len());
                assert_eq!(out.len() as u64, (sound.len() as u64 * u64::from(to.hz())).div_ceil(u64::from(from.hz())));
                let edge = to.hz() as usize / 50;
                let difference: Vec<f32> = (edge..out.len() - edge).map(|i| out[i] - expected[i]).collect();
                assert!(rms(&difference) < 0.002, "{} to {}: {}", from.hz(), to.hz(), rms(&difference));
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_gone() {
        // (from, to, Hz of a tone above half the lower rate)
        for (from, to, hz) in [(48_000, 16_000, 9_000.0), (24_000, 16_000, 8_600.0), (16_000, 8_000, 4_400.0), (44_100, 16_000, 12_000.0)] {
            let out = resample(&tone(hz, rate(from), from as usize / 2), rate(from), rate(to));
            let edge = to as usize / 50;
            let level = 20.0 * rms(&out[edge..out.len() - edge]).log10();
            assert!(level < -70.0, "{hz} Hz from {from} to {to}: {level} dB");
        }
    }

    #[test]
    fn at_most_5_ms_are_held_back() {
        for from in RATES.map(rate) {
            for to in RATES.map(rate) {
                let (mut resampler, mut out) = (Resampler::new(from, to), Vec::new());
                resampler.push(&vec![0.1; from.hz() as usize / 10], &mut out);
                let held_ms = 100.0 - out.len() as f32 * 1_000.0 / to.hz() as f32;
                assert!(held_ms <= 5.2, "{} to {}: {held_ms} ms", from.hz(), to.hz());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pieces_do_not_matter(from in prop::sample::select(&RATES[..]), to in prop::sample::select(&RATES[..]),
                                lengths in prop::collection::vec(0usize..700, 0..12)) {
            let (from, to) = (rate(from), rate(to));
            let total: usize = lengths.iter().sum();
            let sound = tone(300.0, from, total);
            let mut resampler = Resampler::new(from, to);
            let mut out = Vec::new();
            let mut at = 0;
            for length in lengths {
                resampler.push(&sound[at..at + length], &mut out);
                at += length;
            }
            resampler.finish(&mut out);
            prop_assert_eq!(&out, &resample(&sound, from, to));
            // After the end it starts anew.
            let mut again = Vec::new();
            resampler.push(&sound, &mut again);
            resampler.finish(&mut again);
            prop_assert_eq!(out, again);
        }

        #[test]
        fn any_two_rates_work(from in 4_000u32..192_000, to in 4_000u32..192_000) {
            let out = resample(&[0.5; 400], rate(from), rate(to));
            prop_assert_eq!(out.len() as u64, (400 * u64::from(to)).div_ceil(u64::from(from)));
        }
    }
}
