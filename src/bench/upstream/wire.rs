//! The four dialects as a provider writes them: whole answers, and the events of a stream.

use serde_json::{Value, json};

/// What a path speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// OpenAI's embeddings.
    Embeddings,
}

/// Tokens counted of any prompt.
const PROMPT_TOKENS: u64 = 12;
/// Numbers in an embedding.
const DIMENSIONS: usize = 64;
const CHAT_ID: &str = "chatcmpl-bench";
const RESPONSE_ID: &str = "resp_bench";
const MESSAGE_ID: &str = "msg_bench";

impl Dialect {
    /// Of a request's path; `None` where nothing answers.
    pub(super) fn of(path: &str) -> Option<Dialect> {
        let path = path.split('?').next().unwrap_or_default();
        [
            ("/chat/completions", Dialect::Chat),
            ("/responses", Dialect::Responses),
            ("/messages", Dialect::Messages),
            ("/embeddings", Dialect::Embeddings),
        ]
        .into_iter()
        .find_map(|(ending, dialect)| path.ends_with(ending).then_some(dialect))
    }

    /// An answer that is not streamed.
    pub(super) fn whole(self, model: &str, text: &str, tokens: usize) -> Value {
        match self {
            Dialect::Chat => json!({
                "id": CHAT_ID, "object": "chat.completion", "created": 0, "model": model,
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                "usage": chat_usage(tokens),
            }),
            Dialect::Responses => response(model, "completed", json!([item(text, "completed")]), responses_usage(tokens)),
            Dialect::Messages => json!({
                "id": MESSAGE_ID, "type": "message", "role": "assistant", "model": model, "content": [{"type": "text", "text": text}],
                "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": PROMPT_TOKENS, "output_tokens": tokens},
            }),
            Dialect::Embeddings => {
                let vector: Vec<f64> = (0..DIMENSIONS).map(|at| (at as f64 - 32.0) / 256.0).collect();
                json!({
                    "object": "list", "model": model, "data": [{"object": "embedding", "index": 0, "embedding": vector}],
                    "usage": {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS},
                })
            }
        }
    }

    /// The events before the first token.
    pub(super) fn opening(self, model: &str) -> String {
        match self {
            Dialect::Chat => chat_chunk(model, json!({"role": "assistant", "content": ""}), Value::Null),
            Dialect::Responses => {
                let began = response(model, "in_progress", json!([]), Value::Null);
                named("response.created", json!({"response": began}))
                    + &named("response.output_item.added", json!({"output_index": 0, "item": item("", "in_progress")}))
                    + &named(
                        "response.content_part.added",
                        json!({"item_id": "item_bench", "output_index": 0, "content_index": 0, "part": part("")}),
                    )
            }
            Dialect::Messages => {
                let message = json!({
                    "id": MESSAGE_ID, "type": "message", "role": "assistant", "model": model, "content": [],
                    "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": PROMPT_TOKENS, "output_tokens": 1},
                });
                named("message_start", json!({"message": message}))
                    + &named("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}}))
            }
            Dialect::Embeddings => String::new(),
        }
    }

    /// The event of a token.
    pub(super) fn token(self, model: &str, token: &str) -> String {
        match self {
            Dialect::Chat => chat_chunk(model, json!({"content": token}), Value::Null),
            Dialect::Responses => {
                let delta = json!({"item_id": "item_bench", "output_index": 0, "content_index": 0, "delta": token});
                named("response.output_text.delta", delta)
            }
            Dialect::Messages => named("content_block_delta", json!({"index": 0, "delta": {"type": "text_delta", "text": token}})),
            Dialect::Embeddings => String::new(),
        }
    }

    /// The events after the last token.
    pub(super) fn ending(self, model: &str, text: &str, tokens: usize) -> String {
        match self {
            Dialect::Chat => {
                let usage = json!({
                    "id": CHAT_ID, "object": "chat.completion.chunk", "created": 0, "model": model, "choices": [],
                    "usage": chat_usage(tokens),
                });
                format!("{}data: {usage}\n\ndata: [DONE]\n\n", chat_chunk(model, json!({}), json!("stop")))
            }
            Dialect::Responses => {
                let place = json!({"item_id": "item_bench", "output_index": 0, "content_index": 0});
                let with = |key: &str, value: Value| {
                    let mut place = place.clone();
                    place[key] = value;
                    place
                };
                let done = response(model, "completed", json!([item(text, "completed")]), responses_usage(tokens));
                named("response.output_text.done", with("text", json!(text)))
                    + &named("response.content_part.done", with("part", part(text)))
                    + &named("response.output_item.done", json!({"output_index": 0, "item": item(text, "completed")}))
                    + &named("response.completed", json!({"response": done}))
            }
            Dialect::Messages => {
                let delta = json!({"delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": tokens}});
                named("content_block_stop", json!({"index": 0})) + &named("message_delta", delta) + &named("message_stop", json!({}))
            }
            Dialect::Embeddings => String::new(),
        }
    }

    /// The body of an HTTP error.
    pub(super) fn error(self, status: u16) -> Value {
        let (message, kind) = match status {
            429 => ("Too many requests, on purpose.", "rate_limit_error"),
            _ => ("It failed, on purpose.", "server_error"),
        };
        match self {
            Dialect::Messages => {
                json!({"type": "error", "error": {"type": if status == 429 { kind } else { "api_error" }, "message": message}})
            }
            Dialect::Chat | Dialect::Responses | Dialect::Embeddings => {
                json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
            }
        }
    }

    /// An error as an event of the stream.
    pub(super) fn in_band(self) -> String {
        match self {
            Dialect::Responses => named("error", json!({"code": "server_error", "message": "It failed, on purpose.", "param": null})),
            Dialect::Messages => format!("event: error\ndata: {}\n\n", self.error(500)),
            Dialect::Chat | Dialect::Embeddings => format!("data: {}\n\n", self.error(500)),
        }
    }

    /// An event that is damaged: its JSON ends in the middle.
    pub(super) fn broken(self, model: &str) -> String {
        let event = self.token(model, " broken");
        format!("{}\n\n", &event[..event.len() * 2 / 3])
    }
}

fn chat_chunk(model: &str, delta: Value, finish: Value) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
    let chunk = json!({"id": CHAT_ID, "object": "chat.completion.chunk", "created": 0, "model": model, "choices": [choice]});
    format!("data: {chunk}\n\n")
}

/// An event with its name in both places.
fn named(name: &str, data: Value) -> String {
    let mut event = json!({ "type": name });
    if let (Value::Object(event), Value::Object(data)) = (&mut event, data) {
        event.extend(data);
    }
    format!("event: {name}\ndata: {event}\n\n")
}

fn chat_usage(tokens: usize) -> Value {
    json!({"prompt_tokens": PROMPT_TOKENS, "completion_tokens": tokens, "total_tokens": PROMPT_TOKENS + tokens as u64})
}

fn responses_usage(tokens: usize) -> Value {
    json!({
        "input_tokens": PROMPT_TOKENS, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": tokens, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": PROMPT_TOKENS + tokens as u64,
    })
}

fn response(model: &str, status: &str, output: Value, usage: Value) -> Value {
    json!({
        "id": RESPONSE_ID, "object": "response", "created_at": 0, "status": status, "error": null, "incomplete_details": null,
        "instructions": null, "model": model, "output": output, "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        "metadata": {}, "usage": usage,
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": []})
}

fn item(text: &str, status: &str) -> Value {
    let content = if text.is_empty() { json!([]) } else { json!([part(text)]) };
    json!({"id": "item_bench", "type": "message", "role": "assistant", "status": status, "content": content})
}
