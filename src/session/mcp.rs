//! Tools of MCP servers in a call: servers are asked what they offer, the model calls, the tool runs, and the model is asked again.
//!
//! Nothing of it holds a turn up. A server is asked beside the conversation, and its tools are there once it has answered; a tool runs
//! beside the conversation, too, and outlasts an answer that the caller interrupts. What it said is told between answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use models::mcp::{Connected, McpConnection, McpError, McpServer, McpTool};
use models::{Prompt, Tool};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::info;
use web::call::{Ending, Event, Item, ItemContent, ItemId, McpCall, Place, Progress, ResponseConfig, Status, Toolset, TurnDetection};

use super::{Gone, Session, Told};

/// Once a tool has answered, the client has this long to ask for the answer itself, as OpenAI's API has it; then it is given unasked. A client on
/// the other side of the world hears of it and asks within less.
const GRACE: Duration = Duration::from_millis(300);
/// Most functions and tools that a model is offered (OpenAI's own bound).
const MOST_TOOLS: usize = 128;
/// Longest name of a function (OpenAI's own bound), bytes.
const LONGEST_NAME: usize = 64;
/// Most calls at once that run or wait for approval.
const MOST_CALLS: usize = 16;
/// Most servers that are known or being asked: a session names eight, an answer may name others.
const MOST_SERVERS: usize = 16;

/// The servers of a call, and what they were asked for.
#[derive(Default)]
pub(super) struct Mcp {
    servers: Vec<Known>,
    listing: FuturesUnordered<BoxFuture<'static, (ItemId, Result<Connected, McpError>)>>,
    /// Calls that are not over, by their items.
    calls: HashMap<ItemId, Call>,
    running: FuturesUnordered<BoxFuture<'static, (ItemId, Outcome)>>,
    /// What tools said that was not told yet.
    finished: Vec<(ItemId, Outcome)>,
    /// Answers that wait for their own servers.
    parked: Vec<(Option<String>, Box<ResponseConfig>)>,
    /// When the model is asked what to make of what tools said, unless the client asks first.
    pub owed: Option<Instant>,
}

type Outcome = Result<String, McpError>;

/// A server that was asked what it offers.
struct Known {
    server: McpServer,
    /// The item that lists its tools.
    item: ItemId,
    answer: Answer,
}

enum Answer {
    Awaited,
    Listed(Connected),
    Failed,
}

/// A call that is not over.
struct Call {
    place: Place,
    job: Job,
    since: Instant,
    state: CallState,
    then: Then,
}

#[derive(Clone, Copy, PartialEq)]
enum CallState {
    /// It runs since before its answer ended.
    Early,
    Running,
    /// Somebody is asked whether it may.
    Awaited,
}

/// What follows a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// The model is asked again.
    Answer,
    /// Nothing: the answer was cut, or the client has functions to run for it first.
    Nothing,
}

/// What is called, and where.
#[derive(Clone)]
struct Job {
    offered: Offered,
    arguments: String,
}

/// A tool that a model is offered.
#[derive(Clone)]
pub(super) struct Offered {
    /// The name that the model knows.
    called: String,
    /// The server's label.
    server: String,
    /// The tool's name there.
    tool: String,
    needs_approval: bool,
    connection: Arc<dyn McpConnection>,
}

impl Offered {
    /// A call of it, of which nothing is known yet.
    pub(super) fn call(&self, arguments: String) -> McpCall {
        let (server, tool, called) = (self.server.clone(), self.tool.clone(), self.called.clone());
        McpCall { server, tool, called, arguments, approval: None, outcome: None }
    }
}

/// The tools that the model of one answer is offered.
#[derive(Default)]
pub(super) struct Offer(Vec<Offered>);

impl Offer {
    /// The tool that the model calls by this name, if it is one.
    pub(super) fn find(&self, called: &str) -> Option<&Offered> {
        self.0.iter().find(|offered| offered.called == called)
    }
}

/// What happened with a server.
pub(super) enum Happened {
    /// It said what it offers.
    Listed(ItemId, Result<Connected, McpError>),
    /// A tool answered.
    Called(ItemId, Outcome),
    /// The client did not ask for the answer.
    Owed,
}

