//! One caller through a call: their usual voice, where their mood is going, and whether they have had enough.

use std::collections::VecDeque;
use std::sync::Arc;

use audio::Probability;

use super::words::Mood;
use super::{Heads, Scores, Tone};
use crate::{Emotion, EmotionLabel, Measured, Reading, Trend};

/// Earlier turns that a voice is held against: the figures of `docs/quality.md` are for these.
const EARLIER: usize = 5;
/// From so many earlier turns on there is a relative reading.
const FEWEST_EARLIER: usize = 2;
/// Share of a call's turns that are neutral, where nothing else is known; the other labels share the rest.
const NEUTRAL_SHARE: f32 = 0.6;
/// A label that is less likely than this is not told.
const LIKELY: f32 = 0.45;
/// An aroused voice without a likely label is called excited from here on.
const EXCITED: f32 = 0.8;
/// What one pleasant or unpleasant word adds to a logit, and what all of them add at most. Set by hand: words colour, the voice decides.
const WORD: f32 = 0.6;
const WORDS: f32 = 1.8;
/// A turn is a strain if it is less pleasant than this ...
const UNPLEASANT: f32 = 0.4;
/// ... and more aroused than this, or more halting than [`HALTING`].
const AROUSED: f32 = 0.6;
const HALTING: f32 = 0.5;
/// Turns back that a strain is remembered.
const REMEMBERED: u32 = 3;
/// Weight of the latest turn in what the trend calls now.
const LATEST: f32 = 0.5;

/// How one speaker usually sounds: grows with each turn of theirs.
#[derive(Clone, Debug)]
pub struct Baseline {
    heads: Arc<Heads>,
    neutral_share: f32,
    /// The latest turns, the newest last.
    earlier: VecDeque<Scores>,
    arousal: Course,
    valence: Course,
    /// Turns since the last one that was a strain.
    since_strain: Option<u32>,
}

impl Default for Baseline {
    fn default() -> Baseline {
        Baseline::new(Heads::moonshine())
    }
}

/// One dimension over a call.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    turns: f32,
    /// Mean of all turns.
    mean: f32,
    /// Mean of the latest, older ones fading.
    now: f32,
}

impl Course {
    /// Takes a turn: how far the latest ones are from all before this one.
    fn follow(&mut self, value: f32) -> Option<f32> {
        if self.turns == 0.0 {
            *self = Course { turns: 1.0, mean: value, now: value };
            return None;
        }
        self.now += LATEST * (value - self.now);
        let change = self.now - self.mean;
        self.turns += 1.0;
        self.mean += (value - self.mean) / self.turns;
        Some(change)
    }
}

/// How likely everything is.
#[derive(Clone, Debug, PartialEq)]
pub struct Likelihoods {
    /// Of each label, in the order of [`Heads::labels`].
    pub labels: Vec<f32>,
    /// That the voice is aroused.
    pub arousal: f32,
    /// That it is pleasant; a half stands for neither.
    pub valence: f32,
}

impl Baseline {
    /// Of a speaker not heard yet, judged by these heads.
    pub fn new(heads: Arc<Heads>) -> Baseline {
        Baseline {
            heads,
            neutral_share: NEUTRAL_SHARE,
            earlier: VecDeque::with_capacity(EARLIER),
            arousal: Course::default(),
            valence: Course::default(),
            since_strain: None,
        }
    }

    /// With another share of neutral turns than calls have, above 0 and below 1: recordings of actors have a quarter.
    #[must_use]
    pub fn expecting(self, neutral_share: f32) -> Baseline {
        Baseline { neutral_share, ..self }
    }

    /// How many turns it knows, at most five.
    pub fn turns(&self) -> usize {
        self.earlier.len()
    }

    /// How likely everything is of a turn that has this tone, without learning from it: by itself, and against the earlier turns.
    pub fn weigh(&self, tone: &Tone) -> Option<(Likelihoods, Option<Likelihoods>)> {
        let scores = self.heads.scores(tone)?;
        let relative = (self.earlier.len() >= FEWEST_EARLIER).then(|| self.heads.relative(&scores, self.earlier.iter()));
        Some((self.likelihoods(&scores.absolute), relative.map(|relative| self.likelihoods(&relative))))
    }

