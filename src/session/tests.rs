//! Calls with engines that do what the script says, in virtual time.

mod invariants;
mod language;
mod prepared;
mod tools;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use audio::codec::Codec;
use audio::{Frame, Rate, Samples};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use models::{
    Attention, Delta, ErrorKind, Finish, Heard, Hint, LanguageModel, ModelError, Partial, Prompt, Sound, Spoken, Synthesizer, Transcriber,
    Utterance, Voice, Word,
};
use router::limit::{Allowance, Limit, Meter, Policy, Window};
use router::{Ledger, Record};
use tokio::sync::mpsc;
use web::call::{
    AfterTurn, Call, Command, Content, Eagerness, Ending, Event, Item, ItemContent, Progress, Request, ResponseConfig, SessionConfig,
    Status, TurnDetection,
};

use crate::engines::{Engines, VoiceActivity};

/// Hears how long it was spoken to.
struct Ears {
    /// How soon it answers a pause; if never, it leaves it out.
    attention: Attention,
}

impl Transcriber for Ears {
    fn attention(&self) -> Attention {
        self.attention
    }

    fn transcribe(&self, sound: BoxStream<'static, Sound>, _: Hint) -> BoxStream<'static, Result<Heard, ModelError>> {
        let said = |samples: usize| format!("I spoke for {} tenths.", samples / 1_600);
        let deaf = self.attention == Attention::Never;
        let state = (sound, 0_usize, false);
        stream::unfold(state, move |(mut sound, mut samples, done)| async move {
            if done {
                return None;
            }
            loop {
                match sound.next().await {
                    Some(Sound::Frame(frame)) => samples += frame.pcm.len(),
                    Some(Sound::Pause | Sound::Glance) if deaf => {}
                    Some(Sound::Glance) => return Some((Ok(Heard::Glanced(said(samples))), (sound, samples, false))),
                    Some(Sound::Pause) => {
                        let covers = Samples(samples as u64).duration(Rate::MODEL);
                        let partial = Partial { settled: said(samples).len(), text: said(samples), covers };
                        return Some((Ok(Heard::Paused(partial)), (sound, samples, false)));
                    }
                    None => {
                        let utterance = Utterance { text: said(samples), ..Utterance::default() };
                        return Some((Ok(Heard::Utterance(utterance)), (sound, samples, true)));
                    }
                }
            }
        })
        .boxed()
    }
}

/// Repeats the last message, a word at a time. Asked to, it breaks half-way, or calls a function: `ring`, or the one named.
struct Echo;

impl LanguageModel for Echo {
    fn complete(&self, prompt: Prompt) -> BoxStream<'static, Result<Delta, ModelError>> {
        let last = prompt.messages.last().map(models::Message::words).unwrap_or_default();
        let words: Vec<_> = format!("You said {last}").split_inclusive(' ').map(|word| Ok(Delta::Text(word.to_owned()))).collect();
        let end: Vec<Result<Delta, ModelError>> = match last.as_str() {
            "break" => vec![Err(ModelError::new(ErrorKind::Failed, "echo", "it broke"))],
            call if call == "call" || call.starts_with("call ") => {
                let (id, name) = ("call_1".to_owned(), call.strip_prefix("call ").unwrap_or("ring").to_owned());
                let call =
                    Delta::ToolCall { index: 0, id: Some(id), name: Some(name), arguments: "{}".to_owned(), extra: serde_json::Map::new() };
                vec![Ok(call), Ok(Delta::Finish(Finish::ToolCalls))]
            }
            _ => vec![Ok(Delta::Finish(Finish::Stop))],
        };
        stream::iter(words).chain(stream::iter(end)).boxed()
    }
}

/// Half a second of a tone for each word, once it has all of them.
struct Mouth;

