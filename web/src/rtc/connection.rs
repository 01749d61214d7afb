//! The answer to an offer: which codec, which addresses, and the connection that both make.

use std::hash::{BuildHasher, RandomState};

use audio::codec::Codec;
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
use tokio::time::Instant;

use super::RATE;
use super::port::{Port, Seat};
use crate::ApiError;
use crate::call::SessionConfig;

/// Payload type of Opus where the client has no wish of its own: what browsers use.
const OPUS: u8 = 111;
/// Largest message over the data channel, bytes: what browsers take (256 KiB).
const LARGEST_MESSAGE: u32 = 256 * 1024;

/// A connection that has answered an offer.
pub(super) struct Connection {
    pub(super) inner: RTCPeerConnection,
    pub(super) seat: Seat,
    pub(super) sender: RTCRtpSenderId,
    pub(super) ssrc: u32,
    /// Payload type of Opus, as both agreed.
    pub(super) opus: u8,
    pub(super) has_channel: bool,
}

/// The configuration as this transport carries it: whatever the client wrote about formats, Opus goes over the wire and this behind it.
pub(super) fn carried(config: SessionConfig) -> SessionConfig {
    SessionConfig { input: Codec::Pcm16(RATE), output: Codec::Pcm16(RATE), ..config }
}

/// Answers `offer`: the answer, and the connection that it makes.
pub(super) fn connect(offer: &str, port: &Port) -> Result<(String, Connection), ApiError> {
    let wrong = |error: rtc::shared::error::Error| ApiError::invalid("sdp", format!("`sdp` cannot be answered: {error}."));
    let own = |error: rtc::shared::error::Error| ApiError::new(500, "server_error", format!("The call cannot be set up: {error}."));
    let now = Instant::now().into_std();
    let ssrc = RandomState::new().hash_one(0) as u32;
    let mut inner = blank(now).map_err(own)?;
    let track = MediaStreamTrack::new("timbre".into(), "timbre-voice".into(), "voice".into(), RtpCodecKind::Audio, vec![encoding(ssrc)]);
    let sender = inner.add_track(track).map_err(own)?;
    let description = RTCSessionDescription::offer(offer.to_owned()).map_err(wrong)?;
    inner.set_remote_description(now, description).map_err(wrong)?;
    for address in port.addresses() {
        let base = CandidateConfig {
            network: "udp".to_owned(),
            address: address.ip().to_string(),
            port: address.port(),
            component: 1,
            ..CandidateConfig::default()
        };
        let candidate = CandidateHostConfig { base_config: base, ..CandidateHostConfig::default() }.new_candidate_host().map_err(own)?;
        inner.add_local_candidate(RTCIceCandidate::from(&candidate).to_json().map_err(own)?).map_err(own)?;
    }
    let answer = inner.create_answer(None).map_err(wrong)?;
    inner.set_local_description(now, answer).map_err(wrong)?;
    let answer = inner.local_description().map(|description| description.sdp).unwrap_or_default();
    let fragment = answer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).map(str::trim);
    let fragment = fragment.ok_or_else(|| ApiError::invalid("sdp", "`sdp` offers neither audio nor a data channel."))?;
    let seat = port.seat(fragment);
    let opus = inner.rtp_sender(sender).and_then(|mut sender| {
        let codecs = &sender.get_parameters().rtp_parameters.codecs;
        codecs.iter().find(|codec| codec.rtp_codec.mime_type.eq_ignore_ascii_case(MIME_TYPE_OPUS)).map(|codec| codec.payload_type)
    });
    let has_channel = offer.lines().any(|line| line.starts_with("m=application"));
    Ok((answer, Connection { inner, seat, sender, ssrc, opus: opus.unwrap_or(OPUS), has_channel }))
}

fn blank(now: std::time::Instant) -> rtc::shared::error::Result<RTCPeerConnection> {
    let mut media = MediaEngine::default();
    let codec = RTCRtpCodecParameters { rtp_codec: opus(), payload_type: OPUS };
    media.register_codec(codec, RtpCodecKind::Audio)?;
    let settings = SettingEngineBuilder::new()
        .with_lite(true)
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
