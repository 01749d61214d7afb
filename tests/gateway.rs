//! Providers that fail, behind the whole server: what a caller gets in each case, over real sockets.

use std::time::Duration;

use timbre::bench::gateway::faults::{self, Dialect, FAULTS, Got};
use timbre::bench::gateway::keys;
use timbre::bench::upstream::Upstream;
use timbre::serve::Running;

/// How long a target may be silent here.
const PATIENCE: Duration = Duration::from_millis(150);
/// The callers' key in that configuration.
const KEY: &str = "sk-bench-0123456789abcdef";

async fn served(upstream: &Upstream) -> Running {
    let environment = [("TIMBRE_SERVER__LISTEN".to_owned(), "127.0.0.1:0".to_owned())];
    let config =
        timbre::config::read(&keys(upstream.addr, PATIENCE), "bench", &environment).and_then(|written| written.check(&environment));
    timbre::serve::serve(config.expect("a valid configuration")).await.expect("the server starts")
}

/// Asks for every fault in one dialect: whatever befalls the first provider, the caller gets the whole answer.
async fn check(dialect: Dialect) {
    let upstream = Upstream::start().await.expect("the providers start");
    let running = served(&upstream).await;
    for (fault, name) in FAULTS {
        for stream in [true, false] {
            let asked = faults::ask(running.address, KEY, dialect, &format!("timbre/{fault}"), stream).await;
            let (got, _) = asked.expect("an answer");
            assert_eq!(got, Got::Full, "{}: {name}, stream {stream}", dialect.path());
        }
    }
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_outlive_their_providers_in_every_dialect() {
    for dialect in Dialect::ALL {
        check(dialect).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_voice_says_so() {
    let upstream = Upstream::start().await.expect("the providers start");
    let running = served(&upstream).await;
    for (path, body) in [("/v1/audio/speech", serde_json::json!({"model": "tts-1", "input": "Hello.", "voice": "alloy"}))] {
        let (status, answer) = faults::post(running.address, path, KEY, &body).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(status == 501 && answer.contains("voice.synthesizer"), "{status}: {answer}");
    }
    running.stop();
}
