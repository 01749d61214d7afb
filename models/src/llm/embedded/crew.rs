//! Threads that share one computation.
//!
//! A step of a small model is a hundred and more loops of some microseconds, too short for a queue. Whoever is awake takes the next piece
//! of the loop; the thread that asked takes pieces too and waits only for those already taken. So a helper that the system has put
//! aside on a busy machine costs nothing: its share is done by the others.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle, Thread};

/// How often a helper looks for work before it sleeps: about 20 µs, as long as the work between two loops takes.
const LOOKS: u32 = 1_000;

/// The threads; the one that owns this is counted too.
pub(super) struct Crew {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

/// A loop's body, its lifetime forgotten while [`Crew::each`] stays on the stack.
type Body = *const (dyn Fn(usize) + Sync);

struct Shared {
    body: UnsafeCell<Option<Body>>,
    /// Whether `body` may be read.
    open: AtomicBool,
    /// Helpers that may be reading `body`.
    inside: AtomicUsize,
    /// The next piece to take, and how many there are.
    next: AtomicUsize,
    pieces: AtomicUsize,
    /// Helpers asleep or about to be.
    asleep: AtomicUsize,
    /// A piece's work panicked.
    failed: AtomicBool,
    ended: AtomicBool,
}

#[expect(
    unsafe_code,
    reason = "`body` is written only while `open` is false and `inside` is 0, read only while `open` is true and `inside` is not 0"
)]
unsafe impl Sync for Shared {}
#[expect(unsafe_code, reason = "the body behind the pointer is Sync")]
unsafe impl Send for Shared {}

impl Crew {
    /// A crew of `threads`, of which the caller's is one.
    pub(super) fn new(threads: usize) -> Crew {
        let shared = Arc::new(Shared {
            body: UnsafeCell::new(None),
            open: AtomicBool::new(false),
            inside: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            pieces: AtomicUsize::new(0),
            asleep: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let helpers = (1..threads).map_while(|_| {
            let shared = shared.clone();
            // A system that gives no more threads gets the same answers, later.
            thread::Builder::new().name("llm-helper".to_owned()).spawn(move || shared.help()).ok()
        });
        Crew { helpers: helpers.collect(), shared }
    }

    /// Threads that work, the caller's included.
    pub(super) fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Runs `body` for each of 0..pieces, in any order, on all threads; returns when all are done.
    fn each(&mut self, pieces: usize, body: &(dyn Fn(usize) + Sync)) {
        if self.helpers.is_empty() || pieces < 2 {
            return (0..pieces).for_each(body);
        }
        let shared = &*self.shared;
        #[expect(unsafe_code, reason = "`Closing` waits, even in a panic, until no helper can see the pointer any more")]
        unsafe {
            let forgotten = std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Body>(body);
            *shared.body.get() = Some(forgotten);
        }
        shared.next.store(0, SeqCst);
        shared.pieces.store(pieces, SeqCst);
        let closing = Closing(shared);
        shared.open.store(true, SeqCst);
        if shared.asleep.load(SeqCst) > 0 {
            self.helpers.iter().map(JoinHandle::thread).for_each(Thread::unpark);
        }
        shared.take(body);
        drop(closing);
        assert!(!shared.failed.load(SeqCst), "a helper's piece of the loop panicked");
    }

    /// Runs `body` with its index for each piece of `whole` of `length` items (the last may be shorter).
    pub(super) fn split<T: Send>(&mut self, whole: &mut [T], length: usize, body: impl Fn(usize, &mut [T]) + Sync) {
        struct Start<T>(*mut T);
        #[expect(unsafe_code, reason = "the pointer is only used for pieces that do not overlap")]
        unsafe impl<T: Send> Sync for Start<T> {}
        impl<T> Start<T> {
            #[expect(unsafe_code, reason = "the caller gives each range to one thread only")]
            unsafe fn piece(&self, at: usize, length: usize) -> *mut [T] {
                std::ptr::slice_from_raw_parts_mut(unsafe { self.0.add(at) }, length)
            }
        }
        let total = whole.len();
        let start = Start(whole.as_mut_ptr());
        self.each(total.div_ceil(length), &|index| {
            let at = index * length;
            #[expect(unsafe_code, reason = "each index is taken once, pieces of different indices do not overlap and end within `whole`")]
            let piece = unsafe { &mut *start.piece(at, length.min(total - at)) };
            body(index, piece);
        });
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        for helper in self.helpers.drain(..) {
            helper.thread().unpark();
            // It ended by itself or in a panic that `each` has already reported.
            let _ = helper.join();
        }
    }
}

/// Ends a loop: lets no helper in any more and waits for those inside.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.open.store(false, SeqCst);
        let mut looks = 0_u32;
        while self.0.inside.load(SeqCst) > 0 {
            looks += 1;
            if looks < LOOKS {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

impl Shared {
    /// Takes pieces until there are none.
    fn take(&self, body: &(dyn Fn(usize) + Sync)) {
        let pieces = self.pieces.load(SeqCst);
        loop {
            let piece = self.next.fetch_add(1, SeqCst);
            if piece >= pieces {
                return;
            }
            body(piece);
        }
    }

    /// A helper's life.
    fn help(&self) {
        let mut looks = 0;
        while !self.ended.load(SeqCst) {
            if self.open.load(SeqCst) && self.next.load(SeqCst) < self.pieces.load(SeqCst) {
                self.join_in();
                looks = 0;
            } else if looks < LOOKS {
                looks += 1;
                std::hint::spin_loop();
            } else {
                self.asleep.fetch_add(1, SeqCst);
                // Asked once more after saying so: a loop opened before it was heard would otherwise not wake this thread.
                if !self.open.load(SeqCst) && !self.ended.load(SeqCst) {
                    thread::park();
                }
                self.asleep.fetch_sub(1, SeqCst);
                looks = 0;
            }
        }
    }

    fn join_in(&self) {
        self.inside.fetch_add(1, SeqCst);
        if self.open.load(SeqCst) {
            #[expect(unsafe_code, reason = "`open` was seen after `inside` was raised: the loop's owner waits for this thread")]
            let body = unsafe { (*self.body.get()).map(|body| &*body) };
            if let Some(body) = body
                && std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.take(body))).is_err()
            {
                self.failed.store(true, SeqCst);
            }
        }
        self.inside.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_worked_on_once() {
        for threads in 1..=3 {
            let mut crew = Crew::new(threads);
            for length in [1, 7, 64, 1_000] {
                let mut whole = vec![0_u32; 1_000];
                crew.split(&mut whole, length, |index, piece| piece.iter_mut().for_each(|item| *item += index as u32 + 1));
                let expected: Vec<u32> = (0..1_000).map(|at| at / length as u32 + 1).collect();
                assert_eq!(whole, expected, "{threads} threads, pieces of {length}");
            }
        }
    }

    #[test]
    fn a_panic_in_any_piece_reaches_the_caller_and_the_crew_survives() {
        let mut crew = Crew::new(2);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            crew.split(&mut [0_u8; 64], 1, |_, _| panic!("a piece fails"));
        }));
        assert!(outcome.is_err());
        let mut whole = [0_u8; 64];
        crew.shared.failed.store(false, SeqCst);
        crew.split(&mut whole, 1, |_, piece| piece[0] = 1);
        assert_eq!(whole, [1; 64]);
    }
}
