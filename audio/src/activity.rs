//! Whether somebody speaks: decisions with hysteresis over a detector's probabilities, one a window.
//!
//! It decides about voice only. Whether a pause is the end of a turn is asked elsewhere, as often as the pause grows: [`Activity::silence`]
//! says how long it lasts, and [`Activity::end`] ends the speech early. All times are on the audio clock of the windows.

use crate::{Probability, Rate, Samples};

/// What counts as speech and as its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivityRules {
    /// Length of a detector's window.
    pub window: Samples,
    /// From here on a window is speech.
    pub start: Probability,
    /// Under this a window is silence; between this and `start` it is as the one before.
    pub stop: Probability,
    /// Speech shorter than this is no speech (a click, a cough).
    pub shortest: Samples,
    /// The speech is over when this much silence has passed.
    pub silence: Samples,
    /// Sound before the onset that belongs to the speech: detectors miss soft first consonants.
    pub padding: Samples,
}

impl Default for ActivityRules {
    /// For Silero's windows of 32 ms at 16 kHz. The thresholds are the ones its authors publish; 64 ms start a barge-in quickly.
    fn default() -> ActivityRules {
        ActivityRules {
            window: Samples(512),
            start: Probability::new(0.5),
            stop: Probability::new(0.35),
            shortest: Rate::MODEL.samples_in_ms(64),
            silence: Rate::MODEL.samples_in_ms(500),
            padding: Rate::MODEL.samples_in_ms(300),
        }
    }
}

/// What changed with a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityEvent {
    /// Speech has begun.
    Started {
        /// Its onset: the start of the first window of it.
        at: Samples,
        /// Where a recogniser should begin to listen: the onset less the padding, never before the end of the last speech.
        from: Samples,
    },
    /// The speaker fell silent; it may be the end.
    Paused {
        /// The end of the last window of speech.
        at: Samples,
    },
    /// The pause was none: speech goes on.
    Resumed {
        /// The start of the first window of speech after the pause.
        at: Samples,
    },
    /// The speech is over.
    Ended {
        /// The end of its last window, where the silence began.
        at: Samples,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Quiet,
    /// Speech that is still too short.
    Rising {
        onset: Samples,
    },
    Speaking,
    Pausing {
        since: Samples,
    },
}

/// Follows one stream of windows.
#[derive(Clone, Debug)]
pub struct Activity {
    rules: ActivityRules,
    state: State,
    /// End of the last window.
    now: Samples,
    /// End of the last speech.
    last_end: Samples,
}

impl Activity {
    /// At the start of a stream, in silence.
    pub fn new(rules: ActivityRules) -> Activity {
        Activity { rules, state: State::Quiet, now: Samples(0), last_end: Samples(0) }
    }

    /// The rules in force.
    pub fn rules(&self) -> ActivityRules {
        self.rules
    }

    /// The same stream by other rules from the next window on.
    pub fn follow(&mut self, rules: ActivityRules) {
        self.rules = rules;
    }

    /// Takes the probability of the next window.
    pub fn push(&mut self, speech: Probability) -> Option<ActivityEvent> {
        let begin = self.now;
        self.now += self.rules.window;
        let (voiced, silent) = (speech >= self.rules.start, speech < self.rules.stop);
        match self.state {
            State::Quiet if voiced => self.rise(begin),
            State::Quiet => None,
            State::Rising { .. } if silent => {
                self.state = State::Quiet;
                None
            }
            State::Rising { onset } => self.rise(onset),
            State::Speaking if silent => self.pause(begin),
            State::Speaking => None,
            State::Pausing { .. } if voiced => {
                self.state = State::Speaking;
                Some(ActivityEvent::Resumed { at: begin })
            }
            State::Pausing { since } if self.now.saturating_sub(since) >= self.rules.silence => self.end_at(since),
            State::Pausing { .. } => None,
        }
    }

    /// A window goes by unjudged: the clock goes on, and whoever speaks goes on speaking.
    pub fn pass(&mut self) {
        if let State::Rising { .. } = self.state {
            self.state = State::Quiet;
        }
        self.now += self.rules.window;
    }

    fn rise(&mut self, onset: Samples) -> Option<ActivityEvent> {
        if self.now.saturating_sub(onset) < self.rules.shortest {
            self.state = State::Rising { onset };
            return None;
        }
        self.state = State::Speaking;
        Some(ActivityEvent::Started { at: onset, from: onset.saturating_sub(self.rules.padding).max(self.last_end) })
    }

    fn pause(&mut self, since: Samples) -> Option<ActivityEvent> {
        if self.rules.silence <= self.rules.window {
            return self.end_at(since);
        }
        self.state = State::Pausing { since };
        Some(ActivityEvent::Paused { at: since })
    }

    fn end_at(&mut self, at: Samples) -> Option<ActivityEvent> {
        self.state = State::Quiet;
        self.last_end = at;
        Some(ActivityEvent::Ended { at })
    }

