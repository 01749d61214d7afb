//! How much one caller may ask for.

use std::time::Duration;

/// Limits of the HTTP interface.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Largest request body, bytes.
    pub body_bytes: usize,
    /// Longest recording.
    pub audio_length: Duration,
    /// Longest text to be spoken, characters.
    pub speech_chars: usize,
    /// How long a request that is not streamed may take as a whole, and how long any body may take to arrive.
    pub request_timeout: Duration,
}

impl Default for Limits {
    /// OpenAI's own where it has them: 25 MB of audio (a third more in base64), 4,096 characters.
    fn default() -> Limits {
        Limits {
            body_bytes: 36 * 1024 * 1024,
            audio_length: Duration::from_secs(30 * 60),
            speech_chars: 4_096,
            request_timeout: Duration::from_secs(600),
        }
    }
}
