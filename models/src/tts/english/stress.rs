//! Where a word is stressed: the marks in its phonemes, moved, weakened or added.

/// Put before a vowel said strongly.
pub(super) const PRIMARY: char = 'ˈ';
/// Put before a vowel said half strongly.
pub(super) const SECONDARY: char = 'ˌ';

/// What to do with a word's stress.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stress {
    /// As the dictionary says.
    Keep,
    /// None at all.
    None,
    /// Primary becomes secondary.
    Weaker,
    /// Primary becomes secondary, none becomes secondary.
    Secondary,
    /// None becomes secondary: a capitalised word.
    AtLeastSecondary,
    /// The word has a primary stress: written in capitals.
    Primary,
}

/// Whether a phoneme is a vowel.
pub(super) fn is_vowel(phoneme: char) -> bool {
    "AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻ".contains(phoneme)
}

/// Whether a phoneme is a consonant.
pub(super) fn is_consonant(phoneme: char) -> bool {
    "bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθ".contains(phoneme)
}

/// How long a word is for the ear: diphthongs and affricates count twice.
pub(super) fn weight(phonemes: &str) -> usize {
    phonemes.chars().map(|c| if "AIOQWYʤʧ".contains(c) { 2 } else { 1 }).sum()
}

/// `phonemes` with its stress changed.
pub(super) fn apply(phonemes: &str, stress: Stress) -> String {
    let primary = phonemes.contains(PRIMARY);
    let unstressed = !primary && !phonemes.contains(SECONDARY);
    let demoted = || phonemes.replace(SECONDARY, "").replace(PRIMARY, "ˌ");
    match stress {
        Stress::None => phonemes.replace([PRIMARY, SECONDARY], ""),
        Stress::Weaker | Stress::Secondary if primary => demoted(),
        Stress::Secondary | Stress::AtLeastSecondary if unstressed => before_vowel(phonemes, SECONDARY),
        Stress::Primary if unstressed => before_vowel(phonemes, PRIMARY),
        Stress::Primary if !primary => phonemes.replace(SECONDARY, "ˈ"),
        Stress::Keep | Stress::Weaker | Stress::Secondary | Stress::AtLeastSecondary | Stress::Primary => phonemes.to_owned(),
    }
}

/// `mark` put before the first vowel, if there is one.
fn before_vowel(phonemes: &str, mark: char) -> String {
    match phonemes.find(is_vowel) {
        Some(at) => format!("{}{mark}{}", &phonemes[..at], &phonemes[at..]),
        None => phonemes.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stress_moves() {
        for (phonemes, stress, expected) in [
            ("həlˈO", Stress::Keep, "həlˈO"),
            ("həlˈO", Stress::None, "həlO"),
            ("ˌAʧˈɑɹ", Stress::Weaker, "Aʧˌɑɹ"),
            ("ðə", Stress::Weaker, "ðə"),
            ("ðə", Stress::Secondary, "ðˌə"),
            ("ðə", Stress::Primary, "ðˈə"),
            ("wˌʌn", Stress::Primary, "wˈʌn"),
            ("wˌʌn", Stress::AtLeastSecondary, "wˌʌn"),
            ("ʃ", Stress::Primary, "ʃ"),
        ] {
            assert_eq!(apply(phonemes, stress), expected, "{phonemes} {stress:?}");
        }
        assert_eq!(weight("ʧˈIm"), 6);
    }
}
