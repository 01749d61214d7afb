//! Keys that the caller presses, collected into one entry: it ends with `#`, or with a pause.

use std::time::Duration;

use tokio::time::Instant;

/// Pause that ends an entry: as long as answering systems usually wait between two digits.
const PAUSE: Duration = Duration::from_millis(2_500);
/// Longest entry; then it ends by itself. Nobody types a longer number.
const LONGEST: usize = 64;
/// Ends an entry.
const END: char = '#';

/// Keys so far.
#[derive(Default)]
pub(super) struct Digits {
    keys: String,
    until: Option<Instant>,
}

impl Digits {
    /// Takes a key: the entry, if that ends it.
    pub(super) fn push(&mut self, key: char, now: Instant) -> Option<String> {
        if key != END || self.keys.is_empty() {
            self.keys.push(key);
        }
        if key == END || self.keys.len() >= LONGEST {
            return self.take();
        }
        self.until = Some(now + PAUSE);
        None
    }

    /// The entry, if its pause is over.
    pub(super) fn due(&mut self, now: Instant) -> Option<String> {
        self.until.filter(|until| *until <= now)?;
        self.take()
    }

    fn take(&mut self) -> Option<String> {
        self.until = None;
        Some(std::mem::take(&mut self.keys)).filter(|keys| !keys.is_empty())
    }
}

/// How a model is told of an entry.
pub(super) fn described(entry: &str) -> String {
    // Apart, so that a model reads digits and not one large number.
    let keys: Vec<String> = entry.chars().map(String::from).collect();
    format!("(The caller pressed these keys of the telephone: {})", keys.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys, `.` for a second; expected: the entries.
    fn check(script: &str, expected: &[&str]) {
        let (mut digits, mut now, mut entries) = (Digits::default(), Instant::now(), Vec::new());
        for step in script.chars() {
            match step {
                '.' => now += Duration::from_secs(1),
                key => entries.extend(digits.push(key, now)),
            }
            entries.extend(digits.due(now));
        }
        assert_eq!(entries, expected, "{script}");
    }

    #[tokio::test]
    async fn an_entry_ends_with_a_hash_or_a_pause() {
        check("123#", &["123"]);
        check("1.2.3", &[]);
        check("1.2.3...", &["123"]);
        check("#", &["#"]);
        check("*5...#..7#", &["*5", "#", "7"]);
        check("...", &[]);
        check(&"1".repeat(65), &[&"1".repeat(64)]);
        assert_eq!(described("1*"), "(The caller pressed these keys of the telephone: 1 *)");
    }
}
