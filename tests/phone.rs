//! Whole telephone calls: the server with its real ears and voice, and callers with recorded voices, who press keys and interrupt.
//!
//! They need TIMBRE_DATA (recordings of telephones) and the default models; without them they are skipped.

#[expect(dead_code, unreachable_pub, reason = "shared by several tests")]
#[path = "../web/tests/carriers/mod.rs"]
mod carriers;
#[expect(dead_code, unreachable_pub, reason = "shared by several tests")]
mod mock;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use audio::Rate;
use audio::codec::g711::Law;
use audio::codec::{Codec, CodecDecoder, CodecEncoder};
use carriers::{Line, Told};
use futures::StreamExt;
use mock::{Asked, Mock, Said, served};
use serde_json::{Value, json};
use tokio::time::{Instant, interval, timeout};
use web::phone::Carrier;

/// What the model says to a question: long enough to be interrupted.
const LONG: &str = "One is the first number, two is the second, three is the third, four is the fourth, five is the fifth, six is the sixth, \
                    seven is the seventh, eight is the eighth, nine is the ninth, and ten is the last.";

/// The folder of the recordings, where everything is there that these tests need.
fn recordings() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("TIMBRE_DATA")?).join("tel");
    let weights = models::Weights::new(models::Weights::default_folder());
    let has_models = weights.file("moonshine-tiny-en", "beckett.wav").is_ok();
    (has_models && folder.is_dir()).then_some(folder)
}

fn says(text: &str) -> Said {
    let chunk = |delta: Value, finish: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    Said::events(&[chunk(json!({ "content": text }), Value::Null), chunk(json!({}), json!("stop"))])
}

fn config(upstream: &Mock, phone: &str) -> String {
    format!(
        "default_model = \"up/m\"\n[record]\nfile = \"\"\n[[provider]]\nname = \"up\"\nbase_url = \"http://{}/v1\"\nmodels = [\"m\"]\n\
         [phone]\npublic_url = \"http://127.0.0.1\"\n{phone}",
        upstream.addr
    )
}

/// How a carrier's sound is encoded in these tests.
fn codec(carrier: Carrier) -> Codec {
    match carrier {
        Carrier::Twilio | Carrier::Signalwire | Carrier::Plivo => Codec::G711(Law::Mu),
        Carrier::Telnyx => Codec::G711(Law::A),
        Carrier::Vonage | Carrier::Jambonz | Carrier::Asterisk => Codec::Pcm16(Rate::MODEL),
        Carrier::Exotel | Carrier::Audiosocket => Codec::Pcm16(Rate::TELEPHONE),
    }
}

/// A carrier that plays what it is sent as time goes by, and a caller who speaks into it.
struct Phone {
    line: Line,
    codec: Codec,
    /// What the caller is about to say.
    speech: VecDeque<u8>,
    /// What waits to be heard: sound, or a mark.
    queue: VecDeque<Result<Vec<u8>, String>>,
    /// What the caller has heard.
    heard: Vec<u8>,
    /// Marks on their way back.
    late: VecDeque<(Instant, String)>,
    /// How long they take.
    delay: Duration,
    clears: usize,
}

impl Phone {
    async fn call(carrier: Carrier, address: SocketAddr) -> Phone {
        let mut line = Line::open(carrier, address, &format!("/{}", carrier.name())).await.expect("it is accepted");
        line.start(json!({ "caller": "+491" })).await;
        Phone {
            line,
            codec: codec(carrier),
            speech: VecDeque::new(),
            queue: VecDeque::new(),
            heard: Vec::new(),
            late: VecDeque::new(),
            delay: Duration::ZERO,
            clears: 0,
        }
    }

    fn bytes(&self, ms: usize) -> usize {
        let sample = if matches!(self.codec, Codec::G711(_)) { 1 } else { 2 };
        self.codec.rate().hz() as usize / 1_000 * sample * ms
    }

    /// Says what is recorded, and then nothing.
    fn speak(&mut self, recording: &Path) {
        let bytes = std::fs::read(recording).expect("a recording");
        let recording = audio::container::decode(&bytes, Duration::from_secs(60)).expect("it is sound");
        let pcm = audio::resample(&recording.pcm, recording.rate, self.codec.rate());
        let mut encoder = CodecEncoder::new(self.codec).expect("an encoder");
        encoder.encode(&pcm, |payload| self.speech.extend(payload)).expect("it is encoded");
    }