impl Mcp {
    /// What happens next; `quiet`: nobody speaks, and no answer is on its way. Cancel-safe.
    pub(super) async fn next(&mut self, quiet: bool) -> Happened {
        let owed = self.owed.filter(|_| quiet);
        tokio::select! {
            Some((item, listed)) = self.listing.next() => Happened::Listed(item, listed),
            Some((item, outcome)) = self.running.next() => Happened::Called(item, outcome),
            () = async { match owed { Some(at) => tokio::time::sleep_until(at).await, None => std::future::pending().await } } => Happened::Owed,
        }
    }

    /// Whether a tool runs, or its answer is still to be answered: the caller waits for us then, and not we for the caller.
    pub(super) fn is_busy(&self) -> bool {
        !self.running.is_empty() || self.owed.is_some()
    }

    fn known(&self, server: &McpServer) -> Option<&Known> {
        self.servers.iter().find(|known| known.server == *server)
    }

    /// The tools of these that have been listed, and the functions, each under a name of its own.
    fn offer(&self, tools: &Toolset) -> (Vec<Tool>, Offer) {
        let listed: Vec<(&McpServer, &Connected)> = tools
            .servers
            .iter()
            .filter_map(|server| match &self.known(server)?.answer {
                Answer::Listed(connected) => Some((server, connected)),
                Answer::Awaited | Answer::Failed => None,
            })
            .collect();
        let plain: Vec<String> = listed.iter().flat_map(|(_, connected)| &connected.tools).map(|tool| function_name(&tool.name)).collect();
        let mut functions = tools.functions.clone();
        let mut offer = Offer::default();
        let mut names = plain.iter();
        for (server, connected) in listed {
            for (tool, name) in connected.tools.iter().zip(&mut names) {
                let alone = plain.iter().filter(|other| *other == name).count() == 1;
                let taken = |name: &str| functions.iter().any(|function| function.name == name);
                let called = if alone && !taken(name) { name.clone() } else { own_name(&server.label, name, taken) };
                functions.push(function(&called, tool, server));
                offer.0.push(Offered {
                    called,
                    server: server.label.clone(),
                    tool: tool.name.clone(),
                    needs_approval: server.approval.is_needed(tool),
                    connection: connected.connection.clone(),
                });
            }
        }
        (functions, offer)
    }

    fn run(&mut self, item: &ItemId, job: &Job) {
        let item = item.clone();
        let called = match serde_json::from_str(if job.arguments.trim().is_empty() { "{}" } else { &job.arguments }) {
            Ok(arguments) => job.offered.connection.clone().call(job.offered.tool.clone(), arguments),
            Err(error) => {
                let message = format!("the arguments are no JSON object: {error}");
                Box::pin(async move { Err(McpError::Execution { message }) })
            }
        };
        self.running.push(Box::pin(async move { (item, called.await) }));
    }
}

/// A tool as a function of the model's.
fn function(called: &str, tool: &McpTool, server: &McpServer) -> Tool {
    let description = match (&tool.description, &server.description) {
        (Some(tool), Some(server)) => Some(format!("{tool} ({server})")),
        (tool, server) => tool.clone().or_else(|| server.clone()),
    };
    Tool { name: called.to_owned(), description, parameters: Some(Value::Object(tool.schema.clone())), extra: serde_json::Map::new() }
}

/// A name as models take them for functions: `_` for whatever else stands in it.
fn function_name(name: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let name: String = name.chars().map(|letter| if allowed(letter) { letter } else { '_' }).take(LONGEST_NAME).collect();
    if name.is_empty() { "tool".to_owned() } else { name }
}

/// A name for a tool whose own others have, too.
fn own_name(label: &str, name: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = |number: usize| {
        let end = if number == 1 { String::new() } else { format!("_{number}") };
        let mut whole = format!("{label}_{name}");
        whole.truncate(LONGEST_NAME - end.len());
        whole + &end
    };
    (1..).map(numbered).find(|name| !taken(name)).unwrap_or_default()
}

