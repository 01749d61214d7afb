//! Where speech begins and ends in a recording, by its energy alone: the clock that every latency here counts from.
//!
//! A frame of 10 ms is speech when it lies at most [`BELOW_ACTIVE_DB`] under the active level (that of the loudest tenth of all frames)
//! and more than [`ABOVE_NOISE_DB`] over the noise floor (that of the quietest tenth). No model decides, so no system measured here can
//! flatter itself by its own detector.

use audio::Rate;

/// Speech is at most this much quieter than the active level: breath and the tail of the room lie below.
pub(crate) const BELOW_ACTIVE_DB: f32 = 40.0;
/// Speech is louder than the quietest frames by more than this, so that a noisy recording does not seem to speak to its last sample.
pub(crate) const ABOVE_NOISE_DB: f32 = 10.0;
/// An onset is louder than the quietest frames by more than this, in eight of ten frames.
const ONSET_ABOVE_NOISE_DB: f32 = 15.0;
const FRAME_MS: u64 = 10;
/// Frames below this are silence whatever lies around them: the last bit of 16-bit PCM.
const SILENCE_DB: f32 = -90.0;

/// The first and the last sample of speech: `begin..end`. `None` where there is none.
pub(crate) fn speech(pcm: &[f32], rate: Rate) -> Option<(usize, usize)> {
    let frame = rate.samples_in_ms(FRAME_MS).0 as usize;
    let levels: Vec<f32> = pcm.chunks(frame).map(level_db).collect();
    let mut sorted = levels.clone();
    sorted.sort_by(f32::total_cmp);
    let tenth = sorted.len() / 10;
    let quiet = *sorted.get(tenth)?;
    let active = *sorted.get(sorted.len().checked_sub(1 + tenth)?)?;
    // Where all frames are alike there is no floor to see: then the active level alone decides.
    let floor = if active - quiet > 2.0 * ABOVE_NOISE_DB { quiet + ABOVE_NOISE_DB } else { SILENCE_DB };
    let threshold = (active - BELOW_ACTIVE_DB).max(floor).max(SILENCE_DB);
    // An onset is sustained, and clear of the room: recordings often begin with a stretch of noise louder than their quietest moments.
    let clear = if floor > SILENCE_DB { threshold.max(quiet + ONSET_ABOVE_NOISE_DB) } else { threshold };
    let sustained = |at: usize| levels[at..].iter().take(10).filter(|level| **level > clear).count() >= 8.min(levels.len() - at);
    let first = levels.iter().enumerate().position(|(at, level)| *level > clear && sustained(at))?;
    let last = levels.iter().rposition(|level| *level > threshold)?;
    Some((first * frame, ((last + 1) * frame).min(pcm.len())))
}

/// Root mean square of a frame, dB of full scale.
fn level_db(frame: &[f32]) -> f32 {
    let power = frame.iter().map(|sample| sample * sample).sum::<f32>() / frame.len().max(1) as f32;
    10.0 * power.max(1e-12).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stretches of (milliseconds, amplitude) of a 200 Hz tone at 16 kHz.
    fn sound(stretches: &[(usize, f32)]) -> Vec<f32> {
        let tone = |index: usize, amplitude: f32| amplitude * (index as f32 * 200.0 * std::f32::consts::TAU / 16_000.0).sin();
        stretches.iter().flat_map(|&(ms, amplitude)| (0..ms * 16).map(move |index| tone(index, amplitude))).collect()
    }

    /// Stretches of ms and amplitude, and where the speech is, ms.
    type Case = (&'static [(usize, f32)], Option<(usize, usize)>);

    #[test]
    fn speech_is_found_between_silence_noise_and_breath() {
        let cases: [Case; 7] = [
            (&[], None),
            (&[(500, 0.0)], None),
            (&[(500, 0.5)], Some((0, 500))),
            (&[(200, 0.0), (500, 0.5), (300, 0.0)], Some((200, 700))),
            // Breath 46 dB under the voice is not speech, a soft last sound 34 dB under it is.
            (&[(200, 0.0), (500, 0.5), (100, 0.0025), (300, 0.0)], Some((200, 700))),
            (&[(200, 0.0), (500, 0.5), (100, 0.01), (300, 0.0)], Some((200, 800))),
            // A room 36 dB under the voice.
            (&[(200, 0.008), (500, 0.5), (300, 0.008)], Some((200, 700))),
        ];
        for (stretches, expected) in cases {
            let got = speech(&sound(stretches), Rate::MODEL).map(|(begin, end)| (begin / 16, end / 16));
            assert_eq!(got, expected, "{stretches:?}");
        }
    }
}
