//! One telephone call: the carrier's socket, its sound both ways, its keys, and the session behind it.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use audio::codec::g711::Law;
use audio::codec::{Codec, CodecDecoder};
use audio::features::Dtmf;
use bytes::Bytes;
use futures::SinkExt;
use tokio::select;
use tokio::time::{Instant, interval, timeout, timeout_at};
use tracing::debug;

use super::digits::{Digits, described};
use super::playout::{Act, Playout, TICK_MS};
use super::socket::{Came, Goes, Socket};
use crate::call::{Command, Content, Event, Item, ItemContent, Request, ResponseConfig, Status};
use crate::line::{Line, Next};
use crate::stopping::Stop;
use crate::wire::phone::{Abilities, Heard, Said, Start, Wire, WireError};
use crate::ws::Limits;

/// How long a carrier may take to say which call this is.
const START: Duration = Duration::from_secs(10);
/// A carrier sends sound all the time. Where it does not (it suppresses silence, or a network stalls), after this long silence stands in for
/// it, so that a pause of the caller's is one.
const GAP: Duration = Duration::from_millis(300);
/// Sound that waits for the session, ms. Beyond that the oldest is lost.
const MOST_SOUND_MS: usize = 2_000;
/// Messages that wait for the socket before the session does: one second and more of packets and marks.
const OUTGOING: usize = 128;
/// Messages without sense before a call is given up: some carriers have messages that nobody wrote down, none has so many.
const MOST_FAULTS: u32 = 100;

/// Why a call ended.
pub(super) enum End {
    /// The caller hung up, or the carrier did.
    Left,
    /// The session is done.
    Finished,
    /// The carrier never said which call it is.
    Unnamed,
    /// The longest time is over.
    Expired,
    /// The server stops, and the time that calls have left is over.
    Stopping,
    /// The carrier read nothing for too long.
    Unread,
    /// Nothing came from the carrier for too long.
    Silent,
    /// Too much of what came makes no sense; the last of it.
    Senseless(WireError),
    /// The connection broke.
    Broken(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Left => f.write_str("the caller hung up"),
            End::Finished => f.write_str("the session is done"),
            End::Unnamed => f.write_str("the carrier sent no beginning"),
            End::Stopping => f.write_str("the server stops"),
            End::Expired => f.write_str("it lasted as long as it may"),
            End::Unread => f.write_str("the carrier did not read"),
            End::Silent => f.write_str("the carrier was silent"),
            End::Senseless(error) => write!(f, "the carrier's messages make no sense: {error}"),
            End::Broken(error) => write!(f, "the connection broke: {error}"),
        }
    }
}

/// The first words of a call: which one it is, and what came together with that.
pub(super) async fn begin(socket: &mut impl Socket, wire: &mut dyn Wire) -> Result<(Start, Vec<Heard>), End> {
    let by = Instant::now() + START;
    let mut faults = 0;
    loop {
        let came = timeout_at(by, poll_fn(|cx| Pin::new(&mut *socket).poll_next(cx))).await.map_err(|_| End::Unnamed)?;
        let packet = match came {
            None => return Err(End::Left),
            Some(Err(error)) => return Err(End::Broken(error)),
            Some(Ok(Came::Sign)) => continue,
            Some(Ok(Came::Packet(packet))) => packet,
        };
        let mut heard = Vec::new();
        if let Err(error) = wire.read(packet, &mut heard) {
            faults += 1;
            debug!(%error, "A carrier's message makes no sense.");
            if faults >= MOST_FAULTS {
                return Err(End::Senseless(error));
            }
        }
        // What comes before the beginning belongs to no call.
        let mut heard = heard.into_iter().skip_while(|heard| !matches!(heard, Heard::Began(_) | Heard::Ended));
        match heard.next() {
            Some(Heard::Began(start)) => return Ok((*start, heard.collect())),
            Some(_) => return Err(End::Left),
            None => {}
        }
    }
}

