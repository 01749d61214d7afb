//! A response as it is answered: `response` and its events of OpenAI's Responses API.
//!
//! `response.created` first, items one after another with rising indexes, each opened and closed with its parts, and one event at the end
//! that carries the whole. `metadata` repeats the request's own, whose values clients take for texts: our attempts stand in `timbre.attempts`.

use models::{Delta, Finish, Message, Part, Role, ToolCall, Usage};
use serde_json::{Map, Value, json};

use super::ApiError;
use super::responses::{Form, Tools, seal_redacted, seal_signature};
use super::sequence::{Block, Sequence, Step};
use router::cost::text_tokens;

/// What a response says besides its output.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    /// `resp_...`.
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// The model that answers.
    pub(crate) model: String,
    /// Fields of the request that are repeated.
    pub(crate) echo: Map<String, Value>,
    /// What the tools were before they were functions.
    pub(crate) tools: Tools,
    /// Whether reasoning goes out with what lets it come back.
    pub(crate) encrypted: bool,
    /// Tokens of the prompt, estimated, for a provider that does not count.
    pub(crate) estimate: u64,
}

/// Writes one answer.
#[derive(Debug)]
pub(crate) struct ResponseWriter {
    head: ResponseHead,
    sequence: Sequence,
    /// The item that is open, without its content.
    open: Option<Block>,
    /// Finished items.
    output: Vec<Value>,
    /// The same for a later request that goes on from here.
    blocks: Vec<Block>,
    annotations: Vec<Value>,
    logprobs: Vec<Value>,
    events: u64,
    usage: Option<Usage>,
    finish: Option<Finish>,
    written: u64,
}

impl ResponseWriter {
    pub(crate) fn new(head: ResponseHead) -> ResponseWriter {
        ResponseWriter {
            sequence: Sequence::new(&head.id),
            head,
            open: None,
            output: Vec::new(),
            blocks: Vec::new(),
            annotations: Vec::new(),
            logprobs: Vec::new(),
            events: 0,
            usage: None,
            finish: None,
            written: 0,
        }
    }

    /// The first events.
    pub(crate) fn opening(&mut self) -> Vec<Value> {
        let response = self.response("in_progress");
        let kinds = ["response.created", "response.in_progress"];
        kinds.into_iter().map(|kind| self.event(kind, json!({ "response": response }))).collect()
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
        self.steps(steps)
    }

    /// The last events, and the whole response.
    pub(crate) fn end(&mut self, ours: Map<String, Value>) -> (Vec<Value>, Value) {
        let steps = self.sequence.finish();
        let mut events = self.steps(steps);
        let whole = self.whole(ours);
        let kind = if whole["status"] == "incomplete" { "response.incomplete" } else { "response.completed" };
        events.push(self.event(kind, json!({ "response": whole })));
        (events, whole)
    }

    /// The answer as a whole; the sequence has been finished.
    fn whole(&self, ours: Map<String, Value>) -> Value {
        let reason = match self.finish {
            Some(Finish::Length) => Some("max_output_tokens"),
            Some(Finish::ContentFilter) => Some("content_filter"),
            Some(Finish::Stop | Finish::ToolCalls) | None => None,
        };
        let mut response = self.response(if reason.is_some() { "incomplete" } else { "completed" });
        response["output"] = json!(self.output);
        response["usage"] = self.usage_json();
        if let Some(reason) = reason {
            response["incomplete_details"] = json!({ "reason": reason });
        }
        let mut timbre = ours;
        if self.usage.is_none() {
            timbre.insert("usageEstimated".to_owned(), json!(true));
        }
        response["timbre"] = Value::Object(timbre);
        response
    }

    /// The events of a failure: the one that SDKs raise, and the one that carries the response.
    pub(crate) fn fail(&mut self, error: &ApiError, ours: Map<String, Value>) -> Vec<Value> {
        let mut response = self.response("failed");
        response["output"] = json!(self.output);
        response["error"] = json!({ "code": error.code.unwrap_or("server_error"), "message": error.message });
        response["timbre"] = Value::Object(ours);
        let mut body = error.to_json();
        let told = json!({ "code": error.code, "message": error.message, "param": error.param, "error": body["error"].take() });
        vec![self.event("error", told), self.event("response.failed", json!({ "response": response }))]
    }

    /// What was said, as a message of the dialogue that a later request goes on from.
    pub(crate) fn message(&self) -> Message {
        let (mut parts, mut tool_calls) = (Vec::new(), Vec::new());
        for block in &self.blocks {
            match block.clone() {
                Block::Text(text) => parts.push(Part::Text(text)),
                Block::Reasoning { text, signature } => parts.push(Part::Reasoning { text, signature, redacted: None }),
                Block::Redacted(data) => parts.push(Part::Reasoning { text: String::new(), signature: None, redacted: Some(data) }),
                Block::Call(call) => tool_calls.push(call),
                // What was found is in the words that followed.
                Block::Whole(_) => {}
            }
        }
        Message { role: Role::Assistant, parts, tool_calls, tool_call_id: None, extra: Map::new() }
    }

