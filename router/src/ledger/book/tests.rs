//! Scripts of requests, and what must hold for any.

use proptest::prelude::*;

use super::*;
use crate::Cost;
use crate::limit::{Concurrency, Meter};

const NOON: u64 = 1_800_000_000_000 / 86_400_000 * 86_400_000 + 43_200_000;

fn limit(meter: Meter, window: Window, most: u64) -> Limit {
    Limit { meter, window, most }
}

fn book(limits: &[Limit]) -> Book {
    Book::new(Policy { key: Allowance { limits: limits.to_vec(), concurrency: None }, ..Policy::default() })
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(NOON + ms)
}

const KEY: Subject = Subject::Key(KeyId::ANYBODY);

fn tokens(tokens: u64) -> Use {
    Use { requests: 1, tokens, cost: Cost::ZERO }
}

fn enter(book: &mut Book, ms: u64, estimate: Use) -> Result<Receipt, Refusal> {
    book.enter(at(ms), KEY, estimate, &mut Standings::default()).map(|(receipt, _)| receipt)
}

/// Runs lines such as `0 ask 10`, `5 ask 10 wait 55`, `9 ask 200 never`: ms after noon, tokens asked for, and when it is refused for how
/// many ms.
fn check(limits: &[Limit], script: &str) {
    let mut book = book(limits);
    for line in script.lines().map(str::trim) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap_or_else(|_| panic!("{line}"));
        let outcome = enter(&mut book, number(0), tokens(number(2))).map(|_| ()).map_err(|refusal| refusal.retry_after);
        let expected = match words.get(3) {
            None => Ok(()),
            Some(&"never") => Err(None),
            Some(_) => Err(Some(Duration::from_millis(number(4)))),
        };
        assert_eq!(outcome, expected, "{line}");
    }
}

#[test]
fn a_window_fills_and_fades() {
    check(
        &[limit(Meter::Tokens, Window::Minute, 100)],
        "0 ask 60
         1000 ask 40
         1000 ask 1 wait 59600
         1000 ask 101 never
         60599 ask 1 wait 1
         60600 ask 1
         90000 ask 49
         90000 ask 1 wait 600
         120000 ask 50",
    );
}

#[test]
fn every_limit_must_have_room_and_the_longest_wait_is_told() {
    check(
        &[limit(Meter::Requests, Window::Minute, 2), limit(Meter::Tokens, Window::Hour, 100)],
        "0 ask 90
         0 ask 20 wait 4000000
         0 ask 10
         0 ask 0 wait 90000
         0 ask 1 wait 3636000",
    );
}

#[test]
fn money_is_counted_as_tokens_are() {
    let mut book = book(&[limit(Meter::Money, Window::Day, 5_000_000_000)]);
    let dollars = |usd: u64| Use { cost: Cost::from_nano_usd(usd * 1_000_000_000), ..Use::REQUEST };
    assert!(enter(&mut book, 0, dollars(4)).is_ok());
    let refusal = enter(&mut book, 0, dollars(2)).err().expect("it is too much");
    // Half the day is left; then half of the four must fade.
    assert_eq!((refusal.code(), refusal.retry_after), ("insufficient_quota", Some(Duration::from_secs(43_200 + 21_600))));
}

#[test]
fn the_truth_takes_the_place_of_the_estimate() {
    let left = |book: &mut Book, ms| {
        let mut standings = Standings::default();
        // Refused where more was used than there was: then it is nothing that is left.
        let _ = book.enter(at(ms), KEY, Use::default(), &mut standings);
        standings.tokens.map(|standing| standing.left)
    };
    let one = || {
        let mut book = book(&[limit(Meter::Tokens, Window::Minute, 100)]);
        let receipt = enter(&mut book, 0, tokens(50)).expect("there is room");
        (book, receipt)
    };
    let (mut less, receipt) = one();
    less.settle(at(1), &receipt, tokens(20));
    assert_eq!(left(&mut less, 1), Some(80));
    let (mut more, receipt) = one();
    more.settle(at(1), &receipt, tokens(130));
    assert_eq!(left(&mut more, 1), Some(0));
    // In the next window: what was reserved in vain is given back to the last one.
    let (mut late, receipt) = one();
    late.settle(at(60_000), &receipt, tokens(20));
    assert_eq!(left(&mut late, 60_000), Some(80));
    // And after that there is nothing to give back, but more is more.
    let (mut later, receipt) = one();
    later.settle(at(120_000), &receipt, tokens(20));
    assert_eq!(left(&mut later, 120_000), Some(100));
    let (mut later, receipt) = one();
    later.settle(at(120_000), &receipt, tokens(70));
    assert_eq!(left(&mut later, 120_000), Some(80));
    let (mut none, receipt) = one();
    none.cancel(at(1), &receipt);
    assert_eq!(left(&mut none, 1), Some(100));
}