    /// How much the caller has heard that is not silence, ms.
    fn spoken_ms(&self) -> usize {
        let mut pcm = Vec::new();
        let mut decoder = CodecDecoder::new(self.codec).expect("a decoder");
        decoder.decode(&self.heard, &mut pcm).expect("it is decoded");
        let frame = self.codec.rate().samples_in_ms(20).0 as usize;
        pcm.chunks(frame).filter(|frame| frame.iter().map(|sample| sample * sample).sum::<f32>() > 1e-5 * frame.len() as f32).count() * 20
    }

    /// The call goes on until `enough`.
    async fn until(&mut self, what: &str, mut enough: impl FnMut(&Phone) -> bool) {
        let talk = async {
            let mut ticks = interval(Duration::from_millis(20));
            while !enough(self) {
                tokio::select! {
                    _ = ticks.tick() => self.tick().await,
                    told = self.line.told() => match told.expect("the call goes on") {
                        Told::Sound(sound) => self.queue.push_back(Ok(sound)),
                        Told::Mark(name) => self.queue.push_back(Err(name)),
                        Told::Clear => {
                            self.clears += 1;
                            let marks = std::mem::take(&mut self.queue).into_iter().filter_map(Result::err);
                            self.late.extend(marks.map(|name| (Instant::now(), name)));
                        }
                        Told::Pause | Told::Resume => {}
                        Told::HangUp => panic!("hung up before {what}"),
                    },
                }
            }
        };
        assert!(timeout(Duration::from_secs(90), talk).await.is_ok(), "never: {what}");
    }

    /// 20 ms: as much is said, and as much is heard.
    async fn tick(&mut self) {
        let size = self.bytes(20);
        let silence = if matches!(self.codec, Codec::G711(Law::Mu)) {
            0xFF
        } else if matches!(self.codec, Codec::G711(Law::A)) {
            0xD5
        } else {
            0
        };
        let mut said: Vec<u8> = self.speech.drain(..size.min(self.speech.len())).collect();
        said.resize(size, silence);
        self.line.sound(&said).await;
        let mut room = size;
        while let Some(next) = self.queue.pop_front() {
            match next {
                Err(mark) => self.late.push_back((Instant::now() + self.delay, mark)),
                Ok(mut sound) if room > 0 => {
                    let rest = sound.split_off(room.min(sound.len()));
                    room -= sound.len();
                    self.heard.extend(sound);
                    if !rest.is_empty() {
                        self.queue.push_front(Ok(rest));
                    }
                }
                Ok(sound) => {
                    self.queue.push_front(Ok(sound));
                    break;
                }
            }
        }
        while let Some((_, mark)) = self.late.pop_front_if(|(due, _)| *due <= Instant::now()) {
            self.line.mark(&mark).await;
        }
    }
}

