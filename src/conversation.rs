//! Whose turn it is: the decisions of one call, without sound, models, sockets or a clock of its own.
//!
//! `now` is the position in the caller's sound, so a call decides the same however fast its sound arrives. Two small state machines meet
//! here: what the caller does (silent, speaking, pausing) and what we do (nothing, thinking, speaking, holding our breath).
//!
//! A pause is asked about once it is long enough to end a turn, and again as it grows; the surer the answers that the turn is over, the less
//! silence it takes. A caller who speaks into our answer silences it at once; it is given up only where a voice said a word of its own, not for a
//! cough, a laugh, an "mm-hm", music or a keyboard: then it goes on where it stopped.

mod doubt;
mod ending;

use std::num::NonZeroU32;

use audio::{ActivityEvent, Probability, Rate, Samples};

use self::doubt::Doubt;
use self::ending::Habit;

/// Number of an answer within its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyId(pub NonZeroU32);

/// How a call decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// How turns end.
    pub ends: Ends,
    /// Whether the end of a turn is answered without being asked.
    pub respond: bool,
    /// Whether the caller's voice stops an answer.
    pub interrupt: bool,
}

/// How the end of a turn is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The client says so.
    Manual,
    /// After this much silence.
    Silence(Samples),
    /// By sound and words, between these two silences: where surely over, and where surely not.
    Judged {
        /// Silence that a certain end takes.
        sure: Samples,
        /// Silence that ends any turn.
        unsure: Samples,
    },
}

impl Ends {
    /// For callers who are to be answered at once.
    pub const HIGH: Ends = Ends::Judged { sure: Rate::MODEL.samples_in_ms(300), unsure: Rate::MODEL.samples_in_ms(1_000) };
    /// Between the two.
    pub const MEDIUM: Ends = Ends::Judged { sure: Rate::MODEL.samples_in_ms(430), unsure: Rate::MODEL.samples_in_ms(1_800) };
    /// For callers who are to be let finish.
    pub const LOW: Ends = Ends::Judged { sure: Rate::MODEL.samples_in_ms(600), unsure: Rate::MODEL.samples_in_ms(2_500) };
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The detector decided about the caller's voice.
    Voice(ActivityEvent),
    /// A window of sound passed: how likely it held speech.
    Window(Probability),
    /// What was said into our answer so far; `None` where nobody can tell yet.
    Words(Option<String>),
    /// The pause asked about was judged: how likely the turn is over, and the words so far.
    Judged {
        /// By the sound.
        over: Probability,
        /// What was heard, where known.
        words: Option<String>,
        /// How far into the pause its sound still stood out of the room.
        tail: Samples,
    },
    /// The client ends the turn.
    Commit,
    /// What the caller was saying is forgotten.
    Cleared,
    /// An answer begins, by whatever cause.
    ReplyBegan(ReplyId),
    /// Its first sound left.
    ReplySpeaks(ReplyId),
    /// It ended, by itself or not.
    ReplyEnded(ReplyId),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Output {
    /// Start to transcribe, from here on.
    Hear {
        /// Position in the caller's sound.
        from: Samples,
    },
    /// Tell the client that the caller speaks.
    Announce {
        /// The onset.
        at: Samples,
    },
    /// A pause begins: have the words so far ready, if nothing else waits to be heard.
    Draft,
    /// Ask for the words so far of somebody who speaks into our answer.
    Listen,
    /// Ask whether the turn is over, by the sound and by the words so far.
    Ask,
    /// Speech went on: what was asked is void.
    GoOn,
    /// The turn is probably over, and its words are known: begin an answer that nobody hears yet.
    Prepare {
        /// Where the speech ended, if it did.
        at: Samples,
    },
    /// The caller's turn is over.
    EndTurn {
        /// Where the speech ended.
        at: Samples,
        /// Whether to answer.
        respond: bool,
    },
    /// Answer the turn that ended while an answer that may not be interrupted was in progress.
    Answer,
    /// It was no speech worth a turn: forget it.
    Forget,
    /// Let no sound of this answer out for now.
    Hold(ReplyId),
    /// Let it go on.
    Release(ReplyId),
    /// Give it up: the caller has the word.
    Interrupt(ReplyId),
}

/// From this silence on the words are asked for: shorter ones lie between any two words.
const DRAFT: Samples = Rate::MODEL.samples_in_ms(64);
/// A pause is asked about so long before it may end a turn: by then the answer is there, and a call decides the same on a fast machine and
/// on a slow one. Asked earlier, the judge of the sound takes half of all pauses for ends.
const AHEAD: Samples = Rate::MODEL.samples_in_ms(110);
/// And again, counted from there, until the sound before the pause is leaving its sight. Each question costs as much as hearing three seconds.
const QUESTIONS: [Samples; 4] =
    [Samples(0), Rate::MODEL.samples_in_ms(128), Rate::MODEL.samples_in_ms(288), Rate::MODEL.samples_in_ms(448)];
/// When the words of somebody who speaks into our answer are asked for, counted from the onset: early enough to be known within half a
/// second, and late enough to hold a word.
const WORDS: [Samples; 4] =
    [Rate::MODEL.samples_in_ms(352), Rate::MODEL.samples_in_ms(448), Rate::MODEL.samples_in_ms(800), Rate::MODEL.samples_in_ms(1_500)];
/// Who speaks for so long into our answer means it, whatever the words.
const INSISTS: Samples = Rate::MODEL.samples_in_ms(2_000);
/// A sound shorter than this says nothing.
const WORD: Samples = Rate::MODEL.samples_in_ms(120);
/// Where a turn is this likely over, its answer is begun.
const LIKELY: f32 = 0.5;
/// Who speaks again this soon after the end of their turn, before anything was answered, was cut off.
const CUT_OFF: Samples = Rate::MODEL.samples_in_ms(1_500);
/// A shorter pause lies between words, and tells nothing of how its caller pauses.
const PAUSE: Samples = Rate::MODEL.samples_in_ms(128);
/// Silence after which a sound without words was none of our business.
const FALSE_ALARM: Samples = Rate::MODEL.samples_in_ms(200);
/// The same where its words are still awaited.
const FORGOTTEN: Samples = Rate::MODEL.samples_in_ms(600);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Caller {
    Silent,
    Speaking {
        onset: Samples,
        doubt: Option<Doubt>,
    },
    Pausing {
        onset: Samples,
        doubt: Option<Doubt>,
        since: Samples,
        asked: Asked,
        /// The least sure that the pause was the end, by its sound.
        over: Probability,
        needed: Option<Samples>,
    },
}

/// What a pause was asked so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Nothing,
    /// For a first look at the words: whether they are meant for us.
    Meant,
    /// The same, and they are not.
    Unmeant,
    /// For the words.
    Draft,
    /// So many of the [`QUESTIONS`].
    Over(usize),
}

