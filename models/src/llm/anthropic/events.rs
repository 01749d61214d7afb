//! The events of a streamed message, as deltas.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::llm::streamed::Reader;
use crate::remote;
use crate::sse::Event;
use crate::{Delta, ErrorKind, Finish, ModelError, Service, Usage};

/// Most blocks open at once. The dialect opens one at a time; more is a server that never closes any.
const MOST_OPEN: usize = 64;

/// Reads the events of one streamed message.
#[derive(Debug)]
pub(crate) struct Events {
    target: String,
    /// The tool whose arguments are the answer.
    answer: Option<&'static str>,
    /// Words beside such an answer: they are the answer only where the tool was not called.
    beside: String,
    /// The tool was called.
    answered: bool,
    open: BTreeMap<u64, Block>,
    counted: Counted,
    /// Characters of the answer so far: citations point at them.
    written: usize,
    /// Calls so far: their index counts tools, not blocks.
    calls: usize,
    begun: bool,
    finished: bool,
    stopped: bool,
}

/// A block that is not closed yet.
#[derive(Debug)]
enum Block {
    Text {
        /// Characters of the answer before it.
        from: usize,
        citations: Vec<Value>,
    },
    Thinking,
    /// The answer as arguments of a tool.
    Answer {
        said: bool,
        input: Value,
    },
    Call {
        index: usize,
        said: bool,
        input: Value,
    },
    /// What a tool that runs at the provider was asked, or answered.
    Other {
        block: Value,
        input: String,
    },
}

/// Tokens as Anthropic counts them: what was read from and written to the cache stands beside the input.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    input: u64,
    read: u64,
    written: u64,
    /// Of what was written, for an hour.
    hour: u64,
    output: u64,
    thought: u64,
    searches: u64,
    service: Service,
}

impl Counted {
    /// Takes what `usage` says; what it does not say stays.
    fn take(&mut self, usage: &Value) {
        let thought = &usage["output_tokens_details"]["thinking_tokens"];
        for (count, value) in [
            (&mut self.input, &usage["input_tokens"]),
            (&mut self.read, &usage["cache_read_input_tokens"]),
            (&mut self.written, &usage["cache_creation_input_tokens"]),
            (&mut self.hour, &usage["cache_creation"]["ephemeral_1h_input_tokens"]),
            (&mut self.output, &usage["output_tokens"]),
            (&mut self.thought, thought),
            (&mut self.searches, &usage["server_tool_use"]["web_search_requests"]),
        ] {
            *count = value.as_u64().unwrap_or(*count);
        }
        if let Some(service) = usage["service_tier"].as_str() {
            self.service = Service::of(service);
        }
    }

    /// The same with cached tokens as a part of the input.
    fn usage(self) -> Usage {
        Usage {
            input_tokens: self.input.saturating_add(self.read).saturating_add(self.written),
            cached_tokens: self.read,
            cache_write_tokens: self.written,
            cache_write_hour_tokens: self.hour.min(self.written),
            service: self.service,
            output_tokens: self.output,
            reasoning_tokens: self.thought,
            searches: self.searches,
            ..Usage::default()
        }
    }
}

impl Events {
    /// For an answer of `target`, `provider/model`, of which the arguments of the tool `answer` are the words.
    pub(crate) fn new(target: &str, answer: Option<&'static str>) -> Events {
        Events {
            target: target.to_owned(),
            answer,
            beside: String::new(),
            answered: false,
            open: BTreeMap::new(),
            counted: Counted::default(),
            written: 0,
            calls: 0,
            begun: false,
            finished: false,
            stopped: false,
        }
    }

    fn start(&mut self, message: &Value) -> Result<Vec<Delta>, ModelError> {
        if self.begun && (self.written > 0 || self.calls > 0) {
            // A proxy between here and there that tried again: the words before it cannot be unsaid.
            return Err(self.error(ErrorKind::Protocol, "began a second answer inside the first"));
        }
        self.begun = true;
        self.open.clear();
        self.counted.take(&message["usage"]);
        Ok(vec![Delta::Usage(self.counted.usage())])
    }

