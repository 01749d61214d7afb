//! openai-python's realtime client and aiortc hold conversations with the whole server, real models and recorded speech.

use std::path::{Path, PathBuf};

use models::Weights;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn openai_python_holds_a_conversation() {
    judge("test_realtime.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aiortc_holds_a_conversation_over_webrtc() {
    judge("test_webrtc.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aiortc_calls_over_bad_networks() {
    judge("test_networks.py").await;
}

/// A secret that the server shares with the TURN server of a test.
const TURN_SECRET: &str = "between us";
const TURN: &str = "[webrtc]\nturn = [\"turn:127.0.0.1:3478?transport=udp\"]\nturn_secret_env = \"TURN_SECRET\"\n";

/// Runs a suite of `tests/sdk` against a server of its own.
async fn judge(file: &str) {
    let Some(python) = std::env::var_os("TIMBRE_SDK_PYTHON") else {
        eprintln!("skipped: TIMBRE_SDK_PYTHON names no Python with openai and pytest");
        return;
    };
    let recording: PathBuf = match Weights::new(Weights::default_folder()).file("moonshine-tiny-en", "beckett.wav") {
        Ok(recording) => recording,
        Err(missing) => {
            eprintln!("skipped: {missing}");
            return;
        }
    };
    let environment = [("TIMBRE_SERVER__LISTEN", "127.0.0.1:0"), ("TURN_SECRET", TURN_SECRET)];
    let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config =
        timbre::config::read(TURN, "the test", &environment).and_then(|written| written.check(&environment)).expect("the default is fine");
    let running = timbre::serve::serve(config).await.expect("the server starts");
    let mut suite = Command::new(python);
    suite
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", file])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk"))
        .env("TIMBRE_REALTIME_URL", format!("http://{}/v1", running.address))
        .env("TIMBRE_RECORDING", recording)
        .env("TIMBRE_TURN_SECRET", TURN_SECRET)
        .kill_on_drop(true);
    let output = suite.output().await.expect("the suite starts");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    running.stop();
}
