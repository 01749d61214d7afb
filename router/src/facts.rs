//! What a rule may see of a request, and nothing else.
//!
//! Names are looked up when a rule reads them: of a request with sixteen metadata keys and a hundred messages, a rule over one key costs
//! one lookup. `voice.emotion` is answered as one name; only `voice` as a whole is built as a whole.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use cel::Value as Cel;
use cel::common::types::{CelBool, CelDouble, CelInt, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use models::hesitation::DisfluencyKind;
use models::{Dynamics, Emotion, Measured, Prompt, SignalKind, SignalSet, Signals};
use serde_json::{Map, Value};

use crate::catalogue::Ability;
use crate::measure::{Measure, measure};
use crate::moment::{self, Moment};
use crate::{TargetFact, TargetFacts};

/// What is known of a request besides its words.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The request's own metadata: each key is a bare name in rules, and all of them are under `metadata`.
    pub metadata: Map<String, Value>,
    /// Who asks; keeps them with one variant.
    pub user: Option<String>,
    /// What was measured of the voice: bare names where the metadata has none, and always under `voice`.
    pub signals: Option<Arc<Signals>>,
}

/// What a name under one of ours holds, for the checks at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Text,
    Whole,
    Number,
    Flag,
}

/// The names under `request`.
pub(crate) const REQUEST: [(&str, Holds); 13] = [
    ("model", Holds::Text),
    ("messages", Holds::Whole),
    ("turns", Holds::Whole),
    ("tools", Holds::Whole),
    ("images", Holds::Whole),
    ("files", Holds::Whole),
    ("audio", Holds::Whole),
    ("tokens", Holds::Whole),
    ("max_tokens", Holds::Whole),
    ("characters", Holds::Whole),
    ("words", Holds::Whole),
    ("complexity", Holds::Number),
    ("structured", Holds::Flag),
];
/// The names under `targets["provider/model"]`.
pub(crate) const TARGET: [(&str, Holds); 13] = [
    ("latency_ms", Holds::Number),
    ("throughput", Holds::Number),
    ("price_input", Holds::Number),
    ("price_output", Holds::Number),
    ("context", Holds::Whole),
    ("images", Holds::Flag),
    ("audio", Holds::Flag),
    ("files", Holds::Flag),
    ("tools", Holds::Flag),
    ("structured", Holds::Flag),
    ("reasoning", Holds::Flag),
    ("web_search", Holds::Flag),
    ("healthy", Holds::Flag),
];
/// The names under `voice`; each also has a `.._confidence`.
pub(crate) const VOICE: [(&str, Holds); 34] = [
    ("language", Holds::Text),
    ("emotion", Holds::Text),
    ("arousal", Holds::Number),
    ("valence", Holds::Number),
    ("emotion_absolute", Holds::Text),
    ("arousal_absolute", Holds::Number),
    ("valence_absolute", Holds::Number),
    ("emotion_relative", Holds::Text),
    ("arousal_relative", Holds::Number),
    ("valence_relative", Holds::Number),
    ("arousal_trend", Holds::Number),
    ("valence_trend", Holds::Number),
    ("hesitation", Holds::Number),
    ("slow_starts", Holds::Number),
    ("silent_pauses", Holds::Number),
    ("filled_pauses", Holds::Number),
    ("repetitions", Holds::Number),
    ("cut_offs", Holds::Number),
    ("pace", Holds::Number),
    ("pitch", Holds::Number),
    ("register", Holds::Text),
    ("pitch_range", Holds::Number),
    ("jitter", Holds::Number),
    ("shimmer", Holds::Number),
    ("loudness", Holds::Number),
    ("noise", Holds::Number),
    ("talk_ratio", Holds::Number),
    ("overlap", Holds::Number),
    ("interruptions", Holds::Number),
    ("reply_latency", Holds::Number),
    ("turn_seconds", Holds::Number),
    ("turn_trend", Holds::Number),
    ("end_of_turn", Holds::Number),
    ("transcription", Holds::Number),
];

