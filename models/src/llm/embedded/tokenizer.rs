//! Text to tokens and back, from the vocabulary inside a GGUF file: byte-level BPE ("gpt2") and SentencePiece's BPE ("llama").

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use fancy_regex::Regex;

use super::gguf::{Gguf, whole};
use crate::ModelError;

/// A noncharacter that the template puts into text of strangers that looks like a special token; removed before tokenising.
pub(super) const GUARD: char = '\u{FDD0}';

/// Texts that end an answer, whatever the file says of its end token.
const ENDS: [&str; 8] = ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_turn>", "</s>", "<eos>"];

/// Contractions, letters, digits, other, blanks: what the byte-level models split a text into before merging.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Each digit by itself, then as GPT2.
const SMOLLM: &[&str] = &[r"\p{N}", GPT2];
/// Llama 3: up to three digits, any one sign before letters.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// As LLAMA3, each digit by itself.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A vocabulary and how to use it.
pub(super) struct Tokenizer {
    /// The bytes that each token stands for.
    pieces: Vec<Box<[u8]>>,
    ids: HashMap<Box<[u8]>, u32>,
    /// Special tokens, the longest first.
    specials: Vec<(String, u32)>,
    ends: Vec<u32>,
    kind: Kind,
    /// The token to begin with, where the model wants one.
    first: Option<u32>,
    /// Text of the begin and end tokens, for the template.
    pub(super) begin: String,
    /// Text of the end token.
    pub(super) end: String,
}

enum Kind {
    ByteLevel {
        split: Vec<Regex>,
        /// Rank and result of merging two tokens.
        merges: HashMap<(u32, u32), (u32, u32)>,
        /// A part that is a token as a whole is not built from merges.
        whole_first: bool,
    },
    SentencePiece {
        scores: Vec<f32>,
        /// Tokens of single bytes.
        bytes: Vec<Option<u32>>,
        unknown: Option<u32>,
        leading_space: bool,
    },
}

