//! A chat completion as it is answered: `chat.completion` and `chat.completion.chunk` of OpenAI's API.
//!
//! `delta.audio` is in no specification; its shape is what OpenAI's own service sends: pieces that hold either `transcript` or `data`, then one
//! with `expires_at`. Beside OpenAI's fields stand `metadata.attempts` and `timbre`, which strict clients ignore.

use models::{Completion, Delta, Finish, Signals, Usage};
use router::{Attempt, Counted, Decision, Outcome, Work};
use serde::{Serialize, Serializer};
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

/// An answer, or a chunk of one, with our own fields: written without a tree of values in between, because each answer has one.
#[derive(Serialize)]
struct Told<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Choice; 1],
    /// Null where another chunk says how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<UsageJson>>,
    #[serde(flatten)]
    ours: &'a Ours<'a>,
}

#[derive(Serialize)]
struct Choice {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Map<String, Value>>,
    logprobs: Value,
    finish_reason: &'static str,
    #[serde(flatten)]
    extra: Map<String, Value>,
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

    /// The chunk that says why the answer ended, with our own fields, as JSON.
    pub(crate) fn finish(&self, finish: Finish, ours: &Ours<'_>) -> String {
        let (message, delta, finish_reason) = (None, Some(Map::new()), finish.name());
        let choice = Choice { index: 0, message, delta, logprobs: Value::Null, finish_reason, extra: Map::new() };
        self.told(CHUNK, choice, self.with_usage.then_some(None), ours)
    }

    fn told(&self, object: &'static str, choice: Choice, usage: Option<Option<UsageJson>>, ours: &Ours<'_>) -> String {
        let Envelope { id, created, model, .. } = self;
        let told = Told { id, object, created: *created, model, choices: [choice], usage, ours };
        serde_json::to_string(&told).expect("texts and numbers are JSON")
    }

    /// The chunk of tokens counted.
    pub(crate) fn usage(&self, usage: Usage) -> Value {
        let mut chunk = self.head(CHUNK);
        chunk["choices"] = json!([]);
        chunk["usage"] = json!(UsageJson::from(usage));
        chunk
    }

    /// The whole answer, not streamed, as JSON.
    pub(crate) fn whole(&self, completion: Completion, audio: Option<SpokenAudio>, ours: &Ours<'_>) -> String {
        let finish_reason = finish_of(&completion).name();
        let Completion { text, reasoning, signature, redacted, tool_calls, usage, mut extra, finish: _ } = completion;
        let calls = tool_calls.into_iter().map(|call| {
            let mut body = json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } });
            extend(&mut body, call.extra);
            body
        });
        let calls: Vec<Value> = calls.collect();
        let is_silent = audio.is_some() || text.is_empty() && !calls.is_empty();
        let mut message = Map::new();
        message.insert("role".to_owned(), json!("assistant"));
        message.insert("content".to_owned(), if is_silent { Value::Null } else { Value::String(text) });
        message.insert("refusal".to_owned(), Value::Null);
        if !reasoning.is_empty() {
            message.insert("reasoning_content".to_owned(), Value::String(reasoning));
        }
        if let Some(signature) = signature {
            message.insert("reasoning_signature".to_owned(), Value::String(signature));
        }
        if !redacted.is_empty() {
            message.insert("redacted_reasoning".to_owned(), json!(redacted));
        }
        if let Some(Value::Object(more)) = extra.remove("message") {
            message.extend(more);
        }
        if let Some(SpokenAudio { id, data, expires_at, transcript }) = audio {
            message.insert("audio".to_owned(), json!({ "id": id, "data": data, "expires_at": expires_at, "transcript": transcript }));
        }
        if !calls.is_empty() {
            message.insert("tool_calls".to_owned(), Value::Array(calls));
        }
        let logprobs = extra.shift_remove("logprobs").unwrap_or_default();
        let choice = Choice { index: 0, message: Some(message), delta: None, logprobs, finish_reason, extra };
        self.told("chat.completion", choice, usage.map(|usage| Some(usage.into())), ours)
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

/// Tokens in OpenAI's shape.
#[derive(Serialize)]
struct UsageJson {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptTokens,
    completion_tokens_details: CompletionTokens,
}

#[derive(Serialize)]
struct PromptTokens {
    cached_tokens: u64,
    audio_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct CompletionTokens {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

impl From<Usage> for UsageJson {
    fn from(usage: Usage) -> UsageJson {
        UsageJson {
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            total_tokens: usage.input_tokens + usage.output_tokens,
            prompt_tokens_details: PromptTokens {
                cached_tokens: usage.cached_tokens,
                audio_tokens: usage.audio_input_tokens,
                cache_write_tokens: usage.cache_write_tokens,
            },
            completion_tokens_details: CompletionTokens {
                reasoning_tokens: usage.reasoning_tokens,
                audio_tokens: usage.audio_output_tokens,
                accepted_prediction_tokens: 0,
                rejected_prediction_tokens: 0,
            },
        }
    }
}

/// `metadata.attempts` and `timbre`: who was tried, who answered and why, and what was measured of the speaker.
#[derive(Serialize)]
pub(crate) struct Ours<'a> {
    metadata: Attempts,
    timbre: Routed<'a>,
}

#[derive(Serialize)]
struct Attempts {
    #[serde(serialize_with = "tried")]
    attempts: Vec<Attempt>,
}

#[derive(Serialize)]
struct Routed<'a> {
    router: Option<&'a str>,
    route: &'a str,
    variant: Option<&'a str>,
    reason: &'a str,
    signals: Option<Value>,
    #[serde(rename = "usageEstimated", skip_serializing_if = "std::ops::Not::not")]
    usage_estimated: bool,
}

