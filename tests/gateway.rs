//! Providers behind the whole server, over real sockets: what a caller gets where they fail, and what the server makes of the rest.

#[path = "gateway/engine.rs"]
mod engine;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use engine::Engine;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

/// A server with this configuration, open on loopback, without local models.
async fn server(text: &str) -> anyhow::Result<Running> {
    let text = format!("default_model = \"bench/ok\"\n{text}");
    let environment = ["TIMBRE_SERVER__LISTEN=127.0.0.1:0", "TIMBRE_MODELS__LOCAL=false"];
    let environment: Vec<(String, String)> =
        environment.iter().filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let config = timbre::config::read(&text, "test", &environment).and_then(|written| written.check(&environment));
    timbre::serve::serve(config.expect("a valid configuration")).await
}

/// The provider of the mock upstream.
fn bench(upstream: &Upstream) -> String {
    format!("[[provider]]\nname = \"bench\"\nbase_url = \"http://{}/v1\"\nmodels = [\"ok\", \"short\"]\n", upstream.addr)
}

/// What came of one request.
struct Answered {
    status: u16,
    head: String,
    body: Value,
    text: String,
}

/// Sends one request on a connection of its own.
async fn ask(addr: SocketAddr, method: &str, path: &str, body: &Value) -> Answered {
    let mut socket = TcpStream::connect(addr).await.expect("it listens");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    // Version 1.0: the answer comes in one piece and ends with the connection.
    let head =
        format!("{method} {path} HTTP/1.0\r\nhost: here\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    socket.write_all((head + &body).as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("it answers");
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answered { status, head: head.to_ascii_lowercase(), body: serde_json::from_str(text).unwrap_or_default(), text: text.to_owned() }
}

async fn chat(running: &Running, model: &str, words: &str, more: Value) -> Answered {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": words}]});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    ask(running.address, "POST", "/v1/chat/completions", &body).await
}

/// Reads `/metrics` until a line of it is `wanted`; a deadline is the test's failure.
async fn metric(running: &Running, wanted: &str) {
    let seen = async {
        while !ask(running.address, "GET", "/metrics", &Value::Null).await.text.lines().any(|line| line == wanted) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap_or_else(|_| panic!("{wanted} does not come"));
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("timbre-gateway-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    /// A file in it, with this text, as a TOML string.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("it can be written");
        format!("{:?}", path.display().to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_reserved_before_an_answer_and_settled_after() {
    let (upstream, folder) = (Upstream::start().await.expect("the providers start"), Folder::new("money"));
    let catalogue = folder.file("models.toml", "\"bench/ok\" = { input = 1, output = 10 }");
    let limits = "[limits.key]\nusd_per_day = 0.02\n";
    let running = server(&format!("{limits}[models]\ncatalogue = {catalogue}\n{}", bench(&upstream))).await.expect("it starts");
    // A cent is reserved each time and a hundredth of one is spent: ten fit into two cents.
    for _ in 0..10 {
        let got = chat(&running, "bench/ok", "Count.", json!({"max_tokens": 1_000})).await;
        assert_eq!(got.status, 200, "{}", got.text);
        assert!(got.body["metadata"]["attempts"][0]["costUsd"].as_f64().is_some_and(|usd| usd > 0.0), "{}", got.text);
    }
    let got = chat(&running, "bench/ok", "Count.", json!({"max_tokens": 3_000})).await;
    assert_eq!((got.status, &got.body["error"]["code"]), (429, &json!("insufficient_quota")), "{}", got.text);
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_too_small_comes_last_and_ranks_are_the_users() {
    let (upstream, folder) = (Upstream::start().await.expect("the providers start"), Folder::new("targets"));
    let catalogue = folder.file("models.toml", "\"bench/ok\" = { context = 100 }\n\"bench/short\" = { context = 100000 }");
    let ranks = folder.file("ranks.csv", "model,metric,score,source,date\nok,wit,1,us,2026-01-01\nshort,wit,9,us,2026-01-01\n");
    let router = "[[router]]\nname = \"r\"\n[router.default_route]\nvariants = [{ variant = { model_id = \"bench/ok\", models = [\"bench/short\"] } }]\n";
    let running = server(&format!("[models]\ncatalogue = {catalogue}\nranks = {ranks}\n{}{router}", bench(&upstream))).await;
    let running = running.expect("it starts");
    let long = "word ".repeat(1_000);
    for (model, words, more, expected) in [
        ("timbre/r", "Count.", json!({}), "bench/ok"),
        ("timbre/r", &long, json!({}), "bench/short"),
        ("auto", "Count.", json!({"sort": ["wit"]}), "bench/short"),
    ] {
        let got = chat(&running, model, words, more).await;
        assert_eq!((got.status, &got.body["model"]), (200, &json!(expected)), "{}", got.text);
    }
    let asked = json!({"messages": [{"role": "user", "content": long}]});
    let told = ask(running.address, "POST", "/router/v1/routers/r:explain", &asked).await;
    assert_eq!(told.body["targets"][1]["lacks"], json!(["context"]), "{}", told.text);
    assert!(told.body["reason"].as_str().is_some_and(|reason| reason.ends_with("needs: bench/ok")), "{}", told.text);
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_return_to_their_replica_and_outlive_another() {
    let mut engines = [("a", Engine::start("a").await), ("b", Engine::start("b").await), ("c", Engine::start("c").await)].map(Some);
    let urls: Vec<String> = engines.iter().flatten().map(|(_, engine)| format!("http://{}/v1", engine.addr)).collect();
    let upstream = Upstream::start().await.expect("the providers start");
    let gpu = format!("[[provider]]\nname = \"gpu\"\npreset = \"vllm\"\nreplicas = {urls:?}\ncheck_every = \"100ms\"\n");
    let running = server(&format!("{}{gpu}", bench(&upstream))).await.expect("it starts");
    let mut dialogues: Vec<Vec<Value>> = (0..12).map(|n| vec![json!({"role": "user", "content": format!("conversation {n}")})]).collect();
    let mut homes: Vec<String> = Vec::new();
    for turn in 0..5 {
        if turn == 4 {
            // The replica of the first conversation dies.
            for engine in &mut engines {
                engine.take_if(|(name, _)| *name == homes[0]);
            }
        }
        for (n, messages) in dialogues.iter_mut().enumerate() {
            let got = ask(running.address, "POST", "/v1/chat/completions", &json!({"model": "gpu/llama", "messages": messages})).await;
            assert_eq!(got.status, 200, "turn {turn} of {n}: {}", got.text);
            let name = got.body["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned();
            match homes.get(n) {
                None => homes.push(name.clone()),
                Some(home) if turn == 4 && *home == homes[0] => assert_ne!(name, *home),
                Some(home) => assert_eq!(name, *home, "turn {turn} of {n}"),
            }
            let cached = got.body["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or(0);
            assert_eq!(cached > 0, turn > 0 && name == homes[n], "turn {turn} of {n}: {}", got.text);
            messages.push(json!({"role": "assistant", "content": name}));
            messages.push(json!({"role": "user", "content": "Go on."}));
        }
    }
    assert!(homes.iter().collect::<BTreeSet<_>>().len() > 1, "{homes:?}");
    let dead = engines.iter().position(Option::is_none).expect("one is dead");
    metric(&running, &format!("replica_up{{provider=\"gpu\",replica=\"{}\"}} 0", urls[dead])).await;
    let page = ask(running.address, "GET", "/metrics", &Value::Null).await.text;
    let sum = |name: &str| -> f64 {
        page.lines()
            .filter(|line| line.starts_with(&format!("{name}{{")))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    };
    let share = sum("replica_cached_tokens_total") / sum("replica_input_tokens_total");
    // Turn n asks with 2n + 1 messages, of which 2n - 1 were read before, unless the one that read them is dead.
    let (asked, read) = ((1 + 3 + 5 + 7 + 9) * 12, (1 + 3 + 5 + 7) * 12 - 7 * homes.iter().filter(|home| **home == homes[0]).count());
    assert!((share - read as f64 / f64::from(asked)).abs() < 1e-9, "{share}, not {read} of {asked}: {page}");
    assert!(sum("replica_home_requests_total") >= 48.0, "{page}");
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_leaves_a_record_and_a_cost_and_delays_nobody() {
    let (upstream, folder) = (Upstream::start().await.expect("the providers start"), Folder::new("shadow"));
    let file = folder.file("requests.ndjson", "");
    let catalogue = folder.file("models.toml", "\"bench/f300\" = { input = 1, output = 10 }");
    let router = "[[router]]\nname = \"r\"\n[router.default_route]\nvariants = [{ variant = { model_id = \"bench/ok\", \
                  shadow = { model_id = \"bench/f300\", share = 100 } } }]\n";
    let running = server(&format!("[record]\nfile = {file}\n[models]\ncatalogue = {catalogue}\n{}{router}", bench(&upstream))).await;
    let running = running.expect("it starts");
    let got = chat(&running, "timbre/r", "Count.", json!({})).await;
    assert_eq!((got.status, &got.body["model"]), (200, &json!("bench/ok")), "{}", got.text);
    metric(&running, "shadows_total{outcome=\"taken\"} 1").await;
    metric(&running, "requests_total{dialect=\"shadow\",status=\"200\"} 1").await;
    running.stop();
    running.done.await.expect("it stops").expect("it served");
    let records = std::fs::read_to_string(folder.0.join("requests.ndjson")).expect("there are records");
    let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let [answered, shadow] = &records[..] else { panic!("{records:?}") };
    assert_eq!((&answered["dialect"], &shadow["dialect"]), (&json!("chat"), &json!("shadow")));
    assert_eq!((&answered["id"], &answered["version"]), (&shadow["id"], &json!(0)));
    assert_eq!((&shadow["model"], &shadow["attempts"][0]["target"]), (&json!("bench/f300"), &json!("bench/f300")));
    assert!(shadow["cost_nano_usd"].as_u64().is_some_and(|cost| cost > 0), "{shadow}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_score_finds_the_variant_by_any_id_of_the_answer() {
    let (upstream, folder) = (Upstream::start().await.expect("the providers start"), Folder::new("scores"));
    let catalogue = folder.file("models.toml", "\"bench/ok\" = { input = 1, output = 10 }");
    let router =
        "[[router]]\nname = \"r\"\n[router.default_route]\nvariants = [{ variant = { variant_id = \"v\", model_id = \"bench/ok\" } }]\n";
    let running = server(&format!("[models]\ncatalogue = {catalogue}\n{}{router}", bench(&upstream))).await.expect("it starts");
    let got = chat(&running, "timbre/r", "Count.", json!({})).await;
    let header = got.head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).expect("it has an id").to_owned();
    let answer = got.body["id"].as_str().expect("it has an id").to_owned();
    for (id, score) in [(header.as_str(), json!(false)), (&answer, json!(true))] {
        let scored = ask(running.address, "POST", "/v1/feedback", &json!({"request_id": id, "score": score})).await;
        assert_eq!((scored.status, &scored.body["variant"]), (200, &json!("v")), "{id}: {}", scored.text);
    }
    let unknown = ask(running.address, "POST", "/v1/feedback", &json!({"request_id": "req_none", "score": 1})).await;
    assert_eq!(unknown.status, 400, "{}", unknown.text);
    let told = ask(running.address, "GET", "/router/v1/routers/r/variants", &Value::Null).await;
    let variant = &told.body["variants"][0];
    // Both ids are of one answer: the last word counts, once.
    assert_eq!(
        (&variant["requests"], &variant["score"]["n"], &variant["score"]["value"]),
        (&json!(1), &json!(1), &json!(1.0)),
        "{}",
        told.text
    );
    assert!(variant["cost"]["value"].as_f64().is_some_and(|usd| usd > 0.0), "{}", told.text);
    metric(&running, "target_breaker{target=\"bench/ok\"} 0").await;
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_says_what_the_cache_may_do() {
    let upstream = Upstream::start().await.expect("the providers start");
    let router =
        "[[router]]\nname = \"r\"\n[router.default_route]\ncache = \"exact\"\nvariants = [{ variant = { model_id = \"bench/ok\" } }]\n";
    let running = server(&format!("{}{router}", bench(&upstream))).await.expect("it starts");
    for (model, more, expected) in [
        ("timbre/r", json!({}), "miss"),
        ("timbre/r", json!({}), "hit"),
        ("timbre/r", json!({"cache": false}), "off"),
        ("bench/ok", json!({}), "off"),
    ] {
        let got = chat(&running, model, "Count.", more.clone()).await;
        assert!(got.head.contains(&format!("x-cache: {expected}")), "{model} {more}: {}", got.head);
    }
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_for_other_words_that_is_not_there_says_how_to_get_it() {
    let (upstream, folder) = (Upstream::start().await.expect("the providers start"), Folder::new("words"));
    let text = format!("[models]\nfolder = {:?}\n[cache]\nsemantic = true\n{}", folder.0.display().to_string(), bench(&upstream));
    let error = server(&text).await.err().expect("it cannot start");
    assert!(format!("{error:#}").contains("timbre models pull minilm"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_in_other_words_is_answered_from_the_cache_where_it_is_asked_for() {
    if let Err(missing) = models::Weights::new(models::Weights::default_folder()).file("minilm", "model.onnx") {
        eprintln!("skipped: {missing}");
        return;
    }
    let upstream = Upstream::start().await.expect("the providers start");
    let router =
        "[[router]]\nname = \"r\"\n[router.default_route]\ncache = \"semantic\"\nvariants = [{ variant = { model_id = \"bench/ok\" } }]\n";
    let running = server(&format!("[cache]\nsemantic = true\n{}{router}", bench(&upstream))).await.expect("it starts");
    for (model, words, more, expected) in [
        ("timbre/r", "How do I reset my password?", json!({}), "miss"),
        ("timbre/r", "What is the way to reset my password?", json!({}), "hit"),
        ("timbre/r", "How do I reset my router?", json!({}), "miss"),
        ("bench/ok", "How do I reset my password?", json!({"cache": "semantic"}), "miss"),
        ("bench/ok", "How can I reset my password?", json!({"cache": "semantic"}), "hit"),
        ("bench/ok", "How could I reset my password?", json!({"cache": "exact"}), "miss"),
    ] {
        let got = chat(&running, model, words, more).await;
        assert!(got.head.contains(&format!("x-cache: {expected}")), "{model} {words}: {}", got.head);
    }
    metric(&running, "cache_hits_total{kind=\"semantic\"} 2").await;
    running.stop();
}