impl Tokenizer {
    /// From a file's metadata, for a decoder that knows `vocabulary` tokens.
    pub(super) fn read(gguf: &Gguf, vocabulary: usize) -> Result<Tokenizer, ModelError> {
        let tokens = gguf.list("tokenizer.ggml.tokens");
        if tokens.is_empty() || tokens.len() > vocabulary {
            return Err(gguf.unusable(format!("its tokenizer has {} tokens, the decoder {vocabulary}", tokens.len())));
        }
        let texts: Vec<&str> = tokens.iter().map(|token| token.to_string().map_or("", String::as_str)).collect();
        let types: Vec<usize> = gguf.list("tokenizer.ggml.token_type").iter().map(|kind| whole(kind).unwrap_or(1)).collect();
        // Types as llama.cpp numbers them: 3 control, 4 added by the user, 6 a byte.
        let special = |id: usize| matches!(types.get(id), Some(3 | 4));
        let byte_level = match gguf.text("tokenizer.ggml.model") {
            Some("gpt2") => true,
            Some("llama") => false,
            other => return Err(gguf.unusable(format!("its tokenizer is {:?}; gpt2 and llama are known", other.unwrap_or_default()))),
        };
        let byte = |id: usize| (types.get(id) == Some(&6)).then(|| u8::from_str_radix(texts[id].get(3..5)?, 16).ok()).flatten();
        let letters = byte_letters();
        let pieces: Vec<Box<[u8]>> = (texts.iter().enumerate())
            .map(|(id, text)| match byte(id) {
                Some(byte) => Box::from([byte]),
                None if special(id) => text.as_bytes().into(),
                None if byte_level => text.chars().filter_map(|letter| letters.get(&letter).copied()).collect(),
                None => text.replace('\u{2581}', " ").into_bytes().into(),
            })
            .collect();
        let mut ids = HashMap::new();
        for (id, piece) in pieces.iter().enumerate().rev().filter(|(id, _)| !special(*id) && byte(*id).is_none()) {
            ids.insert(piece.clone(), id as u32);
        }
        let mut specials: Vec<(String, u32)> =
            (0..texts.len()).filter(|id| special(*id) && !texts[*id].is_empty()).map(|id| (texts[id].to_owned(), id as u32)).collect();
        specials.sort_by_key(|(text, _)| Reverse(text.len()));

        let named = |name: &str| gguf.number(&format!("tokenizer.ggml.{name}_token_id")).filter(|id| *id < texts.len());
        let mut ends: Vec<u32> = ["eos", "eot", "eom"].iter().filter_map(|name| named(name)).map(|id| id as u32).collect();
        ends.extend(specials.iter().filter(|(text, _)| ENDS.contains(&text.as_str())).map(|(_, id)| *id));
        let pre = gguf.text("tokenizer.ggml.pre").unwrap_or("default");
        let llama3 = byte_level && ["llama-bpe", "llama3", "llama-v3"].contains(&pre);
        let kind = if byte_level {
            let by_text: HashMap<&str, u32> = texts.iter().enumerate().map(|(id, text)| (*text, id as u32)).collect();
            let mut merges = HashMap::new();
            for (rank, merge) in gguf.list("tokenizer.ggml.merges").iter().enumerate() {
                let pair = merge.to_string().ok().and_then(|merge| merge.split_once(' '));
                let Some((left, right)) = pair else { continue };
                let joined = [left, right].concat();
                if let (Some(l), Some(r), Some(to)) = (by_text.get(left), by_text.get(right), by_text.get(joined.as_str())) {
                    merges.insert((*l, *r), (rank as u32, *to));
                }
            }
            let patterns: &[&str] = match pre {
                "llama-bpe" | "llama3" | "llama-v3" => &[LLAMA3],
                "qwen2" | "deepseek-r1-qwen" | "megrez" => &[QWEN2],
                "smollm" | "starcoder" | "refact" | "command-r" => SMOLLM,
                "gpt-2" | "default" | "" => &[GPT2],
                other => return Err(gguf.unusable(format!("its pre-tokenizer {other:?} is not known"))),
            };
            let split = patterns.iter().map(|pattern| Regex::new(pattern)).collect::<Result<_, _>>();
            Kind::ByteLevel { split: split.map_err(|error| gguf.unusable(error))?, merges, whole_first: llama3 }
        } else {
            let mut bytes = vec![None; 256];
            for id in 0..texts.len() {
                if let Some(byte) = byte(id) {
                    bytes[usize::from(byte)] = Some(id as u32);
                }
            }
            let scores = gguf.list("tokenizer.ggml.scores").iter().map(|score| score.to_f32().unwrap_or(0.0)).collect();
            let leading_space = gguf.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true);
            Kind::SentencePiece { scores, bytes, unknown: named("unknown").map(|id| id as u32), leading_space }
        };
        let add_first = gguf.flag("tokenizer.ggml.add_bos_token").unwrap_or(!byte_level || llama3);
        let text = |id: Option<usize>| id.map_or(String::new(), |id| texts[id].to_owned());
        Ok(Tokenizer {
            begin: text(named("bos")),
            end: text(named("eos")),
            first: named("bos").filter(|_| add_first).map(|id| id as u32),
            pieces,
            ids,
            specials,
            ends,
            kind,
        })
    }

    /// The bytes that a token stands for; none for a special one.
    pub(super) fn piece(&self, token: u32) -> &[u8] {
        self.pieces.get(token as usize).map_or(&[], |piece| piece)
    }

    /// Whether a token ends the answer.
    pub(super) fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// Texts of the special tokens.
    pub(super) fn specials(&self) -> impl Iterator<Item = &str> {
        self.specials.iter().map(|(text, _)| text.as_str())
    }

    /// The tokens of a rendered prompt.
    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        if !self.begin.is_empty() && !text.starts_with(&self.begin) {
            tokens.extend(self.first);
        }
        let mut plain_from = 0;
        let mut at = 0;
        while at < text.len() {
            let here = self.specials.iter().find(|(special, _)| text.as_bytes()[at..].starts_with(special.as_bytes()));
            if let Some((special, id)) = here {
                self.encode_plain(&text[plain_from..at], &mut tokens);
                tokens.push(*id);
                at += special.len();
                plain_from = at;
            } else {
                at += 1;
            }
        }
        self.encode_plain(&text[plain_from..], &mut tokens);
        tokens
    }

    fn encode_plain(&self, text: &str, tokens: &mut Vec<u32>) {
        let text = text.replace(GUARD, "");
        if text.is_empty() {
            return;
        }
        match &self.kind {
            Kind::ByteLevel { split, merges, whole_first } => {
                let mut parts = vec![text.as_str()];
                for pattern in split {
                    parts = parts.iter().flat_map(|part| cut(pattern, part)).collect();
                }
                for part in parts {
                    if let Some(id) = self.ids.get(part.as_bytes()).filter(|_| *whole_first) {
                        tokens.push(*id);
                        continue;
                    }
                    let symbols = part.as_bytes().iter().filter_map(|byte| self.ids.get(&[*byte][..]).copied());
                    let merged = merge(symbols.collect(), |left, right| merges.get(&(left, right)).copied());
                    tokens.extend(merged);
                }
            }
            Kind::SentencePiece { scores, bytes, unknown, leading_space } => {
                let text = if *leading_space { format!(" {text}") } else { text };
                // A character that is no token stands as its bytes' tokens, which never merge.
                let mut symbols = Vec::new();
                let mut buffer = [0; 4];
                for letter in text.chars() {
                    let letter = letter.encode_utf8(&mut buffer).as_bytes();
                    match self.ids.get(letter) {
                        Some(id) => symbols.push(*id),
                        None => symbols.extend(letter.iter().filter_map(|byte| bytes[usize::from(*byte)].or(*unknown))),
                    }
                }
                tokens.extend(merge(symbols, |left, right| {
                    let (left, right) = (self.piece(left), self.piece(right));
                    let to = *self.ids.get(&[left, right].concat()[..])?;
                    let score = scores.get(to as usize).copied().unwrap_or(0.0);
                    Some((ordered(-score), to))
                }));
            }
        }
    }
}