/// A call that began.
pub(super) struct Trunk<S> {
    socket: S,
    wire: Box<dyn Wire>,
    line: Line,
    limits: Limits,
    codec: Codec,
    playout: Playout,
    digits: Digits,
    /// Listens for keys in the sound, where the carrier does not tell of them.
    tones: Option<(CodecDecoder, Dtmf, Vec<f32>)>,
    /// The caller's sound that waits for the session.
    sound: Vec<u8>,
    outgoing: VecDeque<Goes>,
    /// Whether the socket still holds something back.
    unflushed: bool,
    /// Whether an answer is in progress.
    answering: bool,
    faults: u32,
    clock: Clock,
}

/// When something must have happened.
struct Clock {
    expires: Instant,
    ping: Instant,
    /// When anything came last, and when sound did.
    heard: Instant,
    sounded: Instant,
    /// Until when the carrier must have read something.
    read_by: Option<Instant>,
}

/// What happened next.
enum Step {
    Came(Option<io::Result<Came>>),
    Line(Next),
    /// The socket takes another message; or, if there was none, has sent all of them.
    Written(io::Result<()>),
    Tick,
    Stop,
}

/// How sound is carried, and where keys are heard.
pub(super) struct Carriage {
    pub(super) abilities: Abilities,
    pub(super) codec: Codec,
    pub(super) in_band_keys: bool,
}

impl<S: Socket> Trunk<S> {
    pub(super) fn new(socket: S, wire: Box<dyn Wire>, carriage: &Carriage, line: Line, limits: Limits) -> Trunk<S> {
        let codec = carriage.codec;
        let decoder = if carriage.in_band_keys { CodecDecoder::new(codec).ok() } else { None };
        let now = Instant::now();
        let clock = Clock { expires: now + limits.session, ping: now + limits.ping, heard: now, sounded: now, read_by: None };
        Trunk {
            socket,
            wire,
            line,
            limits,
            codec,
            playout: Playout::new(carriage.abilities, codec),
            digits: Digits::default(),
            tones: decoder.map(|decoder| (decoder, Dtmf::new(codec.rate()), Vec::new())),
            sound: Vec::new(),
            outgoing: VecDeque::new(),
            unflushed: false,
            answering: false,
            faults: 0,
            clock,
        }
    }

    /// Carries the call to its end; `greeting` is said first. Dropping it ends everything at once.
    pub(super) async fn run(mut self, early: Vec<Heard>, greeting: Option<ResponseConfig>, stop: &mut Stop) -> End {
        if let Some(greeting) = greeting {
            self.line.report(Command::Respond(Box::new(greeting)));
        }
        let end = match early.into_iter().find_map(|heard| self.heard(heard)) {
            Some(end) => end,
            None => self.carry(stop).await,
        };
        let Trunk { mut socket, mut wire, line, limits, mut outgoing, .. } = self;
        // Nobody listens to the session any more.
        drop(line);
        if matches!(end, End::Left | End::Broken(_) | End::Unread) {
            return end;
        }
        outgoing.extend(wire.write(Said::HangUp).map(Goes::Packet));
        outgoing.push_back(Goes::Close);
        let goodbye = async {
            for goes in outgoing {
                socket.feed(goes).await?;
            }
            socket.close().await
        };
        let _ = timeout(limits.write, goodbye).await;
        end
    }

    async fn carry(&mut self, stop: &mut Stop) -> End {
        // Ticks that were missed are made up for: the clock is that of the sound, and a stall does not stretch it.
        let mut ticks = interval(Duration::from_millis(TICK_MS));
        loop {
            self.ask();
            let Trunk { socket, line, outgoing, unflushed, .. } = &mut *self;
            let (idle, telling) = (outgoing.is_empty(), outgoing.len() < OUTGOING);
            // Every branch may be dropped half-way without losing anything; the work is done after it.
            let step = select! {
                step = poll_fn(|cx| poll(socket, idle, *unflushed, cx)) => step,
                next = line.next(telling) => Step::Line(next),
                _ = ticks.tick() => Step::Tick,
                () = stop.due() => Step::Stop,
            };
            let end = match step {
                Step::Came(None) => Some(End::Left),
                Step::Came(Some(Err(error))) => Some(End::Broken(error)),
                Step::Came(Some(Ok(came))) => self.came(came),
                Step::Line(Next::Moved) => None,
                Step::Line(Next::Told(event)) => {
                    self.told(&event);
                    None
                }
                Step::Written(Ok(())) => self.write(),
                Step::Written(Err(error)) => Some(End::Broken(error)),
                Step::Tick => self.tick(),
                Step::Stop => Some(End::Stopping),
            };
            if let Some(end) = end {
                return end;
            }
            // What the session said last is still to be heard.
            if self.line.is_over() {
                self.playout.finish_all();
                if self.playout.is_idle() && self.outgoing.is_empty() {
                    return End::Finished;
                }
            }
        }
    }