    fn response(&self, status: &str) -> Value {
        let ResponseHead { id, created, model, echo, .. } = &self.head;
        let mut response = json!({
            "id": id, "object": "response", "created_at": created, "status": status, "background": false, "error": null,
            "incomplete_details": null, "model": model, "output": [], "usage": null,
        });
        if let Value::Object(response) = &mut response {
            response.extend(echo.clone());
        }
        response
    }

    fn event(&mut self, kind: &str, fields: Value) -> Value {
        let mut event = json!({ "type": kind, "sequence_number": self.events });
        self.events += 1;
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        event
    }

    /// An event of the item that is open.
    fn within(&mut self, kind: &str, fields: Value) -> Value {
        let (id, index) = (self.item_id(), self.output.len());
        let mut event = self.event(kind, json!({ "item_id": id, "output_index": index }));
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        event
    }

    /// The id of the item that is open: its kind, the response's own number, and its place.
    fn item_id(&self) -> String {
        let prefix = match &self.open {
            Some(Block::Call(call)) if *self.head.tools.form(&call.name) == Form::Custom => "ctc",
            Some(Block::Call(_)) => "fc",
            Some(Block::Reasoning { .. } | Block::Redacted(_)) => "rs",
            Some(Block::Whole(_)) => "ws",
            Some(Block::Text(_)) | None => "msg",
        };
        let number = self.head.id.trim_start_matches("resp_");
        format!("{prefix}_{number}{:02x}", self.output.len())
    }

    fn steps(&mut self, steps: Vec<Step>) -> Vec<Value> {
        let mut events = Vec::new();
        for step in steps {
            match step {
                Step::Open(block) => {
                    self.open = Some(block.clone());
                    let (item, index) = (self.item(&block, "in_progress"), self.output.len());
                    events.push(self.event("response.output_item.added", json!({ "output_index": index, "item": item })));
                    match block {
                        Block::Text(_) => {
                            let part = self.text_part("");
                            events.push(self.within("response.content_part.added", json!({ "content_index": 0, "part": part })));
                        }
                        Block::Reasoning { .. } => {
                            let part = json!({ "type": "summary_text", "text": "" });
                            events.push(self.within("response.reasoning_summary_part.added", json!({ "summary_index": 0, "part": part })));
                        }
                        Block::Redacted(_) | Block::Call(_) => {}
                        Block::Whole(_) => {
                            for step in ["in_progress", "searching", "completed"] {
                                events.push(self.within(&format!("response.web_search_call.{step}"), json!({})));
                            }
                        }
                    }
                }
                Step::Piece(piece) => {
                    self.written += text_tokens(&piece);
                    events.extend(self.piece(&piece));
                }
                // It goes out with the whole item.
                Step::Signature(_) => {}
                Step::Close(block) => events.extend(self.close(block)),
            }
        }
        events
    }

    fn piece(&mut self, piece: &str) -> Option<Value> {
        match &self.open {
            Some(Block::Text(_)) => {
                Some(self.within("response.output_text.delta", json!({ "content_index": 0, "delta": piece, "logprobs": [] })))
            }
            Some(Block::Reasoning { .. }) => {
                Some(self.within("response.reasoning_summary_text.delta", json!({ "summary_index": 0, "delta": piece })))
            }
            // A custom tool's input is wrapped in JSON for the model: it can be unwrapped only when it is whole.
            Some(Block::Call(call)) if *self.head.tools.form(&call.name) == Form::Custom => None,
            Some(Block::Call(_)) => Some(self.within("response.function_call_arguments.delta", json!({ "delta": piece }))),
            Some(Block::Redacted(_) | Block::Whole(_)) | None => None,
        }
    }