/// Merges neighbours, the lowest rank first and of equals the leftmost, until none can be.
fn merge(mut symbols: Vec<u32>, rank: impl Fn(u32, u32) -> Option<(u32, u32)>) -> Vec<u32> {
    const GONE: u32 = u32::MAX;
    let count = symbols.len();
    let mut next: Vec<usize> = (1..=count).collect();
    let mut previous: Vec<usize> = (0..count).map(|at| at.wrapping_sub(1)).collect();
    let mut queue = BinaryHeap::new();
    let push = |queue: &mut BinaryHeap<_>, symbols: &[u32], left: usize, right: usize| {
        if let (Some(a), Some(b)) = (symbols.get(left), symbols.get(right))
            && let Some((rank, to)) = rank(*a, *b)
        {
            queue.push(Reverse((rank, left, right, *a, *b, to)));
        }
    };
    for left in 1..count {
        push(&mut queue, &symbols, left - 1, left);
    }
    while let Some(Reverse((_, left, right, a, b, to))) = queue.pop() {
        if symbols[left] != a || symbols[right] != b || next[left] != right {
            continue;
        }
        symbols[left] = to;
        symbols[right] = GONE;
        next[left] = next[right];
        if let Some(after) = previous.get_mut(next[left]) {
            *after = left;
        }
        push(&mut queue, &symbols, previous[left], left);
        push(&mut queue, &symbols, left, next[left]);
    }
    symbols.retain(|symbol| *symbol != GONE);
    symbols
}

/// A float as a number of the same order.
fn ordered(float: f32) -> u32 {
    let bits = float.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

/// The matches of a pattern and what lies between them.
fn cut<'t>(pattern: &Regex, text: &'t str) -> Vec<&'t str> {
    let mut parts = Vec::new();
    let mut end = 0;
    // A match that fails (a limit of the engine) leaves the rest in one part.
    for found in pattern.find_iter(text).map_while(Result::ok) {
        if found.start() > end {
            parts.push(&text[end..found.start()]);
        }
        if found.end() > found.start() {
            parts.push(found.as_str());
        }
        end = found.end();
    }
    if end < text.len() {
        parts.push(&text[end..]);
    }
    parts
}

/// The letter that stands for each byte in a byte-level vocabulary: printable Latin-1 for itself, the rest from U+0100 on.
pub(super) fn byte_letters() -> HashMap<char, u8> {
    let mut other = 0x100;
    let mut letters = HashMap::new();
    for byte in 0..=255_u8 {
        let letter = match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
            _ => {
                other += 1;
                char::from_u32(other - 1).unwrap_or_default()
            }
        };
        letters.insert(letter, byte);
    }
    letters
}
