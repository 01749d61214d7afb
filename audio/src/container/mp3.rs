//! MPEG audio layer 3: read by symphonia, written by LAME, which is loaded when it is first needed and never linked (it is LGPL).

use std::ffi::{c_float, c_int, c_void};
use std::io::Cursor;
use std::time::Duration;

use libloading::Library;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::default::{codecs::MpaDecoder, formats::MpaReader};

use super::decode::{Mixer, rate};
use super::{Container, DecodeError, EncodeError, Recording};
use crate::Rate;

/// Past an ID3v2 tag in front, whose size is four times seven bits (ID3v2.4.0 section 3.1).
fn after_tag(bytes: &[u8]) -> &[u8] {
    match bytes {
        [b'I', b'D', b'3', _, _, _, a, b, c, d, rest @ ..] => {
            let size = [a, b, c, d].iter().fold(0usize, |size, &&byte| size << 7 | usize::from(byte & 0x7f));
            rest.get(size..).unwrap_or_default()
        }
        _ => bytes,
    }
}

pub(super) fn decode(bytes: &[u8], limit: Duration) -> Result<Recording, DecodeError> {
    let malformed = |error: Error| DecodeError::Malformed { container: Container::Mp3, detail: error.to_string() };
    let source = MediaSourceStream::new(Box::new(Cursor::new(after_tag(bytes))), Default::default());
    let mut reader = MpaReader::try_new(source, FormatOptions::default()).map_err(malformed)?;
    let missing = || DecodeError::Malformed { container: Container::Mp3, detail: "there is no frame".to_owned() };
    let track = reader.default_track(TrackType::Audio).ok_or_else(missing)?;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio()).ok_or_else(missing)?;
    let rate = rate(parameters.sample_rate.unwrap_or(0), Container::Mp3)?;
    let mut decoder = MpaDecoder::try_new(parameters, &AudioDecoderOptions::default()).map_err(malformed)?;
    let (mut mixer, mut block) = (Mixer::new(rate, limit), Vec::<f32>::new());
    loop {
        match reader.next_packet() {
            Ok(Some(packet)) => match decoder.decode(&packet) {
                Ok(sound) if sound.spec().rate() == rate.hz() => {
                    sound.copy_to_vec_interleaved(&mut block);
                    mixer.push(&block, sound.spec().channels().count())?;
                }
                // A cut-out piece of a stream refers to bits before its start: such a frame is no sound, the next one is.
                Ok(_) | Err(Error::DecodeError(_)) => {}
                Err(error) => return Err(malformed(error)),
            },
            Ok(None) => break,
            // Streams are cut anywhere; what came before is whole.
            Err(Error::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(malformed(error)),
        }
    }
    Ok(Recording { pcm: mixer.pcm, rate, container: Container::Mp3 })
}

const LIBRARY: &str = "libmp3lame.so.0";
/// Kilobits a second: transparent for mono speech at 24 kHz (MPEG-2 layer 3 allows 8 to 160).
const KILOBITS: c_int = 64;
/// LAME's `MPEG_mode` MONO.
const MONO: c_int = 3;
/// LAME's scale of 0 (best, slow) to 9; 5 is its own advice where speed matters.
const QUALITY: c_int = 5;

type Flags = *mut c_void;

/// LAME and one of its encoders.
pub(super) struct Mp3Encoder {
    flags: Flags,
    library: Library,
}

// SAFETY: LAME keeps all state of an encoder behind its flags, which only this value holds.
#[expect(unsafe_code, reason = "LAME's handle is a pointer; it may move between threads as a whole")]
unsafe impl Send for Mp3Encoder {}

