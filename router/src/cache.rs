//! Answers given again: to identical requests, and where it is asked for, to the same question in other words.
//!
//! An answer is kept only when it is whole (its stream ended, the model finished by itself) and only for its tenant. It is replayed as
//! the stream of pieces it came in, costs nothing, and says so. Identical requests that come while the first is still being answered
//! share its answer. What never happens: an error, a cut answer or another tenant's answer is given again, or two requests that differ in
//! anything that changes the answer share one (see [`CacheKey`]).
//!
//! The handle is cheap to clone; inside it is one lock, held for a look-up and never across a wait.

mod control;
mod flight;
mod key;
mod recording;
mod semantic;
mod store;
mod wording;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use models::{Delta, Embedder, EmbeddingRequest, Prompt};
use tokio::time::{Instant, timeout};

use self::control::{Defaults, Plan};
use self::flight::Flight;
use self::recording::Recording;
use self::semantic::{Question, Questions};
use self::store::{Bounds, Store, Stored};
use self::wording::Wording;
use crate::RouteError;

pub use control::{CacheControl, CacheMode, CacheObject, Implicit};
pub use key::{CacheKey, Scope};

/// Longest wait for the vector of a question; then it is asked like any other. The model takes 4 to 16 ms, more only under load.
const EMBEDDING: Duration = Duration::from_millis(250);

type Deltas = BoxStream<'static, Result<Delta, RouteError>>;

/// How much is kept, for how long, and for whom.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheSettings {
    /// Which requests are cached without being asked to.
    pub implicit: Implicit,
    /// How long an answer may be used where nobody says otherwise.
    pub ttl: Duration,
    /// Most answers.
    pub entries: usize,
    /// Most memory for all of them, bytes.
    pub bytes: usize,
    /// Largest single answer, bytes.
    pub answer_bytes: usize,
    /// Least similarity of two questions that share an answer (0.5 to 1), where nobody says otherwise.
    pub threshold: f32,
    /// Request fields that change nothing about the answer here, besides those that only say how it is delivered.
    pub ignored: Vec<String>,
}

impl Default for CacheSettings {
    fn default() -> CacheSettings {
        CacheSettings {
            implicit: Implicit::default(),
            ttl: Duration::from_secs(3_600),
            entries: 10_000,
            bytes: 64 * 1_024 * 1_024,
            answer_bytes: 1_024 * 1_024,
            threshold: 0.75,
            ignored: Vec::new(),
        }
    }
}

/// What the cache had to do with an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum CacheStatus {
    /// Nothing.
    #[default]
    Off,
    /// A model was asked.
    Miss,
    /// A kept answer to the same request.
    Exact,
    /// The answer that somebody else is being given to the same request right now.
    Shared,
    /// A kept answer to the same question in other words.
    Semantic,
}

impl CacheStatus {
    /// The word for the `x-cache` header.
    pub fn name(self) -> &'static str {
        match self {
            CacheStatus::Off => "off",
            CacheStatus::Miss => "miss",
            CacheStatus::Exact | CacheStatus::Shared | CacheStatus::Semantic => "hit",
        }
    }

    /// What kind of hit, for records and metrics.
    pub fn hit(self) -> Option<&'static str> {
        match self {
            CacheStatus::Off | CacheStatus::Miss => None,
            CacheStatus::Exact => Some("exact"),
            CacheStatus::Shared => Some("shared"),
            CacheStatus::Semantic => Some("semantic"),
        }
    }
}

/// What the cache had to do with an answer, and under which key. Settled when the first piece of the answer is there.
#[derive(Clone, Debug, Default)]
pub struct CacheReport {
    settled: Arc<Mutex<(CacheStatus, Option<CacheKey>)>>,
    /// Other words were wished for, and nobody here can compare them.
    only_exact: bool,
}

impl CacheReport {
    /// What the cache did.
    pub fn status(&self) -> CacheStatus {
        self.lock().0
    }

    /// The entry that answered, or that the answer is kept under. `None` where the cache has no part in it.
    pub fn key(&self) -> Option<CacheKey> {
        self.lock().1
    }

    /// Whether the same question in other words was to be found, and cannot be: only identical ones were looked for.
    pub fn is_only_exact(&self) -> bool {
        self.only_exact
    }

    fn set(&self, status: CacheStatus, key: CacheKey) {
        *self.lock() = (status, Some(key));
    }

    fn lock(&self) -> MutexGuard<'_, (CacheStatus, Option<CacheKey>)> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request, as the cache sees it.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// Where it belongs.
    pub scope: Scope<'a>,
    /// What goes to the target.
    pub prompt: &'a Prompt,
    /// What the caller says about caching.
    pub control: &'a CacheControl,
    /// What the route says.
    pub route: &'a CacheObject,
}

/// An answer, from the cache or through it.
pub struct Served {
    /// The pieces of the answer.
    pub deltas: Deltas,
    /// What the cache had to do with it.
    pub report: CacheReport,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUsage {
    /// Answers kept.
    pub entries: usize,
    /// Memory they take up, bytes.
    pub bytes: usize,
    /// Answers that went before their time because others needed the room.
    pub evicted: u64,
}

/// The answers kept. Cheap to clone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    settings: CacheSettings,
    embedder: Option<Arc<dyn Embedder>>,
    shelves: Mutex<Shelves>,
    evicted: AtomicU64,
}

