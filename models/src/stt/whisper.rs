//! Whisper through whisper.cpp: 99 languages, word times, and which language is spoken.
//!
//! Whisper always looks at 30 s; here it looks at the sound and little more, which makes a short utterance several times cheaper. The
//! price is that it now and then loops or makes words up, so a doubtful result is decoded again over the full 30 s. Greedy, one thread:
//! two threads on a busy machine cost four times the CPU in spinning at barriers. What it does not do: translate, stream, tell speakers
//! apart.

mod timing;
mod window;

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use audio::{Probability, Rate, Samples};
use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState};

use self::timing::{Script, Token};
use self::window::{is_silent, leading_silence, windows};
use super::Recogniser;
use super::silence::out_of_silence;
use crate::{Belief, ErrorKind, Hint, Language, Measured, ModelError, Segment, Utterance, Waited, Weights, Word};

/// The name of the engine in utterances, measurements and errors.
const NAME: &str = "whisper";
/// Samples a second.
const RATE: usize = Rate::MODEL.hz() as usize;
/// Samples that one position of the encoder covers: 20 ms.
const POSITION: usize = RATE / 50;
/// Positions beyond the end of the sound that the encoder sees. Word errors on 50 utterances of read speech (2026-11): 15.3 % with 64,
/// 13.6 % with 128, 12.7 % with 200, 13.3 % with 400; CPU rises by 20 % from 64 to 200.
const MARGIN_POSITIONS: usize = 200;
/// Positions of the full 30 s.
const FULL_CONTEXT: usize = 1_500;
/// The library refuses sound under 100 ms; what is shorter is filled up with silence.
const SHORTEST_SOUND: usize = RATE / 5;
/// The same where only the language is told.
const DETECT_MARGIN_POSITIONS: usize = 64;
/// Who is not this sure of the language looks again with so many positions: English that was doubtful is told more often with silence after
/// it (2026-11, 67 recordings of two seconds: 0.91 are likeliest English at first, 0.96 then), at four times the cost.
const CLEAR: f32 = 0.8;
const WIDER_POSITIONS: usize = 600;
/// Sound that suffices to tell the language: 10 s. More costs in proportion.
const DETECT_SAMPLES: usize = 10 * RATE;
/// Mean log probability under which a result is doubtful (Whisper paper, section 4.5, falls back at the same).
const DOUBTFUL_LOGPROB: f32 = -1.0;
/// How sure the model must be that nobody speaks for a doubtful result to be dropped (Whisper paper, section 4.5).
const NO_SPEECH: f32 = 0.6;
/// Belief in a language above which nobody listens for another.
const SURE: f32 = 0.9;
/// Tokens a second of sound, and for the shortest, that no speaker needs in any script; beyond them the decoder loops.
const MOST_TOKENS_A_SECOND: usize = 15;
const FEWEST_TOKENS_ALLOWED: usize = 24;
/// The multilingual models up to large-v2 know this many of the languages on the library's list; the last came with large-v3.
const LANGUAGES: i32 = 99;

/// Whisper, ready to hear. One utterance at a time; [`Whisper::sibling`] makes another that shares the weights.
pub struct Whisper {
    context: Arc<WhisperContext>,
    state: WhisperState,
    /// Made once a language: the binding leaks the language's name each time it is set.
    params: HashMap<&'static str, FullParams<'static, 'static>>,
}

impl Whisper {
    /// Loads `whisper-base` (80 MB, and as much again to work in).
    pub fn load(weights: &Weights) -> Result<Whisper, ModelError> {
        check_processor()?;
        let path = weights.file("whisper-base", "ggml-base-q8_0.bin")?;
        // The library writes pages to stderr otherwise.
        whisper_rs::install_logging_hooks();
        let context = WhisperContext::new_with_params(&path, WhisperContextParameters::default()).map_err(|error| {
            let detail = format!("{} cannot be loaded ({error}); fetch it again with `timbre models pull whisper-base`", path.display());
            ModelError::new(ErrorKind::Failed, NAME, detail)
        })?;
        let state = context.create_state().map_err(failed)?;
        Ok(Whisper { context: Arc::new(context), state, params: HashMap::new() })
    }

    /// Another recogniser over the same weights, to run beside this one.
    pub fn sibling(&self) -> Result<Whisper, ModelError> {
        let state = self.context.create_state().map_err(failed)?;
        Ok(Whisper { context: self.context.clone(), state, params: HashMap::new() })
    }

