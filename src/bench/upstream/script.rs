//! What a mock provider writes for one request, piece by piece: made once, so that answering costs little more than writing.

use std::time::Duration;

use serde_json::{Value, json};

use super::wire::Dialect;
use super::{Behaviour, Fault, LONG, SHORT};

/// What every model but those of the voice benchmarks says: sixteen tokens, no two alike.
pub const ANSWER: &str = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen";
const SENTENCE: &str = "Thank you, I have noted that down for you.";
const TALK: &str = "Let me tell you how this works, step by step. First, we look at the address that you gave us and compare it with the one \
    on your last letter. Then somebody walks over to the shelf, takes the box, and checks that everything is in it. After that the box is \
    closed, weighed and carried to the front door, where the driver will find it in the morning. He starts early, before the roads are \
    full, and usually reaches your part of the town around noon. If nobody is at home he leaves a note, and you can choose another day. \
    All of this takes about two days, and we will write to you whenever something changes.";
/// How often the answer of `big` repeats the others': 120 KB.
const BIG: usize = 1_230;
/// How long a stalled answer keeps its connection: longer than any client waits.
const STALL: Duration = Duration::from_secs(60);
/// What a 429 asks its client to wait, seconds.
const RETRY_AFTER: u32 = 2;

/// A request, as far as it matters here.
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) body: Value,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// These bytes.
    Write(Vec<u8>),
    /// Nothing for so long.
    Wait(Duration),
    /// The connection ends.
    Close,
}

/// Everything to do for one request.
pub(super) type Script = Vec<Step>;

/// What is to be done for `asked`.
pub(super) fn write(asked: &Asked) -> Script {
    let Some(dialect) = Dialect::of(&asked.path) else {
        let known = json!({"object": "list", "data": [{"id": "ok", "object": "model", "created": 0, "owned_by": "bench"}]});
        let (status, body) = if asked.path.ends_with("/models") { (200, known) } else { (404, Dialect::Chat.error(404)) };
        return vec![Step::Write(response(status, &body))];
    };
    let model = asked.body["model"].as_str().unwrap_or_default();
    let behaviour = Behaviour::of(model);
    let answer = match model {
        SHORT => SENTENCE.to_owned(),
        LONG => TALK.to_owned(),
        _ if behaviour.big => [ANSWER; BIG].join(" "),
        _ => ANSWER.to_owned(),
    };
    let text = &answer[already_said(&asked.body, &answer)..];
    if let Fault::Status(status) = behaviour.fault {
        return vec![Step::Write(response(status, &dialect.error(status)))];
    }
    let tokens: Vec<&str> = tokens(text);
    let mut script = Vec::new();
    if asked.body["stream"] == true && dialect != Dialect::Embeddings {
        stream(&mut script, dialect, model, behaviour, &tokens);
        return script;
    }
    // Without a stream a fault in its middle has no tokens to come after.
    let wait = behaviour.first + behaviour.between * tokens.len() as u32;
    script.extend((!wait.is_zero()).then_some(Step::Wait(wait)));
    let whole = response(200, &dialect.whole(model, text, tokens.len()));
    match behaviour.fault {
        Fault::None | Fault::SlowFirst | Fault::Status(_) => script.push(Step::Write(whole)),
        Fault::InBand(_) => script.push(Step::Write(response(200, &dialect.error(500)))),
        Fault::Broken(_) => {
            let body = dialect.whole(model, text, tokens.len()).to_string();
            script.push(Step::Write(reply(200, &body[..body.len() / 2])));
        }
        Fault::Cut(_) => script.extend([Step::Write(whole[..whole.len() / 2].to_vec()), Step::Close]),
        Fault::Stall(_) => script.extend([Step::Write(whole[..whole.len() / 2].to_vec()), Step::Wait(STALL), Step::Close]),
    }
    script
}

fn stream(script: &mut Script, dialect: Dialect, model: &str, behaviour: Behaviour, tokens: &[&str]) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    script.push(Step::Write([head.as_bytes(), &chunk(&dialect.opening(model))].concat()));
    script.extend((!behaviour.first.is_zero()).then_some(Step::Wait(behaviour.first)));
    for (at, token) in tokens.iter().enumerate() {
        match behaviour.fault {
            Fault::Cut(after) if after == at => return script.push(Step::Close),
            Fault::Stall(after) if after == at => return script.extend([Step::Wait(STALL), Step::Close]),
            Fault::InBand(after) if after == at => {
                return script.extend([Step::Write([&chunk(&dialect.in_band())[..], LAST].concat())]);
            }
            Fault::Broken(after) if after == at => script.push(Step::Write(chunk(&dialect.broken(model)))),
            _ => {}
        }
        if at > 0 && !behaviour.between.is_zero() {
            script.push(Step::Wait(behaviour.between));
        }
        script.push(Step::Write(chunk(&dialect.token(model, token))));
    }
    let ending = chunk(&dialect.ending(model, &tokens.concat(), tokens.len()));
    script.push(Step::Write([&ending[..], LAST].concat()));
}

