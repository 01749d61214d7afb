//! What was measured of a speaker: not the words, but how they were said.

use audio::Probability;

use crate::Language;
use crate::hesitation::Disfluency;

/// A measurement with how sure it is and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured<T> {
    /// What was measured.
    pub value: T,
    /// How sure the source is.
    pub confidence: Probability,
    /// Which engine or method measured it (`whisper`, `prosody+words`, `client`).
    pub source: &'static str,
}

impl<T> Measured<T> {
    /// A measurement.
    pub fn new(value: T, confidence: f32, source: &'static str) -> Measured<T> {
        Measured { value, confidence: Probability::new(confidence), source }
    }
}

/// How a speaker seems to feel, coarsely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmotionLabel {
    /// Nothing stands out.
    Neutral,
    /// Pleased or amused.
    Happy,
    /// Low and slow.
    Sad,
    /// Loud, tense, negative.
    Angry,
    /// Tense and negative without shouting: complaint, repetition, exasperation.
    Frustrated,
    /// Aroused, neither clearly pleased nor displeased.
    Excited,
    /// It cannot be told.
    Uncertain,
}

impl EmotionLabel {
    /// All of them.
    pub const ALL: [EmotionLabel; 7] = [
        EmotionLabel::Neutral,
        EmotionLabel::Happy,
        EmotionLabel::Sad,
        EmotionLabel::Angry,
        EmotionLabel::Frustrated,
        EmotionLabel::Excited,
        EmotionLabel::Uncertain,
    ];

    /// The name that rules and clients see.
    pub fn name(self) -> &'static str {
        match self {
            EmotionLabel::Neutral => "neutral",
            EmotionLabel::Happy => "happy",
            EmotionLabel::Sad => "sad",
            EmotionLabel::Angry => "angry",
            EmotionLabel::Frustrated => "frustrated",
            EmotionLabel::Excited => "excited",
            EmotionLabel::Uncertain => "uncertain",
        }
    }
}

/// An emotion as a label and as a point: the best answer, and what it was made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Emotion {
    /// The nearest label, of voice and words together.
    pub label: EmotionLabel,
    /// How awake: 0 calm, 1 agitated.
    pub arousal: Probability,
    /// How pleasant: 0 unpleasant, 1 pleasant.
    pub valence: Probability,
    /// The voice by itself, as a stranger would hear it.
    pub absolute: Option<Reading>,
    /// The voice against the caller's own earlier turns; from their third turn on.
    pub relative: Option<Reading>,
    /// Where the call is going; from the second turn on.
    pub trend: Option<Trend>,
}

impl Emotion {
    /// One of which no more is known.
    pub fn new(label: EmotionLabel, arousal: Probability, valence: Probability) -> Emotion {
        Emotion { label, arousal, valence, absolute: None, relative: None, trend: None }
    }
}

/// What a voice tells, heard in one way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The likeliest label.
    pub label: EmotionLabel,
    /// How likely it is.
    pub confidence: Probability,
    /// How awake.
    pub arousal: Probability,
    /// How pleasant.
    pub valence: Probability,
}

/// Smoothed change over a call: the latest turns against all before them, -1 to 1; above nought it rises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Of the arousal.
    pub arousal: f32,
    /// Of the valence.
    pub valence: f32,
}

/// How a call's time is shared, and how the turn that just ended lies in it. Times are those of the voices, pauses within turns included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dynamics {
    /// Length of the turn, seconds.
    pub turn_seconds: f32,
    /// Its length over the mean of the caller's turns before it: 1 is as long. From the second turn on.
    pub turn_trend: Option<f32>,
    /// The caller's share of all speech so far, 0 to 1.
    pub talk_ratio: f32,
    /// Share of the turn in which an answer sounded as well, 0 to 1.
    pub overlap: f32,
    /// Answers that the caller has cut off so far.
    pub interruptions: u32,
    /// How long the caller took to speak after the answer before had ended, seconds; `None` where there was none or they did not wait.
    pub reply_latency: Option<f32>,
}

/// Where a voice lies, and how steady it is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Register {
    /// Median fundamental frequency, Hz.
    pub hz: f32,
    /// Between the outer sixths of its track, semitones; `None` where only the median is known.
    pub range: Option<f32>,
    /// How regular it is; `None` where too little is voiced.
    pub cycles: Option<audio::features::Cycles>,
}

