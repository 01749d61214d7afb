//! Moonshine tiny: English, a fiftieth of real time on one core (Jeffries et al. 2024, arXiv:2410.15608).
//!
//! A draft of the same utterance speeds up the next pass: its tokens go through the decoder at once, and those that greedy decoding
//! would choose are kept; where they part, the rest of the draft is tried again a few tokens at a time (speculative decoding with the
//! draft as the small model; the int8 activations are scaled over all tokens of a pass, so a near tie may fall differently than token by
//! token). A stretch heard before, sample for sample, costs nothing again.

mod alignment;
mod encoder;
mod keywords;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use audio::Rate;
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, Tensor, TensorRef};

pub(crate) use encoder::Encoder;
use keywords::Keywords;

use super::Recogniser;
use crate::emotion::Tone;
use crate::onnx::{failed, open_giving_instead};
use crate::{ErrorKind, Hint, Language, Measured, ModelError, Segment, Utterance, Waited, Weights};

const NAME: &str = "moonshine";
/// First token of every transcript, and the one that ends it.
const START: i64 = 1;
const END: i64 = 2;
/// What is not speech is heard as one sentence over and over: so many times in a row, and so many tokens at least, are no words. People
/// read out "zero zero zero zero".
const LOOPS: usize = 4;
const LOOPED: usize = 16;
/// Shape of the decoder: layers, heads, width of a head.
const LAYERS: usize = 6;
const HEADS: usize = 8;
const HEAD: usize = 36;
/// Speech has at most this many tokens a second; beyond it the model repeats itself (the published cap).
const TOKENS_PER_SECOND: f32 = 6.5;
/// The longest stretch the model hears well, seconds; longer sound is cut at its quietest point.
const LONGEST_S: f32 = 20.0;
/// Where the quietest point is looked for, before the longest stretch ends, seconds.
const CUT_WINDOW_S: f32 = 6.0;
/// Less sound than the encoder's stem needs makes no word, samples at 16 kHz.
const SHORTEST: usize = 1_600;

/// Tokens of a draft that are looked at together once it went wrong: a pass over eight costs half more than one over one.
const CHUNK: usize = 8;
/// How many tokens a draft may have too many or too few before it is of no use.
const ASTRAY: usize = 6;
/// Stretches remembered, a few for each caller that a machine can serve.
const MOST_DRAFTS: usize = 256;

/// The engine, for one thread.
pub struct Moonshine {
    encoder: Encoder,
    decoder: Session,
    pieces: Vec<Vec<u8>>,
    names: [CacheNames; LAYERS],
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

/// Names of one layer's cache tensors: decoder key and value, encoder key and value.
struct CacheNames {
    past: [String; 4],
    present: [String; 4],
}

impl Moonshine {
    /// Loads the model once for each of `threads`.
    pub fn load(weights: &Weights, threads: usize) -> Result<Vec<Moonshine>, ModelError> {
        let drafts = Arc::new(Mutex::new(HashMap::new()));
        (0..threads).map(|_| Moonshine::open(weights, drafts.clone())).collect()
    }

