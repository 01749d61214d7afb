//! A short word of the assistant's while its answer is late, or while it calls a function: silence on a line sounds like a fault.
//!
//! It is part of the answer, in its sound and in its words, so that the conversation keeps what was really said.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use models::{Delta, Language};
use router::RouteError;
use tokio::time::{Instant, Sleep, sleep_until};
use web::call::Filler;

/// When one was last said in a call.
#[derive(Clone, Default)]
pub(super) struct LastSaid(Arc<Mutex<Option<Instant>>>);

impl LastSaid {
    /// Whether another may be said `gap` after it; if so, it is said now.
    fn again(&self, gap: Duration) -> bool {
        let (now, mut last) = (Instant::now(), self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let may = last.is_none_or(|last| now.duration_since(last) >= gap);
        if may {
            *last = Some(now);
        }
        may
    }
}

type Deltas = BoxStream<'static, Result<Delta, RouteError>>;

/// What is said in a language; in English where nothing better is known.
pub(super) fn words(language: Option<Language>) -> &'static str {
    match language.as_ref().map(Language::code) {
        Some("de") => "Einen Moment bitte.",
        Some("fr") => "Un instant, s'il vous plaît.",
        Some("es") => "Un momento, por favor.",
        Some("it") => "Un momento, per favore.",
        Some("pt") => "Um momento, por favor.",
        Some("nl") => "Een ogenblik, alstublieft.",
        Some("pl") => "Chwileczkę.",
        Some("ja") => "少々お待ちください。",
        Some("zh") => "请稍等。",
        _ => "One moment, please.",
    }
}

struct Bridge {
    deltas: Deltas,
    /// What is to be said, until it was or is not needed any more.
    text: Option<String>,
    timer: std::pin::Pin<Box<Sleep>>,
    last: LastSaid,
    gap: Duration,
    /// What came and waits behind the filler.
    next: Option<Result<Delta, RouteError>>,
}

/// `answer` with `text` in front, if its first word takes too long, or if it calls a function before it says anything; unless one was said
/// just before.
pub(super) fn bridged(answer: Deltas, text: &str, filler: &Filler, last: LastSaid) -> Deltas {
    let timer = Box::pin(sleep_until(Instant::now() + filler.wait));
    let bridge = Bridge { deltas: answer, text: Some(format!("{text} ")), timer, last, gap: filler.gap, next: None };
    stream::unfold(bridge, |mut bridge| async move {
        if let Some(next) = bridge.next.take() {
            return Some((next, bridge));
        }
        let Some(text) = bridge.text.take() else { return bridge.deltas.next().await.map(|delta| (delta, bridge)) };
        let delta = tokio::select! {
            biased;
            delta = bridge.deltas.next() => delta,
            () = &mut bridge.timer => match bridge.last.again(bridge.gap) {
                true => return Some((Ok(Delta::Text(text)), bridge)),
                false => bridge.deltas.next().await,
            },
        };
        match delta {
            // Thoughts and numbers are not heard.
            Some(Ok(Delta::ToolCall { .. })) if bridge.last.again(bridge.gap) => {
                bridge.next = delta;
                Some((Ok(Delta::Text(text)), bridge))
            }
            Some(Ok(Delta::Text(_) | Delta::ToolCall { .. }) | Err(_)) => delta.map(|delta| (delta, bridge)),
            Some(Ok(quiet)) => {
                bridge.text = Some(text);
                Some((Ok(quiet), bridge))
            }
            None => None,
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(last: &LastSaid, wait_ms: u64, deltas: Vec<Delta>, expected: &str) {
        let answer = stream::iter(deltas).then(move |delta| async move {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            Ok(delta)
        });
        let filler = Filler { wait: Duration::from_millis(500), gap: Duration::from_secs(8), text: None };
        let told = bridged(answer.boxed(), "Wait.", &filler, last.clone());
        let told: Vec<String> = told
            .map(|delta| match delta.expect("no errors") {
                Delta::Text(text) => text,
                Delta::ToolCall { .. } => "call".to_owned(),
                _ => "-".to_owned(),
            })
            .collect()
            .await;
        assert_eq!(told.join("|"), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn something_is_said_where_the_answer_is_late_or_calls_a_function() {
        let text = |text: &str| Delta::Text(text.to_owned());
        let call = || Delta::ToolCall { index: 0, id: None, name: None, arguments: String::new(), extra: serde_json::Map::new() };
        let never = LastSaid::default;
        check(&never(), 100, vec![text("Hello"), text(" you")], "Hello| you").await;
        check(&never(), 900, vec![text("Hello"), text(" you")], "Wait. |Hello| you").await;
        check(&never(), 100, vec![call()], "Wait. |call").await;
        check(&never(), 100, vec![text("Hm."), call()], "Hm.|call").await;
        check(&never(), 400, vec![Delta::Reasoning("hm".to_owned()), text("Hello")], "-|Wait. |Hello").await;
        check(&never(), 100, vec![], "").await;
        let last = never();
        check(&last, 100, vec![text("Hello")], "Hello").await;
        check(&last, 900, vec![text("Hello")], "Wait. |Hello").await;
        check(&last, 900, vec![text("Again")], "Again").await;
        check(&last, 100, vec![call()], "call").await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        check(&last, 100, vec![call()], "Wait. |call").await;
    }
}