struct Shelves {
    store: Store,
    questions: Questions,
    /// Answers on their way that may be joined, with their numbers.
    flights: HashMap<CacheKey, (u64, Weak<Flight>)>,
    /// Flights begun so far.
    begun: u64,
}

impl Cache {
    /// An empty cache. Without an embedder, `semantic` is no more than `exact`, and the report says so.
    pub fn new(settings: CacheSettings, embedder: Option<Arc<dyn Embedder>>) -> Cache {
        let store = Store::new(Bounds { entries: settings.entries, bytes: settings.bytes });
        let shelves = Mutex::new(Shelves { store, questions: Questions::default(), flights: HashMap::new(), begun: 0 });
        Cache(Arc::new(Inner { settings, embedder, shelves, evicted: AtomicU64::new(0) }))
    }

    /// Answers from what is kept, or with what `ask` gives, which is then kept. `ask` is called at most once, and not at
    /// all on a hit; it begins nothing before its stream is polled.
    pub fn serve(&self, lookup: Lookup<'_>, ask: impl FnOnce() -> Deltas + Send + 'static) -> Served {
        let mut report = CacheReport::default();
        let settings = &self.0.settings;
        let defaults = Defaults { implicit: settings.implicit, ttl: settings.ttl, threshold: settings.threshold };
        let Some(plan) = Plan::of(lookup.control, lookup.route, defaults, lookup.prompt) else {
            return Served { deltas: ask(), report };
        };
        report.only_exact = plan.threshold.is_some() && self.0.embedder.is_none();
        let key = CacheKey::of(&lookup.scope, lookup.prompt, &settings.ignored);
        let keep = Keep { key, tenant: lookup.scope.tenant.to_owned(), ttl: plan.ttl, question: None };
        if let Some(age) = plan.read
            && let Some(stored) = self.0.get(&key, age, Instant::now())
        {
            report.set(CacheStatus::Exact, key);
            return Served { deltas: replay(stored), report };
        }
        let asked = plan.threshold.and_then(|threshold| {
            let (position, words) = semantic::question(lookup.prompt)?;
            let group = CacheKey::apart_from(&lookup.scope, lookup.prompt, &settings.ignored, position);
            Some(Asked { group, words, threshold, embedder: self.0.embedder.clone()? })
        });
        let deltas = match asked {
            None => self.0.fly(keep, plan, ask, &report),
            Some(asked) => {
                let (inner, report) = (self.0.clone(), report.clone());
                stream::once(async move { inner.search(asked, keep, plan, ask, &report).await }).flatten().boxed()
            }
        };
        Served { deltas, report }
    }

    /// Forgets one answer of `tenant`; says whether it was there.
    pub fn remove(&self, tenant: &str, key: &CacheKey) -> bool {
        let mut shelves = self.0.shelves();
        let owned = shelves.store.tenant(key) == Some(tenant);
        if owned {
            shelves.questions.remove(key);
        }
        owned && shelves.store.remove(key)
    }

    /// Keeps the sound of a kept answer; `name` says the voice and the format.
    pub fn put_speech(&self, key: &CacheKey, name: &str, sound: &[u8]) {
        if sound.len() <= self.0.settings.bytes {
            let mut shelves = self.0.shelves();
            let gone = shelves.store.put_speech(key, name, sound.into());
            shelves.forget(&gone);
            self.0.evicted.fetch_add(gone.len() as u64, Relaxed);
        }
    }

    /// The sound of a kept answer, if it was read aloud so before.
    pub fn speech(&self, key: &CacheKey, name: &str) -> Option<Arc<[u8]>> {
        self.0.shelves().store.speech(key, name)
    }

    /// Most memory for all answers and their sound, bytes.
    pub fn most_bytes(&self) -> usize {
        self.0.settings.bytes
    }

    /// How much is kept.
    pub fn usage(&self) -> CacheUsage {
        let (entries, bytes) = self.0.shelves().store.size();
        CacheUsage { entries, bytes, evicted: self.0.evicted.load(Relaxed) }
    }
}

/// Where an answer goes when it is whole.
struct Keep {
    key: CacheKey,
    tenant: String,
    ttl: Duration,
    /// How it may be found in other words.
    question: Option<Question>,
}

/// A question that may have been asked in other words.
struct Asked {
    group: CacheKey,
    words: String,
    threshold: f32,
    embedder: Arc<dyn Embedder>,
}

impl Shelves {
    /// Forgets the questions of answers that are gone.
    fn forget(&mut self, gone: &[CacheKey]) {
        gone.iter().for_each(|key| self.questions.remove(key));
    }
}

