//! Answers through the cache, with models that count how often they are asked.

use std::sync::atomic::AtomicUsize;

use models::{Finish, Message, ModelError, Role, Usage};
use serde_json::{Map, json};

use super::*;

/// A model that is asked through the cache.
#[derive(Clone, Default)]
struct Asked(Arc<AtomicUsize>);

impl Asked {
    fn times(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Asks `cache`, and the model if it must: it answers `deltas`.
    fn ask(&self, cache: &Cache, tenant: &str, words: &str, control: Map<String, serde_json::Value>, deltas: &[Delta]) -> Served {
        let mut prompt = Prompt { messages: vec![Message::text(Role::User, words)], extra: control, ..Prompt::default() };
        let control = CacheControl::take(&mut prompt.extra, None).expect("it is allowed");
        let scope = Scope { tenant, model: "m", route: "direct", ..Scope::default() };
        let (asked, deltas) = (self.clone(), deltas.to_vec());
        cache.serve(Lookup { scope, prompt: &prompt, control: &control, route: &CacheObject::default() }, move || {
            asked.0.fetch_add(1, Relaxed);
            let pieces = stream::iter(deltas.into_iter().map(Ok)).then(|delta| async {
                tokio::task::yield_now().await;
                delta
            });
            pieces.boxed()
        })
    }
}

fn cached() -> Map<String, serde_json::Value> {
    json!({"cache": true}).as_object().cloned().unwrap_or_default()
}

fn answer(words: &str) -> Vec<Delta> {
    let usage = Usage { input_tokens: 7, output_tokens: 2, ..Usage::default() };
    vec![Delta::Text(words.into()), Delta::Finish(Finish::Stop), Delta::Usage(usage)]
}

async fn heard(served: Served) -> (CacheStatus, Vec<Result<Delta, RouteError>>) {
    let report = served.report.clone();
    let deltas = served.deltas.collect().await;
    (report.status(), deltas)
}

#[tokio::test(start_paused = true)]
async fn an_identical_request_is_answered_from_the_cache_until_its_time_is_up() {
    let (cache, asked) = (Cache::new(CacheSettings::default(), None), Asked::default());
    let ask = || heard(asked.ask(&cache, "t", "hello", cached(), &answer("hi")));
    let (first, fresh) = ask().await;
    let (second, kept) = ask().await;
    assert_eq!((first, second, asked.times()), (CacheStatus::Miss, CacheStatus::Exact, 1));
    assert_eq!(fresh, kept);
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert_eq!(ask().await.0, CacheStatus::Miss);
    assert_eq!(asked.times(), 2);
}

#[tokio::test]
async fn nobody_is_given_what_was_not_meant_for_them() {
    let (cache, asked) = (Cache::new(CacheSettings::default(), None), Asked::default());
    heard(asked.ask(&cache, "ada", "my balance?", cached(), &answer("10"))).await;
    for (tenant, words, control, expected) in [
        ("ada", "my balance?", cached(), CacheStatus::Exact),
        ("bob", "my balance?", cached(), CacheStatus::Miss),
        ("ada", "my balance", cached(), CacheStatus::Miss),
        ("ada", "my balance?", Map::new(), CacheStatus::Off),
    ] {
        let (status, _) = heard(asked.ask(&cache, tenant, words, control, &answer("20"))).await;
        assert_eq!(status, expected, "{tenant} {words}");
    }
}

#[tokio::test]
async fn what_is_not_a_whole_answer_is_asked_for_again() {
    let broken = RouteError::Interrupted { error: ModelError::new(models::ErrorKind::Closed, "t", "cut"), attempts: Vec::new() };
    let text = || Delta::Text("hi".into());
    for (n, deltas) in
        [vec![text(), Delta::Finish(Finish::Length)], vec![text()], vec![], vec![Delta::Finish(Finish::Stop)]].iter().enumerate()
    {
        let (cache, asked) = (Cache::new(CacheSettings::default(), None), Asked::default());
        for _ in 0..2 {
            let (status, _) = heard(asked.ask(&cache, "t", "hello", cached(), deltas)).await;
            assert_eq!(status, CacheStatus::Miss, "{n}");
        }
    }
    let cache = Cache::new(CacheSettings::default(), None);
    let prompt = Prompt::default();
    let control =
        CacheControl { object: CacheObject { mode: Some(CacheMode::Exact), ..CacheObject::default() }, ..CacheControl::default() };
    let lookup = Lookup { scope: Scope::default(), prompt: &prompt, control: &control, route: &CacheObject::default() };
    for _ in 0..2 {
        let items = [Ok(text()), Ok(Delta::Finish(Finish::Stop)), Err(broken.clone())];
        let (status, items) = heard(cache.serve(lookup, move || stream::iter(items).boxed())).await;
        assert_eq!((status, items.last()), (CacheStatus::Miss, Some(&Err(broken.clone()))));
    }
    assert_eq!(cache.usage(), CacheUsage::default());
}

#[tokio::test]
async fn who_asks_at_the_same_time_shares_the_answer() {
    let (cache, asked) = (Cache::new(CacheSettings::default(), None), Asked::default());
    let served: Vec<Served> = (0..5).map(|_| asked.ask(&cache, "t", "hello", cached(), &answer("hi"))).collect();
    let heard = futures::future::join_all(served.into_iter().map(heard)).await;
    assert_eq!(asked.times(), 1);
    assert_eq!(heard.iter().filter(|(status, _)| *status == CacheStatus::Shared).count(), 4);
    assert!(heard.iter().all(|(_, deltas)| deltas.len() == 3));
    assert!(cache.0.shelves().flights.is_empty());
}

#[tokio::test]
async fn an_answer_nobody_waits_for_is_cancelled_and_not_kept() {
    let (cache, asked) = (Cache::new(CacheSettings::default(), None), Asked::default());
    let mut served = asked.ask(&cache, "t", "hello", cached(), &answer("hi"));
    assert!(served.deltas.next().await.is_some());
    drop(served);
    assert!(cache.0.shelves().flights.is_empty());
    assert_eq!(heard(asked.ask(&cache, "t", "hello", cached(), &answer("hi"))).await.0, CacheStatus::Miss);
}

#[tokio::test]
async fn one_entry_can_be_forgotten_by_its_owner() {
    let (cache, asked) = (Cache::new(CacheSettings::default(), None), Asked::default());
    let served = asked.ask(&cache, "t", "hello", cached(), &answer("hi"));
    let report = served.report.clone();
    heard(served).await;
    heard(asked.ask(&cache, "t", "other", cached(), &answer("hi"))).await;
    let key = report.key().expect("it is kept under a key");
    assert!(!cache.remove("somebody else", &key));
    assert!(cache.remove("t", &key));
    assert!(!cache.remove("t", &key));
    assert_eq!(cache.usage().entries, 1);
    assert_eq!(heard(asked.ask(&cache, "t", "hello", cached(), &answer("hi"))).await.0, CacheStatus::Miss);
}

#[tokio::test]
async fn a_fresh_answer_takes_the_place_of_the_kept_one() {
    let (cache, asked) = (Cache::new(CacheSettings::default(), None), Asked::default());
    let ask = |header: Option<&'static str>, words: &'static str| {
        let (mut extra, prompt) = (cached(), Prompt::default());
        let control = CacheControl::take(&mut extra, header).expect("it is allowed");
        let asked = asked.clone();
        let lookup = Lookup { scope: Scope::default(), prompt: &prompt, control: &control, route: &CacheObject::default() };
        let served = cache.serve(lookup, move || {
            asked.0.fetch_add(1, Relaxed);
            stream::iter(answer(words).into_iter().map(Ok)).boxed()
        });
        heard(served)
    };
    ask(None, "old").await;
    assert_eq!(ask(Some("no-cache"), "new").await.0, CacheStatus::Miss);
    let (status, deltas) = ask(None, "newest").await;
    assert_eq!((status, &deltas[0]), (CacheStatus::Exact, &Ok(Delta::Text("new".into()))));
    assert_eq!(ask(Some("no-store"), "other").await.0, CacheStatus::Off);
}

#[tokio::test]
async fn memory_is_bounded() {
    let settings = CacheSettings { bytes: 20_000, answer_bytes: 5_000, ..CacheSettings::default() };
    let (cache, asked) = (Cache::new(settings, None), Asked::default());
    for n in 0..50 {
        heard(asked.ask(&cache, "t", &format!("question {n}"), cached(), &answer(&"x".repeat(1_000)))).await;
        assert!(cache.usage().bytes <= 20_000);
    }
    assert!(cache.usage().evicted > 30);
    let before = cache.usage();
    heard(asked.ask(&cache, "t", "too long", cached(), &answer(&"x".repeat(6_000)))).await;
    assert_eq!(cache.usage(), before);
}

#[tokio::test]
async fn the_sound_is_kept_with_its_answer() {
    let (cache, asked) = (Cache::new(CacheSettings::default(), None), Asked::default());
    let served = asked.ask(&cache, "t", "hello", cached(), &answer("hi"));
    let report = served.report.clone();
    heard(served).await;
    let key = report.key().expect("it is kept under a key");
    cache.put_speech(&key, "heart/mp3", &[1, 2, 3]);
    assert_eq!(cache.speech(&key, "heart/mp3").as_deref(), Some(&[1, 2, 3][..]));
    assert_eq!(cache.speech(&key, "heart/wav"), None);
    assert!(cache.remove("t", &key));
    assert_eq!(cache.speech(&key, "heart/mp3"), None);
}

/// Every text has the same vector: only the guard keeps questions apart.
struct Blind;

impl Embedder for Blind {
    fn embed(&self, request: EmbeddingRequest) -> futures::future::BoxFuture<'static, Result<models::Embeddings, ModelError>> {
        let vectors = request.texts.iter().map(|_| vec![1.0, 0.0]).collect();
        Box::pin(async move { Ok(models::Embeddings { vectors, usage: None }) })
    }
}

