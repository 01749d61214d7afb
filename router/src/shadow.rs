//! Shadow traffic: requests that also go to other targets, whose answers nobody waits for.
//!
//! Handing a request over never waits: what does not fit is dropped and counted. The work is a future that whoever takes it
//! ([`crate::Router::shadows`]) owns and polls; dropping it cancels every answer that runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use models::{Completion, Prompt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

use crate::route::{Limits, Target};
use crate::{Attempt, Decision, Executor, RouteError};

/// Requests that wait for a place: at 100 requests a second mirrored in full, a third of a second. When full, the new one is dropped.
const WAITING: usize = 32;

/// What became of a mirrored request.
#[derive(Debug)]
pub struct Shadowed {
    /// The id of the request that it mirrors.
    pub id: String,
    /// When it was asked, milliseconds since 1970.
    pub time: u64,
    /// Who answered the request that it mirrors, and why.
    pub decision: Decision,
    /// Who was asked the same, `provider/model`.
    pub target: String,
    /// The answer, or why there is none.
    pub answer: Result<Completion, RouteError>,
    /// Who was tried.
    pub attempts: Vec<Attempt>,
    /// From the start of the first attempt to the end.
    pub total: Duration,
}

/// What shadow traffic came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShadowCount {
    /// Requests handed over.
    pub taken: u64,
    /// Requests dropped because too many waited.
    pub dropped: u64,
}

/// Hands requests over. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shadow {
    sender: Sender<Job>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    taken: AtomicU64,
    dropped: AtomicU64,
}

/// A request to be mirrored.
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) decision: Decision,
    pub(crate) target: Target,
    pub(crate) limits: Limits,
    pub(crate) prompt: Prompt,
}

/// The work on what is handed over; it ends when all handles are gone and what they handed over is done.
pub(crate) struct Work {
    executor: Executor,
    jobs: Receiver<Job>,
}

/// A handle, and the work that it hands to.
pub(crate) fn new(executor: Executor) -> (Shadow, Work) {
    let (sender, jobs) = channel(WAITING);
    (Shadow { sender, counts: Arc::default() }, Work { executor, jobs })
}

impl Shadow {
    /// Mirrors a request, without waiting.
    pub(crate) fn mirror(&self, job: Job) {
        let counter = if self.sender.try_send(job).is_ok() { &self.counts.taken } else { &self.counts.dropped };
        counter.fetch_add(1, Relaxed);
    }

    /// What it came to so far.
    pub(crate) fn count(&self) -> ShadowCount {
        ShadowCount { taken: self.counts.taken.load(Relaxed), dropped: self.counts.dropped.load(Relaxed) }
    }
}

impl Work {
    /// Answers at most `most` requests at once, and gives each to `tell` at its end.
    pub(crate) async fn run(self, most: usize, tell: impl Fn(Shadowed)) {
        let Work { executor, mut jobs } = self;
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                job = jobs.recv(), if running.len() < most.max(1) => match job {
                    Some(job) => running.push(shadowed(&executor, job)),
                    None => break,
                },
                Some(shadowed) = running.next(), if !running.is_empty() => tell(shadowed),
            }
        }
        while let Some(shadowed) = running.next().await {
            tell(shadowed);
        }
    }
}

async fn shadowed(executor: &Executor, job: Job) -> Shadowed {
    let Job { id, decision, target, limits, prompt } = job;
    let prompt = Prompt { id: format!("{id}-shadow"), ..prompt };
    let (began, time) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis());
    let name = target.id.clone();
    let mut answer = executor.answer(decision, vec![target], limits, prompt);
    let mut completion = Ok(Completion::default());
    while let Some(item) = answer.next().await {
        match (item, &mut completion) {
            (Ok(delta), Ok(completion)) => completion.push(delta),
            (Err(error), _) => completion = Err(error),
            (Ok(_), Err(_)) => {}
        }
    }
    Shadowed {
        id,
        time: u64::try_from(time).unwrap_or(u64::MAX),
        decision: answer.decision().clone(),
        target: name,
        attempts: answer.attempts(),
        answer: completion,
        total: began.elapsed(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::stream::{self, BoxStream};
    use models::{Delta, Finish, LanguageModel, ModelError};

    use super::*;

    /// Says its name after a second.
    struct Slow;

    impl LanguageModel for Slow {
        fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
            let said = stream::once(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(Delta::Text(prompt.model))
            });
            said.chain(stream::iter([Ok(Delta::Finish(Finish::Stop))])).boxed()
        }
    }

    fn mirror(shadow: &Shadow) {
        let decision = Decision { route: "shadow".to_owned(), ..Decision::default() };
        let target = Target { id: "p/m".to_owned(), name: "m".to_owned(), model: Arc::new(Slow) };
        shadow.mirror(Job { id: "req_1".to_owned(), decision, target, limits: Limits::default(), prompt: Prompt::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn what_fits_is_answered_and_the_rest_dropped() {
        let told: Arc<Mutex<Vec<Shadowed>>> = Arc::default();
        let hears = told.clone();
        let (shadow, work) = new(Executor::default());
        let mut work = Box::pin(work.run(2, move |shadowed| hears.lock().expect("not poisoned").push(shadowed)));
        for _ in 0..WAITING + 5 {
            mirror(&shadow);
        }
        assert_eq!(shadow.count(), ShadowCount { taken: WAITING as u64, dropped: 5 });
        // Two at a time, a second each.
        assert!(tokio::time::timeout(Duration::from_millis(2_500), &mut work).await.is_err());
        assert_eq!(told.lock().expect("not poisoned").len(), 4);
        drop(shadow);
        work.await;
        let told = told.lock().expect("not poisoned");
        assert_eq!(told.len(), WAITING);
        assert!(told.iter().all(|one| one.attempts.len() == 1 && one.answer.as_ref().is_ok_and(|answer| answer.text == "m")));
    }
}
