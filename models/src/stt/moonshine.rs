//! Moonshine tiny: English, a fiftieth of real time on one core (Jeffries et al. 2024, arXiv:2410.15608).
//!
//! A draft of the same utterance speeds up the next pass: its tokens go through the decoder at once, and those that greedy decoding
//! would choose are kept; where they part, the rest of the draft is tried again a few tokens at a time (speculative decoding with the
//! draft as the small model; the int8 activations are scaled over all tokens of a pass, so a near tie may fall differently than token by
//! token). A stretch heard before, sample for sample, costs nothing again.

mod alignment;
mod decoder;
mod encoder;
mod keywords;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use audio::Rate;
use decoder::{Decoder, Encoded, Written};
pub(crate) use encoder::Encoder;
use keywords::Keywords;

use super::Recogniser;
use crate::emotion::Tone;
use crate::onnx::failed;
use crate::{ErrorKind, Hint, Language, Measured, ModelError, Segment, Utterance, Waited, Weights};

const NAME: &str = "moonshine";
/// What is not speech is heard as one sentence over and over: so many times in a row, and so many tokens at least, are no words. People
/// read out "zero zero zero zero".
const LOOPS: usize = 4;
const LOOPED: usize = 16;
/// Speech has at most this many tokens a second; beyond it the model repeats itself (the published cap).
const TOKENS_PER_SECOND: f32 = 6.5;
/// The longest stretch the model hears well, seconds; longer sound is cut at its quietest point.
const LONGEST_S: f32 = 20.0;
/// Where the quietest point is looked for, before the longest stretch ends, seconds.
const CUT_WINDOW_S: f32 = 6.0;
/// Less sound than the encoder's stem needs makes no word, samples at 16 kHz.
const SHORTEST: usize = 1_600;

/// Stretches remembered, a few for each caller that a machine can serve.
const MOST_DRAFTS: usize = 256;

/// The engine, for one thread.
pub struct Moonshine {
    encoder: Encoder,
    decoder: Decoder,
    /// What was heard of recent stretches, shared by the threads, by the hash of a stretch's first samples.
    drafts: Arc<Mutex<HashMap<u64, Draft>>>,
}

/// What a pass heard in a stretch.
#[derive(Clone, Default)]
struct Draft {
    /// Hash of the whole stretch.
    whole: u64,
    tokens: Vec<i64>,
    /// Log probability of each token and, one more, of the end.
    logs: Vec<f32>,
    /// The steps at which the tokens begin and, one more, at which the last one ends; empty where nobody wanted to know.
    starts: Vec<usize>,
    /// How it sounds, where somebody wanted to know.
    tone: Option<Tone>,
}

impl Moonshine {
    /// Loads the model once for each of `threads`.
    pub fn load(weights: &Weights, threads: usize) -> Result<Vec<Moonshine>, ModelError> {
        let drafts = Arc::new(Mutex::new(HashMap::new()));
        (0..threads).map(|_| Moonshine::open(weights, drafts.clone())).collect()
    }

    fn open(weights: &Weights, drafts: Arc<Mutex<HashMap<u64, Draft>>>) -> Result<Moonshine, ModelError> {
        Ok(Moonshine { encoder: Encoder::load(weights)?, decoder: Decoder::open(weights)?, drafts })
    }

    /// Transcribes a stretch, starting from what is already known of it.
    fn hear(&mut self, stretch: &[f32], hint: &Hint, keywords: &Keywords, waited: &Waited) -> Result<Draft, ModelError> {
        let (key, whole) = (hash(&stretch[..SHORTEST]) ^ keywords.hash(), hash(stretch));
        let known = self.drafts.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned().unwrap_or_default();
        if known.whole == whole && known.tone.is_some() >= hint.tone && !known.starts.is_empty() >= hint.word_times.here() {
            return Ok(known);
        }
        let heard = self.run(stretch, &known.tokens, hint, keywords, waited).map_err(|error| failed(NAME, error))?;
        let heard = Draft { whole, ..heard.ok_or_else(abandoned)? };
        let mut drafts = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        // Drafts of utterances that are over must not pile up.
        if drafts.len() >= MOST_DRAFTS {
            drafts.clear();
        }
        drafts.insert(key, heard.clone());
        Ok(heard)
    }