/// Ending of the names under `voice` that say how sure a measurement is.
pub(crate) const CONFIDENCE: &str = "_confidence";
/// Names of the parts of an emotion; each is also a bare name.
const EMOTION_PARTS: [&str; 10] = [
    "arousal",
    "valence",
    "emotion_absolute",
    "arousal_absolute",
    "valence_absolute",
    "emotion_relative",
    "arousal_relative",
    "valence_relative",
    "arousal_trend",
    "valence_trend",
];

/// Names of the parts of a call's dynamics; each is also a bare name.
const DYNAMICS_PARTS: [&str; 6] = ["talk_ratio", "overlap", "interruptions", "reply_latency", "turn_seconds", "turn_trend"];

/// Names of what else is told of a voice's register; each is also a bare name.
const REGISTER_PARTS: [&str; 4] = ["register", "pitch_range", "jitter", "shimmer"];

/// How many there are of each break in the flow of speech; each is also a bare name.
const DISFLUENCIES: [(&str, DisfluencyKind); 5] = [
    ("slow_starts", DisfluencyKind::SlowStart),
    ("silent_pauses", DisfluencyKind::SilentPause),
    ("filled_pauses", DisfluencyKind::FilledPause),
    ("repetitions", DisfluencyKind::Repetition),
    ("cut_offs", DisfluencyKind::CutOff),
];

/// Most values in a request's metadata, lists and objects counted with what they hold. OpenAI allows 16 pairs; a rule may loop over a
/// list once, so this bounds its cost.
pub(crate) const MOST_VALUES: usize = 256;
/// Most bytes of text in a request's metadata, keys included.
const MOST_BYTES: usize = 16 * 1_024;
/// Deepest nesting of a request's metadata.
const DEEPEST: usize = 8;

/// What the rules of one router see of one request.
pub(crate) struct View<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) prompt: &'a Prompt,
    pub(crate) targets: &'a dyn TargetFacts,
    /// The targets that `targets` holds: those that a rule names.
    pub(crate) named: &'a [String],
    pub(crate) now: Moment,
    measured: OnceLock<Measure>,
}