    fn close(&mut self, block: Block) -> Vec<Value> {
        let mut events = Vec::new();
        match &block {
            Block::Text(text) => {
                let logprobs = self.logprobs.clone();
                events.push(self.within("response.output_text.done", json!({ "content_index": 0, "text": text, "logprobs": logprobs })));
                let part = self.text_part(text);
                events.push(self.within("response.content_part.done", json!({ "content_index": 0, "part": part })));
            }
            Block::Reasoning { text, .. } => {
                events.push(self.within("response.reasoning_summary_text.done", json!({ "summary_index": 0, "text": text })));
                let part = json!({ "type": "summary_text", "text": text });
                events.push(self.within("response.reasoning_summary_part.done", json!({ "summary_index": 0, "part": part })));
            }
            Block::Call(call) if *self.head.tools.form(&call.name) == Form::Custom => {
                let input = custom_input(call);
                events.push(self.within("response.custom_tool_call_input.delta", json!({ "delta": input })));
                events.push(self.within("response.custom_tool_call_input.done", json!({ "input": input })));
            }
            Block::Call(call) => {
                let fields = json!({ "name": self.own_name(&call.name), "arguments": call.arguments });
                events.push(self.within("response.function_call_arguments.done", fields));
            }
            Block::Redacted(_) | Block::Whole(_) => {}
        }
        let (item, index) = (self.item(&block, "completed"), self.output.len());
        events.push(self.event("response.output_item.done", json!({ "output_index": index, "item": item })));
        self.annotations.clear();
        self.logprobs.clear();
        self.output.push(item);
        self.blocks.push(block);
        self.open = None;
        events
    }

    fn item(&self, block: &Block, status: &str) -> Value {
        let id = self.item_id();
        match block {
            Block::Text(text) => {
                let content = if status == "completed" { vec![self.text_part(text)] } else { Vec::new() };
                json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": content })
            }
            Block::Reasoning { text, signature } => {
                let summary = if text.is_empty() { json!([]) } else { json!([{ "type": "summary_text", "text": text }]) };
                let mut item = json!({ "id": id, "type": "reasoning", "summary": summary });
                if let (true, Some(signature)) = (self.head.encrypted, signature) {
                    item["encrypted_content"] = json!(seal_signature(signature));
                }
                item
            }
            Block::Whole(search) => {
                let sources = search.get("results").and_then(Value::as_array).into_iter().flatten();
                let sources: Vec<Value> = sources.map(|found| json!({ "type": "url", "url": found["url"] })).collect();
                let action = json!({ "type": "search", "query": search.get("query"), "sources": sources });
                let failed = search.get("status").is_some_and(|status| status == "failed");
                json!({ "id": id, "type": "web_search_call", "status": if failed { "failed" } else { status }, "action": action })
            }
            Block::Redacted(data) => {
                let mut item = json!({ "id": id, "type": "reasoning", "summary": [] });
                if self.head.encrypted {
                    item["encrypted_content"] = json!(seal_redacted(data));
                }
                item
            }
            Block::Call(call) => match self.head.tools.form(&call.name) {
                Form::Custom => {
                    let input = if status == "completed" { custom_input(call) } else { String::new() };
                    json!({ "id": id, "type": "custom_tool_call", "status": status, "call_id": call.id, "name": call.name, "input": input })
                }
                form => {
                    let mut item = json!({
                        "id": id, "type": "function_call", "status": status, "call_id": call.id, "name": self.own_name(&call.name),
                        "arguments": call.arguments,
                    });
                    if let Form::Namespaced { namespace, .. } = form {
                        item["namespace"] = json!(namespace);
                    }
                    item
                }
            },
        }
    }

    fn own_name<'a>(&'a self, name: &'a str) -> &'a str {
        match self.head.tools.form(name) {
            Form::Namespaced { name, .. } => name,
            Form::Function | Form::Custom => name,
        }
    }

    fn text_part(&self, text: &str) -> Value {
        json!({ "type": "output_text", "text": text, "annotations": self.annotations, "logprobs": self.logprobs })
    }

    /// Searches that ran here, as items; sources and probabilities of the words that are open.
    fn extra(&mut self, extra: &Map<String, Value>) -> Vec<Value> {
        let mut events = Vec::new();
        let searches = extra.get("message").and_then(|message| message.get("web_searches")).and_then(Value::as_array);
        for search in searches.into_iter().flatten().filter_map(Value::as_object) {
            let steps = self.sequence.insert(search.clone());
            events.extend(self.steps(steps));
        }
        if !matches!(self.open, Some(Block::Text(_))) {
            return events;
        }
        if let Some(more) = extra.get("logprobs").and_then(|logprobs| logprobs.get("content")).and_then(Value::as_array) {
            self.logprobs.extend(more.iter().cloned());
        }
        let annotations = extra.get("message").and_then(|message| message.get("annotations")).and_then(Value::as_array);
        for annotation in annotations.into_iter().flatten() {
            let mut flat = json!({ "type": "url_citation" });
            if let (Value::Object(flat), Some(Value::Object(fields))) = (&mut flat, annotation.get("url_citation")) {
                flat.extend(fields.clone());
            }
            let fields = json!({ "content_index": 0, "annotation_index": self.annotations.len(), "annotation": flat });
            events.push(self.within("response.output_text.annotation.added", fields));
            self.annotations.push(flat);
        }
        events
    }

