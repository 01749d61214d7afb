//! Whole races of scripted targets, in virtual time.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use models::{LanguageModel, Message, Role};
use serde_json::Map;
use tokio::time::sleep;

use super::*;
use crate::cost::{Cost, Priced};
use crate::health::Breaker;
use crate::{Answer, Decision};

const TEXT: &str = "The quick brown fox jumps over the lazy dog, runs through the wood and sleeps under an oak until noon.";
const TOKENS: usize = 16;

/// What a scripted target does; `n` counts tokens of [`TEXT`].
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    /// Fails at once.
    Refuse(ErrorKind, u16),
    /// As the same, and says how long to wait, seconds.
    Wait(u64),
    /// Seconds of silence.
    Sleep(u64),
    /// Thinks.
    Think,
    /// A signature over its thoughts.
    Sign,
    /// Writes tokens up to this one, 10 ms each, from where it is.
    Write(usize),
    /// Half a call of a function.
    Call,
    /// Ends well, with a count of tokens.
    Finish,
    /// Ends well, without.
    FinishUncounted,
    /// Does nothing for ever.
    Hang,
}

use Act::*;

/// How a target goes on with an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Habit {
    /// With the next character, because its provider continues a trailing message.
    Next,
    /// With the words that it is asked to repeat.
    Obeys,
    /// From the start.
    Anew,
    /// From the start, in other words.
    Other,
}

struct Scripted {
    acts: &'static [Act],
    habit: Habit,
    asked: Arc<Mutex<Vec<Prompt>>>,
    running: Arc<AtomicUsize>,
}

/// Counts a stream while it lives.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Scripted {
    /// What it writes, where `prompt` may ask it to go on.
    fn text(&self, prompt: &Prompt) -> String {
        let Some(sent) = prompt.messages.iter().find(|message| message.role == Role::Assistant) else { return TEXT.to_owned() };
        let sent = sent.words();
        let order = prompt.messages.last().map(Message::words).unwrap_or_default();
        match self.habit {
            Habit::Next => TEXT[sent.len()..].to_owned(),
            Habit::Obeys => {
                let anchor = order.split("<<<").nth(1).and_then(|rest| rest.split(">>>").next()).unwrap_or_default();
                format!("{anchor}{}", &TEXT[sent.len()..])
            }
            Habit::Anew => TEXT.to_owned(),
            Habit::Other => format!("{} and then something else", &TEXT[..TEXT.len() / 2]),
        }
    }
}

impl LanguageModel for Scripted {
    fn complete(&self, prompt: Prompt) -> Deltas {
        self.running.fetch_add(1, Relaxed);
        let alive = Alive(self.running.clone());
        let text = self.text(&prompt);
        self.asked.lock().expect("not poisoned").push(prompt);
        let characters: Vec<char> = text.chars().collect();
        let size = TEXT.len().div_ceil(TOKENS);
        let tokens: Vec<String> = characters.chunks(size).map(String::from_iter).collect();
        let mut steps: VecDeque<Act> = self.acts.iter().copied().collect();
        let mut at = 0;
        let script = stream::unfold((), move |()| {
            let _ = &alive;
            let step = match steps.front().copied() {
                Some(Write(until)) if at < until.min(tokens.len()) => {
                    at += 1;
                    if at == until.min(tokens.len()) {
                        steps.pop_front();
                    }
                    Some(Ok(Delta::Text(tokens[at - 1].clone())))
                }
                _ => None,
            };
            let act = if step.is_none() { steps.pop_front() } else { None };
            let usage = Usage { input_tokens: 100, output_tokens: at as u64, ..Usage::default() };
            if act == Some(Finish) {
                steps.push_front(FinishUncounted);
            }
            async move {
                let fail =
                    |kind, status| Some(Err(ModelError { status: Some(status), ..ModelError::new(kind, "fake", "as the script says") }));
                let item = match act {
                    None => {
                        sleep(Duration::from_millis(if step.is_some() { 10 } else { 0 })).await;
                        step
                    }
                    Some(Refuse(kind, 0)) => Some(Err(ModelError::new(kind, "fake", "as the script says"))),
                    Some(Refuse(kind, status)) => fail(kind, status),
                    Some(Wait(seconds)) => Some(Err(ModelError {
                        retry_after: Some(Duration::from_secs(seconds)),
                        status: Some(429),
                        ..ModelError::new(ErrorKind::Overloaded, "fake", "busy")
                    })),
                    Some(Sleep(seconds)) => {
                        sleep(Duration::from_secs(seconds)).await;
                        Some(Ok(Delta::Text(String::new())))
                    }
                    Some(Think) => Some(Ok(Delta::Reasoning("hm ".to_owned()))),
                    Some(Sign) => Some(Ok(Delta::Signature("sig".to_owned()))),
                    Some(Write(_)) => Some(Ok(Delta::Text(String::new()))),
                    Some(Call) => Some(Ok(Delta::ToolCall {
                        index: 0,
                        id: Some("c".to_owned()),
                        name: Some("f".to_owned()),
                        arguments: "{".to_owned(),
                        extra: Map::new(),
                    })),
                    Some(Finish) => Some(Ok(Delta::Usage(usage))),
                    Some(FinishUncounted) => Some(Ok(Delta::Finish(models::Finish::Stop))),
                    Some(Hang) => std::future::pending().await,
                };
                item.map(|item| (item, ()))
            }
        });
        // An error ends a provider's stream.
        script
            .scan(false, |failed, item: Result<Delta, ModelError>| {
                let go = !*failed;
                *failed = item.is_err();
                futures::future::ready(go.then_some(item))
            })
            .boxed()
    }

