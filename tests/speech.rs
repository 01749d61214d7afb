//! Speech and vectors of a provider behind the whole server: what they cost, in the answer and in the record, and speech that is kept.

#[expect(unreachable_pub, reason = "shared by several tests")]
mod mock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mock::{Asked, Mock, Said, post, served};
use serde_json::{Value, json};

/// One second of a tone: RIFF WAVE, PCM of 16 bits, mono at 16 kHz.
fn wav() -> Vec<u8> {
    let samples: Vec<u8> = (0..16_000).flat_map(|n| (((n as f32 * 0.1).sin() * 9_000.0) as i16).to_le_bytes()).collect();
    let mut wav = Vec::new();
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + samples.len() as u32).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend_from_slice(&16_000_u32.to_le_bytes());
    wav.extend_from_slice(&32_000_u32.to_le_bytes());
    wav.extend_from_slice(b"\x02\0\x10\0data");
    wav.extend_from_slice(&(samples.len() as u32).to_le_bytes());
    wav.extend(samples);
    wav
}

fn provider(asked: &Asked) -> Said {
    let chunk = |delta: Value, finish: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    match asked.path.as_str() {
        "/v1/audio/transcriptions" => Said::json(json!({"text": "How are you?"})),
        "/v1/audio/speech" => Said { kind: "audio/pcm", body: vec![0; 48_000], ..Said::json(Value::Null) },
        "/v1/embeddings" => Said::json(json!({"data": [{"index": 0, "embedding": [0.5, 0.5]}], "usage": {"prompt_tokens": 1_000}})),
        _ => Said::events(&[
            chunk(json!({"content": "Quite well."}), Value::Null),
            chunk(json!({}), json!("stop")),
            json!({"choices": [], "usage": {"prompt_tokens": 1_000, "completion_tokens": 100}}),
        ]),
    }
}

fn config(upstream: &Mock, file: &str) -> String {
    format!(
        r#"
        default_model = "openai/gpt-4o"
        [models]
        local = false
        [record]
        file = "{file}"
        [voice]
        transcriber = "openai/whisper-1"
        synthesizer = "openai/tts-1"
        voice = "alloy"
        [[provider]]
        name = "openai"
        base_url = "http://{}/v1"
        "#,
        upstream.addr
    )
}

fn spoken(upstream: &Mock) -> Vec<Value> {
    let speech = upstream.asked().into_iter().filter(|asked| asked.path == "/v1/audio/speech");
    speech.map(|asked| asked.body["input"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_speech_of_a_cached_answer_is_kept() {
    let upstream = Mock::start(provider).await;
    let running = served(&config(&upstream, ""), &[]).await;
    let ask = async |voice: &str, format: &str, stream: bool| {
        let body = json!({"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "How are you?"}], "seed": 1,
            "stream": stream, "modalities": ["text", "audio"], "audio": {"voice": voice, "format": format}});
        let (status, answer) = post(&running, "/v1/chat/completions", &body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let first: Value = serde_json::from_str(&ask("alloy", "wav", false).await).expect("JSON");
    let second: Value = serde_json::from_str(&ask("alloy", "wav", false).await).expect("JSON");
    let sound = |answer: &Value| answer["choices"][0]["message"]["audio"]["data"].as_str().map(str::len);
    // Two seconds' worth of bytes at 16 bits, in base64, with a head.
    assert!(sound(&first) > Some(60_000) && sound(&first) == sound(&second), "{:?} {:?}", sound(&first), sound(&second));
    assert_eq!(second["metadata"]["attempts"], json!([]));
    // Another format, as a stream, has the same sound; another voice has not.
    let streamed = ask("alloy", "pcm16", true).await;
    assert!(streamed.contains("\"data\":") && streamed.ends_with("data: [DONE]\n\n"));
    assert_eq!(spoken(&upstream).len(), 1);
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_and_vectors_are_priced_in_the_answer_and_in_the_record() {
    let upstream = Mock::start(provider).await;
    let folder = std::env::temp_dir().join(format!("timbre-speech-money-{}", std::process::id()));
    let file = folder.join("requests.ndjson");
    let running = served(&config(&upstream, &file.display().to_string()), &[]).await;

    let sound = json!({"type": "input_audio", "input_audio": {"data": STANDARD.encode(wav()), "format": "wav"}});
    let body = json!({"model": "openai/gpt-4o", "messages": [{"role": "user", "content": [sound]}],
        "modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}});
    let (status, answer) = post(&running, "/v1/chat/completions", &body).await;
    let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    let told: Vec<(&Value, &Value)> =
        answer["metadata"]["attempts"].as_array().into_iter().flatten().map(|a| (&a["work"], &a["costUsd"])).collect();
    // 0.36 dollars an hour heard; 2.5 and 10 dollars a million tokens; 15 dollars a million characters.
    let expected = [(json!("transcription"), json!(0.0001)), (Value::Null, json!(0.0035)), (json!("speech"), json!(0.000165))];
    assert_eq!((status, told), (200, expected.iter().map(|(work, cost)| (work, cost)).collect()), "{answer}");

    let (status, _) =
        post(&running, "/v1/audio/speech", &json!({"model": "tts-1", "input": "Hello.", "voice": "alloy", "response_format": "pcm"})).await;
    assert_eq!(status, 200);
    let (status, _) = post(&running, "/v1/embeddings", &json!({"model": "openai/text-embedding-3-small", "input": "Hello."})).await;
    assert_eq!(status, 200);
    assert_eq!(spoken(&upstream), ["Quite well.", "Hello."]);
    running.stop();
    let _ = running.done.await;

    let lines = std::fs::read_to_string(&file).expect("records are written");
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    let told: Vec<(&Value, &Value)> = records.iter().map(|record| (&record["dialect"], &record["cost_nano_usd"])).collect();
    let expected = [(json!("chat"), json!(3_765_000)), (json!("speech"), json!(90_000)), (json!("embeddings"), json!(20_000))];
    assert_eq!(told, expected.iter().map(|(dialect, cost)| (dialect, cost)).collect::<Vec<_>>());
    assert!(records[0]["transcript_ms"].is_number() && records[0]["first_audio_ms"].is_number(), "{}", records[0]);
    let _ = std::fs::remove_dir_all(folder);
}
