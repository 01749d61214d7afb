"""A caller for the judges: recorded speech, sent at the pace of speech, and the conversation that each of them holds."""

import asyncio
import audioop
import os
import wave

URL = os.environ.get("TIMBRE_REALTIME_URL")
RECORDING = os.environ.get("TIMBRE_RECORDING")
RATE = 24_000
STEP = RATE // 50 * 2
ANSWER = "sunny"


def speech(seconds: float, silence: float = 0.0) -> bytes:
    """The beginning of the recording as PCM16 at 24 kHz, mono; then silence."""
    with wave.open(RECORDING) as sound:
        pcm = sound.readframes(sound.getnframes())
        if sound.getnchannels() == 2:
            pcm = audioop.tomono(pcm, sound.getsampwidth(), 0.5, 0.5)
        pcm = audioop.lin2lin(pcm, sound.getsampwidth(), 2)
        pcm, _ = audioop.ratecv(pcm, 2, 1, sound.getframerate(), RATE, None)
    return pcm[: int(seconds * RATE) * 2] + bytes(int(silence * RATE) * 2)


class Microphone:
    """Is always on: what is said is sent in pieces of 20 ms, and silence in between."""

    def __init__(self, send):
        self.send = send
        self.waiting = b""
        self.task = asyncio.create_task(self._run())

    async def _run(self):
        due = asyncio.get_running_loop().time()
        while True:
            piece, self.waiting = self.waiting[:STEP], self.waiting[STEP:]
            await self.send(piece.ljust(STEP, b"\0"))
            due += 0.02
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

    def say(self, seconds: float) -> None:
        self.waiting += speech(seconds)

    async def close(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def converse(microphone: Microphone, happened, seconds: float = 90.0):
    """The conversation: a question that takes a tool, its spoken answer, another question, and an interruption of what is then said.

    `happened` gives what the SDK under test has seen so far: "tool", "answered" (the words of the tool's answer were spoken),
    "speaking" (the second answer sounds), "interrupted", and what went wrong as "error: ...".
    """

    async def until(what: str):
        while what not in happened():
            wrong = [event for event in happened() if event.startswith("error")]
            assert not wrong, wrong
            await asyncio.sleep(0.02)

    async def whole():
        microphone.say(4.6)
        await until("tool")
        await until("answered")
        await asyncio.sleep(0.5)
        microphone.say(4.6)
        await until("speaking")
        await asyncio.sleep(0.5)
        microphone.say(3.0)
        await until("interrupted")

    try:
        await asyncio.wait_for(whole(), seconds)
    except asyncio.TimeoutError:
        raise AssertionError(f"after {seconds} s there was only {happened()}") from None
    finally:
        await microphone.close()
