//! A client's connection: the answer to its offer, its place at the port, and packets in and out.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use audio::codec::Codec;
use bytes::BytesMut;
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::configure_rtcp_reports;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::{SctpMaxMessageSize, SettingEngineBuilder};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{CandidateConfig, CandidateHostConfig, RTCIceCandidate};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::shared::TaggedBytesMut;
use tokio::time::Instant;

use super::ice::Agent;
use super::port::{Packet, Port, Seat};
use super::stand_in::{self, STILL};
use super::{RATE, sdp};
use crate::ApiError;
use crate::call::{EchoCancellation, SessionConfig};

/// Payload type of Opus where the client has no wish of its own: what browsers use.
const OPUS: u8 = 111;
/// Largest message over the data channel, bytes: what browsers take (256 KiB).
const LARGEST_MESSAGE: u32 = 256 * 1024;

/// A connection that has answered an offer.
pub(super) struct Connection {
    /// DTLS, SRTP and SCTP.
    pub(super) inner: RTCPeerConnection,
    pub(super) seat: Seat,
    pub(super) sender: RTCRtpSenderId,
    pub(super) ssrc: u32,
    /// Payload type of Opus, as both agreed.
    pub(super) opus: u8,
    pub(super) has_channel: bool,
    port: Arc<Port>,
    agent: Agent,
    /// The client's certificate, and its user name fragment.
    fingerprint: String,
    fragment: String,
    /// Whether the client was heard: what it is sent goes somewhere.
    reached: bool,
}

/// The configuration as this transport carries it: whatever the client wrote about formats, Opus goes over the wire and this behind it; and
/// browsers cancel echoes themselves.
pub(super) fn carried(config: SessionConfig) -> SessionConfig {
    let echo = if config.echo == EchoCancellation::On { EchoCancellation::On } else { EchoCancellation::Off };
    SessionConfig { input: Codec::Pcm16(RATE), output: Codec::Pcm16(RATE), echo, ..config }
}

fn wrong(error: rtc::shared::error::Error) -> ApiError {
    ApiError::invalid("sdp", format!("`sdp` cannot be answered: {error}."))
}

fn own(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(500, "server_error", format!("The call cannot be set up: {error}."))
}

impl Connection {
    /// Answers `offer`: the answer, and the connection that it makes.
    pub(super) fn answer(offer: &str, port: &Arc<Port>) -> Result<(String, Connection), ApiError> {
        let now = Instant::now().into_std();
        let ssrc = RandomState::new().hash_one(0) as u32;
        let mut inner = blank(now).map_err(own)?;
        let track =
            MediaStreamTrack::new("timbre".into(), "timbre-voice".into(), "voice".into(), RtpCodecKind::Audio, vec![encoding(ssrc)]);
        let sender = inner.add_track(track).map_err(own)?;
        let base = CandidateConfig {
            network: "udp".to_owned(),
            address: stand_in::OURS.ip().to_string(),
            port: stand_in::OURS.port(),
            component: 1,
            ..CandidateConfig::default()
        };
        let candidate = CandidateHostConfig { base_config: base, ..CandidateHostConfig::default() }.new_candidate_host().map_err(own)?;
        let agent = Agent::new().map_err(own)?;
        let seat = port.seat(&agent.credentials().fragment);
        let mut connection = Connection {
            inner,
            seat,
            sender,
            ssrc,
            opus: OPUS,
            has_channel: sdp::has_channel(offer),
            port: port.clone(),
            agent,
            fingerprint: sdp::fingerprint(offer).unwrap_or_default().to_owned(),
            fragment: sdp::fragment(offer).unwrap_or_default().to_owned(),
            reached: false,
        };
        connection.read_offer(offer)?;
        connection.inner.add_local_candidate(RTCIceCandidate::from(&candidate).to_json().map_err(own)?).map_err(own)?;
        let answer = connection.write_answer()?;
        let agreed = connection.inner.rtp_sender(sender).and_then(|mut sender| {
            let codecs = &sender.get_parameters().rtp_parameters.codecs;
            codecs.iter().find(|codec| codec.rtp_codec.mime_type.eq_ignore_ascii_case(MIME_TYPE_OPUS)).map(|codec| codec.payload_type)
        });
        connection.opus = agreed.unwrap_or(OPUS);
        Ok((answer, connection))
    }

    /// Whether `offer` comes of the same connection of the client's, and not of another one that takes its place.
    pub(super) fn made(&self, offer: &str) -> bool {
        sdp::fingerprint(offer) == Some(&self.fingerprint)
    }

