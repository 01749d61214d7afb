//! What part of speech a word is, by an averaged perceptron over the words around it.
//!
//! "Read", "live" and "record" are said differently as verb and noun, so the lexicon needs to know. A word that is nearly always
//! the same part of speech is answered from a dictionary; the others are scored.

use std::path::Path;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::strings::Strings;
use super::{ModelError, read_json};

/// Penn Treebank tags with what speaks for each.
pub(super) struct Tagger {
    tags: Vec<String>,
    /// Words with one tag, and that tag.
    sure: Strings,
    sure_tags: Vec<u8>,
    /// Words frequent enough to be features themselves.
    vocabulary: Strings,
    /// Features, and where the weights of each end in `weights`.
    features: Strings,
    ends: Vec<u32>,
    /// A tag and how much the feature speaks for it, in tenths.
    weights: Vec<(u8, i16)>,
}

/// The file: as [`Tagger`], with names for tags.
#[derive(Deserialize)]
struct File {
    tags: Vec<String>,
    tagdict: std::collections::HashMap<String, String>,
    vocab: Vec<String>,
    weights: Weights,
}

/// Feature -> tag -> weight, flattened while it is read.
#[derive(Default)]
struct Weights {
    features: Strings,
    ends: Vec<u32>,
    weights: Vec<(TagName, i16)>,
}

/// A tag's name of at most 5 letters, without an allocation.
type TagName = [u8; 5];

fn tag_name(name: &str) -> TagName {
    let mut letters = TagName::default();
    for (to, from) in letters.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    letters
}

impl<'de> Deserialize<'de> for Weights {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Weights, D::Error> {
        struct Features;
        impl<'de> Visitor<'de> for Features {
            type Value = Weights;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("features with the weights of tags")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Weights, A::Error> {
                let mut weights = Weights::default();
                while let Some(feature) = map.next_key::<String>()? {
                    weights.features.push(&feature);
                    for (tag, weight) in map.next_value::<Tags>()?.0 {
                        weights.weights.push((tag, (weight * 10.0).round() as i16));
                    }
                    weights.ends.push(weights.weights.len() as u32);
                }
                Ok(weights)
            }
        }
        deserializer.deserialize_map(Features)
    }
}

/// The weights of one feature, in the order of the file.
struct Tags(Vec<(TagName, f32)>);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Tags, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Tags;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("tags with weights")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tags, A::Error> {
                let mut tags = Vec::new();
                while let Some(tag) = map.next_key::<&str>()? {
                    tags.push((tag_name(tag), map.next_value()?));
                }
                Ok(Tags(tags))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Stands for the words before the first and after the last.
const START: [&str; 2] = ["-START2-", "-START-"];
const END: [&str; 2] = ["-END-", "-END2-"];
/// The tag of a word about which nothing is known.
const NOUN: &str = "NN";

impl Tagger {
    pub(super) fn open(path: &Path) -> Result<Tagger, ModelError> {
        let file: File = read_json(path)?;
        // In reverse order of name, so that the first of equals is the one to take.
        let mut tags = file.tags;
        tags.sort_unstable_by(|a, b| b.cmp(a));
        let index = |name: TagName| tags.iter().position(|tag| tag_name(tag) == name).unwrap_or_default() as u8;

        let mut sure = Strings::default();
        let mut sure_tags = Vec::new();
        let mut known: Vec<_> = file.tagdict.into_iter().collect();
        known.sort_unstable();
        for (word, tag) in &known {
            sure.push(word);
            sure_tags.push(index(tag_name(tag)));
        }
        let mut words = file.vocab;
        words.sort_unstable();
        let mut vocabulary = Strings::default();
        words.iter().for_each(|word| vocabulary.push(word));

        let from = file.weights;
        let order = from.features.order();
        let features = from.features.reordered(&order);
        let mut weights = Vec::with_capacity(from.weights.len());
        let mut ends = Vec::with_capacity(order.len());
        let numbers: std::collections::HashMap<TagName, u8> = tags.iter().map(|tag| (tag_name(tag), index(tag_name(tag)))).collect();
        for feature in order {
            let start = if feature == 0 { 0 } else { from.ends[feature - 1] as usize };
            let of_feature = &from.weights[start..from.ends[feature] as usize];
            weights.extend(of_feature.iter().filter_map(|(tag, weight)| Some((*numbers.get(tag)?, *weight))));
            ends.push(weights.len() as u32);
        }
        Ok(Tagger { tags, sure, sure_tags, vocabulary, features, ends, weights })
    }

