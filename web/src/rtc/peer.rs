//! One WebRTC call: its connection, its data channel, its sound both ways, and the session behind it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use audio::CodecError;
use audio::codec::opus::PACKET_MS;
use bytes::Bytes;
use rtc::data_channel::RTCDataChannelId;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::sansio::Protocol;
use tokio::select;
use tokio::task::yield_now;
use tokio::time::{Instant, interval};

use super::RATE;
use super::connection::{Connection, carried};
use super::end::End;
use super::intake::Intake;
use super::playout::{Notice, Playout};
use super::port::{Packet, Port};
use super::renewal::{Description, Entry, Renewal, Renewed};
use super::voice::Voice;
use crate::call::{CallError, Command, Event, Request};
use crate::line::{Line, Next};
use crate::stopping::Stop;
use crate::wire::realtime::Asked;
use crate::ws::Limits;
use crate::{ApiError, Playing};

/// How long a client may take from the answer to its offer until it is connected: the checks of ICE take ten seconds at worst, and a
/// person may be asked for the microphone in between.
const CONNECT: Duration = Duration::from_secs(30);
/// A client from which nothing came for so long is gone: consent checks come every five seconds, and expire after 30 (RFC 7675).
const SILENCE: Duration = Duration::from_secs(30);
/// The data channel of OpenAI's clients.
const CHANNEL: &str = "oai-events";
/// Bytes on their way to the client over the data channel before the next message waits.
const MOST_UNDERWAY: usize = 256 * 1024;
/// Messages that wait for the data channel before the session does: two seconds and more of events.
const OUTGOING: usize = 256;
/// Messages of the client's that wait for the session. A client that sends more without waiting ends its call: UDP holds nobody back.
const INCOMING: usize = 256;
/// Sound that waits for the session, bytes: two seconds. Beyond that the oldest is lost.
const MOST_SOUND: usize = 2 * 2 * RATE.hz() as usize;

/// Where the client's events go.
#[derive(Clone, Copy, PartialEq)]
enum Channel {
    /// It offered a channel that is not open yet.
    Awaited,
    Open(RTCDataChannelId),
    /// It wants no events.
    Absent,
}

/// A call.
pub(super) struct Peer {
    connection: Connection,
    port: Arc<Port>,
    line: Line,
    limits: Limits,
    renewals: Entry,
    stop: Stop,
    channel: Channel,
    outgoing: VecDeque<String>,
    incoming: VecDeque<String>,
    intake: Intake,
    /// The caller's sound that waits for the session.
    sound: Vec<u8>,
    playout: Playout,
    voice: Voice,
    clock: Clock,
}

impl Channel {
    fn of(connection: &Connection) -> Channel {
        if connection.has_channel { Channel::Awaited } else { Channel::Absent }
    }
}

/// What a call begins with.
pub(super) struct Begun {
    pub(super) connection: Connection,
    pub(super) port: Arc<Port>,
    /// What the client asks of it later.
    pub(super) renewals: Entry,
    pub(super) stop: Stop,
}

/// When something must have happened.
struct Clock {
    expires: Instant,
    heard: Instant,
    /// Until when it must be connected; `None` once it is.
    connect_by: Option<Instant>,
    /// Until when the client must have read something.
    read_by: Option<Instant>,
}

/// What happened next.
enum Step {
    Came(Option<Packet>),
    Line(Next),
    Tick,
    Renew(Renewal),
    Stop,
}

impl Peer {
    /// The call that `begun` is, to its session.
    pub(super) fn new(begun: Begun, line: Line, limits: Limits) -> Result<Peer, CodecError> {
        let Begun { connection, port, renewals, stop } = begun;
        let now = Instant::now();
        Ok(Peer {
            port,
            line,
            renewals,
            stop,
            channel: Channel::of(&connection),
            outgoing: VecDeque::new(),
            incoming: VecDeque::new(),
            intake: Intake::new(RATE)?,
            sound: Vec::new(),
            playout: Playout::default(),
            voice: Voice::new(&connection)?,
            clock: Clock { expires: now + limits.session, heard: now, connect_by: Some(now + CONNECT), read_by: None },
            limits,
            connection,
        })
    }

    /// Carries the call to its end, then closes the connection.
    pub(super) async fn run(mut self) -> End {
        let created = self.line.realtime.created();
        self.tell(vec![created]);
        let end = self.carry().await;
        // What the client was told last goes out with the goodbye; the session is not asked any more.
        self.write();
        let _ = self.connection.inner.close();
        self.connection.send();
        end
    }

