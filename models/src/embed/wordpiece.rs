//! BERT's tokenizer: words, then the longest pieces of them that the vocabulary has (Wu et al. 2016, section 4.1).
//!
//! For vocabularies without capitals. Accents of Latin letters are taken off as Unicode decomposition would; letters of other scripts are
//! left as they are, which the English vocabulary mostly does not have anyway.

use std::collections::HashMap;

/// Words longer than this are unknown, as in BERT's own tokenizer, characters.
const LONGEST_WORD: usize = 100;

/// A vocabulary.
pub(super) struct WordPiece {
    ids: HashMap<String, i64>,
    unknown: i64,
    begin: i64,
    end: i64,
}

impl WordPiece {
    /// Reads a vocabulary, one piece a line; its id is its line, from 0. `Err` names what it lacks.
    pub(super) fn read(text: &str) -> Result<WordPiece, String> {
        let ids: HashMap<String, i64> = text.lines().zip(0..).map(|(piece, id)| (piece.trim_end().to_owned(), id)).collect();
        let id = |piece: &str| ids.get(piece).copied().ok_or_else(|| format!("the vocabulary has no {piece}"));
        let (unknown, begin, end) = (id("[UNK]")?, id("[CLS]")?, id("[SEP]")?);
        Ok(WordPiece { ids, unknown, begin, end })
    }

    /// The ids of a text between the two that mark its ends, `longest` of them at most.
    pub(super) fn ids(&self, text: &str, longest: usize) -> Vec<i64> {
        let mut ids = vec![self.begin];
        for word in words(text) {
            if ids.len() >= longest {
                break;
            }
            self.pieces(&word, &mut ids);
        }
        ids.truncate(longest.saturating_sub(1));
        ids.push(self.end);
        ids
    }

    fn pieces(&self, word: &str, ids: &mut Vec<i64>) {
        let before = ids.len();
        let known = word.chars().count() <= LONGEST_WORD;
        let mut rest = word;
        while known && !rest.is_empty() {
            let inside = rest.len() < word.len();
            // The longest first.
            let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
            let found = ends.into_iter().find_map(|end| {
                let piece = &rest[..end];
                let id = if inside { self.ids.get(&format!("##{piece}")) } else { self.ids.get(piece) };
                id.map(|id| (*id, end))
            });
            let Some((id, end)) = found else { break };
            ids.push(id);
            rest = &rest[end..];
        }
        if !known || !rest.is_empty() {
            ids.truncate(before);
            ids.push(self.unknown);
        }
    }
}

/// Words in small letters without accents; each mark of punctuation is one.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        if c.is_whitespace() {
            words.extend(take(&mut word));
        } else if is_alone(c) {
            words.extend(take(&mut word));
            words.push(c.to_string());
        } else if !c.is_control() && c != '\u{fffd}' && !is_mark(c) {
            word.extend(c.to_lowercase().filter(|c| !is_mark(*c)).map(plain));
        }
    }
    words.extend(take(&mut word));
    words
}

fn take(word: &mut String) -> Option<String> {
    (!word.is_empty()).then(|| std::mem::take(word))
}

/// Punctuation, as BERT counts it (all of ASCII that is neither letter nor digit), and Chinese characters.
fn is_alone(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c, '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{ff01}'..='\u{ff0f}')
        || matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2fa1f}')
}

/// Combining accents.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// A small Latin letter without its accent.
fn plain(c: char) -> char {
    match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' | 'ǎ' => 'a',
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => 'c',
        'ď' => 'd',
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => 'e',
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => 'g',
        'ĥ' => 'h',
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ǐ' => 'i',
        'ĵ' => 'j',
        'ķ' => 'k',
        'ĺ' | 'ļ' | 'ľ' => 'l',
        'ñ' | 'ń' | 'ņ' | 'ň' => 'n',
        'ò'..='ö' | 'ō' | 'ŏ' | 'ő' | 'ǒ' => 'o',
        'ŕ' | 'ŗ' | 'ř' => 'r',
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => 's',
        'ţ' | 'ť' | 'ț' => 't',
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' | 'ǔ' => 'u',
        'ŵ' => 'w',
        'ý' | 'ÿ' | 'ŷ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn small() -> WordPiece {
        WordPiece::read("[UNK]\n[CLS]\n[SEP]\nun\n##aff\n##able\n,\ncafe\na\n北\n##b").expect("it has what it needs")
    }

    #[test]
    fn words_become_the_longest_pieces() {
        for (text, expected) in [
            ("", vec![1, 2]),
            ("unaffable", vec![1, 3, 4, 5, 2]),
            ("UN, a", vec![1, 3, 6, 8, 2]),
            ("Café,café", vec![1, 7, 6, 7, 2]),
            ("cafe\u{301}", vec![1, 7, 2]),
            ("unaffect", vec![1, 0, 2]),
            ("北a", vec![1, 9, 8, 2]),
            ("abab", vec![1, 0, 2]),
            ("abbb", vec![1, 8, 10, 10, 10, 2]),
        ] {
            assert_eq!(small().ids(text, 256), expected, "{text}");
        }
        assert_eq!(small().ids(&"a ".repeat(1_000), 8), [1, 8, 8, 8, 8, 8, 8, 2]);
        assert!(WordPiece::read("a\nb").is_err());
    }

    proptest! {
        #[test]
        fn any_text_has_ids_between_its_ends(text in "\\PC{0,200}", longest in 2..64_usize) {
            let ids = small().ids(&text, longest);
            prop_assert!(ids.len() <= longest);
            prop_assert_eq!((ids.first(), ids.last()), (Some(&1), Some(&2)));
        }
    }
}
