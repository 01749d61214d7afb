"""openai-python, unmodified, against a server: TIMBRE_BASE_URL (ends in /v1), TIMBRE_MODEL (else the first of the list)."""

import base64
import io
import math
import os
import struct
import wave

import openai
import pytest

SPEECH_HEADS = {"wav": b"RIFF", "flac": b"fLaC", "opus": b"OggS", "pcm": b""}


@pytest.fixture(scope="session")
def client():
    return openai.OpenAI(base_url=os.environ["TIMBRE_BASE_URL"], api_key=os.environ.get("TIMBRE_API_KEY", "none"), max_retries=0)


@pytest.fixture(scope="session")
def model(client):
    return os.environ.get("TIMBRE_MODEL") or client.models.list().data[0].id


@pytest.fixture(scope="session")
def recording():
    """A recording: TIMBRE_RECORDING, else one second of a tone."""
    if path := os.environ.get("TIMBRE_RECORDING"):
        with open(path, "rb") as file:
            return file.read()
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack("<h", int(6000 * math.sin(n * 0.05))) for n in range(16000)))
    return out.getvalue()


def ask(text="Say hello."):
    return [{"role": "user", "content": text}]


def test_models_are_listed_and_found(client, model):
    assert client.models.retrieve(model).id == model


def test_chat_whole(client, model):
    answer = client.chat.completions.create(model=model, messages=ask(), max_tokens=16)
    assert answer.choices[0].message.content and answer.choices[0].finish_reason in ("stop", "length")
    assert answer.model_extra["timbre"]["route"] and answer.usage.total_tokens > 0


def test_chat_streamed(client, model):
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model=model, messages=ask(), max_tokens=16, stream=True, stream_options=options))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage.total_tokens > 0 and chunks[-2].choices[0].finish_reason in ("stop", "length")


def test_tools_are_taken(client, model):
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    answer = client.chat.completions.create(model=model, messages=ask(), tools=[tool], tool_choice="auto", max_tokens=16)
    assert answer.choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_chat_hears_and_speaks(client, model, recording):
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(recording).decode(), "format": "wav"}}
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": [{"type": "text", "text": "Say hello."}, part]}],
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "wav"},
        max_tokens=16,
    )
    audio = answer.choices[0].message.audio
    assert answer.choices[0].message.content is None and audio.transcript and audio.expires_at
    assert base64.b64decode(audio.data).startswith(b"RIFF")


def test_chat_speaks_while_it_streams(client, model):
    audio = {"voice": "alloy", "format": "pcm16"}
    chunks = client.chat.completions.create(
        model=model, messages=ask(), modalities=["text", "audio"], audio=audio, stream=True, max_tokens=16
    )
    pieces = [chunk.model_dump()["choices"][0]["delta"].get("audio") or {} for chunk in chunks]
    assert any(piece.get("transcript") for piece in pieces) and any(piece.get("data") for piece in pieces)


@pytest.mark.parametrize("shape", SPEECH_HEADS)
def test_speech(client, shape):
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Hello there.", response_format=shape
    ) as response:
        assert response.read().startswith(SPEECH_HEADS[shape])


@pytest.mark.parametrize("shape", ["json", "text", "srt", "vtt", "verbose_json"])
def test_transcription(client, recording, shape):
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", recording), response_format=shape)
    assert isinstance(heard if isinstance(heard, str) else heard.text, str)


def test_transcription_streamed(client, recording):
    events = list(client.audio.transcriptions.create(model="whisper-1", file=("a.wav", recording), stream=True))
    assert events[-1].type == "transcript.text.done"


def test_errors_become_the_sdks_own(client, model):
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model="nobody/nothing", messages=ask())
    assert error.value.code == "model_not_found" and error.value.param == "model"
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model=model, messages=ask(), n=2)
    assert error.value.param == "n"
    with pytest.raises(openai.BadRequestError) as error:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"not sound"))
    assert error.value.param == "file"
