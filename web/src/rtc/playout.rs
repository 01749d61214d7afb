//! What the caller hears, and when: the sound of answers, cut into packets of 20 ms by one clock.
//!
//! It has no clock: each tick is 20 ms of the listener's time. What was ticked out was heard; what was not can still be thrown away.

use std::collections::VecDeque;
use std::time::Duration;

use audio::Samples;
use audio::codec::opus::PACKET_MS;
use audio::codec::pcm::PcmDecoder;
use bytes::Bytes;

use super::RATE;
use crate::Playing;

/// Samples of a packet.
const FRAME: Samples = RATE.samples_in_ms(PACKET_MS);

/// Something that happened to an answer's sound.
#[derive(Debug, PartialEq)]
pub(super) struct Notice {
    /// What; the client is told.
    pub playing: Playing,
    /// The answer.
    pub response: String,
    /// How much of it was heard by then.
    pub heard: Duration,
}

/// The answers that sound, in the order in which they do.
#[derive(Default)]
pub(super) struct Playout {
    answers: VecDeque<Answer>,
}

struct Answer {
    response: String,
    decoder: PcmDecoder,
    pcm: VecDeque<f32>,
    state: State,
    /// What of it was ticked out.
    heard: Samples,
    /// It waits, and all after it.
    held: bool,
    /// No more of it comes.
    whole: bool,
}

impl Answer {
    fn has_packet(&self) -> bool {
        self.pcm.len() >= FRAME.0 as usize || (self.whole && !self.pcm.is_empty())
    }

    fn notice(&self, playing: Playing) -> Notice {
        Notice { playing, response: self.response.clone(), heard: self.heard.duration(RATE) }
    }
}

#[derive(PartialEq)]
enum State {
    /// Nothing of it was heard.
    Waiting,
    Sounding,
    /// What is still to come of it is thrown away.
    Muted,
}

impl Playout {
    /// Takes more sound of an answer, PCM16 at [`RATE`].
    pub(super) fn push(&mut self, response: &str, bytes: &Bytes) {
        let at = self.answers.iter().position(|answer| answer.response == response).unwrap_or_else(|| {
            self.answers.push_back(Answer {
                response: response.to_owned(),
                decoder: PcmDecoder::new(),
                pcm: VecDeque::new(),
                state: State::Waiting,
                heard: Samples(0),
                held: false,
                whole: false,
            });
            self.answers.len() - 1
        });
        let answer = &mut self.answers[at];
        if answer.state != State::Muted {
            let mut pcm = Vec::with_capacity(bytes.len() / 2);
            answer.decoder.decode(bytes, &mut pcm);
            answer.pcm.extend(pcm);
        }
    }

    /// No more sound of an answer comes; what is there plays to its end.
    pub(super) fn finish(&mut self, response: &str) {
        for answer in self.answers.iter_mut().filter(|answer| answer.response == response) {
            answer.whole = true;
        }
        self.answers.retain(|answer| !(answer.whole && answer.state == State::Muted));
    }

    /// An answer pauses where it is, or goes on from there: how much of it was heard, if it was not thrown away before.
    pub(super) fn hold(&mut self, response: &str, held: bool) -> Option<Duration> {
        let answer = self.answers.iter_mut().find(|answer| answer.response == response && answer.state != State::Muted)?;
        answer.held = held;
        Some(answer.heard.duration(RATE))
    }

    /// An answer was stopped: what was not heard of it is thrown away.
    pub(super) fn stop(&mut self, response: &str) -> Option<Notice> {
        let at = self.answers.iter().position(|answer| answer.response == response)?;
        let answer = self.answers.remove(at)?;
        (answer.state == State::Sounding).then(|| answer.notice(Playing::Cleared))
    }

    /// Falls silent: what was not heard is thrown away, and what comes of the same answers, too.
    pub(super) fn clear(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        for answer in &mut self.answers {
            if answer.state == State::Sounding {
                notices.push(answer.notice(Playing::Cleared));
            }
            answer.pcm.clear();
            answer.state = State::Muted;
        }
        self.answers.retain(|answer| !answer.whole);
        notices
    }

    /// Whether the next tick has sound.
    pub(super) fn is_ready(&self) -> bool {
        let next = self.answers.iter().find(|answer| answer.state != State::Muted);
        next.is_some_and(|answer| !answer.held && answer.has_packet())
    }

