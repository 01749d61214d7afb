//! Several replicas of one self-hosted engine as one target.
//!
//! A conversation returns to the replica that holds its keys and values: the hash of how it begins ranks the replicas, the same way on
//! every node (rendezvous hashing: a replica that comes or goes moves only its own conversations). A replica that has more than its share
//! of the running requests passes them to the next in rank (bounded load), one that fails is left alone for a while (`health.rs`), and so
//! is one that whoever looks after it says is down ([`Replicas::set_up`]), before a request finds out.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use models::{
    Continuation, Delta, Embedder, EmbeddingRequest, Embeddings, LanguageModel, ModelError, Prompt, Role, Tool, Usage, WebSearch,
};
use tokio::time::Instant;

use crate::Health;
use crate::hash;
use crate::health::{Admission, Condition, Verdict};

/// How much more than the mean a replica may hold, in per cent (Mirrokni, Thorup and Zadimoghaddam 2016: a quarter more keeps most keys
/// in place).
const SLACK: usize = 25;
/// Most bytes of a message that are hashed: where conversations differ, they do so early.
const HASHED: usize = 4_096;

/// One replica.
#[derive(Clone)]
pub struct Replica {
    /// Its name, unique among its siblings and the same on every node; its base URL does.
    pub name: String,
    /// What answers.
    pub model: Arc<dyn LanguageModel>,
    /// What embeds texts, where it can.
    pub embedder: Option<Arc<dyn Embedder>>,
}

/// What a replica did so far.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaState {
    /// Its name.
    pub name: String,
    /// Requests that run now.
    pub running: usize,
    /// Requests since the start.
    pub requests: u64,
    /// Of these, those of conversations that belong here: the others came because their own replica was full or ill.
    pub at_home: u64,
    /// Tokens of their prompts, as it counted them.
    pub input_tokens: u64,
    /// Of these, found in its cache.
    pub cached_tokens: u64,
    /// Whether it was there when somebody last looked.
    pub is_up: bool,
    /// Its health, as requests found it.
    pub condition: Condition,
}

impl ReplicaState {
    /// Share of prompt tokens that were found in its cache, 0 to 1; `None` before the first count.
    pub fn cache_hit_share(&self) -> Option<f64> {
        (self.input_tokens > 0).then(|| self.cached_tokens as f64 / self.input_tokens as f64)
    }
}

/// Replicas as one model. Cheap to clone; clones share their state.
#[derive(Clone)]
pub struct Replicas(Arc<Shared>);

struct Shared {
    replicas: Vec<Replica>,
    health: Health,
    /// Requests that run on each.
    running: Mutex<Vec<usize>>,
    counts: Vec<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    at_home: AtomicU64,
    input_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    is_down: AtomicBool,
}

impl Replicas {
    /// One model of `replicas`; with none it fails every request.
    pub fn new(replicas: Vec<Replica>) -> Replicas {
        let running = Mutex::new(vec![0; replicas.len()]);
        let counts = replicas.iter().map(|_| Counts::default()).collect();
        Replicas(Arc::new(Shared { replicas, health: Health::default(), running, counts }))
    }

    /// Takes in whether a replica, by its place from 0, was there when somebody looked. One that is down is asked only where all are.
    pub fn set_up(&self, replica: usize, is_up: bool) {
        if let Some(counts) = self.0.counts.get(replica) {
            counts.is_down.store(!is_up, Relaxed);
        }
    }

    /// Whether any of them embeds texts.
    pub(crate) fn embeds(&self) -> bool {
        self.0.replicas.iter().any(|replica| replica.embedder.is_some())
    }

