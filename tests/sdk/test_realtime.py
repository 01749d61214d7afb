"""A conversation by openai-python's realtime client, from recorded speech, against a running server with its real models.

TIMBRE_REALTIME_URL is the server's base URL (ending in /v1), TIMBRE_RECORDING a recording of somebody speaking English.
"""

import asyncio
import base64
import json
import os

import pytest
from openai import AsyncOpenAI

from caller import RATE, RECORDING, URL, speech
from schema import judge_realtime

pytestmark = pytest.mark.skipif(not (URL and RECORDING), reason="no server with real models (TIMBRE_REALTIME_URL, TIMBRE_RECORDING)")


class Caller:
    """Sends sound in real time and keeps every event."""

    def __init__(self, connection):
        self.connection = connection
        self.events = []
        self.sound = bytearray()

    async def speak(self, pcm: bytes) -> None:
        step = RATE // 50 * 2
        begin = asyncio.get_running_loop().time()
        for index in range(0, len(pcm), step):
            await self.connection.input_audio_buffer.append(audio=base64.b64encode(pcm[index : index + step]).decode())
            due = begin + (index / step + 1) * 0.02
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

    async def until(self, kind: str, seconds: float = 30.0):
        async def read():
            while True:
                raw = await self.connection.recv_bytes()
                judge_realtime(json.loads(raw))
                event = self.connection.parse_event(raw)
                self.events.append(event)
                if event.type == "response.output_audio.delta":
                    self.sound += base64.b64decode(event.delta)
                if event.type == kind:
                    return event

        return await asyncio.wait_for(read(), seconds)

    def kinds(self):
        return [event.type for event in self.events]


def converse(script):
    async def run():
        client = AsyncOpenAI(base_url=URL, api_key=os.environ.get("TIMBRE_API_KEY", "none"))
        async with client.realtime.connect(model="gpt-realtime") as connection:
            caller = Caller(connection)
            await caller.until("session.created")
            await script(caller)

    asyncio.run(run())


def test_a_spoken_question_gets_a_spoken_answer():
    async def script(caller):
        await caller.connection.session.update(
            session={"type": "realtime", "instructions": "Answer in one short sentence.", "audio": {"output": {"voice": "marin"}}}
        )
        await caller.until("session.updated")
        speaking = asyncio.create_task(caller.speak(speech(60.0) + bytes(RATE * 2 * 3)))
        # A speaker who pauses between two sentences may be answered in between; going on, they interrupt that answer.
        done = await caller.until("response.done", 60)
        while done.response.status == "cancelled":
            done = await caller.until("response.done", 60)
        speaking.cancel()
        kinds = caller.kinds()
        assert kinds.index("input_audio_buffer.speech_started") < kinds.index("input_audio_buffer.speech_stopped")
        kinds = kinds[len(kinds) - 1 - kinds[::-1].index("input_audio_buffer.speech_stopped") :]
        order = [
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "response.created",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_audio.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.done",
        ]
        places = [kinds.index(kind) for kind in order]
        assert places == sorted(places), kinds
        assert "conversation.item.input_audio_transcription.completed" in caller.kinds()
        assert done.response.status == "completed"
        assert len(caller.sound) > RATE, "at least half a second of speech"

    converse(script)


def test_push_to_talk_text_and_an_answer_that_is_cancelled():
    async def script(caller):
        await caller.connection.session.update(
            session={
                "type": "realtime",
                "instructions": "Tell a long story about whatever you hear.",
                "audio": {"input": {"turn_detection": None}},
            }
        )
        await caller.until("session.updated")
        await caller.connection.input_audio_buffer.append(audio=base64.b64encode(speech(8.0)).decode())
        await caller.connection.input_audio_buffer.commit()
        heard = await caller.until("conversation.item.input_audio_transcription.completed")
        assert heard.transcript.strip()
        await caller.connection.response.create()
        await caller.until("response.output_audio.delta")
        await caller.connection.response.cancel()
        done = await caller.until("response.done")
        assert done.response.status == "cancelled"
        await caller.connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say hello."}]}
        )
        await caller.connection.response.create(response={"output_modalities": ["text"], "max_output_tokens": 30})
        done = await caller.until("response.done", 60)
        # Asked for long stories, a small model may still be at it.
        assert done.response.status in ("completed", "incomplete")
        assert "response.output_text.delta" in caller.kinds()

    converse(script)


def test_the_caller_interrupts_and_the_history_keeps_what_was_heard():
    async def script(caller):
        await caller.connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Tell me a long story about the sea."}]}
        )
        await caller.connection.response.create()
        await caller.until("response.output_audio.delta")
        speaking = asyncio.create_task(caller.speak(speech(6.0)))
        await caller.until("input_audio_buffer.speech_started")
        done = await caller.until("response.done")
        speaking.cancel()
        assert done.response.status == "cancelled"
        assert done.response.status_details.reason == "turn_detected"
        sounded = caller.kinds().index("response.done")
        assert "response.output_audio.delta" not in caller.kinds()[sounded:]

    converse(script)


def test_nonsense_is_an_error_and_the_session_goes_on():
    async def script(caller):
        for event, field in [
            ({"type": "no.such.event"}, "type"),
            ({"type": "input_audio_buffer.append", "audio": "!!!"}, "audio"),
            ({"type": "conversation.item.truncate", "item_id": "nobody", "content_index": 0, "audio_end_ms": 1}, "item_id"),
        ]:
            await caller.connection.send({**event, "event_id": "mine"})
            error = await caller.until("error")
            assert error.error.event_id == "mine"
            assert error.error.param == field, error
        await caller.connection.input_audio_buffer.commit()
        assert (await caller.until("error")).error.code == "input_audio_buffer_commit_empty"
        await caller.connection.session.update(session={"type": "realtime", "instructions": "Still here."})
        updated = await caller.until("session.updated")
        assert updated.session.instructions == "Still here."

    converse(script)