impl Inner {
    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &CacheKey, age: Duration, now: Instant) -> Option<Arc<Stored>> {
        let mut shelves = self.shelves();
        let stored = shelves.store.get(key, now);
        if stored.is_none() {
            // It may have been there until now.
            shelves.questions.remove(key);
        }
        stored.filter(|stored| now.saturating_duration_since(stored.since) <= age)
    }

    /// Joins the answer on its way to the same request, or begins one that others may join.
    fn fly(self: &Arc<Inner>, keep: Keep, plan: Plan, ask: impl FnOnce() -> Deltas, report: &CacheReport) -> Deltas {
        let key = keep.key;
        let mut shelves = self.shelves();
        if plan.read.is_some()
            && let Some(flight) = shelves.flights.get(&key).and_then(|(_, flight)| flight.upgrade())
        {
            report.set(CacheStatus::Shared, key);
            return flight.join().boxed();
        }
        report.set(CacheStatus::Miss, key);
        shelves.begun += 1;
        let number = shelves.begun;
        let recorded = Recorded { inner: self.clone(), keep, number, recording: Some(Recording::default()), deltas: ask() };
        let flight = Arc::new(Flight::new(recorded.into_stream()));
        shelves.flights.insert(key, (number, Arc::downgrade(&flight)));
        flight.join().boxed()
    }

    /// Answers with what was kept for the same question in other words; else as for any other request.
    async fn search(
        self: &Arc<Inner>,
        asked: Asked,
        mut keep: Keep,
        plan: Plan,
        ask: impl FnOnce() -> Deltas,
        report: &CacheReport,
    ) -> Deltas {
        let Asked { group, words, threshold, embedder } = asked;
        let wording = Wording::of(&words);
        let request = EmbeddingRequest { texts: vec![words], ..EmbeddingRequest::default() };
        // An embedder that fails or is slow costs a hit, never an answer.
        let embedded = timeout(EMBEDDING, embedder.embed(request)).await.ok().and_then(Result::ok);
        if let Some(vector) = embedded.and_then(|embeddings| embeddings.vectors.into_iter().next()) {
            let question = Question { group, wording, vector: vector.into() };
            if let Some(age) = plan.read {
                let found = self.shelves().questions.find(&question, threshold);
                let now = Instant::now();
                if let Some((key, stored)) = found.into_iter().find_map(|(key, _)| Some((key, self.get(&key, age, now)?))) {
                    report.set(CacheStatus::Semantic, key);
                    return replay(stored);
                }
            }
            keep.question = Some(question);
        }
        self.fly(keep, plan, ask, report)
    }

    fn put(&self, keep: &Keep, deltas: Vec<Delta>, bytes: usize, now: Instant) {
        let stored = Stored { deltas, tenant: keep.tenant.clone(), since: now, until: now + keep.ttl };
        let mut shelves = self.shelves();
        let weight = bytes + keep.question.as_ref().map_or(0, Question::bytes);
        let gone = shelves.store.put(keep.key, stored, weight);
        match &keep.question {
            Some(question) => shelves.questions.put(keep.key, question.clone()),
            None => shelves.questions.remove(&keep.key),
        }
        shelves.forget(&gone);
        self.evicted.fetch_add(gone.len() as u64, Relaxed);
    }
}

/// An answer on its way, kept when it is whole.
struct Recorded {
    inner: Arc<Inner>,
    keep: Keep,
    /// The number of its flight.
    number: u64,
    /// Gone once the answer cannot be kept any more.
    recording: Option<Recording>,
    deltas: Deltas,
}

impl Recorded {
    fn into_stream(self) -> Deltas {
        stream::unfold(self, |mut recorded| async move {
            let item = recorded.deltas.next().await;
            recorded.note(item.as_ref());
            item.map(|item| (item, recorded))
        })
        .boxed()
    }

    fn note(&mut self, item: Option<&Result<Delta, RouteError>>) {
        if let Some(Err(_)) = item {
            self.close();
        }
        let Some(mut recording) = self.recording.take() else { return };
        match item {
            Some(Ok(delta)) => {
                recording.push(delta);
                if recording.bytes() <= self.inner.settings.answer_bytes {
                    self.recording = Some(recording);
                }
            }
            Some(Err(_)) => {}
            None => {
                let bytes = recording.bytes();
                if let Some(deltas) = recording.finished() {
                    self.inner.put(&self.keep, deltas, bytes, Instant::now());
                }
            }
        }
    }
}

impl Recorded {
    /// Lets nobody join any more. A later flight of the same key may be under way already: a request that wanted a fresh answer begins
    /// its own.
    fn close(&self) {
        let mut shelves = self.inner.shelves();
        if shelves.flights.get(&self.keep.key).is_some_and(|(number, _)| *number == self.number) {
            shelves.flights.remove(&self.keep.key);
        }
    }
}

impl Drop for Recorded {
    /// Whole, failed or left by all.
    fn drop(&mut self) {
        self.close();
    }
}

fn replay(stored: Arc<Stored>) -> Deltas {
    stream::unfold((stored, 0), |(stored, at)| async move {
        let delta = stored.deltas.get(at)?.clone();
        Some((Ok(delta), (stored, at + 1)))
    })
    .boxed()
}

#[cfg(test)]
mod tests;
