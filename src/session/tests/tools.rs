//! Calls in which the model has tools of MCP servers.

use futures::future::BoxFuture;
use models::mcp::{Approval, Connected, McpConnection, McpConnector, McpError, McpServer, McpTool, ToolFilter};
use models::{Secret, Tool};
use serde_json::{Map, Value, json};
use web::call::Toolset;

use super::*;

/// Servers that do what their labels say: `broken` offers nothing, `late` takes ten seconds; all others offer the same three tools.
pub(super) struct Servers;

impl McpConnector for Servers {
    fn connect(&self, server: &McpServer) -> BoxFuture<'static, Result<Connected, McpError>> {
        let label = server.label.clone();
        let tool = |name: &str| McpTool { name: name.to_owned(), description: None, schema: Map::new(), annotations: None };
        Box::pin(async move {
            let takes = if label == "late" { 10_000 } else { 100 };
            tokio::time::sleep(Duration::from_millis(takes)).await;
            if label == "broken" {
                return Err(McpError::Http { status: 502, message: "nobody is there".to_owned() });
            }
            let tools = ["weather", "wipe", "ring"].map(tool).to_vec();
            Ok(Connected { tools, connection: Arc::new(Line) })
        })
    }
}

/// Tells the weather after two seconds; fails to wipe at once.
struct Line;

impl McpConnection for Line {
    fn call(self: Arc<Self>, tool: String, _: Map<String, Value>) -> BoxFuture<'static, Result<String, McpError>> {
        Box::pin(async move {
            if tool != "weather" {
                return Err(McpError::Execution { message: "it cannot".to_owned() });
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            Ok("sunny".to_owned())
        })
    }
}

/// A server of which all tools but `weather` need approval.
pub(super) fn server(label: &str) -> McpServer {
    let never = ToolFilter { names: Some(vec!["weather".to_owned()]), read_only: None };
    McpServer {
        label: label.to_owned(),
        url: Secret::new("https://tools.example/mcp"),
        authorization: None,
        headers: Vec::new(),
        description: None,
        allowed: None,
        approval: Approval::Except { never, always: None },
    }
}

fn with(turns: TurnDetection, tools: Toolset) -> Client {
    Client::with(Attention::Idle, SessionConfig { tools, spoken: false, ..config(turns) }, Policy::default())
}

fn servers(labels: &[&str]) -> Toolset {
    Toolset { functions: Vec::new(), servers: labels.iter().map(|label| server(label)).collect() }
}

fn create(content: ItemContent) -> Command {
    Command::Create { after: None, item: Item { id: String::new(), content, status: Status::Completed } }
}

fn says(text: &str) -> Command {
    create(ItemContent::Message { role: models::Role::User, parts: vec![Content::Text(text.to_owned())] })
}

/// An event in a few words, if it is one of those that matter here.
fn short(event: &Event) -> Option<String> {
    Some(match event {
        Event::McpListed { progress, .. } => format!("list {progress:?}"),
        Event::McpCalled { progress, .. } => format!("call {progress:?}"),
        Event::McpCallDone { arguments, .. } => format!("whole {arguments}"),
        Event::ResponseCreated(_) => "answer".to_owned(),
        Event::ResponseDone(response) => format!("answered {:?}", response.ending.as_ref()?),
        Event::PartDone { text, .. } => text.clone(),
        Event::Error(error) => format!("error {}", error.code),
        Event::CallDone { name, .. } => format!("function {name}"),
        Event::ItemDone { item, .. } => match &item.content {
            ItemContent::McpCall(call) => match call.outcome.as_ref()? {
                Ok(output) => format!("done {output}"),
                Err(error) => format!("done not: {error}"),
            },
            ItemContent::McpTools { listed, .. } => match listed.as_ref()? {
                Ok(tools) => format!("{} tools", tools.len()),
                Err(error) => error.to_string(),
            },
            ItemContent::McpApprovalRequest { tool, .. } => format!("may {tool}?"),
            _ => return None,
        },
        _ => return None,
    })
}

/// Lets everything happen for so long.
async fn pass(client: &mut Client, seconds: u64) {
    for _ in 0..seconds * 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.read();
    }
}

/// What happened since the last time.
fn heard(client: &mut Client) -> String {
    let short: Vec<String> = client.told.drain(..).filter_map(|event| short(&event)).collect();
    short.join(" | ")
}

async fn ask(client: &mut Client, text: &str) {
    client.send(says(text)).await;
    client.send(Command::Respond(Box::default())).await;
}

async fn approval(client: &mut Client, request: String, approve: bool) {
    let reason = (!approve).then(|| "not today".to_owned());
    client.send(create(ItemContent::McpApprovalResponse { request, approve, reason })).await;
}