impl<'a> View<'a> {
    /// The view; an error where the metadata is too large to route by.
    pub(crate) fn new(
        facts: &'a Facts,
        prompt: &'a Prompt,
        targets: &'a dyn TargetFacts,
        named: &'a [String],
        now: Moment,
    ) -> Result<View<'a>, String> {
        let mut room = Room { values: MOST_VALUES, bytes: MOST_BYTES };
        for (key, value) in &facts.metadata {
            room.text(key)?;
            room.value(value, DEEPEST)?;
        }
        if let Some(user) = &facts.user {
            room.text(user)?;
        }
        Ok(View { facts, prompt, targets, named, now, measured: OnceLock::new() })
    }

    fn measured(&self) -> &Measure {
        self.measured.get_or_init(|| measure(self.prompt))
    }

    /// A name without dots: ours first, which metadata cannot take over, then the metadata's, then the voice's.
    fn bare(&self, name: &str) -> Option<CowVal<'_, '_>> {
        match name {
            "metadata" => whole(object(&self.facts.metadata)),
            "voice" => whole(all(VOICE.iter().flat_map(|(name, _)| [(*name).to_owned(), format!("{name}{CONFIDENCE}")]), |name| {
                self.voice(name).and_then(value_of)
            })),
            "request" => whole(all(names(&REQUEST), |name| self.request(name).and_then(value_of))),
            "time" => whole(moment(self.now)),
            "utc" => whole(moment(self.now.utc())),
            "targets" => whole(all(self.named.iter().cloned(), |id| Some(target(&self.targets.of(id))))),
            "user" if self.facts.user.is_some() => self.facts.user.as_deref().map(text),
            _ => match self.facts.metadata.get(name) {
                Some(value) => json(value),
                None if name.ends_with(CONFIDENCE) => None,
                None => self.voice(name),
            },
        }
    }

    fn request(&self, name: &str) -> Option<CowVal<'_, '_>> {
        let prompt = self.prompt;
        Some(match name {
            "model" => text(&prompt.model),
            "messages" => count(prompt.messages.len()),
            "turns" => count(self.measured().turns),
            "tools" => count(prompt.tools.len()),
            "images" => count(self.measured().images),
            "files" => count(self.measured().files),
            "audio" => count(self.measured().audio),
            "tokens" => count(self.measured().tokens),
            "max_tokens" => count(prompt.sampling.max_tokens? as usize),
            "characters" => count(self.measured().characters),
            "words" => count(self.measured().words),
            "complexity" => CowVal::owned(CelDouble::from(self.measured().complexity)),
            "structured" => CowVal::owned(CelBool::from(prompt.extra.contains_key("response_format"))),
            _ => return None,
        })
    }

    fn voice(&self, name: &str) -> Option<CowVal<'_, '_>> {
        let signals = self.facts.signals.as_deref()?;
        let (name, sure) = match name.strip_suffix(CONFIDENCE) {
            Some(name) => (name, true),
            None => (name, false),
        };
        match name {
            "language" => signals.language.as_ref().and_then(|m| pick(sure, text(m.value.code()), m.confidence)),
            "emotion" => signals.emotion.as_ref().and_then(|m| pick(sure, text(m.value.label.name()), m.confidence)),
            "arousal" => signals.emotion.as_ref().and_then(|m| pick(sure, number(m.value.arousal.get()), m.confidence)),
            "valence" => signals.emotion.as_ref().and_then(|m| pick(sure, number(m.value.valence.get()), m.confidence)),
            "pitch" => signals.pitch.as_ref().and_then(|m| pick(sure, number(m.value.hz), m.confidence)),
            "register" => signals.pitch.as_ref().and_then(|m| pick(sure, text(m.value.name()), m.confidence)),
            "pitch_range" => signals.pitch.as_ref().and_then(|m| pick(sure, number(m.value.range?), m.confidence)),
            "jitter" => signals.pitch.as_ref().and_then(|m| pick(sure, number(m.value.cycles?.jitter), m.confidence)),
            "shimmer" => signals.pitch.as_ref().and_then(|m| pick(sure, number(m.value.cycles?.shimmer), m.confidence)),
            name if disfluency(name).is_some() => {
                let count = signals.disfluencies.iter().filter(|part| Some(part.kind) == disfluency(name)).count();
                signals.hesitation.as_ref().and_then(|m| pick(sure, number(count as f32), m.confidence))
            }
            name if DYNAMICS_PARTS.contains(&name) => {
                let Dynamics { turn_seconds, turn_trend, talk_ratio, overlap, interruptions, reply_latency } = signals.dynamics?;
                let value = match name {
                    "talk_ratio" => Some(talk_ratio),
                    "overlap" => Some(overlap),
                    "interruptions" => Some(interruptions as f32),
                    "reply_latency" => reply_latency,
                    "turn_seconds" => Some(turn_seconds),
                    _ => turn_trend,
                };
                // Counted, not judged.
                value.and_then(|value| pick(sure, number(value), audio::Probability::new(1.0)))
            }
            name if EMOTION_PARTS.contains(&name) => signals.emotion.as_ref().and_then(|m| part(name, sure, m)),
            "end_of_turn" => signals.end_of_turn.as_ref().and_then(|m| pick(sure, number(m.value.get()), m.confidence)),
            "transcription" => signals.transcription.as_ref().and_then(|m| pick(sure, number(m.value.get()), m.confidence)),
            plain => {
                let measured = match plain {
                    "hesitation" => &signals.hesitation,
                    "pace" => &signals.pace,
                    "loudness" => &signals.loudness,
                    "noise" => &signals.noise,
                    _ => return None,
                };
                measured.as_ref().and_then(|m| pick(sure, number(m.value), m.confidence))
            }
        }
    }
}