/// Never answers.
struct Stuck;

impl Embedder for Stuck {
    fn embed(&self, _: EmbeddingRequest) -> futures::future::BoxFuture<'static, Result<models::Embeddings, ModelError>> {
        Box::pin(futures::future::pending())
    }
}

fn semantic() -> Map<String, serde_json::Value> {
    json!({"cache": "semantic"}).as_object().cloned().unwrap_or_default()
}

#[tokio::test]
async fn the_same_question_in_other_words_shares_an_answer_where_that_is_asked_for() {
    let (cache, asked) = (Cache::new(CacheSettings::default(), Some(Arc::new(Blind))), Asked::default());
    let first = asked.ask(&cache, "t", "How do I cancel my order?", semantic(), &answer("Like this."));
    let key = first.report.clone();
    heard(first).await;
    for (tenant, words, control, expected) in [
        ("t", "How can I cancel my order?", semantic(), CacheStatus::Semantic),
        ("t", "how do I cancel my order?", cached(), CacheStatus::Miss),
        ("t", "How do I track my order?", semantic(), CacheStatus::Miss),
        ("u", "What is the way to cancel my order?", semantic(), CacheStatus::Miss),
    ] {
        let served = asked.ask(&cache, tenant, words, control, &answer("Otherwise."));
        let report = served.report.clone();
        let (status, deltas) = heard(served).await;
        assert_eq!(status, expected, "{tenant} {words}");
        if expected == CacheStatus::Semantic {
            assert_eq!((report.key(), &deltas[0]), (key.key(), &Ok(Delta::Text("Like this.".into()))));
        }
    }
    // A hit that was wrong is forgotten by the key it names.
    assert!(cache.remove("t", &key.key().expect("it is kept under a key")));
    let again = heard(asked.ask(&cache, "t", "How could I cancel my order?", semantic(), &answer("x"))).await;
    assert_eq!(again.0, CacheStatus::Miss);
}

#[tokio::test(start_paused = true)]
async fn an_embedder_that_hangs_costs_a_hit_and_no_answer() {
    let (cache, asked) = (Cache::new(CacheSettings::default(), Some(Arc::new(Stuck))), Asked::default());
    for (words, expected) in [("Why?", CacheStatus::Miss), ("Why?", CacheStatus::Exact), ("why?", CacheStatus::Miss)] {
        let (status, deltas) = heard(asked.ask(&cache, "t", words, semantic(), &answer("Because."))).await;
        assert_eq!((status, deltas.len()), (expected, 3), "{words}");
    }
}