impl Asked {
    /// What is to be asked next of a pause that may be an end, and at which silence.
    fn next(self, sure: Samples) -> Option<(Samples, Output, Asked)> {
        let over =
            |asked: usize| QUESTIONS.get(asked).map(|after| (sure.saturating_sub(AHEAD) + *after, Output::Ask, Asked::Over(asked + 1)));
        match self {
            Asked::Nothing => Some((DRAFT, Output::Draft, Asked::Draft)),
            Asked::Meant | Asked::Draft => over(0),
            Asked::Unmeant => None,
            Asked::Over(asked) => over(asked),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reply {
    None,
    Thinking(ReplyId),
    Speaking(ReplyId),
    /// Silenced until it is clear whether the caller means it.
    Held(ReplyId),
}

/// The state of a call.
#[derive(Debug)]
pub struct Conversation {
    rules: Rules,
    caller: Caller,
    reply: Reply,
    /// A turn ended while an answer that may not be interrupted was in progress.
    owed: bool,
    habit: Habit,
    /// Where the speech of the last turn ended, while nothing was answered to it.
    ended: Option<Samples>,
}

impl Conversation {
    /// A call in which nobody has spoken.
    pub fn new(rules: Rules) -> Conversation {
        Conversation { rules, caller: Caller::Silent, reply: Reply::None, owed: false, habit: Habit::default(), ended: None }
    }

    /// Other rules from now on, and what they ask for at once.
    #[must_use]
    pub fn follow(&mut self, rules: Rules) -> Vec<Output> {
        self.rules = rules;
        let doubted = matches!(self.caller, Caller::Speaking { doubt: Some(_), .. } | Caller::Pausing { doubt: Some(_), .. });
        // A client that ends turns itself has nobody's voice judged: what is held would be held for good.
        if rules.ends == Ends::Manual && doubted { self.cleared() } else { Vec::new() }
    }

    /// The answer in progress.
    pub fn reply(&self) -> Option<ReplyId> {
        match self.reply {
            Reply::None => None,
            Reply::Thinking(id) | Reply::Speaking(id) | Reply::Held(id) => Some(id),
        }
    }

    /// Takes what happened and says what is to be done, in order.
    #[must_use]
    pub fn handle(&mut self, now: Samples, input: Input) -> Vec<Output> {
        match input {
            Input::Voice(event) => self.voice(event),
            Input::Window(speech) => self.window(now, speech),
            Input::Words(words) => self.words(words.as_deref()),
            Input::Judged { over, words, tail } => self.judged(now, over, words.as_deref(), tail),
            Input::Commit => self.commit(now),
            Input::Cleared => self.cleared(),
            Input::ReplyBegan(id) => {
                self.reply = Reply::Thinking(id);
                self.owed = false;
                Vec::new()
            }
            Input::ReplySpeaks(id) => {
                if self.reply == Reply::Thinking(id) {
                    self.reply = Reply::Speaking(id);
                    self.ended = None;
                }
                Vec::new()
            }
            Input::ReplyEnded(id) => {
                if self.reply() != Some(id) {
                    return Vec::new();
                }
                self.reply = Reply::None;
                // Who speaks again is answered when they have finished.
                let owed = std::mem::take(&mut self.owed) && self.caller == Caller::Silent;
                if owed { vec![Output::Answer] } else { Vec::new() }
            }
        }
    }

    fn voice(&mut self, event: ActivityEvent) -> Vec<Output> {
        match (event, self.caller) {
            (ActivityEvent::Started { at, from }, _) => {
                if let Some(pause) = self.ended.take().map(|ended| at.saturating_sub(ended)).filter(|pause| *pause < CUT_OFF) {
                    self.habit.learn(pause);
                }
                let mut outputs = vec![Output::Hear { from }];
                let held = match self.reply {
                    Reply::Thinking(id) | Reply::Speaking(id) if self.rules.interrupt => {
                        self.reply = Reply::Held(id);
                        outputs.push(Output::Hold(id));
                        true
                    }
                    Reply::Held(_) => true,
                    Reply::None | Reply::Thinking(_) | Reply::Speaking(_) => false,
                };
                if !held {
                    outputs.push(Output::Announce { at });
                }
                self.caller = Caller::Speaking { onset: at, doubt: held.then(Doubt::default) };
                outputs
            }
            (ActivityEvent::Paused { at }, Caller::Speaking { onset, doubt }) => {
                self.caller = Caller::Pausing { onset, doubt, since: at, asked: Asked::Nothing, over: Probability::new(1.0), needed: None };
                Vec::new()
            }
            (ActivityEvent::Resumed { at }, Caller::Pausing { onset, doubt, since, asked, .. }) => {
                let pause = at.saturating_sub(since);
                if pause >= PAUSE {
                    self.habit.learn(pause);
                }
                self.caller = Caller::Speaking { onset, doubt };
                if asked > Asked::Nothing { vec![Output::GoOn] } else { Vec::new() }
            }
            // The detector's own end comes only where no rule of ours was quicker.
            (ActivityEvent::Ended { at }, Caller::Pausing { .. } | Caller::Speaking { .. }) => self.end_turn(at),
            (ActivityEvent::Paused { .. } | ActivityEvent::Resumed { .. } | ActivityEvent::Ended { .. }, _) => Vec::new(),
        }
    }

    fn window(&mut self, now: Samples, speech: Probability) -> Vec<Output> {
        match &mut self.caller {
            Caller::Silent | Caller::Speaking { doubt: None, .. } => Vec::new(),
            Caller::Speaking { onset, doubt: Some(doubt) } => {
                doubt.windows += 1;
                doubt.speech += speech.get();
                let length = now.saturating_sub(*onset);
                if length >= INSISTS && doubt.is_voice() {
                    return self.give_way();
                }
                match WORDS.get(usize::from(doubt.asked)) {
                    Some(at) if length >= *at => {
                        doubt.asked += 1;
                        vec![Output::Listen]
                    }
                    Some(_) | None => Vec::new(),
                }
            }
            Caller::Pausing { onset, doubt, since, asked, needed, .. } => {
                let silence = now.saturating_sub(*since);
                if doubt.is_some() {
                    let short = since.saturating_sub(*onset) < WORD;
                    if silence >= if short || *asked == Asked::Unmeant { FALSE_ALARM } else { FORGOTTEN } {
                        return self.forget();
                    }
                    if !short && *asked == Asked::Nothing && silence >= DRAFT && self.rules.ends != Ends::Manual {
                        *asked = Asked::Meant;
                        return vec![Output::Listen];
                    }
                }
                match self.rules.ends {
                    Ends::Manual => Vec::new(),
                    Ends::Silence(end) if silence >= end => {
                        let at = *since;
                        self.end_turn(at)
                    }
                    Ends::Judged { unsure, .. } if silence >= needed.unwrap_or(unsure) => {
                        let at = *since;
                        self.end_turn(at)
                    }
                    Ends::Judged { sure, .. } => match asked.next(sure) {
                        Some((at, question, then)) if silence >= at => {
                            *asked = then;
                            vec![question]
                        }
                        Some(_) | None => Vec::new(),
                    },
                    // The words are wanted the moment the silence is long enough; the shorter pauses are most of all pauses.
                    Ends::Silence(end) if silence.0 >= end.0 * 2 / 5 && *asked < Asked::Over(1) && *asked != Asked::Unmeant => {
                        *asked = Asked::Over(1);
                        vec![Output::Ask]
                    }
                    Ends::Silence(_) => Vec::new(),
                }
            }
        }
    }

    fn judged(&mut self, now: Samples, over: Probability, words: Option<&str>, tail: Samples) -> Vec<Output> {
        let Caller::Pausing { doubt, asked, .. } = self.caller else { return Vec::new() };
        if asked < Asked::Over(1) {
            return Vec::new();
        }
        let mut outputs = Vec::new();
        if let Some(doubt) = doubt {
            if !doubt.is_meant(words) {
                return self.forget();
            }
            outputs = self.give_way();
        }
        let Caller::Pausing { since: at, over: least, needed, .. } = &mut self.caller else { return outputs };
        let at = *at;
        if over < *least {
            *least = over;
        }
        let odds = ending::odds(*least, words);
        if let Ends::Judged { sure, unsure } = self.rules.ends {
            let wait = ending::wait(odds, (sure, unsure), self.habit, tail);
            *needed = Some(wait);
            if now.saturating_sub(at) >= wait {
                outputs.extend(self.end_turn(at));
                return outputs;
            }
        }
        let free = self.rules.respond && !self.owed && self.reply == Reply::None;
        if free && ending::likelihood(odds) >= LIKELY && words.is_some_and(|words| !words.trim().is_empty()) {
            outputs.push(Output::Prepare { at });
        }
        outputs
    }

    fn words(&mut self, words: Option<&str>) -> Vec<Output> {
        let (Caller::Speaking { doubt: Some(doubt), .. } | Caller::Pausing { doubt: Some(doubt), .. }) = &self.caller else {
            return Vec::new();
        };
        let meant = doubt.is_meant(words);
        let mut outputs = if meant { self.give_way() } else { Vec::new() };
        if let Caller::Pausing { asked: asked @ Asked::Meant, .. } = &mut self.caller {
            if meant {
                *asked = Asked::Draft;
                outputs.push(Output::Draft);
            } else {
                *asked = Asked::Unmeant;
            }
        }
        outputs
    }

    fn commit(&mut self, now: Samples) -> Vec<Output> {
        // Whoever ends a turn means it.
        let mut outputs = self.give_way();
        self.caller = Caller::Silent;
        outputs.push(Output::EndTurn { at: now, respond: false });
        outputs
    }

    fn cleared(&mut self) -> Vec<Output> {
        (self.caller, self.ended) = (Caller::Silent, None);
        match self.reply {
            Reply::Held(id) => {
                self.reply = Reply::Speaking(id);
                vec![Output::Release(id)]
            }
            Reply::None | Reply::Thinking(_) | Reply::Speaking(_) => Vec::new(),
        }
    }

    /// The caller means it: the answer is given up.
    fn give_way(&mut self) -> Vec<Output> {
        let (Caller::Speaking { onset, doubt } | Caller::Pausing { onset, doubt, .. }) = &mut self.caller else { return Vec::new() };
        if doubt.take().is_none() {
            return Vec::new();
        }
        let mut outputs = vec![Output::Announce { at: *onset }];
        if let Reply::Held(id) = self.reply {
            self.reply = Reply::None;
            outputs.push(Output::Interrupt(id));
        }
        outputs
    }

    fn forget(&mut self) -> Vec<Output> {
        self.caller = Caller::Silent;
        let mut outputs = vec![Output::Forget];
        if let Reply::Held(id) = self.reply {
            self.reply = Reply::Speaking(id);
            outputs.push(Output::Release(id));
        }
        outputs
    }

    fn end_turn(&mut self, at: Samples) -> Vec<Output> {
        if let Caller::Speaking { doubt: Some(doubt), .. } | Caller::Pausing { doubt: Some(doubt), .. } = self.caller
            && !doubt.is_voice()
        {
            return self.forget();
        }
        let mut outputs = self.give_way();
        self.caller = Caller::Silent;
        let busy = self.reply != Reply::None;
        self.ended = Some(at);
        if self.rules.respond && busy {
            self.owed = true;
        }
        outputs.push(Output::EndTurn { at, respond: self.rules.respond && !busy });
        outputs
    }
}

#[cfg(test)]
mod tests;
