//! Events of the server: one table from what the session tells to what the wire says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use router::limit::Standing;
use serde_json::{Map, Value, json};

use super::{Dialect, Playing, Realtime, beta, item, response};
use crate::call::{CallError, Event, ItemId, Place, Progress};
use crate::wire::signals;

/// Every message here has one part: speech, or text.
const CONTENT_INDEX: usize = 0;

impl Realtime {
    /// What a client is told: the messages of one event, in order.
    pub fn send(&mut self, event: &Event) -> Vec<String> {
        let one = match event {
            Event::Updated => {
                let session = self.session.to_json();
                self.tell("session.updated", json!({ "session": session }))
            }
            Event::SpeechStarted { at_ms, item } => {
                self.tell("input_audio_buffer.speech_started", json!({ "audio_start_ms": at_ms, "item_id": item }))
            }
            Event::SpeechStopped { at_ms, item } => {
                self.tell("input_audio_buffer.speech_stopped", json!({ "audio_end_ms": at_ms, "item_id": item }))
            }
            Event::TimedOut { from_ms, to_ms, item } => self
                .tell("input_audio_buffer.timeout_triggered", json!({ "audio_start_ms": from_ms, "audio_end_ms": to_ms, "item_id": item })),
            Event::Committed { after, item } => {
                self.tell("input_audio_buffer.committed", json!({ "previous_item_id": after, "item_id": item }))
            }
            Event::Cleared => self.tell("input_audio_buffer.cleared", json!({})),
            Event::ItemAdded { after, item } => {
                self.tell("conversation.item.added", json!({ "previous_item_id": after, "item": item::to_json(item) }))
            }
            // The beta dialect tells of an item once.
            Event::ItemDone { .. } if self.dialect == Dialect::Beta => return Vec::new(),
            Event::ItemDone { after, item } => {
                self.tell("conversation.item.done", json!({ "previous_item_id": after, "item": item::to_json(item) }))
            }
            Event::ItemRetrieved(item) => self.tell("conversation.item.retrieved", json!({ "item": item::to_json(item) })),
            Event::ItemDeleted(item) => self.tell("conversation.item.deleted", json!({ "item_id": item })),
            Event::ItemTruncated { item, content_index, audio_end_ms } => self.tell(
                "conversation.item.truncated",
                json!({ "item_id": item, "content_index": content_index, "audio_end_ms": audio_end_ms }),
            ),
            Event::TranscriptDelta { item, delta } => self.tell(
                "conversation.item.input_audio_transcription.delta",
                json!({ "item_id": item, "content_index": CONTENT_INDEX, "delta": delta }),
            ),
            Event::TranscriptDone { item, text, language, seconds } => self.transcript(item, text, language.as_deref(), *seconds),
            Event::TranscriptFailed { item, message } => {
                let error = json!({ "type": "transcription_error", "code": "transcription_failed", "message": message, "param": null });
                let fields = json!({ "item_id": item, "content_index": CONTENT_INDEX, "error": error });
                self.tell("conversation.item.input_audio_transcription.failed", fields)
            }
            Event::Signals { item, signals } => {
                let signals = signals::to_json(signals);
                self.signals = Some((item.clone(), signals.clone()));
                if !self.tells_ours() {
                    return Vec::new();
                }
                self.tell("timbre.signals", json!({ "item_id": item, "signals": signals }))
            }
            Event::Routed { .. } if !self.tells_ours() => return Vec::new(),
            Event::Routed { response, decision } => {
                let mut fields = json!({ "response_id": response });
                merge(&mut fields, response::decision_json(decision));
                self.tell("timbre.route", fields)
            }
            Event::ResponseCreated(response) => self.response("response.created", response),
            Event::ResponseDone(response) => self.response("response.done", response),
            Event::OutputItemAdded { place, item } => self.output_item("response.output_item.added", place, item),
            Event::OutputItemDone { place, item } => self.output_item("response.output_item.done", place, item),
            Event::PartAdded { place, spoken } => self.at("response.content_part.added", place, json!({ "part": part(*spoken, "") })),
            Event::AudioDelta { place, audio } => self.audio_delta(place, audio),
            Event::Hold { .. } | Event::Silence { .. } => return Vec::new(),
            Event::TextDelta { place, spoken, delta } => {
                let kind = if *spoken { "response.output_audio_transcript.delta" } else { "response.output_text.delta" };
                self.at(kind, place, json!({ "delta": delta }))
            }
            Event::CallDelta { place, call_id, delta } => {
                self.call("response.function_call_arguments.delta", place, json!({ "call_id": call_id, "delta": delta }))
            }
            Event::PartDone { place, spoken, text } => return self.part_done(place, *spoken, text),
            Event::CallDone { place, call_id, name, arguments } => {
                let fields = json!({ "call_id": call_id, "name": name, "arguments": arguments });
                self.call("response.function_call_arguments.done", place, fields)
            }
            Event::McpCallDelta { place, delta } => {
                // Agents written for OpenAI's API want to see what obscures the length of a piece; nothing does here.
                self.call("response.mcp_call_arguments.delta", place, json!({ "delta": delta, "obfuscation": "" }))
            }
            Event::McpCallDone { place, arguments } => {
                self.call("response.mcp_call_arguments.done", place, json!({ "arguments": arguments }))
            }
            Event::McpCalled { place, progress } => {
                let kind = format!("response.mcp_call.{}", progress_name(*progress));
                self.tell(&kind, json!({ "item_id": place.item, "output_index": place.output_index }))
            }
            Event::McpListed { item, progress } => {
                self.tell(&format!("mcp_list_tools.{}", progress_name(*progress)), json!({ "item_id": item }))
            }
            // The one event that has no id of its own.
            Event::Key { key, at } => {
                json!({ "type": "input_audio_buffer.dtmf_event_received", "event": key, "received_at": at }).to_string()
            }
            Event::Limits(standings) => {
                let limits: Vec<_> = [("requests", standings.requests), ("tokens", standings.tokens)]
                    .into_iter()
                    .filter_map(|(name, standing)| Some((name, standing?)))
                    .map(|(name, Standing { most, left, reset })| {
                        json!({ "name": name, "limit": most, "remaining": left, "reset_seconds": reset.as_secs_f64() })
                    })
                    .collect();
                // A caller without limits is told of none.
                if limits.is_empty() {
                    return Vec::new();
                }
                self.tell("rate_limits.updated", json!({ "rate_limits": limits }))
            }
            Event::Error(error) => self.error(error),
        };
        vec![one]
    }