#[expect(unsafe_code, reason = "LAME is a C library loaded at run time")]
impl Mp3Encoder {
    pub(super) fn new(rate: Rate) -> Result<Mp3Encoder, EncodeError> {
        // SAFETY: loading LAME runs no code of its own beyond the C library's start-up.
        let library = unsafe { Library::new(LIBRARY) }.map_err(|error| {
            EncodeError(format!(
                "mp3 needs LAME ({LIBRARY}), which was not found ({error}); install it (Debian, Ubuntu: apt-get install libmp3lame0) or ask for wav, flac or opus"
            ))
        })?;
        let failed = |error: libloading::Error| EncodeError(format!("mp3: this {LIBRARY} is not LAME 3.99 or later: {error}"));
        // SAFETY: the signatures are those of lame.h 3.99 to 3.100; a null handle is checked before use.
        unsafe {
            let flags = library.get::<unsafe extern "C" fn() -> Flags>(b"lame_init\0").map_err(failed)?();
            if flags.is_null() {
                return Err(EncodeError("mp3: LAME has no memory left".to_owned()));
            }
            let encoder = Mp3Encoder { flags, library };
            for (name, value) in [
                (&b"lame_set_in_samplerate\0"[..], rate.hz() as c_int),
                (b"lame_set_num_channels\0", 1),
                (b"lame_set_mode\0", MONO),
                (b"lame_set_brate\0", KILOBITS),
                (b"lame_set_quality\0", QUALITY),
                // The tag with the length would have to be written into the start at the end.
                (b"lame_set_bWriteVbrTag\0", 0),
            ] {
                encoder.library.get::<unsafe extern "C" fn(Flags, c_int) -> c_int>(name).map_err(failed)?(flags, value);
            }
            if encoder.library.get::<unsafe extern "C" fn(Flags) -> c_int>(b"lame_init_params\0").map_err(failed)?(flags) < 0 {
                return Err(EncodeError(format!("mp3: LAME does not take {} Hz", rate.hz())));
            }
            Ok(encoder)
        }
    }

    /// Room that LAME asks for: 1.25 times the samples and 7200 bytes (lame.h), twice that for its own resampling to a higher rate.
    fn room(samples: usize) -> usize {
        samples * 5 / 2 + 7_200
    }

    pub(super) fn push(&mut self, pcm: &[f32], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        type Encode = unsafe extern "C" fn(Flags, *const c_float, *const c_float, c_int, *mut u8, c_int) -> c_int;
        for block in pcm.chunks(1 << 16) {
            let before = out.len();
            let room = Mp3Encoder::room(block.len());
            out.resize(before + room, 0);
            // SAFETY: both pointers hold for the lengths given; a mono encoder reads the left channel alone.
            let written = unsafe {
                let encode =
                    self.library.get::<Encode>(b"lame_encode_buffer_ieee_float\0").map_err(|error| EncodeError(error.to_string()))?;
                encode(self.flags, block.as_ptr(), block.as_ptr(), block.len() as c_int, out[before..].as_mut_ptr(), room as c_int)
            };
            out.truncate(before + usize::try_from(written).unwrap_or(0));
            if written < 0 {
                return Err(EncodeError(format!("mp3: LAME failed with code {written}")));
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let before = out.len();
        let room = Mp3Encoder::room(0);
        out.resize(before + room, 0);
        // SAFETY: the pointer holds for the length given.
        let written = unsafe {
            let flush = self.library.get::<unsafe extern "C" fn(Flags, *mut u8, c_int) -> c_int>(b"lame_encode_flush\0");
            flush.map_err(|error| EncodeError(error.to_string()))?(self.flags, out[before..].as_mut_ptr(), room as c_int)
        };
        out.truncate(before + usize::try_from(written).unwrap_or(0));
        if written < 0 { Err(EncodeError(format!("mp3: LAME failed with code {written}"))) } else { Ok(()) }
    }
}

#[expect(unsafe_code, reason = "LAME is a C library loaded at run time")]
impl Drop for Mp3Encoder {
    fn drop(&mut self) {
        // SAFETY: the flags came from lame_init and are not used again.
        unsafe {
            if let Ok(close) = self.library.get::<unsafe extern "C" fn(Flags) -> c_int>(b"lame_close\0") {
                close(self.flags);
            }
        }
    }
}
