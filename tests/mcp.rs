//! Realtime sessions whose model calls tools of MCP servers: the whole server over its socket, a real MCP server, and some that are none.

#[path = "mcp/tools.rs"]
mod servers;
#[allow(unreachable_pub, dead_code, unused_imports)]
mod support;

use std::path::Path;

use futures::{SinkExt, StreamExt};
use models::Weights;
use serde_json::{Value, json};
use servers::{Served, TOKEN};
use support::{Asked, Folder, Provider, Server, Step, provider};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Duration, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Longer than anything here may take, the server's own deadlines included.
const DEADLINE: Duration = Duration::from_secs(60);

/// Calls the tool that the last message names, and says what a tool said.
fn model(asked: &Asked) -> Vec<Step> {
    let last = asked.body["messages"].as_array().and_then(|messages| messages.last()).cloned().unwrap_or_default();
    let content = last["content"].as_str().map(str::to_owned).or_else(|| last["content"][0]["text"].as_str().map(str::to_owned));
    let content = content.unwrap_or_default();
    match content.strip_prefix("call ").filter(|_| last["role"] == "user") {
        Some(name) => {
            let function = json!({ "name": name, "arguments": "{\"city\":\"Paris\"}" });
            provider::chat(
                &[json!({ "tool_calls": [{ "index": 0, "id": "call_1", "type": "function", "function": function }] })],
                "tool_calls",
            )
        }
        None => provider::says(&format!("{} bytes: {}", content.len(), content.chars().take(40).collect::<String>())),
    }
}

/// A client of a session that only writes.
struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    told: Vec<Value>,
}

impl Client {
    async fn connect(server: &Server) -> Client {
        let (socket, _) = connect_async(format!("ws://{}/v1/realtime?model=auto", server.address)).await.expect("it connects");
        Client { socket, told: Vec::new() }
    }

    async fn send(&mut self, event: Value) {
        self.socket.send(Message::text(event.to_string())).await.expect("the server reads");
    }

    /// The next event of this type.
    async fn until(&mut self, kind: &str) -> Value {
        let read = async {
            loop {
                if let Message::Text(text) = self.socket.next().await.expect("the session goes on").expect("a message") {
                    let event: Value = serde_json::from_str(&text).expect("JSON");
                    self.told.push(event.clone());
                    if event["type"] == kind {
                        return event;
                    }
                }
            }
        };
        timeout(DEADLINE, read).await.unwrap_or_else(|_| panic!("no {kind}"))
    }

    async fn name_server(&mut self, tool: Value) {
        let session = json!({ "type": "realtime", "output_modalities": ["text"], "tools": [tool] });
        self.send(json!({ "type": "session.update", "session": session })).await;
        let updated = self.until("session.updated").await;
        assert!(!updated.to_string().contains(TOKEN), "{updated}");
    }

    /// The tools of the server, or why there are none.
    async fn listed(&mut self) -> Result<usize, String> {
        loop {
            let item = self.until("conversation.item.done").await["item"].clone();
            if item["type"] == "mcp_list_tools" {
                let error = item["error"]["message"].as_str().map(str::to_owned);
                return error.map_or_else(|| Ok(item["tools"].as_array().map_or(0, Vec::len)), Err);
            }
        }
    }

    async fn ask(&mut self, text: &str) {
        let content = json!([{ "type": "input_text", "text": text }]);
        self.send(json!({ "type": "conversation.item.create", "item": { "type": "message", "role": "user", "content": content } })).await;
        self.send(json!({ "type": "response.create" })).await;
    }

    /// The call's item once it is over.
    async fn called(&mut self) -> Value {
        loop {
            let item = self.until("conversation.item.done").await["item"].clone();
            if item["type"] == "mcp_call" {
                return item;
            }
        }
    }

    /// Approves of the call that is asked about.
    async fn approve(&mut self) {
        loop {
            let item = self.until("conversation.item.done").await["item"].clone();
            if item["type"] == "mcp_approval_request" {
                let response = json!({ "type": "mcp_approval_response", "approval_request_id": item["id"], "approve": true });
                return self.send(json!({ "type": "conversation.item.create", "item": response })).await;
            }
        }
    }

    async fn said(&mut self) -> String {
        self.until("response.output_text.done").await["text"].as_str().unwrap_or_default().to_owned()
    }
}

fn tool(served: &Served, path: &str) -> Value {
    json!({
        "type": "mcp",
        "server_label": "home",
        "server_url": format!("http://{}{path}", served.address),
        "authorization": TOKEN,
        "headers": { "x-team": "blue" },
        "require_approval": { "never": { "tool_names": ["weather", "flood", "hang", "refuse"] } },
    })
}

async fn start(allowed: &str) -> Option<(Provider, Server)> {
    if let Err(missing) = Weights::new(Weights::default_folder()).file("moonshine-tiny-en", "beckett.wav") {
        eprintln!("skipped: {missing}");
        return None;
    }
    let provider = Provider::start(model).await;
    let config = format!(
        "default_model = \"mock/m\"\n[record]\nfile = \"\"\n[mcp]\nallowed_hosts = [{allowed}]\n[[provider]]\nname = \"mock\"\n\
         base_url = \"http://{}/v1\"\nmodels = [\"m\"]\n",
        provider.address
    );
    let server = Server::start(&config).await;
    Some((provider, server))
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_sdks_use_tools_of_mcp_servers() {
    let suites = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk");
    let Some(python) = std::env::var_os("TIMBRE_SDK_PYTHON") else {
        return eprintln!("skipped: without TIMBRE_SDK_PYTHON the SDKs were not set up");
    };
    let served = servers::serve().await;
    let Some((_provider, server)) = start(&format!("\"{}\"", served.address)).await else { return };
    let (mut openai, mut agents) = (Command::new(python), Command::new("node"));
    openai.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mcp.py"]);
    agents.args(["--test", "mcp.test.mjs"]);
    for suite in [&mut openai, &mut agents] {
        suite
            .current_dir(&suites)
            .env("TIMBRE_REALTIME_URL", format!("http://{}/v1", server.address))
            .env("TIMBRE_MCP_URL", format!("http://{}/mcp", served.address))
            .env("TIMBRE_MCP_TOKEN", TOKEN)
            .kill_on_drop(true);
        let output = suite.output().await.expect("the suite starts");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success(), "{text}");
    }
    server.stop().await;
}

