//! How long a sound still stands out of the room after a detector of voices has given up on it: soft last syllables, breath drawn to go
//! on, the ring of a room. Silence is counted from there.

use super::energy::{HOP_MS, levels};
use crate::{Rate, Samples};

/// What stands out lies at most this far under the active level (that of the loudest tenth), dB: breath and soft consonants do.
const BELOW_ACTIVE_DB: f32 = 40.0;
/// It is louder than the room (the level of the quietest tenth) by more than this, dB.
const ABOVE_ROOM_DB: f32 = 10.0;

/// How much of the last `silence` of `pcm` passed until the sound sank into the room for the last time, in whole 10 ms. Sound that never
/// sinks, such as a noise that has begun, is told by a tail as long as the silence.
pub fn tail(pcm: &[f32], rate: Rate, silence: Samples) -> Samples {
    let mut all = Vec::new();
    levels(pcm, rate, &mut all);
    let mut sorted = all.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let tenth = sorted.len() / 10;
    let (Some(room), Some(active)) = (sorted.get(tenth), sorted.len().checked_sub(1 + tenth).and_then(|at| sorted.get(at))) else {
        return Samples(0);
    };
    // Where all is alike there is no room to see.
    let threshold =
        if active - room > 2.0 * ABOVE_ROOM_DB { (active - BELOW_ACTIVE_DB).max(room + ABOVE_ROOM_DB) } else { return Samples(0) };
    let pause = all.len().saturating_sub((silence.ms(rate) / HOP_MS) as usize);
    let heard = all[pause..].iter().rposition(|level| *level > threshold).map_or(0, |last| last + 1);
    rate.samples_in_ms(heard as u64 * HOP_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_begins_where_the_sound_has_sunk() {
        let stretch = |ms: usize, amplitude: f32| (0..ms * 16).map(move |at| if at % 2 == 0 { amplitude } else { -amplitude });
        type Levels<'a> = &'a [(usize, f32)];
        let cases: [(Levels, u64, u64); 7] = [
            (&[(500, 0.0005), (1_000, 0.3), (200, 0.0005)], 200, 0),
            // The detector gave up 60 ms before the sound did.
            (&[(500, 0.0005), (1_000, 0.3), (200, 0.0005)], 260, 60),
            // A breath in the pause.
            (&[(500, 0.0005), (1_000, 0.3), (100, 0.0005), (80, 0.01), (120, 0.0005)], 300, 180),
            // A breath 46 dB under the voice, and one that the room covers.
            (&[(500, 0.0001), (1_000, 0.3), (100, 0.0001), (80, 0.0015), (120, 0.0001)], 300, 0),
            (&[(500, 0.008), (1_000, 0.3), (100, 0.008), (80, 0.01), (120, 0.008)], 300, 0),
            // One loud noise all along, and nothing at all.
            (&[(1_000, 0.3)], 200, 0),
            (&[], 200, 0),
        ];
        for (stretches, silence, expected) in cases {
            let pcm: Vec<f32> = stretches.iter().flat_map(|(ms, amplitude)| stretch(*ms, *amplitude)).collect();
            let found = tail(&pcm, Rate::MODEL, Rate::MODEL.samples_in_ms(silence));
            assert_eq!(found.ms(Rate::MODEL), expected, "{stretches:?}");
        }
    }
}
