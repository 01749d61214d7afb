"""A call by aiortc, as a browser makes it: recorded speech over RTP, events over the data channel, against a running server with its models.

TIMBRE_REALTIME_URL is the server's base URL (ending in /v1), TIMBRE_RECORDING a recording of somebody speaking English.
"""

import asyncio
import audioop
import fractions
import json
import os
import urllib.error
import urllib.request
import uuid

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaStreamError
from aiortc.mediastreams import MediaStreamTrack
from av import AudioFrame

from caller import RATE, RECORDING, URL, speech
from schema import judge_realtime

pytestmark = pytest.mark.skipif(not (URL and RECORDING), reason="no server with real models (TIMBRE_REALTIME_URL, TIMBRE_RECORDING)")
STEP = RATE // 50


class Microphone(MediaStreamTrack):
    """Plays what it is given in real time, and silence between."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self.waiting = bytearray()
        self.sent = 0
        self.began = None

    def say(self, seconds):
        self.waiting += speech(seconds)

    async def close(self):
        self.stop()

    async def recv(self):
        loop = asyncio.get_running_loop()
        self.began = self.began or loop.time()
        await asyncio.sleep(max(0.0, self.began + self.sent / RATE - loop.time()))
        piece = bytes(self.waiting[: STEP * 2]).ljust(STEP * 2, b"\0")
        del self.waiting[: STEP * 2]
        frame = AudioFrame(format="s16", layout="mono", samples=STEP)
        frame.planes[0].update(piece)
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.sent, fractions.Fraction(1, RATE)
        self.sent += STEP
        return frame


def post(path, body, kind):
    """The status, the headers and the text of an answer."""
    headers = {"Content-Type": kind, "Authorization": "Bearer " + os.environ.get("TIMBRE_API_KEY", "none")}
    try:
        with urllib.request.urlopen(urllib.request.Request(URL + path, body.encode(), headers)) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def multipart(**parts):
    boundary = uuid.uuid4().hex
    body = "".join(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in parts.items())
    return f"{body}--{boundary}--\r\n", f"multipart/form-data; boundary={boundary}"


class Caller:
    """Keeps every event, and how loud the answers are."""

    def __init__(self, configuration=None):
        self.connection = RTCPeerConnection(configuration)
        self.microphone = Microphone()
        self.connection.addTrack(self.microphone)
        self.channel = self.connection.createDataChannel("oai-events")
        self.arrived = asyncio.Queue()
        self.events = []
        self.loudness = 0.0
        self.sound, self.shape = bytearray(), None
        self.listening = None
        self.channel.on("message", self.arrived.put_nowait)
        self.connection.on("track", self.hear)

    def hear(self, track):
        async def listen():
            try:
                while True:
                    frame = await track.recv()
                    self.shape = (frame.sample_rate, len(frame.layout.channels))
                    # The buffer has room for the longest packet there is.
                    pcm = bytes(frame.planes[0])[: frame.samples * self.shape[1] * 2]
                    self.sound += pcm
                    self.loudness = max(self.loudness, audioop.rms(pcm, 2) / 32_768)
            except MediaStreamError:
                pass

        self.listening = asyncio.ensure_future(listen())

    async def dial(self, session=None, outward=None, inward=None):
        """Calls; `outward` may change the offer on its way, and `inward`, awaited, the answer."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        sdp = self.connection.localDescription.sdp
        sdp = outward(sdp) if outward else sdp
        if session is None:
            asked = ("/realtime/calls?model=gpt-realtime", sdp, "application/sdp")
        else:
            asked = ("/realtime/calls", *multipart(sdp=sdp, session=json.dumps(session)))
        status, headers, answer = await asyncio.to_thread(post, *asked)
        assert status == 201, answer
        assert headers["content-type"] == "application/sdp"
        self.location = headers["location"]
        assert self.location.startswith("/v1/realtime/calls/rtc_")
        answer = await inward(answer) if inward else answer
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def hang_up(self):
        await self.connection.close()
        if self.listening:
            self.listening.cancel()

    def say(self, **event):
        self.channel.send(json.dumps(event))

    async def until(self, kind, seconds=60.0):
        return await self.until_one(kind, seconds=seconds)

    async def next(self):
        event = json.loads(await self.arrived.get())
        judge_realtime(event)
        self.events.append(event)
        return event

    async def until_one(self, *kinds, seconds=60.0):
        async def read():
            while True:
                event = await self.next()
                if event["type"] in kinds:
                    return event

        return await asyncio.wait_for(read(), seconds)

    async def heard_out(self):
        """Waits until an answer was heard to its end.

        A speaker who pauses between two sentences may be answered in between; going on, they interrupt that answer, even one that was
        complete in writing: it is cleared then, and what they went on with may be no words, and get no answer. The small model may say one
        sentence over and over: sessions that are heard out bound it, and an answer that was cut short there is heard out, too.
        """
        while True:
            done = (await self.until("response.done"))["response"]
            if done["status"] not in ("completed", "incomplete"):
                continue
            told = {event["type"] for event in self.events if event.get("response_id") == done["id"]}
            while not told & {"output_audio_buffer.stopped", "output_audio_buffer.cleared"}:
                event = await self.until_one("output_audio_buffer.stopped", "output_audio_buffer.cleared")
                if event["response_id"] == done["id"]:
                    told.add(event["type"])
            return done

    def kinds(self):
        return [event["type"] for event in self.events]