impl Synthesizer for Mouth {
    fn speak(&self, text: BoxStream<'static, String>, _: Voice) -> BoxStream<'static, Result<Spoken, ModelError>> {
        stream::once(text.collect::<String>())
            .flat_map(|text| {
                let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
                stream::iter(words.into_iter().enumerate().map(|(index, text)| {
                    let start = Duration::from_millis(500 * index as u64);
                    let frame = Frame::new(vec![0.3; 12_000], Rate::SPEECH, Samples(12_000 * index as u64));
                    Ok(Spoken { frame, words: vec![Word { text, start, end: start + Duration::from_millis(500), confidence: None }] })
                }))
            })
            .boxed()
    }

    fn voices(&self) -> Vec<String> {
        vec!["tone".to_owned()]
    }
}

fn engines(attention: Attention) -> Arc<Engines> {
    heard_with(Arc::new(Ears { attention }))
}

fn heard_with(transcriber: Arc<dyn Transcriber>) -> Arc<Engines> {
    let provider = router::Provider::new("echo", Arc::new(Echo), vec!["echo".to_owned()]);
    let config = router::Config { providers: vec![provider], default_model: "echo/echo".to_owned(), ..router::Config::default() };
    Arc::new(Engines {
        router: router::Router::new(config).expect("the router is fine"),
        speakers: router::Speakers {
            transcriber,
            hears: "openai/whisper-1".to_owned(),
            emotion: models::Heads::moonshine(),
            synthesizer: Arc::new(Mouth),
            speaks: "openai/tts-1".to_owned(),
            price: Some(Arc::new(|target, amount| router::Catalogue::default().price(target, amount))),
        },
        voice_activity: VoiceActivity::Level(0.001),
        turn: None,
        mcp: Arc::new(tools::Servers),
        denoiser: None,
        default_voice: "tone".to_owned(),
    })
}

fn config(turns: TurnDetection) -> SessionConfig {
    SessionConfig { model: "gpt-realtime".to_owned(), input: Codec::Pcm16(Rate::MODEL), turns, ..SessionConfig::default() }
}

const TURNS: TurnDetection =
    TurnDetection::Silence { threshold: 0.5, padding_ms: 300, silence_ms: 500, then: AfterTurn { respond: true, interrupt: true } };

/// A client of a session.
struct Client {
    commands: mpsc::Sender<Request>,
    events: mpsc::Receiver<Event>,
    told: Vec<Event>,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Client {
    fn call(turns: TurnDetection) -> Client {
        Client::heard_by(Attention::Idle, turns)
    }

    fn heard_by(attention: Attention, turns: TurnDetection) -> Client {
        Client::limited(attention, turns, Policy::default())
    }

    fn limited(attention: Attention, turns: TurnDetection, policy: Policy) -> Client {
        Client::with(attention, config(turns), policy)
    }

    fn with(attention: Attention, config: SessionConfig, policy: Policy) -> Client {
        Client::on(engines(attention), config, policy)
    }

    fn on(engines: Arc<Engines>, config: SessionConfig, policy: Policy) -> Client {
        let records: Arc<Mutex<Vec<Record>>> = Arc::default();
        let sink = records.clone();
        let take = Arc::new(move |record| sink.lock().expect("no test panics with it").push(record));
        let sink = web::RecordSink { take, texts: true };
        let books = web::Books { ledger: Ledger::new(policy), sink: Some(sink), ..web::Books::default() };
        let (commands, to_session) = mpsc::channel(64);
        let (to_client, events) = mpsc::channel(256);
        let call = Call { id: "call_1".to_owned(), books, config, commands: to_session, events: to_client };
        tokio::spawn(super::serve(call, engines));
        Client { commands, events, told: Vec::new(), records }
    }

    async fn send(&self, command: Command) {
        self.commands.send(Request { event_id: Some("mine".to_owned()), command }).await.expect("the session lives");
    }

    /// Sends a level of sound for so long, at the pace of sound.
    async fn sound(&mut self, level: f32, ms: u64) {
        for _ in 0..ms / 20 {
            let mut bytes = Vec::new();
            audio::codec::pcm::encode(&[level; 320], &mut bytes);
            self.send(Command::Append(bytes.into())).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.read();
        }
    }

    /// Takes what was told by now.
    fn read(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.told.push(event);
        }
    }

    /// Reads until an event is found.
    async fn until<T>(&mut self, mut find: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = self.told.iter().find_map(&mut find) {
                return found;
            }
            let event = tokio::time::timeout(Duration::from_secs(60), self.events.recv()).await;
            self.told.push(event.expect("the event comes").expect("the session lives"));
        }
    }

    async fn done(&mut self) -> Ending {
        self.until(|event| match event {
            Event::ResponseDone(response) => response.ending.clone(),
            _ => None,
        })
        .await
    }

