//! A caller: ICE, DTLS, Opus both ways and a data channel, over a UDP socket of its own.

use std::net::SocketAddr;
use std::time::Duration;

use audio::Rate;
use audio::codec::opus::{OpusEncoder, PACKET_MS};
use bytes::{Bytes, BytesMut};
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::configure_rtcp_reports;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{CandidateConfig, CandidateHostConfig, RTCIceCandidate};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, Interval, interval, sleep_until, timeout};

use super::Failure;

const OPUS: u8 = 111;
/// A packet's time, and how much later than that the next one is a gap.
pub(crate) const PACKET: Duration = Duration::from_millis(PACKET_MS);
/// A call stands within this, or has failed. It takes a second, and three while three other programs want the same two cores (2026-11-21).
const CONNECT: Duration = Duration::from_secs(20);
/// The connection's timers are asked for at least so often.
const LOOK: Duration = Duration::from_millis(200);

/// What a caller heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) packets: u64,
    /// Numbers that never came, or late.
    pub(crate) missing: u64,
    /// When packets came more than 20 ms after the sound of the one before them had ended.
    pub(crate) gaps: Vec<Instant>,
    /// The longest wait beyond a packet's time.
    pub(crate) longest: Duration,
    last: Option<(u16, Instant)>,
}

impl Heard {
    pub(crate) fn add(&mut self, other: &Heard) {
        self.packets += other.packets;
        self.missing += other.missing;
        self.gaps.extend_from_slice(&other.gaps);
        self.longest = self.longest.max(other.longest);
    }

    fn packet(&mut self, number: u16, now: Instant) {
        self.packets += 1;
        if let Some((last, at)) = self.last.replace((number, now)) {
            self.missing += u64::from(number.wrapping_sub(last).saturating_sub(1));
            let late = (now - at).saturating_sub(PACKET);
            if late > PACKET {
                self.gaps.push(now);
            }
            self.longest = self.longest.max(late);
        }
    }
}

/// A caller.
pub(crate) struct Caller {
    inner: RTCPeerConnection,
    socket: UdpSocket,
    own: SocketAddr,
    sender: RTCRtpSenderId,
    ssrc: u32,
    packets: Vec<Bytes>,
    number: u16,
    /// Whether the server's events come.
    told: bool,
    heard: Heard,
    clock: Interval,
}

