//! Whose turn it is: the decisions of one call, without sound, models, sockets or a clock of its own.
//!
//! `now` is the position in the caller's sound, so a call decides the same however fast its sound arrives. Two small state machines meet
//! here: what the caller does (silent, speaking, pausing) and what we do (nothing, thinking, speaking, holding our breath).
//!
//! A pause is asked about as soon as it may be one, and again as it grows; the surer the answer that the turn is over, the less silence
//! it takes. A caller who speaks into our answer silences it at once; only if they go on, or say more than "mm-hm", is it given up.

use std::num::NonZeroU32;

use audio::{ActivityEvent, Probability, Rate, Samples};

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

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The detector decided about the caller's voice.
    Voice(ActivityEvent),
    /// A window of sound passed.
    Window,
    /// The pause asked about was judged: how likely the turn is over, and the words so far.
    Judged {
        /// By the sound.
        over: Probability,
        /// What was heard, where known.
        words: Option<String>,
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
    /// Ask whether the turn is over, by the sound and by the words so far.
    Ask {
        /// Whether the pause is still short: most short ones are none, and may be spared the question.
        early: bool,
    },
    /// Speech went on: what was asked is void.
    GoOn,
    /// The caller's turn is over.
    EndTurn {
        /// Where the speech ended.
        at: Samples,
        /// Whether to answer.
        respond: bool,
    },
    /// It was no speech worth a turn: forget it.
    Forget,
    /// Let no sound of this answer out for now.
    Hold(ReplyId),
    /// Let it go on.
    Release(ReplyId),
    /// Give it up: the caller has the word.
    Interrupt(ReplyId),
}

/// What a pause is asked, and at which silences: shorter ones lie between any two words, and later the sound before the pause is leaving
/// the model's sight. Measured on read speech, more questions change few answers, and each costs as much as hearing three
/// seconds.
const QUESTIONS: [(Samples, Output); 5] = [
    (Rate::MODEL.samples_in_ms(64), Output::Draft),
    (Rate::MODEL.samples_in_ms(128), Output::Ask { early: true }),
    (Rate::MODEL.samples_in_ms(256), Output::Ask { early: true }),
    (Rate::MODEL.samples_in_ms(416), Output::Ask { early: false }),
    (Rate::MODEL.samples_in_ms(608), Output::Ask { early: false }),
];
/// Speech this long into our answer is meant.
const MEANT: Samples = Rate::MODEL.samples_in_ms(250);
/// Silence after which a shorter sound was none of our business.
const FALSE_ALARM: Samples = Rate::MODEL.samples_in_ms(200);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Caller {
    Silent,
    Speaking { onset: Samples, announced: bool },
    Pausing { onset: Samples, announced: bool, since: Samples, asked: usize, needed: Option<Samples> },
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
    owed: Option<Samples>,
}

impl Conversation {
    /// A call in which nobody has spoken.
    pub fn new(rules: Rules) -> Conversation {
        Conversation { rules, caller: Caller::Silent, reply: Reply::None, owed: None }
    }