    /// Answers another offer of the same client's: it restarts ICE, or changes what it sends.
    pub(super) fn renew(&mut self, offer: &str) -> Result<String, ApiError> {
        self.read_offer(offer)?;
        self.restart(offer)?;
        self.has_channel |= sdp::has_channel(offer);
        self.write_answer()
    }

    /// Answers a part of a description (`application/trickle-ice-sdpfrag`): `None` where it only brings candidates, which are not needed.
    pub(super) fn renew_ice(&mut self, part: &str) -> Result<Option<String>, ApiError> {
        let renewed = self.restart(part)?;
        Ok(renewed.then(|| sdp::restarted(self.agent.credentials(), self.port.candidates())))
    }

    /// Makes other credentials where the client has.
    fn restart(&mut self, description: &str) -> Result<bool, ApiError> {
        match sdp::fragment(description) {
            Some(fragment) if fragment != self.fragment => {
                self.agent.restart().map_err(own)?;
                self.seat.also(&self.agent.credentials().fragment);
                fragment.clone_into(&mut self.fragment);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn read_offer(&mut self, offer: &str) -> Result<(), ApiError> {
        let description = RTCSessionDescription::offer(sdp::inward(offer)).map_err(wrong)?;
        self.inner.set_remote_description(Instant::now().into_std(), description).map_err(wrong)
    }

    fn write_answer(&mut self) -> Result<String, ApiError> {
        let answer = self.inner.create_answer(None).map_err(wrong)?;
        self.inner.set_local_description(Instant::now().into_std(), answer).map_err(wrong)?;
        let answer = self.inner.local_description().map(|description| description.sdp).unwrap_or_default();
        if sdp::fragment(&answer).is_none() {
            return Err(ApiError::invalid("sdp", "`sdp` offers neither audio nor a data channel."));
        }
        Ok(sdp::outward(&answer, self.agent.credentials(), self.port.candidates()))
    }

    /// A packet for this call.
    pub(super) fn came(&mut self, now: Instant, Packet { from, bytes }: Packet) {
        // The first two bits tell STUN from the rest (RFC 7983 section 7).
        if bytes.first().is_some_and(|first| *first < 4) {
            if let Some(reply) = self.agent.check(now, from, &bytes) {
                self.port.send(&reply, from);
                if !std::mem::replace(&mut self.reached, true) {
                    // It cannot fail but by a change of the crate, and then the call never connects and is ended for that.
                    let _ = stand_in::select(&mut self.inner, now.into_std());
                }
            }
            return;
        }
        self.agent.heard(now, from);
        // What cannot be read is dropped, as what a network damaged is.
        let _ = self.inner.handle_read(TaggedBytesMut { now: now.into_std(), transport: STILL, message: bytes });
    }

    /// Sends what the connection has made.
    pub(super) fn send(&mut self) {
        while let Some(TaggedBytesMut { message, .. }) = self.inner.poll_write() {
            let message: BytesMut = message;
            let checks = message.first().is_some_and(|first| *first < 4);
            if !checks && let Some(way) = self.agent.way() {
                self.port.send(&message, way);
            }
        }
    }
}

fn blank(now: std::time::Instant) -> rtc::shared::error::Result<RTCPeerConnection> {
    let mut media = MediaEngine::default();
    let codec = RTCRtpCodecParameters { rtp_codec: opus(), payload_type: OPUS };
    media.register_codec(codec, RtpCodecKind::Audio)?;
    let settings = SettingEngineBuilder::new()
        .with_lite(true)
        .with_ice_credentials(stand_in::FRAGMENT.to_owned(), stand_in::PASSWORD.to_owned())
        // The stand-in says nothing more; silence is judged by what really comes.
        .with_ice_timeouts(Some(Duration::ZERO), Some(Duration::ZERO), Some(Duration::ZERO))
        .with_include_loopback_candidate(true)
        .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(LARGEST_MESSAGE))
        .build();
    RTCPeerConnectionBuilder::new()
        .with_media_engine(media)
        .with_setting_engine(settings)
        .with_interceptor_registry(configure_rtcp_reports(Registry::new()))
        .build(now)
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

fn encoding(ssrc: u32) -> RTCRtpEncodingParameters {
    RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..RTCRtpCodingParameters::default() },
        codec: opus(),
        ..RTCRtpEncodingParameters::default()
    }
}
