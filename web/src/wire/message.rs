//! A message as it is answered: `message` and its events of Anthropic's API.
//!
//! `message_start` once and first, then blocks one after another with rising indexes, `message_delta` with why it ended and what it took,
//! `message_stop`. Beside Anthropic's fields stand `metadata.attempts` and `timbre`: in a whole message at its top, in a stream on
//! `message_delta`. Clients that know only Anthropic's fields ignore them.

use models::{Delta, Finish, ToolCall, Usage};
use serde_json::{Map, Value, json};

use super::sequence::{Block, Sequence, Step};
use router::cost::text_tokens;

/// Writes one answer.
#[derive(Debug)]
pub(crate) struct MessageWriter {
    /// `msg_...`.
    id: String,
    /// The model that answers.
    model: String,
    /// Tokens of the prompt, estimated: the count comes with the end, clients show one at the start.
    estimate: u64,
    sequence: Sequence,
    /// The block that is open, without its content: its pieces take their kind from it.
    open: Option<Block>,
    /// Sources of the words that are open.
    citations: Vec<Value>,
    /// Finished blocks.
    content: Vec<Value>,
    calls: bool,
    usage: Option<Usage>,
    finish: Option<Finish>,
    /// Tokens of what was written, estimated, for a provider that does not count.
    written: u64,
}

impl MessageWriter {
    pub(crate) fn new(id: String, model: String, estimate: u64) -> MessageWriter {
        MessageWriter {
            sequence: Sequence::new(&id),
            id,
            model,
            estimate,
            open: None,
            citations: Vec::new(),
            content: Vec::new(),
            calls: false,
            usage: None,
            finish: None,
            written: 0,
        }
    }

    /// The first events.
    pub(crate) fn opening(&self) -> Vec<Value> {
        let usage = usage_json(Usage { input_tokens: self.estimate, ..Usage::default() });
        let message = self.message(json!([]), Value::Null, usage);
        vec![json!({ "type": "message_start", "message": message }), ping()]
    }

    /// The events of one piece.
    pub(crate) fn push(&mut self, delta: Delta) -> Vec<Value> {
        match &delta {
            Delta::Usage(usage) => self.usage = Some(*usage),
            Delta::Finish(finish) => self.finish = Some(*finish),
            Delta::Extra(extra) => return self.extra(extra),
            _ => {}
        }
        let steps = self.sequence.push(delta);
        self.events(steps)
    }

    /// The last events.
    pub(crate) fn end(&mut self, beside: Map<String, Value>) -> Vec<Value> {
        let steps = self.sequence.finish();
        let mut events = self.events(steps);
        let (usage, counted) = self.usage();
        let mut delta = json!({
            "type": "message_delta",
            "delta": { "stop_reason": self.stop_reason(), "stop_sequence": null },
            "usage": usage,
        });
        extend(&mut delta, beside, counted);
        events.extend([delta, json!({ "type": "message_stop" })]);
        events
    }

    /// The answer as a whole.
    pub(crate) fn whole(&mut self, beside: Map<String, Value>) -> Value {
        let steps = self.sequence.finish();
        self.events(steps);
        let (usage, counted) = self.usage();
        let mut message = self.message(json!(self.content), json!(self.stop_reason()), usage);
        extend(&mut message, beside, counted);
        message
    }

