//! What the caller hears, and when: answers cut into packets that are sent a little ahead, and the marks by which the carrier says what was
//! heard.
//!
//! It has no clock and no socket: each tick is 20 ms of the caller's time, and brings what is to be said to the carrier and told to the
//! session. A carrier that can pause pauses; from one that can only forget, a held answer is cleared and sent again from the last mark;
//! with one that can do neither nothing is sent ahead.

use std::collections::VecDeque;
use std::time::Duration;

use audio::codec::Codec;
use audio::codec::g711::Law;
use bytes::Bytes;

use crate::wire::phone::Abilities;

/// One tick, ms.
pub(super) const TICK_MS: u64 = 20;
/// Speech between two marks, ms: an answer that is cut is cut no more than that off.
const MARK_EVERY_MS: u64 = 200;
/// Ticks that a mark may be late before its sound is taken for heard: two seconds.
const PATIENCE: u32 = 100;
/// Speech of one answer that is kept, bytes: ten minutes of the widest. The session sends half a second ahead, so this is never reached.
const MOST_KEPT: usize = 64 * 1024 * 1024;

/// What a tick or an event brings.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// A packet of sound to the carrier.
    Sound(Vec<u8>),
    /// A mark after it.
    Mark(String),
    /// The carrier forgets what it has.
    Clear,
    /// The carrier falls silent.
    Pause,
    /// The carrier goes on.
    Resume,
    /// The session is told how much of an answer was heard.
    Heard {
        /// The answer.
        response: String,
        /// Its speech so far.
        heard: Duration,
        /// The rest of it was thrown away.
        silenced: bool,
    },
}

/// The answers that sound, in their order.
pub(super) struct Playout {
    abilities: Abilities,
    /// Bytes of one ms.
    rate: u64,
    silence: u8,
    answers: VecDeque<Answer>,
    /// Counts what was cleared: marks from before it mean nothing any more.
    generation: u64,
    marks: u64,
    /// The carrier takes nothing now.
    full: bool,
}

/// One answer; positions are bytes from its beginning.
struct Answer {
    response: String,
    /// Its sound from `base` on.
    bytes: VecDeque<u8>,
    base: u64,
    /// No more of it comes.
    whole: bool,
    held: bool,
    sent: u64,
    /// Where the caller is, if the carrier plays what it is sent at once.
    clock: u64,
    /// What a mark says was heard.
    confirmed: u64,
    /// The last mark.
    marked: u64,
    /// Marks on their way, by number and position.
    marks: VecDeque<(u64, u64)>,
    /// Ticks since all of it should have been heard.
    overdue: u32,
}

impl Answer {
    fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// What was heard, by the clock and never beyond a mark that has not come back.
    fn heard(&self) -> u64 {
        let most = self.marks.front().map_or(self.clock, |(_, at)| *at);
        self.clock.min(most).max(self.confirmed)
    }

    /// What came in is not needed before this any more.
    fn forget(&mut self, before: u64) {
        let count = before.saturating_sub(self.base).min(self.bytes.len() as u64);
        self.bytes.drain(..count as usize);
        self.base += count;
    }
}

impl Playout {
    /// For sound in `codec`, to a carrier that can do this.
    pub(super) fn new(abilities: Abilities, codec: Codec) -> Playout {
        let (sample, silence) = match codec {
            Codec::G711(Law::Mu) => (1, 0xFF),
            Codec::G711(Law::A) => (1, 0xD5),
            Codec::Pcm16(_) | Codec::Opus(_) => (2, 0),
        };
        let rate = u64::from(codec.rate().hz()) / 1_000 * sample;
        Playout { abilities, rate, silence, answers: VecDeque::new(), generation: 0, marks: 0, full: false }
    }

    /// Whether anything is to be heard yet.
    pub(super) fn is_idle(&self) -> bool {
        self.answers.is_empty()
    }

    /// The carrier takes nothing more, or takes more again.
    pub(super) fn fill(&mut self, full: bool) {
        self.full = full;
    }

