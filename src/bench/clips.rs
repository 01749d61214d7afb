//! Recorded speech to play at the server: clips with their texts, from a folder that is not part of the project.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use audio::{Rate, resample};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::energy;
use crate::eval::manifest::{self, Entry};

/// What a microphone sends at once: 20 ms.
pub(crate) const CHUNK: Duration = Duration::from_millis(20);
/// Samples of a chunk at [`Rate::SPEECH`].
pub(crate) const CHUNK_SAMPLES: usize = Rate::SPEECH.samples_in_ms(20).0 as usize;

/// One recorded utterance.
pub(crate) struct Clip {
    /// Name of its file.
    pub(crate) name: String,
    /// What is said in it.
    pub(crate) text: String,
    /// Mono at [`Rate::MODEL`].
    pub(crate) pcm: Vec<f32>,
    /// Where speech begins, by energy.
    pub(crate) begin: Duration,
    /// Where speech ends, by energy.
    pub(crate) end: Duration,
    /// The events that carry it to a server, one for each [`CHUNK`]: made once, so that a caller costs little while others are measured.
    pub(crate) messages: Vec<Utf8Bytes>,
}

impl Clip {
    fn new(name: String, text: String, recording: &audio::Recording) -> Option<Clip> {
        let pcm = resample(&recording.pcm, recording.rate, Rate::MODEL);
        let (begin, end) = energy::speech(&pcm, Rate::MODEL)?;
        let at = |sample: usize| audio::Samples(sample as u64).duration(Rate::MODEL);
        let messages = messages(&resample(&recording.pcm, recording.rate, Rate::SPEECH));
        Some(Clip { name, text, begin: at(begin), end: at(end), pcm, messages })
    }

    /// Its length, seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.pcm.len() as f64 / f64::from(Rate::MODEL.hz())
    }
}

/// PCM at [`Rate::SPEECH`] as the events of a microphone; the last chunk is filled up with silence.
pub(crate) fn messages(pcm: &[f32]) -> Vec<Utf8Bytes> {
    let event = |chunk: &[f32]| {
        let mut bytes: Vec<u8> = chunk.iter().flat_map(|sample| ((sample.clamp(-1.0, 1.0) * 32_767.0) as i16).to_le_bytes()).collect();
        bytes.resize(CHUNK_SAMPLES * 2, 0);
        format!(r#"{{"type":"input_audio_buffer.append","audio":"{}"}}"#, STANDARD.encode(bytes)).into()
    };
    pcm.chunks(CHUNK_SAMPLES).map(event).collect()
}

/// The folder of recorded speech: `TIMBRE_DATA`, else `../shared/data` beside the project.
pub(crate) fn folder() -> PathBuf {
    let set = std::env::var_os("TIMBRE_DATA").filter(|value| !value.is_empty());
    set.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from)
}

/// The first `most` clips under `part` of the folder that come with a text, in the order of its list.
pub(crate) fn load(part: &str, most: usize) -> anyhow::Result<Vec<Clip>> {
    let entries = entries(part)?;
    let spoken = entries.iter().filter_map(|entry| Some((entry, entry.says("text")?)));
    let mut clips = Vec::new();
    for (entry, text) in spoken.take(most) {
        clips.extend(Clip::new(entry.file.clone(), text.to_owned(), &entry.recording()?));
    }
    anyhow::ensure!(!clips.is_empty(), "MANIFEST.tsv in {} lists no clip with a text under {part}", folder().display());
    Ok(clips)
}

/// Every `step`th recording under `part` of the folder, mono at [`Rate::MODEL`], with its name.
pub(crate) fn sounds(part: &str, step: usize) -> anyhow::Result<Vec<(String, Vec<f32>)>> {
    entries(part)?.iter().step_by(step).map(|entry| Ok((entry.file.clone(), entry.sound()?))).collect()
}

/// What the list of the folder says of `part`.
fn entries(part: &str) -> anyhow::Result<Vec<Entry>> {
    let list = folder().join("MANIFEST.tsv");
    manifest::read(&list, &[part.to_owned()]).context("recorded sound is needed: name its folder in TIMBRE_DATA")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_becomes_events_of_20_ms() {
        let made = messages(&vec![0.5; CHUNK_SAMPLES + 1]);
        assert_eq!(made.len(), 2);
        for event in made {
            let event: serde_json::Value = serde_json::from_str(&event).expect("JSON");
            let audio = STANDARD.decode(event["audio"].as_str().expect("a text")).expect("base64");
            assert_eq!(audio.len(), 960);
            assert_eq!(&audio[..2], &16_383_i16.to_le_bytes());
        }
    }
}