    async fn error(&mut self) -> &'static str {
        self.until(|event| match event {
            Event::Error(error) => Some(error.code),
            _ => None,
        })
        .await
    }

    /// How long the speech is that came so far.
    fn speech(&self) -> Duration {
        let bytes: usize = self.told.iter().map(|event| if let Event::AudioDelta { audio, .. } = event { audio.len() } else { 0 }).sum();
        Samples(bytes as u64 / 2).duration(Rate::SPEECH)
    }
}

fn spoken_text(event: &Event) -> Option<String> {
    match event {
        Event::PartDone { text, .. } => Some(text.clone()),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_ends_early_whatever_the_transcriber_says_of_its_pauses() {
    let turns = TurnDetection::Semantic { eagerness: Eagerness::Medium, then: AfterTurn { respond: true, interrupt: true } };
    for attention in [Attention::Never, Attention::Busy, Attention::Idle] {
        let mut client = Client::heard_by(attention, turns);
        client.sound(0.5, 1_000).await;
        // The longest pause that medium eagerness waits out is 1.8 s.
        client.sound(0.0, 1_000).await;
        assert!(client.told.iter().any(|event| matches!(event, Event::SpeechStopped { .. })), "{attention:?}");
        assert_eq!(client.done().await, Ending::Whole, "{attention:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn turns_that_follow_fast_keep_their_signals() {
    let turns =
        TurnDetection::Silence { threshold: 0.5, padding_ms: 0, silence_ms: 100, then: AfterTurn { respond: false, interrupt: true } };
    let mut client = Client::call(turns);
    for _ in 0..3 {
        client.sound(0.5, 200).await;
        client.sound(0.0, 200).await;
    }
    let mut items = Vec::new();
    for _ in 0..3 {
        let known = items.clone();
        let new = |event: &Event| match event {
            Event::Signals { item, .. } if !known.contains(item) => Some(item.clone()),
            _ => None,
        };
        items.push(client.until(new).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_heard_and_answered_aloud() {
    let mut client = Client::call(TURNS);
    client.sound(0.5, 1_000).await;
    client.sound(0.0, 1_000).await;
    assert_eq!(client.done().await, Ending::Whole);
    assert!(client.until(spoken_text).await.starts_with("You said I spoke for 1"));
    assert_eq!(client.speech(), Duration::from_millis(500 * 7));
    let names: Vec<&str> = client
        .told
        .iter()
        .filter_map(|event| match event {
            Event::SpeechStarted { .. } => Some("started"),
            Event::SpeechStopped { .. } => Some("stopped"),
            Event::Committed { .. } => Some("committed"),
            Event::TranscriptDone { .. } => Some("transcript"),
            Event::ResponseCreated(_) => Some("created"),
            Event::Routed { .. } => Some("routed"),
            Event::PartAdded { .. } => Some("part"),
            Event::PartDone { .. } => Some("part done"),
            Event::OutputItemDone { .. } => Some("item done"),
            Event::ResponseDone(_) => Some("done"),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["started", "stopped", "committed", "created", "routed", "transcript", "part", "part done", "item done", "done"]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_speaks_stops_the_answer_and_the_history_keeps_what_was_heard() {
    let mut client = Client::call(TURNS);
    client.sound(0.5, 1_000).await;
    client.sound(0.0, 1_600).await;
    let before = client.speech();
    assert!(before > Duration::ZERO, "the answer speaks");
    client.sound(0.5, 600).await;
    assert_eq!(client.done().await, Ending::Interrupted);
    let said = client.until(spoken_text).await;
    assert!("You said I spoke for".starts_with(&said), "{said:?}");
    assert!(client.speech() <= before + Duration::from_millis(300), "it stopped at once");
}

/// What transports that play answers themselves are told.
fn played(event: &Event) -> Option<&'static str> {
    match event {
        Event::Hold { held: true, .. } => Some("hold"),
        Event::Hold { held: false, .. } => Some("go on"),
        Event::Silence { .. } => Some("silence"),
        Event::ResponseDone(_) => Some("done"),
        Event::ItemTruncated { .. } => Some("truncated"),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_an_answer_can_be_interrupted_when_all_of_it_was_sent() {
    for (speech_ms, expected) in [(600, vec!["done", "hold", "silence"]), (80, vec!["done", "hold", "go on"])] {
        let mut client = Client::call(TURNS);
        client.sound(0.5, 1_000).await;
        client.sound(0.0, 700).await;
        assert_eq!(client.done().await, Ending::Whole);
        client.sound(0.5, speech_ms).await;
        client.sound(0.0, 300).await;
        assert_eq!(client.told.iter().filter_map(played).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_history_keeps_what_the_transport_says_was_heard() {
    let mut client = Client::call(TURNS);
    client.sound(0.5, 1_000).await;
    client.sound(0.0, 1_600).await;
    let response = client.until(|event| match event {
        Event::ResponseCreated(response) => Some(response.id.clone()),
        _ => None,
    });
    let response = response.await;
    client.sound(0.5, 200).await;
    client.send(Command::Played { response: response.clone(), heard: Duration::from_millis(600) }).await;
    client.sound(0.5, 400).await;
    assert_eq!(client.done().await, Ending::Interrupted);
    assert_eq!(client.until(spoken_text).await, "You said");
    client.send(Command::Silenced { response, heard: Duration::from_millis(300) }).await;
    let item = client.until(|event| match event {
        Event::ItemTruncated { item, audio_end_ms: 300, .. } => Some(item.clone()),
        _ => None,
    });
    let item = item.await;
    client.send(Command::Retrieve(item)).await;
    let kept = client.until(|event| match event {
        Event::ItemRetrieved(Item { content: ItemContent::Message { parts, .. }, .. }) => Some(parts.clone()),
        _ => None,
    });
    assert_eq!(kept.await, [Content::Audio { transcript: Some("You".to_owned()), pcm: None }]);
    assert_eq!(client.told.iter().filter_map(played).collect::<Vec<_>>(), ["hold", "silence", "done", "truncated"]);
}

#[tokio::test(start_paused = true)]
async fn a_cough_only_holds_the_answer() {
    let mut client = Client::call(TURNS);
    client.sound(0.5, 1_000).await;
    client.sound(0.0, 1_600).await;
    client.sound(0.5, 80).await;
    client.sound(0.0, 1_000).await;
    assert_eq!(client.done().await, Ending::Whole);
    assert_eq!(client.speech(), Duration::from_millis(500 * 7));
    assert_eq!(client.told.iter().filter(|event| matches!(event, Event::SpeechStarted { .. })).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_push_to_talk() {
    let mut client = Client::call(TurnDetection::Manual);
    client.send(Command::Commit).await;
    assert_eq!(client.error().await, "input_audio_buffer_commit_empty");
    client.sound(0.5, 1_000).await;
    client.send(Command::Commit).await;
    client.until(|event| matches!(event, Event::TranscriptDone { .. }).then_some(())).await;
    client.send(Command::Respond(Box::default())).await;
    client.send(Command::Respond(Box::default())).await;
    client
        .until(|event| matches!(event, Event::Error(error) if error.code == "conversation_already_has_active_response").then_some(()))
        .await;
    client.send(Command::Cancel(None)).await;
    assert_eq!(client.done().await, Ending::ClientCancelled);
}

#[tokio::test(start_paused = true)]
async fn a_written_question_gets_a_written_answer_beside_the_conversation() {
    let mut client = Client::call(TURNS);
    let parts = vec![Content::Text("ping".to_owned())];
    let item = Item { id: String::new(), content: ItemContent::Message { role: models::Role::User, parts }, status: Status::Completed };
    client.send(Command::Create { after: None, item }).await;
    let aside = ResponseConfig { spoken: Some(false), aside: true, ..ResponseConfig::default() };
    client.send(Command::Respond(Box::new(aside))).await;
    assert_eq!(client.done().await, Ending::Whole);
    assert_eq!(client.until(spoken_text).await, "You said ping");
    assert_eq!(client.speech(), Duration::ZERO);
    let added = client.told.iter().filter(|event| matches!(event, Event::ItemAdded { .. })).count();
    assert_eq!(added, 1, "the answer is no item of the conversation");
}

#[tokio::test(start_paused = true)]
async fn items_that_are_not_there_are_errors_and_the_session_goes_on() {
    let mut client = Client::call(TURNS);
    client.send(Command::Retrieve("nobody".to_owned())).await;
    assert_eq!(client.error().await, "item_not_found");
    client.send(Command::Cancel(None)).await;
    client.until(|event| matches!(event, Event::Error(error) if error.code == "response_cancel_not_active").then_some(())).await;
    client.send(Command::Clear).await;
    client.until(|event| matches!(event, Event::Cleared).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn each_answer_of_a_call_leaves_one_record() {
    let mut client = Client::call(TURNS);
    client.sound(0.5, 1_000).await;
    client.sound(0.0, 1_000).await;
    assert_eq!(client.done().await, Ending::Whole);
    let response = client.until(|event| match event {
        Event::ResponseDone(response) => Some(response.clone()),
        _ => None,
    });
    let response = response.await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let records = client.records.lock().expect("no test panics with it").clone();
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((record.dialect, record.status, record.id.as_str()), ("realtime", 200, response.id.as_str()));
    let work: Vec<(&str, &str)> = record.attempts.iter().map(|attempt| (attempt.work, attempt.outcome)).collect();
    assert_eq!(work, [("transcription", "answered"), ("answer", "answered"), ("speech", "answered")]);
    // The ears of this test hear no length; "You said I spoke for n tenths" has 29 or 30 characters at 15 dollars a million.
    assert_eq!(record.attempts[2].cost_nano_usd, Some(15_000 * response_text(&client).chars().count() as u64));
    assert_eq!(record.cost_nano_usd, record.attempts[2].cost_nano_usd);
    assert_eq!(response.routed.map(|routed| routed.attempts.len()), Some(3));
    let (transcript, words, sound) = (record.transcript, record.first_content, record.first_audio);
    // From the end of the speech: half a second of silence first, then all at once.
    assert!(transcript >= Some(Duration::from_millis(400)) && transcript <= words && words <= sound, "{record:?}");
    assert!(record.total >= sound && record.route.as_deref() == Some("direct"));
    let texts = record.texts.as_ref().map(|texts| (texts.prompt.contains("tenths"), texts.answer.clone()));
    assert_eq!(texts, Some((true, response_text(&client))));
}

fn response_text(client: &Client) -> String {
    client.told.iter().filter_map(spoken_text).collect()
}

#[tokio::test(start_paused = true)]
async fn answers_of_a_call_count_against_the_limits_of_its_key() {
    let limit = Limit { meter: Meter::Requests, window: Window::Minute, most: 1 };
    let policy = Policy { key: Allowance { limits: vec![limit], concurrency: None }, ..Policy::default() };
    let mut client = Client::limited(Attention::Idle, TURNS, policy);
    for _ in 0..2 {
        client.sound(0.5, 500).await;
        client.sound(0.0, 1_000).await;
        if client.records.lock().expect("no test panics with it").is_empty() {
            assert_eq!(client.done().await, Ending::Whole);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(client.error().await, "rate_limit_exceeded");
    let records = client.records.lock().expect("no test panics with it").clone();
    let told: Vec<(u16, usize)> = records.iter().map(|record| (record.status, record.attempts.len())).collect();
    // What was heard of the second was paid for all the same.
    assert_eq!(told, [(200, 3), (429, 1)]);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_for_too_long_is_asked() {
    let mut client = Client::call(TURNS);
    let idle = SessionConfig { idle_timeout: Some(Duration::from_secs(6)), ..config(TURNS) };
    client.send(Command::Update(Box::new(idle))).await;
    client.sound(0.5, 1_000).await;
    client.sound(0.0, 1_600).await;
    assert_eq!(client.done().await, Ending::Whole);
    assert!(!client.told.iter().any(|event| matches!(event, Event::TimedOut { .. })));
    let item = client.until(|event| match event {
        Event::TimedOut { item, .. } => Some(item.clone()),
        _ => None,
    });
    let item = item.await;
    client.until(|event| matches!(event, Event::Committed { item: committed, .. } if *committed == item).then_some(())).await;
    client
        .until(|event| match event {
            Event::PartDone { text, .. } if text.contains("said nothing for 6 seconds") => Some(()),
            _ => None,
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_limits_is_told_how_near_they_are() {
    let limits = vec![Limit { meter: Meter::Requests, most: 10, window: Window::Minute }];
    let policy = Policy { key: Allowance { limits, ..Allowance::default() }, ..Policy::default() };
    let mut client = Client::limited(Attention::Idle, TURNS, policy);
    client.sound(0.5, 1_000).await;
    client.sound(0.0, 1_600).await;
    let left = client.until(|event| match event {
        Event::Limits(standings) => standings.requests.map(|standing| standing.left),
        _ => None,
    });
    assert_eq!(left.await, 9);
}
