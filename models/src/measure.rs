//! Signals from how an utterance sounds and what it says, by arithmetic and short word lists; emotion by its own module.

use audio::Rate;
use audio::features::{Cycles, Noise, Pitch, levels, nuclei};

use crate::emotion::Baseline;
use crate::hesitation::{Said, Weighed, disfluencies};
use crate::{Dynamics, Measured, Register, SignalKind, SignalSet, Signals, Utterance};

const PROSODY: &str = "prosody";
const PROSODY_AND_WORDS: &str = "prosody+words";

/// What the sound alone gives.
struct Prosody {
    noise: Noise,
    pitch: Option<Register>,
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
    let pitch = at(3).zip(at(1).zip(at(5))).map(|(median, (low, high))| {
        let hz = 100.0 * (median / 12.0).exp2();
        Register { hz, range: Some(high - low), cycles: Cycles::measure(pcm, Rate::MODEL, &pitches) }
    });
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
/// learn from it. What cannot be measured stays empty. Language is taken over from the utterance, `dynamics` from the call that it lies in.
pub fn measure(pcm: &[f32], utterance: &Utterance, dynamics: Option<Dynamics>, baseline: &mut Baseline, wanted: SignalSet) -> Signals {
    // Known without measuring anything.
    let sure = utterance.confidence.filter(|_| !utterance.text.is_empty());
    let mut signals = Signals {
        dynamics: dynamics.filter(|_| wanted.contains(SignalKind::Dynamics)),
        transcription: sure.map(|sure| Measured::new(sure, sure.get().max(1.0 - sure.get()), "transcriber")),
        ..Signals::default()
    };
    if wanted.contains(SignalKind::Language) {
        signals.language.clone_from(&utterance.language);
    }
    let emotion = wanted.contains(SignalKind::Emotion);
    let said = Said::new(utterance);
    let words = said.words();
    // How halting a turn is tells frustration, too.
    let by_arithmetic =
        SignalKind::ALL.into_iter().any(|kind| !matches!(kind, SignalKind::Language | SignalKind::Dynamics) && wanted.contains(kind));
    let Some(prosody) = by_arithmetic.then(|| prosody(pcm)).flatten() else {
        signals.emotion = if emotion { baseline.feel(utterance.tone.as_deref(), words, None) } else { None };
        return signals;
    };
    let noise = &prosody.noise;
    let speaking_s = noise.speaking().as_secs_f32().max(0.1);
    // Clear sound can be measured better: sure from 20 dB over the noise.
    let clarity = (noise.snr_db() / 20.0).clamp(0.1, 1.0);
    let (syllables, pace_source) = match written_syllables(words) {
        Some(written) if written > 0 => (written, PROSODY_AND_WORDS),
        _ => (prosody.syllables, PROSODY),
    };
    let pace = syllables as f32 / speaking_s;
    if wanted.contains(SignalKind::Pace) {
        signals.pace = Some(Measured::new(pace, 0.7 * clarity, pace_source));
    }
    if wanted.contains(SignalKind::Pitch) {
        signals.pitch = prosody.pitch.map(|register| Measured::new(register, 0.9 * clarity, PROSODY));
    }
    if wanted.contains(SignalKind::Loudness) {
        signals.loudness = Some(Measured::new(noise.speech_db, 0.9 * clarity, PROSODY));
    }
    if wanted.contains(SignalKind::Noise) {
        signals.noise = Some(Measured::new(noise.snr_db(), 0.7, PROSODY));
    }
    let fillers = utterance.tone.as_ref().map_or(&[][..], |tone| &tone.fillers);
    let disfluencies = disfluencies(&noise.pauses, fillers, &said, dynamics.and_then(|dynamics| dynamics.reply_latency));
    let (count, span) = (words.len(), noise.span.as_secs_f32());
    let hesitation = Weighed { disfluencies: &disfluencies, words: count, span, drawn_out: prosody.drawn_out }.score();
    if emotion {
        signals.emotion = baseline.feel(utterance.tone.as_deref(), words, Some(hesitation));
    }
    if wanted.contains(SignalKind::Hesitation) {
        let confidence = if words.is_empty() { 0.4 } else { 0.6 } * clarity;
        signals.hesitation = Some(Measured::new(hesitation, confidence, PROSODY_AND_WORDS));
        signals.disfluencies = disfluencies;
    }
    signals
}

#[cfg(test)]
mod tests;
