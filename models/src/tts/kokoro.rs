//! Kokoro-82M: slower than hibari, with many voices. American and British ones always speak here; Spanish,
//! French, Italian, Portuguese and Hindi ones where eSpeak NG is installed to read for them. Japanese and Chinese ones do not: what they
//! were trained to say comes from readers with dictionaries of their own, which we have not.
//!
//! ONNX Runtime runs the exported network as it is; nothing in its graph has to be rewritten.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use audio::{Rate, Samples};
use ort::session::Session;
use ort::value::TensorRef;

use super::english::{Accent, English, Phoneme, Unknown};
use super::{ByClause, Said, Voicebox, phonemes};
#[cfg(feature = "espeak")]
use super::{espeak, foreign};
use crate::{ErrorKind, ModelError, Synthesizer, Voice, Weights, onnx};

/// The name in errors and the folder among the models.
const NAME: &str = "kokoro";
/// The voice to begin with.
const VOICE: &str = "af_heart";
/// How long each phoneme lasts, (phonemes): a value inside the graph, asked for as an output.
const DURATIONS: &str = "/encoder/Clip_output_0";
/// Samples of one unit of [`DURATIONS`] at 24 kHz.
const UNIT: f32 = 600.0;
/// Numbers in one style; a voice has a style for each count of phonemes.
const STYLE: usize = 256;

/// Loads Kokoro for `threads` texts at a time.
pub fn kokoro(weights: &Weights, threads: usize) -> Result<Arc<dyn Synthesizer>, ModelError> {
    let network = weights.file(NAME, "model.onnx")?;
    let ids = Arc::new(phonemes::ids(weights)?);
    let readers = Arc::new(Readers { weights: weights.clone(), american: Mutex::default(), british: Mutex::default() });
    let boxes: Result<Vec<_>, ModelError> = (0..threads.max(1))
        .map(|_| {
            let session = onnx::open_with_outputs(weights, &network, &[DURATIONS])?;
            Ok(Kokoro { session, ids: ids.clone(), readers: readers.clone(), unknown: HashMap::new(), styles: HashMap::new() })
        })
        .collect();
    Ok(Arc::new(ByClause::start(NAME, boxes?, voices(weights)?)))
}

/// The voices that were fetched and have a reader, the default first.
fn voices(weights: &Weights) -> Result<Vec<String>, ModelError> {
    weights.file(NAME, &format!("voices/{VOICE}.bin"))?;
    let folder = weights.folder().join(NAME).join("voices");
    let files =
        std::fs::read_dir(&folder).map_err(|error| ModelError::new(ErrorKind::Failed, NAME, format!("{}: {error}", folder.display())))?;
    let mut names: Vec<String> = files
        .filter_map(|file| Some(file.ok()?.file_name().to_str()?.strip_suffix(".bin")?.to_owned()))
        .filter(|name| name.starts_with(['a', 'b']) || reads(name))
        .collect();
    names.sort_unstable_by_key(|name| (name != VOICE, name.clone()));
    Ok(names)
}

/// Whether eSpeak NG is here to read for a voice.
#[cfg(feature = "espeak")]
fn reads(voice: &str) -> bool {
    foreign::language(voice).is_some_and(espeak::reads)
}

/// Nothing but English is read in this build.
#[cfg(not(feature = "espeak"))]
fn reads(_: &str) -> bool {
    false
}

/// The dictionaries of each accent, loaded when a voice first needs them and shared by all threads.
struct Readers {
    weights: Weights,
    american: Mutex<Option<Arc<English>>>,
    british: Mutex<Option<Arc<English>>>,
}

impl Readers {
    fn get(&self, accent: Accent) -> Result<Arc<English>, ModelError> {
        let reader = match accent {
            Accent::American => &self.american,
            Accent::British => &self.british,
        };
        let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(english) = reader.as_ref() {
            return Ok(english.clone());
        }
        Ok(reader.insert(Arc::new(English::open(&self.weights, accent)?)).clone())
    }
}

/// One thread's Kokoro.
struct Kokoro {
    session: Session,
    ids: Arc<HashMap<char, i64>>,
    readers: Arc<Readers>,
    unknown: HashMap<Accent, Unknown>,
    /// (counts of phonemes, 256) of each voice used so far.
    styles: HashMap<String, Vec<f32>>,
}

impl Voicebox for Kokoro {
    fn say(&mut self, clause: &str, voice: &Voice) -> Result<Said, ModelError> {
        if !self.styles.contains_key(&voice.name) {
            let styles = styles(&self.readers.weights, &voice.name)?;
            self.styles.insert(voice.name.clone(), styles);
        }
        let phonemes = self.read(clause, &voice.name)?;
        let mut said = Said::new(Rate::SPEECH);
        for part in phonemes::parts(&phonemes) {
            self.utter(part, voice, &mut said).map_err(|error| onnx::failed(NAME, error))?;
        }
        Ok(said)
    }
}

/// The styles of a voice: a file of little-endian f32.
fn styles(weights: &Weights, voice: &str) -> Result<Vec<f32>, ModelError> {
    let path = weights.file(NAME, &format!("voices/{voice}.bin"))?;
    let broken = |detail: String| ModelError::new(ErrorKind::Failed, NAME, format!("{}: {detail}", path.display()));
    let bytes = std::fs::read(&path).map_err(|error| broken(error.to_string()))?;
    if bytes.is_empty() || bytes.len() % (STYLE * 4) != 0 {
        return Err(broken(format!("this is no voice; fetch it again with `timbre models pull {NAME}`")));
    }
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

impl Kokoro {
    /// How a clause is said by a voice, in the language that the voice's name begins with.
    fn read(&mut self, clause: &str, voice: &str) -> Result<Vec<Phoneme>, ModelError> {
        #[cfg(feature = "espeak")]
        if let Some(language) = foreign::language(voice) {
            return foreign::read(clause, language);
        }
        let accent = if voice.starts_with('b') { Accent::British } else { Accent::American };
        let english = self.readers.get(accent)?;
        let unknown = match self.unknown.entry(accent) {
            Entry::Occupied(unknown) => unknown.into_mut(),
            Entry::Vacant(place) => place.insert(English::unknown(&self.readers.weights, accent)?),
        };
        english.read(clause, unknown)
    }

    /// Inputs `tokens` (1, phonemes + 2) i64 between two zeros, `style` (1, 256), `speed` (1); output `audio` (samples) at 24 kHz.
    fn utter(&mut self, phonemes: &[Phoneme], voice: &Voice, said: &mut Said) -> ort::Result<()> {
        let (phonemes, ids) = phonemes::numbered(phonemes, &self.ids);
        if phonemes.is_empty() {
            return Ok(());
        }
        let styles = &self.styles[&voice.name];
        let row = phonemes.len().min(styles.len() / STYLE - 1) * STYLE;
        let ids = TensorRef::from_array_view(([1, ids.len()], ids.as_slice()))?;
        let style = TensorRef::from_array_view(([1, STYLE], &styles[row..row + STYLE]))?;
        let speed = [voice.speed];
        let speed = TensorRef::from_array_view(([1], speed.as_slice()))?;
        let outputs = self.session.run(ort::inputs!["tokens" => ids, "style" => style, "speed" => speed])?;
        let (_, pcm) = outputs["audio"].try_extract_tensor::<f32>()?;
        let lengths =
            outputs[DURATIONS].try_extract_tensor::<f32>()?.1.iter().map(|units| Samples((units * UNIT) as u64)).collect::<Vec<_>>();
        phonemes::add(said, pcm, &phonemes, &lengths);
        Ok(())
    }
}
