//! Timbre: a voice-aware LLM router and realtime voice server.
//!
//! Sound comes in as frames; a [`conversation`] decides whose turn it is; a route decides who answers; a reply is one stream of speech
//! that stops when it is dropped. Five crates stand in a line, each importing only what stands to its left:
//!
//! ```text
//! audio  <-  models  <-  router  <-  web  <-  src
//! ```
//!
//! The life of one second: `web::ws` reads bytes, `web::wire::realtime` makes a command of them; the [`session`] decodes and resamples
//! the sound, cuts it into windows of 32 ms, asks the voice detector about each and feeds the transcriber while somebody speaks. When a
//! pause comes, its sound and its words are judged at once, before the silence is long enough to be sure; the [`conversation`] ends the
//! turn as soon as they allow. The transcript and the signals of the turn choose a route; the model's words go to the synthesizer clause
//! by clause, and its sound goes out no faster than it is heard.

pub mod bench;
pub mod config;
pub mod conversation;
pub mod engines;
pub mod eval;
pub mod known_targets;
pub mod metrics;
pub mod models_command;
pub mod record;
pub mod replica_watch;
pub mod serve;
pub mod session;
pub mod talk;
pub mod train;