    fn open(weights: &Weights, drafts: Arc<Mutex<HashMap<u64, Draft>>>) -> Result<Moonshine, ModelError> {
        let file = |name| weights.file("moonshine-tiny-en", name);
        let names = std::array::from_fn(|layer| {
            let name = |prefix: &str, side: &str, part: &str| format!("{prefix}.{layer}.{side}.{part}");
            let four = |prefix: &str| {
                [("decoder", "key"), ("decoder", "value"), ("encoder", "key"), ("encoder", "value")].map(|(s, p)| name(prefix, s, p))
            };
            CacheNames { past: four("past_key_values"), present: four("present") }
        });
        let tokenizer = file("tokenizer.bin")?;
        let bytes = std::fs::read(&tokenizer).map_err(|e| failed(NAME, format!("{}: {e}", tokenizer.display())))?;
        Ok(Moonshine {
            encoder: Encoder::load(weights)?,
            decoder: open_giving_instead(weights, &file("decoder_model_merged.ort")?, "then_branch", &attention_instead())?,
            pieces: pieces(&bytes).ok_or_else(|| failed(NAME, format!("{} is not a token list", tokenizer.display())))?,
            names,
            drafts,
        })
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
        let samples = pcm.len();
        let mask = vec![1_i64; samples];
        let (hidden, tone) = if hint.tone {
            let (hidden, tone) = self.encoder.run_with_tone(pcm, &mask)?;
            (hidden, Some(tone))
        } else {
            (self.encoder.run(pcm, &mask)?, None)
        };
        if !waited.still() {
            return Ok(None);
        }
        let most = ((samples as f32 / Rate::MODEL.hz() as f32 * TOKENS_PER_SECOND).ceil() as usize).max(2);
        let (empty, mut cache) = ([0.0_f32; HEADS * HEAD], Cache::new());
        let (mut tokens, mut logs) = (Vec::with_capacity(most), Vec::with_capacity(most));
        // What the next tokens may be: at first the whole draft, then what follows in it where the two were last alike.
        let mut guess = &draft[..draft.len().min(most - 1)];
        loop {
            let ids: Vec<i64> = [*tokens.last().unwrap_or(&START)].iter().chain(guess).copied().collect();
            let cached = [!cache.is_empty()];
            let mut inputs: Vec<(Cow<str>, SessionInputValue)> = vec![
                ("encoder_attention_mask".into(), TensorRef::from_array_view(([1, samples], &mask[..]))?.into()),
                ("input_ids".into(), TensorRef::from_array_view(([1, ids.len()], &ids[..]))?.into()),
                ("encoder_hidden_states".into(), (&hidden).into()),
                ("use_cache_branch".into(), TensorRef::from_array_view(([1], &cached[..]))?.into()),
            ];
            if cache.is_empty() {
                for name in self.names.iter().flat_map(|names| &names.past) {
                    inputs.push((name.as_str().into(), TensorRef::from_array_view(([1, HEADS, 1, HEAD], &empty[..]))?.into()));
                }
            } else {
                for (names, layer) in self.names.iter().zip(&cache) {
                    inputs.extend(names.past.iter().zip(layer).map(|(name, value)| (name.as_str().into(), value.into())));
                }
            }
            let mut outputs = self.decoder.run(inputs)?;
            {
                let (_, logits) = outputs["logits"].try_extract_tensor::<f32>()?;
                let vocabulary = logits.len() / ids.len();
                for (position, row) in logits.chunks_exact(vocabulary).enumerate() {
                    let (mut token, mut log) = likeliest(row);
                    if !keywords.is_empty() {
                        let other = keywords.choose(row, token, &written(&self.pieces, &tokens), |token| written(&self.pieces, &[token]));
                        log += row[other as usize] - row[token as usize];
                        token = other;
                    }
                    tokens.push(token);
                    logs.push(log);
                    if token == END || guess.get(position) != Some(&token) {
                        break;
                    }
                }
            }
            if tokens.last() == Some(&END) || tokens.len() >= most {
                break;
            }
            if !waited.still() {
                return Ok(None);
            }
            grow(&mut cache, &self.names, &mut outputs, tokens.len())?;
            drop(outputs);
            guess = follows(draft, &tokens);
            guess = &guess[..guess.len().min(CHUNK).min(most - 1 - tokens.len())];
        }
        tokens.retain(|token| *token != END);
        // The end's own probability stays the last.
        let kept = once(&tokens);
        logs.drain(kept..tokens.len());
        tokens.truncate(kept);
        let starts = if hint.word_times.here() { self.align(&hidden, &mask, &tokens)? } else { Vec::new() };
        Ok(Some(Draft { whole: 0, tokens, logs, starts, tone }))
    }