impl Session {
    /// Asks the servers that the session names and that were not asked, and forgets those that it names no more.
    pub(super) async fn follow_servers(&mut self) -> Told {
        let wanted = self.config.tools.servers.clone();
        self.mcp.servers.retain(|known| matches!(known.answer, Answer::Awaited) || wanted.contains(&known.server));
        self.ask_servers(&wanted).await
    }

    async fn ask_servers(&mut self, servers: &[McpServer]) -> Told {
        for server in servers {
            if self.mcp.known(server).is_some() {
                continue;
            }
            let id = self.name("item");
            let content = ItemContent::McpTools { server: server.label.clone(), listed: None };
            let item = Item { id: id.clone(), content, status: Status::InProgress };
            let after = self.dialogue.add(item.clone(), None).flatten();
            self.tell(Event::ItemAdded { after, item }).await?;
            self.tell(Event::McpListed { item: id.clone(), progress: Progress::InProgress }).await?;
            let connecting = if self.mcp.servers.len() < MOST_SERVERS {
                self.engines.mcp.connect(server)
            } else {
                let message = format!("more than {MOST_SERVERS} servers were named in a short time");
                Box::pin(async move { Err(McpError::Execution { message }) })
            };
            self.mcp.servers.push(Known { server: server.clone(), item: id.clone(), answer: Answer::Awaited });
            self.mcp.listing.push(Box::pin(async move { (id, connecting.await) }));
        }
        Ok(())
    }

    /// Gives an answer back that can begin; one whose own servers were not asked yet begins once they have answered.
    pub(super) async fn with_servers(
        &mut self,
        event_id: &Option<String>,
        response: Box<ResponseConfig>,
    ) -> Result<Option<Box<ResponseConfig>>, Gone> {
        let Some(tools) = response.tools.as_ref().filter(|_| !response.aside) else { return Ok(Some(response)) };
        let servers = tools.servers.clone();
        self.ask_servers(&servers).await?;
        let awaited = |server: &McpServer| self.mcp.known(server).is_some_and(|known| matches!(known.answer, Answer::Awaited));
        if !servers.iter().any(awaited) {
            return Ok(Some(response));
        }
        self.mcp.parked.push((event_id.clone(), response));
        Ok(None)
    }

    /// What the model of an answer may call. Answers beside the conversation have the client's functions alone.
    pub(super) fn offer(&self, response: &ResponseConfig, prompt: &mut Prompt) -> Offer {
        let tools = response.tools.as_ref().unwrap_or(&self.config.tools);
        let (functions, offer) = if response.aside { (tools.functions.clone(), Offer::default()) } else { self.mcp.offer(tools) };
        prompt.tools = functions;
        let Some(choice) = prompt.tool_choice.take_if(|choice| choice["type"] == "mcp") else { return offer };
        // A choice that cannot be made, since the server has not answered, leaves the model free.
        let chosen =
            |offered: &&Offered| offered.server == choice["server_label"] && (choice["name"].is_null() || offered.tool == choice["name"]);
        let names: Vec<&str> = offer.0.iter().filter(chosen).map(|offered| offered.called.as_str()).collect();
        prompt.tool_choice = match names[..] {
            [] => None,
            [only] => Some(json!({ "type": "function", "function": { "name": only } })),
            _ => {
                prompt.tools.retain(|tool| names.contains(&tool.name.as_str()));
                Some(json!("required"))
            }
        };
        offer
    }

    /// The model has said all that it says: its calls need not wait until it is heard.
    pub(super) fn begin_call(&mut self, place: &Place, offered: &Offered, arguments: &str) {
        if offered.needs_approval || self.mcp.calls.len() >= MOST_CALLS {
            return;
        }
        let job = Job { offered: offered.clone(), arguments: arguments.to_owned() };
        self.mcp.run(&place.item, &job);
        let call = Call { place: place.clone(), job, since: Instant::now(), state: CallState::Early, then: Then::Nothing };
        self.mcp.calls.insert(place.item.clone(), call);
    }

