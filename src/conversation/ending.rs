//! How likely a pause ends the caller's turn, and how much silence to wait for accordingly.
//!
//! The sound's judge, asked again as the pause grows, and the words make one probability: the least sure of the judge's answers counts, with
//! the latest words. The less likely the end, the longer the wait; and who pauses long in the middle of turns is given longer, as the call shows.
//!
//! The coefficients are few because there was little to tune them on: 99 turns with 195 pauses of 18 speakers who read, dictate or
//! announce, and 11 broken off. None of them is among those that `timbre eval` reports on, though these were looked at when it was decided what
//! to measure, when to ask, and which silence is the shortest. They were chosen, among some thousand
//! settings, by what becomes of those turns: how many are cut off early, at most half a second after half of them ended, and how many
//! broken ones are answered within a second. Around them little changes. What a voice does before it ends (the fall of its pitch, its
//! level, a lengthened last syllable, how voiced it is) was tried in a logistic regression over these pauses. With one speaker left out
//! at a time it ranked ends a little better than without; on the readers of other books it ranked them worse, so it is left out.

use audio::{Probability, Rate, Samples};

/// A judge of sound is never so sure that words count for nothing: its log-odds stay within this.
const SUREST: f32 = 4.0;
/// What the last words add to the log-odds of an end: who stops at "and", or after a comma, has not finished.
const UNFINISHED: f32 = -4.0;
/// Recognisers that punctuate leave the full stop away where a sentence seems to go on; some never set one.
const UNSTOPPED: f32 = -1.0;
/// A question wants its answer.
const QUESTION: f32 = 0.3;
/// Log-odds of an end that takes no more silence than a sure one: 73 %.
const SURE: f32 = 1.0;
/// From there to the log-odds of what is surely no end (5 %). Between them the wait grows with the log-odds: where pauses inside turns end
/// as if by chance, at a constant rate, this makes the cost of waiting equal to the risk of cutting off.
const DOUBT: f32 = 4.0;
/// By then the sound of most ends has sunk into the room; only what lingers longer puts the end off.
const SUNK: Samples = Rate::MODEL.samples_in_ms(130);
/// Sound that lingers in a pause puts the end off by at most this: a noise that has begun must not hold a turn open.
const LONGEST_TAIL: Samples = Rate::MODEL.samples_in_ms(500);

/// The log-odds that the turn is over: `over` by the sound, and the words so far where they are known.
pub(super) fn odds(over: Probability, words: Option<&str>) -> f32 {
    let by_sound = (over.get().max(1e-6) / (1.0 - over.get()).max(1e-6)).ln().clamp(-SUREST, SUREST);
    by_sound + words.map_or(0.0, of_words)
}

/// As a probability.
pub(super) fn likelihood(odds: f32) -> f32 {
    1.0 / (1.0 + (-odds).exp())
}

/// What a caller does in the middle of turns.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Habit {
    /// Pauses after which they went on, and all of them together.
    pauses: f32,
    length: Samples,
}

impl Habit {
    /// What a pause inside a turn lasts where nothing is known of the caller: the mean of those in read speech.
    const USUAL: Samples = Rate::MODEL.samples_in_ms(350);
    /// As many pauses of a caller weigh as much as what is usual.
    const PRIOR: f32 = 3.0;
    /// The last dozen or so count: callers change, too.
    const REMEMBERED: f32 = 12.0;
    /// One long halt is no habit.
    const LONGEST: Samples = Rate::MODEL.samples_in_ms(2_000);

    /// They went on after this silence.
    pub(super) fn learn(&mut self, pause: Samples) {
        if self.pauses >= Habit::REMEMBERED {
            let kept = 1.0 - 1.0 / Habit::REMEMBERED;
            (self.pauses, self.length) = (self.pauses * kept, Samples((self.length.0 as f32 * kept) as u64));
        }
        self.pauses += 1.0;
        self.length += pause.min(Habit::LONGEST);
    }

    /// How long their pauses are, 1 being usual.
    fn factor(self) -> f32 {
        let usual = Habit::USUAL.0 as f32;
        ((usual * Habit::PRIOR + self.length.0 as f32) / (usual * (Habit::PRIOR + self.pauses))).clamp(0.5, 2.0)
    }
}