#[tokio::test(start_paused = true)]
async fn a_tool_is_listed_called_and_answered_for() {
    let mut client = with(TURNS, servers(&["home"]));
    pass(&mut client, 1).await;
    assert_eq!(heard(&mut client), "list InProgress | 3 tools | list Completed");
    ask(&mut client, "call weather").await;
    pass(&mut client, 5).await;
    let called = "answer | You said call weather | whole {} | answered Whole | call InProgress | call Completed | done sunny";
    assert_eq!(heard(&mut client), format!("{called} | answer | You said sunny | answered Whole"));
    // The tool has a record of its own, beside those of the two answers.
    let records = client.records.lock().expect("no test panics with it");
    let noted: Vec<_> = records.iter().map(|record| (record.dialect, record.model.as_str(), record.status, record.total)).collect();
    let [("realtime", ..), tool, ("realtime", ..)] = noted[..] else { panic!("{noted:?}") };
    assert_eq!(tool, ("mcp", "home/weather", 200, Some(Duration::from_secs(2))));
    assert_eq!(records[0].id, records[1].id);
}

#[tokio::test(start_paused = true)]
async fn an_answer_begun_before_its_tools_were_there_is_begun_again() {
    let mut client = with(TURNS, servers(&["late"]));
    // The server answers after ten seconds: in the middle of the pause that ends the turn.
    client.sound(0.0, 9_200).await;
    client.sound(0.5, 500).await;
    client.sound(0.0, 1_500).await;
    assert_eq!(client.done().await, Ending::Whole);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let prepared: Vec<_> = client.records.lock().expect("no test panics with it").iter().map(|record| record.prepared).collect();
    assert_eq!(prepared, [Some(router::Preparation::ThrownAway), None]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_the_answer_itself_gets_one() {
    let mut client = with(TURNS, servers(&["home"]));
    pass(&mut client, 1).await;
    ask(&mut client, "call weather").await;
    client
        .until(|event| match event {
            Event::McpCalled { progress: Progress::Completed, .. } => Some(()),
            _ => None,
        })
        .await;
    client.told.clear();
    client.send(Command::Respond(Box::default())).await;
    pass(&mut client, 5).await;
    assert_eq!(heard(&mut client), "done sunny | answer | You said sunny | answered Whole");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_every_answer_asks_for_this_one_too() {
    for turns in
        [TurnDetection::Manual, TurnDetection::Semantic { eagerness: Eagerness::High, then: AfterTurn { respond: false, interrupt: true } }]
    {
        let mut client = with(turns, servers(&["home"]));
        pass(&mut client, 1).await;
        ask(&mut client, "call weather").await;
        pass(&mut client, 20).await;
        assert!(heard(&mut client).ends_with("call Completed | done sunny"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_runs_once_it_is_approved_of() {
    for (approve, then) in [
        (true, "call InProgress | call Failed | done not: it cannot | answer | You said Error: it cannot"),
        (
            false,
            "call Failed | done not: the call was not approved: not today | answer | You said Error: the call was not approved: not today",
        ),
    ] {
        let mut client = with(TURNS, servers(&["home"]));
        pass(&mut client, 1).await;
        ask(&mut client, "call wipe").await;
        let request = client
            .until(|event| match event {
                Event::ItemDone { item: Item { id, content: ItemContent::McpApprovalRequest { .. }, .. }, .. } => Some(id.clone()),
                _ => None,
            })
            .await;
        pass(&mut client, 60).await;
        assert!(heard(&mut client).ends_with("whole {} | answered Whole | may wipe?"), "nothing runs unapproved");
        approval(&mut client, "nobody".to_owned(), true).await;
        approval(&mut client, request.clone(), approve).await;
        approval(&mut client, request, true).await;
        pass(&mut client, 5).await;
        let told = heard(&mut client);
        assert_eq!(told.matches("error item_not_found").count(), 2, "{told}");
        assert_eq!(told.replace(" | error item_not_found", "").replace("error item_not_found | ", ""), format!("{then} | answered Whole"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_speaks_while_a_tool_runs_is_answered_and_then_told_what_it_said() {
    let mut client = with(TURNS, servers(&["home"]));
    client.sound(0.0, 500).await;
    ask(&mut client, "call weather").await;
    client.sound(0.0, 200).await;
    client.sound(0.5, 600).await;
    client.sound(0.0, 3_000).await;
    let told = heard(&mut client);
    let order = ["call InProgress", "You said I spoke", "call Completed", "done sunny", "You said sunny"];
    let at: Vec<Option<usize>> = order.iter().map(|part| told.find(part)).collect();
    assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{told}");
    assert_eq!(told.matches("error").count(), 0, "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_tool_runs_while_its_answer_is_spoken_and_outlasts_an_interruption() {
    let tools = servers(&["home"]);
    let mut client = Client::with(Attention::Idle, SessionConfig { tools, ..config(TURNS) }, Policy::default());
    client.sound(0.0, 500).await;
    // Two seconds of speech, as long as the tool takes.
    ask(&mut client, "call weather").await;
    client.sound(0.0, 1_000).await;
    client.sound(0.5, 1_000).await;
    client.sound(0.0, 8_000).await;
    let told = heard(&mut client);
    assert!(told.contains("answered Interrupted | call InProgress"), "it was called already: {told}");
    assert!(
        told.contains("call Completed | done sunny") && !told.contains("You said sunny"),
        "the caller's turn is answered instead: {told}"
    );
}

#[tokio::test(start_paused = true)]
async fn servers_that_offer_nothing_hold_nothing_up() {
    let mut client = with(TURNS, servers(&["broken", "late"]));
    pass(&mut client, 1).await;
    assert_eq!(heard(&mut client), "list InProgress | list InProgress | nobody is there | list Failed");
    ask(&mut client, "call weather").await;
    pass(&mut client, 3).await;
    assert_eq!(heard(&mut client), "answer | You said call weather | function weather | answered Whole");
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_its_own_server_waits_for_it() {
    let mut client = with(TURNS, Toolset::default());
    client.send(says("call weather")).await;
    let response = || ResponseConfig { tools: Some(servers(&["home"])), ..ResponseConfig::default() };
    client.send(Command::Respond(Box::new(response()))).await;
    pass(&mut client, 1).await;
    let listed = "list InProgress | 3 tools | list Completed | answer | You said call weather";
    assert!(heard(&mut client).starts_with(listed));
    pass(&mut client, 5).await;
    heard(&mut client);
    // The server is known by now.
    client.send(says("ping")).await;
    client.send(Command::Respond(Box::new(response()))).await;
    pass(&mut client, 1).await;
    assert_eq!(heard(&mut client), "answer | You said ping | answered Whole");
    // An answer without it has none of its tools.
    ask(&mut client, "call weather").await;
    pass(&mut client, 1).await;
    assert!(heard(&mut client).contains("function weather"));
}

#[tokio::test(start_paused = true)]
async fn tools_of_one_name_get_others() {
    let function = Tool { name: "ring".to_owned(), description: None, parameters: None, extra: Map::new() };
    let mut client = with(TURNS, Toolset { functions: vec![function], ..servers(&["home", "away"]) });
    pass(&mut client, 1).await;
    heard(&mut client);
    for (name, then) in [("home_weather", "whole {}"), ("away_weather", "whole {}"), ("away_ring", "may ring?"), ("ring", "function ring")]
    {
        ask(&mut client, &format!("call {name}")).await;
        pass(&mut client, 5).await;
        let told = heard(&mut client);
        assert!(told.contains(then), "{name}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_forgets_a_server_that_it_names_no_more() {
    let mut client = with(TURNS, servers(&["home"]));
    pass(&mut client, 1).await;
    let update = |tools| Command::Update(Box::new(SessionConfig { tools, spoken: false, ..config(TURNS) }));
    client.send(update(servers(&["home"]))).await;
    pass(&mut client, 1).await;
    assert_eq!(heard(&mut client), "list InProgress | 3 tools | list Completed", "it is asked once");
    client.send(update(Toolset::default())).await;
    ask(&mut client, "call weather").await;
    pass(&mut client, 1).await;
    assert!(heard(&mut client).contains("function weather"));
    let tool_choice = Some(json!({ "type": "mcp", "server_label": "home", "name": "weather" }));
    client.send(Command::Update(Box::new(SessionConfig { tool_choice, spoken: false, ..config(TURNS) }))).await;
    ask(&mut client, "ping").await;
    pass(&mut client, 1).await;
    assert!(heard(&mut client).ends_with("You said ping | answered Whole"), "a choice of nothing is none");
}

#[tokio::test(start_paused = true)]
async fn what_tools_say_of_themselves_counts_as_asked() {
    let limit = Limit { meter: Meter::Tokens, window: Window::Minute, most: 1_000 };
    let policy = Policy { key: Allowance { limits: vec![limit], concurrency: None }, ..Policy::default() };
    let described = Tool { name: "f".to_owned(), description: Some("word ".repeat(1_000)), parameters: None, extra: Map::new() };
    for (functions, expected) in [(vec![], None), (vec![described], Some("rate_limit_exceeded"))] {
        let config = SessionConfig { tools: Toolset { functions, servers: Vec::new() }, spoken: false, ..config(TURNS) };
        let mut client = Client::with(Attention::Idle, config, policy.clone());
        ask(&mut client, "hello").await;
        pass(&mut client, 2).await;
        let failed = client.told.iter().find_map(|event| if let Event::Error(error) = event { Some(error.code) } else { None });
        assert_eq!(failed, expected);
    }
}