    /// The answer that a call is of ends. A call that is not whole is not made: its item is forgotten.
    pub(super) async fn end_call(&mut self, place: &Place, offered: &Offered, arguments: &str, ending: &Ending) -> Result<Item, Gone> {
        let content = ItemContent::McpCall(Box::new(offered.call(arguments.to_owned())));
        if *ending != Ending::Whole && !self.mcp.calls.contains_key(&place.item) {
            self.dialogue.remove(&place.item);
            self.tell(Event::ItemDeleted(place.item.clone())).await?;
            return Ok(Item { id: place.item.clone(), content, status: Status::Incomplete });
        }
        let item = Item { id: place.item.clone(), content, status: Status::Completed };
        self.dialogue.settle(item.clone());
        self.tell(Event::McpCallDone { place: place.clone(), arguments: arguments.to_owned() }).await?;
        Ok(item)
    }

    /// An answer is over that called tools: they are run, or somebody is asked whether they may. `answer`: whether the model is asked again.
    pub(super) async fn start_calls(&mut self, calls: Vec<(Place, Offered, String)>, answer: bool) -> Told {
        let then = if answer { Then::Answer } else { Then::Nothing };
        for (place, offered, arguments) in calls {
            let id = place.item.clone();
            if !self.mcp.calls.contains_key(&id) {
                let state = if offered.needs_approval { CallState::Awaited } else { CallState::Running };
                let job = Job { offered, arguments };
                if self.mcp.calls.len() >= MOST_CALLS {
                    let message = format!("more than {MOST_CALLS} calls run already, or wait for approval");
                    self.mcp.finished.push((id.clone(), Err(McpError::Execution { message })));
                } else if state == CallState::Awaited {
                    self.ask_approval(&id, &job).await?;
                } else {
                    self.mcp.run(&id, &job);
                }
                self.mcp.calls.insert(id.clone(), Call { place: place.clone(), job, since: Instant::now(), state, then });
            }
            let Some(call) = self.mcp.calls.get_mut(&id) else { continue };
            call.then = then;
            if call.state != CallState::Awaited {
                call.state = CallState::Running;
                self.tell(Event::McpCalled { place, progress: Progress::InProgress }).await?;
            }
        }
        Ok(())
    }

    async fn ask_approval(&mut self, call: &ItemId, job: &Job) -> Told {
        let id = self.name("item");
        let Offered { server, tool, .. } = &job.offered;
        let content = ItemContent::McpApprovalRequest { server: server.clone(), tool: tool.clone(), arguments: job.arguments.clone() };
        let item = Item { id: id.clone(), content, status: Status::Completed };
        self.dialogue.mcp_call(call, |call| call.approval = Some(id));
        let after = self.dialogue.add(item.clone(), None).flatten();
        self.tell(Event::ItemAdded { after: after.clone(), item: item.clone() }).await?;
        self.tell(Event::ItemDone { after, item }).await
    }

    /// The call that waits for the approval asked for in this item.
    pub(super) fn awaits_approval(&self, request: &str) -> Option<ItemId> {
        let asked = |(item, call): &(&ItemId, &Call)| {
            let content = self.dialogue.get(item).map(|item| &item.content);
            call.state == CallState::Awaited
                && matches!(content, Some(ItemContent::McpCall(call)) if call.approval.as_deref() == Some(request))
        };
        self.mcp.calls.iter().find(asked).map(|(item, _)| item.clone())
    }

    /// Somebody approved of a call, or did not.
    pub(super) async fn approved(&mut self, call: &ItemId, approve: bool, reason: Option<String>) -> Told {
        let mcp = &mut self.mcp;
        let Some(waiting) = mcp.calls.get_mut(call) else { return Ok(()) };
        (waiting.state, waiting.since) = (CallState::Running, Instant::now());
        if approve {
            let (place, job) = (waiting.place.clone(), waiting.job.clone());
            mcp.run(call, &job);
            return self.tell(Event::McpCalled { place, progress: Progress::InProgress }).await;
        }
        let reason = reason.filter(|reason| !reason.is_empty()).map_or(String::new(), |reason| format!(": {reason}"));
        let message = format!("the call was not approved{reason}");
        mcp.finished.push((call.clone(), Err(McpError::Execution { message })));
        self.tell_results().await
    }