#[test]
fn standings_tell_what_is_left_and_when_all_is() {
    let mut book = book(&[limit(Meter::Requests, Window::Minute, 10)]);
    let mut standings = Standings::default();
    assert!(book.enter(at(15_000), KEY, Use::REQUEST, &mut standings).is_ok());
    assert_eq!(standings.requests, Some(Standing { most: 10, left: 9, reset: Duration::from_secs(105) }));
    assert_eq!(standings.tokens, None);
}

#[test]
fn users_are_apart_and_the_idle_are_forgotten() {
    let allowance = Allowance { limits: vec![limit(Meter::Requests, Window::Minute, 1)], concurrency: None };
    let mut book = Book { generation: 10, ..Book::new(Policy { user: allowance, ..Policy::default() }) };
    let user = |n: u64| Subject::User(KeyId::ANYBODY, UserId::of(&n.to_string()));
    let ask = |book: &mut Book, ms, n| book.enter(at(ms), user(n), Use::REQUEST, &mut Standings::default()).is_ok();
    assert!(ask(&mut book, 0, 0) && !ask(&mut book, 0, 0) && ask(&mut book, 0, 1));
    for n in 2..1_000 {
        assert!(ask(&mut book, 0, n));
        // Who is heard of again and again is not forgotten.
        assert!(!ask(&mut book, 0, 0));
        assert!(book.accounts() <= 20);
    }
    assert!(ask(&mut book, 0, 1), "forgotten");
    for _ in 0..2 {
        book.turn_generation(NOON + 240_000);
        book.began = 0;
    }
    assert_eq!(book.accounts(), 0, "after two windows nothing counts any more");
}

#[test]
fn a_user_at_work_is_not_forgotten() {
    let concurrency = Some(Concurrency { at_once: 1, queue: 0, wait: Duration::ZERO });
    let policy = Policy { user: Allowance { limits: Vec::new(), concurrency }, ..Policy::default() };
    let mut book = Book { generation: 2, ..Book::new(policy) };
    let user = |n: u64| Subject::User(KeyId::ANYBODY, UserId::of(&n.to_string()));
    let slots =
        |book: &mut Book, n| book.enter(at(0), user(n), Use::REQUEST, &mut Standings::default()).expect("no limit").1.expect("a cap");
    let working = slots(&mut book, 0);
    for n in 1..100 {
        drop(slots(&mut book, n));
    }
    assert!(Arc::ptr_eq(&working, &slots(&mut book, 0)) && book.accounts() <= 6);
}

proptest! {
    #[test]
    fn who_waits_as_told_is_admitted_and_not_a_moment_before(
        most in 1..1_000_000_000_000_u64,
        asks in prop::collection::vec((0..100_000_u64, 0..1_000_000_000_000_u64), 1..40),
    ) {
        let mut book = book(&[limit(Meter::Tokens, Window::Minute, most)]);
        let mut now = 0;
        for (later, needs) in asks {
            now += later;
            match enter(&mut book, now, tokens(needs)) {
                Ok(_) => {}
                Err(Refusal { retry_after: None, .. }) => prop_assert!(needs > most),
                Err(Refusal { retry_after: Some(wait), .. }) => {
                    let wait = wait.as_millis() as u64;
                    prop_assert!(needs <= most && (1..=120_000).contains(&wait));
                    prop_assert!(enter(&mut book, now + wait - 1, tokens(needs)).is_err());
                    now += wait;
                    prop_assert!(enter(&mut book, now, tokens(needs)).is_ok());
                }
            }
        }
    }

    #[test]
    fn no_window_exceeds_its_limit(
        most in 1..10_000_u64,
        asks in prop::collection::vec((0..30_000_u64, 1..5_000_u64), 1..200),
    ) {
        let mut book = book(&[limit(Meter::Tokens, Window::Minute, most)]);
        let (mut now, mut used) = (0, HashMap::<u64, u64>::new());
        for (later, needs) in asks {
            now += later;
            if enter(&mut book, now, tokens(needs)).is_ok() {
                *used.entry(now / 60_000).or_default() += needs;
            }
        }
        prop_assert!(used.values().all(|used| *used <= most));
    }

    #[test]
    fn no_clock_and_no_count_breaks_it(script in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 1..50), most in any::<u64>()) {
        let mut book = book(&[limit(Meter::Tokens, Window::Minute, most), limit(Meter::Tokens, Window::Day, most)]);
        for (ms, needs, used) in script {
            let now = Duration::from_millis(ms);
            if let Ok((receipt, _)) = book.enter(now, KEY, tokens(needs), &mut Standings::default()) {
                book.settle(Duration::from_millis(ms.rotate_left(7)), &receipt, tokens(used));
            }
        }
    }
}
