//! Languages by their ISO 639 codes.

mod belief;

use std::fmt;

pub use belief::Belief;

/// An ISO 639-1 code in lower case (`en`), or 639-3 where there is no shorter one (`yue`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Language([u8; 3]);

impl Language {
    /// English.
    pub const ENGLISH: Language = Language(*b"en\0");

    /// From a code (`en`, `en-US`, `EN`); `None` if it does not start with two or three letters.
    pub fn new(code: &str) -> Option<Language> {
        let code = code.split(['-', '_']).next()?;
        if !(2..=3).contains(&code.len()) || !code.bytes().all(|b| b.is_ascii_alphabetic()) {
            return None;
        }
        let mut letters = [0; 3];
        for (to, from) in letters.iter_mut().zip(code.bytes()) {
            *to = from.to_ascii_lowercase();
        }
        Some(Language(letters))
    }

    /// The code.
    pub fn code(&self) -> &str {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(3);
        std::str::from_utf8(&self.0[..end]).unwrap_or("und")
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_cut_to_the_language() {
        for (given, code) in [("en", "en"), ("EN-us", "en"), ("pt_BR", "pt"), ("yue", "yue")] {
            assert_eq!(Language::new(given).map(|l| l.code().to_owned()).as_deref(), Some(code));
        }
        for bad in ["", "e", "english", "12", "é"] {
            assert_eq!(Language::new(bad), None, "{bad}");
        }
    }
}