    fn came(&mut self, came: Came) -> Option<End> {
        self.clock.heard = Instant::now();
        let Came::Packet(packet) = came else { return None };
        let mut heard = Vec::new();
        if let Err(error) = self.wire.read(packet, &mut heard) {
            self.faults += 1;
            debug!(call = %self.line.realtime.id(), %error, "A carrier's message makes no sense.");
            if self.faults >= MOST_FAULTS {
                return Some(End::Senseless(error));
            }
        }
        heard.into_iter().find_map(|heard| self.heard(heard))
    }

    fn heard(&mut self, heard: Heard) -> Option<End> {
        match heard {
            // It began once.
            Heard::Began(_) => {}
            Heard::Sound(sound) => self.listen(&sound),
            Heard::Digit(key) if self.tones.is_none() => self.key(key),
            // The same key sounds, too.
            Heard::Digit(_) => {}
            Heard::Mark(name) => {
                let mut acts = Vec::new();
                self.playout.mark(&name, &mut acts);
                self.act(acts);
            }
            Heard::Full => self.playout.fill(true),
            Heard::Room => self.playout.fill(false),
            Heard::Ended => return Some(End::Left),
        }
        None
    }

    /// The caller's sound.
    fn listen(&mut self, sound: &Bytes) {
        self.clock.sounded = Instant::now();
        let whole = sound.len() - sound.len() % self.sample();
        self.sound.extend_from_slice(&sound[..whole]);
        let most = self.bytes_of(MOST_SOUND_MS);
        if self.sound.len() > most {
            let lost = self.sound.len() - most;
            self.sound.drain(..lost);
        }
        let mut keys = Vec::new();
        if let Some((decoder, tones, pcm)) = &mut self.tones {
            pcm.clear();
            // G.711 and PCM have no payload that cannot be decoded.
            let _ = decoder.decode(&sound[..whole], pcm);
            tones.push(pcm, |key| keys.push(key));
        }
        keys.into_iter().for_each(|key| self.key(key));
    }

    /// Bytes of a sample.
    fn sample(&self) -> usize {
        if matches!(self.codec, Codec::G711(_)) { 1 } else { 2 }
    }

    fn bytes_of(&self, ms: usize) -> usize {
        self.codec.rate().hz() as usize / 1_000 * self.sample() * ms
    }

    /// The caller pressed a key.
    fn key(&mut self, key: char) {
        self.line.report(Command::Key(key));
        if let Some(entry) = self.digits.push(key, Instant::now()) {
            self.entered(&entry);
        }
    }

    /// The caller's keys are a message to the model, and like a word of theirs they end an answer.
    fn entered(&mut self, entry: &str) {
        let mut acts = Vec::new();
        self.playout.silence(&mut acts);
        self.act(acts);
        if self.answering {
            self.line.report(Command::Cancel(None));
        }
        let content = ItemContent::Message { role: models::Role::User, parts: vec![Content::Text(described(entry))] };
        let item = Item { id: String::new(), content, status: Status::Completed };
        self.line.report(Command::Create { after: None, item });
        self.line.report(Command::Respond(Box::default()));
    }

    /// Hands the session what the caller says, as far as it takes it.
    fn ask(&mut self) {
        if !self.sound.is_empty() && self.line.is_ready() {
            let sound = Bytes::from(std::mem::take(&mut self.sound));
            self.line.request(Request { event_id: None, command: Command::Append(sound) });
        }
    }