    fn continuation(&self, _model: &str) -> Continuation {
        if self.habit == Habit::Next { Continuation::Trailing } else { Continuation::Asked }
    }

    fn answers_whole(&self) -> bool {
        true
    }
}

/// A set of targets under test.
struct Bench {
    executor: Executor,
    limits: Limits,
    /// Nobody reads along.
    whole: bool,
    targets: Vec<Target>,
    asked: Arc<Mutex<Vec<Prompt>>>,
    running: Arc<AtomicUsize>,
}

impl Bench {
    fn new(targets: &[(&'static [Act], Habit)]) -> Bench {
        let (asked, running) = (Arc::default(), Arc::default());
        let target = |(n, (acts, habit)): (usize, &(&'static [Act], Habit))| {
            let model = Scripted { acts, habit: *habit, asked: Arc::clone(&asked), running: Arc::clone(&running) };
            Target { id: format!("p{n}/m"), name: "m".to_owned(), model: Arc::new(model) }
        };
        let limits = Limits {
            first_content: Duration::from_secs(2),
            stall: Duration::from_secs(3),
            total: Duration::from_secs(60),
            hedge: None,
            survive: true,
        };
        let price: crate::Price = Arc::new(|_, amount| {
            let Amount::Tokens(usage) = amount else { return None };
            let cost = Cost::from_nano_usd(usage.input_tokens * 10 + usage.output_tokens * 100);
            Some(Priced { cost, estimated: false })
        });
        let executor = Executor { price: Some(price), ..Executor::default() };
        let targets = targets.iter().enumerate().map(target).collect();
        Bench { executor, limits, whole: false, targets, asked, running }
    }

    fn answer(&self) -> Answer {
        let decision = Decision { route: "direct".to_owned(), ..Decision::default() };
        let prompt = Prompt { messages: vec![Message::text(Role::User, "Tell me.")], whole: self.whole, ..Prompt::default() };
        self.executor.answer(decision, self.targets.clone(), self.limits, prompt)
    }

    async fn play(&self) -> Played {
        let mut answer = self.answer();
        let mut played = Played::default();
        while let Some(item) = answer.next().await {
            match item {
                Ok(Delta::Text(text)) => {
                    assert_eq!(played.finishes, 0, "nothing follows the end");
                    played.text.push_str(&text);
                }
                Ok(Delta::Reasoning(text)) => played.reasoning.push_str(&text),
                Ok(Delta::Usage(usage)) => played.usage = Some(usage),
                Ok(Delta::Finish(_)) => played.finishes += 1,
                Ok(_) => {}
                Err(error) => played.error = Some(error),
            }
        }
        assert_eq!(self.running.load(Relaxed), 0, "no upstream is left running");
        played.outcomes = answer.attempts().iter().map(outcome).collect::<Vec<_>>().join(" ");
        played.attempts = answer.attempts();
        played
    }
}

#[derive(Debug, Default)]
struct Played {
    text: String,
    reasoning: String,
    usage: Option<Usage>,
    finishes: usize,
    error: Option<RouteError>,
    outcomes: String,
    attempts: Vec<Attempt>,
}

fn outcome(attempt: &Attempt) -> &'static str {
    match &attempt.outcome {
        Outcome::Running => "running",
        Outcome::Answered(_) => "answered",
        Outcome::Failed(error) if error.kind == ErrorKind::Timeout => "late",
        Outcome::Failed(_) => "failed",
        Outcome::Outrun => "outrun",
        Outcome::Cancelled => "cancelled",
    }
}

const GOOD: &[Act] = &[Write(99), Finish];

/// Every way to fail that was seen of providers, before and after the first content.
const FAULTS: &[(&str, &[Act], &str)] = &[
    ("429", &[Refuse(ErrorKind::Overloaded, 429)], "failed"),
    ("500", &[Refuse(ErrorKind::Failed, 500)], "failed"),
    ("no connection", &[Refuse(ErrorKind::Closed, 0)], "failed"),
    ("wrong key", &[Refuse(ErrorKind::Unauthorized, 401)], "failed"),
    ("an error event first", &[Think, Refuse(ErrorKind::Failed, 0)], "failed"),
    ("slow first token", &[Sleep(6), Write(99), Finish], "late"),
    ("events without content", &[Think, Think, Sleep(6), Write(99), Finish], "late"),
    ("cut", &[Write(3), Refuse(ErrorKind::Closed, 0)], "failed"),
    ("in-band error", &[Write(3), Refuse(ErrorKind::Overloaded, 429)], "failed"),
    ("broken event", &[Write(3), Refuse(ErrorKind::Protocol, 0)], "failed"),
    ("stall", &[Write(3), Sleep(20), Write(99), Finish], "late"),
    ("cut after one", &[Write(1), Refuse(ErrorKind::Closed, 0)], "failed"),
    ("cut before the end", &[Write(99), Refuse(ErrorKind::Closed, 0)], "failed"),
];

#[tokio::test(start_paused = true)]
async fn every_fault_ends_in_the_full_answer() {
    for (name, acts, failed) in FAULTS {
        for habit in [Habit::Next, Habit::Obeys, Habit::Anew] {
            let played = Bench::new(&[(acts, habit), (GOOD, habit)]).play().await;
            assert_eq!((played.text.as_str(), played.finishes), (TEXT, 1), "{name}, {habit:?}");
            assert!(played.error.is_none() && played.reasoning.is_empty(), "{name}, {habit:?}: {played:?}");
            assert_eq!(played.outcomes, format!("{failed} answered"), "{name}, {habit:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn wherever_it_is_cut_the_answer_is_whole() {
    for tokens in 0..=TOKENS {
        let acts: &'static [Act] = vec![Write(tokens), Refuse(ErrorKind::Closed, 0)].leak();
        for habit in [Habit::Next, Habit::Obeys, Habit::Anew] {
            let played = Bench::new(&[(acts, habit), (GOOD, habit)]).play().await;
            assert_eq!((played.text.as_str(), played.finishes), (TEXT, 1), "{tokens}, {habit:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_survives_more_than_one_death() {
    let cut: &[Act] = &[Write(5), Refuse(ErrorKind::Closed, 0)];
    let slow: &[Act] = &[Hang];
    let played =
        Bench::new(&[(cut, Habit::Next), (cut, Habit::Next), (slow, Habit::Next), (cut, Habit::Obeys), (GOOD, Habit::Anew)]).play().await;
    assert_eq!((played.text.as_str(), played.outcomes.as_str()), (TEXT, "failed failed late failed answered"));
    let places: Vec<_> = played.attempts.iter().map(|attempt| attempt.resumed_at).collect();
    assert_eq!(places[..3], [None, Some(35), Some(69)]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_continued_honestly_ends_with_an_error() {
    let half_call: &[Act] = &[Write(2), Call, Refuse(ErrorKind::Closed, 0)];
    let signed: &[Act] = &[Think, Sign, Write(2), Refuse(ErrorKind::Closed, 0)];
    let filtered: &[Act] = &[Write(2), Refuse(ErrorKind::Refused, 0)];
    let cut: &[Act] = &[Write(12), Refuse(ErrorKind::Closed, 0)];
    for (name, acts, habit, outcomes) in [
        ("half a call", half_call, Habit::Next, "failed"),
        ("a signature", signed, Habit::Next, "failed"),
        ("a content filter", filtered, Habit::Next, "failed"),
        ("other words", cut, Habit::Other, "failed failed"),
    ] {
        let played = Bench::new(&[(acts, habit), (GOOD, habit)]).play().await;
        assert!(TEXT.starts_with(&played.text) && !played.text.is_empty() && played.finishes == 0, "{name}: {played:?}");
        assert_eq!((played.outcomes.as_str(), played.error.map(|error| error.code())), (outcomes, Some("upstream_interrupted")), "{name}");
    }
    // What one begins anew in other words, a third may go on with.
    let played = Bench::new(&[(cut, Habit::Next), (GOOD, Habit::Other), (GOOD, Habit::Obeys)]).play().await;
    assert_eq!((played.text.as_str(), played.outcomes.as_str()), (TEXT, "failed failed answered"));
    // It can be turned off.
    let mut off = Bench::new(&[(cut, Habit::Next), (GOOD, Habit::Next)]);
    off.limits.survive = false;
    assert_eq!(off.play().await.outcomes, "failed");
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_next_depends_on_the_failure() {
    const BAD: &[Act] = &[Refuse(ErrorKind::BadRequest, 400)];
    const FILTER: &[Act] = &[Refuse(ErrorKind::Refused, 403)];
    for (acts, outcomes, status) in [(BAD, "failed", 400), (FILTER, "failed", 403)] {
        let played = Bench::new(&[(acts, Habit::Next), (GOOD, Habit::Next)]).play().await;
        assert_eq!((played.outcomes.as_str(), played.error.map(|error| error.status())), (outcomes, Some(status)));
    }
    // A wrong key is wrong for all models of its provider.
    let mut bench = Bench::new(&[(&[Refuse(ErrorKind::Unauthorized, 401)], Habit::Next), (GOOD, Habit::Next), (GOOD, Habit::Next)]);
    bench.targets[1].id = "p0/other".to_owned();
    let played = bench.play().await;
    assert_eq!(played.attempts.iter().map(|attempt| attempt.target.as_str()).collect::<Vec<_>>(), ["p0/m", "p2/m"]);
    assert_eq!(played.attempts[0].status, Some(401));
    // Whoever does not take a trailing message is asked in words.
    let bench = Bench::new(&[(&[Write(5), Refuse(ErrorKind::Closed, 0)], Habit::Next), (BAD, Habit::Next)]);
    let played = bench.play().await;
    assert_eq!(played.outcomes, "failed failed failed");
    let asked: Vec<usize> = bench.asked.lock().expect("not poisoned").iter().map(|prompt| prompt.messages.len()).collect();
    assert_eq!(asked, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_kept_for_each_attempt_and_summed_for_the_caller() {
    let cut: &[Act] = &[Write(4), Refuse(ErrorKind::Closed, 0)];
    let played = Bench::new(&[(&[Wait(9)], Habit::Next), (cut, Habit::Next), (GOOD, Habit::Next)]).play().await;
    let usage: Vec<_> = played.attempts.iter().map(|attempt| attempt.usage).collect();
    let guessed = Usage { input_tokens: 6, output_tokens: 7, ..Usage::default() };
    let counted = Usage { input_tokens: 100, output_tokens: 11, ..Usage::default() };
    assert_eq!(usage, [None, Some(Counted::Estimated(guessed)), Some(Counted::Reported(counted))]);
    assert_eq!(played.usage, Some(attempt::sum(guessed, counted)));
    let costs: Vec<_> = played.attempts.iter().map(|attempt| attempt.cost).collect();
    let priced = |nano, estimated| Some(Priced { cost: Cost::from_nano_usd(nano), estimated });
    assert_eq!(costs, [None, priced(760, true), priced(2_100, false)]);
    // Nobody counted: the caller gets the estimate, the attempt says that it is one.
    let played = Bench::new(&[(&[Write(99), FinishUncounted], Habit::Next)]).play().await;
    assert_eq!(played.usage.map(|usage| usage.output_tokens), Some(26));
    assert!(matches!(played.attempts[0].usage, Some(Counted::Estimated(_))));
    // What failed before anything of it was released is no part of the answer; it was paid for all the same.
    let played = Bench::new(&[(&[Think, Hang], Habit::Next), (GOOD, Habit::Next)]).play().await;
    assert_eq!(played.usage.map(|usage| usage.input_tokens), Some(100));
    assert_eq!(played.attempts[0].cost, priced(160, true));
}

#[tokio::test(start_paused = true)]
async fn a_slow_target_gets_company_and_the_first_content_wins() {
    let (slow, quick): (&[Act], &[Act]) = (&[Think, Sleep(1), Write(99), Finish], GOOD);
    let broken: &[Act] = &[Refuse(ErrorKind::Failed, 500)];
    let cut: &[Act] = &[Sleep(1), Write(3), Refuse(ErrorKind::Closed, 0)];
    for (name, first, second, outcomes, seconds) in [
        ("the second is faster", slow, quick, "outrun answered", 0..1),
        ("the first is in time", quick, slow, "answered", 0..1),
        ("the second fails", slow, broken, "answered failed", 1..2),
        ("the first fails meanwhile", &[Sleep(1), Refuse(ErrorKind::Failed, 500)], slow, "failed answered", 1..3),
        ("the second is slow as well", slow, slow, "answered outrun", 1..2),
        ("both are too late", &[Hang], &[Hang], "late late", 2..3),
        ("the first is outrun, the second is cut", &[Hang], cut, "outrun failed", 1..3),
    ] {
        let mut bench = Bench::new(&[(first, Habit::Next), (second, Habit::Next)]);
        bench.limits.hedge = Some(Duration::from_millis(300));
        let begun = Instant::now();
        let played = bench.play().await;
        assert_eq!(played.outcomes, outcomes, "{name}");
        assert!(seconds.contains(&begun.elapsed().as_secs()), "{name}: {:?}", begun.elapsed());
        assert_eq!(played.text == TEXT, outcomes.contains("answered"), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn targets_that_are_ill_are_left_alone_unless_all_are() {
    let bench = Bench::new(&[(&[Wait(30)], Habit::Next), (GOOD, Habit::Next)]);
    assert_eq!(bench.play().await.outcomes, "failed answered");
    // It asked for half a minute.
    for _ in 0..3 {
        let played = bench.play().await;
        assert_eq!((played.outcomes.as_str(), played.attempts[0].target.as_str()), ("answered", "p1/m"));
    }
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(bench.play().await.outcomes, "failed answered", "one request is the probe");

    let all = Bench::new(&[(&[Wait(30)], Habit::Next), (&[Wait(20)], Habit::Next)]);
    for _ in 0..2 {
        let played = all.play().await;
        assert_eq!(played.outcomes, "failed failed");
        assert_eq!(played.error.and_then(|error| error.retry_after()), Some(Duration::from_secs(20)));
    }
    // An answer that breaks off is worth a question to one that is ill.
    let bench = Bench::new(&[(&[Write(3), Refuse(ErrorKind::Closed, 0)], Habit::Next), (GOOD, Habit::Next)]);
    let ill = Verdict::Ill { retry_after: Some(Duration::from_secs(9)) };
    bench.executor.health.report("p1/m", &ill, Instant::now().into_std());
    assert_eq!(bench.play().await.text, TEXT);
}

#[tokio::test(start_paused = true)]
async fn latency_and_throughput_are_learnt() {
    let bench = Bench::new(&[(GOOD, Habit::Next)]);
    bench.play().await;
    let condition = bench.executor.health.condition("p0/m", Instant::now().into_std());
    assert_eq!((condition.breaker, condition.first_content), (Breaker::Closed, Some(Duration::from_millis(10))));
    // 15 tokens in 14 steps of 10 ms.
    assert!((100.0..115.0).contains(&condition.tokens_per_second.unwrap_or_default()), "{condition:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_cancels_what_runs_at_once() {
    for (acts, hedge, reads, outcomes) in [
        (&[Write(3), Hang][..], None, 3, "cancelled"),
        (&[Think, Hang], None, 0, "cancelled"),
        (&[Hang], Some(Duration::from_millis(1)), 0, "cancelled cancelled"),
    ] {
        let mut bench = Bench::new(&[(acts, Habit::Next), (&[Hang], Habit::Next)]);
        bench.limits.hedge = hedge;
        let mut answer = bench.answer();
        for _ in 0..reads {
            assert!(answer.next().await.is_some_and(|item| item.is_ok()));
        }
        assert!(answer.next().now_or_never().is_none());
        tokio::time::advance(Duration::from_millis(5)).await;
        assert!(answer.next().now_or_never().is_none());
        assert!(bench.running.load(Relaxed) > 0);
        let log = answer.log();
        drop(answer);
        assert_eq!(bench.running.load(Relaxed), 0, "dropped with the answer, not later");
        assert_eq!(log.attempts().iter().map(outcome).collect::<Vec<_>>().join(" "), outcomes);
        assert!(log.attempts().iter().all(|attempt| attempt.cost.is_some()), "aborted attempts count");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_stops_at_the_finish_reason_has_the_whole_answer() {
    let bench = Bench::new(&[(&[Write(99), FinishUncounted, Hang], Habit::Next)]);
    let mut answer = bench.answer();
    while !matches!(answer.next().await, Some(Ok(Delta::Finish(_)))) {}
    let log = answer.log();
    drop(answer);
    assert_eq!(outcome(&log.attempts()[0]), "answered");
}

#[tokio::test(start_paused = true)]
async fn the_last_target_may_think_aloud() {
    let played = Bench::new(&[(&[Think, Think, Write(99), Finish], Habit::Next)]).play().await;
    assert_eq!((played.text.as_str(), played.reasoning.as_str()), (TEXT, "hm hm "));
    let thinking: &[Act] = &[Think, Write(3), Refuse(ErrorKind::Closed, 0)];
    let played = Bench::new(&[(thinking, Habit::Next), (&[Think, Write(99), Finish], Habit::Next)]).play().await;
    assert_eq!((played.text.as_str(), played.reasoning.as_str()), (TEXT, "hm "), "the second train of thought is not shown");
}

#[tokio::test(start_paused = true)]
async fn one_attempt_has_a_limit_in_all() {
    let mut bench = Bench::new(&[(&[Write(3), Sleep(2), Sleep(2), Sleep(2), Write(99), Finish], Habit::Next), (GOOD, Habit::Next)]);
    bench.limits.total = Duration::from_secs(5);
    let played = bench.play().await;
    assert_eq!((played.text.as_str(), played.outcomes.as_str()), (TEXT, "late answered"));
    let Outcome::Failed(error) = &played.attempts[0].outcome else { panic!("it failed") };
    assert_eq!(error.detail, "not done within 5s");
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_asked_for_in_one_piece_where_nobody_reads_along_or_could_take_over() {
    let slow: &[Act] = &[Sleep(130), Write(99), Finish];
    for (whole, usual, targets, asked_whole) in
        [(true, true, 1, true), (true, true, 2, false), (true, false, 1, false), (false, true, 1, false)]
    {
        let mut bench = Bench::new(&vec![(slow, Habit::Next); targets]);
        (bench.whole, bench.limits) = (whole, if usual { Limits::default() } else { bench.limits });
        let played = bench.play().await;
        let asked: Vec<bool> = bench.asked.lock().expect("not poisoned").iter().map(|prompt| prompt.whole).collect();
        assert_eq!(asked, vec![asked_whole; targets], "{whole} {usual} {targets}");
        // What comes in one piece is late only where the whole is, and says nothing of the first token.
        assert_eq!(played.error.is_none(), asked_whole);
        assert!(played.attempts.iter().all(|attempt| attempt.first_token.is_none()), "{:?}", played.attempts);
    }
}