    /// The steps of the sound at which `tokens` begin and, one more, at which the last one ends: the decoder writes them once more, all at
    /// once, and shows what it looks at.
    fn align(&mut self, hidden: &DynValue, mask: &[i64], tokens: &[i64]) -> ort::Result<Vec<usize>> {
        let one = [0.0_f32; HEADS * HEAD];
        let mut sound = Vec::with_capacity(LAYERS);
        {
            let mut inputs: Vec<(Cow<str>, SessionInputValue)> = vec![
                ("encoder_attention_mask".into(), TensorRef::from_array_view(([1, mask.len()], mask))?.into()),
                ("input_ids".into(), TensorRef::from_array_view(([1, 1], &[START][..]))?.into()),
                ("encoder_hidden_states".into(), hidden.into()),
                ("use_cache_branch".into(), TensorRef::from_array_view(([1], &[false][..]))?.into()),
            ];
            for name in self.names.iter().flat_map(|names| &names.past) {
                inputs.push((name.as_str().into(), TensorRef::from_array_view(([1, HEADS, 1, HEAD], &one[..]))?.into()));
            }
            let mut outputs = self.decoder.run(inputs)?;
            for CacheNames { present: [_, _, key, value], .. } in &self.names {
                let mut take = |name: &String| outputs.remove(name).expect("the decoder has its cache outputs");
                sound.push([take(key), take(value)]);
            }
        }
        let ids: Vec<i64> = [START].iter().chain(tokens).copied().collect();
        let mut inputs: Vec<(Cow<str>, SessionInputValue)> = vec![
            ("encoder_attention_mask".into(), TensorRef::from_array_view(([1, mask.len()], mask))?.into()),
            ("input_ids".into(), TensorRef::from_array_view(([1, ids.len()], &ids[..]))?.into()),
            ("encoder_hidden_states".into(), hidden.into()),
            ("use_cache_branch".into(), TensorRef::from_array_view(([1], &[true][..]))?.into()),
        ];
        for (CacheNames { past: [dk, dv, ek, ev], .. }, [key, value]) in self.names.iter().zip(&sound) {
            for name in [dk, dv] {
                inputs.push((name.as_str().into(), Tensor::from_array(([1, HEADS, 0, HEAD], Vec::<f32>::new()))?.into()));
            }
            inputs.extend([(ek.as_str().into(), key.into()), (ev.as_str().into(), value.into())]);
        }
        let outputs = self.decoder.run(inputs)?;
        let mut starts: [Vec<usize>; alignment::HEADS.len()] = Default::default();
        for ((layer, head, _), starts) in alignment::HEADS.into_iter().zip(&mut starts) {
            let (_, all) = outputs[self.names[layer].present[2].as_str()].try_extract_tensor::<f32>()?;
            *starts = alignment::starts(&all[all.len() / HEADS * head..all.len() / HEADS * (head + 1)], ids.len());
        }
        Ok(alignment::middle(&starts))
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
            let text = written(&self.pieces, &tokens).trim().to_owned();
            if text.is_empty() {
                continue;
            }
            if !utterance.text.is_empty() {
                utterance.text.push(' ');
            }
            utterance.text.push_str(&text);
            if hint.word_times.here() {
                let words = alignment::words(&self.pieces, &tokens, &logs, &starts, stretch);
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

/// Where it has a memory, the decoder gives the keys of the sound out unchanged and nobody reads them: let it give what its heads look at.
fn attention_instead() -> Vec<(String, String)> {
    let attention =
        |layer| (format!("present.{layer}.encoder.key"), format!("/model/decoder/layers.{layer}/encoder_attn/Softmax_output_0"));
    (0..LAYERS).map(attention).collect()
}

fn abandoned() -> ModelError {
    ModelError::new(ErrorKind::Closed, NAME, "nobody waits for this transcript any more")
}

/// What the decoder remembers of the sound and of the tokens so far: for each layer its own keys and values, then the encoder's.
type Cache = Vec<[DynValue; 4]>;

/// Takes what a pass remembers. Of what was guessed, only the first `length` tokens were right.
fn grow(cache: &mut Cache, names: &[CacheNames], outputs: &mut SessionOutputs<'_>, length: usize) -> ort::Result<()> {
    let mut take = |name: &String| outputs.remove(name).expect("the decoder has its cache outputs");
    if cache.is_empty() {
        for CacheNames { present: [dk, dv, ek, ev], .. } in names {
            cache.push([keep(take(dk), length)?, keep(take(dv), length)?, take(ek), take(ev)]);
        }
        return Ok(());
    }
    for (names, [key, value, ..]) in names.iter().zip(cache) {
        // The decoder's own keys and values grow; those of the encoder stay.
        (*key, *value) = (keep(take(&names.present[0]), length)?, keep(take(&names.present[1]), length)?);
    }
    Ok(())
}

/// What may come after `tokens` if `draft` is right from here on: the last token is looked for in the draft, nearest to where it would
/// be; where it is not there, it is taken for another word in the same place.
fn follows<'d>(draft: &'d [i64], tokens: &[i64]) -> &'d [i64] {
    let Some((last, before)) = tokens.split_last() else { return draft };
    let at = before.len();
    let near = (0..=ASTRAY).flat_map(|far| [at + far, at.saturating_sub(far)]).find(|near| draft.get(*near) == Some(last));
    draft.get(near.unwrap_or(at) + 1..).unwrap_or_default()
}

/// The first `length` positions of a cache tensor [1, heads, time, head].
fn keep(value: DynValue, length: usize) -> ort::Result<DynValue> {
    let kept = {
        let (shape, data) = value.try_extract_tensor::<f32>()?;
        let time = shape[2] as usize;
        if time <= length {
            None
        } else {
            let mut kept = Vec::with_capacity(HEADS * length * HEAD);
            for head in data.chunks_exact(time * HEAD) {
                kept.extend_from_slice(&head[..length * HEAD]);
            }
            Some(kept)
        }
    };
    match kept {
        None => Ok(value),
        Some(kept) => Ok(Tensor::from_array(([1, HEADS, length, HEAD], kept))?.into_dyn()),
    }
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

/// The likeliest token of one row of logits, and its log probability.
fn likeliest(logits: &[f32]) -> (i64, f32) {
    let (mut best, mut highest) = (0, f32::NEG_INFINITY);
    for (token, logit) in logits.iter().enumerate() {
        if *logit > highest {
            (best, highest) = (token, *logit);
        }
    }
    let sum: f32 = logits.iter().map(|logit| (logit - highest).exp()).sum();
    (best as i64, -sum.ln())
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
    // A pause between words is a tenth of a second or more; half of one is looked for every 10 ms.
    let (hop, pause) = (160, 5);
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
            assert_eq!(follows(&draft, tokens), next, "{tokens:?}");
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
