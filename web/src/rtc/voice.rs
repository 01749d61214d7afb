//! The stream of RTP packets to the client: encoded for what its network lets through.

use audio::CodecError;
use audio::codec::opus::OpusEncoder;
use bytes::Bytes;
use rtc::peer_connection::RTCPeerConnection;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp_transceiver::RTCRtpSenderId;
use tokio::time::Instant;

use super::RATE;
use super::connection::Connection;

/// Opus's clock on the wire: 20 ms of it (RFC 7587 section 4.1).
const TIMESTAMP_STEP: u32 = 960;
/// Packets lost of a hundred that the encoder prepares for before it knows better, and at least: a wireless network on a bad day. Below
/// that the copies cost a few bits a second; a loss that was not prepared for is heard.
const LEAST_LOSS_PERCENT: u8 = 10;
/// From so much loss on, of a hundred packets, the network is taken to be full rather than noisy, and fewer bits are sent.
const FULL_PERCENT: f32 = 12.0;
/// Bits a second where nothing is known: wide-band to full-band speech (RFC 6716 section 2.1.1).
const BITS: u32 = 32_000;
/// Bits a second of wide-band speech, mono: less is not needed by any network that carries the headers.
const LEAST_BITS: u32 = 16_000;
/// How much of a new report counts: reports come every few seconds, and one bad one is no bad network.
const WEIGHT: f32 = 0.3;

/// The stream.
pub(super) struct Voice {
    encoder: OpusEncoder,
    sender: RTCRtpSenderId,
    /// The sound of the next packet, at [`RATE`].
    pub(super) frame: Vec<f32>,
    ssrc: u32,
    opus: u8,
    number: u16,
    timestamp: u32,
    /// Whether the packet before was sent: else the next begins a talkspurt (RFC 3551 section 4.1).
    speaking: bool,
    network: Network,
}

/// What the client's reports say of the network (RFC 3550 section 6.4).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Network {
    /// Packets lost of a hundred, smoothed.
    loss_percent: f32,
    /// What is sent, bits a second.
    bits: u32,
}

impl Network {
    /// What is known at first.
    const UNKNOWN: Network = Network { loss_percent: 0.0, bits: BITS };

    /// After a report that so many packets of 256 were lost since the one before.
    fn after(self, fraction: u8) -> Network {
        let lost = f32::from(fraction) / 2.56;
        let loss_percent = self.loss_percent + WEIGHT * (lost - self.loss_percent);
        // A quarter less when the network is full, a little more when it is not: what each step of TCP's congestion control does.
        let bits = if loss_percent > FULL_PERCENT { self.bits / 4 * 3 } else { self.bits + 2_000 };
        Network { loss_percent, bits: bits.clamp(LEAST_BITS, BITS) }
    }

    fn expected_percent(self) -> u8 {
        (self.loss_percent.round() as u8).clamp(LEAST_LOSS_PERCENT, 50)
    }
}

impl Voice {
    /// The stream of `connection`.
    pub(super) fn new(connection: &Connection) -> Result<Voice, CodecError> {
        let mut encoder = OpusEncoder::new(RATE)?;
        encoder.expect_loss(LEAST_LOSS_PERCENT)?;
        Ok(Voice {
            encoder,
            sender: connection.sender,
            frame: Vec::new(),
            ssrc: connection.ssrc,
            opus: connection.opus,
            number: 0,
            timestamp: 0,
            speaking: false,
            network: Network::UNKNOWN,
        })
    }

    /// Goes on over another connection of the same client's.
    pub(super) fn move_to(&mut self, connection: &Connection) {
        (self.sender, self.ssrc, self.opus) = (connection.sender, connection.ssrc, connection.opus);
        (self.speaking, self.network) = (false, Network::UNKNOWN);
    }

    /// Payload type of Opus.
    pub(super) fn payload_type(&self) -> u8 {
        self.opus
    }

    /// Whether the last packet's time had sound.
    pub(super) fn is_speaking(&self) -> bool {
        self.speaking
    }

    /// The client reports how it hears.
    pub(super) fn reported(&mut self, packets: &[Box<dyn rtc::rtcp::Packet>]) -> Result<(), CodecError> {
        let ssrc = self.ssrc;
        let before = self.network;
        for packet in packets {
            let packet = packet.as_any();
            let reports: &[ReceptionReport] = match (packet.downcast_ref::<ReceiverReport>(), packet.downcast_ref::<SenderReport>()) {
                (Some(report), _) => &report.reports,
                (_, Some(report)) => &report.reports,
                _ => continue,
            };
            for report in reports.iter().filter(|report| report.ssrc == ssrc) {
                self.network = self.network.after(report.fraction_lost);
            }
        }
        if self.network.expected_percent() != before.expected_percent() {
            self.encoder.expect_loss(self.network.expected_percent())?;
        }
        if self.network.bits != before.bits {
            self.encoder.set_bits(self.network.bits)?;
        }
        Ok(())
    }

    /// Sends the frame, if there is one. The clock of the stream goes on either way.
    pub(super) fn speak(&mut self, connection: &mut RTCPeerConnection, now: Instant) -> Result<(), CodecError> {
        self.timestamp = self.timestamp.wrapping_add(TIMESTAMP_STEP);
        if self.frame.is_empty() {
            self.speaking = false;
            return Ok(());
        }
        let packet = self.encoder.encode(&self.frame)?;
        let header = rtc::rtp::Header {
            version: 2,
            marker: !self.speaking,
            payload_type: self.opus,
            sequence_number: self.number,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            ..rtc::rtp::Header::default()
        };
        let packet = rtc::rtp::Packet { header, payload: Bytes::copy_from_slice(packet) };
        self.number = self.number.wrapping_add(1);
        self.speaking = true;
        // A client that wants no sound gets none.
        if let Some(mut sender) = connection.rtp_sender(self.sender) {
            let _ = sender.write_rtp(now.into_std(), packet);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoder_prepares_for_what_was_reported() {
        let after = |reports: &[u8]| {
            let network = reports.iter().fold(Network::UNKNOWN, |network, fraction| network.after(*fraction));
            (network.expected_percent(), network.bits)
        };
        assert_eq!(after(&[]), (10, 32_000));
        assert_eq!(after(&[0; 20]), (10, 32_000));
        // Five percent, as in a train; one report alone; a network that is full, and one that has recovered.
        assert_eq!(after(&[13; 20]), (10, 32_000));
        assert_eq!(after(&[64]), (10, 32_000));
        assert_eq!(after(&[64; 20]), (25, 16_000));
        assert_eq!(after(&[[64; 20], [0; 20]].concat()), (10, 32_000));
        assert_eq!(after(&[255; 50]), (50, 16_000));
    }
}