    fn message(&self, content: Value, stop_reason: Value, usage: Value) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": null,
            "usage": usage,
        })
    }

    fn events(&mut self, steps: Vec<Step>) -> Vec<Value> {
        let mut events = Vec::with_capacity(steps.len());
        for step in steps {
            let index = self.content.len();
            let delta = |delta: Value| json!({ "type": "content_block_delta", "index": index, "delta": delta });
            match step {
                Step::Open(block) => {
                    self.calls |= matches!(block, Block::Call(_));
                    events.push(json!({ "type": "content_block_start", "index": index, "content_block": block_json(&block) }));
                    self.open = Some(block);
                }
                Step::Piece(text) => {
                    self.written += text_tokens(&text);
                    match &self.open {
                        Some(Block::Text(_)) => events.push(delta(json!({ "type": "text_delta", "text": text }))),
                        Some(Block::Reasoning { .. }) => events.push(delta(json!({ "type": "thinking_delta", "thinking": text }))),
                        Some(Block::Call(_)) => events.push(delta(json!({ "type": "input_json_delta", "partial_json": text }))),
                        // These are complete when they open.
                        Some(Block::Redacted(_) | Block::Whole(_)) | None => {}
                    }
                }
                Step::Signature(signature) => events.push(delta(json!({ "type": "signature_delta", "signature": signature }))),
                Step::Close(block) => {
                    events.push(json!({ "type": "content_block_stop", "index": index }));
                    let mut block = block_json(&block);
                    if !self.citations.is_empty() {
                        block["citations"] = std::mem::take(&mut self.citations).into();
                    }
                    self.content.push(block);
                    self.open = None;
                }
            }
        }
        events
    }

    /// What Anthropic itself ran goes back as the blocks it came in; sources of words go back as citations.
    fn extra(&mut self, extra: &Map<String, Value>) -> Vec<Value> {
        let list = |name: &str| extra.get("message").and_then(|message| message.get(name)).and_then(Value::as_array);
        let mut events = Vec::new();
        for annotation in list("annotations").into_iter().flatten().filter(|_| matches!(self.open, Some(Block::Text(_)))) {
            let source = &annotation["url_citation"];
            let citation = json!({
                "type": "web_search_result_location", "url": source["url"], "title": source["title"], "cited_text": "", "encrypted_index": "",
            });
            let delta = json!({ "type": "citations_delta", "citation": citation });
            events.push(json!({ "type": "content_block_delta", "index": self.content.len(), "delta": delta }));
            self.citations.push(citation);
        }
        let searches = list("web_searches").into_iter().flatten().flat_map(search_blocks);
        let own = list("anthropic_content").into_iter().flatten().cloned();
        for block in searches.chain(own) {
            let Value::Object(block) = block else { continue };
            let steps = self.sequence.insert(block);
            events.extend(self.events(steps));
        }
        events
    }

    fn stop_reason(&self) -> &'static str {
        match self.finish {
            Some(Finish::Length) => "max_tokens",
            Some(Finish::ContentFilter) => "refusal",
            Some(Finish::ToolCalls) => "tool_use",
            // Some servers say `stop` although they call.
            Some(Finish::Stop) | None if self.calls => "tool_use",
            Some(Finish::Stop) | None => "end_turn",
        }
    }

    /// What it took, and whether the provider has counted it.
    fn usage(&self) -> (Value, bool) {
        let estimated = Usage { input_tokens: self.estimate, output_tokens: self.written, ..Usage::default() };
        (usage_json(self.usage.unwrap_or(estimated)), self.usage.is_some())
    }
}

/// Keeps a connection alive.
pub(crate) fn ping() -> Value {
    json!({ "type": "ping" })
}

/// Anthropic counts what was read from and written to the cache apart from the rest, OpenAI as a part of it.
fn usage_json(usage: Usage) -> Value {
    let hour = usage.cache_write_hour_tokens.min(usage.cache_write_tokens);
    json!({
        "input_tokens": usage.input_tokens.saturating_sub(usage.cached_tokens).saturating_sub(usage.cache_write_tokens),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens - hour, "ephemeral_1h_input_tokens": hour,
        },
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    })
}

fn block_json(block: &Block) -> Value {
    match block {
        Block::Text(text) => json!({ "type": "text", "text": text }),
        Block::Reasoning { text, signature } => {
            json!({ "type": "thinking", "thinking": text, "signature": signature.as_deref().unwrap_or_default() })
        }
        Block::Whole(block) => Value::Object(block.clone()),
        Block::Redacted(data) => json!({ "type": "redacted_thinking", "data": data }),
        Block::Call(call) => json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input(call) }),
    }
}

/// A search that ran here, as the two blocks that Anthropic's own leaves. What it would seal, the text of the pages, is not shown.
fn search_blocks(search: &Value) -> [Value; 2] {
    let result = |found: &Value| json!({ "type": "web_search_result", "url": found["url"], "title": found["title"], "encrypted_content": "", "page_age": found["date"] });
    let content = match search["status"].as_str() {
        Some("failed") => json!({ "type": "web_search_tool_result_error", "error_code": "unavailable" }),
        _ => search["results"].as_array().into_iter().flatten().map(result).collect(),
    };
    [
        json!({ "type": "server_tool_use", "id": search["id"], "name": "web_search", "input": { "query": search["query"] } }),
        json!({ "type": "web_search_tool_result", "tool_use_id": search["id"], "content": content }),
    ]
}

/// The arguments as a value; as they came, a text, where they are no JSON.
fn input(call: &ToolCall) -> Value {
    match call.arguments.trim() {
        "" => json!({}),
        arguments => serde_json::from_str(arguments).unwrap_or_else(|_| json!(call.arguments)),
    }
}