    /// What each replica did so far.
    pub fn states(&self) -> Vec<ReplicaState> {
        let now = Instant::now().into_std();
        let running = self.0.running().clone();
        let state = |((replica, counts), running): ((&Replica, &Counts), usize)| ReplicaState {
            name: replica.name.clone(),
            running,
            requests: counts.requests.load(Relaxed),
            at_home: counts.at_home.load(Relaxed),
            input_tokens: counts.input_tokens.load(Relaxed),
            cached_tokens: counts.cached_tokens.load(Relaxed),
            is_up: !counts.is_down.load(Relaxed),
            condition: self.0.health.condition(&replica.name, now),
        };
        self.0.replicas.iter().zip(&self.0.counts).zip(running).map(state).collect()
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, Vec<usize>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place on the best replica for a conversation that is not in `tried`.
    fn take(self: &Arc<Shared>, conversation: u64, tried: &[usize]) -> Option<Place> {
        let now = Instant::now();
        let mut ranked: Vec<usize> = (0..self.replicas.len()).filter(|n| !tried.contains(n)).collect();
        ranked.sort_by_cached_key(|n| std::cmp::Reverse(hash::mix(conversation ^ hash::stable(&[&self.replicas[*n].name]))));
        let mut running = self.running();
        let all: usize = running.iter().sum();
        let most = ((all + 1) * (100 + SLACK)).div_ceil(100 * self.replicas.len().max(1));
        let is_well = |n: &usize| {
            !self.counts[*n].is_down.load(Relaxed) && self.health.admit(&self.replicas[*n].name, now.into_std()) != Admission::Refused
        };
        // In rank where there is room; all are full only by ill ones' shares, then the least loaded; where all are ill, the first in rank.
        let with_room = ranked.iter().copied().filter(|n| running[*n] < most).find(is_well);
        let replica = with_room
            .or_else(|| {
                let mut by_load = ranked.clone();
                by_load.sort_by_key(|n| running[*n]);
                by_load.into_iter().find(is_well)
            })
            .or_else(|| ranked.first().copied().filter(|_| tried.is_empty()))?;
        running[replica] += 1;
        self.counts[replica].requests.fetch_add(1, Relaxed);
        self.counts[replica].at_home.fetch_add(u64::from(tried.is_empty() && ranked.first() == Some(&replica)), Relaxed);
        Some(Place { shared: Arc::clone(self), replica, since: now, first: None, is_reported: false, usage: Usage::default() })
    }
}

/// A running request's place on a replica; it is given back when dropped.
struct Place {
    shared: Arc<Shared>,
    replica: usize,
    since: Instant,
    first: Option<Instant>,
    is_reported: bool,
    /// What was counted last.
    usage: Usage,
}

impl Place {
    fn name(&self) -> &str {
        &self.shared.replicas[self.replica].name
    }

    fn note(&mut self, item: &Result<Delta, ModelError>) {
        match item {
            Ok(Delta::Usage(usage)) => self.usage = *usage,
            Ok(_) => {
                self.first.get_or_insert_with(Instant::now);
            }
            Err(error) => self.report(&Verdict::of(error)),
        }
    }

    fn report(&mut self, verdict: &Verdict) {
        if !std::mem::replace(&mut self.is_reported, true) {
            self.shared.health.report(self.name(), verdict, Instant::now().into_std());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let verdict = match self.first {
            Some(first) => Verdict::Well { first_content: Some(first - self.since), tokens_per_second: None },
            None => Verdict::Unknown { waited: None },
        };
        self.report(&verdict);
        let counts = &self.shared.counts[self.replica];
        counts.input_tokens.fetch_add(self.usage.input_tokens, Relaxed);
        counts.cached_tokens.fetch_add(self.usage.cached_tokens, Relaxed);
        if let Some(running) = self.shared.running().get_mut(self.replica) {
            *running -= 1;
        }
    }
}

impl LanguageModel for Replicas {
    /// Asks the best replica; where it fails before it says anything, the next, each at most once.
    fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        let conversation = conversation(&prompt);
        let asking =
            Asking { shared: Arc::clone(&self.0), prompt, conversation, tried: Vec::new(), answering: None, failed: None, is_over: false };
        stream::unfold(asking, |mut asking| async move { asking.next().await.map(|item| (item, asking)) }).boxed()
    }

    fn continuation(&self, model: &str) -> Continuation {
        self.0.replicas.first().map_or(Continuation::Asked, |replica| replica.model.continuation(model))
    }

    fn answers_whole(&self) -> bool {
        self.0.replicas.iter().all(|replica| replica.model.answers_whole())
    }

    fn searches(&self, model: &str, wish: &WebSearch, tools: &[Tool]) -> bool {
        self.0.replicas.iter().all(|replica| replica.model.searches(model, wish, tools))
    }
}

impl Embedder for Replicas {
    /// Asks the best replica; where it fails, the next, each at most once. Texts have no home: they are dealt out by what they say.
    fn embed(&self, request: EmbeddingRequest) -> BoxFuture<'static, Result<Embeddings, ModelError>> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let texts: Vec<&str> = request.texts.iter().map(String::as_str).collect();
            let (number, mut tried, mut failed) = (hash::stable(&texts), Vec::new(), None);
            while let Some(mut place) = shared.take(number, &tried) {
                tried.push(place.replica);
                let Some(embedder) = &shared.replicas[place.replica].embedder else { continue };
                match embedder.embed(request.clone()).await {
                    Ok(embeddings) => {
                        place.first = Some(Instant::now());
                        place.usage = embeddings.usage.unwrap_or_default();
                        return Ok(embeddings);
                    }
                    Err(error) => {
                        place.report(&Verdict::of(&error));
                        if !error.retryable() {
                            return Err(error);
                        }
                        failed = Some(error);
                    }
                }
            }
            Err(failed.unwrap_or_else(nobody))
        })
    }
}