    /// Transcribes at most [`LONGEST_S`] seconds. `None`: nobody waits any more.
    fn run(&mut self, pcm: &[f32], draft: &[i64], hint: &Hint, keywords: &Keywords, waited: &Waited) -> ort::Result<Option<Draft>> {
        let mask = vec![1_i64; pcm.len()];
        let (hidden, tone) = if hint.tone {
            let (hidden, tone) = self.encoder.run_with_tone(pcm, &mask)?;
            (hidden, Some(tone))
        } else {
            (self.encoder.run(pcm, &mask)?, None)
        };
        if !waited.still() {
            return Ok(None);
        }
        let heard = Encoded { hidden, mask };
        let most = ((pcm.len() as f32 / Rate::MODEL.hz() as f32 * TOKENS_PER_SECOND).ceil() as usize).max(2);
        let Some(plain) = self.decoder.write(&heard, draft, most, &Keywords::none(), waited)? else { return Ok(None) };
        let Written { mut tokens, mut logs } = if keywords.is_empty() {
            plain
        } else {
            let Some(favoured) = self.decoder.write(&heard, &plain.tokens, most, keywords, waited)? else { return Ok(None) };
            // A keyword that was begun and not ended has spoilt another word.
            let found = |written: &Written| keywords.found(&self.decoder.text(&written.tokens));
            if found(&favoured) > found(&plain) { favoured } else { plain }
        };
        // The end's own probability stays the last.
        let kept = once(&tokens);
        logs.drain(kept..tokens.len());
        tokens.truncate(kept);
        let starts = if hint.word_times.here() { self.decoder.align(&heard, &tokens)? } else { Vec::new() };
        Ok(Some(Draft { whole: 0, tokens, logs, starts, tone }))
    }
}

impl Recogniser for Moonshine {
    fn recognise(&mut self, pcm: &[f32], hint: &Hint, waited: &Waited) -> Result<Utterance, ModelError> {
        let mut utterance = Utterance {
            duration: Duration::from_secs_f64(pcm.len() as f64 / f64::from(Rate::MODEL.hz())),
            language: Some(Measured::new(Language::ENGLISH, 0.5, NAME)),
            engine: NAME.to_owned(),
            ..Utterance::default()
        };
        let keywords = Keywords::new(&hint.keywords);
        let (mut weight, mut sum) = (0, 0.0);
        let at = |sample: usize| Duration::from_secs_f64(sample as f64 / f64::from(Rate::MODEL.hz()));
        for (start, stretch) in stretches(pcm) {
            if stretch.len() < SHORTEST {
                continue;
            }
            let Draft { tokens, logs, starts, tone, .. } = self.hear(stretch, hint, &keywords, waited)?;
            if let Some(tone) = tone.filter(|_| hint.tone) {
                utterance.tone.get_or_insert_default().add(&tone, at(start));
            }
            let log_probability = logs.iter().sum::<f32>();
            sum += log_probability;
            weight += logs.len();
            let text = self.decoder.text(&tokens).trim().to_owned();
            if text.is_empty() {
                continue;
            }
            if !utterance.text.is_empty() {
                utterance.text.push(' ');
            }
            utterance.text.push_str(&text);
            if hint.word_times.here() {
                let words = alignment::words(&self.decoder.pieces, &tokens, &logs, &starts, stretch);
                let moved = |word: crate::Word| crate::Word { start: at(start) + word.start, end: at(start) + word.end, ..word };
                utterance.words.extend(words.into_iter().map(moved));
            }
            utterance.segments.push(Segment {
                text,
                start: at(start),
                end: at(start + stretch.len()),
                avg_logprob: Some(log_probability / logs.len().max(1) as f32),
                no_speech: None,
            });
        }
        utterance.confidence = (weight > 0).then(|| audio::Probability::new((sum / weight as f32).exp()));
        Ok(utterance)
    }
}