/// What the model was asked last: who said what.
fn asked(upstream: &Mock) -> Vec<(String, String)> {
    let Some(Asked { body, .. }) = upstream.asked().pop() else { return Vec::new() };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    messages.iter().map(|message| (text(&message["role"]), text(&message["content"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_twilio_with_a_greeting_an_interruption_and_keys() {
    let Some(folder) = recordings() else { return eprintln!("skipped: no TIMBRE_DATA, or no models") };
    let upstream = Mock::start(|asked| {
        let last = asked.body["messages"].as_array().and_then(|messages| messages.last()).map(ToString::to_string).unwrap_or_default();
        says(if last.contains("keys") { "Thank you." } else { LONG })
    })
    .await;
    let running = served(&config(&upstream, "bridges = [\"twilio\"]\ngreeting = \"Good morning, what can I do for you?\""), &[]).await;
    let mut phone = Phone::call(Carrier::Twilio, running.address).await;
    // Marks come back late, as from another continent.
    phone.delay = Duration::from_millis(150);
    phone.until("the greeting is heard", |phone| phone.spoken_ms() > 1_000 && phone.queue.is_empty()).await;
    assert!(upstream.asked().is_empty(), "nobody was asked for the greeting");
    phone.speak(&folder.join("whatstheweatherlike-mulaw.wav"));
    phone.until("the question is asked", |_| !upstream.asked().is_empty()).await;
    let first = asked(&upstream);
    assert!(first.last().is_some_and(|(role, text)| role == "user" && text.to_lowercase().contains("weather")), "{first:?}");
    let greeted = phone.spoken_ms();
    phone.until("the answer is on its way", |phone| phone.spoken_ms() > greeted + 2_000).await;
    // The caller says the same again, into the answer.
    let (clears, begun) = (phone.clears, phone.heard.len());
    phone.speak(&folder.join("whatstheweatherlike-mulaw.wav"));
    phone.until("the answer falls silent", |phone| phone.clears > clears).await;
    phone.until("it is asked again", |_| upstream.asked().len() >= 2).await;
    let second = asked(&upstream);
    let cut = second.iter().rev().find(|(role, _)| role == "assistant").map(|(_, text)| text.clone()).expect("the answer that was cut");
    let words = |text: &str| text.split_whitespace().count();
    assert!(LONG.starts_with(cut.trim_end_matches("...")) && words(&cut) < words(LONG), "{cut:?}");
    // Some two words and a half a second: what is left of it is what sounded, and no more.
    let sounded = (begun as f32 / 8_000.0 - greeted as f32 / 1_000.0).max(1.0);
    assert!(words(&cut) >= 3 && (words(&cut) as f32) < (sounded + 2.0) * 4.5, "{cut:?} in {sounded} s");
    // Keys are a message of their own, and end the answer that is on its way.
    let before = phone.spoken_ms();
    phone.until("the second answer is on its way", |phone| phone.spoken_ms() > before + 1_000).await;
    let clears = phone.clears;
    for key in ['4', '2', '#'] {
        phone.line.key(key).await;
    }
    phone.until("the keys are asked about", |_| upstream.asked().len() >= 3).await;
    let third = asked(&upstream);
    assert!(third.last().is_some_and(|(role, text)| role == "user" && text.ends_with("4 2)")), "{third:?}");
    let before = phone.spoken_ms();
    phone.until("the thanks are heard", |phone| phone.clears > clears && phone.spoken_ms() > before + 300).await;
    phone.line.hang_up().await;
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_over_every_other_carrier() {
    let Some(folder) = recordings() else { return eprintln!("skipped: no TIMBRE_DATA, or no models") };
    let upstream = Mock::start(|_| says("It is raining in Berlin.")).await;
    let bridges = "bridges = [\"telnyx\", \"signalwire\", \"plivo\", \"vonage\", \"exotel\", \"jambonz\", \"asterisk\"]\naudiosocket = \"127.0.0.1:0\"";
    let running = served(&config(&upstream, bridges), &[]).await;
    let calls = Carrier::ALL.into_iter().filter(|carrier| *carrier != Carrier::Twilio).map(|carrier| {
        let address = if carrier == Carrier::Audiosocket { running.audiosocket.expect("it listens") } else { running.address };
        let folder = &folder;
        async move {
            let mut phone = Phone::call(carrier, address).await;
            phone.speak(&folder.join("whatstheweatherlike-mulaw.wav"));
            phone.until("the answer is heard", |phone| phone.spoken_ms() > 700).await;
            phone.line.hang_up().await;
        }
    });
    futures::stream::iter(calls).buffer_unordered(2).collect::<Vec<()>>().await;
    let questions: Vec<String> = upstream.asked().iter().map(|asked| asked.body["messages"].to_string().to_lowercase()).collect();
    assert!(questions.len() >= 8 && questions.iter().all(|question| question.contains("weather")), "{questions:?}");
    running.stop();
}

/// OpenAI's Twilio transport, in Node, between a Twilio-shaped socket and our WebSocket.
#[tokio::test(flavor = "multi_thread")]
async fn openais_twilio_transport_is_content() {
    let suites = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk");
    if !suites.join("node_modules/@openai/agents-extensions").is_dir() {
        return eprintln!("skipped: tests/sdk/node_modules has no @openai/agents-extensions; `make test` installs it");
    }
    let Some(folder) = recordings() else { return eprintln!("skipped: no TIMBRE_DATA, or no models") };
    let upstream = Mock::start(|asked| {
        let pressed = asked.body["messages"].to_string().contains("I pressed the keys 42#");
        says(if pressed { "Thank you for 42#, I have noted that down." } else { LONG })
    })
    .await;
    let running = served(&config(&upstream, ""), &[]).await;
    let recording = std::fs::read(folder.join("whatstheweatherlike-mulaw.wav")).expect("a recording");
    let recording = audio::container::decode(&recording, Duration::from_secs(60)).expect("it is sound");
    let mut mulaw = Vec::new();
    audio::codec::g711::encode(Law::Mu, &audio::resample(&recording.pcm, recording.rate, Rate::TELEPHONE), &mut mulaw);
    let file = std::env::temp_dir().join(format!("timbre-question-{}.ul", std::process::id()));
    std::fs::write(&file, mulaw).expect("a file for a moment");
    let mut suite = tokio::process::Command::new("node");
    suite.args(["--test", "twilio.test.mjs"]).current_dir(&suites).kill_on_drop(true);
    suite.env("TIMBRE_REALTIME_URL", format!("ws://{}/v1/realtime?model=m", running.address)).env("TIMBRE_MULAW", &file);
    let output = suite.output().await.expect("the suite starts");
    let _ = std::fs::remove_file(file);
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    running.stop();
}