    /// Ends the speech now, as somebody else decided; `None` where nobody speaks.
    pub fn end(&mut self) -> Option<ActivityEvent> {
        match self.state {
            State::Quiet => None,
            State::Rising { .. } => {
                self.state = State::Quiet;
                None
            }
            State::Speaking => self.end_at(self.now),
            State::Pausing { since } => self.end_at(since),
        }
    }

    /// How long the pause inside the speech has lasted; `None` where there is no pause, or no speech.
    pub fn silence(&self) -> Option<Samples> {
        match self.state {
            State::Pausing { since } => Some(self.now - since),
            State::Quiet | State::Rising { .. } | State::Speaking => None,
        }
    }

    /// Whether speech has begun and not ended; a pause inside counts.
    pub fn is_speech(&self) -> bool {
        matches!(self.state, State::Speaking | State::Pausing { .. })
    }

    /// The end of the last window.
    pub fn now(&self) -> Samples {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One digit a window: its tenths of probability. Rules: windows of 1, shortest 2, silence 4, padding 3.
    fn rules() -> ActivityRules {
        ActivityRules { window: Samples(1), shortest: Samples(2), silence: Samples(4), padding: Samples(3), ..ActivityRules::default() }
    }

    fn run(activity: &mut Activity, windows: &str) -> String {
        let mut said = Vec::new();
        for digit in windows.bytes() {
            said.extend(activity.push(Probability::new(f32::from(digit - b'0') / 10.0)).map(|event| match event {
                ActivityEvent::Started { at, from } => format!("start {} from {}", at.0, from.0),
                ActivityEvent::Paused { at } => format!("pause {}", at.0),
                ActivityEvent::Resumed { at } => format!("resume {}", at.0),
                ActivityEvent::Ended { at } => format!("end {}", at.0),
            }));
        }
        said.join(", ")
    }

    #[test]
    fn decisions() {
        for (windows, expected) in [
            ("", ""),
            ("0000", ""),
            ("090090", ""),
            ("0000099", "start 5 from 2"),
            ("99", "start 0 from 0"),
            ("0000944", "start 4 from 1"),
            ("0000444", ""),
            ("99940004", "start 0 from 0, pause 4, end 4"),
            ("9990090000", "start 0 from 0, pause 3, resume 5, pause 6, end 6"),
            ("99000049", "start 0 from 0, pause 2, end 2"),
            ("990000099", "start 0 from 0, pause 2, end 2, start 7 from 4"),
            ("99000099", "start 0 from 0, pause 2, end 2, start 6 from 3"),
            ("9900009009", "start 0 from 0, pause 2, end 2"),
            ("99440000", "start 0 from 0, pause 4, end 4"),
        ] {
            assert_eq!(run(&mut Activity::new(rules()), windows), expected, "{windows}");
        }
    }

    #[test]
    fn padding_never_reaches_into_the_last_speech() {
        let mut activity = Activity::new(ActivityRules { silence: Samples(1), ..rules() });
        assert_eq!(run(&mut activity, "99099"), "start 0 from 0, end 2, start 3 from 2");
    }

    #[test]
    fn the_clock_goes_on_while_nobody_judges() {
        let mut activity = Activity::new(rules());
        run(&mut activity, "9");
        (0..4).for_each(|_| activity.pass());
        assert_eq!(run(&mut activity, "99"), "start 5 from 2");
        (0..4).for_each(|_| activity.pass());
        assert_eq!(run(&mut activity, "90"), "pause 12");
    }

    #[test]
    fn a_caller_may_ask_often_and_end_early() {
        let mut activity = Activity::new(rules());
        assert_eq!(activity.end(), None);
        run(&mut activity, "99");
        assert_eq!((activity.silence(), activity.is_speech()), (None, true));
        for expected in 1..=3 {
            run(&mut activity, "0");
            assert_eq!(activity.silence(), Some(Samples(expected)));
        }
        assert_eq!(activity.end(), Some(ActivityEvent::Ended { at: Samples(2) }));
        assert_eq!((activity.silence(), activity.is_speech(), activity.end()), (None, false, None));
    }

    #[test]
    fn barge_in_takes_two_windows_of_silero() {
        let mut activity = Activity::new(ActivityRules::default());
        assert_eq!(activity.push(Probability::ONE), None);
        assert!(matches!(activity.push(Probability::ONE), Some(ActivityEvent::Started { .. })));
    }

    proptest! {
        #[test]
        fn starts_and_ends_alternate(windows in prop::collection::vec(0.0f32..1.0, 0..300)) {
            let mut activity = Activity::new(rules());
            let (mut open, mut last) = (false, Samples(0));
            for p in windows {
                match activity.push(Probability::new(p)) {
                    Some(ActivityEvent::Started { at, from }) => {
                        prop_assert!(!open && from <= at && from >= last);
                        (open, last) = (true, at);
                    }
                    Some(ActivityEvent::Ended { at }) => {
                        prop_assert!(open && at >= last);
                        (open, last) = (false, at);
                    }
                    Some(ActivityEvent::Paused { .. } | ActivityEvent::Resumed { .. }) => prop_assert!(open),
                    None => {}
                }
                prop_assert_eq!(open, activity.is_speech());
            }
        }
    }
}
