//! What holds of every call, whatever its client and its engines do, and in whatever order.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

/// Something that a client does.
#[derive(Clone, Debug)]
enum Act {
    Speak { ms: u64 },
    Rest { ms: u64 },
    Ask(Asked),
    Leave,
}

/// Commands, with what they refer to as a number: which of the names known by then.
#[derive(Clone, Debug)]
enum Asked {
    Turns(TurnDetection),
    Commit,
    Clear,
    /// Whether somebody approves of a tool's call: which of the requests.
    Approve(usize, bool),
    /// Words that the model repeats, breaks at, or calls a function or a tool for.
    Write(&'static str),
    Retrieve(usize),
    Delete(usize),
    Truncate(usize, u64),
    Respond {
        aside: bool,
        spoken: Option<bool>,
    },
    Cancel(Option<usize>),
    Played(usize, u64),
    Silenced(usize, u64),
}

fn turns() -> impl Strategy<Value = TurnDetection> {
    let then = (any::<bool>(), any::<bool>()).prop_map(|(respond, interrupt)| AfterTurn { respond, interrupt });
    prop_oneof![
        Just(TurnDetection::Manual),
        then.clone().prop_map(|then| TurnDetection::Silence { threshold: 0.5, padding_ms: 300, silence_ms: 300, then }),
        then.prop_map(|then| TurnDetection::Semantic { eagerness: Eagerness::High, then }),
    ]
}

fn asked() -> impl Strategy<Value = Asked> {
    let name = 0..8_usize;
    prop_oneof![
        1 => turns().prop_map(Asked::Turns),
        2 => Just(Asked::Commit),
        1 => Just(Asked::Clear),
        2 => prop::sample::select(vec!["ping", "break", "call", "call weather", "call wipe"]).prop_map(Asked::Write),
        1 => (0..3_usize, any::<bool>()).prop_map(|(request, approve)| Asked::Approve(request, approve)),
        1 => name.clone().prop_map(Asked::Retrieve),
        1 => name.clone().prop_map(Asked::Delete),
        1 => (name.clone(), 0..4_000_u64).prop_map(|(item, ms)| Asked::Truncate(item, ms)),
        3 => (any::<bool>(), any::<Option<bool>>()).prop_map(|(aside, spoken)| Asked::Respond { aside, spoken }),
        2 => prop::option::of(name.clone()).prop_map(Asked::Cancel),
        1 => (name.clone(), 0..4_000_u64).prop_map(|(response, ms)| Asked::Played(response, ms)),
        1 => (name, 0..4_000_u64).prop_map(|(response, ms)| Asked::Silenced(response, ms)),
    ]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (1..40_u64).prop_map(|tens| Act::Speak { ms: tens * 20 }),
        3 => (1..60_u64).prop_map(|tens| Act::Rest { ms: tens * 20 }),
        5 => asked().prop_map(Act::Ask),
        1 => prop::bool::weighted(0.1).prop_map(|leave| if leave { Act::Leave } else { Act::Rest { ms: 3_000 } }),
    ];
    prop::collection::vec(act, 1..40)
}

/// A session with a server whose one tool changes something.
fn with_tools(turns: TurnDetection) -> SessionConfig {
    let mut config = config(turns);
    config.tools.servers.push(tools::server("home"));
    config
}