/// OpenAI's published schemas judge what was told, where Python can read them.
async fn judge(told: &[Value]) {
    let Some(python) = std::env::var_os("TIMBRE_SDK_PYTHON") else { return };
    let folder = Folder::new();
    let file = folder.file("told.json");
    std::fs::write(&file, Value::from(told.to_vec()).to_string()).expect("it is written");
    let script = "import json, sys, schema\nfor event in json.load(open(sys.argv[1])):\n    schema.judge_realtime(event)";
    let mut judge = Command::new(python);
    judge.args(["-c", script]).arg(file).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk"));
    let output = judge.output().await.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_calls_tools_and_says_what_became_of_them() {
    let served = servers::serve().await;
    let Some((provider, server)) = start(&format!("\"{}\"", served.address)).await else { return };
    let mut client = Client::connect(&server).await;
    client.name_server(tool(&served, "/mcp")).await;
    assert_eq!(client.listed().await, Ok(5));

    client.ask("call weather").await;
    let item = client.called().await;
    assert_eq!(
        (&item["output"], &item["error"], &item["arguments"]),
        (&json!("sunny in Paris"), &Value::Null, &json!("{\"city\":\"Paris\"}"))
    );
    assert_eq!(client.said().await, "14 bytes: sunny in Paris", "nobody asked for this answer");
    client.until("response.done").await;
    let call = &provider.last()["messages"];
    let roles: Vec<&str> = call.as_array().into_iter().flatten().filter_map(|message| message["role"].as_str()).collect();
    assert!(roles.ends_with(&["user", "assistant", "tool"]), "{call}");

    for (name, kind, message) in
        [("fail", "tool_execution_error", "no clouds to count"), ("refuse", "protocol_error", "not those arguments")]
    {
        client.ask(&format!("call {name}")).await;
        if name == "fail" {
            client.approve().await;
        }
        let item = client.called().await;
        assert_eq!((&item["error"]["type"], &item["output"]), (&json!(kind), &Value::Null), "{item}");
        assert!(item["error"]["message"].as_str().is_some_and(|said| said.contains(message)), "{item}");
        assert!(client.said().await.contains(&format!("Error: {message}")));
        client.until("response.done").await;
    }

    client.ask("call flood").await;
    let output = client.called().await["output"].as_str().unwrap_or_default().len();
    assert!((32_768..33_000).contains(&output), "cut to what a model reads: {output}");
    client.until("response.done").await;

    // A tool that never ends holds nothing up: another question is answered meanwhile, and the client may leave.
    client.ask("call hang").await;
    client.until("response.mcp_call.in_progress").await;
    client.ask("Are you there?").await;
    assert!(client.said().await.contains("Are you there?"));
    let text = client.told.iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains(TOKEN), "the token is told nobody");
    assert!(client.told.iter().all(|event| event["type"] != "error"), "{text}");
    judge(&client.told).await;
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_server_or_may_not_be_asked_offers_nothing() {
    let served = servers::serve().await;
    let other = servers::serve().await;
    let Some((_provider, server)) = start(&format!("\"{}\"", served.address)).await else { return };
    let mut wrong_key = tool(&served, "/mcp");
    wrong_key["authorization"] = json!("wrong-key");
    let mut by_name = tool(&other, "/mcp");
    by_name["server_url"] = json!(format!("https://localhost:{}/mcp", other.address.port()));
    let cases = [
        (tool(&served, "/page"), "no answer of an MCP server"),
        (tool(&served, "/moved"), "307"),
        (wrong_key, "403"),
        (tool(&served, "/silent"), "did not answer within 10 s"),
        (tool(&other, "/mcp"), "https only"),
        (by_name, "no public address"),
        (json!({ "type": "mcp", "server_label": "home", "server_url": "https://169.254.169.254/latest" }), "no public address"),
    ];
    let judged = cases.into_iter().map(|(tool, part)| {
        let server = &server;
        async move {
            let mut client = Client::connect(server).await;
            client.name_server(tool.clone()).await;
            let listed = client.listed().await;
            assert!(listed.as_ref().is_err_and(|message| message.contains(part)), "{tool}: {listed:?}");
            assert!(!listed.is_err_and(|message| message.contains(TOKEN) || message.contains("wrong-key")));
            client.until("mcp_list_tools.failed").await;
            client.ask("Hello.").await;
            assert!(client.said().await.contains("Hello."), "the session goes on");
        }
    });
    futures::future::join_all(judged).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_during_a_call_is_a_failed_call() {
    let served = servers::serve().await;
    let Some((_provider, server)) = start(&format!("\"{}\"", served.address)).await else { return };
    let mut client = Client::connect(&server).await;
    client.name_server(tool(&served, "/mcp")).await;
    assert_eq!(client.listed().await, Ok(5));
    served.die();
    client.ask("call weather").await;
    let item = client.called().await;
    assert!(item["error"]["message"].is_string(), "{item}");
    assert!(client.said().await.contains("Error"), "the model makes the best of it");
    server.stop().await;
}