    /// The next 20 ms into `frame` ([`RATE`], mono), if there is sound; and what the client is to be told.
    pub(super) fn tick(&mut self, frame: &mut Vec<f32>) -> Vec<Notice> {
        frame.clear();
        let mut notices = Vec::new();
        // An answer that was silenced does not hold up those after it.
        while let Some(answer) = self.answers.iter_mut().find(|answer| answer.state != State::Muted) {
            if answer.held {
                break;
            }
            let size = FRAME.0 as usize;
            if answer.has_packet() {
                frame.extend(answer.pcm.drain(..size.min(answer.pcm.len())));
                answer.heard += Samples(frame.len() as u64);
                frame.resize(size, 0.0);
                if answer.state == State::Waiting {
                    answer.state = State::Sounding;
                    notices.push(answer.notice(Playing::Started));
                }
                break;
            }
            if !answer.whole {
                break;
            }
            let response = answer.response.clone();
            if answer.state == State::Sounding {
                notices.push(answer.notice(Playing::Stopped));
            }
            self.answers.retain(|answer| answer.response != response);
        }
        notices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script: `a3` three packets of answer a, `a!` it is whole, `a/` it is stopped, `ah` held and `ag` let go (and heard, ms), `x`
    /// cleared, `.` a tick. What it brings: `a` for a
    /// packet of a, `-` for none, and `+a`, `=a`, `/a` for started, stopped, cleared.
    fn check(script: &str, expected: &str) {
        let mut playout = Playout::default();
        let mut brought: Vec<String> = Vec::new();
        let tell = |notices: Vec<Notice>, brought: &mut Vec<String>| {
            for Notice { playing, response, .. } in notices {
                let sign = match playing {
                    Playing::Started => '+',
                    Playing::Stopped => '=',
                    Playing::Cleared => '/',
                };
                brought.push(format!("{sign}{response}"));
            }
        };
        for step in script.split_whitespace() {
            match step.split_at(1) {
                (".", _) => {
                    let ready = playout.is_ready();
                    let mut frame = Vec::new();
                    let notices = playout.tick(&mut frame);
                    tell(notices, &mut brought);
                    let letter = frame.first().map_or('-', |&sample| char::from((sample * 1_000.0).round() as u8));
                    assert!(!ready || letter != '-', "{script}");
                    brought.push(letter.to_string());
                }
                ("x", _) => {
                    let notices = playout.clear();
                    tell(notices, &mut brought);
                }
                (response, "!") => playout.finish(response),
                (response, "h" | "g") => {
                    let heard = playout.hold(response, step.ends_with('h'));
                    brought.push(heard.map_or("?".to_owned(), |heard| heard.as_millis().to_string()));
                }
                (response, "/") => {
                    let notices = playout.stop(response).into_iter().collect();
                    tell(notices, &mut brought);
                }
                (response, count) => {
                    let count: f32 = count.parse().expect("packets");
                    let level = f32::from(response.as_bytes()[0]) / 1_000.0;
                    let mut bytes = Vec::new();
                    audio::codec::pcm::encode(&vec![level; (480.0 * count) as usize], &mut bytes);
                    playout.push(response, &bytes.into());
                }
            }
        }
        assert_eq!(brought.join(" "), expected, "{script}");
    }

    #[test]
    fn answers_sound_in_order_to_their_end() {
        check(". a2 . . . a! . .", "- +a a a - =a - -");
        check("a1.5 . . a! . .", "+a a - a =a -");
        check("a1 b1 . . a! . b! .", "+a a - =a +b b =b -");
        check("a! .", "-");
        check("b1 b! . .", "+b b =b -");
    }

    #[test]
    fn a_held_answer_goes_on_where_it_stopped() {
        check("a3 . ah . . ag . . a! . .", "+a a 20 - - 20 a a =a - -");
        check("a3 ah . a/ ag .", "0 - ? -");
        check("a3 b1 b! . ah . a/ .", "+a a 20 - /a +b b");
    }

    #[test]
    fn what_was_not_heard_can_be_thrown_away() {
        check("a5 . a/ . a!", "+a a /a -");
        check("a5 a/ .", "-");
        check("a5 . x . a2 . a! . b1 .", "+a a /a - - - +b b");
        check("a5 a! . x . a2 .", "+a a /a - +a a");
        check("x .", "-");
        check("a2 x b1 . a! .", "+b b -");
    }
}
