//! Takes the markup out of a text while it is written, so that nobody hears "asterisk asterisk".
//!
//! Works word by word: what it gives back depends on the text alone, not on how it came in pieces. A line break comes out as one where
//! the voice should stop (after headings, items of lists and short lines), else as a space.

/// Lines longer than this many characters were broken to fit a page: the sentence goes on.
const WRAPPED_CHARS: usize = 50;

/// A text on its way to being plain.
#[derive(Default)]
pub struct Plain {
    word: String,
    /// Characters of the line so far.
    line: usize,
    /// Whether the line so far has nothing to say.
    line_start: bool,
    begun: bool,
    /// Whether the line is a heading, an item or a row.
    block: bool,
    /// A break that has not been decided: whether it stops the voice for certain.
    pending: Option<bool>,
    fenced: bool,
    /// Inside the target of a link, up to the closing bracket.
    target: bool,
}

impl Plain {
    /// A new text.
    pub fn new() -> Plain {
        Plain { line_start: true, ..Plain::default() }
    }

    /// More of the text; returns what of it can be said.
    pub fn push(&mut self, delta: &str) -> String {
        let mut out = String::new();
        for c in delta.chars() {
            if c.is_whitespace() {
                self.end_word(&mut out);
                if c == '\n' {
                    self.end_line()
                } else if !self.line_start && self.pending.is_none() {
                    self.space(&mut out)
                }
                continue;
            }
            self.word.push(c);
            if is_wide_stop(c) {
                self.end_word(&mut out);
            }
        }
        out
    }

    /// The rest of the text.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        self.end_word(&mut out);
        out
    }

    fn space(&mut self, out: &mut String) {
        self.line += 1;
        if self.begun && !self.fenced {
            out.push(' ');
        }
    }

    fn end_line(&mut self) {
        let blank = self.line_start;
        let stops = blank || self.block || self.line < WRAPPED_CHARS;
        self.pending = Some(self.pending.unwrap_or(false) || stops);
        (self.line, self.line_start, self.block) = (0, true, false);
    }

    fn end_word(&mut self, out: &mut String) {
        let word = std::mem::take(&mut self.word);
        if word.is_empty() {
            return;
        }
        let first = std::mem::replace(&mut self.line_start, false);
        self.line += word.chars().count();
        if first && (word.starts_with("```") || word.starts_with("~~~")) {
            self.fenced = !self.fenced;
            (self.block, self.pending) = (true, Some(true));
            return;
        }
        if self.fenced {
            return;
        }
        if first && is_marker(&word) {
            self.block = true;
            self.pending = Some(true);
            if !word.starts_with(|c: char| c.is_ascii_digit()) {
                return;
            }
        }
        let said = self.clean(&word);
        if said.is_empty() {
            return;
        }
        if let Some(stops) = self.pending.take()
            && self.begun
        {
            out.push(if stops { '\n' } else { ' ' });
        }
        self.begun = true;
        out.push_str(&said);
    }

    /// A word without its markup.
    fn clean(&mut self, word: &str) -> String {
        let word = without_citations(word);
        let mut rest = word.as_str();
        let mut said = String::new();
        if self.target {
            match rest.split_once(')') {
                Some((_, after)) => (self.target, rest) = (false, after),
                None => return said,
            }
        }
        while let Some((text, target)) = rest.split_once("](") {
            said.push_str(text);
            match target.split_once(')') {
                Some((_, after)) => rest = after,
                None => {
                    self.target = true;
                    rest = "";
                }
            }
        }
        said.push_str(rest);
        let said: String = said.replace("![", "").chars().filter(|c| !matches!(c, '[' | ']' | '`') && !is_picture(*c)).collect();
        let said = host(&said);
        let chars: Vec<char> = said.replace("~~", "").chars().collect();
        let between = |at: usize, is: fn(char) -> bool| {
            at > 0 && chars.get(at - 1).copied().is_some_and(is) && chars.get(at + 1).copied().is_some_and(is)
        };
        let keep = |at: usize, c: char| match c {
            '*' => between(at, |c| c.is_ascii_digit()),
            '_' => between(at, char::is_alphanumeric),
            '|' => false,
            _ => true,
        };
        let said: String = chars.iter().enumerate().filter(|(at, c)| keep(*at, **c)).map(|(_, c)| *c).collect();
        let tag = said.starts_with('<')
            && said.ends_with('>')
            && said.len() > 2
            && said[1..].starts_with(|c: char| c.is_alphabetic() || c == '/');
        if tag || (word.starts_with(['-', '=', '|', ':', '*', '_']) && said.chars().all(|c| "-=:".contains(c)) && said.len() > 2) {
            return String::new();
        }
        said
    }
}

