//! The language of callers: told while they speak, and followed when they change it.

use models::{Belief, Language, Measured};

use super::*;

/// Takes callers for speakers of German, the surer the longer they speak it; keeps what it was told to expect.
struct German {
    hints: Arc<Mutex<Vec<Hint>>>,
}

impl Transcriber for German {
    fn transcribe(&self, sound: BoxStream<'static, Sound>, hint: Hint) -> BoxStream<'static, Result<Heard, ModelError>> {
        self.hints.lock().expect("no test panics with it").push(hint.clone());
        let early = stream::once(async { Ok(Heard::Language(Measured::new(german(), 0.8, "test"))) });
        let last = async move {
            sound.collect::<Vec<_>>().await;
            let belief = hint.belief.heard(|language| if language == german() { 0.9 } else { 0.01 });
            let language = belief.likeliest().map(|(language, likely)| Measured::new(language, likely, "test"));
            Ok(Heard::Utterance(Utterance { text: "Hallo.".to_owned(), language, belief, ..Utterance::default() }))
        };
        early.chain(stream::once(last)).boxed()
    }
}

fn german() -> Language {
    Language::new("de").expect("a code")
}

fn languages(client: &Client) -> usize {
    let only_language = |event: &&Event| matches!(event, Event::Signals { signals, .. } if signals.names() == ["language"]);
    client.told.iter().filter(only_language).count()
}

#[tokio::test(start_paused = true)]
async fn a_language_is_told_while_the_caller_speaks_and_expected_in_the_next_turn() {
    let hints: Arc<Mutex<Vec<Hint>>> = Arc::default();
    let mut client = Client::on(heard_with(Arc::new(German { hints: hints.clone() })), config(TURNS), Policy::default());
    client.sound(0.5, 500).await;
    assert_eq!(languages(&client), 1, "{:?}", client.told);
    client.sound(0.0, 1_000).await;
    client.done().await;
    client.sound(0.5, 1_000).await;
    client.sound(0.0, 1_000).await;
    assert_eq!(languages(&client), 1, "what is told already is not told again");
    let hints: Vec<(Option<Language>, Belief)> =
        hints.lock().expect("no test panics with it").iter().map(|hint| (hint.language, hint.belief.clone())).collect();
    let [(None, before), (None, after), ..] = &hints[..] else { panic!("{hints:?}") };
    assert_eq!(before, &Belief::usual());
    assert!(after.of(german()) > 0.5 && after.of(german()) > before.of(german()), "{after:?}");
    assert!(after.of(Language::ENGLISH) > 0.01, "who changes to English is followed");
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_of_the_language_is_what_is_expected() {
    let languages: Vec<Language> = ["en", "de"].iter().filter_map(|code| Language::new(code)).collect();
    for (config, said, believed) in [
        (SessionConfig { language: Language::new("fr"), ..config(TURNS) }, Language::new("fr"), Belief::usual()),
        (SessionConfig { languages: languages.clone(), ..config(TURNS) }, None, Belief::among(&languages)),
    ] {
        let hints: Arc<Mutex<Vec<Hint>>> = Arc::default();
        let mut client = Client::on(heard_with(Arc::new(German { hints: hints.clone() })), config, Policy::default());
        client.sound(0.5, 500).await;
        let hint = hints.lock().expect("no test panics with it").first().cloned().expect("it listens");
        assert_eq!((hint.language, hint.belief), (said, believed));
    }
}
