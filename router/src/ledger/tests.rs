//! The queue, and the time that admission takes.

use std::time::Instant;

use futures::FutureExt;

use super::*;
use crate::Cost;
use crate::limit::{Allowance, Limit, Meter, Window};

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn at_once(at_once: usize, queue: usize) -> Policy {
    let concurrency = Some(Concurrency { at_once, queue, wait: Duration::from_secs(2) });
    let limits = vec![Limit { meter: Meter::Requests, window: Window::Minute, most: 10 }];
    Policy { key: Allowance { limits, concurrency }, ..Policy::default() }
}

fn left(ledger: &Ledger) -> Option<u64> {
    let mut standings = Standings::default();
    let entered = ledger.lock().enter(NOW, Subject::Key(KeyId::ANYBODY), Use::default(), &mut standings);
    assert!(entered.is_ok());
    standings.requests.map(|standing| standing.left)
}

#[tokio::test(start_paused = true)]
async fn one_more_waits_and_another_is_refused() {
    let ledger = Ledger::new(at_once(1, 1));
    let first = ledger.admit(NOW, KeyId::ANYBODY).await.expect("there is a place");
    let mut second = Box::pin(ledger.admit(NOW, KeyId::ANYBODY));
    assert!(second.as_mut().now_or_never().is_none(), "it waits");
    let refusal = ledger.admit(NOW, KeyId::ANYBODY).await.expect_err("the queue is full");
    assert!(matches!(refusal.reason, Reason::QueueFull(_)) && refusal.retry_after.is_some());
    drop(first);
    let second = second.await.expect("its turn has come");
    // Who waits in vain is refused, and has used nothing.
    let refusal = ledger.admit(NOW, KeyId::ANYBODY).await.expect_err("nobody ends");
    assert!(matches!(refusal.reason, Reason::Waited(_)));
    assert_eq!(left(&ledger), Some(8));
    drop(second);
    assert!(ledger.admit(NOW, KeyId::ANYBODY).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_while_waiting_leaves_nothing() {
    let ledger = Ledger::new(at_once(1, 1));
    let first = ledger.admit(NOW, KeyId::ANYBODY).await.expect("there is a place");
    for _ in 0..5 {
        let mut waiting = Box::pin(ledger.admit(NOW, KeyId::ANYBODY));
        assert!(waiting.as_mut().now_or_never().is_none());
    }
    assert_eq!(left(&ledger), Some(9));
    drop(first);
    assert!(ledger.admit(NOW, KeyId::ANYBODY).now_or_never().is_some_and(|permit| permit.is_ok()));
}

#[tokio::test]
async fn a_user_without_room_costs_the_key_nothing() {
    let tokens = |most| vec![Limit { meter: Meter::Tokens, window: Window::Day, most }];
    let key = Allowance { limits: tokens(1_000), concurrency: None };
    let user = Allowance { limits: tokens(100), concurrency: None };
    let ledger = Ledger::new(Policy { key, user, ..Policy::default() });
    let use_of = |tokens| Use { requests: 1, tokens, cost: Cost::ZERO };
    let mut permit = ledger.admit(NOW, KeyId::ANYBODY).await.expect("there is room");
    let refusal = permit.reserve(NOW, Some("ann"), use_of(200)).await.expect_err("too much for a user");
    assert_eq!((matches!(refusal.subject, Subject::User(..)), refusal.retry_after), (true, None));
    permit.reserve(NOW, Some("ann"), use_of(80)).await.expect("there is room");
    assert_eq!(permit.standings().tokens.map(|standing| standing.left), Some(20));
    permit.settle(NOW, use_of(30));
    permit.settle(NOW, use_of(30));
    let mut permit = ledger.admit(NOW, KeyId::ANYBODY).await.expect("there is room");
    permit.reserve(NOW, Some("bob"), use_of(1)).await.expect("another user");
    assert_eq!(permit.standings().tokens.map(|standing| standing.left), Some(99));
    // What is never settled stays: 30 + 1 of the key's thousand.
    drop(permit);
    let mut permit = ledger.admit(NOW, KeyId::ANYBODY).await.expect("there is room");
    permit.reserve(NOW, None, use_of(0)).await.expect("there is room");
    assert_eq!(permit.standings().tokens.map(|standing| standing.left), Some(969));
    // Settling what was never reserved counts as well.
    let mut permit = ledger.admit(NOW, KeyId::ANYBODY).await.expect("there is room");
    permit.settle(NOW, use_of(69));
    let permit = ledger.admit(NOW, KeyId::ANYBODY).await.expect("there is room");
    assert_eq!(permit.standings().tokens.map(|standing| standing.left), Some(900));
}

/// Time that this thread has run: on a machine that does other things as well, the clock on the wall tells nothing.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

/// Printed, not judged: run with `--nocapture`.
#[tokio::test]
async fn the_time_of_an_admission_is_printed() {
    const ROUNDS: u32 = 200_000;
    let limits = |most| {
        [Meter::Requests, Meter::Tokens, Meter::Money]
            .into_iter()
            .flat_map(|meter| [Window::Minute, Window::Day].map(|window| Limit { meter, window, most }))
            .collect()
    };
    let concurrency = Some(Concurrency { at_once: 64, queue: 64, wait: Duration::from_secs(1) });
    let allowance = Allowance { limits: limits(u64::MAX), concurrency };
    let ledger = Ledger::new(Policy { key: allowance.clone(), user: allowance, ..Policy::default() });
    let used = Use { requests: 1, tokens: 500, cost: Cost::from_nano_usd(1_000) };
    let (began, busy) = (Instant::now(), on_cpu());
    for _ in 0..ROUNDS {
        let mut permit = ledger.admit(NOW, KeyId::ANYBODY).await.expect("no limit is near");
        permit.reserve(NOW, Some("ann"), used).await.expect("no limit is near");
        permit.settle(NOW, used);
    }
    let one = (on_cpu() - busy).max(Duration::from_nanos(1)).min(began.elapsed()) / ROUNDS;
    let resident = || -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or(0)
    };
    let before = resident();
    for n in 0..ROUNDS {
        let mut permit = ledger.admit(NOW, KeyId::ANYBODY).await.expect("no limit is near");
        permit.reserve(NOW, Some(&n.to_string()), used).await.expect("no limit is near");
    }
    let kb = resident().saturating_sub(before);
    eprintln!("ledger: admit, reserve and settle with 12 limits {one:?}; {ROUNDS} users: {} accounts, {kb} KB", ledger.accounts());
    assert!(ledger.accounts() <= 40_001 + 1);
}