/// A client that does as it is told, and remembers what it asked for.
struct Actor {
    client: Client,
    sent: Vec<(String, &'static str)>,
}

impl Actor {
    async fn act(&mut self, act: &Act) -> bool {
        match act {
            Act::Speak { ms } => self.client.sound(0.5, *ms).await,
            Act::Rest { ms } => self.client.sound(0.0, *ms).await,
            Act::Leave => return false,
            Act::Ask(asked) => {
                let (name, command) = self.command(asked);
                let event_id = format!("mine_{}", self.sent.len());
                self.sent.push((event_id.clone(), name));
                let request = Request { event_id: Some(event_id), command };
                self.client.commands.send(request).await.expect("the session lives");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        self.client.read();
        true
    }

    fn command(&self, asked: &Asked) -> (&'static str, Command) {
        let (mut items, mut responses, mut requests) = (Vec::new(), Vec::new(), Vec::new());
        for event in &self.client.told {
            if let Event::ItemAdded { item: Item { id, content: ItemContent::McpApprovalRequest { .. }, .. }, .. } = event {
                requests.push(id.as_str());
            }
            match event {
                Event::ItemAdded { item, .. } => items.push(item.id.as_str()),
                Event::ResponseCreated(response) => responses.push(response.id.as_str()),
                _ => {}
            }
        }
        let named = |names: &[&str], index: usize| names.get(index).copied().unwrap_or("nobody").to_owned();
        match asked {
            Asked::Turns(turns) => ("update", Command::Update(Box::new(with_tools(*turns)))),
            Asked::Approve(request, approve) => {
                let content = ItemContent::McpApprovalResponse { request: named(&requests, *request), approve: *approve, reason: None };
                ("create", Command::Create { after: None, item: Item { id: String::new(), content, status: Status::Completed } })
            }
            Asked::Commit => ("commit", Command::Commit),
            Asked::Clear => ("clear", Command::Clear),
            Asked::Write(words) => {
                let parts = vec![Content::Text((*words).to_owned())];
                let content = ItemContent::Message { role: models::Role::User, parts };
                ("create", Command::Create { after: None, item: Item { id: String::new(), content, status: Status::Completed } })
            }
            Asked::Retrieve(item) => ("retrieve", Command::Retrieve(named(&items, *item))),
            Asked::Delete(item) => ("delete", Command::Delete(named(&items, *item))),
            Asked::Truncate(item, audio_end_ms) => {
                ("truncate", Command::Truncate { item: named(&items, *item), content_index: 0, audio_end_ms: *audio_end_ms })
            }
            Asked::Respond { aside, spoken } => {
                ("respond", Command::Respond(Box::new(ResponseConfig { aside: *aside, spoken: *spoken, ..ResponseConfig::default() })))
            }
            Asked::Cancel(response) => ("cancel", Command::Cancel(response.map(|index| named(&responses, index)))),
            Asked::Played(response, ms) => {
                ("played", Command::Played { response: named(&responses, *response), heard: Duration::from_millis(*ms) })
            }
            Asked::Silenced(response, ms) => {
                ("silenced", Command::Silenced { response: named(&responses, *response), heard: Duration::from_millis(*ms) })
            }
        }
    }
}

/// What is known of an answer while its events are read.
#[derive(Default)]
struct Seen {
    spoken: bool,
    aside: bool,
    open: HashSet<String>,
    parts: HashSet<String>,
    ended: bool,
}

/// Reads the events of a call in order; fails at the first that must not be there.
fn check(told: &[Event]) -> Result<(), TestCaseError> {
    let mut answers: HashMap<String, Seen> = HashMap::new();
    let mut speaking: Option<String> = None;
    let mut committed: HashSet<String> = HashSet::new();
    let (mut done, mut called) = (HashSet::new(), HashMap::new());
    let mut last_ms = 0;
    for event in told {
        let place = match event {
            Event::PartAdded { place, .. }
            | Event::AudioDelta { place, .. }
            | Event::TextDelta { place, .. }
            | Event::CallDelta { place, .. }
            | Event::PartDone { place, .. }
            | Event::CallDone { place, .. }
            | Event::McpCallDelta { place, .. }
            | Event::McpCallDone { place, .. }
            | Event::OutputItemAdded { place, .. }
            | Event::OutputItemDone { place, .. } => Some(place),
            _ => None,
        };
        let mut answer = match place {
            Some(place) => {
                let answer = answers.get_mut(&place.response);
                prop_assert!(answer.as_ref().is_some_and(|answer| !answer.ended), "outside of its answer: {event:?}");
                if !matches!(event, Event::OutputItemAdded { .. }) {
                    prop_assert!(answer.as_ref().is_some_and(|answer| answer.open.contains(&place.item)), "outside of its item: {event:?}");
                }
                answer
            }
            None => None,
        };
        match (event, &mut answer) {
            (Event::ResponseCreated(response), _) => {
                let active = answers.values().filter(|answer| !answer.ended && !answer.aside).count();
                prop_assert!(response.aside || active == 0, "two answers at once");
                let seen = Seen { spoken: response.spoken, aside: response.aside, ..Seen::default() };
                prop_assert!(answers.insert(response.id.clone(), seen).is_none(), "an answer began twice");
            }
            (Event::ResponseDone(response), _) => {
                let answer = answers.get_mut(&response.id).filter(|answer| !answer.ended);
                let Some(answer) = answer else { return Err(TestCaseError::fail("an answer ended that was not there")) };
                prop_assert!(answer.open.is_empty() && answer.parts.is_empty(), "an answer ended before its items did");
                prop_assert!(answer.spoken == response.spoken && answer.aside == response.aside, "an answer became another one");
                answer.ended = true;
            }
            (Event::OutputItemAdded { place, .. }, Some(answer)) => prop_assert!(answer.open.insert(place.item.clone())),
            (Event::OutputItemDone { place, .. }, Some(answer)) => {
                prop_assert!(!answer.parts.contains(&place.item), "an item ended before its part did");
                answer.open.remove(&place.item);
            }
            (Event::PartAdded { place, .. }, Some(answer)) => prop_assert!(answer.parts.insert(place.item.clone())),
            (Event::PartDone { place, .. }, Some(answer)) => prop_assert!(answer.parts.remove(&place.item)),
            (Event::AudioDelta { place, .. }, Some(answer)) => {
                prop_assert!(answer.spoken && answer.parts.contains(&place.item), "sound outside of its part");
            }
            (Event::SpeechStarted { item, at_ms }, _) => {
                prop_assert!(speaking.is_none(), "speech began within speech");
                prop_assert!(*at_ms >= last_ms, "speech began at {at_ms} ms, before {last_ms} ms");
                (speaking, last_ms) = (Some(item.clone()), *at_ms);
            }
            (Event::SpeechStopped { item, at_ms }, _) => {
                prop_assert!(speaking.as_ref() == Some(item) && *at_ms >= last_ms, "speech ended that had not begun");
                last_ms = *at_ms;
            }
            (Event::Committed { item, .. }, _) => {
                prop_assert!(committed.insert(item.clone()), "an item was committed twice");
                speaking = None;
            }
            (Event::Cleared, _) => speaking = None,
            (Event::ItemDone { item, .. }, _) => prop_assert!(done.insert(item.id.clone()), "an item was done twice"),
            (Event::McpCallDone { place, .. }, _) => {
                prop_assert!(called.insert(place.item.clone(), Progress::InProgress).is_none(), "a call was whole twice");
            }
            (Event::McpCalled { place, progress }, _) => {
                let active = answers.values().any(|answer| !answer.ended && !answer.aside);
                prop_assert!(*progress == Progress::InProgress || !active, "a tool's answer was told within an answer");
                let before = called.insert(place.item.clone(), *progress);
                prop_assert!(before == Some(Progress::InProgress), "a tool answered twice, or to nothing");
                prop_assert!(!done.contains(&place.item), "a call was done before it ended");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Every command was heard: it had its effect, or an error that names it; not both.
fn check_commands(sent: &[(String, &'static str)], told: &[Event]) -> Result<(), TestCaseError> {
    let refused: Vec<&str> = told
        .iter()
        .filter_map(|event| match event {
            Event::Error(error) => error.event_id.as_deref(),
            _ => None,
        })
        .collect();
    prop_assert_eq!(refused.len(), refused.iter().collect::<HashSet<_>>().len(), "one error for each command");
    let count = |is: fn(&Event) -> bool| told.iter().filter(|event| is(event)).count();
    let effects: [(&str, usize); 4] = [
        ("update", count(|event| matches!(event, Event::Updated))),
        ("clear", count(|event| matches!(event, Event::Cleared))),
        ("retrieve", count(|event| matches!(event, Event::ItemRetrieved(_)))),
        ("delete", count(|event| matches!(event, Event::ItemDeleted(_)))),
    ];
    // A call of a tool that was cut before it was whole goes by itself.
    let calls = count(|event| matches!(event, Event::ItemAdded { item: Item { content: ItemContent::McpCall(_), .. }, .. }));
    for (name, effects) in effects {
        let heard = sent.iter().filter(|(id, command)| *command == name && !refused.contains(&id.as_str())).count();
        let more = if name == "delete" { calls } else { 0 };
        prop_assert!((heard..=heard + more).contains(&effects), "{heard} of {name} had {effects} effects");
    }
    Ok(())
}

async fn play(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let mut actor = Actor { client: Client::with(Attention::Idle, with_tools(TURNS), Policy::default()), sent: Vec::new() };
    let mut stayed = true;
    for act in &acts {
        stayed = actor.act(act).await;
        if !stayed {
            break;
        }
    }
    let Actor { mut client, sent } = actor;
    if stayed {
        // Whatever is going on comes to its end.
        client.sound(0.0, 4_000).await;
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            client.read();
        }
        check_commands(&sent, &client.told)?;
        let begun = client.told.iter().filter(|event| matches!(event, Event::ResponseCreated(_))).count();
        let ended = client.told.iter().filter(|event| matches!(event, Event::ResponseDone(_))).count();
        prop_assert_eq!(begun, ended, "an answer never ended");
    }
    check(&client.told)?;
    // Hanging up ends the session, and what it still says.
    let Client { commands, mut events, .. } = client;
    drop(commands);
    let closed = tokio::time::timeout(Duration::from_secs(1), async { while events.recv().await.is_some() {} }).await;
    prop_assert!(closed.is_ok(), "the session outlived its client");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_call_holds_its_invariants_whatever_happens(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(play(acts))?;
    }
}
