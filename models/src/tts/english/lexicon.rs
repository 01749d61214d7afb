//! How known words are said: two dictionaries, endings, numbers, and the little words that depend on what follows.
//!
//! The dictionaries and the rules they call for are those of the `misaki` reader (Apache-2.0), in whose phonemes the voices were trained.

use std::path::Path;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::numbers;
use super::stress::{self, PRIMARY, SECONDARY, Stress, is_consonant, is_vowel};
use super::strings::Strings;
use super::token::Token;
use super::{Accent, ModelError, read_json};

/// What comes after a word, which decides how "the", "to" and "a" sound.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct After {
    /// Whether the next sound is a vowel; `None`: a pause comes first.
    pub(super) vowel: Option<bool>,
    /// Whether the next word is "to".
    pub(super) to: bool,
}

impl After {
    /// Inside a number: sound goes on.
    const NUMBER: After = After { vowel: Some(false), to: false };

    /// What stands after the word before `token`, which is said as `phonemes`.
    pub(super) fn before(self, token: &Token, phonemes: &str) -> After {
        let telling = phonemes.chars().find(|c| is_vowel(*c) || is_consonant(*c) || super::is_pause(*c));
        let vowel = telling.map_or(self.vowel, |c| if super::is_pause(c) { None } else { Some(is_vowel(c)) });
        let to = matches!(token.text.as_str(), "to" | "To") || (token.text == "TO" && matches!(token.tag, "TO" | "IN"));
        After { vowel, to }
    }
}

/// Words with their phonemes; a word said differently by its part of speech has `tag=phonemes` pairs set apart by tabs.
#[derive(Default)]
struct Dictionary {
    words: Strings,
    phonemes: Strings,
}