def converse(script, session=None, configuration=None, **changes):
    async def run():
        caller = Caller(configuration)
        try:
            await caller.dial(session, **changes)
            await caller.until("session.created", 20)
            await script(caller)
        except BaseException:
            # pytest shows it where a test fails.
            for event in caller.events:
                print(json.dumps(event)[:400])
            raise
        finally:
            await caller.hang_up()

    asyncio.run(run())


def test_a_spoken_question_gets_a_spoken_answer():
    async def script(caller):
        assert caller.events[0]["session"]["instructions"] == "Answer in one short sentence."
        caller.microphone.waiting += speech(8.0)
        await caller.heard_out()
        kinds = caller.kinds()
        assert "output_audio_buffer.started" in kinds and "response.output_audio_transcript.delta" in kinds
        assert "conversation.item.input_audio_transcription.completed" in kinds
        assert "response.output_audio.delta" not in kinds, "sound goes over RTP"
        assert caller.loudness > 0.01

    session = {"type": "realtime", "model": "gpt-realtime", "instructions": "Answer in one short sentence.", "max_output_tokens": 40, "audio": {"output": {"voice": "marin"}}}
    converse(script, session)


def ask_for_a_story(caller):
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Tell me a long story about the sea."}]}
    caller.say(type="conversation.item.create", item=item)
    caller.say(type="response.create")


def test_the_caller_interrupts():
    async def script(caller):
        ask_for_a_story(caller)
        started = await caller.until("output_audio_buffer.started")
        caller.microphone.waiting += speech(6.0)
        cleared = await caller.until("output_audio_buffer.cleared")
        assert cleared["response_id"] == started["response_id"]
        assert "input_audio_buffer.speech_started" in caller.kinds()
        done = await caller.until("response.done")
        assert done["response"]["status"] == "cancelled"
        assert done["response"]["status_details"]["reason"] == "turn_detected"

    converse(script)


def test_the_client_silences_an_answer():
    async def script(caller):
        caller.say(type="session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        await caller.until("session.updated")
        ask_for_a_story(caller)
        started = await caller.until("output_audio_buffer.started")
        caller.say(type="output_audio_buffer.clear")
        caller.say(type="response.cancel")
        assert (await caller.until("output_audio_buffer.cleared"))["response_id"] == started["response_id"]
        assert (await caller.until("response.done"))["response"]["status"] == "cancelled"
        caller.say(type="input_audio_buffer.append", audio="AAAA", event_id="mine")
        error = (await caller.until("error"))["error"]
        assert (error["code"], error["event_id"]) == ("invalid_event_for_transport", "mine")

    converse(script)


def test_what_is_no_offer_is_refused():
    for asked, status, param in [
        (("nonsense", "application/sdp"), 400, "sdp"),
        (("", "application/sdp"), 400, "sdp"),
        (("{}", "application/json"), 415, None),
        (multipart(sdp="v=0", session="{"), 400, "session"),
        (multipart(sdp="v=0", session='{"audio": {"input": {"turn_detection": 3}}}'), 400, "session.audio.input.turn_detection"),
    ]:
        answered, _, text = post("/realtime/calls", *asked)
        assert (answered, json.loads(text)["error"]["param"]) == (status, param), text