impl Ours<'_> {
    /// Of an answer.
    pub(crate) fn new<'a>(decision: &'a Decision, attempts: Vec<Attempt>, measured: Option<&Signals>) -> Ours<'a> {
        let timbre = Routed {
            router: decision.router.as_deref(),
            route: &decision.route,
            variant: decision.variant.as_deref(),
            reason: &decision.reason,
            signals: measured.map(signals::to_json),
            usage_estimated: attempts.iter().any(|attempt| matches!(attempt.usage, Some(Counted::Estimated(_)))),
        };
        Ours { metadata: Attempts { attempts }, timbre }
    }

    /// As fields to stand beside others.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        match json!(self) {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

fn tried<S: Serializer>(attempts: &[Attempt], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(attempts.iter().map(Tried::of))
}

/// `metadata.attempts` alone, for errors.
pub(crate) fn attempt_fields(attempts: &[Attempt]) -> Map<String, Value> {
    let attempts: Vec<_> = attempts.iter().map(attempt_json).collect();
    Map::from_iter([("metadata".to_owned(), json!({ "attempts": attempts }))])
}

/// One attempt as a value.
pub(crate) fn attempt_json(attempt: &Attempt) -> Value {
    json!(Tried::of(attempt))
}

/// One attempt: who was tried, what became of it, in milliseconds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tried<'a> {
    provider: &'a str,
    model: &'a str,
    status: &'static str,
    latency_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_token_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageJson>,
    /// In dollars, as prices are written: nine decimals are exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    resumed_at: Option<u64>,
}

impl Tried<'_> {
    fn of(attempt: &Attempt) -> Tried<'_> {
        let (provider, model) = attempt.target.split_once('/').unwrap_or(("", &attempt.target));
        let (status, error) = match &attempt.outcome {
            Outcome::Running => ("running", None),
            Outcome::Answered(_) => ("success", None),
            Outcome::Failed(error) => ("failed", Some(error.detail.as_str())),
            Outcome::Outrun => ("outrun", None),
            Outcome::Cancelled => ("cancelled", None),
        };
        Tried {
            provider,
            model,
            status,
            latency_ms: attempt.total.as_millis() as u64,
            work: (attempt.work != Work::Answer).then(|| attempt.work.name()),
            error,
            first_token_ms: attempt.first_token.map(|first| first.as_millis() as u64),
            http_status: attempt.status,
            usage: attempt.usage.map(|counted| counted.usage().into()),
            cost_usd: attempt.cost.map(|priced| priced.cost.usd()),
            estimated: attempt.is_estimated(),
            resumed_at: attempt.resumed_at,
        }
    }
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
        ] {
            assert_eq!(chunk.to_string(), format!("{head}{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]}}"));
        }
    }

    #[test]
    fn the_end_says_why_and_who_was_tried() {
        let decision = Decision { route: "r".to_owned(), reason: "why".to_owned(), ..Decision::default() };
        let ours = Ours::new(&decision, vec![Attempt::new("up/big")], None);
        let told = r#""metadata":{"attempts":[{"provider":"up","model":"big","status":"running","latencyMs":0}]},"timbre":{"router":null,"route":"r","variant":null,"reason":"why","signals":null}}"#;
        for (with_usage, usage) in [(false, ""), (true, r#""usage":null,"#)] {
            let head = r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"up/big","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}],"#;
            assert_eq!(envelope(with_usage).finish(Finish::Length, &ours), format!("{head}{usage}{told}"));
        }
        assert_eq!(Value::Object(ours.fields()).to_string(), format!("{{{told}"));
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
        let whole = |completion, audio| -> Value {
            let decision = Decision::default();
            let written = envelope(false).whole(completion, audio, &Ours::new(&decision, Vec::new(), None));
            serde_json::from_str(&written).expect("it is JSON")
        };
        let silent = whole(completion, None);
        assert_eq!(
            silent["choices"][0].to_string(),
            r#"{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},"logprobs":null,"finish_reason":"tool_calls"}"#
        );
        let completion = Completion { text: "Hi.".to_owned(), ..Completion::default() };
        let audio = SpokenAudio { id: "audio_1".to_owned(), data: "AA==".to_owned(), expires_at: 9, transcript: "Hi.".to_owned() };
        assert_eq!(
            whole(completion, Some(audio))["choices"][0]["message"].to_string(),
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