/// How the dictionary says a word.
#[derive(Clone, Copy)]
enum Entry<'a> {
    One(&'a str),
    ByTag(&'a str),
}

impl<'a> Entry<'a> {
    /// The phonemes for one tag, where there are any.
    fn of(self, tag: &str) -> Option<Option<&'a str>> {
        match self {
            Entry::One(phonemes) => Some(Some(phonemes)),
            Entry::ByTag(pairs) => {
                let phonemes = pairs.split('\t').find_map(|pair| pair.strip_prefix(tag)?.strip_prefix('='))?;
                Some(Some(phonemes).filter(|phonemes| !phonemes.is_empty()))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Dictionary {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Dictionary, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Dictionary;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("words with phonemes")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Dictionary, A::Error> {
                let mut dictionary = Dictionary::default();
                while let Some(word) = map.next_key::<String>()? {
                    dictionary.words.push(&word);
                    dictionary.phonemes.push(&map.next_value::<Phonemes>()?.0);
                }
                Ok(dictionary)
            }
        }
        deserializer.deserialize_map(Words)
    }
}

/// An entry as the dictionary keeps it.
struct Phonemes(String);

impl<'de> Deserialize<'de> for Phonemes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Phonemes, D::Error> {
        struct OneOrByTag;
        impl<'de> Visitor<'de> for OneOrByTag {
            type Value = Phonemes;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("phonemes, or phonemes by tag")
            }
            fn visit_str<E>(self, phonemes: &str) -> Result<Phonemes, E> {
                Ok(Phonemes(phonemes.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Phonemes, A::Error> {
                let mut pairs = String::new();
                while let Some((tag, phonemes)) = map.next_entry::<String, Option<String>>()? {
                    if !pairs.is_empty() {
                        pairs.push('\t');
                    }
                    pairs.push_str(&format!("{tag}={}", phonemes.unwrap_or_default()));
                }
                Ok(Phonemes(pairs))
            }
        }
        deserializer.deserialize_any(OneOrByTag)
    }
}

impl Dictionary {
    fn open(path: &Path) -> Result<Dictionary, ModelError> {
        let read: Dictionary = read_json(path)?;
        let order = read.words.order();
        Ok(Dictionary { words: read.words.reordered(&order), phonemes: read.phonemes.reordered(&order) })
    }

    /// A word in small letters answers to its capitalised form and the other way round, unless that has an entry of its own.
    fn get(&self, word: &str) -> Option<Entry<'_>> {
        let found = self.words.find(word).or_else(|| {
            // A single letter answers to itself alone.
            word.chars().nth(1)?;
            let lower = word.to_lowercase();
            let capitalised = capitalised(&lower);
            if word == lower {
                self.words.find(&capitalised)
            } else if word == capitalised {
                self.words.find(&lower)
            } else {
                None
            }
        })?;
        let phonemes = self.phonemes.get(found);
        Some(if phonemes.contains('=') { Entry::ByTag(phonemes) } else { Entry::One(phonemes) })
    }

    fn contains(&self, word: &str) -> bool {
        self.get(word).is_some()
    }
}

fn capitalised(lower: &str) -> String {
    let mut chars = lower.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn is_upper(word: &str) -> bool {
    word == word.to_uppercase()
}

fn is_alphabetic(word: &str) -> bool {
    !word.is_empty() && word.chars().all(char::is_alphabetic)
}

fn is_digits(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
}

/// The class of a tag: all verbs are "VERB".
fn class(tag: &str) -> &str {
    match tag {
        _ if tag.starts_with("VB") => "VERB",
        _ if tag.starts_with("NN") => "NOUN",
        _ if tag.starts_with("RB") || tag.starts_with("ADV") => "ADV",
        _ if tag.starts_with("JJ") || tag.starts_with("ADJ") => "ADJ",
        _ => tag,
    }
}

/// Names of a currency's unit and hundredth.
fn currency_words(sign: char) -> Option<(&'static str, &'static str)> {
    match sign {
        '$' => Some(("dollar", "cent")),
        '£' => Some(("pound", "pence")),
        '€' => Some(("euro", "cent")),
        _ => None,
    }
}

/// Whether a sign names a currency that the lexicon reads.
pub(super) fn is_currency(text: &str) -> Option<char> {
    let mut chars = text.chars();
    let sign = chars.next()?;
    (chars.next().is_none() && currency_words(sign).is_some()).then_some(sign)
}

/// Tag of a word of which nothing is known but its spelling.
const ANY: &str = "";
/// Endings that turn digits into an ordinal.
const ORDINAL_ENDINGS: [&str; 4] = ["st", "nd", "rd", "th"];

/// The dictionaries of one accent.
pub(super) struct Lexicon {
    gold: Dictionary,
    silver: Dictionary,
    accent: Accent,
}

impl Lexicon {
    /// Opens both dictionaries at once, on two threads.
    pub(super) fn open(gold: &Path, silver: &Path, accent: Accent) -> Result<Lexicon, ModelError> {
        let (gold, silver) = std::thread::scope(|scope| {
            let silver = scope.spawn(|| Dictionary::open(silver));
            (Dictionary::open(gold), silver.join().expect("reading a dictionary does not panic"))
        });
        Ok(Lexicon { gold: gold?, silver: silver?, accent })
    }

    /// How a token is said; `None` if it is not known.
    pub(super) fn say(&self, token: &Token, after: After) -> Option<String> {
        let word = token.alias.unwrap_or(&token.text).replace(['‘', '’'], "'");
        let stress = if word == word.to_lowercase() {
            Stress::Keep
        } else if is_upper(&word) {
            Stress::Primary
        } else {
            Stress::AtLeastSecondary
        };
        if let Some(said) = self.word(&word, token.tag, stress, after) {
            let unit = token.currency.and_then(currency_words).and_then(|(unit, _)| self.plural(unit));
            return Some(unit.map_or(said.clone(), |unit| format!("{said} {unit}")));
        }
        is_number(&word, token.head).then(|| self.number(&word, token.currency, token.head))?
    }

    fn word(&self, word: &str, tag: &str, stress: Stress, after: After) -> Option<String> {
        if let Some(said) = self.little_word(word, tag, stress, after) {
            return Some(said);
        }
        let lower = word.to_lowercase();
        let mut word = word;
        let plain = word.replace('\'', "");
        let rest: String = word.chars().skip(1).collect();
        if word.chars().nth(1).is_some()
            && is_alphabetic(&plain)
            && word != lower
            && (tag != "NNP" || word.chars().count() > 7)
            && !self.gold.contains(word)
            && !self.silver.contains(word)
            && (is_upper(word) || rest == rest.to_lowercase())
            && (self.gold.contains(&lower) || self.silver.contains(&lower) || self.with_ending(&lower, tag, stress, after).is_some())
        {
            word = &lower;
        }
        if self.knows(word) {
            return self.look_up(word, tag, stress, after);
        }
        if let Some(stem) = word.strip_suffix("s'").map(|stem| format!("{stem}'s"))
            && self.knows(&stem)
        {
            return self.look_up(&stem, tag, stress, after);
        }
        if let Some(stem) = word.strip_suffix('\'')
            && self.knows(stem)
        {
            return self.look_up(stem, tag, stress, after);
        }
        let ing = if stress == Stress::Keep { Stress::AtLeastSecondary } else { stress };
        self.with_s(word, tag, stress, after)
            .or_else(|| self.with_ed(word, tag, stress, after))
            .or_else(|| self.with_ing(word, tag, ing, after))
    }

    /// Words whose sound hangs on their neighbours, signs, and abbreviations with dots.
    fn little_word(&self, word: &str, tag: &str, stress: Stress, after: After) -> Option<String> {
        let golden = |word: &str| self.gold.get(word).and_then(|entry| entry.of("DEFAULT").flatten()).map(str::to_owned);
        let dotted = || {
            let parts: Vec<&str> = word.split('.').collect();
            word.trim_matches('.').contains('.') && is_alphabetic(&parts.concat()) && parts.iter().all(|part| part.chars().count() < 3)
        };
        let sign = match word {
            "%" => Some("percent"),
            "&" => Some("and"),
            "+" => Some("plus"),
            "@" => Some("at"),
            _ => None,
        };
        match word {
            "." | "/" if tag == "ADD" => self.look_up(if word == "." { "dot" } else { "slash" }, ANY, Stress::Weaker, after),
            _ if sign.is_some() => self.look_up(sign?, ANY, Stress::Keep, after),
            _ if dotted() => self.spell(word),
            "a" | "A" => Some(if tag == "DT" { "ɐ" } else { "ˈA" }.to_owned()),
            "am" | "Am" | "AM" if tag.starts_with("NN") => self.spell(word),
            "am" if after.vowel.is_some() && !matches!(stress, Stress::AtLeastSecondary | Stress::Primary) => Some("ɐm".to_owned()),
            "am" | "Am" | "AM" => golden("am"),
            "AN" if tag.starts_with("NN") => self.spell(word),
            "an" | "An" | "AN" => Some("ɐn".to_owned()),
            "I" if tag == "PRP" => Some(format!("{SECONDARY}I")),
            "by" | "By" | "BY" if class(tag) == "ADV" => Some("bˈI".to_owned()),
            "TO" if !matches!(tag, "TO" | "IN") => None,
            "to" | "To" | "TO" => match after.vowel {
                None => golden("to"),
                Some(false) => Some("tə".to_owned()),
                Some(true) => Some("tʊ".to_owned()),
            },
            "IN" if tag == "NNP" => None,
            "in" | "In" | "IN" if after.vowel.is_none() || tag != "IN" => Some(format!("{PRIMARY}ɪn")),
            "in" | "In" | "IN" => Some("ɪn".to_owned()),
            "THE" if tag != "DT" => None,
            "the" | "The" | "THE" => Some(if after.vowel == Some(true) { "ði" } else { "ðə" }.to_owned()),
            _ if tag == "IN" && ["vs", "vs."].contains(&word.to_lowercase().as_str()) => self.look_up("versus", ANY, Stress::Keep, after),
            "used" | "Used" | "USED" => {
                let tag = if matches!(tag, "VBD" | "JJ") && after.to { "VBD" } else { "DEFAULT" };
                self.gold.get("used").and_then(|entry| entry.of(tag).flatten()).map(str::to_owned)
            }
            _ => None,
        }
    }

    /// Letter by letter.
    fn spell(&self, word: &str) -> Option<String> {
        let mut said = String::new();
        for letter in word.chars().filter(|c| c.is_alphabetic()) {
            said.push_str(self.gold.get(&letter.to_uppercase().to_string())?.of("DEFAULT")??);
        }
        let said = stress::apply(&said, Stress::Secondary);
        Some(match said.rsplit_once(SECONDARY) {
            Some((before, last)) => format!("{before}{PRIMARY}{last}"),
            None => said,
        })
    }

    fn knows(&self, word: &str) -> bool {
        if self.gold.contains(word) || ["%", "&", "+", "@"].contains(&word) || self.silver.contains(word) {
            return true;
        }
        if !is_alphabetic(word) || !word.bytes().all(|b| b.is_ascii_alphabetic()) {
            return false;
        }
        word.len() == 1 || (is_upper(word) && self.gold.contains(&word.to_lowercase())) || is_upper(&word[1..])
    }

    fn look_up(&self, word: &str, tag: &str, stress: Stress, after: After) -> Option<String> {
        let lower;
        let mut word = word;
        let mut name = false;
        if is_upper(word) && !self.gold.contains(word) {
            lower = word.to_lowercase();
            word = &lower;
            name = tag == "NNP";
        }
        let entry = self.gold.get(word).or_else(|| if name { None } else { self.silver.get(word) });
        let said = entry.and_then(|entry| {
            let pause = if after.vowel.is_none() { entry.of("None") } else { None };
            pause.or_else(|| entry.of(tag)).or_else(|| entry.of(class(tag))).or_else(|| entry.of("DEFAULT"))?
        });
        match said {
            Some(said) if !name || said.contains(PRIMARY) => Some(stress::apply(said, stress)),
            Some(said) => self.spell(word).or_else(|| Some(stress::apply(said, stress))),
            None => self.spell(word),
        }
    }

    fn with_ending(&self, word: &str, tag: &str, stress: Stress, after: After) -> Option<String> {
        self.with_s(word, tag, stress, after)
            .or_else(|| self.with_ed(word, tag, stress, after))
            .or_else(|| self.with_ing(word, tag, stress, after))
    }

    fn with_s(&self, word: &str, tag: &str, stress: Stress, after: After) -> Option<String> {
        let length = word.chars().count();
        let cut = word.strip_suffix('s').filter(|_| length >= 3)?;
        let longer = length > 4;
        let stem = if !cut.ends_with('s') && self.knows(cut) {
            cut.to_owned()
        } else if let Some(stem) = word.strip_suffix("'s").or_else(|| word.strip_suffix("es").filter(|stem| longer && !stem.ends_with('i')))
            && self.knows(stem)
        {
            stem.to_owned()
        } else {
            let stem = format!("{}y", word.strip_suffix("ies").filter(|_| longer)?);
            self.knows(&stem).then_some(stem)?
        };
        Some(self.add_s(&self.look_up(&stem, tag, stress, after)?))
    }

    fn add_s(&self, stem: &str) -> String {
        match stem.chars().last() {
            Some('p' | 't' | 'k' | 'f' | 'θ') => format!("{stem}s"),
            Some('s' | 'z' | 'ʃ' | 'ʒ' | 'ʧ' | 'ʤ') => format!("{stem}{}z", self.accent.weak_i()),
            Some(_) | None => format!("{stem}z"),
        }
    }

    fn with_ed(&self, word: &str, tag: &str, stress: Stress, after: After) -> Option<String> {
        let length = word.chars().count();
        let cut = word.strip_suffix('d').filter(|_| length >= 4)?;
        let stem = if !cut.ends_with('d') && self.knows(cut) {
            cut
        } else {
            word.strip_suffix("ed").filter(|stem| length > 4 && !stem.ends_with('e') && self.knows(stem))?
        };
        Some(self.add_ed(&self.look_up(stem, tag, stress, after)?))
    }

    fn add_ed(&self, stem: &str) -> String {
        let mut back = stem.chars().rev();
        match (back.next(), back.next()) {
            (Some('p' | 'k' | 'f' | 'θ' | 'ʃ' | 's' | 'ʧ'), _) => format!("{stem}t"),
            (Some('d'), _) => format!("{stem}{}d", self.accent.weak_i()),
            (Some('t'), before) => match (self.accent, before) {
                (Accent::British, _) | (Accent::American, None) => format!("{stem}ɪd"),
                (Accent::American, Some(before)) if flaps_after(before) => format!("{}ɾᵻd", &stem[..stem.len() - 1]),
                (Accent::American, Some(_)) => format!("{stem}ᵻd"),
            },
            (Some(_) | None, _) => format!("{stem}d"),
        }
    }

    fn with_ing(&self, word: &str, tag: &str, stress: Stress, after: After) -> Option<String> {
        let length = word.chars().count();
        let cut = word.strip_suffix("ing").filter(|_| length >= 5)?;
        let doubled = || {
            let mut back = cut.chars().rev();
            let (last, before) = (back.next()?, back.next()?);
            (last == before && "bcdgklmnprstvxz".contains(last) || (before, last) == ('c', 'k')).then(|| &cut[..cut.len() - 1])
        };
        let stem = if length > 5 && self.knows(cut) {
            cut.to_owned()
        } else if self.knows(&format!("{cut}e")) {
            format!("{cut}e")
        } else {
            doubled().filter(|stem| length > 5 && self.knows(stem))?.to_owned()
        };
        self.add_ing(&self.look_up(&stem, tag, stress, after)?)
    }

    fn add_ing(&self, stem: &str) -> Option<String> {
        let mut back = stem.chars().rev();
        let (last, before) = (back.next()?, back.next());
        match self.accent {
            Accent::British if matches!(last, 'ə' | 'ː') => None,
            Accent::American if last == 't' && before.is_some_and(flaps_after) => Some(format!("{}ɾɪŋ", &stem[..stem.len() - 1])),
            Accent::British | Accent::American => Some(format!("{stem}ɪŋ")),
        }
    }

    fn plural(&self, unit: &str) -> Option<String> {
        self.with_s(&format!("{unit}s"), ANY, Stress::Keep, After::NUMBER)
    }

    /// Digits, with an ending perhaps, said as an amount, a year, an ordinal or figure by figure.
    fn number(&self, word: &str, currency: Option<char>, head: bool) -> Option<String> {
        let digits = word.trim_end_matches(|c: char| c.is_ascii_lowercase() || c == '\'');
        let ending = &word[digits.len()..];
        let mut said: Vec<String> = Vec::new();
        let look_up = |word: &str| {
            let stress = if word == "point" { Stress::None } else { Stress::Keep };
            self.look_up(word, ANY, stress, After::NUMBER)
        };
        let number = digits.strip_prefix('-').unwrap_or(digits);
        if number.len() < digits.len() {
            said.push(look_up("minus")?);
        }
        let currency = currency.and_then(currency_words);
        let ordinal = ORDINAL_ENDINGS.contains(&ending);
        let whole = number.replace(',', "");
        let words = if is_digits(number) && ordinal {
            numbers::ordinal(number.parse().ok()?)
        } else if said.is_empty() && number.len() == 4 && currency.is_none() && is_digits(number) {
            numbers::year(number.parse().ok()?)
        } else if !head && !number.contains('.') {
            short_figures(&whole)?
        } else if number.matches('.').count() > 1 || !head {
            let figures: Option<Vec<String>> = whole.split('.').filter(|part| !part.is_empty()).map(decimal_figures).collect();
            figures?.join(" ")
        } else if let Some(units) = currency
            && is_amount(number)
        {
            self.amount(&whole, units, &mut said)?;
            String::new()
        } else if let Some((whole, fraction)) = whole.split_once('.') {
            if whole.is_empty() {
                format!("point {}", fraction.chars().map(numbers::digit).collect::<Vec<_>>().join(" "))
            } else {
                numbers::decimal(whole, fraction)?
            }
        } else {
            let number = whole.parse().map_or_else(|_| one_by_one(&whole), numbers::cardinal);
            if ordinal { numbers::ordinal(whole.parse().ok()?) } else { number }
        };
        for word in words.split([' ', '-']).filter(|word| !word.is_empty()) {
            said.push(if word == "O" { self.look_up("O", ANY, Stress::None, After::NUMBER)? } else { look_up(word)? });
        }
        let said = Some(said.join(" ")).filter(|said| !said.is_empty())?;
        match ending {
            "s" | "'s" => Some(self.add_s(&said)),
            "ed" | "'d" => Some(self.add_ed(&said)),
            "ing" => self.add_ing(&said),
            _ => Some(said),
        }
    }

    /// "three dollars and fifty cents".
    fn amount(&self, number: &str, (unit, hundredth): (&str, &str), said: &mut Vec<String>) -> Option<()> {
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let parse = |digits: &str| if digits.is_empty() { Some(0_u128) } else { digits.parse().ok() };
        // "$2.5" is two dollars and fifty cents to the ear of a listener.
        let cents = if fraction.len() == 1 { format!("{fraction}0") } else { fraction.to_owned() };
        let (whole, cents) = (parse(whole)?, parse(&cents)?);
        let mut parts = vec![(whole, unit), (cents, hundredth)];
        if cents == 0 {
            parts.pop();
        } else if whole == 0 {
            parts.remove(0);
        }
        for (index, (number, unit)) in parts.into_iter().enumerate() {
            if index > 0 {
                said.push(self.look_up("and", ANY, Stress::Keep, After::NUMBER)?);
            }
            for word in numbers::cardinal(number).split([' ', '-']) {
                said.push(self.look_up(word, ANY, Stress::Keep, After::NUMBER)?);
            }
            let one = number == 1 || unit == "pence";
            said.push(if one { self.look_up(unit, ANY, Stress::Keep, After::NUMBER)? } else { self.plural(unit)? });
        }
        Some(())
    }
}

/// Whether an American "t" between this sound and a vowel becomes a flap.
fn flaps_after(phoneme: char) -> bool {
    "AIOWYiuæɑəɛɪɹʊʌ".contains(phoneme)
}

/// Whether a number is an amount of money: at most two figures after the point.
fn is_amount(number: &str) -> bool {
    match number.split_once('.') {
        None => true,
        Some((_, cents)) => !cents.contains('.') && cents.len() < 3,
    }
}

fn one_by_one(digits: &str) -> String {
    digits.chars().map(numbers::digit).collect::<Vec<_>>().join(" ")
}

/// A number inside a word ("B52", "747-400"): as people read model names.
fn short_figures(digits: &str) -> Option<String> {
    let cardinal = |digits: &str| digits.parse().ok().map(numbers::cardinal);
    if digits.starts_with('0') || digits.len() > 3 {
        return Some(one_by_one(digits));
    }
    if digits.len() == 3 && !digits.ends_with("00") {
        let first = numbers::digit(digits.chars().next()?);
        return Some(match digits[1..].strip_prefix('0') {
            Some(last) => format!("{first} O {}", cardinal(last)?),
            None => format!("{first} {}", cardinal(&digits[1..])?),
        });
    }
    cardinal(digits)
}

/// One part of a number with several points ("192.168.0.10").
fn decimal_figures(digits: &str) -> Option<String> {
    let round = digits.bytes().skip(1).all(|b| b == b'0');
    if digits.starts_with('0') || (digits.len() != 2 && !round) {
        return Some(one_by_one(digits));
    }
    digits.parse().ok().map(numbers::cardinal)
}

fn is_number(word: &str, head: bool) -> bool {
    if !word.contains(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let endings = ["ing", "'d", "ed", "'s", "st", "nd", "rd", "th", "s"];
    let digits = endings.iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word);
    digits.char_indices().all(|(at, c)| c.is_ascii_digit() || c == ',' || c == '.' || (head && at == 0 && c == '-'))
}