/// The silence after which a pause ends the turn, between that of a `sure` end and an `unsure` one; `tail`: how far into the pause its
/// sound still stood out of the room.
pub(super) fn wait(odds: f32, (sure, unsure): (Samples, Samples), habit: Habit, tail: Samples) -> Samples {
    let doubt = ((SURE - odds).max(0.0) / DOUBT * habit.factor()).min(1.0);
    let least = sure.saturating_sub(SUNK);
    sure.max(least + Samples((unsure.saturating_sub(least).0 as f32 * doubt) as u64) + tail.min(LONGEST_TAIL))
}

fn of_words(words: &str) -> f32 {
    const OPEN: &[&str] = &[
        "a", "an", "and", "as", "at", "because", "but", "by", "er", "erm", "for", "from", "hm", "hmm", "i'm", "if", "in", "into", "is",
        "like", "my", "of", "on", "or", "our", "so", "than", "that", "the", "their", "then", "this", "to", "uh", "uhm", "um", "was",
        "were", "when", "which", "while", "who", "whose", "with", "your",
    ];
    let trimmed = words.trim_end();
    let last = trimmed.rsplit(char::is_whitespace).next().unwrap_or_default();
    let bare = last.trim_matches(|c: char| !c.is_alphanumeric() && c != '\'').to_lowercase();
    if OPEN.contains(&bare.as_str()) || trimmed.ends_with([',', '-', '\u{2014}', '\u{2026}']) || trimmed.ends_with("...") {
        UNFINISHED
    } else if trimmed.ends_with(['?', '\u{ff1f}']) {
        QUESTION
    } else if !trimmed.is_empty() && !trimmed.ends_with(['.', '!', '"', '\u{3002}', '\u{ff01}']) {
        UNSTOPPED
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Samples {
        Rate::MODEL.samples_in_ms(ms)
    }

    #[test]
    fn sound_and_words_make_one_probability() {
        let cases = [
            (0.9, None, 0.9),
            (0.9, Some(""), 0.9),
            (0.9, Some("I would like to go home."), 0.9),
            (0.9, Some("Where is it?"), 0.924),
            (0.9, Some("I would like to go home"), 0.768),
            (0.9, Some("I would like to go to the"), 0.142),
            (0.9, Some("One pound of meat,"), 0.142),
            (0.9, Some("Well..."), 0.142),
            (0.1, Some("Where is it?"), 0.130),
            (1.0, Some("and"), 0.5),
            (0.0, None, 0.018),
        ];
        for (over, words, expected) in cases {
            let found = likelihood(odds(Probability::new(over), words));
            assert!((found - expected).abs() < 0.002, "{over} {words:?}: {found}");
        }
    }

    #[test]
    fn the_less_likely_the_end_the_longer_the_wait() {
        let none = Habit::default();
        let (mut slow, mut quick) = (none, none);
        (0..20).for_each(|_| slow.learn(ms(900)));
        (0..20).for_each(|_| quick.learn(ms(140)));
        let cases = [
            (4.0, none, 0, 300),
            (1.0, none, 0, 300),
            (0.0, none, 0, 577),
            (-3.0, none, 0, 1_800),
            (-9.0, none, 0, 1_800),
            // Sound that lingers is no silence yet, up to a point.
            (4.0, none, 120, 300),
            (4.0, none, 250, 420),
            (4.0, none, 900, 670),
            // A sure end is one whoever speaks; else callers with long pauses are given longer, up to the longest.
            (4.0, slow, 0, 300),
            (0.0, slow, 0, 985),
            (-1.5, slow, 0, 1_800),
            (0.0, quick, 0, 378),
        ];
        for (odds, habit, tail, expected) in cases {
            let found = wait(odds, (ms(300), ms(1_800)), habit, ms(tail)).ms(Rate::MODEL);
            assert!(found.abs_diff(expected) <= 60, "{odds} {habit:?} {tail}: {found}");
        }
    }

    #[test]
    fn a_habit_follows_the_caller() {
        let mut habit = Habit::default();
        (0..30).for_each(|_| habit.learn(ms(1_000)));
        assert!(habit.factor() > 1.9, "{habit:?}");
        (0..30).for_each(|_| habit.learn(ms(150)));
        assert!(habit.factor() < 0.7, "{habit:?}");
        let mut halted = Habit::default();
        halted.learn(ms(60_000));
        assert!(halted.factor() <= 2.0);
    }
}
