//! Threads that own an engine: heavy compute never runs in an async task.
//!
//! One thread a decode. A job that nobody waits for any more is skipped before it starts and told at every step that it may stop.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use crate::{ErrorKind, ModelError};

/// Jobs of all engines of the process, from being queued to their end.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

fn cores() -> usize {
    static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));
    *CORES
}

type Job<E> = Box<dyn FnOnce(&mut E) + Send>;

/// A handle to the threads of one engine. The threads end when the last handle is dropped.
pub struct Workers<E> {
    jobs: mpsc::Sender<Job<E>>,
    waiting: Arc<AtomicUsize>,
    threads: usize,
    name: &'static str,
}

impl<E> Clone for Workers<E> {
    fn clone(&self) -> Self {
        Workers { jobs: self.jobs.clone(), waiting: self.waiting.clone(), threads: self.threads, name: self.name }
    }
}

/// Whether anybody still waits for a job's result.
pub struct Waited<'a> {
    closed: &'a dyn Fn() -> bool,
}

impl<'a> Waited<'a> {
    /// Waited for until `closed` says otherwise: for running an engine on a thread of one's own.
    pub fn by(closed: &'a dyn Fn() -> bool) -> Waited<'a> {
        Waited { closed }
    }

    /// Whether to go on; ask at each step of a long computation.
    pub fn still(&self) -> bool {
        !(self.closed)()
    }
}

impl<E: Send + 'static> Workers<E> {
    /// Starts one thread for each engine in `engines`. At most `queue` jobs wait; one more is refused as overload.
    pub fn start(name: &'static str, engines: Vec<E>, queue: usize) -> Workers<E> {
        let (jobs, receiver) = mpsc::channel::<Job<E>>(queue.max(1));
        let receiver = Arc::new(std::sync::Mutex::new(receiver));
        let threads = engines.len();
        for mut engine in engines {
            let receiver = receiver.clone();
            let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
                loop {
                    // The lock is held while waiting: the other threads wait for the lock, which is as good as waiting for a job.
                    let job = receiver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).blocking_recv();
                    let Some(job) = job else { return };
                    job(&mut engine);
                }
            });
            spawned.expect("the system can start a thread while engines are loaded");
        }
        Workers { jobs, waiting: Arc::new(AtomicUsize::new(0)), threads, name }
    }

    /// Runs `work` on an engine thread and waits for it. Dropping the future tells the work to stop.
    pub async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut E, &Waited) -> Result<R, ModelError> + Send + 'static,
    ) -> Result<R, ModelError> {
        let (done, result) = oneshot::channel();
        let waiting = Count::new(&self.waiting);
        let job: Job<E> = Box::new(move |engine| {
            if !done.is_closed() {
                let closed = || done.is_closed();
                let outcome = work(engine, &Waited { closed: &closed });
                drop(waiting);
                let _ = done.send(outcome);
            }
        });
        self.send(job)?;
        result.await.map_err(|_| ModelError::new(ErrorKind::Failed, self.name, "the engine stopped while it worked on this"))?
    }

    /// Runs `work` on an engine thread; what it sends arrives in the receiver, which holds `capacity` items. When it is full the
    /// engine waits; when it is dropped the engine stops at its next send.
    pub fn stream<R: Send + 'static>(
        &self,
        capacity: usize,
        work: impl FnOnce(&mut E, &mpsc::Sender<Result<R, ModelError>>) + Send + 'static,
    ) -> Result<mpsc::Receiver<Result<R, ModelError>>, ModelError> {
        let (send, receive) = mpsc::channel(capacity);
        let waiting = Count::new(&self.waiting);
        let job: Job<E> = Box::new(move |engine| {
            let _waiting = waiting;
            if !send.is_closed() {
                work(engine, &send);
            }
        });
        self.send(job)?;
        Ok(receive)
    }

    /// Whether a job given now would start at once and find a core: the engines of a process share its cores.
    pub fn idle(&self) -> bool {
        self.waiting.load(Relaxed) < self.threads && AT_WORK.load(Relaxed) < cores()
    }

    /// Whether no engine of the process has anything to do: then a guess at what will be needed costs nobody anything.
    pub fn all_idle() -> bool {
        AT_WORK.load(Relaxed) == 0
    }

    fn send(&self, job: Job<E>) -> Result<(), ModelError> {
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                ModelError::new(ErrorKind::Overloaded, self.name, "too many requests wait for this engine; try again shortly")
            }
            mpsc::error::TrySendError::Closed(_) => ModelError::new(ErrorKind::Closed, self.name, "the engine has stopped"),
        })
    }
}

/// One job counted, from being queued to its end.
struct Count(Arc<AtomicUsize>);

impl Count {
    fn new(counter: &Arc<AtomicUsize>) -> Count {
        counter.fetch_add(1, Relaxed);
        AT_WORK.fetch_add(1, Relaxed);
        Count(counter.clone())
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
        AT_WORK.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_runs_on_the_engine_thread_and_returns() {
        let workers = Workers::start("counter", vec![0_u32], 4);
        for expected in 1..=3 {
            let got = workers
                .run(|count, _| {
                    *count += 1;
                    Ok(*count)
                })
                .await;
            assert_eq!(got, Ok(expected));
        }
        assert_eq!(workers.waiting.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn a_full_queue_is_an_overload_and_an_abandoned_job_is_told() {
        let workers = Workers::start("slow", vec![()], 1);
        let (started, is_started) = oneshot::channel();
        let (saw, abandoned) = oneshot::channel();
        let running = tokio::spawn({
            let workers = workers.clone();
            async move {
                workers
                    .run(move |_, waited| {
                        let _ = started.send(());
                        while waited.still() {
                            thread::yield_now();
                        }
                        let _ = saw.send(());
                        Ok(())
                    })
                    .await
            }
        });
        is_started.await.expect("the job starts");
        let queued = workers.stream::<()>(1, |_, _| ());
        assert!(queued.is_ok());
        assert_eq!(workers.stream::<()>(1, |_, _| ()).map(|_| ()).map_err(|e| e.kind), Err(ErrorKind::Overloaded));
        assert!(!workers.idle());
        running.abort();
        abandoned.await.expect("the job is told that nobody waits");
    }

    #[tokio::test]
    async fn an_engine_that_dies_is_an_error_not_a_hang() {
        let workers = Workers::start("fragile", vec![()], 1);
        let died = workers.run::<()>(|_, _| panic!("engine fault")).await;
        assert_eq!(died.map_err(|e| e.kind), Err(ErrorKind::Failed));
    }
}
