//! Text on its way out: held back only while it may be half a letter or the beginning of a stop text.

/// Bytes not yet released.
pub(super) struct Held {
    stops: Vec<String>,
    bytes: Vec<u8>,
    text: String,
}

/// What a token let out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Released {
    /// Text to send, may be empty.
    pub(super) text: String,
    /// Whether a stop text came; nothing may follow.
    pub(super) stopped: bool,
}

impl Held {
    /// Nothing held yet. Empty stop texts are ignored.
    pub(super) fn new(stops: &[String]) -> Held {
        Held { stops: stops.iter().filter(|stop| !stop.is_empty()).cloned().collect(), bytes: Vec::new(), text: String::new() }
    }

    /// Takes a token's bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Released {
        self.bytes.extend_from_slice(bytes);
        let mut used = 0;
        for chunk in self.bytes.utf8_chunks() {
            self.text.push_str(chunk.valid());
            used += chunk.valid().len();
            let broken = chunk.invalid();
            // At the very end it may be the beginning of a letter; elsewhere it never becomes one.
            let unfinished = used + broken.len() == self.bytes.len() && may_go_on(broken);
            if !broken.is_empty() && !unfinished {
                self.text.push(char::REPLACEMENT_CHARACTER);
                used += broken.len();
            }
        }
        self.bytes.drain(..used);

        let first = self.stops.iter().filter_map(|stop| self.text.find(stop.as_str())).min();
        if let Some(at) = first {
            self.text.truncate(at);
            return Released { text: std::mem::take(&mut self.text), stopped: true };
        }
        let kept = self.stops.iter().map(|stop| overlap(&self.text, stop)).max().unwrap_or(0);
        let kept = self.text.split_off(self.text.len() - kept);
        Released { text: std::mem::replace(&mut self.text, kept), stopped: false }
    }

    /// The rest, when no more tokens come.
    pub(super) fn finish(&mut self) -> String {
        if !self.bytes.is_empty() {
            self.bytes.clear();
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        std::mem::take(&mut self.text)
    }
}

/// Whether a broken sequence is a letter's true beginning.
fn may_go_on(bytes: &[u8]) -> bool {
    let length = match bytes.first() {
        Some(0xC2..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF4) => 4,
        _ => return false,
    };
    bytes.len() < length
}

/// Bytes at the end of `text` with which `stop` begins.
pub(super) fn overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len().saturating_sub(1));
    (1..=longest).rev().find(|length| text.as_bytes().ends_with(&stop.as_bytes()[..*length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_held_only_while_it_may_be_a_stop_or_half_a_letter() {
        let check = |stops: &[&str], pieces: &[&[u8]], expected: &[&str], stopped: bool| {
            let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
            let mut held = Held::new(&stops);
            let mut texts = Vec::new();
            let mut ended = false;
            for piece in pieces {
                let released = held.push(piece);
                texts.push(released.text);
                ended = released.stopped;
                if ended {
                    break;
                }
            }
            if !ended {
                texts.push(held.finish());
            }
            assert_eq!((texts, ended), (expected.iter().map(|text| (*text).to_owned()).collect(), stopped));
        };
        check(&[], &[b"a", b"b"], &["a", "b", ""], false);
        check(&["END"], &[b"one E", b"ND two"], &["one ", ""], true);
        check(&["END"], &[b"one E", b"NT"], &["one ", "ENT", ""], false);
        check(&["END"], &[b"x EN"], &["x ", "EN"], false);
        check(&["\n\n", "\n"], &[b"a\n", b"b"], &["a"], true);
        check(&["aab"], &[b"aa", b"a", b"b"], &["", "a", ""], true);
        check(&["b", "ab"], &[b"xab"], &["x"], true);
        check(&[""], &[b"a"], &["a", ""], false);
        check(&[], &[&[0xE2, 0x82], &[0xAC], b"!"], &["", "\u{20AC}", "!", ""], false);
        check(&[], &[&[0xE2, 0x82], b"x"], &["", "\u{FFFD}x", ""], false);
        check(&[], &[&[0xFF], &[0xF0, 0x9F]], &["\u{FFFD}", "", "\u{FFFD}"], false);
        check(&["\u{20AC}"], &[&[b'a', 0xE2, 0x82], &[0xAC]], &["a", ""], true);
    }

    proptest! {
        #[test]
        fn cuts_between_tokens_change_nothing(text in "[ab\u{e9}\u{1F600}]{0,24}", stop in "[ab\u{e9}]{1,3}", cuts in prop::collection::vec(1_usize..5, 0..24)) {
            let mut held = Held::new(std::slice::from_ref(&stop));
            let mut out = String::new();
            let mut rest = text.as_bytes();
            let mut stopped = false;
            let mut cuts = cuts.into_iter();
            while !rest.is_empty() && !stopped {
                let (piece, others) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                rest = others;
                let released = held.push(piece);
                out.push_str(&released.text);
                stopped = released.stopped;
            }
            if !stopped {
                out.push_str(&held.finish());
            }
            prop_assert_eq!(out.as_str(), text.split(&stop).next().unwrap_or_default());
            prop_assert_eq!(stopped, text.contains(&stop));
        }
    }
}