fn abandoned() -> ModelError {
    ModelError::new(ErrorKind::Closed, NAME, "nobody waits for this transcript any more")
}

/// What tokens write, with the blank that stands before a word.
fn written(pieces: &[Vec<u8>], tokens: &[i64]) -> String {
    let mut bytes = Vec::new();
    for token in tokens {
        let piece = usize::try_from(*token).ok().and_then(|token| pieces.get(token)).map_or(&[][..], Vec::as_slice);
        match piece {
            // Byte pieces, for what the vocabulary has no piece for.
            [b'<', b'0', b'x', high, low, b'>'] => {
                let digit = |d: u8| (d as char).to_digit(16).map(|d| d as u8);
                bytes.extend(digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low));
            }
            [b'<', .., b'>'] => {}
            piece => bytes.extend_from_slice(piece),
        }
    }
    String::from_utf8_lossy(&bytes).replace('\u{2581}', " ")
}

/// How many of `tokens` are left where what is said over and over at their end is said once.
fn once(tokens: &[i64]) -> usize {
    let looped = |length: &usize| {
        let same =
            tokens.iter().rev().zip(tokens[..tokens.len() - length].iter().rev()).take_while(|(later, earlier)| later == earlier).count();
        (same + length >= (LOOPS * length).max(LOOPED)).then_some(tokens.len() - same)
    };
    (1..=tokens.len() / LOOPS).find_map(|length| looped(&length)).unwrap_or(tokens.len())
}

/// FNV-1a over the bits of the samples.
fn hash(pcm: &[f32]) -> u64 {
    pcm.iter().fold(0xcbf2_9ce4_8422_2325, |hash, sample| (hash ^ u64::from(sample.to_bits())).wrapping_mul(0x0100_0000_01b3))
}

/// Cuts long sound at its quietest moments. The cuts depend on the sound before them alone, so a growing utterance keeps them.
fn stretches(pcm: &[f32]) -> Vec<(usize, &[f32])> {
    let rate = Rate::MODEL.hz() as f32;
    let (longest, window) = ((LONGEST_S * rate) as usize, (CUT_WINDOW_S * rate) as usize);
    // A pause in which somebody breathes, looked for every 10 ms: a fifth of a second. Shorter ones are the closures of stops, and a word
    // that is cut in two there is heard as two others.
    let (hop, pause) = (160, 20);
    let mut cuts = Vec::new();
    let mut start = 0;
    while pcm.len() - start > longest {
        let from = start + longest - window;
        let energies: Vec<f32> = pcm[from..start + longest].chunks_exact(hop).map(|c| c.iter().map(|s| s * s).sum()).collect();
        let energy = |run: &[f32]| run.iter().sum::<f32>();
        let quietest = energies
            .windows(pause)
            .enumerate()
            .min_by(|a, b| energy(a.1).total_cmp(&energy(b.1)))
            .map_or(window, |(index, _)| index * hop + hop * pause / 2);
        cuts.push((start, &pcm[start..from + quietest]));
        start = from + quietest;
    }
    cuts.push((start, &pcm[start..]));
    cuts
}