    /// An event of the session's.
    fn told(&mut self, event: &Event) {
        let mut acts = Vec::new();
        match event {
            Event::AudioDelta { place, audio } => self.playout.push(&place.response, audio),
            Event::Hold { response, held } => self.playout.hold(response, *held, &mut acts),
            Event::Silence { response } => self.playout.stop(response, &mut acts),
            Event::ResponseCreated(response) if !response.aside => self.answering = true,
            Event::ResponseDone(response) => {
                self.answering &= response.aside;
                self.playout.finish(&response.id);
            }
            Event::Error(error) => {
                debug!(call = %self.line.realtime.id(), code = error.code, message = %error.message, "The session complains.");
            }
            _ => {}
        }
        self.act(acts);
    }

    fn act(&mut self, acts: Vec<Act>) {
        for act in acts {
            let said = match &act {
                Act::Heard { response, heard, silenced } => {
                    let (response, heard) = (response.clone(), *heard);
                    self.line.report(match silenced {
                        true => Command::Silenced { response, heard },
                        false => Command::Played { response, heard },
                    });
                    continue;
                }
                Act::Sound(sound) => Said::Sound(sound),
                Act::Mark(name) => Said::Mark(name),
                Act::Clear => Said::Clear,
                Act::Pause => Said::Pause,
                Act::Resume => Said::Resume,
            };
            self.outgoing.extend(self.wire.write(said).map(Goes::Packet));
        }
    }

    /// 20 ms have passed.
    fn tick(&mut self) -> Option<End> {
        let now = Instant::now();
        if self.clock.sounded + GAP <= now {
            let silence = match self.codec {
                Codec::G711(Law::Mu) => 0xFF,
                Codec::G711(Law::A) => 0xD5,
                Codec::Pcm16(_) | Codec::Opus(_) => 0,
            };
            let length = (self.sound.len() + self.bytes_of(TICK_MS as usize)).min(self.bytes_of(MOST_SOUND_MS));
            self.sound.resize(length.max(self.sound.len()), silence);
        }
        if let Some(entry) = self.digits.due(now) {
            self.entered(&entry);
        }
        let mut acts = Vec::new();
        self.playout.tick(&mut acts);
        self.act(acts);
        self.late(now)
    }

    /// Whether something should have happened by now.
    fn late(&mut self, now: Instant) -> Option<End> {
        if self.clock.read_by.is_some_and(|by| by <= now) {
            return Some(End::Unread);
        }
        if self.clock.expires <= now {
            return Some(End::Expired);
        }
        if self.clock.ping <= now {
            let silence = now - self.clock.heard;
            if silence >= self.limits.ping * 3 {
                return Some(End::Silent);
            }
            if silence >= self.limits.ping {
                self.outgoing.push_back(Goes::Ping);
            }
            self.clock.ping = now + self.limits.ping;
        }
        None
    }

    /// Hands one message to the socket, which takes it; if there is none, all of them went.
    fn write(&mut self) -> Option<End> {
        let Some(goes) = self.outgoing.pop_front() else {
            self.unflushed = false;
            self.clock.read_by = None;
            return None;
        };
        self.unflushed = true;
        // The socket took the one before, so the carrier reads.
        self.clock.read_by = Some(Instant::now() + self.limits.write);
        Pin::new(&mut self.socket).start_send(goes).err().map(End::Broken)
    }
}

/// Writes what waits, then reads. Cancel-safe: nothing is taken before it is ready.
fn poll<S: Socket>(socket: &mut S, idle: bool, unflushed: bool, cx: &mut Context<'_>) -> Poll<Step> {
    let mut socket = Pin::new(socket);
    // One message after the other goes in; when there is no more, all of it goes out.
    if !idle && let Poll::Ready(ready) = socket.as_mut().poll_ready(cx) {
        return Poll::Ready(Step::Written(ready));
    }
    if idle
        && unflushed
        && let Poll::Ready(flushed) = socket.as_mut().poll_flush(cx)
    {
        return Poll::Ready(Step::Written(flushed));
    }
    Poll::Ready(Step::Came(ready!(socket.poll_next(cx))))
}
