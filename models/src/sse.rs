//! Server-sent events, read as they arrive (WHATWG HTML, section 9.2.6 "Interpreting an event stream").
//!
//! Bytes in, events out, without I/O. Only `event` and `data` are kept: `id` and `retry` serve reconnection, which no model's answer has.

/// Longest line and longest data of one event, bytes. A chunk of a completion is a few kilobytes; one of speech at most a megabyte.
pub const LONGEST: usize = 4 * 1_024 * 1_024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its type; empty: `message`.
    pub event: String,
    /// Its data; lines are joined by a line feed.
    pub data: String,
}

/// A line or an event longer than [`LONGEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Turns bytes into events, however they are cut.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The last line ended with a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    /// Something came before: a byte order mark is no longer one.
    begun: bool,
    event: String,
    data: String,
    has_data: bool,
}

impl Parser {
    /// The events that `bytes` complete. An event that the stream does not complete is dropped, as the standard asks.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
            let (text, end) = match piece {
                [text @ .., end @ (b'\r' | b'\n')] => (text, Some(*end)),
                text => (text, None),
            };
            let rest_of_end = self.after_return && text.is_empty() && end == Some(b'\n');
            self.after_return = end == Some(b'\r');
            if rest_of_end {
                continue;
            }
            if self.line.len() + text.len() > LONGEST {
                return Err(TooLong);
            }
            self.line.extend_from_slice(text);
            if end.is_some() {
                events.extend(self.end_of_line()?);
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Result<Option<Event>, TooLong> {
        let line = std::mem::take(&mut self.line);
        let line = if self.begun { &line[..] } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) };
        self.begun = true;
        if line.is_empty() {
            let event = Event { event: std::mem::take(&mut self.event), data: std::mem::take(&mut self.data) };
            return Ok(std::mem::take(&mut self.has_data).then_some(event));
        }
        let line = String::from_utf8_lossy(line);
        // A line that starts with a colon is a comment: its field has no name.
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.data.len() + value.len() > LONGEST {
                    return Err(TooLong);
                }
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Vec<(String, String)> {
        Parser::default().push(bytes).expect("short").into_iter().map(|e| (e.event, e.data)).collect()
    }

    #[test]
    fn lines_fields_and_comments_are_read_as_the_standard_says() {
        for (stream, expected) in [
            ("data: a\n\n", &[("", "a")][..]),
            ("data:a\r\n\r\ndata: b\r\rdata:  c\n\n", &[("", "a"), ("", "b"), ("", " c")]),
            ("event: error\ndata: {\ndata: }\n\n", &[("error", "{\n}")]),
            (": keep-alive\n\ndata: a\n\n", &[("", "a")]),
            ("event: ping\n\ndata: a\n\n", &[("", "a")]),
            ("\u{feff}data: a\n\n", &[("", "a")]),
            ("data\n\n", &[("", "")]),
            ("id: 7\nretry: 10\nnonsense\ndata: é\n\n", &[("", "é")]),
            ("data: unfinished\n", &[]),
            ("data: unfinished", &[]),
        ] {
            let expected: Vec<(String, String)> = expected.iter().map(|(e, d)| ((*e).to_owned(), (*d).to_owned())).collect();
            assert_eq!(all(stream.as_bytes()), expected, "{stream:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut parser = Parser::default();
        let megabyte = vec![b'x'; 1_024 * 1_024];
        let fed = (0..10).take_while(|_| parser.push(&megabyte).is_ok()).count();
        assert_eq!(fed, 4);
        let mut parser = Parser::default();
        let line = format!("data: {}\n", "x".repeat(1_024 * 1_024));
        assert!((0..10).any(|_| parser.push(line.as_bytes()).is_err()));
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_makes_no_difference(
            stream in "((data|event|id)?:? ?[aé\u{1F600}{}]{0,3}(\r|\n|\r\n){1,2}){0,8}",
            cuts in proptest::collection::vec(0_usize..200, 0..6),
        ) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for pair in cuts.windows(2) {
                events.extend(parser.push(&bytes[pair[0]..pair[1]]).expect("short").into_iter().map(|e| (e.event, e.data)));
            }
            prop_assert_eq!(events, all(bytes));
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Parser::default().push(&bytes).is_ok());
        }
    }
}