    /// Reads a turn and learns from it: its tone where there is one, its words in lower case, and how halting it was where that is known.
    /// `None` where neither voice nor words tell anything.
    pub fn feel(&mut self, tone: Option<&Tone>, words: &[String], halting: Option<f32>) -> Option<Measured<Emotion>> {
        let mood = Mood::of(words);
        let scores = tone.and_then(|tone| self.heads.scores(tone));
        if scores.is_none() && mood == Mood::default() {
            return None;
        }
        let source = match (&scores, mood == Mood::default()) {
            (Some(_), true) => "voice",
            (Some(_), false) => "voice+words",
            (None, _) => "words",
        };
        let relative = scores.as_ref().filter(|_| self.earlier.len() >= FEWEST_EARLIER);
        let relative = relative.map(|scores| self.heads.relative(scores, self.earlier.iter()));
        // A voice that says nothing leaves it to the words.
        let voice = match (&scores, &relative) {
            (Some(scores), Some(relative)) => scores.absolute.iter().zip(relative).map(|(a, r)| (a + r) / 2.0).collect(),
            (Some(scores), None) => scores.absolute.clone(),
            (None, _) => vec![0.0; self.heads.labels().len() + 2],
        };
        let all = self.likelihoods(&self.coloured(&voice, mood));
        let (mut label, mut confidence) = self.label(&all);
        let (arousal, valence) = (all.arousal, all.valence);
        if let Some(strain) = self.strain(arousal, valence, mood, halting) {
            (label, confidence) = (EmotionLabel::Frustrated, strain);
        }
        let trend = self.arousal.follow(arousal).zip(self.valence.follow(valence)).map(|(arousal, valence)| Trend { arousal, valence });
        let emotion = Emotion {
            absolute: scores.as_ref().map(|scores| self.reading(&scores.absolute)),
            relative: relative.map(|relative| self.reading(&relative)),
            trend,
            ..Emotion::new(label, Probability::new(arousal), Probability::new(valence))
        };
        if let Some(scores) = scores {
            if self.earlier.len() == EARLIER {
                self.earlier.pop_front();
            }
            self.earlier.push_back(scores);
        }
        Some(Measured::new(emotion, confidence, source))
    }

    /// Logits with what the words add.
    fn coloured(&self, logits: &[f32], mood: Mood) -> Vec<f32> {
        let push = (WORD * mood.tone).clamp(-WORDS, WORDS);
        let labels = self.heads.labels().iter().map(|label| match label {
            EmotionLabel::Happy => push,
            EmotionLabel::Angry | EmotionLabel::Sad | EmotionLabel::Frustrated => -push,
            EmotionLabel::Neutral | EmotionLabel::Excited | EmotionLabel::Uncertain => 0.0,
        });
        logits.iter().zip(labels.chain([0.0, push])).map(|(logit, more)| logit + more).collect()
    }

    fn likelihoods(&self, logits: &[f32]) -> Likelihoods {
        let labels = self.heads.labels();
        let (logits, dimensions) = logits.split_at(labels.len());
        let sigmoid = |index: usize| 1.0 / (1.0 + (-dimensions.get(index).copied().unwrap_or(0.0)).exp());
        let balanced = softmax(logits);
        // The heads know neutral voices by their label; on the axis of pleasure they lie in the middle.
        let neutral: f32 = labels.iter().zip(&balanced).filter(|(label, _)| **label == EmotionLabel::Neutral).map(|(_, p)| p).sum();
        let others = (labels.len() as f32 - 1.0).max(1.0);
        let share = |label: &EmotionLabel| {
            if *label == EmotionLabel::Neutral { self.neutral_share } else { (1.0 - self.neutral_share) / others }
        };
        let expected: Vec<f32> = logits.iter().zip(labels).map(|(logit, label)| logit + share(label).ln()).collect();
        Likelihoods { labels: softmax(&expected), arousal: sigmoid(0), valence: 0.5 * neutral + (1.0 - neutral) * sigmoid(1) }
    }

    /// The likeliest label and how likely it is.
    fn label(&self, all: &Likelihoods) -> (EmotionLabel, f32) {
        let best = self.heads.labels().iter().zip(&all.labels).max_by(|a, b| a.1.total_cmp(b.1));
        let Some((label, likely)) = best.filter(|(_, likely)| **likely >= LIKELY) else {
            let excited = all.arousal >= EXCITED && (UNPLEASANT..1.0 - UNPLEASANT).contains(&all.valence);
            return if excited {
                (EmotionLabel::Excited, all.arousal)
            } else {
                (EmotionLabel::Uncertain, 1.0 - all.labels.iter().fold(0.0, |a, b| b.max(a)))
            };
        };
        (*label, *likely)
    }

    fn reading(&self, logits: &[f32]) -> Reading {
        let all = self.likelihoods(logits);
        let (label, confidence) = self.label(&all);
        Reading {
            label,
            confidence: Probability::new(confidence),
            arousal: Probability::new(all.arousal),
            valence: Probability::new(all.valence),
        }
    }

    /// How surely a strain goes on over more than one turn; a complaint of having to repeat oneself tells of an earlier one by itself.
    fn strain(&mut self, arousal: f32, valence: f32, mood: Mood, halting: Option<f32>) -> Option<f32> {
        let pressed = arousal > AROUSED || halting.is_some_and(|halting| halting > HALTING);
        let strained = mood.complains || (valence < UNPLEASANT && pressed);
        let before = self.since_strain.is_some_and(|turns| turns < REMEMBERED) || mood.complains;
        self.since_strain = if strained { Some(0) } else { self.since_strain.map(|turns| turns + 1) };
        (strained && before).then_some((1.0 - valence).max(0.5))
    }
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - highest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{HeadsCard, words};
    use super::*;