/// A word without numbers in brackets, which point to sources; where a link follows, they are its words.
fn without_citations(word: &str) -> String {
    let mut said = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('[') {
        said.push_str(before);
        let number = after.split_once(']').filter(|(number, after)| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b',') && !after.starts_with('(')
        });
        match number {
            Some((_, after)) => rest = after,
            None => {
                said.push('[');
                rest = after;
            }
        }
    }
    said.push_str(rest);
    said
}

/// Whether a word at the start of a line marks a heading, a quotation, a row or an item.
fn is_marker(word: &str) -> bool {
    let number = word.strip_suffix(['.', ')']).is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    number || matches!(word, "-" | "*" | "+" | "•" | "|" | ">") || word.chars().all(|c| c == '#')
}

/// Stops that no space follows.
fn is_wide_stop(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '，' | '、' | '；' | '：')
}

/// Emoji, and what joins them.
fn is_picture(c: char) -> bool {
    matches!(u32::from(c), 0x1F000..=0x1FAFF | 0x2600..=0x27BF | 0x2B00..=0x2BFF | 0x20E3 | 0x200D | 0xFE00..=0xFE0F | 0xE0020..=0xE007F)
}

/// An address of a page as people say it: the site alone.
fn host(word: &str) -> String {
    let Some((before, address)) = word.split_once("https://").or_else(|| word.split_once("http://")) else { return word.to_owned() };
    let site = address.strip_prefix("www.").unwrap_or(address);
    let end = site.find(['/', '?', '#']).unwrap_or(site.len());
    let stop = address.chars().last().filter(|c| end < site.len() && ".,;:!?)".contains(*c));
    format!("{before}{}{}", &site[..end], stop.map(String::from).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(text: &str) -> String {
        let mut plain = Plain::new();
        plain.push(text) + &plain.finish()
    }

    #[test]
    fn markup_is_not_said() {
        for (text, expected) in [
            ("Some **bold** and *thin* text.", "Some bold and thin text."),
            ("# A heading\n\nText `code` here.", "A heading\nText code here."),
            ("- one\n- two\n", "one\ntwo"),
            ("1. First\n2. Second", "1. First\n2. Second"),
            ("See [the docs](https://a.b/c \"title\") now.", "See the docs  now."),
            ("![A cat](cat.png) sits.", "A cat sits."),
            ("Go to https://www.example.com/a/b?c=d.", "Go to example.com."),
            ("Run:\n```rust\nlet x = 1;\n```\nDone.", "Run:\nDone."),
            ("Great 🎉 news ✅!", "Great  news !"),
            ("snake_case and _this_", "snake_case and this"),
            ("2*3 is 6", "2*3 is 6"),
            ("| a | b |\n|---|---|\n| 1 | 2 |", "a  b \n1  2"),
            ("~~old~~ new", "old new"),
            ("---", ""),
            ("Roses are red\nviolets are blue", "Roses are red\nviolets are blue"),
            (
                "A line that is long enough to have been broken to fit\nthe page.",
                "A line that is long enough to have been broken to fit the page.",
            ),
            ("> quoted", "quoted"),
            ("It is so[1][2], they say [3,4].", "It is so, they say ."),
            ("See [1](https://a.b) and a[i].", "See 1 and ai."),
        ] {
            assert_eq!(plain(text).trim(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[ab*_`#\\[\\]()\n .~|-]{0,40}", cut in 0_usize..40) {
            let cut = cut.min(text.len());
            let mut pieces = Plain::new();
            let mut out = pieces.push(&text[..cut]);
            out += &pieces.push(&text[cut..]);
            out += &pieces.finish();
            prop_assert_eq!(out, plain(&text));
        }
    }
}
