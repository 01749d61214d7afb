"""openai-python makes an ephemeral key, controls a WebRTC call that was begun with it beside its caller, and hangs it up."""

import asyncio

import openai
import pytest
from aiortc import RTCSessionDescription
from openai import AsyncOpenAI

from test_webrtc import RECORDING, URL, Caller, post

pytestmark = pytest.mark.skipif(not (URL and RECORDING), reason="no server with real models (TIMBRE_REALTIME_URL, TIMBRE_RECORDING)")


def test_a_call_begun_with_an_ephemeral_key_is_controlled_and_hung_up(monkeypatch):
    async def run():
        client = AsyncOpenAI(base_url=URL, api_key="none", max_retries=0)
        secret = await client.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60},
            session={"type": "realtime", "model": "gpt-realtime", "instructions": "Sing."},
        )
        assert secret.value.startswith("ek_") and secret.session.instructions == "Sing."
        monkeypatch.setenv("TIMBRE_API_KEY", secret.value)
        caller = Caller()
        await caller.connection.setLocalDescription(await caller.connection.createOffer())
        sdp = caller.connection.localDescription.sdp
        status, headers, answer = await asyncio.to_thread(post, "/realtime/calls", sdp, "application/sdp")
        assert status == 201, answer
        call_id = headers["location"].rsplit("/", 1)[1]
        await caller.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        created = await caller.until("session.created", 20)
        assert created["session"]["instructions"] == "Sing."
        async with client.realtime.connect(call_id=call_id) as controller:
            await controller.session.update(session={"type": "realtime", "instructions": "Say hello."})
            async for event in controller:
                if event.type == "session.updated":
                    break
            assert event.session.instructions == "Say hello."
            assert (await caller.until("session.updated", 20))["session"]["instructions"] == "Say hello."
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]}
            await controller.conversation.item.create(item=item)
            await controller.response.create()
            kinds = []
            async for event in controller:
                kinds.append(event.type)
                if event.type == "output_audio_buffer.started":
                    break
            assert "response.created" in kinds and "response.output_audio.delta" not in kinds
            await client.realtime.calls.hangup(call_id)
        with pytest.raises(openai.NotFoundError):
            await client.realtime.calls.hangup(call_id)
        await caller.connection.close()
        if caller.listening:
            caller.listening.cancel()

    asyncio.run(asyncio.wait_for(run(), 90))