    /// Heads that read a tone of six numbers as the six logits themselves.
    fn plain() -> Baseline {
        let card = HeadsCard { labels: "neutral happy sad angry".into(), ..HeadsCard::default() };
        Baseline::new(Arc::new(Heads::of_logits(card).expect("they fit")))
    }

    const CALM: [f32; 6] = [3.0, 0.0, 0.0, 0.0, -2.0, 0.0];
    const CROSS: [f32; 6] = [0.0, 0.0, 0.0, 5.0, 3.0, -3.0];

    fn feel(baseline: &mut Baseline, voice: [f32; 6], text: &str) -> Measured<Emotion> {
        baseline.feel(Some(&Tone::of_numbers(&voice)), &words(text), None).expect("a voice")
    }

    #[test]
    fn voice_and_words_make_a_label() {
        for (voice, text, label) in [
            (CALM, "The train leaves at nine", EmotionLabel::Neutral),
            (CROSS, "The train leaves at nine", EmotionLabel::Angry),
            (CALM, "It is still not working", EmotionLabel::Frustrated),
            ([0.0, 1.5, 0.0, 0.0, 0.0, 0.0], "The train leaves at nine", EmotionLabel::Uncertain),
            ([0.0, 1.5, 0.0, 0.0, 0.0, 0.0], "That is great, thank you", EmotionLabel::Happy),
            ([0.0, 1.5, 0.0, 1.5, 3.0, 0.0], "The train leaves at nine", EmotionLabel::Excited),
        ] {
            let felt = feel(&mut plain(), voice, text);
            assert_eq!(felt.value.label, label, "{text}: {felt:?}");
        }
        assert_eq!(plain().feel(None, &words("The train leaves at nine"), None), None);
        let read = plain().feel(None, &words("This is awful"), None).expect("words");
        assert_eq!((read.source, read.value.absolute), ("words", None));
        assert!(read.value.valence.get() < 0.5);
    }

    #[test]
    fn most_turns_are_expected_to_be_neutral_unless_told_otherwise() {
        let faint = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        assert_eq!(feel(&mut plain(), faint, "").value.label, EmotionLabel::Neutral);
        assert_eq!(feel(&mut plain().expecting(0.25), faint, "").value.label, EmotionLabel::Angry);
    }

    #[test]
    fn an_angry_caller_stays_angry_by_the_absolute_reading() {
        let mut baseline = plain();
        assert_eq!(feel(&mut baseline, CROSS, "").value.relative, None);
        for _ in 0..8 {
            feel(&mut baseline, CROSS, "");
        }
        let felt = feel(&mut baseline, CROSS, "").value;
        let (absolute, relative) = (felt.absolute.expect("a voice"), felt.relative.expect("the tenth turn"));
        assert_eq!(absolute.label, EmotionLabel::Angry);
        assert_ne!(relative.label, EmotionLabel::Angry);
        assert!(relative.arousal < absolute.arousal);
    }

    #[test]
    fn frustration_takes_more_than_one_turn() {
        let said = |turns: &[[f32; 6]]| {
            let mut baseline = plain();
            turns.iter().map(|voice| feel(&mut baseline, *voice, "").value.label).collect::<Vec<_>>()
        };
        use EmotionLabel::{Angry, Frustrated, Neutral};
        assert_eq!(said(&[CALM, CROSS, CROSS]), [Neutral, Angry, Frustrated]);
        assert_eq!(said(&[CROSS, CALM, CALM, CALM, CALM, CROSS]).last(), Some(&Angry));
        let mut halting = plain();
        let low = Tone::of_numbers(&[0.0, 0.0, 2.0, 0.0, -2.0, -3.0]);
        let labels = [0.7, 0.7].map(|how| halting.feel(Some(&low), &[], Some(how)).expect("a voice").value.label);
        assert_eq!(labels[1], Frustrated);
    }

    #[test]
    fn a_trend_says_where_the_call_goes() {
        let mut baseline = plain();
        assert_eq!(feel(&mut baseline, CALM, "").value.trend, None);
        feel(&mut baseline, CALM, "");
        let rising = feel(&mut baseline, CROSS, "").value.trend.expect("the third turn");
        assert!(rising.arousal > 0.2 && rising.valence < -0.1, "{rising:?}");
        for _ in 0..20 {
            feel(&mut baseline, CROSS, "");
        }
        let steady = feel(&mut baseline, CROSS, "").value.trend.expect("a late turn");
        assert!(steady.arousal.abs() < 0.15, "{steady:?}");
    }
}
