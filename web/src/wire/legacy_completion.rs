//! Text that goes on from a text (`CreateCompletionRequest` of OpenAI's API), the dialect from before there were messages.
//!
//! The text becomes a message of the caller's: chat models answer it rather than go on in it. Several texts or answers in one request,
//! `echo` and `suffix` are refused.

use models::{Finish, Message, Prompt, Role, Usage};
use serde_json::{Map, Value, json};

use super::chat::{self, ChatRequest};
use super::{ApiError, Field};

/// Takes a request apart; what is not of this dialect alone is a chat request's.
pub(crate) fn read(body: Value) -> Result<ChatRequest, ApiError> {
    let mut fields = Field::root(body).object()?;
    let prompt = fields.require("prompt", "a string")?;
    let words = match prompt.value() {
        Value::Array(texts) if texts.len() == 1 && texts.iter().all(Value::is_string) => {
            prompt.array()?.into_iter().map(Field::string).collect::<Result<String, _>>()?
        }
        Value::String(_) => prompt.string()?,
        _ => return Err(prompt.wrong("one string: one answer a request, and no token numbers")),
    };
    if let Some(best_of) = fields.take("best_of")
        && best_of.value().as_u64() != Some(1)
    {
        return Err(best_of.wrong("1: one answer a request"));
    }
    if let Some(echo) = fields.take("echo")
        && echo.clone().boolean()?
    {
        return Err(echo.wrong("false"));
    }
    if let Some(suffix) = fields.take("suffix")
        && !suffix.clone().string()?.is_empty()
    {
        return Err(suffix.wrong("empty: nothing can be put in before it"));
    }
    if let Some(logprobs) = fields.take("logprobs") {
        return Err(logprobs.wrong("absent: probabilities have another shape in /v1/chat/completions"));
    }
    for name in ["messages", "audio", "modalities"] {
        fields.take(name);
    }
    let mut body = fields.rest();
    body.insert("messages".to_owned(), json!([{ "role": "user", "content": "" }]));
    let mut request = chat::read(Value::Object(body))?;
    request.prompt = Prompt { messages: vec![Message::text(Role::User, words)], ..request.prompt };
    Ok(request)
}

/// What all chunks of one answer share.
#[derive(Clone, Debug)]
pub(crate) struct TextEnvelope {
    /// `cmpl-...`.
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// The model that answers.
    pub(crate) model: String,
}

impl TextEnvelope {
    /// A chunk, or the whole with a reason to end.
    pub(crate) fn text(&self, text: &str, finish: Option<Finish>) -> Value {
        // This dialect has no word for calls.
        let finish = finish.map(|finish| if finish == Finish::ToolCalls { "stop" } else { finish.name() });
        let choice = json!({ "text": text, "index": 0, "logprobs": null, "finish_reason": finish });
        self.with(json!([choice]))
    }

    /// The chunk that tells the tokens counted.
    pub(crate) fn usage(&self, usage: Usage) -> Value {
        let mut chunk = self.with(json!([]));
        chunk["usage"] = usage_json(usage);
        chunk
    }

    /// The answer as a whole.
    pub(crate) fn whole(&self, text: &str, finish: Finish, usage: Option<Usage>, beside: Map<String, Value>) -> Value {
        let mut whole = self.text(text, Some(finish));
        if let Some(usage) = usage {
            whole["usage"] = usage_json(usage);
        }
        if let Value::Object(whole) = &mut whole {
            whole.extend(beside);
        }
        whole
    }

    fn with(&self, choices: Value) -> Value {
        json!({ "id": self.id, "object": "text_completion", "created": self.created, "model": self.model, "choices": choices })
    }
}

fn usage_json(usage: Usage) -> Value {
    let Usage { input_tokens, output_tokens, .. } = usage;
    json!({ "prompt_tokens": input_tokens, "completion_tokens": output_tokens, "total_tokens": input_tokens + output_tokens })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_text_is_taken() {
        for prompt in [json!("Once"), json!(["Once"])] {
            let request = read(json!({ "model": "m", "prompt": prompt, "max_tokens": 5, "logit_bias": {} })).expect("a request");
            assert_eq!(request.prompt.messages, [Message::text(Role::User, "Once")]);
            assert_eq!((request.prompt.sampling.max_tokens, request.prompt.extra.contains_key("logit_bias")), (Some(5), true));
        }
        for (extra, param) in [
            (json!({ "prompt": [1, 2] }), "prompt"),
            (json!({ "prompt": ["a", "b"] }), "prompt"),
            (json!({ "prompt": null }), "prompt"),
            (json!({ "echo": true }), "echo"),
            (json!({ "suffix": "end" }), "suffix"),
            (json!({ "best_of": 2 }), "best_of"),
            (json!({ "n": 2 }), "n"),
        ] {
            let mut body = json!({ "model": "m", "prompt": "Once" });
            body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
            let error = read(body).expect_err("it is wrong");
            assert_eq!((error.status, error.param.as_deref()), (400, Some(param)), "{extra}");
        }
    }

    proptest! {
        #[test]
        fn anything_at_all_is_read_or_refused_by_name(
            body in crate::wire::arbitrary::request(&["model", "prompt", "echo", "suffix", "n", "best_of", "stop", "stream", "messages", "audio"])
        ) {
            if let Err(error) = read(body.clone()) {
                prop_assert_eq!(error.status, 400);
                prop_assert!(error.param.is_some() || !body.is_object());
            }
        }
    }
}