    /// Something happened with a server.
    pub(super) async fn happened(&mut self, happened: Happened) -> Told {
        match happened {
            Happened::Listed(item, listed) => self.listed(item, listed).await,
            Happened::Called(item, outcome) => {
                self.mcp.finished.push((item, outcome));
                self.tell_results().await
            }
            Happened::Owed => {
                self.mcp.owed = None;
                self.respond(None, Box::default()).await
            }
        }
    }

    async fn listed(&mut self, item: ItemId, listed: Result<Connected, McpError>) -> Told {
        let others: usize =
            self.mcp.servers.iter().map(|known| if let Answer::Listed(it) = &known.answer { it.tools.len() } else { 0 }).sum();
        let Some(known) = self.mcp.servers.iter_mut().find(|known| known.item == item) else { return Ok(()) };
        let listed = listed.and_then(|connected| match others + self.config.tools.functions.len() + connected.tools.len() {
            0..=MOST_TOOLS => Ok(connected),
            all => Err(McpError::Execution {
                message: format!("with its tools there are {all}, and models take {MOST_TOOLS}; name those you need in `allowed_tools`"),
            }),
        });
        let (server, tools) =
            (known.server.label.clone(), listed.as_ref().map(|connected| connected.tools.clone()).map_err(McpError::clone));
        known.answer = listed.map_or(Answer::Failed, Answer::Listed);
        // It was begun without these tools.
        self.prepared = None;
        let progress = match &tools {
            Ok(tools) => {
                info!(call = %self.id, server, tools = tools.len(), "An MCP server offers tools.");
                Progress::Completed
            }
            Err(error) => {
                info!(call = %self.id, server, %error, "An MCP server offers none.");
                Progress::Failed
            }
        };
        let content = ItemContent::McpTools { server, listed: Some(tools) };
        let whole = Item { id: item.clone(), content, status: Status::Completed };
        if self.dialogue.settle(whole.clone()) {
            let after = self.dialogue.before(&item);
            self.tell(Event::ItemDone { after, item: whole }).await?;
        }
        self.tell(Event::McpListed { item, progress }).await?;
        for (event_id, response) in std::mem::take(&mut self.mcp.parked) {
            Box::pin(self.respond(event_id, response)).await?;
        }
        Ok(())
    }

    /// An answer ended: what tools said meanwhile is told, and the client has its time from now on.
    pub(super) async fn between_answers(&mut self) -> Told {
        self.mcp.owed = self.mcp.owed.map(|at| at.max(Instant::now() + GRACE));
        self.tell_results().await
    }

    /// Tells what tools said, unless an answer is on its way: clients ask for the next one as soon as they hear of it.
    async fn tell_results(&mut self) -> Told {
        if self.reply.is_some() {
            return Ok(());
        }
        for (id, outcome) in std::mem::take(&mut self.mcp.finished) {
            let Some(Call { place, job, since, then, .. }) = self.mcp.calls.remove(&id) else { continue };
            let progress = if outcome.is_ok() { Progress::Completed } else { Progress::Failed };
            let Offered { server, tool, .. } = &job.offered;
            let (took, failed) = (since.elapsed(), outcome.as_ref().err());
            info!(call = %self.id, response = %place.response, server, tool, ms = took.as_millis() as u64, error = failed.map(tracing::field::display), "A tool was called.");
            self.books.tool_called(&place.response, format!("{server}/{tool}"), took, failed);
            let whole = self.dialogue.end_mcp_call(&id, outcome);
            let together = self.mcp.calls.values().any(|other| other.place.response == place.response);
            self.tell(Event::McpCalled { place, progress }).await?;
            if let Some(item) = whole {
                let after = self.dialogue.before(&id);
                self.tell(Event::ItemDone { after, item }).await?;
            }
            if then == Then::Answer && !together && self.answers_unasked() {
                self.mcp.owed = Some(Instant::now() + GRACE);
            }
        }
        Ok(())
    }

    /// Whether this session answers its caller without being asked to.
    fn answers_unasked(&self) -> bool {
        match self.config.turns {
            TurnDetection::Manual => false,
            TurnDetection::Silence { then, .. } | TurnDetection::Semantic { then, .. } => then.respond,
        }
    }
}
