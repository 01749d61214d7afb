//! The official SDKs as judges, where they are installed: `TIMBRE_SDK_PYTHON` names a Python that has `tests/sdk/requirements.txt`, and
//! `tests/sdk/node_modules` what `package.json` asks for.

// Each test file is a crate of its own and uses a part of the fakes.
#[allow(unreachable_pub, dead_code)]
mod fakes;

use std::path::{Path, PathBuf};

use tokio::process::Command;
use web::{Keys, Limits};

fn suites() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/sdk")
}

/// Runs a suite against a server that answers by rote.
async fn judge(mut suite: Command) {
    let server = fakes::start(Limits::default(), Keys::default()).await;
    suite.env("TIMBRE_BASE_URL", format!("{}/v1", server.url)).current_dir(suites()).kill_on_drop(true);
    let output = suite.output().await.expect("the suite starts");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
}

#[tokio::test]
async fn the_python_sdks_are_content() {
    let Some(python) = std::env::var_os("TIMBRE_SDK_PYTHON") else {
        eprintln!("skipped: TIMBRE_SDK_PYTHON names no Python with what tests/sdk/requirements.txt asks for");
        return;
    };
    let mut suite = Command::new(python);
    suite.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_openai.py", "test_schema.py", "test_dialects.py"]);
    judge(suite).await;
}

#[tokio::test]
async fn the_node_sdks_are_content() {
    if !suites().join("node_modules/@anthropic-ai/sdk").is_dir() {
        eprintln!("skipped: tests/sdk/node_modules is missing; run `npm install` there");
        return;
    }
    let mut suite = Command::new("node");
    suite.args(["--test", "openai.test.mjs", "dialects.test.mjs"]);
    judge(suite).await;
}
