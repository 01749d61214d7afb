//! From what the encoder heard to tokens, and back to when each was said.

use std::borrow::Cow;

use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, Tensor, TensorRef};

use super::keywords::Keywords;
use super::{NAME, alignment, pieces, written};
use crate::onnx::{failed, open_giving_instead};
use crate::{ModelError, Waited, Weights};

/// First token of every transcript, and the one that ends it.
const START: i64 = 1;
const END: i64 = 2;
/// Shape of the decoder: layers, heads, width of a head.
const LAYERS: usize = 6;
const HEADS: usize = 8;
const HEAD: usize = 36;
/// Tokens of a draft that are looked at together once it went wrong: a pass over eight costs half more than one over one.
const CHUNK: usize = 8;
/// How many tokens a draft may have too many or too few before it is of no use.
const ASTRAY: usize = 6;

/// The decoder, for one thread.
pub(super) struct Decoder {
    session: Session,
    /// What each token writes.
    pub(super) pieces: Vec<Vec<u8>>,
    names: [CacheNames; LAYERS],
}

/// What the encoder made of a stretch.
pub(super) struct Encoded {
    /// (1, steps, width)
    pub(super) hidden: DynValue,
    /// A one for each sample.
    pub(super) mask: Vec<i64>,
}

/// What the decoder wrote.
#[derive(Clone, Default)]
pub(super) struct Written {
    /// Without the end.
    pub(super) tokens: Vec<i64>,
    /// Log probability of each token and, one more, of the end.
    pub(super) logs: Vec<f32>,
}

/// Names of one layer's cache tensors: decoder key and value, encoder key and value.
struct CacheNames {
    past: [String; 4],
    present: [String; 4],
}

impl Decoder {
    pub(super) fn open(weights: &Weights) -> Result<Decoder, ModelError> {
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
        Ok(Decoder {
            session: open_giving_instead(weights, &file("decoder_model_merged.ort")?, "then_branch", &attention_instead())?,
            pieces: pieces(&bytes).ok_or_else(|| failed(NAME, format!("{} is not a token list", tokenizer.display())))?,
            names,
        })
    }

    /// What tokens write, with the blank that stands before a word.
    pub(super) fn text(&self, tokens: &[i64]) -> String {
        written(&self.pieces, tokens)
    }

    /// At most so many tokens, the likeliest ones, and keywords where they are nearly as likely. A `draft` saves the time of writing those
    /// that would be chosen anyway. `None`: nobody waits any more.
    pub(super) fn write(
        &mut self,
        heard: &Encoded,
        draft: &[i64],
        most: usize,
        keywords: &Keywords,
        waited: &Waited,
    ) -> ort::Result<Option<Written>> {
        let mut cache = Cache::new();
        let (mut tokens, mut logs) = (Vec::with_capacity(most), Vec::with_capacity(most));
        // What the next tokens may be: at first the whole draft, then what follows in it where the two were last alike.
        let mut guess = &draft[..draft.len().min(most - 1)];
        loop {
            let ids: Vec<i64> = [*tokens.last().unwrap_or(&START)].iter().chain(guess).copied().collect();
            let cached = [!cache.is_empty()];
            let mut inputs = inputs(heard, &ids, &cached)?;
            if cache.is_empty() {
                inputs.extend(nothing(&self.names)?);
            } else {
                for (names, layer) in self.names.iter().zip(&cache) {
                    inputs.extend(names.past.iter().zip(layer).map(|(name, value)| (name.as_str().into(), value.into())));
                }
            }
            let mut outputs = self.session.run(inputs)?;
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
        Ok(Some(Written { tokens, logs }))
    }

    /// The steps of the sound at which `tokens` begin and, one more, at which the last one ends: the decoder writes them once more, all at
    /// once, and shows what it looks at.
    pub(super) fn align(&mut self, heard: &Encoded, tokens: &[i64]) -> ort::Result<Vec<usize>> {
        let mut sound = Vec::with_capacity(LAYERS);
        {
            let mut inputs = inputs(heard, &[START], &[false])?;
            inputs.extend(nothing(&self.names)?);
            let mut outputs = self.session.run(inputs)?;
            for CacheNames { present: [_, _, key, value], .. } in &self.names {
                let mut take = |name: &String| outputs.remove(name).expect("the decoder has its cache outputs");
                sound.push([take(key), take(value)]);
            }
        }
        let ids: Vec<i64> = [START].iter().chain(tokens).copied().collect();
        let mut inputs = inputs(heard, &ids, &[true])?;
        for (CacheNames { past: [dk, dv, ek, ev], .. }, [key, value]) in self.names.iter().zip(&sound) {
            for name in [dk, dv] {
                inputs.push((name.as_str().into(), Tensor::from_array(([1, HEADS, 0, HEAD], Vec::<f32>::new()))?.into()));
            }
            inputs.extend([(ek.as_str().into(), key.into()), (ev.as_str().into(), value.into())]);
        }
        let outputs = self.session.run(inputs)?;
        let mut starts: [Vec<usize>; alignment::HEADS.len()] = Default::default();
        for ((layer, head, _), starts) in alignment::HEADS.into_iter().zip(&mut starts) {
            let (_, all) = outputs[self.names[layer].present[2].as_str()].try_extract_tensor::<f32>()?;
            *starts = alignment::starts(&all[all.len() / HEADS * head..all.len() / HEADS * (head + 1)], ids.len());
        }
        Ok(alignment::middle(&starts))
    }
}

type Input<'a> = (Cow<'a, str>, SessionInputValue<'a>);

/// What every pass is given: what was heard, the tokens, and whether there is a memory of earlier ones.
fn inputs<'a>(heard: &'a Encoded, ids: &'a [i64], cached: &'a [bool; 1]) -> ort::Result<Vec<Input<'a>>> {
    Ok(vec![
        ("encoder_attention_mask".into(), TensorRef::from_array_view(([1, heard.mask.len()], &heard.mask[..]))?.into()),
        ("input_ids".into(), TensorRef::from_array_view(([1, ids.len()], ids))?.into()),
        ("encoder_hidden_states".into(), (&heard.hidden).into()),
        ("use_cache_branch".into(), TensorRef::from_array_view(([1], &cached[..]))?.into()),
    ])
}

/// In place of a memory where there is none.
fn nothing<'a>(names: &'a [CacheNames]) -> ort::Result<Vec<Input<'a>>> {
    static NOTHING: [f32; HEADS * HEAD] = [0.0; HEADS * HEAD];
    let empty = |name: &'a String| Ok((name.as_str().into(), TensorRef::from_array_view(([1, HEADS, 1, HEAD], &NOTHING[..]))?.into()));
    names.iter().flat_map(|names| &names.past).map(empty).collect()
}

/// Where it has a memory, the decoder gives the keys of the sound out unchanged and nobody reads them: let it give what its heads look at.
fn attention_instead() -> Vec<(String, String)> {
    let attention =
        |layer| (format!("present.{layer}.encoder.key"), format!("/model/decoder/layers.{layer}/encoder_attn/Softmax_output_0"));
    (0..LAYERS).map(attention).collect()
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
pub(super) fn follows<'d>(draft: &'d [i64], tokens: &[i64]) -> &'d [i64] {
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
