//! Who has the floor: how the time of a call is shared, told from what the conversation takes in and decides, by the clock of the caller's
//! sound.

use audio::{Rate, Samples};
use models::Dynamics;

use crate::conversation::{Input, Output};

/// The call so far.
#[derive(Debug, Default)]
pub(super) struct Floor {
    /// Since when the caller speaks.
    caller_since: Option<Samples>,
    /// Since when an answer sounds.
    answer_since: Option<Samples>,
    /// When the last answer ended.
    answered_at: Option<Samples>,
    /// Time that the caller spoke, in turns that are over.
    caller: Samples,
    /// Time that answers sounded, of those that are over.
    answers: Samples,
    /// Time in this turn in which both did.
    both: Samples,
    latency: Option<Samples>,
    interruptions: u32,
    turns: u32,
}

impl Floor {
    /// The conversation is told this.
    pub(super) fn told(&mut self, input: &Input, now: Samples) {
        match input {
            Input::ReplySpeaks(_) => self.answer_since = Some(now),
            Input::ReplyEnded(_) => {
                let Some(since) = self.answer_since.take() else { return };
                self.answers += now.saturating_sub(since);
                self.answered_at = Some(now);
                if let Some(onset) = self.caller_since {
                    self.both += now.saturating_sub(onset.max(since));
                }
            }
            _ => {}
        }
    }

    /// It decided this.
    pub(super) fn decided(&mut self, output: &Output) {
        match *output {
            Output::Announce { at } => {
                self.caller_since = Some(at);
                // An onset is told when it is sure: the answer may have ended for it.
                self.both = self.answered_at.map_or(Samples(0), |ended| ended.saturating_sub(at));
                // Who speaks into an answer has not waited for its end.
                let waited = self.answered_at.filter(|ended| self.answer_since.is_none() && *ended <= at);
                self.latency = waited.map(|ended| at.saturating_sub(ended));
            }
            Output::Interrupt(_) => self.interruptions += 1,
            _ => {}
        }
    }

    /// The caller's turn ends at `at`: what it was like, and the call with it.
    pub(super) fn turn_ended(&mut self, at: Samples) -> Option<Dynamics> {
        let onset = self.caller_since.take()?;
        let turn = at.saturating_sub(onset);
        let sounding = self.answer_since.map_or(Samples(0), |since| at.saturating_sub(since));
        if let Some(since) = self.answer_since {
            self.both += at.saturating_sub(onset.max(since));
        }
        let seconds = |samples: Samples| samples.duration(Rate::MODEL).as_secs_f32();
        let before = (self.turns > 0).then(|| seconds(self.caller) / self.turns as f32);
        self.caller += turn;
        self.turns += 1;
        let (caller, answers) = (seconds(self.caller), seconds(self.answers + sounding));
        Some(Dynamics {
            turn_seconds: seconds(turn),
            turn_trend: before.filter(|before| *before > 0.0).map(|before| seconds(turn) / before),
            talk_ratio: if caller > 0.0 { caller / (caller + answers) } else { 0.0 },
            overlap: (seconds(self.both) / seconds(turn).max(0.001)).min(1.0),
            interruptions: self.interruptions,
            reply_latency: self.latency.take().map(seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::conversation::ReplyId;

    fn at(ms: u64) -> Samples {
        Samples(ms * 16)
    }

    #[test]
    fn time_is_shared_between_the_two() {
        let id = ReplyId(NonZeroU32::MIN);
        let mut floor = Floor::default();
        assert_eq!(floor.turn_ended(at(100)), None, "nobody was heard");
        floor.decided(&Output::Announce { at: at(1_000) });
        let first = floor.turn_ended(at(3_000)).expect("a turn");
        let expected =
            Dynamics { turn_seconds: 2.0, turn_trend: None, talk_ratio: 1.0, overlap: 0.0, interruptions: 0, reply_latency: None };
        assert_eq!(first, expected);

        // An answer of four seconds, and two seconds of thought.
        floor.told(&Input::ReplySpeaks(id), at(3_500));
        floor.told(&Input::ReplyEnded(id), at(7_500));
        floor.decided(&Output::Announce { at: at(9_500) });
        let second = floor.turn_ended(at(10_500)).expect("a turn");
        assert_eq!((second.turn_seconds, second.turn_trend, second.reply_latency), (1.0, Some(0.5), Some(2.0)));
        assert!((second.talk_ratio - 3.0 / 7.0).abs() < 1e-6, "{second:?}");

        // An answer that is interrupted half a second into the caller's words.
        floor.told(&Input::ReplySpeaks(id), at(11_000));
        floor.decided(&Output::Announce { at: at(12_000) });
        floor.decided(&Output::Interrupt(id));
        floor.told(&Input::ReplyEnded(id), at(12_500));
        let third = floor.turn_ended(at(14_000)).expect("a turn");
        assert_eq!((third.interruptions, third.overlap, third.reply_latency), (1, 0.25, None));

        // The same, told in the other order.
        floor.told(&Input::ReplySpeaks(id), at(15_000));
        floor.told(&Input::ReplyEnded(id), at(16_500));
        floor.decided(&Output::Announce { at: at(16_000) });
        let fourth = floor.turn_ended(at(18_000)).expect("a turn");
        assert_eq!((fourth.overlap, fourth.reply_latency), (0.25, None));
    }
}
