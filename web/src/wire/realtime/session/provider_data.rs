//! What Inworld's realtime sessions say beside OpenAI's, in `providerData`: how the caller is heard, how answers are cut for the synthesizer,
//! and what is said while one is late. The rest of it is taken, told back, and has no effect.

use std::time::Duration;

use models::{SignalKind, SignalSet, Voice};

use super::{Session, read_language};
use crate::ApiError;
use crate::call::{EchoCancellation, Filler, Segments, TurnDetection};
use crate::wire::{Field, Fields};

/// How long an answer may take before something is said, where the client does not say.
const WAIT_MS: u64 = 1_200;
/// How long after one no other filler is said, where the client does not say.
const GAP_MS: u64 = 8_000;
/// The longest of both, ms: what is longer is a mistake in the unit.
const LONGEST_MS: u64 = 60_000;
/// The longest filler, characters: a short sentence.
const LONGEST_FILLER: usize = 200;

impl Session {
    /// Takes what is known of it out of `own`; `None`: back to the defaults.
    pub(super) fn merge_provider_data(&mut self, own: Option<&mut Fields>) -> Result<(), ApiError> {
        let Some(own) = own else {
            (self.config.segments, self.config.filler) = (self.defaults.segments, self.defaults.filler.clone());
            (self.config.echo, self.config.signals) = (self.defaults.echo, self.defaults.signals);
            return Ok(());
        };
        if let Some(events) = own.take("events") {
            events.one_of(&[("standard", ()), ("all", ())])?;
        }
        if let Some(signals) = own.take("signals") {
            let kinds = SignalKind::ALL.map(|kind| (kind.name(), kind));
            let wanted = signals.array()?.into_iter().map(|name| name.one_of(&kinds));
            self.config.signals = wanted.collect::<Result<Vec<_>, _>>()?.into_iter().fold(SignalSet::NONE, SignalSet::with);
        }
        if let Some(echo) = own.take("echo_cancellation") {
            use EchoCancellation::{Auto, Off, On};
            self.config.echo = echo.one_of(&[("auto", Auto), ("on", On), ("off", Off)])?;
        }
        if let Some(stt) = own.take("stt") {
            self.merge_hearing(stt.object()?)?;
        }
        if let Some(tts) = own.take("tts") {
            self.merge_speaking(tts.object()?)?;
        }
        if let Some(responsiveness) = own.given("responsiveness") {
            self.config.filler = responsiveness.present().map(read_filler).transpose()?.flatten();
        }
        Ok(())
    }

    fn merge_hearing(&mut self, mut stt: Fields) -> Result<(), ApiError> {
        if let Some(prompt) = stt.take("prompt") {
            self.config.prompt = Some(prompt.string()?).filter(|text| !text.is_empty());
        }
        if let Some(hints) = stt.take("language_hints") {
            let hints = hints.array()?.into_iter().map(read_language).collect::<Result<Vec<_>, _>>()?;
            self.config.speaks(None, hints);
        }
        let threshold_given = stt.take("vad_threshold").map(|field| field.number(0.0, 1.0)).transpose()?;
        let silence_given = stt.take("min_end_of_turn_silence").map(|field| field.whole(0, LONGEST_MS)).transpose()?;
        if let TurnDetection::Silence { threshold, silence_ms, .. } = &mut self.config.turns {
            *threshold = threshold_given.map_or(*threshold, |given| given as f32);
            *silence_ms = silence_given.unwrap_or(*silence_ms);
        }
        Ok(())
    }

    fn merge_speaking(&mut self, mut tts: Fields) -> Result<(), ApiError> {
        if let Some(strategy) = tts.take("segmenter_strategy") {
            self.config.segments = strategy.one_of(&[
                ("auto", Segments::Clauses),
                ("balanced", Segments::Clauses),
                ("fast_start", Segments::Clauses),
                ("per_segment_context", Segments::Clauses),
                ("sentence", Segments::Sentences),
                ("full_turn", Segments::Turn),
            ])?;
        }
        if let Some(mode) = tts.take("delivery_mode") {
            // The steadiest delivery is that of whole sentences; the voices here have no freer one than their own.
            let steady = mode.one_of(&[("STABLE", true), ("BALANCED", false), ("CREATIVE", false)])?;
            if steady && self.config.segments == Segments::Clauses {
                self.config.segments = Segments::Sentences;
            }
        }
        if let Some(language) = tts.take("language") {
            let language = read_language(language)?;
            let voice = self.config.voice.take().unwrap_or_else(|| Voice::new(""));
            self.config.voice = Some(Voice { language, ..voice });
        }
        Ok(())
    }
}

fn read_filler(field: Field) -> Result<Option<Filler>, ApiError> {
    let mut fields = field.object()?;
    let enabled = fields.take("enabled").map(Field::boolean).transpose()?.unwrap_or(true);
    let mut ms = |name: &str, default: u64| -> Result<Duration, ApiError> {
        let given = fields.take(name).map(|field| field.whole(0, LONGEST_MS)).transpose()?;
        Ok(Duration::from_millis(given.unwrap_or(default)))
    };
    let (wait, gap) = (ms("initial_wait_timeout_ms", WAIT_MS)?, ms("min_filler_gap_ms", GAP_MS)?);
    let text = match fields.take("pause_text") {
        Some(text) if text.value().as_str().is_some_and(|text| text.chars().count() > LONGEST_FILLER) => {
            return Err(text.wrong(&format!("at most {LONGEST_FILLER} characters")));
        }
        text => text.map(Field::string).transpose()?.filter(|text| !text.trim().is_empty()),
    };
    Ok(enabled.then_some(Filler { wait, gap, text }))
}
