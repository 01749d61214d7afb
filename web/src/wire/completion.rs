//! A chat completion as it is answered: `chat.completion` and `chat.completion.chunk` of OpenAI's API.
//!
//! `delta.audio` is in no specification; its shape is what OpenAI's own service sends: pieces that hold either `transcript` or `data`, then one
//! with `expires_at`. Beside OpenAI's fields stand `metadata.attempts` and `timbre`, which strict clients ignore.

use models::{Completion, Delta, Finish, Signals, Usage};
use router::{Attempt, Counted, Decision, Outcome, Work};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::signals;

/// What all chunks of one answer share.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    /// `chatcmpl-...`.
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// The model that answers, as far as it is known.
    pub(crate) model: String,
    /// Whether the client asked for a usage chunk; all others then say `usage: null`.
    pub(crate) with_usage: bool,
}

/// Name of a chunk's type.
const CHUNK: &str = "chat.completion.chunk";

#[derive(Serialize)]
struct WordsChunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [WordsChoice<'a>; 1],
    /// Null, in the place where another chunk says how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<()>,
}

#[derive(Serialize)]
struct WordsChoice<'a> {
    index: u32,
    delta: Words<'a>,
    logprobs: (),
    finish_reason: (),
}

#[derive(Serialize)]
struct Words<'a> {
    content: &'a str,
}

/// A spoken answer as a whole.
pub(crate) struct SpokenAudio {
    pub(crate) id: String,
    /// Base64 of a file in the format asked for.
    pub(crate) data: String,
    /// Seconds since 1970 until which the id may be referred to.
    pub(crate) expires_at: u64,
    pub(crate) transcript: String,
}

impl Envelope {
    /// The first chunk.
    pub(crate) fn opening(&self) -> Value {
        self.chunk(json!({ "role": "assistant", "content": "", "refusal": null }), None)
    }

    /// A chunk of words, as JSON: what nearly every chunk is, and so written without a tree of values in between.
    pub(crate) fn words(&self, text: &str) -> String {
        let choice = WordsChoice { index: 0, delta: Words { content: text }, logprobs: (), finish_reason: () };
        let usage = self.with_usage.then_some(());
        let chunk = WordsChunk { id: &self.id, object: CHUNK, created: self.created, model: &self.model, choices: [choice], usage };
        serde_json::to_string(&chunk).expect("texts and numbers are JSON")
    }

    /// A chunk of an answer in text; `None` for what has no chunk of its own.
    pub(crate) fn delta(&self, delta: &Delta) -> Option<Value> {
        let delta = match delta {
            Delta::Text(text) => json!({ "content": text }),
            _ => return self.silent_delta(delta),
        };
        Some(self.chunk(delta, None))
    }

    /// A chunk of an answer that is spoken: its words are the transcript of its audio.
    pub(crate) fn spoken_delta(&self, audio_id: &str, delta: &Delta) -> Option<Value> {
        match delta {
            Delta::Text(text) => Some(self.chunk(json!({ "content": null, "audio": { "id": audio_id, "transcript": text } }), None)),
            _ => self.silent_delta(delta),
        }
    }

    fn silent_delta(&self, delta: &Delta) -> Option<Value> {
        let delta = match delta {
            Delta::Reasoning(text) => json!({ "reasoning_content": text }),
            Delta::ToolCall { index, id, name, arguments, extra } => {
                let mut call = json!({ "index": index, "function": { "arguments": arguments } });
                if let Some(name) = name {
                    call["function"]["name"] = json!(name);
                }
                if let Some(id) = id {
                    call["id"] = json!(id);
                    call["type"] = json!("function");
                }
                extend(&mut call, extra.clone());
                json!({ "tool_calls": [call] })
            }
            Delta::Signature(signature) => json!({ "reasoning_signature": signature }),
            Delta::Redacted(data) => json!({ "redacted_reasoning": data }),
            Delta::Extra(extra) => {
                let mut extra = extra.clone();
                let mut chunk = self.chunk(extra.remove("message").unwrap_or_else(|| json!({})), None);
                extend(&mut chunk["choices"][0], extra);
                return Some(chunk);
            }
            Delta::Text(_) | Delta::Usage(_) | Delta::Finish(_) => return None,
        };
        Some(self.chunk(delta, None))
    }

