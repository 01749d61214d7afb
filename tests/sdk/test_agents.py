"""Agents written for OpenAI's realtime API with frameworks that know nothing of this server: each holds a spoken conversation of two turns,
calls a tool, and is interrupted.

TIMBRE_REALTIME_URL is the base URL (ending in /v1) of a server whose language model calls the tool it is offered, then says that it is sunny,
then tells long stories; TIMBRE_RECORDING is a recording of somebody speaking English.
"""

import asyncio
import base64

import pytest

from caller import ANSWER, RATE, RECORDING, URL, Microphone, converse

pytestmark = pytest.mark.skipif(not (URL and RECORDING), reason="no server with real models (TIMBRE_REALTIME_URL, TIMBRE_RECORDING)")
SOCKET = (URL or "").replace("http", "ws") + "/realtime"
KEY = "none"


def test_openai_python_holds_a_conversation():
    asyncio.run(openai_python(beta=False))


def test_openai_python_holds_a_conversation_in_the_beta_dialect():
    asyncio.run(openai_python(beta=True))


async def openai_python(beta: bool):
    from openai import AsyncOpenAI

    seen = []
    # The beta client speaks TLS unless it is told otherwise.
    client = AsyncOpenAI(base_url=URL, websocket_base_url=URL.replace("http", "ws", 1), api_key=KEY)
    realtime = client.beta.realtime if beta else client.realtime
    spoken = "response.audio" if beta else "response.output_audio"
    tools = [{"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]
    session = {"instructions": "Answer in one sentence.", "tools": tools}
    session |= {"modalities": ["audio", "text"], "voice": "marin"} if beta else {"type": "realtime", "audio": {"output": {"voice": "marin"}}}
    async with realtime.connect(model="gpt-realtime") as connection:

        async def listen():
            async for event in connection:
                if event.type == "session.updated" and beta:
                    assert event.session.modalities == ["audio", "text"] and event.session.voice == "marin", event
                elif event.type == "error":
                    seen.append(f"error: {event.error.message}")
                elif event.type == "response.function_call_arguments.done":
                    seen.append("tool")
                    item = {"type": "function_call_output", "call_id": event.call_id, "output": "sunny in Paris"}
                    await connection.conversation.item.create(item=item)
                elif event.type == f"{spoken}_transcript.done" and ANSWER in event.transcript:
                    seen.append("answered")
                elif event.type == f"{spoken}.delta" and "answered" in seen:
                    seen.append("speaking")
                elif event.type == "response.done":
                    if any(item.type == "function_call" for item in event.response.output):
                        await connection.response.create()
                    details = event.response.status_details
                    if "speaking" in seen and details and details.reason == "turn_detected":
                        seen.append("interrupted")

        listening = asyncio.create_task(listen())
        listening.add_done_callback(lambda task: fail(task, seen))
        await connection.session.update(session=session)
        await converse(Microphone(lambda pcm: connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())), lambda: seen)
        listening.cancel()


def test_aiortc_holds_a_conversation_over_webrtc():
    pytest.importorskip("aiortc")
    asyncio.run(aiortc())


async def aiortc():
    from test_webrtc import Caller

    seen, answer = [], None
    tools = [{"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]
    caller = Caller()
    await caller.dial({"type": "realtime", "model": "gpt-realtime", "instructions": "Answer in one sentence.", "tools": tools})

    async def listen():
        nonlocal answer
        while True:
            event = await caller.next()
            kind = event["type"]
            if kind == "error":
                seen.append(f"error: {event['error']}")
            elif kind == "response.function_call_arguments.done":
                seen.append("tool")
                item = {"type": "function_call_output", "call_id": event["call_id"], "output": "sunny in Paris"}
                caller.say(type="conversation.item.create", item=item)
            elif kind == "response.done" and any(item["type"] == "function_call" for item in event["response"]["output"]):
                caller.say(type="response.create")
            elif kind == "response.output_audio_transcript.done" and ANSWER in event["transcript"]:
                answer = event["response_id"]
            elif kind == "output_audio_buffer.stopped" and event["response_id"] == answer:
                seen.append("answered")
            elif kind == "output_audio_buffer.started" and "answered" in seen:
                seen.append("speaking")
            # What was heard of the answer is known, and no more is kept of it.
            elif kind == "conversation.item.truncated" and "speaking" in seen:
                seen.append("interrupted")

    listening = asyncio.create_task(listen())
    listening.add_done_callback(lambda task: fail(task, seen))
    try:
        await converse(caller.microphone, lambda: seen)
        assert caller.loudness > 0.01
    finally:
        listening.cancel()
        await caller.hang_up()


def fail(task, seen):
    """What ended a task that should go on, the conversation is told."""
    if not task.cancelled() and task.exception():
        seen.append(f"error: {task.exception()!r}")


def test_openai_agents_holds_a_conversation():
    pytest.importorskip("agents")
    asyncio.run(openai_agents())


async def openai_agents():
    from agents import function_tool
    from agents.realtime import RealtimeAgent, RealtimeRunner

    seen = []

    @function_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        seen.append("tool")
        return f"sunny in {city}"

    agent = RealtimeAgent(name="Weather", instructions="Answer in one sentence.", tools=[get_weather])
    session = await RealtimeRunner(agent).run(
        model_config={
            "api_key": KEY,
            "url": f"{SOCKET}?model=gpt-realtime",
            "initial_model_settings": {"model_name": "gpt-realtime", "voice": "ash", "turn_detection": {"type": "semantic_vad", "interrupt_response": True}},
        }
    )
    async with session:

        async def listen():
            sounded = False
            async for event in session:
                if event.type == "error":
                    seen.append(f"error: {event.error}")
                elif event.type == "audio":
                    sounded = True
                    if "answered" in seen:
                        seen.append("speaking")
                elif event.type == "audio_interrupted" and "speaking" in seen:
                    seen.append("interrupted")
                elif event.type == "audio_end" and "tool" in seen and sounded:
                    messages = [item for item in session._history if item.type == "message" and item.role == "assistant"]
                    words = [part.transcript for item in messages for part in item.content]
                    if any(ANSWER in (text or "") for text in words):
                        seen.append("answered")

        listening = asyncio.create_task(listen())
        await converse(Microphone(session.send_audio), lambda: seen)
        listening.cancel()


def test_livekits_openai_plugin_holds_a_conversation():
    pytest.importorskip("livekit.plugins.openai")
    asyncio.run(livekit())


async def livekit():
    from livekit import rtc
    from livekit.agents import llm
    from livekit.plugins import openai

    seen, tasks = [], set()

    @llm.function_tool
    async def get_weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: Its name.
        """
        return f"sunny in {city}"

    model = openai.realtime.RealtimeModel(api_key=KEY, base_url=URL, model="gpt-realtime", voice="marin")
    session = model.session()

    async def sound(message):
        async for _ in message.audio_stream:
            if "answered" in seen:
                seen.append("speaking")

    async def words(message):
        text = "".join([piece async for piece in message.text_stream])
        if ANSWER in text:
            seen.append("answered")

    async def messages(generation):
        async for message in generation.message_stream:
            await asyncio.gather(sound(message), words(message))

    async def calls(generation):
        async for call in generation.function_stream:
            seen.append("tool")
            context = session.chat_ctx.copy()
            context.items.append(
                llm.FunctionCallOutput(call_id=call.call_id, name=call.name, output="sunny in Paris", is_error=False)
            )
            await session.update_chat_ctx(context)
            session.generate_reply()

    def generated(generation):
        for work in (messages(generation), calls(generation)):
            task = asyncio.create_task(work)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    def interrupted(_):
        if "speaking" in seen:
            seen.append("interrupted")
        session.interrupt()

    session.on("generation_created", generated)
    session.on("input_speech_started", interrupted)
    session.on("error", lambda event: seen.append(f"error: {event.error}"))
    await session.update_instructions("Answer in one sentence.")
    await session.update_tools([get_weather])

    async def send(pcm):
        session.push_audio(rtc.AudioFrame(pcm, RATE, 1, len(pcm) // 2))

    await converse(Microphone(send), lambda: seen)
    await session.aclose()
    await model.aclose()


def test_pipecats_openai_realtime_service_holds_a_conversation():
    pytest.importorskip("pipecat.services.openai.realtime.llm")
    asyncio.run(pipecat())


async def pipecat():
    from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
    from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
    from pipecat.frames.frames import ErrorFrame, InputAudioRawFrame, InterruptionFrame, LLMRunFrame, TTSAudioRawFrame, TTSTextFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.runner import PipelineRunner
    from pipecat.pipeline.task import PipelineParams, PipelineTask
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
    from pipecat.processors.frame_processor import FrameProcessor
    from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService

    seen = []

    class Ear(FrameProcessor):
        """Notes what comes out of the service."""

        async def process_frame(self, frame, direction):
            await super().process_frame(frame, direction)
            if isinstance(frame, TTSAudioRawFrame) and "answered" in seen:
                seen.append("speaking")
            elif isinstance(frame, TTSTextFrame) and ANSWER in frame.text:
                seen.append("answered")
            elif isinstance(frame, InterruptionFrame) and "speaking" in seen:
                seen.append("interrupted")
            elif isinstance(frame, ErrorFrame):
                seen.append(f"error: {frame.error}")
            await self.push_frame(frame, direction)

    service = OpenAIRealtimeLLMService(api_key=KEY, base_url=SOCKET)

    async def get_weather(params):
        seen.append("tool")
        await params.result_callback({"weather": f"sunny in {params.arguments['city']}"})

    service.register_function("get_weather", get_weather)
    weather = FunctionSchema("get_weather", "The weather of a city.", {"city": {"type": "string"}}, ["city"])
    context = LLMContext([], ToolsSchema([weather]))
    user, assistant = LLMContextAggregatorPair(context)
    task = PipelineTask(Pipeline([user, service, Ear(), assistant]), params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE))
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))

    async def send(pcm):
        await task.queue_frame(InputAudioRawFrame(pcm, RATE, 1))

    # The assistant speaks first, as pipecat's own examples have it.
    await task.queue_frames([LLMRunFrame()])
    try:
        await converse(Microphone(send), lambda: seen)
    finally:
        running.cancel()
        await asyncio.wait([running], timeout=10)
