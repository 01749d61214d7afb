//! The end of the server, as calls see it: they may go on for a while, then each says goodbye.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Tells calls when the server stops, and knows when all of them have ended.
#[derive(Clone, Debug, Default)]
pub struct Stopping {
    by: Arc<watch::Sender<Option<Instant>>>,
}

/// What a call holds as long as it lasts.
pub(crate) struct Stop {
    by: watch::Receiver<Option<Instant>>,
}

impl Stopping {
    /// No new calls; those in progress may go on until then.
    pub fn begin(&self, until: Instant) {
        self.by.send_replace(Some(until));
    }

    /// Waits until no call is left.
    pub async fn calls_ended(&self) {
        self.by.closed().await;
    }

    /// For one more call, unless the server stops.
    pub(crate) fn call(&self) -> Option<Stop> {
        let by = self.by.subscribe();
        let stops = by.borrow().is_some();
        (!stops).then_some(Stop { by })
    }
}

impl Stop {
    /// Waits until the call has to end. Cancel-safe.
    pub(crate) async fn due(&mut self) {
        // Where nobody is left to say so, the server goes on for as long as the call does.
        let Ok(until) = self.by.wait_for(Option::is_some).await.map(|until| *until) else {
            return std::future::pending().await;
        };
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn calls_go_on_until_the_deadline() {
        let stopping = Stopping::default();
        let mut call = stopping.call().expect("the server goes on");
        tokio::time::timeout(Duration::from_secs(3_600), call.due()).await.expect_err("nothing stops");
        let until = Instant::now() + Duration::from_secs(30);
        stopping.begin(until);
        assert!(stopping.call().is_none());
        call.due().await;
        assert!(Instant::now() >= until);
        tokio::time::timeout(Duration::from_secs(1), stopping.calls_ended()).await.expect_err("the call is still there");
        drop(call);
        stopping.calls_ended().await;
    }
}