    /// A chunk of speech: base64 of mono PCM, 16 bits, little endian, 24 kHz.
    pub(crate) fn speech(&self, audio_id: &str, data: &str) -> Value {
        self.chunk(json!({ "audio": { "id": audio_id, "data": data } }), None)
    }

    /// The chunk that ends the speech.
    pub(crate) fn speech_end(&self, audio_id: &str, expires_at: u64) -> Value {
        self.chunk(json!({ "audio": { "id": audio_id, "expires_at": expires_at } }), None)
    }

    /// The chunk that says why the answer ended, with our own fields.
    pub(crate) fn finish(&self, finish: Finish, beside: Map<String, Value>) -> Value {
        let mut chunk = self.chunk(json!({}), Some(finish));
        extend(&mut chunk, beside);
        chunk
    }

    /// The chunk of tokens counted.
    pub(crate) fn usage(&self, usage: Usage) -> Value {
        let mut chunk = self.head(CHUNK);
        chunk["choices"] = json!([]);
        chunk["usage"] = usage_json(usage);
        chunk
    }

    /// The whole answer, not streamed.
    pub(crate) fn whole(&self, completion: &Completion, audio: Option<SpokenAudio>, beside: Map<String, Value>) -> Value {
        let calls: Vec<_> = completion
            .tool_calls
            .iter()
            .map(|call| {
                let mut body = json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } });
                extend(&mut body, call.extra.clone());
                body
            })
            .collect();
        let is_silent = completion.text.is_empty() && !calls.is_empty();
        let mut message = json!({ "role": "assistant", "content": completion.text, "refusal": null });
        if audio.is_some() || is_silent {
            message["content"] = Value::Null;
        }
        if !completion.reasoning.is_empty() {
            message["reasoning_content"] = json!(completion.reasoning);
        }
        if let Some(signature) = &completion.signature {
            message["reasoning_signature"] = json!(signature);
        }
        if !completion.redacted.is_empty() {
            message["redacted_reasoning"] = json!(completion.redacted);
        }
        let mut extra = completion.extra.clone();
        if let Some(Value::Object(more)) = extra.remove("message") {
            extend(&mut message, more);
        }
        if let Some(SpokenAudio { id, data, expires_at, transcript }) = audio {
            message["audio"] = json!({ "id": id, "data": data, "expires_at": expires_at, "transcript": transcript });
        }
        if !calls.is_empty() {
            message["tool_calls"] = Value::Array(calls);
        }
        let mut whole = self.head("chat.completion");
        let finish = finish_of(completion).name();
        whole["choices"] = json!([{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish }]);
        extend(&mut whole["choices"][0], extra);
        if let Some(usage) = completion.usage {
            whole["usage"] = usage_json(usage);
        }
        extend(&mut whole, beside);
        whole
    }

    fn head(&self, object: &str) -> Value {
        json!({ "id": self.id, "object": object, "created": self.created, "model": self.model })
    }

    fn chunk(&self, delta: Value, finish: Option<Finish>) -> Value {
        let mut chunk = self.head(CHUNK);
        chunk["choices"] = json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish.map(Finish::name) }]);
        if self.with_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

/// Why an answer ended, where the model did not say.
pub(crate) fn finish_of(completion: &Completion) -> Finish {
    completion.finish.unwrap_or(if completion.tool_calls.is_empty() { Finish::Stop } else { Finish::ToolCalls })
}

fn extend(value: &mut Value, beside: Map<String, Value>) {
    if let Value::Object(map) = value {
        map.extend(beside);
    }
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens, "audio_tokens": usage.audio_input_tokens, "cache_write_tokens": usage.cache_write_tokens
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens, "audio_tokens": usage.audio_output_tokens,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0
        },
    })
}