    /// Takes more sound of an answer.
    pub(super) fn push(&mut self, response: &str, sound: &Bytes) {
        let at = self.answers.iter().position(|answer| answer.response == response).unwrap_or_else(|| {
            self.answers.push_back(Answer {
                response: response.to_owned(),
                bytes: VecDeque::new(),
                base: 0,
                whole: false,
                held: false,
                sent: 0,
                clock: 0,
                confirmed: 0,
                marked: 0,
                marks: VecDeque::new(),
                overdue: 0,
            });
            self.answers.len() - 1
        });
        let answer = &mut self.answers[at];
        if answer.bytes.len() + sound.len() <= MOST_KEPT {
            answer.bytes.extend(sound);
        }
    }

    /// No more sound of an answer comes.
    pub(super) fn finish(&mut self, response: &str) {
        for answer in self.answers.iter_mut().filter(|answer| answer.response == response) {
            answer.whole = true;
        }
    }

    /// No more sound of any answer comes.
    pub(super) fn finish_all(&mut self) {
        self.answers.iter_mut().for_each(|answer| answer.whole = true);
    }

    /// An answer falls silent where it is, or goes on.
    pub(super) fn hold(&mut self, response: &str, held: bool, acts: &mut Vec<Act>) {
        let Abilities { clears, pauses, .. } = self.abilities;
        let Some(at) = self.answers.iter().position(|answer| answer.response == response && answer.held != held) else { return };
        let answer = &mut self.answers[at];
        answer.held = held;
        let heard = answer.heard();
        let underway = answer.sent > heard;
        match (held, pauses) {
            (true, true) => acts.push(Act::Pause),
            (false, true) => acts.push(Act::Resume),
            (true, false) if clears && underway => {
                // What was heard stays known while the sound goes back to where it will go on.
                (answer.clock, answer.sent) = (heard, if self.abilities.marks { answer.confirmed } else { heard });
                self.clear(acts);
            }
            (false, false) if clears => {
                answer.clock = answer.clock.min(answer.sent);
                answer.marked = answer.marked.min(answer.sent);
            }
            _ => {}
        }
        let from = self.answers[at].heard();
        acts.push(self.tell(at, from, false));
    }

    /// What was not heard of an answer is thrown away.
    pub(super) fn stop(&mut self, response: &str, acts: &mut Vec<Act>) {
        let Some(at) = self.answers.iter().position(|answer| answer.response == response) else { return };
        let heard = self.answers[at].heard();
        let underway = self.answers[at].sent > heard;
        acts.push(self.tell(at, heard, true));
        self.answers.remove(at);
        if self.abilities.clears && underway {
            self.clear(acts);
        }
    }

    /// Everything that was not heard is thrown away.
    pub(super) fn silence(&mut self, acts: &mut Vec<Act>) {
        let responses: Vec<String> = self.answers.iter().map(|answer| answer.response.clone()).collect();
        responses.iter().for_each(|response| self.stop(response, acts));
    }

    /// A mark came back. One of another time, or one that was never made, says nothing.
    pub(super) fn mark(&mut self, name: &str, acts: &mut Vec<Act>) {
        let number =
            name.split_once('-').and_then(|(generation, number)| Some((generation.parse::<u64>().ok()?, number.parse::<u64>().ok()?)));
        let Some((_, number)) = number.filter(|(generation, _)| *generation == self.generation) else { return };
        let has = |answer: &Answer| answer.marks.iter().any(|(known, _)| *known == number);
        let Some(at) = self.answers.iter().position(has) else { return };
        // Sound is played in its order: what was sent before was heard, too.
        for before in self.answers.iter_mut().take(at) {
            (before.confirmed, before.clock) = (before.sent, before.sent);
            before.marks.clear();
        }
        let answer = &mut self.answers[at];
        while let Some((known, position)) = answer.marks.pop_front() {
            answer.confirmed = position;
            if known == number {
                break;
            }
        }
        answer.clock = answer.clock.max(answer.confirmed);
        answer.overdue = 0;
        answer.forget(answer.confirmed);
        let (response, heard) = (answer.response.clone(), answer.confirmed);
        self.end_heard(acts);
        if let Some(at) = self.answers.iter().position(|answer| answer.response == response) {
            acts.push(self.tell(at, heard, false));
        }
    }