    /// How likely each language is in the first seconds of `pcm` (mono, [`Rate::MODEL`]). Of silence nothing is known.
    pub fn detect(&mut self, pcm: &[f32]) -> Result<Belief, ModelError> {
        let pcm = &pcm[leading_silence(pcm)..];
        if pcm.is_empty() {
            return Ok(Belief::default());
        }
        let pcm = filled(&pcm[..pcm.len().min(DETECT_SAMPLES)]);
        let positions = pcm.len().div_ceil(POSITION) + DETECT_MARGIN_POSITIONS;
        let belief = self.look(&pcm, positions)?;
        let clear = belief.likeliest().is_some_and(|(_, likely)| likely >= CLEAR);
        if clear || positions >= WIDER_POSITIONS { Ok(belief) } else { self.look(&pcm, WIDER_POSITIONS) }
    }

    /// How likely each language is, with so many positions of the encoder.
    fn look(&mut self, pcm: &[f32], positions: usize) -> Result<Belief, ModelError> {
        // The library takes the width of the context from a full run only: one over 100 ms computes the spectrum of all and ends before
        // the encoder.
        let mut params = self.params("en");
        params.set_audio_ctx(positions.min(FULL_CONTEXT) as i32);
        params.set_duration_ms(100);
        self.state.full(params, pcm).map_err(failed)?;
        let (_, probabilities) = self.state.lang_detect(0, 1).map_err(failed)?;
        let named = |(id, likely): (i32, &f32)| {
            let code = whisper_rs::get_lang_str(id)?;
            // The only one of its codes that is not the standard's.
            Some((Language::new(if code == "jw" { "jv" } else { code })?, *likely))
        };
        Ok(Belief::new((0..LANGUAGES).zip(&probabilities).filter_map(named)))
    }

    /// Parameters with the language set, which is how the library names it.
    fn params(&mut self, language: &'static str) -> FullParams<'static, 'static> {
        let make = || {
            let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
            params.set_n_threads(1);
            params.set_language(Some(language));
            params.set_no_context(true);
            params.set_single_segment(true);
            // Marks tell the decoder where the sound ends; without them a cut context makes it loop on every other utterance.
            params.set_no_timestamps(false);
            params.set_print_progress(false);
            params.set_print_realtime(false);
            params.set_print_timestamps(false);
            params
        };
        self.params.entry(language).or_insert_with(make).clone()
    }

    /// The tokens of the words to expect.
    fn prompt_tokens(&self, prompt: Option<&str>) -> Vec<i32> {
        let prompt: String = prompt.unwrap_or_default().chars().filter(|letter| *letter != '\0').collect();
        // A token has at least one byte, and the binding reads past the end when it gets fewer places than tokens.
        self.context.tokenize(&prompt, prompt.len() + 1).unwrap_or_default()
    }

    /// Hears one window; a doubtful result is heard again with all of Whisper's context and its own fallbacks.
    fn hear(&mut self, pcm: &[f32], request: &Request, waited: &Waited) -> Result<HeardWindow, ModelError> {
        let cut = positions(pcm.len());
        let heard = self.decode(pcm, request, Attempt { positions: cut, temperature_step: 0.0 }, waited)?;
        if is_annotation(&heard.text) {
            return Ok(HeardWindow::default());
        }
        if !heard.doubtful {
            return Ok(heard);
        }
        let heard = self.decode(pcm, request, Attempt { positions: FULL_CONTEXT, temperature_step: 0.2 }, waited)?;
        if heard.doubtful && heard.no_speech > NO_SPEECH || is_annotation(&heard.text) { Ok(HeardWindow::default()) } else { Ok(heard) }
    }

    fn decode(&mut self, pcm: &[f32], request: &Request, attempt: Attempt, waited: &Waited) -> Result<HeardWindow, ModelError> {
        let most_tokens = FEWEST_TOKENS_ALLOWED + MOST_TOKENS_A_SECOND * pcm.len() / RATE;
        let mut params: FullParams<'_, '_> = self.params(request.language);
        params.set_audio_ctx(attempt.positions as i32);
        params.set_temperature_inc(attempt.temperature_step);
        params.set_max_tokens(most_tokens as i32);
        if !request.prompt.is_empty() {
            params.set_tokens(request.prompt);
        }
        stop_when_abandoned(&mut params, waited);
        let ran = self.state.full(params, pcm);
        if !waited.still() {
            return Err(ModelError::new(ErrorKind::Closed, NAME, "nobody waits for the transcript any more"));
        }
        ran.map_err(failed)?;
        Ok(self.heard(pcm.len(), request, most_tokens))
    }