    /// Other rules from now on.
    pub fn follow(&mut self, rules: Rules) {
        self.rules = rules;
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
            Input::Window => self.window(now),
            Input::Judged { over, words } => self.judged(now, over, words.as_deref()),
            Input::Commit => self.commit(now),
            Input::Cleared => self.cleared(),
            Input::ReplyBegan(id) => {
                self.reply = Reply::Thinking(id);
                self.owed = None;
                Vec::new()
            }
            Input::ReplySpeaks(id) => {
                if self.reply == Reply::Thinking(id) {
                    self.reply = Reply::Speaking(id);
                }
                Vec::new()
            }
            Input::ReplyEnded(id) => {
                if self.reply() != Some(id) {
                    return Vec::new();
                }
                self.reply = Reply::None;
                self.owed.take().map(|at| Output::EndTurn { at, respond: true }).into_iter().collect()
            }
        }
    }

    fn voice(&mut self, event: ActivityEvent) -> Vec<Output> {
        match (event, self.caller) {
            (ActivityEvent::Started { at, from }, _) => {
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
                self.caller = Caller::Speaking { onset: at, announced: !held };
                outputs
            }
            (ActivityEvent::Paused { at }, Caller::Speaking { onset, announced }) => {
                self.caller = Caller::Pausing { onset, announced, since: at, asked: 0, needed: None };
                Vec::new()
            }
            (ActivityEvent::Resumed { .. }, Caller::Pausing { onset, announced, asked, .. }) => {
                self.caller = Caller::Speaking { onset, announced };
                if asked > 0 { vec![Output::GoOn] } else { Vec::new() }
            }
            // The detector's own end comes only where no rule of ours was quicker.
            (ActivityEvent::Ended { at }, Caller::Pausing { .. } | Caller::Speaking { .. }) => self.end_turn(at),
            (ActivityEvent::Paused { .. } | ActivityEvent::Resumed { .. } | ActivityEvent::Ended { .. }, _) => Vec::new(),
        }
    }

    fn window(&mut self, now: Samples) -> Vec<Output> {
        match &mut self.caller {
            Caller::Silent => Vec::new(),
            Caller::Speaking { onset, announced } => {
                if !*announced && now.saturating_sub(*onset) >= MEANT {
                    *announced = true;
                    let at = *onset;
                    return self.give_way(at);
                }
                Vec::new()
            }
            Caller::Pausing { onset, announced, since, asked, needed } => {
                let silence = now.saturating_sub(*since);
                if !*announced && since.saturating_sub(*onset) < MEANT && silence >= FALSE_ALARM {
                    return self.forget();
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
                    Ends::Judged { .. } => match QUESTIONS.get(*asked) {
                        Some((at, question)) if silence >= *at => {
                            *asked += 1;
                            vec![*question]
                        }
                        Some(_) | None => Vec::new(),
                    },
                    // The words are wanted the moment the silence is long enough; the shorter pauses are most of all pauses.
                    Ends::Silence(end) if silence.0 >= end.0 * 2 / 5 && *asked == 0 => {
                        *asked = 1;
                        vec![Output::Ask { early: false }]
                    }
                    Ends::Silence(_) => Vec::new(),
                }
            }
        }
    }

    fn judged(&mut self, now: Samples, over: Probability, words: Option<&str>) -> Vec<Output> {
        let Caller::Pausing { announced, since, needed, asked, .. } = &mut self.caller else { return Vec::new() };
        if *asked == 0 {
            return Vec::new();
        }
        if !*announced && words.is_some_and(is_backchannel) {
            return self.forget();
        }
        let Ends::Judged { sure, unsure } = self.rules.ends else { return Vec::new() };
        let over = words.map_or(over, |words| weigh(over, words)).get();
        // Half sure takes an eighth of the wait: most of it is for the clearly unfinished.
        let doubt = (1.0 - over).powi(3);
        let wait = Samples(sure.0 + ((unsure.0.saturating_sub(sure.0)) as f32 * doubt) as u64);
        *needed = Some(wait);
        let at = *since;
        if now.saturating_sub(at) >= wait { self.end_turn(at) } else { Vec::new() }
    }

    fn commit(&mut self, now: Samples) -> Vec<Output> {
        self.caller = Caller::Silent;
        vec![Output::EndTurn { at: now, respond: false }]
    }

    fn cleared(&mut self) -> Vec<Output> {
        self.caller = Caller::Silent;
        match self.reply {
            Reply::Held(id) => {
                self.reply = Reply::Speaking(id);
                vec![Output::Release(id)]
            }
            Reply::None | Reply::Thinking(_) | Reply::Speaking(_) => Vec::new(),
        }
    }

    /// The caller means it: the answer is given up.
    fn give_way(&mut self, onset: Samples) -> Vec<Output> {
        let mut outputs = vec![Output::Announce { at: onset }];
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
        let mut outputs = match self.caller {
            Caller::Speaking { onset, announced: false } | Caller::Pausing { onset, announced: false, .. } => self.give_way(onset),
            Caller::Silent | Caller::Speaking { .. } | Caller::Pausing { .. } => Vec::new(),
        };
        self.caller = Caller::Silent;
        let busy = self.reply != Reply::None;
        if self.rules.respond && busy {
            self.owed = Some(at);
        }
        outputs.push(Output::EndTurn { at, respond: self.rules.respond && !busy });
        outputs
    }
}

/// Words say what the voice does not: who stops at "and" or "um" has not finished.
fn weigh(over: Probability, words: &str) -> Probability {
    const UNFINISHED: &[&str] = &[
        "a", "an", "and", "as", "at", "because", "but", "by", "er", "erm", "for", "from", "hm", "hmm", "i'm", "if", "in", "into", "is",
        "like", "my", "of", "on", "or", "our", "so", "than", "that", "the", "their", "then", "this", "to", "uh", "uhm", "um", "was",
        "were", "when", "which", "while", "who", "whose", "with", "your",
    ];
    let trimmed = words.trim_end();
    let last = trimmed.rsplit(char::is_whitespace).next().unwrap_or_default();
    let bare = last.trim_matches(|c: char| !c.is_alphanumeric() && c != '\'').to_lowercase();
    let factor = if UNFINISHED.contains(&bare.as_str()) || trimmed.ends_with([',', '-', '\u{2014}', '\u{2026}']) || trimmed.ends_with("...")
    {
        0.3
    } else if trimmed.ends_with(['?', '\u{ff1f}']) {
        return Probability::new(1.0 - (1.0 - over.get()) * 0.7);
    } else if !trimmed.is_empty() && !trimmed.ends_with(['.', '!', '"', '\u{3002}', '\u{ff01}']) {
        // Recognisers that punctuate leave the full stop away where a sentence seems to go on.
        0.7
    } else {
        1.0
    };
    Probability::new(over.get() * factor)
}

/// Sounds of listening, not of taking the word.
fn is_backchannel(words: &str) -> bool {
    const LISTENING: &[&str] = &[
        "ah", "aha", "hm", "hmm", "mhm", "mm", "mmhm", "mmhmm", "mmm", "oh", "okay", "ok", "right", "sure", "uhhuh", "yeah", "yep", "yes",
    ];
    let letters = |word: &str| word.chars().filter(|c| c.is_alphabetic()).collect::<String>().to_lowercase();
    let words: Vec<String> = words.split_whitespace().map(letters).filter(|word| !word.is_empty()).collect();
    words.len() <= 2 && words.iter().all(|word| LISTENING.contains(&word.as_str()))
}

#[cfg(test)]
mod tests;
