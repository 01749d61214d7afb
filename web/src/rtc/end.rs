//! Why calls end.

use std::fmt;

/// Why a call ended.
pub(super) enum End {
    /// The client closed.
    Left,
    /// The session is done.
    Finished,
    /// It never connected.
    Unreached,
    /// The longest time is over.
    Expired,
    /// The server stops, and the time that calls have left is over.
    Stopping,
    /// The client read nothing for too long.
    Unread,
    /// The client sent more than can be handled.
    Flood,
    /// Nothing came from the client for too long.
    Silent,
    /// The connection broke.
    Broken(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Left => f.write_str("the client left"),
            End::Finished => f.write_str("the session is done"),
            End::Unreached => f.write_str("the client never connected: is the WebRTC port open, and [webrtc] public_address right?"),
            End::Expired => f.write_str("it lasted as long as it may"),
            End::Stopping => f.write_str("the server stops"),
            End::Unread => f.write_str("the client did not read"),
            End::Flood => f.write_str("the client sent too many events at once"),
            End::Silent => f.write_str("the client was silent"),
            End::Broken(error) => write!(f, "the connection broke: {error}"),
        }
    }
}
