//! Any messages of any telephone carrier, one a line, are read or refused; the first byte says whose. What is no UTF-8 is a binary message, and all
//! of it is an AudioSocket stream, too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use web::phone::{Carrier, Framing, Packet, Said};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let carrier = Carrier::ALL[usize::from(*first) % Carrier::ALL.len()];
    let mut wire = web::phone::wire(carrier);
    let mut heard = Vec::new();
    let mut framing = Framing::default();
    for message in bytes.split(|byte| *byte == b'\n') {
        let packet = match std::str::from_utf8(message) {
            Ok(text) => Packet::Text(text.to_owned()),
            Err(_) => Packet::Binary(message.to_vec().into()),
        };
        let _ = wire.read(packet, &mut heard);
        framing.buffer().extend_from_slice(message);
        while let Some(frame) = framing.frame() {
            let _ = wire.read(frame, &mut heard);
        }
        let _ = (wire.write(Said::Sound(message)), wire.write(Said::Mark("m")), wire.write(Said::Clear), wire.write(Said::HangUp));
    }
});