impl VariableResolver for View<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let Some((first, rest)) = name.split_once('.') else { return self.bare(name) };
        match first {
            "voice" => self.voice(rest),
            "request" => self.request(rest),
            "time" => self.now.field(rest).map(whole_number),
            "utc" => self.now.utc().field(rest).map(whole_number),
            "metadata" => walk(&self.facts.metadata, rest).and_then(json),
            // Its keys have dots of their own, so it is built as a whole.
            "targets" => None,
            _ => walk(&self.facts.metadata, name).and_then(json),
        }
    }
}

/// The value at a path of keys parted by dots. A key with a dot in it is not found: it can be read as `metadata["a.b"]`.
fn walk<'a>(map: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut keys = path.split('.');
    let first = map.get(keys.next()?)?;
    keys.try_fold(first, |value, key| value.as_object()?.get(key))
}

/// The signal that a name stands for, bare or after `voice.`.
pub(crate) fn signal(name: &str) -> Option<SignalKind> {
    let name = name.strip_suffix(CONFIDENCE).unwrap_or(name);
    if EMOTION_PARTS.contains(&name) {
        return Some(SignalKind::Emotion);
    }
    if disfluency(name).is_some() {
        return Some(SignalKind::Hesitation);
    }
    if REGISTER_PARTS.contains(&name) {
        return Some(SignalKind::Pitch);
    }
    if DYNAMICS_PARTS.contains(&name) {
        return Some(SignalKind::Dynamics);
    }
    SignalKind::ALL.into_iter().find(|kind| kind.name() == name)
}

/// What `name` counts.
fn disfluency(name: &str) -> Option<DisfluencyKind> {
    DISFLUENCIES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// The signals that a bare name makes a rule want.
pub(crate) fn wanted_by_name(name: &str) -> SignalSet {
    match signal(name) {
        Some(kind) if !name.ends_with(CONFIDENCE) => SignalSet::NONE.with(kind),
        _ => SignalSet::NONE,
    }
}

fn names<'a>(fields: &'a [(&'static str, Holds)]) -> impl Iterator<Item = String> + 'a {
    fields.iter().map(|(name, _)| (*name).to_owned())
}

fn all(names: impl Iterator<Item = String>, of: impl Fn(&str) -> Option<Cel>) -> Cel {
    let entries: HashMap<String, Cel> = names.filter_map(|name| of(&name).map(|value| (name, value))).collect();
    Cel::from(entries)
}

fn moment(moment: Moment) -> Cel {
    all(moment::FIELDS.iter().map(|name| (*name).to_owned()), |name| moment.field(name).map(Cel::Int))
}

fn target(fact: &TargetFact) -> Cel {
    let can = |ability| fact.abilities.map(|abilities| Cel::Bool(abilities.has(ability)));
    let entries = [
        ("latency_ms", fact.latency.map(|latency| Cel::Float(latency.as_secs_f64() * 1_000.0))),
        ("throughput", fact.throughput.map(Cel::Float)),
        ("price_input", fact.price_input.map(Cel::Float)),
        ("price_output", fact.price_output.map(Cel::Float)),
        ("context", fact.context.map(|context| Cel::Int(i64::try_from(context).unwrap_or(i64::MAX)))),
        ("images", can(Ability::ImageInput)),
        ("audio", can(Ability::AudioInput)),
        ("files", can(Ability::FileInput)),
        ("tools", can(Ability::Tools)),
        ("structured", can(Ability::Schema)),
        ("reasoning", can(Ability::Reasoning)),
        ("web_search", can(Ability::WebSearch)),
        ("healthy", fact.healthy.map(Cel::Bool)),
    ];
    let known: HashMap<String, Cel> = entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Cel::from(known)
}

fn object(map: &Map<String, Value>) -> Cel {
    Cel::from(map.iter().map(|(key, value)| (key.clone(), of_json(value))).collect::<HashMap<String, Cel>>())
}

/// A JSON value as rules see it. How deep and how large it may be was checked before.
fn of_json(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(value) => match (value.as_i64(), value.as_u64()) {
            (Some(value), _) => Cel::Int(value),
            (None, Some(value)) => Cel::UInt(value),
            (None, None) => Cel::Float(value.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(value) => Cel::String(Arc::new(value.clone())),
        Value::Array(values) => Cel::List(Arc::new(values.iter().map(of_json).collect())),
        Value::Object(entries) => object(entries),
    }
}

fn json(value: &Value) -> Option<CowVal<'_, '_>> {
    match value {
        Value::String(value) => Some(text(value)),
        other => whole(of_json(other)),
    }
}

fn whole<'b>(value: Cel) -> Option<CowVal<'b, 'b>> {
    Box::<dyn Val>::try_from(value).ok().map(CowVal::Owned)
}

/// A part of an emotion beyond its best answer, or how sure it is.
fn part<'b>(name: &str, sure: bool, measured: &Measured<Emotion>) -> Option<CowVal<'b, 'b>> {
    let (what, how) = name.split_once('_')?;
    let emotion = &measured.value;
    if how == "trend" {
        let trend = emotion.trend?;
        return pick(sure, number(if what == "arousal" { trend.arousal } else { trend.valence }), measured.confidence);
    }
    let reading = if how == "absolute" { emotion.absolute? } else { emotion.relative? };
    let value = match what {
        "emotion" => text(reading.label.name()),
        "arousal" => number(reading.arousal.get()),
        _ => number(reading.valence.get()),
    };
    pick(sure, value, reading.confidence)
}

/// A measurement, or how sure it is.
fn pick<'b>(sure: bool, value: CowVal<'b, 'b>, confidence: audio::Probability) -> Option<CowVal<'b, 'b>> {
    Some(if sure { number(confidence.get()) } else { value })
}

fn value_of(value: CowVal<'_, '_>) -> Option<Cel> {
    Cel::try_from(value.as_ref()).ok()
}

fn text<'b>(text: &'b str) -> CowVal<'b, 'b> {
    CowVal::owned(CelString::from(text))
}

