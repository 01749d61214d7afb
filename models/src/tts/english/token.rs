//! A word or sign on its way to becoming phonemes.

/// One token, or several merged.
#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    /// As written, after normalising.
    pub(super) text: String,
    /// Its Penn Treebank tag.
    pub(super) tag: &'a str,
    /// Whether white space follows.
    pub(super) spaced: bool,
    /// Position of its first character in the normalised text.
    pub(super) at: usize,
    /// Whether it begins a word, rather than goes on in one.
    pub(super) head: bool,
    /// What to read in its place.
    pub(super) alias: Option<&'static str>,
    /// The currency whose amount it is.
    pub(super) currency: Option<char>,
    /// Whether a space goes before it when it is joined to the token before.
    pub(super) apart: bool,
    /// How it is said, once known; empty where it is silent.
    pub(super) phonemes: Option<String>,
}

impl<'a> Token<'a> {
    pub(super) fn new(text: String, tag: &'a str, at: usize) -> Token<'a> {
        Token { text, tag, spaced: false, at, head: true, alias: None, currency: None, apart: false, phonemes: None }
    }

    /// Whether nothing has been decided about it yet.
    pub(super) fn open(&self) -> bool {
        self.alias.is_none() && self.phonemes.is_none()
    }
}

/// Several tokens as one, not yet said.
pub(super) fn merge<'a>(tokens: &[Token<'a>]) -> Token<'a> {
    let (first, last) = (&tokens[0], &tokens[tokens.len() - 1]);
    let mut text = String::new();
    for token in &tokens[..tokens.len() - 1] {
        text.push_str(&token.text);
        if token.spaced {
            text.push(' ');
        }
    }
    text.push_str(&last.text);
    // The longest speaks for all, capitals counting twice; of equals the first.
    let size = |token: &Token| token.text.chars().map(|c| if c.is_uppercase() { 2 } else { 1 }).sum::<usize>();
    let tag = tokens.iter().rev().max_by_key(|token| size(token)).map_or(first.tag, |token| token.tag);
    Token {
        text,
        tag,
        spaced: last.spaced,
        at: first.at,
        head: first.head,
        alias: None,
        currency: tokens.iter().filter_map(|token| token.currency).max(),
        apart: first.apart,
        phonemes: None,
    }
}
