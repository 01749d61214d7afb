//! What the machine does to whoever runs on it: threads that only sleep, one tied to each core, and see when they are woken too late.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::caller::PACKET;

/// How long a thread sleeps at a time.
const NAP: Duration = Duration::from_millis(2);
/// Woken later than this, so would a packet have been.
const LATE: Duration = Duration::from_millis(PACKET.as_millis() as u64 / 2);
/// What is behind after a stall is sent within this.
const CATCHING_UP: Duration = Duration::from_millis(60);

/// A time in which nothing ran that should have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stall {
    from: Instant,
    to: Instant,
}

impl Stall {
    /// Whether a packet that came then was late because of it.
    pub(crate) fn explains(&self, gap: tokio::time::Instant) -> bool {
        let gap = gap.into_std();
        self.from <= gap && gap <= self.to + CATCHING_UP
    }
}

/// The watch; it ends when this is dropped.
pub(crate) struct Machine {
    stalls: Arc<Mutex<Vec<Stall>>>,
    over: Arc<AtomicBool>,
}

impl Machine {
    /// Watches every core with a thread of its own: one that stands still is not seen from another.
    pub(crate) fn watch() -> Machine {
        let machine = Machine { stalls: Arc::default(), over: Arc::default() };
        for core in 0..thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            let (stalls, over) = (machine.stalls.clone(), machine.over.clone());
            thread::spawn(move || {
                let mut only = CpuSet::new();
                // Where it may not be tied to one, it still sees what holds up all of them.
                if only.set(core).is_ok() {
                    let _ = sched_setaffinity(Pid::from_raw(0), &only);
                }
                while !over.load(Ordering::Relaxed) {
                    let from = Instant::now();
                    thread::park_timeout(NAP);
                    let to = Instant::now();
                    if to - from > NAP + LATE {
                        stalls.lock().unwrap_or_else(PoisonError::into_inner).push(Stall { from, to });
                    }
                }
            });
        }
        machine
    }

    /// What it saw so far.
    pub(crate) fn stalls(&self) -> Vec<Stall> {
        self.stalls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