    /// The message that tells what became of the sound of the answer named `response`.
    pub fn playing(&mut self, playing: Playing, response: &str) -> String {
        let kind = match playing {
            Playing::Started => "output_audio_buffer.started",
            Playing::Stopped => "output_audio_buffer.stopped",
            Playing::Cleared => "output_audio_buffer.cleared",
        };
        self.tell(kind, json!({ "response_id": response }))
    }

    /// An event: its type, its id, then `fields`.
    pub(super) fn tell(&mut self, kind: &str, fields: Value) -> String {
        let mut event = json!({ "type": kind, "event_id": self.event_id() });
        let mut fields = fields;
        if self.dialect == Dialect::Beta {
            let (kind, older) = beta::told(kind, fields);
            event["type"] = kind.into();
            fields = older;
        }
        merge(&mut event, fields);
        event.to_string()
    }

    fn event_id(&mut self) -> String {
        self.told += 1;
        format!("event_{}_{}", self.stem, self.told)
    }

    fn error(&mut self, error: &CallError) -> String {
        let CallError { code, message, param, event_id } = error;
        // What the client did is its own to mend; the rest is ours.
        let kind = if *code == "server_error" { "server_error" } else { "invalid_request_error" };
        let error = json!({ "type": kind, "code": code, "message": message, "param": param, "event_id": event_id });
        self.tell("error", json!({ "error": error }))
    }

    /// The caller's words; with the signals, if they are known by now.
    fn transcript(&mut self, item: &ItemId, text: &str, language: Option<&str>, seconds: f64) -> String {
        let usage = json!({ "type": "duration", "seconds": seconds });
        let mut fields = json!({ "item_id": item, "content_index": CONTENT_INDEX, "transcript": text, "usage": usage });
        if let Some(code) = language {
            fields["languages"] = json!([{ "code": code }]);
        }
        if let Some((_, signals)) = self.signals.as_ref().filter(|(of, _)| of == item) {
            fields["signals"] = signals.clone();
        }
        self.tell("conversation.item.input_audio_transcription.completed", fields)
    }

    fn response(&mut self, kind: &str, response: &crate::call::Response) -> String {
        let response = response::to_json(response, &self.session, &format!("conv_{}", self.stem));
        self.tell(kind, json!({ "response": response }))
    }

    fn output_item(&mut self, kind: &str, place: &Place, item: &crate::call::Item) -> String {
        let fields = json!({ "response_id": place.response, "output_index": place.output_index, "item": item::to_json(item) });
        self.tell(kind, fields)
    }

    /// An event about a function call, which has no parts.
    fn call(&mut self, kind: &str, place: &Place, fields: Value) -> String {
        let mut event = json!({ "response_id": place.response, "item_id": place.item, "output_index": place.output_index });
        merge(&mut event, fields);
        self.tell(kind, event)
    }

    /// An event about a part of a message.
    fn at(&mut self, kind: &str, place: &Place, fields: Value) -> String {
        let mut event = json!({
            "response_id": place.response,
            "item_id": place.item,
            "output_index": place.output_index,
            "content_index": CONTENT_INDEX,
        });
        merge(&mut event, fields);
        self.tell(kind, event)
    }

    fn part_done(&mut self, place: &Place, spoken: bool, text: &str) -> Vec<String> {
        let mut messages = if spoken {
            vec![
                self.at("response.output_audio.done", place, json!({})),
                self.at("response.output_audio_transcript.done", place, json!({ "transcript": text })),
            ]
        } else {
            vec![self.at("response.output_text.done", place, json!({ "text": text }))]
        };
        messages.push(self.at("response.content_part.done", place, json!({ "part": part(spoken, text) })));
        messages
    }

    /// The event that comes most often and is the largest: written in one piece, the base64 straight into its place.
    fn audio_delta(&mut self, place: &Place, audio: &[u8]) -> String {
        let mut event = self.at("response.output_audio.delta", place, json!({}));
        event.pop();
        event.reserve_exact(audio.len().div_ceil(3) * 4 + 16);
        event.push_str(",\"delta\":\"");
        STANDARD.encode_string(audio, &mut event);
        event.push_str("\"}");
        event
    }
}

fn progress_name(progress: Progress) -> &'static str {
    match progress {
        Progress::InProgress => "in_progress",
        Progress::Completed => "completed",
        Progress::Failed => "failed",
    }
}

fn part(spoken: bool, text: &str) -> Value {
    if spoken { json!({ "type": "audio", "transcript": text }) } else { json!({ "type": "text", "text": text }) }
}

/// Adds the fields of one object to another.
fn merge(into: &mut Value, fields: Value) {
    if let (Value::Object(into), Value::Object(fields)) = (into, fields) {
        into.extend::<Map<String, Value>>(fields);
    }
}
