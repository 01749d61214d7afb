//! The ledger: how much each key and user has used, who may still use something, and who waits.
//!
//! What a request will need is reserved when it is admitted and corrected when its true use is known; one that never tells keeps its
//! reservation, so that an answer cut short is paid for as well. The counting ([`book`]) has no clock and no task; this handle adds the
//! lock, and the queue of those that wait for one of their own to end.
//!
//! The ledger is this process's. Where several nodes are to count together, what they share is the two numbers of each [`book::Counter`]:
//! windows begin at whole multiples of their length since 1970 on every node, keys and users have the same ids, and the numbers are only
//! ever added to, so that a store which adds is enough.

mod book;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use self::book::{Book, Receipt};
use crate::limit::{Concurrency, KeyId, Policy, Reason, Refusal, Standings, Subject, Use, UserId};

/// When to try again where too many run at once: nobody knows when one will end, and clients wait for whole seconds.
const RETRY_CONCURRENCY: Duration = Duration::from_secs(1);

/// Who has used what. Cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    book: Mutex<Book>,
    /// Looked at without the lock.
    free: bool,
}

impl Ledger {
    /// An empty one.
    pub fn new(policy: Policy) -> Ledger {
        let free = policy.is_free();
        Ledger(Arc::new(Inner { book: Mutex::new(Book::new(policy)), free }))
    }

    /// Whether nothing is limited, so that nobody need ask.
    pub fn is_free(&self) -> bool {
        self.0.free
    }

    /// Admits a request of a key, or says why not; `now` is the time since 1970. Waits where too many of the key's run at once, within the
    /// queue's bounds. Dropping the permit ends the request.
    pub async fn admit(&self, now: Duration, key: KeyId) -> Result<Permit, Refusal> {
        let mut permit = Permit { ledger: self.clone(), key, receipts: Vec::new(), slots: Vec::new(), standings: Standings::default() };
        let receipt = permit.enter(now, Subject::Key(key), Use::REQUEST).await?;
        permit.receipts.push(receipt);
        Ok(permit)
    }

    /// How many keys and users have an account; for tests and metrics.
    pub fn accounts(&self) -> usize {
        self.lock().accounts()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("accounts", &self.accounts()).finish_non_exhaustive()
    }
}

/// A request that was admitted. Dropping it gives its place to the next; what it reserved stays counted unless it was settled.
pub struct Permit {
    ledger: Ledger,
    key: KeyId,
    /// What it reserved: of its key, and of its user. Empty once it is settled.
    receipts: Vec<Receipt>,
    /// Its places among those that run at once.
    slots: Vec<OwnedSemaphorePermit>,
    standings: Standings,
}

impl Permit {
    /// Reserves what the request is taken to use, once it has been read: of its key, and of its user if it names one. Where either has no
    /// room for it, neither is charged, but for the request itself, which has been counted for the key already.
    pub async fn reserve(&mut self, now: Duration, user: Option<&str>, estimate: Use) -> Result<(), Refusal> {
        let of_key = self.enter(now, Subject::Key(self.key), Use { requests: 0, ..estimate }).await?;
        let Some(user) = user else {
            self.receipts.push(of_key);
            return Ok(());
        };
        match self.enter(now, Subject::User(self.key, UserId::of(user)), Use { requests: 1, ..estimate }).await {
            Ok(of_user) => {
                self.receipts.extend([of_key, of_user]);
                Ok(())
            }
            Err(refusal) => {
                self.ledger.lock().settle(now, &of_key, Use::default());
                Err(refusal)
            }
        }
    }

    /// Puts the true use in the place of what was reserved. Without `requests`, nobody asked for it in the end, and none is counted.
    /// Once: a second call changes nothing.
    pub fn settle(&mut self, now: Duration, used: Use) {
        let receipts = std::mem::take(&mut self.receipts);
        let mut book = self.ledger.lock();
        // The last of each subject holds its estimate; the first of the key's only counted the request, unless nothing was reserved.
        for (n, receipt) in receipts.iter().enumerate() {
            let is_last = receipts[n + 1..].iter().all(|later| later.subject() != receipt.subject());
            if is_last {
                book.settle(now, receipt, used);
            } else if used.requests == 0 {
                book.cancel(now, receipt);
            }
        }
    }

    /// How the caller stands with this request counted.
    pub fn standings(&self) -> Standings {
        self.standings
    }

    async fn enter(&mut self, now: Duration, subject: Subject, estimate: Use) -> Result<Receipt, Refusal> {
        let (receipt, slots) = self.ledger.lock().enter(now, subject, estimate, &mut self.standings)?;
        // A place is taken once for each subject, with the request.
        if let Some(slots) = slots.filter(|_| estimate.requests > 0) {
            // Should the caller go away while it waits, it has used nothing.
            let reserved = Reserved { ledger: &self.ledger, now, receipt: Some(receipt) };
            match slots.take().await {
                Ok(slot) => {
                    self.slots.push(slot);
                    return Ok(reserved.keep());
                }
                Err(reason) => {
                    return Err(Refusal { subject, reason, retry_after: Some(RETRY_CONCURRENCY), standings: Box::new(self.standings) });
                }
            }
        }
        Ok(receipt)
    }
}

/// A reservation that is taken back when it is dropped.
struct Reserved<'a> {
    ledger: &'a Ledger,
    now: Duration,
    receipt: Option<Receipt>,
}

impl Reserved<'_> {
    fn keep(mut self) -> Receipt {
        self.receipt.take().expect("it is taken once, here")
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(receipt) = &self.receipt {
            self.ledger.lock().cancel(self.now, receipt);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("key", &self.key).field("standings", &self.standings).finish_non_exhaustive()
    }
}

/// The places of those that run at once, and the queue for them.
pub(crate) struct Slots {
    concurrency: Concurrency,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Slots {
    fn new(concurrency: Concurrency) -> Slots {
        let at_once = concurrency.at_once.min(Semaphore::MAX_PERMITS);
        Slots { concurrency, free: Arc::new(Semaphore::new(at_once)), waiting: AtomicUsize::new(0) }
    }

    /// Whether somebody has a place.
    fn is_used(&self) -> bool {
        self.free.available_permits() < self.concurrency.at_once
    }

    /// Takes a place, waiting for one in the order of arrival.
    async fn take(&self) -> Result<OwnedSemaphorePermit, Reason> {
        if let Ok(slot) = self.free.clone().try_acquire_owned() {
            return Ok(slot);
        }
        if self.waiting.fetch_add(1, Relaxed) >= self.concurrency.queue {
            self.waiting.fetch_sub(1, Relaxed);
            return Err(Reason::QueueFull(self.concurrency));
        }
        let _waiting = Waiting(&self.waiting);
        match timeout(self.concurrency.wait, self.free.clone().acquire_owned()).await {
            Ok(slot) => Ok(slot.expect("nobody closes it")),
            Err(_) => Err(Reason::Waited(self.concurrency)),
        }
    }
}

/// Leaves the queue when it is dropped, be it because its caller has gone.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