    fn usage_json(&self) -> Value {
        let estimated = Usage { input_tokens: self.head.estimate, output_tokens: self.written, ..Usage::default() };
        let usage = self.usage.unwrap_or(estimated);
        json!({
            "input_tokens": usage.input_tokens,
            "input_tokens_details": { "cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens },
            "output_tokens": usage.output_tokens,
            "output_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
            "total_tokens": usage.input_tokens + usage.output_tokens,
        })
    }
}

/// The text that a model wrapped in `{"input": ...}`; all it wrote where it did not.
fn custom_input(call: &ToolCall) -> String {
    let wrapped: Option<Value> = serde_json::from_str(&call.arguments).ok();
    let input = wrapped.as_ref().and_then(|wrapped| wrapped.get("input")).and_then(Value::as_str);
    input.unwrap_or(&call.arguments).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::responses;

    fn writer(body: Value) -> ResponseWriter {
        let request = responses::read(body).expect("a request");
        ResponseWriter::new(ResponseHead {
            id: "resp_1".to_owned(),
            created: 7,
            model: "up/big".to_owned(),
            echo: request.echo,
            tools: request.tools,
            encrypted: request.encrypted,
            estimate: 5,
        })
    }

    fn call(index: usize, id: &str, name: &str, arguments: &str) -> Delta {
        let (id, name) = (Some(id.to_owned()), Some(name.to_owned()));
        Delta::ToolCall { index, id, name, arguments: arguments.to_owned(), extra: Map::new() }
    }

    #[test]
    fn every_item_is_opened_and_closed_in_turn() {
        let mut writer = writer(json!({
            "model": "m", "input": "hi", "include": ["reasoning.encrypted_content"], "tools": [{ "type": "custom", "name": "patch" }],
        }));
        let mut events = writer.opening();
        for delta in [
            Delta::Reasoning("hm".to_owned()),
            Delta::Signature("sig".to_owned()),
            Delta::Text("Hi".to_owned()),
            call(0, "c1", "f", "{}"),
            call(1, "c2", "patch", r#"{"input":"x"}"#),
            Delta::Finish(Finish::ToolCalls),
            Delta::Usage(Usage { input_tokens: 3, output_tokens: 2, ..Usage::default() }),
        ] {
            events.extend(writer.push(delta));
        }
        let (last, whole) = writer.end(Map::new());
        events.extend(last);
        let kinds: Vec<_> =
            events.iter().filter_map(|event| event["type"].as_str()).map(|kind| kind.trim_start_matches("response.")).collect();
        assert_eq!(
            kinds.join(" "),
            "created in_progress \
             output_item.added reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done \
             reasoning_summary_part.done output_item.done \
             output_item.added content_part.added output_text.delta output_text.done content_part.done output_item.done \
             output_item.added function_call_arguments.delta function_call_arguments.done output_item.done \
             output_item.added custom_tool_call_input.delta custom_tool_call_input.done output_item.done completed"
        );
        assert!(events.iter().enumerate().all(|(n, event)| event["sequence_number"] == n));
        let output = whole["output"].as_array().expect("items");
        assert_eq!(output[0]["encrypted_content"], "timbre-signature:sig");
        assert_eq!(output[1]["content"][0]["text"], "Hi");
        assert_eq!((&output[2]["call_id"], &output[3]["input"]), (&json!("c1"), &json!("x")));
        assert_eq!((&whole["status"], &whole["usage"]["total_tokens"]), (&json!("completed"), &json!(5)));
        let message = writer.message();
        assert_eq!((message.parts.len(), message.tool_calls.len()), (2, 2));
    }

    #[test]
    fn an_answer_that_is_cut_short_says_so() {
        for (finish, reason) in [(Finish::Length, "max_output_tokens"), (Finish::ContentFilter, "content_filter")] {
            let mut writer = writer(json!({ "model": "m", "input": "hi" }));
            writer.push(Delta::Text("Hi".to_owned()));
            writer.push(Delta::Finish(finish));
            let (events, whole) = writer.end(Map::new());
            assert_eq!((&whole["status"], &whole["incomplete_details"]["reason"]), (&json!("incomplete"), &json!(reason)));
            assert_eq!(events.last().map(|event| &event["type"]), Some(&json!("response.incomplete")));
            assert_eq!(whole["timbre"]["usageEstimated"], true);
        }
    }

    #[test]
    fn a_failure_is_told_twice_and_never_completed() {
        let mut writer = writer(json!({ "model": "m", "input": "hi" }));
        writer.push(Delta::Text("Hi".to_owned()));
        let events = writer.fail(&ApiError::new(502, "upstream_interrupted", "broke off"), Map::new());
        assert_eq!((&events[0]["type"], &events[0]["error"]["code"]), (&json!("error"), &json!("upstream_interrupted")));
        assert_eq!((&events[1]["type"], &events[1]["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    }
}