    /// What the last run heard in `samples` samples.
    fn heard(&self, samples: usize, request: &Request, most_tokens: usize) -> HeardWindow {
        let (first_mark, end) = (self.context.token_beg(), self.context.token_eot());
        let mut heard = HeardWindow::default();
        let mut tokens = Vec::new();
        for segment in self.state.as_iter() {
            heard.no_speech = segment.no_speech_probability();
            for token in (0..segment.n_tokens()).filter_map(|n| segment.get_token(n)) {
                let data = token.token_data();
                let bytes = if data.id < end { token.to_bytes().unwrap_or_default().to_vec() } else { Vec::new() };
                tokens.push(Token {
                    bytes,
                    mark: (data.id >= first_mark).then(|| mark(data.id - first_mark)),
                    likely_mark: mark(data.tid - first_mark),
                    mark_probability: data.pt,
                    marks_probability: data.ptsum,
                    probability: data.p,
                    log_probability: data.plog,
                });
            }
        }
        let text: Vec<&Token> = tokens.iter().filter(|token| !token.bytes.is_empty()).collect();
        heard.tokens = text.len();
        heard.probability_sum = text.iter().map(|token| token.probability).sum();
        let mean_log = text.iter().map(|token| token.log_probability).sum::<f32>() / text.len().max(1) as f32;
        heard.doubtful = mean_log < DOUBTFUL_LOGPROB || tokens.len() >= most_tokens || timing::loops(&text);
        heard.text = timing::text(&tokens);
        let duration = Samples(samples as u64).duration(Rate::MODEL);
        heard.segments = timing::segments(&tokens, duration, heard.no_speech);
        if request.word_times {
            heard.words = timing::words(&tokens, duration, Script::of(request.language));
        }
        heard
    }
}

impl Recogniser for Whisper {
    fn recognise(&mut self, pcm: &[f32], hint: &Hint, waited: &Waited) -> Result<Utterance, ModelError> {
        let duration = Samples(pcm.len() as u64).duration(Rate::MODEL);
        let given = hint.language.map(|language| Measured::new(language, 1.0, "hint"));
        let mut utterance = Utterance { duration, language: given, engine: NAME.to_owned(), ..Utterance::default() };
        if is_silent(pcm) {
            return Ok(utterance);
        }
        // A language that Whisper never learnt is heard as whichever it resembles.
        let language = match utterance.language.as_ref().and_then(|given| library_code(given.value)) {
            Some(code) => code,
            None => {
                let mut belief = hint.before();
                // To listen for the language costs as much as to hear the words: not where there is no doubt.
                if belief.likeliest().is_none_or(|(_, likely)| likely < SURE) {
                    let sound = self.detect(pcm)?;
                    belief = belief.heard(|language| sound.of(language));
                }
                let (language, likely) = belief.likeliest().unwrap_or((Language::ENGLISH, 0.0));
                utterance.language.get_or_insert(Measured::new(language, likely, NAME));
                utterance.belief = belief;
                library_code(language).unwrap_or("en")
            }
        };
        let prompt = self.prompt_tokens(hint.context().as_deref());
        let request = Request { language, prompt: &prompt, word_times: hint.word_times.here() };
        let (mut probability_sum, mut tokens) = (0.0, 0);
        for window in windows(pcm).filter(|window| !is_silent(&pcm[window.clone()])) {
            let from = Samples(window.start as u64).duration(Rate::MODEL);
            let heard = self.hear(&filled(&pcm[window]), &request, waited)?;
            probability_sum += heard.probability_sum;
            tokens += heard.tokens;
            heard.join(from, &mut utterance);
        }
        out_of_silence(&mut utterance.words, pcm);
        utterance.text = utterance.text.trim().to_owned();
        utterance.confidence = (tokens > 0).then(|| Probability::new(probability_sum / tokens as f32));
        Ok(utterance)
    }
}

/// What a window is heard with.
struct Request<'a> {
    /// As the library names it.
    language: &'static str,
    prompt: &'a [i32],
    word_times: bool,
}

/// One way to decode a window.
struct Attempt {
    /// How many positions the encoder sees.
    positions: usize,
    /// By how much to heat the sampling when the library finds a result bad; 0: never.
    temperature_step: f32,
}