    /// The tag of each word of a text.
    pub(super) fn tag(&self, words: &[&str]) -> Vec<&str> {
        let mut around: Vec<String> = START.iter().map(|s| (*s).to_owned()).collect();
        around.extend(words.iter().map(|word| {
            let norm = norm(word);
            if self.vocabulary.find(&norm).is_some() { norm } else { format!("<{}>", shape(word)) }
        }));
        around.extend(END.iter().map(|s| (*s).to_owned()));

        let mut tags: Vec<&str> = Vec::with_capacity(words.len());
        let (mut before, mut before_that) = (START[1], START[0]);
        for (index, word) in words.iter().enumerate() {
            let tag = match self.sure.find(word) {
                Some(at) => &self.tags[usize::from(self.sure_tags[at])],
                None => self.score(word, &around[index..index + 5], index == 0, [before, before_that]),
            };
            tags.push(tag);
            (before_that, before) = (before, tag);
        }
        tags
    }

    /// The likeliest tag of `word`; `around` is two words before it to two after it, `before` the tags of the two before, nearest first.
    fn score(&self, word: &str, around: &[String], first: bool, before: [&str; 2]) -> &str {
        let mut scores = vec![0_i32; self.tags.len()];
        let mut scored = false;
        let mut key = String::with_capacity(32);
        let mut add = |parts: &[&str]| {
            key.clear();
            parts.iter().for_each(|part| key.push_str(part));
            if let Some(at) = self.features.find(&key) {
                scored = true;
                let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
                for (tag, weight) in &self.weights[start..self.ends[at] as usize] {
                    scores[usize::from(*tag)] += i32::from(*weight);
                }
            }
        };
        let letter = word.chars().next().map(String::from).unwrap_or_default();
        add(&["b"]);
        add(&["s3=", ending(word)]);
        add(&["p1=", &letter]);
        add(&["w=", &around[2]]);
        add(&["sh=", &shape(word)]);
        add(&[if first { "i0" } else { "i+" }]);
        add(&["t-1=", before[0]]);
        add(&["t-2=", before[1]]);
        add(&["t-12=", before[0], ",", before[1]]);
        add(&["w-1=", &around[1]]);
        add(&["s3-1=", ending(&around[1])]);
        add(&["w-2=", &around[0]]);
        add(&["w+1=", &around[3]]);
        add(&["s3+1=", ending(&around[3])]);
        add(&["w+2=", &around[4]]);
        if !scored {
            return NOUN;
        }
        let best = scores.iter().enumerate().rev().max_by_key(|(_, score)| **score).map_or(0, |(tag, _)| tag);
        &self.tags[best]
    }
}

/// The last three letters.
fn ending(word: &str) -> &str {
    word.char_indices().rev().nth(2).map_or(word, |(at, _)| &word[at..])
}

/// A word with what rarely matters taken out.
fn norm(word: &str) -> String {
    if word.contains('-') && !word.starts_with('-') {
        return "!HYPHEN".to_owned();
    }
    if word.chars().all(|c| c.is_ascii_digit()) && word.len() == 4 {
        return "!YEAR".to_owned();
    }
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        return "!DIGITS".to_owned();
    }
    word.to_lowercase()
}

/// Capitals, digits and signs, without the letters.
fn shape(word: &str) -> String {
    let lower = |c: char| !c.is_uppercase();
    if word.chars().all(char::is_alphabetic) {
        let mut chars = word.chars();
        let first_upper = chars.next().is_some_and(char::is_uppercase);
        let name = if word.chars().all(lower) {
            "x"
        } else if word.chars().all(char::is_uppercase) {
            if word.chars().nth(1).is_some() { "XX" } else { "X1" }
        } else if first_upper && chars.all(lower) {
            "Xx"
        } else {
            "xX"
        };
        return name.to_owned();
    }
    if word.chars().all(|c| c.is_ascii_digit()) {
        return "d".to_owned();
    }
    let class = |c: char| match c {
        c if c.is_ascii_digit() => 'd',
        c if c.is_alphabetic() => 'x',
        c => c,
    };
    word.chars().take(4).map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_a_shape_an_ending_and_a_norm() {
        for (word, expected) in
            [("cat", "x"), ("Cat", "Xx"), ("NASA", "XX"), ("I", "X1"), ("iPhone", "xX"), ("42", "d"), ("3rd", "dxx"), ("don't", "xxx'")]
        {
            assert_eq!(shape(word), expected, "{word}");
        }
        for (word, expected) in [("well-known", "!HYPHEN"), ("-5", "-5"), ("1999", "!YEAR"), ("3rd", "!DIGITS"), ("The", "the")] {
            assert_eq!(norm(word), expected, "{word}");
        }
        assert_eq!((ending("walking"), ending("is"), ending("éàü")), ("ing", "is", "éàü"));
    }
}
