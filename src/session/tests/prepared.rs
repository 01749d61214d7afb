//! Answers that are begun in a pause.

use router::Preparation;

use super::*;

#[tokio::test(start_paused = true)]
async fn an_answer_begun_in_the_pause_is_there_when_the_turn_is_over() {
    let mut client = Client::call(TURNS);
    client.sound(0.5, 1_000).await;
    client.sound(0.0, 1_000).await;
    assert_eq!(client.done().await, Ending::Whole);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let records = client.records.lock().expect("no test panics with it").clone();
    let prepared: Vec<_> = records.iter().map(|record| record.prepared).collect();
    // Half a second of silence ends the turn; the words are asked for after two fifths of it.
    assert!(matches!(prepared[..], [Some(Preparation::Taken { ahead_ms: 250..=350 })]), "{prepared:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_begun_in_a_pause_that_was_none_is_thrown_away_unheard() {
    let limit = Limit { meter: Meter::Requests, window: Window::Minute, most: 1 };
    let policy = Policy { key: Allowance { limits: vec![limit], concurrency: None }, ..Policy::default() };
    let mut client = Client::limited(Attention::Idle, TURNS, policy);
    client.sound(0.5, 500).await;
    client.sound(0.0, 400).await;
    client.sound(0.5, 500).await;
    client.sound(0.0, 1_000).await;
    assert_eq!(client.done().await, Ending::Whole);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let answers = client.told.iter().filter(|event| matches!(event, Event::ResponseCreated(_))).count();
    assert_eq!(answers, 1, "nobody is told of what was thrown away");
    let records = client.records.lock().expect("no test panics with it").clone();
    let [thrown_away, taken] = &records[..] else { panic!("{records:?}") };
    assert_eq!((thrown_away.prepared, thrown_away.status), (Some(Preparation::ThrownAway), 499));
    assert!(thrown_away.cost_nano_usd > Some(0), "what it cost is known: {thrown_away:?}");
    assert!(matches!(taken.prepared, Some(Preparation::Taken { .. })), "it took no request from the only one a minute");
    assert_eq!(taken.attempts.len(), 3, "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_prepared_where_the_session_does_not_want_it() {
    let mut client = Client::call(TURNS);
    client.send(Command::Update(Box::new(SessionConfig { prepare: false, ..config(TURNS) }))).await;
    client.sound(0.5, 1_000).await;
    client.sound(0.0, 1_000).await;
    assert_eq!(client.done().await, Ending::Whole);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let records = client.records.lock().expect("no test panics with it").clone();
    assert!(matches!(&records[..], [record] if record.prepared.is_none()), "{records:?}");
}