fn nobody() -> ModelError {
    ModelError::new(models::ErrorKind::Failed, "replicas", "there is no replica to ask; configure base URLs")
}

struct Asking {
    shared: Arc<Shared>,
    prompt: Prompt,
    conversation: u64,
    tried: Vec<usize>,
    answering: Option<(BoxStream<'static, Result<Delta, ModelError>>, Place)>,
    /// Why the replica before did not answer.
    failed: Option<ModelError>,
    is_over: bool,
}

impl Asking {
    async fn next(&mut self) -> Option<Result<Delta, ModelError>> {
        while !self.is_over {
            let Some((deltas, place)) = &mut self.answering else {
                let Some(place) = self.shared.take(self.conversation, &self.tried) else {
                    self.is_over = true;
                    return Some(Err(self.failed.take().unwrap_or_else(nobody)));
                };
                self.tried.push(place.replica);
                let model = &self.shared.replicas[place.replica].model;
                self.answering = Some((model.complete(self.prompt.clone()), place));
                continue;
            };
            let item = deltas.next().await;
            let Some(item) = item else {
                self.is_over = true;
                self.answering = None;
                return None;
            };
            place.note(&item);
            match item {
                Err(error) if place.first.is_none() && error.retryable() => {
                    self.failed = Some(error);
                    self.answering = None;
                }
                item => {
                    self.is_over = item.is_err();
                    return Some(item);
                }
            }
        }
        self.answering = None;
        None
    }
}

/// A number for the conversation that a prompt belongs to, the same as it grows: of `prompt_cache_key` where the caller gives one, else of
/// what comes up to the caller's first message.
fn conversation(prompt: &Prompt) -> u64 {
    if let Some(key) = prompt.extra.get("prompt_cache_key").and_then(|key| key.as_str()) {
        return hash::stable(&["key", key]);
    }
    let mut texts = vec![prompt.model.clone()];
    for message in &prompt.messages {
        let words = message.words();
        let end = words.char_indices().map(|(at, _)| at).take_while(|at| *at <= HASHED).last().unwrap_or(0);
        texts.push(if words.len() <= HASHED { words } else { words[..end].to_owned() });
        if message.role == Role::User {
            break;
        }
    }
    hash::stable(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.replicas.iter().map(|replica| &replica.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use futures::FutureExt;
    use models::{ErrorKind, Finish, Message};

    use super::*;

    /// An engine that remembers what it read, as a cache of keys and values does: whole messages, from the start, as long as they fit.
    #[derive(Default)]
    struct Engine {
        cache: Mutex<VecDeque<Vec<String>>>,
        is_broken: bool,
        hangs: bool,
        holds: usize,
    }

    impl LanguageModel for Engine {
        fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
            if self.is_broken {
                return stream::iter([Err(ModelError::new(ErrorKind::Closed, "engine", "gone"))]).boxed();
            }
            if self.hangs {
                return stream::iter([Ok(Delta::Text("a".to_owned()))]).chain(stream::pending()).boxed();
            }
            let words: Vec<String> = prompt.messages.iter().map(Message::words).collect();
            let mut cache = self.cache.lock().expect("not poisoned");
            let known = (1..=words.len()).rev().find(|n| cache.iter().any(|read| read == &words[..*n])).unwrap_or(0);
            for n in known + 1..=words.len() {
                cache.push_back(words[..n].to_vec());
            }
            while cache.len() > self.holds {
                cache.pop_front();
            }
            let usage = Usage { input_tokens: words.len() as u64, cached_tokens: known as u64, ..Usage::default() };
            stream::iter([Ok(Delta::Text("a".to_owned())), Ok(Delta::Finish(Finish::Stop)), Ok(Delta::Usage(usage))]).boxed()
        }
    }

    fn replicas(engines: impl IntoIterator<Item = Engine>) -> Replicas {
        let replica =
            |(n, engine)| Replica { name: format!("http://gpu-{n}"), model: Arc::new(engine) as Arc<dyn LanguageModel>, embedder: None };
        Replicas::new(engines.into_iter().enumerate().map(replica).collect())
    }

    fn turn(conversation: usize, turn: usize) -> Prompt {
        let mut messages = vec![Message::text(Role::System, "Be kind.")];
        messages.extend((0..=turn).map(|n| Message::text(Role::User, format!("{conversation}: {n}"))));
        Prompt { messages, ..Prompt::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn conversations_return_to_the_cache_that_knows_them() {
        let run = async |has_affinity: bool| {
            let all = replicas((0..4).map(|_| Engine { holds: 300, ..Engine::default() }));
            for n in 0..10 {
                for conversation in 0..100 {
                    let mut prompt = turn(conversation, n);
                    if !has_affinity {
                        // A key that differs each time deals requests out at random.
                        prompt.extra.insert("prompt_cache_key".to_owned(), serde_json::json!(format!("{conversation}/{n}")));
                    }
                    assert_eq!(all.complete(prompt).count().await, 3);
                }
            }
            let states = all.states();
            let sum = |of: fn(&ReplicaState) -> u64| states.iter().map(of).sum::<u64>() as f64;
            assert!(states.iter().all(|state| state.running == 0 && state.requests > 100), "{states:?}");
            sum(|state| state.cached_tokens) / sum(|state| state.input_tokens)
        };
        let (with, without) = (run(true).await, run(false).await);
        println!("cache-hit share: {with:.3} with affinity, {without:.3} dealt out at random");
        // Of turn n, n + 1 of n + 2 messages were read before: 0.84 over ten turns is all there is.
        assert!(with > 0.8 && without < 0.6, "{with} {without}");
    }

    #[tokio::test(start_paused = true)]
    async fn load_is_bounded_and_places_are_given_back() {
        let all = replicas((0..4).map(|_| Engine { hangs: true, ..Engine::default() }));
        // The same conversation, many times at once: its replica gets a quarter more than its share, not all.
        let mut running: Vec<_> = (0..40).map(|_| all.complete(turn(1, 0))).collect();
        for answer in &mut running {
            assert!(answer.next().await.is_some());
        }
        let loads: Vec<usize> = all.states().iter().map(|state| state.running).collect();
        assert_eq!(loads.iter().sum::<usize>(), 40);
        assert!(loads.iter().all(|load| (1..=13).contains(load)), "{loads:?}");
        assert!(running[0].next().now_or_never().is_none());
        drop(running);
        assert!(all.states().iter().all(|state| state.running == 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_fails_is_replaced_and_then_left_alone() {
        let all = replicas([Engine { is_broken: true, ..Engine::default() }, Engine { holds: 99, ..Engine::default() }]);
        for conversation in 0..40 {
            assert_eq!(all.complete(turn(conversation, 0)).count().await, 3, "no request notices");
        }
        let states = all.states();
        assert_eq!((states[0].requests, states[0].condition.failures, states[1].requests), (5, 5, 40));
        tokio::time::advance(Duration::from_secs(5)).await;
        for conversation in 0..40 {
            assert_eq!(all.complete(turn(conversation, 0)).count().await, 3);
        }
        assert_eq!(all.states()[0].requests, 6, "one probe");
        // One that is said to be down is not asked while another is there.
        let all = replicas((0..2).map(|_| Engine { holds: 99, ..Engine::default() }));
        all.set_up(0, false);
        for conversation in 0..40 {
            assert_eq!(all.complete(turn(conversation, 0)).count().await, 3);
        }
        let states = all.states();
        assert_eq!((states[0].requests, states[0].is_up, states[1].requests), (0, false, 40));
        assert!((5..35).contains(&states[1].at_home), "about half of the conversations belong to the other: {states:?}");
        all.set_up(1, false);
        assert_eq!(all.complete(turn(0, 0)).count().await, 3, "where all are down, one is asked all the same");
        // Texts go to whoever is up; where that one fails, to the next.
        struct Ones(bool);
        impl Embedder for Ones {
            fn embed(&self, request: EmbeddingRequest) -> BoxFuture<'static, Result<Embeddings, ModelError>> {
                let works = self.0;
                Box::pin(async move {
                    let failed = || ModelError::new(ErrorKind::Closed, "engine", "gone");
                    works.then(|| Embeddings { vectors: vec![vec![1.0]; request.texts.len()], usage: None }).ok_or_else(failed)
                })
            }
        }
        for works in [[true, false], [false, true], [false, false]] {
            let replica = |(n, works): (usize, bool)| Replica {
                name: format!("http://gpu-{n}"),
                model: Arc::new(Engine::default()),
                embedder: Some(Arc::new(Ones(works))),
            };
            let all = Replicas::new(works.into_iter().enumerate().map(replica).collect());
            for text in ["a", "b", "c", "d"] {
                let request = EmbeddingRequest { texts: vec![text.to_owned()], ..EmbeddingRequest::default() };
                assert_eq!(all.embed(request).await.is_ok(), works.contains(&true), "{text} {works:?}");
            }
            assert!(all.states().iter().all(|state| state.running == 0));
        }
        // All are broken, or there are none: an error, and an end.
        for broken in [2, 0] {
            let all = replicas((0..broken).map(|_| Engine { is_broken: true, ..Engine::default() }));
            let items: Vec<_> = all.complete(turn(0, 0)).collect().await;
            assert!(matches!(items.as_slice(), [Err(_)]), "{items:?}");
        }
    }
}
