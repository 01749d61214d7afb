//! Where the listener is in an answer's speech: the one clock that paces what is sent, and that says where an answer was cut.

use std::time::Duration;

use tokio::time::Instant;

/// A position in speech that was sent, moving at the pace of sound until it meets the end of what was sent, is held, or is stopped.
///
/// Transports that play answers themselves say where they are, and are believed; for the others it is taken that what was sent is heard
/// from the moment on when it was sent.
#[derive(Debug)]
pub(super) struct Playhead {
    /// The position at `since`.
    at: Duration,
    since: Instant,
    /// What was sent.
    sent: Duration,
    motion: Motion,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Motion {
    Moving,
    Held,
    Stopped,
}

impl Playhead {
    /// At the beginning of speech of which nothing was sent.
    pub(super) fn new() -> Playhead {
        Playhead { at: Duration::ZERO, since: Instant::now(), sent: Duration::ZERO, motion: Motion::Moving }
    }

    /// How much was heard by now.
    pub(super) fn heard(&self) -> Duration {
        match self.motion {
            Motion::Moving => (self.at + self.since.elapsed()).min(self.sent),
            Motion::Held | Motion::Stopped => self.at,
        }
    }

    /// What was sent and not heard yet.
    pub(super) fn unheard(&self) -> Duration {
        if self.motion == Motion::Stopped { Duration::ZERO } else { self.sent.saturating_sub(self.heard()) }
    }

    /// Whether it waits.
    pub(super) fn is_held(&self) -> bool {
        self.motion == Motion::Held
    }

    /// Whether the rest will not be heard.
    pub(super) fn is_stopped(&self) -> bool {
        self.motion == Motion::Stopped
    }

    /// More was sent.
    pub(super) fn send(&mut self, length: Duration) {
        // A listener who had heard everything waited until now.
        self.settle(self.heard());
        self.sent += length;
    }

    /// It waits where it is, or goes on.
    pub(super) fn hold(&mut self, held: bool) {
        if self.motion != Motion::Stopped {
            self.settle(self.heard());
            self.motion = if held { Motion::Held } else { Motion::Moving };
        }
    }

    /// The transport says where it is.
    pub(super) fn played(&mut self, heard: Duration) {
        if self.motion != Motion::Stopped {
            self.settle(heard.min(self.sent));
        }
    }

    /// The rest will not be heard.
    pub(super) fn stop(&mut self, heard: Duration) {
        self.played(heard);
        self.motion = Motion::Stopped;
    }

    fn settle(&mut self, at: Duration) {
        (self.at, self.since) = (at, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script in ms: `s80` sent, `.40` time passes, `h` held, `g` let go, `p30` played, `x30` stopped. What was heard and is still to be
    /// heard after each step that lets time pass.
    async fn check(script: &str, expected: &str) {
        let mut playhead = Playhead::new();
        let mut heard = Vec::new();
        for step in script.split_whitespace() {
            let (what, ms) = step.split_at(1);
            let ms = Duration::from_millis(ms.parse().unwrap_or_default());
            match what {
                "s" => playhead.send(ms),
                "h" | "g" => playhead.hold(what == "h"),
                "p" => playhead.played(ms),
                "x" => playhead.stop(ms),
                _ => {
                    tokio::time::advance(ms).await;
                    heard.push(format!("{}+{}", playhead.heard().as_millis(), playhead.unheard().as_millis()));
                }
            }
        }
        assert_eq!(heard.join(" "), expected, "{script}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_moves_at_the_pace_of_sound() {
        check(".10 s80 .30 s80 .100 .100", "0+0 30+50 130+30 160+0").await;
        // What was not there could not be heard.
        check("s80 .200 s80 .40", "80+0 120+40").await;
        check("s500 .100 h .100 g .100", "100+400 100+400 200+300").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_transport_is_believed() {
        check("s500 .300 p100 .50 p900 .50", "300+200 150+350 500+0").await;
        check("s500 .300 h p250 .50 g .50", "300+200 250+250 300+200").await;
        check("s500 .300 x200 .50 s80 g .50 p400 .10", "300+200 200+0 200+0 200+0").await;
    }
}
