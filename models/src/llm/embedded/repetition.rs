//! Whether an answer goes round in a circle: small models fall into saying one sentence over and over, and never find out.

/// The longest circle noticed, tokens: about three sentences.
const LONGEST: usize = 64;
/// So many times the same tokens in a row are no refrain any more.
const TIMES: usize = 4;
/// A row of zeros or a ruled line is shorter, tokens.
const ENOUGH: usize = 64;

/// The last tokens of an answer.
pub(super) struct Repetition {
    /// The last [`LONGEST`], the latest at `written - 1` modulo that.
    tokens: [u32; LONGEST],
    written: usize,
    /// For every length of a circle, less one: how many tokens in a row were the same as so many before.
    runs: [usize; LONGEST],
}

impl Repetition {
    pub(super) fn new() -> Repetition {
        Repetition { tokens: [0; LONGEST], written: 0, runs: [0; LONGEST] }
    }

    /// Takes a token; whether the answer has gone round often enough.
    pub(super) fn push(&mut self, token: u32) -> bool {
        let mut round = false;
        for (run, circle) in self.runs.iter_mut().zip(1..=LONGEST.min(self.written)) {
            let before = self.tokens[(self.written - circle) % LONGEST];
            *run = if before == token { *run + 1 } else { 0 };
            round |= *run + circle >= (TIMES * circle).max(ENOUGH);
        }
        self.tokens[self.written % LONGEST] = token;
        self.written += 1;
        round
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many tokens it is noticed.
    fn noticed(tokens: impl IntoIterator<Item = u32>) -> Option<usize> {
        let mut repetition = Repetition::new();
        tokens.into_iter().position(|token| repetition.push(token)).map(|at| at + 1)
    }

    #[test]
    fn circles_are_noticed_and_refrains_are_not() {
        let circle = |length: u32, times: usize| (0..length).cycle().take(length as usize * times);
        assert_eq!(noticed(circle(1, 1_000)), Some(64), "one token");
        assert_eq!(noticed(circle(10, 100)), Some(64), "a short sentence, six times and a bit");
        assert_eq!(noticed(circle(20, 100)), Some(80), "a sentence, four times");
        assert_eq!(noticed(circle(64, 100)), Some(256));
        assert_eq!(noticed(circle(65, 100)), None, "longer than what is noticed");
        assert_eq!(noticed(circle(20, 3)), None, "a refrain");
        assert_eq!(noticed(circle(1, 60)), None, "a ruled line");
        assert_eq!(noticed(0..10_000), None, "nothing twice");
        // Something new each time round: a list that counts.
        let list = (0..200).flat_map(|item| [1, 2, 3, 1_000 + item]);
        assert_eq!(noticed(list), None);
        let late = (100..400).chain(circle(20, 10));
        assert_eq!(noticed(late), Some(380), "the beginning was sound");
    }
}
