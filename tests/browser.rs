//! The page that the server shows, in a real Chromium with recorded speech for a microphone. Where Chromium or `tests/browser`'s packages are
//! missing, it says so and passes.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use models::Weights;
use timbre::bench::upstream::Upstream;
use timbre::config::{self, Config};
use timbre::serve::{Running, engines, serve_engines};
use tokio::process::Command;

/// Where Chromium is looked for, besides the place that `TIMBRE_CHROMIUM` names.
const PLACES: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
/// What a server shares with the TURN server that it tells of.
const TURN_SECRET: &str = "between us";

#[tokio::test(flavor = "multi_thread")]
async fn people_talk_through_the_page() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let named = std::env::var_os("TIMBRE_CHROMIUM").map(PathBuf::from);
    if !named.into_iter().chain(PLACES.map(PathBuf::from)).any(|path| path.exists()) {
        eprintln!("skipped: there is no Chromium; TIMBRE_CHROMIUM may name one");
        return;
    }
    if !suite.join("node_modules/playwright-core").is_dir() {
        eprintln!("skipped: tests/browser/node_modules is missing; run `npm install` there");
        return;
    }
    let recordings = match Weights::new(Weights::default_folder()).file("moonshine-tiny-en", "beckett.wav") {
        Ok(recording) => recording.with_file_name(""),
        Err(missing) => {
            eprintln!("skipped: {missing}");
            return;
        }
    };
    let upstream = Upstream::start().await.expect("the language model starts");
    let turn = UdpSocket::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let servers = Servers::start(&upstream, turn).await;
    let [open, keyed, full, networks] = servers.running.each_ref().map(|running| format!("http://{}", running.address));
    let mut tests = Command::new("node");
    tests
        .args(["--test", "--test-concurrency=1", "page.test.mjs", "networks.test.mjs"])
        .current_dir(&suite)
        .env("TIMBRE_PAGE", open)
        .env("TIMBRE_PAGE_KEYED", keyed)
        .env("TIMBRE_PAGE_FULL", full)
        .env("TIMBRE_PAGE_NETWORKS", networks)
        .env("TIMBRE_TURN_PORT", turn.to_string())
        .env("TIMBRE_TURN_SECRET", TURN_SECRET)
        .env("TIMBRE_RECORDINGS", recordings)
        .kill_on_drop(true);
    let output = tests.output().await.expect("node starts");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
}

/// Servers on one set of engines: one for anybody, one that asks for a key, one with a single place, one that is reached in many ways.
struct Servers {
    running: [Running; 4],
}

impl Servers {
    async fn start(upstream: &Upstream, turn: u16) -> Servers {
        let networks = format!(
            "[webrtc]\nlisten = \"127.0.0.1:0\"\nturn = [\"turn:127.0.0.1:{turn}?transport=udp\"]\nturn_secret_env = \"TURN_SECRET\"\n"
        );
        let [open, keyed, full, networks] =
            ["", "[auth]\nkeys = [\"sk-page\"]\n", "[server]\nmax_sessions = 1\n", &networks].map(|more| checked(upstream, more));
        let loading = open.clone();
        let engines = tokio::task::spawn_blocking(move || engines(&loading)).await.expect("it runs").expect("the models load");
        let engines = Arc::new(engines);
        let start = async |config| serve_engines(config, engines.clone()).await.expect("a server starts");
        Servers { running: [start(open).await, start(keyed).await, start(full).await, start(networks).await] }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.running.iter().for_each(Running::stop);
    }
}

/// A router over a model that answers at once and talks on until it is interrupted.
fn checked(upstream: &Upstream, more: &str) -> Config {
    let text = format!(
        "default_model = \"timbre/page\"\n{more}[[provider]]\nname = \"bench\"\nbase_url = \"http://{}/v1\"\nmodels = [\"long\", \"short\"]\n\
         [[router]]\nname = \"page\"\n[[router.routes]]\ncondition = {{ cel_expression = 'emotion == \"angry\" && hesitation > 0.9' }}\n\
         route = {{ variants = [ {{ variant = {{ model_id = \"bench/short\" }}, weight = 100 }} ] }}\n[router.default_route]\n\
         variants = [ {{ variant = {{ model_id = \"bench/long\", models = [\"bench/short\"] }}, weight = 100 }} ]\n",
        upstream.addr
    );
    let environment = [("TIMBRE_SERVER__LISTEN", "127.0.0.1:0"), ("TURN_SECRET", TURN_SECRET)];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = config::read(&text, "test", &environment).and_then(|written| written.check(&environment));
    config.unwrap_or_else(|error| panic!("{error}"))
}
