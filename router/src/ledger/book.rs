//! The counting: accounts of keys and users, each with a counter for every limit. No clock, no lock, no waiting.
//!
//! A counter holds what was used in the running window and in the one before it. What counts against the limit is the running window and
//! that part of the one before which a window ending now would still cover, as if use had been even. So no calendar window ever exceeds
//! its limit, nobody can use two windows' worth at the turn from one to the next, and a counter is three numbers, however much is counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Slots;
use crate::limit::{Allowance, KeyId, Limit, Policy, Reason, Refusal, Standing, Standings, Subject, Use, UserId, Window};

/// Users with an account are kept in two generations of at most so many. When the young one is full the old one is forgotten, but for
/// those of it that are at work: who is forgotten has not been heard of while this many others were.
const GENERATION: usize = 20_000;

/// Everybody's account.
pub(crate) struct Book {
    policy: Policy,
    keys: HashMap<KeyId, Account>,
    young: HashMap<(KeyId, UserId), Account>,
    old: HashMap<(KeyId, UserId), Account>,
    generation: usize,
    /// When the young generation began, ms since 1970.
    began: u64,
}

/// What was reserved, for when it is settled.
pub(crate) struct Receipt {
    subject: Subject,
    estimate: Use,
    /// When, ms since 1970.
    at: u64,
}

impl Receipt {
    /// Of whom.
    pub(super) fn subject(&self) -> Subject {
        self.subject
    }
}

/// What one subject has used; in the order of its allowance's limits.
struct Account {
    counters: Box<[Counter]>,
    slots: Option<Arc<Slots>>,
}

impl Account {
    fn new(allowance: &Allowance) -> Account {
        Account {
            counters: vec![Counter::default(); allowance.limits.len()].into(),
            slots: allowance.concurrency.map(|concurrency| Arc::new(Slots::new(concurrency))),
        }
    }

    /// Whether one of its requests runs or waits.
    fn is_at_work(&self) -> bool {
        self.slots.as_ref().is_some_and(|slots| slots.is_used() || Arc::strong_count(slots) > 1)
    }
}

impl Book {
    pub(super) fn new(policy: Policy) -> Book {
        Book { policy, keys: HashMap::new(), young: HashMap::new(), old: HashMap::new(), generation: GENERATION, began: 0 }
    }

    pub(super) fn accounts(&self) -> usize {
        self.keys.len() + self.young.len() + self.old.len()
    }

    /// Reserves `estimate` if all of the subject's limits have room for it, else nothing; either way `standings` learns how things stand.
    pub(super) fn enter(
        &mut self,
        now: Duration,
        subject: Subject,
        estimate: Use,
        standings: &mut Standings,
    ) -> Result<(Receipt, Option<Arc<Slots>>), Refusal> {
        let now = ms(now);
        let (allowance, account) = self.account(now, subject);
        let mut refused: Option<(Reason, Option<Duration>)> = None;
        for (limit, counter) in allowance.limits.iter().zip(&mut account.counters) {
            counter.roll(limit.window, now);
            let needs = estimate.of(limit.meter);
            let refusal = if needs > limit.most {
                Some((Reason::TooLarge { limit: *limit, needs }, None))
            } else {
                counter.wait(limit, now, needs).map(|wait| (Reason::Limit(*limit), Some(wait)))
            };
            // The limit that holds longest decides when to come again, and one that always holds forbids it.
            if let Some((reason, wait)) = refusal
                && refused.is_none_or(|(_, longest)| longest.is_some_and(|longest| wait.is_none_or(|wait| wait > longest)))
            {
                refused = Some((reason, wait));
            }
        }
        for (limit, counter) in allowance.limits.iter().zip(&mut account.counters) {
            if refused.is_none() {
                counter.current = counter.current.saturating_add(estimate.of(limit.meter));
            }
            standings.add(limit.meter, counter.standing(limit, now));
        }
        match refused {
            None => Ok((Receipt { subject, estimate, at: now }, account.slots.clone())),
            Some((reason, retry_after)) => Err(Refusal { subject, reason, retry_after, standings: Box::new(*standings) }),
        }
    }

    /// Puts `used` tokens and money in the place of what was reserved.
    pub(super) fn settle(&mut self, now: Duration, receipt: &Receipt, used: Use) {
        self.correct(now, receipt, Use { requests: receipt.estimate.requests.min(used.requests), ..used });
    }

    /// Takes back all that was reserved, the request with it.
    pub(super) fn cancel(&mut self, now: Duration, receipt: &Receipt) {
        self.correct(now, receipt, Use::default());
    }