    async fn carry(&mut self) -> End {
        // Ticks that were missed are made up for: the clock is that of the sound, and a stall does not stretch it.
        let mut clock = interval(Duration::from_millis(PACKET_MS));
        loop {
            if let Err(end) = self.exchange() {
                return end;
            }
            let telling = self.outgoing.len() < OUTGOING;
            // Every branch may be dropped half-way without losing anything; the work is done after it.
            let step = select! {
                packet = self.connection.seat.packets.recv() => Step::Came(packet),
                next = self.line.next(telling) => Step::Line(next),
                _ = clock.tick() => Step::Tick,
                Some(renewal) = self.renewals.asked.recv() => Step::Renew(renewal),
                () = self.stop.due() => Step::Stop,
            };
            let ended = match step {
                Step::Came(Some(packet)) => {
                    let now = Instant::now();
                    self.clock.heard = now;
                    self.connection.came(now, packet);
                    None
                }
                // The port never drops a seat that is taken.
                Step::Came(None) => Some(End::Finished),
                Step::Line(Next::Told(event)) => {
                    self.told(event);
                    // The first packet of an answer does not wait for a tick; the next ones follow it.
                    if self.begins_to_speak() {
                        clock.reset();
                        self.tick()
                    } else {
                        None
                    }
                }
                Step::Line(Next::Moved) => None,
                Step::Tick => {
                    let ended = self.tick();
                    // Where the machine cannot keep up, every call has ticks to make up for: one at a time, or packets and calls that
                    // begin wait for seconds, and are lost.
                    yield_now().await;
                    ended
                }
                Step::Renew(Renewal { asked, answer }) => {
                    let renewed = self.renew(asked);
                    // A client that did not wait for the answer has to ask again.
                    let _ = answer.send(renewed);
                    None
                }
                Step::Stop => {
                    self.complain("server_stopping", "The server stops. Call again: another one may answer.".to_owned());
                    Some(End::Stopping)
                }
            };
            if let Some(end) = ended {
                return end;
            }
            if self.line.is_over() && self.outgoing.is_empty() {
                return End::Finished;
            }
        }
    }

    /// Takes from the connection what came of the last step, and gives it what is to go.
    fn exchange(&mut self) -> Result<(), End> {
        while let Some(event) = self.connection.inner.poll_event() {
            match event {
                RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => match state {
                    RTCPeerConnectionState::Connected => self.clock.connect_by = None,
                    RTCPeerConnectionState::Closed => return Err(End::Left),
                    RTCPeerConnectionState::Failed => return Err(End::Broken("ICE or DTLS failed".to_owned())),
                    // A client that changes its network is disconnected for a while.
                    _ => {}
                },
                RTCPeerConnectionEvent::OnDataChannel(event) => self.channel_event(&event)?,
                _ => {}
            }
        }
        while let Some(tagged) = self.connection.inner.poll_read() {
            match tagged.message {
                RTCMessage::RtpPacket(_, packet) if packet.header.payload_type == self.voice.payload_type() => {
                    self.intake.push(packet.header.sequence_number, packet.payload, &mut self.sound);
                }
                RTCMessage::RtcpPacket(_, packets) => {
                    self.voice.reported(&packets).map_err(|error| End::Broken(error.to_string()))?;
                }
                RTCMessage::DataChannelMessage(id, message) if self.channel == Channel::Open(id) => {
                    if self.incoming.len() >= INCOMING {
                        return Err(End::Flood);
                    }
                    self.incoming.push_back(String::from_utf8_lossy(&message.data).into_owned());
                }
                _ => {}
            }
        }
        self.ask();
        self.write();
        self.connection.send();
        Ok(())
    }

    fn channel_event(&mut self, event: &RTCDataChannelEvent) -> Result<(), End> {
        match *event {
            RTCDataChannelEvent::OnOpen(id) => {
                let label = self.connection.inner.data_channel(id).map(|channel| channel.label().to_owned());
                // The first one will do where a client calls its only channel otherwise.
                if label.as_deref() == Some(CHANNEL) || self.channel == Channel::Awaited {
                    self.channel = Channel::Open(id);
                }
                Ok(())
            }
            RTCDataChannelEvent::OnClose(id) if self.channel == Channel::Open(id) => Err(End::Left),
            _ => Ok(()),
        }
    }

    /// Another offer of the client's, or a part of one.
    fn renew(&mut self, asked: Description) -> Result<Renewed, ApiError> {
        let renewed = match asked {
            Description::Part(part) => self.connection.renew_ice(&part)?.map_or(Renewed::Same, Renewed::Part),
            Description::Offer(offer) if self.connection.made(&offer) => Renewed::Answer(self.connection.renew(&offer)?),
            Description::Offer(offer) => {
                let (answer, connection) = Connection::answer(&offer, &self.port)?;
                self.move_to(connection);
                Renewed::Answer(answer)
            }
        };
        Ok(renewed)
    }

    /// The client calls again, over another connection: its session goes on, and what it was being told waits until it hears again.
    fn move_to(&mut self, connection: Connection) {
        let _ = self.connection.inner.close();
        self.connection.send();
        self.voice.move_to(&connection);
        self.channel = Channel::of(&connection);
        self.connection = connection;
        if self.channel != Channel::Absent {
            self.outgoing.push_front(self.line.realtime.created());
        }
        self.intake.restart();
        let now = Instant::now();
        (self.clock.heard, self.clock.connect_by, self.clock.read_by) = (now, Some(now + CONNECT), None);
    }