fn count<'b>(n: usize) -> CowVal<'b, 'b> {
    whole_number(i64::try_from(n).unwrap_or(i64::MAX))
}

fn whole_number<'b>(n: i64) -> CowVal<'b, 'b> {
    CowVal::owned(CelInt::from(n))
}

/// Always a double, rounded to six decimals so that 0.3 as `f32` equals 0.3 as written in a rule.
fn number<'b>(value: f32) -> CowVal<'b, 'b> {
    CowVal::owned(CelDouble::from((f64::from(value) * 1e6).round() / 1e6))
}

/// How much more metadata is allowed.
struct Room {
    values: usize,
    bytes: usize,
}

impl Room {
    fn text(&mut self, text: &str) -> Result<(), String> {
        self.bytes = self
            .bytes
            .checked_sub(text.len())
            .ok_or_else(|| format!("metadata is too large: at most {MOST_BYTES} bytes of text in keys and values are allowed"))?;
        Ok(())
    }

    fn value(&mut self, value: &Value, deeper: usize) -> Result<(), String> {
        self.values = self.values.checked_sub(1).ok_or_else(|| {
            format!("metadata is too large: at most {MOST_VALUES} values are allowed, those in lists and objects included")
        })?;
        let inside = || deeper.checked_sub(1).ok_or_else(|| format!("metadata is nested too deeply: at most {DEEPEST} levels are allowed"));
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
            Value::String(value) => self.text(value),
            Value::Array(values) => {
                let inside = inside()?;
                values.iter().try_for_each(|value| self.value(value, inside))
            }
            Value::Object(entries) => {
                let inside = inside()?;
                entries.iter().try_for_each(|(key, value)| {
                    self.text(key)?;
                    self.value(value, inside)
                })
            }
        }
    }
}
