//! Recorded speech to play at the server: clips with their texts, from a folder that is not part of the project.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use audio::{Rate, resample};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::energy;

/// What a microphone sends at once: 20 ms.
pub(crate) const CHUNK: Duration = Duration::from_millis(20);
/// Samples of a chunk at [`Rate::SPEECH`].
pub(crate) const CHUNK_SAMPLES: usize = Rate::SPEECH.samples_in_ms(20).0 as usize;
/// No clip is longer.
const LONGEST: Duration = Duration::from_secs(120);

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
    let folder = folder();
    let list = folder.join("MANIFEST.tsv");
    let missing = || format!("there is no recorded speech at {}: name its folder in TIMBRE_DATA", list.display());
    let list = std::fs::read_to_string(&list).with_context(missing)?;
    let mut clips = Vec::new();
    for (file, text) in entries(&list, part).take(most) {
        let bytes = std::fs::read(folder.join(file)).with_context(|| format!("cannot read {file} of the recorded speech"))?;
        let recording = audio::container::decode(&bytes, LONGEST).with_context(|| format!("cannot decode {file}"))?;
        clips.extend(Clip::new(file.to_owned(), text.to_owned(), &recording));
    }
    anyhow::ensure!(!clips.is_empty(), "MANIFEST.tsv in {} lists no clip with a text under {part}", folder.display());
    Ok(clips)
}

/// Every `step`th recording under `part` of the folder, mono at [`Rate::MODEL`], with its name.
pub(crate) fn sounds(part: &str, step: usize) -> anyhow::Result<Vec<(String, Vec<f32>)>> {
    let folder = folder();
    let list = folder.join("MANIFEST.tsv");
    let missing = || format!("there is no recorded sound at {}: name its folder in TIMBRE_DATA", list.display());
    let list = std::fs::read_to_string(&list).with_context(missing)?;
    let files = list.lines().filter_map(|line| line.split('\t').next()).filter(|file| file.starts_with(part));
    let read = |file: &str| {
        let bytes = std::fs::read(folder.join(file)).with_context(|| format!("cannot read {file} of the recorded sound"))?;
        let recording = audio::container::decode(&bytes, LONGEST).with_context(|| format!("cannot decode {file}"))?;
        Ok((file.to_owned(), resample(&recording.pcm, recording.rate, Rate::MODEL)))
    };
    files.step_by(step).map(read).collect()
}

/// File and text of each line about `part` that has a text (columns: file, source, licence, language, label, speaker, length).
fn entries<'a>(list: &'a str, part: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    list.lines().filter_map(move |line| {
        let mut columns = line.split('\t');
        let file = columns.next().filter(|file| file.starts_with(part))?;
        let label = columns.nth(3)?;
        let text = label.split("; ").find_map(|label| label.strip_prefix("text="))?;
        Some((file, text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read() {
        let list = "file\tsource\tlicence\tlanguage\tlabel\tspeaker\tduration_s\n\
                    stt/en/read/a.flac\tx\tCC BY 4.0\ten\ttext=lobsters and lobsters\ts1\t2.37\n\
                    stt/en/read/b.flac\tx\tCC BY 4.0\ten\tnoise=fan\ts1\t2.37\n\
                    emotion/c.flac\tx\tCC0\ten\temotion=sad; text=by the door\ts2\t3.30\n\
                    stt/en/read/short\n";
        let of = |part| entries(list, part).collect::<Vec<_>>();
        assert_eq!(of("stt/en/read"), [("stt/en/read/a.flac", "lobsters and lobsters")]);
        assert_eq!(of("emotion"), [("emotion/c.flac", "by the door")]);
        assert_eq!(of("tel"), []);
    }

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