    fn correct(&mut self, now: Duration, receipt: &Receipt, used: Use) {
        let now = ms(now);
        let (allowance, account) = self.account(now, receipt.subject);
        for (limit, counter) in allowance.limits.iter().zip(&mut account.counters) {
            counter.roll(limit.window, now);
            let (reserved, used) = (receipt.estimate.of(limit.meter), used.of(limit.meter));
            // What was used beyond the estimate is used now; what was reserved in vain is given back to the window that it was taken of.
            counter.current = counter.current.saturating_add(used.saturating_sub(reserved));
            let back = reserved.saturating_sub(used);
            let window = receipt.at / length(limit.window);
            if window == counter.window {
                counter.current = counter.current.saturating_sub(back);
            } else if window + 1 == counter.window {
                counter.previous = counter.previous.saturating_sub(back);
            }
        }
    }

    /// The subject's account, made if there is none, and what it allows.
    fn account(&mut self, now: u64, subject: Subject) -> (&Allowance, &mut Account) {
        match subject {
            // Keys are those of the configuration: as many as somebody wrote.
            Subject::Key(key) => {
                let allowance = self.policy.of_key(key);
                (allowance, self.keys.entry(key).or_insert_with(|| Account::new(allowance)))
            }
            Subject::User(key, user) => {
                self.turn_generation(now);
                let Book { policy, young, old, .. } = self;
                let allowance = &policy.user;
                let account = young.entry((key, user)).or_insert_with(|| {
                    let known = if old.is_empty() { None } else { old.remove(&(key, user)) };
                    known.unwrap_or_else(|| Account::new(allowance))
                });
                (allowance, account)
            }
        }
    }

    /// Forgets the old generation where the young one is full, or so old that all of its counters have run out.
    fn turn_generation(&mut self, now: u64) {
        let longest = self.policy.user.limits.iter().map(|limit| length(limit.window)).max().unwrap_or(length(Window::Minute));
        if self.young.len() < self.generation && now.saturating_sub(self.began) < 2 * longest {
            return;
        }
        self.began = now;
        let forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        self.young.extend(forgotten.into_iter().filter(|(_, account)| account.is_at_work()));
    }
}

/// What was used of one limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counter {
    /// The number of the running window since 1970.
    window: u64,
    /// Used in it.
    current: u64,
    /// Used in the one before.
    previous: u64,
}

impl Counter {
    /// Goes on to the window of `now`. A clock that was put back changes nothing.
    fn roll(&mut self, window: Window, now: u64) {
        let running = now / length(window);
        if running > self.window {
            self.previous = if running == self.window + 1 { self.current } else { 0 };
            self.current = 0;
            self.window = running;
        }
    }

    /// How much of the running window is over, ms.
    fn elapsed(&self, window: Window, now: u64) -> u64 {
        now.saturating_sub(self.window * length(window)).min(length(window))
    }

    /// What counts against the limit.
    fn used(&self, window: Window, now: u64) -> u64 {
        // Mostly there was nothing before, or the product fits 64 bits; a division of 128 takes several times as long.
        if self.previous == 0 {
            return self.current;
        }
        let (length, left) = (length(window), length(window) - self.elapsed(window, now));
        let covered = match self.previous.checked_mul(left) {
            Some(product) => product.div_ceil(length),
            // The part is no larger than the whole, which has 64 bits.
            None => (u128::from(self.previous) * u128::from(left)).div_ceil(u128::from(length)) as u64,
        };
        self.current.saturating_add(covered)
    }

    /// How long until `needs` more, which is no more than the limit, has room; `None`: it has.
    fn wait(&self, limit: &Limit, now: u64, needs: u64) -> Option<Duration> {
        let Limit { window, most, .. } = *limit;
        if self.used(window, now).saturating_add(needs) <= most {
            return None;
        }
        let room = most - needs;
        let elapsed = self.elapsed(window, now);
        // First the window before runs out, then, in the next one, what is used in this.
        let until = match room.checked_sub(self.current) {
            Some(room) => faded(self.previous, room, window),
            None => length(window) + faded(self.current, room, window),
        };
        Some(Duration::from_millis(until.saturating_sub(elapsed).max(1)))
    }

    fn standing(&self, limit: &Limit, now: u64) -> Standing {
        let until = match (self.current, self.previous) {
            (0, 0) => 0,
            (0, _) => length(limit.window),
            _ => 2 * length(limit.window),
        };
        let reset = if until == 0 { 0 } else { until - self.elapsed(limit.window, now) };
        Standing { most: limit.most, left: limit.most.saturating_sub(self.used(limit.window, now)), reset: Duration::from_millis(reset) }
    }
}

/// How long into a window it takes until no more than `room` of `previous` counts, ms.
fn faded(previous: u64, room: u64, window: Window) -> u64 {
    let length = length(window);
    if previous <= room {
        return 0;
    }
    let left = u128::from(room) * u128::from(length) / u128::from(previous);
    length - left as u64
}

/// In ms.
const fn length(window: Window) -> u64 {
    window.length().as_millis() as u64
}

fn ms(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