impl Register {
    /// `low`, `middle` or `high`, among all voices: not whether it is a man's, a woman's or a child's.
    pub fn name(self) -> &'static str {
        match self.hz {
            ..140.0 => "low",
            140.0..190.0 => "middle",
            _ => "high",
        }
    }
}

/// All that was measured of an utterance. `None`: not asked for, or not measurable here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signals {
    /// Language spoken.
    pub language: Option<Measured<Language>>,
    /// How the speaker seems to feel.
    pub emotion: Option<Measured<Emotion>>,
    /// 0 fluent .. 1 halting, of all that breaks the flow.
    pub hesitation: Option<Measured<f32>>,
    /// What it was told from, in the order of time.
    pub disfluencies: Vec<Disfluency>,
    /// Syllables a second while speaking.
    pub pace: Option<Measured<f32>>,
    /// Where the voice lies, and how steady it is.
    pub pitch: Option<Measured<Register>>,
    /// Level of the speech, dBFS.
    pub loudness: Option<Measured<f32>>,
    /// Signal-to-noise ratio, dB.
    pub noise: Option<Measured<f32>>,
    /// How the call's time is shared.
    pub dynamics: Option<Dynamics>,
    /// How likely the speaker has finished their turn.
    pub end_of_turn: Option<Measured<Probability>>,
    /// How sure the recogniser is of the words.
    pub transcription: Option<Measured<Probability>>,
}

impl Signals {
    /// The names of those that were measured.
    pub fn names(&self) -> Vec<&'static str> {
        let measured = [
            ("language", self.language.is_some()),
            ("emotion", self.emotion.is_some()),
            ("hesitation", self.hesitation.is_some()),
            ("pace", self.pace.is_some()),
            ("pitch", self.pitch.is_some()),
            ("loudness", self.loudness.is_some()),
            ("noise", self.noise.is_some()),
            ("dynamics", self.dynamics.is_some()),
            ("end_of_turn", self.end_of_turn.is_some()),
            ("transcription", self.transcription.is_some()),
        ];
        measured.into_iter().filter_map(|(name, measured)| measured.then_some(name)).collect()
    }
}

/// One kind of signal: the names that rules, clients and configuration use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignalKind {
    /// [`Signals::language`].
    Language,
    /// [`Signals::emotion`].
    Emotion,
    /// [`Signals::hesitation`].
    Hesitation,
    /// [`Signals::pace`].
    Pace,
    /// [`Signals::pitch`].
    Pitch,
    /// [`Signals::loudness`].
    Loudness,
    /// [`Signals::noise`].
    Noise,
    /// [`Signals::dynamics`].
    Dynamics,
}

impl SignalKind {
    /// All of them.
    pub const ALL: [SignalKind; 8] = [
        SignalKind::Language,
        SignalKind::Emotion,
        SignalKind::Hesitation,
        SignalKind::Pace,
        SignalKind::Pitch,
        SignalKind::Loudness,
        SignalKind::Noise,
        SignalKind::Dynamics,
    ];

    /// The name that rules and clients use.
    pub fn name(self) -> &'static str {
        match self {
            SignalKind::Language => "language",
            SignalKind::Emotion => "emotion",
            SignalKind::Hesitation => "hesitation",
            SignalKind::Pace => "pace",
            SignalKind::Pitch => "pitch",
            SignalKind::Loudness => "loudness",
            SignalKind::Noise => "noise",
            SignalKind::Dynamics => "dynamics",
        }
    }
}

/// Which signals somebody asked for; the others are not computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(u8);

impl SignalSet {
    /// None of them.
    pub const NONE: SignalSet = SignalSet(0);
    /// Every one.
    pub const ALL: SignalSet = SignalSet(0xff);

    /// This set and `kind`.
    #[must_use]
    pub fn with(self, kind: SignalKind) -> SignalSet {
        SignalSet(self.0 | 1 << kind as u8)
    }

    /// Everything in either.
    #[must_use]
    pub fn union(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 | other.0)
    }

    /// Whether `kind` was asked for.
    pub fn contains(self, kind: SignalKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether nothing was asked for.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}