    fn open(&mut self, index: u64, block: &Value) -> Result<Vec<Delta>, ModelError> {
        if self.open.len() >= MOST_OPEN {
            return Err(self.error(ErrorKind::Protocol, format!("left {MOST_OPEN} blocks open")));
        }
        let mut deltas = Vec::new();
        let opened = match block["type"].as_str() {
            Some("text") => {
                let from = self.written;
                deltas.extend(self.words(block["text"].as_str().unwrap_or_default()));
                Block::Text { from, citations: Vec::new() }
            }
            Some("thinking") => {
                deltas.extend(reasoning(&block["thinking"]));
                deltas.extend(signature(&block["signature"]));
                Block::Thinking
            }
            Some("redacted_thinking") => {
                deltas.extend(block["data"].as_str().map(|data| Delta::Redacted(data.to_owned())));
                Block::Thinking
            }
            Some("tool_use") if self.answer.is_some_and(|name| block["name"] == name) => {
                self.answered = true;
                Block::Answer { said: false, input: block["input"].clone() }
            }
            Some("tool_use") => {
                let index = self.calls;
                self.calls += 1;
                deltas.push(Delta::ToolCall {
                    index,
                    id: block["id"].as_str().map(str::to_owned),
                    name: block["name"].as_str().map(str::to_owned),
                    arguments: String::new(),
                    extra: Map::new(),
                });
                Block::Call { index, said: false, input: block["input"].clone() }
            }
            _ => Block::Other { block: block.clone(), input: String::new() },
        };
        self.open.insert(index, opened);
        Ok(deltas)
    }

    fn more(&mut self, index: u64, delta: &Value) -> Vec<Delta> {
        let Some(block) = self.open.get_mut(&index) else { return Vec::new() };
        match (delta["type"].as_str(), block) {
            (Some("text_delta"), _) => self.words(delta["text"].as_str().unwrap_or_default()).into_iter().collect(),
            (Some("thinking_delta"), _) => reasoning(&delta["thinking"]).into_iter().collect(),
            (Some("signature_delta"), _) => signature(&delta["signature"]).into_iter().collect(),
            (Some("citations_delta"), Block::Text { citations, .. }) => {
                citations.push(delta["citation"].clone());
                Vec::new()
            }
            (Some("input_json_delta"), block) => {
                let piece = delta["partial_json"].as_str().unwrap_or_default();
                if piece.is_empty() {
                    return Vec::new();
                }
                match block {
                    Block::Call { index, said, .. } => {
                        *said = true;
                        vec![arguments(*index, piece.to_owned())]
                    }
                    Block::Answer { said, .. } => {
                        *said = true;
                        self.text(piece).into_iter().collect()
                    }
                    Block::Other { input, .. } => {
                        input.push_str(piece);
                        Vec::new()
                    }
                    Block::Text { .. } | Block::Thinking => Vec::new(),
                }
            }
            _ => Vec::new(),
        }
    }

    fn close(&mut self, index: u64) -> Vec<Delta> {
        match self.open.remove(&index) {
            Some(Block::Text { from, citations }) => annotations(citations, from, self.written).into_iter().collect(),
            // A call without arguments says nothing here and `{}` in OpenAI's dialect, whose clients parse it.
            Some(Block::Call { index, said: false, input }) => {
                vec![arguments(index, if input.is_object() { input.to_string() } else { "{}".to_owned() })]
            }
            Some(Block::Answer { said: false, input }) => self.text(&input.to_string()).into_iter().collect(),
            Some(Block::Other { mut block, input }) => {
                if let Ok(input) = serde_json::from_str::<Value>(&input) {
                    block["input"] = input;
                }
                vec![message_extra("anthropic_content", json!([block]))]
            }
            Some(Block::Thinking | Block::Call { .. } | Block::Answer { .. }) | None => Vec::new(),
        }
    }

    /// Words of a text block: JSON has no place for them beside it.
    fn words(&mut self, text: &str) -> Option<Delta> {
        if self.answer.is_some() {
            self.beside.push_str(text);
            return None;
        }
        self.text(text)
    }

    fn text(&mut self, text: &str) -> Option<Delta> {
        self.written += text.chars().count();
        (!text.is_empty()).then(|| Delta::Text(text.to_owned()))
    }

