//! The HTTP interface over a real socket, on engines that answer by rote.

#[allow(unreachable_pub)]
mod fakes;

use std::sync::atomic::Ordering::SeqCst;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fakes::{client, start};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use web::{Keys, Limits};

fn chat(extra: Value) -> Value {
    let mut body = json!({ "model": "fake/echo", "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

fn wav(seconds: usize) -> Vec<u8> {
    let pcm: Vec<f32> = (0..seconds * 16_000).map(|n| (n as f32 * 0.05).sin() * 0.2).collect();
    audio::container::encode(audio::Container::Wav, &pcm, audio::Rate::MODEL).expect("a file")
}

async fn post(url: &str, body: &Value) -> (u16, Value) {
    let response = client().post(format!("{url}/v1/chat/completions")).json(body).send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

/// The data of each event; `[DONE]` is a string.
async fn events(url: &str, path: &str, body: &Value) -> Vec<Value> {
    let response = client().post(format!("{url}{path}")).json(body).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let text = response.text().await.expect("text");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

#[tokio::test]
async fn a_chat_is_answered_whole_and_streamed() {
    let server = start(Limits::default(), Keys::default()).await;
    let (status, body) = post(&server.url, &chat(json!({}))).await;
    assert_eq!((status, &body["choices"][0]["message"]["content"]), (200, &json!("You said: hi.")));
    assert_eq!((&body["usage"]["total_tokens"], &body["model"]), (&json!(5), &json!("fake/echo")));
    assert_eq!((&body["metadata"]["attempts"][0]["status"], &body["timbre"]["route"]), (&json!("success"), &json!("direct")));

    let body = chat(json!({ "stream": true, "stream_options": { "include_usage": true } }));
    let events = events(&server.url, "/v1/chat/completions", &body).await;
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "You said: hi.");
    assert!(events[..events.len() - 1].iter().all(|event| event["id"] == events[0]["id"]));
    let [finish, usage, done] = &events[events.len() - 3..] else { panic!("three at the end") };
    assert_eq!((&finish["choices"][0]["finish_reason"], &finish["timbre"]["route"]), (&json!("stop"), &json!("direct")));
    assert_eq!((usage["choices"].to_string().as_str(), &usage["usage"]["total_tokens"], done), ("[]", &json!(5), &json!("[DONE]")));

    let body = chat(json!({ "model": "tools", "tools": [{ "type": "function", "function": { "name": "weather" } }] }));
    let (_, body) = post(&server.url, &body).await;
    assert_eq!(body["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "weather");
    assert_eq!(body["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn a_chat_hears_and_speaks() {
    let server = start(Limits::default(), Keys::default()).await;
    let data = STANDARD.encode(wav(1));
    let messages = json!([{ "role": "user", "content": [{ "type": "input_audio", "input_audio": { "data": data, "format": "wav" } }] }]);
    let audio = json!({ "voice": "alloy", "format": "wav" });
    let body =
        chat(json!({ "messages": messages, "modalities": ["text", "audio"], "audio": audio, "timbre": { "signals": ["loudness"] } }));
    let (status, body) = post(&server.url, &body).await;
    let message = &body["choices"][0]["message"];
    assert_eq!((status, &message["content"], &message["audio"]["transcript"]), (200, &Value::Null, &json!("You said: hello there.")));
    assert!(STANDARD.decode(message["audio"]["data"].as_str().expect("base64")).expect("base64").starts_with(b"RIFF"));
    assert!(body["timbre"]["signals"]["hesitation"].is_null());

    // The client may answer with the id alone.
    let assistant = json!({ "role": "assistant", "audio": { "id": message["audio"]["id"] } });
    let (status, body) = post(&server.url, &chat(json!({ "messages": [{ "role": "user", "content": "x" }, assistant] }))).await;
    assert_eq!((status, &body["choices"][0]["message"]["content"]), (200, &json!("You said: You said: hello there..")));

    let body = chat(json!({ "modalities": ["text", "audio"], "audio": { "voice": "hum", "format": "pcm16" }, "stream": true }));
    let events = events(&server.url, "/v1/chat/completions", &body).await;
    let audio: Vec<_> = events.iter().map(|event| &event["choices"][0]["delta"]["audio"]).collect();
    let transcript: String = audio.iter().filter_map(|audio| audio["transcript"].as_str()).collect();
    let bytes: usize =
        audio.iter().filter_map(|audio| audio["data"].as_str()).map(|data| STANDARD.decode(data).expect("base64").len()).sum();
    assert_eq!((transcript.as_str(), bytes), ("You said: hi.", 13 * 240 * 2));
    assert!(audio[audio.len() - 3]["expires_at"].is_u64());
    assert_eq!(events.last(), Some(&json!("[DONE]")));
}

#[tokio::test]
async fn an_error_is_http_before_the_stream_and_an_event_within() {
    let server = start(Limits::default(), Keys::default()).await;
    let body = chat(json!({ "model": "fake/busy", "stream": true }));
    let response = client().post(format!("{}/v1/chat/completions", server.url)).json(&body).send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].as_bytes()), (429, &b"7"[..]));
    let body: Value = response.json().await.expect("JSON");
    assert_eq!((&body["error"]["type"], &body["metadata"]["attempts"][0]["status"]), (&json!("rate_limit_error"), &json!("failed")));

    let events = events(&server.url, "/v1/chat/completions", &chat(json!({ "model": "fake/broken", "stream": true }))).await;
    let last = events.last().expect("events");
    assert!(last["error"]["message"].as_str().is_some_and(|message| message.contains("broke off")), "{last}");
}

#[tokio::test]
async fn bad_input_is_refused_by_name() {
    let limits = Limits { body_bytes: 200_000, audio_length: std::time::Duration::from_secs(2), ..Limits::default() };
    let server = start(limits, Keys::default()).await;
    let heard = |data: String| {
        let part = json!({ "type": "input_audio", "input_audio": { "data": data, "format": "wav" } });
        chat(json!({ "messages": [{ "role": "user", "content": [part] }] }))
    };
    let good = STANDARD.encode(wav(1));
    let path = "messages[0].content[0].input_audio.data";
    for (body, status, code, param) in [
        (json!([1]), 400, "invalid_value", None),
        (chat(json!({ "model": "nobody" })), 404, "model_not_found", Some("model")),
        (chat(json!({ "n": 3 })), 400, "invalid_value", Some("n")),
        (heard(format!("{}\u{1}", &good[1..])), 400, "invalid_value", Some(path)),
        (heard(STANDARD.encode(&wav(1)[..9_000])), 400, "invalid_audio", Some(path)),
        (heard(STANDARD.encode(b"not sound at all")), 400, "invalid_audio", Some(path)),
        (heard(String::new()), 400, "invalid_audio", Some(path)),
        (heard(STANDARD.encode(wav(3))), 400, "invalid_audio", Some(path)),
        (chat(json!({ "messages": [{ "role": "user", "content": "x".repeat(300_000) }] })), 413, "request_too_large", None),
    ] {
        let (got, answer) = post(&server.url, &body).await;
        let error = &answer["error"];
        assert_eq!((got, error["code"].as_str(), error["param"].as_str()), (status, Some(code), param), "{answer}");
    }
    let raw =
        |path: &str, kind: &str, body: &'static str| client().post(format!("{}{path}", server.url)).header("content-type", kind).body(body);
    for (request, status) in [
        (raw("/v1/chat/completions", "text/plain", "{}"), 415),
        (raw("/v1/chat/completions", "application/json", "{\"model\":"), 400),
        (raw("/v1/audio/transcriptions", "application/json", "{}"), 415),
        (raw("/v1/nowhere", "application/json", "{}"), 404),
        (raw("/v1/models", "application/json", "{}"), 405),
    ] {
        let response = request.send().await.expect("an answer");
        let got = response.status().as_u16();
        let body: Value = response.json().await.expect("JSON");
        assert_eq!((got, body["error"]["type"].as_str()), (status, Some("invalid_request_error")), "{body}");
    }
}

#[tokio::test]
async fn text_is_spoken_in_every_format() {
    let server = start(Limits::default(), Keys::default()).await;
    for (format, head, kind) in
        [("wav", &b"RIFF"[..], "audio/wav"), ("flac", b"fLaC", "audio/flac"), ("opus", b"OggS", "audio/ogg"), ("pcm", b"", "audio/pcm")]
    {
        let body = json!({ "model": "tts-1", "input": "Hi.", "voice": "nova", "response_format": format });
        let response = client().post(format!("{}/v1/audio/speech", server.url)).json(&body).send().await.expect("an answer");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-timbre-voice"]),
            (200, &reqwest::header::HeaderValue::from_static("hum"))
        );
        assert_eq!(response.headers()["content-type"], kind);
        assert!(response.bytes().await.expect("bytes").starts_with(head), "{format}");
    }
    let body = json!({ "input": "Hi.", "voice": "Whistle", "response_format": "pcm", "stream_format": "sse" });
    let events = events(&server.url, "/v1/audio/speech", &body).await;
    assert_eq!((&events[0]["type"], &events[events.len() - 1]["type"]), (&json!("speech.audio.delta"), &json!("speech.audio.done")));
}

#[tokio::test]
async fn a_recording_is_transcribed_in_every_shape() {
    let server = start(Limits::default(), Keys::default()).await;
    for (shape, expected) in [
        ("json", "\"text\":\"hello there\""),
        ("text", "hello there"),
        ("srt", "00:00:00,400"),
        ("vtt", "WEBVTT"),
        ("verbose_json", "\"duration\":1.0"),
    ] {
        let form =
            Form::new().part("file", Part::bytes(wav(1)).file_name("a.wav")).text("model", "whisper-1").text("response_format", shape);
        let response = client().post(format!("{}/v1/audio/transcriptions", server.url)).multipart(form).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        let text = response.text().await.expect("text");
        assert!(text.contains(expected), "{shape}: {text}");
    }
    let form = Form::new().part("file", Part::bytes(wav(1)).file_name("a.wav")).text("stream", "true");
    let response = client().post(format!("{}/v1/audio/transcriptions", server.url)).multipart(form).send().await.expect("an answer");
    let text = response.text().await.expect("text");
    assert!(text.contains("transcript.text.delta") && text.contains("transcript.text.done"), "{text}");
}

#[tokio::test]
async fn keys_ids_models_and_health() {
    let server = start(Limits::default(), Keys::new(["sk-1".to_owned()])).await;
    let get = |path: &str| client().get(format!("{}{path}", server.url));
    let refused = get("/v1/models").send().await.expect("an answer");
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.json::<Value>().await.expect("JSON")["error"]["code"], "invalid_api_key");
    let listed = get("/v1/models").bearer_auth("sk-1").header("x-request-id", "mine").send().await.expect("an answer");
    assert_eq!(listed.headers()["x-request-id"], "mine");
    assert_eq!(listed.json::<Value>().await.expect("JSON")["data"][0]["id"], "fake/echo");
    let one = get("/v1/models/fake/echo").bearer_auth("sk-1").send().await.expect("an answer");
    assert_eq!(one.json::<Value>().await.expect("JSON")["owned_by"], "fake");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(path).send().await.expect("an answer").status(), 200);
    }
}

#[tokio::test]
async fn the_page_asks_for_no_key_but_voices_do() {
    let server = start(Limits::default(), Keys::new(["sk-1".to_owned()])).await;
    let get = |path: &str| client().get(format!("{}{path}", server.url));
    for (path, kind) in [("/", "text/html"), ("/app.js", "text/javascript"), ("/worklet.js", "text/javascript"), ("/icon.svg", "image/svg")]
    {
        let page = get(path).send().await.expect("an answer");
        assert_eq!(page.status(), 200, "{path}");
        let header = |name: &str| page.headers()[name].to_str().expect("ASCII").to_owned();
        assert!(header("content-type").starts_with(kind), "{path}");
        assert!(header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"), "{path}");
        let again = get(path).header("if-none-match", header("etag")).send().await.expect("an answer");
        assert_eq!((again.status().as_u16(), again.bytes().await.expect("a body").len()), (304, 0), "{path}");
    }
    assert_eq!(get("/v1/voices").send().await.expect("an answer").status(), 401);
    let voices: Value = get("/v1/voices").bearer_auth("sk-1").send().await.expect("an answer").json().await.expect("JSON");
    let default = voices["data"].as_array().expect("voices").iter().filter(|voice| voice["default"] == true).count();
    assert_eq!((voices["object"].as_str(), default), (Some("list"), 1), "{voices}");
}

#[tokio::test]
async fn a_client_that_goes_away_stops_the_model() {
    let server = start(Limits::default(), Keys::default()).await;
    for stream in [true, false] {
        let before = server.dropped.load(SeqCst);
        let body = chat(json!({ "model": "fake/endless", "stream": stream }));
        let request = client().post(format!("{}/v1/chat/completions", server.url)).json(&body).send();
        if stream {
            let mut response = request.await.expect("an answer");
            response.chunk().await.expect("the first chunk");
            drop(response);
        } else {
            // Nothing tells that the request has arrived, so it is given time to; the wait below does not depend on it.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(300), request).await;
        }
        let noticed = async {
            while server.dropped.load(SeqCst) == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), noticed).await.expect("the model is told");
    }
}
