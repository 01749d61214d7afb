//! Shadow traffic: requests that also go to other targets, whose answers nobody waits for.
//!
//! Handing a request over never waits: what does not fit is dropped and counted. The work is a future that the caller of [`new`] owns and
//! polls; dropping it cancels every answer that runs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use models::{Completion, Prompt};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::route::{Limits, Target};
use crate::{Attempt, Decision, Executor, RouteError};

/// Requests that wait for a place: at 100 requests a second mirrored in full, a third of a second. When full, the new one is dropped.
const WAITING: usize = 32;

/// What became of a mirrored request.
#[derive(Debug)]
pub struct Shadowed {
    /// Who was asked, and why.
    pub decision: Decision,
    /// The answer, or why there is none.
    pub answer: Result<Completion, RouteError>,
    /// Who was tried.
    pub attempts: Vec<Attempt>,
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
pub struct Shadow {
    sender: Sender<Job>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    taken: AtomicU64,
    dropped: AtomicU64,
}

struct Job {
    decision: Decision,
    targets: Vec<Target>,
    limits: Limits,
    prompt: Prompt,
}

/// A handle, and the work that it hands to: at most `running` answers at once, each given to `tell` at its end. The work ends when all
/// handles are gone and what they handed over is done.
pub fn new(executor: Executor, running: usize, tell: impl Fn(Shadowed) + Send + 'static) -> (Shadow, impl Future<Output = ()> + Send) {
    let (sender, receiver) = channel(WAITING);
    // Without a handle of its own, which would keep the work from ending.
    let executor = Executor { shadow: None, ..executor };
    (Shadow { sender, counts: Arc::default() }, work(executor, receiver, running.max(1), tell))
}

impl Shadow {
    /// Mirrors a request to `targets`, without waiting.
    pub(crate) fn mirror(&self, decision: Decision, targets: Vec<Target>, limits: Limits, prompt: &Prompt) {
        // The copy of the prompt is made only where it is taken.
        let counter = match self.sender.try_reserve() {
            Ok(place) => {
                place.send(Job { decision, targets, limits, prompt: prompt.clone() });
                &self.counts.taken
            }
            Err(_) => &self.counts.dropped,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// What it came to so far.
    pub fn count(&self) -> ShadowCount {
        ShadowCount { taken: self.counts.taken.load(Relaxed), dropped: self.counts.dropped.load(Relaxed) }
    }
}

impl fmt::Debug for Shadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shadow").field("count", &self.count()).finish_non_exhaustive()
    }
}

async fn work(executor: Executor, mut jobs: Receiver<Job>, most: usize, tell: impl Fn(Shadowed)) {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            job = jobs.recv(), if running.len() < most => match job {
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

async fn shadowed(executor: &Executor, job: Job) -> Shadowed {
    let Job { decision, targets, limits, prompt } = job;
    let mut answer = executor.answer(decision, targets, limits, prompt);
    let mut completion = Ok(Completion::default());
    while let Some(item) = answer.next().await {
        match (item, &mut completion) {
            (Ok(delta), Ok(completion)) => completion.push(delta),
            (Err(error), _) => completion = Err(error),
            (Ok(_), Err(_)) => {}
        }
    }
    Shadowed { decision: answer.decision().clone(), attempts: answer.attempts(), answer: completion }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

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
        shadow.mirror(decision, vec![target], Limits::default(), &Prompt::default());
    }

    #[tokio::test(start_paused = true)]
    async fn what_fits_is_answered_and_the_rest_dropped() {
        let told: Arc<Mutex<Vec<Shadowed>>> = Arc::default();
        let hears = told.clone();
        let (shadow, work) = new(Executor::default(), 2, move |shadowed| hears.lock().expect("not poisoned").push(shadowed));
        let mut work = Box::pin(work);
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
