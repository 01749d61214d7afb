//! Signals from how an utterance sounds and what it says, by arithmetic and short word lists.
//!
//! There is no trained model here: emotion is how far the speaker is from their own usual voice, and which feelings they name. Its
//! confidence says so: it never passes 0.6.

use audio::features::{Noise, Pitch, levels, nuclei};
use audio::{Probability, Rate};

use crate::{Emotion, EmotionLabel, Measured, SignalKind, SignalSet, Signals, Utterance};

const PROSODY: &str = "prosody";
const PROSODY_AND_WORDS: &str = "prosody+words";
/// Utterances after which a baseline is trusted as much as distrusted.
const FAMILIAR: f32 = 2.0;

/// Words that show how somebody feels. English; in other languages the prosody speaks alone.
const PLEASANT: &[&str] = &[
    "thanks",
    "thank",
    "great",
    "good",
    "love",
    "lovely",
    "perfect",
    "wonderful",
    "excellent",
    "nice",
    "happy",
    "glad",
    "awesome",
    "amazing",
    "fantastic",
    "brilliant",
    "cool",
    "yay",
    "delighted",
    "pleased",
    "enjoy",
    "beautiful",
    "best",
];
const UNPLEASANT: &[&str] = &[
    "bad",
    "hate",
    "awful",
    "terrible",
    "horrible",
    "wrong",
    "sad",
    "sorry",
    "angry",
    "upset",
    "worst",
    "unhappy",
    "disappointed",
    "annoyed",
    "annoying",
    "problem",
    "fail",
    "failed",
    "lost",
    "cry",
    "afraid",
    "worried",
    "miserable",
    "disgusting",
    "stupid",
];
/// Complaint and repetition: stems and phrases, looked for in the text between single spaces.
const FRUSTRATED: &[&str] = &[
    " again and again",
    " ridiculous",
    " frustrat",
    " not working",
    " doesn't work",
    " does not work",
    " fed up",
    " sick of",
    " useless",
    " waste of time",
    " how many times",
    " i already told",
    " i told you",
    " already said",
    " still not",
    " still hasn't",
    " unacceptable",
    " come on",
    " for the third time",
    " for the last time",
    " nobody answers",
    " cancel my",
    " speak to a human",
    " speak to a manager",
];
/// Filled pauses of English, German, French, Spanish and Dutch, as recognisers write them.
const FILLERS: &[&str] = &[
    "um", "umm", "uh", "uhh", "uhm", "er", "erm", "eh", "ehm", "hm", "hmm", "hmmm", "mm", "mmm", "ah", "äh", "ähm", "öh", "euh", "heu",
    "este",
];
/// Words that fluent speakers double on purpose.
const DOUBLED: &[&str] = &["very", "really", "no", "yes", "yeah", "so", "bye", "had", "that", "ha", "okay", "knock"];

/// Mean and spread of one measure, gathered one by one (Welford's method).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Running {
    count: f32,
    mean: f32,
    squares: f32,
}

impl Running {
    fn add(&mut self, value: f32) {
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.squares += off * (value - self.mean);
    }

    /// How far `value` is from the usual, in spreads; `usual_spread` stands in until the speaker's own is larger. Nought where
    /// nothing is known, and held back while little is.
    fn distance(&self, value: f32, usual_spread: f32) -> f32 {
        let spread = (self.squares / self.count.max(1.0)).sqrt().max(usual_spread);
        (value - self.mean) / spread * self.count / (self.count + FAMILIAR)
    }
}

/// How one speaker usually sounds: grows with each utterance of theirs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    /// Median pitch, semitones over 100 Hz.
    pitch: Running,
    /// Spread of the pitch, semitones.
    melody: Running,
    /// Level of speech, dBFS.
    level: Running,
    /// Syllables a second.
    tempo: Running,
}

impl Baseline {
    /// Of a speaker not heard yet.
    pub fn new() -> Baseline {
        Baseline::default()
    }

    /// How many utterances it knows.
    pub fn utterances(&self) -> u32 {
        self.level.count as u32
    }
}

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