    /// 20 ms have passed.
    pub(super) fn tick(&mut self, acts: &mut Vec<Act>) {
        self.advance(TICK_MS * self.rate);
        self.end_heard(acts);
        self.mark_ends(acts);
        while !self.full && self.ahead() < self.rate * self.abilities.lead_ms.max(1) {
            if !self.send(acts) {
                break;
            }
        }
    }

    /// The caller's clock moves on over what was sent, one answer after the other.
    fn advance(&mut self, mut step: u64) {
        for answer in &mut self.answers {
            if answer.held {
                break;
            }
            let moved = step.min(answer.sent.saturating_sub(answer.clock));
            answer.clock += moved;
            step -= moved;
            if !self.abilities.marks {
                answer.forget(answer.clock);
            }
            if !answer.whole || answer.clock < answer.end() {
                break;
            }
            answer.overdue += 1;
        }
    }

    /// Answers that were heard to their end go.
    fn end_heard(&mut self, acts: &mut Vec<Act>) {
        while let Some(answer) = self.answers.front() {
            let end = answer.end();
            let heard = if self.abilities.marks && answer.overdue < PATIENCE { answer.confirmed } else { answer.clock };
            if !answer.whole || heard < end {
                break;
            }
            acts.push(self.tell(0, end, false));
            self.answers.pop_front();
        }
    }

    /// An answer may turn out to be whole after its last packet went: its end is still to be marked.
    fn mark_ends(&mut self, acts: &mut Vec<Act>) {
        let is_unmarked = |answer: &Answer| answer.whole && !answer.held && answer.sent == answer.end() && answer.marked < answer.sent;
        while let Some(at) = self.answers.iter().position(is_unmarked).filter(|_| self.abilities.marks) {
            self.put_mark(at, acts);
        }
    }

    /// Bytes that were sent and not heard.
    fn ahead(&self) -> u64 {
        self.answers.iter().map(|answer| answer.sent.saturating_sub(answer.clock)).sum()
    }

    /// Sends the next packet, if there is one and it may go.
    fn send(&mut self, acts: &mut Vec<Act>) -> bool {
        let packet = self.abilities.packet_ms * self.rate;
        // An answer that was sent to its end does not hold up the next one; one that is held or still grows does.
        let Some(at) = self.answers.iter().position(|answer| !answer.whole || answer.held || answer.sent < answer.end()) else {
            return false;
        };
        let answer = &mut self.answers[at];
        let rest = answer.end() - answer.sent;
        if answer.held || rest == 0 || (rest < packet && !answer.whole) {
            return false;
        }
        let from = answer.sent.saturating_sub(answer.base) as usize;
        let mut sound: Vec<u8> = answer.bytes.range(from..from + rest.min(packet) as usize).copied().collect();
        answer.sent += sound.len() as u64;
        sound.resize(packet as usize, self.silence);
        acts.push(Act::Sound(sound));
        let is_end = answer.whole && answer.sent == answer.end();
        if self.abilities.marks && (is_end || answer.sent - answer.marked >= MARK_EVERY_MS * self.rate) {
            self.put_mark(at, acts);
        }
        true
    }

    /// Marks what was sent of an answer.
    fn put_mark(&mut self, at: usize, acts: &mut Vec<Act>) {
        self.marks += 1;
        let answer = &mut self.answers[at];
        answer.marked = answer.sent;
        answer.marks.push_back((self.marks, answer.sent));
        acts.push(Act::Mark(format!("{}-{}", self.generation, self.marks)));
    }

