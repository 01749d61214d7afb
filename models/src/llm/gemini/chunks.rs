//! The chunks of a streamed answer, as deltas.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use crate::llm::streamed::Reader;
use crate::remote;
use crate::sse::Event;
use crate::{Delta, ErrorKind, Finish, ModelError, Usage};

/// Reads the chunks of one streamed answer.
#[derive(Debug)]
pub(crate) struct Chunks {
    target: String,
    /// Names the calls of this answer, unlike those of any other in the same dialogue: the API names none before Gemini 3.
    stamp: u64,
    calls: usize,
    /// Why it ended. Some models say so in every chunk: it counts when the stream is over.
    reason: Option<Finish>,
    native: Option<String>,
    usage: Option<Usage>,
    /// Searches that it says it made.
    searches: u64,
}

impl Chunks {
    /// For an answer of `target`, `provider/model`.
    pub(crate) fn new(target: &str) -> Chunks {
        // The standard library's source of randomness needs neither a clock nor a seed.
        let stamp = RandomState::new().build_hasher().finish();
        Chunks { target: target.to_owned(), stamp, calls: 0, reason: None, native: None, usage: None, searches: 0 }
    }

    fn deltas(&mut self, chunk: &Value) -> Result<Vec<Delta>, ModelError> {
        let mut deltas = Vec::new();
        let candidate = &chunk["candidates"][0];
        for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
            self.part(part, &mut deltas);
        }
        deltas.extend(annotations(&candidate["groundingMetadata"]));
        self.searches = self.searches.max(searches(&candidate["groundingMetadata"], &self.target));
        if let Some(logprobs) = candidate.get("logprobsResult").filter(|result| !result.is_null()) {
            let chosen = logprobs["chosenCandidates"].as_array().into_iter().flatten();
            let content: Vec<Value> = chosen
                .map(|token| json!({"token": token["token"], "logprob": token["logProbability"], "bytes": null, "top_logprobs": []}))
                .collect();
            deltas.push(extra("logprobs", json!({"content": content})));
        }
        if let Some(reason) = candidate["finishReason"].as_str() {
            self.finish(reason, candidate["finishMessage"].as_str())?;
        } else if chunk["promptFeedback"]["blockReason"].is_string() {
            self.reason = Some(Finish::ContentFilter);
            self.native = chunk["promptFeedback"]["blockReason"].as_str().map(str::to_owned);
        }
        if let Some(usage) = usage(&chunk["usageMetadata"]) {
            let usage = Usage { searches: self.searches, ..usage };
            // The count so far is what a stream that breaks off has cost.
            self.usage = Some(usage);
            deltas.push(Delta::Usage(usage));
        }
        Ok(deltas)
    }

    fn part(&mut self, part: &Value, deltas: &mut Vec<Delta>) {
        let signature = part["thoughtSignature"].as_str();
        if let Some(text) = part["text"].as_str() {
            if !text.is_empty() {
                let text = text.to_owned();
                deltas.push(if part["thought"] == true { Delta::Reasoning(text) } else { Delta::Text(text) });
            }
        } else if part["functionCall"].is_object() {
            deltas.push(self.call(&part["functionCall"], signature));
            return;
        } else if let Some(data) = part["inlineData"]["data"].as_str() {
            let media = part["inlineData"]["mimeType"].as_str().unwrap_or("application/octet-stream");
            let image = json!({"type": "image_url", "image_url": {"url": format!("data:{media};base64,{data}")}});
            deltas.push(extra("message", json!({"images": [image]})));
        }
        if let Some(signature) = signature {
            deltas.push(extra("message", json!({"extra_content": {"google": {"thought_signature": signature}}})));
        }
    }

    /// A call comes whole: name and arguments leave together.
    fn call(&mut self, call: &Value, signature: Option<&str>) -> Delta {
        let index = self.calls;
        self.calls += 1;
        let id = call["id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
        let mut extra = Map::new();
        if let Some(signature) = signature {
            extra.insert("extra_content".into(), json!({"google": {"thought_signature": signature}}));
        }
        Delta::ToolCall {
            index,
            id: Some(id.unwrap_or_else(|| format!("call_{:016x}{index:04x}", self.stamp))),
            name: call["name"].as_str().map(str::to_owned),
            arguments: if call["args"].is_object() { call["args"].to_string() } else { "{}".to_owned() },
            extra,
        }
    }

    fn finish(&mut self, reason: &str, said: Option<&str>) -> Result<(), ModelError> {
        let finish = match reason {
            "STOP" => Finish::Stop,
            "MAX_TOKENS" => Finish::Length,
            "SAFETY"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "RECITATION"
            | "LANGUAGE"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION" => Finish::ContentFilter,
            // The model wrote a call that the provider cannot read: nothing of it came here, and another try may do better.
            "MALFORMED_FUNCTION_CALL" | "MALFORMED_RESPONSE" | "UNEXPECTED_TOOL_CALL" | "TOO_MANY_TOOL_CALLS" => {
                let detail = said.map_or_else(|| format!("gave up: {reason}"), |said| format!("gave up: {reason}: {said}"));
                return Err(self.error(ErrorKind::Failed, detail));
            }
            "MISSING_THOUGHT_SIGNATURE" => {
                return Err(
                    self.error(ErrorKind::BadRequest, "a call of the dialogue lost its thought_signature; send `extra_content` back")
                );
            }
            _ => Finish::Stop,
        };
        self.native = (!matches!(reason, "STOP" | "MAX_TOKENS")).then(|| reason.to_owned());
        self.reason = Some(finish);
        Ok(())
    }

    fn in_band(&self, chunk: &Value) -> ModelError {
        let error = &chunk["error"];
        let code = error["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        let kind = match (code.and_then(|code| StatusCode::from_u16(code).ok()), error["status"].as_str()) {
            (Some(status), _) if status.as_u16() >= 400 => remote::kind(status),
            (_, Some("RESOURCE_EXHAUSTED" | "UNAVAILABLE")) => ErrorKind::Overloaded,
            (_, Some("INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "NOT_FOUND")) => ErrorKind::BadRequest,
            (_, Some("UNAUTHENTICATED")) => ErrorKind::Unauthorized,
            (_, Some("PERMISSION_DENIED")) => ErrorKind::Refused,
            (_, Some("DEADLINE_EXCEEDED")) => ErrorKind::Timeout,
            _ => ErrorKind::Failed,
        };
        ModelError { status: code, ..self.error(kind, remote::message(chunk).unwrap_or_else(|| chunk.to_string())) }
    }
}

impl Reader for Chunks {
    fn event(&mut self, event: &Event) -> Result<Vec<Delta>, ModelError> {
        let data = event.data.trim();
        if data.is_empty() {
            return Ok(Vec::new());
        }
        let chunk = self.json(data)?;
        // Errors come in a list where the answer would have been one.
        let chunk = chunk.get(0).unwrap_or(&chunk);
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Err(self.in_band(chunk));
        }
        self.deltas(chunk)
    }

    fn over(&self) -> bool {
        false
    }

    fn complete(&self) -> bool {
        self.reason.is_some()
    }

    fn close(&mut self) -> Vec<Delta> {
        let mut deltas = Vec::new();
        deltas.extend(self.native.take().map(|native| extra("native_finish_reason", json!(native))));
        deltas.extend(self.reason.map(|reason| match reason {
            Finish::Stop if self.calls > 0 => Delta::Finish(Finish::ToolCalls),
            reason => Delta::Finish(reason),
        }));
        deltas.extend(self.usage.map(Delta::Usage));
        deltas
    }

    fn target(&self) -> &str {
        &self.target
    }
}

fn extra(key: &str, value: Value) -> Delta {
    let mut extra = Map::new();
    extra.insert(key.into(), value);
    Delta::Extra(extra)
}

/// Searches to be paid for: up to 2.5 a grounded answer is one, later models are paid for each query.
fn searches(grounding: &Value, target: &str) -> u64 {
    let queries = grounding["webSearchQueries"].as_array().map_or(0, |queries| queries.len() as u64);
    if super::since(target, 3, 0) { queries } else { queries.min(1) }
}

/// What the answer was grounded on, as OpenAI's annotations.
fn annotations(grounding: &Value) -> Option<Delta> {
    let chunks = grounding["groundingChunks"].as_array()?;
    let mut annotations = Vec::new();
    for support in grounding["groundingSupports"].as_array().into_iter().flatten() {
        let segment = &support["segment"];
        let places = support["groundingChunkIndices"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        for web in places.filter_map(|place| usize::try_from(place).ok()).filter_map(|place| chunks.get(place)?.get("web")) {
            // Google counts bytes here; close enough for who shows where a source belongs.
            annotations.push(json!({"type": "url_citation", "url_citation": {
                "url": web["uri"], "title": web["title"],
                "start_index": segment["startIndex"].as_u64().unwrap_or(0), "end_index": segment["endIndex"].as_u64().unwrap_or(0)}}));
        }
    }
    (!annotations.is_empty()).then(|| extra("message", json!({"annotations": annotations})))
}

/// Tokens counted. Thoughts stand beside the answer here, tool output beside the prompt; cached ones are a part of it already.
fn usage(usage: &Value) -> Option<Usage> {
    let count = |key: &str| usage[key].as_u64().unwrap_or(0);
    let sound = |key: &str| -> u64 {
        let details = usage[key].as_array().into_iter().flatten().filter(|detail| detail["modality"] == "AUDIO");
        details.filter_map(|detail| detail["tokenCount"].as_u64()).fold(0, u64::saturating_add)
    };
    usage.as_object()?;
    let thoughts = count("thoughtsTokenCount");
    Some(Usage {
        input_tokens: count("promptTokenCount").saturating_add(count("toolUsePromptTokenCount")),
        cached_tokens: count("cachedContentTokenCount"),
        audio_input_tokens: sound("promptTokensDetails"),
        output_tokens: count("candidatesTokenCount").saturating_add(thoughts),
        reasoning_tokens: thoughts,
        audio_output_tokens: sound("candidatesTokensDetails"),
        ..Usage::default()
    })
}