impl Caller {
    /// Calls, and waits until sound and events come.
    pub(crate) async fn dial(server: SocketAddr) -> Result<Caller, Failure> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let own = socket.local_addr()?;
        let now = std::time::Instant::now();
        let ssrc = u32::from(own.port());
        let mut media = MediaEngine::default();
        media.register_codec(RTCRtpCodecParameters { rtp_codec: opus(), payload_type: OPUS }, RtpCodecKind::Audio)?;
        let settings = SettingEngineBuilder::new().with_include_loopback_candidate(true).build();
        let mut inner = RTCPeerConnectionBuilder::new()
            .with_media_engine(media)
            .with_setting_engine(settings)
            .with_interceptor_registry(configure_rtcp_reports(Registry::new()))
            .build(now)?;
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..RTCRtpCodingParameters::default() },
            codec: opus(),
            ..RTCRtpEncodingParameters::default()
        };
        let track = MediaStreamTrack::new("caller".into(), "microphone".into(), "microphone".into(), RtpCodecKind::Audio, vec![encoding]);
        let sender = inner.add_track(track)?;
        inner.create_data_channel("oai-events", None)?;
        let base = CandidateConfig {
            network: "udp".to_owned(),
            address: own.ip().to_string(),
            port: own.port(),
            component: 1,
            ..CandidateConfig::default()
        };
        let candidate = CandidateHostConfig { base_config: base, ..CandidateHostConfig::default() }.new_candidate_host()?;
        let offer = inner.create_offer(None)?;
        inner.set_local_description(now, offer)?;
        inner.add_local_candidate(RTCIceCandidate::from(&candidate).to_json()?)?;
        let offer = inner.local_description().ok_or("no offer")?.sdp;
        let answer = post(server, &offer).await?;
        inner.set_remote_description(std::time::Instant::now(), RTCSessionDescription::answer(answer)?)?;
        let mut caller = Caller {
            inner,
            socket,
            own,
            sender,
            ssrc,
            packets: sound()?,
            number: 0,
            told: false,
            heard: Heard::default(),
            clock: interval(PACKET),
        };
        timeout(CONNECT, caller.run(None)).await.map_err(|_| "the call does not connect")??;
        Ok(caller)
    }

    /// Talks and listens for a while.
    pub(crate) async fn talk(&mut self, time: Duration) -> Result<Heard, Failure> {
        self.heard = Heard::default();
        self.clock = interval(PACKET);
        self.run(Some(Instant::now() + time)).await?;
        Ok(self.heard.clone())
    }

    /// Says goodbye.
    pub(crate) fn hang_up(mut self) {
        let _ = self.inner.close();
        self.send();
    }

    /// Until then; or until sound and events come.
    async fn run(&mut self, until: Option<Instant>) -> Result<(), Failure> {
        let mut buffer = [0; 2_048];
        loop {
            self.exchange();
            let now = Instant::now();
            let done = match until {
                Some(until) => now >= until,
                None => self.told && self.heard.packets > 0,
            };
            if done {
                return Ok(());
            }
            let due = self.inner.poll_timeout().map_or(now + LOOK, Instant::from_std).min(now + LOOK);
            tokio::select! {
                read = self.socket.recv_from(&mut buffer) => {
                    let (length, from) = read?;
                    let transport =
                        TransportContext { local_addr: self.own, peer_addr: from, transport_protocol: TransportProtocol::UDP, ecn: None };
                    let message = BytesMut::from(&buffer[..length]);
                    let _ = self.inner.handle_read(TaggedBytesMut { now: std::time::Instant::now(), transport, message });
                }
                _ = self.clock.tick() => self.speak(),
                () = sleep_until(due) => self.inner.handle_timeout(std::time::Instant::now())?,
            }
        }
    }

    fn exchange(&mut self) {
        while self.inner.poll_event().is_some() {}
        while let Some(tagged) = self.inner.poll_read() {
            match tagged.message {
                RTCMessage::RtpPacket(_, packet) => self.heard.packet(packet.header.sequence_number, Instant::now()),
                RTCMessage::DataChannelMessage(..) => self.told = true,
                _ => {}
            }
        }
        self.send();
    }

    fn speak(&mut self) {
        let payload = self.packets[usize::from(self.number) % self.packets.len()].clone();
        let header = rtc::rtp::Header {
            version: 2,
            payload_type: OPUS,
            sequence_number: self.number,
            timestamp: u32::from(self.number) * 960,
            ssrc: self.ssrc,
            ..rtc::rtp::Header::default()
        };
        self.number = self.number.wrapping_add(1);
        if let Some(mut sender) = self.inner.rtp_sender(self.sender) {
            let _ = sender.write_rtp(std::time::Instant::now(), rtc::rtp::Packet { header, payload });
        }
    }

    fn send(&mut self) {
        while let Some(TaggedBytesMut { message, transport, .. }) = self.inner.poll_write() {
            let message: BytesMut = message;
            let _ = self.socket.try_send_to(&message, transport.peer_addr);
        }
    }
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: Vec::new(),
    }
}

/// A second of a tone.
fn sound() -> Result<Vec<Bytes>, Failure> {
    let mut encoder = OpusEncoder::new(Rate::SPEECH)?;
    let tone: Vec<f32> = (0..24_000).map(|i| 0.3 * (std::f32::consts::TAU * 330.0 * i as f32 / 24_000.0).sin()).collect();
    tone.chunks(480).map(|piece| Ok(Bytes::copy_from_slice(encoder.encode(piece)?))).collect()
}

/// Posts an offer over HTTP/1.0, where the answer ends with the connection.
async fn post(server: SocketAddr, offer: &str) -> Result<String, Failure> {
    let mut socket = TcpStream::connect(server).await?;
    let head = format!(
        "POST /v1/realtime/calls?model=m HTTP/1.0\r\nhost: {server}\r\ncontent-type: application/sdp\r\ncontent-length: {}\r\n\r\n",
        offer.len()
    );
    socket.write_all([head.as_bytes(), offer.as_bytes()].concat().as_slice()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let (head, answer) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    if !head.contains(" 201 ") {
        return Err(format!("the offer was refused: {answer}").into());
    }
    Ok(answer.to_owned())
}