    /// The carrier forgets what it has: everything after what was heard is to be sent again.
    fn clear(&mut self, acts: &mut Vec<Act>) {
        self.generation += 1;
        for answer in &mut self.answers {
            if !answer.held {
                answer.sent = answer.heard();
                answer.clock = answer.sent;
            }
            answer.marked = answer.sent;
            answer.marks.clear();
        }
        acts.push(Act::Clear);
    }

    fn tell(&self, at: usize, heard: u64, silenced: bool) -> Act {
        let response = self.answers[at].response.clone();
        let heard = Duration::from_micros(heard * 1_000 / self.rate);
        Act::Heard { response, heard, silenced }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MARKED: Abilities = Abilities { packet_ms: 20, lead_ms: 60, marks: true, clears: true, pauses: false };
    const CLEARED: Abilities = Abilities { marks: false, ..MARKED };
    const PAUSED: Abilities = Abilities { pauses: true, ..MARKED };
    const BARE: Abilities = Abilities { lead_ms: 0, marks: false, clears: false, ..MARKED };

    /// A script: `a3` three packets of answer a, `a!` it is whole, `a/` it is stopped, `ah` held, `ag` let go, `m1` mark 1 of the present
    /// time comes back, `0-1` a mark by its whole name, `x` silence, `f` and `r` full and room, `.` a tick. What it brings: `a` for a packet
    /// of a, `m` a mark, `C`, `P`, `R` for clear, pause, resume, `a40` for 40 ms of a heard, `a40/` for silenced there.
    fn check(abilities: Abilities, script: &str, expected: &str) {
        let mut playout = Playout::new(abilities, Codec::G711(Law::Mu));
        let mut brought: Vec<String> = Vec::new();
        for step in script.split_whitespace() {
            let mut acts = Vec::new();
            match step.split_at(1) {
                (".", _) => playout.tick(&mut acts),
                ("x", _) => playout.silence(&mut acts),
                ("f", _) => playout.fill(true),
                ("r", _) => playout.fill(false),
                ("m", number) => playout.mark(&format!("{}-{number}", playout.generation), &mut acts),
                (_, rest) if rest.starts_with('-') => playout.mark(step, &mut acts),
                (response, "!") => playout.finish(response),
                (response, "/") => playout.stop(response, &mut acts),
                (response, "h") => playout.hold(response, true, &mut acts),
                (response, "g") => playout.hold(response, false, &mut acts),
                (response, count) => {
                    let count: f32 = count.parse().expect("packets");
                    playout.push(response, &vec![response.as_bytes()[0]; (160.0 * count) as usize].into());
                }
            }
            brought.extend(acts.into_iter().map(|act| match act {
                Act::Sound(sound) => {
                    assert_eq!(sound.len(), 160, "{script}");
                    char::from(sound[0]).to_string()
                }
                Act::Mark(_) => "m".to_owned(),
                Act::Clear => "C".to_owned(),
                Act::Pause => "P".to_owned(),
                Act::Resume => "R".to_owned(),
                Act::Heard { response, heard, silenced } => {
                    format!("{response}{}{}", heard.as_millis(), if silenced { "/" } else { "" })
                }
            }));
        }
        assert_eq!(brought.join(" "), expected, "{script}");
    }

    #[test]
    fn sound_goes_out_a_little_ahead_and_in_order() {
        check(CLEARED, "a6 . . . a! . . . . .", "a a a a a a a120");
        check(CLEARED, "a1 b1 . a! . b! . .", "a a20 b b20");
        check(CLEARED, "a1.5 . a! . . .", "a a a30");
        check(BARE, "a3 a! . . . . .", "a a a a60");
        check(BARE, "f a1 . r .", "a");
        check(BARE, ". x a! .", "");
    }

    #[test]
    fn marks_say_what_was_heard() {
        // A mark every ten packets, and one at the end; the last mark ends the answer.
        let twelve = "a12 a! . . . . . . . . . . m1 . m2 . ";
        check(MARKED, twelve, "a a a a a a a a a a m a a m a200 a240");
        // The end turns out late, and is still marked.
        check(MARKED, "a1 . . a! . m1", "a m a20");
        // Marks that are late hold the clock back; an answer is cut where the last one came back.
        check(MARKED, "a14 . . . . . . . . . . . . . a/", "a a a a a a a a a a m a a a a a200/ C");
        check(MARKED, "a14 . . . . . . . . . . m1 . . . a/", "a a a a a a a a a a m a a a200 a a a260/ C");
        // Strangers, twins and marks of another time say nothing.
        check(MARKED, "a2 a! . m7 0-x 9-1 m1 m1", "a a m a40");
        check(MARKED, "a2 a! . a/ 0-1 .", "a a m a0/ C");
    }

    #[test]
    fn a_mark_that_never_comes_is_waited_for_and_no_longer() {
        let script = format!("a1 a! {}", ". ".repeat(PATIENCE as usize + 1));
        check(MARKED, &script, "a m a20");
    }

    #[test]
    fn a_held_answer_goes_on_where_it_stopped() {
        check(BARE, "a3 . ah . . ag . .", "a a0 a0 a a");
        check(CLEARED, "a6 . . ah . ag . . .", "a a a a C a20 a20 a a a a a");
        check(MARKED, "a6 . . ah . 0-1 ag .", "a a a a C a20 a0 a a a");
        check(PAUSED, "a6 . . ah . ag .", "a a a a P a20 R a20 a");
        check(CLEARED, "a6 . . ah . a/ .", "a a a a C a20 a20/");
        check(CLEARED, "a3 a! b3 . . ah . ag . . . .", "a a a b C a20 a20 a a b b a60 b");
        check(CLEARED, "ah a2 . .", "a a");
    }

    #[test]
    fn what_was_not_heard_can_be_thrown_away() {
        check(CLEARED, "a5 . x .", "a a a a0/ C");
        check(CLEARED, "a1 a! b2 . b/ . .", "a b b b0/ C a a20");
        check(CLEARED, "a1 a! . . .", "a a20");
        check(BARE, "a5 . x b1 .", "a a0/ b");
    }

    proptest! {
        /// Whatever happens, an answer is heard from its beginning on, no further than it was sent, and never backwards but after a hold.
        #[test]
        fn nothing_is_heard_before_it_was_sent(
            steps in prop::collection::vec(0_u8..10, 1..300),
            which in 0_usize..4,
            amounts in prop::collection::vec(1_usize..500, 300),
        ) {
            let mut playout = Playout::new([MARKED, CLEARED, PAUSED, BARE][which], Codec::G711(Law::Mu));
            let (mut sent, mut names): (u64, Vec<String>) = (0, Vec::new());
            for (step, amount) in steps.into_iter().zip(amounts) {
                let mut acts = Vec::new();
                match step {
                    0 => playout.push("a", &vec![1; amount].into()),
                    1 => playout.finish("a"),
                    2 => playout.hold("a", amount % 2 == 0, &mut acts),
                    3 => if let Some(name) = names.get(amount % 8) { playout.mark(name, &mut acts) },
                    4 => playout.fill(amount % 2 == 0),
                    5 if amount % 5 == 0 => playout.stop("a", &mut acts),
                    _ => playout.tick(&mut acts),
                }
                let most: u64 = playout.answers.iter().map(|answer| answer.end()).sum();
                for act in acts {
                    match act {
                        Act::Sound(sound) => sent += sound.len() as u64 / 8,
                        Act::Mark(name) => names.push(name),
                        Act::Heard { heard, .. } => prop_assert!(heard.as_millis() as u64 <= sent, "{heard:?} of {sent} ms"),
                        Act::Clear | Act::Pause | Act::Resume => {}
                    }
                }
                for answer in &playout.answers {
                    prop_assert!(answer.base <= answer.confirmed.max(answer.clock) && answer.sent <= answer.end() && answer.sent <= most);
                    prop_assert!(answer.sent >= answer.base);
                }
            }
        }
    }
}