    fn end(&mut self, event: &Value) -> Vec<Delta> {
        self.counted.take(&event["usage"]);
        let mut deltas = Vec::new();
        if let Some(reason) = event["delta"]["stop_reason"].as_str() {
            self.finished = true;
            if !self.answered {
                let beside = std::mem::take(&mut self.beside);
                deltas.extend(self.text(&beside));
            }
            // A client that speaks the dialect wants the words that were lost on the way.
            if !matches!(reason, "end_turn" | "tool_use" | "max_tokens") {
                let mut extra = Map::new();
                extra.insert("native_finish_reason".into(), json!(reason));
                if let Some(text) = event["delta"]["stop_sequence"].as_str() {
                    extra.insert("stop_sequence".into(), json!(text));
                }
                deltas.push(Delta::Extra(extra));
            }
            deltas.push(Delta::Finish(self.finish(reason)));
        }
        deltas.push(Delta::Usage(self.counted.usage()));
        deltas
    }

    fn finish(&self, reason: &str) -> Finish {
        match reason {
            "max_tokens" | "model_context_window_exceeded" => Finish::Length,
            "tool_use" if self.calls == 0 && self.answer.is_some() => Finish::Stop,
            "tool_use" => Finish::ToolCalls,
            "refusal" => Finish::ContentFilter,
            // end_turn, stop_sequence, pause_turn, and what is still to come.
            _ => Finish::Stop,
        }
    }

    fn in_band(&self, event: &Value) -> ModelError {
        let kind = match event["error"]["type"].as_str() {
            Some("overloaded_error" | "rate_limit_error") => ErrorKind::Overloaded,
            Some("authentication_error" | "billing_error") => ErrorKind::Unauthorized,
            Some("permission_error") => ErrorKind::Refused,
            Some("invalid_request_error" | "not_found_error" | "request_too_large") => ErrorKind::BadRequest,
            Some("timeout_error") => ErrorKind::Timeout,
            _ => ErrorKind::Failed,
        };
        self.error(kind, remote::message(event).unwrap_or_else(|| event.to_string()))
    }
}

impl Reader for Events {
    fn event(&mut self, event: &Event) -> Result<Vec<Delta>, ModelError> {
        let data = event.data.trim();
        if data.is_empty() {
            return Ok(Vec::new());
        }
        let event = self.json(data)?;
        let index = event["index"].as_u64().unwrap_or(0);
        match event["type"].as_str() {
            Some("message_start") => self.start(&event["message"]),
            Some("content_block_start") => self.open(index, &event["content_block"]),
            Some("content_block_delta") => Ok(self.more(index, &event["delta"])),
            Some("content_block_stop") => Ok(self.close(index)),
            Some("message_delta") => Ok(self.end(&event)),
            Some("message_stop") => {
                self.stopped = true;
                Ok(Vec::new())
            }
            Some("error") => Err(self.in_band(&event)),
            // `ping`, and events that are still to come.
            _ if event.get("error").is_some_and(Value::is_object) => Err(self.in_band(&event)),
            _ => Ok(Vec::new()),
        }
    }

    fn over(&self) -> bool {
        self.stopped
    }

    fn complete(&self) -> bool {
        self.finished
    }

    fn target(&self) -> &str {
        &self.target
    }
}

fn reasoning(text: &Value) -> Option<Delta> {
    text.as_str().filter(|text| !text.is_empty()).map(|text| Delta::Reasoning(text.to_owned()))
}

fn signature(text: &Value) -> Option<Delta> {
    text.as_str().filter(|text| !text.is_empty()).map(|text| Delta::Signature(text.to_owned()))
}

fn arguments(index: usize, arguments: String) -> Delta {
    Delta::ToolCall { index, id: None, name: None, arguments, extra: Map::new() }
}

fn message_extra(key: &str, value: Value) -> Delta {
    let mut extra = Map::new();
    extra.insert("message".into(), json!({ key: value }));
    Delta::Extra(extra)
}

/// Citations of the web as OpenAI's annotations, with the stretch of the answer that they stand behind.
fn annotations(citations: Vec<Value>, from: usize, to: usize) -> Option<Delta> {
    let annotation = |citation: &Value| {
        let (url, title) = (citation["url"].as_str()?, citation["title"].as_str().unwrap_or_default());
        Some(json!({"type": "url_citation", "url_citation": {"url": url, "title": title, "start_index": from, "end_index": to}}))
    };
    let annotations: Vec<Value> = citations.iter().filter_map(annotation).collect();
    (!annotations.is_empty()).then(|| message_extra("annotations", Value::Array(annotations)))
}
