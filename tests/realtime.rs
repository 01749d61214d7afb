//! OpenAI's SDKs and frameworks written for its realtime API hold conversations with the whole server, real models and recorded speech.

#[allow(unreachable_pub, dead_code, unused_imports)]
mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use models::Weights;
use serde_json::json;
use support::{Asked, Provider, Server, Step};
use tokio::process::Command;
use tokio::sync::Mutex;

/// A conversation takes the whole machine: one after the other.
static MACHINE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn openai_python_holds_a_conversation() {
    python("test_realtime.py", "beckett.wav", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aiortc_holds_a_conversation_over_webrtc() {
    python("test_webrtc.py", "beckett.wav", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_python_controls_a_call_beside_its_caller() {
    python("test_control.py", "beckett.wav", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_for_openais_api_hold_conversations_with_tools_and_interruptions() {
    let provider = Provider::start(agent).await;
    let config = of(&provider, "");
    python("test_agents.py", "two_cities.wav", &config).await;
    judge(Command::new("node").args(["--test", "agents.test.mjs"]), "two_cities.wav", &config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_agents_sdk_holds_a_call_in_a_browser() {
    if !suites().join("../browser/node_modules/playwright-core").is_dir() {
        eprintln!("skipped: tests/browser/node_modules is missing; run `npm install` there");
        return;
    }
    let provider = Provider::start(agent).await;
    let config = of(&provider, &format!("[auth]\nkeys = [\"{KEY}\"]\n"));
    judge(Command::new("node").args(["--test", "browser.test.mjs"]), "two_cities.wav", &config).await;
}

/// A server whose language model is this one.
fn of(provider: &Provider, more: &str) -> String {
    format!(
        "default_model = \"mock/agent\"\n{more}[[provider]]\nname = \"mock\"\nbase_url = \"http://{}/v1\"\nmodels = [\"agent\"]\n",
        provider.address
    )
}

/// A language model that greets whoever has said nothing, calls the tool it is offered, says what the tool said, then tells long stories.
fn agent(asked: &Asked) -> Vec<Step> {
    let empty = Vec::new();
    let messages = asked.body["messages"].as_array().unwrap_or(&empty);
    let last = messages.last().map(|message| message["role"].clone()).unwrap_or_default();
    let is_from = |role: &str| messages.iter().any(|message| message["role"] == role);
    let story: String = (1..15).map(|number| format!("This is sentence number {number} of a long story about the sea. ")).collect();
    let function = asked.body["tools"][0]["function"]["name"].clone();
    let (delta, finish) = if !is_from("user") {
        (json!({ "content": "Hello." }), "stop")
    } else if last == "tool" {
        (json!({ "content": "It is sunny in Paris." }), "stop")
    } else if function.is_string() && !is_from("tool") {
        let call = json!({ "name": function, "arguments": "{\"city\":\"Paris\"}" });
        (json!({ "tool_calls": [{ "index": 0, "id": "call_1", "type": "function", "function": call }] }), "tool_calls")
    } else {
        (json!({ "content": story }), "stop")
    };
    let chunk = |delta: serde_json::Value, finish: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        format!("data: {}\n\n", json!({ "id": "c", "object": "chat.completion.chunk", "model": "agent", "choices": [choice] }))
    };
    let body = [chunk(delta, None), chunk(json!({}), Some(finish)), "data: [DONE]\n\n".to_owned()].concat();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n", body.len());
    vec![Step::Write((head + &body).into_bytes())]
}

fn suites() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// Runs a Python suite of `tests/sdk`.
async fn python(file: &str, recording: &str, config: &str) {
    let Some(python) = std::env::var_os("TIMBRE_SDK_PYTHON") else {
        eprintln!("skipped: TIMBRE_SDK_PYTHON names no Python with the SDKs and pytest");
        return;
    };
    judge(Command::new(python).args(["-m", "pytest", "-q", "-p", "no:cacheprovider", file]), recording, config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aiortc_calls_over_bad_networks() {
    python("test_networks.py", "beckett.wav", TURN).await;
}

/// What the server asks for, where its configuration says so.
const KEY: &str = "sk-judge";
/// A secret that the server shares with the TURN server of a test.
const TURN_SECRET: &str = "between us";
const TURN: &str = "[webrtc]\nturn = [\"turn:127.0.0.1:3478?transport=udp\"]\nturn_secret_env = \"TURN_SECRET\"\n";

/// Runs a suite of `tests/sdk` against a server of its own.
async fn judge(suite: &mut Command, recording: &str, config: &str) {
    if std::env::var_os("TIMBRE_SDK_PYTHON").is_none() {
        eprintln!("skipped: without TIMBRE_SDK_PYTHON the SDKs were not set up");
        return;
    }
    let recording: PathBuf = match Weights::new(Weights::default_folder()).file("moonshine-tiny-en", recording) {
        Ok(recording) => recording,
        Err(missing) => {
            eprintln!("skipped: {missing}");
            return;
        }
    };
    let _machine = MACHINE.lock().await;
    let server = Server::start_in(config, &[("TURN_SECRET", TURN_SECRET)]).await;
    suite
        .current_dir(suites())
        .env("TIMBRE_API_KEY", KEY)
        .env("TIMBRE_REALTIME_URL", format!("http://{}/v1", server.address))
        .env("TIMBRE_RECORDING", recording)
        .env("TIMBRE_TURN_SECRET", TURN_SECRET)
        .kill_on_drop(true);
    let Output { status, stdout, stderr } = suite.output().await.expect("the suite starts");
    let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(status.success(), "{text}");
}