/// What was heard in one window; times count from its start.
#[derive(Default)]
struct HeardWindow {
    /// With the blank that the model writes before a word.
    text: String,
    segments: Vec<Segment>,
    words: Vec<Word>,
    /// Sum of the probabilities of the text tokens, and their count.
    probability_sum: f32,
    tokens: usize,
    /// How likely nobody speaks in it.
    no_speech: f32,
    /// Whether the decoder seems to have gone astray.
    doubtful: bool,
}

impl HeardWindow {
    /// Appends it to what was heard before; the window starts at `from`.
    fn join(self, from: Duration, utterance: &mut Utterance) {
        utterance.text.push_str(&self.text);
        let moved = |segment: Segment| Segment { start: from + segment.start, end: from + segment.end, ..segment };
        utterance.segments.extend(self.segments.into_iter().map(moved));
        let moved = |word: Word| Word { start: from + word.start, end: from + word.end, ..word };
        utterance.words.extend(self.words.into_iter().map(moved));
    }
}

/// Ends a run at its next step once nobody waits for it.
#[expect(unsafe_code, reason = "the library takes the question as a C function and a pointer")]
fn stop_when_abandoned(params: &mut FullParams, waited: &Waited) {
    unsafe extern "C" fn abandoned(waited: *mut c_void) -> bool {
        // SAFETY: the pointer is to the `Waited` below, which outlives the run; the library asks on the thread that runs, one thread.
        let waited = unsafe { &*waited.cast::<Waited>() };
        !waited.still()
    }
    // SAFETY: `decode` borrows `waited` until after the run. The binding's safe form calls the closure through a pointer of another type.
    unsafe {
        params.set_abort_callback(Some(abandoned));
        params.set_abort_callback_user_data(std::ptr::from_ref(waited).cast_mut().cast());
    }
}

/// Positions that the encoder needs for `samples`.
fn positions(samples: usize) -> usize {
    (samples.div_ceil(POSITION) + MARGIN_POSITIONS).min(FULL_CONTEXT)
}

/// Whether the model describes a noise instead of writing words: `[Music]`, `(bell ringing)`, `*sighs*`, `♪`.
fn is_annotation(text: &str) -> bool {
    let text = text.trim();
    let inside = |(open, close): (char, char)| text.strip_prefix(open)?.strip_suffix(close).map(|inner| !inner.contains(close));
    text == "♪" || [('[', ']'), ('(', ')'), ('*', '*'), ('♪', '♪')].into_iter().any(|pair| inside(pair) == Some(true))
}

/// The time of a timestamp token, counted from the first: steps of 20 ms.
fn mark(id: i32) -> Duration {
    Duration::from_millis(20 * u64::try_from(id).unwrap_or(0))
}

/// `pcm`, with silence after it where it is too short for the library.
fn filled(pcm: &[f32]) -> std::borrow::Cow<'_, [f32]> {
    if pcm.len() >= SHORTEST_SOUND {
        return pcm.into();
    }
    let mut longer = pcm.to_vec();
    longer.resize(SHORTEST_SOUND, 0.0);
    longer.into()
}

/// The library's code of a language, if the model knows it.
fn library_code(language: Language) -> Option<&'static str> {
    let code = match language.code() {
        "jv" => "jw",
        "nb" => "no",
        "fil" => "tl",
        "yue" | "cmn" => "zh",
        code => code,
    };
    let id = whisper_rs::get_lang_id(code).filter(|id| *id < LANGUAGES)?;
    whisper_rs::get_lang_str(id)
}

/// The engine is built for one level of x86-64 and does not choose at run time: better an error now than an illegal instruction later.
fn check_processor() -> Result<(), ModelError> {
    #[cfg(target_arch = "x86_64")]
    {
        let found = [
            ("SSE4.2", std::arch::is_x86_feature_detected!("sse4.2")),
            ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
            ("FMA", std::arch::is_x86_feature_detected!("fma")),
            ("F16C", std::arch::is_x86_feature_detected!("f16c")),
            ("BMI2", std::arch::is_x86_feature_detected!("bmi2")),
        ];
        let missing: Vec<&str> = found.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect();
        if !missing.is_empty() {
            let detail = format!("this processor lacks {}; set voice.transcriber to `moonshine` or to a remote one", missing.join(", "));
            return Err(ModelError::new(ErrorKind::Failed, NAME, detail));
        }
    }
    Ok(())
}

/// The library's failure as ours.
fn failed(error: impl std::fmt::Display) -> ModelError {
    ModelError::new(ErrorKind::Failed, NAME, format!("whisper.cpp: {error}"))
}

#[cfg(test)]
mod tests;