    /// Hands the session what the client asks for and says, as far as it takes it.
    fn ask(&mut self) {
        while self.line.is_ready() {
            let Some(text) = self.incoming.pop_front() else { break };
            match self.line.realtime.receive_beside_media(&text) {
                Ok(Asked::Session(request)) => self.line.request(over_media(request)),
                Ok(Asked::Silence) => {
                    let notices = self.playout.clear();
                    self.notify(notices);
                }
                Err(error) => {
                    let complaint = self.line.complaint(error);
                    self.tell(complaint);
                }
            }
        }
        if !self.sound.is_empty() && self.line.is_ready() {
            let sound = Bytes::from(std::mem::take(&mut self.sound));
            self.line.request(Request { event_id: None, command: Command::Append(sound) });
        }
    }

    /// An event of the session's.
    fn told(&mut self, event: Event) {
        match &event {
            // Sound is heard, not read.
            Event::AudioDelta { place, audio } => return self.playout.push(&place.response, audio),
            Event::Hold { response, held } => {
                if let Some(heard) = self.playout.hold(response, *held) {
                    self.line.report(Command::Played { response: response.clone(), heard });
                }
            }
            Event::Silence { response } => {
                let notices = self.playout.stop(response).into_iter().collect();
                self.notify(notices);
            }
            Event::ResponseDone(response) => self.playout.finish(&response.id),
            _ => {}
        }
        let messages = self.line.realtime.send(&event);
        self.tell(messages);
    }

    /// Tells both ends what became of an answer's sound.
    fn notify(&mut self, notices: Vec<Notice>) {
        for Notice { playing, response, heard } in notices {
            let message = self.line.playing(playing, &response);
            self.tell(vec![message]);
            match playing {
                Playing::Started => {}
                Playing::Stopped => self.line.report(Command::Played { response, heard }),
                Playing::Cleared => self.line.report(Command::Silenced { response, heard }),
            }
        }
    }

    fn tell(&mut self, messages: Vec<String>) {
        if self.channel != Channel::Absent {
            self.outgoing.extend(messages);
        }
    }

    /// Whether there is sound after silence.
    fn begins_to_speak(&self) -> bool {
        self.clock.connect_by.is_none() && !self.voice.is_speaking() && self.playout.is_ready()
    }

    /// 20 ms have passed.
    fn tick(&mut self) -> Option<End> {
        let now = Instant::now();
        self.intake.tick(&mut self.sound);
        if self.sound.len() > MOST_SOUND {
            let lost = self.sound.len() - MOST_SOUND;
            self.sound.drain(..lost.next_multiple_of(2));
        }
        if self.clock.connect_by.is_none() {
            let notices = self.playout.tick(&mut self.voice.frame);
            self.notify(notices);
            if let Err(error) = self.voice.speak(&mut self.connection.inner, now) {
                return Some(End::Broken(error.to_string()));
            }
        }
        let due = self.connection.inner.poll_timeout().is_some_and(|due| due <= now.into_std());
        if due && let Err(error) = self.connection.inner.handle_timeout(now.into_std()) {
            return Some(End::Broken(error.to_string()));
        }
        self.late(now)
    }

    /// Whether something should have happened by now.
    fn late(&mut self, now: Instant) -> Option<End> {
        if self.clock.connect_by.is_some_and(|by| by <= now) {
            return Some(End::Unreached);
        }
        if self.clock.heard + SILENCE <= now {
            return Some(End::Silent);
        }
        if self.clock.read_by.is_some_and(|by| by <= now) {
            return Some(End::Unread);
        }
        if self.clock.expires <= now {
            let minutes = self.limits.session.as_secs().div_ceil(60);
            self.complain("session_expired", format!("The session has lasted as long as it may: {minutes} minutes. Open another one."));
            return Some(End::Expired);
        }
        None
    }

    /// Tells the client why its call ends.
    fn complain(&mut self, code: &'static str, message: String) {
        let complaint = self.line.complaint(CallError { code, message, param: None, event_id: None });
        self.tell(complaint);
    }

    /// Hands the data channel what it takes.
    fn write(&mut self) {
        let Channel::Open(id) = self.channel else { return };
        let Some(mut channel) = self.connection.inner.data_channel(id) else { return };
        let now = Instant::now();
        while !self.outgoing.is_empty() && channel.outstanding_bytes() < MOST_UNDERWAY {
            // A message that the channel refuses is too large for the client; it cannot be told of it by another one.
            let Some(message) = self.outgoing.pop_front() else { break };
            let _ = channel.send_text(now.into_std(), message);
            self.clock.read_by = None;
        }
        if !self.outgoing.is_empty() {
            self.clock.read_by.get_or_insert(now + self.limits.write);
        }
    }
}

/// A request as this transport carries it.
fn over_media(Request { event_id, command }: Request) -> Request {
    let command = match command {
        Command::Update(config) => Command::Update(Box::new(carried(*config))),
        other => other,
    };
    Request { event_id, command }
}