/// Pieces of the vocabulary: each with its length before it, one byte below 128, else two (low seven bits first).
fn pieces(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        let (length, after) = if first < 128 {
            (usize::from(first), after)
        } else {
            let (&second, after) = after.split_first()?;
            (usize::from(second) * 128 + usize::from(first) - 128, after)
        };
        pieces.push(after.get(..length)?.to_vec());
        rest = &after[length..];
    }
    (!pieces.is_empty()).then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_list_is_read_and_a_cut_one_refused() {
        assert_eq!(pieces(&[1, b'a', 0, 2, b'b', b'c']), Some(vec![b"a".to_vec(), vec![], b"bc".to_vec()]));
        let mut long = vec![0x80 | 2, 1];
        long.extend(vec![b'x'; 130]);
        assert_eq!(pieces(&long), Some(vec![vec![b'x'; 130]]));
        for bad in [&[3, b'a'][..], &[0x81], &[]] {
            assert_eq!(pieces(bad), None);
        }
    }

    #[test]
    fn the_tone_of_a_voice_changes_no_word() {
        let weights = Weights::new(Weights::default_folder());
        let Ok(file) = weights.file("moonshine-tiny-en", "beckett.wav") else {
            eprintln!("skipped: moonshine-tiny-en is not installed");
            return;
        };
        let bytes = std::fs::read(file).expect("readable");
        let recording = audio::container::decode(&bytes, Duration::from_secs(60)).expect("a recording");
        let pcm = audio::resample(&recording.pcm, recording.rate, Rate::MODEL);
        let hear = |tone: bool| {
            let mut moonshine = Moonshine::load(&weights, 1).expect("it loads").remove(0);
            moonshine.recognise(&pcm, &Hint { tone, ..Hint::default() }, &Waited::by(&|| false)).expect("it hears")
        };
        let (plain, toned) = (hear(false), hear(true));
        assert_eq!((&plain.text, plain.confidence, plain.tone), (&toned.text, toned.confidence, None));
        let numbers = toned.tone.expect("it was wanted").numbers();
        assert_eq!(numbers.len(), crate::Heads::moonshine().inputs());
        assert!(numbers.iter().all(|number| number.is_finite()));
        assert!(!plain.text.is_empty());
    }

    #[test]
    fn what_is_said_over_and_over_is_said_once() {
        let looped = |before: &[i64], sentence: &[i64], tokens: usize| -> Vec<i64> {
            before.iter().chain(sentence.iter().cycle().take(tokens)).copied().collect()
        };
        for (tokens, kept) in [
            (looped(&[], &[1, 2, 3, 4, 5], 85), 5),
            (looped(&[7, 8], &[1, 2, 3, 4, 5], 83), 7),
            (looped(&[7, 8], &[1], 40), 3),
            // A refrain, and a number that is read out.
            (looped(&[7], &[1, 2, 3, 4, 5], 15), 16),
            (looped(&[7], &[1], 8), 9),
            (looped(&[], &[], 0), 0),
            ((0..50).collect(), 50),
        ] {
            assert_eq!(once(&tokens), kept, "{tokens:?}");
        }
    }

    #[test]
    fn a_draft_goes_on_where_it_was_last_right() {
        let draft = [5, 6, 7, 8, 9];
        for (tokens, next) in [
            (&[][..], &[5, 6, 7, 8, 9][..]),
            (&[5, 6, 3], &[8, 9]),
            (&[5, 7], &[8, 9]),
            (&[5, 6, 3, 3, 7], &[8, 9]),
            (&[5, 6, 7, 8, 3], &[]),
            (&[1, 2, 3, 4, 4, 4, 4, 4], &[]),
        ] {
            assert_eq!(super::decoder::follows(&draft, tokens), next, "{tokens:?}");
        }
    }

    #[test]
    fn long_sound_is_cut_at_its_quietest_and_nothing_is_lost() {
        let rate = Rate::MODEL.hz() as usize;
        let mut pcm = vec![0.5; rate * 45];
        pcm[rate * 17..rate * 17 + 1_600].fill(0.0);
        let cut = stretches(&pcm);
        assert_eq!(cut.len(), 3);
        assert!((rate * 17..rate * 17 + 1_600).contains(&cut[0].1.len()), "{}", cut[0].1.len());
        assert_eq!(cut.iter().map(|(_, s)| s.len()).sum::<usize>(), pcm.len());
        assert_eq!(stretches(&[]).len(), 1);
    }
}