/// The words in lower case without punctuation at their ends; hyphens stay, they mark a word that was broken off.
fn words(text: &str) -> Vec<String> {
    text.split_whitespace()
        .map(|word| word.to_lowercase().trim_matches(|c: char| !c.is_alphanumeric() && c != '-').to_owned())
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .collect()
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
/// learn from it. What cannot be measured stays empty. Language is taken over from the utterance.
pub fn measure(pcm: &[f32], utterance: &Utterance, baseline: &mut Baseline, wanted: SignalSet) -> Signals {
    let mut signals = Signals::default();
    if wanted.contains(SignalKind::Language) {
        signals.language.clone_from(&utterance.language);
    }
    let from_sound = SignalKind::ALL.into_iter().any(|kind| kind != SignalKind::Language && wanted.contains(kind));
    let Some(prosody) = from_sound.then(|| prosody(pcm)).flatten() else { return signals };
    let words = words(&utterance.text);
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
    if wanted.contains(SignalKind::Hesitation) {
        signals.hesitation = Some(hesitation(&words, &prosody, clarity));
    }
    if wanted.contains(SignalKind::Emotion) {
        signals.emotion = Some(emotion(&utterance.text, &words, &prosody, pace, baseline));
    }
    learn(baseline, &prosody, pace);
    signals
}

fn learn(baseline: &mut Baseline, prosody: &Prosody, pace: f32) {
    if let Some((hz, melody)) = prosody.pitch {
        baseline.pitch.add(semitones(hz));
        baseline.melody.add(melody);
    }
    baseline.level.add(prosody.noise.speech_db);
    baseline.tempo.add(pace);
}

/// Weighs filled pauses, drawn-out vowels, repeats, broken-off words and silence. The weights are set by hand: one filled pause in ten
/// words gives about 0.3, a halt of a second in three about 0.4.
fn hesitation(words: &[String], prosody: &Prosody, clarity: f32) -> Measured<f32> {
    let fillers = words.iter().filter(|word| FILLERS.contains(&word.as_str())).count();
    let repeats = words.windows(2).filter(|pair| pair[0] == pair[1] && !DOUBLED.contains(&pair[0].as_str())).count();
    let broken = words.iter().filter(|word| word.len() > 1 && word.ends_with('-')).count();
    let of_words = |count: usize| count as f32 / words.len().max(5) as f32;
    let span_s = prosody.noise.span.as_secs_f32().max(0.5);
    // Up to a tenth of fluent speech is pauses between clauses.
    let silent = (prosody.noise.paused().as_secs_f32() / span_s - 0.1).max(0.0);
    let drawn_out = prosody.drawn_out as f32 / span_s;
    let score = 3.5 * of_words(fillers) + 3.0 * of_words(repeats + broken) + 2.0 * silent + 0.5 * drawn_out;
    Measured::new(1.0 - (-score).exp(), if words.is_empty() { 0.4 } else { 0.6 } * clarity, PROSODY_AND_WORDS)
}

fn emotion(text: &str, words: &[String], prosody: &Prosody, pace: f32, baseline: &Baseline) -> Measured<Emotion> {
    let heard = baseline.level.distance(prosody.noise.speech_db, 3.0)
        + prosody
            .pitch
            .map_or(0.0, |(hz, melody)| baseline.pitch.distance(semitones(hz), 1.5) + 0.5 * baseline.melody.distance(melody, 1.5))
        + 0.3 * baseline.tempo.distance(pace, 0.8);
    let arousal = 1.0 / (1.0 + (-heard).exp());
    let named = |list: &[&str]| words.iter().filter(|word| list.contains(&word.as_str())).count() as f32;
    let negated =
        words.windows(2).filter(|pair| matches!(pair[0].as_str(), "not" | "isn't" | "no") && PLEASANT.contains(&pair[1].as_str()));
    let spoken = format!(" {}", words.join(" "));
    let complaints = FRUSTRATED.iter().filter(|phrase| spoken.contains(**phrase)).count() as f32;
    let negated = negated.count() as f32;
    let tone = named(PLEASANT) - 2.0 * negated - named(UNPLEASANT) - complaints;
    let valence = 0.5 + 0.5 * (0.6 * tone).tanh();
    let shouted = text.ends_with('!');
    let label = match (arousal, valence) {
        (0.75.., ..0.45) => EmotionLabel::Angry,
        _ if complaints > 0.0 => EmotionLabel::Frustrated,
        (_, ..0.3) if arousal >= 0.5 => EmotionLabel::Frustrated,
        (_, 0.7..) => EmotionLabel::Happy,
        (..0.4, ..0.45) => EmotionLabel::Sad,
        (0.8.., _) => EmotionLabel::Excited,
        (0.6.., _) if shouted => EmotionLabel::Excited,
        _ => EmotionLabel::Neutral,
    };
    let known = baseline.level.count / (baseline.level.count + FAMILIAR);
    let plain = 0.2 + 0.2 * known * (arousal - 0.5).abs() * 2.0 + 0.2 * (valence - 0.5).abs() * 2.0;
    Measured::new(
        Emotion { label, arousal: Probability::new(arousal), valence: Probability::new(valence) },
        plain.min(0.6),
        PROSODY_AND_WORDS,
    )
}

#[cfg(test)]
mod tests;
