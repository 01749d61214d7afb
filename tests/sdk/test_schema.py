"""What the server says, against OpenAI's published schemas: TIMBRE_BASE_URL (ends in /v1), TIMBRE_MODEL (else the first of the list)."""

import base64
import io
import json
import math
import os
import struct
import urllib.request
import wave

import pytest

from schema import judge, needed

pytestmark = needed
BASE = os.environ.get("TIMBRE_BASE_URL", "")


def call(path, body=None, headers=None):
    request = urllib.request.Request(BASE + path, headers=headers or {})
    if body is not None:
        request.data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.add_header("Content-Type", request.get_header("Content-type") or "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def events(text):
    data = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in data if line != "[DONE]"]


def recording():
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack("<h", int(6000 * math.sin(n * 0.05))) for n in range(16000)))
    return out.getvalue()


def form(**fields):
    edge, out = "edge7", io.BytesIO()
    for name, value in fields.items():
        kind = f'; filename="a.wav"\r\nContent-Type: audio/wav' if isinstance(value, bytes) else ""
        out.write(f'--{edge}\r\nContent-Disposition: form-data; name="{name}"{kind}\r\n\r\n'.encode())
        out.write(value if isinstance(value, bytes) else value.encode())
        out.write(b"\r\n")
    out.write(f"--{edge}--\r\n".encode())
    return out.getvalue(), {"Content-type": f"multipart/form-data; boundary={edge}"}


@pytest.fixture(scope="module")
def model():
    return os.environ.get("TIMBRE_MODEL") or json.loads(call("/models"))["data"][0]["id"]


def ask(model, **more):
    return {"model": model, "messages": [{"role": "user", "content": "Say hello."}], **more}


def test_models():
    judge("ListModelsResponse", json.loads(call("/models")))


@pytest.mark.parametrize("more", [{}, {"modalities": ["text", "audio"], "audio": {"voice": "heart", "format": "wav"}}])
def test_chat(model, more):
    whole = json.loads(call("/chat/completions", ask(model, **more)))
    # Ours: which route was taken and who was asked. OpenAI's own metadata are texts.
    assert whole.pop("metadata")["attempts"]
    judge("CreateChatCompletionResponse", whole)


def test_chat_streamed(model):
    text = call("/chat/completions", ask(model, stream=True, stream_options={"include_usage": True}))
    chunks = events(text)
    assert chunks and text.rstrip().endswith("data: [DONE]")
    for chunk in chunks:
        judge("CreateChatCompletionStreamResponse", chunk)


def test_speech_as_events(model):
    body = {"model": "auto", "voice": "heart", "input": "Hello.", "response_format": "pcm", "stream_format": "sse"}
    said = events(call("/audio/speech", body))
    assert said[-1]["type"] == "speech.audio.done"
    for event in said:
        judge("CreateSpeechResponseStreamEvent", event)
        assert base64.b64decode(event.get("audio", "")) is not None


@pytest.mark.parametrize("shape, name", [("json", "CreateTranscriptionResponseJson"), ("verbose_json", "CreateTranscriptionResponseVerboseJson")])
def test_transcription(shape, name):
    body, headers = form(model="auto", response_format=shape, file=recording())
    judge(name, json.loads(call("/audio/transcriptions", body, headers)))


def test_transcription_streamed():
    body, headers = form(model="auto", stream="true", file=recording())
    for event in events(call("/audio/transcriptions", body, headers)):
        judge("CreateTranscriptionResponseStreamEvent", event)


def test_errors():
    with pytest.raises(urllib.error.HTTPError) as caught:
        call("/chat/completions", {"model": "no-such-model", "messages": []})
    judge("ErrorResponse", json.loads(caught.value.read()))