/// `metadata.attempts` and `timbre`: who was tried, who answered and why, and what was measured of the speaker.
pub(crate) fn our_fields(decision: &Decision, attempts: &[Attempt], measured: Option<&Signals>) -> Map<String, Value> {
    let mut timbre = json!({
        "router": decision.router,
        "route": decision.route,
        "variant": decision.variant,
        "reason": decision.reason,
        "signals": measured.map(signals::to_json),
    });
    if attempts.iter().any(|attempt| matches!(attempt.usage, Some(Counted::Estimated(_)))) {
        timbre["usageEstimated"] = json!(true);
    }
    let mut fields = attempt_fields(attempts);
    fields.insert("timbre".to_owned(), timbre);
    fields
}

/// `metadata.attempts` alone, for errors.
pub(crate) fn attempt_fields(attempts: &[Attempt]) -> Map<String, Value> {
    let attempts: Vec<_> = attempts.iter().map(attempt_json).collect();
    Map::from_iter([("metadata".to_owned(), json!({ "attempts": attempts }))])
}

/// One attempt: who was tried, what became of it, in milliseconds.
pub(crate) fn attempt_json(attempt: &Attempt) -> Value {
    let (provider, model) = attempt.target.split_once('/').unwrap_or(("", &attempt.target));
    let (status, error) = match &attempt.outcome {
        Outcome::Running => ("running", None),
        Outcome::Answered(_) => ("success", None),
        Outcome::Failed(error) => ("failed", Some(error.detail.as_str())),
        Outcome::Outrun => ("outrun", None),
        Outcome::Cancelled => ("cancelled", None),
    };
    let mut json = json!({ "provider": provider, "model": model, "status": status, "latencyMs": attempt.total.as_millis() as u64 });
    if attempt.work != Work::Answer {
        json["work"] = json!(attempt.work.name());
    }
    if let Some(error) = error {
        json["error"] = json!(error);
    }
    if let Some(first_token) = attempt.first_token {
        json["firstTokenMs"] = json!(first_token.as_millis() as u64);
    }
    if let Some(status) = attempt.status {
        json["httpStatus"] = json!(status);
    }
    if let Some(counted) = &attempt.usage {
        json["usage"] = usage_json(counted.usage());
    }
    if let Some(priced) = attempt.cost {
        // In dollars, as prices are written: nine decimals are exact.
        json["costUsd"] = json!(priced.cost.usd());
    }
    if attempt.is_estimated() {
        json["estimated"] = json!(true);
    }
    if let Some(characters) = attempt.resumed_at {
        json["resumedAt"] = json!(characters);
    }
    json
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use models::ToolCall;
    use router::{Cost, Priced};

    use super::*;

    fn envelope(with_usage: bool) -> Envelope {
        Envelope { id: "chatcmpl-1".to_owned(), created: 7, model: "up/big".to_owned(), with_usage }
    }

    #[test]
    fn chunks_have_the_shape_that_is_recorded() {
        let head = r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"up/big","choices":[{"index":0,"delta":"#;
        let call = Delta::ToolCall {
            index: 0,
            id: Some("c".to_owned()),
            name: Some("f".to_owned()),
            arguments: "{".to_owned(),
            extra: Map::new(),
        };
        let more = Delta::ToolCall { index: 0, id: None, name: None, arguments: "}".to_owned(), extra: Map::new() };
        let envelope = envelope(false);
        for (chunk, delta, finish) in [
            (envelope.opening(), r#"{"role":"assistant","content":"","refusal":null}"#, "null"),
            (envelope.delta(&Delta::Text("Hi".to_owned())).expect("a chunk"), r#"{"content":"Hi"}"#, "null"),
            (envelope.delta(&Delta::Reasoning("so".to_owned())).expect("a chunk"), r#"{"reasoning_content":"so"}"#, "null"),
            (
                envelope.delta(&call).expect("a chunk"),
                r#"{"tool_calls":[{"index":0,"function":{"arguments":"{","name":"f"},"id":"c","type":"function"}]}"#,
                "null",
            ),
            (envelope.delta(&more).expect("a chunk"), r#"{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}"#, "null"),
            (
                envelope.spoken_delta("audio_1", &Delta::Text("Hi".to_owned())).expect("a chunk"),
                r#"{"content":null,"audio":{"id":"audio_1","transcript":"Hi"}}"#,
                "null",
            ),
            (envelope.speech("audio_1", "AAA="), r#"{"audio":{"id":"audio_1","data":"AAA="}}"#, "null"),
            (envelope.speech_end("audio_1", 9), r#"{"audio":{"id":"audio_1","expires_at":9}}"#, "null"),
            (envelope.finish(Finish::Length, Map::new()), "{}", r#""length""#),
        ] {
            assert_eq!(chunk.to_string(), format!("{head}{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]}}"));
        }
    }

    #[test]
    fn words_are_written_as_any_chunk_is() {
        for with_usage in [false, true] {
            let envelope = envelope(with_usage);
            for text in ["Hi", "\"é\"\n\u{1}", ""] {
                let chunk = envelope.delta(&Delta::Text(text.to_owned())).expect("a chunk");
                assert_eq!(envelope.words(text), chunk.to_string());
            }
        }
    }

    #[test]
    fn usage_is_null_until_its_own_chunk() {
        let envelope = envelope(true);
        assert_eq!(envelope.opening().get("usage"), Some(&Value::Null));
        let usage = Usage { input_tokens: 3, cached_tokens: 1, output_tokens: 2, ..Usage::default() };
        let chunk = envelope.usage(usage);
        assert_eq!((chunk["choices"].to_string().as_str(), &chunk["usage"]["total_tokens"]), ("[]", &json!(5)));
    }

    #[test]
    fn a_whole_answer_says_null_where_nothing_is_written() {
        let call = ToolCall { id: "c".to_owned(), name: "f".to_owned(), arguments: "{}".to_owned(), ..ToolCall::default() };
        let completion = Completion { tool_calls: vec![call], ..Completion::default() };
        let whole = envelope(false).whole(&completion, None, Map::new());
        assert_eq!(
            whole["choices"][0].to_string(),
            r#"{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},"logprobs":null,"finish_reason":"tool_calls"}"#
        );
        let completion = Completion { text: "Hi.".to_owned(), ..Completion::default() };
        let audio = SpokenAudio { id: "audio_1".to_owned(), data: "AA==".to_owned(), expires_at: 9, transcript: "Hi.".to_owned() };
        let whole = envelope(false).whole(&completion, Some(audio), Map::new());
        assert_eq!(
            whole["choices"][0]["message"].to_string(),
            r#"{"role":"assistant","content":null,"refusal":null,"audio":{"id":"audio_1","data":"AA==","expires_at":9,"transcript":"Hi."}}"#
        );
    }

    #[test]
    fn attempts_tell_the_provider_apart_from_the_model() {
        let error = models::ModelError::new(models::ErrorKind::Timeout, "up/a/b", "no token within 2s");
        let failed = Attempt { outcome: Outcome::Failed(error), total: Duration::from_millis(2_001), ..Attempt::new("up/a/b") };
        let counted = Counted::Estimated(Usage { input_tokens: 3, output_tokens: 2, ..Usage::default() });
        let cost = |estimated| Priced { cost: Cost::from_nano_usd(1_500), estimated };
        let cut = Attempt { usage: Some(counted), cost: Some(cost(false)), resumed_at: Some(7), status: Some(429), ..failed.clone() };
        assert_eq!(
            Value::Object(attempt_fields(&[failed])).to_string(),
            r#"{"metadata":{"attempts":[{"provider":"up","model":"a/b","status":"failed","latencyMs":2001,"error":"no token within 2s"}]}}"#
        );
        let json = attempt_json(&cut);
        assert_eq!((&json["usage"]["total_tokens"], &json["estimated"], &json["httpStatus"]), (&json!(5), &json!(true), &json!(429)));
        assert_eq!((&json["costUsd"], &json["resumedAt"]), (&json!(0.0000015), &json!(7)));
        // Tokens that were counted may have no price of their own kind.
        let counted = Some(Counted::Reported(Usage { input_tokens: 3, ..Usage::default() }));
        for estimated in [true, false] {
            let json = attempt_json(&Attempt { usage: counted, cost: Some(cost(estimated)), ..cut.clone() });
            assert_eq!(json["estimated"] == json!(true), estimated);
        }
    }
}
