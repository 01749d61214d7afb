//! Written words: what white space sets apart.

/// Which word each character of a text belongs to; the space after a word is still its own.
pub(super) fn word_numbers(text: &str) -> Vec<usize> {
    let mut word = 0;
    let mut spaced = false;
    let mut begun = false;
    text.chars()
        .map(|c| {
            if c.is_whitespace() {
                spaced = begun;
            } else {
                word += usize::from(spaced);
                (spaced, begun) = (false, true);
            }
            word
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_from_the_first_character_that_is_no_space() {
        for (text, expected) in [("", &[][..]), ("ab c", &[0, 0, 0, 1]), ("  a  b ", &[0, 0, 0, 0, 0, 1, 1])] {
            assert_eq!(word_numbers(text), expected, "{text}");
        }
    }
}
