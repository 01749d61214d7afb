//! Signals from how an utterance sounds and what it says, by arithmetic and short word lists; emotion by its own module.

use audio::Rate;
use audio::features::{Noise, Pitch, levels, nuclei};

use crate::emotion::{Baseline, words};
use crate::hesitation::in_order;
use crate::{Measured, SignalKind, SignalSet, Signals, Utterance};

const PROSODY: &str = "prosody";
const PROSODY_AND_WORDS: &str = "prosody+words";

/// Filled pauses of English, German, French, Spanish and Dutch, as recognisers write them.
const FILLERS: &[&str] = &[
    "um", "umm", "uh", "uhh", "uhm", "er", "erm", "eh", "ehm", "hm", "hmm", "hmmm", "mm", "mmm", "ah", "äh", "ähm", "öh", "euh", "heu",
    "este",
];
/// Words that fluent speakers double on purpose.
const DOUBLED: &[&str] = &["very", "really", "no", "yes", "yeah", "so", "bye", "had", "that", "ha", "okay", "knock"];

/// What the sound alone gives.
struct Prosody {
    noise: Noise,
    /// Median, Hz, and the distance between the outer sixths of the track, semitones; `None` without voice.
    pitch: Option<(f32, f32)>,
    /// Steady vowels of 320 ms and longer: filled pauses and drawn-out words.
    drawn_out: usize,
    syllables: usize,
}

fn prosody(pcm: &[f32]) -> Option<Prosody> {
    let (mut loud, mut pitches) = (Vec::new(), Vec::new());
    levels(pcm, Rate::MODEL, &mut loud);
    let noise = Noise::measure(&loud)?;
    Pitch::new().track(pcm, Rate::MODEL, &mut pitches);
    let mut voiced: Vec<f32> = pitches.iter().copied().filter(|&hz| hz > 0.0).map(semitones).collect();
    voiced.sort_unstable_by(f32::total_cmp);
    let at = |share: usize| voiced.get(voiced.len() * share / 6).copied();
    let pitch = at(3).zip(at(1).zip(at(5))).map(|(median, (low, high))| (100.0 * (median / 12.0).exp2(), high - low));
    Some(Prosody { pitch, drawn_out: drawn_out(&pitches), syllables: nuclei(&loud, &pitches, noise.threshold_db), noise })
}

fn semitones(hz: f32) -> f32 {
    12.0 * (hz / 100.0).log2()
}

/// How many voiced runs of at least 16 estimates (320 ms) stay within one semitone.
fn drawn_out(pitches: &[f32]) -> usize {
    let (mut count, mut length, mut low, mut high) = (0, 0, f32::MAX, f32::MIN);
    for &hz in pitches {
        let tone = if hz > 0.0 { semitones(hz) } else { f32::INFINITY };
        if high.max(tone) - low.min(tone) <= 1.0 {
            (length, low, high) = (length + 1, low.min(tone), high.max(tone));
            count += usize::from(length == 16);
        } else {
            (length, low, high) = if hz > 0.0 { (1, tone, tone) } else { (0, f32::MAX, f32::MIN) };
        }
    }
    count
}

/// Syllables of Latin text: groups of vowels, one a word at least; `None` where a word has other letters.
fn written_syllables(words: &[String]) -> Option<usize> {
    words.iter().try_fold(0, |sum, word| {
        let mut count = 0;
        let mut before = false;
        for c in word.chars() {
            if c.is_alphabetic() && c as u32 > 0x24f {
                return None;
            }
            let vowel = "aeiouyäöüáéíóúàèìòùâêîôûåøæ".contains(c);
            count += usize::from(vowel && !before);
            before = vowel;
        }
        Some(sum + count.max(1))
    })
}