fn extend(value: &mut Value, beside: Map<String, Value>, counted: bool) {
    if let Value::Object(map) = value {
        map.extend(beside);
    }
    if !counted {
        value["timbre"]["usageEstimated"] = json!(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer() -> MessageWriter {
        MessageWriter::new("msg_1".to_owned(), "up/big".to_owned(), 12)
    }

    fn call(id: Option<&str>, name: Option<&str>, arguments: &str) -> Delta {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Delta::ToolCall { index: 0, id: text(id), name: text(name), arguments: arguments.to_owned(), extra: Map::new() }
    }

    #[test]
    fn events_come_in_the_order_that_clients_demand() {
        let mut writer = writer();
        let mut events = writer.opening();
        let usage = Usage { input_tokens: 20, cached_tokens: 5, cache_write_tokens: 3, output_tokens: 9, ..Usage::default() };
        for delta in [
            Delta::Reasoning("hm".to_owned()),
            Delta::Signature("sig".to_owned()),
            Delta::Text("Hi".to_owned()),
            call(None, None, "{\"a\":"),
            call(Some("c1"), Some("f"), "1}"),
            Delta::Finish(Finish::ToolCalls),
            Delta::Usage(usage),
        ] {
            events.extend(writer.push(delta));
        }
        events.extend(writer.end(Map::from_iter([("timbre".to_owned(), json!({ "route": "direct" }))])));
        let told: Vec<String> = events.iter().map(|event| event.to_string()).collect();
        assert_eq!(
            told,
            [
                r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"up/big","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"cache_read_input_tokens":0,"output_tokens":0}}}"#,
                r#"{"type":"ping"}"#,
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}"#,
                r#"{"type":"content_block_stop","index":0}"#,
                r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
                r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hi"}}"#,
                r#"{"type":"content_block_stop","index":1}"#,
                r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"c1","name":"f","input":{}}}"#,
                r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}"#,
                r#"{"type":"content_block_stop","index":2}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":12,"cache_creation_input_tokens":3,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":0},"cache_read_input_tokens":5,"output_tokens":9},"timbre":{"route":"direct"}}"#,
                r#"{"type":"message_stop"}"#,
            ]
        );
    }

    #[test]
    fn a_whole_message_says_the_same() {
        let mut writer = writer();
        for delta in [Delta::Redacted("x".to_owned()), Delta::Text("Hi".to_owned()), call(Some("c1"), Some("f"), "")] {
            writer.push(delta);
        }
        let message = writer.whole(Map::new());
        assert_eq!(
            message["content"].to_string(),
            r#"[{"type":"redacted_thinking","data":"x"},{"type":"text","text":"Hi"},{"type":"tool_use","id":"c1","name":"f","input":{}}]"#
        );
        assert_eq!((&message["stop_reason"], &message["timbre"]["usageEstimated"]), (&json!("tool_use"), &json!(true)));
        assert_eq!(message["usage"]["input_tokens"], 12);
    }

    #[test]
    fn what_the_provider_ran_and_its_sources_keep_their_places() {
        let extra = |name: &str, item: Value| {
            let message = json!({ "message": { name: [item] } });
            Delta::Extra(message.as_object().cloned().unwrap_or_default())
        };
        let mut writer = writer();
        let source = json!({ "type": "url_citation", "url_citation": { "url": "https://a", "title": "A" } });
        let mut events = Vec::new();
        for delta in [
            Delta::Text("Let me look.".to_owned()),
            extra("anthropic_content", json!({ "type": "server_tool_use", "id": "s" })),
            Delta::Text("Found.".to_owned()),
            extra("annotations", source),
        ] {
            events.extend(writer.push(delta));
        }
        assert_eq!(events[7]["delta"]["citation"]["url"], "https://a", "{events:?}");
        let message = writer.whole(Map::new());
        let content = message["content"].as_array().expect("blocks");
        assert_eq!((content.len(), &content[1]["type"], &content[2]["citations"][0]["title"]), (3, &json!("server_tool_use"), &json!("A")));
    }

    #[test]
    fn why_it_ended_is_said_in_anthropics_words() {
        for (finish, reason) in [
            (Some(Finish::Stop), "end_turn"),
            (None, "end_turn"),
            (Some(Finish::Length), "max_tokens"),
            (Some(Finish::ContentFilter), "refusal"),
            (Some(Finish::ToolCalls), "tool_use"),
        ] {
            let mut writer = writer();
            finish.map(|finish| writer.push(Delta::Finish(finish)));
            assert_eq!(writer.whole(Map::new())["stop_reason"], reason);
        }
    }
}
