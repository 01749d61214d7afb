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

/// Asks for every fault in one dialect; the answers are as `expected` says of the fault and of whether it is streamed.
async fn check(dialect: Dialect, expected: impl Fn(&str, bool) -> Got) {
    let upstream = Upstream::start().await.expect("the providers start");
    let running = served(&upstream).await;
    for (fault, name) in FAULTS {
        for stream in [true, false] {
            let asked = faults::ask(running.address, KEY, dialect, &format!("timbre/{fault}"), stream).await;
            let (got, _) = asked.expect("an answer");
            assert_eq!(got, expected(fault, stream), "{}: {name}, stream {stream}", dialect.path());
        }
    }
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_outlives_its_providers() {
    check(Dialect::Chat, |fault, stream| match (fault, stream) {
        // After the first word of an answer its failure is told, with the words that came before it and without an end.
        ("cut3" | "inband3" | "broken3" | "stall3", true) => Got::Error { status: 200, tokens: 3 },
        ("stall3", false) => Got::Error { status: 504, tokens: 0 },
        ("cut3" | "inband3" | "broken3", false) => Got::Error { status: 502, tokens: 0 },
        _ => Got::Full,
    })
    .await;
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