/// Fills in the `wanted` signals of one utterance from its sound (mono at 16 kHz) and its words, and lets the speaker's `baseline`
/// learn from it. What cannot be measured stays empty. Language is taken over from the utterance; dynamics are a call's, not an utterance's.
pub fn measure(pcm: &[f32], utterance: &Utterance, baseline: &mut Baseline, wanted: SignalSet) -> Signals {
    let mut signals = Signals::default();
    if wanted.contains(SignalKind::Language) {
        signals.language.clone_from(&utterance.language);
    }
    let emotion = wanted.contains(SignalKind::Emotion);
    let words = words(&utterance.text);
    // How halting a turn is tells frustration, too.
    let by_arithmetic =
        SignalKind::ALL.into_iter().any(|kind| !matches!(kind, SignalKind::Language | SignalKind::Dynamics) && wanted.contains(kind));
    let Some(prosody) = by_arithmetic.then(|| prosody(pcm)).flatten() else {
        signals.emotion = if emotion { baseline.feel(utterance.tone.as_deref(), &words, None) } else { None };
        return signals;
    };
    let noise = &prosody.noise;
    let speaking_s = noise.speaking().as_secs_f32().max(0.1);
    // Clear sound can be measured better: sure from 20 dB over the noise.
    let clarity = (noise.snr_db() / 20.0).clamp(0.1, 1.0);
    let (syllables, pace_source) = match written_syllables(&words) {
        Some(written) if written > 0 => (written, PROSODY_AND_WORDS),
        _ => (prosody.syllables, PROSODY),
    };
    let pace = syllables as f32 / speaking_s;
    if wanted.contains(SignalKind::Pace) {
        signals.pace = Some(Measured::new(pace, 0.7 * clarity, pace_source));
    }
    if wanted.contains(SignalKind::Pitch) {
        signals.pitch = prosody.pitch.map(|(hz, _)| Measured::new(hz, 0.9 * clarity, PROSODY));
    }
    if wanted.contains(SignalKind::Loudness) {
        signals.loudness = Some(Measured::new(noise.speech_db, 0.9 * clarity, PROSODY));
    }
    if wanted.contains(SignalKind::Noise) {
        signals.noise = Some(Measured::new(noise.snr_db(), 0.7, PROSODY));
    }
    let fillers = utterance.tone.as_ref().map_or(&[][..], |tone| &tone.fillers);
    let hesitation = hesitation(&words, &prosody, fillers.len(), clarity);
    if emotion {
        signals.emotion = baseline.feel(utterance.tone.as_deref(), &words, Some(hesitation.value));
    }
    if wanted.contains(SignalKind::Hesitation) {
        signals.hesitation = Some(hesitation);
        signals.disfluencies = in_order(&prosody.noise.pauses, fillers);
    }
    signals
}

/// Weighs filled pauses, drawn-out vowels, repeats, broken-off words and silence. The weights are set by hand: one filled pause in ten
/// words gives about 0.3, a halt of a second in three about 0.4.
fn hesitation(words: &[String], prosody: &Prosody, heard: usize, clarity: f32) -> Measured<f32> {
    // Some are written, most are only heard, and none is counted twice.
    let fillers = words.iter().filter(|word| FILLERS.contains(&word.as_str())).count().max(heard);
    let repeats = words.windows(2).filter(|pair| pair[0] == pair[1] && !DOUBLED.contains(&pair[0].as_str())).count();
    let broken = words.iter().filter(|word| word.len() > 1 && word.ends_with('-')).count();
    let of_words = |count: usize| count as f32 / words.len().max(5) as f32;
    let span_s = prosody.noise.span.as_secs_f32().max(0.5);
    // Up to a tenth of fluent speech is pauses between clauses.
    let silent = (prosody.noise.paused().as_secs_f32() / span_s - 0.1).max(0.0);
    // A filled pause is drawn out as well.
    let drawn_out = prosody.drawn_out.saturating_sub(heard) as f32 / span_s;
    let score = 3.5 * of_words(fillers) + 3.0 * of_words(repeats + broken) + 2.0 * silent + 0.5 * drawn_out;
    Measured::new(1.0 - (-score).exp(), if words.is_empty() { 0.4 } else { 0.6 } * clarity, PROSODY_AND_WORDS)
}

#[cfg(test)]
mod tests;