/// The end of a body in chunks.
const LAST: &[u8] = b"0\r\n\r\n";

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

fn response(status: u16, body: &Value) -> Vec<u8> {
    reply(status, &body.to_string())
}

fn reply(status: u16, body: &str) -> Vec<u8> {
    let (reason, more) = match status {
        200 => ("OK", String::new()),
        429 => ("Too Many Requests", format!("retry-after: {RETRY_AFTER}\r\n")),
        _ => ("Error", String::new()),
    };
    let head = format!("HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\r\n", body.len());
    (head + body).into_bytes()
}

/// One token a word, with the space before it.
fn tokens(text: &str) -> Vec<&str> {
    let mut cuts: Vec<usize> = text.match_indices(' ').map(|(at, _)| at).filter(|at| *at > 0).collect();
    cuts.insert(0, 0);
    cuts.push(text.len());
    cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).filter(|token| !token.is_empty()).collect()
}

/// How much of `answer` the request's last message has as the assistant's own words: an answer that broke off is gone on with, as models do
/// that are shown their own beginning. One that was said to its end is an earlier turn's, and is said again.
fn already_said(body: &Value, answer: &str) -> usize {
    let messages = body["messages"].as_array().or_else(|| body["input"].as_array());
    let said =
        messages.into_iter().flatten().rev().find(|message| message["role"] == "assistant").map(|message| words(&message["content"]));
    said.filter(|said| said.len() < answer.len() && answer.starts_with(said.as_str())).map_or(0, |said| said.len())
}

fn words(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &str, body: Value) -> String {
        let steps = write(&Asked { path: path.to_owned(), body });
        let bytes: Vec<u8> =
            steps.into_iter().filter_map(|step| if let Step::Write(bytes) = step { Some(bytes) } else { None }).flatten().collect();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn the_answer_has_sixteen_tokens() {
        let tokens = tokens(ANSWER);
        assert_eq!((tokens.len(), tokens.concat().as_str(), tokens[1]), (16, ANSWER, " two"));
    }

    #[test]
    fn every_dialect_streams_each_token_once_and_ends() {
        for (path, end) in [
            ("/v1/chat/completions", "data: [DONE]\n\n"),
            ("/v1/messages", "\"message_stop\"}\n\n"),
            ("/v1/responses", "\"response.completed\""),
        ] {
            let stream = written(path, json!({"model": "ok", "stream": true}));
            assert!(stream.contains("\" seven\"") && stream.contains(end) && stream.ends_with("\r\n0\r\n\r\n"), "{path}: {stream}");
            let whole = written(path, json!({"model": "ok"}));
            assert!(whole.contains(ANSWER) && whole.contains("content-length"), "{path}: {whole}");
        }
        assert!(written("/v1/embeddings", json!({"model": "ok", "input": "a"})).contains("embedding"));
        assert!(written("/v1/models", Value::Null).contains("\"ok\""));
        assert!(written("/v1/nothing", Value::Null).starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn faults_come_after_their_tokens() {
        for (model, has, has_not) in [
            ("cut3", "three", "four"),
            ("stall3", "three", "four"),
            ("inband3", "on purpose", "four"),
            ("broken3", "sixteen", "\" broken\"}}]}"),
            ("e429", "retry-after: 2", "one"),
            ("e500", "HTTP/1.1 500", "one"),
        ] {
            let stream = written("/v1/chat/completions", json!({"model": model, "stream": true}));
            assert!(stream.contains(has) && !stream.contains(has_not), "{model}: {stream}");
        }
    }

    #[test]
    fn an_answer_that_was_begun_is_gone_on_with() {
        let said = |content: Value| {
            written("/v1/chat/completions", json!({"model": "ok", "messages": [{"role": "assistant", "content": content}]}))
        };
        for content in [json!("one two three"), json!([{"type": "text", "text": "one two three"}])] {
            let whole = said(content);
            assert!(whole.contains("\" four five") && !whole.contains("three"), "{whole}");
        }
        assert!(said(json!("Something else.")).contains(ANSWER));
    }

    #[test]
    fn the_second_turn_of_a_conversation_is_answered_too() {
        let messages = json!([
            {"role": "user", "content": "Hello?"}, {"role": "assistant", "content": ANSWER}, {"role": "user", "content": "And now?"},
        ]);
        assert!(written("/v1/chat/completions", json!({"model": "ok", "messages": messages})).contains(ANSWER));
    }
}
